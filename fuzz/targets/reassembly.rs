//! The bytes of a connection give the same frames wherever they are cut, and whether payloads are read
//! straight into place or copied there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phalanx::base::ids::{Epoch, Peer};
use phalanx::transport::fuzzing::Reassembly;
use phalanx::transport::{Accept, LentId, Lost, Sink};
use phalanx::wire::header::Header;
use phalanx_fuzz as fuzz;

const PEER: Peer = Peer(0);
/// Space for a payload; what is longer is truncated.
const SPACE_BYTES: usize = 64;

/// What the sink was told.
#[derive(Debug, PartialEq)]
enum Heard {
    Header(Header),
    Payload(Vec<u8>),
}

#[derive(Debug, Default)]
struct Listener {
    heard: Vec<Heard>,
    space: Vec<u8>,
}

impl Sink for Listener {
    fn header(&mut self, peer: Peer, header: &Header) -> Result<Accept, String> {
        assert!(peer == PEER && header.source == PEER);
        self.heard.push(Heard::Header(*header));
        match header.tag % 4 {
            0 => Err("it is not wanted".into()),
            1 => Ok(Accept::Discard),
            _ => {
                let space = header
                    .payload()
                    .min(SPACE_BYTES as u64 * (header.tag % 4 - 2));
                self.space = vec![0; space as usize];
                Ok(Accept::Into(header.tag))
            }
        }
    }

    fn space(&mut self, _key: u64, offset: u64) -> &mut [u8] {
        let offset = usize::try_from(offset).expect("a short input");
        self.space.get_mut(offset..).unwrap_or_default()
    }

    fn done(&mut self, peer: Peer, _key: u64) {
        assert_eq!(peer, PEER);
        self.heard
            .push(Heard::Payload(std::mem::take(&mut self.space)));
    }

    fn lent(&self, _id: LentId, _offset: u64, _length: usize) -> Option<&[u8]> {
        unreachable!("nothing is sent")
    }

    fn sent(&mut self, _peer: Peer, _id: LentId, _length: u64) {
        unreachable!("nothing is sent")
    }

    fn lookup(&mut self, _peer: Peer) {
        unreachable!("nothing is sent")
    }

    fn lost(&mut self, _peer: Peer, _why: Lost) {
        unreachable!("whoever feeds the bytes is told")
    }
}

fn read(bytes: &[u8], lengths: &[u8], straight: bool) -> (Vec<Heard>, Result<(), Lost>, bool) {
    let (mut reassembly, mut listener) = (Reassembly::new(PEER, Epoch(1)), Listener::default());
    let mut outcome = Ok(());
    for mut piece in fuzz::pieces(bytes, lengths) {
        if straight {
            let space = reassembly.space(&mut listener);
            let count = space.len().min(piece.len());
            space[..count].copy_from_slice(&piece[..count]);
            reassembly.advance(count, &mut listener);
            piece = &piece[count..];
        }
        outcome = reassembly.take(piece, &mut listener);
        if outcome.is_err() {
            break;
        }
    }
    (listener.heard, outcome, reassembly.is_between_frames())
}

fuzz_target!(|input: ([u8; 4], &[u8])| {
    let (lengths, bytes) = input;
    let whole = read(bytes, &[], false);
    assert_eq!(whole, read(bytes, &lengths, false));
    assert_eq!(whole, read(bytes, &lengths, true));
});
