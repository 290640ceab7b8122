//! Layer 1: bytes to values and back. Pure and total: no decoder here panics, reads a clock, or
//! allocates before a length has been checked against `limits`.
#![forbid(unsafe_code)]

pub mod control;
pub mod handshake;
pub mod header;
pub mod noise;
pub mod pmi;
pub mod sealed;
