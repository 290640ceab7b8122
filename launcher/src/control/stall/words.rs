//! Stalls as the user is told of them.

use std::time::Duration;

use phalanx::stall::{Disagreement, describe_wait};
use phalanx::wire::control::Wait;

pub(super) fn disagreement(found: &Disagreement) -> String {
    let side = |(rank, wait): &(u32, Wait)| format!("rank {rank}: {}", describe_wait(wait));
    format!(
        "ranks called different collectives: {}; {}; operation, operator, element type, count, root \
         and order of calls must agree",
        side(&found.one),
        side(&found.other)
    )
}

pub(super) fn deadlock(cycle: &str) -> String {
    format!("deadlock: {cycle}; nothing is under way that could release them, so the job was ended")
}

pub(super) fn perhaps(cycle: &str, rank: u32) -> String {
    format!(
        "this looks like a deadlock: {cycle}; only another thread of rank {rank} could help (the job \
         goes on; `--stall-timeout` would end it)"
    )
}

/// Why a rank does not answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Straggler {
    Computes,
    HasNotJoined,
    Stopped { pid: u32 },
}

pub(super) fn straggler(
    name: &str,
    what: Straggler,
    (waiting, wait): (u32, &Wait),
    count: usize,
) -> String {
    let (long, call) = (seconds(wait), describe_wait(wait));
    let what = match what {
        Straggler::Computes => format!("has been computing outside the runtime for {long}"),
        Straggler::HasNotJoined => format!("has not called `phalanx::init` for {long}"),
        Straggler::Stopped { pid } => {
            format!("is stopped (state T; `kill -CONT {pid}` on its host lets it go on)")
        }
    };
    let waits = match count {
        1 => format!("rank {waiting} waits"),
        _ => format!("{count} ranks wait"),
    };
    format!("{name} {what}; {waits} for it in {call}")
}

/// `busy` are those for which it waits, and whether they are stopped.
pub(super) fn stalled(name: &str, wait: &Wait, limit: Duration, busy: &[(u32, bool)]) -> String {
    let others = match busy {
        [] => String::new(),
        [(rank, true)] => format!("; rank {rank}, for which it waits, is stopped (state T)"),
        [(rank, false)] => format!("; rank {rank}, for which it waits, is outside the runtime"),
        ranks => {
            let listed = ranks.iter().take(8).map(|(rank, stopped)| match stopped {
                true => format!("{rank} (stopped)"),
                false => rank.to_string(),
            });
            let listed: Vec<String> = listed.collect();
            let more = if ranks.len() > 8 { ", ..." } else { "" };
            let listed = listed.join(", ");
            format!("; ranks {listed}{more}, for which it waits, are outside the runtime")
        }
    };
    format!(
        "{name} has waited for {} in {} (--stall-timeout {}){others}",
        seconds(wait),
        describe_wait(wait),
        limit.as_secs_f64()
    )
}

fn seconds(wait: &Wait) -> String {
    format!("{:.0} s", Duration::from_millis(wait.millis).as_secs_f64())
}
