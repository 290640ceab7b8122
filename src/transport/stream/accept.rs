//! The listening side: who knocks, who is let in.
//!
//! Before its `Hello` has proved right a connection costs one descriptor and one small record, for at
//! most [`HANDSHAKE_MILLIS_MAX`]; there are at most [`HANDSHAKES_MAX`] of them, and a new one drives
//! the oldest out. Not a byte beyond a `Hello` is read from it. After a right `Hello` there is
//! no deadline: the peer may compute for minutes before it answers; but there is only one such
//! connection for each rank.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use super::super::Sink;
use super::dial::{nonce, read_message, write_message};
use super::link::State;
use super::socket::{Socket, Stream};
use super::{Sockets, names};
use crate::base::ids::Peer;
use crate::limits::{
    ACCEPT_PAUSE_MILLIS, BACKLOG_MAX, HANDSHAKE_MILLIS_MAX, HANDSHAKES_MAX, RANKS_MAX,
    TURN_PEERS_MAX,
};
use crate::wire::handshake::{
    Acceptor, Greeting, HELLO_BYTES, Identity, PROOF_BYTES, Refusal, Rejected,
};

const UNIX: Token = Token(usize::MAX - 2);
const TCP: Token = Token(usize::MAX - 3);
/// Peers are their rank; connections without an owner lie above every rank.
const STRANGERS: usize = RANKS_MAX;

#[derive(Debug)]
enum Step {
    Hello {
        bytes: [u8; HELLO_BYTES],
        since: Instant,
    },
    Proof {
        bytes: [u8; PROOF_BYTES],
        acceptor: Acceptor,
    },
}

#[derive(Debug)]
struct Stranger {
    socket: Socket,
    step: Step,
    have: usize,
}

#[derive(Debug)]
struct Entrance<L> {
    listener: L,
    /// There may be connections to accept: events come once.
    ready: bool,
}

/// The listening sockets, and the connections whose handshake is not complete.
#[derive(Debug)]
pub(super) struct Door {
    unix: Option<(Entrance<UnixListener>, UnixAddr)>,
    tcp: Option<Entrance<TcpListener>>,
    /// Descriptors have run out: nothing is accepted before this time.
    paused_until: Option<Instant>,
    strangers: Vec<Option<Box<Stranger>>>,
    granted: FxHashMap<Peer, usize>,
}

impl Door {
    pub(super) fn open(
        me: &Identity,
        unix: bool,
        tcp: Option<IpAddr>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let backlog = i32::try_from(BACKLOG_MAX).unwrap_or(i32::MAX);
        let unix = if unix {
            let address = names::of(me, me.rank)?;
            let mut listener = UnixListener::bind_addr(&address)?;
            rustix::net::listen(&listener, backlog)?;
            listener.register(registry, UNIX, Interest::READABLE)?;
            Some((
                Entrance {
                    listener,
                    ready: false,
                },
                address,
            ))
        } else {
            None
        };
        let tcp = if let Some(address) = tcp {
            let mut listener = TcpListener::bind(SocketAddr::new(address, 0))?;
            rustix::net::listen(&listener, backlog)?;
            listener.register(registry, TCP, Interest::READABLE)?;
            Some(Entrance {
                listener,
                ready: false,
            })
        } else {
            None
        };
        Ok(Self {
            unix,
            tcp,
            paused_until: None,
            strangers: Vec::new(),
            granted: FxHashMap::default(),
        })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp
            .iter()
            .filter_map(|entrance| entrance.listener.local_addr().ok())
            .collect()
    }

    /// Stops listening, and closes every connection whose handshake is not complete.
    pub(super) fn close(&mut self) {
        if let Some((_, address)) = self.unix.take() {
            names::remove(&address);
        }
        self.tcp = None;
        self.strangers.clear();
        self.granted.clear();
    }

    pub(super) fn may_accept(&self) -> bool {
        self.paused_until.is_none()
            && (self
                .unix
                .as_ref()
                .is_some_and(|(entrance, _)| entrance.ready)
                || self.tcp.as_ref().is_some_and(|entrance| entrance.ready))
    }

    pub(super) const fn knows(&self, token: Token) -> bool {
        token.0 >= STRANGERS
    }

    /// Whether a connection that the peer opened waits for its proof.
    pub(super) fn has_granted(&self, peer: Peer) -> bool {
        self.granted.contains_key(&peer)
    }

    pub(super) fn granted(&self) -> Vec<Peer> {
        self.granted.keys().copied().collect()
    }

    /// Closes the connection that was granted to the peer, if there is one.
    pub(super) fn forget(&mut self, peer: Peer) {
        if let Some(index) = self.granted.remove(&peer) {
            self.strangers[index] = None;
        }
    }

