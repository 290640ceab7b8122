//! Rank 0: lets the others in, and turns the [`Coordinator`] in a thread of its own.
//!
//! Who has not proved yet that it knows the secret costs one connection for at most
//! [`HANDSHAKE_MILLIS_MAX`] and [`HANDSHAKE_BYTES_MAX`] bytes; there are at most [`HANDSHAKES_MAX`] such,
//! and a new one drives the oldest out. Only a few are let in before those who are there are heard, so that a
//! flood drives nobody out who has something to say; and nobody at all who has proved that it knows the secret.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, UnixStream};
use mio::{Events, Interest, Poll, Token};

use super::coordinator::{Action, Coordinator};
use super::guest::{Joined, read_rank, tell_rank};
use super::line::{Forwarded, Forwarding, Line};
use super::secret::Door;
use crate::base::ids::JobId;
use crate::limits::{
    ACCEPT_PAUSE_MILLIS, HANDSHAKE_BYTES_MAX, HANDSHAKE_MILLIS_MAX, HANDSHAKES_MAX, TURN_PEERS_MAX,
};
use crate::wire::control::{
    Arrival, Decoder, FromMeeting, FromRank, Secret, ToMeeting, ToRank, Welcome,
};
use crate::wire::noise::Session;

const LISTENER: Token = Token(0);
const RANK: Token = Token(1);
const FIRST_GUEST: usize = 2;
/// How long the others may take to hear that the job has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What rank 0 needs to be told of the job.
pub(super) struct Setup {
    pub(super) job: JobId,
    /// Who is let in; the control connections are encrypted under its secret.
    pub(super) door: Door,
    /// Under which the ranks know each other.
    pub(super) secret: Secret,
    pub(super) arrival: Arrival,
    pub(super) limit: Duration,
}

/// A thread that lets the others in, and rank 0's own end of it.
pub(super) struct Host {
    stream: std::os::unix::net::UnixStream,
    forwarded: Arc<Forwarded>,
    outcome: Receiver<Result<Welcome, String>>,
}

impl Host {
    /// Starts the thread.
    pub(super) fn start(listener: std::net::TcpListener, setup: Setup) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot bring the ranks together: {error}");
        let (stream, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        theirs.set_nonblocking(true).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let forwarded = Arc::new(Forwarded::default());
        let (sender, outcome) = channel();
        let size = setup.arrival.size;
        let (job, limit) = (setup.job, setup.limit);
        let mut coordinator = Coordinator::new(job, setup.secret, size, Duration::ZERO, limit);
        if setup.door.only.is_some() {
            coordinator.note("without a secret only ranks on this machine can arrive");
        }
        coordinator.arrived(setup.arrival)?;
        let hub = Hub {
            started: Instant::now(),
            coordinator,
            door: setup.door,
            listener: Some(TcpListener::from_std(listener)),
            knock_at: None,
            rank: Some(UnixStream::from_std(theirs)),
            spoken: Decoder::default(),
            taken: 0,
            finalized: false,
            forwarding: Forwarding(Arc::clone(&forwarded)),
            outcome: sender,
            refusal: None,
            guests: BTreeMap::new(),
            next: FIRST_GUEST,
        };
        let poll = Poll::new().map_err(failed)?;
        let thread = std::thread::Builder::new().name("phalanx-meeting".into());
        thread.spawn(move || hub.run(poll)).map_err(failed)?;
        Ok(Self {
            stream,
            forwarded,
            outcome,
        })
    }

    /// Waits until all have arrived.
    pub(super) fn join(self) -> Result<Joined, String> {
        let lost = || "the thread that brings the ranks together has ended".to_owned();
        let welcome = self.outcome.recv().map_err(|_| lost())??;
        Ok(Joined {
            welcome,
            stream: self.stream,
            forwarded: self.forwarded,
        })
    }
}

struct Guest {
    line: Line,
    rank: Option<u32>,
    since: Instant,
    /// It was turned away: it only hears why.
    refused: bool,
}

