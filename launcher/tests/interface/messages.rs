//! Messages that block: every shape of send and receive, order, wildcards, probes, objects, errors.

use std::time::Duration;

use phalanx::{Communicator, ErrorKind, Result, Source, Tag};

use super::collectives::{COUNTS, Element, part};

pub(crate) fn check(world: &Communicator) -> Result<()> {
    shapes::<u8>(world)?;
    shapes::<f64>(world)?;
    shapes::<[i16; 3]>(world)?;
    // Wildcards must not catch what a faster rank already sends for the next part.
    around(&world.dup())?;
    wildcards(&world.dup())?;
    order(&world.dup())?;
    probes(&world.dup())?;
    objects(world)?;
    wrong_arguments(world);
    wrong_messages(world)?;
    synchronous(world)
}

fn neighbours(world: &Communicator) -> (usize, usize) {
    let (rank, size) = (world.rank(), world.size());
    ((rank + 1) % size, (rank + size - 1) % size)
}

/// Every rank sends to rank 0, which receives in each of the three shapes.
fn shapes<T: Element>(world: &Communicator) -> Result<()> {
    let tag = i64::MAX as u64;
    let rank = world.rank();
    for count in COUNTS {
        if rank > 0 {
            for _ in 0..3 {
                world.send(&part::<T>(rank, count), 0, tag)?;
            }
            continue;
        }
        for source in 1..world.size() {
            let expected = part::<T>(source, count);
            let mut buffer = vec![T::of(1); count + 2];
            let status = world.recv_into(&mut buffer, source, tag)?;
            assert_eq!(
                (status.source, status.tag, status.count),
                (source, tag, count)
            );
            assert_eq!(buffer[..count], expected);
            assert_eq!(buffer[count..], [T::of(1); 2], "the rest is left alone");
            let (elements, status) = world.recv_vec::<T>(source, tag)?;
            assert_eq!((elements, status.count), (expected.clone(), count));
            let mut elements = vec![T::of(1); 20_000];
            let memory = elements.as_ptr();
            let status = world.recv_into_vec(&mut elements, source, tag)?;
            assert_eq!((&elements, status.count), (&expected, count));
            assert_eq!(elements.as_ptr(), memory, "its memory is used again");
        }
    }
    Ok(())
}

/// All at once, in both directions, also with itself.
fn around(world: &Communicator) -> Result<()> {
    let rank = world.rank();
    let (right, left) = neighbours(world);
    for count in COUNTS {
        let mut from_left = vec![0_u64; count];
        let status =
            world.sendrecv_into(&part::<u64>(rank, count), right, 4, &mut from_left, left, 4)?;
        assert_eq!((status.source, status.count), (left, count));
        assert_eq!(from_left, part::<u64>(left, count));
        let mut from_right = vec![0_u8; count];
        let ints = part::<i32>(rank, count);
        world.sendrecv_into(
            &part::<u8>(rank, count),
            left,
            5,
            &mut from_right,
            right,
            Tag::Any,
        )?;
        assert_eq!(from_right, part::<u8>(right, count));
        let mut own = vec![0_i32; count];
        world.sendrecv_into(&ints, rank, 6, &mut own, Source::Any, 6)?;
        assert_eq!(own, ints);
    }
    Ok(())
}

fn wildcards(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    if rank > 0 {
        return world.send(&[rank as u64], 0, rank as u64 * 10);
    }
    let mut seen = vec![false; size];
    for _ in 1..size {
        let (from, status) = world.recv_vec::<u64>(Source::Any, Tag::Any)?;
        assert_eq!(from, [status.source as u64]);
        assert_eq!(status.tag, status.source as u64 * 10);
        assert!(!std::mem::replace(&mut seen[status.source], true));
    }
    assert!(seen[1..].iter().all(|seen| *seen));
    Ok(())
}

