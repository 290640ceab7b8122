//! Bare sockets between two threads.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{on_two_cores, sample};
use crate::bench::case::WINDOW;
use crate::bench::machine;

/// Which sockets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    Unix,
    Tcp,
}

impl Family {
    /// By the name that ranks give to their links. `None` when that link is not a socket.
    pub(super) fn named(transport: &str) -> Option<Self> {
        match transport {
            "unix" => Some(Self::Unix),
            "tcp" => Some(Self::Tcp),
            _ => None,
        }
    }
}

/// One end of a connection.
struct End {
    stream: Box<dyn Stream>,
    spinning: bool,
}

trait Stream: Read + Write + Send {}
impl Stream for UnixStream {}
impl Stream for TcpStream {}

fn pair(family: Family, spinning: bool) -> io::Result<[End; 2]> {
    let end = |stream: Box<dyn Stream>| End { stream, spinning };
    Ok(match family {
        Family::Unix => {
            let (one, other) = UnixStream::pair()?;
            one.set_nonblocking(spinning)?;
            other.set_nonblocking(spinning)?;
            [end(Box::new(one)), end(Box::new(other))]
        }
        Family::Tcp => {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            let one = TcpStream::connect(listener.local_addr()?)?;
            let (other, _) = listener.accept()?;
            for stream in [&one, &other] {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(spinning)?;
                // Like the library's connections within a host: with one that paces the bound would be none.
                #[cfg(any(target_os = "linux", target_os = "android"))]
                let _ = rustix::net::sockopt::set_tcp_congestion(stream, "reno");
            }
            [end(Box::new(one)), end(Box::new(other))]
        }
    })
}

impl End {
    /// All of these bytes. An end of the stream is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let outcome = self.stream.read(&mut buffer[done..]);
            done += self.progress(outcome)?;
        }
        Ok(())
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let outcome = self.stream.write(&buffer[done..]);
            done += self.progress(outcome)?;
        }
        Ok(())
    }

    fn progress(&self, outcome: io::Result<usize>) -> io::Result<usize> {
        match outcome {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if self.spinning && error.kind() == ErrorKind::WouldBlock => {
                std::hint::spin_loop();
                Ok(0)
            }
            other => other,
        }
    }
}

/// Microseconds one way. Spinning ends need a core each: `None` with a single one.
pub(super) fn pingpong(
    family: Family,
    bytes: usize,
    spinning: bool,
    time: Duration,
) -> Option<f64> {
    if spinning && machine::cores() < 2 {
        return None;
    }
    let [mut one, mut other] = pair(family, spinning).ok()?;
    let round_trips = (65_536 / bytes).clamp(1, 100);
    let ask = move || {
        let mut buffer = vec![1; bytes];
        // An error ends the measurement, and dropping this end ends the other thread.
        sample(time, || {
            let trip = |_| one.write(&buffer).and_then(|()| one.read(&mut buffer));
            (0..round_trips)
                .try_for_each(trip)
                .map_or(0, |()| 2 * round_trips)
        })
    };
    let answer = move || {
        let mut buffer = vec![0; bytes];
        while other.read(&mut buffer).is_ok() && other.write(&buffer).is_ok() {}
    };
    on_two_cores(ask, answer)?
}

/// Microseconds for each of many messages in one direction.
pub(super) fn stream(family: Family, bytes: usize, time: Duration) -> Option<f64> {
    const READ_BYTES: usize = 256 << 10;
    let [mut one, mut other] = pair(family, false).ok()?;
    let total = bytes * WINDOW;
    let ask = move || {
        // As a message passing library may: many small messages in one write.
        let buffer = vec![1; total.min(READ_BYTES.max(bytes))];
        sample(time, || {
            let mut left = total;
            while left > 0 {
                let piece = left.min(buffer.len());
                if one.write(&buffer[..piece]).is_err() {
                    return 0;
                }
                left -= piece;
            }
            one.read(&mut [0]).map_or(0, |()| WINDOW)
        })
    };
    let answer = move || {
        let mut buffer = vec![0; total.min(READ_BYTES)];
        loop {
            let mut left = total;
            while left > 0 {
                let piece = left.min(buffer.len());
                if other.read(&mut buffer[..piece]).is_err() {
                    return;
                }
                left -= piece;
            }
            if other.write(&[1]).is_err() {
                return;
            }
        }
    };
    on_two_cores(ask, answer)?
}