    /// The socket of a granted connection, which is forgotten.
    pub(super) fn take_granted(&mut self, peer: Peer) -> Option<Socket> {
        let index = self.granted.remove(&peer)?;
        self.strangers[index].take().map(|stranger| stranger.socket)
    }

    /// The next waiting connection; `Ok(None)`: there is none.
    fn accept(&mut self) -> io::Result<Option<Stream>> {
        let unix = self.unix.as_mut().map(|(entrance, _)| entrance);
        if let Some(entrance) = unix.filter(|entrance| entrance.ready) {
            match entrance.listener.accept() {
                Ok((stream, _)) => return Ok(Some(Stream::Unix(stream))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => entrance.ready = false,
                Err(error) => return Err(error),
            }
        }
        if let Some(entrance) = self.tcp.as_mut().filter(|entrance| entrance.ready) {
            match entrance.listener.accept() {
                Ok((stream, _)) => {
                    // Only latency is at stake.
                    let _ = stream.set_nodelay(true);
                    return Ok(Some(Stream::Tcp(stream)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => entrance.ready = false,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn admit(&mut self, mut socket: Socket, now: Instant, registry: &Registry) -> Option<usize> {
        let waiting = |stranger: &Option<Box<Stranger>>| match stranger.as_deref() {
            Some(Stranger {
                step: Step::Hello { since, .. },
                ..
            }) => Some(*since),
            _ => None,
        };
        let count = self.strangers.iter().filter_map(waiting).count();
        if count >= HANDSHAKES_MAX {
            let oldest = (0..self.strangers.len())
                .filter_map(|index| waiting(&self.strangers[index]).map(|since| (since, index)))
                .min();
            if let Some((_, index)) = oldest {
                self.strangers[index] = None;
            }
        }
        let index = self
            .strangers
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.strangers.push(None);
                self.strangers.len() - 1
            });
        socket
            .register(registry, Token(STRANGERS + index), false)
            .ok()?;
        let step = Step::Hello {
            bytes: [0; HELLO_BYTES],
            since: now,
        };
        self.strangers[index] = Some(Box::new(Stranger {
            socket,
            step,
            have: 0,
        }));
        Some(index)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

impl Sockets {
    /// Accepts what waits, a bounded number of connections.
    pub(super) fn accept(&mut self, now: Instant, sink: &mut impl Sink) -> bool {
        let mut any = false;
        for _ in 0..TURN_PEERS_MAX {
            let stream = match self.door.accept() {
                Ok(Some(stream)) => stream,
                Ok(None) => break,
                Err(error) if is_out_of_descriptors(&error) => {
                    tracing::warn!(%error, "cannot accept a connection now");
                    let until = now + Duration::from_millis(ACCEPT_PAUSE_MILLIS);
                    self.door.paused_until = Some(until);
                    self.at(until);
                    break;
                }
                // The connection was given up before it was accepted, or the like.
                Err(_) => continue,
            };
            any = true;
            let fault = self
                .faults
                .as_ref()
                .map(super::super::faulty::Plan::connection);
            let socket = Socket::new(stream, fault);
            if !socket.is_same_user() {
                continue;
            }
            if let Some(index) = self.door.admit(socket, now, self.hub.registry()) {
                self.at(now + Duration::from_millis(HANDSHAKE_MILLIS_MAX));
                self.hear_stranger(index, now, sink);
            }
        }
        any
    }

    pub(super) fn door_event(&mut self, token: Token, now: Instant, sink: &mut impl Sink) -> bool {
        match token {
            UNIX => {
                if let Some((entrance, _)) = &mut self.door.unix {
                    entrance.ready = true;
                }
                false
            }
            TCP => {
                if let Some(entrance) = &mut self.door.tcp {
                    entrance.ready = true;
                }
                false
            }
            Token(number) => {
                self.hear_stranger(number - STRANGERS, now, sink);
                true
            }
        }
    }

    pub(super) fn door_on_time(&mut self, now: Instant) -> bool {
        let mut moved = false;
        if let Some(until) = self.door.paused_until {
            if until <= now {
                self.door.paused_until = None;
                moved = true;
            } else {
                self.at(until);
            }
        }
        let mut next: Option<Instant> = None;
        for slot in &mut self.door.strangers {
            if let Some(Stranger {
                step: Step::Hello { since, .. },
                ..
            }) = slot.as_deref()
            {
                let deadline = *since + Duration::from_millis(HANDSHAKE_MILLIS_MAX);
                if deadline <= now {
                    *slot = None;
                } else {
                    next = Some(next.map_or(deadline, |next| next.min(deadline)));
                }
            }
        }
        if let Some(next) = next {
            self.at(next);
        }
        moved
    }

    fn hear_stranger(&mut self, index: usize, now: Instant, sink: &mut impl Sink) {
        loop {
            let Some(Some(stranger)) = self.door.strangers.get_mut(index) else {
                return;
            };
            let Stranger { socket, step, have } = &mut **stranger;
            let bytes = match step {
                Step::Hello { bytes, .. } => &mut bytes[..],
                Step::Proof { bytes, .. } => &mut bytes[..],
            };
            match read_message(socket, bytes, have) {
                Ok(false) => return,
                Err(_) => {
                    self.dismiss(index, now);
                    return;
                }
                Ok(true) => {}
            }
            match step {
                Step::Hello { bytes, .. } => {
                    let hello = *bytes;
                    if !self.judge(index, &hello, now) {
                        self.dismiss(index, now);
                        return;
                    }
                }
                Step::Proof { bytes, acceptor } => {
                    if acceptor.is_proved_by(bytes) {
                        let peer = acceptor.from;
                        self.adopt_granted(peer, index, sink);
                    } else {
                        self.dismiss(index, now);
                    }
                    return;
                }
            }
        }
    }

    /// The connection has broken, or is not wanted. If it was granted, it is our turn to connect.
    fn dismiss(&mut self, index: usize, now: Instant) {
        let Some(stranger) = self.door.strangers[index].take() else {
            return;
        };
        let Step::Proof { acceptor, .. } = stranger.step else {
            return;
        };
        let peer = acceptor.from;
        self.door.granted.remove(&peer);
        if self
            .links
            .get(&peer)
            .is_some_and(|link| matches!(link.state, State::Idle) && !link.outbox.is_empty())
        {
            self.start_dialing(peer, now);
        }
    }

    /// Answers a `Hello`; `false`: the connection must be closed.
    fn judge(&mut self, index: usize, hello: &[u8; HELLO_BYTES], now: Instant) -> bool {
        let Ok(nonce) = nonce() else {
            return false;
        };
        let verdict = match Greeting::read(&self.me, hello, nonce) {
            Ok(greeting) => match self.verdict(greeting.from) {
                None => Ok(greeting),
                Some(why) => Err(greeting.refuse(&self.me, why, nonce)),
            },
            Err(Rejected::Refused(_, answer)) => Err(answer),
            Err(Rejected::Stranger) => return false,
        };
        let greeting = match verdict {
            Ok(greeting) => greeting,
            Err(answer) => {
                if let Some(stranger) = &mut self.door.strangers[index] {
                    // It is closed next, whether or not the answer could be written.
                    let _ = write_message(&mut stranger.socket, &answer);
                }
                return false;
            }
        };
        let peer = greeting.from;
        self.door.forget(peer);
        let (acceptor, challenge) = greeting.proceed(&self.me, nonce);
        let Some(stranger) = &mut self.door.strangers[index] else {
            return false;
        };
        let written = write_message(&mut stranger.socket, &challenge);
        stranger.step = Step::Proof {
            bytes: [0; PROOF_BYTES],
            acceptor,
        };
        stranger.have = 0;
        self.door.granted.insert(peer, index);
        if written.is_err() {
            // `dismiss` sees a granted connection, and connects in its place if need be.
            self.dismiss(index, now);
        }
        true
    }

    /// Whether the connection of a member is wanted. See "Two connections at once" in [`super`].
    fn verdict(&mut self, from: Peer) -> Option<Refusal> {
        if self.leaving
            && self
                .links
                .get(&from)
                .is_none_or(|link| link.outbox.is_empty())
        {
            return Some(Refusal::Finished);
        }
        let lower = self.me.rank < from;
        let link = self.links.get_mut(&from)?;
        match &link.state {
            State::Open(_) => Some(Refusal::Duplicate),
            State::Ended => Some(Refusal::Gone),
            State::Dialing(dialing) if lower && dialing.has_greeted() => Some(Refusal::Yield),
            State::Dialing(_) if lower => {
                link.state = State::Idle;
                None
            }
            State::Dialing(_) | State::Idle => None,
        }
    }

    /// A connection that the peer opened is complete.
    fn adopt_granted(&mut self, peer: Peer, index: usize, sink: &mut impl Sink) {
        self.door.granted.remove(&peer);
        let Some(stranger) = self.door.strangers[index].take() else {
            return;
        };
        if self
            .links
            .get(&peer)
            .is_some_and(|link| matches!(link.state, State::Open(_) | State::Ended))
        {
            return;
        }
        let mut socket = stranger.socket;
        if socket
            .reregister(self.hub.registry(), Token(peer.index()), false)
            .is_ok()
        {
            self.opened(peer, socket, sink);
            self.activate(peer);
        }
    }
}
