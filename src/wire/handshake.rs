//! Three messages by which two ranks prove to each other that they belong to the same job.
//!
//! Pure: bytes in, bytes out. Sockets, deadlines and the choice between two simultaneous
//! connections are the transport's matter.
//!
//! ```text
//! initiator                                                acceptor
//!     | Hello      who I am, whom I want, nonce, MAC           |
//!     |------------------------------------------------------->|  a stranger ends here, unanswered
//!     | Challenge  verdict, nonce, MAC over both               |
//!     |<-------------------------------------------------------|
//!     | Proof      MAC over all of it                          |
//!     |------------------------------------------------------->|
//!     | frames follow at once                                  |  frames may be sent now
//! ```
//!
//! All MACs are HMAC-SHA256 under the job's 32-byte [`Secret`], each over a label of its own
//! followed by everything that was said so far, so that no message can stand for another one, be
//! moved to another pair of ranks, or be replayed to a fresh nonce. They are compared in constant
//! time. Messages have a fixed length and little-endian numbers:
//!
//! | Hello  |             | Challenge |          | Proof |     |
//! |--------|-------------|-----------|----------|-------|-----|
//! | 0..8   | magic       | 0..4      | magic    | 0..32 | MAC |
//! | 8..12  | protocol    | 4..5      | verdict  |       |     |
//! | 12..14 | epoch       | 5..8      | zero     |       |     |
//! | 14..16 | flags       | 8..12     | protocol |       |     |
//! | 16..24 | job         | 12..16    | zero     |       |     |
//! | 24..28 | from        | 16..32    | nonce    |       |     |
//! | 28..32 | to          | 32..40    | received |       |     |
//! | 32..48 | nonce       | 40..44    | number   |       |     |
//! | 48..52 | attempt     | 44..48    | zero     |       |     |
//! | 52..56 | connections | 48..80    | MAC      |       |     |
//! | 56..64 | received    |           |          |       |     |
//! | 64..96 | MAC         |           |          |       |     |
//!
//! `attempt` grows with every attempt of one rank to reach another: an acceptor answers a `Hello` of an
//! earlier one as little as one that it has seen before, so a recorded one is of no use.
//!
//! A link outlives its connections: the stream of each direction goes on where the last one broke. `received`
//! says how many bytes of the peer's stream have arrived through earlier connections, `connections` the number
//! of the latest of these that was complete for the initiator, and `number` the number of the new one, which the
//! acceptor makes greater than any that one of the two knows.
//!
//! The only flag, 1, asks for encryption: then a message of the exchange of keys follows the `Hello`, and another
//! one a `Challenge` that wants the connection, both as [`sealed`](super::sealed) says, and what follows, the
//! `Proof` first, is sealed.
//!
//! The place of magic and protocol will never change, so that two versions can tell each other apart.
//! A refusal for the version is the only answer that a stranger can get; its MAC is zero, because
//! another version may compute it in another way.
//!
//! What this does not do: without that flag data that follows is neither encrypted nor authenticated; whoever
//! can alter packets between the hosts can alter the stream.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::base::ids::{Epoch, JobId, Peer};
use crate::limits::HANDSHAKE_BYTES_MAX;
use crate::wire::control::{PROTOCOL, Secret};
use crate::wire::sealed::EXCHANGE_BYTES;

/// Bytes of the first message.
pub const HELLO_BYTES: usize = 96;
/// Bytes of the answer.
pub const CHALLENGE_BYTES: usize = 80;
/// Bytes of the last message.
pub const PROOF_BYTES: usize = 32;

const _: () = assert!(HELLO_BYTES + EXCHANGE_BYTES + PROOF_BYTES <= HANDSHAKE_BYTES_MAX);

const HELLO_MAGIC: [u8; 8] = *b"PHALANX\n";
const CHALLENGE_MAGIC: [u8; 4] = *b"PHX?";
const MAC_BYTES: usize = 32;
/// Where the flags of a `Hello` are.
const FLAGS: usize = 14;

/// A random number used once.
pub type Nonce = [u8; 16];

/// What an initiator says of its attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// A fresh random number.
    pub nonce: Nonce,
    /// Number of the attempt: the first is 1. Greetings to several addresses of the peer at the same
    /// time belong to one attempt.
    pub attempt: u32,
    /// Number of the latest connection to the peer that was complete; 0: there was none.
    pub connections: u32,
    /// Bytes of the peer's stream that have arrived through them.
    pub received: u64,
    /// What follows the handshake shall be sealed.
    pub encrypted: bool,
}

