//! The one piece of memory that all ranks of a host share, and what lies where in it.
//!
//! ```text
//! page 0           magic, version, ranks, bytes of a ring, cores, process of the daemon, name; who is awake
//! berths           for each rank: parking word, state, process, token, what it copies together with another one, doorbell
//! rings            for each receiver, for each sender: a ring; untouched ones cost no memory
//! areas            for collectives: see `cells`
//! ```
//!
//! Zeros are a valid beginning: every ring is empty, everybody is out. So ranks need no common start,
//! and may send to one that has not begun yet.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::time::Duration;

use mio::net::UnixDatagram;

use super::calls::{Calls, NAME_BYTES};
use super::cells;
use crate::base::bell::{self, Asleep, PARKED};
use crate::base::ring::{Place, RING_HEADER_BYTES};
use crate::base::words::{LINE_BYTES, RawMemory, Words};
use crate::limits::{LOCAL_RANKS_MAX, NODE_AREAS};
use crate::sys::shared_memory::{SharedMemory, sleep_on, wake};

const MAGIC: u32 = 0x5048_4c58;
const VERSION: u32 = 4;
const PAGE_BYTES: usize = 4096;

const AT_MAGIC: usize = 0;
const AT_VERSION: usize = 4;
const AT_RANKS: usize = 8;
const AT_RING_BYTES: usize = 12;
const AT_CORES: usize = 16;
const AT_DAEMON: usize = 20;
/// Where ranks that sleep in their polls are called.
const AT_NAME: usize = 32;
pub(super) const AT_AWAKE: usize = 1024;

/// Within a berth.
const PARK: usize = 0;
const STATE: usize = 4;
const CONTROL: usize = 8;
/// The processor it was last seen on, and one.
pub(super) const PROCESSOR: usize = 12;
/// Others can see that its process lives.
const HOLDS: usize = LINE_BYTES + 4;
const PID: usize = LINE_BYTES;
const TOKEN: usize = LINE_BYTES + 8;
const TOKEN_ADDRESS: usize = LINE_BYTES + 16;
/// It waits for something, and serves others meanwhile.
const ATTENDS: usize = LINE_BYTES + 24;
/// What it copies together with another rank.
const SHARE: usize = 2 * LINE_BYTES;
/// Whom it helps with that.
const HELPING: usize = 3 * LINE_BYTES;
const BELL: usize = 4 * LINE_BYTES;

/// What has become of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has not begun, and may never.
    Out,
    /// It takes part.
    In,
    /// Its process has ended, or it has broken off.
    Dead,
    /// It has taken its leave, and everything that it sent is in the memory.
    Left,
}

/// Where a rank's memory can be tried: `value` lies at `address` of process `pid`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) pid: u32,
    pub(super) value: u64,
    pub(super) address: u64,
}

/// The memory that the ranks of one host share. Ranks are counted within the host here.
#[derive(Debug)]
pub struct Segment {
    memory: SharedMemory,
    ranks: usize,
    ring_bytes: usize,
    calls: Calls,
}

/// Bytes of a ring that short messages go round in.
pub(super) const NEAR_BYTES: usize = 60 * 1024;
/// From this size on a ring is faster than one copy by the kernel.
const STREAM_RING_BYTES_MIN: usize = 512 * 1024;

/// Bytes of a ring, header included: for few ranks more than the caches of a core hold, so that a long message
/// streams through it at full speed (see [`base::ring`](crate::base::ring)); small enough for many.
const fn ring_bytes(ranks: usize) -> usize {
    match ranks {
        0..=4 => 2 * 1024 * 1024,
        5..=8 => 1024 * 1024,
        9..=16 => 512 * 1024,
        17..=64 => 32 * 1024,
        65..=128 => 8 * 1024,
        _ => 4 * 1024,
    }
}

/// A rank's bit in its word of a doorbell.
pub(super) const fn bit(rank: usize) -> u32 {
    1 << (rank % 32)
}

const fn bell_words(ranks: usize) -> usize {
    ranks.div_ceil(32)
}

const fn berth_bytes(ranks: usize) -> usize {
    BELL + (4 * bell_words(ranks)).next_multiple_of(LINE_BYTES)
}

const fn rings_at(ranks: usize) -> usize {
    PAGE_BYTES + (ranks * berth_bytes(ranks)).next_multiple_of(PAGE_BYTES)
}

const fn areas_at(ranks: usize) -> usize {
    rings_at(ranks) + ranks * ranks * ring_bytes(ranks)
}