/// Short and long messages of one sender are received in the order in which they were sent, and a tag
/// picks the first that has it.
fn order(world: &Communicator) -> Result<()> {
    const MESSAGES: usize = 120;
    let (right, left) = neighbours(world);
    let length = |i: usize| if i % 7 == 3 { 20_000 } else { i % 5 };
    let tag = |i: usize| (i % 3) as u64;
    let sends: Vec<_> = (0..MESSAGES)
        .map(|i| world.isend(part::<u64>(i, length(i)), right, tag(i)))
        .collect::<Result<_>>()?;
    for i in (0..MESSAGES).filter(|i| tag(*i) == 1) {
        let (elements, _) = world.recv_vec::<u64>(left, 1)?;
        assert_eq!(elements, part::<u64>(i, length(i)), "message {i}");
    }
    for i in (0..MESSAGES).filter(|i| tag(*i) != 1) {
        let (elements, status) = world.recv_vec::<u64>(left, Tag::Any)?;
        assert_eq!(status.tag, tag(i));
        assert_eq!(elements, part::<u64>(i, length(i)), "message {i}");
    }
    sends
        .into_iter()
        .try_for_each(|send| send.wait().map(|_| ()))
}

fn probes(world: &Communicator) -> Result<()> {
    let (right, left) = neighbours(world);
    assert_eq!(world.iprobe(left, 70)?, None);
    world.barrier()?;
    for count in [0, 3, 12_000] {
        let send = world.isend(part::<[i16; 3]>(world.rank(), count), right, 70)?;
        let found = world.probe(Source::Any, 70)?;
        assert_eq!(
            (found.source, found.tag, found.bytes),
            (left, 70, 6 * count)
        );
        assert_eq!(found.count::<[i16; 3]>(), Some(count));
        assert_eq!(found.count::<[u8; 7]>().is_some(), 6 * count % 7 == 0);
        assert_eq!(
            world.iprobe(left, Tag::Any)?,
            Some(found),
            "it is still there"
        );
        let mut buffer = vec![[0; 3]; count];
        world.recv_into(&mut buffer, found.source, found.tag)?;
        assert_eq!(buffer, part::<[i16; 3]>(left, count));
        assert_eq!(world.iprobe(left, Tag::Any)?, None, "it was received");
        send.wait()?;
        // Nobody sends the next one before all have looked.
        world.barrier()?;
    }
    Ok(())
}

fn objects(world: &Communicator) -> Result<()> {
    type Object = (
        String,
        Vec<Option<f64>>,
        std::collections::BTreeMap<u16, bool>,
    );
    let object = |rank: usize| -> Object {
        let numbers = vec![None, Some(rank as f64)];
        (
            format!("from {rank}"),
            numbers,
            [(3, true), (4, rank == 0)].into(),
        )
    };
    let (rank, size) = (world.rank(), world.size());
    if rank > 0 {
        world.send_obj(&object(rank), 0, 80)?;
        world.send_obj("a longer text".repeat(20_000).as_str(), 0, 81)?;
        world.send_obj(&"no number", 0, 82)?;
        world.send(&[1_u8, 2], 0, 83)?;
        world.send_obj(&5_u8, 0, 84)?;
    } else {
        for source in 1..size {
            assert_eq!(world.recv_obj::<Object>(source, 80)?, object(source));
            let (text, status) = world.recv_obj_status::<String>(source, 81)?;
            assert_eq!(text, "a longer text".repeat(20_000));
            assert_eq!((status.source, status.tag), (source, 81));
            let error = world.recv_obj::<[f64; 9]>(source, 82).expect_err("a text");
            assert!(matches!(error.kind(), ErrorKind::Object { .. }), "{error}");
            let error = world.recv_obj::<u8>(source, 83).expect_err("elements");
            assert!(
                matches!(error.kind(), ErrorKind::WrongType { .. }),
                "{error}"
            );
            let error = world.recv_vec::<u8>(source, 84).expect_err("an object");
            assert!(
                matches!(error.kind(), ErrorKind::WrongType { .. }),
                "{error}"
            );
        }
    }
    let shared = world.bcast_obj((rank == size - 1).then(|| object(9)), size - 1)?;
    assert_eq!(shared, object(9));
    Ok(())
}

