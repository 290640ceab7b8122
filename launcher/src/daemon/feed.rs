//! Standard input for the ranks of this host: kept once, and given to each as fast as it reads.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;

use phalanx::wire::control::{FromDaemon, INPUT_WINDOW_BYTES};
use rustix::io::Errno;

use super::Daemon;

/// The part of the input that some rank of this host has still to get.
#[derive(Debug, Default)]
pub(super) struct Feed {
    bytes: VecDeque<u8>,
    /// How much of the input came before the first of `bytes`.
    base: u64,
    /// Nothing comes after `bytes`.
    ends: bool,
    /// How much the rank has got that got most.
    most: u64,
    /// What the launcher knows of `most`, and of the rank that got least.
    told: (u64, u64),
    closed: bool,
}

impl Feed {
    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Writes what the stream takes, from the place `at` on; true when that was the rest of all input.
    fn write(&mut self, stream: impl AsFd, at: &mut u64) -> io::Result<bool> {
        loop {
            let skip = usize::try_from(*at - self.base).unwrap_or(usize::MAX);
            let (front, back) = self.bytes.as_slices();
            let piece = match skip.checked_sub(front.len()) {
                None => &front[skip..],
                Some(skip) => back.get(skip..).unwrap_or_default(),
            };
            if piece.is_empty() {
                return Ok(self.ends);
            }
            match rustix::io::write(&stream, piece) {
                Ok(count) => {
                    *at += count as u64;
                    self.most = self.most.max(*at);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Nobody needs what comes before this place.
    fn forget(&mut self, place: u64) {
        let over = place.min(self.end()).saturating_sub(self.base);
        self.bytes
            .drain(..usize::try_from(over).unwrap_or(usize::MAX));
        self.base += over;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(INPUT_WINDOW_BYTES);
        }
    }
}

impl Daemon {
    /// More input, or its end when there is none.
    pub(super) fn input(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.feed.ends |= bytes.is_empty();
        self.feed.bytes.extend(bytes);
        for local in 0..self.children.len() {
            self.feed_rank(local)?;
        }
        self.tell_input()
    }

    /// A rank may have room for more.
    pub(super) fn flush_input(&mut self, local: usize) -> io::Result<()> {
        self.feed_rank(local)?;
        self.tell_input()
    }

    /// A rank needs no more.
    pub(super) fn close_input(&mut self, local: usize) -> io::Result<()> {
        match self.children[local].input.take() {
            Some(_) => self.tell_input(),
            None => Ok(()),
        }
    }

    fn feed_rank(&mut self, local: usize) -> io::Result<()> {
        let child = &mut self.children[local];
        let Some(input) = &child.input else {
            return Ok(());
        };
        // A stream that is broken is one that its rank has closed.
        if self.feed.write(input, &mut child.input_at).unwrap_or(true) {
            child.input = None;
        }
        Ok(())
    }

    /// Forgets what all have got, and tells the launcher how far they are.
    fn tell_input(&mut self) -> io::Result<()> {
        if self.feed.closed || self.awaits_readers() {
            return Ok(());
        }
        let readers = self.children.iter().filter(|child| child.input.is_some());
        let Some(last) = readers.min_by_key(|child| child.input_at) else {
            self.feed.closed = true;
            self.feed.bytes = VecDeque::new();
            return self.tell(&FromDaemon::InputClosed);
        };
        let (least, laggard) = (last.input_at, last.rank);
        self.feed.forget(least);
        let most = self.feed.most;
        if self.feed.told == (most, least) {
            return Ok(());
        }
        self.feed.told = (most, least);
        self.tell(&FromDaemon::InputTaken {
            most,
            least,
            laggard,
        })
    }

    /// Whether ranks are still to be started that get input.
    fn awaits_readers(&self) -> bool {
        let gets = |rank: &u32| self.spawner.as_ref().is_none_or(|it| it.gives_input(*rank));
        !self.ending && (self.spawner.is_none() || self.unborn.iter().any(gets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn each_gets_all_from_its_own_place_and_what_all_have_is_forgotten() {
        let mut feed = Feed::default();
        let places = [(); 2].map(|()| UnixStream::pair().expect("a pair"));
        let mut at = [0; 2];
        feed.bytes.extend(b"one ");
        assert!(!feed.write(&places[0].1, &mut at[0]).expect("writes"));
        feed.bytes.extend(b"two");
        feed.ends = true;
        assert!(feed.write(&places[0].1, &mut at[0]).expect("writes"));
        feed.forget(at[1]);
        assert_eq!((feed.base, feed.bytes.len()), (0, 7));
        assert!(feed.write(&places[1].1, &mut at[1]).expect("writes"));
        feed.forget(at[1]);
        assert_eq!((feed.base, feed.bytes.len(), feed.most), (7, 0, 7));
        for (mut reader, writer) in places {
            drop(writer);
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("reads");
            assert_eq!(text, "one two");
        }
    }
}
