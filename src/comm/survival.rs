//! Going on after ranks have failed, in the manner of ULFM, the fault tolerance proposed for MPI.
//!
//! By default the failure of a rank ends the job. With [`Policy::Return`] it is an error of the operations
//! that need that rank, and the others may go on: they [`revoke`](Communicator::revoke) the communicator, so
//! that nobody keeps waiting for somebody who has given up, and [`shrink`](Communicator::shrink) it to
//! those who live.

use std::panic::Location;
use std::sync::atomic::Ordering;

use super::{Call, Communicator};
use crate::base::ids::Peer;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::NoLauncher;
use crate::runtime::group::Group;
use crate::wire::control::Agreed;

/// What the failure of a rank means to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The end of the job: the launcher names the rank and ends the others.
    #[default]
    End,
    /// An error of the operations that need the rank; the others go on.
    Return,
}

/// What the ranks of a communicator have agreed on: the same on all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agreement {
    /// The bitwise AND of what the ranks that took part have given.
    pub flags: u64,
    /// The ranks of the communicator that have failed, in ascending order. A rank that is not here has
    /// taken part.
    pub failed: Vec<usize>,
}

impl Communicator {
    /// Says what failures of other ranks mean to this one; it concerns the whole job, whichever
    /// communicator says it. The job goes on after a failure if all ranks that live and have not finalized
    /// have chosen [`Policy::Return`]: so choose it right after [`init`](crate::init), and then
    /// [`agree`](Self::agree), so that nobody begins before all have chosen. Not collective; does not block.
    ///
    /// Under [`Policy::Return`] the launcher reports a failure in a line and goes on. The job's exit code is
    /// 0 if those who finalize end with 0.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] between ranks that are threads: nobody could tell who has failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use phalanx::{ErrorKind, Policy, Sum};
    ///
    /// fn main() -> phalanx::Result<()> {
    ///     let mut world = phalanx::init()?;
    ///     world.set_policy(Policy::Return)?;
    ///     world.agree(0)?;
    ///     for _ in 0..10 {
    ///         match world.allreduce(1_u64, Sum) {
    ///             Ok(ranks) => assert!(ranks as usize <= world.size()),
    ///             Err(error) if matches!(error.kind(), ErrorKind::PeerGone { .. } | ErrorKind::Revoked) => {
    ///                 world.revoke();
    ///                 world = world.shrink()?; // and restore what the program needs
    ///             }
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "MPI_Comm_set_errhandler")]
    #[doc(alias = "MPI_ERRORS_RETURN")]
    #[track_caller]
    pub fn set_policy(&self, policy: Policy) -> Result<()> {
        let call = Call::new("set_policy", Location::caller());
        let set = self.inner.runtime.set_returns(policy == Policy::Return);
        set.map_err(|NoLauncher| {
            let reason = "ranks that are threads fail together: start them with `phalanx run`";
            self.argument(&call, reason.into())
        })
    }

    /// The ranks of this communicator that are known here to have failed, in the order of the news. Another
    /// rank may know of others; see [`agree`](Self::agree). Does not block.
    #[doc(alias = "MPIX_Comm_get_failed")]
    pub fn failed(&self) -> Vec<usize> {
        let (failed, _) = self.inner.runtime.failed_in(self.inner.context);
        self.ranks_of(&failed)
    }

    /// Takes note of the failures known so far, and returns them: receives from any source wait again for
    /// those who live, instead of failing because a sender may be dead. Collectives still fail. Does not
    /// block.
    #[doc(alias = "MPIX_Comm_ack_failed")]
    pub fn acknowledge_failed(&self) -> Vec<usize> {
        let (failed, _) = self.inner.runtime.failed_in(self.inner.context);
        self.inner
            .runtime
            .acknowledge(self.inner.context, failed.len());
        self.ranks_of(&failed)
    }

    /// Interrupts everything on this communicator, on all its ranks: what is under way, and whatever is begun
    /// later, ends with [`ErrorKind::Revoked`]. Only [`agree`](Self::agree), [`shrink`](Self::shrink) and the
    /// questions about failures still work. Messages that were not received yet are lost. Not collective:
    /// one rank is enough. Does not block; communicators derived from this one are not concerned.
    #[doc(alias = "MPIX_Comm_revoke")]
    pub fn revoke(&self) {
        self.inner.runtime.revoke(self.inner.context);
    }

    /// Whether a rank has revoked this communicator, as far as it is known here.
    #[doc(alias = "MPIX_Comm_is_revoked")]
    pub fn is_revoked(&self) -> bool {
        self.inner.runtime.is_revoked(self.inner.context)
    }

    /// Agrees with all ranks of this communicator that live. Every one of them has to call it, in the same
    /// order as other calls of it and of [`shrink`](Self::shrink); it works on a communicator that was
    /// revoked and whatever has failed, and all get the same answer. Blocks until all have called it or are
    /// known to be dead. The launcher decides, so it takes a few messages to and from it.
    ///
    /// # Errors
    ///
    /// The job's end.
    #[doc(alias = "MPIX_Comm_agree")]
    #[track_caller]
    pub fn agree(&self, flags: u64) -> Result<Agreement> {
        let call = Call::new("agree", Location::caller());
        let (agreed, _) = self.decide(&call, flags)?;
        let failed: Vec<Peer> = agreed.failed.iter().map(|&rank| Peer(rank)).collect();
        let mut failed = self.ranks_of(&failed);
        failed.sort_unstable();
        Ok(Agreement {
            flags: agreed.flags,
            failed,
        })
    }

    /// A communicator of the ranks that live, in their order here; all get the same one. Blocks as
    /// [`agree`](Self::agree) does, under the same rules. Members may fail while it is made: then the first
    /// operation that needs them says so.
    ///
    /// # Errors
    ///
    /// The job's end.
    #[doc(alias = "MPIX_Comm_shrink")]
    #[track_caller]
    pub fn shrink(&self) -> Result<Self> {
        let call = Call::new("shrink", Location::caller());
        let (agreed, sequence) = self.decide(&call, u64::MAX)?;
        let members = (0..self.size()).filter_map(|rank| self.inner.group.peer(rank));
        let living: Vec<Peer> = members
            .filter(|peer| !agreed.failed.contains(&peer.0))
            .collect();
        let group = Group::of(living);
        let Some(rank) = self.own_rank_in(&group) else {
            let reason = "the others went on without this rank, which they take for dead".into();
            let kind = ErrorKind::System { reason };
            return Err(Error::new(kind, call.operation).at(call.site));
        };
        let failed: Vec<u8> = agreed.failed.iter().flat_map(|r| r.to_le_bytes()).collect();
        let colour = xxhash_rust::xxh3::xxh3_64(&failed);
        let name = format!("{}/shrink {sequence}", self.inner.name);
        // Numbers of their own: those of other derivations count from 0.
        Ok(self.derived(group, rank, u64::MAX - sequence, colour, name))
    }

    fn decide(&self, call: &Call, flags: u64) -> Result<(Agreed, u64)> {
        let inner = &self.inner;
        let sequence = inner.agreements.fetch_add(1, Ordering::Relaxed);
        let decided = inner.runtime.agree(
            inner.context,
            sequence,
            &inner.group,
            flags,
            self.errand(call),
        );
        decided
            .map(|agreed| (agreed, sequence))
            .map_err(|fault| self.error(call, fault, ""))
    }

    fn ranks_of(&self, peers: &[Peer]) -> Vec<usize> {
        let ranks = peers.iter().filter_map(|&peer| self.inner.group.rank(peer));
        ranks.collect()
    }

    fn own_rank_in(&self, group: &Group) -> Option<usize> {
        group.rank(self.inner.runtime.identity().me)
    }
}
