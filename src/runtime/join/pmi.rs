//! Speaks PMI with the process manager that started this process.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::sys::descriptor::inherit_socket;
use crate::wire::pmi::{Answer, Dialect, Request};

const KEY: &str = "phalanx";

/// A conversation with the process manager.
pub(super) struct Pmi {
    stream: UnixStream,
    dialect: Dialect,
    incoming: Vec<u8>,
    space: String,
}

impl Pmi {
    /// Begins it over the inherited descriptor.
    pub(super) fn begin(
        descriptor: i32,
        dialect: Dialect,
        rank: u32,
        limit: Duration,
    ) -> Result<Self, String> {
        let descriptor = inherit_socket(descriptor)
            .map_err(|error| format!("cannot speak PMI over PMI_FD={descriptor}: {error}"))?;
        let stream = UnixStream::from(descriptor);
        let prepared = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(limit.max(Duration::from_secs(1)))));
        prepared.map_err(|error| format!("cannot speak PMI: {error}"))?;
        let mut pmi = Self {
            stream,
            dialect,
            incoming: Vec::new(),
            space: String::new(),
        };
        pmi.ask(&Request::Init)?;
        match dialect {
            Dialect::One => {
                let name = pmi.ask(&Request::SpaceName)?;
                pmi.space = name.get("kvsname").unwrap_or_default().to_owned();
            }
            // The space has the name of the job.
            Dialect::Two => {
                let job = std::env::var("PMI_JOBID").unwrap_or_default();
                pmi.ask(&Request::FullInit { job: &job, rank })?;
                pmi.space = job;
            }
        }
        Ok(pmi)
    }

    /// Puts the one value that rank 0 has for all, if this is rank 0, and gives it to all.
    pub(super) fn exchange(mut self, value: Option<&str>) -> Result<String, String> {
        let space = self.space.clone();
        let space = space.as_str();
        if let Some(value) = value {
            let key = KEY;
            self.ask(&Request::Put { space, key, value })?;
        }
        self.ask(&Request::Fence)?;
        let answer = self.ask(&Request::Get { space, key: KEY })?;
        let value = answer.get("value").unwrap_or_default().to_owned();
        // From now on the ranks look after each other.
        self.ask(&Request::Finalize)?;
        Ok(value)
    }

    fn ask(&mut self, request: &Request<'_>) -> Result<Answer, String> {
        let failed = |why: String| format!("the process manager that started this process: {why}");
        let bytes = request.encode(self.dialect);
        let sent = self.stream.write_all(&bytes);
        sent.map_err(|error| failed(error.to_string()))?;
        let framed = self.dialect == Dialect::Two && *request != Request::Init;
        let mut bytes = [0; 4096];
        loop {
            let decoded = Answer::decode(&self.incoming, framed);
            if let Some((answer, taken)) = decoded.map_err(|error| failed(error.to_string()))? {
                self.incoming.drain(..taken);
                let checked = answer.check(request, self.dialect);
                return checked
                    .map(|()| answer)
                    .map_err(|error| failed(error.to_string()));
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    return Err(failed(
                        "it closed the connection; another process that it started may have failed"
                            .into(),
                    ));
                }
                Ok(read) => self.incoming.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let asked = request.answered_by(self.dialect);
                    return Err(failed(format!(
                        "no {asked} came: {error}; have all processes of the job called init?"
                    )));
                }
            }
        }
    }
}
