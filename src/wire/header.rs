//! The frame header: 56 bytes, the same for every kind of frame.
//!
//! A message of 8 bytes together with its header fills one cache line of 64 bytes. All integers are
//! little-endian.
//!
//! | bytes  | field     | meaning                                                                |
//! |--------|-----------|------------------------------------------------------------------------|
//! | 0      | kind      | what the frame is, see [`Kind`]                                        |
//! | 1      | flags     | must be zero in this version except for the bits in [`Flags`]          |
//! | 2..4   | epoch     | life of the job; frames of an earlier one are dropped                  |
//! | 4..8   | source    | rank in the world of the sender                                        |
//! | 8..16  | context   | communicator and message space                                         |
//! | 16..24 | tag       | user tag, or sequence and round of a collective                        |
//! | 24..32 | length    | bytes of the message, or of this part of it                            |
//! | 32..40 | check     | element type fingerprint, or signature of the collective               |
//! | 40..48 | token     | the request at the side that will look the frame up                    |
//! | 48..56 | place     | offset of this part, or address or request of the answering side       |
//!
//! Which frames are followed by payload is said by [`Header::payload`].

use crate::base::ids::{Context, Epoch, Peer};

/// Bytes of an encoded header.
pub const HEADER_BYTES: usize = 56;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A whole message; `length` bytes of payload follow.
    Eager = 1,
    /// An envelope without payload: the sender holds `length` bytes as its request `token` and
    /// waits. With [`Flags::PULL`] the receiver may fetch them itself from `place`.
    Request = 2,
    /// The receiver is ready: send `length` bytes of your request `token` to my request `place`.
    Clear = 3,
    /// A part of a message asked for by `Clear`: `length` bytes for request `token` at offset `place`.
    Data = 4,
    /// The receiver of a `Request` with [`Flags::PULL`] is done with your request `token`.
    Finished = 5,
    /// The sender withdraws its request `token`; nothing of it will be sent.
    Withdrawn = 6,
    /// The receiver gives `length` bytes of eager credit back.
    Credit = 7,
    /// The sender holds messages back for lack of credit.
    Starved = 8,
    /// The sender will send nothing more: it has finalized.
    Goodbye = 9,
    /// The sender called another collective as number `tag` of the context: `length` bytes of text say
    /// what.
    Dispute = 10,
    /// So many bytes (`place`) of the receiver's stream have reached the sender, through all connections that
    /// the two have had: they need not be kept any longer.
    Acknowledge = 11,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Eager,
            2 => Self::Request,
            3 => Self::Clear,
            4 => Self::Data,
            5 => Self::Finished,
            6 => Self::Withdrawn,
            7 => Self::Credit,
            8 => Self::Starved,
            9 => Self::Goodbye,
            10 => Self::Dispute,
            11 => Self::Acknowledge,
            _ => return None,
        })
    }
}

/// Bits of the flags byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// No bit set.
    pub const NONE: Self = Self(0);
    /// The payload of a `Request` can be read by the receiver at `place`.
    pub const PULL: Self = Self(1);
    /// A `Request` was paid for with credit, which comes back when it is matched.
    pub const CHARGED: Self = Self(2);
    /// A `Credit` allows `length` more announcements instead of bytes.
    pub const ENVELOPES: Self = Self(4);
    const KNOWN: u8 = 7;

    /// These bits and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A decoded frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Modifiers of the kind.
    pub flags: Flags,
    /// Life of the job in which it was sent.
    pub epoch: Epoch,
    /// Who sent it.
    pub source: Peer,
    /// Communicator and message space.
    pub context: Context,
    /// User tag, or sequence and round of a collective.
    pub tag: u64,
    /// Bytes of the message, or of this part.
    pub length: u64,
    /// Element type fingerprint, or signature of the collective.
    pub check: u64,
    /// Request at the side that looks the frame up.
    pub token: u64,
    /// Offset, address or answering request.
    pub place: u64,
}

/// Why 56 bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The kind byte has no meaning in this version.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// A flag bit without a meaning in this version is set.
    #[error("unknown frame flags {0:#04x}")]
    UnknownFlags(u8),
    /// The length cannot be addressed by any process.
    #[error("frame length {0} is beyond what a process can address")]
    Length(u64),
}

