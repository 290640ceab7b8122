//! Ranks that have died, before the system says so.
//!
//! A thread waits for the words that ranks hold for life (see [`phalanx::sys::life`]) and wakes the daemon when
//! one shows a death. How the rank ended is known when its process has been taken down; if that takes longer
//! than a moment, the others are told before. Where the kernel cannot wait for several words, deaths are known
//! when processes end, as before.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mio::Waker;
use phalanx::sys::black_box::{Boxes, Entry, State};
use phalanx::sys::life::{WATCHED_MAX, has_died, wait_for_change};
use phalanx::wire::control::{Exit, FromDaemon};
use rustix::process::Signal;

use super::Daemon;
use super::memory::Kills;

/// Time in which most processes are taken down: the end then says more than the death.
const MOMENT: Duration = Duration::from_millis(5);

/// Deaths that were seen and not told.
#[derive(Debug)]
pub(super) struct Deaths {
    news: Receiver<usize>,
    /// Who has died, and when the others are told.
    due: Vec<(usize, Instant)>,
    kills: Kills,
}

impl Deaths {
    /// Watches the ranks of this host; `waker` is called when there is news.
    pub(super) fn watch(boxes: Option<&Arc<Boxes>>, waker: &Arc<Waker>) -> Self {
        let (tell, news) = channel();
        let ranks = boxes.map_or(0, |boxes| boxes.ranks());
        for first in (0..ranks).step_by(WATCHED_MAX) {
            let Some(boxes) = boxes.map(Arc::clone) else {
                break;
            };
            let (tell, waker) = (tell.clone(), Arc::clone(waker));
            let last = ranks.min(first + WATCHED_MAX);
            let named = std::thread::Builder::new().name("deaths".into());
            // Without it deaths are known later.
            let _ = named.stack_size(64 * 1024).spawn(move || {
                let _ = watch_some(&boxes, first..last, &tell, &waker);
            });
        }
        Self {
            news,
            due: Vec::new(),
            kills: Kills::count(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.iter().map(|(_, at)| *at).min()
    }
}

fn watch_some(
    boxes: &Boxes,
    ranks: std::ops::Range<usize>,
    tell: &Sender<usize>,
    waker: &Waker,
) -> io::Result<()> {
    let mut dead = HashSet::new();
    while dead.len() < ranks.len() {
        let living = ranks.clone().filter(|rank| !dead.contains(rank));
        let words: Vec<_> = living
            .map(|rank| (rank, boxes.life(rank)))
            .map(|(rank, word)| (rank, word, word.load(Ordering::SeqCst)))
            .collect();
        let died = words.iter().filter(|(.., value)| has_died(*value));
        let died: Vec<usize> = died.map(|(rank, ..)| *rank).collect();
        if died.is_empty() {
            let words: Vec<_> = words
                .iter()
                .map(|(_, word, value)| (*word, *value))
                .collect();
            wait_for_change(&words)?;
        }
        for rank in died {
            dead.insert(rank);
            if tell.send(rank).is_err() || waker.wake().is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Daemon {
    /// Takes in deaths, and tells of those whose end is not known after a moment.
    pub(super) fn tell_deaths(&mut self, now: Instant) -> io::Result<()> {
        let Some(deaths) = &mut self.deaths else {
            return Ok(());
        };
        let news = deaths.news.try_iter().map(|local| (local, now + MOMENT));
        deaths.due.extend(news);
        let (due, later): (Vec<_>, Vec<_>) = deaths.due.iter().partition(|(_, at)| *at <= now);
        deaths.due = later;
        for (local, _) in due {
            let unknown = |child: &super::Child| child.exit.is_none();
            if !self.children.get(local).is_some_and(unknown) {
                continue;
            }
            self.hear_last_words(local)?;
            if let Some(segment) = self.spawner.as_ref().and_then(super::Spawner::segment) {
                segment.departed(local);
            }
            let rank = self.children[local].rank;
            self.tell(&FromDaemon::Died { rank })?;
        }
        Ok(())
    }

    /// Tells what is known of a rank that did not end well, before its end.
    pub(super) fn tell_traces(&mut self, local: usize, exit: Exit) -> io::Result<()> {
        let Some(deaths) = &mut self.deaths else {
            return Ok(());
        };
        let killed = exit == Exit::Signal(Signal::KILL.as_raw() as u8);
        let out_of_memory = killed && !self.ending && deaths.kills.rose();
        let boxes = self.spawner.as_ref().and_then(super::Spawner::boxes);
        let last = boxes.and_then(|boxes| boxes.read(local)).and_then(last);
        if exit == Exit::Code(0) || (last.is_none() && !out_of_memory) {
            return Ok(());
        }
        let rank = self.children[local].rank;
        self.tell(&FromDaemon::Traces {
            rank,
            last,
            out_of_memory,
        })
    }
}

/// The last call of a rank that had not finalized.
pub(super) fn last(entry: Entry) -> Option<String> {
    let Entry {
        operation,
        site,
        sequence,
        ..
    } = entry;
    if operation.is_empty() || entry.state == State::Finalized {
        return None;
    }
    let number = sequence.map_or_else(String::new, |number| format!(" #{number}"));
    Some(format!("{operation}{number} at {site}"))
}
