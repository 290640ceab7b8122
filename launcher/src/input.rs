//! Our standard input, read by a thread of its own: it may be a file, which cannot be polled, and
//! it belongs to whoever started us, so it must not be made nonblocking.
//!
//! The thread reads one piece for each permit, so little is read ahead of what ranks take.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mio::Waker;
use phalanx::limits::OUTPUT_PIECE_BYTES_MAX;
use phalanx::wire::control::{INPUT_LAG_BYTES_MAX, INPUT_WINDOW_BYTES};

use rustix::io::Errno;

/// Time between looks at a terminal that belongs to somebody else.
const BACKGROUND_RECHECK: Duration = Duration::from_millis(500);
/// After so long without progress the user is told who holds up the others.
const HELD_UP: Duration = Duration::from_secs(2);

/// The way of standard input to the ranks that get it.
#[derive(Debug)]
pub(crate) struct Input {
    permits: Option<Sender<()>>,
    pieces: Receiver<Vec<u8>>,
    /// The thread is reading.
    permitted: bool,
    /// Bytes that were read so far.
    read: u64,
    /// The hosts that get them.
    takers: Vec<Taker>,
    /// One rank is so far behind that the others wait for it, since the last look at the clock.
    held_up: Option<(Duration, u64)>,
    told: bool,
}

/// A host whose ranks get the input, and how far they are.
#[derive(Debug)]
struct Taker {
    node: usize,
    most: u64,
    least: u64,
    laggard: u32,
    closed: bool,
}

impl Input {
    /// Starts the reader; it reads nothing before [`Input::begin`].
    pub(crate) fn new(waker: Arc<Waker>, nodes: &[usize]) -> io::Result<Self> {
        let (permits, permitted) = channel();
        let (to_loop, pieces) = channel();
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || read_pieces(&permitted, &to_loop, &waker))?;
        let taker = |node: &usize| Taker {
            node: *node,
            most: 0,
            least: 0,
            laggard: 0,
            closed: false,
        };
        Ok(Self {
            permits: Some(permits),
            pieces,
            permitted: false,
            read: 0,
            takers: nodes.iter().map(taker).collect(),
            held_up: None,
            told: false,
        })
    }

    /// Lets the reader read, if the ranks keep up.
    pub(crate) fn begin(&mut self) {
        if self.has_room() && !self.permitted {
            if let Some(permits) = &self.permits {
                self.permitted = permits.send(()).is_ok();
            }
        }
    }

    /// Whether some rank takes what is read, and none is too far behind.
    fn has_room(&self) -> bool {
        let most = self.takers.iter().map(|taker| taker.most).max();
        let next = self.read + OUTPUT_PIECE_BYTES_MAX as u64;
        let taken = next <= most.unwrap_or(0) + INPUT_WINDOW_BYTES as u64;
        taken && self.slowest().is_some_and(|taker| !is_late(taker, next))
    }

    fn slowest(&self) -> Option<&Taker> {
        let open = self.takers.iter().filter(|taker| !taker.closed);
        open.min_by_key(|taker| taker.least)
    }

    /// The hosts that want what was read.
    pub(crate) fn takers(&self) -> Vec<usize> {
        let open = self.takers.iter().filter(|taker| !taker.closed);
        open.map(|taker| taker.node).collect()
    }

    /// What was read; an empty piece is the end.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let piece = self.pieces.try_recv().ok()?;
        self.permitted = false;
        self.permits.as_ref()?;
        self.read += piece.len() as u64;
        if piece.is_empty() {
            self.permits = None;
        } else {
            self.begin();
        }
        Some(piece)
    }

    /// How many bytes the ranks of a host took: the fastest, and the slowest, which is this one.
    pub(crate) fn taken(&mut self, node: usize, most: u64, least: u64, laggard: u32) {
        if let Some(taker) = self.takers.iter_mut().find(|taker| taker.node == node) {
            taker.most = most;
            taker.least = least;
            taker.laggard = laggard;
        }
        self.begin();
    }

    /// Nobody on this host wants any more.
    pub(crate) fn close(&mut self, node: usize) {
        let mut takers = self.takers.iter_mut();
        if let Some(taker) = takers.find(|taker| taker.node == node) {
            taker.closed = true;
        }
        if self.takers.iter().all(|taker| taker.closed) {
            self.permits = None;
        }
        self.begin();
    }

    /// When a line about a rank that does not read is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let (since, _) = self.held_up.filter(|_| !self.told)?;
        Some(since + HELD_UP)
    }

    /// The line about a rank that holds up the others, once.
    pub(crate) fn tick(&mut self, now: Duration) -> Option<String> {
        let next = self.read + OUTPUT_PIECE_BYTES_MAX as u64;
        let late = self.slowest().filter(|taker| is_late(taker, next));
        let Some((least, laggard)) = late.map(|taker| (taker.least, taker.laggard)) else {
            self.held_up = None;
            return None;
        };
        let open = self.permits.is_some();
        match self.held_up {
            Some((since, before)) if before == least => {
                let due = open && !self.told && since + HELD_UP <= now;
                self.told |= due;
                due.then(|| held_up(laggard))
            }
            _ => {
                self.held_up = open.then_some((now, least));
                None
            }
        }
    }
}

fn is_late(taker: &Taker, next: u64) -> bool {
    next > taker.least + INPUT_LAG_BYTES_MAX as u64
}

fn held_up(laggard: u32) -> String {
    format!(
        "rank {laggard} does not read its standard input: {} MiB of it wait there, and other ranks get no more \
         until it reads, closes it or ends; see --stdin",
        INPUT_LAG_BYTES_MAX >> 20
    )
}

fn read_pieces(permits: &Receiver<()>, to_loop: &Sender<Vec<u8>>, waker: &Waker) {
    // In the background of a terminal a read must fail, not stop the launcher. It always works.
    let _ = phalanx::sys::process::block_signal_in_this_thread(signal_hook::consts::SIGTTIN);
    let mut buffer = vec![0; OUTPUT_PIECE_BYTES_MAX];
    for () in permits {
        let count = read_in_foreground(&mut buffer);
        if to_loop.send(buffer[..count].to_vec()).is_err() {
            return;
        }
        // The loop is gone only when the process is about to be.
        let _ = waker.wake();
    }
}

/// Reads once; 0 is the end. Input that is broken or closed is ended.
fn read_in_foreground(buffer: &mut [u8]) -> usize {
    let stdin = rustix::stdio::stdin();
    loop {
        if is_in_background() {
            std::thread::sleep(BACKGROUND_RECHECK);
            continue;
        }
        match rustix::io::read(stdin, &mut *buffer) {
            Ok(count) => return count,
            Err(Errno::INTR) => {}
            // We were moved to the background while reading, or another process has made the
            // stream nonblocking.
            Err(Errno::IO) if is_in_background() => {}
            Err(Errno::AGAIN) => {
                let mut wanted = [rustix::event::PollFd::new(
                    &stdin,
                    rustix::event::PollFlags::IN,
                )];
                let _ = rustix::event::poll(&mut wanted, None);
            }
            Err(_) => return 0,
        }
    }
}

/// Whether standard input is a terminal that at present belongs to another job of the shell.
fn is_in_background() -> bool {
    let stdin = rustix::stdio::stdin();
    rustix::termios::isatty(stdin)
        && rustix::termios::tcgetpgrp(stdin)
            .is_ok_and(|foreground| foreground != rustix::process::getpgrp())
}
