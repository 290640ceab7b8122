//! What links through sockets need to know.

use std::net::IpAddr;
use std::time::Duration;

use super::super::faulty::Faults;
use crate::base::ids::{Epoch, JobId, Peer};
use crate::wire::control::Secret;

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Through a Unix socket: it runs on the same host.
    Unix,
    /// Through TCP, at the addresses that [`Fabric::resolve`](super::super::Fabric::resolve) gives.
    Tcp,
}

/// What [`Fabric::sockets`](super::super::Fabric::sockets) needs to know.
pub struct SocketsConfig {
    /// The job.
    pub job: JobId,
    /// What its processes share.
    pub secret: Secret,
    /// The life of the job.
    pub epoch: Epoch,
    /// This rank.
    pub rank: Peer,
    /// Number of ranks in the job.
    pub size: u32,
    /// How each of the others is reached. Both sides must agree.
    pub route: Box<dyn Fn(Peer) -> Route + Send + Sync>,
    /// Where to listen for TCP, if any peer is reached through it; `127.0.0.1` for a job on one host. It
    /// is enough when one of them can be used.
    pub listen: Vec<IpAddr>,
    /// The ports to choose from, the first and the last one; `None`: the operating system chooses.
    pub ports: Option<(u16, u16)>,
    /// What goes through TCP is encrypted; all ranks must agree.
    pub encrypt: bool,
    /// How long to try a peer on this host that does not listen yet. `None`: until
    /// [`Fabric::gone`](super::super::Fabric::gone).
    pub start_limit: Option<Duration>,
    /// How long to try to make a TCP connection again that has broken, without a sign of life from the peer's
    /// host. Zero: a break is an end.
    pub reconnect: Duration,
    /// Faults on purpose, for tests.
    pub faults: Option<Faults>,
}

impl std::fmt::Debug for SocketsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketsConfig")
            .field("job", &self.job)
            .field("epoch", &self.epoch)
            .field("rank", &self.rank)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
