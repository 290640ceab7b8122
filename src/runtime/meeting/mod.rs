//! Collectives whose ranks all run on one host: they meet in shared memory instead of sending messages.
//!
//! A contribution longer than a slot is cut into chunks, one for each cell; several chunks are under way
//! at once. When ranks outnumber cores this counts sleeps and switches, not messages: each rank runs
//! once to put in its part, and once to take the result. Whoever runs when all parts are there makes the
//! result, piece by piece, so no rank waits for one that is not scheduled. Contributions are combined in
//! the order of the ranks: the same ranks get the same bits, and operators need not be commutative.
//!
//! A long contribution to a blocking reduction to all need not be put in at all where ranks outnumber cores: they form a
//! chain, in which each adds its own from where it lies to the result of a cell when all before it have. So every byte
//! is moved once less, and ranks that could not run at once anyway lose little by waiting for each other. Behind the
//! first rank, which works on the next chunk already, the others follow on other cores.
//!
//! Few ranks with short contributions, and two with long ones, do not share the work: each posts its
//! contribution on its board, and makes the result for itself. A call that blocks does that without a place on
//! the table of collectives, while there is nothing else to do; see [`direct`]. Two ranks with very long ones share
//! the work after all, in their own memory; see [`halves`].
//!
//! Blocks for each rank from each other one are not combined, and long ones not put in: see [`exchange`].
//!
//! See [`cells`](crate::transport) and [`boards`](crate::transport) for how the memory is shared.

mod boards;
mod chain;
mod direct;
mod doubts;
mod exchange;
mod halves;
mod work;

use super::execute::Running;
use super::progress::Core;
use super::state::{CollectiveKey, Fault};
use crate::limits::{CELLS_AHEAD, CHAIN_BYTES_MIN, CHAIN_CHUNKS_MIN, MEETING_PIECE_BYTES};
pub(crate) use crate::transport::SLOT_BYTES;
use crate::transport::{Area, CELLS, boards_take};
use boards::Rounds;
use direct::Scratch;
pub(crate) use direct::{DirectCall, Directly};
use exchange::{Exchange, exchanges_on_boards, posted_bytes};
use halves::{Halves, Made, Pieces, halves};
use work::Work;
pub(crate) use work::scratch_elements;

/// What the ranks do when they meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Barrier,
    Bcast { root: usize },
    Reduce { root: usize },
    Allreduce,
    Allgather,
    Alltoall,
}

/// How a collective meets in shared memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) form: Form,
    /// Bytes of one rank's contribution.
    pub(crate) block: usize,
    /// What has been done of it without a place on the table.
    pub(crate) begun: Option<Begun>,
}

/// Rounds of a collective that were posted and read already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(super) first: u32,
    pub(super) entered: u32,
    pub(super) left: u32,
    /// The ranks do not agree.
    pub(super) disputed: bool,
}

/// A collective under way in shared memory.
#[derive(Clone, Debug)]
pub(crate) struct Meeting {
    form: Form,
    signature: u64,
    sequence: u64,
    element: usize,
    /// Bytes of one rank's contribution.
    block: usize,
    /// Bytes of it that one cell takes.
    chunk: usize,
    /// Number of the first cell, or round.
    first: u32,
    cells: u32,
    /// In rounds on boards, not in cells.
    boards: bool,
    /// One rank after the other adds its part to the result.
    chain: bool,
    /// Each of two ranks makes one half.
    halves: Option<Halves>,
    /// Blocks are exchanged, all in one cell.
    exchange: Option<Exchange>,
    /// The halves that are made.
    made: [bool; 2],
    /// Of a half some is made, and nobody can make the rest any more: why.
    broken: Option<Made>,
    /// Cells that this rank has put its part into.
    entered: u32,
    /// Cells that this rank is done with.
    left: u32,
    /// The ranks do not agree: nothing more is done.
    disputed: bool,
}

/// A cell that this rank has entered for a collective that it has given up.
#[derive(Clone, Copy, Debug)]
struct Abandoned {
    number: u32,
    form: Form,
    pieces: u32,
    signature: u64,
}

