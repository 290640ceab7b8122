//! Which processors the ranks of a host run on, and how they spread over them without being bound.
//!
//! Each rank notes where it is whenever it waits. What others read may be old: it decides only how a rank waits, and
//! whether it moves.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use super::Shared;
use super::cells::Area;
use super::segment::{AT_AWAKE, PROCESSOR, Segment, bit};
use crate::base::words::Words;
use crate::limits::{GO_HOME_MICROS_MIN, STEP_ASIDE_MICROS_MIN};
use crate::sys::processor::{self, Processors};

impl Segment {
    /// Notes which processor a rank runs on.
    fn note_processor(&self, me: usize, processor: u32) {
        let seen = processor.wrapping_add(1);
        let own = self.berth(me) + PROCESSOR;
        if self.memory().load(own, Relaxed) != seen {
            self.memory().store(own, seen, Relaxed);
        }
    }

    /// Where a rank was last seen.
    fn processor(&self, rank: usize) -> Option<u32> {
        let seen = self.memory().load(self.berth(rank) + PROCESSOR, Relaxed);
        seen.checked_sub(1)
    }

    /// The ranks that are awake and were last seen on this processor.
    fn company(&self, processor: u32) -> impl DoubleEndedIterator<Item = usize> {
        let awake = |rank: &usize| {
            let word = self.memory().load(AT_AWAKE + 4 * (rank / 32), Relaxed);
            word & bit(*rank) != 0
        };
        let there = move |rank: &usize| self.processor(*rank) == Some(processor);
        (0..self.ranks()).filter(awake).filter(there)
    }

    /// The lowest of the other ranks that are awake and were last seen on this processor.
    fn shares_processor(&self, me: usize, processor: u32) -> Option<usize> {
        self.company(processor).find(|rank| *rank != me)
    }

    /// Whether more ranks than its share are on this processor, and this one is the last of them.
    fn is_one_too_many(&self, me: usize, processor: u32) -> bool {
        let share = (self.awake() as usize).div_ceil(self.cores().max(1));
        let mut here = self.company(processor);
        here.next_back() == Some(me) && here.count() >= share
    }

    /// Where a rank runs best: neighbours on different processors, so that in a chain the next one works while its predecessor
    /// does. `processors` are those that all may use; with more of them than cores there is no such place.
    fn home(&self, rank: usize, processors: &[u32]) -> Option<u32> {
        let counted = processors.len() == self.cores();
        processors
            .get(rank % self.cores().max(1))
            .copied()
            .filter(|_| counted)
    }

    /// Where this rank should go instead of staying where it is: home, if there is room or somebody else who should leave.
    fn way_home(&self, me: usize, here: u32, processors: &[u32]) -> Option<u32> {
        let home = self.home(me, processors).filter(|home| *home != here)?;
        let share = (self.awake() as usize).div_ceil(self.cores().max(1));
        let room = self.company(home).count() < share;
        let astray = |rank: usize| self.home(rank, processors) != Some(home);
        (room || self.company(home).any(astray)).then_some(home)
    }
}

impl Shared {
    /// Leaves the processor to another rank that runs there, while there are enough for all: a scheduler
    /// that puts the two together, as it likes to do with whom it wakes, may leave them there for long.
    /// Gives whether there is such a rank: of two, the one with the higher number leaves.
    pub(in crate::transport) fn step_aside(&mut self, now: Instant) -> bool {
        let Some(here) = processor::current() else {
            return true;
        };
        self.segment.note_processor(self.me, here);
        let Some(other) = self.segment.shares_processor(self.me, here) else {
            return false;
        };
        if other < self.me && !self.rests(now) && !self.segment.is_crowded() {
            self.stepped = Some(now);
            processor::leave(here);
        }
        true
    }

    fn rests(&self, now: Instant) -> bool {
        let pause = Duration::from_micros(STEP_ASIDE_MICROS_MIN);
        let last = self.stepped;
        last.is_some_and(|last| now.saturating_duration_since(last) < pause)
    }

    /// In a crowd: leaves the processor when it has more than its share of ranks. All wait for the last one, so
    /// an uneven split costs all of them. Now and then a rank goes where its neighbours are not.
    pub(in crate::transport) fn spread(&mut self, now: Instant) {
        if self.rests(now) {
            return;
        }
        self.stepped = Some(now);
        let Some(here) = processor::current() else {
            return;
        };
        self.segment.note_processor(self.me, here);
        if self.segment.is_one_too_many(self.me, here) {
            return processor::leave(here);
        }
        let pause = Duration::from_micros(GO_HOME_MICROS_MIN);
        let last = self.went_home;
        if last.is_some_and(|last| now.saturating_duration_since(last) < pause) {
            return;
        }
        self.went_home = Some(now);
        let allowed = Processors::allowed().map(|allowed| allowed.numbers());
        let home = allowed
            .ok()
            .and_then(|it| self.segment.way_home(self.me, here, &it));
        if let Some(home) = home {
            processor::go_to(home);
        }
    }
}

impl Area {
    /// Whether all whose parts of a round are missing were last seen on other processors than this one.
    pub(crate) fn is_held_up_elsewhere(&self, number: u32) -> bool {
        let Some(here) = processor::current() else {
            return false;
        };
        let stamp = number.wrapping_add(1);
        let missing =
            |rank: &usize| self.memory().load(self.post_at(number, *rank), Acquire) != stamp;
        let segment = self.segment();
        segment.note_processor(self.member(self.me()), here);
        (0..self.ranks()).filter(missing).all(|rank| {
            let seen = segment.processor(self.member(rank));
            seen.is_some_and(|seen| seen != here)
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Ranks that are awake on these processors, and two cores.
    fn at(places: &[u32]) -> Segment {
        let segment = Segment::create(places.len(), 2, 0).expect("memory");
        for (rank, place) in places.iter().enumerate() {
            segment.set_awake(rank, true);
            segment.note_processor(rank, *place);
        }
        segment
    }

    fn ways(places: &[u32]) -> Vec<Option<u32>> {
        let segment = at(places);
        let way = |(me, here): (usize, &u32)| segment.way_home(me, *here, &[4, 7]);
        places.iter().enumerate().map(way).collect()
    }

    #[test]
    fn neighbours_run_on_different_processors() {
        assert_eq!(ways(&[4, 7, 4, 7]), [None; 4]);
        // Two that are where the other one should be change places, one after the other.
        assert_eq!(ways(&[4, 4, 7, 7]), [None, Some(7), Some(4), None]);
        assert_eq!(ways(&[4, 7, 7, 7]), [None, None, Some(4), None]);
    }

    #[test]
    fn nobody_goes_where_there_are_enough() {
        let segment = at(&[4, 7, 4, 7, 7]);
        segment.set_awake(1, false);
        segment.set_awake(3, false);
        assert_eq!(
            segment.way_home(4, 7, &[4, 7]),
            None,
            "two of three are there"
        );
    }

    #[test]
    fn a_quota_of_processors_is_no_place() {
        let segment = at(&[4, 4, 4]);
        assert_eq!(segment.way_home(1, 4, &[4, 5, 6, 7]), None);
        assert_eq!(segment.way_home(1, 4, &[4]), None);
        assert_eq!(segment.way_home(1, 4, &[4, 7]), Some(7));
    }
}
