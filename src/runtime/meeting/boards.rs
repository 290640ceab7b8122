//! One rank's part in a meeting on boards: posting, reading what all have posted.

use std::ops::Range;

use super::exchange::exchanges;
use super::halves::{FIRST, Made, made};
use super::work::Work;
use super::{Form, Meeting};
use crate::limits::BOARDS_AHEAD;
use crate::pod::operator::Reducer;
use crate::schedule::Order;
use crate::transport::{Area, ROUNDS};

/// What one rank knows of the rounds of its world.
#[derive(Debug)]
pub(super) struct Rounds {
    /// The next one that no collective has.
    next: u32,
    /// The next one that this rank posts.
    pub(super) posted: u32,
    /// The next one that it clears.
    pub(super) cleared: u32,
    /// Those before this one were seen to have room.
    room: u32,
    /// Rounds of collectives that this rank has given up; `true` for those that it has posted.
    abandoned: Vec<(u32, bool)>,
}

impl Rounds {
    pub(super) const fn new() -> Self {
        Self {
            next: 0,
            posted: 0,
            cleared: 0,
            room: ROUNDS,
            abandoned: Vec::new(),
        }
    }

    /// Numbers for so many rounds. Gives the first.
    pub(super) const fn reserve(&mut self, count: u32) -> u32 {
        let first = self.next;
        self.next = first.wrapping_add(count);
        first
    }

    /// Whether this rank has posted and cleared everything.
    pub(super) const fn are_over(&self) -> bool {
        self.next == self.cleared
    }

    /// Whether it is the turn of this round, and there is room for it.
    pub(super) fn may_post(&mut self, area: &Area, number: u32) -> bool {
        if number == self.posted && !is_before(number, self.room) {
            self.room = area.room();
        }
        number == self.posted && is_before(number, self.room)
    }

    /// Whether there is room for this round and the one after it.
    pub(super) fn may_post_two(&mut self, area: &Area, number: u32) -> bool {
        let second = number.wrapping_add(1);
        if !is_before(second, self.room) {
            self.room = area.room();
        }
        number == self.posted && is_before(second, self.room)
    }

    pub(super) fn post(&mut self, area: &Area, signature: u64, part: &[u8]) {
        area.post(self.posted, signature, part);
        self.posted = self.posted.wrapping_add(1);
    }

    /// This rank needs nothing of the oldest round any more.
    pub(super) fn clear(&mut self, area: &Area) {
        area.clear(self.cleared);
        self.cleared = self.cleared.wrapping_add(1);
    }

    /// Whether there is something to do for a meeting now.
    pub(super) fn can_go_on(&self, area: &Area, meeting: &Meeting) -> bool {
        let (next, oldest) = (meeting.next(), meeting.oldest());
        let posts = meeting.has_next() && next == self.posted && is_before(next, area.room());
        posts || meeting.has_posted() && oldest == self.cleared && area.all_posted(oldest)
    }

    /// A meeting is given up. What was posted stays, as others may need it; what was not never will be.
    pub(super) fn abandon(&mut self, meeting: &Meeting) {
        let open = meeting.left..meeting.cells;
        self.abandoned.extend(open.map(|index| {
            let number = meeting.first.wrapping_add(index);
            (number, index < meeting.entered)
        }));
    }

    /// Goes past abandoned rounds as far as it is their turn.
    pub(super) fn pass_abandoned(&mut self, area: &Area) -> bool {
        let mut moved = false;
        let mut at = 0;
        while let Some(&(number, posted)) = self.abandoned.get(at) {
            if !posted && number == self.posted {
                self.posted = self.posted.wrapping_add(1);
                moved = true;
            }
            let passed = is_before(number, self.posted);
            if passed && number == self.cleared && (!posted || area.all_posted(number)) {
                self.clear(area);
                self.abandoned.remove(at);
                (moved, at) = (true, 0);
            } else {
                at += 1;
            }
        }
        moved
    }

    /// Before this rank sleeps. `false` when an abandoned round can be passed after all.
    pub(super) fn rest(&self, area: &Area) -> bool {
        if self.abandoned.is_empty() {
            return true;
        }
        area.will_sleep_over_boards();
        let waits = |&(number, posted): &(u32, bool)| {
            let turn = number == self.cleared && is_before(number, self.posted);
            !turn || posted && !area.all_posted(number)
        };
        self.abandoned.iter().all(waits)
    }
}

/// Numbers wrap around.
const fn is_before(number: u32, other: u32) -> bool {
    (other.wrapping_sub(number) as i32) > 0
}

impl Meeting {
    const fn next(&self) -> u32 {
        self.first.wrapping_add(self.entered)
    }

    const fn oldest(&self) -> u32 {
        self.first.wrapping_add(self.left)
    }

    fn has_next(&self) -> bool {
        let open = self.entered < self.cells && self.entered - self.left < BOARDS_AHEAD;
        open && !self.is_lost() && (self.halves.is_none() || self.may_carry(self.entered))
    }

