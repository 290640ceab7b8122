//! A rank of the benchmark: this program again, started by `phalanx run`. It uses the public interface only.

mod collective;
mod measure;
mod pattern;
mod point;
mod recipes;
mod resident;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use phalanx::Communicator;

pub(super) use point::compute;

use super::case::Case;
use super::order::{Answer, Order, Pace, Point, RANK_WORD};

/// What ends a benchmark.
#[derive(Debug)]
pub(super) enum Trouble {
    /// An operation failed.
    Failed(phalanx::Error),
    /// An operation gave something wrong.
    Wrong(String),
    /// The operating system does not tell what is asked.
    System(String),
}

impl From<phalanx::Error> for Trouble {
    fn from(error: phalanx::Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Wrong(what) => write!(f, "wrong result: {what}"),
            Self::System(what) => f.write_str(what),
        }
    }
}

/// An operation that is measured, with its data.
trait Work {
    /// Gets data ready that differ for each `salt`. `first` is the number of the next operation.
    fn prepare(&mut self, world: &Communicator, salt: usize, first: usize);

    /// Does operation number `index` and has a glance at the result: whether it seems right.
    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool>;

    /// Checks the result of the operation that was done last.
    fn check(&mut self, world: &Communicator, last: usize) -> Result<(), Trouble>;

    /// By how many the time of one call is divided: messages of a window, directions of a round trip.
    fn parts(&self) -> usize {
        1
    }

    /// The algorithm that is used, where there is one to choose.
    fn algorithm(&self, _world: &Communicator) -> Option<&'static str> {
        None
    }
}

/// When this process was started as a rank, does what it is told.
pub(crate) fn answer_the_call() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != RANK_WORD {
        return None;
    }
    let order = words.next().unwrap_or_default();
    Some(match serde_json::from_slice(order.as_encoded_bytes()) {
        Ok(order) => phalanx::run(|world| obey(&world, &order)),
        Err(error) => {
            eprintln!("phalanx: this is no order for a rank of the benchmark: {error}");
            ExitCode::from(crate::exit::USAGE)
        }
    })
}

fn obey(world: &Communicator, order: &Order) -> Result<(), Trouble> {
    world.barrier()?;
    // Messages of the benchmark itself travel apart.
    let control = world.dup();
    if order
        .points
        .iter()
        .any(|point| work(world, point).is_some())
    {
        measure::settle(&control)?;
    }
    for point in &order.points {
        let answer = measure_point(world, &control, point, &order.pace)?;
        if world.rank() == 0 {
            // When nobody reads, the launcher ends this job.
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{}", answer.line());
            let _ = out.flush();
        }
    }
    Ok(())
}

fn measure_point(
    world: &Communicator,
    control: &Communicator,
    point: &Point,
    pace: &Pace,
) -> Result<Answer, Trouble> {
    let mut answer = Answer {
        point: *point,
        transport: neighbour_link(world),
        algorithm: String::new(),
        batch: 1,
        samples: Vec::new(),
    };
    if let Some(mut work) = work(world, point) {
        let measured = measure::measure(world, control, &mut *work, pace)?;
        answer.batch = measured.batch;
        answer.samples = measured.micros;
        let algorithm = work.algorithm(world).unwrap_or_default();
        algorithm.clone_into(&mut answer.algorithm);
        return Ok(answer);
    }
    answer.samples = match point.case {
        Case::Memory => resident::memory(world)?,
        Case::Idle => resident::idle(world, pace.idle_seconds)?,
        // Measured from outside: this rank only has to live.
        _ => Vec::new(),
    };
    Ok(answer)
}

fn neighbour_link(world: &Communicator) -> String {
    let neighbour = (world.rank() + 1) % world.size();
    world.link_name(neighbour).unwrap_or_default().to_owned()
}

fn work(world: &Communicator, point: &Point) -> Option<Box<dyn Work>> {
    let (bytes, size) = (point.bytes, world.size());
    Some(match point.case {
        Case::Guidelines => Box::new(recipes::Cook::new(point.recipe?, bytes, size)),
        Case::Pingpong => Box::new(point::Pingpong::new(bytes)),
        Case::Echo => Box::new(point::Echo::new(bytes)),
        Case::Bandwidth => Box::new(point::Window::pair(bytes)),
        Case::MessageRate => Box::new(point::Window::pairs(bytes, size)),
        Case::Iterate => Box::new(point::Iterate::new(point.work)),
        Case::Barrier => Box::new(collective::Barrier),
        Case::Allreduce => Box::new(collective::Allreduce::new(bytes)),
        Case::Bcast => Box::new(collective::Bcast::new(bytes)),
        Case::Reduce => Box::new(collective::Reduce::new(bytes)),
        Case::Allgather => Box::new(collective::Allgather::new(bytes, size)),
        Case::Alltoall => Box::new(collective::Alltoall::new(bytes, size)),
        Case::Startup | Case::Memory | Case::Idle | Case::Oversubscribed | Case::Tradeoff => {
            return None;
        }
    })
}
