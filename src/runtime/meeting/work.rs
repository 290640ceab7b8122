//! One rank's part in a meeting: entering cells, making pieces of results, taking results.

use super::exchange::agree;
use super::{Form, Meeting, piece_bytes};
use crate::engine::BufferId;
use crate::pod::operator::Reducer;
use crate::runtime::buffers::Buffers;
use crate::schedule::Order;
use crate::transport::Area;

/// What it takes to do a part of a meeting.
pub(super) struct Work<'a> {
    pub(super) area: &'a Area,
    pub(super) buffers: &'a mut Buffers,
    /// Input, output, scratch.
    pub(super) places: [Option<BufferId>; 3],
    pub(super) reducer: Option<&'a dyn Reducer>,
}

impl Work<'_> {
    /// Enters the next cell or leaves the oldest one; `false` when neither is possible.
    pub(super) fn step(&mut self, meeting: &mut Meeting) -> bool {
        let number = meeting.first.wrapping_add(meeting.entered);
        if meeting.may_enter() && meeting.is_its_turn(self.area) {
            if meeting.chain {
                self.add(meeting, number);
            } else {
                self.enter(meeting, number);
            }
            return true;
        }
        if meeting.left < meeting.entered {
            return self.collect(meeting);
        }
        false
    }

    fn enter(&mut self, meeting: &mut Meeting, number: u32) {
        let (area, chunk) = (self.area, meeting.entered);
        let (length, offset) = (meeting.length(chunk), meeting.offset(chunk));
        let me = area.me();
        meeting.entered += 1;
        if let Form::Bcast { root } = meeting.form {
            if root == me {
                area.sign(number, area.result(), meeting.signature);
                self.write(number, area.result(), 1, length, offset);
                area.finish(number, 1);
                area.call_sleepers(number);
            }
            return;
        }
        area.sign(number, me, meeting.signature);
        self.write(number, me, self.contribution(meeting), length, offset);
        if !area.arrive(number) {
            return;
        }
        match meeting.form {
            Form::Barrier => {
                meeting.disputed |= !self.agree(meeting, number);
                area.sign(number, area.result(), meeting.signature);
                area.finish(number, 1);
            }
            Form::Allreduce if meeting.pieces(chunk) == 1 => {
                self.make_piece(meeting, number, 0, length);
                area.finish(number, 1);
            }
            _ => {}
        }
        area.call_sleepers(number);
    }

    /// Which of the places holds this rank's contribution.
    fn contribution(&self, meeting: &Meeting) -> usize {
        usize::from(meeting.form == Form::Allreduce && self.places[0].is_none())
    }

    /// Adds this rank's part to the result of a cell, to which all before it have added theirs.
    fn add(&mut self, meeting: &mut Meeting, number: u32) {
        let (area, chunk) = (self.area, meeting.entered);
        let (length, offset) = (meeting.length(chunk), meeting.offset(chunk));
        let place = self.contribution(meeting);
        if area.me() == 0 {
            area.sign(number, area.result(), meeting.signature);
            self.write(number, area.result(), place, length, offset);
        } else if area.signature(number, area.result()) == meeting.signature {
            self.combine_with_result(number, place, (length, offset));
        } else {
            meeting.disputed = true;
            return;
        }
        meeting.entered += 1;
        if area.arrive(number) {
            area.finish(number, 1);
            area.call_sleepers(number);
        } else {
            area.call_next();
        }
    }

    fn combine_with_result(&self, number: u32, place: usize, (length, offset): (usize, usize)) {
        let own = self.places[place].and_then(|buffer| self.buffers.bytes(buffer));
        let own = own.and_then(|own| own.get(offset..offset + length));
        if let (Some(own), Some(reducer)) = (own, self.reducer) {
            reducer.reduce_shared(self.area.sum(number, length), own);
        }
    }

    /// Takes what this rank needs of its oldest cell, and leaves it; `false` when it is not there yet.
    fn collect(&mut self, meeting: &mut Meeting) -> bool {
        let (area, chunk) = (self.area, meeting.left);
        let number = meeting.first.wrapping_add(chunk);
        let (length, offset) = (meeting.length(chunk), meeting.offset(chunk));
        let me = area.me();
        match meeting.form {
            Form::Reduce { root } if root != me => {} // Its part stays until the root has left.
            Form::Bcast { root } if root == me => {}
            _ if !meeting.is_ready(area) => return false,
            Form::Barrier | Form::Bcast { .. } => {
                if area.signature(number, area.result()) != meeting.signature {
                    meeting.disputed = true;
                    return true;
                }
                self.read(number, area.result(), length, offset);
            }
            Form::Allreduce => {
                let (pieces, mut helped) = (meeting.pieces(chunk), false);
                while let Some(piece) = area.claim(number, pieces) {
                    helped = true;
                    self.make_piece(meeting, number, piece, length);
                    if area.finish(number, pieces) {
                        area.call_sleepers(number);
                    }
                }
                if meeting.disputed {
                    return true;
                }
                if !area.is_finished(number, pieces) {
                    return helped;
                }
                if area.signature(number, area.result()) != meeting.signature {
                    meeting.disputed = true;
                    return true;
                }
                self.read(number, area.result(), length, offset);
            }
            Form::Alltoall => return false, // Blocks are exchanged otherwise.
            Form::Reduce { .. } | Form::Allgather => {
                if !self.agree(meeting, number) {
                    meeting.disputed = true;
                    return true;
                }
                if meeting.form == Form::Allgather {
                    for rank in 0..area.ranks() {
                        self.read(number, rank, length, rank * meeting.block + offset);
                    }
                } else {
                    self.reduce(number, length, offset);
                }
            }
        }
        meeting.left += 1;
        meeting.disputed |= !area.leave(number, meeting.signature);
        true
    }

    /// Whether all who have arrived believe that they do the same.
    fn agree(&self, meeting: &Meeting, number: u32) -> bool {
        agree(self.area, number, meeting.signature)
    }

    /// Copies a part of a place to a slot.
    fn write(&self, number: u32, slot: usize, place: usize, length: usize, offset: usize) {
        let bytes = self.places[place].and_then(|buffer| self.buffers.bytes(buffer));
        if let Some(bytes) = bytes.and_then(|bytes| bytes.get(offset..offset + length)) {
            self.area.write(number, slot, length, 0, bytes);
        }
    }

    /// Copies a slot to a part of the output.
    fn read(&mut self, number: u32, slot: usize, length: usize, offset: usize) {
        let bytes = self.places[1].and_then(|buffer| self.buffers.bytes_mut(buffer));
        if let Some(bytes) = bytes.and_then(|bytes| bytes.get_mut(offset..offset + length)) {
            self.area.read(number, slot, length, 0, bytes);
        }
    }

    /// Combines one piece of all contributions, and writes it to the result. Whoever makes the first
    /// piece sees to it that all agree.
    fn make_piece(&mut self, meeting: &mut Meeting, number: u32, piece: u32, length: usize) {
        let area = self.area;
        if piece == 0 {
            meeting.disputed |= !self.agree(meeting, number);
            area.sign(number, area.result(), meeting.signature);
        }
        let from = piece as usize * meeting.piece();
        let bytes = meeting.piece().min(length.saturating_sub(from));
        let scratch = self.places[2].and_then(|buffer| self.buffers.bytes_mut(buffer));
        let (Some(scratch), Some(reducer), true) = (scratch, self.reducer, bytes > 0) else {
            return;
        };
        let (sum, part) = scratch.split_at_mut(scratch.len() / 2);
        let (sum, part) = (&mut sum[..bytes], &mut part[..bytes]);
        combine_slots(area, number, (length, from), [sum, part], reducer);
        area.write(number, area.result(), length, from, sum);
    }

    /// Combines all contributions into the output.
    fn reduce(&mut self, number: u32, length: usize, offset: usize) {
        let area = self.area;
        self.read(number, 0, length, offset);
        let (Some(output), Some(scratch), Some(reducer)) =
            (self.places[1], self.places[2], self.reducer)
        else {
            return;
        };
        let half = self.buffers.bytes(scratch).map_or(0, <[u8]>::len) / 2;
        if half == 0 {
            return;
        }
        for rank in 1..area.ranks() {
            let mut from = 0;
            while from < length {
                let bytes = half.min(length - from);
                if let Some(part) = self.buffers.bytes_mut(scratch) {
                    area.read(number, rank, length, from, &mut part[..bytes]);
                }
                let (part, sum) = ((scratch, 0), (output, offset + from));
                let fits = self
                    .buffers
                    .reduce(reducer, part, sum, bytes, Order::IntoFrom);
                debug_assert!(fits, "a chunk lies within the output");
                from += bytes;
            }
        }
    }
}

/// Combines a piece of all contributions, which are `length` bytes long in all, in the order of the ranks: from
/// `from` on, as much as both pieces of memory hold, of which the first gets the result.
pub(super) fn combine_slots(
    area: &Area,
    number: u32,
    (length, from): (usize, usize),
    [sum, part]: [&mut [u8]; 2],
    reducer: &dyn Reducer,
) {
    area.read(number, 0, length, from, sum);
    for rank in 1..area.ranks() {
        area.read(number, rank, length, from, part);
        reducer.reduce(sum, part, Order::IntoFrom);
    }
}

/// Elements of scratch memory that a meeting needs.
pub(crate) fn scratch_elements(form: Form, element: usize, block: usize) -> usize {
    match form {
        Form::Allreduce | Form::Reduce { .. } => {
            2 * (piece_bytes(element).min(block).div_ceil(element.max(1)))
        }
        _ => 0,
    }
}
