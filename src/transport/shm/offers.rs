//! Blocks that ranks fetch from each other's memory, and where a rank says that it lets them.
//!
//! # Layout
//!
//! A meeting whose contributions do not go through its slots uses the line of each rank's slot otherwise:
//!
//! ```text
//!   0   signature
//!   8   address     where this rank's contribution lies in its own memory
//!  16   willing     it may be read, and this rank can read the others' as far as it knows
//!  20   got         this rank has fetched everything that it needs
//!  24   withdrawn   what it holds there is no contribution any more
//! ```
//!
//! and the count of finished pieces says how often ranks have come to the end of a stage.
//!
//! # Why it is sound
//!
//! * Reading another process's memory hurts nobody: an address that means nothing is an error. The question is only whether what
//!   was read is the contribution. It is, if the line, looked at afterwards, is not withdrawn: a rank withdraws it, and
//!   passes a fence, before anybody may write to that memory.
//! * A rank keeps its contribution until all have come to the end of the stage in which they fetch: no process that has ended,
//!   and whose number another one may have got, has come there after it.
//! * Stages are counted by additions, so a rank that sees that all have come to the end of one sees all that they did before
//!   (acquire and release), such as what they wrote to their slots and lines. Nobody is ahead of another by more than a
//!   stage. The counts start anew with each use of the cell, as nobody leaves it before all are done.
//! * What a peer writes into these words can make the result wrong, not the process.

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::cells::Area;
use super::long::try_access;
use crate::base::words::Words;
use crate::sys::peer_memory::read_process;

const ADDRESS: usize = 8;
const WILLING: usize = 16;
const GOT: usize = 20;
const WITHDRAWN: usize = 24;

impl Area {
    /// Says where this rank's contribution lies, before it arrives.
    pub(crate) fn offer(&self, number: u32, contribution: &[u8], willing: bool) {
        let (memory, line) = (self.memory(), self.line(number, self.me()));
        let address = contribution.as_ptr().expose_provenance() as u64;
        memory.write(line + ADDRESS, &address.to_ne_bytes());
        memory.store(
            line + WILLING,
            u32::from(willing && self.reaches()),
            Relaxed,
        );
        memory.store(line + GOT, 0, Relaxed);
        memory.store(line + WITHDRAWN, 0, Relaxed);
    }

    /// Whether all who have arrived are willing.
    pub(crate) fn all_willing(&self, number: u32) -> bool {
        self.all_say(number, WILLING)
    }

    /// Tries whether this rank can read the memory of all others, which have arrived.
    pub(crate) fn can_read_all(&self) -> bool {
        let mut others = (0..self.ranks()).filter(|rank| *rank != self.me());
        others.all(|rank| try_access(self.segment().token(self.member(rank))).reads)
    }

