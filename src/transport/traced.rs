//! Every frame, for whoever watches the target `phalanx::frames` at level `TRACE`.
//!
//! Without a subscriber that wants them, each of these is one relaxed load and a branch never taken.

use super::Lost;
use crate::base::ids::Peer;
use crate::wire::header::Header;

#[inline]
pub(super) fn leaves(to: Peer, header: &Header) {
    tracing::trace!(target: "phalanx::frames", to = to.0, ?header, "sent");
}

#[inline]
pub(super) fn arrived(from: Peer, header: &Header) {
    tracing::trace!(target: "phalanx::frames", from = from.0, ?header, "arrived");
}

pub(super) fn lost(peer: Peer, why: &Lost) {
    tracing::debug!(target: "phalanx::frames", peer = peer.0, ?why, "lost");
}

pub(super) fn broken(peer: Peer) {
    tracing::debug!(target: "phalanx::frames", peer = peer.0, "broken, to be made again");
}
