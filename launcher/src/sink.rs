//! Our own standard output and error, each written by a thread of its own: they belong to whoever
//! started us, so they must not be made nonblocking, and a slow reader must not hold up the job.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;
use phalanx::wire::control::Stream;

/// Credit is held back while more than this waits to be written.
const WAITING_BYTES_MAX: usize = 256 * 1024;

/// One of our two streams.
#[derive(Debug)]
pub(crate) struct Sink {
    to_writer: Sender<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes handed over and not yet written. Only the writer lowers it, and then wakes the loop.
    waiting: AtomicUsize,
    /// The reader has gone; set once by the writer.
    closed: AtomicBool,
}

impl Sink {
    /// Starts the writer, which wakes the loop when it has made progress.
    pub(crate) fn new(stream: Stream, waker: Arc<Waker>) -> io::Result<Self> {
        let (to_writer, from_loop) = channel();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let name = match stream {
            Stream::Output => "stdout",
            Stream::Error => "stderr",
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || match stream {
                Stream::Output => write_all(&from_loop, &theirs, &waker, &mut stdout_unbuffered()),
                Stream::Error => write_all(&from_loop, &theirs, &waker, &mut io::stderr()),
            })?;
        Ok(Self { to_writer, shared })
    }

    /// Hands bytes over; after the reader has gone they are dropped.
    pub(crate) fn write(&self, bytes: Vec<u8>) {
        if !bytes.is_empty() && !self.is_closed() {
            self.shared
                .waiting
                .fetch_add(bytes.len(), Ordering::Relaxed);
            // The writer lives as long as we do.
            let _ = self.to_writer.send(bytes);
        }
    }

    /// Whether the writer keeps up.
    pub(crate) fn has_room(&self) -> bool {
        self.is_closed() || self.shared.waiting.load(Ordering::Relaxed) <= WAITING_BYTES_MAX
    }

    /// Whether everything was written.
    pub(crate) fn is_drained(&self) -> bool {
        // Acquire pairs with the writer's release: what it wrote is out when we then exit.
        self.is_closed() || self.shared.waiting.load(Ordering::Acquire) == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }
}

/// Standard output without the line buffer of `std`, which would only add a copy.
fn stdout_unbuffered() -> impl Write {
    struct Raw;
    impl Write for Raw {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    Raw
}

fn write_all(from: &Receiver<Vec<u8>>, shared: &Shared, waker: &Waker, to: &mut impl Write) {
    for bytes in from {
        if !shared.closed.load(Ordering::Relaxed) && write_patiently(to, &bytes).is_err() {
            shared.closed.store(true, Ordering::Release);
        }
        shared.waiting.fetch_sub(bytes.len(), Ordering::Release);
        // The loop is gone only when the process is about to be.
        let _ = waker.wake();
    }
}

/// Writes everything, also to a stream that somebody else has made nonblocking.
fn write_patiently(to: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
