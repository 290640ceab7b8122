//! How a rank waits: poll, then yield, then sleep.
//!
//! Waking a sleeping process across cores costs about 15 microseconds; a yield to a rank on the same
//! core about one. So a waiting rank polls for a while when it has a core to itself, offers its core a
//! few times when it has not, and then sleeps in the operating system until something arrives: a rank
//! that waits for long costs nothing.
//!
//! Any thread may wait. The first one that has to sleep does so in the waiter, which watches the
//! connections; others sleep on a condition variable until somebody has made progress.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::dispute::CollectiveCall;
use super::kin::{self, Kin};
use super::progress::{Core, WATCH_AFTER};
use super::vigil::Vigil;
use crate::limits::{CHAIN_LOOKS_PER_TURN, LOAN_COPY_BYTES_MAX, LOAN_PATIENCE_MICROS};
use crate::transport::{Waiter, Waker};

/// How long a wait in which nothing moves leaves payloads lent that were written, before it makes copies.
const LOAN_PATIENCE: Duration = Duration::from_micros(LOAN_PATIENCE_MICROS);

/// How long each stage of waiting lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stages {
    pub(crate) spin: Duration,
    pub(crate) yields: u32,
}

/// The stages when every rank has a core, and when more ranks are awake than there are cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) alone: Stages,
    pub(crate) crowded: Stages,
    /// What holds where it is not known how many are awake.
    pub(crate) presumably_crowded: bool,
}

impl Patience {
    fn when(&self, crowded: Option<bool>) -> &Stages {
        if crowded.unwrap_or(self.presumably_crowded) {
            &self.crowded
        } else {
            &self.alone
        }
    }
}

/// The lock, and what it takes to wait for changes behind it.
#[derive(Debug)]
pub(crate) struct Station {
    core: Mutex<Core>,
    waiter: Mutex<Waiter>,
    waker: Waker,
    progressed: Condvar,
    patience: Patience,
    /// The ranks of this process, when they are its threads.
    pub(super) kin: Kin,
}

impl Core {
    /// Payloads up to so many bytes that were written to a connection need not be lent any longer. `true`
    /// when that may have completed something.
    pub(crate) fn settle_loans(&mut self, most: u64) -> bool {
        let settled = self.fabric.settle_loans(most, &mut self.state);
        if settled {
            self.settle();
        }
        settled
    }
}

impl Station {
    pub(crate) fn new(core: Core, waiter: Waiter, waker: Waker, patience: Patience) -> Self {
        Self {
            core: Mutex::new(core),
            waiter: Mutex::new(waiter),
            waker,
            progressed: Condvar::new(),
            patience,
            kin: Kin::new(),
        }
    }

