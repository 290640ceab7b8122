//! Executes the schedule of a collective, step by step, as messages complete.
//!
//! Blocking and nonblocking forms are the same here: a [`Running`] collective advances whenever one of
//! its messages is done, in whichever call makes progress.

use std::sync::Arc;
use std::task::Waker;

use slotmap::{Key, KeyData};

use super::dispute::CollectiveCall;
use super::group::Group;
use super::meeting::{Meeting, Way};
use super::progress::Core;
use super::state::{CollectiveKey, Fault, Handle};
use crate::base::ids::Context;
use crate::engine::collective::tag;
use crate::engine::{
    BufferId, Capacity, Failure, Incoming, Mode, Outgoing, Owner, Pattern, SendStart,
};
use crate::pod::operator::Reducer;
use crate::schedule::{Dependencies, Place, Schedule, Span, Step};

/// What a collective needs besides its schedule.
#[derive(Clone)]
pub(crate) struct Setting {
    /// Its members.
    pub(crate) group: Group,
    /// The collective message space of its communicator.
    pub(crate) context: Context,
    /// Its number on that communicator.
    pub(crate) sequence: u64,
    /// What all ranks must agree on.
    pub(crate) signature: u64,
    /// Bytes of an element.
    pub(crate) element: usize,
    /// How the program called it.
    pub(crate) call: CollectiveCall,
    /// How elements are combined.
    pub(crate) reducer: Option<Arc<dyn Reducer>>,
    /// Buffers of the places: input, output, scratch.
    pub(crate) buffers: [Option<BufferId>; 3],
    /// How the ranks meet in shared memory; then there are no steps.
    pub(crate) meeting: Option<Way>,
}

/// A collective under way.
pub(crate) struct Running {
    schedule: Schedule,
    pub(super) setting: Setting,
    pub(super) meeting: Option<Meeting>,
    waiting_for: Vec<u32>,
    then: Dependencies,
    left: usize,
    steps: Vec<(Handle, Option<BufferId>)>,
    ready: Vec<u32>,
    pub(crate) outcome: Option<Result<(), Fault>>,
    pub(crate) waker: Option<Waker>,
    /// Nobody will ask for the outcome.
    pub(crate) forgotten: bool,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("algorithm", &self.schedule.algorithm)
            .field("sequence", &self.setting.sequence)
            .field("left", &self.left)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

fn collective_key(owner: u64) -> CollectiveKey {
    CollectiveKey::from(KeyData::from_ffi(owner))
}

impl Core {
    /// Begins a collective: everything that can be done at once is done.
    pub(crate) fn begin_collective(
        &mut self,
        schedule: Schedule,
        setting: Setting,
    ) -> CollectiveKey {
        let steps = schedule.steps.len();
        let waiting_for: Vec<u32> = (0..steps)
            .map(|step| schedule.after.of(step).len() as u32)
            .collect();
        let ready = (0..steps as u32)
            .rev()
            .filter(|&s| waiting_for[s as usize] == 0)
            .collect();
        let running = Running {
            then: schedule.after.reversed(),
            waiting_for,
            left: steps,
            steps: vec![(Handle::None, None); steps],
            ready,
            outcome: None,
            waker: None,
            forgotten: false,
            meeting: None,
            schedule,
            setting,
        };
        let (context, sequence) = (running.setting.context, running.setting.sequence);
        let signature = running.setting.signature;
        self.state
            .disputes
            .remember((context, sequence, signature, running.setting.call));
        self.note_call(context, sequence, signature);
        let meets = running.setting.meeting.is_some();
        let key = self.state.collectives.insert(running);
        self.state
            .engine
            .collective_begins(context, sequence, signature);
        if meets {
            self.begin_meeting(key);
        } else {
            self.advance(key);
        }
        key
    }

    /// One message of a collective is done.
    pub(crate) fn step_done(&mut self, owner: Owner, outcome: Result<(), Fault>) {
        let key = collective_key(owner.request);
        let Some(running) = self.state.collectives.get_mut(key) else {
            return;
        };
        let Some(step) = running.steps.get_mut(owner.step as usize) else {
            return;
        };
        let (_, view) = std::mem::replace(step, (Handle::None, None));
        if let Some(view) = view {
            self.state.buffers.take(view);
        }
        match outcome {
            Ok(()) => {
                running.finish_step(owner.step);
                self.advance(key);
            }
            // The dispute that began with it will end the collective.
            Err(Fault::Message(Failure::Type { .. })) => {}
            Err(fault) => self.fail_collective(key, fault),
        }
    }

