//! Finding the partner: a posted receive for a message, an unexpected message for a receive.

use super::matching::NodeId;
use super::{Engine, Envelope, Pattern, RecvId, RecvPhase, Unexpected, UnexpectedKind};
use crate::base::ids::{Context, Peer};
use crate::wire::header::Header;

/// Lists of the unexpected queue: as sent, any source, any tag, anything.
const EXACT: usize = 0;
const ANY_SOURCE: usize = 1;
const ANY_TAG: usize = 2;
const ANYTHING: usize = 3;

impl Engine {
    pub(crate) fn unpost(&mut self, id: RecvId) {
        let Some(recv) = self.recvs.get(id) else {
            return;
        };
        let RecvPhase::Posted(node) = recv.phase else {
            return;
        };
        let pattern = recv.incoming.pattern;
        if self.posted.remove(node).is_some() {
            self.count_posted(&pattern, false);
        }
    }

    pub(crate) fn count_posted(&mut self, pattern: &Pattern, more: bool) {
        if pattern.source.is_none() || pattern.tag.is_none() {
            self.posted_wild = if more {
                self.posted_wild + 1
            } else {
                self.posted_wild - 1
            };
        }
        // What starves is never a collective's message: a barrier does not ask for a flood.
        if pattern.context.is_collective() {
            return;
        }
        let count = match pattern.source {
            Some(source) => &mut self.peer_mut(source).posted,
            None => &mut self.posted_any,
        };
        *count = if more { *count + 1 } else { *count - 1 };
    }

    pub(crate) fn want_more(&mut self, pattern: &Pattern) {
        if self.any_starving && !pattern.context.is_collective() {
            match pattern.source {
                Some(peer) => self.feed(peer),
                None => self.feed_all(),
            }
        }
    }

    /// The oldest posted receive that accepts this message.
    pub(crate) fn find_posted(&self, context: Context, source: Peer, tag: u64) -> Option<RecvId> {
        let exact = Pattern {
            context,
            source: Some(source),
            tag: Some(tag),
        };
        let mut best = self.posted.first(0, &exact);
        if self.posted_wild > 0 {
            let wild = [
                Pattern {
                    source: None,
                    ..exact
                },
                Pattern { tag: None, ..exact },
                Pattern {
                    source: None,
                    tag: None,
                    ..exact
                },
            ];
            for pattern in &wild {
                let found = self.posted.first(0, pattern);
                best = match (best, found) {
                    (Some(one), Some(other)) => Some(if other.1 < one.1 { other } else { one }),
                    (one, other) => one.or(other),
                };
            }
        }
        best.and_then(|(node, _)| self.posted.get(node).copied())
    }

    /// The oldest unexpected message that this pattern accepts.
    pub(crate) fn find_unexpected(&mut self, pattern: &Pattern) -> Option<NodeId> {
        let list = match (pattern.source, pattern.tag) {
            (Some(_), Some(_)) => EXACT,
            (None, Some(_)) => ANY_SOURCE,
            (Some(_), None) => ANY_TAG,
            (None, None) => ANYTHING,
        };
        if list != EXACT && !self.unexpected_indexed {
            self.index_unexpected();
        }
        self.unexpected.first(list, pattern).map(|(node, _)| node)
    }

    /// From the first wildcard on, messages are threaded on all four lists: programs without
    /// wildcards do not pay for them.
    fn index_unexpected(&mut self) {
        self.unexpected_indexed = true;
        for node in self.unexpected.in_order() {
            let Some(entry) = self.unexpected.get(node) else {
                continue;
            };
            let claimed = matches!(
                entry.kind,
                UnexpectedKind::Staged {
                    claimed: Some(_),
                    ..
                }
            );
            if claimed || entry.context.is_collective() {
                continue;
            }
            let patterns = patterns(entry.context, &entry.envelope);
            for (list, pattern) in patterns.into_iter().enumerate().skip(1) {
                self.unexpected.append(list, pattern, node);
            }
        }
    }

    /// Takes an announced message off the queue.
    pub(crate) fn take_request(&mut self, node: NodeId) {
        let Some(entry) = self.unexpected.remove(node) else {
            return;
        };
        let (context, envelope) = (entry.context, entry.envelope);
        let source = envelope.source;
        let UnexpectedKind::Requested { token, charged, .. } = entry.kind else {
            return;
        };
        self.announced.remove(&(source, token));
        if charged {
            self.give_back(source, 0);
        } else if context.is_collective() {
            self.peer_mut(source).collectives -= 1;
        }
        if context.is_collective() {
            self.collective_taken(context, envelope.tag);
        }
    }

    pub(crate) fn push_unexpected(
        &mut self,
        context: Context,
        envelope: Envelope,
        kind: UnexpectedKind,
    ) -> NodeId {
        let all = patterns(context, &envelope);
        let indexed = self.unexpected_indexed && !context.is_collective();
        let mut lists = all.map(|pattern| indexed.then_some(pattern));
        lists[EXACT] = Some(all[EXACT]);
        self.unexpected.push(
            lists,
            Unexpected {
                context,
                envelope,
                kind,
            },
        )
    }
}

pub(crate) fn envelope(source: Peer, header: &Header) -> Envelope {
    Envelope {
        source,
        tag: header.tag,
        length: header.length,
        check: header.check,
    }
}

fn patterns(context: Context, envelope: &Envelope) -> [Pattern; 4] {
    let (source, tag) = (Some(envelope.source), Some(envelope.tag));
    [
        Pattern {
            context,
            source,
            tag,
        },
        Pattern {
            context,
            source: None,
            tag,
        },
        Pattern {
            context,
            source,
            tag: None,
        },
        Pattern {
            context,
            source: None,
            tag: None,
        },
    ]
}
