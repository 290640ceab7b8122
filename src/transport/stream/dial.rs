//! Opening a connection: find the addresses, race them, greet, and try again as long as that has sense.
//!
//! An attempt goes through the peer's addresses: the next one when the one before has failed, or has not
//! answered for [`NEXT_ADDRESS_MILLIS`]. A connection proves nothing, for somebody else may own the same
//! private address in our network; only the answer to the greeting does, and the first right one
//! wins. The acceptor grants one greeting of an attempt and refuses the others as duplicates.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::Token;
use mio::net::{TcpStream, UnixStream};

use super::super::addresses::nearest_first;
use super::super::{Lost, Sink};
use super::greet::Greeting;
use super::link::State;
use super::socket::{Socket, Stream};
use super::{Route, Sockets, names};
use crate::base::ids::Peer;
use crate::limits::{
    ADDRESSES_MAX, CONNECT_MILLIS_MAX, NEXT_ADDRESS_MILLIS, RETRY_MILLIS_MAX, RETRY_MILLIS_MIN,
};

/// The attempts to reach a peer.
#[derive(Debug)]
pub(super) struct Dialing {
    pub(super) step: Step,
    /// When the operating system was first asked to connect, since it last did.
    pub(super) since: Option<Instant>,
    pause: Duration,
    /// Where the peer may be. Through a Unix socket there is one place, without an address.
    pub(super) places: Vec<Place>,
    /// The first of them that the attempt under way has not come to.
    next: usize,
    pub(super) candidates: Vec<Candidate>,
}

#[derive(Debug)]
pub(super) enum Step {
    /// The layer above was asked where the peer listens.
    Lookup,
    Pause(Instant),
    /// The attempt is under way until `end`; the next place is tried at `more`.
    Race {
        more: Instant,
        end: Option<Instant>,
    },
}

/// A place where the peer may be, and what was found there.
#[derive(Debug)]
pub(super) struct Place {
    address: Option<SocketAddr>,
    pub(super) unanswered: u32,
    /// How the latest attempt ended here.
    failure: Option<Failure>,
}

#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Nobody answered, or not the way a rank does: it may yet.
    Silent(String),
    /// Somebody else lives here.
    Foreign(String),
    /// A rank of another version, or something that is no rank.
    Senseless(String),
}

impl Failure {
    fn text(&self) -> &str {
        match self {
            Self::Silent(text) | Self::Foreign(text) | Self::Senseless(text) => text,
        }
    }
}

/// A connection on its way.
#[derive(Debug)]
pub(super) struct Candidate {
    place: usize,
    pub(super) socket: Socket,
    /// `None`: the operating system still connects.
    pub(super) greeting: Option<Box<Greeting>>,
}

impl Dialing {
    fn new(now: Instant) -> Self {
        Self {
            step: Step::Pause(now),
            since: None,
            pause: Duration::from_millis(RETRY_MILLIS_MIN),
            places: Vec::new(),
            next: 0,
            candidates: Vec::new(),
        }
    }

    /// Whether the peer may have read our `Hello`.
    pub(super) fn has_greeted(&self) -> bool {
        self.candidates
            .iter()
            .any(|candidate| candidate.greeting.is_some())
    }

    /// What happened at each place, for the one who must mend it.
    pub(super) fn story(&self) -> String {
        let tell = |place: &Place| {
            let failure = place.failure.as_ref().map_or("not tried", Failure::text);
            match place.address {
                Some(address) => format!("{address}: {failure}"),
                None => failure.to_owned(),
            }
        };
        self.places.iter().map(tell).collect::<Vec<_>>().join("; ")
    }
}

fn place(address: Option<SocketAddr>) -> Place {
    Place {
        address,
        unanswered: 0,
        failure: None,
    }
}