    /// Of halves: whether it is known that this round is needed.
    fn may_carry(&self, index: u32) -> bool {
        index < FIRST || self.left >= FIRST && self.made_end(index).is_none()
    }

    /// Where the rounds end that would carry the half that this one is of, if it is made.
    fn made_end(&self, index: u32) -> Option<u32> {
        let halves = self.halves?;
        (0..2).find_map(|rank| {
            let rounds = halves.rounds(rank);
            (self.made[rank] && rounds.contains(&index)).then_some(rounds.end)
        })
    }

    /// What a round carries.
    fn range(&self, index: u32) -> Range<usize> {
        match &self.halves {
            Some(halves) => halves.range(index),
            None => self.offset(index)..self.offset(index) + self.length(index),
        }
    }

    fn has_posted(&self) -> bool {
        self.left < self.entered && !self.is_lost()
    }

    /// Whether it waits for nothing but that the other rank's death is known.
    fn is_lost(&self) -> bool {
        self.broken == Some(Made::Lost)
    }
}

impl Work<'_> {
    /// Posts the next part or reads the oldest round; `false` when neither is possible.
    pub(super) fn step_on_boards(&mut self, meeting: &mut Meeting, rounds: &mut Rounds) -> bool {
        let area = self.area;
        if meeting.has_next() && rounds.may_post(area, meeting.next()) {
            let range = meeting.range(meeting.entered);
            let part = match meeting.halves {
                Some(_) if meeting.entered == 1 => &[Made::Nothing.to_byte()],
                _ if exchanges(meeting.form) => self.part_to_post(range, meeting.form),
                _ => self.output().get(range).unwrap_or_default(),
            };
            rounds.post(area, meeting.signature, part);
            meeting.entered += 1;
            return true;
        }
        let number = meeting.oldest();
        let ready = meeting.has_posted() && number == rounds.cleared && area.all_posted(number);
        if !ready {
            return false;
        }
        if !area.all_signed(number, meeting.signature) {
            meeting.disputed = true;
            return true;
        }
        if meeting.halves.is_some() && meeting.left == 1 {
            let made = made(area, meeting.first);
            meeting.made = made.map(|half| half == Made::Whole);
            meeting.broken = Made::why_broken(made, area.me());
            if meeting.is_lost() {
                return true;
            }
        } else if meeting.form == Form::Allreduce {
            self.combine_posts(meeting, number);
        } else if exchanges(meeting.form) {
            self.take_posts(meeting.form, number, meeting.range(meeting.left));
        }
        meeting.left += 1;
        rounds.clear(area);
        while meeting.left >= FIRST && meeting.left == meeting.entered {
            let end = if meeting.broken.is_some() {
                (meeting.left < meeting.cells).then_some(meeting.cells)
            } else {
                meeting.made_end(meeting.left)
            };
            let Some(end) = end else { break };
            rounds.pass(area, end - meeting.left);
            (meeting.left, meeting.entered) = (end, end);
        }
        true
    }

    fn output(&self) -> &[u8] {
        let bytes = self.places[1].and_then(|buffer| self.buffers.bytes(buffer));
        bytes.unwrap_or_default()
    }

    /// Combines all parts of a round into the output, in the order of the ranks.
    fn combine_posts(&mut self, meeting: &Meeting, number: u32) {
        let places = self.places[1].zip(self.places[2]);
        let both = places.and_then(|(output, scratch)| self.buffers.both_mut([output, scratch]));
        let (Some([output, scratch]), Some(reducer)) = (both, self.reducer) else {
            return;
        };
        if let Some(own) = output.get_mut(meeting.range(meeting.left)) {
            combine(self.area, number, own, scratch, reducer);
        }
    }
}

/// Combines all posts of a round in the order of the ranks. `own` holds what this rank has posted, and then
/// the result; `scratch` has room for whole elements, of more than two ranks for two parts.
pub(super) fn combine(
    area: &Area,
    number: u32,
    own: &mut [u8],
    scratch: &mut [u8],
    reducer: &dyn Reducer,
) {
    let (length, ranks) = (own.len(), area.ranks());
    if length == 0 {
        return;
    }
    if ranks == 2 {
        let (other, order) = match area.me() {
            0 => (1, Order::IntoFrom),
            _ => (0, Order::FromInto),
        };
        let room = scratch.len();
        for (piece, index) in own.chunks_mut(room).zip(0..) {
            let part = &mut scratch[..piece.len()];
            area.read_post(number, other, (length, index * room), part);
            reducer.reduce(piece, part, order);
        }
        return;
    }
    let (sum, rest) = scratch.split_at_mut(length);
    let part = &mut rest[..length];
    area.read_post(number, 0, (length, 0), sum);
    for rank in 1..ranks {
        area.read_post(number, rank, (length, 0), part);
        reducer.reduce(sum, part, Order::IntoFrom);
    }
    own.copy_from_slice(sum);
}
