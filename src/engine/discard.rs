//! Throwing away what nobody will receive any more.

use super::matching::NodeId;
use super::{Engine, UnexpectedKind};
use crate::base::ids::Context;

impl Engine {
    /// The message space of a message that waits for its receive.
    pub fn space_of(&self, staged: NodeId) -> Option<Context> {
        self.unexpected.get(staged).map(|entry| entry.context)
    }

    /// Throws away what has arrived in this message space and has not found its receive: the credit goes
    /// back to the senders. What was only announced is forgotten; its sender has to give it up by itself.
    pub fn discard(&mut self, context: Context) {
        for node in self.unexpected.in_order() {
            let Some(&entry) = self.unexpected.get(node) else {
                continue;
            };
            if entry.context != context {
                continue;
            }
            match entry.kind {
                UnexpectedKind::Requested { .. } => self.take_request(node),
                UnexpectedKind::Staged {
                    complete,
                    claimed: None,
                } => {
                    self.unexpected.unlink(node);
                    self.give_back(entry.envelope.source, entry.envelope.length);
                    if context.is_collective() {
                        self.collective_taken(context, entry.envelope.tag);
                    }
                    self.drop_staged(node, complete);
                }
                UnexpectedKind::Staged { .. } => {}
            }
        }
    }
}