impl Header {
    /// A header with every optional field zero.
    pub const fn new(kind: Kind, epoch: Epoch, source: Peer) -> Self {
        Self {
            kind,
            flags: Flags::NONE,
            epoch,
            source,
            context: Context::WORLD,
            tag: 0,
            length: 0,
            check: 0,
            token: 0,
            place: 0,
        }
    }

    /// Bytes of payload that follow this header on a stream.
    pub const fn payload(&self) -> u64 {
        match self.kind {
            Kind::Eager | Kind::Data | Kind::Dispute => self.length,
            _ => 0,
        }
    }

    /// The bytes of this header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0] = self.kind as u8;
        out[1] = self.flags.0;
        out[2..4].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[4..8].copy_from_slice(&self.source.0.to_le_bytes());
        let words = [
            self.context.0,
            self.tag,
            self.length,
            self.check,
            self.token,
            self.place,
        ];
        for (bytes, word) in out[8..].chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// When the kind or a flag is unknown, or the length exceeds `isize::MAX`. The epoch and the
    /// source are not judged here: whoever knows the link does that.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderError> {
        let word = |index: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[8 + 8 * index..16 + 8 * index]);
            u64::from_le_bytes(eight)
        };
        let kind = Kind::from_byte(bytes[0]).ok_or(HeaderError::UnknownKind(bytes[0]))?;
        if bytes[1] & !Flags::KNOWN != 0 {
            return Err(HeaderError::UnknownFlags(bytes[1]));
        }
        let length = word(2);
        if isize::try_from(length).is_err() {
            return Err(HeaderError::Length(length));
        }
        Ok(Self {
            kind,
            flags: Flags(bytes[1]),
            epoch: Epoch(u16::from_le_bytes([bytes[2], bytes[3]])),
            source: Peer(u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])),
            context: Context(word(0)),
            tag: word(1),
            length,
            check: word(3),
            token: word(4),
            place: word(5),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Header {
        Header {
            kind: Kind::Data,
            flags: Flags::PULL,
            epoch: Epoch(0x0102),
            source: Peer(0x0304_0506),
            context: Context(0x1111_1111_1111_1110),
            tag: 0x2222_2222_2222_2222,
            length: 0x0333_3333_3333_3333,
            check: 0x4444_4444_4444_4444,
            token: 0x5555_5555_5555_5555,
            place: 0x6666_6666_6666_6666,
        }
    }

    #[test]
    fn the_bytes_of_a_header_are_fixed() {
        let golden = "0401020106050403101111111111111122222222222222223333333333333303\
                      444444444444444455555555555555556666666666666666";
        let hex: String = sample()
            .encode()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn every_kind_survives_the_trip() {
        for byte in 0..=u8::MAX {
            let Some(kind) = Kind::from_byte(byte) else {
                continue;
            };
            assert_eq!(kind as u8, byte);
            let header = Header { kind, ..sample() };
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn what_no_process_can_hold_is_refused() {
        let mut bytes = sample().encode();
        bytes[31] = 0x80;
        assert!(matches!(
            Header::decode(&bytes),
            Err(HeaderError::Length(_))
        ));
        let mut bytes = sample().encode();
        bytes[0] = 200;
        assert_eq!(Header::decode(&bytes), Err(HeaderError::UnknownKind(200)));
        let mut bytes = sample().encode();
        bytes[1] = 0x80;
        assert_eq!(Header::decode(&bytes), Err(HeaderError::UnknownFlags(0x80)));
    }

    proptest! {
        #[test]
        fn any_56_bytes_are_refused_or_mean_exactly_one_header(
            bytes in proptest::array::uniform32(any::<u8>()),
            rest in proptest::array::uniform24(any::<u8>()),
        ) {
            let mut all = [0; HEADER_BYTES];
            all[..32].copy_from_slice(&bytes);
            all[32..].copy_from_slice(&rest);
            if let Ok(header) = Header::decode(&all) {
                prop_assert_eq!(header.encode(), all);
            }
        }
    }
}
