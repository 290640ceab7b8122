//! Our standard input, read by a thread of its own: it may be a file, which cannot be polled, and
//! it belongs to whoever started us, so it must not be made nonblocking.
//!
//! The thread reads one piece for each permit, so nothing is read ahead of what rank 0 takes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mio::Waker;
use phalanx::limits::OUTPUT_PIECE_BYTES_MAX;
use phalanx::wire::control::INPUT_WINDOW_BYTES;

use rustix::io::Errno;

/// Time between looks at a terminal that belongs to somebody else.
const BACKGROUND_RECHECK: Duration = Duration::from_millis(500);

/// The way of standard input to rank 0.
#[derive(Debug)]
pub(crate) struct Input {
    permits: Option<Sender<()>>,
    pieces: Receiver<Vec<u8>>,
    /// The thread is reading.
    permitted: bool,
    /// Bytes sent to the daemon that rank 0 has not taken.
    outstanding: usize,
}

impl Input {
    /// Starts the reader; it reads nothing before [`Input::begin`].
    pub(crate) fn new(waker: Arc<Waker>) -> io::Result<Self> {
        let (permits, permitted) = channel();
        let (to_loop, pieces) = channel();
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || read_pieces(&permitted, &to_loop, &waker))?;
        Ok(Self {
            permits: Some(permits),
            pieces,
            permitted: false,
            outstanding: 0,
        })
    }

    /// Lets the reader read, if rank 0 keeps up.
    pub(crate) fn begin(&mut self) {
        let room = self.outstanding + OUTPUT_PIECE_BYTES_MAX <= INPUT_WINDOW_BYTES;
        if room && !self.permitted {
            if let Some(permits) = &self.permits {
                self.permitted = permits.send(()).is_ok();
            }
        }
    }

    /// What was read; an empty piece is the end.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let piece = self.pieces.try_recv().ok()?;
        self.permitted = false;
        self.permits.as_ref()?;
        self.outstanding += piece.len();
        if piece.is_empty() {
            self.permits = None;
        } else {
            self.begin();
        }
        Some(piece)
    }

    /// Rank 0 took so many bytes.
    pub(crate) fn taken(&mut self, bytes: usize) {
        self.outstanding = self.outstanding.saturating_sub(bytes);
        self.begin();
    }

    /// Nobody wants any more.
    pub(crate) fn close(&mut self) {
        self.permits = None;
    }
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
