//! Stalls in words.

use super::{Standing, needed};
use crate::wire::control::{Awaits, Wait};

/// Ranks of a cycle that are told in full.
const TOLD_MAX: usize = 8;

/// A wait as the end of a sentence that begins with the rank: `waits in recv_into from rank 1, tag 7, at
/// solve.rs:12:5`.
pub fn describe_wait(wait: &Wait) -> String {
    let tagged = |tag: Option<u64>| match tag {
        Some(tag) => format!("tag {tag}"),
        None => "any tag".to_owned(),
    };
    let (operation, site) = (&wait.operation, &wait.site);
    let on = wait.on.as_ref().map(|name| format!(" on {name}"));
    let on = on.unwrap_or_default();
    match &wait.awaits {
        Awaits::Message { source, tag, .. } => {
            let from = match source {
                Some(rank) => format!("rank {rank}"),
                None => "any rank".to_owned(),
            };
            format!("{operation}{on} from {from}, {}, at {site}", tagged(*tag))
        }
        Awaits::Receiver { rank, tag } => {
            format!("{operation}{on} to rank {rank}, tag {tag}, at {site}")
        }
        Awaits::Collective { sequence, .. } => format!("{operation} #{sequence}{on} at {site}"),
        Awaits::Receivers { .. } | Awaits::Agreement { .. } | Awaits::Itself => {
            format!("{operation}{on} at {site}")
        }
    }
}

/// The ranks of a cycle among those that are stuck, each with what it waits in, and how many stuck ranks
/// are not part of it.
pub fn describe_cycle(stuck: &[u32], ranks: &[Standing]) -> String {
    let cycle = cycle(stuck, ranks);
    let mut parts: Vec<String> = cycle
        .iter()
        .take(TOLD_MAX)
        .filter_map(|&rank| {
            let wait = ranks.get(rank as usize)?.waits().first()?;
            Some(format!("rank {rank} waits in {}", describe_wait(wait)))
        })
        .collect();
    let untold = cycle.len().saturating_sub(TOLD_MAX);
    if untold > 0 {
        parts.push(format!("and {untold} more, the last for rank {}", cycle[0]));
    }
    let rest = stuck.len() - cycle.len();
    if rest > 0 {
        let plural = if rest == 1 { " waits" } else { "s wait" };
        parts.push(format!("{rest} more rank{plural} for them"));
    }
    parts.join("; ")
}

/// Ranks each of which waits for the next, and the last for the first.
fn cycle(stuck: &[u32], ranks: &[Standing]) -> Vec<u32> {
    let mut path: Vec<u32> = Vec::new();
    let mut at = stuck.first().copied();
    while let Some(rank) = at {
        if let Some(begin) = path.iter().position(|&before| before == rank) {
            return path.split_off(begin);
        }
        path.push(rank);
        let waits = ranks
            .get(rank as usize)
            .map(Standing::waits)
            .unwrap_or_default();
        let next = waits.first().and_then(|wait| {
            let needs = needed(ranks, rank, wait).ranks();
            needs
                .into_iter()
                .find(|other| stuck.binary_search(other).is_ok())
        });
        at = next;
    }
    // The last one waits for somebody who is not there at all.
    path.pop().into_iter().collect()
}
