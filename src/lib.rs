//! Phalanx.

pub mod base;
pub mod engine;
pub mod limits;
#[doc(hidden)]
pub mod schedule;
pub mod sys;
pub mod transport;
pub mod wire;
