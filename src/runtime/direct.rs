//! The shortest way for blocking calls: a message that can leave at once, or that comes within a moment,
//! needs neither a request nor a name for its memory.
//!
//! So does a nonblocking send that can leave at once: nothing is left to wait for. (Nonblocking receives do not: taken one by
//! one, messages are read so close behind their sender that it has to fetch every line back.)
//!
//! Whatever is not simple goes the general way: other operations under way, messages that wait, failures,
//! anything at the head of the ring but the one message. So the rules of matching are those of the engine.

use super::progress::Core;
use super::state::Fault;
use super::{Reach, RecvArgs, Runtime, SendArgs};
use crate::engine::{Capacity, Envelope, Failure, Letter, Mode};
use crate::limits::{DIRECT_LOOKS_MAX, DIRECT_PER_TURN, EAGER_SHARED_BYTES_MAX};
use crate::transport::{Head, Payload};

impl Runtime {
    /// Sends, if that can be done at once; `false` when nothing was done.
    pub(crate) fn send_directly(&self, args: &SendArgs, bytes: &[u8]) -> bool {
        let mut core = self.station.lock();
        let open = core.check_open(args.context, Reach::One).is_ok();
        let near = core.fabric.shares_memory_with(args.to);
        if args.mode != Mode::Standard || core.strict || !open || !near {
            return false;
        }
        let letter = Letter {
            to: args.to,
            context: args.context,
            tag: args.tag,
            check: args.check,
            length: bytes.len() as u64,
        };
        let Some(header) = core.state.engine.send_now(&letter) else {
            return false;
        };
        let Core { fabric, state, .. } = &mut *core;
        fabric.send(args.to, &header, Payload::Borrowed(bytes), state);
        self.station.settle(&mut core);
        true
    }

    /// Receives, if the message is there or comes within a moment and nothing else is under way; `None`
    /// when nothing was done.
    pub(crate) fn recv_directly(
        &self,
        args: &RecvArgs,
        bytes: &mut [u8],
    ) -> Option<Result<Envelope, Fault>> {
        let source = args.pattern.source?;
        if bytes.len() > EAGER_SHARED_BYTES_MAX {
            return None; // What is announced needs a request: better that it is there before the message.
        }
        let mut core = self.station.lock();
        let open = core.check_open(args.pattern.context, args.reach()).is_ok();
        let idle = core.state.collectives.is_empty() && core.sleepers == 0 && !core.polling;
        if !open || !idle || !core.state.engine.receives_next(&args.pattern) {
            return None;
        }
        core.direct = core.direct.wrapping_add(1);
        if core.direct % DIRECT_PER_TURN == 0 {
            return None; // The general way also looks at everything else.
        }
        let looks = match core.fabric.is_crowded() {
            Some(false) => DIRECT_LOOKS_MAX,
            _ => 1,
        };
        for look in 0..looks {
            let Core { fabric, state, .. } = &mut *core;
            let mut buffer = Some(&mut *bytes);
            let head = fabric.take_head(source, |header| {
                let envelope = state.engine.receive_now(source, header, &args.pattern)?;
                let right = header.check == args.check;
                let into = buffer.take().filter(|_| right).unwrap_or_default();
                Some((envelope, into))
            });
            match head {
                Head::Taken(envelope) => {
                    core.activity += 1;
                    self.station.settle(&mut core);
                    return Some(received(args, envelope, bytes.len()));
                }
                Head::Nothing if look < DIRECT_LOOKS_MAX / 4 => {}
                Head::Nothing => std::hint::spin_loop(),
                Head::Other => break,
            }
        }
        None
    }
}

fn received(args: &RecvArgs, envelope: Envelope, room: usize) -> Result<Envelope, Fault> {
    let capacity = room as u64;
    if envelope.check != args.check {
        return Err(Fault::Message(Failure::Type { envelope }));
    }
    if Capacity::Fixed(capacity).truncates(envelope.length) {
        return Err(Fault::Message(Failure::Truncated { envelope, capacity }));
    }
    Ok(envelope)
}
