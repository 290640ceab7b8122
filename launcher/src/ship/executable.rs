//! What of an executable file is needed to run it: the rest, names and lines for debuggers, is most of it. Pure.
//!
//! A system runs an ELF file by its program headers. Sections, to which they all belong, lie behind what those
//! speak of and are found by three fields of the header; without these there are none.

/// So much from the beginning has to be seen.
pub(super) const HEAD_BYTES: usize = 4096;

const PHOFF: usize = 32;
const SHOFF: usize = 40;
const PHENTSIZE: usize = 54;
const PHNUM: usize = 56;
const SHNUM: usize = 60;
const HEADER_BYTES: usize = 64;

/// A file that is shorter than another and runs as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bare {
    /// The header in place of the other's.
    pub(super) header: Vec<u8>,
    pub(super) bytes: u64,
}

/// How to send a file of which this is the beginning; none when it has to be sent as it is.
pub(super) fn bare(head: &[u8], bytes: u64) -> Option<Bare> {
    // 64 bits, little-endian: all that we are built for on Linux.
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let place = usize::try_from(long(head, PHOFF)?).ok()?;
    let size = usize::from(short(head, PHENTSIZE)?);
    let count = usize::from(short(head, PHNUM)?);
    let mut end = HEADER_BYTES.max(place.checked_add(size.checked_mul(count)?)?) as u64;
    for number in 0..count {
        let at = place + size * number;
        let (offset, length) = (
            long(head, at.checked_add(8)?)?,
            long(head, at.checked_add(32)?)?,
        );
        end = end.max(offset.checked_add(length)?);
    }
    let mut header = head.get(..HEADER_BYTES)?.to_vec();
    header[SHOFF..SHOFF + 8].fill(0);
    header[SHNUM..].fill(0);
    (count > 0 && end <= bytes).then_some(Bare { header, bytes: end })
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with two program headers, of which the second one ends at 900.
    fn example() -> Vec<u8> {
        let mut file = vec![7; 1000];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[PHOFF..PHOFF + 8].copy_from_slice(&64_u64.to_le_bytes());
        file[PHENTSIZE..PHENTSIZE + 2].copy_from_slice(&56_u16.to_le_bytes());
        file[PHNUM..PHNUM + 2].copy_from_slice(&2_u16.to_le_bytes());
        for (at, offset, length) in [(64, 0_u64, 300_u64), (120, 400, 500)] {
            file[at + 8..at + 16].copy_from_slice(&offset.to_le_bytes());
            file[at + 32..at + 40].copy_from_slice(&length.to_le_bytes());
        }
        file
    }

    #[test]
    fn what_no_program_header_speaks_of_is_left_out() {
        let file = example();
        let bare_file = bare(&file, 1000).expect("it is one");
        assert_eq!(bare_file.bytes, 900);
        assert_eq!(bare_file.header[..SHOFF], file[..SHOFF]);
        assert_eq!(bare_file.header[SHOFF..SHOFF + 8], [0; 8]);
        assert_eq!(bare_file.header[SHNUM..], [0; 4]);
        let again = [&bare_file.header, &file[HEADER_BYTES..900]].concat();
        assert_eq!(
            bare(&again, 900),
            Some(bare_file),
            "nothing more to leave out"
        );
    }

    #[test]
    fn what_is_no_such_file_or_cut_short_is_sent_as_it_is() {
        let file = example();
        assert_eq!(bare(b"#!/bin/sh\necho hello; exec nothing", 34), None);
        assert_eq!(bare(&file, 899), None);
        assert_eq!(bare(&file[..150], 1000), None);
        let mut none = file;
        none[PHNUM] = 0;
        assert_eq!(bare(&none, 1000), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(tail in prop::collection::vec(any::<u8>(), 0..300), bytes: u64) {
            let head = [b"\x7fELF\x02\x01".as_slice(), &tail].concat();
            if let Some(bare) = bare(&head, bytes) {
                prop_assert!(bare.bytes <= bytes && bare.header.len() == HEADER_BYTES);
            }
        }
    }
}
