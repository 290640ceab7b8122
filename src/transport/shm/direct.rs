//! What serves messages that are received without a request.

use super::{Head, Shared};
use crate::base::ids::Peer;
use crate::transport::inbox::Rules;
use crate::wire::header::Header;

impl Shared {
    /// Takes the message that a peer has sent first of those that were not read: see [`Link::take_head`](super::link::Link::take_head).
    #[inline]
    pub(in crate::transport) fn take_head<'a, R>(
        &mut self,
        from: Peer,
        taken: impl FnOnce(&Header) -> Option<(R, &'a mut [u8])>,
    ) -> Head<R> {
        let local = self.local(from);
        let (segment, me) = (&*self.segment, self.me);
        let Some(link) = self.links[local].as_deref_mut() else {
            return Head::Other;
        };
        let rules = Rules {
            peer: link.peer,
            epoch: self.epoch,
            deaf: self.leaving,
        };
        let (head, wanted) = link.take_head(segment.memory(), &rules, taken);
        if wanted {
            segment.notify(local, me);
        }
        head
    }
}