impl Opening {
    /// That of a first attempt.
    pub const fn first(nonce: Nonce) -> Self {
        Self {
            nonce,
            attempt: 1,
            connections: 0,
            received: 0,
            encrypted: false,
        }
    }
}

/// What an acceptor that wants the connection has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The last message of the handshake.
    pub proof: [u8; PROOF_BYTES],
    /// Bytes of the initiator's stream that have arrived through earlier connections.
    pub received: u64,
    /// The number of this connection, among those of the two ranks.
    pub number: u32,
}

/// What both sides of a connection must agree on.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The job.
    pub job: JobId,
    /// What its processes share.
    pub secret: Secret,
    /// The life of the job.
    pub epoch: Epoch,
    /// This rank.
    pub rank: Peer,
    /// Number of ranks in the job.
    pub size: u32,
}

/// Why an acceptor does not want a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u8)]
pub enum Refusal {
    /// It speaks another version of the protocol.
    #[error("it speaks another version of the protocol")]
    Version = 1,
    /// It belongs to another job.
    #[error("it belongs to another job")]
    Job = 2,
    /// It is in another life of the job.
    #[error("it is in another life of the job")]
    Epoch = 3,
    /// It is not the rank that was asked for, or the initiator's rank cannot exist.
    #[error("it is not the rank that was asked for")]
    Rank = 4,
    /// It has itself opened a connection to the initiator, and that one goes first.
    #[error("its own connection goes first")]
    Yield = 5,
    /// It already has an open connection to the initiator.
    #[error("it already has a connection to this rank")]
    Duplicate = 6,
    /// Its connection to the initiator has ended for good.
    #[error("its connection to this rank has ended for good")]
    Gone = 7,
    /// It has finalized.
    #[error("it has finalized")]
    Finished = 8,
    /// What the initiator says it has received cannot be: it is not the process that was connected before.
    #[error("it was connected to another process under the name of this rank")]
    Session = 9,
    /// One of the two wants what follows to be encrypted, and the other does not.
    #[error(
        "only one of the two encrypts: give --encrypt, or PHALANX_ENCRYPT, to all ranks or to none"
    )]
    Encryption = 10,
}

impl Refusal {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Version,
            2 => Self::Job,
            3 => Self::Epoch,
            4 => Self::Rank,
            5 => Self::Yield,
            6 => Self::Duplicate,
            7 => Self::Gone,
            8 => Self::Finished,
            9 => Self::Session,
            10 => Self::Encryption,
            _ => return None,
        })
    }
}

/// Why an acceptor closes a connection after a `Hello` or a `Proof`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The other side knows nothing of the job: close without an answer.
    Stranger,
    /// Send these bytes, then close.
    Refused(Refusal, [u8; CHALLENGE_BYTES]),
}

/// Why an initiator gives up after a `Challenge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitiatorError {
    /// The acceptor's message is not one.
    #[error("the answer to the greeting makes no sense")]
    Malformed,
    /// The acceptor does not know the secret.
    #[error("it could not prove that it belongs to the job")]
    Authentication,
    /// The acceptor speaks another version of the protocol.
    #[error("it speaks version {0} of the protocol, this rank version {PROTOCOL}")]
    Version(u32),
    /// The acceptor does not want the connection.
    #[error("{0}")]
    Refused(Refusal),
}

/// The side that opened the connection, after its `Hello`.
#[derive(Clone, Debug)]
pub struct Initiator {
    secret: Secret,
    hello: [u8; HELLO_BYTES],
}

impl Initiator {
    /// Starts a handshake with `to`: the state, and the first message.
    pub fn new(me: &Identity, to: Peer, opening: &Opening) -> (Self, [u8; HELLO_BYTES]) {
        let hello = hello_bytes(me, PROTOCOL, to, opening);
        let secret = me.secret.clone();
        (Self { secret, hello }, hello)
    }

