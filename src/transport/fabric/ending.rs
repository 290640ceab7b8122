//! How links end: a peer's end, a farewell, a death.

use super::{Fabric, Links};
use crate::base::ids::Peer;
use crate::transport::shm::Shared;
use crate::transport::{Lost, Sink};

impl Fabric {
    /// The launcher says that the process of `peer` has ended. What it sent before is still delivered;
    /// then [`Sink::lost`] is called, once, unless it was already. Attempts to connect end.
    pub fn gone(&mut self, peer: Peer, reason: &str) {
        match &mut self.links {
            _ if peer == self.rank => return,
            Links::Threads(threads) => return threads.gone(peer, reason),
            Links::Sockets(sockets) => sockets.gone(peer, reason),
            Links::Shared(shared) => shared.gone(peer, reason),
            Links::Mixed(mixed) => mixed.gone(peer, reason),
        }
        self.hub.notify();
    }

    /// Nothing more will be sent: says so to every peer to which there is a link, behind what was sent
    /// before. Frames that arrive from now on are discarded, and sends are ignored. Go on with
    /// [`progress`](Self::progress) until [`drained`](Self::drained).
    pub fn farewell(&mut self, sink: &mut impl Sink) {
        self.own.clear();
        self.own_lost = true;
        match &mut self.links {
            Links::Threads(threads) => threads.leave(&Lost::Closed),
            Links::Sockets(sockets) => sockets.farewell(sink),
            Links::Shared(shared) => shared.farewell(sink),
            Links::Mixed(mixed) => mixed.farewell(sink),
        }
        self.hub.notify();
    }

    /// Whether, after [`farewell`](Self::farewell), the operating systems of all peers have everything,
    /// so that the fabric can be dropped and the process end without loss. Frames for a peer that does
    /// not listen yet keep this from becoming true; so do frames for one that does not read, when they
    /// do not fit into the buffers of the operating system.
    pub fn drained(&self) -> bool {
        match &self.links {
            Links::Threads(_) => true,
            Links::Sockets(sockets) => sockets.drained(),
            Links::Shared(shared) => shared.drained(),
            Links::Mixed(mixed) => mixed.drained(),
        }
    }

    /// Peers for which something waits that they may never take, because their processes have ended
    /// without this rank knowing it: to be asked about, and told by [`gone`](Self::gone).
    pub fn unsettled(&self) -> Vec<Peer> {
        match &self.links {
            Links::Threads(_) => Vec::new(),
            Links::Sockets(sockets) => sockets.unsettled(),
            Links::Shared(shared) => shared.unsettled(),
            Links::Mixed(mixed) => mixed.unsettled(),
        }
    }

    /// Peers with the frames sent to and received from each, where frames may be under way without anything
    /// being seen of it. Where they lie in memory until they are read, a peer is named while something
    /// still waits to be put there.
    pub fn traffic(&self) -> Vec<(Peer, u64, u64)> {
        let unsent = |shared: &Shared| {
            let peers = shared.unsettled().into_iter();
            peers.map(|peer| (peer, 1, 0)).collect::<Vec<_>>()
        };
        match &self.links {
            Links::Threads(_) => Vec::new(),
            Links::Sockets(sockets) => sockets.traffic(),
            Links::Shared(shared) => unsent(shared),
            Links::Mixed(mixed) => {
                let mut traffic = unsent(&mixed.shared);
                traffic.extend(mixed.sockets.traffic());
                traffic
            }
        }
    }

    /// Whether frames or parts of frames still wait to be written.
    pub fn has_unsent(&self) -> bool {
        match &self.links {
            Links::Threads(_) => false,
            Links::Sockets(sockets) => sockets.has_unsent(),
            Links::Shared(shared) => shared.has_unsent(),
            Links::Mixed(mixed) => mixed.has_unsent(),
        }
    }

    /// Ends all links at once, without a farewell, as the death of this process would: the others see
    /// [`Lost::Broken`] (with `reason`, between threads). Sends are ignored from now on, and nothing
    /// more arrives. Dropping a fabric that has not said farewell does the same.
    pub fn die(&mut self, reason: &str, sink: &mut impl Sink) {
        self.own.clear();
        self.own_lost = true;
        match &mut self.links {
            Links::Threads(threads) => threads.leave(&Lost::Broken(reason.into())),
            Links::Sockets(sockets) => sockets.die(sink),
            Links::Shared(shared) => shared.die(sink),
            Links::Mixed(mixed) => mixed.die(sink),
        }
    }
}
