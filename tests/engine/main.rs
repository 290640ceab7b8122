//! The engine's protocol, each path once, as a story.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod hostile;
mod pair;

use phalanx::base::ids::Peer;
use phalanx::engine::{
    Action, BufferId, Envelope, Failure, Incoming, Landing, Mode, OpenWork, Outgoing, Pattern,
    Route, SendStart, collective,
};
use phalanx::wire::header::Kind;

use pair::*;

#[test]
fn a_small_message_goes_out_at_once_and_lands_in_the_posted_buffer() {
    let mut pair = Pair::new();
    pair.ends[1].recv(from_a(1));
    assert!(matches!(pair.send(A, message(1, 100)), SendStart::Now(_)));
    pair.run();
    assert_eq!(pair.received(), [Ok(1)]);
    assert_eq!(pair.kinds(), [(A, Kind::Eager)]);
    pair.assert_idle();
}

#[test]
fn a_long_message_is_announced_and_streamed_when_asked_for() {
    let mut pair = Pair::new();
    pair.later(A, message(1, 2_500_000));
    pair.run();
    assert_eq!(pair.ends[1].unexpected_count(), 1);
    pair.ends[1].recv(from_a(1));
    pair.run();
    let data = (A, Kind::Data);
    assert_eq!(
        pair.kinds(),
        [(A, Kind::Request), (B, Kind::Clear), data, data, data]
    );
    assert_eq!(pair.received(), [Ok(1)]);
    pair.assert_idle();
}

#[test]
fn where_memory_can_be_read_the_receiver_reads_it() {
    let mut pair = Pair::new();
    pair.ends[0].set_route(
        B,
        Route {
            eager_bytes_max: 0,
            pull: true,
        },
    );
    pair.ends[1].recv(from_a(1));
    pair.later(A, message(1, 50));
    pair.run();
    assert_eq!(pair.kinds(), [(A, Kind::Request), (B, Kind::Finished)]);
    pair.assert_idle();
}

