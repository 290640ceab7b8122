//! Blocks that go from each rank to each other one, or from each of two ranks to both.
//!
//! Such a meeting takes one cell, whatever the length. If contributions fit into slots, and blocks are short, ranks put theirs in, and each
//! takes its blocks when all are there; or over boards, as others do. Of a longer one a rank says where it lies in its memory, and the others fetch their blocks from
//! there: one copy, and whose memory is read need not run. Nobody leaves before all have fetched what they need.
//!
//! Where the kernel does not allow that, which all learn from what each says in its line, contributions go through the
//! slots part by part: all put in theirs, then all take it, and so on. The ends of these stages are counted in the cell.

use std::ops::Range;

use super::work::Work;
use super::{Form, Meeting};
use crate::engine::BufferId;
use crate::limits::EXCHANGE_COPIED_BYTES_MAX;
use crate::runtime::buffers::Buffers;
use crate::transport::{Area, SHORT_BYTES, SLOT_BYTES, boards_take};

/// How an exchange goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// Of each rank, a block for each; or one for all.
    spread: bool,
    ranks: usize,
    /// Bytes of a block.
    block: usize,
    /// Stages to whose end this rank has come.
    stages: u64,
    /// The part of the contributions that goes through the slots now, if they go there.
    part: Option<u32>,
    /// This rank has taken it.
    taken: bool,
}

/// Whether blocks are exchanged.
pub(super) const fn exchanges(form: Form) -> bool {
    matches!(form, Form::Alltoall | Form::Allgather)
}

/// Bytes of one block of a contribution of so many bytes.
pub(super) const fn block_of(form: Form, contribution: usize, ranks: usize) -> usize {
    match form {
        Form::Alltoall => contribution / ranks,
        _ => contribution,
    }
}

/// What a rank posts on its board, where it does that: two ranks only what the other one needs.
pub(super) const fn posted_bytes(form: Form, contribution: usize, ranks: usize) -> usize {
    if ranks == 2 {
        block_of(form, contribution, ranks)
    } else {
        contribution
    }
}

/// Whether blocks are exchanged over boards.
pub(super) fn exchanges_on_boards(ranks: usize, form: Form, contribution: usize) -> bool {
    let bytes = posted_bytes(form, contribution, ranks);
    exchanges(form) && bytes <= EXCHANGE_COPIED_BYTES_MAX && boards_take(ranks, bytes)
}

impl Exchange {
    /// How blocks are exchanged in a cell; `None` when what all give is cut into chunks that take a cell each, as all need
    /// all of it.
    pub(super) fn of(ranks: usize, form: Form, contribution: usize) -> Option<Self> {
        let spread = form == Form::Alltoall;
        (spread || form == Form::Allgather && ranks == 2).then(|| Self {
            spread,
            ranks,
            block: block_of(form, contribution, ranks),
            stages: 0,
            part: None,
            taken: false,
        })
    }

    /// Bytes of a block in each part that goes through the slots.
    const fn part_bytes(&self) -> usize {
        if self.spread {
            SLOT_BYTES / self.ranks / 16 * 16
        } else {
            SLOT_BYTES
        }
    }

    const fn parts(&self) -> u32 {
        self.block.div_ceil(self.part_bytes()) as u32
    }

    /// Whether a whole contribution goes into a slot.
    pub(super) const fn is_short(&self) -> bool {
        self.block <= self.part_bytes() && self.block <= EXCHANGE_COPIED_BYTES_MAX
    }

    /// What the part with this number has of a block.
    fn range(&self, part: u32) -> Range<usize> {
        let start = part as usize * self.part_bytes();
        start..self.block.min(start + self.part_bytes())
    }

    /// Bytes of a part, of all blocks that a rank gives: as long as leave the lines of the slots alone where these are used otherwise.
    fn slot_bytes(&self, length: usize) -> usize {
        let blocks = if self.spread { self.ranks } else { 1 };
        let bytes = blocks * length;
        if self.is_short() {
            bytes
        } else {
            bytes.max(SHORT_BYTES + 1)
        }
    }

    /// Where a rank has the block for this one, in a contribution whose blocks are so long.
    const fn offset(&self, me: usize, block: usize) -> usize {
        if self.spread { me * block } else { 0 }
    }

    /// Writes a part of the contribution to this rank's slot.
    fn put(&self, area: &Area, number: u32, input: &[u8], part: u32) {
        let (range, blocks) = (self.range(part), if self.spread { self.ranks } else { 1 });
        let (length, all) = (range.len(), self.slot_bytes(range.len()));
        if self.is_short() {
            return area.write(number, area.me(), all, 0, input);
        }
        for block in 0..blocks {
            let from = block * self.block;
            let bytes = &input[from + range.start..from + range.end];
            area.write(number, area.me(), all, block * length, bytes);
        }
    }

