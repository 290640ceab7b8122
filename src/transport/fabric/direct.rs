//! What serves messages that are received without a request.

use super::{Fabric, Links};
use crate::base::ids::Peer;
use crate::transport::shm::Head;
use crate::wire::header::Header;

impl Fabric {
    /// Takes the message that a peer of the same memory has sent first of those that were not read, if it
    /// is there whole and `taken` gives something for its header, with where its bytes go.
    #[inline]
    pub(crate) fn take_head<'a, R>(
        &mut self,
        from: Peer,
        taken: impl FnOnce(&Header) -> Option<(R, &'a mut [u8])>,
    ) -> Head<R> {
        let shared = match &mut self.links {
            Links::Shared(shared) => &mut **shared,
            Links::Mixed(mixed) => &mut mixed.shared,
            Links::Threads(_) | Links::Sockets(_) => return Head::Other,
        };
        if from == self.rank || !shared.reaches(from) {
            return Head::Other;
        }
        shared.take_head(from, taken)
    }

    /// Whether this rank reaches a peer over shared memory.
    #[inline]
    pub(crate) fn shares_memory_with(&self, peer: Peer) -> bool {
        match &self.links {
            Links::Shared(shared) => peer != self.rank && shared.reaches(peer),
            Links::Mixed(mixed) => peer != self.rank && mixed.shared.reaches(peer),
            Links::Threads(_) | Links::Sockets(_) => false,
        }
    }
}