    /// The lock. Where a thread panicked while holding it, as in an operator of the program, this rank takes no
    /// further part: what was left half done, nobody can finish.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core
            .lock()
            .unwrap_or_else(|poisoned| self.break_off(poisoned.into_inner(), None))
    }

    /// A panic was in the middle of this call, if that is known.
    #[cold]
    fn break_off<'a>(
        &self,
        mut core: MutexGuard<'a, Core>,
        call: Option<&CollectiveCall>,
    ) -> MutexGuard<'a, Core> {
        if core.break_off(call) {
            self.tell(&mut core);
        }
        core
    }

    /// As a panic unwinds: the others learn at once that this rank takes no further part.
    pub(super) fn look_for_breach(&self, call: &CollectiveCall) {
        if let Err(poisoned) = self.core.lock() {
            drop(self.break_off(poisoned.into_inner(), Some(call)));
        }
    }

    /// Locks, acts, and tells whoever waits for what was completed thereby.
    pub(crate) fn act<R>(&self, action: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.lock();
        let result = action(&mut core);
        self.settle(&mut core);
        result
    }

    /// Does what was brought about, and tells whoever waits for what was completed thereby.
    pub(crate) fn settle(&self, core: &mut Core) {
        core.settle();
        self.tell(core);
    }

    /// One look for news, without waiting.
    pub(crate) fn poll<R>(&self, mut ready: impl FnMut(&mut Core) -> Option<R>) -> Option<R> {
        let mut core = self.lock();
        let mut result = ready(&mut core);
        if result.is_none() {
            core.turn(Instant::now());
            result = ready(&mut core);
        }
        if result.is_none() {
            core.looked_in_vain();
        }
        self.tell(&mut core);
        result
    }

    /// News first, then a look: for what can be taken back, so that looking again and again sees it go.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.lock();
        core.turn(Instant::now());
        let result = look(&mut core);
        self.tell(&mut core);
        result
    }

    /// Makes progress until `ready` gives something; `None` when the deadline passes first.
    pub(crate) fn wait<R>(
        &self,
        vigil: impl Into<Vigil>,
        mut ready: impl FnMut(&mut Core) -> Option<R>,
    ) -> Option<R> {
        let mut vigil: Vigil = vigil.into();
        let mut core = self.lock();
        let mut idle = Idle::default();
        let mut clock = None;
        let mut looks = 0_u32;
        loop {
            if let Some(result) = ready(&mut core) {
                core.end_vigil(&mut vigil);
                return Some(result);
            }
            looks = looks.wrapping_add(1);
            let still = idle.spins && looks % LOOKS_PER_CLOCK != 0;
            let now = clock.filter(|_| still).unwrap_or_else(Instant::now);
            clock = Some(now);
            if vigil.begin(now) {
                core.count_waiting(true);
                core.record(&vigil, now);
            }
            if vigil.deadline.is_some_and(|deadline| now >= deadline) {
                core.end_vigil(&mut vigil);
                return None;
            }
            let moved = core.turn(now);
            self.tell(&mut core);
            let impatient = idle.lasts(now, LOAN_PATIENCE);
            if moved || (impatient && core.settle_loans(LOAN_COPY_BYTES_MAX)) {
                idle.moved();
                continue;
            }
            let crowded = core.fabric.is_crowded();
            core = match idle.next(now, self.patience.when(crowded)) {
                Stage::Spin => {
                    drop(core);
                    std::hint::spin_loop();
                    self.lock()
                }
                Stage::Offer if !core.fabric.step_aside(now) => core,
                Stage::Offer | Stage::Yield => {
                    if crowded == Some(true) {
                        core.fabric.spread(now);
                    }
                    self.yield_core(core, &mut idle)
                }
                Stage::Park { .. } if core.settle_loans(u64::MAX) || !core.rest() => core,
                Stage::Park { waited } => {
                    if waited >= WATCH_AFTER || vigil.is_overdue(now) {
                        let lasts = core.keep(&mut vigil, now);
                        core.watch_awaited();
                        if lasts {
                            core.say_blocked();
                            core = self.ask_kin(core);
                        }
                    }
                    core.answer();
                    let until = sleep_until(&core, &vigil, now, waited);
                    let mut core = self.park(core, until);
                    core.fabric.step_aside(Instant::now());
                    core
                }
            };
        }
    }

    /// Leaves the core to another rank, and does not hold the lock meanwhile; again while nothing but a turn in a chain is
    /// waited for.
    fn yield_core<'a>(
        &'a self,
        mut core: MutexGuard<'a, Core>,
        idle: &mut Idle,
    ) -> MutexGuard<'a, Core> {
        for look in 0..=CHAIN_LOOKS_PER_TURN {
            drop(core);
            std::thread::yield_now();
            core = self.lock();
            if look == CHAIN_LOOKS_PER_TURN || !core.awaits_its_turn() {
                break;
            }
            idle.yields += 1;
        }
        core
    }

    /// Without a launcher the ranks look for themselves, as if this one slept meanwhile.
    fn ask_kin<'a>(&'a self, mut core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        let Some(kin) = self.kin.get() else {
            return core;
        };
        let polling = std::mem::replace(&mut core.polling, true);
        drop(core);
        kin::look(kin);
        let mut core = self.lock();
        core.polling = polling;
        if core.sleepers > 0 {
            self.progressed.notify_all(); // One of them may have to take over the waiter.
        }
        core
    }

    fn park<'a>(
        &'a self,
        mut core: MutexGuard<'a, Core>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, Core> {
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        if core.polling {
            core.sleepers += 1;
            let timeout = timeout.unwrap_or(Duration::from_secs(1));
            let (mut core, _) = self
                .progressed
                .wait_timeout(core, timeout)
                .unwrap_or_else(PoisonError::into_inner);
            core.sleepers -= 1;
            return core;
        }
        core.polling = true;
        drop(core);
        let slept = self
            .waiter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wait(timeout);
        if let Err(error) = slept {
            tracing::warn!(%error, "cannot wait for connections; polling instead");
            std::thread::yield_now();
        }
        let mut core = self.lock();
        core.polling = false;
        if core.sleepers > 0 {
            self.progressed.notify_all(); // One of them has to take over the waiter.
        }
        core
    }

    /// Tells sleeping threads that operations were completed.
    fn tell(&self, core: &mut Core) {
        if core.told == core.state.completions {
            return;
        }
        core.told = core.state.completions;
        if core.sleepers > 0 {
            self.progressed.notify_all();
        }
        if core.polling {
            self.waker.wake();
        }
    }
}

