//! How a daemon is started on a host. For now: here, as a child.
//!
//! Whatever the way, the result is the same: a byte stream to the daemon and one from it.

mod local;

pub(crate) use local::Started;

use crate::job::Refusal;
use crate::nodes::Host;

/// Starts the daemon of a host.
pub(crate) fn start(host: &Host) -> Result<Started, Refusal> {
    if host.here {
        return local::start();
    }
    Err(Refusal::launch(format!(
        "host {}: ranks can be started on this machine only",
        host.name
    )))
}
