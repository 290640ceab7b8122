//! A rank that does what its program says.

use std::panic::Location;
use std::time::Duration;

use phalanx::{Communicator, Max, Operator as Combines, Pending, Pod, Result, Source, Sum, Tag};

use crate::program::{
    Collective, Element, HowToReceive, HowToSend, Kind, On, Operator, Receive, Send, Step,
};
use crate::sites;

/// For longer than a message needs.
const PAUSE: Duration = Duration::from_millis(100);

/// A rank, or somebody who only looks where the steps are.
pub(crate) struct Player {
    communicators: Option<[Communicator; 2]>,
    begun: Vec<Box<dyn Begun>>,
    /// The place of the last step.
    pub(crate) here: &'static Location<'static>,
}

/// Something that can be waited for.
trait Begun {
    fn wait(self: Box<Self>) -> Result<()>;
}

impl<T> Begun for Pending<T> {
    fn wait(self: Box<Self>) -> Result<()> {
        (*self).wait().map(drop)
    }
}

/// Elements that are needed here.
trait Value: Pod + From<u8> {}

impl<T: Pod + From<u8>> Value for T {}

/// Plays the part of this rank.
pub(crate) fn play(world: &Communicator, steps: &[Step]) -> Result<()> {
    let mut player = Player {
        communicators: Some([world.clone(), world.dup()]),
        begun: Vec::new(),
        here: Location::caller(),
    };
    for (index, step) in steps.iter().enumerate() {
        sites::at(world.rank(), index)(&mut player, step)?;
    }
    player.wait_all()
}

impl Player {
    /// One that only looks.
    #[track_caller]
    pub(crate) fn scout() -> Self {
        Self {
            communicators: None,
            begun: Vec::new(),
            here: Location::caller(),
        }
    }

    /// The calls that it makes are at the place where this is called.
    #[track_caller]
    pub(crate) fn step(&mut self, step: &Step) -> Result<()> {
        self.here = Location::caller();
        let Some([world, dup]) = self.communicators.clone() else {
            return Ok(());
        };
        let on = |on: On| if on == On::World { &world } else { &dup };
        match *step {
            Step::Collective(call) if call.nonblocking => self.begin(on(call.on), call)?.wait(),
            Step::Collective(call) => collective(on(call.on), call),
            Step::Begin(call) => {
                let begun = self.begin(on(call.on), call)?;
                self.begun.push(begun);
                Ok(())
            }
            Step::Send(what) => match what.element {
                Element::U32 => self.send::<u32>(on(what.on), what),
                Element::I32 => self.send::<i32>(on(what.on), what),
                Element::F64 => self.send::<f64>(on(what.on), what),
            },
            Step::Receive(what) => match what.element {
                Element::U32 => self.receive::<u32>(on(what.on), what),
                Element::I32 => self.receive::<i32>(on(what.on), what),
                Element::F64 => self.receive::<f64>(on(what.on), what),
            },
            Step::Exchange(send, receive) => {
                let mut buffer = vec![0_u32; receive.count];
                let (from, tag) = (source(receive.from), tag(receive.tag));
                let (outgoing, own) = (vec![1_u32; send.count], self::tag(send.tag));
                let on = on(send.on);
                on.sendrecv_into(&outgoing, send.to, own, &mut buffer, from, tag)?;
                Ok(())
            }
            Step::WaitAll => self.wait_all(),
            Step::DropAll => {
                self.begun.clear();
                Ok(())
            }
            Step::ForgetAll => {
                self.begun.drain(..).for_each(std::mem::forget);
                Ok(())
            }
            Step::Pause => {
                world.progress(PAUSE, || false);
                Ok(())
            }
            Step::Sight(ref from) => from
                .iter()
                .try_for_each(|rank| world.probe(*rank, Tag::Any).map(drop)),
            Step::Exit => std::process::exit(0),
        }
    }

    fn wait_all(&mut self) -> Result<()> {
        self.begun.drain(..).try_for_each(Begun::wait)
    }

    #[track_caller]
    fn begin(&self, on: &Communicator, call: Collective) -> Result<Box<dyn Begun>> {
        match (call.element, call.operator) {
            (Element::U32, Operator::Sum) => nonblocking::<u32, _>(on, call, Sum),
            (Element::U32, Operator::Max) => nonblocking::<u32, _>(on, call, Max),
            (Element::I32, _) => nonblocking::<i32, _>(on, call, Sum),
            (Element::F64, _) => nonblocking::<f64, _>(on, call, Sum),
        }
    }

    #[track_caller]
    fn send<T: Value>(&mut self, on: &Communicator, what: Send) -> Result<()> {
        let (elements, to, tag) = (vec![T::from(1); what.count], what.to, tag(what.tag));
        match what.how {
            HowToSend::Send => on.send(&elements, to, tag),
            HowToSend::Ssend => on.ssend(&elements, to, tag),
            HowToSend::Isend => on.isend(elements, to, tag)?.wait().map(drop),
            HowToSend::Issend => on.issend(elements, to, tag)?.wait().map(drop),
            HowToSend::BeginIsend => {
                self.begun.push(Box::new(on.isend(elements, to, tag)?));
                Ok(())
            }
            HowToSend::BeginIssend => {
                self.begun.push(Box::new(on.issend(elements, to, tag)?));
                Ok(())
            }
        }
    }

