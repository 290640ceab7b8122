//! Layer 2, edge: moves frames to a peer and from it.
//!
//! # The contract
//!
//! A [`Fabric`] is one rank's view of all others. It knows nothing of matching or requests: it takes
//! a [`Header`] with a [`Payload`] for a peer, and hands arriving headers and payloads to a [`Sink`].
//!
//! * Frames to one peer arrive whole, once, and in the order in which they were sent; between
//!   different peers there is no order.
//! * [`send`](Fabric::send) never blocks. What a socket does not take at once is queued;
//!   [`progress`](Fabric::progress) goes on with it.
//! * A [`Payload::Borrowed`] is either written at once or copied; a [`Payload::Lent`] is not copied:
//!   it is read later through [`Sink::lent`], and [`Sink::sent`] says that it is no longer needed.
//!   Whatever happens to the frame, its lengths add up to the length of the payload: also when the peer
//!   is lost, or was lost before. (Between threads, and to oneself, it is copied within `send`.)
//! * The peer is connected at the first frame for it. A simultaneous connection from the other side
//!   is resolved so that exactly one stays.
//! * An arriving payload is written straight to where the sink wants it.
//! * Frames of an earlier [`epoch`](Fabric::epoch) are dropped. [`Kind::Goodbye`] belongs to the fabric:
//!   it is sent by [`farewell`](Fabric::farewell) and never reaches a sink, which sees
//!   [`Lost::Closed`] instead.
//! * What goes wrong with one peer is told by [`Sink::lost`], once, and never hurts another peer. Sends
//!   to a lost peer are ignored.
//!
//! `send`, `farewell` and `die` call at most [`Sink::lent`] and [`Sink::sent`]; all else is called by
//! `progress` alone. Nothing is ever called by another thread, or behind a caller's back.
//!
//! # How it is driven
//!
//! The fabric and its [`Waiter`] are separate, so that each can have a lock of its own: one thread sleeps
//! in the waiter while others send. A thread that has nothing else to do repeats:
//!
//! ```text
//! loop {
//!     let turn = fabric.progress(now, &mut sink);        // with the fabric locked
//!     if turn.control { read the control source until it would block }
//!     if what this thread waits for has happened { wake another thread that sleeps, if any; return }
//!     if turn.moved or it should still spin { continue }
//!     waiter.wait(until fabric.next_deadline())          // with the fabric unlocked
//! }
//! ```
//!
//! `progress` asks the operating system by itself: no event has to be carried from the waiter to it. Work
//! that a turn leaves behind, and anything that is queued, resolved or wakes from outside, makes
//! `wait` return, whichever thread caused it. What only the caller knows, for instance that a turn has
//! completed the request of a thread that sleeps, the caller tells with a [`Waker`].
//!
//! Every kind of link passes the one suite in `tests/transport.rs`.

mod addresses;
mod fabric;
mod faulty;
mod inbox;
mod mixed;
mod parcel;
mod shm;
mod stream;
mod threads;
mod traced;
mod waiter;

pub use addresses::{Interface, interfaces, usable};
pub use fabric::{Fabric, Turn};
pub use faulty::Faults;
pub(crate) use shm::Head;
pub(crate) use shm::boards::{ROUNDS, boards_take};
pub(crate) use shm::cells::{Area, CELLS, PastCall, SHORT_BYTES, SLOT_BYTES};
pub(crate) use shm::halves::Exposed;
#[cfg(all(test, target_os = "linux"))]
pub(crate) use shm::offers::areas_of_one_process;
pub use shm::{LongMessages, Segment, SharedConfig};
#[cfg(fuzzing)]
pub use stream::fuzzing;
pub use stream::{Route, SocketsConfig};
pub use waiter::{Waiter, Waker};

use crate::base::ids::Peer;
use crate::wire::header::Header;
#[cfg(doc)]
use crate::wire::header::Kind;

/// Names memory of the layer above, so that a payload can be sent without being copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LentId(pub u64);

/// The payload of a frame that is sent. Its length is `header.payload()`.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// No payload.
    None,
    /// Valid during the call only: what cannot be written at once is copied.
    Borrowed(&'a [u8]),
    /// Stays readable through [`Sink::lent`] until [`Sink::sent`].
    Lent {
        /// Whose memory.
        id: LentId,
        /// Where in it the payload begins, in bytes.
        offset: u64,
    },
}

/// What the sink wants done with an arriving payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Hand it to [`Sink::space`], under this key.
    Into(u64),
    /// Read it and throw it away.
    Discard,
}

/// The layer above a fabric: where frames and their consequences go.
pub trait Sink {
    /// A header has arrived from `peer`.
    ///
    /// With a payload, the answer says where it goes; the payload is then written in one or more
    /// pieces to what [`space`](Self::space) gives, followed by one [`done`](Self::done). Without a
    /// payload the answer is ignored and no other call follows.
    ///
    /// # Errors
    ///
    /// A description of why the frame makes no sense: the peer is then lost.
    fn header(&mut self, peer: Peer, header: &Header) -> Result<Accept, String>;

    /// The memory for the payload `key` from byte `offset` on, at most to its end. It may be shorter
    /// than the payload (the message is truncated): the rest is discarded. Empty: discard.
    fn space(&mut self, key: u64, offset: u64) -> &mut [u8];

    /// The payload `key` has arrived in full.
    fn done(&mut self, peer: Peer, key: u64);

    /// The bytes of a lent payload from `offset` on; `None` when it was withdrawn, in which case
    /// zeros are sent in its place, so that the stream stays in step.
    fn lent(&self, id: LentId, offset: u64, length: usize) -> Option<&[u8]>;

    /// `length` bytes of a lent payload were written, which [`sent`](Self::sent) will give back when the peer
    /// has acknowledged them: more of the same message may follow. Not told where they are given back as soon as
    /// they are written.
    fn written(&mut self, peer: Peer, id: LentId, length: u64) {
        let _ = (peer, id, length);
    }

    /// `length` bytes of a lent payload were written; they are not needed any more.
    fn sent(&mut self, peer: Peer, id: LentId, length: u64);

    /// The address of this peer is needed to go on; answer with [`Fabric::resolve`].
    fn lookup(&mut self, peer: Peer);

    /// The connection to this peer has broken, and is being made again: nothing is lost as long as its process
    /// lives. Whoever knows that it has ended says so with [`Fabric::gone`].
    fn broken(&mut self, peer: Peer) {
        let _ = peer;
    }

    /// The connection to this peer has ended: nothing more will arrive, nothing more can be sent.
    fn lost(&mut self, peer: Peer, why: Lost);
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The peer closed it after its `Goodbye`.
    Closed,
    /// It broke: the peer's process may have died, or the network failed.
    Broken(String),
    /// The peer sent bytes that make no sense, or speaks another version.
    Wire(String),
    /// The peer could not prove that it belongs to the job.
    Authentication(String),
    /// No connection could be established in time.
    Unreachable(String),
}
