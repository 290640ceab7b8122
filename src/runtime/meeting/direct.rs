//! The shortest way for a collective that blocks: while there is nothing else to do, a rank puts in its part,
//! looks for those of the others for a moment, and has the result, without a place on the table. With a core to
//! itself it spins meanwhile; in a crowd it leaves its core to others after each look, and does not hold the lock.
//!
//! What does not end within that moment goes on the general way, from where it was left. So it is with
//! whatever is not simple: other operations of this kind under way, failures, ranks that do not agree.

use std::ops::Range;
use std::time::Instant;

use super::boards::combine;
use super::exchange::{Exchange, agree, exchanges, part_to_post, posted_bytes, take_posts};
use super::work::combine_slots;
use super::{Begun, Form, Meetings, chunk_bytes, halves, on_boards, piece_bytes};
use crate::base::ids::Context;
use crate::limits::{
    BOARDS_AHEAD, DIRECT_CROWDED_LOOKS, DIRECT_LOOKS_MAX, DIRECT_PER_TURN, DIRECT_YIELDS_MAX,
    MEETING_PIECE_BYTES,
};
use crate::pod::operator::Reducer;
use crate::runtime::dispute::CollectiveCall;
use crate::runtime::progress::Core;
use crate::runtime::{Reach, Runtime};
use crate::transport::Area;

/// A collective that may end at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirectCall {
    pub(crate) context: Context,
    pub(crate) sequence: u64,
    pub(crate) signature: u64,
    /// Bytes of an element.
    pub(crate) element: usize,
    pub(crate) form: Form,
    pub(crate) described: CollectiveCall,
}

/// How far a collective came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Directly {
    /// It is done.
    Done,
    /// Something of it is: [`begun`](super::Way::begun).
    Begun(Begun),
    /// Nothing was done.
    No,
}

/// Memory for pieces of what others have posted, aligned for elements.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Scratch([u8; MEETING_PIECE_BYTES]);

impl Scratch {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self([0; MEETING_PIECE_BYTES]))
    }
}

impl Runtime {
    /// Whether contributions to a collective go to cells, from wherever they are. Those that are so short that it may be done
    /// directly do not.
    pub(crate) fn meets_in_cells(&self, form: Form, block: usize) -> bool {
        if block <= MEETING_PIECE_BYTES {
            return false;
        }
        let core = self.station.lock();
        let meetings = core.meetings.as_ref();
        meetings.is_some_and(|meetings| !on_boards(&meetings.area, form, block))
    }

    /// Does a collective, as far as that is possible within a moment. `own` holds the result in the end, and before that this
    /// rank's contribution, if there is no `input`; when only something was done, also if there is, unless blocks are exchanged.
    pub(crate) fn meet_directly(
        &self,
        call: &DirectCall,
        (input, own): (Option<&[u8]>, &mut [u8]),
        reducer: Option<&dyn Reducer>,
    ) -> Directly {
        let _breaks_off = self.station.breaks_off(&call.described);
        let mut core = self.station.lock();
        let Some(crowded) = core.may_meet_directly(call) else {
            return Directly::No;
        };
        let divided = core
            .meetings
            .as_ref()
            .and_then(|meetings| halves(&meetings.area, call.form, own.len(), call.element));
        if let (Some(halves), Some(reducer)) = (divided, reducer) {
            let how = match &mut core.meetings {
                Some(meetings) if !crowded => {
                    meetings.make_halves(call, &halves, (input, own), reducer)
                }
                _ => Directly::No,
            };
            if how == Directly::Done {
                core.is_done(call);
            }
            return how;
        }
        let Some(mut talk) = core.meetings.as_mut().and_then(|meetings| {
            let given = input.map_or(own.len(), <[u8]>::len);
            Talk::begin(meetings, call, given)
        }) else {
            return Directly::No;
        };
        if let Form::Bcast { .. } = call.form {
            // The root leaves before others know what they think of it.
            core.note_call(call.context, call.sequence, call.signature);
        }
        let given = input.filter(|_| exchanges(call.form));
        if let (Some(input), None) = (input, given) {
            own.copy_from_slice(input);
        }
        let mut looks = if crowded { 1 } else { DIRECT_LOOKS_MAX };
        let mut yields = if crowded { DIRECT_YIELDS_MAX } else { 0 };
        loop {
            let step = match &mut core.meetings {
                Some(meetings) => talk.go_on(meetings, (given, own), reducer, looks),
                None => Step::Stuck,
            };
            match step {
                Step::Done => break,
                Step::Waits { elsewhere: true } if looks == 1 => {
                    looks = DIRECT_CROWDED_LOOKS;
                    continue;
                }
                Step::Waits { .. } if yields > 0 => {}
                Step::Waits { .. } | Step::Stuck => return Directly::Begun(talk.begun),
            }
            looks = 1;
            yields -= 1;
            drop(core);
            std::thread::yield_now();
            core = self.station.lock();
            if !core.is_free_for(call) {
                return Directly::Begun(talk.begun);
            }
        }
        core.is_done(call);
        Directly::Done
    }
}

