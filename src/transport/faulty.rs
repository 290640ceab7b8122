//! Faults on purpose, for tests: byte streams that move little at a time, pause, or break.
//!
//! A socket without faults pays for this with one comparison of a pointer with null per system call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What goes wrong on the connections of one fabric. The same seed gives the same faults for the
/// same sequence of calls.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Where the random numbers start.
    pub seed: u64,
    /// Every read and write moves a random number of bytes from 1 to this. 0: no limit.
    pub piece_bytes_max: usize,
    /// So many of 100 reads and writes move nothing although they could.
    pub pause_percent: u8,
    /// A connection breaks after so many bytes were written to it.
    pub break_after_bytes: Option<u64>,
    /// A TCP connection is reset at a random one of so many bytes that were read or written, and all that is
    /// under way in either direction is destroyed.
    pub reset_within_bytes: Option<u64>,
    /// So many connections suffer from the above; the later ones do not.
    pub broken_connections_max: Option<u32>,
    /// All TCP connections of the fabric are reset so often.
    pub reset_every: Option<Duration>,
    /// So many attempts to connect fail first.
    pub refused_connections: u32,
}

/// The faults of one fabric, with what has happened so far.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    faults: Faults,
    connections: Arc<AtomicU32>,
    /// When all are reset next.
    reset_at: Option<Instant>,
}

impl Plan {
    pub(super) fn new(faults: Faults) -> Self {
        Self {
            faults,
            connections: Arc::default(),
            reset_at: None,
        }
    }

    /// The faults of the next connection.
    pub(super) fn connection(&self) -> Box<Fault> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let mut fault = Fault {
            state: self.faults.seed ^ (u64::from(number) << 32),
            written: 0,
            read: 0,
            reset_after: None,
            faults: self.faults.clone(),
        };
        let spared = self.faults.broken_connections_max;
        if spared.is_some_and(|most| number >= most) {
            fault.faults.break_after_bytes = None;
        } else if let Some(most) = self.faults.reset_within_bytes {
            fault.reset_after = Some(fault.random() % most.max(1));
        }
        Box::new(fault)
    }

    /// Whether it is time to reset all connections, if it ever is. `Err`: when that time comes.
    pub(super) fn resets_now(&mut self, now: Instant) -> Option<Result<(), Instant>> {
        let pause = self.faults.reset_every?;
        let at = *self.reset_at.get_or_insert(now + pause);
        if at > now {
            return Some(Err(at));
        }
        self.reset_at = Some(now + pause);
        Some(Ok(()))
    }

    /// Whether this attempt to connect must fail.
    pub(super) fn refuses(&mut self) -> bool {
        let left = &mut self.faults.refused_connections;
        let refuses = *left > 0;
        *left = left.saturating_sub(1);
        refuses
    }
}

/// The faults of one connection.
#[derive(Debug)]
pub(super) struct Fault {
    faults: Faults,
    state: u64,
    written: u64,
    read: u64,
    /// The connection is reset when so many bytes were read and written.
    reset_after: Option<u64>,
}

impl Fault {
    // splitmix64
    const fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// How many bytes may move; `None`: nothing this time.
    fn limit(&mut self) -> Option<usize> {
        if self.random() % 100 < u64::from(self.faults.pause_percent) {
            return None;
        }
        match self.faults.piece_bytes_max {
            0 => Some(usize::MAX),
            #[expect(clippy::cast_possible_truncation, reason = "below a usize")]
            most => Some(1 + (self.random() % most as u64) as usize),
        }
    }

    /// Whether the connection is to be reset now. Told once.
    pub(super) fn resets(&mut self) -> bool {
        let done = self.read + self.written;
        self.reset_after.take_if(|most| done >= *most).is_some()
    }

    fn until_reset(&self) -> usize {
        let left = self.reset_after.map_or(u64::MAX, |most| {
            most.saturating_sub(self.read + self.written)
        });
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    pub(super) fn limit_read(&mut self) -> Option<usize> {
        let left = self.until_reset();
        self.limit().map(|limit| limit.min(left))
    }

    pub(super) fn limit_write(&mut self) -> io::Result<Option<usize>> {
        let left = self
            .faults
            .break_after_bytes
            .map(|most| most.saturating_sub(self.written));
        if left == Some(0) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "broken on purpose",
            ));
        }
        let left = usize::try_from(left.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let left = left.min(self.until_reset());
        Ok(self.limit().map(|limit| limit.min(left)))
    }

    pub(super) const fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    pub(super) const fn has_read(&mut self, bytes: usize) {
        self.read += bytes as u64;
    }
}