    /// Judges the acceptor's answer; gives the last message. Frames may follow it at once.
    ///
    /// # Errors
    ///
    /// When the acceptor does not want the connection, or is not what it should be.
    pub fn answer(&self, challenge: &[u8; CHALLENGE_BYTES]) -> Result<Wanted, InitiatorError> {
        let (said, tag) = challenge.split_at(CHALLENGE_BYTES - MAC_BYTES);
        if said[..4] != CHALLENGE_MAGIC {
            return Err(InitiatorError::Malformed);
        }
        let protocol = u32_at(said, 8);
        if protocol != PROTOCOL {
            return Err(InitiatorError::Version(protocol));
        }
        if !verify(&self.secret, b"challenge", &[&self.hello, said], tag) {
            return Err(InitiatorError::Authentication);
        }
        if said[5..8] != [0; 3] || said[12..16] != [0; 4] || said[44..48] != [0; 4] {
            return Err(InitiatorError::Malformed);
        }
        match said[4] {
            0 => Ok(Wanted {
                proof: mac(&self.secret, b"proof", &[&self.hello, challenge]),
                received: u64_at(said, 32),
                number: u32_at(said, 40),
            }),
            verdict => Err(Refusal::from_byte(verdict)
                .map_or(InitiatorError::Malformed, InitiatorError::Refused)),
        }
    }
}

/// A `Hello` that comes from a rank of this job and is meant for this rank.
#[derive(Clone, Debug)]
pub struct Greeting {
    hello: [u8; HELLO_BYTES],
    /// Who opened the connection.
    pub from: Peer,
    /// What it says of its attempt.
    pub opening: Opening,
}

impl Greeting {
    /// Judges a first message.
    ///
    /// # Errors
    ///
    /// When the connection must be closed, with or without an answer.
    pub fn read(me: &Identity, hello: &[u8; HELLO_BYTES], nonce: Nonce) -> Result<Self, Rejected> {
        let (said, tag) = hello.split_at(HELLO_BYTES - MAC_BYTES);
        if said[..8] != HELLO_MAGIC {
            return Err(Rejected::Stranger);
        }
        if u32_at(said, 8) != PROTOCOL {
            let mut bytes = challenge_bytes(Refusal::Version as u8, [0; 16]);
            bytes[CHALLENGE_BYTES - MAC_BYTES..].fill(0);
            return Err(Rejected::Refused(Refusal::Version, bytes));
        }
        if !verify(&me.secret, b"hello", &[said], tag) {
            return Err(Rejected::Stranger);
        }
        let from = Peer(u32_at(said, 24));
        let mut theirs = [0; 16];
        theirs.copy_from_slice(&said[32..48]);
        let greeting = Self {
            hello: *hello,
            from,
            opening: Opening {
                nonce: theirs,
                attempt: u32_at(said, 48),
                connections: u32_at(said, 52),
                received: u64_at(said, 56),
                encrypted: asks_for_encryption(hello),
            },
        };
        let wrong = if said[16..24] != me.job.0.to_le_bytes() {
            Some(Refusal::Job)
        } else if said[12..14] != me.epoch.0.to_le_bytes() {
            Some(Refusal::Epoch)
        } else if u32_at(said, 28) != me.rank.0 || from == me.rank || from.0 >= me.size {
            Some(Refusal::Rank)
        } else {
            None
        };
        match wrong {
            None => Ok(greeting),
            Some(why) => Err(Rejected::Refused(why, greeting.refuse(me, why, nonce))),
        }
    }

    /// The answer that asks for the proof, and the state that will judge it. `received` bytes of the
    /// initiator's stream have arrived through earlier connections, of which `latest` was the last one.
    pub fn proceed(
        self,
        me: &Identity,
        nonce: Nonce,
        received: u64,
        latest: u32,
    ) -> (Acceptor, [u8; CHALLENGE_BYTES]) {
        let number = latest.max(self.opening.connections).saturating_add(1);
        let challenge = self.challenge(me, 0, nonce, received, number);
        let proof = mac(&me.secret, b"proof", &[&self.hello, &challenge]);
        let (from, opening) = (self.from, self.opening);
        let acceptor = Acceptor {
            from,
            opening,
            number,
            proof,
        };
        (acceptor, challenge)
    }

    /// The answer that refuses the connection.
    pub fn refuse(&self, me: &Identity, why: Refusal, nonce: Nonce) -> [u8; CHALLENGE_BYTES] {
        self.challenge(me, why as u8, nonce, 0, 0)
    }