const fn total_bytes(ranks: usize) -> usize {
    areas_at(ranks) + NODE_AREAS * cells::area_bytes(ranks)
}

impl Segment {
    /// Memory for that many ranks, which share `cores` processors; `daemon` is the process that
    /// started them.
    ///
    /// # Errors
    ///
    /// When there are too many, or the operating system does not allow it.
    pub fn create(ranks: usize, cores: usize, daemon: u32) -> io::Result<Self> {
        if ranks == 0 || ranks > LOCAL_RANKS_MAX {
            return Err(io::Error::other(format!(
                "it is made for at most {LOCAL_RANKS_MAX} ranks of a host"
            )));
        }
        let memory = SharedMemory::create("phalanx", total_bytes(ranks))?;
        memory.reserve(0, rings_at(ranks))?;
        for (at, value) in [
            (AT_VERSION, VERSION),
            (AT_RANKS, ranks as u32),
            (AT_RING_BYTES, ring_bytes(ranks) as u32),
            (AT_CORES, cores as u32),
            (AT_DAEMON, daemon),
        ] {
            memory.store(at, value, Relaxed);
        }
        let mut name = [0; NAME_BYTES];
        getrandom::fill(&mut name).map_err(|error| io::Error::other(error.to_string()))?;
        memory.write(AT_NAME, &name);
        memory.store(AT_MAGIC, MAGIC, Release);
        Ok(Self {
            memory,
            ranks,
            ring_bytes: ring_bytes(ranks),
            calls: Calls::new(name),
        })
    }

    /// Memory that the daemon has made.
    ///
    /// # Errors
    ///
    /// When it is none, or of another version.
    pub fn attach(descriptor: OwnedFd) -> io::Result<Self> {
        let memory = SharedMemory::attach(descriptor)?;
        let wrong = |what: &str| io::Error::other(format!("it is not ours: {what}"));
        if memory.bytes() < PAGE_BYTES || memory.load(AT_MAGIC, Acquire) != MAGIC {
            return Err(wrong("it does not begin as it should"));
        }
        if memory.load(AT_VERSION, Relaxed) != VERSION {
            return Err(wrong("it has another version"));
        }
        let ranks = memory.load(AT_RANKS, Relaxed) as usize;
        let bytes = memory.load(AT_RING_BYTES, Relaxed) as usize;
        let fits = (1..=LOCAL_RANKS_MAX).contains(&ranks)
            && bytes == ring_bytes(ranks)
            && memory.bytes() == total_bytes(ranks);
        if !fits {
            return Err(wrong("its size does not fit"));
        }
        let mut name = [0; NAME_BYTES];
        memory.read(AT_NAME, &mut name);
        Ok(Self {
            memory,
            ranks,
            ring_bytes: bytes,
            calls: Calls::new(name),
        })
    }

    /// The descriptor that ranks inherit.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Number of ranks.
    pub const fn ranks(&self) -> usize {
        self.ranks
    }

    /// A rank's process has ended. It does not count as awake any more; unless it has taken its leave,
    /// all others find out.
    pub fn departed(&self, rank: usize) {
        if self.state(rank) == State::Left {
            self.set_awake(rank, false);
        } else {
            self.bury(rank);
        }
    }

    pub(super) fn bury(&self, rank: usize) {
        self.set_awake(rank, false);
        self.set_state(rank, State::Dead);
        for other in (0..self.ranks).filter(|other| *other != rank) {
            self.ring_bell(other, rank);
            self.rouse(other);
        }
    }

    /// From now on others can see that the process of this rank lives.
    pub(super) fn hold(&self, rank: usize) {
        match self.memory.hold(rank) {
            Ok(()) => self.memory.store(self.berth(rank) + HOLDS, 1, Release),
            Err(error) => tracing::debug!(%error, "only the daemon will see that this rank ends"),
        }
    }

    /// Looks for ranks whose processes have ended, and buries them. The daemon does that for its
    /// children; but a rank may be a child of one of those. Those of which `lives` is true need no look: the
    /// kernel goes through the list of all locks for each that is asked about.
    pub(super) fn look_for_dead(&self, lives: impl Fn(usize) -> bool) {
        for rank in (0..self.ranks).filter(|rank| !lives(*rank)) {
            let holds = self.memory.load(self.berth(rank) + HOLDS, Acquire) == 1;
            let ours = self.token(rank).pid == std::process::id();
            if !holds || ours || self.memory.is_held(rank).unwrap_or(true) {
                continue;
            }
            // It may have taken its leave before it ended.
            if self.state(rank) == State::In {
                self.bury(rank);
            }
        }
    }

