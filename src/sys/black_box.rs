//! Black boxes: what every rank of a host last did, in memory that its daemon reads, whatever has become of the
//! rank.
//!
//! ```text
//! page 0       magic, version, ranks
//! boxes        128 bytes for each rank, of 32-bit words:
//!                0  life      who holds it: see `life`
//!                1  version   odd while the rest is being written
//!                2  state     0 not begun, 1 going on, 2 blocked, 3 finalized
//!                3  operation place of its name in the table of texts, and one
//!                4  site      place of the call site in the table of texts, and one
//!                5  number    0 none, 1 in `sequence`
//!                6  sequence  of the collective: low and high word
//!                8  since     when the call began to wait, nanoseconds of the monotonic clock: low and high
//! texts        4 KiB for each rank: length (16 bits) and bytes of each text, one after the other
//! ```
//!
//! A rank writes its own box and texts; the daemon believes nothing that it reads there.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::shared_memory::SharedMemory;
use crate::base::words::{RawMemory, Words};

const MAGIC: u32 = 0x5048_4c42;
const VERSION: u32 = 1;
const PAGE_BYTES: usize = 4096;
const BOX_BYTES: usize = 128;
const TEXTS_BYTES: usize = 4096;
/// Longest text that is kept.
const TEXT_BYTES_MAX: usize = 200;
/// Reads of a box that may fail because it is being written.
const ATTEMPTS: u32 = 64;

const AT_LIFE: usize = 0;
const AT_VERSION: usize = 4;
const AT_STATE: usize = 8;
const AT_OPERATION: usize = 12;
const AT_SITE: usize = 16;
const AT_NUMBER: usize = 20;
const AT_SEQUENCE: usize = 24;
const AT_SINCE: usize = 32;
const END: usize = 40;

/// What a rank is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not joined.
    Unborn,
    /// It is in its last call, or has left it.
    Going,
    /// Its last call has been waiting for a while.
    Blocked,
    /// It has finalized.
    Finalized,
}

/// A box as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the rank does.
    pub state: State,
    /// Its last call that had to wait; empty when there was none.
    pub operation: String,
    /// Where it was called.
    pub site: String,
    /// The number of the collective.
    pub sequence: Option<u64>,
    /// When the call began to wait, in nanoseconds of the monotonic clock.
    pub since_nanos: u64,
}

/// The boxes of all ranks of a host. Ranks are counted within the host here.
#[derive(Debug)]
pub struct Boxes {
    memory: SharedMemory,
    ranks: usize,
}

const fn texts_at(ranks: usize) -> usize {
    PAGE_BYTES + (ranks * BOX_BYTES).next_multiple_of(PAGE_BYTES)
}

const fn total_bytes(ranks: usize) -> usize {
    texts_at(ranks) + ranks * TEXTS_BYTES
}

impl Boxes {
    /// Boxes for that many ranks.
    ///
    /// # Errors
    ///
    /// When the operating system does not allow it.
    pub fn create(ranks: usize) -> io::Result<Self> {
        let memory = SharedMemory::create("phalanx boxes", total_bytes(ranks))?;
        memory.reserve(0, texts_at(ranks))?;
        memory.store(8, u32::try_from(ranks).map_err(io::Error::other)?, Relaxed);
        memory.store(4, VERSION, Relaxed);
        memory.store(0, MAGIC, Release);
        Ok(Self { memory, ranks })
    }

    /// Boxes that a daemon has made.
    ///
    /// # Errors
    ///
    /// When they are none, or of another version.
    pub fn attach(descriptor: OwnedFd) -> io::Result<Self> {
        let memory = SharedMemory::attach(descriptor)?;
        let sound = memory.bytes() >= PAGE_BYTES
            && memory.load(0, Acquire) == MAGIC
            && memory.load(4, Relaxed) == VERSION;
        let ranks = if sound { memory.load(8, Relaxed) } else { 0 } as usize;
        if ranks == 0
            || ranks.checked_mul(TEXTS_BYTES).is_none()
            || memory.bytes() != total_bytes(ranks)
        {
            return Err(io::Error::other("these are no black boxes of this version"));
        }
        Ok(Self { memory, ranks })
    }

    /// The descriptor that ranks inherit.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Number of ranks.
    pub const fn ranks(&self) -> usize {
        self.ranks
    }

    /// The word that tells whether a rank lives.
    ///
    /// # Panics
    ///
    /// When there is no such rank.
    pub fn life(&self, rank: usize) -> &AtomicU32 {
        assert!(rank < self.ranks, "a rank of this host");
        self.memory.word(box_at(rank) + AT_LIFE)
    }

