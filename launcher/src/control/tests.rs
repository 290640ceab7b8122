//! The job on paper: what happens to it, and what it orders.

use super::*;
use phalanx::wire::control::Departure;
use signal_hook::consts::{SIGINT, SIGTERM, SIGTSTP, SIGUSR1};

/// A job of `ranks` on one host, all started; collects what it does.
pub(super) struct Bed {
    pub(super) job: Job,
    now: Duration,
}

impl Bed {
    pub(super) fn new(ranks: u32) -> Self {
        Self::with_timeout(ranks, None)
    }

    fn with_timeout(ranks: u32, timeout: Option<Duration>) -> Self {
        let setup = Setup {
            placement: Placement {
                hosts: vec![crate::nodes::Host::new("h", 1)],
                node_of: vec![0; ranks as usize],
            },
            threads: false,
            timeout,
            stall_timeout: None,
            check: false,
            host_timeout: None,
        };
        let mut bed = Self {
            job: Job::new(setup, Duration::ZERO),
            now: Duration::ZERO,
        };
        let hello = FromDaemon::Hello {
            protocol: PROTOCOL,
            host: "h".into(),
            pid: 1,
        };
        assert_eq!(bed.daemon(hello), [Action::Start { node: 0 }]);
        for rank in 0..ranks {
            let pid = 100 + rank;
            assert_eq!(bed.daemon(FromDaemon::Started { rank, pid }), []);
        }
        bed
    }

    pub(super) fn event(&mut self, event: Event) -> Vec<Action> {
        self.job.handle(event, self.now);
        self.job.take_actions()
    }

    pub(super) fn daemon(&mut self, message: FromDaemon) -> Vec<Action> {
        self.event(Event::Daemon { node: 0, message })
    }

    pub(super) fn says(&mut self, rank: u32, message: FromRank) -> Vec<Action> {
        self.daemon(FromDaemon::FromRank { rank, message })
    }

    pub(super) fn join_all(&mut self) {
        for rank in 0..u32::try_from(self.job.ranks.len()).expect("few") {
            let addresses = vec![format!("127.0.0.1:{rank}")];
            self.says(rank, join(addresses));
        }
    }

    pub(super) fn exits(&mut self, rank: u32, code: u8) -> Vec<Action> {
        let exit = Exit::Code(code);
        self.daemon(FromDaemon::Exited { rank, exit })
    }

    pub(super) fn killed(&mut self, rank: u32, signal: u8) -> Vec<Action> {
        let exit = Exit::Signal(signal);
        self.daemon(FromDaemon::Exited { rank, exit })
    }

    fn fails(&mut self, rank: u32, class: FailureClass) {
        let message = format!("trouble {rank}");
        self.says(rank, FromRank::Failed { message, class });
    }

    pub(super) fn after(&mut self, millis: u64) -> Vec<Action> {
        self.now += Duration::from_millis(millis);
        self.job.tick(self.now);
        self.job.take_actions()
    }

    pub(super) fn done(&mut self) -> Vec<Action> {
        self.daemon(FromDaemon::Done)
    }
}

fn join(addresses: Vec<String>) -> FromRank {
    FromRank::Join {
        protocol: PROTOCOL,
        pid: 1,
        addresses,
    }
}

pub(super) fn said(actions: &[Action]) -> Vec<&str> {
    let mut lines = Vec::new();
    for action in actions {
        if let Action::Say(line) = action {
            lines.push(line.as_str());
        }
    }
    lines
}

pub(super) fn send(message: ToDaemon) -> Action {
    Action::Send { node: 0, message }
}

fn ends(actions: &[Action]) -> bool {
    actions.contains(&send(ToDaemon::End { now: false }))
}

fn gone(actions: &[Action]) -> Vec<(u32, &Departure)> {
    let departure = |action| match action {
        &Action::Send {
            message:
                ToDaemon::ToRank {
                    rank,
                    message: ToRank::Gone(ref departure),
                },
            ..
        } => Some((rank, departure)),
        _ => None,
    };
    actions.iter().filter_map(departure).collect()
}

#[test]
fn programs_that_never_join_are_fine() {
    let mut bed = Bed::new(2);
    assert_eq!(bed.exits(0, 0), []);
    assert_eq!(bed.exits(1, 0), []);
    assert_eq!(bed.done(), [Action::Finish(0)]);
}

#[test]
fn ranks_that_finalize_are_fine() {
    let mut bed = Bed::new(2);
    bed.join_all();
    for rank in 0..2 {
        bed.says(rank, FromRank::Finalized);
        assert_eq!(bed.exits(rank, 0), []);
    }
    assert_eq!(bed.done(), [Action::Finish(0)]);
}

