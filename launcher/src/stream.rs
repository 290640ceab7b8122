//! Descriptors in nonblocking use: the bytes that wait to be written, and reading what is there.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

/// Makes reads and writes on this end return at once.
pub(crate) fn set_nonblocking(descriptor: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&descriptor)?;
    rustix::fs::fcntl_setfl(&descriptor, flags | rustix::fs::OFlags::NONBLOCK)?;
    Ok(())
}

/// What became of an attempt to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Later,
    /// Nothing ever again.
    End,
}

/// Reads once. A broken stream counts as ended.
pub(crate) fn read(descriptor: impl AsFd, buffer: &mut [u8]) -> Read {
    loop {
        match rustix::io::read(&descriptor, &mut *buffer) {
            Ok(0) => return Read::End,
            Ok(count) => return Read::Bytes(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Read::Later,
            Err(_) => return Read::End,
        }
    }
}

/// Bytes on their way into a nonblocking descriptor.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that are written already.
    written: usize,
    length: usize,
}

impl Outbox {
    pub(crate) fn push(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.length += bytes.len();
            self.pieces.push_back(bytes);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes what the descriptor takes now and returns how much that was.
    pub(crate) fn flush(&mut self, descriptor: impl AsFd) -> io::Result<usize> {
        let mut total = 0;
        while let Some(piece) = self.pieces.front() {
            match rustix::io::write(&descriptor, &piece[self.written..]) {
                Ok(count) => {
                    total += count;
                    self.length -= count;
                    self.written += count;
                    if self.written == piece.len() {
                        self.pieces.pop_front();
                        self.written = 0;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(total)
    }
}