    /// Takes a part of what the others have given.
    fn take(&self, area: &Area, number: u32, output: &mut [u8], part: u32) {
        let range = self.range(part);
        let (length, me) = (range.len(), area.me());
        for rank in (0..self.ranks).filter(|rank| *rank != me) {
            let into = rank * self.block;
            let bytes = &mut output[into + range.start..into + range.end];
            let offset = self.offset(me, length);
            area.read(number, rank, self.slot_bytes(length), offset, bytes);
        }
    }

    /// Fetches what the others have; `false` when that does not work.
    fn fetch(&self, area: &Area, number: u32, output: &mut [u8]) -> bool {
        let (me, ranks) = (area.me(), self.ranks);
        let mut others = (1..ranks).map(|distance| (me + distance) % ranks);
        others.all(|rank| {
            let into = rank * self.block;
            let bytes = &mut output[into..into + self.block];
            let fetched = area.fetch(number, rank, self.offset(me, self.block), bytes);
            if let Err(error) = &fetched {
                tracing::debug!(%error, rank, "a block is not fetched");
            }
            fetched.is_ok()
        })
    }

    /// Copies the block that a rank gives to itself.
    fn keep(&self, me: usize, input: &[u8], output: &mut [u8]) {
        let from = self.offset(me, self.block);
        let into = me * self.block;
        output[into..into + self.block].copy_from_slice(&input[from..from + self.block]);
    }

    /// Says where this rank's contribution is, or puts it in.
    pub(super) fn enter(&self, area: &Area, number: u32, input: &[u8], willing: bool) {
        if self.is_short() {
            self.put(area, number, input, 0);
        } else {
            area.offer(number, input, willing);
        }
    }

    /// Takes everything out of the slots.
    pub(super) fn take_all(&self, area: &Area, number: u32, input: &[u8], output: &mut [u8]) {
        self.keep(area.me(), input, output);
        self.take(area, number, output, 0);
    }

    /// What this rank waits for.
    pub(super) fn is_ready(&self, area: &Area, number: u32, entered: bool) -> bool {
        match (entered, self.stages) {
            (false, _) => area.is_open(number),
            (true, 0) => area.is_full(number),
            (true, stage) => area.has_ended(number, stage as u32),
        }
    }

    fn end_stage(&mut self, area: &Area, number: u32) {
        self.stages += 1;
        area.end_stage(number, self.stages as u32);
    }

    /// Goes on when a stage has ended, with those that follow; `true` when this rank has everything.
    fn go_on(
        &mut self,
        area: &Area,
        number: u32,
        (input, output): (&[u8], &mut [u8]),
        reads: &mut Option<bool>,
    ) -> bool {
        match self.part {
            None if self.stages == 0 => {
                self.keep(area.me(), input, output);
                if self.is_short() {
                    self.take(area, number, output, 0);
                    return true;
                }
                if area.all_willing(number) {
                    let may = *reads.get_or_insert_with(|| area.can_read_all());
                    let got = may && self.fetch(area, number, output);
                    area.note_fetched(number, got);
                } else {
                    self.part = Some(0);
                    self.put(area, number, input, 0);
                }
            }
            None if area.all_fetched(number) => return true,
            None => {
                self.part = Some(0);
                self.put(area, number, input, 0);
            }
            Some(part) if !self.taken => {
                self.take(area, number, output, part);
                if part + 1 == self.parts() {
                    return true;
                }
                self.taken = true;
            }
            Some(part) => {
                self.taken = false;
                self.part = Some(part + 1);
                self.put(area, number, input, part + 1);
            }
        }
        self.end_stage(area, number);
        false
    }
}

/// What a rank gives, and where it takes.
fn both(buffers: &mut Buffers, places: [Option<BufferId>; 3]) -> Option<(&[u8], &mut [u8])> {
    buffers.beside(places[0]?, places[1]?)
}

impl Work<'_> {
    /// Goes on with an exchange in a cell; `false` when that has to wait.
    pub(super) fn exchange(
        &mut self,
        meeting: &mut Meeting,
        mut exchange: Exchange,
        reads: &mut Option<bool>,
    ) -> bool {
        let (area, number) = (self.area, meeting.first);
        if !exchange.is_ready(area, number, meeting.entered > 0) {
            return false;
        }
        let Some((input, output)) = both(self.buffers, self.places) else {
            return false;
        };
        if meeting.entered == 0 {
            area.sign(number, area.me(), meeting.signature);
            exchange.enter(area, number, input, *reads != Some(false));
            meeting.entered = 1;
            if area.arrive(number) {
                area.call_sleepers(number);
            }
            return true;
        }
        if exchange.stages == 0 && !agree(area, number, meeting.signature) {
            meeting.disputed = true;
            return true;
        }
        if exchange.go_on(area, number, (input, output), reads) {
            meeting.left = 1;
            meeting.disputed = !area.leave(number, meeting.signature);
        }
        meeting.exchange = Some(exchange);
        true
    }

    /// What is posted in a round of an exchange.
    pub(super) fn part_to_post(&self, range: Range<usize>, form: Form) -> &[u8] {
        let bytes = self.places[0].and_then(|buffer| self.buffers.bytes(buffer));
        let bytes = bytes.unwrap_or_default();
        part_to_post(self.area, form, bytes, range)
    }

    /// Takes what was posted in a round.
    pub(super) fn take_posts(&mut self, form: Form, number: u32, range: Range<usize>) {
        if let Some((input, output)) = both(self.buffers, self.places) {
            take_posts(self.area, form, number, (input, output), range);
        }
    }
}