    /// Copies what a rank has from `offset` on in its contribution: all of `into`, or an error.
    pub(crate) fn fetch(
        &self,
        number: u32,
        rank: usize,
        offset: usize,
        into: &mut [u8],
    ) -> io::Result<()> {
        let (memory, line) = (self.memory(), self.line(number, rank));
        let mut address = [0; 8];
        memory.read(line + ADDRESS, &mut address);
        let address = u64::from_ne_bytes(address).wrapping_add(offset as u64);
        read_process(self.segment().token(self.member(rank)).pid, address, into)?;
        memory.fence();
        if memory.load(line + WITHDRAWN, Acquire) == 0 {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// This rank's contribution is about to change: nobody shall take what lies there for it.
    pub(crate) fn withdraw(&self, number: u32) {
        let line = self.line(number, self.me());
        self.memory().store(line + WITHDRAWN, 1, Release);
        self.memory().fence();
    }

    /// Says whether this rank has fetched everything; before it [ends](Self::end_stage) that stage.
    pub(crate) fn note_fetched(&self, number: u32, got: bool) {
        let line = self.line(number, self.me());
        self.memory().store(line + GOT, u32::from(got), Relaxed);
    }

    /// Whether all have fetched everything.
    pub(crate) fn all_fetched(&self, number: u32) -> bool {
        self.all_say(number, GOT)
    }

    fn all_say(&self, number: u32, field: usize) -> bool {
        let says = |rank| self.memory().load(self.line(number, rank) + field, Relaxed) == 1;
        (0..self.ranks()).all(says)
    }

    /// This rank has come to the end of a stage, the so-many-th from one on. The last one to do so calls those who sleep.
    pub(crate) fn end_stage(&self, number: u32, stage: u32) {
        let ends = self.finish(number, self.all_at(stage));
        if ends {
            self.call_sleepers(number);
        }
    }

    /// Whether all have come to the end of this stage. The count may wrap around.
    pub(crate) fn has_ended(&self, number: u32, stage: u32) -> bool {
        let ahead = self.finished(number).wrapping_sub(self.all_at(stage));
        ahead as i32 >= 0
    }

    /// The count when all have come to the end of a stage.
    fn all_at(&self, stage: u32) -> u32 {
        stage.wrapping_mul(self.ranks() as u32)
    }
}

/// Areas of ranks of this process, which can read each other's memory; only the first one's they cannot if it is not `readable`.
#[cfg(all(test, target_os = "linux"))]
pub(crate) fn areas_of_one_process<const RANKS: usize>(readable: bool) -> [Area; RANKS] {
    use super::segment::{Segment, Token};

    let segment = std::sync::Arc::new(Segment::create(RANKS, 2, 0).expect("memory"));
    let value = Box::leak(Box::new(std::sync::atomic::AtomicU64::new(77)));
    std::array::from_fn(|me| {
        let token = Token {
            pid: std::process::id(),
            value: if me > 0 || readable { 77 } else { 78 },
            address: std::ptr::from_ref(value) as u64,
        };
        segment.set_token(me, token);
        let members = (0..RANKS).collect();
        Area::new(std::sync::Arc::clone(&segment), 0, me, members)
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_fetched_until_it_is_withdrawn() {
        let [one, other] = areas_of_one_process(true);
        let bytes: [u8; 100] = std::array::from_fn(|index| index as u8);
        one.offer(0, &bytes, true);
        assert!(other.can_read_all());
        let mut into = [0; 10];
        other.fetch(0, 0, 20, &mut into).expect("it is offered");
        assert!(into == bytes[20..30]);
        one.withdraw(0);
        other.fetch(0, 0, 20, &mut into).expect_err("withdrawn");
        one.offer(0, &bytes, true);
        other.fetch(0, 0, 90, &mut into).expect("offered again");
        assert!(into == bytes[90..]);
        other
            .fetch(0, 1, 0, &mut into)
            .expect_err("nothing is offered");
    }

    #[test]
    fn one_that_is_not_willing_is_enough() {
        let [one, other] = areas_of_one_process(true);
        one.offer(0, &[], true);
        assert!(!one.all_willing(0));
        other.offer(0, &[], true);
        assert!(one.all_willing(0));
        other.apart().offer(0, &[], true);
        assert!(!one.all_willing(0), "it lets nobody touch its memory");
        one.note_fetched(0, true);
        assert!(!one.all_fetched(0));
    }

    #[test]
    fn stages_end_when_all_have_come_there_also_when_their_count_wraps_around() {
        let three: [Area; 3] = areas_of_one_process(true);
        let last = u32::MAX / 3;
        let ends = |stage: u32| {
            for area in &three {
                assert!(!area.has_ended(0, stage), "{stage}");
                area.end_stage(0, stage);
            }
            assert!(three[0].has_ended(0, stage));
            assert!(!three[0].has_ended(0, stage.wrapping_add(1)));
        };
        (1..5).for_each(ends);
        let before = three[0].all_at(last);
        three[0].set_finished(0, before);
        (last + 1..last + 5).for_each(ends);
    }
}
