//! The shortest way for a collective that blocks: while there is nothing else to do, a rank posts its part,
//! looks for those of the others for a moment, and has the result, without a place on the table.
//!
//! What does not end within that moment goes on the general way, from where it was left. So it is with
//! whatever is not simple: other operations of this kind under way, failures, ranks that do not agree.

use super::boards::{Rounds, combine};
use super::{Begun, Form, chunk_bytes, on_boards, piece_bytes};
use crate::base::ids::Context;
use crate::limits::{BOARDS_AHEAD, DIRECT_LOOKS_MAX, DIRECT_PER_TURN, MEETING_PIECE_BYTES};
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
    /// Does a collective on boards, as far as that is possible within a moment. `own` holds this rank's
    /// contribution, and then the result.
    pub(crate) fn meet_directly(
        &self,
        call: &DirectCall,
        own: &mut [u8],
        reducer: Option<&dyn Reducer>,
    ) -> Directly {
        let mut core = self.station.lock();
        if !core.may_meet_directly(call) {
            return Directly::No;
        }
        let Some(meetings) = &mut core.meetings else {
            return Directly::No;
        };
        let fits = on_boards(&meetings.area, call.form, own.len());
        if !fits || !meetings.rounds.are_over() {
            return Directly::No;
        }
        let scratch = meetings.scratch.get_or_insert_with(Scratch::new);
        let mut talk = Talk {
            area: &meetings.area,
            rounds: &mut meetings.rounds,
            chunk: chunk_bytes(call.element),
            signature: call.signature,
            scratch: &mut scratch.0[..piece_bytes(call.element)],
            reducer,
        };
        let how = talk.hold(own);
        if how == Directly::Done {
            let Core { state, .. } = &mut *core;
            let past = (call.context, call.sequence, call.signature, call.described);
            state.disputes.remember(past);
            core.activity += 1;
        }
        how
    }
}

impl Core {
    fn may_meet_directly(&mut self, call: &DirectCall) -> bool {
        let open = self.check_open(call.context, Reach::All).is_ok();
        let idle = self.state.collectives.is_empty() && self.sleepers == 0 && !self.polling;
        let fits = (1..=MEETING_PIECE_BYTES).contains(&call.element);
        self.direct = self.direct.wrapping_add(1);
        // The general way also looks at everything else, now and then.
        let turn = self.direct % DIRECT_PER_TURN == 0;
        open && idle && fits && !turn && self.fabric.is_crowded() == Some(false)
    }
}

/// One collective, as long as it goes well.
struct Talk<'a> {
    area: &'a Area,
    rounds: &'a mut Rounds,
    /// Bytes of a part.
    chunk: usize,
    signature: u64,
    scratch: &'a mut [u8],
    reducer: Option<&'a dyn Reducer>,
}

impl Talk<'_> {
    fn hold(&mut self, own: &mut [u8]) -> Directly {
        let count = own.len().div_ceil(self.chunk).max(1) as u32;
        let first = self.rounds.reserve(count);
        let (mut entered, mut left) = (0, 0);
        while left < count {
            while entered < count && entered - left < BOARDS_AHEAD && self.post(own, first, entered)
            {
                entered += 1;
            }
            let number = first.wrapping_add(left);
            let agreed = left < entered
                && self.await_posts(number)
                && self.area.all_signed(number, self.signature);
            if !agreed {
                let begun = Begun {
                    first,
                    entered,
                    left,
                };
                return Directly::Begun(begun);
            }
            if let Some(reducer) = self.reducer {
                let part = part_of(own, left as usize, self.chunk);
                combine(self.area, number, part, self.scratch, reducer);
            }
            self.rounds.clear(self.area);
            left += 1;
        }
        Directly::Done
    }

    fn post(&mut self, own: &mut [u8], first: u32, index: u32) -> bool {
        let may = self.rounds.may_post(self.area, first.wrapping_add(index));
        if may {
            let part = part_of(own, index as usize, self.chunk);
            self.rounds.post(self.area, self.signature, part);
        }
        may
    }

    fn await_posts(&self, number: u32) -> bool {
        for look in 0..DIRECT_LOOKS_MAX {
            if self.area.all_posted(number) {
                return true;
            }
            if look >= DIRECT_LOOKS_MAX / 4 {
                std::hint::spin_loop();
            }
        }
        false
    }
}

/// The `index`-th part.
fn part_of(own: &mut [u8], index: usize, chunk: usize) -> &mut [u8] {
    let from = index * chunk;
    let to = own.len().min(from + chunk);
    &mut own[from.min(to)..to]
}
