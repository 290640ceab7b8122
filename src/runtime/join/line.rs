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

    /// Sends what waits and takes what has arrived: also when nothing can be sent any more, for somebody
    /// who hangs up has perhaps said something before. An error says why nothing more will come.
    pub(super) fn exchange(&mut self) -> Result<(), String> {
        let sent = self.flush();
        self.receive()?;
        sent
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
                    // A failure shows once everything was read.
                    let _ = self.flush();
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

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as Stream};

    use super::*;
    use crate::wire::control::Secret;

    fn pair() -> (Line, Line) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut out = Stream::connect(address).expect("it listens");
        let (inner, _) = listener.accept().expect("connected");
        let secret = Secret([7; 32]);
        let (session, hello) = Session::initiator(&secret).expect("begins");
        out.write_all(&hello).expect("there is room");
        let line =
            |stream, session| Line::new(stream, session, Decoder::default()).expect("a line");
        let inside = Session::responder(&secret).expect("begins");
        let (mut host, mut guest) = (line(inner, inside), line(out, session));
        while !(host.session.is_open() && guest.session.is_open()) {
            host.exchange().expect("connected");
            guest.exchange().expect("connected");
        }
        (host, guest)
    }

    #[test]
    fn what_was_said_before_hanging_up_is_heard_by_one_who_was_talking() {
        let (mut host, mut guest) = pair();
        let long = vec![7_u8; 20_000];
        for word in [&long[..], b"last"] {
            guest.send(&word.to_vec()).expect("connected");
        }
        assert!(guest.is_flushed(), "the kernel has room for it");
        drop(guest);
        // The first words meet a closed door; then nothing can be said any more.
        while host.send(&b"anybody?".to_vec()).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(host.exchange().is_err(), "it has hung up");
        let mut heard = || host.decoder.next::<Vec<u8>>().expect("sound");
        assert_eq!(heard().as_deref(), Some(&long[..]));
        assert_eq!(heard().as_deref(), Some(&b"last"[..]));
    }
}
