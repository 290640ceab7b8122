//! When ranks are asked, and what is remembered between two looks.

use std::collections::HashMap;
use std::time::Duration;

use phalanx::stall::Standing;
use phalanx::wire::control::Answer;

/// Time that ranks have to answer; one that is later is taken for busy, in this look.
const ANSWERING: Duration = Duration::from_millis(400);
/// Time between the two pictures of a verdict.
const BETWEEN: Duration = Duration::from_millis(150);
/// Shortest time between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Pauses between looks while somebody waits grow from the first to the second of these.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(8)];
/// A rank that has not answered for so long does not merely answer slowly.
const SILENT: Duration = Duration::from_millis(2_500);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Step {
    Nothing,
    /// Ask every rank, with [`Looks::ask`]'s number.
    Ask,
    /// All answers, by rank.
    Judge(Vec<Option<Box<Answer>>>),
}

#[derive(Debug)]
enum State {
    Quiet,
    /// A look is due then.
    Due(Duration),
    /// Ranks were asked, and have until then.
    Asking {
        until: Duration,
        missing: usize,
    },
}

/// The questions to ranks, in time.
#[derive(Debug)]
pub(in super::super) struct Looks {
    state: State,
    number: u32,
    answers: Vec<Option<Box<Answer>>>,
    /// The first of two pictures.
    before: Option<Vec<Standing>>,
    last: Option<Duration>,
    pause: Duration,
    /// Somebody has blocked while a look was under way.
    again: bool,
    silent_since: Vec<Option<Duration>>,
    /// Which ranks are stopped, as their daemons have said since the last question about it.
    stopped: Vec<Option<bool>>,
    /// Stragglers that were named, and whether as stopped.
    named: HashMap<u32, bool>,
    /// Waits of ranks that were said to be stuck perhaps.
    told: Vec<(u32, u64)>,
}

impl Looks {
    pub(in super::super) fn new(size: usize) -> Self {
        Self {
            state: State::Quiet,
            number: 0,
            answers: vec![None; size],
            before: None,
            last: None,
            pause: PAUSES[0],
            again: false,
            silent_since: vec![None; size],
            stopped: vec![None; size],
            named: HashMap::new(),
            told: Vec::new(),
        }
    }

    pub(in super::super) fn next_deadline(&self) -> Option<Duration> {
        match self.state {
            State::Quiet => None,
            State::Due(at) | State::Asking { until: at, .. } => Some(at),
        }
    }

    pub(super) fn stop(&mut self) {
        self.state = State::Quiet;
    }

    /// Somebody has blocked: look soon.
    pub(super) fn wanted(&mut self, now: Duration) {
        let soon = self.last.map_or(now, |last| now.max(last + PAUSE_MIN));
        match self.state {
            State::Quiet => self.state = State::Due(soon),
            // The second picture of a verdict has its time.
            State::Due(_) if self.before.is_some() => self.again = true,
            State::Due(at) => self.state = State::Due(at.min(soon)),
            State::Asking { .. } => self.again = true,
        }
    }

    pub(super) fn step(&mut self, now: Duration) -> Step {
        match self.state {
            State::Due(at) if at <= now => Step::Ask,
            State::Asking { until, missing } if missing == 0 || until <= now => {
                self.state = State::Quiet;
                let size = self.answers.len();
                Step::Judge(std::mem::replace(&mut self.answers, vec![None; size]))
            }
            _ => Step::Nothing,
        }
    }