impl Core {
    /// Whether ranks outnumber cores; `None` when the collective has to go the general way.
    fn may_meet_directly(&mut self, call: &DirectCall) -> Option<bool> {
        let fits = (1..=MEETING_PIECE_BYTES).contains(&call.element);
        self.direct = self.direct.wrapping_add(1);
        // The general way also looks at everything else, now and then.
        let turn = self.direct % DIRECT_PER_TURN == 0;
        let crowded = self.fabric.is_crowded();
        if turn && crowded == Some(true) {
            self.fabric.spread(Instant::now());
        }
        let may = fits && !turn && self.is_free_for(call);
        crowded.filter(|_| may)
    }

    fn is_done(&mut self, call: &DirectCall) {
        let past = (call.context, call.sequence, call.signature, call.described);
        self.state.disputes.remember(past);
        self.activity += 1;
    }

    fn is_free_for(&self, call: &DirectCall) -> bool {
        let idle = self.state.collectives.is_empty() && self.sleepers == 0 && !self.polling;
        idle && self.check_open(call.context, Reach::All).is_ok()
    }
}

enum Step {
    Done,
    /// Others have to come first; those were all seen on other processors.
    Waits {
        elsewhere: bool,
    },
    /// The general way has to go on.
    Stuck,
}

/// One collective, as long as it goes well.
struct Talk {
    /// In rounds on boards, not in a cell.
    boards: bool,
    form: Form,
    exchange: Option<Exchange>,
    count: u32,
    /// Bytes of a part.
    chunk: usize,
    element: usize,
    signature: u64,
    begun: Begun,
}

impl Talk {
    /// Reserves its numbers; `None` when it is not simple.
    fn begin(meetings: &mut Meetings, call: &DirectCall, length: usize) -> Option<Self> {
        let (form, ranks) = (call.form, meetings.area.ranks());
        let boards = on_boards(&meetings.area, form, length);
        let exchange = Exchange::of(ranks, form, length).filter(Exchange::is_short);
        let free = if boards {
            meetings.rounds.are_over()
        } else {
            let short = match form {
                Form::Barrier | Form::Allreduce => length <= piece_bytes(call.element) / 2,
                Form::Bcast { .. } => length <= chunk_bytes(call.element),
                _ => exchange.is_some(),
            };
            short && meetings.abandoned.is_empty()
        };
        if !free {
            return None;
        }
        let chunk = chunk_bytes(call.element);
        let count = if boards {
            let posted = posted_bytes(form, length, ranks);
            posted.div_ceil(chunk).max(1) as u32
        } else {
            1
        };
        let begun = Begun {
            first: meetings.reserve(boards, count),
            entered: 0,
            left: 0,
            disputed: false,
        };
        Some(Self {
            boards,
            form,
            exchange,
            count,
            chunk,
            element: call.element,
            signature: call.signature,
            begun,
        })
    }

    fn go_on(
        &mut self,
        meetings: &mut Meetings,
        (given, own): (Option<&[u8]>, &mut [u8]),
        reducer: Option<&dyn Reducer>,
        looks: u32,
    ) -> Step {
        match (self.exchange, given, self.form) {
            _ if self.boards => self.go_on_with_boards(meetings, (given, own), reducer, looks),
            (Some(exchange), Some(input), _) => {
                self.exchange_in_cell(&meetings.area, &exchange, (input, own), looks)
            }
            (.., Form::Bcast { root }) => self.bcast_in_cell(&meetings.area, root, own, looks),
            _ => self.go_on_with_cell(meetings, own, reducer, looks),
        }
    }

    fn go_on_with_boards(
        &mut self,
        meetings: &mut Meetings,
        (given, own): (Option<&[u8]>, &mut [u8]),
        reducer: Option<&dyn Reducer>,
        looks: u32,
    ) -> Step {
        let Meetings {
            area,
            rounds,
            scratch,
            ..
        } = meetings;
        let (area, begun) = (&*area, &mut self.begun);
        while begun.left < self.count {
            while begun.entered < self.count && begun.entered - begun.left < BOARDS_AHEAD {
                let number = begun.first.wrapping_add(begun.entered);
                if !rounds.may_post(area, number) {
                    break;
                }
                let part = match given {
                    Some(input) => {
                        let posted = posted_bytes(self.form, input.len(), area.ranks());
                        let range = range_of(posted, begun.entered, self.chunk);
                        part_to_post(area, self.form, input, range)
                    }
                    None => part_of(own, begun.entered, self.chunk),
                };
                rounds.post(area, self.signature, part);
                begun.entered += 1;
            }
            let number = begun.first.wrapping_add(begun.left);
            if begun.left == begun.entered {
                return Step::Waits { elsewhere: false };
            }
            if !await_until(looks, || area.all_posted(number)) {
                let elsewhere = looks == 1 && area.is_held_up_elsewhere(number);
                return Step::Waits { elsewhere };
            }
            if !area.all_signed(number, self.signature) {
                return Step::Stuck;
            }
            if let Some(input) = given {
                let posted = posted_bytes(self.form, input.len(), area.ranks());
                let range = range_of(posted, begun.left, self.chunk);
                take_posts(area, self.form, number, (input, own), range);
            } else if let Some(reducer) = reducer {
                let part = part_of(own, begun.left, self.chunk);
                let scratch = &mut scratch.get_or_insert_with(Scratch::new).0;
                let scratch = &mut scratch[..piece_bytes(self.element)];
                combine(area, number, part, scratch, reducer);
            }
            rounds.clear(area);
            begun.left += 1;
        }
        Step::Done
    }

