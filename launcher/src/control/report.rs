//! What the user is told, and the exit codes that go with it.

use std::time::Duration;

use phalanx::wire::control::{Cause, Exit, PROTOCOL};

use super::{Complaint, Rank};
use crate::exit;
use crate::signals;

/// Longest text of a rank that is repeated in a report.
const TEXT_CHARS_MAX: usize = 2000;

/// The sentence that names the first cause; `alive` ranks were still running.
pub(super) fn failed(name: &str, rank: &Rank, alive: usize) -> String {
    match (&rank.complaint, rank.exit) {
        (Some(Complaint::Panicked { message, location }), _) => {
            format!("{name} panicked at {location}: {}", flat(message))
        }
        (Some(Complaint::Failed { message, .. }), _) => format!("{name} failed: {}", flat(message)),
        (None, Some(Exit::Signal(signal))) => {
            let name_of_signal = signals::name(signal.into());
            let killed = format!("{name} was killed by signal {signal} ({name_of_signal})");
            killed + &traces(rank)
        }
        (None, Some(Exit::Code(0))) => early(name, rank, alive),
        (None, Some(Exit::Code(code))) => format!("{name} exited with code {code}") + &traces(rank),
        (None, None) if rank.died => format!("{name} died") + &traces(rank),
        (None, None) => format!("{name} was lost"),
    }
}

/// What else is known of an end.
fn traces(rank: &Rank) -> String {
    let memory = if rank.out_of_memory {
        " by the system, for lack of memory: see `memory.max` of its control group"
    } else {
        ""
    };
    let last = rank
        .last
        .as_deref()
        .map(|call| format!("; last in {}", flat(call)));
    memory.to_owned() + &last.unwrap_or_default()
}

fn early(name: &str, rank: &Rank, alive: usize) -> String {
    let others = match alive {
        0 => String::new(),
        1 => " while 1 rank was still running".to_owned(),
        _ => format!(" while {alive} ranks were still running"),
    };
    if rank.joined.is_some() {
        format!(
            "{name} left with exit code 0 before finalize{others}; let the world be dropped, or \
             finalize it, before the program ends (`std::process::exit` skips that)"
        )
    } else {
        format!(
            "{name} left with exit code 0 without ever joining{others}; every rank must call \
             `phalanx::init`"
        )
    }
}

/// What became of the others, as an addition to the sentence.
pub(super) fn others(alive: usize, size: usize) -> String {
    match alive {
        0 => String::new(),
        1 if size == 2 => "; the other rank was ended".to_owned(),
        _ if alive + 1 == size => format!("; the other {alive} ranks were ended"),
        1 => "; the 1 rank still running was ended".to_owned(),
        _ => format!("; the {alive} ranks still running were ended"),
    }
}

/// What becomes of the others under the policy that they have chosen.
pub(super) fn go_on(alive: usize) -> String {
    match alive {
        0 => String::new(),
        1 => "; 1 rank goes on without it".to_owned(),
        _ => format!("; {alive} ranks go on without it"),
    }
}

pub(super) fn other_members(name: &str) -> String {
    format!("{name} named other members of a communicator than the rest; this is a bug of phalanx")
}

/// Somebody else than the launcher ends a daemon.
pub(super) fn cancelled(host: &str, running: usize) -> String {
    let ranks = match running {
        0 => String::new(),
        1 => "; 1 rank was ended".to_owned(),
        _ => format!("; {running} ranks were ended"),
    };
    format!(
        "the job was cancelled on {host}: the daemon there was told to end (SIGTERM), as `scancel`, a time \
         limit of the batch system or `kill` does{ranks}"
    )
}

/// The exit code of a job that this rank made fail.
pub(super) fn exit_code(rank: &Rank) -> u8 {
    if let Some(Complaint::Failed { class, .. }) = &rank.complaint {
        if let Some(code) = class.exit_code() {
            return code;
        }
    }
    if rank.host_lost {
        return exit::HOST_LOST;
    }
    match rank.exit {
        Some(Exit::Signal(signal)) => exit::of_signal(signal.into()),
        // It has caught the panic that is named as the cause, and failed over it.
        Some(Exit::Code(0 | 1)) if matches!(rank.complaint, Some(Complaint::Panicked { .. })) => {
            exit::PANICKED
        }
        Some(Exit::Code(code)) if code != 0 => code,
        _ => exit::LEFT_EARLY,
    }
}

