//! Ranks that are threads of one process: a mailbox each.
//!
//! A sender locks the receiver's mailbox, pushes a parcel and, only if the receiver sleeps, wakes it
//! (see [`waiter`](super::waiter)). The receiver takes the whole queue at once, in exchange for the
//! empty one that it has worked off, so that both keep their capacity: no allocation per message. It
//! does not touch the lock while the hub says that nothing is pending.
//!
//! A rank that ends puts a notice behind its last frame into every other mailbox.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rustc_hash::FxHashSet;

use super::parcel::Parcel;
use super::waiter::{Hub, lock};
use super::{Lost, Payload, Sink, traced};
use crate::base::ids::{Epoch, Peer};
use crate::limits::TURN_FRAMES_MAX;
use crate::wire::header::Header;

#[derive(Debug)]
enum Item {
    Frame(Peer, Parcel),
    Left(Peer, Lost),
}

#[derive(Debug)]
struct Mailbox {
    hub: Arc<Hub>,
    /// `None` once its owner has ended.
    items: Mutex<Option<VecDeque<Item>>>,
}

impl Mailbox {
    fn put(&self, item: Item) {
        if let Some(items) = lock(&self.items).as_mut() {
            items.push_back(item);
        }
        self.hub.notify();
    }
}

/// The links of one thread-rank.
#[derive(Debug)]
pub(super) struct Threads {
    rank: Peer,
    boxes: Arc<[Mailbox]>,
    batch: VecDeque<Item>,
    /// The mailbox may hold something that was announced while the batch was worked off.
    unseen: bool,
    lost: FxHashSet<Peer>,
    /// Whether the others have been told that this rank ends.
    left: bool,
}

impl Threads {
    /// One for each hub.
    pub(super) fn all(hubs: &[Arc<Hub>]) -> Vec<Self> {
        let boxes: Arc<[Mailbox]> = hubs
            .iter()
            .map(|hub| Mailbox {
                hub: hub.clone(),
                items: Mutex::new(Some(VecDeque::new())),
            })
            .collect();
        (0..)
            .map(Peer)
            .take(hubs.len())
            .map(|rank| Self {
                rank,
                boxes: boxes.clone(),
                batch: VecDeque::new(),
                unseen: false,
                lost: FxHashSet::default(),
                left: false,
            })
            .collect()
    }

    pub(super) fn send(
        &mut self,
        to: Peer,
        header: &Header,
        payload: Payload<'_>,
        sink: &mut impl Sink,
    ) {
        if self.left || self.lost.contains(&to) {
            super::parcel::Body::queued(header, payload).give_up(to, sink);
            return;
        }
        let parcel = Parcel::copy(to, header, payload, sink);
        self.boxes[to.index()].put(Item::Frame(self.rank, parcel));
    }

    /// Delivers what has arrived; `news` says whether the mailbox may hold something. Gives whether
    /// anything moved, and whether something is left for the next turn.
    pub(super) fn progress(
        &mut self,
        news: bool,
        epoch: Epoch,
        sink: &mut impl Sink,
    ) -> (bool, bool) {
        self.unseen |= news;
        if self.batch.is_empty() && self.unseen {
            self.unseen = false;
            if let Some(items) = lock(&self.boxes[self.rank.index()].items).as_mut() {
                std::mem::swap(items, &mut self.batch);
            }
        }
        let mut moved = false;
        for _ in 0..TURN_FRAMES_MAX {
            let Some(item) = self.batch.pop_front() else {
                return (moved, self.unseen);
            };
            moved = true;
            self.handle(item, epoch, sink);
        }
        (moved, true)
    }

    fn handle(&mut self, item: Item, epoch: Epoch, sink: &mut impl Sink) {
        let (peer, why) = match item {
            Item::Frame(from, parcel) => {
                if self.left || self.lost.contains(&from) || parcel.header.epoch < epoch {
                    return;
                }
                match parcel.deliver(from, sink) {
                    Ok(()) => return,
                    Err(text) => (from, Lost::Wire(text)),
                }
            }
            Item::Left(peer, why) => (peer, why),
        };
        if self.lost.insert(peer) {
            traced::lost(peer, &why);
            sink.lost(peer, why);
        }
    }

    /// The launcher says that a rank has gone.
    pub(super) fn gone(&self, peer: Peer, reason: &str) {
        self.boxes[self.rank.index()].put(Item::Left(peer, Lost::Broken(reason.into())));
    }

    /// Tells all others, behind the last frame, that nothing more will come.
    pub(super) fn leave(&mut self, why: &Lost) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        for (rank, mailbox) in (0..).map(Peer).zip(self.boxes.iter()) {
            if rank != self.rank {
                mailbox.put(Item::Left(self.rank, why.clone()));
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.leave(&Lost::Broken(
            "the thread of this rank has ended without finalizing".into(),
        ));
        let unread = lock(&self.boxes[self.rank.index()].items).take();
        drop(unread);
    }
}
