//! Two ranks that make one half each of a long result, in the memory of both.
//!
//! Each exposes its bytes to the other one, makes the result of its half out of both, and writes it to both: every byte
//! is copied between the cores once to be combined, and once as a result, by two cores at a time.
//! Whether a rank touches the other's memory is agreed on as for copies that two make together
//! ([`share`]); such an exposed memory is a copy of no chunks, so that nobody takes it for one.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;

use super::cells::Area;
use super::long::{Terms, await_leave, try_access};
use super::segment::Token;
use crate::base::share;
use crate::sys::peer_memory::{read_process, write_process};

/// In the length of what is exposed: it is not a copy.
const EXPOSED: u64 = 1 << 63;

impl Area {
    fn mine(&self) -> usize {
        self.member(self.me())
    }

    /// The other one of two.
    fn other(&self) -> usize {
        self.member(1 - self.me())
    }

    /// Whether this rank can read and write the other's memory.
    pub(crate) fn can_reach_other(&self) -> bool {
        self.reaches() && try_access(self.segment().token(self.other())).writes
    }

    /// Whether the other one touches this rank's memory.
    pub(crate) fn is_helped(&self) -> bool {
        let (segment, me) = (self.segment(), self.mine() as u32);
        share::is_helped(segment.memory(), segment.helping_at(self.other()), me)
    }

    /// Lets the other rank read this one's contribution and write to its result, for the collective with this
    /// signature. Without `input`, the contribution lies where the result will.
    pub(crate) fn expose<'a>(
        &'a self,
        input: Option<&'a [u8]>,
        own: &'a mut [u8],
        signature: u64,
    ) -> Exposed<'a> {
        let segment = self.segment();
        let (bytes, length) = (own.as_mut_ptr(), own.len());
        let into = bytes.expose_provenance() as u64;
        let from = input.map_or(into, |input| input.as_ptr().expose_provenance() as u64);
        let terms = Terms::now(from, into, length as u64 | EXPOSED, signature);
        let (line, other) = (segment.share_at(self.mine()), self.other() as u32);
        share::open(segment.memory(), line, other, 0, &terms.encode());
        Exposed {
            area: self,
            input,
            own: bytes,
            length,
            lent: PhantomData,
        }
    }

    /// Begins to touch what the other rank has exposed for the collective with this signature.
    pub(crate) fn enter_other(&self, length: usize, signature: u64) -> Option<Entered<'_>> {
        let (segment, me, other) = (self.segment(), self.mine(), self.other());
        let helping = segment.helping_at(me);
        let terms = share::join(
            segment.memory(),
            (segment.share_at(other), other as u32),
            (helping, me as u32),
        );
        let terms = Terms::decode(&terms?);
        let entered = Entered {
            area: self,
            token: segment.token(other),
            from: terms.from,
            into: terms.into,
        };
        let right = terms.length == length as u64 | EXPOSED && terms.signature == signature;
        (right && terms.are_fresh()).then_some(entered)
    }
}

/// Bytes of this rank that the other one may read and write, until this is dropped: then it waits until the
/// other one has left them.
#[derive(Debug)]
pub(crate) struct Exposed<'a> {
    area: &'a Area,
    input: Option<&'a [u8]>,
    /// A pointer: a reference would cover what the other one writes.
    own: *mut u8,
    length: usize,
    lent: PhantomData<&'a mut [u8]>,
}

impl Exposed<'_> {
    /// A part that the other one leaves alone now.
    fn part(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: in bounds of the slice that is lent to `self`, which borrows it for the result.
        let start = unsafe { self.own.add(range.start) };
        // SAFETY: as above. The other rank writes to no part that this one asks for.
        unsafe { std::slice::from_raw_parts_mut(start, range.len()) }
    }

    /// This rank's contribution to a part that the other one leaves alone, where the result will be.
    pub(crate) fn contribution(&mut self, range: Range<usize>) -> &mut [u8] {
        let input = self.input;
        let part = self.part(range.clone());
        if let Some(input) = input {
            part.copy_from_slice(&input[range]);
        }
        part
    }

    /// Exposes nothing any more. This rank's contribution then lies where the result will be, except for what
    /// the other one has written, and for this rank's half if it was `made`.
    pub(crate) fn withdraw(mut self, halves: [Range<usize>; 2], made: bool) {
        self.close();
        let Some(input) = self.input else { return };
        let (segment, me) = (self.area.segment(), self.area.mine());
        let written = share::is_marked(segment.memory(), segment.share_at(me));
        for (rank, half) in halves.into_iter().enumerate() {
            let over = if rank == self.area.me() {
                made
            } else {
                written
            };
            if !over {
                self.part(half.clone()).copy_from_slice(&input[half]);
            }
        }
    }

    fn close(&self) {
        let (segment, me) = (self.area.segment(), self.area.mine());
        share::close(segment.memory(), segment.share_at(me));
        await_leave(segment, me, self.area.other());
    }
}