fn sleep_until(core: &Core, vigil: &Vigil, now: Instant, waited: Duration) -> Option<Instant> {
    // Every wait that is not over soon asks about the others: also the last one, for the farewell.
    let watches = core.control.is_some();
    let watch = if waited < WATCH_AFTER {
        let looks = watches || vigil.call().is_some();
        looks.then(|| now + (WATCH_AFTER - waited))
    } else {
        watches.then(|| now + Duration::from_secs(5))
    };
    [
        vigil.deadline,
        vigil.next_look(),
        core.next_deadline(),
        watch,
    ]
    .into_iter()
    .flatten()
    .min()
}

/// While it polls, a rank offers its core this often: on a busy machine the rank that it waits for may
/// have been put on the same core, and would otherwise run only when polling ends.
const OFFER_AFTER: Duration = Duration::from_micros(5);

/// While a rank spins it looks so often between two readings of the clock.
const LOOKS_PER_CLOCK: u32 = 8;

enum Stage {
    Spin,
    /// Yield, if somebody who is waited for may want the core.
    Offer,
    Yield,
    Park {
        waited: Duration,
    },
}

#[derive(Default)]
struct Idle {
    since: Option<Instant>,
    /// When the core was last offered while polling.
    offered: Option<Instant>,
    yields: u32,
    /// The last stage was spinning.
    spins: bool,
}

impl Idle {
    fn moved(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing has moved for so long.
    fn lasts(&self, now: Instant, time: Duration) -> bool {
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) >= time)
    }

    fn next(&mut self, now: Instant, stages: &Stages) -> Stage {
        let stage = self.stage(now, stages);
        self.spins = matches!(stage, Stage::Spin | Stage::Offer);
        stage
    }

    fn stage(&mut self, now: Instant, stages: &Stages) -> Stage {
        let since = *self.since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        if waited < stages.spin {
            let offered = *self.offered.get_or_insert(now);
            if now.saturating_duration_since(offered) < OFFER_AFTER {
                return Stage::Spin;
            }
            self.offered = Some(now);
            return Stage::Offer;
        }
        if self.yields < stages.yields {
            self.yields += 1;
            return Stage::Yield;
        }
        Stage::Park { waited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_each_other_and_begin_anew_after_news() {
        let patience = Stages {
            spin: Duration::from_micros(10),
            yields: 2,
        };
        let start = Instant::now();
        let mut idle = Idle::default();
        assert!(matches!(idle.next(start, &patience), Stage::Spin));
        let later = start + Duration::from_micros(20);
        assert!(matches!(idle.next(later, &patience), Stage::Yield));
        assert!(matches!(idle.next(later, &patience), Stage::Yield));
        let Stage::Park { waited } = idle.next(later, &patience) else {
            panic!("should sleep")
        };
        assert_eq!(waited, Duration::from_micros(20));
        idle.moved();
        assert!(matches!(idle.next(later, &patience), Stage::Spin));
    }
}
