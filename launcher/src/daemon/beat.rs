//! Signs of life between daemon and launcher, and the fence: a daemon that is cut off from its
//! launcher ends its ranks, because the launcher does so with the others.

use std::io;
use std::time::{Duration, Instant};

use phalanx::wire::control::{BEAT_MILLIS, FromDaemon};

use super::Daemon;

const BEAT: Duration = Duration::from_millis(BEAT_MILLIS);

/// When the launcher was last heard of.
#[derive(Debug, Default)]
pub(super) struct Fence {
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    patience: Duration,
    heard: Instant,
    next_beat: Instant,
}

impl Fence {
    /// The launcher counts on us, and expects us to count on it.
    pub(super) fn arm(&mut self, patience: Duration, now: Instant) {
        let next_beat = self.armed.as_ref().map_or(now, |armed| armed.next_beat);
        self.armed = Some(Armed {
            patience,
            heard: now,
            next_beat,
        });
    }

    /// Silence means nothing until the next beat.
    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }

    /// Anything came.
    pub(super) fn hear(&mut self, now: Instant) {
        if let Some(armed) = &mut self.armed {
            armed.heard = now;
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let armed = self.armed.as_ref()?;
        Some(armed.next_beat.min(armed.heard + armed.patience))
    }

    /// Whether the launcher is out of reach.
    pub(super) fn is_cut_off(&self, now: Instant) -> bool {
        let cut = |armed: &Armed| armed.heard + armed.patience <= now;
        self.armed.as_ref().is_some_and(cut)
    }

    fn beats(&mut self, now: Instant) -> bool {
        match &mut self.armed {
            Some(armed) if armed.next_beat <= now => {
                armed.next_beat = now + BEAT;
                true
            }
            _ => false,
        }
    }
}

impl Daemon {
    /// Gives a sign of life when it is time. False when we are cut off.
    pub(super) fn keep_in_touch(&mut self) -> io::Result<bool> {
        let now = Instant::now();
        if self.fence.beats(now) {
            self.tell(&FromDaemon::Beat)?;
        }
        Ok(!self.fence.is_cut_off(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_cuts_off_only_after_a_beat_and_not_when_it_was_announced() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let mut fence = Fence::default();
        assert!(!fence.is_cut_off(after(1_000_000)));
        assert_eq!(fence.next_deadline(), None);
        fence.arm(Duration::from_millis(2500), begin);
        assert!(fence.beats(begin) && !fence.beats(after(249)) && fence.beats(after(250)));
        assert!(!fence.is_cut_off(after(2499)) && fence.is_cut_off(after(2500)));
        fence.hear(after(1000));
        assert!(!fence.is_cut_off(after(3499)) && fence.is_cut_off(after(3500)));
        fence.disarm();
        assert!(!fence.is_cut_off(after(1_000_000)));
    }
}
