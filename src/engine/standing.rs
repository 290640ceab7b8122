//! What requests still wait for another rank to do, for reports on ranks that wait for long.

use super::{Engine, Envelope, Pattern, RecvId, RecvPhase, SendId, SendPhase, UnexpectedKind};
use crate::base::ids::{Context, Peer};

impl Engine {
    /// What a receive accepts, while nothing has matched it.
    pub fn unmatched_recv(&self, id: RecvId) -> Option<Pattern> {
        let recv = self.recvs.get(id)?;
        matches!(recv.phase, RecvPhase::Posted(_)).then_some(recv.incoming.pattern)
    }

    /// Receiver and tag of a send, while the receiver has not asked for it.
    pub fn unmatched_send(&self, id: SendId) -> Option<(Peer, u64)> {
        let send = self.sends.get(id)?;
        let waits = matches!(send.phase, SendPhase::Held | SendPhase::Requested);
        waits.then_some((send.outgoing.to, send.outgoing.tag))
    }

    /// The receivers of all sends, each once, if none of these sends goes on by itself.
    pub fn receivers_if_all_wait(&self) -> Option<Vec<Peer>> {
        let waiting = self.sends.keys().map(|id| self.unmatched_send(id));
        let receivers: Option<Vec<_>> = waiting.map(|it| it.map(|(peer, _)| peer)).collect();
        let mut receivers = receivers?;
        receivers.sort_unstable();
        receivers.dedup();
        Some(receivers)
    }
}

impl Engine {
    /// Messages of the program that nobody has received, in order of arrival.
    pub fn leftovers(&self) -> Vec<(Context, Envelope)> {
        let nodes = self.unexpected.in_order().into_iter();
        nodes
            .filter_map(|node| self.unexpected.get(node))
            .filter(|entry| {
                let taken = matches!(
                    entry.kind,
                    UnexpectedKind::Staged {
                        claimed: Some(_),
                        ..
                    }
                );
                !taken && !entry.context.is_collective()
            })
            .map(|entry| (entry.context, entry.envelope))
            .collect()
    }

    /// Messages of the program to and from each peer, however far they have come.
    pub fn messages(&self) -> Vec<(Peer, u64, u64)> {
        let peers = (0..).zip(&self.peers);
        peers
            .filter_map(|(rank, peer)| peer.as_ref().map(|peer| (Peer(rank), peer.messages)))
            .map(|(peer, [sent, arrived])| (peer, sent, arrived))
            .filter(|(_, sent, arrived)| sent + arrived > 0)
            .collect()
    }
}
