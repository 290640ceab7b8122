//! A rank's connection to its daemon.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mio::net::UnixStream;

use super::join::Forwarded;

use crate::base::ids::Peer;
use crate::wire::control::{Decoder, FromRank, ToRank, encode};

/// Says things to the daemon. Usable from any thread, also from a panic hook.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    writer: Arc<Mutex<Writer>>,
    /// A thread of this process carries what is said to another process.
    forwarded: Option<Arc<Forwarded>>,
}

#[derive(Debug)]
struct Writer {
    stream: std::os::unix::net::UnixStream,
    written: u64,
}

/// How long a rank that panics waits until that has been said.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Reporter {
    /// Sends a message; waits while the daemon is slow. What cannot be sent is dropped: the daemon is
    /// gone then, and the connection's other half will notice.
    pub(crate) fn say(&self, message: &FromRank) {
        let Ok(bytes) = encode(message) else { return };
        let written = {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            write_all(&mut writer.stream, &bytes);
            writer.written += bytes.len() as u64;
            writer.written
        };
        // The process may end after these, and a thread that carries them with it.
        let limit = match message {
            FromRank::Finalized => None,
            FromRank::Panicked { .. } | FromRank::Failed { .. } | FromRank::Abort { .. } => {
                Some(LAST_WORDS)
            }
            _ => return,
        };
        if let Some(forwarded) = &self.forwarded {
            forwarded.wait(written, limit);
        }
    }
}

/// Writes to a stream that does not block, and waits while it has no room. What cannot be written is dropped.
pub(super) fn write_all(stream: &mut (impl Write + AsFd), bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(0) => return,
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [rustix::event::PollFd::new(
                    &*stream,
                    rustix::event::PollFlags::OUT,
                )];
                if rustix::event::poll(&mut fds, None).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// The connection as the runtime's lock guards it.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) stream: UnixStream,
    reporter: Reporter,
    decoder: Decoder,
    watched: HashSet<u32>,
    watches_all: bool,
}

impl Control {
    /// Takes over the descriptor; what arrived with the first message is in `decoder`.
    pub(crate) fn new(
        descriptor: OwnedFd,
        decoder: Decoder,
        forwarded: Option<Arc<Forwarded>>,
    ) -> io::Result<Self> {
        let writer = std::os::unix::net::UnixStream::from(descriptor);
        writer.set_nonblocking(true)?;
        let reader = writer.try_clone()?;
        Ok(Self {
            stream: UnixStream::from_std(reader),
            reporter: Reporter {
                writer: Arc::new(Mutex::new(Writer {
                    stream: writer,
                    written: 0,
                })),
                forwarded,
            },
            decoder,
            watched: HashSet::new(),
            watches_all: false,
        })
    }

    pub(crate) fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Asks where a rank listens.
    pub(crate) fn lookup(&mut self, peer: Peer) {
        self.reporter.say(&FromRank::Lookup { rank: peer.0 });
    }

    /// Asks to be told when one of these ranks leaves, or any rank.
    pub(crate) fn watch(&mut self, peers: &[Peer], all: bool) {
        if self.watches_all {
            return;
        }
        if all {
            self.watches_all = true;
            self.reporter.say(&FromRank::Watch { ranks: Vec::new() });
            return;
        }
        let ranks: Vec<u32> = peers
            .iter()
            .map(|peer| peer.0)
            .filter(|&rank| self.watched.insert(rank))
            .collect();
        if !ranks.is_empty() {
            self.reporter.say(&FromRank::Watch { ranks });
        }
    }

    /// What the daemon has said, and why nothing more will come, if so.
    pub(crate) fn read(&mut self) -> (Vec<ToRank>, Option<String>) {
        let mut bytes = [0; 4096];
        let mut end = None;
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    end = Some("the connection was closed".into());
                    break;
                }
                Ok(read) => self.decoder.extend(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    end = Some(error.to_string());
                    break;
                }
            }
        }
        let mut messages = Vec::new();
        loop {
            match self.decoder.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, end),
                Err(error) => return (messages, Some(error.to_string())),
            }
        }
    }
}
