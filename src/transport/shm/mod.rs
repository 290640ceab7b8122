//! Links between the processes of one host, through shared memory.
//!
//! # Roles
//!
//! * The daemon makes one [`Segment`] for all its ranks, which inherit it. There is nothing to connect:
//!   a rank may write to one that has not begun yet.
//! * Each ordered pair has a [ring](crate::base::ring). Frames are records of it; a long frame goes in
//!   pieces, each as soon as there is room, so a payload of any length passes through.
//! * Each rank has a *doorbell*, a bit for each of the others. A sender sets its bit, if it is not set,
//!   after it has written. A turn looks at the rings whose bits are set: its *active* links. The bit of
//!   an active link stays set, so that the sender only has to read it.
//! * Each rank has a *parking word*. Before a rank sleeps it silences its active links and looks at
//!   their rings once more, then lies down, then looks at the doorbell; a sender rings, then looks at the
//!   parking word. Both have a sequentially consistent fence between the two (`tests/shm_model.rs`
//!   tries all interleavings).
//! * A rank that has sockets too sleeps in its poll: it says so in its parking word, and is then woken by a
//!   datagram ([`calls`]) instead of the futex.
//! * A long message need not be written to a ring at all: the receiver copies it out of the sender's memory,
//!   where the kernel lets it, and the sender helps if it waits for that ([`long`]). Whether the kernel does is tried
//!   once for each pair, with a token whose value is known.
//!
//! # When a process dies
//!
//! Whatever it has published can still be read; what it was writing was not published. The daemon says
//! in the segment that it is dead, and rings for it everywhere: its peers read its rings to the end,
//! then count it as lost. A rank may be a child of another program that the daemon has started: each
//! rank holds a lock that ends with its process, and who waits for long looks at those of the others.

pub(super) mod boards;
mod calls;
pub(super) mod cells;
mod direct;
pub(super) mod halves;
mod link;
mod long;
pub(super) mod offers;
mod places;
mod segment;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::inbox::Rules;
use super::parcel::Body;
use super::{Lost, Payload, Sink, traced};
use crate::base::ids::{Epoch, Peer};
use crate::base::ring::Corrupt;
use crate::limits::SHM_MISSES_MAX;
use crate::sys::peer_memory::allow_reading_by;
use crate::wire::header::{Header, Kind};
pub(crate) use link::Head;
use link::Link;
pub use long::LongMessages;
pub use segment::Segment;
use segment::{State, Token};

/// What links through shared memory need to know.
#[derive(Debug)]
pub struct SharedConfig {
    /// The memory.
    pub segment: Arc<Segment>,
    /// The life of the job.
    pub epoch: Epoch,
    /// This rank.
    pub rank: Peer,
    /// Number of ranks in the job, on all hosts.
    pub size: u32,
    /// The ranks of this host, in the order of their places in the memory.
    pub here: Vec<Peer>,
    /// How long messages travel, if they can be read from the sender's memory.
    pub long: LongMessages,
}

const ELSEWHERE: u32 = u32::MAX;

/// One rank's links to the others of its host.
#[derive(Debug)]
pub(super) struct Shared {
    segment: Arc<Segment>,
    rank: Peer,
    epoch: Epoch,
    me: usize,
    here: Vec<Peer>,
    /// For each rank of the job its place in the memory, or [`ELSEWHERE`].
    local_of: Vec<u32>,
    links: Vec<Option<Box<Link>>>,
    /// Links that every turn looks at: their bits of the doorbell are set.
    active: Vec<usize>,
    long: LongMessages,
    /// The others were told that this rank waits.
    attends: bool,
    /// When this rank last left its processor to another one.
    stepped: Option<Instant>,
    /// When this rank last looked whether it should run elsewhere.
    went_home: Option<Instant>,
    leaving: bool,
    /// Others read it, and write it as it is, to find out whether they can.
    _token: Box<AtomicU64>,
}

impl Shared {
    pub(super) fn new(config: SharedConfig) -> Result<Self, String> {
        let SharedConfig {
            segment,
            rank,
            here,
            ..
        } = config;
        let mut local_of = vec![ELSEWHERE; config.size as usize];
        for (local, peer) in (0..).zip(&here) {
            if let Some(place) = local_of.get_mut(peer.index()) {
                *place = local;
            }
        }
        let me = local_of.get(rank.index()).map_or(ELSEWHERE, |place| *place) as usize;
        if here.len() != segment.ranks() || me >= here.len() {
            return Err(format!(
                "the shared memory is made for {} ranks, {} are on this host",
                segment.ranks(),
                here.len()
            ));
        }
        let random = getrandom::u64().map_err(|error| error.to_string())?;
        let token = Box::new(AtomicU64::new(random));
        segment.set_token(
            me,
            Token {
                pid: std::process::id(),
                value: random,
                address: std::ptr::from_ref(&*token) as u64,
            },
        );
        allow_reading_by(segment.daemon());
        segment.hold(me);
        segment.set_awake(me, true);
        segment.set_state(me, State::In);
        Ok(Self {
            rank,
            epoch: config.epoch,
            me,
            links: here.iter().map(|_| None).collect(),
            here,
            local_of,
            active: Vec::new(),
            long: config.long,
            attends: false,
            stepped: None,
            went_home: None,
            leaving: false,
            segment,
            _token: token,
        })
    }

