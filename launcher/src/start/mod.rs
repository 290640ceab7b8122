//! How a daemon is started on a host. For now: here, as a child.
//!
//! Whatever the way, the result is the same: a byte stream to the daemon and one from it.

pub(crate) mod local;