/// What other ranks are told about the end of this one.
pub(super) fn cause(rank: &Rank) -> Cause {
    match (rank.exit, &rank.complaint) {
        (Some(Exit::Code(0)), _) if rank.finalized => Cause::Finalized,
        (_, Some(Complaint::Panicked { message, location })) => Cause::Panicked {
            message: message.clone(),
            location: location.clone(),
        },
        (_, Some(Complaint::Failed { message, .. })) => Cause::Failed {
            message: message.clone(),
        },
        (Some(Exit::Signal(signal)), None) => Cause::Killed { signal },
        (Some(Exit::Code(code)), None) => Cause::Exited {
            code,
            finalized: rank.finalized,
        },
        (None, None) if rank.died => Cause::Died,
        (None, None) => Cause::HostLost,
    }
}

pub(super) fn aborted(name: &str, code: u8, message: &str) -> String {
    let message = flat(message);
    let colon = if message.is_empty() { "" } else { ": " };
    format!("{name} aborted the job with code {code}{colon}{message}")
}

pub(super) fn start_failed(message: &str, host: &str, missing: bool) -> String {
    let message = flat(message);
    if missing {
        format!(
            "{message} on {host}; give a program on the PATH, a path such as ./prog, or --example \
             NAME or --bin NAME to build one with cargo"
        )
    } else {
        format!("{message} (on {host})")
    }
}

pub(super) fn timed_out(limit: Duration, alive: usize) -> String {
    let plural = if alive == 1 { " was" } else { "s were" };
    format!(
        "the job did not end within {} s (--timeout); {alive} rank{plural} still running and ended",
        limit.as_secs_f64()
    )
}

pub(super) fn passed_on(signal: i32, alive: usize) -> String {
    let plural = if alive == 1 { "" } else { "s" };
    format!(
        "{} passed on to {alive} rank{plural}; the next one kills",
        signals::name(signal)
    )
}

pub(super) fn ignored_interrupt(signal: i32, grace: Duration, alive: usize) -> String {
    let plural = if alive == 1 { "" } else { "s" };
    format!(
        "{alive} rank{plural} still ran {} s after the first one ended on {}; ended now",
        grace.as_secs(),
        signals::name(signal)
    )
}

pub(super) fn daemon_lost(host: &str, pid: u32, why: &str, ranks: &[u32]) -> String {
    let pid = if pid == 0 {
        String::new()
    } else {
        format!(" (pid {pid})")
    };
    format!(
        "lost the daemon on {host}{pid}: {}{}",
        flat(why),
        with_them(ranks)
    )
}

pub(super) fn host_lost(host: &str, why: &str, ranks: &[u32]) -> String {
    format!("lost host {host}: {}{}", flat(why), with_them(ranks))
}

pub(super) fn silent(timeout: Duration) -> String {
    format!(
        "nothing was heard from it for {} s (--host-timeout): the host or the network to it is down",
        timeout.as_secs_f64()
    )
}

fn with_them(ranks: &[u32]) -> String {
    match ranks {
        [] => String::new(),
        [rank] => format!("; its rank {rank} was ended"),
        ranks => format!("; its ranks {} were ended", numbers(ranks)),
    }
}

/// Ascending numbers in the manner of `0-3, 7`.
fn numbers(ranks: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for rank in ranks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *rank => *last = *rank,
            _ => runs.push((*rank, *rank)),
        }
    }
    let run = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}

pub(super) fn other_daemon(host: &str, theirs: u32) -> String {
    format!(
        "the phalanx on {host} speaks protocol {theirs}, this one {PROTOCOL}; install the same \
         version on both"
    )
}

pub(super) fn other_library(name: &str, theirs: u32) -> String {
    format!(
        "{name} was built with a phalanx library of protocol {theirs}, this launcher speaks \
         {PROTOCOL}; build both from the same version"
    )
}

pub(super) fn no_such_rank(name: &str, wrong: u32, size: usize) -> String {
    format!("{name} asked about rank {wrong}, but the job has {size} ranks")
}

/// A rank's own words in one line of bounded length, without anything that moves a cursor.
fn flat(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        let visible = word.chars().filter(|char| !char.is_control());
        line.extend(visible.take(TEXT_CHARS_MAX));
        if line.len() > TEXT_CHARS_MAX {
            line.push_str(" ...");
            break;
        }
    }
    line
}