#[test]
fn the_first_failing_rank_is_named_once_and_gives_the_code() {
    let mut bed = Bed::new(4);
    let actions = bed.killed(2, 9);
    assert_eq!(
        said(&actions),
        ["rank 2 on h (pid 102) was killed by signal 9 (SIGKILL); the other 3 ranks were ended"]
    );
    assert!(ends(&actions));
    let told: Vec<u32> = gone(&actions).iter().map(|(rank, _)| *rank).collect();
    assert_eq!(told, [0, 1, 3]);
    assert_eq!(gone(&actions)[0].1.cause, Cause::Killed { signal: 9 });
    assert_eq!(bed.exits(0, 1), []);
    assert_eq!(bed.killed(1, 15), []);
    assert_eq!(bed.exits(3, 7), []);
    assert_eq!(bed.done(), [Action::Finish(137)]);
}

#[test]
fn a_panic_explains_the_end() {
    let mut bed = Bed::new(2);
    bed.join_all();
    let message = "left: 1\n right: 2".to_owned();
    let location = "src/x.rs:3:4".to_owned();
    bed.says(1, FromRank::Panicked { message, location });
    let actions = bed.exits(1, 101);
    assert_eq!(
        said(&actions),
        [
            "rank 1 on h (pid 101) panicked at src/x.rs:3:4: left: 1 right: 2; the other rank was ended"
        ]
    );
    bed.killed(0, 15);
    assert_eq!(bed.done(), [Action::Finish(101)]);
}

#[test]
fn a_panic_that_was_caught_is_no_failure() {
    let mut bed = Bed::new(1);
    bed.join_all();
    let (message, location) = ("caught".to_owned(), "x".to_owned());
    bed.says(0, FromRank::Panicked { message, location });
    bed.says(0, FromRank::Finalized);
    assert_eq!(bed.exits(0, 0), []);
    assert_eq!(bed.done(), [Action::Finish(0)]);
}

#[test]
fn a_panic_that_was_caught_and_failed_over_has_the_code_of_a_panic() {
    let mut bed = Bed::new(1);
    bed.join_all();
    let (message, location) = ("caught".to_owned(), "x".to_owned());
    bed.says(0, FromRank::Panicked { message, location });
    bed.fails(0, FailureClass::Program);
    bed.exits(0, 1);
    assert_eq!(bed.done(), [Action::Finish(101)]);
}

#[test]
fn a_victim_waits_for_its_cause() {
    let mut bed = Bed::new(3);
    bed.join_all();
    bed.fails(0, FailureClass::PeerGone);
    let actions = bed.exits(0, 1);
    assert!(said(&actions).is_empty() && !ends(&actions));
    let actions = bed.killed(2, 11);
    assert!(said(&actions)[0].starts_with("rank 2 on h (pid 102) was killed by signal 11"));
    assert!(ends(&actions));
    bed.killed(1, 15);
    assert_eq!(bed.done(), [Action::Finish(139)]);
}

#[test]
fn a_victim_without_cause_is_named_after_a_while() {
    let mut bed = Bed::new(2);
    bed.join_all();
    bed.fails(0, FailureClass::PeerGone);
    bed.exits(0, 1);
    assert_eq!(bed.job.next_deadline(), Some(JUDGEMENT));
    assert_eq!(bed.after(299), []);
    let actions = bed.after(1);
    assert_eq!(
        said(&actions),
        ["rank 0 on h (pid 100) failed: trouble 0; the other rank was ended"]
    );
}

#[test]
fn the_earlier_complaint_is_the_cause_though_its_process_ends_later() {
    let mut bed = Bed::new(3);
    bed.join_all();
    bed.fails(1, FailureClass::Program);
    bed.fails(0, FailureClass::Program);
    assert!(said(&bed.exits(0, 3)).is_empty());
    let actions = bed.exits(1, 4);
    assert!(said(&actions)[0].contains("failed: trouble 1"));
    bed.killed(2, 15);
    assert_eq!(bed.done(), [Action::Finish(4)]);
}

#[test]
fn classes_of_errors_have_their_exit_codes() {
    for (class, code) in [
        (FailureClass::Program, 1),
        (FailureClass::PeerGone, 1),
        (FailureClass::Mismatch, 73),
        (FailureClass::Timeout, 75),
        (FailureClass::Wire, 76),
        (FailureClass::Authentication, 77),
    ] {
        let mut bed = Bed::new(1);
        bed.join_all();
        bed.fails(0, class);
        bed.exits(0, 1);
        assert_eq!(bed.done(), [Action::Finish(code)], "{class:?}");
    }
}

