//! What a rank does for its engine: the actions, and the bytes of payloads.

use phalanx::engine::{Action, BufferId, Landing};
use phalanx::wire::header::Flags;
use rand::Rng;

use super::network::{Lent, Network};
use super::node::{Node, Todo, send_buffer, serial_of};

impl Network {
    /// Does the next thing that an engine wants done.
    pub fn act(&mut self, rank: usize) -> bool {
        let node = &mut self.nodes[rank];
        while let Some(action) = node.engine.poll_action() {
            node.note_freed(&action);
            node.todo.push_back(Todo::Engine(action));
        }
        let Some(todo) = node.todo.pop_front() else {
            self.check_staged(rank);
            return false;
        };
        match todo {
            Todo::Eager(header, serial) => {
                let body = node.memory.remove(&send_buffer(serial)).expect("just sent");
                let to = self.messages[serial].to;
                self.transmit(rank, to, header, Some(serial), body, None);
            }
            Todo::Engine(action) => self.perform(rank, action),
        }
        true
    }

    fn perform(&mut self, rank: usize, action: Action) {
        let node = &mut self.nodes[rank];
        match action {
            Action::Transmit { to, header, body } => {
                let mut serial = node.tokens.get(&header.token).copied();
                let mut bytes = Vec::new();
                if let Some((buffer, offset)) = body {
                    assert_eq!(offset, 0);
                    serial = Some(serial_of(buffer));
                    bytes.clone_from(&node.memory[&buffer]);
                }
                if header.flags.contains(Flags::PULL) {
                    assert_eq!(Some(serial_of(BufferId(header.place))), serial);
                }
                self.transmit(rank, to, header, serial, bytes, None);
            }
            Action::TransmitPart {
                to,
                header,
                send,
                buffer,
                offset,
            } => {
                let lent = Some(Lent {
                    send,
                    buffer,
                    offset,
                });
                self.transmit(rank, to, header, None, Vec::new(), lent);
            }
            Action::Deliver { staged, into, take } => {
                let (_, bytes) = node
                    .staged
                    .remove(&staged)
                    .expect("staged once, freed once");
                if let Some((_, buffer)) = into {
                    if let Some(memory) = node.landing_memory(buffer, bytes.len() as u64) {
                        memory[..take as usize].copy_from_slice(&bytes[..take as usize]);
                    }
                }
            }
            Action::Pull { .. } => self.pull(rank, action),
            Action::SendDone { owner, outcome, .. } => {
                self.send_done(rank, owner.request as usize, outcome.is_ok())
            }
            Action::RecvDone { owner, outcome, .. } => {
                node.check_recv_done(owner.request, outcome, &self.messages, &self.withdrawn);
            }
            Action::Mismatch(mismatch) => panic!("collectives match: {mismatch:?}"),
        }
    }

    fn pull(&mut self, rank: usize, action: Action) {
        let Action::Pull {
            from,
            recv,
            buffer,
            address,
            length,
            ..
        } = action
        else {
            return;
        };

        self.pulls += 1;
        let works = self.rng.random_range(0..100) >= self.weather.pull_fails;
        let message = &self.messages[serial_of(BufferId(address))];
        let (whole, alive) = (message.length, self.nodes[from.index()].alive);
        let source = self.nodes[from.index()]
            .memory
            .get(&BufferId(address))
            .cloned();
        let node = &mut self.nodes[rank];
        let target = node.landing_memory(buffer, whole);
        let success =
            if let (true, true, Some(source), Some(target)) = (works, alive, source, target) {
                target[..length as usize].copy_from_slice(&source[..length as usize]);
                true
            } else {
                false
            };
        node.engine.pulled(recv, success);
    }

    fn send_done(&mut self, rank: usize, serial: usize, success: bool) {
        let message = self.messages[serial];
        let matched = self.nodes[message.to.index()]
            .judge
            .matched
            .contains(&serial);
        let node = &mut self.nodes[rank];
        node.sends.remove(&serial).expect("a send completes once");
        node.memory
            .remove(&send_buffer(serial))
            .expect("an open send has memory");
        if success {
            assert!(
                matched || !message.synchronous,
                "synchronous send {serial} ended early"
            );
        } else {
            assert!(
                node.judge.is_gone(message.to),
                "send {serial} failed, but its peer is there"
            );
        }
    }
}

impl Node {
    pub fn land(&mut self, landing: Landing, done: usize, piece: &[u8]) {
        match landing {
            Landing::Posted {
                buffer,
                offset,
                take,
                message,
                ..
            } => {
                let take = (take as usize).saturating_sub(done).min(piece.len());
                if let Some(memory) = self.landing_memory(buffer, message) {
                    let begin = offset as usize + done;
                    if take > 0 {
                        memory[begin..begin + take].copy_from_slice(&piece[..take]);
                    }
                }
            }
            Landing::Staged { staged, .. } => {
                if let Some((_, memory)) = self.staged.get_mut(&staged) {
                    memory[done..done + piece.len()].copy_from_slice(piece);
                }
            }
            Landing::Nothing => assert!(piece.is_empty()),
            Landing::Discard => {}
        }
    }

    fn note_freed(&self, action: &Action) {
        if let Action::Deliver { staged, .. } = action {
            assert!(self.staged.contains_key(staged), "freed but never staged");
        }
    }
}