    pub(super) const fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Where all ranks of this host meet for the collectives of the world; `None` when there are others.
    pub(super) fn world_area(&self) -> Option<cells::Area> {
        let members: Arc<[usize]> = (0..self.here.len()).collect();
        (self.here.len() == self.local_of.len()).then(|| {
            let area = cells::Area::new(Arc::clone(&self.segment), 0, self.me, members);
            if self.pulls() { area } else { area.apart() }
        })
    }

    pub(super) const fn me(&self) -> usize {
        self.me
    }

    /// Whether this peer is on this host.
    pub(super) fn reaches(&self, peer: Peer) -> bool {
        self.local_of
            .get(peer.index())
            .is_some_and(|place| *place != ELSEWHERE)
    }

    fn local(&self, peer: Peer) -> usize {
        self.local_of[peer.index()] as usize
    }

    fn link(&mut self, local: usize) -> &mut Link {
        let (segment, me, peer) = (&self.segment, self.me, self.here[local]);
        self.links[local].get_or_insert_with(|| Link::new(peer, local, me, segment))
    }

    pub(super) fn send(
        &mut self,
        to: Peer,
        header: &Header,
        payload: Payload<'_>,
        sink: &mut impl Sink,
    ) {
        let local = self.local(to);
        let (leaving, me) = (self.leaving, self.me);
        self.link(local); // It is made when it is first needed.
        let (Some(link), segment) = (self.links[local].as_deref_mut(), &*self.segment) else {
            return;
        };
        if leaving || link.ended {
            Body::queued(header, payload).give_up(to, sink);
            return;
        }
        let sent = link.send(segment, me, header, payload, sink);
        let unsent = link.has_unsent();
        match sent {
            Ok(true) => {
                segment.notify(local, me);
                link.after_sending(segment.memory());
            }
            Ok(false) => {}
            // Its turn finds the same, and says so.
            Err(corrupt) => self.mistrust(local, &corrupt),
        }
        if unsent {
            self.activate(local); // A turn goes on with it.
        }
    }

    /// The peer has written nonsense: its next turn ends the link.
    fn mistrust(&mut self, local: usize, corrupt: &Corrupt) {
        tracing::debug!(%corrupt, local, "a peer breaks the rules");
        self.link(local).gone = Some(corrupt.to_string());
        self.activate(local);
    }

    fn activate(&mut self, local: usize) {
        let link = self.link(local);
        link.misses = 0;
        if !std::mem::replace(&mut link.active, true) {
            self.active.push(local);
            self.segment.ring_bell(self.me, local);
        }
    }

    /// Looks who has rung since the last look.
    fn answer_bell(&mut self) {
        for word in 0..self.segment.bell_words() {
            let mut rung = self.segment.bell(self.me, word);
            while rung != 0 {
                let local = word * 32 + rung.trailing_zeros() as usize;
                rung &= rung - 1;
                if local == self.me || local >= self.here.len() {
                    self.segment
                        .silence(self.me, local.min(32 * self.segment.bell_words() - 1));
                    continue;
                }
                let link = self.link(local);
                if link.ended {
                    self.segment.silence(self.me, local);
                } else if !link.active {
                    link.active = true;
                    link.misses = 0;
                    self.active.push(local);
                }
            }
        }
    }

    /// Whether the daemon has written to this rank.
    pub(super) fn take_control(&self) -> bool {
        self.segment.take_control(self.me)
    }

    /// One turn. Gives whether anything moved: then another one may find more.
    pub(super) fn progress(&mut self, sink: &mut impl Sink) -> bool {
        self.answer_bell();
        let (mut moved, mut index) = (false, 0);
        while let Some(&local) = self.active.get(index) {
            moved |= self.serve(local, sink);
            index += usize::from(self.active.get(index) == Some(&local));
        }
        if moved && self.leaving {
            self.note_left();
        }
        moved
    }