#[test]
fn leaving_with_zero_before_finalize_is_an_error() {
    let mut bed = Bed::new(3);
    bed.join_all();
    let actions = bed.exits(1, 0);
    let line = said(&actions)[0];
    assert!(line.starts_with(
        "rank 1 on h (pid 101) left with exit code 0 before finalize while 2 ranks were still running"
    ));
    assert!(ends(&actions));
    bed.killed(0, 15);
    bed.killed(2, 15);
    assert_eq!(bed.done(), [Action::Finish(1)]);
}

#[test]
fn never_joining_is_an_error_once_somebody_waits_for_it() {
    let mut bed = Bed::new(2);
    assert_eq!(bed.exits(1, 0), []);
    let actions = bed.says(0, join(vec![]));
    assert!(said(&actions)[0].contains("without ever joining while 1 rank was still running"));
    assert!(ends(&actions));
    let mut bed = Bed::new(2);
    bed.says(0, join(vec![]));
    assert!(ends(&bed.exits(1, 0)));
    let mut bed = Bed::new(2);
    bed.says(0, join(vec![]));
    bed.says(0, FromRank::Finalized);
    assert!(!ends(&bed.exits(1, 0)), "nobody waits any more");
}

#[test]
fn abort_ends_the_job_with_its_code() {
    let mut bed = Bed::new(2);
    bed.join_all();
    let message = "enough".to_owned();
    let actions = bed.says(0, FromRank::Abort { code: 9, message });
    assert_eq!(
        said(&actions),
        ["rank 0 on h (pid 100) aborted the job with code 9: enough; the other rank was ended"]
    );
    bed.exits(0, 9);
    bed.killed(1, 15);
    assert_eq!(bed.done(), [Action::Finish(9)]);
}

#[test]
fn addresses_are_told_when_they_are_known() {
    let mut bed = Bed::new(3);
    let lookup = |rank| FromRank::Lookup { rank };
    bed.says(0, join(vec![]));
    assert_eq!(bed.says(0, lookup(1)), []);
    let addresses = vec!["127.0.0.1:1".to_owned()];
    let message = ToRank::Address { rank: 1, addresses };
    let answer = send(ToDaemon::ToRank { rank: 0, message });
    let actions = bed.says(1, join(vec!["127.0.0.1:1".to_owned()]));
    assert_eq!(actions, std::slice::from_ref(&answer));
    assert_eq!(bed.says(0, lookup(1)), [answer]);
    assert!(ends(&bed.says(0, lookup(3))), "there is no rank 3");
}

#[test]
fn a_watched_rank_is_reported_when_its_process_has_gone() {
    let mut bed = Bed::new(3);
    bed.join_all();
    assert_eq!(bed.says(0, FromRank::Watch { ranks: vec![1, 2] }), []);
    assert_eq!(bed.says(1, FromRank::Finalized), []);
    let actions = bed.exits(1, 0);
    assert_eq!(gone(&actions).len(), 1);
    let (to, departure) = gone(&actions)[0];
    assert_eq!((to, departure.rank, departure.pid), (0, 1, 101));
    assert_eq!(departure.cause, Cause::Finalized);
    let actions = bed.says(2, FromRank::Watch { ranks: vec![1] });
    assert_eq!(gone(&actions).len(), 1, "answered at once");
}

#[test]
fn a_rank_that_lives_on_after_finalize_is_gone_after_a_second() {
    let mut bed = Bed::new(3);
    bed.join_all();
    bed.says(0, FromRank::Watch { ranks: vec![] });
    bed.says(0, FromRank::Watch { ranks: vec![1] });
    bed.says(1, FromRank::Finalized);
    assert_eq!(bed.after(999), []);
    assert_eq!(gone(&bed.after(1)).len(), 1);
    assert_eq!(bed.exits(1, 0), [], "told once");
}

#[test]
fn a_signal_is_passed_on_and_the_second_kills() {
    let mut bed = Bed::new(2);
    let actions = bed.event(Event::Signal(SIGINT));
    assert!(actions.contains(&send(ToDaemon::Signal(SIGINT))));
    let actions = bed.event(Event::Signal(SIGINT));
    assert_eq!(actions, [send(ToDaemon::End { now: true })]);
    bed.killed(0, 9);
    bed.killed(1, 9);
    assert_eq!(bed.done(), [Action::Finish(130)]);
}