    fn exchange_in_cell(
        &mut self,
        area: &Area,
        exchange: &Exchange,
        (input, output): (&[u8], &mut [u8]),
        looks: u32,
    ) -> Step {
        let begun = &mut self.begun;
        let number = begun.first;
        if begun.entered == 0 {
            if !await_until(looks, || area.is_open(number)) {
                return Step::Waits { elsewhere: false };
            }
            begun.entered = 1;
            area.sign(number, area.me(), self.signature);
            exchange.enter(area, number, input, false);
            if area.arrive(number) {
                area.call_sleepers(number);
            }
        }
        if !await_until(looks, || area.is_full(number)) {
            return Step::Waits { elsewhere: false };
        }
        if !agree(area, number, self.signature) {
            return Step::Stuck;
        }
        exchange.take_all(area, number, input, output);
        self.leave(area)
    }

    /// The root leaves without a look at the others.
    fn bcast_in_cell(&mut self, area: &Area, root: usize, own: &mut [u8], looks: u32) -> Step {
        let begun = &mut self.begun;
        let (number, result) = (begun.first, area.result());
        if begun.entered == 0 {
            if !await_until(looks, || area.is_open(number)) {
                return Step::Waits { elsewhere: false };
            }
            begun.entered = 1;
            if area.me() == root {
                area.sign(number, result, self.signature);
                area.write(number, result, own.len(), 0, own);
                area.finish(number, 1);
                area.call_sleepers(number);
                return self.leave(area);
            }
        }
        if !await_until(looks, || area.is_finished(number, 1)) {
            return Step::Waits { elsewhere: false };
        }
        if area.signature(number, result) != self.signature {
            return Step::Stuck;
        }
        area.read(number, result, own.len(), 0, own);
        self.leave(area)
    }

    fn leave(&mut self, area: &Area) -> Step {
        let begun = &mut self.begun;
        begun.left = 1;
        begun.disputed = !area.leave(begun.first, self.signature);
        if begun.disputed {
            Step::Stuck
        } else {
            Step::Done
        }
    }

    fn go_on_with_cell(
        &mut self,
        meetings: &mut Meetings,
        own: &mut [u8],
        reducer: Option<&dyn Reducer>,
        looks: u32,
    ) -> Step {
        let Meetings { area, scratch, .. } = meetings;
        let (area, begun) = (&*area, &mut self.begun);
        let number = begun.first;
        if begun.entered == 0 {
            if !await_until(looks, || area.is_open(number)) {
                return Step::Waits { elsewhere: false };
            }
            begun.entered = 1;
            let scratch = &mut scratch.get_or_insert_with(Scratch::new).0;
            begun.disputed = !enter(area, number, self.signature, own, scratch, reducer);
            if begun.disputed {
                return Step::Stuck;
            }
        }
        if !await_until(looks, || area.is_finished(number, 1)) {
            return Step::Waits { elsewhere: false };
        }
        if area.signature(number, area.result()) != self.signature {
            return Step::Stuck;
        }
        area.read(number, area.result(), own.len(), 0, own);
        self.leave(area)
    }
}

/// Puts this rank's part into a cell. The last one makes the result; `false` when it sees that not all agree.
fn enter(
    area: &Area,
    number: u32,
    signature: u64,
    own: &[u8],
    scratch: &mut [u8],
    reducer: Option<&dyn Reducer>,
) -> bool {
    area.sign(number, area.me(), signature);
    area.write(number, area.me(), own.len(), 0, own);
    if !area.arrive(number) {
        return true;
    }
    let agree = (0..area.ranks()).all(|rank| area.signature(number, rank) == signature);
    area.sign(number, area.result(), signature);
    if let Some(reducer) = reducer {
        let (sum, part) = scratch.split_at_mut(scratch.len() / 2);
        let (sum, part) = (&mut sum[..own.len()], &mut part[..own.len()]);
        combine_slots(area, number, (own.len(), 0), [sum, part], reducer);
        area.write(number, area.result(), own.len(), 0, sum);
    }
    area.finish(number, 1);
    area.call_sleepers(number);
    agree
}

fn await_until(looks: u32, ready: impl Fn() -> bool) -> bool {
    for look in 0..looks {
        if ready() {
            return true;
        }
        if look >= DIRECT_LOOKS_MAX / 4 {
            std::hint::spin_loop();
        }
    }
    false
}

/// The `index`-th part of so many bytes.
fn range_of(length: usize, index: u32, chunk: usize) -> Range<usize> {
    let from = index as usize * chunk;
    let to = length.min(from + chunk);
    from.min(to)..to
}

/// The `index`-th part.
fn part_of(own: &mut [u8], index: u32, chunk: usize) -> &mut [u8] {
    let range = range_of(own.len(), index, chunk);
    &mut own[range]
}
