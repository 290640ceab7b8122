//! Ranks that go on after others have failed. The classes are those of the tests of ULFM: errors are
//! returned where the failed rank is needed and nowhere else, nothing blocks, agreements are the same
//! everywhere, and what is left can be shrunk until one rank remains.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{TRANSPORTS, leave, part, run_part};
use phalanx::{Communicator, Error, ErrorKind, Policy, Result, Source, Sum, Tag, ordered};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(120);
/// Longer than any message that is sent at once.
const LONG: usize = 1 << 18;

type Part = fn(&Communicator) -> Result<()>;

/// Name, ranks, and what they do.
const PARTS: &[(&str, usize, Part)] = &[
    ("shrink", 5, shrink),
    ("insulation", 4, insulation),
    ("any source", 3, any_source),
    ("revoke", 3, revoke),
    ("agree", 4, agree),
    ("until one", 5, until_one),
    ("in an agreement", 4, in_an_agreement),
    ("messages to the dead", 3, messages_to_the_dead),
    ("forgotten", 3, forgotten),
    ("early revocation", 2, early_revocation),
    ("in a long sum", 2, in_a_long_sum),
    ("in a chain", 5, in_a_chain),
];

#[test]
fn ranked_program() {
    let Some(part) = part() else {
        return; // This process is the one that tests.
    };
    let (.., play) = PARTS
        .iter()
        .find(|(name, ..)| *name == part)
        .expect("a part");
    leave(phalanx::run(|world| {
        world.set_policy(Policy::Return)?;
        // A barrier could fail here: who leaves it first may die before it is over for the others.
        world.agree(0)?;
        play(&world)?;
        println!("{part}: rank {} is well", world.rank());
        world.finalize()
    }))
}

/// Plays a part over every transport: `dead` ranks are killed, the others end well.
fn everywhere(part: &str, dead: usize) {
    for &transport in TRANSPORTS {
        if !transport.1.contains(&"threads") {
            play(part, dead, transport);
        }
    }
}

fn play(part: &str, dead: usize, (transport, words): (&str, &[&str])) {
    let (_, ranks, _) = PARTS
        .iter()
        .find(|(name, ..)| *name == part)
        .expect("a part");
    let outcome = run_part(part, *ranks, words, LIMIT);
    let text = outcome.text();
    let well = text.matches("is well").count();
    let told = outcome.stderr.matches("was killed by signal 9").count();
    assert!(
        well == ranks - dead && outcome.code == Some(0) && told == dead,
        "{part} over {transport}: code {:?}, {well} are well, {told} deaths told\n{text}\n{}",
        outcome.code,
        outcome.stderr
    );
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).expect("it may");
    unreachable!("nobody survives that")
}

fn is_gone(error: &Error, rank: usize) -> bool {
    matches!(error.kind(), ErrorKind::PeerGone { world_rank, .. } if *world_rank == rank)
}

fn is_failure(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PeerGone { .. } | ErrorKind::Revoked
    )
}

/// Works until something fails, then goes on with those who live.
fn work_and_shrink(comm: &Communicator) -> Result<Communicator> {
    loop {
        match comm.allreduce(1_usize, Sum) {
            Ok(ranks) => assert_eq!(ranks, comm.size()),
            Err(error) => {
                assert!(is_failure(&error), "{error}");
                comm.revoke();
                return comm.shrink();
            }
        }
    }
}

fn shrink(world: &Communicator) -> Result<()> {
    if [1, 3].contains(&world.rank()) {
        for _ in 0..world.rank() * 10 {
            if world.allreduce(1_usize, Sum).is_err() {
                break;
            }
        }
        die();
    }
    let mut comm = world.clone();
    while comm.size() > 3 {
        comm = work_and_shrink(&comm)?;
    }
    let worlds: Vec<_> = (0..3).map(|rank| comm.world_rank(rank)).collect();
    assert_eq!(worlds, [Some(0), Some(2), Some(4)]);
    assert_eq!(comm.allreduce(world.rank(), Sum)?, 6);
    let blocks = comm.allgather(&[comm.rank(); 2])?;
    assert_eq!(blocks, [0, 0, 1, 1, 2, 2]);
    let error = world.barrier().expect_err("a member is dead");
    assert!(is_failure(&error), "{error}");
    Ok(())
}

fn insulation(world: &Communicator) -> Result<()> {
    let colour = (world.rank() % 2) as u64;
    let half = world.split(Some(colour), 0)?.expect("it has a colour");
    world.agree(0)?;
    if world.rank() == 1 {
        die();
    }
    if world.rank() == 3 {
        let error = half
            .recv_vec::<u8>(0, 0)
            .expect_err("the other one is dead");
        assert!(is_gone(&error, 1), "{error}");
        return Ok(());
    }
    let other = 1 - half.rank();
    for round in 0..2000_usize {
        assert_eq!(half.allreduce(round, Sum)?, 2 * round);
        if half.rank() == 0 {
            half.send(&[round], other, 1)?;
        } else {
            let (got, _) = half.recv_vec::<usize>(Source::Any, Tag::Any)?;
            assert_eq!(got, [round]);
        }
    }
    assert_eq!(half.failed(), []);
    Ok(())
}