#[test]
fn ranks_that_die_of_the_signal_give_its_code_quietly() {
    let mut bed = Bed::new(2);
    bed.event(Event::Signal(SIGTERM));
    assert!(said(&bed.killed(0, 15)).is_empty());
    assert!(said(&bed.killed(1, 15)).is_empty());
    assert_eq!(bed.done(), [Action::Finish(143)]);
}

#[test]
fn ranks_may_use_the_signal_to_end_well() {
    let mut bed = Bed::new(2);
    bed.event(Event::Signal(SIGTERM));
    bed.exits(0, 0);
    bed.exits(1, 0);
    assert_eq!(bed.done(), [Action::Finish(0)]);
}

#[test]
fn after_a_signal_stragglers_have_a_bounded_time() {
    let mut bed = Bed::new(2);
    bed.event(Event::Signal(SIGINT));
    assert_eq!(bed.after(60_000), [], "all of them may be busy saving");
    bed.killed(0, 2);
    assert!(!ends(&bed.after(4_999)));
    assert!(ends(&bed.after(1)));
}

#[test]
fn other_signals_are_just_passed_on() {
    let mut bed = Bed::new(1);
    let usr1 = bed.event(Event::Signal(SIGUSR1));
    assert_eq!(usr1, [send(ToDaemon::Signal(SIGUSR1))]);
    let stop = bed.event(Event::Signal(SIGTSTP));
    assert_eq!(stop, [send(ToDaemon::Signal(signal_hook::consts::SIGSTOP))]);
}

#[test]
fn a_timeout_ends_the_job() {
    let mut bed = Bed::with_timeout(2, Some(Duration::from_secs(5)));
    assert_eq!(bed.job.next_deadline(), Some(Duration::from_secs(5)));
    let actions = bed.after(5_000);
    assert!(said(&actions)[0].contains("within 5 s"));
    assert!(ends(&actions));
    assert_eq!(bed.done(), [Action::Finish(75)]);
}

#[test]
fn a_lost_daemon_is_named_and_its_ranks_are_killed() {
    let mut bed = Bed::new(2);
    bed.exits(0, 0);
    let why = "gone".to_owned();
    let actions = bed.event(Event::DaemonLost { node: 0, why });
    let pids = vec![101];
    assert_eq!(actions[0], Action::KillGroups { node: 0, pids });
    assert!(said(&actions)[0].starts_with("lost the daemon on h (pid 1): gone"));
    assert_eq!(actions.last(), Some(&Action::Finish(72)));
}

#[test]
fn nonsense_from_a_daemon_is_its_loss() {
    let mut bed = Bed::new(2);
    assert_eq!(bed.exits(7, 0).last(), Some(&Action::Finish(72)));
}

#[test]
fn another_protocol_is_refused() {
    let mut bed = Bed::new(2);
    let mut strange = join(vec![]);
    if let FromRank::Join { protocol, .. } = &mut strange {
        *protocol += 1;
    }
    assert!(said(&bed.says(0, strange))[0].contains("build both from the same version"));
    assert_eq!(bed.done(), [Action::Finish(76)]);
}

#[test]
fn a_start_that_fails_is_told_once() {
    let mut bed = Bed::new(2);
    let failed = FromDaemon::StartFailed {
        rank: 1,
        missing: true,
        message: "cannot start `x`".into(),
    };
    assert_eq!(said(&bed.daemon(failed)).len(), 1);
    assert_eq!(bed.done(), [Action::Finish(71)]);
}

#[test]
fn a_job_that_was_cancelled_failed_even_if_no_rank_did() {
    let mut bed = Bed::new(2);
    let actions = bed.daemon(FromDaemon::Cancelled);
    assert!(said(&actions)[0].starts_with("the job was cancelled on h: "));
    assert!(said(&actions)[0].ends_with("; 2 ranks were ended"));
    assert_eq!(bed.done(), [Action::Finish(143)]);

    let mut bed = Bed::new(2);
    bed.event(Event::Signal(SIGINT));
    assert!(said(&bed.daemon(FromDaemon::Cancelled)).is_empty());
    assert_eq!(bed.done(), [Action::Finish(130)]);
}

#[test]
fn a_closed_output_ends_the_job_quietly() {
    let mut bed = Bed::new(2);
    let actions = bed.event(Event::OutputClosed);
    assert!(said(&actions).is_empty() && ends(&actions));
    assert_eq!(bed.done(), [Action::Finish(141)]);
}

#[test]
fn a_stuck_daemon_can_be_left() {
    let mut bed = Bed::new(1);
    for _ in 0..2 {
        bed.event(Event::Signal(SIGINT));
    }
    assert_eq!(bed.event(Event::Signal(SIGINT)), [Action::Leave(130)]);
}