    /// So many ranks are asked; the number of the question.
    pub(super) fn ask(&mut self, ranks: usize, now: Duration) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.answers.fill(None);
        self.last = Some(now);
        self.state = State::Asking {
            until: now + ANSWERING,
            missing: ranks,
        };
        self.number
    }

    pub(super) fn answered(&mut self, rank: u32, answer: Answer, now: Duration) {
        let State::Asking { missing, until } = &mut self.state else {
            return;
        };
        let place = self.answers.get_mut(rank as usize);
        if let Some(place @ None) = place.filter(|_| answer.number == self.number && *until >= now)
        {
            *place = Some(Box::new(answer));
            *missing = missing.saturating_sub(1);
        }
    }

    pub(super) fn take_before(&mut self) -> Option<Vec<Standing>> {
        self.before.take()
    }

    /// Some ranks seem stuck: a second picture has to show the same.
    pub(super) fn look_again(&mut self, ranks: Vec<Standing>, now: Duration) {
        self.before = Some(ranks);
        self.state = State::Due(now + BETWEEN);
    }

    /// A look is over: the next one is due while somebody waits for long.
    pub(super) fn judged(
        &mut self,
        ranks: &[Standing],
        now: Duration,
        notice: Duration,
        limit: Option<Duration>,
    ) {
        let waits = ranks.iter().flat_map(Standing::waits);
        let longest = waits.map(|wait| Duration::from_millis(wait.millis)).max();
        let Some(longest) = longest else {
            self.pause = PAUSES[0];
            self.told.clear();
            self.state = State::Quiet;
            if std::mem::take(&mut self.again) {
                self.state = State::Due(now + PAUSE_MIN);
            }
            return;
        };
        let mut pause = self.pause;
        self.pause = (2 * self.pause).min(PAUSES[1]);
        if std::mem::take(&mut self.again) {
            pause = PAUSE_MIN;
        }
        for moment in [Some(notice), limit].into_iter().flatten() {
            if longest < moment {
                pause = pause.min(moment - longest).max(PAUSE_MIN);
            }
        }
        self.state = State::Due(now + pause);
    }

    pub(in super::super) fn set_stopped(&mut self, rank: u32, stopped: bool) {
        if let Some(place) = self.stopped.get_mut(rank as usize) {
            *place = Some(stopped);
        }
    }

    pub(super) fn is_stopped(&self, rank: u32) -> bool {
        self.stopped.get(rank as usize) == Some(&Some(true))
    }

    /// Whether somebody did not answer when asked last: the daemons should look what has become of it.
    pub(super) fn wants_glances(&mut self) -> bool {
        let wants = self.silent_since.iter().any(Option::is_some);
        if wants {
            self.stopped.fill(None);
        }
        wants
    }

    /// Notes who does not answer.
    pub(super) fn note_silent(&mut self, ranks: &[Standing], now: Duration) {
        for (since, standing) in self.silent_since.iter_mut().zip(ranks) {
            match standing {
                Standing::Busy => {
                    since.get_or_insert(now);
                }
                _ => *since = None,
            }
        }
        let silent = &self.silent_since;
        self.named
            .retain(|rank, _| silent.get(*rank as usize).is_some_and(Option::is_some));
    }

    /// Whether a rank that does not answer is to be named now: once while it is silent, and once more when
    /// it has been stopped since.
    pub(super) fn may_name(&mut self, rank: u32, now: Duration) -> bool {
        let since = self.silent_since.get(rank as usize).copied().flatten();
        let silent = since.is_some_and(|since| now.saturating_sub(since) >= SILENT);
        // What its daemon sees may still be on its way.
        let stopped = self.stopped.get(rank as usize).copied().flatten();
        let (true, Some(stopped)) = (silent, stopped) else {
            return false;
        };
        match self.named.get(&rank) {
            Some(&as_stopped) if as_stopped || !stopped => false,
            _ => {
                self.named.insert(rank, stopped);
                true
            }
        }
    }

    /// Whether it was not said yet that these ranks may be stuck.
    pub(super) fn is_news(&mut self, stuck: &[u32], ranks: &[Standing]) -> bool {
        let waits = stuck.iter().flat_map(|&rank| {
            let waits = ranks[rank as usize].waits().iter();
            waits.map(move |wait| (rank, wait.id))
        });
        let waits: Vec<(u32, u64)> = waits.collect();
        let news = waits != self.told;
        self.told = waits;
        news
    }
}
