//! Phalanx.

#[doc(hidden)]
pub mod base;
mod comm;
pub mod config;
#[doc(hidden)]
pub mod engine;
mod error;
pub mod limits;
#[doc(hidden)]
pub mod pod;
mod runtime;
#[doc(hidden)]
pub mod schedule;
#[doc(hidden)]
pub mod sys;
#[doc(hidden)]
pub mod transport;
#[doc(hidden)]
pub mod wire;

pub use comm::{
    Communicator, Pending, Probe, Scope, ScopedRequest, Source, Status, Tag, init, run, threads,
};
pub use error::{Error, ErrorKind, Result};
pub use pod::Pod;
pub use pod::operator::{
    BitAnd, BitOr, BitXor, Function, Located, LogicalAnd, LogicalOr, LogicalXor, Max, MaxLoc, Min,
    MinLoc, Operator, Product, Sum, commutative, ordered,
};
