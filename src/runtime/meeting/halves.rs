//! Long sums of two ranks: each makes one half, in the memory of both.
//!
//! Such a collective has two rounds without payload, then those that carry parts as any other. In the first round a rank says that it is
//! there, and has exposed its memory if it could; each then makes its half. In the second it says what came of that: what
//! was not made, because a rank has come late, goes on the general way, or the kernel does not allow it, is made
//! in the rounds that follow; the others are passed.

use std::io;
use std::ops::Range;

use super::boards::Rounds;
use super::{Begun, DirectCall, Directly, Form, Meetings, chunk_bytes};
use crate::limits::{HALVES_BYTES_MIN, HALVES_LOOKS_MAX, HALVES_PIECE_BYTES};
use crate::pod::operator::Reducer;
use crate::schedule::Order;
use crate::transport::{Area, Exposed};

/// Rounds before those that carry parts.
pub(super) const FIRST: u32 = 2;
const PAGE_BYTES: usize = 4096;

/// What came of a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Nothing: it is as it was, in both memories.
    Nothing,
    /// The result, in both memories.
    Whole,
    /// Some of it: the contributions are gone.
    Broken,
    /// The same, as the other rank has ended: its death is what is told, as soon as it is known.
    Lost,
}

impl Made {
    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Whole => 1,
            Self::Broken => 2,
            Self::Lost => 3,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Nothing,
            1 => Self::Whole,
            3 => Self::Lost,
            _ => Self::Broken,
        }
    }

    /// What came of it when the kernel does not reach the other rank's memory any more.
    fn after(self, error: &io::Error) -> Self {
        let ended = rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::SRCH);
        match self {
            Self::Broken if ended => Self::Lost,
            made => made,
        }
    }

    /// Why what is made of both halves is no result and never will be, to the rank `me`: it may have lost the other
    /// one, which in turn cannot have lost it.
    pub(super) fn why_broken(made: [Self; 2], me: usize) -> Option<Self> {
        let broken = |made: &Self| matches!(made, Self::Broken | Self::Lost);
        match made.get(me) {
            Some(Self::Lost) => Some(Self::Lost),
            _ => made.iter().any(broken).then_some(Self::Broken),
        }
    }
}

/// How a long sum is divided: the same on both ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Halves {
    length: usize,
    /// Where the second half begins.
    middle: usize,
    /// Bytes of a part that a round carries.
    chunk: usize,
}

impl Halves {
    /// For contributions that are worth it.
    pub(super) fn of(ranks: usize, length: usize, element: usize, chunk: usize) -> Option<Self> {
        if ranks != 2 || length < HALVES_BYTES_MIN {
            return None;
        }
        let unit = element * (PAGE_BYTES / element).max(1);
        Some(Self {
            length,
            middle: length / 2 / unit * unit,
            chunk,
        })
    }

    pub(super) const fn half(&self, rank: usize) -> Range<usize> {
        if rank == 0 {
            0..self.middle
        } else {
            self.middle..self.length
        }
    }

    const fn parts(&self, rank: usize) -> u32 {
        let half = self.half(rank);
        (half.end - half.start).div_ceil(self.chunk) as u32
    }

    /// The rounds that carry a half, counted from the first of all.
    pub(super) const fn rounds(&self, rank: usize) -> Range<u32> {
        let middle = FIRST + self.parts(0);
        if rank == 0 {
            FIRST..middle
        } else {
            middle..middle + self.parts(1)
        }
    }

    pub(super) const fn count(&self) -> u32 {
        self.rounds(1).end
    }

    /// What a round carries.
    pub(super) fn range(&self, index: u32) -> Range<usize> {
        for rank in 0..2 {
            let (rounds, half) = (self.rounds(rank), self.half(rank));
            if rounds.contains(&index) {
                let start = half.start + (index - rounds.start) as usize * self.chunk;
                return start..half.end.min(start + self.chunk);
            }
        }
        0..0
    }
}

/// How a meeting of this form is divided among two ranks, if it is.
pub(super) fn halves(area: &Area, form: Form, block: usize, element: usize) -> Option<Halves> {
    let sums = form == Form::Allreduce;
    sums.then(|| Halves::of(area.ranks(), block, element, chunk_bytes(element)))?
}

/// Memory for pieces of what the other rank has, aligned for elements.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Pieces([u8; HALVES_PIECE_BYTES]);

impl Pieces {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self([0; HALVES_PIECE_BYTES]))
    }
}

