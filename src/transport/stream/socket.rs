//! A connected byte stream: Unix socket or TCP, or one of these with faults.
//!
//! Reads and writes go through `rustix`, so that both kinds share them, a broken connection never
//! raises `SIGPIPE`, and `EINTR` is dealt with in one place.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::super::faulty::Fault;
use super::cipher::Cipher;
use crate::wire::sealed::Keys;

/// Writes up to this length are gathered on the stack: one plain `send` is cheaper than `sendmsg`.
const GATHER_BYTES: usize = 512;

#[cfg(not(target_vendor = "apple"))]
const FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const FLAGS: SendFlags = SendFlags::empty(); // mio sets SO_NOSIGPIPE there

#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(socket) => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
    }
}

/// What a read or write has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) bytes: usize,
    /// The socket may take or give more at once; otherwise an event will tell when it does.
    pub(super) more: bool,
}

impl Moved {
    /// Writes what follows `front` bytes, if all of them are written and the socket may take more: it may even if they are
    /// not. An error comes again with the next call.
    pub(super) fn go_on(&mut self, socket: &mut Socket, front: usize, rest: &[u8]) {
        if self.bytes != front || !self.more || rest.is_empty() {
            return;
        }
        if let Ok(next) = socket.write(&[IoSlice::new(rest)]) {
            self.bytes += next.bytes;
            self.more = next.more;
        }
    }
}

/// A connected socket in the hands of a link.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    fault: Option<Box<Fault>>,
    /// What goes through it is sealed.
    cipher: Option<Box<Cipher>>,
    /// Whether the registration asks for writability.
    wants_write: bool,
}

impl Socket {
    pub(super) const fn new(stream: Stream, fault: Option<Box<Fault>>) -> Self {
        Self {
            stream,
            fault,
            cipher: None,
            wants_write: false,
        }
    }

    pub(super) const fn is_tcp(&self) -> bool {
        matches!(self.stream, Stream::Tcp(_))
    }

    /// From here on everything is sealed with these keys.
    pub(super) fn encrypt(&mut self, keys: Keys) {
        self.cipher = Some(Cipher::new(keys));
    }

    /// Whether something that was written waits here, not in the operating system.
    pub(super) fn holds(&self) -> bool {
        self.cipher.as_ref().is_some_and(|cipher| cipher.holds())
    }

    /// Whether what goes through it is sealed.
    pub(super) const fn seals(&self) -> bool {
        self.cipher.is_some()
    }

    fn source(&mut self) -> &mut dyn Source {
        match &mut self.stream {
            Stream::Unix(socket) => socket,
            Stream::Tcp(socket) => socket,
        }
    }

