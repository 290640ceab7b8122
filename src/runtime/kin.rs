//! Ranks that are threads of one process: they look themselves whether they wait for each other.
//!
//! There is no launcher that could. A rank that has been blocked for a second looks at all others: ranks in the
//! same collective that called different ones end with the mismatch. Ranks that seem stuck are only told of, on
//! standard error: nobody knows what other threads of the process may still do.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::progress::Core;
use super::wait::Station;
use crate::base::ids::{Context, Peer};
use crate::stall::{self, Disagreement, Standing, describe_cycle};
use crate::wire::control::{Awaits, Wait};

/// Time between the two looks that show that ranks are stuck.
const BETWEEN: Duration = Duration::from_millis(150);

/// All ranks of the process, by rank.
pub(crate) type Kin = OnceLock<Arc<[Weak<Station>]>>;

/// A rank has been blocked for long.
pub(super) fn look(kin: &[Weak<Station>]) {
    let first = standings(kin);
    if let Some(found) = stall::disagreement(&first) {
        disagree(kin, &first, &found);
        return;
    }
    if stall::stuck(&first).is_empty() {
        return;
    }
    std::thread::sleep(BETWEEN);
    let second = stall::unchanged(&first, &standings(kin));
    let stuck = stall::stuck(&second);
    if !stuck.is_empty() {
        let cycle = describe_cycle(&stuck, &second);
        eprintln!("phalanx: this looks like a deadlock: {cycle}; only another thread could help");
    }
}

/// Ends the collective on all ranks that wait in it, each with a call that is not its own.
fn disagree(kin: &[Weak<Station>], ranks: &[Standing], found: &Disagreement) {
    let key = |wait: &Wait| match wait.awaits {
        Awaits::Collective {
            context,
            sequence,
            signature,
            ..
        } => Some((context, sequence, signature)),
        _ => None,
    };
    let Some((context, sequence, _)) = key(&found.one.1) else {
        return;
    };
    for (station, standing) in kin.iter().zip(ranks) {
        let waits = standing.waits().iter().filter_map(key);
        let mut mine = waits.filter(|(of, number, _)| (*of, *number) == (context, sequence));
        let (Some(station), Some(mine)) = (station.upgrade(), mine.next()) else {
            continue;
        };
        let same = key(&found.other.1) == Some(mine);
        let (peer, wait) = if same { &found.one } else { &found.other };
        let theirs = format!("{} at {}", wait.operation, wait.site);
        station.act(|core| {
            core.lose_dispute(Context(context), sequence, Peer(*peer), Some(theirs));
        });
    }
}

fn standings(kin: &[Weak<Station>]) -> Vec<Standing> {
    let standing = |station: &Weak<Station>| match station.upgrade() {
        None => Standing::Gone,
        Some(station) => station.lock().idle_standing(),
    };
    kin.iter().map(standing).collect()
}

impl Core {
    fn idle_standing(&self) -> Standing {
        if self.finalized {
            return Standing::Gone;
        }
        // A thread of it sleeps, with nothing left to do.
        if self.polling {
            Standing::Idle(Box::new(self.standing(0)))
        } else {
            Standing::Busy
        }
    }
}