/// What one rank knows of the meetings of its world.
#[derive(Debug)]
pub(crate) struct Meetings {
    area: Area,
    /// Number of the next cell.
    next: u32,
    rounds: Rounds,
    /// Made when it is first needed.
    scratch: Option<Box<Scratch>>,
    /// The same for halves.
    pieces: Option<Box<Pieces>>,
    /// Whether this rank can reach the other one's memory, once that was tried.
    reaches: Option<bool>,
    /// Whether this rank can read the memory of all others, once that was tried.
    reads: Option<bool>,
    running: Vec<CollectiveKey>,
    abandoned: Vec<Abandoned>,
}

impl Meetings {
    pub(crate) const fn new(area: Area) -> Self {
        Self {
            rounds: Rounds::new(),
            scratch: None,
            pieces: None,
            reaches: None,
            reads: None,
            area,
            next: 0,
            running: Vec::new(),
            abandoned: Vec::new(),
        }
    }

    /// Numbers for a collective: of rounds, or of cells. Gives the first.
    fn reserve(&mut self, boards: bool, count: u32) -> u32 {
        if boards {
            return self.rounds.reserve(count);
        }
        let first = self.next;
        self.next = first.wrapping_add(count);
        first
    }
}

/// Bytes of the parts into which contributions are cut.
const fn chunk_bytes(element: usize) -> usize {
    SLOT_BYTES / element * element
}

/// As [`chunk_bytes`] where one rank after the other adds its part: so small that several do so at a time.
fn link_bytes(element: usize, block: usize) -> usize {
    let bytes = (block / CHAIN_CHUNKS_MIN).clamp(CHAIN_BYTES_MIN, SLOT_BYTES);
    (bytes / element).max(1) * element
}

/// Whether one rank after the other adds its part to the result, instead of all putting in theirs first. That takes the fewest
/// copies; but ranks that could all run at once would wait for each other.
fn is_chain(area: &Area, form: Form, block: usize) -> bool {
    form == Form::Allreduce && block > CHAIN_BYTES_MIN && area.outnumbers_cores()
}

fn on_boards(area: &Area, form: Form, block: usize) -> bool {
    let joint = matches!(form, Form::Barrier | Form::Allreduce);
    joint && boards_take(area.ranks(), block) || exchanges_on_boards(area.ranks(), form, block)
}

impl Meeting {
    /// Bytes of the `index`-th chunk.
    fn length(&self, index: u32) -> usize {
        (self.block - self.offset(index)).min(self.chunk)
    }

    const fn offset(&self, index: u32) -> usize {
        index as usize * self.chunk
    }

    /// Bytes of a piece of a result: whole elements.
    fn piece(&self) -> usize {
        piece_bytes(self.element)
    }

    fn pieces(&self, index: u32) -> u32 {
        let length = self.length(index);
        match self.form {
            Form::Allreduce if !self.chain => length.div_ceil(self.piece()).max(1) as u32,
            _ => 1,
        }
    }

    /// Whether the next chunk can be entered, as far as this rank is concerned.
    const fn may_enter(&self) -> bool {
        let ahead = if self.chain { CELLS } else { CELLS_AHEAD };
        self.entered < self.cells && self.entered - self.left < ahead
    }

    /// Whether nobody has to come before this rank in the next cell.
    fn is_its_turn(&self, area: &Area) -> bool {
        let number = self.first.wrapping_add(self.entered);
        area.is_open(number) && (!self.chain || area.arrived(number) == area.me())
    }

    /// Whether what is waited for in the oldest cell has happened.
    fn is_ready(&self, area: &Area) -> bool {
        let number = self.first.wrapping_add(self.left);
        is_ready(area, self.form, number, self.pieces(self.left))
    }
}

fn is_ready(area: &Area, form: Form, number: u32, pieces: u32) -> bool {
    match form {
        Form::Allreduce if pieces == 1 => area.is_finished(number, 1),
        Form::Barrier | Form::Bcast { .. } => area.is_finished(number, pieces),
        Form::Allreduce | Form::Reduce { .. } | Form::Allgather | Form::Alltoall => {
            area.is_full(number)
        }
    }
}

