//! One peer of the same host: the two rings between us, what waits to be written, and what has
//! arrived in part.

use std::collections::VecDeque;

use super::long::{Access, try_access};
use super::segment::{NEAR_BYTES, Segment, Token};
use crate::base::ids::Peer;
use crate::base::ring::{Consumer, Corrupt, LONG_RECORD_BYTES, Producer, Record};
use crate::base::words::Words;
use crate::limits::TURN_FRAMES_MAX;
use crate::sys::shared_memory::SharedMemory;
use crate::transport::inbox::{Inbox, Rules};
use crate::transport::parcel::Body;
use crate::transport::{Lost, Payload, Sink};
use crate::wire::header::{HEADER_BYTES, Header, Kind};

/// A frame begins: its header without token and place, which are zero, then payload.
const SHORT: u32 = 1;
/// A frame begins: its whole header, then payload.
const LONG: u32 = 2;
/// Payload goes on.
const MORE: u32 = 3;
/// The reader of this link's other ring will read no more: what was written there makes no sense.
const HANG_UP: u32 = 4;

/// Bytes of a header whose token and place are left out.
const SHORT_HEADER_BYTES: usize = HEADER_BYTES - 16;

#[derive(Debug)]
struct Frame {
    header: Header,
    begun: bool,
    body: Body,
}

/// What lies at the head of a peer's ring, for a receive that was not posted.
#[derive(Debug)]
pub(crate) enum Head<R> {
    /// Nothing yet.
    Nothing,
    /// The message that was wanted; it is taken.
    Taken(R),
    /// Something else.
    Other,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    /// Its number on this host.
    pub(super) local: usize,
    producer: Producer,
    consumer: Consumer,
    inbox: Inbox,
    outbox: VecDeque<Frame>,
    /// There is memory behind the near part of our ring.
    reserved: bool,
    /// There is memory behind all of it, or there was none to be had.
    reserved_whole: bool,
    /// It is in the list of those that every turn looks at.
    pub(super) active: bool,
    /// Looks in vain since something came.
    pub(super) misses: u32,
    pub(super) ended: bool,
    /// Why nothing more will come once the ring is empty.
    pub(super) gone: Option<String>,
    /// Announcements that the peer has taken back, as far as we have read.
    withdrawn: u32,
    /// Announcements of ours that the peer has not answered, as far as we have read.
    lent: u32,
    /// What may be done with its memory, once that was tried.
    access: Option<Access>,
}