    #[track_caller]
    fn receive<T: Value>(&mut self, on: &Communicator, what: Receive) -> Result<()> {
        let (from, tag) = (source(what.from), tag(what.tag));
        let mut buffer = vec![T::from(0); what.count];
        match what.how {
            HowToReceive::RecvInto => on.recv_into(&mut buffer, from, tag).map(drop),
            HowToReceive::RecvVec => on.recv_vec::<T>(from, tag).map(drop),
            HowToReceive::Irecv => on.irecv(buffer, from, tag)?.wait().map(drop),
            HowToReceive::IrecvVec => on.irecv_vec::<T>(from, tag)?.wait().map(drop),
            HowToReceive::Probe => {
                let found = on.probe(from, tag)?;
                on.recv_vec::<T>(found.source, found.tag).map(drop)
            }
            HowToReceive::Iprobe => loop {
                if let Some(found) = on.iprobe(from, tag)? {
                    return on.recv_vec::<T>(found.source, found.tag).map(drop);
                }
                std::thread::yield_now();
            },
            HowToReceive::Test => {
                let mut pending = on.irecv(buffer, from, tag)?;
                while pending.test()?.is_none() {
                    std::thread::yield_now();
                }
                Ok(())
            }
            HowToReceive::BeginIrecv => {
                self.begun.push(Box::new(on.irecv(buffer, from, tag)?));
                Ok(())
            }
        }
    }
}

#[track_caller]
fn collective(on: &Communicator, call: Collective) -> Result<()> {
    match (call.element, call.operator) {
        (Element::U32, Operator::Sum) => blocking::<u32, _>(on, call, Sum),
        (Element::U32, Operator::Max) => blocking::<u32, _>(on, call, Max),
        (Element::I32, _) => blocking::<i32, _>(on, call, Sum),
        (Element::F64, _) => blocking::<f64, _>(on, call, Sum),
    }
}

#[track_caller]
fn blocking<T: Value, O: Combines<T>>(on: &Communicator, call: Collective, op: O) -> Result<()> {
    let Collective {
        root,
        count,
        misfit,
        ..
    } = call;
    let (size, extra) = (on.size(), usize::from(misfit));
    let mut block = vec![T::from(1); count];
    let blocks = vec![T::from(1); count * size + extra];
    let counts = vec![count; size];
    let given = on.rank() == root;
    match call.kind {
        Kind::Barrier => on.barrier(),
        Kind::Bcast => on.bcast_into(&mut block, root),
        Kind::Gather => on.gather(&block, root).map(drop),
        Kind::Scatter => on.scatter(given.then_some(&blocks), &mut block, root),
        Kind::Allgather if misfit => on.allgather_into(&block, &mut vec![T::from(0); count]),
        Kind::Allgather => on.allgather(&block).map(drop),
        Kind::Alltoall => on.alltoall(&blocks).map(drop),
        Kind::Reduce => on.reduce_vec(&block, op, root).map(drop),
        Kind::Allreduce => on.allreduce_into(&mut block, op),
        Kind::Scan => on.scan_into(&mut block, op),
        Kind::Exscan => on.exscan_into(&mut block, op),
        Kind::ReduceScatterBlock => on.reduce_scatter_block(&blocks, op).map(drop),
        Kind::Gatherv => on.gatherv(&block, root).map(drop),
        Kind::Scatterv => {
            let blocks = given.then_some((&blocks[..], &counts[..]));
            on.scatterv(blocks, root).map(drop)
        }
        Kind::Allgatherv => on.allgatherv(&block).map(drop),
        Kind::Alltoallv => on.alltoallv(&blocks, &counts).map(drop),
        Kind::ReduceScatter => on.reduce_scatter(&blocks, &counts, op).map(drop),
        Kind::Split => on.split(Some(0), 0).map(drop),
    }
}

#[track_caller]
fn nonblocking<T: Value, O: Combines<T>>(
    on: &Communicator,
    call: Collective,
    op: O,
) -> Result<Box<dyn Begun>> {
    let Collective {
        root,
        count,
        misfit,
        ..
    } = call;
    let block = vec![T::from(1); count];
    let blocks = vec![T::from(1); count * on.size() + usize::from(misfit)];
    Ok(match call.kind {
        Kind::Barrier => Box::new(on.ibarrier()?),
        Kind::Bcast => Box::new(on.ibcast(block, root)?),
        Kind::Gather => Box::new(on.igather(block, root)?),
        Kind::Scatter => {
            let given = (on.rank() == root).then_some(blocks);
            Box::new(on.iscatter(given, count, root)?)
        }
        Kind::Allgather => Box::new(on.iallgather(block)?),
        Kind::Alltoall => Box::new(on.ialltoall(blocks)?),
        Kind::Reduce => Box::new(on.ireduce(block, op, root)?),
        Kind::Allreduce => Box::new(on.iallreduce(block, op)?),
        Kind::Scan => Box::new(on.iscan(block, op)?),
        Kind::Exscan => Box::new(on.iexscan(block, op)?),
        Kind::ReduceScatterBlock => Box::new(on.ireduce_scatter_block(blocks, op)?),
        other => unreachable!("{other:?} has no nonblocking form"),
    })
}

fn source(rank: Option<usize>) -> Source {
    rank.map_or(Source::Any, Source::Rank)
}

fn tag(tag: Option<i64>) -> Tag {
    tag.map_or(Tag::Any, Tag::from)
}
