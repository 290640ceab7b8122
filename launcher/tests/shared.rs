//! What can go wrong between ranks that share memory: calls that do not match, ranks that leave or die in
//! the middle, a launcher that is killed. Each ends in an error that names both sides, or ends everything.

mod common;

use std::process::Command;
use std::time::Duration;

use common::{Mark, Outcome, Running, leave, part, phalanx, run_part};
use phalanx::{Communicator, Result, Source, Sum, ordered};
use rustix::process::{Pid, Signal, kill_process};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(60);
const SHARED: &[&str] = &["--transport", "shm"];
/// The code of a job whose ranks called different collectives.
const MISMATCH: i32 = 73;

#[test]
fn ranked_program() {
    let Some(part) = part() else {
        return; // This process is the one that tests.
    };
    leave(phalanx::run(|world| match part.as_str() {
        "roots of bcast" => bcast(&world, world.rank()).and_then(|()| wait(&world)),
        "roots of reduce" => reduce(&world, 1 - world.rank()).and_then(|()| wait(&world)),
        "givers" => match world.rank() {
            0 => reduce(&world, 1),
            _ => bcast(&world, 1),
        }
        .and_then(|()| wait(&world)),
        "runs ahead" => runs_ahead(&world),
        "crowd" => crowd(&world),
        "chain" => chain(&world),
        "from the left" => from_the_left(&world),
        "messages" => match world.rank() {
            0 => world.barrier(),
            _ => world.scan(1_u8, Sum).map(|_| ()),
        },
        "early" => match world.rank() {
            1 => Ok(()),
            _ => world.barrier(),
        },
        "ping-pong" => ping_pong(&world),
        "blocked" => blocked(&world),
        other => panic!("there is no part {other}"),
    }))
}

fn bcast(world: &Communicator, root: usize) -> Result<()> {
    let mut value = [world.rank() as u64; 3];
    world.bcast_into(&mut value, root)
}

fn reduce(world: &Communicator, root: usize) -> Result<()> {
    world.reduce(world.rank(), Sum, root).map(|_| ())
}

/// A rank that is there to say what it has called.
fn wait(world: &Communicator) -> Result<()> {
    world.recv_vec::<u8>(Source::Any, 1).map(|_| ())
}

/// Rank 1 calls something that waits for nobody, several times; rank 0 something else.
fn runs_ahead(world: &Communicator) -> Result<()> {
    if world.rank() == 0 {
        return world.allreduce(1.5, Sum).map(|_| ());
    }
    for _ in 0..10 {
        bcast(world, 1)?;
    }
    Ok(())
}

fn ping_pong(world: &Communicator) -> Result<()> {
    println!("up: {}", world.rank());
    let other = 1 - world.rank();
    loop {
        world.send(&[1_u8], other, 1)?;
        world.recv_vec::<u8>(other, 1)?;
    }
}

/// Rank 1 says which process it is, and waits for nobody; the others wait for it.
fn blocked(world: &Communicator) -> Result<()> {
    if world.rank() == 1 {
        println!("up: {}", std::process::id());
        std::thread::sleep(4 * LIMIT);
    }
    world.barrier()
}

/// Many ranks agree for a while.
fn crowd(world: &Communicator) -> Result<()> {
    for _ in 0..100 {
        world.barrier()?;
    }
    match world.rank() {
        3 => world.allreduce(1.0, Sum).map(|_| ()),
        _ => world.barrier(),
    }
    .and_then(|()| wait(world))
}

/// Many ranks add long contributions, and one of them not as many as the others.
fn chain(world: &Communicator) -> Result<()> {
    for count in [100_000, 100_000 - usize::from(world.rank() == 2)] {
        world.allreduce_from(&vec![1.0; count], &mut vec![0.0; count], Sum)?;
    }
    wait(world)
}

/// What a rank adds: terms whose sum is rounded otherwise in every other order.
fn term(rank: usize, index: usize) -> f64 {
    let digits = ((rank * 31 + index * 7) % 1009) as f64;
    (digits + 0.1) * 10_f64.powi((rank % 5) as i32 * 3)
}

/// Long sums have the bits of sums from the left, wherever parts end and whoever comes first.
fn from_the_left(world: &Communicator) -> Result<()> {
    let (rank, ranks) = (world.rank(), world.size());
    let tangle = |a: u64, b: u64| a.wrapping_mul(31).wrapping_add(b);
    for count in [2049, 8192, 30_001, 131_075] {
        let terms = |rank| (0..count).map(move |index| term(rank, index));
        let mine: Vec<f64> = terms(rank).collect();
        let mut expected: Vec<f64> = terms(0).collect();
        for other in 1..ranks {
            let next = terms(other);
            expected.iter_mut().zip(next).for_each(|(a, b)| *a += b);
        }
        let bits = |values: &[f64]| values.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
        for round in 0..3 {
            let mut sums = vec![0.0; count];
            world.allreduce_from(&mine, &mut sums, Sum)?;
            assert!(bits(&sums) == bits(&expected), "{count} in round {round}");
            let mut sums = mine.clone();
            world.allreduce_into(&mut sums, Sum)?;
            assert!(
                bits(&sums) == bits(&expected),
                "{count} in place in round {round}"
            );
        }
        let mut tangled: Vec<u64> = terms(rank).map(f64::to_bits).collect();
        world.allreduce_into(&mut tangled, ordered(tangle))?;
        let wanted = |index| {
            let terms = (0..ranks).map(|rank| term(rank, index).to_bits());
            terms.reduce(tangle)
        };
        assert!(
            (0..count).all(|index| Some(tangled[index]) == wanted(index)),
            "{count}"
        );
    }
    Ok(())
}

