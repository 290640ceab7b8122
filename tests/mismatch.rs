//! Ranks that call different collectives are told so, with both calls.

use std::time::Duration;

use phalanx::{Communicator, ErrorKind, Max, Result, Sum, threads};

/// Long enough for any machine; a hang ends here instead of never.
const WATCHDOG: Duration = Duration::from_secs(60);

/// The reasons that the ranks give, by rank; empty where a rank noticed nothing.
fn reasons(n: usize, program: impl Fn(&Communicator) -> Result<()> + Send + Sync) -> Vec<String> {
    threads(n, |world| {
        let world = world.with_timeout(WATCHDOG);
        let reason = match program(&world) {
            Ok(()) => String::new(),
            Err(error) => match error.kind() {
                ErrorKind::Mismatch { reason } => reason.clone(),
                // A rank that met nobody who disagrees sees the others leave.
                ErrorKind::PeerGone { .. } => String::new(),
                other => panic!("not a mismatch: {other:?}"),
            },
        };
        // The ranks leave together, so that nobody sees another one's end instead.
        std::thread::sleep(Duration::from_millis(100));
        Ok(reason)
    })
    .expect("errors are values here")
}

fn assert_both_named(reasons: &[String], one: &str, other: &str) {
    let told: Vec<_> = reasons.iter().filter(|reason| !reason.is_empty()).collect();
    assert!(!told.is_empty(), "nobody noticed");
    for reason in told {
        assert!(reason.contains(one) && reason.contains(other), "{reason}");
        assert!(reason.matches("mismatch.rs:").count() == 2, "{reason}");
    }
}

#[test]
fn another_operation_is_named_on_both_sides() {
    let reasons = reasons(3, |world| match world.rank() {
        1 => world.allreduce(1.0, Sum).map(|_| ()),
        _ => world.barrier(),
    });
    assert_both_named(&reasons, "barrier at", "rank 1: allreduce<f64>(1, sum) at");
}

#[test]
fn a_split_is_named_as_such() {
    let reasons = reasons(2, |world| match world.rank() {
        0 => world.split(Some(1), 0).map(|_| ()),
        _ => world.barrier(),
    });
    assert_both_named(&reasons, "rank 0: split", "rank 1: barrier at");
}

#[test]
fn another_count_type_or_operator_is_named_on_both_sides() {
    let counts = reasons(2, |world| {
        let mut elements = vec![0.0; 2 + world.rank()];
        world.allreduce_into(&mut elements, Sum)
    });
    assert_both_named(&counts, "allreduce<f64>(2, sum)", "allreduce<f64>(3, sum)");
    let types = reasons(2, |world| match world.rank() {
        0 => world.allreduce(1_u64, Sum).map(|_| ()),
        _ => world.allreduce(1_i64, Sum).map(|_| ()),
    });
    assert_both_named(&types, "allreduce<u64>", "allreduce<i64>");
    let operators = reasons(2, |world| match world.rank() {
        0 => world.allreduce(1, Sum).map(|_| ()),
        _ => world.allreduce(1, Max).map(|_| ()),
    });
    assert_both_named(&operators, "(1, sum)", "(1, max)");
}

#[test]
fn another_root_is_found_out_at_the_next_collective() {
    let reasons = reasons(3, |world| {
        world.bcast(1_u8, usize::from(world.rank() == 1))?;
        for _ in 0..20 {
            world.barrier()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    });
    assert_both_named(
        &reasons,
        "bcast_into<u8>(1, root 0)",
        "bcast_into<u8>(1, root 1)",
    );
}

#[test]
fn matching_programs_are_left_alone() {
    let reasons = reasons(4, |world| {
        for round in 0..200 {
            world.bcast(1_u8, round % 4)?;
            world.allreduce(1, Sum)?;
            world.dup().barrier()?;
        }
        Ok(())
    });
    assert!(reasons.iter().all(String::is_empty), "{reasons:?}");
}

#[test]
fn ranks_that_all_wait_and_send_nothing_find_out_after_a_while() {
    let reasons = reasons(3, |world| {
        let root = (world.rank() + 1) % 3;
        world.bcast_into(&mut [0_u8], root)
    });
    let told = reasons.iter().filter(|reason| !reason.is_empty());
    assert_eq!(told.count(), 3, "{reasons:?}");
    assert_both_named(
        &reasons,
        "rank 1: bcast_into<u8>(1, root 2)",
        "bcast_into<u8>(1, root ",
    );
}