/// Makes this rank's half in both memories.
fn make_half(
    area: &Area,
    (halves, signature, element): (&Halves, u64, usize),
    exposed: &mut Exposed<'_>,
    pieces: &mut Pieces,
    reducer: &dyn Reducer,
) -> Made {
    let Some(other) = area.enter_other(halves.length, signature) else {
        return Made::Nothing;
    };
    let (me, half) = (area.me(), halves.half(area.me()));
    let order = match me {
        0 => Order::IntoFrom,
        _ => Order::FromInto,
    };
    let most = HALVES_PIECE_BYTES / element * element;
    let mut made = Made::Nothing;
    let mut at = half.start;
    while at < half.end {
        let end = half.end.min(at + most);
        let theirs = &mut pieces.0[..end - at];
        if let Err(error) = other.read(at, theirs) {
            return made.after(&error);
        }
        let ours = exposed.contribution(at..end);
        reducer.reduce(ours, theirs, order);
        made = Made::Broken;
        if let Err(error) = other.write(at, ours) {
            return made.after(&error);
        }
        at = end;
    }
    Made::Whole
}

/// What came of both halves, as their makers say in the second round.
pub(super) fn made(area: &Area, first: u32) -> [Made; 2] {
    [0, 1].map(|rank| {
        let mut byte = [0];
        area.read_post(first.wrapping_add(1), rank, (1, 0), &mut byte);
        Made::from_byte(byte[0])
    })
}

impl Meetings {
    /// Makes one half, and lets the other rank make the other, if it comes soon.
    pub(super) fn make_halves(
        &mut self,
        call: &DirectCall,
        halves: &Halves,
        (input, own): (Option<&[u8]>, &mut [u8]),
        reducer: &dyn Reducer,
    ) -> Directly {
        let Self { area, rounds, .. } = self;
        if !rounds.are_over() {
            return Directly::No;
        }
        let count = halves.count();
        let first = rounds.reserve(count);
        let begun = |entered, left| {
            Directly::Begun(Begun {
                first,
                entered,
                left,
                disputed: false,
            })
        };
        let reaches = *self.reaches.get_or_insert_with(|| area.can_reach_other());
        if !reaches || !rounds.may_post_two(area, first) {
            if let Some(input) = input {
                own.copy_from_slice(input);
            }
            return begun(0, 0);
        }
        let pieces = self.pieces.get_or_insert_with(Pieces::new);
        let both = [halves.half(0), halves.half(1)];
        let mut exposed = area.expose(input, own, call.signature);
        rounds.post(area, call.signature, &[]);
        if !await_other(area, first, call.signature) {
            exposed.withdraw(both, false);
            return begun(1, 0);
        }
        rounds.clear(area);
        let terms = (halves, call.signature, call.element);
        let half = make_half(area, terms, &mut exposed, pieces, reducer);
        rounds.post(area, call.signature, &[half.to_byte()]);
        let over = await_other(area, first.wrapping_add(1), call.signature)
            && made(area, first) == [Made::Whole; 2];
        if !over {
            exposed.withdraw(both, half != Made::Nothing);
            return begun(2, 1);
        }
        drop(exposed);
        rounds.clear(area);
        rounds.pass(area, count - FIRST);
        Directly::Done
    }
}

/// Waits for the other rank's post, while it does its half; `false` when it does not come, or does something else.
fn await_other(area: &Area, number: u32, signature: u64) -> bool {
    let mut looks = 0;
    while !area.all_posted(number) {
        looks += 1;
        let most = if area.is_helped() {
            100 * HALVES_LOOKS_MAX
        } else {
            HALVES_LOOKS_MAX
        };
        if looks > most {
            return false;
        }
        std::hint::spin_loop();
    }
    area.all_signed(number, signature)
}

impl Rounds {
    /// Nobody posts the next rounds, so many: there is nothing under way.
    pub(super) fn pass(&mut self, area: &Area, count: u32) {
        self.posted = self.posted.wrapping_add(count);
        self.cleared = self.cleared.wrapping_add(count);
        area.pass(self.cleared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_carry_every_byte_once() {
        for element in [1, 8, 24, 5000] {
            let length = HALVES_BYTES_MIN.div_ceil(element) * element + 3 * element;
            let chunk = 32 * 1024 / element * element;
            let halves = Halves::of(2, length, element, chunk).expect("it is long");
            let mut at = 0;
            for index in 0..halves.count() {
                let range = halves.range(index);
                if index < FIRST {
                    assert!(range.is_empty());
                    continue;
                }
                assert!(range.start == at && range.len() <= chunk && !range.is_empty());
                assert_eq!(range.start % element, 0);
                at = range.end;
            }
            assert_eq!(at, length);
            assert_eq!(halves.half(0).end, halves.half(1).start);
        }
        assert_eq!(Halves::of(3, 1 << 30, 8, 8), None);
    }
}