    /// What a rank last did; `None` when it was writing just then, or there is no such rank.
    pub fn read(&self, rank: usize) -> Option<Entry> {
        if rank >= self.ranks {
            return None;
        }
        let at = box_at(rank);
        let words = self.consistent(at)?;
        let word = |offset: usize| words[offset / 4];
        let long = |offset: usize| u64::from(word(offset)) | u64::from(word(offset + 4)) << 32;
        Some(Entry {
            state: match word(AT_STATE) {
                0 => State::Unborn,
                2 => State::Blocked,
                3 => State::Finalized,
                _ => State::Going,
            },
            operation: self.text(rank, word(AT_OPERATION)),
            site: self.text(rank, word(AT_SITE)),
            sequence: (word(AT_NUMBER) == 1).then(|| long(AT_SEQUENCE)),
            since_nanos: long(AT_SINCE),
        })
    }

    fn consistent(&self, at: usize) -> Option<[u32; END / 4]> {
        let mut words = [0; END / 4];
        for _ in 0..ATTEMPTS {
            let version = self.memory.load(at + AT_VERSION, Acquire);
            if version % 2 == 1 {
                std::hint::spin_loop();
                continue;
            }
            for (index, word) in words.iter_mut().enumerate() {
                // Acquire, so that the second look at the version comes after it.
                *word = self.memory.load(at + 4 * index, Acquire);
            }
            if self.memory.load(at + AT_VERSION, Relaxed) == version {
                return Some(words);
            }
        }
        None
    }

    /// A text of a rank; empty when what is there makes no sense.
    fn text(&self, rank: usize, place: u32) -> String {
        let Some(place) = (place as usize).checked_sub(1) else {
            return String::new();
        };
        if place > TEXTS_BYTES - 2 {
            return String::new();
        }
        let at = texts_at(self.ranks) + rank * TEXTS_BYTES + place;
        let mut length = [0; 2];
        self.memory.read(at, &mut length);
        let length = usize::from(u16::from_le_bytes(length));
        if length > TEXT_BYTES_MAX || place + 2 + length > TEXTS_BYTES {
            return String::new();
        }
        let mut bytes = vec![0; length];
        self.memory.read(at + 2, &mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.chars().filter(|char| !char.is_control()).collect()
    }
}

const fn box_at(rank: usize) -> usize {
    PAGE_BYTES + rank * BOX_BYTES
}

/// A rank's hand on its own box.
#[derive(Debug)]
pub struct Pen {
    boxes: Arc<Boxes>,
    rank: usize,
    version: u32,
    /// Bytes of the table of texts that are taken.
    taken: usize,
    texts: HashMap<(usize, usize), [u32; 2]>,
    /// The last call, and the places of its texts.
    last: ((usize, usize), [u32; 2]),
}

impl Pen {
    /// For the rank with this number on its host.
    ///
    /// # Errors
    ///
    /// When there is no such rank, or no memory.
    pub fn new(boxes: Arc<Boxes>, rank: usize) -> io::Result<Self> {
        if rank >= boxes.ranks {
            return Err(io::Error::other("there is no black box for this rank"));
        }
        let texts = texts_at(boxes.ranks) + rank * TEXTS_BYTES;
        boxes.memory.reserve(texts, TEXTS_BYTES)?;
        boxes.memory.store(box_at(rank) + AT_STATE, 1, Release);
        Ok(Self {
            boxes,
            rank,
            version: 0,
            taken: 0,
            texts: HashMap::new(),
            last: ((0, 0), [0; 2]),
        })
    }

    /// The rank waits in this call since then; `sequence` is the number of the collective.
    pub fn waits(
        &mut self,
        operation: &'static str,
        site: &'static Location<'static>,
        sequence: Option<u64>,
        since_nanos: u64,
    ) {
        let key = (
            operation.as_ptr() as usize,
            std::ptr::from_ref(site) as usize,
        );
        if self.last.0 != key {
            self.last = (key, self.places(key, operation, site));
        }
        let [operation, site] = self.last.1;
        let at = box_at(self.rank);
        let memory = &self.boxes.memory;
        memory.store(at + AT_VERSION, self.version.wrapping_add(1), Relaxed);
        let number = sequence.unwrap_or_default();
        for (offset, value) in [
            (AT_STATE, 1),
            (AT_OPERATION, operation),
            (AT_SITE, site),
            (AT_NUMBER, u32::from(sequence.is_some())),
            (AT_SEQUENCE, number as u32),
            (AT_SEQUENCE + 4, (number >> 32) as u32),
            (AT_SINCE, since_nanos as u32),
            (AT_SINCE + 4, (since_nanos >> 32) as u32),
        ] {
            // Release, so that the odd version is seen before it.
            memory.store(at + offset, value, Release);
        }
        self.version = self.version.wrapping_add(2);
        memory.store(at + AT_VERSION, self.version, Release);
    }