    /// There is something for a rank to read from its daemon.
    pub fn announce_control(&self, rank: usize) {
        self.memory.store(self.berth(rank) + CONTROL, 1, Release);
        self.memory.fence();
        self.rouse(rank);
    }

    pub(super) fn take_control(&self, rank: usize) -> bool {
        let at = self.berth(rank) + CONTROL;
        self.memory.load(at, Relaxed) != 0 && self.memory.swap(at, 0) != 0
    }

    pub(super) const fn berth(&self, rank: usize) -> usize {
        PAGE_BYTES + rank * berth_bytes(self.ranks)
    }

    pub(super) fn daemon(&self) -> u32 {
        self.memory.load(AT_DAEMON, Relaxed)
    }

    pub(super) fn cores(&self) -> usize {
        self.memory.load(AT_CORES, Relaxed) as usize
    }

    /// Whether more ranks are awake than there are cores.
    pub(in crate::transport) fn is_crowded(&self) -> bool {
        self.awake() > self.memory.load(AT_CORES, Relaxed)
    }

    pub(super) fn awake(&self) -> u32 {
        (0..bell_words(self.ranks))
            .map(|word| self.memory.load(AT_AWAKE + 4 * word, Relaxed).count_ones())
            .sum()
    }

    pub(super) fn set_awake(&self, rank: usize, awake: bool) {
        let (at, bit) = (AT_AWAKE + 4 * (rank / 32), 1 << (rank % 32));
        if awake {
            self.memory.set_bits(at, bit);
        } else {
            self.memory.clear_bits(at, bit);
        }
    }

    pub(super) fn set_attends(&self, rank: usize, attends: bool) {
        let word = self.berth(rank) + ATTENDS;
        self.memory.store(word, u32::from(attends), Relaxed);
    }

    /// Whether a rank is waiting for something: then it answers at once. It may stop at any moment.
    pub(super) fn attends(&self, rank: usize) -> bool {
        self.memory.load(self.berth(rank) + ATTENDS, Relaxed) != 0
    }

    pub(super) fn state(&self, rank: usize) -> State {
        match self.memory.load(self.berth(rank) + STATE, Acquire) {
            0 => State::Out,
            1 => State::In,
            3 => State::Left,
            _ => State::Dead,
        }
    }

    pub(super) fn set_state(&self, rank: usize, state: State) {
        let word = match state {
            State::Out => 0,
            State::In => 1,
            State::Dead => 2,
            State::Left => 3,
        };
        self.memory.store(self.berth(rank) + STATE, word, Release);
        self.memory.fence();
    }

    pub(super) fn set_token(&self, rank: usize, token: Token) {
        let berth = self.berth(rank);
        self.memory.store(berth + PID, token.pid, Relaxed);
        self.memory.write(berth + TOKEN, &token.value.to_ne_bytes());
        self.memory
            .write(berth + TOKEN_ADDRESS, &token.address.to_ne_bytes());
    }

    /// Valid once the rank is [`State::In`].
    pub(super) fn token(&self, rank: usize) -> Token {
        let berth = self.berth(rank);
        let number = |at: usize| {
            let mut bytes = [0; 8];
            self.memory.read(berth + at, &mut bytes);
            u64::from_ne_bytes(bytes)
        };
        Token {
            pid: self.memory.load(berth + PID, Relaxed),
            value: number(TOKEN),
            address: number(TOKEN_ADDRESS),
        }
    }

    /// The ring from `sender` to `receiver`.
    pub(super) const fn ring(&self, receiver: usize, sender: usize) -> Place {
        let index = receiver * self.ranks + sender;
        Place::new(
            rings_at(self.ranks) + index * self.ring_bytes,
            self.ring_bytes,
        )
    }

    /// Makes sure that there is memory for a ring, or for its near part.
    pub(super) fn reserve_ring(
        &self,
        receiver: usize,
        sender: usize,
        whole: bool,
    ) -> io::Result<()> {
        let index = receiver * self.ranks + sender;
        let at = rings_at(self.ranks) + index * self.ring_bytes;
        // The near part includes the header, and a line behind it is written.
        let near = RING_HEADER_BYTES + NEAR_BYTES + LINE_BYTES;
        let bytes = if whole {
            self.ring_bytes
        } else {
            self.ring_bytes.min(near)
        };
        self.memory.reserve(at, bytes)
    }

