//! Which signals the launcher handles, and what signals are called.

use std::io;

use signal_hook::consts as signal;
use signal_hook_mio::v1_0::Signals;

/// Signals that mean something to a job.
const HANDLED: [i32; 8] = [
    signal::SIGINT,
    signal::SIGTERM,
    signal::SIGHUP,
    signal::SIGQUIT,
    signal::SIGUSR1,
    signal::SIGUSR2,
    signal::SIGTSTP,
    signal::SIGCONT,
];

/// Signals that a rank starts with in their default state, whatever a shell did to us: in the
/// background of a script `SIGINT` would be ignored, and could not be passed on.
pub(crate) const DEFAULT_IN_RANKS: [i32; 5] = [
    signal::SIGINT,
    signal::SIGTERM,
    signal::SIGQUIT,
    signal::SIGUSR1,
    signal::SIGUSR2,
];

/// Receives the signals of the launcher. `nohup` stays respected.
pub(crate) fn of_launcher() -> io::Result<Signals> {
    let ignored = phalanx::sys::process::ignores_signal(signal::SIGHUP);
    let wanted = HANDLED
        .into_iter()
        .filter(|signal| !(ignored && *signal == signal::SIGHUP));
    Signals::new(wanted)
}

/// Receives the ends of children, and the wish that a daemon end.
pub(crate) fn of_daemon() -> io::Result<Signals> {
    Signals::new([signal::SIGCHLD, signal::SIGTERM])
}

/// Stops this process until somebody continues it.
pub(crate) fn stop_here() {
    // It can only fail for a signal that does not exist.
    let _ = signal_hook::low_level::raise(signal::SIGSTOP);
}

/// The name of a signal, such as `SIGTERM`.
pub(crate) fn name(number: i32) -> String {
    signal_hook::low_level::signal_name(number)
        .map_or_else(|| format!("signal {number}"), str::to_owned)
}
