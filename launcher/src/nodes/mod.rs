//! Who gives the hosts. For now: the machine we are on.

use crate::place::Host;

/// The local host, with room for all ranks.
///
/// Its name is what it calls itself; it is never looked up, so no name service can delay a start.
pub(crate) fn local(ranks: u32) -> Vec<Host> {
    vec![Host {
        name: own_name(),
        slots: ranks,
    }]
}

/// What this host calls itself.
pub(crate) fn own_name() -> String {
    hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
