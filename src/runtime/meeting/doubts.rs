//! Ranks that do not come, or come for something else.

use crate::base::ids::{Context, Peer};
use crate::engine::{Failure, Mismatch};
use crate::runtime::dispute::Past;
use crate::runtime::progress::Core;
use crate::runtime::state::{CollectiveKey, Fault};
use crate::transport::{Area, PastCall};

impl Core {
    /// Lets others see what this rank calls on its world.
    pub(crate) fn note_call(&self, context: Context, sequence: u64, signature: u64) {
        if cfg!(bare) || context != Context::WORLD.collective() {
            return;
        }
        if let Some(meetings) = &self.meetings {
            meetings.area.note_call(PastCall {
                sequence,
                signature,
            });
        }
    }

    /// The ranks that meet do not agree: about which call? Who has not let others see yet what it calls will have
    /// when this rank wonders why it waits.
    pub(super) fn settle_dissent(&mut self, key: CollectiveKey) {
        let (Some(meetings), Some(running)) = (&self.meetings, self.state.collectives.get(key))
        else {
            return;
        };
        let known = self.state.disputes.past();
        let dissent = first_dissent(&meetings.area, known, running.setting.sequence);
        if let Some((sequence, signature, peer)) = dissent {
            self.disagree(sequence, signature, peer);
        }
    }

    /// A rank has waited for long: has somebody left without it, or called something else?
    pub(crate) fn compare_calls(&mut self) {
        self.miss_departed();
        let Some(meetings) = &self.meetings else {
            return;
        };
        let area = meetings.area.clone();
        let world = Context::WORLD.collective();
        let waiting = self.state.collectives.values();
        let waiting = waiting.filter(|running| running.outcome.is_none());
        let waiting: Vec<_> = waiting
            .map(|running| &running.setting)
            .filter(|setting| setting.context == world)
            .map(|setting| setting.sequence)
            .collect();
        for sequence in waiting {
            let known = self.state.disputes.past();
            if let Some((sequence, signature, peer)) = first_dissent(&area, known, sequence) {
                self.disagree(sequence, signature, peer);
            }
        }
    }

    /// Ends meetings to which a rank that has finalized will never come.
    fn miss_departed(&mut self) {
        self.meet(); // Who has departed may have come before, and be gone because all have.
        let Some(meetings) = &self.meetings else {
            return;
        };
        let collectives = &self.state.collectives;
        let missed = |key: &CollectiveKey| {
            let meeting = collectives.get(*key)?.meeting.as_ref()?;
            let mut departed = self.state.departures.keys();
            let peer = departed.find(|peer| {
                let call = meetings.area.call(peer.index(), meeting.sequence);
                call.is_none()
            })?;
            Some((*key, *peer))
        };
        let missed: Vec<_> = meetings.running.iter().filter_map(missed).collect();
        for (key, peer) in missed {
            self.fail_collective(key, Fault::Message(Failure::PeerGone(peer)));
        }
    }

    fn disagree(&mut self, sequence: u64, signature: u64, peer: usize) {
        let context = Context::WORLD.collective();
        let peer = Peer(peer as u32);
        if self.state.disputes.is_open(context, sequence) {
            return;
        }
        self.dispute(&Mismatch {
            context,
            sequence,
            peer,
            ours: signature,
            theirs: 0,
        });
    }
}

/// A rank whose collective with this number is another one.
fn dissenter(area: &Area, sequence: u64, signature: u64) -> Option<usize> {
    (0..area.ranks()).find(|rank| {
        let call = area.call(*rank, sequence);
        call.is_some_and(|call| call.sequence == sequence && call.signature != signature)
    })
}

/// The first call of this rank, up to the one with this number, that another rank did not call: its number, its
/// signature, and that rank. Ranks that meet and do not agree may have come for different calls.
fn first_dissent<'a>(
    area: &Area,
    mut past: impl Iterator<Item = &'a Past>,
    latest: u64,
) -> Option<(u64, u64, usize)> {
    let world = Context::WORLD.collective();
    past.find_map(|&(context, sequence, signature, _)| {
        let before = context == world && sequence <= latest;
        let peer = before.then(|| dissenter(area, sequence, signature))??;
        Some((sequence, signature, peer))
    })
}
