//! Silence on paper.

use super::*;
use crate::control::{Event, Setup};
use crate::exit;
use crate::nodes::Host;
use crate::place::Placement;
use phalanx::wire::control::{Cause, Departure, FromDaemon, FromRank, PROTOCOL, ToRank};

const TIMEOUT: Duration = Duration::from_secs(3);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Two hosts with two ranks each, all joined at time 0.
fn two_hosts() -> Job {
    let setup = Setup {
        placement: Placement {
            hosts: vec![Host::new("a", 2), Host::new("b", 2)],
            node_of: vec![0, 0, 1, 1],
        },
        threads: false,
        timeout: None,
        stall_timeout: None,
        check: false,
        host_timeout: Some(TIMEOUT),
    };
    let mut job = Job::new(setup, Duration::ZERO);
    for node in [0, 1] {
        assert!(
            job.take_actions().is_empty(),
            "nothing starts before all are there"
        );
        let message = FromDaemon::Hello {
            protocol: PROTOCOL,
            host: ["a", "b"][node as usize].into(),
            pid: 7,
        };
        job.handle(Event::Daemon { node, message }, Duration::ZERO);
    }
    let message = || ToDaemon::Beat { fence_millis: 2500 };
    let beat = |node| Action::Send {
        node,
        message: message(),
    };
    let start = |node| Action::Start { node };
    let orders = [beat(0), beat(1), start(0), start(1)];
    assert_eq!(job.take_actions(), orders, "no rank runs before the fence");
    for rank in 0..4 {
        let message = FromRank::Join {
            protocol: PROTOCOL,
            pid: 9,
            addresses: Vec::new(),
        };
        for message in [
            FromDaemon::Started {
                rank,
                pid: 100 + rank,
            },
            FromDaemon::FromRank { rank, message },
        ] {
            let node = rank / 2;
            job.handle(Event::Daemon { node, message }, Duration::ZERO);
        }
    }
    job.take_actions();
    job
}

/// Lets time pass in steps; host `speaks` is heard each time.
fn pass(job: &mut Job, from: u64, to: u64, speaks: &[u32]) -> Vec<Action> {
    let mut actions = Vec::new();
    for now in (from..=to).step_by(50) {
        for node in speaks {
            job.handle(Event::Heard { node: *node }, millis(now));
        }
        job.tick(millis(now));
        actions.extend(job.take_actions());
    }
    actions
}

#[test]
fn a_silent_host_is_lost_and_the_others_are_told() {
    let mut job = two_hosts();
    let quiet = pass(&mut job, 0, 2950, &[0]);
    let is_beat = |action: &Action| {
        matches!(
            action,
            Action::Send {
                message: ToDaemon::Beat { .. },
                ..
            }
        )
    };
    assert!(quiet.iter().all(is_beat), "{quiet:?}");
    assert_eq!(quiet.len(), 2 * 12);
    let lost = pass(&mut job, 3000, 3000, &[0]);
    let pids = vec![102, 103];
    assert!(
        lost.contains(&Action::KillGroups { node: 1, pids }),
        "{lost:?}"
    );
    let gone = |action: &Action| {
        matches!(
            action,
            Action::Send {
                node: 0,
                message: ToDaemon::ToRank {
                    message: ToRank::Gone(Departure {
                        cause: Cause::HostLost,
                        ..
                    }),
                    ..
                }
            }
        )
    };
    assert_eq!(lost.iter().filter(|action| gone(action)).count(), 4);
    let said = |action: &Action| match action {
        Action::Say(line) => Some(line.clone()),
        _ => None,
    };
    let said: Vec<String> = lost.iter().filter_map(said).collect();
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("lost host b: nothing was heard from it for 3 s"));
    assert!(said[0].ends_with("its ranks 2-3 were ended"), "{said:?}");
    job.handle(
        Event::Daemon {
            node: 0,
            message: FromDaemon::Done,
        },
        millis(3100),
    );
    assert_eq!(job.take_actions(), [Action::Finish(exit::HOST_LOST)]);
}

#[test]
fn nobody_is_lost_because_we_were_stopped() {
    let mut job = two_hosts();
    pass(&mut job, 0, 1000, &[0, 1]);
    // Woken after a minute, and their words are not read yet.
    job.tick(millis(61_000));
    let actions = job.take_actions();
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Say(_))),
        "{actions:?}"
    );
    let later = pass(&mut job, 61_050, 70_000, &[0, 1]);
    assert!(!later.iter().any(|action| matches!(action, Action::Say(_))));
}

#[test]
fn a_stop_is_announced_to_the_daemons() {
    let mut job = two_hosts();
    job.handle(Event::Signal(signal_hook::consts::SIGTSTP), millis(10));
    let actions = job.take_actions();
    for node in [0, 1] {
        let message = ToDaemon::Quiet;
        assert!(
            actions.contains(&Action::Send { node, message }),
            "{actions:?}"
        );
    }
}

#[test]
fn ranks_that_go_on_after_failures_go_on_without_a_host() {
    let mut job = two_hosts();
    for rank in 0..4 {
        let message = FromRank::Policy { returns: true };
        let message = FromDaemon::FromRank { rank, message };
        job.handle(
            Event::Daemon {
                node: rank / 2,
                message,
            },
            Duration::ZERO,
        );
    }
    let actions = pass(&mut job, 0, 3000, &[0]);
    let ends = |action: &Action| {
        matches!(
            action,
            Action::Send {
                message: ToDaemon::End { .. },
                ..
            }
        )
    };
    assert!(!actions.iter().any(ends), "{actions:?}");
    for rank in [0, 1] {
        let message = FromRank::Finalized;
        for message in [
            FromDaemon::FromRank { rank, message },
            FromDaemon::Exited {
                rank,
                exit: phalanx::wire::control::Exit::Code(0),
            },
        ] {
            job.handle(Event::Daemon { node: 0, message }, millis(4000));
        }
    }
    job.handle(
        Event::Daemon {
            node: 0,
            message: FromDaemon::Done,
        },
        millis(4000),
    );
    assert!(job.take_actions().contains(&Action::Finish(0)));
}

#[test]
fn a_host_that_cannot_be_started_ends_the_job() {
    let mut job = two_hosts();
    let line = "cannot start on b: it is asleep".to_owned();
    job.handle(
        Event::NotStarted {
            node: 1,
            line: line.clone(),
        },
        millis(1),
    );
    let actions = job.take_actions();
    assert!(actions.contains(&Action::Say(line)));
    job.handle(
        Event::Daemon {
            node: 0,
            message: FromDaemon::Done,
        },
        millis(2),
    );
    assert_eq!(job.take_actions(), [Action::Finish(exit::LAUNCH)]);
}
