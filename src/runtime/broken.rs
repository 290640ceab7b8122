//! What becomes of a rank when a panic unwinds through the runtime: an operator of the program has panicked in the middle
//! of a collective, whose result nobody can finish. The program may catch that panic and go on; this rank
//! may not. The others see it break off, at once, and all that it calls fails.

use super::dispute::CollectiveCall;
use super::progress::Core;
use super::state::{Fault, JobFailure, JobFailureKind};
use super::wait::Station;

/// To be kept while the lock is, for a call that is on no table.
#[must_use]
#[derive(Debug)]
pub(crate) struct BreaksOff<'a> {
    station: &'a Station,
    call: &'a CollectiveCall,
}

impl Station {
    /// Should a panic unwind meanwhile, the others learn it now, and not with this rank's next call.
    pub(crate) const fn breaks_off<'a>(&'a self, call: &'a CollectiveCall) -> BreaksOff<'a> {
        BreaksOff {
            station: self,
            call,
        }
    }
}

impl Drop for BreaksOff<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.station.look_for_breach(self.call);
        }
    }
}

impl Core {
    /// This rank takes no further part: a panic has left something of it half done, of this call if that is known.
    /// `true` when it has just done so.
    pub(super) fn break_off(&mut self, call: Option<&CollectiveCall>) -> bool {
        if self.finalized || self.state.failure.is_some() {
            return false;
        }
        let under_way = self.state.collectives.values();
        let under_way = under_way
            .filter(|running| running.outcome.is_none())
            .map(|running| &running.setting.call);
        let calls: Vec<String> = under_way.chain(call).map(ToString::to_string).collect();
        let within = if calls.is_empty() {
            "in the middle of an operation".to_owned()
        } else {
            format!("in the middle of {}", calls.join(", or of "))
        };
        let cause = format!(
            "this rank has broken off: an operator panicked {within}, which nobody can finish now; \
             let the panic end the rank, or let operators return a value that stands for failure"
        );
        self.fabric.die("broke off after a panic", &mut self.state);
        self.state.fail_job(JobFailure {
            peer: self.state.me,
            cause,
            kind: JobFailureKind::Broken,
        });
        // No operator runs again, least of all while the panic unwinds.
        let failure = self.state.failure.clone();
        let running: Vec<_> = self.state.collectives.keys().collect();
        for (key, failure) in running.into_iter().zip(failure.iter().cycle()) {
            self.fail_collective(key, Fault::Job(failure.clone()));
        }
        true
    }
}