/// Whether all who have arrived believe that they do the same.
pub(super) fn agree(area: &Area, number: u32, signature: u64) -> bool {
    (0..area.ranks()).all(|rank| area.signature(number, rank) == signature)
}

/// What a rank posts in a round that carries this range.
pub(super) fn part_to_post<'a>(
    area: &Area,
    form: Form,
    input: &'a [u8],
    range: Range<usize>,
) -> &'a [u8] {
    let from = match form {
        Form::Alltoall if area.ranks() == 2 => (1 - area.me()) * (input.len() / 2),
        _ => 0,
    };
    input
        .get(from + range.start..from + range.end)
        .unwrap_or_default()
}

/// Takes what all have posted in a round that carries this range.
pub(super) fn take_posts(
    area: &Area,
    form: Form,
    number: u32,
    (input, output): (&[u8], &mut [u8]),
    range: Range<usize>,
) {
    let (me, ranks) = (area.me(), area.ranks());
    let block = block_of(form, input.len(), ranks);
    let all = range.len();
    // Of more than two ranks each has posted its blocks for all.
    let (spread, whole) = (form == Form::Alltoall, form == Form::Alltoall && ranks > 2);
    let part = if whole { 0..block } else { range };
    for rank in 0..ranks {
        let into = &mut output[rank * block + part.start..rank * block + part.end];
        if rank == me {
            let from = if spread { me * block } else { 0 };
            into.copy_from_slice(&input[from + part.start..from + part.end]);
        } else {
            let from = if whole { me * block } else { 0 };
            area.read_post(number, rank, (all, from), into);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::transport::areas_of_one_process;

    fn blocks(from: usize, to: usize, length: usize) -> Vec<u8> {
        let byte = |index: usize| (index * 7 + index / 300 + 50 * from + 90 * to) as u8;
        (0..length).map(byte).collect()
    }

    /// Ranks take turns; gives which of them know whether they can read the others' memory.
    fn exchange(form: Form, block: usize, areas: &[Area]) -> Vec<Option<bool>> {
        let ranks = areas.len();
        let all = |from: usize| match form {
            Form::Alltoall => (0..ranks).flat_map(|to| blocks(from, to, block)).collect(),
            _ => blocks(from, ranks, block),
        };
        let given: Vec<Vec<u8>> = (0..ranks).map(all).collect();
        let mut taken = vec![vec![0; ranks * block]; ranks];
        let begun = Exchange::of(ranks, form, given[0].len()).expect("in one cell");
        let mut states = vec![begun; ranks];
        let mut reads = vec![None; ranks];
        let mut done = vec![false; ranks];
        for (area, input) in areas.iter().zip(&given) {
            assert!(begun.is_ready(area, 0, false));
            begun.enter(area, 0, input, true);
            area.arrive(0);
        }
        while done.contains(&false) {
            for (rank, area) in areas.iter().enumerate() {
                let state = &mut states[rank];
                if !done[rank] && state.is_ready(area, 0, true) {
                    let both = (&given[rank][..], &mut taken[rank][..]);
                    done[rank] = state.go_on(area, 0, both, &mut reads[rank]);
                }
            }
        }
        for (rank, taken) in taken.iter().enumerate() {
            let to = if form == Form::Alltoall { rank } else { ranks };
            let due: Vec<u8> = (0..ranks)
                .flat_map(|from| blocks(from, to, block))
                .collect();
            assert!(*taken == due, "{form:?} of {block} bytes, rank {rank}");
        }
        reads
    }

    #[test]
    fn blocks_arrive_whether_they_can_be_fetched_or_not() {
        for readable in [true, false] {
            for block in [0, 5, 16_000, 16_385, 21_840, 21_841, 100_003] {
                let three: [Area; 3] = areas_of_one_process(readable);
                let reads = exchange(Form::Alltoall, block, &three);
                let tried = [true, readable, readable].map(Some);
                let none = [None; 3];
                let expected = if block > EXCHANGE_COPIED_BYTES_MAX {
                    tried
                } else {
                    none
                };
                assert_eq!(reads, expected, "{block}");
                let two: [Area; 2] = areas_of_one_process(readable);
                exchange(Form::Allgather, block, &two);
            }
        }
    }

    #[test]
    fn what_all_need_of_many_is_not_exchanged_in_one_cell() {
        assert_eq!(Exchange::of(3, Form::Allgather, 100), None);
        assert_eq!(Exchange::of(2, Form::Allreduce, 100), None);
    }
}