#[test]
fn a_pull_that_does_not_work_becomes_a_stream() {
    let mut pair = Pair::new();
    pair.ends[0].set_route(
        B,
        Route {
            eager_bytes_max: 0,
            pull: true,
        },
    );
    pair.later(A, message(1, 50));
    let recv = pair.ends[1].recv(from_a(1));
    while let Some((me, action)) = pair.step() {
        match action {
            Action::Transmit { header, .. } => pair.deliver(me, header),
            Action::Pull { recv: pulled, .. } => {
                assert_eq!(pulled, recv);
                pair.ends[1].pulled(recv, false);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    pair.run();
    assert_eq!(pair.received(), [Ok(1)]);
    assert!(pair.kinds().ends_with(&[(B, Kind::Clear), (A, Kind::Data)]));
    pair.assert_idle();
}

#[test]
fn an_abandoned_pull_still_releases_its_sender() {
    let mut pair = Pair::new();
    pair.ends[0].set_route(
        B,
        Route {
            eager_bytes_max: 0,
            pull: true,
        },
    );
    let recv = pair.ends[1].recv(from_a(1));
    pair.later(A, message(1, 50));
    let (_, request) = pair.step().unwrap();
    let Action::Transmit { header, .. } = request else {
        panic!("{request:?}")
    };
    pair.deliver(A, header);
    pair.ends[1].abandon(recv);
    pair.ends[1].pulled(recv, false);
    let pull = pair.ends[1].poll_action();
    assert!(matches!(pull, Some(Action::Pull { .. })));
    pair.run();
    assert!(pair.received().is_empty(), "nobody is told");
    pair.assert_idle();
}

#[test]
fn a_synchronous_send_of_nothing_waits_for_its_match() {
    let mut pair = Pair::new();
    pair.later(
        A,
        Outgoing {
            mode: Mode::Synchronous,
            ..message(1, 0)
        },
    );
    pair.run();
    assert!(pair.done.is_empty());
    pair.ends[1].recv(from_a(1));
    pair.run();
    assert_eq!(pair.done.len(), 2);
    assert_eq!(pair.kinds(), [(A, Kind::Request), (B, Kind::Finished)]);
    pair.assert_idle();
}

#[test]
fn a_flood_is_announced_then_held_and_flows_again_when_it_is_received() {
    let mut pair = Pair::new();
    let sends = 200;
    let started: Vec<_> = (0..sends)
        .map(|tag| pair.send(A, message(tag, 8)))
        .collect();
    pair.run();
    let whole = started
        .iter()
        .filter(|start| matches!(start, SendStart::Now(_)))
        .count() as u64;
    assert_eq!(whole, WINDOW / (256 + 8));
    assert_eq!(pair.ends[0].open_work().held as u64, sends - whole);
    assert_eq!(pair.kinds().last(), Some(&(A, Kind::Starved)));
    for tag in 0..sends {
        pair.ends[1].recv(from_a(tag));
        pair.run();
    }
    assert_eq!(pair.received(), (0..sends).map(Ok).collect::<Vec<_>>());
    pair.assert_idle();
}

#[test]
fn the_last_message_of_a_flood_can_be_received_first() {
    let mut pair = Pair::new();
    for tag in 0..1000 {
        pair.send(A, message(tag, 8));
    }
    pair.run();
    for tag in (0..1000).rev() {
        pair.ends[1].recv(from_a(tag));
        pair.run();
    }
    assert_eq!(pair.received(), (0..1000).rev().map(Ok).collect::<Vec<_>>());
    pair.assert_idle();
}

#[test]
fn a_probe_makes_a_starving_peer_announce_more() {
    let mut pair = Pair::new();
    for tag in 0..200 {
        pair.send(A, message(tag, 8));
    }
    pair.run();
    let pattern = from_a(199).pattern;
    assert_eq!(pair.ends[1].probe(&pattern), None);
    pair.run();
    assert_eq!(
        pair.ends[1].probe(&pattern).map(|found| found.tag),
        Some(199)
    );
}

#[test]
fn a_rank_in_a_barrier_or_waiting_for_others_does_not_feed_a_flood() {
    let mut receiver = engine(B, 3);
    let barrier = Pattern {
        context: USER.collective(),
        source: Some(A),
        tag: Some(collective::tag(0, 0)),
    };
    let another = Pattern {
        context: USER,
        source: Some(Peer(2)),
        tag: None,
    };
    for pattern in [barrier, another] {
        receiver.recv(Incoming {
            pattern,
            ..from_a(0)
        });
    }
    receiver.arrive(A, &header(Kind::Starved, A)).unwrap();
    assert_eq!(receiver.poll_action(), None);
    receiver.recv(from_a(3));
    assert!(receiver.poll_action().is_some(), "now it asks");
}

#[test]
fn a_barrier_passes_a_flood() {
    let mut pair = Pair::new();
    for tag in 0..200 {
        pair.send(A, message(tag, 8));
    }
    let context = USER.collective();
    let tag = collective::tag(0, 0);
    pair.ends[1].collective_begins(context, 0, 7);
    let pattern = Pattern {
        context,
        source: Some(A),
        tag: Some(tag),
    };
    pair.ends[1].recv(Incoming {
        pattern,
        ..from_a(0)
    });
    pair.later(
        A,
        Outgoing {
            context,
            tag,
            ..message(500, 8)
        },
    );
    pair.run();
    assert_eq!(pair.received(), [Ok(tag)]);
}

#[test]
fn a_withdrawn_announcement_is_never_received_and_its_credit_comes_back() {
    let mut pair = Pair::new();
    for _ in 0..1000 {
        let id = pair.later(A, message(1, 5000));
        pair.run();
        assert_eq!(pair.ends[0].withdraw(id), None);
        pair.run();
        assert_eq!(pair.ends[1].unexpected_count(), 0);
    }
    pair.assert_idle();
}

#[test]
fn withdrawn_while_held_leaves_no_trace() {
    let mut pair = Pair::new();
    for tag in 0..63 {
        pair.send(A, message(tag, 8));
    }
    for _ in 0..1000 {
        let id = pair.later(A, message(99, 8));
        assert_eq!(pair.ends[0].withdraw(id), None);
    }
    assert_eq!(pair.ends[0].open_work().held, 1, "the last of the flood");
}

#[test]
fn a_withdrawal_that_comes_too_late_keeps_the_rest_readable() {
    let mut pair = Pair::new();
    pair.ends[1].recv(from_a(1));
    let id = pair.later(A, message(1, 5000));
    while pair
        .wire
        .last()
        .is_none_or(|(_, header)| header.kind != Kind::Clear)
    {
        let (me, action) = pair.step().unwrap();
        let Action::Transmit { header, .. } = action else {
            panic!("{action:?}")
        };
        pair.deliver(me, header);
    }
    pair.ends[0].part_sent(id, 2000);
    let rest = pair.ends[0]
        .withdraw(id)
        .expect("its last part is under way");
    assert_eq!(
        (rest.buffer, rest.offset, rest.length),
        (BufferId(1), 2000, 3000)
    );
    pair.run();
    assert_eq!(
        pair.received(),
        [Ok(1)],
        "in full, and no word of a withdrawal"
    );
    pair.assert_idle();
}

#[test]
fn a_withdrawal_that_crosses_the_answer_ends_the_receive() {
    let mut pair = Pair::new();
    let id = pair.later(A, message(1, 5000));
    pair.run();
    pair.ends[1].recv(from_a(1));
    assert_eq!(pair.ends[0].withdraw(id), None);
    pair.run();
    let outcomes = pair.received();
    assert!(matches!(
        outcomes[..],
        [Err(Failure::Withdrawn(Envelope { tag: 1, .. }))]
    ));
    pair.assert_idle();
}

#[test]
fn nothing_overtakes_an_action_that_waits() {
    let mut sender = engine(A, 2);
    let SendStart::Later(_) = sender.send(message(1, 5000)) else {
        panic!("too long")
    };
    let SendStart::Later(second) = sender.send(message(2, 8)) else {
        panic!("would overtake")
    };
    let first = sender.poll_action();
    assert!(matches!(first, Some(Action::Transmit { header, .. }) if header.tag == 1));
    let next = sender.poll_action();
    assert!(
        matches!(next, Some(Action::Transmit { header, body: Some(_), .. }) if header.tag == 2)
    );
    let done = sender.poll_action();
    assert!(matches!(done, Some(Action::SendDone { send, outcome: Ok(()), .. }) if send == second));
}

#[test]
fn a_death_ends_what_needs_the_dead_and_keeps_what_arrived() {
    let mut pair = Pair::new();
    pair.send(A, message(1, 8));
    pair.later(A, message(2, 5000));
    pair.run();
    pair.ends[1].recv(from_a(3));
    let survivor = &mut pair.ends[1];
    survivor.peer_gone(A, false);
    survivor.recv(from_a(1));
    survivor.recv(from_a(2));
    assert_eq!(
        survivor.arrive(A, &header(Kind::Request, A)),
        Ok(Landing::Nothing)
    );
    assert_eq!(
        survivor.send(Outgoing {
            to: A,
            ..message(9, 8)
        }),
        SendStart::Gone
    );
    pair.done.clear();
    while let Some(action) = pair.ends[1].poll_action() {
        pair.done.push((B, action));
    }
    let gone = Err(Failure::PeerGone(A));
    assert_eq!(pair.received(), [gone, Ok(1), gone]);
    assert_eq!(pair.ends[1].open_work(), OpenWork::default());
}