    /// Asks for readability, and for writability while something waits to be written: asking for it
    /// always would wake a sleeper whenever the peer reads.
    pub(super) fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        write: bool,
    ) -> io::Result<()> {
        self.wants_write = write;
        self.source().register(registry, token, interest(write))
    }

    pub(super) fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        write: bool,
    ) -> io::Result<()> {
        self.wants_write = write;
        self.source().reregister(registry, token, interest(write))
    }

    pub(super) fn want_write(
        &mut self,
        registry: &Registry,
        token: Token,
        write: bool,
    ) -> io::Result<()> {
        if self.wants_write == write {
            Ok(())
        } else {
            self.reregister(registry, token, write)
        }
    }

    /// How the attempt to connect ended; `None` while it goes on.
    pub(super) fn connected(&self) -> Option<io::Result<()>> {
        let Stream::Tcp(socket) = &self.stream else {
            return Some(Ok(()));
        };
        match socket.take_error() {
            Err(error) | Ok(Some(error)) => return Some(Err(error)),
            Ok(None) => {}
        }
        match socket.peer_addr() {
            Ok(_) => {
                tune(socket);
                Some(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Reads into `first`, then into `second`, with one system call. `Ok(None)`: the stream has ended.
    pub(super) fn read(
        &mut self,
        first: &mut [u8],
        second: &mut [u8],
    ) -> io::Result<Option<Moved>> {
        let Some(mut cipher) = self.cipher.take() else {
            return self.read_raw(first, second);
        };
        let read = cipher.read(self, first, second);
        self.cipher = Some(cipher);
        read
    }

    /// As [`read`](Self::read), of what really comes from the operating system.
    pub(super) fn read_raw(
        &mut self,
        first: &mut [u8],
        second: &mut [u8],
    ) -> io::Result<Option<Moved>> {
        let (mut first, mut second) = (first, second);
        if self.fault.as_mut().is_some_and(|fault| fault.resets()) {
            self.reset();
        }
        if let Some(fault) = &mut self.fault {
            let Some(limit) = fault.limit_read() else {
                return Ok(Some(Moved {
                    bytes: 0,
                    more: true,
                }));
            };
            let of_first = limit.min(first.len());
            first = &mut first[..of_first];
            let of_second = (limit - of_first).min(second.len());
            second = &mut second[..of_second];
        }
        let wanted = first.len() + second.len();
        let fd = self.stream.as_fd();
        let result = retry(|| {
            if first.is_empty() {
                rustix::io::read(fd, &mut *second)
            } else if second.is_empty() {
                rustix::io::read(fd, &mut *first)
            } else {
                rustix::io::readv(fd, &mut [IoSliceMut::new(first), IoSliceMut::new(second)])
            }
        });
        match result {
            Ok(0) if wanted > 0 => Ok(None),
            Ok(bytes) => {
                if let Some(fault) = &mut self.fault {
                    fault.has_read(bytes);
                }
                Ok(Some(Moved {
                    bytes,
                    more: bytes == wanted,
                }))
            }
            Err(Errno::AGAIN) => Ok(Some(Moved {
                bytes: 0,
                more: false,
            })),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the pieces, as far as the socket takes them.
    pub(super) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<Moved> {
        let Some(mut cipher) = self.cipher.take() else {
            return self.write_raw(pieces);
        };
        let written = cipher.write(self, pieces);
        self.cipher = Some(cipher);
        written
    }

    /// As [`write`](Self::write), of what really goes to the operating system.
    pub(super) fn write_raw(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<Moved> {
        let wanted: usize = pieces.iter().map(|piece| piece.len()).sum();
        if wanted == 0 {
            return Ok(Moved {
                bytes: 0,
                more: true,
            });
        }
        if self.fault.as_mut().is_some_and(|fault| fault.resets()) {
            self.reset();
        }
        let result = if let Some(fault) = &mut self.fault {
            let Some(limit) = fault.limit_write()? else {
                return Ok(Moved {
                    bytes: 0,
                    more: true,
                });
            };
            let gathered: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| piece.iter().copied())
                .take(limit)
                .collect();
            let fd = self.stream.as_fd();
            let result = retry(|| rustix::net::send(fd, &gathered, FLAGS));
            if let Ok(bytes) = result {
                fault.wrote(bytes);
                return Ok(Moved { bytes, more: true });
            }
            result
        } else if wanted <= GATHER_BYTES {
            let mut gathered = [0; GATHER_BYTES];
            let mut at = 0;
            for piece in pieces {
                gathered[at..at + piece.len()].copy_from_slice(piece);
                at += piece.len();
            }
            retry(|| rustix::net::send(self.stream.as_fd(), &gathered[..at], FLAGS))
        } else {
            let mut nothing = SendAncillaryBuffer::default();
            retry(|| rustix::net::sendmsg(self.stream.as_fd(), pieces, &mut nothing, FLAGS))
        };
        match result {
            Ok(bytes) => Ok(Moved {
                bytes,
                more: bytes == wanted,
            }),
            Err(Errno::AGAIN | Errno::NOBUFS) => Ok(Moved {
                bytes: 0,
                more: false,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Breaks a TCP connection as a device between the hosts may do, for tests: what is under way is lost.
    pub(super) fn reset(&mut self) {
        if self.is_tcp() {
            // It may be broken already.
            let _ = rustix::net::connect_unspec(self.stream.as_fd());
        }
    }

    /// Nothing more will be written; the peer sees the end of the stream behind what was.
    pub(super) fn shutdown_write(&self) {
        // A connection that has broken meanwhile needs no end.
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
    }

    /// Bytes that the peer's host has not acknowledged; `None` where this cannot be known.
    pub(super) fn unacknowledged(&self) -> Option<usize> {
        crate::sys::socket::unacknowledged(self.stream.as_fd())
    }

    /// Whether the process at the other end of a Unix socket belongs to this user. True for TCP, and
    /// where the operating system cannot tell: there the directory keeps others out.
    pub(super) fn is_same_user(&self) -> bool {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Stream::Unix(socket) = &self.stream {
            return rustix::net::sockopt::socket_peercred(socket)
                .is_ok_and(|peer| peer.uid == rustix::process::geteuid());
        }
        true
    }
}

/// Prepares a TCP connection. Only speed is at stake: whatever cannot be set stays as it is.
pub(super) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    // Within a host nothing is lost and nothing queues. A congestion control that paces, as BBR does, makes pauses
    // there all the same; `reno` does not, and every Linux lets every user have it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let (Ok(here), Ok(there)) = (stream.local_addr(), stream.peer_addr()) {
        if here.ip() == there.ip() {
            let _ = rustix::net::sockopt::set_tcp_congestion(stream, "reno");
        }
    }
}

const fn interest(write: bool) -> Interest {
    if write {
        Interest::READABLE.add(Interest::WRITABLE)
    } else {
        Interest::READABLE
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn nothing_paces_within_a_host() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        let address = listener.local_addr().expect("address");
        let near = std::net::TcpStream::connect(address).expect("connect");
        let (far, _) = listener.accept().expect("accept");
        for stream in [near, far] {
            stream.set_nonblocking(true).expect("nonblocking");
            let stream = TcpStream::from_std(stream);
            tune(&stream);
            assert!(stream.nodelay().expect("nodelay"));
            let control = rustix::net::sockopt::tcp_congestion(&stream).expect("congestion");
            assert_eq!(control, "reno");
        }
    }
}
