//! What ranks say of their calls when they end: contradictions make the job fail, leftovers are told. And who
//! of several that failed is to blame.

use phalanx::wire::control::{Account, FailureClass};

use super::summary::Because;
use super::{Action, Complaint, Job};
use crate::exit;

impl Job {
    /// A rank has finalized or failed, and says what it had called.
    pub(super) fn accounted(&mut self, rank: u32, account: Account) {
        let Some(found) = self.audit.enter(rank, account) else {
            return;
        };
        // Who complains of it, or of what came of it, has a process that still ends.
        let quiet = self.ranks.iter().all(|rank| rank.complaint.is_none());
        if quiet && self.failed.is_empty() {
            self.blame(Because::Mismatch, Some(rank));
            self.end(exit::MISMATCH, Some(found));
        } else {
            self.contradiction.get_or_insert(found);
        }
    }

    pub(super) fn is_victim(&self, rank: u32) -> bool {
        self.victimhood(rank) > 0
    }

    /// Whether another rank complained before this one did, and has not ended yet.
    pub(super) fn an_earlier_one_still_dies(&self, rank: u32) -> bool {
        let order = self.ranks[rank as usize].order;
        (0..).zip(&self.ranks).any(|(other, state)| {
            state.exit.is_none()
                && (state.complaint.is_some() || state.died)
                && state.order < order
                && !self.is_victim(other)
        })
    }

    /// How little a rank's failure is to be blamed: 0 for a cause, 2 for the consequence of another one. Who
    /// waited for a rank that had finalized is between: that one may have left because of something else.
    pub(super) fn victimhood(&self, rank: u32) -> u8 {
        match &self.ranks[rank as usize].complaint {
            Some(Complaint::Failed { class, .. }) => match class {
                FailureClass::PeerGone => 2,
                FailureClass::Deserted { .. } => 1,
                _ => 0,
            },
            _ => 0,
        }
    }

    /// What is known besides the words of a rank that failed, because it and others did not agree.
    pub(super) fn explanation(&self, rank: u32) -> Option<String> {
        let complaint = self.ranks[rank as usize].complaint.as_ref();
        let Some(Complaint::Failed { message, class }) = complaint else {
            return None;
        };
        match class {
            FailureClass::Mismatch if !message.contains("another collective") => None,
            FailureClass::Mismatch => self.contradiction.clone(),
            FailureClass::Deserted { rank: left } => {
                let end = self.audit.end_of(*left);
                let end = end.map(|end| format!("rank {left} {end}"));
                let why = self.contradiction.clone().or(end);
                let message = self.audit.unreceived(rank, *left);
                let parts: Vec<String> = why.into_iter().chain(message).collect();
                (!parts.is_empty()).then(|| parts.join("; "))
            }
            _ => None,
        }
    }

    /// The job ends well: what is left over is told. With `--check` it has not ended well then.
    pub(super) fn final_code(&mut self, code: u8) -> u8 {
        if code != 0 || !self.failed.is_empty() {
            return code;
        }
        for line in self.audit.races() {
            self.actions.push(Action::Say(format!("note: {line}")));
        }
        let warnings = self.audit.warnings();
        let bad = self.setup.check && !warnings.is_empty();
        let word = if bad { "error" } else { "warning" };
        for line in warnings {
            self.actions.push(Action::Say(format!("{word}: {line}")));
        }
        if bad {
            self.blame(Because::Leftovers, None);
            exit::MISMATCH
        } else {
            code
        }
    }
}
