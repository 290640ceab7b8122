//! What a fault is to the user.

use crate::base::ids::Peer;
use crate::engine::Failure;
use crate::error::ErrorKind;
use crate::runtime::{Fault, JobFailure, JobFailureKind};

/// What made the job fail.
pub(super) fn kind_of_job(failure: &JobFailure) -> ErrorKind {
    let reason = failure.cause.clone();
    match failure.kind {
        JobFailureKind::Gone => peer_gone(failure.peer, reason),
        JobFailureKind::Wire => ErrorKind::Wire { reason },
        JobFailureKind::Authentication => ErrorKind::Authentication { reason },
        JobFailureKind::Unreachable => ErrorKind::Unreachable { reason },
        JobFailureKind::Mismatch => ErrorKind::Mismatch { reason },
        JobFailureKind::Broken => ErrorKind::System { reason },
    }
}

/// A peer has gone for this reason.
pub(super) fn peer_gone(peer: Peer, cause: String) -> ErrorKind {
    ErrorKind::PeerGone {
        world_rank: peer.index(),
        cause,
    }
}

/// Elements instead of bytes in a truncation error.
pub(super) fn in_elements(error: Fault, size: usize) -> Fault {
    match error {
        Fault::Message(Failure::Truncated {
            mut envelope,
            capacity,
        }) => {
            let size = size.max(1) as u64;
            envelope.length /= size;
            Fault::Message(Failure::Truncated {
                envelope,
                capacity: capacity / size,
            })
        }
        other => other,
    }
}
