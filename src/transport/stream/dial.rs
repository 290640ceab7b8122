//! Opening a connection: find the address, connect, greet, and try again as long as that has sense.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::Token;
use mio::net::{TcpStream, UnixStream};

use super::super::{Lost, Sink};
use super::link::State;
use super::socket::{Socket, Stream};
use super::{Route, Sockets, names};
use crate::base::ids::Peer;
use crate::limits::{CONNECT_MILLIS_MAX, RETRY_MILLIS_MAX, RETRY_MILLIS_MIN, UNANSWERED_MAX};
use crate::wire::handshake::{CHALLENGE_BYTES, Initiator, InitiatorError, Nonce, Refusal};

/// An attempt to reach a peer.
#[derive(Debug)]
pub(super) struct Dialing {
    step: Step,
    /// When the operating system was first asked to connect.
    since: Option<Instant>,
    pause: Duration,
    addresses: Vec<SocketAddr>,
    next_address: usize,
    unanswered: u32,
    last_error: String,
}

#[derive(Debug)]
enum Step {
    /// The layer above was asked where the peer listens.
    Lookup,
    Pause(Instant),
    Connecting(Socket, Instant),
    Greeting(Box<Greeting>),
}

#[derive(Debug)]
struct Greeting {
    socket: Socket,
    initiator: Initiator,
    answer: [u8; CHALLENGE_BYTES],
    have: usize,
}

impl Dialing {
    fn new(now: Instant) -> Self {
        Self {
            step: Step::Pause(now),
            since: None,
            pause: Duration::from_millis(RETRY_MILLIS_MIN),
            addresses: Vec::new(),
            next_address: 0,
            unanswered: 0,
            last_error: String::new(),
        }
    }

    /// Whether the peer may have read our `Hello`.
    pub(super) const fn has_greeted(&self) -> bool {
        matches!(self.step, Step::Greeting(_))
    }
}

pub(super) fn nonce() -> io::Result<Nonce> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(nonce)
}

