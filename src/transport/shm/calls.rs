//! Waking a rank of this host that sleeps in its poll: an empty datagram to a socket that it polls.
//!
//! The socket has an abstract name of 128 random bits that stand in the shared memory: it vanishes with its process,
//! and only ranks of this host know it. What comes is thrown away unread, so a stranger could do no more than
//! wake a rank without cause.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::OnceLock;

/// Length of the name of a host's ranks.
pub(super) const NAME_BYTES: usize = 16;

/// Calls from this process, and to it.
#[derive(Debug)]
pub(super) struct Calls {
    name: [u8; NAME_BYTES],
    /// Opened at the first call; `None` when that was refused.
    caller: OnceLock<Option<UnixDatagram>>,
}

impl Calls {
    pub(super) const fn new(name: [u8; NAME_BYTES]) -> Self {
        Self {
            name,
            caller: OnceLock::new(),
        }
    }

    /// What becomes readable when a rank is called.
    pub(super) fn hear(&self, rank: usize) -> io::Result<mio::net::UnixDatagram> {
        let socket = UnixDatagram::bind_addr(&self.address(rank)?)?;
        socket.set_nonblocking(true)?;
        Ok(mio::net::UnixDatagram::from_std(socket))
    }

    /// Calls a rank. A call that does not fit into its queue need not: it has not heard the earlier ones yet.
    pub(super) fn call(&self, rank: usize) {
        let open = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            io::Result::Ok(socket)
        };
        let caller = self.caller.get_or_init(|| match open() {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "cannot call ranks that sleep; they wake by themselves, later");
                None
            }
        });
        let Some(caller) = caller else { return };
        let called = self
            .address(rank)
            .and_then(|address| caller.send_to_addr(&[], &address));
        if let Err(error) = called {
            tracing::debug!(%error, rank, "a call was not taken");
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn address(&self, rank: usize) -> io::Result<SocketAddr> {
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt;
        let name = u128::from_ne_bytes(self.name);
        SocketAddr::from_abstract_name(format!("phalanx-call-{name:032x}-{rank}"))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn address(&self, _rank: usize) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no datagrams")]
    fn a_call_is_heard_by_the_one_who_is_called_and_too_many_do_no_harm() {
        let name = getrandom::u64().expect("random").to_ne_bytes();
        let mut whole = [0; NAME_BYTES];
        whole[..8].copy_from_slice(&name);
        let calls = Calls::new(whole);
        let (one, two) = (calls.hear(1).expect("bound"), calls.hear(2).expect("bound"));
        for _ in 0..10_000 {
            calls.call(1);
        }
        calls.call(3);
        let mut nothing = [0; 1];
        assert_eq!(one.recv(&mut nothing).expect("called"), 0);
        let error = two.recv(&mut nothing).expect_err("not called");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
