//! A message-passing runtime in the MPI tradition.
//!
//! A program is a number of *ranks* that share nothing and exchange messages. [`run`] makes each process
//! that `phalanx run -n 4 ./program` started one rank, or threads of one process, as the user likes;
//! [`threads`] makes ranks for tests. All communication goes through a [`Communicator`].
//!
//! Plain elements ([`Pod`]) travel without serialisation; any serde value travels by the methods named
//! `*_obj`. Every call returns [`Result`]. The [`manual`] has chapters on everything else.
//!
//! ```
//! # fn main() -> phalanx::Result<()> {
//! // Relaxation on a ring: each rank takes the mean of its neighbours until nothing changes.
//! let values = phalanx::threads(4, |world| {
//!     let (rank, size) = (world.rank(), world.size());
//!     let (left, right) = ((rank + size - 1) % size, (rank + 1) % size);
//!     let mut value = rank as f64;
//!     loop {
//!         let (mut from_left, mut from_right) = ([0.0], [0.0]);
//!         world.sendrecv_into(&[value], right, 0, &mut from_left, left, 0)?;
//!         world.sendrecv_into(&[value], left, 1, &mut from_right, right, 1)?;
//!         let next = (from_left[0] + value + from_right[0]) / 3.0;
//!         let change = world.allreduce((next - value).abs(), phalanx::Max)?;
//!         value = next;
//!         if change < 1e-9 {
//!             return Ok(value);
//!         }
//!     }
//! })?;
//! assert!(values.iter().all(|value| (value - 1.5).abs() < 1e-6));
//! # Ok(())
//! # }
//! ```

#[doc(hidden)]
pub mod audit;
#[doc(hidden)]
pub mod base;
mod comm;
pub mod config;
#[doc(hidden)]
pub mod engine;
mod error;
pub mod limits;
pub mod manual;
#[doc(hidden)]
pub mod pod;
mod runtime;
#[doc(hidden)]
pub mod schedule;
#[doc(hidden)]
pub mod stall;
#[doc(hidden)]
pub mod sys;
#[doc(hidden)]
pub mod transport;
#[doc(hidden)]
pub mod wire;

pub use comm::{
    Agreement, Communicator, Pending, Policy, Probe, Scope, ScopedRequest, Source, Status, Tag,
    init, run, threads,
};
pub use error::{Error, ErrorKind, Result};
pub use pod::Pod;
pub use pod::operator::{
    BitAnd, BitOr, BitXor, Function, Located, LogicalAnd, LogicalOr, LogicalXor, Max, MaxLoc, Min,
    MinLoc, Operator, Product, Sum, commutative, ordered,
};

/// The program in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