    /// Ends a collective that cannot succeed.
    pub(crate) fn fail_collective(&mut self, key: CollectiveKey, fault: Fault) {
        self.stop_steps(key);
        if let Some(running) = self.state.collectives.get_mut(key) {
            running.outcome.get_or_insert(Err(fault));
        }
        self.end_collective(key);
    }

    /// The collective with this number, while it is on the table and not over.
    pub(crate) fn collective_of(&self, context: Context, sequence: u64) -> Option<CollectiveKey> {
        let found = self.state.collectives.iter().find(|(_, running)| {
            let setting = &running.setting;
            (setting.context, setting.sequence) == (context, sequence)
        });
        found
            .filter(|(_, running)| running.outcome.is_none())
            .map(|(key, _)| key)
    }

    /// Takes a collective off the table, finished or not, with all that belongs to it.
    pub(crate) fn remove_collective(&mut self, key: CollectiveKey) -> Option<Running> {
        self.stop_steps(key);
        let running = self.state.collectives.remove(key)?;
        let setting = &running.setting;
        self.state
            .engine
            .collective_ends(setting.context, setting.sequence);
        if !matches!(running.outcome, Some(Ok(()))) {
            let (context, sequence) = (setting.context, setting.sequence);
            self.state.disputes.spoil(context, sequence);
        }
        if let Some(scratch) = setting.buffers[2] {
            self.state.buffers.take(scratch);
        }
        Some(running)
    }

    fn stop_steps(&mut self, key: CollectiveKey) {
        self.abandon_meeting(key);
        let Some(running) = self.state.collectives.get_mut(key) else {
            return;
        };
        let open = std::mem::take(&mut running.steps);
        running.ready.clear();
        for (handle, view) in open {
            self.give_up(handle);
            if let Some(view) = view {
                self.state.buffers.take(view);
            }
        }
    }

    pub(super) fn end_collective(&mut self, key: CollectiveKey) {
        self.state.completions += 1;
        let Some(running) = self.state.collectives.get_mut(key) else {
            return;
        };
        if let Some(waker) = running.waker.take() {
            waker.wake();
        }
        if running.forgotten {
            let buffers = running.setting.buffers;
            self.remove_collective(key);
            for buffer in buffers.into_iter().flatten() {
                self.state.buffers.take(buffer);
            }
        }
    }

    fn advance(&mut self, key: CollectiveKey) {
        while let Some(running) = self.state.collectives.get_mut(key) {
            if running.outcome.is_some() {
                return;
            }
            let Some(step) = running.ready.pop() else {
                if running.left == 0 {
                    running.outcome = Some(Ok(()));
                    self.end_collective(key);
                }
                return;
            };
            match self.run_step(key, step) {
                Ok(true) => {
                    if let Some(running) = self.state.collectives.get_mut(key) {
                        running.finish_step(step);
                    }
                }
                Ok(false) => {}
                Err(fault) => return self.fail_collective(key, fault),
            }
        }
    }

    /// Runs a step; `false` when it goes on by itself and [`step_done`](Self::step_done) will follow.
    fn run_step(&mut self, key: CollectiveKey, step: u32) -> Result<bool, Fault> {
        let running = &self.state.collectives[key];
        let element = running.setting.element;
        let bytes = |span: Span| (span.offset * element, span.length * element);
        match running.schedule.steps[step as usize] {
            Step::Send { to, from, round } => self.run_send(key, step, to, from, round),
            Step::Receive { from, into, round } => self.run_receive(key, step, from, into, round),
            Step::Reduce { from, into, order } => {
                let (source, target) = (running.buffer(from), running.buffer(into));
                let ((source_at, length), (target_at, _)) = (bytes(from), bytes(into));
                let reducer = running.setting.reducer.clone();
                let (Some(source), Some(target), Some(reducer)) = (source, target, reducer) else {
                    return Ok(length == 0);
                };
                let (source, target) = ((source, source_at), (target, target_at));
                let buffers = &mut self.state.buffers;
                let combined = buffers.reduce(&*reducer, source, target, length, order);
                assert!(combined, "the schedule stays within its buffers");
                Ok(true)
            }
            Step::Copy { from, into } => {
                let (source, target) = (running.buffer(from), running.buffer(into));
                let ((source_at, length), (target_at, _)) = (bytes(from), bytes(into));
                if length == 0 {
                    return Ok(true);
                }
                let (Some(source), Some(target)) = (source, target) else {
                    return Ok(false);
                };
                let (source, target) = ((source, source_at), (target, target_at));
                let copied = self
                    .state
                    .buffers
                    .combine(source, target, length, |into, from| {
                        into.copy_from_slice(from);
                    });
                assert!(copied, "the schedule stays within its buffers");
                Ok(true)
            }
        }
    }