/// Bytes of a piece of a result: whole elements.
pub(crate) const fn piece_bytes(element: usize) -> usize {
    let elements = MEETING_PIECE_BYTES / element;
    if elements == 0 {
        element
    } else {
        elements * element
    }
}

impl Core {
    /// Begins a meeting; [`meet`](Self::meet) goes on with it.
    pub(crate) fn begin_meeting(&mut self, key: CollectiveKey) {
        let (Some(meetings), Some(running)) =
            (&mut self.meetings, self.state.collectives.get_mut(key))
        else {
            return;
        };
        let setting = &running.setting;
        let Some(way) = setting.meeting else {
            return;
        };
        let (form, ranks, whole) = (way.form, meetings.area.ranks(), way.block);
        let boards = on_boards(&meetings.area, form, whole);
        let exchange = Exchange::of(ranks, form, whole).filter(|_| !boards);
        let block = if boards {
            posted_bytes(form, whole, ranks)
        } else {
            whole
        };
        let blocks = !setting.call.nonblocking;
        let chain = !boards && blocks && is_chain(&meetings.area, form, block);
        let chunk = if chain {
            link_bytes(setting.element, block)
        } else {
            chunk_bytes(setting.element)
        };
        let halves = halves(&meetings.area, form, block, setting.element);
        let cells = match (halves, exchange) {
            (Some(halves), _) => halves.count(),
            (None, Some(_)) => 1,
            (None, None) => block.div_ceil(chunk).max(1) as u32,
        };
        let begun = way.begun.unwrap_or_else(|| Begun {
            first: meetings.reserve(boards, cells),
            entered: 0,
            left: 0,
            disputed: false,
        });
        running.meeting = Some(Meeting {
            form,
            signature: setting.signature,
            sequence: setting.sequence,
            element: setting.element,
            block,
            chunk,
            first: begun.first,
            cells,
            boards,
            chain,
            halves,
            exchange,
            made: [false; 2],
            broken: None,
            entered: begun.entered,
            left: begun.left,
            disputed: begun.disputed,
        });
        meetings.running.push(key);
        // A thread that sleeps has to look at it too.
        self.state.completions += 1;
        if begun.disputed {
            self.settle_dissent(key);
        } else {
            self.advance_meeting(key);
        }
    }

    /// Goes on with all meetings as far as that is possible now. `true` when anything was done.
    pub(crate) fn meet(&mut self) -> bool {
        let mut moved = false;
        let mut at = 0;
        while let Some(&key) = self
            .meetings
            .as_ref()
            .and_then(|meetings| meetings.running.get(at))
        {
            moved |= self.advance_meeting(key);
            let still = self
                .meetings
                .as_ref()
                .is_some_and(|meetings| meetings.running.get(at) == Some(&key));
            at += usize::from(still);
        }
        // What a thread waited for when it went to sleep may be over, and something else be waited for.
        self.state.completions += u64::from(moved);
        if let Some(meetings) = &mut self.meetings {
            let area = &meetings.area;
            meetings.abandoned.retain(|cell| {
                let over = is_ready(area, cell.form, cell.number, cell.pieces);
                if over {
                    // Should they disagree, it is no concern of this rank any more.
                    let _ = area.leave(cell.number, cell.signature);
                }
                !over
            });
            moved |= meetings.rounds.pass_abandoned(area);
        }
        moved
    }

    /// Whether a meeting waits for other ranks.
    pub(crate) fn is_meeting(&self) -> bool {
        self.meetings
            .as_ref()
            .is_some_and(|meetings| !meetings.running.is_empty())
    }