fn mismatch(part: &str, ranks: usize, one: &str, other: &str) {
    for _ in 0..5 {
        let outcome = run_part(part, ranks, SHARED, LIMIT);
        let Outcome { code, stderr, .. } = &outcome;
        assert_eq!(*code, Some(MISMATCH), "{part}: {stderr}");
        assert!(stderr.contains(one), "{part}: {one}: {stderr}");
        assert!(stderr.contains(other), "{part}: {other}: {stderr}");
    }
}

#[test]
fn ranks_that_are_all_roots_are_told_so() {
    let root = |root: usize| format!("rank {root}: bcast_into<u64>(3, root {root})");
    mismatch("roots of bcast", 2, &root(0), &root(1));
}

#[test]
fn ranks_that_are_no_roots_are_told_so() {
    let root = |rank: usize| format!("rank {rank}: reduce<usize>(1, sum, root {})", 1 - rank);
    mismatch("roots of reduce", 2, &root(0), &root(1));
}

#[test]
fn ranks_that_only_give_are_told_that_they_call_different_operations() {
    mismatch(
        "givers",
        2,
        "rank 0: reduce<usize>",
        "rank 1: bcast_into<u64>",
    );
}

#[test]
fn a_rank_that_runs_ahead_is_named() {
    mismatch(
        "runs ahead",
        2,
        "rank 0: allreduce<f64>",
        "rank 1: bcast_into<u64>",
    );
}

#[test]
fn a_collective_of_messages_is_told_from_one_of_memory() {
    mismatch("messages", 3, "rank 0: barrier", ": scan<u8>");
}

#[test]
fn one_of_many_that_calls_something_else_is_named() {
    for ranks in [5, 20] {
        mismatch("crowd", ranks, "rank 3: allreduce<f64>", ": barrier");
    }
}

#[test]
fn one_of_many_that_adds_something_else_is_named() {
    let (one, other) = ("rank 2: allreduce<f64>(99999", ": allreduce<f64>(100000");
    for ranks in [5, 20] {
        mismatch("chain", ranks, one, other);
    }
}

#[test]
fn long_sums_have_the_bits_of_sums_from_the_left() {
    for ranks in [2, 3, 5, 12] {
        let outcome = run_part("from the left", ranks, SHARED, LIMIT);
        assert_eq!(outcome.code, Some(0), "{ranks}: {}", outcome.stderr);
    }
}

#[test]
fn a_rank_that_leaves_before_a_meeting_is_named() {
    let outcome = run_part("early", 3, SHARED, LIMIT);
    let (code, stderr) = (outcome.code, &outcome.stderr);
    assert!(code.is_some_and(|code| code != 0), "{stderr}");
    assert!(stderr.contains("rank 1"), "{stderr}");
    assert!(stderr.contains("finalized"), "{stderr}");
}

/// Ranks that play a part as children of shells, which do something else afterwards.
fn nested(part: &str, ranks: &str, mark: &Mark, afterwards: &str) -> Command {
    let program = std::env::current_exe().expect("this program has a path");
    let script = format!("\"$0\" --exact ranked_program --nocapture; {afterwards}");
    let part = format!("PHALANX_TEST_PART={part}");
    let mut command = phalanx(&["run", "-n", ranks, "--transport", "shm"]);
    command.args([
        "--env",
        mark.variable(),
        "--env",
        &part,
        "sh",
        "-c",
        &script,
    ]);
    command.arg(program);
    command
}

/// The next words of a rank that says that it is up.
fn up(running: &mut Running) -> String {
    loop {
        let line = running.lines(1).remove(0);
        if let Some((_, words)) = line.split_once("up: ") {
            return words.to_owned();
        }
    }
}

/// Ranks that are not children of the daemon, and that always have something to do.
#[test]
fn busy_grandchildren_end_with_launcher_and_daemon() {
    let mark = Mark::new();
    let mut running = Running::start(nested("ping-pong", "2", &mark, "true"));
    let mut ranks = [up(&mut running), up(&mut running)];
    ranks.sort();
    assert_eq!(ranks, ["0", "1"]);
    // Neither the launcher nor the daemon is left to end them.
    let daemon = running.daemon();
    kill_process(daemon, Signal::STOP).expect("it runs");
    running.signal(Signal::KILL);
    kill_process(daemon, Signal::KILL).expect("it runs");
    running.finish();
    mark.assert_gone();
}

/// The shell that the daemon started lives on when the rank in it is killed.
#[test]
fn a_grandchild_that_is_killed_is_missed() {
    let mark = Mark::new();
    let mut running = Running::start(nested(
        "blocked",
        "3",
        &mark,
        "[ $PHALANX_RANK = 1 ] && sleep 600",
    ));
    let rank = up(&mut running).parse().ok().and_then(Pid::from_raw);
    kill_process(rank.expect("a process"), Signal::KILL).expect("it runs");
    let outcome = running.finish();
    let (code, stderr) = (outcome.code, &outcome.stderr);
    assert!(code.is_some_and(|code| code != 0), "{stderr}");
    assert!(stderr.contains("rank 1"), "{stderr}");
    mark.assert_gone();
}

#[test]
fn a_small_limit_of_file_sizes_keeps_nobody_from_running() {
    let launcher = env!("CARGO_BIN_EXE_phalanx");
    let script = format!("ulimit -f 8; exec {launcher} run -n 2 echo here");
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let outcome = Running::start(command).finish();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.sorted_lines(), ["here"; 2]);
}