/// Found out before anything is sent; each error names the call.
fn wrong_arguments(world: &Communicator) {
    let size = world.size();
    let bad_rank = ErrorKind::InvalidRank {
        rank: size as i64,
        size,
    };
    let error = world.send(&[1], size, 0).expect_err("no such rank");
    assert_eq!(*error.kind(), bad_rank);
    assert!(error.to_string().contains("messages.rs"), "{error}");
    assert!(error.to_string().contains("send"), "{error}");
    let error = world.recv_vec::<u8>(size, 0).expect_err("no such rank");
    assert_eq!(*error.kind(), bad_rank);
    let error = world.recv_vec::<u8>(-1, 0).expect_err("no such rank");
    assert_eq!(*error.kind(), ErrorKind::InvalidRank { rank: -1, size });
    let error = world.send(&[1], 0, -3).expect_err("no such tag");
    assert_eq!(*error.kind(), ErrorKind::InvalidTag { tag: Some(-3) });
    let error = world.send(&[1], 0, Tag::Any).expect_err("no tag");
    assert!(matches!(error.kind(), ErrorKind::InvalidTag { .. }));
    let error = world.probe(0, -1).expect_err("no such tag");
    assert!(matches!(error.kind(), ErrorKind::InvalidTag { .. }));
    let error = world.bcast(1, size).expect_err("no such root");
    assert_eq!(*error.kind(), bad_rank);
    let error = world
        .allgather_into(&[1, 2], &mut [0])
        .expect_err("too small");
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument { .. }));
    if size > 1 {
        let error = world
            .alltoall(&vec![0_u8; size + 1])
            .expect_err("no blocks");
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument { .. }));
    }
}

/// A message that does not fit is consumed; the next one is received as if nothing had been.
fn wrong_messages(world: &Communicator) -> Result<()> {
    let (right, left) = neighbours(world);
    for count in [5, 20_000] {
        let long = world.isend(vec![7_u32; count], right, 90)?;
        let other = world.isend(vec![7.0_f32; count], right, 90)?;
        let good = world.isend(vec![8_u32; 2], right, 90)?;
        let mut buffer = [0_u32; 2];
        let error = world
            .recv_into(&mut buffer, left, 90)
            .expect_err("too long");
        assert_eq!(
            *error.kind(),
            ErrorKind::Truncated {
                sent: count,
                capacity: 2
            }
        );
        let error = world
            .recv_into(&mut buffer, left, 90)
            .expect_err("another type");
        assert!(
            matches!(error.kind(), ErrorKind::WrongType { .. }),
            "{error}"
        );
        let status = world.recv_into(&mut buffer, left, 90)?;
        assert_eq!((buffer, status.count), ([8; 2], 2));
        good.wait()?;
        // Whether the sender of a message that did not fit learns of it is not promised.
        let _ = (long.wait(), other.wait());
        world.barrier()?;
    }
    Ok(())
}

/// A synchronous send is over only when it is being received.
fn synchronous(world: &Communicator) -> Result<()> {
    let (right, left) = neighbours(world);
    let mut send = world.issend(vec![3_u8], right, 100)?;
    assert!(send.test()?.is_none(), "nobody receives it yet");
    world.barrier()?;
    assert!(send.test()?.is_none(), "nobody receives it yet");
    world.barrier()?;
    let (received, _) = world.recv_vec::<u8>(left, 100)?;
    assert_eq!((received, send.wait()?), (vec![3], vec![3]));
    let hurried = world.with_timeout(Duration::from_millis(20));
    let error = hurried
        .ssend(&[1_u8], right, 101)
        .expect_err("nobody receives");
    assert_eq!(*error.kind(), ErrorKind::Timeout);
    // What was given up is taken back; only a message that stays would keep this from its end.
    while world.iprobe(left, 101)?.is_some() {
        std::thread::yield_now();
    }
    let own = world.irecv(vec![0_u8], world.rank(), 102)?;
    world.ssend(&[4_u8], world.rank(), 102)?;
    assert_eq!(own.wait()?.0, [4]);
    Ok(())
}