    /// Reads from and writes to one peer.
    fn serve(&mut self, local: usize, sink: &mut impl Sink) -> bool {
        let (segment, me) = (&*self.segment, self.me);
        let Some(link) = self.links[local].as_deref_mut() else {
            return false;
        };
        let rules = Rules {
            peer: link.peer,
            epoch: self.epoch,
            deaf: self.leaving,
        };
        let (received, wanted) = link.receive(segment.memory(), &rules, sink);
        if wanted {
            segment.notify(local, me);
        }
        let received = match received {
            Ok(received) => received,
            Err(why) => {
                self.end(local, why, sink);
                return true;
            }
        };
        let mut written = false;
        if link.has_unsent() {
            match link.flush(segment.memory(), sink) {
                Ok(any) => written = any,
                Err(corrupt) => link.gone = Some(corrupt.to_string()),
            }
        }
        if written {
            segment.notify(local, me);
        }
        let helped = self.help(local);
        let Some(link) = self.links[local].as_deref_mut() else {
            return helped;
        };
        if received || written || helped {
            link.misses = 0;
            return true;
        }
        link.misses += 1;
        self.end_if_over(local, sink)
    }

    /// Nothing has come: because nothing ever will? After many looks in vain, only the bell tells.
    fn end_if_over(&mut self, local: usize, sink: &mut impl Sink) -> bool {
        let segment = Arc::clone(&self.segment);
        let Some(link) = self.links[local].as_deref_mut() else {
            return false;
        };
        let dead = segment.state(local) == State::Dead;
        if dead || link.gone.is_some() {
            if link.has_news(segment.memory()) {
                return false; // It was written before the peer died, and seen after.
            }
            let cut = !link.is_between_frames();
            let why = link.gone.take().unwrap_or_else(|| {
                let cut = if cut {
                    " in the middle of a message"
                } else {
                    ""
                };
                format!("the peer's process has ended{cut}")
            });
            self.end(local, Lost::Broken(why), sink);
            return true;
        }
        if link.misses > SHM_MISSES_MAX && !link.has_unsent() {
            self.cool(local);
        }
        false
    }

    /// From now on only the bell tells of this link; `false` when something has come meanwhile.
    fn cool(&mut self, local: usize) -> bool {
        let segment = Arc::clone(&self.segment);
        segment.silence(self.me, local);
        let link = self.link(local);
        let has_news = link.has_news(segment.memory()) || link.has_room(segment.memory());
        if has_news || segment.state(local) == State::Dead {
            link.misses = 0;
            segment.ring_bell(self.me, local);
            return false;
        }
        link.active = false;
        self.active.retain(|other| *other != local);
        true
    }

    /// Before this rank sleeps. `false` when there is something to do after all.
    pub(super) fn rest(&mut self) -> bool {
        while let Some(&local) = self.active.last() {
            if !self.cool(local) {
                return false;
            }
        }
        true
    }

    fn end(&mut self, local: usize, why: Lost, sink: &mut impl Sink) {
        self.active.retain(|other| *other != local);
        let (segment, me) = (Arc::clone(&self.segment), self.me);
        segment.silence(me, local);
        let link = self.link(local);
        link.active = false;
        if std::mem::replace(&mut link.ended, true) {
            return;
        }
        if matches!(why, Lost::Wire(_)) {
            link.hang_up(segment.memory());
            segment.notify(local, me);
        }
        link.give_up(sink);
        let peer = link.peer;
        traced::lost(peer, &why);
        sink.lost(peer, why);
    }

    /// This rank has waited for long: has a process ended without anybody knowing?
    pub(super) fn look_for_dead(&self, lives: impl Fn(usize) -> bool) {
        self.segment.look_for_dead(lives);
    }

    /// The launcher says that a rank has gone.
    pub(super) fn gone(&mut self, peer: Peer, reason: &str) {
        let local = self.local(peer);
        let link = self.link(local);
        if !link.ended {
            link.gone = Some(reason.into());
            self.activate(local);
        }
    }

    pub(super) fn farewell(&mut self, sink: &mut impl Sink) {
        self.answer_bell();
        let goodbye = Header::new(Kind::Goodbye, self.epoch, self.rank);
        for local in 0..self.links.len() {
            if let Some(peer) = self.links[local].as_deref().map(|link| link.peer) {
                self.send(peer, &goodbye, Payload::None, sink);
            }
        }
        self.leaving = true;
        self.note_left();
    }

    fn note_left(&self) {
        if !self.has_unsent() {
            self.segment.set_state(self.me, State::Left);
        }
    }

    pub(super) fn drained(&self) -> bool {
        !self.has_unsent()
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.links.iter().flatten().any(|link| link.has_unsent())
    }

    pub(super) fn unsettled(&self) -> Vec<Peer> {
        let waiting = self.links.iter().flatten().filter(|link| link.has_unsent());
        waiting.map(|link| link.peer).collect()
    }

    pub(super) fn die(&mut self, sink: &mut impl Sink) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        for link in self.links.iter_mut().flatten() {
            link.ended = true;
            link.active = false;
            link.give_up(sink);
        }
        self.active.clear();
        self.segment.bury(self.me);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.segment.set_awake(self.me, false);
        if !self.leaving {
            self.segment.bury(self.me);
        }
    }
}
