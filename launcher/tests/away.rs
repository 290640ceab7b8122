//! A rank that has begun to send and does something else holds nobody up: through shared memory the receiver
//! takes a long message from where it lies.

mod common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{leave, part, run_part};
use phalanx::{Communicator, Result};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(120);
/// So long the sender computes at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the receiver leaves its mark.
const MARK: &str = "PHALANX_TEST_MARK";
const ELEMENTS: usize = 300_000;

#[test]
fn ranked_program() {
    if part().is_none() {
        return; // This process is the one that tests.
    }
    let mark = PathBuf::from(std::env::var_os(MARK).expect("a path"));
    leave(phalanx::run(|world| {
        for round in 0..5 {
            if world.rank() == 0 {
                compute_meanwhile(&world, round, &mark.with_extension(round.to_string()))?;
            } else {
                let (elements, _) = world.recv_vec::<u64>(0, 1)?;
                assert!(elements == vec![round; ELEMENTS]);
                std::fs::write(mark.with_extension(round.to_string()), "").expect("writes");
            }
            world.barrier()?;
        }
        println!("rank {} is well", world.rank());
        world.finalize()
    }))
}

/// Sends, and is in no call of the library until the receiver has what was sent.
fn compute_meanwhile(world: &Communicator, round: u64, mark: &std::path::Path) -> Result<()> {
    let sending = world.isend(vec![round; ELEMENTS], 1, 1)?;
    let begun = Instant::now();
    while !mark.exists() {
        assert!(
            begun.elapsed() < PATIENCE,
            "the receiver waits for the sender"
        );
        std::thread::sleep(Duration::from_micros(100));
    }
    sending.wait().map(drop)
}

#[test]
fn a_sender_that_computes_holds_no_receiver_up() {
    let folder = std::env::temp_dir().join(format!("phalanx-away-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    let variable = format!("{MARK}={}", folder.join("mark").display());
    let words = ["--transport", "shm", "--env", &variable];
    let outcome = run_part("away", 2, &words, LIMIT);
    std::fs::remove_dir_all(&folder).expect("removes");
    let text = outcome.text();
    assert!(
        text.matches("is well").count() == 2 && outcome.code == Some(0),
        "code {:?}\n{text}\n{}",
        outcome.code,
        outcome.stderr
    );
}
