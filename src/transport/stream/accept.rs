//! Who is let in: the handshake of connections that others have opened.

use std::io;
use std::time::{Duration, Instant};

use mio::Token;
use rustix::io::Errno;

use super::super::Sink;
use super::Sockets;
use super::door::{STRANGERS, Step, Stranger};
use super::greet::{nonce, read_message, write_message};
use super::link::{Link, State};
use super::socket::Socket;
use crate::base::ids::Peer;
use crate::limits::{ACCEPT_PAUSE_MILLIS, HANDSHAKE_MILLIS_MAX, TURN_PEERS_MAX};
use crate::wire::handshake::{
    Greeting, HELLO_BYTES, Opening, PROOF_BYTES, Refusal, Rejected, asks_for_encryption,
};
use crate::wire::sealed::{self, EXCHANGE_BYTES};

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

/// Reads on until a `Hello` is whole, and the key that goes with it if it says so.
fn read_hello(
    socket: &mut Socket,
    into: &mut [u8; HELLO_BYTES + EXCHANGE_BYTES],
    have: &mut usize,
) -> io::Result<bool> {
    if *have < HELLO_BYTES && !read_message(socket, &mut into[..HELLO_BYTES], have)? {
        return Ok(false);
    }
    let (hello, _) = in_two(into);
    Ok(!asks_for_encryption(&hello) || read_message(socket, into, have)?)
}

fn in_two(bytes: &[u8; HELLO_BYTES + EXCHANGE_BYTES]) -> ([u8; HELLO_BYTES], [u8; EXCHANGE_BYTES]) {
    let (mut hello, mut key) = ([0; HELLO_BYTES], [0; EXCHANGE_BYTES]);
    hello.copy_from_slice(&bytes[..HELLO_BYTES]);
    key.copy_from_slice(&bytes[HELLO_BYTES..]);
    (hello, key)
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
        if self.door.knocked(token) {
            return false;
        }
        self.hear_stranger(token.0 - STRANGERS, now, sink);
        true
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
            let read = match step {
                Step::Hello { bytes, .. } => read_hello(socket, bytes, have),
                Step::Proof { bytes, .. } => read_message(socket, bytes, have),
            };
            match read {
                Ok(false) => return,
                Err(_) => {
                    self.dismiss(index, now);
                    return;
                }
                Ok(true) => {}
            }
            match step {
                Step::Hello { bytes, .. } => {
                    let (hello, key) = in_two(bytes);
                    if !self.judge(index, &hello, &key, now) {
                        self.dismiss(index, now);
                        return;
                    }
                }
                Step::Proof { bytes, acceptor } => {
                    if acceptor.is_proved_by(bytes) {
                        let peer = acceptor.from;
                        let (number, received) = (acceptor.number, acceptor.opening.received);
                        self.adopt_granted(peer, index, number, received, sink);
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
            .is_some_and(|link| link.gone.is_some())
        {
            self.link_at(peer, now);
        } else if self
            .links
            .get(&peer)
            .is_some_and(|link| matches!(link.state, State::Idle) && link.wants_connection())
        {
            self.start_dialing(peer, now);
        }
    }

    /// Answers a `Hello`; `false`: the connection must be closed.
    fn judge(
        &mut self,
        index: usize,
        hello: &[u8; HELLO_BYTES],
        key: &[u8; EXCHANGE_BYTES],
        now: Instant,
    ) -> bool {
        let encrypt = self.encrypt && self.is_tcp_stranger(index);
        let Ok(nonce) = nonce() else {
            return false;
        };
        let verdict = match Greeting::read(&self.me, hello, nonce) {
            Ok(greeting) if !self.door.is_new(greeting.from, &greeting.opening) => return false,
            Ok(greeting) if greeting.opening.encrypted != encrypt => {
                Err(greeting.refuse(&self.me, Refusal::Encryption, nonce))
            }
            Ok(greeting) => match self.verdict(greeting.from, &greeting.opening, now) {
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
        let keys = match encrypt.then(|| sealed::answer(&self.me.secret, hello, key)) {
            None => None,
            Some(Ok(keys)) => Some(keys),
            Some(Err(_)) => return false,
        };
        let peer = greeting.from;
        self.door.forget(peer);
        let session = self.links.get(&peer).map(|link| &link.session);
        let (received, latest) = session.map_or((0, 0), |s| (s.received, s.number));
        let (acceptor, challenge) = greeting.proceed(&self.me, nonce, received, latest);
        let Some(stranger) = &mut self.door.strangers[index] else {
            return false;
        };
        let mut written = write_message(&mut stranger.socket, &challenge);
        if let Some((keys, answer)) = keys {
            written = written.and_then(|()| write_message(&mut stranger.socket, &answer));
            stranger.socket.encrypt(keys);
        }
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

    fn is_tcp_stranger(&self, index: usize) -> bool {
        let stranger = self.door.strangers.get(index).and_then(Option::as_ref);
        stranger.is_some_and(|stranger| stranger.socket.is_tcp())
    }

    /// Whether the connection of a member is wanted. See "Two connections at once" in [`super`].
    fn verdict(&mut self, from: Peer, opening: &Opening, now: Instant) -> Option<Refusal> {
        if self.door.has_granted_attempt(from, opening.attempt) {
            return Some(Refusal::Duplicate);
        }
        let has_all = |link: &Link| {
            link.outbox.is_empty() && (!link.outbox.keeps || opening.received == link.outbox.end())
        };
        let known = self.links.get(&from).map(|link| &**link);
        if self.leaving && known.is_none_or(has_all) {
            return Some(Refusal::Finished);
        }
        if let Some(refusal) = self.judge_session(from, opening, now) {
            return Some(refusal);
        }
        let lower = self.me.rank < from;
        let link = self.links.get_mut(&from)?;
        match &link.state {
            State::Open(_) => Some(Refusal::Duplicate),
            State::Ended if self.closing.iter().any(|closing| closing.peer == from) => {
                // It has seen the connection break before our farewell arrived.
                self.closing.retain(|closing| closing.peer != from);
                self.lay_down(from, "the peer has left it".into(), now);
                None
            }
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
    fn adopt_granted(
        &mut self,
        peer: Peer,
        index: usize,
        number: u32,
        received: u64,
        sink: &mut impl Sink,
    ) {
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
            self.opened(peer, socket, false, number, received, sink);
            self.activate(peer);
        }
    }
}