fn any_source(world: &Communicator) -> Result<()> {
    match world.rank() {
        2 => die(),
        1 => {
            // Not before the other one knows.
            world.recv_vec::<u8>(0, 1)?;
            world.send(&[7_u8], 0, 2)
        }
        _ => {
            let error = world
                .recv_vec::<u8>(Source::Any, 2)
                .expect_err("a sender is dead");
            assert!(is_gone(&error, 2), "{error}");
            let error = world
                .irecv(vec![0_u8; 1], Source::Any, 2)
                .and_then(|pending| pending.wait())
                .expect_err("it is not acknowledged");
            assert!(is_gone(&error, 2), "{error}");
            assert_eq!(world.failed(), [2]);
            assert_eq!(world.acknowledge_failed(), [2]);
            world.send(&[1_u8], 1, 1)?;
            let (got, status) = world.recv_vec::<u8>(Source::Any, 2)?;
            assert_eq!((got, status.source), (vec![7], 1));
            let error = world.barrier().expect_err("collectives still fail");
            assert!(is_gone(&error, 2), "{error}");
            Ok(())
        }
    }
}

fn revoke(world: &Communicator) -> Result<()> {
    let comm = world.dup();
    if world.rank() == 2 {
        // The others wait by now, or will see it when they begin to.
        std::thread::sleep(Duration::from_millis(100));
        comm.send(&[3_u8], 1, 5)?;
        comm.revoke();
    } else {
        let pending = comm.irecv(vec![0_u8; 4], 2, 9)?;
        let long = comm.isend(vec![0_u8; LONG], 1 - world.rank(), 8)?;
        let error = match world.rank() {
            0 => comm.barrier().expect_err("revoked"),
            _ => comm.recv_vec::<u8>(2, 9).map(|_| ()).expect_err("revoked"),
        };
        assert_eq!(*error.kind(), ErrorKind::Revoked);
        for error in [
            pending.wait().map(|_| ()).expect_err("revoked"),
            long.wait().map(|_| ()).expect_err("nobody received it"),
        ] {
            assert_eq!(*error.kind(), ErrorKind::Revoked);
        }
    }
    assert!(comm.is_revoked());
    let error = comm.send(&[1_u8], 0, 0).expect_err("revoked");
    assert_eq!(*error.kind(), ErrorKind::Revoked);
    assert_eq!(
        world.allreduce(1_usize, Sum)?,
        3,
        "the world is not concerned"
    );
    let again = comm.shrink()?;
    assert_eq!(again.size(), 3);
    assert_eq!(again.allreduce(1_usize, Sum)?, 3);
    Ok(())
}

fn agree(world: &Communicator) -> Result<()> {
    let before = world.agree(!(1 << world.rank()))?;
    assert_eq!((before.flags, before.failed), (!0b1111, vec![]));
    if world.rank() == 2 {
        die();
    }
    let after = world.agree(0b111 ^ world.rank() as u64 & 1)?;
    assert_eq!((after.flags, after.failed), (0b110, vec![2]));
    assert_eq!(world.failed(), [2]);
    world.revoke();
    let last = world.agree(5)?;
    assert_eq!((last.flags, last.failed), (5, vec![2]));
    Ok(())
}

fn until_one(world: &Communicator) -> Result<()> {
    let mut comm = world.clone();
    loop {
        let size = comm.size();
        assert_eq!(comm.allreduce(1_usize, Sum)?, size);
        // Nobody dies before all have seen that.
        comm.agree(0)?;
        if size == 1 {
            return Ok(());
        }
        if comm.rank() == size - 1 {
            die();
        }
        comm = work_and_shrink(&comm)?;
        assert_eq!(comm.size(), size - 1);
    }
}

fn in_an_agreement(world: &Communicator) -> Result<()> {
    if world.rank() == 3 {
        let world = world.clone();
        std::thread::spawn(move || world.agree(1));
        std::thread::sleep(Duration::from_millis(100));
        die();
    }
    if world.rank() == 1 {
        std::thread::sleep(Duration::from_millis(300));
    }
    let agreed = world.agree(3)?;
    assert_eq!(agreed.failed, [3]);
    let comm = world.shrink()?;
    assert_eq!(comm.allreduce(agreed.flags, Sum)?, 3 * agreed.flags);
    Ok(())
}

fn messages_to_the_dead(world: &Communicator) -> Result<()> {
    if world.rank() == 1 {
        die();
    }
    let long = vec![1_u8; LONG];
    let pending = world.isend(long.clone(), 1, 0);
    if world.rank() == 0 {
        let error = world.send(&long, 1, 0).expect_err("it is dead");
        assert!(is_gone(&error, 1), "{error}");
    }
    if let Ok(pending) = pending {
        let error = pending.wait().expect_err("it is dead");
        assert!(is_gone(&error, 1), "{error}");
    }
    // Short messages may vanish before the death is known, but not for ever.
    while world.send(&[1_u8], 1, 0).is_ok() {}
    let other = 2 - world.rank();
    let (got, _) = {
        let sent = world.isend(long.clone(), other, 3)?;
        let got = world.recv_vec::<u8>(other, 3)?;
        sent.wait()?;
        got
    };
    assert_eq!(got, long);
    Ok(())
}