impl Sockets {
    /// The next `on_time` connects.
    pub(super) fn start_dialing(&mut self, peer: Peer, now: Instant) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.state = State::Dialing(Box::new(Dialing::new(now)));
            self.link_at(peer, now);
        }
    }

    pub(super) fn dialing(&mut self, peer: Peer) -> Option<&mut Dialing> {
        match &mut self.links.get_mut(&peer)?.state {
            State::Dialing(dialing) => Some(dialing),
            _ => None,
        }
    }

    /// The time that a link waited for may have come. Gives whether anything has changed for others.
    pub(super) fn tick(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) -> bool {
        let Some(link) = self.links.get_mut(&peer) else {
            return false;
        };
        let open = matches!(link.state, State::Open(_)) || self.door.has_granted(peer);
        if let Some(gone) = link.gone.as_ref().filter(|gone| gone.1 <= now || !open) {
            let why = gone.0.clone();
            self.end(peer, why, sink);
            return true;
        }
        if self.reconnect_on_time(peer, now, sink) {
            return true;
        }
        let Some(link) = self.links.get(&peer) else {
            return false;
        };
        let when = match &link.state {
            _ if link.gone.is_some() => link.gone.as_ref().map(|gone| gone.1),
            State::Dialing(dialing) => match &dialing.step {
                Step::Pause(until) => Some(*until),
                Step::Race { more, end } if dialing.next < dialing.places.len() => {
                    Some(end.map_or(*more, |end| end.min(*more)))
                }
                Step::Race { end, .. } => *end,
                Step::Lookup => None,
            },
            State::Open(_) | State::Idle | State::Ended => None,
        };
        let ends = link.session.when(&link.state);
        if let Some(ends) = ends {
            self.link_at(peer, ends);
        }
        match when {
            None => false,
            Some(when) if when > now => {
                self.link_at(peer, when);
                false
            }
            Some(_) => {
                self.dial_on_time(peer, now, sink);
                // One more attempt in vain is nothing that has happened.
                self.dialing(peer).is_none()
            }
        }
    }

    fn dial_on_time(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) {
        let Some(dialing) = self.dialing(peer) else {
            return;
        };
        match dialing.step {
            Step::Lookup => {}
            Step::Pause(_) => self.begin_attempt(peer, now, sink),
            Step::Race { end, .. } if end.is_some_and(|end| end <= now) => {
                if dialing.has_greeted() {
                    // Whoever it is, it may be a peer that computes for long.
                    dialing.since = None;
                }
                for candidate in std::mem::take(&mut dialing.candidates) {
                    let place = &mut dialing.places[candidate.place];
                    place.failure = Some(Failure::Silent("no answer in time".into()));
                }
                self.attempt_is_over(peer, now, sink);
            }
            Step::Race { .. } => self.try_next(peer, now, sink),
        }
    }

    fn begin_attempt(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) {
        let unix = (self.route)(peer) == Route::Unix;
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        let State::Dialing(dialing) = &mut link.state else {
            return;
        };
        if dialing.places.is_empty() {
            if !unix {
                dialing.step = Step::Lookup;
                sink.lookup(peer);
                return;
            }
            dialing.places.push(place(None));
        }
        link.attempts += 1;
        dialing.next = 0;
        dialing.since.get_or_insert(now);
        let limit = Duration::from_millis(CONNECT_MILLIS_MAX);
        dialing.step = Step::Race {
            more: now,
            end: (!unix).then_some(now + limit),
        };
        self.try_next(peer, now, sink);
    }

    /// Turns to the next place of the attempt.
    fn try_next(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) {
        let Some(dialing) = self.dialing(peer) else {
            return;
        };
        let at = dialing.next;
        let Some(address) = dialing.places.get(at).map(|place| place.address) else {
            return;
        };
        dialing.next += 1;
        let next = now + Duration::from_millis(NEXT_ADDRESS_MILLIS);
        if let Step::Race { more, .. } = &mut dialing.step {
            *more = next;
        }
        self.link_at(peer, next);
        match self.connect(peer, address) {
            Ok(socket) => {
                if let Some(dialing) = self.dialing(peer) {
                    dialing.candidates.push(Candidate {
                        place: at,
                        socket,
                        greeting: None,
                    });
                    let index = dialing.candidates.len() - 1;
                    self.candidate_event(peer, index, now, sink);
                }
            }
            Err(error) => {
                let failure = Failure::Silent(error.to_string());
                self.place_failed(peer, at, failure, now, sink);
            }
        }
    }

    fn connect(&mut self, peer: Peer, address: Option<SocketAddr>) -> io::Result<Socket> {
        let plan = self.faults.as_mut();
        if plan.is_some_and(super::super::faulty::Plan::refuses) {
            return Err(io::Error::other("refused on purpose"));
        }
        let plan = self.faults.as_ref();
        let fault = plan.map(super::super::faulty::Plan::connection);
        let (stream, write) = match address {
            None => {
                let name = names::of(&self.me, peer)?;
                (Stream::Unix(UnixStream::connect_addr(&name)?), false)
            }
            Some(address) => (Stream::Tcp(TcpStream::connect(address)?), true),
        };
        let mut socket = Socket::new(stream, fault);
        socket.register(self.hub.registry(), Token(peer.index()), write)?;
        Ok(socket)
    }

    /// There is no connection to the peer through this place for now.
    pub(super) fn place_failed(
        &mut self,
        peer: Peer,
        place: usize,
        failure: Failure,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        let Some(dialing) = self.dialing(peer) else {
            return;
        };
        tracing::debug!(peer = peer.0, error = failure.text(), "cannot connect yet");
        dialing.places[place].failure = Some(failure);
        if dialing.next < dialing.places.len() {
            self.try_next(peer, now, sink);
        } else if dialing.candidates.is_empty() {
            self.attempt_is_over(peer, now, sink);
        }
    }

    /// All places have failed: a pause and another attempt, or the end of all.
    fn attempt_is_over(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) {
        if let Some(true) = self.links.get(&peer).map(|link| link.session.is_broken()) {
            // The window decides, and the launcher.
            return self.pause(peer, now);
        }
        let tcp = (self.route)(peer) == Route::Tcp;
        let limit = if tcp {
            Some(Duration::from_millis(CONNECT_MILLIS_MAX))
        } else {
            self.start_limit
        };
        let Some(dialing) = self.dialing(peer) else {
            return;
        };
        let all = |wanted: fn(&Failure) -> bool| {
            let mut failures = dialing.places.iter().map(|place| place.failure.as_ref());
            failures.all(|failure| failure.is_some_and(wanted))
        };
        let since = dialing.since.unwrap_or(now);
        let why = if all(|failure| matches!(failure, Failure::Senseless(_))) {
            Lost::Wire(dialing.story())
        } else if all(|failure| !matches!(failure, Failure::Silent(_))) {
            Lost::Authentication(dialing.story())
        } else if dialing.since.is_some()
            && limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
        {
            Lost::Unreachable(dialing.story())
        } else {
            self.pause(peer, now);
            return;
        };
        self.end(peer, why, sink);
    }

    pub(super) fn pause(&mut self, peer: Peer, now: Instant) {
        if let Some(dialing) = self.dialing(peer) {
            let until = now + dialing.pause;
            dialing.pause = (dialing.pause * 2).min(Duration::from_millis(RETRY_MILLIS_MAX));
            dialing.step = Step::Pause(until);
            dialing.candidates.clear();
            self.link_at(peer, until);
        }
    }

    pub(in super::super) fn resolve(&mut self, peer: Peer, mut addresses: Vec<SocketAddr>) {
        let now = Instant::now();
        let own: Vec<_> = self.addresses().iter().map(SocketAddr::ip).collect();
        let Some(dialing) = self.dialing(peer) else {
            return;
        };
        if !matches!(dialing.step, Step::Lookup) {
            return;
        }
        nearest_first(&mut addresses, &own);
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        dialing.places = addresses.into_iter().map(Some).map(place).collect();
        if dialing.places.is_empty() {
            if let Some(link) = self.links.get_mut(&peer) {
                let why = Lost::Unreachable("it listens nowhere".into());
                link.gone = Some(Box::new((why, now)));
            }
        } else {
            dialing.step = Step::Pause(now);
        }
        self.link_at(peer, now);
    }

    /// Something has happened to a socket of an attempt.
    pub(super) fn dial_event(&mut self, peer: Peer, now: Instant, sink: &mut impl Sink) -> bool {
        let mut moved = false;
        let mut index = 0;
        // Candidates come and go meanwhile; one that is looked at twice or not at all has another event.
        while let Some(candidates) = self.dialing(peer).map(|dialing| dialing.candidates.len()) {
            if index >= candidates {
                break;
            }
            moved |= self.candidate_event(peer, index, now, sink);
            let left = self
                .dialing(peer)
                .map_or(0, |dialing| dialing.candidates.len());
            index += usize::from(left >= candidates);
        }
        moved
    }

    fn candidate_event(
        &mut self,
        peer: Peer,
        index: usize,
        now: Instant,
        sink: &mut impl Sink,
    ) -> bool {
        let Some(candidate) = self
            .dialing(peer)
            .and_then(|dialing| dialing.candidates.get_mut(index))
        else {
            return false;
        };
        if candidate.greeting.is_some() {
            return self.hear_answer(peer, index, now, sink);
        }
        match candidate.socket.connected() {
            None => return false,
            Some(Err(error)) => {
                let place = self.drop_candidate(peer, index);
                let failure = Failure::Silent(error.to_string());
                self.place_failed(peer, place, failure, now, sink);
                return self.dialing(peer).is_none();
            }
            Some(Ok(())) => self.greet(peer, index, now, sink),
        }
        true
    }

    pub(super) fn drop_candidate(&mut self, peer: Peer, index: usize) -> usize {
        self.dialing(peer)
            .map_or(0, |dialing| dialing.candidates.remove(index).place)
    }
}
