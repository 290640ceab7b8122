//! A message as bytes with their length before them, and back.

use serde::{Deserialize, Serialize};

use crate::limits::CONTROL_FRAME_BYTES_MAX;

/// Why bytes are not a control message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The announced length is beyond the limit.
    #[error("control message of {0} bytes is longer than the limit of {CONTROL_FRAME_BYTES_MAX}")]
    TooLong(usize),
    /// The bytes do not decode.
    #[error("control message does not decode: {0}")]
    Malformed(postcard::Error),
    /// Bytes were left over after the message.
    #[error("control message has {0} bytes too many")]
    Surplus(usize),
}

/// The framed bytes of a message.
///
/// # Errors
///
/// When the message is longer than [`CONTROL_FRAME_BYTES_MAX`].
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, ControlError> {
    let mut bytes = postcard::to_extend(message, vec![0_u8; 4]).map_err(ControlError::Malformed)?;
    let length = bytes.len() - 4;
    if length > CONTROL_FRAME_BYTES_MAX {
        return Err(ControlError::TooLong(length));
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// Takes messages out of a stream of bytes that arrives in arbitrary pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// Adds bytes from the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        } else if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    ///
    /// When the stream does not make sense; it must not be read any further.
    #[expect(
        clippy::should_implement_trait,
        reason = "generic in the message, so it cannot be an iterator's"
    )]
    pub fn next<M: for<'a> Deserialize<'a>>(&mut self) -> Result<Option<M>, ControlError> {
        let rest = &self.bytes[self.taken..];
        let Some((prefix, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > CONTROL_FRAME_BYTES_MAX {
            return Err(ControlError::TooLong(length));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let (message, surplus) =
            postcard::take_from_bytes(body).map_err(ControlError::Malformed)?;
        if !surplus.is_empty() {
            return Err(ControlError::Surplus(surplus.len()));
        }
        self.taken += 4 + length;
        Ok(Some(message))
    }

    /// Whether bytes of an unfinished message are held.
    pub fn is_inside_message(&self) -> bool {
        self.taken < self.bytes.len()
    }
}
