//! What is remembered of one peer: its route, and credit in both directions.

use std::collections::VecDeque;

use super::{Route, SendId};

#[derive(Debug)]
pub(crate) struct PeerState {
    pub(crate) route: Route,
    pub(crate) gone: bool,
    /// Messages of the program to it, and announced or sent by it.
    pub(crate) messages: [u64; 2],

    /// As a sender: bytes that may still be sent to it unasked.
    pub(crate) credit: u64,
    /// As a sender: announcements that it has asked for on top of the credit.
    pub(crate) envelopes: u64,
    /// As a sender: messages kept back, in order.
    pub(crate) held: VecDeque<SendId>,
    /// As a sender: it knows that messages are kept back.
    pub(crate) starved_told: bool,

    /// As a receiver: bytes of the window that it has used and that are not given back.
    pub(crate) taken: u64,
    /// As a receiver: bytes to be given back with the next `Credit`.
    pub(crate) owed: u64,
    /// As a receiver: it keeps messages back.
    pub(crate) starving: bool,
    /// As a receiver: announcements that were asked for on top of the credit and are not here yet.
    pub(crate) granted: u64,
    /// As a receiver: messages of collectives that it announced without credit, and that wait.
    pub(crate) collectives: u64,
    /// As a receiver: receives posted for it, other than collectives', that nothing has matched.
    pub(crate) posted: u64,
}

impl PeerState {
    pub(crate) fn new(route: Route, window: u64) -> Self {
        Self {
            route,
            gone: false,
            messages: [0; 2],
            credit: window,
            envelopes: 0,
            held: VecDeque::new(),
            starved_told: false,
            taken: 0,
            owed: 0,
            starving: false,
            granted: 0,
            collectives: 0,
            posted: 0,
        }
    }
}
