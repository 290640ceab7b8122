//! Phalanx.

pub mod base;
pub mod engine;
pub mod limits;
#[allow(dead_code, unreachable_pub, reason = "under construction")]
pub mod schedule;
pub mod sys;
pub mod transport;
pub mod wire;
