//! The ranks of a communicator as ranks of the world, and back.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::base::ids::Peer;

/// An ordered set of peers.
#[derive(Clone, Debug)]
pub(crate) enum Group {
    /// All ranks of the world, in their order.
    World(u32),
    /// Some ranks, in an order of their own.
    Some(Arc<Members>),
}

#[derive(Debug)]
pub(crate) struct Members {
    peers: Vec<Peer>,
    ranks: HashMap<Peer, usize, FxBuildHasher>,
}

impl Group {
    pub(crate) fn of(peers: Vec<Peer>) -> Self {
        let ranks = peers
            .iter()
            .enumerate()
            .map(|(rank, &peer)| (peer, rank))
            .collect();
        Self::Some(Arc::new(Members { peers, ranks }))
    }

    pub(crate) fn size(&self) -> usize {
        match self {
            Self::World(size) => *size as usize,
            Self::Some(members) => members.peers.len(),
        }
    }

    /// The members as ranks of the world; none when it is the world.
    pub(crate) fn listed(&self) -> Vec<u32> {
        match self {
            Self::World(_) => Vec::new(),
            Self::Some(members) => members.peers.iter().map(|peer| peer.0).collect(),
        }
    }

    /// The peer with this rank; `None` when there is no such rank.
    pub(crate) fn peer(&self, rank: usize) -> Option<Peer> {
        match self {
            Self::World(size) => u32::try_from(rank)
                .ok()
                .filter(|rank| rank < size)
                .map(Peer),
            Self::Some(members) => members.peers.get(rank).copied(),
        }
    }

    /// The rank of this peer; `None` when it is not a member.
    pub(crate) fn rank(&self, peer: Peer) -> Option<usize> {
        match self {
            Self::World(size) => (peer.0 < *size).then_some(peer.index()),
            Self::Some(members) => members.ranks.get(&peer).copied(),
        }
    }
}