    /// Whether rings are so large that a long message is streamed faster than it is copied by the kernel.
    pub fn streams(&self) -> bool {
        self.ring_bytes >= STREAM_RING_BYTES_MIN
    }

    /// A rank's line for what it copies together with another one.
    pub(super) const fn share_at(&self, rank: usize) -> usize {
        self.berth(rank) + SHARE
    }

    /// Where a rank says whom it helps.
    pub(super) const fn helping_at(&self, rank: usize) -> usize {
        self.berth(rank) + HELPING
    }

    pub(super) const fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Where a communicator's collectives have their cells.
    pub(super) const fn area(&self, index: usize) -> usize {
        areas_at(self.ranks) + index * cells::area_bytes(self.ranks)
    }

    /// `to` looks at its ring from `from`, or has something to hear about it.
    pub(super) fn ring_bell(&self, to: usize, from: usize) {
        bell::ring(&self.memory, self.bell_at(to, from), bit(from));
    }

    /// Something was written for `to`, or room made: it must not sleep over it.
    pub(super) fn notify(&self, to: usize, from: usize) {
        let (bell, park) = (self.bell_at(to, from), self.park_at(to));
        if let Some(place) = bell::notify(&self.memory, bell, bit(from), park) {
            self.wake(to, place);
        }
    }

    fn wake(&self, rank: usize, place: Asleep) {
        match place {
            Asleep::OnWord => wake(self.memory.word(self.park_at(rank))),
            Asleep::InPoll => self.calls.call(rank),
        }
    }

    /// What becomes readable when this rank is called while it sleeps in its poll.
    pub(in crate::transport) fn hear_calls(&self, me: usize) -> io::Result<UnixDatagram> {
        self.calls.hear(me)
    }

    /// Takes back what [`ring_bell`](Self::ring_bell) said; look at the ring again afterwards.
    pub(super) fn silence(&self, me: usize, from: usize) {
        bell::silence(&self.memory, self.bell_at(me, from), bit(from));
    }

    /// One word of the doorbell: a bit for each of 32 ranks.
    pub(super) fn bell(&self, me: usize, word: usize) -> u32 {
        bell::rung(&self.memory, self.bell_at(me, 32 * word))
    }

    pub(super) const fn bell_words(&self) -> usize {
        bell_words(self.ranks)
    }

    /// Whether anybody has rung.
    pub(in crate::transport) fn is_called(&self, me: usize) -> bool {
        (0..self.bell_words()).any(|word| self.bell(me, word) != 0)
            || self.memory.load(self.berth(me) + CONTROL, Relaxed) != 0
    }

    /// Wakes a rank if it sleeps. What it is to find must have been written, and a fence passed.
    pub(in crate::transport) fn rouse(&self, rank: usize) {
        if let Some(place) = bell::rouse(&self.memory, self.park_at(rank)) {
            self.wake(rank, place);
        }
    }

    /// Says that this rank is about to sleep, and where; then look once more for news.
    pub(in crate::transport) fn lie_down(&self, me: usize, place: Asleep) {
        self.set_awake(me, false);
        bell::lie_down(&self.memory, self.park_at(me), place);
    }

    /// Sleeps until roused, if nobody has roused it since it lay down.
    pub(in crate::transport) fn sleep(&self, me: usize, limit: Option<Duration>) {
        sleep_on(self.memory.word(self.park_at(me)), PARKED, limit);
    }

    pub(in crate::transport) fn get_up(&self, me: usize) {
        self.memory.store(self.park_at(me), 0, SeqCst);
        self.set_awake(me, true);
    }

    const fn park_at(&self, rank: usize) -> usize {
        self.berth(rank) + PARK
    }

    /// The word of a rank's doorbell that has the bit of `from`.
    const fn bell_at(&self, rank: usize, from: usize) -> usize {
        self.berth(rank) + BELL + 4 * (from / 32)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn who_is_known_to_live_is_not_looked_for() {
        let segment = Segment::create(2, 1, 0).expect("memory");
        // Its lock is ours, which the system does not count when we ask.
        segment.hold(1);
        segment.set_state(1, State::In);
        segment.look_for_dead(|rank| rank == 1);
        assert_eq!(segment.state(1), State::In);
        segment.look_for_dead(|_| false);
        assert_eq!(segment.state(1), State::Dead);
    }
}
