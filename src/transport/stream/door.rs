//! The listening side: who knocks, who is let in.
//!
//! Before its `Hello` has proved right a connection costs one descriptor and one small record, for at
//! most [`HANDSHAKE_MILLIS_MAX`]; there are at most [`HANDSHAKES_MAX`] of them, and a new one drives
//! the oldest out. Not a byte beyond a `Hello`, and the key that may go with it, is read from it. After a right `Hello` there is
//! no deadline: the peer may compute for minutes before it answers; but there is only one such
//! connection for each rank.
//!
//! A `Hello` counts once: whoever has recorded one and sends it again gets no answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::time::Instant;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use rustc_hash::FxHashMap;

use super::names;
use super::socket::{Socket, Stream, tune};
use crate::base::ids::Peer;
use crate::limits::{ADDRESSES_MAX, BACKLOG_MAX, HANDSHAKES_MAX, RANKS_MAX};
use crate::wire::handshake::{Acceptor, HELLO_BYTES, Identity, Nonce, Opening, PROOF_BYTES};
use crate::wire::sealed::EXCHANGE_BYTES;

const UNIX: Token = Token(usize::MAX - 2);
/// The first of the listening TCP sockets; the others follow below.
const TCP: usize = usize::MAX - 3;
/// Peers are their rank; connections without an owner lie above every rank.
pub(super) const STRANGERS: usize = RANKS_MAX;

#[derive(Debug)]
pub(super) enum Step {
    /// With room for a message of the exchange of keys, which may follow.
    Hello {
        bytes: [u8; HELLO_BYTES + EXCHANGE_BYTES],
        since: Instant,
    },
    Proof {
        bytes: [u8; PROOF_BYTES],
        acceptor: Acceptor,
    },
}

#[derive(Debug)]
pub(super) struct Stranger {
    pub(super) socket: Socket,
    pub(super) step: Step,
    pub(super) have: usize,
}

/// The greetings of the latest attempt of a peer.
#[derive(Debug, Default)]
struct Heard {
    attempt: u32,
    nonces: Vec<Nonce>,
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
    tcp: Vec<Entrance<TcpListener>>,
    /// Descriptors have run out: nothing is accepted before this time.
    pub(super) paused_until: Option<Instant>,
    pub(super) strangers: Vec<Option<Box<Stranger>>>,
    pub(super) granted: FxHashMap<Peer, usize>,
    heard: FxHashMap<Peer, Heard>,
}

