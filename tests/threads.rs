//! Ranks as threads of the program that calls: results, errors and panics come back to it.

use phalanx::{Communicator, ErrorKind, Result, Source, threads};

#[test]
fn results_come_in_the_order_of_the_ranks() {
    for n in [1, 2, 7, 33] {
        let squares = threads(n, |world| Ok(world.rank() * world.rank())).expect("no rank fails");
        assert_eq!(squares, (0..n).map(|rank| rank * rank).collect::<Vec<_>>());
    }
    let error = threads(0, |_| Ok(())).expect_err("no ranks");
    assert!(matches!(error.kind(), ErrorKind::Start { .. }), "{error}");
}

#[test]
fn a_panic_of_a_rank_is_an_error_with_its_message_and_ends_the_others_waits() {
    let error = threads(3, |world| -> Result<()> {
        if world.rank() == 1 {
            let _never = world.isend(vec![1_u8; 1 << 20], 0, 9)?;
            // Not `panic!`, which would also print.
            std::panic::resume_unwind(Box::new("out of ink"));
        }
        let error = world.recv_vec::<u8>(1, 1).expect_err("rank 1 is gone");
        let ErrorKind::PeerGone { world_rank, cause } = error.kind() else {
            panic!("{error}");
        };
        assert_eq!(*world_rank, 1);
        assert!(cause.contains("out of ink"), "{error}");
        Err(error)
    });
    let message = error.expect_err("rank 1 panicked").to_string();
    assert!(message.contains("rank 1 panicked: out of ink"), "{message}");
}

#[test]
fn a_rank_that_has_finalized_and_is_waited_for_is_a_mismatch_as_under_the_launcher() {
    let error = threads(3, |world| match world.rank() {
        1 => Ok(()),
        _ => world.barrier(),
    });
    let error = error.expect_err("rank 1 does not come");
    let ErrorKind::Mismatch { reason } = error.kind() else {
        panic!("{error}");
    };
    assert!(reason.contains("rank 1"), "{error}");
    assert_eq!(error.operation(), "barrier");
    assert!(error.site().is_some(), "{error}");
    let error = threads(2, |world| match world.rank() {
        0 => Ok(()),
        _ => world.recv_vec::<u8>(0, 1).map(|_| ()),
    });
    let error = error.expect_err("rank 0 sends nothing");
    assert!(
        matches!(error.kind(), ErrorKind::Mismatch { .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("rank 0 finalized after no collective"),
        "{error}"
    );
}

#[test]
fn the_first_error_is_the_one_that_is_given() {
    let error = threads(4, |world| match world.rank() {
        2 => world.send(&[1], 99, 0),
        _ => world.recv_vec::<u8>(Source::Any, 1).map(|_| ()),
    });
    let error = error.expect_err("rank 2 fails");
    let expected = ErrorKind::InvalidRank { rank: 99, size: 4 };
    assert_eq!(*error.kind(), expected, "{error}");
}

#[test]
fn jobs_run_beside_each_other_and_inside_each_other() {
    let sums = threads(2, |outer| {
        let inner = threads(3, |world| world.allreduce(world.rank() + 1, phalanx::Sum))?;
        outer.allreduce(inner[0], phalanx::Sum)
    });
    assert_eq!(sums.expect("no rank fails"), [12, 12]);
}

#[test]
fn a_communicator_can_be_shared_sent_and_cloned() {
    fn is_shareable<T: Send + Sync + Clone>() {}
    is_shareable::<Communicator>();
    let received = threads(2, |world| {
        if world.rank() == 0 {
            return world.send(&[5_u8], 1, 1).map(|()| 5);
        }
        let copy = world.clone();
        drop(world); // The copy is enough to stay in the job.
        let elsewhere = std::thread::spawn(move || copy.recv_vec::<u8>(0, 1));
        let (elements, _) = elsewhere.join().expect("no panic")?;
        Ok(elements[0])
    });
    assert_eq!(received.expect("no rank fails"), [5, 5]);
}

#[test]
fn an_error_of_an_exchange_names_the_call_that_the_program_made() {
    let here = file!();
    threads(1, |world| {
        let mut real = [0.0_f64];
        let error = world
            .sendrecv_into(&[1_u64], 0, 0, &mut real, 0, 0)
            .expect_err("integers are no real numbers");
        assert_eq!(error.operation(), "sendrecv_into");
        assert_eq!(error.site().map(std::panic::Location::file), Some(here));
        Ok(())
    })
    .expect("the exchange fails, and nothing else");
}
