//! Sealed bytes between two ranks: keys that are agreed on within the handshake, and pieces under these keys.
//!
//! Pure. It is Noise `NNpsk0`: one message of the initiator, which goes behind its `Hello`, one of the acceptor, behind
//! its `Challenge`. Each holds an ephemeral public key, and only a holder of the job's secret can make it. Both cover
//! the `Hello`, so that they cannot be moved to another connection, pair of ranks, job or life of it. The keys are
//! new with every connection: whoever records it and learns the secret later cannot read it.
//!
//! Then the stream travels in pieces: a little-endian `u16` length, and so many bytes, of which the last 16 are
//! the tag. Pieces are counted by both sides. One that was altered, left out, repeated or put elsewhere does not open.

use snow::{HandshakeState, TransportState};

use super::control::Secret;
use super::noise::{NoiseError, builder};

/// Bytes of either message of the key exchange.
pub const EXCHANGE_BYTES: usize = 48;
/// Most bytes of the stream in one piece.
pub const PLAIN_BYTES_MAX: usize = 16 * 1024;
/// Bytes that a piece has besides them: length and tag.
pub const EXTRA_BYTES: usize = PREFIX_BYTES + TAG_BYTES;
const PREFIX_BYTES: usize = 2;
const TAG_BYTES: usize = 16;

const PROLOGUE: &[u8] = b"phalanx data ";

fn primitive(error: snow::Error) -> NoiseError {
    NoiseError::Primitive(error.to_string())
}

fn prologue(hello: &[u8]) -> Vec<u8> {
    [PROLOGUE, hello].concat()
}

/// The initiator's side of an exchange of keys, after its message.
#[derive(Debug)]
pub struct Exchange(Box<HandshakeState>);

impl Exchange {
    /// Begins the exchange that goes with this `Hello`: the state, and the message.
    ///
    /// # Errors
    ///
    /// When there are no random numbers.
    pub fn begin(
        secret: &Secret,
        hello: &[u8],
    ) -> Result<(Self, [u8; EXCHANGE_BYTES]), NoiseError> {
        let state = builder(secret, &prologue(hello))?.build_initiator();
        let mut state = state.map_err(primitive)?;
        let mut message = [0; EXCHANGE_BYTES];
        state.write_message(&[], &mut message).map_err(primitive)?;
        Ok((Self(Box::new(state)), message))
    }

    /// Takes the acceptor's message.
    ///
    /// # Errors
    ///
    /// When the acceptor does not know the secret, or answers something else.
    pub fn finish(mut self, answer: &[u8; EXCHANGE_BYTES]) -> Result<Keys, NoiseError> {
        let wrong = |_| NoiseError::Authentication;
        self.0.read_message(answer, &mut []).map_err(wrong)?;
        let state = self.0.into_transport_mode().map_err(primitive)?;
        Ok(Keys(Box::new(state)))
    }
}

/// The acceptor's side: judges the initiator's message, and gives the answer.
///
/// # Errors
///
/// When the initiator does not know the secret, or its message belongs to another `Hello`.
pub fn answer(
    secret: &Secret,
    hello: &[u8],
    message: &[u8; EXCHANGE_BYTES],
) -> Result<(Keys, [u8; EXCHANGE_BYTES]), NoiseError> {
    let state = builder(secret, &prologue(hello))?.build_responder();
    let mut state = state.map_err(primitive)?;
    let wrong = |_| NoiseError::Authentication;
    state.read_message(message, &mut []).map_err(wrong)?;
    let mut answer = [0; EXCHANGE_BYTES];
    state.write_message(&[], &mut answer).map_err(primitive)?;
    let state = state.into_transport_mode().map_err(primitive)?;
    Ok((Keys(Box::new(state)), answer))
}

/// The keys of one connection, one for each direction.
#[derive(Debug)]
pub struct Keys(Box<TransportState>);

impl Keys {
    /// Adds a piece with the next bytes of the stream, at most [`PLAIN_BYTES_MAX`] of them.
    ///
    /// # Errors
    ///
    /// After 2^64 pieces.
    pub fn seal(&mut self, plain: &[u8], into: &mut Vec<u8>) -> Result<(), NoiseError> {
        debug_assert!(plain.len() <= PLAIN_BYTES_MAX);
        let length = plain.len() + TAG_BYTES;
        let prefix = u16::try_from(length).map_err(|_| NoiseError::TooLong(length))?;
        into.extend_from_slice(&prefix.to_le_bytes());
        let at = into.len();
        into.resize(at + length, 0);
        let sealed = self.0.write_message(plain, &mut into[at..]);
        sealed.map(|_| ()).map_err(primitive)
    }