    /// Before this rank sleeps. `false` when there is something to do after all.
    pub(crate) fn rest_from_meetings(&self) -> bool {
        let Some(meetings) = &self.meetings else {
            return true;
        };
        let area = &meetings.area;
        let kept = meetings.abandoned.iter().all(|cell| {
            area.will_sleep(cell.number);
            !is_ready(area, cell.form, cell.number, cell.pieces)
        }) && meetings.rounds.rest(area);
        kept && meetings.running.iter().all(|key| {
            let running = self.state.collectives.get(*key);
            let Some(meeting) = running.and_then(|running| running.meeting.as_ref()) else {
                return true;
            };
            if meeting.disputed {
                return true;
            }
            if meeting.boards {
                area.will_sleep_over_boards();
                return !meetings.rounds.can_go_on(area, meeting);
            }
            if let Some(exchange) = &meeting.exchange {
                area.will_sleep(meeting.first);
                return !exchange.is_ready(area, meeting.first, meeting.entered > 0);
            }
            if meeting.may_enter() {
                let number = meeting.first.wrapping_add(meeting.entered);
                area.will_sleep(number);
                if meeting.is_its_turn(area) {
                    return false;
                }
            }
            if meeting.left < meeting.entered {
                area.will_sleep(meeting.first.wrapping_add(meeting.left));
                return !meeting.is_ready(area) || self.waits_for_pieces(meeting);
            }
            true
        })
    }

    /// Whether all that is left to do for a result is done by others.
    fn waits_for_pieces(&self, meeting: &Meeting) -> bool {
        let Some(meetings) = &self.meetings else {
            return false;
        };
        let number = meeting.first.wrapping_add(meeting.left);
        let pieces = meeting.pieces(meeting.left);
        meeting.form == Form::Allreduce
            && pieces > 1
            && !meetings.area.has_unclaimed(number, pieces)
            && !meetings.area.is_finished(number, pieces)
    }

    /// Does all that can be done now for one meeting.
    fn advance_meeting(&mut self, key: CollectiveKey) -> bool {
        let (mut moved, mut over, mut disputed, mut broken) = (false, false, false, None);
        if let (Some(meetings), Some(running)) =
            (&mut self.meetings, self.state.collectives.get_mut(key))
        {
            let Some(meeting) = &mut running.meeting else {
                return false;
            };
            if meeting.disputed || running.outcome.is_some() {
                return false;
            }
            let mut work = Work {
                area: &meetings.area,
                buffers: &mut self.state.buffers,
                places: running.setting.buffers,
                reducer: running.setting.reducer.as_deref(),
            };
            while !meeting.disputed && meeting.left < meeting.cells {
                let stepped = if meeting.boards {
                    work.step_on_boards(meeting, &mut meetings.rounds)
                } else if let Some(exchange) = meeting.exchange {
                    work.exchange(meeting, exchange, &mut meetings.reads)
                } else {
                    work.step(meeting)
                };
                if !stepped {
                    break;
                }
                moved = true;
            }
            over = meeting.left == meeting.cells;
            disputed = meeting.disputed;
            broken = meeting.broken.map(|_| meeting.block as u64);
        }
        if disputed {
            self.settle_dissent(key);
        } else if over {
            // The kernel reads memory, but has none to write to it.
            let outcome = broken.map_or(Ok(()), |bytes| Err(Fault::OutOfMemory(bytes)));
            self.finish_meeting(key, outcome);
        }
        moved
    }

    fn finish_meeting(&mut self, key: CollectiveKey, outcome: Result<(), Fault>) {
        if let Some(meetings) = &mut self.meetings {
            meetings.running.retain(|other| *other != key);
        }
        if let Some(running) = self.state.collectives.get_mut(key) {
            running.meeting = None;
            running.outcome.get_or_insert(outcome);
        }
        self.end_collective(key);
    }

    /// A collective is taken off the table: others may still need what this rank has put in.
    pub(crate) fn abandon_meeting(&mut self, key: CollectiveKey) {
        let meeting = self
            .state
            .collectives
            .get_mut(key)
            .and_then(|running: &mut Running| running.meeting.take());
        let (Some(meetings), Some(meeting)) = (&mut self.meetings, meeting) else {
            return;
        };
        meetings.running.retain(|other| *other != key);
        if meeting.boards {
            return meetings.rounds.abandon(&meeting);
        }
        if meeting.exchange.is_some() && meeting.entered > 0 {
            meetings.area.withdraw(meeting.first);
        }
        let open = meeting.left..meeting.entered;
        meetings.abandoned.extend(open.map(|index| Abandoned {
            number: meeting.first.wrapping_add(index),
            form: meeting.form,
            pieces: meeting.pieces(index),
            signature: meeting.signature,
        }));
    }
}
