//! Encrypted, authenticated streams: Noise `NNpsk0` under the secret of the job.
//!
//! Each side sends one message of the handshake, which only a holder of the secret can make, then pieces
//! of the stream. Everything travels as a little-endian `u16` length followed by so many bytes. Whoever
//! records the stream and learns the secret later cannot read it.

use snow::{Builder, HandshakeState, TransportState};

use super::control::Secret;
use crate::limits::HANDSHAKE_BYTES_MAX;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"phalanx control";
const TAG_BYTES: usize = 16;
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// Why a stream must not be used any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// A piece is longer than it may be.
    #[error("a message of {0} bytes is longer than one may be here")]
    TooLong(usize),
    /// The other side does not know the secret, or somebody altered the bytes.
    #[error("the other side could not prove that it belongs to the job")]
    Authentication,
    /// Something is to be sent before the handshake is complete.
    #[error("the handshake is not complete")]
    Early,
    /// The primitives cannot be used.
    #[error("cannot encrypt: {0}")]
    Primitive(String),
}

enum State {
    Shaking(Box<HandshakeState>),
    Open(Box<TransportState>),
    Broken,
}

/// One side of an encrypted stream. Pure but for the random numbers of the handshake.
pub struct Session {
    state: State,
    incoming: Vec<u8>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// What came of bytes from the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// To be sent back at once.
    pub reply: Vec<u8>,
    /// The next bytes of the stream.
    pub plain: Vec<u8>,
}

pub(super) fn builder<'a>(
    secret: &'a Secret,
    prologue: &'a [u8],
) -> Result<Builder<'a>, NoiseError> {
    let primitive = |error: snow::Error| NoiseError::Primitive(error.to_string());
    let pattern = PATTERN.parse().map_err(primitive)?;
    Builder::new(pattern)
        .prologue(prologue)
        .and_then(|builder| builder.psk(0, &secret.0))
        .map_err(primitive)
}

fn framed(length: usize, bytes: &[u8]) -> Vec<u8> {
    let prefix = u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes();
    [&prefix[..], &bytes[..length]].concat()
}

impl Session {
    /// The side that opens the connection, and its first bytes.
    ///
    /// # Errors
    ///
    /// When there are no random numbers.
    pub fn initiator(secret: &Secret) -> Result<(Self, Vec<u8>), NoiseError> {
        let primitive = |error: snow::Error| NoiseError::Primitive(error.to_string());
        let mut state = builder(secret, PROLOGUE)?
            .build_initiator()
            .map_err(primitive)?;
        let mut bytes = [0; HANDSHAKE_BYTES_MAX];
        let length = state.write_message(&[], &mut bytes).map_err(primitive)?;
        let session = Self {
            state: State::Shaking(Box::new(state)),
            incoming: Vec::new(),
        };
        Ok((session, framed(length, &bytes)))
    }

    /// The side that accepts the connection.
    ///
    /// # Errors
    ///
    /// When the primitives cannot be used.
    pub fn responder(secret: &Secret) -> Result<Self, NoiseError> {
        let state = builder(secret, PROLOGUE)?.build_responder();
        let state = state.map_err(|error| NoiseError::Primitive(error.to_string()))?;
        Ok(Self {
            state: State::Shaking(Box::new(state)),
            incoming: Vec::new(),
        })
    }

    /// Whether the other side has proved that it knows the secret.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Takes bytes from the other side, in pieces of any size.
    ///
    /// # Errors
    ///
    /// When the connection must be closed.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Received, NoiseError> {
        self.incoming.extend_from_slice(bytes);
        let mut received = Received::default();
        let mut taken = 0;
        while let Some((prefix, rest)) = self.incoming[taken..].split_first_chunk::<2>() {
            let length = usize::from(u16::from_le_bytes(*prefix));
            let limit = if self.is_open() {
                PIECE_BYTES_MAX + TAG_BYTES
            } else {
                HANDSHAKE_BYTES_MAX
            };
            if length > limit {
                return Err(NoiseError::TooLong(length));
            }
            let Some(piece) = rest.get(..length) else {
                break;
            };
            let piece = piece.to_vec();
            taken += 2 + length;
            self.take(&piece, &mut received)?;
        }
        self.incoming.drain(..taken);
        Ok(received)
    }

    fn take(&mut self, piece: &[u8], received: &mut Received) -> Result<(), NoiseError> {
        let wrong = |_| NoiseError::Authentication;
        let mut plain = vec![0; piece.len().max(HANDSHAKE_BYTES_MAX)];
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Open(mut state) => {
                let length = state.read_message(piece, &mut plain).map_err(wrong)?;
                received.plain.extend_from_slice(&plain[..length]);
                self.state = State::Open(state);
            }
            State::Shaking(mut state) => {
                state.read_message(piece, &mut plain).map_err(wrong)?;
                if !state.is_handshake_finished() {
                    let length = state.write_message(&[], &mut plain).map_err(wrong)?;
                    received.reply.extend(framed(length, &plain));
                }
                let state = state.into_transport_mode().map_err(wrong)?;
                self.state = State::Open(Box::new(state));
            }
            State::Broken => return Err(NoiseError::Authentication),
        }
        Ok(())
    }

    /// The bytes to send for the next bytes of the stream.
    ///
    /// # Errors
    ///
    /// Before the session is open.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let State::Open(state) = &mut self.state else {
            return Err(NoiseError::Early);
        };
        let mut sealed = Vec::new();
        let mut bytes = vec![0; PIECE_BYTES_MAX + TAG_BYTES];
        for piece in plain.chunks(PIECE_BYTES_MAX) {
            let length = state
                .write_message(piece, &mut bytes)
                .map_err(|error| NoiseError::Primitive(error.to_string()))?;
            sealed.extend(framed(length, &bytes));
        }
        Ok(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair() -> (Session, Session) {
        let secret = Secret([7; 32]);
        let (mut one, hello) = Session::initiator(&secret).expect("random numbers");
        let mut other = Session::responder(&secret).expect("primitives");
        let answer = other.receive(&hello).expect("the secret is right");
        one.receive(&answer.reply).expect("the secret is right");
        (one, other)
    }

    #[test]
    fn only_the_secret_opens_a_session() {
        let (one, other) = pair();
        assert!(one.is_open() && other.is_open());
        let (_, hello) = Session::initiator(&Secret([8; 32])).expect("random numbers");
        let mut other = Session::responder(&Secret([7; 32])).expect("primitives");
        assert_eq!(other.receive(&hello), Err(NoiseError::Authentication));
        assert_eq!(other.receive(&hello), Err(NoiseError::Authentication));
    }

    #[test]
    fn a_bit_that_was_altered_breaks_the_session() {
        let (mut one, mut other) = pair();
        let mut sealed = one.seal(b"the secret of the job").expect("open");
        let last = sealed.len() - 1;
        sealed[last] ^= 1;
        assert_eq!(other.receive(&sealed), Err(NoiseError::Authentication));
    }

    proptest! {
        #[test]
        fn streams_arrive_in_any_pieces(stream in prop::collection::vec(any::<u8>(), 0..40_000), piece in 1_usize..5000) {
            let (mut one, mut other) = pair();
            let sealed = one.seal(&stream).expect("open");
            let mut plain = Vec::new();
            for bytes in sealed.chunks(piece) {
                plain.extend(other.receive(bytes).expect("sound").plain);
            }
            prop_assert_eq!(plain, stream);
        }

        #[test]
        fn garbage_never_opens_a_session(garbage in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut other = Session::responder(&Secret([7; 32])).expect("primitives");
            let _ = other.receive(&garbage);
            prop_assert!(!other.is_open());
        }
    }
}
