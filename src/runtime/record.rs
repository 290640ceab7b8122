//! What this rank tells its black box: its last call that had to wait, for the day when it cannot say.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::progress::Core;
use super::vigil::{Subject, Vigil};
use crate::sys::black_box::{Boxes, Pen};
use crate::sys::clock::monotonic_nanos;
use crate::sys::descriptor::inherit_any;
use crate::sys::life::{self, Held};
use crate::wire::control::Welcome;

/// A rank's black box, and the word that shows its death.
#[derive(Debug)]
pub(crate) struct Record {
    pen: Pen,
    /// The same moment on both clocks.
    began: (Instant, u64),
    /// Dropped when the rank has finalized.
    life: Option<Held>,
}

impl Record {
    /// Opens the box of the rank that this welcome is for. Without one there is less to tell, nothing else.
    pub(crate) fn open(welcome: &Welcome) -> Option<Self> {
        let opened = welcome.boxes.map(|number| Self::attach(number, welcome))?;
        opened
            .inspect_err(|error| tracing::warn!(%error, "this rank has no black box"))
            .ok()
    }

    fn attach(number: RawFd, welcome: &Welcome) -> std::io::Result<Self> {
        let boxes = Arc::new(Boxes::attach(
            inherit_any(number).map_err(std::io::Error::other)?,
        )?);
        let (me, node_of) = (welcome.rank as usize, &welcome.nodes.node_of);
        let before = node_of.iter().take(me);
        let local = before.filter(|node| **node == node_of[me]).count();
        let pen = Pen::new(Arc::clone(&boxes), local)?;
        let life = life::hold(boxes, local)
            .inspect_err(|error| tracing::debug!(%error, "the end of this rank shows late"))
            .ok();
        Ok(Self {
            pen,
            began: (Instant::now(), monotonic_nanos()),
            life,
        })
    }

    /// Whether a rank of this host, counted within it, is seen to live. If not, nothing is known.
    pub(crate) fn shows_life(&self, local: usize) -> bool {
        let boxes = self.pen.boxes();
        if local >= boxes.ranks() {
            return false;
        }
        let word = boxes.life(local).load(Ordering::Relaxed);
        word != 0 && !life::has_died(word)
    }

    /// The rank has finalized: its end is nobody's concern any more.
    pub(crate) fn finalized(&mut self) {
        self.pen.finalized();
        self.life = None;
    }
}

impl Core {
    /// A call has to wait.
    pub(crate) fn record(&mut self, vigil: &Vigil, now: Instant) {
        if cfg!(bare) {
            return;
        }
        let (Some(record), Some((errand, subject))) = (&mut self.record, vigil.call()) else {
            return;
        };
        let sequence = match subject {
            Subject::Collective(key) => self.state.collectives.get(*key),
            _ => None,
        };
        let sequence = sequence.map(|running| running.setting.sequence);
        let (instant, nanos) = record.began;
        let since = now.saturating_duration_since(instant).as_nanos() as u64 + nanos;
        record
            .pen
            .waits(errand.operation, errand.site, sequence, since);
    }

    /// The call has waited for a while, or does not wait any more.
    pub(crate) fn record_blocked(&self, blocked: bool) {
        if let Some(record) = &self.record {
            record.pen.set_blocked(blocked);
        }
    }
}