fn forgotten(world: &Communicator) -> Result<()> {
    let comm = world.dup();
    if world.rank() == 2 {
        die();
    }
    drop(comm.ibarrier());
    drop(comm.irecv(vec![0_u8; 1], Source::Any, 0));
    drop(comm.isend(vec![0_u8; LONG], 1 - world.rank(), 0));
    comm.revoke();
    world.shrink()?.barrier()
}

fn early_revocation(world: &Communicator) -> Result<()> {
    if world.rank() == 0 {
        world.dup().revoke();
        world.send(&[0_u8], 1, 0)?;
    } else {
        world.recv_vec::<u8>(0, 0)?;
        std::thread::sleep(Duration::from_millis(50));
        while world.iprobe(0, 9)?.is_some() {}
        let comm = world.dup();
        while !comm.is_revoked() {
            std::thread::yield_now();
        }
        let error = comm.barrier().expect_err("revoked");
        assert_eq!(*error.kind(), ErrorKind::Revoked);
    }
    world.barrier()
}

#[test]
fn those_who_live_go_on_in_a_smaller_communicator() {
    everywhere("shrink", 2);
}

#[test]
fn communicators_without_the_dead_are_not_disturbed() {
    everywhere("insulation", 1);
}

/// One rank dies when it has done all that it can for a sum, while the other one is still at work on its memory.
fn in_a_long_sum(world: &Communicator) -> Result<()> {
    static KILLED: AtomicBool = AtomicBool::new(false);
    let mut process = [0_u32];
    if world.rank() == 0 {
        world.send(&[std::process::id()], 1, 0)?;
    } else {
        world.recv_into(&mut process, 0, 0)?;
    }
    let [process] = process;
    // It ends between the moment when its part of the sum was read and when the result is written.
    let operator = ordered(move |a: u64, b: u64| {
        if process != 0 && !KILLED.swap(true, Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            let victim = Pid::from_raw(process as i32).expect("it is one");
            kill_process(victim, Signal::KILL).expect("it runs");
            while has_memory(process) {
                std::thread::yield_now();
            }
        }
        a + b
    });
    let error = world.allreduce_into(&mut vec![1; LONG], operator);
    let error = error.expect_err("the other one is dead");
    assert!(is_gone(&error, 0), "{error}");
    world.revoke();
    assert_eq!(world.shrink()?.size(), 1);
    Ok(())
}

/// Where ranks outnumber cores one of them dies in the middle of adding its part to what the others have added.
fn in_a_chain(world: &Communicator) -> Result<()> {
    static ADDED: AtomicUsize = AtomicUsize::new(0);
    let dies = world.rank() == 2;
    let operator = ordered(move |a: u64, b: u64| {
        if dies && ADDED.fetch_add(1, Ordering::Relaxed) == LONG / 3 {
            die();
        }
        a + b
    });
    let error = world.allreduce_into(&mut vec![1; LONG], operator);
    let error = error.expect_err("one is dead");
    assert!(is_gone(&error, 2), "{error}");
    let fewer = world.shrink()?;
    let mut sum = vec![1_u64; LONG];
    fewer.allreduce_into(&mut sum, Sum)?;
    assert_eq!(sum, [4; LONG]);
    Ok(())
}

/// Whether a process has not ended.
fn has_memory(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    status.is_ok_and(|status| status.contains("VmSize"))
}

#[test]
fn receives_from_any_source_fail_until_the_dead_are_acknowledged() {
    everywhere("any source", 1);
}

#[test]
fn a_revocation_interrupts_everything_on_its_communicator() {
    everywhere("revoke", 0);
}

#[test]
fn agreements_are_the_same_on_all_ranks() {
    everywhere("agree", 1);
}

#[test]
fn ranks_can_die_until_one_is_left() {
    everywhere("until one", 4);
}

#[test]
fn a_death_in_an_agreement_does_not_hold_it_up() {
    everywhere("in an agreement", 1);
}

#[test]
fn messages_to_the_dead_fail_and_others_arrive() {
    everywhere("messages to the dead", 1);
}

#[test]
fn what_nobody_waits_for_does_not_hold_the_end_up() {
    everywhere("forgotten", 1);
}

#[test]
fn who_dies_in_a_long_sum_is_gone_for_the_one_that_is_at_work_on_it() {
    play("in a long sum", 1, TRANSPORTS[0]);
}

#[test]
fn who_dies_while_it_adds_to_the_sum_of_all_is_gone_for_all() {
    play("in a chain", 1, TRANSPORTS[0]);
}

#[test]
fn a_revocation_may_come_before_the_communicator() {
    everywhere("early revocation", 0);
}
