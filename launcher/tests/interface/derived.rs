//! Communicators derived from others, time limits, and the end.

use std::time::Duration;

use phalanx::{Communicator, ErrorKind, Result, Source, Sum, Tag};

pub(crate) fn check(world: &Communicator) -> Result<()> {
    duplicates(world)?;
    parts(world)?;
    parts_of_parts(world)?;
    several_threads(world)?;
    time_limits(world)?;
    progress(world)?;
    the_end(world)
}

/// The same ranks, tags and wildcards, and never each other's messages.
fn duplicates(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let copy = world.dup();
    assert_eq!((copy.rank(), copy.size()), (rank, size));
    assert_ne!(copy.name(), world.name());
    let right = (rank + 1) % size;
    copy.send(&[2_u8], right, 1)?;
    world.send(&[1_u8], right, 1)?;
    assert_eq!(world.recv_vec::<u8>(Source::Any, Tag::Any)?.0, [1]);
    assert_eq!(copy.recv_vec::<u8>(Source::Any, Tag::Any)?.0, [2]);
    let another = copy.dup();
    let pending = another.iallreduce(vec![rank], Sum)?;
    assert_eq!(copy.allreduce(1, Sum)?, size);
    assert_eq!(pending.wait()?, [size * (size - 1) / 2]);
    Ok(())
}

/// By colour, in the order of keys; without a colour in none.
fn parts(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let colour = (rank % 3 != 2).then_some(rank as u64 % 3);
    let part = world.split(colour, -(rank as i64))?;
    assert_eq!(part.is_some(), colour.is_some());
    let Some(part) = part else {
        return Ok(());
    };
    let mut members: Vec<usize> = (0..size).filter(|other| other % 3 == rank % 3).collect();
    members.reverse();
    assert_eq!(part.size(), members.len());
    assert_eq!(members[part.rank()], rank);
    for (inside, outside) in members.iter().enumerate() {
        assert_eq!(part.world_rank(inside), Some(*outside));
        assert!(part.host(inside).is_some());
    }
    assert_eq!(part.world_rank(members.len()), None);
    assert_eq!(part.allgather(&[rank])?, members);
    let right = (part.rank() + 1) % part.size();
    part.send(&[rank], right, 9)?;
    let (from, status) = part.recv_vec::<usize>(Source::Any, 9)?;
    assert_eq!(from, [members[status.source]]);
    let error = part.send(&[1], part.size(), 0).expect_err("outside");
    assert!(error.to_string().contains("colour"), "{error}");
    Ok(())
}

fn parts_of_parts(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let half = world.split(Some((rank * 2 / size) as u64), 0)?;
    let half = half.expect("all have a colour");
    let pairs = half.split(Some(half.rank() as u64 / 2), 0)?;
    let pairs = pairs.expect("all have a colour");
    assert!(pairs.size() <= 2);
    let sum = pairs.dup().allreduce(rank, Sum)?;
    let expected: usize = (0..pairs.size())
        .filter_map(|it| pairs.world_rank(it))
        .sum();
    assert_eq!(sum, expected);
    let all: usize = half.allreduce(1, Sum)?;
    assert_eq!(
        world.allreduce(usize::from(half.rank() == 0) * all, Sum)?,
        size
    );
    Ok(())
}

/// Threads of one rank, each with a communicator of its own.
fn several_threads(world: &Communicator) -> Result<()> {
    let copies = [world.dup(), world.dup(), world.dup()];
    let right = (world.rank() + 1) % world.size();
    std::thread::scope(|scope| {
        let workers = copies.map(|copy| {
            scope.spawn(move || -> Result<()> {
                for round in 0..50 {
                    copy.send(&[round], right, 1)?;
                    assert_eq!(copy.recv_vec::<i32>(Source::Any, 1)?.0, [round]);
                    assert_eq!(copy.allreduce(1, Sum)?, copy.size());
                }
                Ok(())
            })
        });
        let ends = workers.map(|worker| worker.join().expect("no panic"));
        ends.into_iter().collect()
    })
}

/// Each blocking call gives up; what was not received can still be.
fn time_limits(world: &Communicator) -> Result<()> {
    let copy = world.dup();
    let hurried = copy.with_timeout(Duration::from_millis(15));
    let right = (world.rank() + 1) % world.size();
    let mut buffer = [0_u8; 4];
    let timeout = |error: phalanx::Error| {
        assert_eq!(*error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains("derived.rs"), "{error}");
    };
    timeout(
        hurried
            .recv_into(&mut buffer, right, 1)
            .expect_err("nothing comes"),
    );
    timeout(
        hurried
            .recv_vec::<u8>(Source::Any, 1)
            .expect_err("nothing comes"),
    );
    timeout(hurried.recv_obj::<u8>(right, 1).expect_err("nothing comes"));
    timeout(hurried.probe(right, 1).expect_err("nothing comes"));
    timeout(
        hurried
            .irecv(vec![0_u8], right, 1)?
            .wait()
            .expect_err("nothing comes"),
    );
    let scoped = hurried.scope(|scope| scope.irecv_into(&mut buffer, right, 1).map(|_| ()));
    timeout(scoped.expect_err("nothing comes"));
    world.barrier()?;
    let long = vec![1_u8; 300_000];
    timeout(hurried.send(&long, right, 1).expect_err("nobody receives"));
    world.barrier()?;
    // None of those receives is still there to take this one.
    copy.send(&[4_u8; 4], right, 2)?;
    copy.recv_into(&mut buffer, Source::Any, 2)?;
    assert_eq!(buffer, [4; 4]);
    if world.size() > 1 {
        let apart = world.dup().with_timeout(Duration::from_millis(15));
        if world.rank() > 0 {
            timeout(apart.barrier().expect_err("rank 0 does not come"));
        }
        world.barrier()?;
    }
    Ok(())
}

/// A rank that computes can let the others go on.
fn progress(world: &Communicator) -> Result<()> {
    world.progress(Duration::from_secs(3600), || true);
    let right = (world.rank() + 1) % world.size();
    let pending = world.isend(vec![1_u8; 300_000], right, 20)?;
    let arrived = world.irecv_vec::<u8>(Source::Any, 20)?;
    assert_eq!(arrived.wait()?.0.len(), 300_000);
    pending.wait().map(|_| ())
}

fn the_end(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    // The last thing that this rank says is still heard.
    let last = world.dup();
    last.send(&[rank], (rank + 1) % size, 1)?;
    last.recv_vec::<usize>((rank + size - 1) % size, 1)?;
    Ok(())
}
