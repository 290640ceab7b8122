//! The manual, in chapters.
//!
//! * [`architecture`]: the layers, and the way of a message through them.
//! * [`transports`]: how ranks are connected, and what differs between the ways.
//! * [`launching`]: starting ranks, as processes or as threads; what they inherit; exit codes.
//! * [`failures`]: errors, time limits, ranks that die, collectives that do not match.
//! * [`tuning`]: what can be set, and what to look at first.
//! * [`migrating`]: from MPI, name by name.

pub mod architecture;
pub mod failures;
pub mod launching;
pub mod migrating;
pub mod transports;
pub mod tuning;