impl Link {
    pub(super) fn new(peer: Peer, local: usize, me: usize, segment: &Segment) -> Box<Self> {
        Box::new(Self {
            peer,
            local,
            producer: Producer::nearby(segment.ring(local, me), NEAR_BYTES),
            consumer: Consumer::new(segment.ring(me, local)),
            inbox: Inbox::default(),
            outbox: VecDeque::new(),
            reserved: false,
            reserved_whole: false,
            active: false,
            misses: 0,
            ended: false,
            gone: None,
            withdrawn: 0,
            lent: 0,
            access: None,
        })
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Sends a frame, as far as there is room; the rest waits. `true` when something was written.
    pub(super) fn send(
        &mut self,
        segment: &Segment,
        me: usize,
        header: &Header,
        payload: Payload<'_>,
        sink: &mut impl Sink,
    ) -> Result<bool, Corrupt> {
        let memory = segment.memory();
        match header.kind {
            Kind::Withdrawn => {
                self.producer.count_withdrawn(memory);
                self.lent = self.lent.saturating_sub(1);
            }
            Kind::Request => self.lent = self.lent.saturating_add(1),
            _ => {}
        }
        self.reserve(segment, me, header.payload() >= LONG_RECORD_BYTES as u64);
        let bytes = match payload {
            Payload::None => &[],
            Payload::Borrowed(bytes) => bytes,
            Payload::Lent { .. } => {
                self.enqueue(header, false, Body::queued(header, payload));
                return self.flush(memory, sink);
            }
        };
        if self.has_unsent() {
            self.enqueue(header, false, Body::copied(bytes));
            return Ok(false);
        }
        let Some(mut done) = push_head(&mut self.producer, memory, header, bytes)? else {
            self.enqueue(header, false, Body::copied(bytes));
            return self.flush(memory, sink);
        };
        while done < bytes.len() {
            match self.producer.push(memory, MORE, &[], &bytes[done..])? {
                Some(count) => done += count,
                None => {
                    self.enqueue(header, true, Body::copied(&bytes[done..]));
                    self.flush(memory, sink)?;
                    break;
                }
            }
        }
        Ok(true)
    }

    /// After something was sent, and the peer told of it.
    pub(super) fn after_sending(&self, memory: &SharedMemory) {
        self.producer.prepare(memory);
    }

    /// Sees to it that there is memory for what is about to be written.
    fn reserve(&mut self, segment: &Segment, me: usize, long: bool) {
        if !std::mem::replace(&mut self.reserved, true) {
            // Going on is right after a failure: there may be memory again when it is needed.
            if let Err(error) = segment.reserve_ring(self.local, me, false) {
                tracing::warn!(%error, "no memory can be reserved for messages to {}", self.peer);
            }
        }
        if long && !std::mem::replace(&mut self.reserved_whole, true) {
            match segment.reserve_ring(self.local, me, true) {
                Ok(()) => self.producer.go_far(),
                Err(error) => {
                    tracing::info!(%error, "long messages to {} stay in the near part", self.peer);
                }
            }
        }
    }

    fn enqueue(&mut self, header: &Header, begun: bool, body: Body) {
        self.outbox.push_back(Frame {
            header: *header,
            begun,
            body,
        });
    }

    /// Writes what waits, a bounded amount of it. When there is no room, the peer is asked to tell.
    pub(super) fn flush(
        &mut self,
        memory: &SharedMemory,
        sink: &mut impl Sink,
    ) -> Result<bool, Corrupt> {
        let mut any = false;
        for _ in 0..TURN_FRAMES_MAX {
            let Some(frame) = self.outbox.front_mut() else {
                break;
            };
            let bytes = frame.body.peek(sink);
            let pushed = if frame.begun {
                self.producer.push(memory, MORE, &[], bytes)?
            } else {
                push_head(&mut self.producer, memory, &frame.header, bytes)?
            };
            let Some(count) = pushed else {
                if self.producer.want(memory)? {
                    continue;
                }
                break;
            };
            any = true;
            frame.begun = true;
            frame.body.advance(count, self.peer, sink);
            if frame.body.remaining() == 0 {
                self.outbox.pop_front();
            }
        }
        Ok(any)
    }

    /// Tells the peer that nothing of it is read any more, if there is room to say so.
    pub(super) fn hang_up(&mut self, memory: &SharedMemory) {
        if self.outbox.front().is_none_or(|frame| !frame.begun) {
            // A peer that breaks the rules may have broken this ring too.
            let _ = self.producer.push(memory, HANG_UP, &[], &[]);
        }
    }

    /// Nothing more will be written.
    pub(super) fn give_up(&mut self, sink: &mut impl Sink) {
        for frame in std::mem::take(&mut self.outbox) {
            frame.body.give_up(self.peer, sink);
        }
    }

    /// Reads what has arrived, a bounded amount of it. Gives whether there was anything, and whether
    /// the peer waits for the room that this made.
    pub(super) fn receive(
        &mut self,
        memory: &SharedMemory,
        rules: &Rules,
        sink: &mut impl Sink,
    ) -> (Result<bool, Lost>, bool) {
        let (mut any, mut wanted) = (false, false);
        for _ in 0..TURN_FRAMES_MAX {
            let record = match self.consumer.peek(memory) {
                Ok(None) => break,
                Ok(Some(record)) => record,
                Err(corrupt) => return (Err(Lost::Wire(corrupt.to_string())), wanted),
            };
            any = true;
            let taken = self.take(memory, record, rules, sink);
            self.consumer.pop(record);
            if self.consumer.owes_room() {
                wanted |= self.consumer.publish(memory);
            }
            if let Err(why) = taken {
                return (Err(why), wanted);
            }
        }
        wanted |= self.consumer.publish(memory);
        (Ok(any), wanted)
    }

    /// Takes the message at the head of the ring, if it is there whole and `taken` gives something for its
    /// header; with that comes where its bytes go, of which too many are thrown away. Gives also whether
    /// the peer waits for the room that this made.
    #[inline]
    pub(super) fn take_head<'a, R>(
        &mut self,
        memory: &SharedMemory,
        rules: &Rules,
        taken: impl FnOnce(&Header) -> Option<(R, &'a mut [u8])>,
    ) -> (Head<R>, bool) {
        let record = match self.consumer.peek(memory) {
            Ok(None) => return (Head::Nothing, self.consumer.publish(memory)),
            Ok(Some(record)) if record.kind == SHORT => record,
            _ => return (Head::Other, false),
        };
        let busy = self.ended || self.gone.is_some() || !self.inbox.is_between_frames();
        let Some(left) = record.length.checked_sub(SHORT_HEADER_BYTES) else {
            return (Head::Other, false);
        };
        let mut head = [0; HEADER_BYTES];
        memory.read(record.at, &mut head[..SHORT_HEADER_BYTES]);
        let Ok(header) = Header::decode(&head) else {
            return (Head::Other, false);
        };
        let whole = header.kind == Kind::Eager && header.length == left as u64;
        let ours = header.source == rules.peer && header.epoch == rules.epoch;
        if busy || rules.deaf || !whole || !ours {
            return (Head::Other, false);
        }
        let Some((result, into)) = taken(&header) else {
            return (Head::Other, false);
        };
        let count = left.min(into.len());
        memory.read(record.at + SHORT_HEADER_BYTES, &mut into[..count]);
        self.inbox.note(rules.peer, &header);
        self.producer.answered();
        self.consumer.pop(record);
        self.misses = 0;
        // A little room less keeps no producer waiting, and is told with the next look in vain.
        let wanted = self.consumer.owes_some() && self.consumer.publish(memory);
        (Head::Taken(result), wanted)
    }

    /// Whether something has arrived that was not read.
    pub(super) fn has_news(&mut self, memory: &SharedMemory) -> bool {
        !matches!(self.consumer.peek(memory), Ok(None))
    }

    /// Whether something waits to be written, and there is room for it.
    pub(super) fn has_room(&mut self, memory: &SharedMemory) -> bool {
        self.has_unsent() && !matches!(self.producer.want(memory), Ok(false))
    }

    /// What may be done with the peer's memory: tried once.
    pub(super) fn access(&mut self, token: Token) -> Access {
        *self.access.get_or_insert_with(|| try_access(token))
    }

    /// Whether more than one message is announced to the peer.
    pub(super) fn lends_more(&self) -> bool {
        self.lent > 1
    }

    /// Whether the peer has taken back an announcement that we have not heard of.
    pub(super) fn takes_back(&self, memory: &SharedMemory) -> bool {
        self.consumer.withdrawn(memory) != self.withdrawn
    }

    pub(super) fn is_between_frames(&self) -> bool {
        self.inbox.is_between_frames()
    }

    fn take(
        &mut self,
        memory: &SharedMemory,
        record: Record,
        rules: &Rules,
        sink: &mut impl Sink,
    ) -> Result<(), Lost> {
        let (mut at, mut left) = (record.at, record.length);
        if record.kind == HANG_UP {
            let text = "the peer does not understand what this rank has sent, and reads no more";
            return Err(Lost::Broken(text.into()));
        }
        if record.kind != MORE {
            let length = match record.kind {
                SHORT => SHORT_HEADER_BYTES,
                LONG => HEADER_BYTES,
                other => return Err(Lost::Wire(format!("a record of unknown kind {other}"))),
            };
            if left < length || !self.inbox.is_between_frames() {
                return Err(Lost::Wire("a header where there cannot be one".into()));
            }
            let mut head = [0; HEADER_BYTES];
            memory.read(at, &mut head[..length]);
            (at, left) = (at + length, left - length);
            let header = Header::decode(&head).map_err(|error| Lost::Wire(error.to_string()))?;
            match header.kind {
                Kind::Withdrawn => self.withdrawn = self.withdrawn.wrapping_add(1),
                Kind::Eager => self.producer.answered(),
                // One that was taken back may have an answer as well: it is a guess.
                Kind::Finished | Kind::Clear => self.lent = self.lent.saturating_sub(1),
                _ => {}
            }
            self.inbox.begin(&header, rules, sink)?;
            if self.inbox.finished {
                return Err(Lost::Closed);
            }
        }
        if left as u64 > self.inbox.missing() {
            return Err(Lost::Wire("more payload than was announced".into()));
        }
        while left > 0 {
            let space = self.inbox.space(sink);
            let count = if space.is_empty() {
                left
            } else {
                let count = space.len().min(left);
                memory.read(at, &mut space[..count]);
                count
            };
            (at, left) = (at + count, left - count);
            self.inbox.advance(count, rules, sink);
        }
        Ok(())
    }
}

fn push_head(
    producer: &mut Producer,
    memory: &SharedMemory,
    header: &Header,
    bytes: &[u8],
) -> Result<Option<usize>, Corrupt> {
    let head = header.encode();
    if header.token == 0 && header.place == 0 {
        producer.push(memory, SHORT, &head[..SHORT_HEADER_BYTES], bytes)
    } else {
        producer.push(memory, LONG, &head, bytes)
    }
}
