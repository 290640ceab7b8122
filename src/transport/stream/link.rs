//! One peer: its connection, what waits to be written, and what has arrived in part.

use std::io;
use std::time::Instant;

use super::super::inbox::{Inbox, Rules};
use super::super::{Lost, Sink};
use super::dial::Dialing;
use super::outbox::{Flush, Outbox, Spare};
use super::session::Session;
use super::socket::Socket;
use crate::base::ids::{Epoch, Peer};
use crate::limits::{ACKNOWLEDGE_BYTES, ACKNOWLEDGE_BYTES_MAX, STREAM_PEEK_BYTES, TURN_CALLS_MAX};
use crate::wire::header::{HEADER_BYTES, Header, Kind};

#[derive(Debug, Default)]
pub(super) enum State {
    /// Neither connected nor trying: nothing is to be sent, or the peer's own connection is on its way.
    #[default]
    Idle,
    Dialing(Box<Dialing>),
    Open(Socket),
    /// For good.
    Ended,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) state: State,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    /// What outlives a connection.
    pub(super) session: Session,
    /// Frames written, or waiting to be; without acknowledgements.
    pub(super) frames: u64,
    /// The socket may have bytes. Events come once: this remembers them.
    pub(super) readable: bool,
    /// The stream may have ended without a further event: only a read that would block tells otherwise.
    pub(super) ending: bool,
    /// The socket takes no more until an event says so.
    pub(super) blocked: bool,
    /// Writing has failed; what the peer wrote before may still be read.
    pub(super) mute: bool,
    /// The link is in the list of those that have something to do.
    pub(super) active: bool,
    /// The link is in the list of those that wait for a time.
    pub(super) timed: bool,
    /// Attempts to reach the peer.
    pub(super) attempts: u32,
    /// Reads in vain since the last one that found something.
    pub(super) misses: u32,
    /// The link must end, for instance because the launcher says that the peer's process has: how it is
    /// told, and how long to wait for the last bytes.
    pub(super) gone: Option<Box<(Lost, Instant)>>,
}

impl Link {
    pub(super) fn new(peer: Peer) -> Box<Self> {
        Box::new(Self {
            peer,
            state: State::Idle,
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            session: Session::default(),
            frames: 0,
            readable: false,
            ending: false,
            blocked: false,
            mute: false,
            active: false,
            timed: false,
            attempts: 0,
            misses: 0,
            gone: None,
        })
    }

    /// Reads what has arrived, a bounded amount of it. Gives whether there was anything.
    pub(super) fn receive(
        &mut self,
        staging: &mut [u8],
        spare: &mut Spare,
        rules: &Rules,
        sink: &mut impl Sink,
    ) -> Result<bool, Lost> {
        let State::Open(socket) = &mut self.state else {
            return Ok(false);
        };
        let mut any = false;
        for _ in 0..TURN_CALLS_MAX {
            let space = self.inbox.space(sink);
            let wanted = space.len();
            let ahead = match self.inbox.missing() {
                _ if !self.inbox.long || socket.seals() => staging.len(),
                0 => STREAM_PEEK_BYTES,
                _ if wanted == 0 => staging.len(),
                _ => HEADER_BYTES,
            };
            let moved = match socket.read(space, &mut staging[..ahead]) {
                Ok(Some(moved)) => moved,
                Ok(None) => return Err(self.end_of_stream()),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(Lost::Wire(error.to_string()));
                }
                Err(error) => return Err(broken(&error)),
            };
            any |= moved.bytes > 0;
            self.session.received += moved.bytes as u64;
            let direct = moved.bytes.min(wanted);
            if direct > 0 {
                self.inbox.advance(direct, rules, sink);
            }
            self.inbox
                .take(&staging[..moved.bytes - direct], rules, sink)?;
            if self.outbox.keeps {
                let (inbox, outbox) = (&self.inbox, &mut self.outbox);
                self.session.hear(inbox, outbox, self.peer, spare, sink)?;
            }
            if self.inbox.finished {
                return Err(Lost::Closed);
            }
            if !moved.more && (moved.bytes == 0 || !self.ending) {
                self.readable = false;
                self.ending &= moved.bytes > 0;
                if self.mute && moved.bytes == 0 {
                    return Err(Lost::Broken("writing to the connection failed".into()));
                }
                break;
            }
        }
        Ok(any)
    }

    /// Whether the peer should be told how much has arrived.
    pub(super) fn owes(&self) -> bool {
        if !self.outbox.keeps {
            return false;
        }
        let untold = self.session.received - self.session.told;
        let within = self.inbox.missing() > 0;
        self.inbox.owes || untold >= ACKNOWLEDGE_BYTES && !within || untold >= ACKNOWLEDGE_BYTES_MAX
    }

    /// The frame that says how much has arrived.
    pub(super) const fn acknowledgement(&mut self, epoch: Epoch, me: Peer) -> Header {
        self.inbox.owes = false;
        self.session.told = self.session.received;
        let mut header = Header::new(Kind::Acknowledge, epoch, me);
        header.place = self.session.received;
        header
    }

    fn end_of_stream(&self) -> Lost {
        Lost::Broken(if self.inbox.is_between_frames() {
            "the peer's process has closed the connection without a farewell".into()
        } else {
            "the connection ended in the middle of a frame".into()
        })
    }

    /// Writes what waits, a bounded amount of it. Gives whether anything was written.
    pub(super) fn flush(&mut self, sink: &mut impl Sink) -> bool {
        let State::Open(socket) = &mut self.state else {
            return false;
        };
        if (!self.outbox.has_work() && !socket.holds()) || self.blocked || self.mute {
            return false;
        }
        match self.outbox.flush(self.peer, socket, sink) {
            Ok((flush, any)) => {
                self.blocked = flush == Flush::Blocked;
                any
            }
            Err(error) => {
                self.fall_silent(&error, sink);
                true
            }
        }
    }

    /// Writing has failed. What the peer sent before it went, perhaps its farewell, still counts: only
    /// the end of what can be read decides how the connection ended.
    pub(super) fn fall_silent(&mut self, error: &io::Error, sink: &mut impl Sink) {
        tracing::debug!(peer = self.peer.0, %error, "cannot write to the peer any more");
        self.mute = true;
        self.readable = true;
        self.ending = true;
        if !self.outbox.keeps {
            self.outbox.give_up(self.peer, sink);
        }
    }

    /// Whether a link that has no connection should have one.
    pub(super) fn wants_connection(&self) -> bool {
        !self.outbox.is_empty() || self.session.is_broken()
    }

    /// Whether something was not handed to the operating system yet.
    pub(super) fn has_unsent(&self) -> bool {
        !self.outbox.is_empty() || matches!(&self.state, State::Open(socket) if socket.holds())
    }

    /// Whether something waits that need not wait for an acknowledgement.
    fn may_write(&self) -> bool {
        self.outbox.has_work() || matches!(&self.state, State::Open(socket) if socket.holds())
    }

    /// Whether a turn could do something for this link.
    pub(super) fn has_work(&self) -> bool {
        matches!(self.state, State::Open(_))
            && (self.readable || (self.may_write() && !self.blocked && !self.mute))
    }
}

pub(super) fn broken(error: &io::Error) -> Lost {
    Lost::Broken(error.to_string())
}
