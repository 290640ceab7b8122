//! Interrupted: the ranks of the moment end, and what was measured until then is shown.
//!
//! A terminal sends `SIGINT` to the launcher of the ranks as well, which ends them. Who is told alone, by
//! `kill` or a batch system, passes it on. The second signal ends this process as if it handled none.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The launcher of the ranks has that long to end by itself.
const PASSED_ON_AFTER: Duration = Duration::from_millis(250);

/// Whether the benchmark was interrupted, and what has to end then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    signal: Option<i32>,
    /// The launcher of the moment: not yet waited for, so that the number is its own.
    launcher: Option<Pid>,
}

impl Interrupt {
    /// From now on signals do not end this process at once.
    pub(crate) fn listen() -> io::Result<Self> {
        let this = Self::default();
        let (listener, mut signals) = (this.clone(), Signals::new([SIGINT, SIGTERM])?);
        let thread = std::thread::Builder::new().name("interrupt".to_owned());
        thread.spawn(move || {
            for signal in signals.forever() {
                if listener.came().is_some() {
                    // It cannot fail for signals that exist.
                    let _ = emulate_default_handler(signal);
                }
                listener.state().signal = Some(signal);
                std::thread::sleep(PASSED_ON_AFTER);
                end(&listener.state());
            }
        })?;
        Ok(this)
    }

    /// The signal that came.
    pub(crate) fn came(&self) -> Option<i32> {
        self.state().signal
    }

    /// This launcher is to end when a signal comes, or at once if one has come.
    pub(crate) fn cover(&self, launcher: Pid) {
        let mut state = self.state();
        state.launcher = Some(launcher);
        if state.signal.is_some() {
            end(&state);
        }
    }

    /// The launcher ends by itself, and is about to be waited for.
    pub(crate) fn release(&self) {
        self.state().launcher = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(state: &State) {
    if let Some(launcher) = state.launcher {
        // It may have ended, and waits to be waited for.
        let _ = kill_process(launcher, Signal::TERM);
    }
}
