//! Ranks that speak the control protocol: joining, finalizing, failing, watching.
//!
//! The ranks are this test program itself, which then runs only [`fake_rank`]; so what is tested
//! is the launcher against the protocol, not against the library.

mod common;

use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{Mark, Outcome, run};
use phalanx::wire::control::{
    CONTROL_FD_VARIABLE, Cause, Decoder, FailureClass, FromRank, PROTOCOL, ToRank, Welcome, encode,
};

const SCENARIO: &str = "FAKE_SCENARIO";

/// A rank's end of the protocol.
struct Rank {
    stream: UnixStream,
    decoder: Decoder,
    welcome: Welcome,
}

impl Rank {
    fn arrive() -> Self {
        let number = std::env::var(CONTROL_FD_VARIABLE).expect("a descriptor");
        let number = number.parse().expect("a number");
        // SAFETY: the launcher made this descriptor for us, and nothing else in this process
        // knows of it.
        let stream = unsafe { UnixStream::from_raw_fd(number) };
        let mut decoder = Decoder::default();
        let ToRank::Welcome(welcome) = receive(&stream, &mut decoder) else {
            panic!("the first message is the welcome");
        };
        Self {
            stream,
            decoder,
            welcome: *welcome,
        }
    }

    fn say(&mut self, message: &FromRank) {
        let bytes = encode(message).expect("short");
        self.stream.write_all(&bytes).expect("the daemon listens");
    }

    fn join(&mut self) {
        self.say(&FromRank::Join {
            protocol: PROTOCOL,
            pid: std::process::id(),
            addresses: vec![format!("127.0.0.1:{}", self.welcome.rank)],
        });
    }

    fn hear(&mut self) -> ToRank {
        receive(&self.stream, &mut self.decoder)
    }

    fn fail(&mut self, class: FailureClass) {
        let message = format!("trouble of rank {}", self.welcome.rank);
        self.say(&FromRank::Failed { message, class });
    }
}

fn receive(mut stream: &UnixStream, decoder: &mut Decoder) -> ToRank {
    loop {
        if let Some(message) = decoder.next().expect("sense") {
            return message;
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).expect("reads") {
            0 => std::process::exit(99),
            count => decoder.extend(&buffer[..count]),
        }
    }
}

