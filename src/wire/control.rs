//! Control messages: launcher to daemon to rank, and back.
//!
//! Each travels as a little-endian `u32` length followed by the message in postcard form. One
//! daemon runs on every host. It talks to the launcher over a byte stream (its standard input and
//! output, whether it was started locally or through ssh) and to each of its ranks over a socket
//! that the rank inherits. The first message in each direction names the protocol version.
//!
//! This module is public for the launcher only; it promises no stability to others.

mod account;
mod bytes;
mod daemons;
mod framing;
mod ranks;
mod rendezvous;
mod stall;

use serde::{Deserialize, Serialize};

pub use account::{Account, Call, Race, Unmatched};
pub use daemons::{
    Assignment, Binding, Exit, FromDaemon, Glance, InputFor, Program, SentFile, Stream, ToDaemon,
};
pub use framing::{ControlError, Decoder, encode};
pub use ranks::{Agreed, Cause, Departure, FailureClass, FromRank, ToRank, Welcome};
pub use rendezvous::{Arrival, FromMeeting, ToMeeting};
pub use stall::{Answer, Awaits, Traffic, Wait};

/// The version of everything in this module and of the frame header; both sides must agree exactly.
pub const PROTOCOL: u32 = 6;

/// Environment variable that holds the number of the inherited control descriptor.
pub const CONTROL_FD_VARIABLE: &str = "PHALANX_CONTROL_FD";

/// Output that a daemon may have sent to the launcher, of one stream of all its ranks, before the
/// launcher has taken it. So a slow reader of the output stops the ranks that print, and nothing
/// else: other control messages keep flowing.
pub const OUTPUT_WINDOW_BYTES: usize = 512 * 1024;

/// Input that the launcher may have sent before any rank has taken it.
pub const INPUT_WINDOW_BYTES: usize = 256 * 1024;

/// Input that some ranks may have taken before others have, when all of them get it; each daemon keeps that
/// much. So a rank that does not read holds up the others only when there is more.
pub const INPUT_LAG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a file that the launcher may have sent before the daemon has kept them.
pub const FILE_WINDOW_BYTES: usize = 1024 * 1024;

/// Time between two beats of launcher and daemon, in a job of several hosts.
pub const BEAT_MILLIS: u64 = 250;

/// The secret that the processes of one job share. Never printed, never in argv or environment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Which transport connects ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransportChoice {
    /// The best one for each pair: shared memory within a host (Unix sockets where the operating system
    /// does not allow it), TCP between hosts.
    #[default]
    Auto,
    /// Unix sockets; the job must fit on one host.
    Unix,
    /// TCP everywhere, over the loopback interface within a host.
    Tcp,
    /// Shared memory; the job must fit on one host.
    Shm,
}

/// Where the ranks of the job run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMap {
    /// Host names, in the order of the nodes.
    pub hosts: Vec<String>,
    /// For each rank the index of its host.
    pub node_of: Vec<u32>,
}

#[cfg(test)]
mod tests;
