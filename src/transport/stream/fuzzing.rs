//! The reassembly of one connection by itself, for the fuzz target.

use super::super::inbox::{Inbox, Rules};
use super::super::{Lost, Sink};
use crate::base::ids::{Epoch, Peer};

/// What has arrived on one connection.
#[derive(Debug)]
pub struct Reassembly {
    inbox: Inbox,
    rules: Rules,
}

impl Reassembly {
    /// Of a connection to this peer, in this life of the job.
    pub fn new(peer: Peer, epoch: Epoch) -> Self {
        let deaf = false;
        Self {
            inbox: Inbox::default(),
            rules: Rules { peer, epoch, deaf },
        }
    }

    /// Where the next bytes may be written directly.
    pub fn space<'a>(&mut self, sink: &'a mut impl Sink) -> &'a mut [u8] {
        self.inbox.space(sink)
    }

    /// So many bytes were written there.
    pub fn advance(&mut self, count: usize, sink: &mut impl Sink) {
        if count > 0 {
            self.inbox.advance(count, &self.rules, sink);
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// When they make no sense.
    pub fn take(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), Lost> {
        self.inbox.take(bytes, &self.rules, sink)
    }

    /// Whether no frame is cut here.
    pub const fn is_between_frames(&self) -> bool {
        self.inbox.is_between_frames()
    }
}