/// Writes a message of the handshake, for which a fresh socket always has room.
pub(super) fn write_message(socket: &mut Socket, message: &[u8]) -> io::Result<()> {
    let mut rest = message;
    while !rest.is_empty() {
        let moved = socket.write(&[io::IoSlice::new(rest)])?;
        rest = &rest[moved.bytes..];
        if !moved.more && !rest.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Reads on until `into` is full. `Ok(false)`: the rest has not arrived yet.
pub(super) fn read_message(
    socket: &mut Socket,
    into: &mut [u8],
    have: &mut usize,
) -> io::Result<bool> {
    while *have < into.len() {
        let Some(moved) = socket.read(&mut into[*have..], &mut [])? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        *have += moved.bytes;
        if moved.bytes == 0 && !moved.more {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Sockets {
    /// The next `on_time` connects.
    pub(super) fn start_dialing(&mut self, peer: Peer, now: Instant) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.state = State::Dialing(Box::new(Dialing::new(now)));
            self.link_at(peer, now);
        }
    }

    fn dialing(&mut self, peer: Peer) -> Option<&mut Dialing> {
        match &mut self.links.get_mut(&peer)?.state {
            State::Dialing(dialing) => Some(dialing),
            _ => None,
        }
    }

    /// The time that a link waited for may have come.
    pub(super) fn tick(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) -> bool {
        let Some(link) = self.links.get_mut(&peer) else {
            return false;
        };
        let open = matches!(link.state, State::Open(_));
        if let Some(gone) = link.gone.as_ref().filter(|gone| gone.1 <= now || !open) {
            let why = gone.0.clone();
            self.end(peer, why, sink);
            return true;
        }
        let (when, connects) = match &link.state {
            State::Open(_) => (link.gone.as_ref().map(|gone| gone.1), false),
            State::Dialing(dialing) => match &dialing.step {
                Step::Pause(until) => (Some(*until), true),
                Step::Connecting(_, deadline) => (Some(*deadline), false),
                Step::Lookup | Step::Greeting(_) => (None, false),
            },
            State::Idle | State::Ended => (None, false),
        };
        match when {
            None => false,
            Some(when) if when > now => {
                self.link_at(peer, when);
                false
            }
            Some(_) if connects => {
                self.connect(peer, now, sink);
                true
            }
            Some(_) => {
                self.connect_failed(peer, now, "no answer in time".into(), sink);
                true
            }
        }
    }

    fn connect(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) {
        if self
            .faults
            .as_mut()
            .is_some_and(super::super::faulty::Plan::refuses)
        {
            self.connect_failed(peer, now, "refused on purpose".into(), sink);
            return;
        }
        let fault = self
            .faults
            .as_ref()
            .map(super::super::faulty::Plan::connection);
        let token = Token(peer.index());
        if (self.route)(peer) == Route::Unix {
            let result = names::of(&self.me, peer)
                .and_then(|name| UnixStream::connect_addr(&name))
                .and_then(|stream| {
                    let mut socket = Socket::new(Stream::Unix(stream), fault);
                    socket.register(self.hub.registry(), token, false)?;
                    Ok(socket)
                });
            match result {
                Ok(socket) => self.greet(peer, socket, now, sink),
                Err(error) => self.connect_failed(peer, now, error.to_string(), sink),
            }
            return;
        }
        let Some(dialing) = self.dialing(peer) else {
            return;
        };
        let Some(address) = dialing.addresses.get(dialing.next_address).copied() else {
            dialing.step = Step::Lookup;
            sink.lookup(peer);
            return;
        };
        let limit = Duration::from_millis(CONNECT_MILLIS_MAX) / dialing.addresses.len() as u32;
        let result = TcpStream::connect(address).and_then(|stream| {
            let mut socket = Socket::new(Stream::Tcp(stream), fault);
            socket.register(self.hub.registry(), token, true)?;
            Ok(socket)
        });
        match result {
            Ok(socket) => {
                if let Some(dialing) = self.dialing(peer) {
                    dialing.step = Step::Connecting(socket, now + limit);
                    dialing.since.get_or_insert(now);
                }
                self.link_at(peer, now + limit);
            }
            Err(error) => {
                self.connect_failed(peer, now, format!("{address}: {error}"), sink);
            }
        }
    }

    /// The operating system could not connect: the next address, or the first one again after a pause,
    /// or the end of all attempts.
    fn connect_failed(&mut self, peer: Peer, now: Instant, error: String, sink: &mut impl Sink) {
        let tcp = (self.route)(peer) == Route::Tcp;
        let limit = if tcp {
            Some(Duration::from_millis(CONNECT_MILLIS_MAX))
        } else {
            self.start_limit
        };
        let Some(dialing) = self.dialing(peer) else {
            return;
        };
        tracing::debug!(peer = peer.0, error, "cannot connect yet");
        dialing.last_error = error;
        let since = *dialing.since.get_or_insert(now);
        dialing.next_address += 1;
        if dialing.next_address < dialing.addresses.len() {
            dialing.step = Step::Pause(now);
            self.link_at(peer, now);
            return;
        }
        dialing.next_address = 0;
        if limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit) {
            let why = Lost::Unreachable(std::mem::take(&mut dialing.last_error));
            self.end(peer, why, sink);
            return;
        }
        self.pause(peer, now);
    }

    fn pause(&mut self, peer: Peer, now: Instant) {
        if let Some(dialing) = self.dialing(peer) {
            let until = now + dialing.pause;
            dialing.pause = (dialing.pause * 2).min(Duration::from_millis(RETRY_MILLIS_MAX));
            dialing.step = Step::Pause(until);
            self.link_at(peer, until);
        }
    }

    pub(in super::super) fn resolve(&mut self, peer: Peer, addresses: Vec<SocketAddr>) {
        let now = Instant::now();
        let Some(dialing) = self.dialing(peer) else {
            return;
        };
        if !matches!(dialing.step, Step::Lookup) {
            return;
        }
        dialing.addresses = addresses;
        dialing.next_address = 0;
        if dialing.addresses.is_empty() {
            if let Some(link) = self.links.get_mut(&peer) {
                let why = Lost::Unreachable("it listens nowhere".into());
                link.gone = Some(Box::new((why, now)));
            }
        } else {
            dialing.step = Step::Pause(now);
        }
        self.link_at(peer, now);
    }

    /// Something has happened to the socket of an attempt.
    pub(super) fn dial_event(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) -> bool {
        let Some(dialing) = self.dialing(peer) else {
            return false;
        };
        match &dialing.step {
            Step::Connecting(socket, _) => match socket.connected() {
                None => return false,
                Some(Err(error)) => self.connect_failed(peer, now, error.to_string(), sink),
                Some(Ok(())) => {
                    let step = std::mem::replace(&mut dialing.step, Step::Lookup);
                    if let Step::Connecting(socket, _) = step {
                        self.greet(peer, socket, now, sink);
                    }
                }
            },
            Step::Greeting(_) => self.hear_answer(peer, now, sink),
            Step::Lookup | Step::Pause(_) => return false,
        }
        true
    }

    fn greet(&mut self, peer: Peer, mut socket: Socket, now: Instant, sink: &mut impl Sink) {
        let result = nonce().and_then(|nonce| {
            let (initiator, hello) = Initiator::new(&self.me, peer, nonce);
            // Against the case that the connection was made before it was asked for.
            socket.want_write(self.hub.registry(), Token(peer.index()), false)?;
            write_message(&mut socket, &hello)?;
            Ok(initiator)
        });
        match (result, self.dialing(peer)) {
            (Ok(initiator), Some(dialing)) => {
                let greeting = Greeting {
                    socket,
                    initiator,
                    answer: [0; CHALLENGE_BYTES],
                    have: 0,
                };
                dialing.step = Step::Greeting(Box::new(greeting));
            }
            (Err(_), Some(_)) => self.unanswered(peer, now, sink),
            (_, None) => {}
        }
    }

    fn hear_answer(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) {
        let Some(Dialing {
            step: Step::Greeting(greeting),
            ..
        }) = self.dialing(peer)
        else {
            return;
        };
        let Greeting {
            socket,
            initiator,
            answer,
            have,
        } = &mut **greeting;
        match read_message(socket, answer, have) {
            Ok(false) => return,
            Ok(true) => {}
            Err(_) => {
                self.unanswered(peer, now, sink);
                return;
            }
        }
        let refused = match initiator.answer(answer) {
            Ok(proof) => {
                let result = write_message(socket, &proof);
                self.adopt_own(peer, result, sink);
                return;
            }
            Err(error) => error,
        };
        let text = refused.to_string();
        match refused {
            InitiatorError::Version(_) | InitiatorError::Malformed => {
                self.end(peer, Lost::Wire(text), sink);
            }
            InitiatorError::Authentication
            | InitiatorError::Refused(
                Refusal::Version | Refusal::Job | Refusal::Rank | Refusal::Epoch,
            ) => self.end(peer, Lost::Authentication(text), sink),
            InitiatorError::Refused(Refusal::Gone) => self.end(peer, Lost::Broken(text), sink),
            InitiatorError::Refused(Refusal::Finished) => self.end(peer, Lost::Closed, sink),
            InitiatorError::Refused(Refusal::Yield) if self.door.has_granted(peer) => {
                if let Some(link) = self.links.get_mut(&peer) {
                    link.state = State::Idle;
                }
            }
            InitiatorError::Refused(Refusal::Yield | Refusal::Duplicate) => self.pause(peer, now),
        }
    }

    /// Our own connection is complete.
    fn adopt_own(&mut self, peer: Peer, proved: io::Result<()>, sink: &mut impl Sink) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        let State::Dialing(dialing) = std::mem::take(&mut link.state) else {
            return;
        };
        if let Step::Greeting(greeting) = dialing.step {
            self.opened(peer, greeting.socket, sink);
            if let (Err(error), Some(link)) = (proved, self.links.get_mut(&peer)) {
                // The peer has granted the connection and closed it since: what it said is there.
                link.fall_silent(&error, sink);
            }
        }
    }

    /// A connection is complete, whoever began it. It is registered under the peer's token.
    pub(super) fn opened(&mut self, peer: Peer, socket: Socket, sink: &mut impl Sink) {
        let link = self
            .links
            .entry(peer)
            .or_insert_with(|| super::Link::new(peer));
        link.state = State::Open(socket);
        // What came during the handshake has had its event.
        link.readable = true;
        link.ending = true;
        link.blocked = false;
        self.door.forget(peer);
        self.write_out(peer, sink);
    }

    /// A connection ended between our `Hello` and the answer to it.
    fn unanswered(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) {
        let Some(dialing) = self.dialing(peer) else {
            return;
        };
        dialing.unanswered += 1;
        if dialing.unanswered > UNANSWERED_MAX {
            let text = format!("it closed {UNANSWERED_MAX} connections without an answer");
            self.end(peer, Lost::Authentication(text), sink);
        } else {
            self.pause(peer, now);
        }
    }
}