    fn run_send(
        &mut self,
        key: CollectiveKey,
        step: u32,
        to: usize,
        from: Span,
        round: u32,
    ) -> Result<bool, Fault> {
        let running = &self.state.collectives[key];
        let setting = &running.setting;
        let element = setting.element;
        let (Some(to), buffer) = (setting.group.peer(to), running.buffer(from)) else {
            return Ok(true);
        };
        let outgoing = Outgoing {
            to,
            context: setting.context,
            tag: tag(setting.sequence, round),
            check: setting.signature,
            length: (from.length * element) as u64,
            mode: Mode::Standard,
            buffer: BufferId(0),
            owner: Owner {
                request: key.data().as_ffi(),
                step,
            },
        };
        let view = buffer.and_then(|buffer| {
            // SAFETY: the view is taken out when the step is done or stopped, both before the
            // collective's buffers are; buffers of collectives are never resized.
            unsafe {
                self.state
                    .buffers
                    .view(buffer, from.offset * element, from.length * element)
            }
        });
        let outgoing = Outgoing {
            buffer: view.unwrap_or(BufferId(0)),
            ..outgoing
        };
        match self.state.engine.send(outgoing) {
            SendStart::Now(header) => {
                self.transmit_from(to, &header, outgoing.buffer, 0);
                if let Some(view) = view {
                    self.state.buffers.take(view);
                }
                Ok(true)
            }
            SendStart::Later(id) => {
                self.state.collectives[key].steps[step as usize] = (Handle::Send(id), view);
                Ok(false)
            }
            SendStart::Gone => {
                if let Some(view) = view {
                    self.state.buffers.take(view);
                }
                Err(Fault::Message(Failure::PeerGone(to)))
            }
        }
    }

    fn run_receive(
        &mut self,
        key: CollectiveKey,
        step: u32,
        from: usize,
        into: Span,
        round: u32,
    ) -> Result<bool, Fault> {
        let running = &self.state.collectives[key];
        let setting = &running.setting;
        let length = into.length * setting.element;
        let (Some(source), buffer) = (setting.group.peer(from), running.buffer(into)) else {
            return Ok(true);
        };
        let incoming = Incoming {
            pattern: Pattern {
                context: setting.context,
                source: Some(source),
                tag: Some(tag(setting.sequence, round)),
            },
            check: setting.signature,
            capacity: Capacity::Fixed(length as u64),
            buffer: BufferId(0),
            owner: Owner {
                request: key.data().as_ffi(),
                step,
            },
        };
        let offset = into.offset * setting.element;
        let view = buffer.and_then(|buffer| {
            // SAFETY: as in `run_send`.
            unsafe { self.state.buffers.view(buffer, offset, length) }
        });
        let incoming = Incoming {
            buffer: view.unwrap_or(BufferId(0)),
            ..incoming
        };
        let id = self.state.engine.recv(incoming);
        self.state.collectives[key].steps[step as usize] = (Handle::Recv(id), view);
        Ok(false)
    }
}

impl Running {
    fn buffer(&self, span: Span) -> Option<BufferId> {
        match span.place {
            Place::Input => self.setting.buffers[0],
            Place::Output => self.setting.buffers[1],
            Place::Scratch => self.setting.buffers[2],
        }
    }

    fn finish_step(&mut self, step: u32) {
        self.left -= 1;
        for &next in self.then.of(step as usize) {
            let waiting = &mut self.waiting_for[next as usize];
            *waiting -= 1;
            if *waiting == 0 {
                self.ready.push(next);
            }
        }
    }

    /// Buffers of the places: input, output, scratch.
    pub(crate) const fn buffers(&self) -> [Option<BufferId>; 3] {
        self.setting.buffers
    }
}
