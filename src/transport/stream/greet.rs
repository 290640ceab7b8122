//! What is said on a connection that this rank has opened, and what follows from the answer.

use std::io;
use std::time::{Duration, Instant};

use mio::Token;

use super::super::{Lost, Sink};
use super::Sockets;
use super::dial::{Candidate, Failure, Step};
use super::link::State;
use super::socket::Socket;
use crate::base::ids::Peer;
use crate::limits::{GREETING_MILLIS_MAX, UNANSWERED_MAX};
use crate::wire::handshake::{
    CHALLENGE_BYTES, Initiator, InitiatorError, Nonce, Opening, Refusal, Wanted,
};
use crate::wire::sealed::{EXCHANGE_BYTES, Exchange};

/// A greeting, and as much of the answer as has arrived.
#[derive(Debug)]
pub(super) struct Greeting {
    initiator: Initiator,
    answer: [u8; CHALLENGE_BYTES],
    have: usize,
    /// Of a connection that is to be encrypted.
    exchange: Option<Exchange>,
    key: [u8; EXCHANGE_BYTES],
    have_of_key: usize,
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

/// Takes in the peer's key, if one is wanted; `false`: it has not arrived yet. An error without a reason: the
/// connection has ended.
fn agree_on_keys(candidate: &mut Candidate) -> Result<bool, Option<InitiatorError>> {
    let Some(greeting) = &mut candidate.greeting else {
        return Ok(true);
    };
    if greeting.exchange.is_none() {
        return Ok(true);
    }
    let (socket, have) = (&mut candidate.socket, &mut greeting.have_of_key);
    if !read_message(socket, &mut greeting.key, have).map_err(|_| None)? {
        return Ok(false);
    }
    if let Some(exchange) = greeting.exchange.take() {
        let keys = exchange.finish(&greeting.key);
        let wrong = |_| Some(InitiatorError::Authentication);
        candidate.socket.encrypt(keys.map_err(wrong)?);
    }
    Ok(true)
}

impl Sockets {
    pub(super) fn greet(&mut self, peer: Peer, index: usize, now: Instant, sink: &mut impl Sink) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        let (attempt, session) = (link.attempts, &link.session);
        let (connections, received) = (session.number, session.received);
        let encrypt = self.encrypt;
        let State::Dialing(dialing) = &mut link.state else {
            return;
        };
        let candidate = &mut dialing.candidates[index];
        let result = nonce().and_then(|nonce| {
            let opening = Opening {
                nonce,
                attempt,
                connections,
                received,
                encrypted: encrypt && candidate.socket.is_tcp(),
            };
            let (initiator, hello) = Initiator::new(&self.me, peer, &opening);
            let mut message = hello.to_vec();
            let mut exchange = None;
            if opening.encrypted {
                let (begun, key) = Exchange::begin(&self.me.secret, &hello)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                exchange = Some(begun);
                message.extend_from_slice(&key);
            }
            // Against the case that the connection was made before it was asked for.
            let token = Token(peer.index());
            candidate
                .socket
                .want_write(self.hub.registry(), token, false)?;
            write_message(&mut candidate.socket, &message)?;
            Ok((initiator, exchange))
        });
        match result {
            Ok((initiator, exchange)) => {
                candidate.greeting = Some(Box::new(Greeting {
                    initiator,
                    answer: [0; CHALLENGE_BYTES],
                    have: 0,
                    exchange,
                    key: [0; EXCHANGE_BYTES],
                    have_of_key: 0,
                }));
                if let Step::Race { end: Some(end), .. } = &mut dialing.step {
                    *end = now + Duration::from_millis(GREETING_MILLIS_MAX);
                    let end = *end;
                    self.link_at(peer, end);
                }
                self.heard_of(peer, now);
            }
            Err(_) => self.unanswered(peer, index, now, sink),
        }
    }

