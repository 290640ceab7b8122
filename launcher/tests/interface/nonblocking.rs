//! Operations that go on meanwhile: by ownership, awaited, in scopes, dropped, forgotten, cancelled.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use phalanx::{Communicator, ErrorKind, Result, Source, Sum};

use super::collectives::{COUNTS, part};

pub(crate) fn check(world: &Communicator) -> Result<()> {
    by_ownership(world)?;
    tested(world)?;
    awaited(world)?;
    dropped(world)?;
    forgotten(world)?;
    cancelled(world)?;
    in_a_scope(world)?;
    a_scope_that_fails(world)
}

fn neighbours(world: &Communicator) -> (usize, usize) {
    let (rank, size) = (world.rank(), world.size());
    ((rank + 1) % size, (rank + size - 1) % size)
}

fn by_ownership(world: &Communicator) -> Result<()> {
    let rank = world.rank();
    let (right, left) = neighbours(world);
    for count in COUNTS {
        let block = part::<f64>(rank, count);
        let memory = block.as_ptr();
        let fixed = world.irecv(vec![0.0; count + 1], left, 1)?;
        let growing = world.irecv_vec::<f64>(Source::Any, 2)?;
        let first = world.isend(block, right, 1)?;
        let second = world.isend(part::<f64>(rank, count), right, 2)?;
        let (elements, status) = growing.wait()?;
        assert_eq!((status.source, status.tag, status.count), (left, 2, count));
        assert_eq!(elements, part::<f64>(left, count));
        let (elements, status) = fixed.wait()?;
        assert_eq!(status.count, count);
        assert_eq!(elements[..count], part::<f64>(left, count));
        assert_eq!(elements.len(), count + 1);
        let block = first.wait()?;
        assert_eq!(block.as_ptr(), memory, "the buffer comes back");
        assert_eq!(block, part::<f64>(rank, count));
        second.wait()?;
    }
    Ok(())
}

fn tested(world: &Communicator) -> Result<()> {
    let (right, left) = neighbours(world);
    let mut receive = world.irecv(vec![0_u32; 3], left, 10)?;
    assert!(receive.test()?.is_none(), "nothing was sent");
    world.barrier()?;
    world.send(&[1_u32, 2, 3], right, 10)?;
    let (elements, status) = loop {
        if let Some(result) = receive.test()? {
            break result;
        }
        std::thread::yield_now();
    };
    assert_eq!((elements, status.source), (vec![1, 2, 3], left));
    let error = receive.test().expect_err("its result was given");
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument { .. }));
    Ok(())
}

fn awaited(world: &Communicator) -> Result<()> {
    let (right, left) = neighbours(world);
    let size = world.size();
    let (received, sum) = block_on(async {
        let receive = world.irecv_vec::<u64>(left, 20)?;
        let sum = world.iallreduce(vec![1_u64; 9], Sum)?;
        let send = world.isend(part::<u64>(world.rank(), 12_000), right, 20)?;
        let received = receive.await?.0;
        send.await?;
        Result::Ok((received, sum.await?))
    })?;
    assert_eq!(received, part::<u64>(left, 12_000));
    assert_eq!(sum, [size as u64; 9]);
    Ok(())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// An executor of one task: it sleeps until it is woken, and calls nothing of the library meanwhile.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A dropped send or collective goes on by itself; a dropped receive takes no message.
fn dropped(world: &Communicator) -> Result<()> {
    let (right, left) = neighbours(world);
    drop(world.irecv(vec![0_u64; 12_000], left, 30)?);
    world.barrier()?;
    for count in COUNTS {
        drop(world.isend(part::<u64>(world.rank(), count), right, 30)?);
    }
    drop(world.iallreduce(vec![1_u64; 1000], Sum)?);
    drop(world.ibarrier()?);
    for count in COUNTS {
        let (elements, _) = world.recv_vec::<u64>(left, 30)?;
        assert_eq!(elements, part::<u64>(left, count));
    }
    world.barrier()
}

/// What is forgotten keeps its own memory: the message lands there, and nothing else is touched.
fn forgotten(world: &Communicator) -> Result<()> {
    let (right, left) = neighbours(world);
    std::mem::forget(world.irecv(vec![0_u64; 12_000], left, 40)?);
    std::mem::forget(world.isend(part::<u64>(1, 12_000), right, 40)?);
    world.send(&[5_u8], right, 41)?;
    assert_eq!(world.recv_vec::<u8>(left, 41)?.0, [5]);
    world.barrier()?;
    assert_eq!(
        world.iprobe(left, 40)?,
        None,
        "the forgotten receive took it"
    );
    Ok(())
}

fn cancelled(world: &Communicator) -> Result<()> {
    let (right, left) = neighbours(world);
    let mut receive = world.irecv(vec![0_u8; 4], left, 50)?;
    assert!(receive.cancel(), "nothing has matched it");
    assert!(!receive.cancel(), "it is over");
    assert!(receive.wait().is_err());
    world.barrier()?;
    world.send(&[6_u8; 4], right, 50)?;
    let mut receive = world.irecv(vec![0_u8; 4], left, 50)?;
    world.barrier()?;
    while receive.cancel() {
        // Not there yet, although the sender has come so far.
        receive = world.irecv(vec![0_u8; 4], left, 50)?;
    }
    assert_eq!(receive.wait()?.0, [6; 4], "what has matched goes on");
    Ok(())
}

fn in_a_scope(world: &Communicator) -> Result<()> {
    let rank = world.rank();
    let (right, left) = neighbours(world);
    for count in COUNTS {
        let edges = [part::<f64>(rank, count), part::<f64>(rank + 1, count)];
        let mut ghosts = [vec![0.0; count], vec![0.0; count]];
        let [from_left, from_right] = &mut ghosts;
        let computed = world.scope(|scope| {
            let first = scope.irecv_into(from_left, left, 60)?;
            scope.irecv_into(from_right, right, 61)?;
            scope.isend(&edges[0], right, 60)?;
            scope.isend(&edges[1], left, 61)?;
            let status = first.wait()?;
            assert_eq!((status.source, status.tag, status.count), (left, 60, count));
            Ok(6 * 7)
        })?;
        assert_eq!(computed, 42);
        assert_eq!(ghosts[0], part::<f64>(left, count));
        assert_eq!(ghosts[1], part::<f64>(right + 1, count));
    }
    Ok(())
}

/// Whatever ends a scope, its buffers are not touched afterwards and nothing waits for them.
fn a_scope_that_fails(world: &Communicator) -> Result<()> {
    let (right, left) = neighbours(world);
    let mut buffer = vec![1_u64; 12_000];
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        world.scope(|scope| -> Result<()> {
            scope.irecv_into(&mut buffer, left, 70)?;
            // Not `panic!`: nobody is to be told of it.
            std::panic::resume_unwind(Box::new("given up"));
        })
    }));
    assert!(unwound.is_err());
    let failed = world.scope(|scope| {
        scope.irecv_into(&mut buffer, left, 70)?;
        world.send(&[1], world.size(), 0)
    });
    let error = failed.expect_err("no such rank");
    assert!(matches!(error.kind(), ErrorKind::InvalidRank { .. }));
    world.barrier()?;
    let send = world.isend(part::<u64>(world.rank(), 12_000), right, 70)?;
    let (received, _) = world.recv_vec::<u64>(left, 70)?;
    assert_eq!(
        received,
        part::<u64>(left, 12_000),
        "a live receive gets it"
    );
    send.wait()?;
    assert_eq!(buffer, [1; 12_000]);
    Ok(())
}
