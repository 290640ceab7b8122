//! What the engine asks for, done: frames leave, messages go where they belong, requests complete.

use slotmap::Key;

use super::progress::Core;
use super::state::{Fault, Handle, RequestKey, index, lent_id};
use crate::base::ids::Peer;
use crate::engine::{Action, BufferId, Envelope, Failure, Owner, RecvId, SendId};
use crate::limits::ACTIONS_HELD_MIN;
use crate::transport::Payload;
use crate::wire::header::{Flags, Header, Kind};

impl Core {
    /// Transmits a header with the bytes of a buffer from `offset` on.
    pub(crate) fn transmit_from(
        &mut self,
        to: Peer,
        header: &Header,
        buffer: BufferId,
        offset: u64,
    ) {
        let length = index(header.payload());
        let pinned = self.state.buffers.pinned(buffer, index(offset), length);
        let Some(pinned) = pinned else {
            debug_assert_eq!(length, 0, "a payload has a buffer");
            return self.fabric.send(to, header, Payload::None, &mut self.state);
        };
        // SAFETY: while the fabric sends it calls back only to read lent memory, to note what was
        // sent and who was lost: none of these takes out, resizes or writes an entry of the table.
        let bytes = unsafe { pinned.bytes() };
        self.fabric
            .send(to, header, Payload::Borrowed(bytes), &mut self.state);
    }

    /// Gives an operation up; its buffer may go afterwards.
    pub(crate) fn give_up(&mut self, handle: Handle) {
        match handle {
            Handle::None => {}
            Handle::Send(id) => {
                // The engine must not be about to transmit what is withdrawn.
                self.perform();
                self.unexpose(id);
                self.state.withdraw(id);
                // Who reads the buffer meanwhile has to see it before the buffer goes.
                self.perform();
            }
            Handle::Recv(id) => self.state.engine.abandon(id),
        }
    }

    /// Takes a request off the table, finished or not.
    pub(crate) fn remove_request(&mut self, key: RequestKey) -> Option<super::state::Request> {
        let request = self.state.requests.remove(key)?;
        self.give_up(request.handle);
        Some(request)
    }

    /// All that is to be done.
    pub(super) fn perform(&mut self) {
        let many = self.state.engine.has_actions(ACTIONS_HELD_MIN);
        if many {
            self.fabric.hold();
        }
        self.perform_each();
        if many {
            self.fabric.release(&mut self.state);
        }
    }

    fn perform_each(&mut self) {
        while let Some(action) = self.state.engine.poll_action() {
            match action {
                Action::Transmit {
                    to,
                    mut header,
                    body: None,
                } => {
                    if header.kind == Kind::Request && header.flags.contains(Flags::PULL) {
                        self.expose(to, &mut header);
                    }
                    self.fabric
                        .send(to, &header, Payload::None, &mut self.state);
                }
                Action::Transmit {
                    to,
                    header,
                    body: Some((buffer, offset)),
                } => {
                    self.transmit_from(to, &header, buffer, offset);
                }
                Action::TransmitPart {
                    to,
                    header,
                    send,
                    buffer,
                    offset,
                } => {
                    self.state.lend_part(send, buffer, offset, header.length);
                    let payload = Payload::Lent {
                        id: lent_id(send),
                        offset,
                    };
                    self.fabric.send(to, &header, payload, &mut self.state);
                }
                Action::Deliver { staged, into, take } => self.deliver(staged, into, take),
                Action::Pull {
                    from,
                    recv,
                    buffer,
                    token,
                    address,
                    length,
                } => {
                    let pulled = self.pull(from, buffer, token, address, length);
                    self.state.engine.pulled(recv, pulled);
                }
                Action::SendDone {
                    send,
                    owner,
                    outcome,
                } => self.send_done(send, owner, outcome),
                Action::RecvDone { owner, outcome, .. } => self.recv_done(owner, outcome),
                Action::Mismatch(mismatch) => self.dispute(&mismatch),
            }
        }
    }

    /// Lets the receiver of an announcement read the bytes.
    fn expose(&mut self, to: Peer, header: &mut Header) {
        let send = SendId::from(slotmap::KeyData::from_ffi(header.token));
        let buffer = BufferId(header.place);
        let Some(pinned) = self.state.buffers.pinned(buffer, 0, index(header.length)) else {
            return;
        };
        if self.fabric.lends_memory_to(to) {
            // Should the bytes be given back before they were read, the receiver notices by itself.
            header.place = pinned.address();
            return;
        }
        // SAFETY: `unexpose` is called when the send is done or given up, before its buffer goes.
        unsafe { self.state.exposed.expose(header.token, pinned) };
        self.state.exposing.insert(send, ());
    }

    fn unexpose(&mut self, send: SendId) {
        if self.state.exposing.remove(&send).is_some() {
            self.state.exposed.withdraw(send.data().as_ffi());
        }
    }

    fn pull(
        &mut self,
        from: Peer,
        buffer: BufferId,
        token: u64,
        address: u64,
        length: u64,
    ) -> bool {
        if self.fabric.lends_memory_to(from) {
            let length = index(length);
            return match self.state.room(buffer, length, length) {
                Some(space) => self.fabric.pull(from, address, space),
                None => true, // The receive was abandoned: let the sender go on.
            };
        }
        let exposed = self.state.exposed.clone();
        let Some(table) = exposed.index_of(self.state.me, from) else {
            return false;
        };
        let length = index(length);
        match self.state.room(buffer, length, length) {
            Some(space) => exposed.copy(table, token, space),
            None => true, // The receive was abandoned: let the sender go on.
        }
    }

    fn deliver(
        &mut self,
        staged: crate::engine::matching::NodeId,
        into: Option<(RecvId, BufferId)>,
        take: u64,
    ) {
        let buffer = into.map(|(_, buffer)| buffer);
        if let (Err(Fault::OutOfMemory(bytes)), Some((recv, _))) =
            (self.state.deliver(staged, buffer, take), into)
        {
            self.state.out_of_memory(recv, bytes);
        }
    }

    fn send_done(&mut self, send: SendId, owner: Owner, outcome: Result<(), Failure>) {
        self.unexpose(send);
        self.state.end_part(send);
        let outcome = outcome.map_err(Fault::Message);
        if owner.step == Owner::WHOLE {
            let nothing = Envelope {
                source: self.state.me,
                tag: 0,
                length: 0,
                check: 0,
            };
            self.state.complete(owner, outcome.map(|()| nothing));
        } else {
            self.step_done(owner, outcome);
        }
    }

    fn recv_done(&mut self, owner: Owner, outcome: Result<Envelope, Failure>) {
        let outcome = outcome.map_err(Fault::Message);
        if owner.step == Owner::WHOLE {
            self.state.complete(owner, outcome);
        } else {
            self.step_done(owner, outcome.map(|_| ()));
        }
    }
}