    /// Reads the answer to a greeting. Gives whether anything has changed.
    pub(super) fn hear_answer(
        &mut self,
        peer: Peer,
        index: usize,
        now: Instant,
        sink: &mut impl Sink,
    ) -> bool {
        let Some(dialing) = self.dialing(peer) else {
            return false;
        };
        let candidate = &mut dialing.candidates[index];
        let Some(greeting) = &mut candidate.greeting else {
            return false;
        };
        match read_message(
            &mut candidate.socket,
            &mut greeting.answer,
            &mut greeting.have,
        ) {
            Ok(false) => return false,
            Ok(true) => {}
            Err(_) => {
                self.unanswered(peer, index, now, sink);
                return true;
            }
        }
        let wanted = match greeting.initiator.answer(&greeting.answer) {
            Ok(wanted) => wanted,
            Err(error) => {
                self.refused(peer, index, error, now, sink);
                return true;
            }
        };
        match agree_on_keys(candidate) {
            Ok(false) => return false,
            Ok(true) => {
                let socket = dialing.candidates.swap_remove(index).socket;
                self.adopt_own(peer, socket, &wanted, sink);
            }
            Err(Some(error)) => self.refused(peer, index, error, now, sink),
            Err(None) => self.unanswered(peer, index, now, sink),
        }
        true
    }

    fn refused(
        &mut self,
        peer: Peer,
        index: usize,
        error: InitiatorError,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        let text = error.to_string();
        let place = self.drop_candidate(peer, index);
        let failure = match error {
            InitiatorError::Version(_) | InitiatorError::Malformed => Failure::Senseless(text),
            InitiatorError::Authentication
            | InitiatorError::Refused(
                Refusal::Version
                | Refusal::Job
                | Refusal::Rank
                | Refusal::Epoch
                | Refusal::Encryption,
            ) => Failure::Foreign(text),
            InitiatorError::Refused(Refusal::Gone | Refusal::Session) => {
                return self.end(peer, Lost::Broken(text), sink);
            }
            InitiatorError::Refused(Refusal::Finished) => {
                return self.end(peer, Lost::Closed, sink);
            }
            InitiatorError::Refused(Refusal::Yield) if self.door.has_granted(peer) => {
                if let Some(link) = self.links.get_mut(&peer) {
                    link.state = State::Idle;
                }
                return;
            }
            InitiatorError::Refused(Refusal::Yield | Refusal::Duplicate) => {
                // It is there. Another greeting of this attempt may have been granted.
                if let Some(dialing) = self.dialing(peer) {
                    dialing.since = None;
                    if !dialing.has_greeted() {
                        self.pause(peer, now);
                    }
                }
                return;
            }
        };
        self.place_failed(peer, place, failure, now, sink);
    }

    /// Our own connection is complete.
    fn adopt_own(&mut self, peer: Peer, mut socket: Socket, wanted: &Wanted, sink: &mut impl Sink) {
        let proved = write_message(&mut socket, &wanted.proof);
        let (number, received) = (wanted.number, wanted.received);
        self.opened(peer, socket, true, number, received, sink);
        if let (Err(error), Some(link)) = (proved, self.links.get_mut(&peer)) {
            // The peer has granted the connection and closed it since: what it said is there.
            link.fall_silent(&error, sink);
        }
    }

    /// A connection ended between our `Hello` and the answer to it.
    fn unanswered(&mut self, peer: Peer, index: usize, now: Instant, sink: &mut impl Sink) {
        let at = self.drop_candidate(peer, index);
        let Some(dialing) = self.dialing(peer) else {
            return;
        };
        let place = &mut dialing.places[at];
        place.unanswered += 1;
        let failure = if place.unanswered > UNANSWERED_MAX {
            let text = format!("it closed {UNANSWERED_MAX} connections without an answer");
            Failure::Foreign(text)
        } else {
            Failure::Silent("it closed the connection without an answer".into())
        };
        self.place_failed(peer, at, failure, now, sink);
    }
}