impl Door {
    pub(super) fn open(
        me: &Identity,
        unix: bool,
        listen: &[IpAddr],
        ports: Option<(u16, u16)>,
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
        let mut tcp = Vec::new();
        for (index, mut listener) in listeners(me, listen, ports)?.into_iter().enumerate() {
            rustix::net::listen(&listener, backlog)?;
            listener.register(registry, Token(TCP - index), Interest::READABLE)?;
            tcp.push(Entrance {
                listener,
                ready: false,
            });
        }
        Ok(Self {
            unix,
            tcp,
            paused_until: None,
            strangers: Vec::new(),
            granted: FxHashMap::default(),
            heard: FxHashMap::default(),
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
        self.tcp.clear();
        self.strangers.clear();
        self.granted.clear();
    }

    pub(super) fn may_accept(&self) -> bool {
        self.paused_until.is_none()
            && (self
                .unix
                .as_ref()
                .is_some_and(|(entrance, _)| entrance.ready)
                || self.tcp.iter().any(|entrance| entrance.ready))
    }

    /// Notes that a listening socket has something; `false`: the token is not one of theirs.
    pub(super) fn knocked(&mut self, token: Token) -> bool {
        if token == UNIX {
            if let Some((entrance, _)) = &mut self.unix {
                entrance.ready = true;
            }
            return true;
        }
        match self.tcp.get_mut(TCP.wrapping_sub(token.0)) {
            Some(entrance) => entrance.ready = true,
            None => return token.0 > TCP - ADDRESSES_MAX,
        }
        true
    }

    /// Whether nobody has sent this greeting before, and the peer has not begun a later attempt.
    pub(super) fn is_new(&mut self, from: Peer, opening: &Opening) -> bool {
        let heard = self.heard.entry(from).or_default();
        if opening.attempt > heard.attempt {
            heard.attempt = opening.attempt;
            heard.nonces.clear();
        }
        if opening.attempt < heard.attempt
            || heard.nonces.len() == ADDRESSES_MAX
            || heard.nonces.contains(&opening.nonce)
        {
            return false;
        }
        heard.nonces.push(opening.nonce);
        true
    }

    /// Whether a connection of the same attempt of the peer waits for its proof.
    pub(super) fn has_granted_attempt(&self, from: Peer, attempt: u32) -> bool {
        let granted = self.granted.get(&from);
        let stranger = granted.and_then(|index| self.strangers[*index].as_deref());
        matches!(stranger, Some(Stranger { step: Step::Proof { acceptor, .. }, .. })
            if acceptor.opening.attempt == attempt)
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
    pub(super) fn accept(&mut self) -> io::Result<Option<Stream>> {
        let unix = self.unix.as_mut().map(|(entrance, _)| entrance);
        if let Some(entrance) = unix.filter(|entrance| entrance.ready) {
            match entrance.listener.accept() {
                Ok((stream, _)) => return Ok(Some(Stream::Unix(stream))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => entrance.ready = false,
                Err(error) => return Err(error),
            }
        }
        for entrance in self.tcp.iter_mut().filter(|entrance| entrance.ready) {
            match entrance.listener.accept() {
                Ok((stream, _)) => {
                    tune(&stream);
                    return Ok(Some(Stream::Tcp(stream)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => entrance.ready = false,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    pub(super) fn admit(
        &mut self,
        mut socket: Socket,
        now: Instant,
        registry: &Registry,
    ) -> Option<usize> {
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
            bytes: [0; HELLO_BYTES + EXCHANGE_BYTES],
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

/// Listens at each of the addresses where that is possible, which must be at least one.
fn listeners(
    me: &Identity,
    listen: &[IpAddr],
    ports: Option<(u16, u16)>,
) -> io::Result<Vec<TcpListener>> {
    let mut all = Vec::new();
    let mut errors = Vec::new();
    for &address in listen.iter().take(ADDRESSES_MAX) {
        match bind(me, address, ports) {
            Ok(listener) => all.push(listener),
            Err(error) => errors.push((address, error)),
        }
    }
    if all.is_empty() && !errors.is_empty() {
        let one = |(address, error): &(IpAddr, io::Error)| format!("{address}: {error}");
        let text = errors.iter().map(one).collect::<Vec<_>>().join("; ");
        return Err(io::Error::other(text));
    }
    for (address, error) in errors {
        tracing::warn!(%address, %error, "cannot listen at one of the addresses");
    }
    Ok(all)
}

/// Takes a port of the range; ranks of one host begin to look at different places.
fn bind(me: &Identity, address: IpAddr, ports: Option<(u16, u16)>) -> io::Result<TcpListener> {
    let Some((low, high)) = ports else {
        return TcpListener::bind(SocketAddr::new(address, 0));
    };
    let count = u32::from(high.saturating_sub(low)) + 1;
    for step in 0..count {
        let port = u32::from(low) + (me.rank.0 % count + step) % count;
        let port = u16::try_from(port).unwrap_or(high);
        match TcpListener::bind(SocketAddr::new(address, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            other => return other,
        }
    }
    let text = format!(
        "all of the {count} ports from {low} to {high} are in use: widen the range with --ports or \
         PHALANX_PORTS"
    );
    Err(io::Error::new(io::ErrorKind::AddrInUse, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(attempt: u32, nonce: u8) -> Opening {
        Opening {
            attempt,
            ..Opening::first([nonce; 16])
        }
    }

    #[test]
    fn a_greeting_counts_once_and_not_after_a_later_one() {
        let mut door = Door {
            unix: None,
            tcp: Vec::new(),
            paused_until: None,
            strangers: Vec::new(),
            granted: FxHashMap::default(),
            heard: FxHashMap::default(),
        };
        assert!(door.is_new(Peer(1), &opening(1, 1)));
        assert!(!door.is_new(Peer(1), &opening(1, 1)), "a replay");
        assert!(door.is_new(Peer(1), &opening(1, 2)), "to another address");
        assert!(door.is_new(Peer(2), &opening(1, 1)), "of another peer");
        assert!(door.is_new(Peer(1), &opening(3, 1)));
        assert!(!door.is_new(Peer(1), &opening(2, 9)), "an earlier attempt");
        for nonce in 2..=u8::try_from(ADDRESSES_MAX).expect("few") {
            assert!(door.is_new(Peer(1), &opening(3, nonce)));
        }
        assert!(!door.is_new(Peer(1), &opening(3, 99)), "too many");
    }
}