struct Hub {
    started: Instant,
    coordinator: Coordinator,
    door: Door,
    listener: Option<TcpListener>,
    /// When somebody may wait at the door of whom no event will tell.
    knock_at: Option<Instant>,
    rank: Option<UnixStream>,
    spoken: Decoder,
    taken: u64,
    finalized: bool,
    forwarding: Forwarding,
    outcome: Sender<Result<Welcome, String>>,
    /// Why there is no job: said in this process when all others have heard it, for it ends then.
    refusal: Option<String>,
    guests: BTreeMap<usize, Guest>,
    next: usize,
}

/// Whether an error of `accept` belongs to one connection, which was given up before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

impl Hub {
    fn run(mut self, mut poll: Poll) {
        if let Err(error) = self.register(&poll) {
            let _ = self
                .outcome
                .send(Err(format!("cannot bring the ranks together: {error}")));
            return;
        }
        let mut events = Events::with_capacity(64);
        loop {
            self.listen(&poll);
            self.hear_rank();
            self.hear_guests();
            self.coordinator.tick(self.started.elapsed());
            if self.act(&mut poll) {
                self.last_words(&mut poll);
                if let Some(reason) = self.refusal.take() {
                    let _ = self.outcome.send(Err(reason));
                }
                return;
            }
            let flushed = self.guests.values().all(|guest| guest.line.is_flushed());
            if flushed && !self.finalized && !self.spoken.is_inside_message() {
                self.forwarding.0.set(self.taken);
            }
            let _ = poll.poll(&mut events, self.patience());
        }
    }

    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        if let Some(listener) = &mut self.listener {
            poll.registry()
                .register(listener, LISTENER, Interest::READABLE)?;
        }
        if let Some(rank) = &mut self.rank {
            poll.registry().register(rank, RANK, Interest::READABLE)?;
        }
        Ok(())
    }

    fn patience(&self) -> Option<Duration> {
        let coordinator = self.coordinator.next_deadline();
        let now = self.started.elapsed();
        let coordinator = coordinator.map(|until| until.saturating_sub(now));
        let strangers = self.guests.values().filter(|guest| guest.rank.is_none());
        let limit = Duration::from_millis(HANDSHAKE_MILLIS_MAX);
        let strangers = strangers.map(|guest| limit.saturating_sub(guest.since.elapsed()));
        let knock = self.knock_at.filter(|_| self.listener.is_some());
        let knock = knock.map(|at| at.saturating_duration_since(Instant::now()));
        if knock == Some(Duration::ZERO) {
            return knock;
        }
        let next = strangers.chain(coordinator).chain(knock).min();
        next.map(|wait| wait + Duration::from_millis(1))
    }

    fn listen(&mut self, poll: &Poll) {
        if self.coordinator.is_complete() {
            self.listener = None;
        }
        let now = Instant::now();
        if self.knock_at.is_none_or(|at| at <= now) {
            self.knock_at = self.let_in(poll);
        }
        let limit = Duration::from_millis(HANDSHAKE_MILLIS_MAX);
        self.guests
            .retain(|_, guest| guest.rank.is_some() || guest.since.elapsed() < limit);
    }

    /// Lets a few in; gives when to look again without an event.
    fn let_in(&mut self, poll: &Poll) -> Option<Instant> {
        for _ in 0..TURN_PEERS_MAX {
            let (stream, from) = match self.listener.as_ref()?.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(_) => {
                    // Descriptors have run out, most likely: some of them are strangers'.
                    self.make_room(HANDSHAKES_MAX / 2);
                    return Some(Instant::now() + Duration::from_millis(ACCEPT_PAUSE_MILLIS));
                }
            };
            if !self.door.admits(from.ip()) {
                continue;
            }
            if let Some(guest) = self.admit(stream, poll) {
                self.make_room(HANDSHAKES_MAX - 1);
                self.guests.insert(self.next, guest);
                self.next += 1;
            }
        }
        Some(Instant::now())
    }

    /// Drives out the oldest of those who have proved nothing, until so many are left.
    fn make_room(&mut self, left: usize) {
        let unknown = self.guests.iter();
        let unknown = unknown.filter(|(_, guest)| !guest.line.session.is_open());
        let tokens: Vec<usize> = unknown.map(|(token, _)| *token).collect();
        let surplus = tokens.len().saturating_sub(left);
        for token in &tokens[..surplus] {
            self.guests.remove(token);
        }
    }

    fn admit(&self, stream: mio::net::TcpStream, poll: &Poll) -> Option<Guest> {
        let stream = std::net::TcpStream::from(std::os::fd::OwnedFd::from(stream));
        let session = Session::responder(&self.door.secret).ok()?;
        let mut line = Line::new(stream, session, Decoder::default()).ok()?;
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = poll.registry();
        registry
            .register(&mut line.stream, Token(self.next), both)
            .ok()?;
        Some(Guest {
            line,
            rank: None,
            since: Instant::now(),
            refused: false,
        })
    }

    fn hear_rank(&mut self) {
        let Some(rank) = &mut self.rank else { return };
        let open = read_rank(rank, &mut self.spoken, &mut self.taken);
        if !open {
            self.rank = None;
        }
        while let Ok(Some(message)) = self.spoken.next::<FromRank>() {
            // Rank 0 stays until all others have finalized: they could not find each other without it.
            self.finalized |= message == FromRank::Finalized;
            self.coordinator.said(0, message, self.started.elapsed());
        }
    }

    fn hear_guests(&mut self) {
        let tokens: Vec<usize> = self.guests.keys().copied().collect();
        for token in tokens {
            let Some(mut guest) = self.guests.remove(&token) else {
                continue;
            };
            let ended = guest.line.exchange().is_err();
            let sound = self.hear(&mut guest);
            if ended || !sound {
                if let Some(rank) = guest.rank {
                    self.coordinator.lost(rank);
                }
            } else {
                self.guests.insert(token, guest);
            }
        }
    }

    /// Whether what a guest said makes sense.
    fn hear(&mut self, guest: &mut Guest) -> bool {
        if guest.rank.is_none() && guest.line.received > HANDSHAKE_BYTES_MAX {
            return false;
        }
        loop {
            match (guest.line.decoder.next::<ToMeeting>(), guest.rank) {
                (Ok(None), _) => return true,
                (Ok(Some(ToMeeting::Arrive(arrival))), None) if !guest.refused => {
                    let rank = arrival.rank;
                    match self.coordinator.arrived(arrival) {
                        Ok(()) => guest.rank = Some(rank),
                        Err(reason) => {
                            guest.refused = true;
                            let _ = guest.line.send(&FromMeeting::Refused { reason });
                        }
                    }
                }
                (Ok(Some(ToMeeting::Say(message))), Some(rank)) => {
                    self.coordinator.said(rank, message, self.started.elapsed());
                }
                _ => return false,
            }
        }
    }

    /// Does what the coordinator wants; whether that was the last.
    fn act(&mut self, poll: &mut Poll) -> bool {
        let mut over = false;
        for action in self.coordinator.take_actions() {
            match action {
                Action::Send(0, message) => self.tell_own(message),
                Action::Send(rank, message) => {
                    let mut guests = self.guests.values_mut();
                    if let Some(guest) = guests.find(|guest| guest.rank == Some(rank)) {
                        let _ = guest.line.send(&message);
                    }
                }
                Action::End { code, line } => {
                    eprintln!("phalanx: {line}");
                    self.last_words(poll);
                    std::process::exit(code.into());
                }
                Action::Over => over = true,
            }
        }
        over
    }

    fn tell_own(&mut self, message: FromMeeting) {
        match message {
            FromMeeting::Tell(ToRank::Welcome(welcome)) => drop(self.outcome.send(Ok(*welcome))),
            FromMeeting::Refused { reason } => self.refusal = Some(reason),
            FromMeeting::Tell(message) => {
                if let Some(rank) = &mut self.rank {
                    tell_rank(rank, &message);
                }
            }
            FromMeeting::IfLost { .. } | FromMeeting::End { .. } | FromMeeting::Over => {}
        }
    }

    /// Waits a little until the others have heard what was said, and hung up.
    fn last_words(&mut self, poll: &mut Poll) {
        let until = Instant::now() + LAST_WORDS;
        let mut events = Events::with_capacity(64);
        loop {
            self.guests.retain(|_, guest| guest.line.exchange().is_ok());
            let left = until.saturating_duration_since(Instant::now());
            if self.guests.is_empty() || left.is_zero() {
                return;
            }
            let _ = poll.poll(&mut events, Some(left));
        }
    }
}