    fn challenge(
        &self,
        me: &Identity,
        verdict: u8,
        nonce: Nonce,
        received: u64,
        number: u32,
    ) -> [u8; CHALLENGE_BYTES] {
        let mut bytes = challenge_bytes(verdict, nonce);
        bytes[32..40].copy_from_slice(&received.to_le_bytes());
        bytes[40..44].copy_from_slice(&number.to_le_bytes());
        let (said, tag) = bytes.split_at_mut(CHALLENGE_BYTES - MAC_BYTES);
        tag.copy_from_slice(&mac(&me.secret, b"challenge", &[&self.hello, said]));
        bytes
    }
}

/// The side that was connected to, after its `Challenge`.
#[derive(Clone)]
pub struct Acceptor {
    /// Who opened the connection.
    pub from: Peer,
    /// What it says of its attempt.
    pub opening: Opening,
    /// The number of this connection.
    pub number: u32,
    proof: [u8; PROOF_BYTES],
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Whether the last message is right: then the connection is authenticated on both sides.
    pub fn is_proved_by(&self, proof: &[u8; PROOF_BYTES]) -> bool {
        // Every byte is looked at, whatever the first ones say.
        let difference = self
            .proof
            .iter()
            .zip(proof)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

/// Whether a `Hello`, right or wrong, says that a message of the exchange of keys follows it.
pub const fn asks_for_encryption(hello: &[u8; HELLO_BYTES]) -> bool {
    hello[FLAGS] & 1 == 1
}

/// Sixteen bytes that nobody can guess from the job's public numbers: part of names that only
/// members of the job should be able to foresee.
pub fn derived_name(secret: &Secret, job: JobId, epoch: Epoch, rank: Peer) -> [u8; 16] {
    let said = [
        &job.0.to_le_bytes()[..],
        &epoch.0.to_le_bytes()[..],
        &rank.0.to_le_bytes()[..],
    ];
    let mut name = [0; 16];
    name.copy_from_slice(&mac(secret, b"name", &said)[..16]);
    name
}

fn hello_bytes(me: &Identity, protocol: u32, to: Peer, opening: &Opening) -> [u8; HELLO_BYTES] {
    let mut bytes = [0; HELLO_BYTES];
    let (said, tag) = bytes.split_at_mut(HELLO_BYTES - MAC_BYTES);
    said[..8].copy_from_slice(&HELLO_MAGIC);
    said[8..12].copy_from_slice(&protocol.to_le_bytes());
    said[12..14].copy_from_slice(&me.epoch.0.to_le_bytes());
    said[FLAGS] = u8::from(opening.encrypted);
    said[16..24].copy_from_slice(&me.job.0.to_le_bytes());
    said[24..28].copy_from_slice(&me.rank.0.to_le_bytes());
    said[28..32].copy_from_slice(&to.0.to_le_bytes());
    said[32..48].copy_from_slice(&opening.nonce);
    said[48..52].copy_from_slice(&opening.attempt.to_le_bytes());
    said[52..56].copy_from_slice(&opening.connections.to_le_bytes());
    said[56..64].copy_from_slice(&opening.received.to_le_bytes());
    tag.copy_from_slice(&mac(&me.secret, b"hello", &[said]));
    bytes
}

fn challenge_bytes(verdict: u8, nonce: Nonce) -> [u8; CHALLENGE_BYTES] {
    let mut bytes = [0; CHALLENGE_BYTES];
    bytes[..4].copy_from_slice(&CHALLENGE_MAGIC);
    bytes[4] = verdict;
    bytes[8..12].copy_from_slice(&PROTOCOL.to_le_bytes());
    bytes[16..32].copy_from_slice(&nonce);
    bytes
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

fn keyed(secret: &Secret, label: &[u8], said: &[&[u8]]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut state = Hmac::<Sha256>::new_from_slice(&secret.0).expect("any key length");
    state.update(b"phalanx ");
    state.update(label);
    state.update(b"\0");
    for part in said {
        state.update(part);
    }
    state
}

fn mac(secret: &Secret, label: &[u8], said: &[&[u8]]) -> [u8; MAC_BYTES] {
    keyed(secret, label, said).finalize().into_bytes().into()
}

fn verify(secret: &Secret, label: &[u8], said: &[&[u8]], tag: &[u8]) -> bool {
    keyed(secret, label, said).verify_slice(tag).is_ok()
}

#[cfg(test)]
mod tests;
