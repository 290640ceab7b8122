//! Mistakes of a program in its calls: each is one line that names the call and says what to do, the
//! exit code is not 0, and nothing hangs.
//!
//! The ranks are this test program itself, which then runs only [`mistaken_program`], with the real
//! library.

mod common;

use std::process::ExitCode;

use common::{Mark, run};
use phalanx::{Communicator, Result, Tag};

/// Says which mistake to make.
const MISTAKE: &str = "PROGRAM_MISTAKE";

/// The last rank makes the mistake; the others wait for it.
fn program(mistake: &str, world: &Communicator) -> Result<()> {
    let last = world.size() - 1;
    if world.rank() == last {
        match mistake {
            "send to a rank" => world.send(&[1_u8], 3, 0)?,
            "receive from a rank" => drop(world.recv_vec::<u8>(7, 0)?),
            "root" => world.bcast_into(&mut [1], 3)?,
            "tag" => world.send(&[1_u8], 0, -1)?,
            "tag of a receive" => drop(world.recv_vec::<u8>(0, -2)?),
            "any tag" => world.send(&[1_u8], 0, Tag::Any)?,
            "type" => {
                world.send(&[1.0_f64], last, 5)?;
                drop(world.recv_vec::<i32>(last, 5)?);
            }
            "buffer" => {
                world.send(&[1_u32; 8], last, 5)?;
                let _ = world.recv_into(&mut [0_u32; 4], last, 5)?;
            }
            other => panic!("{other}"),
        }
    }
    // What the others wait for.
    world.barrier()
}

#[test]
fn mistaken_program() {
    if let Ok(mistake) = std::env::var(MISTAKE) {
        let code = phalanx::run(|world| program(&mistake, &world));
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
}

#[test]
fn mistakes_are_told_in_one_line_that_says_what_to_do() {
    for (mistake, says) in [
        (
            "send to a rank",
            "send: there is no rank 3: ranks go from 0 to 2",
        ),
        (
            "receive from a rank",
            "recv_vec: there is no rank 7: ranks go from 0 to 2",
        ),
        (
            "root",
            "bcast_into: there is no rank 3: ranks go from 0 to 2",
        ),
        (
            "tag",
            "send: tag -1 is out of range: tags go from 0 to 2^63-1",
        ),
        (
            "tag of a receive",
            "recv_vec: tag -2 is out of range: tags go from 0 to 2^63-1",
        ),
        ("any tag", "send: Tag::Any is for receiving"),
        (
            "type",
            "recv_vec: the message does not hold elements of type i32",
        ),
        (
            "buffer",
            "recv_into: the message has 8 elements, the buffer holds 4: give a larger",
        ),
    ] {
        for style in ["processes", "threads"] {
            let mark = Mark::new();
            let environment = format!("{MISTAKE}={mistake}");
            let program = std::env::current_exe().expect("has a path");
            let outcome = run(&[
                "run",
                "-n",
                "3",
                "--as",
                style,
                "--env",
                &environment,
                "--env",
                mark.variable(),
                program.to_str().expect("UTF-8"),
                "--exact",
                "mistaken_program",
                "--nocapture",
                "--test-threads=1",
            ]);
            mark.assert_gone();
            assert_eq!(outcome.code, Some(1), "{mistake}: {}", outcome.stderr);
            let lines: Vec<&str> = outcome.stderr.lines().collect();
            // The threads' program says it, and the launcher how that program ended.
            let count = if style == "threads" { 2 } else { 1 };
            assert_eq!(lines.len(), count, "{mistake}: {}", outcome.stderr);
            assert!(lines[0].contains("rank 2"), "{mistake}: {}", lines[0]);
            assert!(lines[0].contains(says), "{mistake}: {}", lines[0]);
            assert!(lines[0].contains("mistakes.rs:"), "{mistake}: {}", lines[0]);
        }
    }
}