fn sleep(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

#[test]
fn fake_rank() {
    let Ok(scenario) = std::env::var(SCENARIO) else {
        return;
    };
    let mut rank = Rank::arrive();
    let number = rank.welcome.rank;
    assert_eq!(std::env::var("PHALANX_RANK"), Ok(number.to_string()));
    let code = play(&scenario, &mut rank, number);
    std::process::exit(code);
}

fn play(scenario: &str, rank: &mut Rank, number: u32) -> i32 {
    let first = number == 0;
    if scenario == "absent" && first {
        return 0;
    }
    rank.join();
    match scenario {
        "finalize" => {
            rank.say(&FromRank::Finalized);
            0
        }
        "early" if first => 0,
        "fail" if first => {
            rank.fail(FailureClass::Program);
            3
        }
        "mismatch" if first => {
            rank.fail(FailureClass::Mismatch);
            1
        }
        // The others notice before the process of the culprit has ended.
        "victims" if first => {
            sleep(150);
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                .expect("kills");
            0
        }
        "victims" => {
            rank.fail(FailureClass::PeerGone);
            1
        }
        "panic" if first => {
            rank.say(&FromRank::Panicked {
                message: "index out of bounds".into(),
                location: "src/x.rs:3:4".into(),
            });
            101
        }
        "abort" if first => {
            rank.say(&FromRank::Abort {
                code: 9,
                message: "no convergence".into(),
            });
            sleep(60_000);
            0
        }
        "garbage" if first => {
            rank.stream.write_all(&[0xff; 64]).expect("writes");
            sleep(60_000);
            0
        }
        "told" if first => 7,
        "told" => match rank.hear() {
            ToRank::Gone(departure) => {
                println!("told {} {:?}", departure.rank, departure.cause);
                0
            }
            other => panic!("{other:?}"),
        },
        "lookup" => lookup(rank, number),
        "watch" => watch(rank, number),
        _ => {
            sleep(60_000);
            0
        }
    }
}

/// All ask for the address of rank 0, which stays until they have gone.
fn lookup(rank: &mut Rank, number: u32) -> i32 {
    if number == 0 {
        rank.say(&FromRank::Watch { ranks: vec![] });
        for _ in 1..rank.welcome.size {
            assert!(matches!(rank.hear(), ToRank::Gone(_)));
        }
    } else {
        rank.say(&FromRank::Lookup { rank: 0 });
        let addresses = vec!["127.0.0.1:0".to_owned()];
        assert_eq!(rank.hear(), ToRank::Address { rank: 0, addresses });
    }
    rank.say(&FromRank::Finalized);
    0
}

/// Rank 0 ends, rank 1 lives on after it has finalized, rank 2 watches both.
fn watch(rank: &mut Rank, number: u32) -> i32 {
    if number == 2 {
        rank.say(&FromRank::Watch { ranks: vec![] });
        let mut gone = [false; 2];
        while !gone.iter().all(|gone| *gone) {
            let ToRank::Gone(departure) = rank.hear() else {
                panic!("only departures");
            };
            assert_eq!(departure.cause, Cause::Finalized);
            assert!(!gone[departure.rank as usize], "told once");
            gone[departure.rank as usize] = true;
        }
        println!("both are gone");
    }
    rank.say(&FromRank::Finalized);
    sleep(if number == 1 { 1_500 } else { 0 });
    0
}

/// Plays a scenario with this many ranks, and makes sure that nothing is left of it.
fn job(scenario: &str, ranks: u32) -> Outcome {
    let mark = Mark::new();
    let program = std::env::current_exe().expect("has a path");
    let scenario = format!("{SCENARIO}={scenario}");
    let outcome = run(&[
        "run",
        "-n",
        &ranks.to_string(),
        "--env",
        &scenario,
        "--env",
        mark.variable(),
        program.to_str().expect("UTF-8"),
        "--exact",
        "fake_rank",
        "--nocapture",
        "--test-threads=1",
    ]);
    mark.assert_gone();
    outcome
}

/// The one report of a job that failed with this code.
fn report(scenario: &str, ranks: u32, code: i32) -> String {
    let outcome = job(scenario, ranks);
    assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
    assert_eq!(outcome.reports().len(), 1, "{}", outcome.stderr);
    outcome.reports()[0].to_owned()
}

#[test]
fn all_finalize() {
    let outcome = job("finalize", 4);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn zero_before_finalize_is_an_error() {
    let report = report("early", 3, 1);
    assert!(report.starts_with("phalanx: rank 0 on "), "{report}");
    assert!(
        report.contains("left with exit code 0 before finalize"),
        "{report}"
    );
}

#[test]
fn never_joining_is_an_error_when_others_wait() {
    let report = report("absent", 3, 1);
    assert!(
        report.contains("rank 0 ") && report.contains("without ever joining"),
        "{report}"
    );
}

#[test]
fn an_error_is_repeated_with_the_ranks_own_code() {
    let report = report("fail", 3, 3);
    assert!(report.contains("failed: trouble of rank 0"), "{report}");
}

#[test]
fn a_mismatch_has_its_own_code() {
    report("mismatch", 3, 73);
}

#[test]
fn victims_are_not_blamed() {
    let report = report("victims", 4, 137);
    assert!(
        report.contains("rank 0 ") && report.contains("signal 9"),
        "{report}"
    );
}

#[test]
fn a_panic_is_the_cause() {
    let report = report("panic", 3, 101);
    assert!(
        report.contains("panicked at src/x.rs:3:4: index out of bounds"),
        "{report}"
    );
}

#[test]
fn abort_ends_everyone() {
    let report = report("abort", 3, 9);
    assert!(
        report.contains("aborted the job with code 9: no convergence"),
        "{report}"
    );
}

#[test]
fn garbage_on_the_control_stream_ends_the_job() {
    let report = report("garbage", 3, 76);
    assert!(report.contains("makes no sense"), "{report}");
}

#[test]
fn survivors_are_told_before_they_are_ended() {
    // They leave with 0 without finalize, but only the first cause counts.
    let outcome = job("told", 3);
    assert_eq!(outcome.code, Some(7), "{}", outcome.stderr);
    assert_eq!(outcome.reports().len(), 1, "{}", outcome.stderr);
}

#[test]
fn addresses_are_found() {
    let outcome = job("lookup", 5);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn watchers_are_told_of_those_who_end_and_those_who_live_on() {
    let outcome = job("watch", 3);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert!(outcome.text().contains("both are gone"));
}
