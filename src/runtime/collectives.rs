//! Collectives of one rank: their buffers and their outcomes.

use std::task::Waker;

use super::execute::Setting;
use super::progress::Core;
use super::state::{CollectiveKey, Fault};
use super::vigil::{Subject, Vigil};
use super::{Borrowed, Errand, Reach, Runtime};
use crate::pod::OwnedElements;
use crate::schedule::Schedule;

impl Runtime {
    /// Executes a collective on borrowed buffers.
    pub(crate) fn collective(
        &self,
        schedule: Schedule,
        mut setting: Setting,
        scratch: Box<dyn OwnedElements>,
        input: Option<&[u8]>,
        output: Option<&mut [u8]>,
        errand: Errand,
    ) -> Result<(), Fault> {
        let mut guard = Borrowed {
            runtime: self,
            request: None,
            collective: None,
            buffers: vec![],
        };
        let key = self.station.act(|core| {
            core.check_collective(&setting)?;
            let buffers = &mut core.state.buffers;
            // SAFETY: `guard` takes the entries out before this function returns or unwinds.
            let input = input.map(|bytes| unsafe { buffers.lend(bytes) });
            // SAFETY: as above.
            let output = output.map(|bytes| unsafe { buffers.lend_mut(bytes) });
            guard.buffers.extend(input.into_iter().chain(output));
            setting.buffers = [input, output, Some(buffers.own(scratch))];
            core.fabric.attend(true); // As soon as it has begun this rank waits for its end.
            Ok(core.begin_collective(schedule, setting))
        })?;
        guard.collective = Some(key);
        self.wait_collective(key, errand)
    }

    /// Begins a collective on elements that the runtime keeps until it is done.
    pub(crate) fn start_collective(
        &self,
        schedule: Schedule,
        mut setting: Setting,
        scratch: Box<dyn OwnedElements>,
        input: Option<Box<dyn OwnedElements>>,
        output: Option<Box<dyn OwnedElements>>,
    ) -> Result<CollectiveKey, Fault> {
        self.station.act(|core| {
            core.check_collective(&setting)?;
            let buffers = &mut core.state.buffers;
            let [input, output] =
                [input, output].map(|it| it.map(|elements| buffers.own(elements)));
            setting.buffers = [input, output, Some(buffers.own(scratch))];
            Ok(core.begin_collective(schedule, setting))
        })
    }

    /// Waits for a collective; it stays on the table.
    pub(crate) fn wait_collective(&self, key: CollectiveKey, errand: Errand) -> Result<(), Fault> {
        self.station
            .wait(Vigil::new(errand, Subject::Collective(key)), |core| {
                core.collective_result(key)
            })
            .unwrap_or(Err(Fault::Timeout))
    }

    /// Looks whether a collective is done.
    pub(crate) fn test_collective(&self, key: CollectiveKey) -> Option<Result<(), Fault>> {
        self.station.poll(|core| core.collective_result(key))
    }

    /// Looks whether a collective is done; if not, `waker` is called when it is.
    pub(crate) fn poll_collective(
        &self,
        key: CollectiveKey,
        waker: &Waker,
    ) -> Option<Result<(), Fault>> {
        self.drive();
        self.station.poll(|core| {
            let outcome = core.collective_result(key);
            if let (None, Some(running)) = (&outcome, core.state.collectives.get_mut(key)) {
                running.waker = Some(waker.clone());
            }
            outcome
        })
    }

    /// Takes a collective off the table and gives its output back.
    pub(crate) fn take_collective(&self, key: CollectiveKey) -> Option<Box<dyn OwnedElements>> {
        self.station.act(|core| {
            let running = core.remove_collective(key)?;
            let [input, output, _] = running.buffers();
            if let Some(input) = input {
                core.state.buffers.take(input);
            }
            core.state.buffers.take(output?)
        })
    }

    /// Lets a collective go on by itself: the other ranks need this one's part.
    pub(crate) fn forget_collective(&self, key: CollectiveKey) {
        let done = self
            .station
            .act(|core| match core.state.collectives.get_mut(key) {
                Some(running) if running.outcome.is_none() => {
                    running.waker = None;
                    running.forgotten = true;
                    false
                }
                _ => true,
            });
        if done {
            drop(self.take_collective(key));
        }
    }
}

impl Core {
    /// Whether a collective can begin; if not, this rank may be out of step with the others.
    fn check_collective(&mut self, setting: &Setting) -> Result<(), Fault> {
        let (context, sequence) = (setting.context, setting.sequence);
        let checked = self.check_open(context, Reach::All);
        if checked.is_err() {
            self.state.disputes.spoil(context, sequence);
        }
        checked
    }

    fn collective_result(&self, key: CollectiveKey) -> Option<Result<(), Fault>> {
        self.collective_outcome(key).or_else(|| self.failed())
    }
}