    /// The last call has waited for a while, or has not any more.
    pub fn set_blocked(&self, blocked: bool) {
        let state = if blocked { 2 } else { 1 };
        let at = box_at(self.rank);
        self.boxes.memory.store(at + AT_STATE, state, Release);
    }

    /// The rank has finalized.
    pub fn finalized(&self) {
        let at = box_at(self.rank);
        self.boxes.memory.store(at + AT_STATE, 3, Release);
    }

    /// All boxes of the host.
    pub const fn boxes(&self) -> &Arc<Boxes> {
        &self.boxes
    }

    /// The number of the rank on its host.
    pub const fn rank(&self) -> usize {
        self.rank
    }

    fn places(&mut self, key: (usize, usize), operation: &str, site: &Location<'_>) -> [u32; 2] {
        if let Some(places) = self.texts.get(&key) {
            return *places;
        }
        let places = [self.write(operation), self.write(&site.to_string())];
        self.texts.insert(key, places);
        places
    }

    /// Writes a text into the table; its place and one, or 0 when the table is full.
    fn write(&mut self, text: &str) -> u32 {
        let mut bytes = text.as_bytes();
        if bytes.len() > TEXT_BYTES_MAX {
            bytes = &bytes[bytes.len() - TEXT_BYTES_MAX..];
        }
        if self.taken + 2 + bytes.len() > TEXTS_BYTES {
            return 0;
        }
        let at = texts_at(self.boxes.ranks) + self.rank * TEXTS_BYTES + self.taken;
        let place = self.taken as u32 + 1;
        self.taken += 2 + bytes.len();
        self.boxes.memory.write(at + 2, bytes);
        self.boxes
            .memory
            .write(at, &(bytes.len() as u16).to_le_bytes());
        place
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn pair(ranks: usize) -> (Boxes, Boxes) {
        let ours = Boxes::create(ranks).expect("memory");
        let copy = ours.descriptor().try_clone_to_owned().expect("descriptor");
        (ours, Boxes::attach(copy).expect("attached"))
    }

    #[test]
    fn what_a_rank_writes_the_daemon_reads() {
        let (daemon, rank) = pair(3);
        let mut pen = Pen::new(Arc::new(rank), 1).expect("its box");
        assert_eq!(daemon.read(0).expect("quiet").state, State::Unborn);
        let site = Location::caller();
        pen.waits("allreduce", site, Some(u64::MAX - 1), 1 << 40);
        pen.set_blocked(true);
        let entry = daemon.read(1).expect("quiet");
        assert_eq!(entry.state, State::Blocked);
        assert_eq!(
            (entry.operation.as_str(), entry.site),
            ("allreduce", site.to_string())
        );
        assert_eq!(
            (entry.sequence, entry.since_nanos),
            (Some(u64::MAX - 1), 1 << 40)
        );
        pen.waits("recv_vec", site, None, 5);
        let entry = daemon.read(1).expect("quiet");
        assert_eq!((entry.state, entry.sequence), (State::Going, None));
        assert_eq!(entry.operation, "recv_vec");
        pen.finalized();
        assert_eq!(daemon.read(1).expect("quiet").state, State::Finalized);
        assert_eq!(daemon.read(3), None);
    }

    #[test]
    fn the_table_of_texts_is_bounded() {
        let (daemon, rank) = pair(2);
        let mut pen = Pen::new(Arc::new(rank), 0).expect("its box");
        let long = "x".repeat(1000);
        let places: Vec<u32> = (0..100).map(|_| pen.write(&long)).collect();
        assert_eq!(places.last(), Some(&0), "it is full");
        assert_eq!(daemon.text(0, places[0]).len(), TEXT_BYTES_MAX);
        assert_eq!(daemon.text(1, 1), "", "the neighbour's is untouched");
    }

    #[test]
    fn garbage_in_a_box_is_read_without_harm() {
        use rand::{Rng, SeedableRng};
        let (daemon, rank) = pair(2);
        let mut random = rand::rngs::SmallRng::seed_from_u64(5);
        for _ in 0..2_000 {
            for at in (PAGE_BYTES..total_bytes(2)).step_by(4) {
                if random.random_ratio(1, 50) {
                    rank.memory.store(at, random.random(), Relaxed);
                }
            }
            for number in 0..2 {
                if let Some(entry) = daemon.read(number) {
                    assert!(entry.operation.len() <= 3 * TEXT_BYTES_MAX);
                }
            }
        }
        rank.memory.store(0, 0, Relaxed);
        let copy = daemon
            .descriptor()
            .try_clone_to_owned()
            .expect("descriptor");
        assert!(Boxes::attach(copy).is_err(), "no magic");
    }
}