impl Drop for Exposed<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

/// This rank touches the other's memory.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    area: &'a Area,
    token: Token,
    from: u64,
    into: u64,
}

impl Entered<'_> {
    /// Copies what the other one has from `offset` on. The kernel may not be able to.
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) -> io::Result<()> {
        let address = self.from.wrapping_add(offset as u64);
        read_process(self.token.pid, address, into)
    }

    /// Writes to the other one from `offset` on. The kernel may not be able to, or only in part.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> io::Result<()> {
        let (into, length) = (self.into.wrapping_add(offset as u64), from.len() as u64);
        let (segment, other) = (self.area.segment(), self.area.other());
        share::mark(segment.memory(), segment.share_at(other));
        // SAFETY: the other rank has exposed these bytes, and has seen that this one touches them: it keeps them
        // until this one has left.
        unsafe { write_process(self.token.pid, into, from.as_ptr() as u64, length) }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let segment = self.area.segment();
        share::leave(segment.memory(), segment.helping_at(self.area.mine()));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::transport::shm::segment::Segment;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    /// Two ranks of one process.
    fn pair() -> [Area; 2] {
        let segment = Arc::new(Segment::create(2, 2, 0).expect("memory"));
        let value = Box::leak(Box::new(AtomicU64::new(77)));
        let token = Token {
            pid: std::process::id(),
            value: 77,
            address: std::ptr::from_ref(value) as u64,
        };
        [0, 1].map(|me| {
            segment.set_token(me, token);
            Area::new(Arc::clone(&segment), 0, me, Arc::new([0, 1]))
        })
    }

    #[test]
    fn what_is_exposed_is_read_and_written_and_what_is_not_is_not() {
        let [one, other] = pair();
        assert!(one.can_reach_other() && other.can_reach_other());
        let mut bytes = [1_u8; 100];
        assert!(other.enter_other(100, 7).is_none(), "nothing is exposed");
        {
            let mut exposed = one.expose(None, &mut bytes, 7);
            assert!(other.enter_other(99, 7).is_none(), "another length");
            assert!(other.enter_other(100, 8).is_none(), "another collective");
            assert!(!one.is_helped());
            let entered = other.enter_other(100, 7).expect("it is exposed");
            assert!(one.is_helped());
            let mut read = [0; 10];
            entered.read(20, &mut read).expect("it is exposed");
            assert_eq!(read, [1; 10]);
            entered.write(90, &[2; 10]).expect("it is exposed");
            drop(entered);
            exposed.contribution(0..5).fill(3);
        }
        assert!(!one.is_helped() && other.enter_other(100, 7).is_none());
        assert!(bytes[..5] == [3; 5] && bytes[5..90] == [1; 85] && bytes[90..] == [2; 10]);
    }

    #[test]
    fn what_nobody_has_made_is_the_contribution_again() {
        let [one, other] = pair();
        for (helps, made) in [(false, false), (false, true), (true, false), (true, true)] {
            let (input, mut bytes) = ([1_u8; 100], [0; 100]);
            let mut exposed = one.expose(Some(&input), &mut bytes, 7);
            if helps {
                let entered = other.enter_other(100, 7).expect("it is exposed");
                entered.write(50, &[2; 50]).expect("it is exposed");
            }
            if made {
                let part = exposed.contribution(0..50);
                assert!(part == [1; 50]);
                part.fill(3);
            }
            exposed.withdraw([0..50, 50..100], made);
            let expected = [
                [if made { 3 } else { 1 }; 50],
                [if helps { 2 } else { 1 }; 50],
            ];
            assert_eq!(bytes[..], expected.concat()[..], "{helps} {made}");
        }
    }
}