    /// Opens a piece without its length. `into` has room for `piece.len()` bytes less 16.
    ///
    /// # Errors
    ///
    /// When it is not the next piece that the other side has sealed.
    pub fn open(&mut self, piece: &[u8], into: &mut [u8]) -> Result<usize, NoiseError> {
        let opened = self.0.read_message(piece, into);
        opened.map_err(|_| NoiseError::Authentication)
    }
}

/// Bytes behind the length of the piece that begins here, if its length is there.
///
/// # Errors
///
/// When no piece can have that length.
pub fn piece_bytes(bytes: &[u8]) -> Result<Option<usize>, NoiseError> {
    let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_le_bytes(*prefix));
    if length <= TAG_BYTES || length > PLAIN_BYTES_MAX + TAG_BYTES {
        return Err(NoiseError::TooLong(length));
    }
    Ok(Some(length))
}

/// Bytes of the stream in a piece of so many bytes.
pub const fn plain_bytes(piece: usize) -> usize {
    piece.saturating_sub(TAG_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = Secret([7; 32]);
    const HELLO: &[u8] = b"who, whom";

    fn pair() -> (Keys, Keys) {
        let (exchange, message) = Exchange::begin(&SECRET, HELLO).expect("random numbers");
        let (theirs, answer) = answer(&SECRET, HELLO, &message).expect("the right secret");
        (exchange.finish(&answer).expect("the right answer"), theirs)
    }

    fn sealed(keys: &mut Keys, plain: &[u8]) -> Vec<u8> {
        let mut piece = Vec::new();
        keys.seal(plain, &mut piece).expect("sealed");
        assert_eq!(piece.len(), plain.len() + EXTRA_BYTES);
        assert_eq!(piece_bytes(&piece), Ok(Some(piece.len() - PREFIX_BYTES)));
        piece.split_off(PREFIX_BYTES)
    }

    #[test]
    fn both_directions_have_keys_of_their_own() {
        let (mut one, mut other) = pair();
        let piece = sealed(&mut one, b"to the other side");
        let mut plain = vec![0; plain_bytes(piece.len())];
        let length = other.open(&piece, &mut plain).expect("ours");
        assert_eq!(&plain[..length], b"to the other side");
        let back = sealed(&mut other, b"to the other side");
        assert_ne!(piece, back);
        one.open(&back, &mut plain).expect("theirs");
        let reflected = sealed(&mut one, b"to myself");
        assert!(one.open(&reflected, &mut plain).is_err());
    }

    #[test]
    fn another_secret_or_another_greeting_is_refused() {
        let (exchange, message) = Exchange::begin(&SECRET, HELLO).expect("random numbers");
        let wrong = Secret([8; 32]);
        assert!(answer(&wrong, HELLO, &message).is_err());
        assert!(answer(&SECRET, b"who, another", &message).is_err());
        let (_, foreign) = {
            let (_, message) = Exchange::begin(&wrong, HELLO).expect("random numbers");
            answer(&wrong, HELLO, &message).expect("its own secret")
        };
        assert!(exchange.finish(&foreign).is_err());
    }

    #[test]
    fn what_was_altered_repeated_or_left_out_does_not_open() {
        let mut plain = [0; 64];
        for bit in 0..8 {
            let (mut one, mut other) = pair();
            let mut piece = sealed(&mut one, b"24 bytes of a long story");
            piece[bit * 5] ^= 1 << bit;
            assert!(other.open(&piece, &mut plain).is_err(), "bit {bit}");
        }
        let (mut one, mut other) = pair();
        let pieces = [sealed(&mut one, b"first"), sealed(&mut one, b"second")];
        assert!(other.open(&pieces[1], &mut plain).is_err(), "left out");
        let (mut one, mut other) = pair();
        let piece = sealed(&mut one, b"once");
        other.open(&piece, &mut plain).expect("the first time");
        assert!(other.open(&piece, &mut plain).is_err(), "repeated");
    }

    #[test]
    fn lengths_that_cannot_be_are_not_believed() {
        assert_eq!(piece_bytes(&[17]), Ok(None));
        assert_eq!(piece_bytes(&[17, 0]), Ok(Some(17)));
        for length in [0_u16, 16, 16_401, u16::MAX] {
            assert!(piece_bytes(&length.to_le_bytes()).is_err(), "{length}");
        }
    }
}
