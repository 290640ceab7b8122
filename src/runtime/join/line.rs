//! An encrypted connection between two ranks' processes that carries control messages.

use std::io::{self, Read, Write};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use mio::net::TcpStream;
use serde::Serialize;

use crate::wire::control::{Decoder, encode};
use crate::wire::noise::Session;

/// Silence after which the other host is asked whether it is still there, and between two such questions.
const IDLE: Duration = Duration::from_secs(3);
const QUESTIONS: u32 = 3;
/// As long as IDLE and all questions together; for what was sent and never confirmed.
#[cfg(target_os = "linux")]
const UNCONFIRMED_MILLIS: u32 = 12_000;

/// The connection; neither sending nor receiving blocks.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) stream: TcpStream,
    pub(super) session: Session,
    pub(super) decoder: Decoder,
    outgoing: Vec<u8>,
    /// Bytes that have arrived.
    pub(super) received: usize,
}

impl Line {
    pub(super) fn new(
        stream: std::net::TcpStream,
        session: Session,
        decoder: Decoder,
    ) -> io::Result<Self> {
        use rustix::net::sockopt;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, IDLE)?;
        sockopt::set_tcp_keepintvl(&stream, IDLE)?;
        sockopt::set_tcp_keepcnt(&stream, QUESTIONS)?;
        #[cfg(target_os = "linux")]
        sockopt::set_tcp_user_timeout(&stream, UNCONFIRMED_MILLIS)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            session,
            decoder,
            outgoing: Vec::new(),
            received: 0,
        })
    }

    /// Sends a message, now or as soon as the connection takes it.
    pub(super) fn send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let bytes = encode(message).map_err(|error| error.to_string())?;
        let sealed = self
            .session
            .seal(&bytes)
            .map_err(|error| error.to_string())?;
        self.outgoing.extend(sealed);
        self.flush()
    }

    /// Sends what waits, as far as the connection takes it.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(0) => return Err("the connection was closed".into()),
                Ok(written) => drop(self.outgoing.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Whether everything was sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Takes what has arrived; the messages are in the decoder. An error says why nothing more will come.
    pub(super) fn receive(&mut self) -> Result<(), String> {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err("the connection was closed".into()),
                Ok(read) => {
                    self.received += read;
                    let received = self.session.receive(&bytes[..read]);
                    let received = received.map_err(|error| error.to_string())?;
                    self.decoder.extend(&received.plain);
                    self.outgoing.extend(received.reply);
                    self.flush()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// How much of what a rank has said has left its process: so that its last words are not lost with it.
#[derive(Debug, Default)]
pub(crate) struct Forwarded {
    bytes: Mutex<u64>,
    changed: Condvar,
}

impl Forwarded {
    /// So many bytes have left.
    pub(crate) fn set(&self, bytes: u64) {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        self.changed.notify_all();
    }

    /// Waits until so many bytes have left; no longer than the limit.
    pub(crate) fn wait(&self, bytes: u64, limit: Option<Duration>) {
        let guard = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let still = |left: &mut u64| *left < bytes;
        match limit {
            Some(limit) => drop(self.changed.wait_timeout_while(guard, limit, still)),
            None => drop(self.changed.wait_while(guard, still)),
        }
    }
}

/// Sees to it that nobody waits any more, however the thread that forwards ends.
#[derive(Debug)]
pub(super) struct Forwarding(pub(super) std::sync::Arc<Forwarded>);

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.set(u64::MAX);
    }
}
