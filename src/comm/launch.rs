//! How a program becomes ranked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use super::Communicator;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Runtime;
use crate::runtime::join::{self, panic_message};
use crate::schedule::Selection;
use crate::wire::control::{CONTROL_FD_VARIABLE, FromRank};

/// Makes this process a rank of the job that it was started for: by `phalanx run`, by a process manager
/// that speaks PMI (`srun --mpi=pmi2`, `mpiexec`), or with an environment that says where ranks meet (see
/// [launching](crate::manual::launching)). Started in any other way, it is rank 0 of 1. To be called once.
///
/// # Errors
///
/// When the job cannot be joined; the error says why and what to do.
///
/// # Examples
///
/// ```
/// fn main() -> phalanx::Result<()> {
///     let world = phalanx::init()?;
///     let total = world.allreduce(world.rank() as u64, phalanx::Sum)?;
///     println!("rank {} of {}: {total}", world.rank(), world.size());
///     Ok(())
/// }
/// ```
#[doc(alias = "MPI_Init")]
#[doc(alias = "MPI_COMM_WORLD")]
pub fn init() -> Result<Communicator> {
    let config = environment("init")?;
    let runtime = join::process(&config).map_err(|reason| start_error("init", reason))?;
    Ok(Communicator::world(
        runtime,
        selection(&config, "init")?,
        config.timeout,
    ))
}

/// Runs `program` as every rank of a job: one rank in each process that `phalanx run` started, or as
/// threads of this process when `phalanx run --as threads -n 4` or `PHALANX_THREADS=4` says so. The
/// program need not know which. Meant as the whole body of `main`.
///
/// An error of a rank is reported to the launcher, which prints the first one with the rank's name, or
/// printed here when there is no launcher; the exit code is then 1, or 71 when
/// the job could not be joined.
///
/// # Examples
///
/// ```
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     phalanx::run(|world| -> phalanx::Result<()> {
///         let total = world.allreduce(1_u32, phalanx::Sum)?;
///         assert_eq!(total as usize, world.size());
///         Ok(())
///     })
/// }
/// ```
pub fn run<E>(
    program: impl Fn(Communicator) -> std::result::Result<(), E> + Send + Sync,
) -> ExitCode
where
    E: From<Error> + std::fmt::Display + Send,
{
    match run_ranks(program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended::Reported) => ExitCode::FAILURE,
        Err(Ended::Unreported(message)) => {
            eprintln!("Error: {message}");
            ExitCode::FAILURE
        }
        Err(Ended::Start(message)) => {
            eprintln!("Error: {message}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// The exit code of a program that could not become a rank, as of `phalanx run`.
const NOT_STARTED: u8 = 71;

/// How a program ended that failed.
enum Ended {
    /// The launcher knows, and will say it.
    Reported,
    /// Nobody else will say this.
    Unreported(String),
    /// It could not become a rank, for this reason.
    Start(String),
}

impl From<String> for Ended {
    fn from(message: String) -> Self {
        Self::Unreported(message)
    }
}

fn run_ranks<E>(
    program: impl Fn(Communicator) -> std::result::Result<(), E> + Send + Sync,
) -> std::result::Result<(), Ended>
where
    E: From<Error> + std::fmt::Display + Send,
{
    let config = Config::from_environment()?;
    let launched = std::env::var_os(CONTROL_FD_VARIABLE).is_some();
    if let Some(n) = config.threads.filter(|_| !launched) {
        let ended = on_threads(n, &config, &program);
        return ended
            .map(|_| ())
            .map_err(|(rank, error)| format!("rank {rank}: {error}").into());
    }
    let world = init().map_err(|error| Ended::Start(error.to_string()))?;
    let runtime = Arc::clone(&world.inner.runtime);
    let last = world.clone();
    let ended = program(world).map_err(|error| error.to_string());
    let Err(message) = ended.and_then(|()| last.finalize().map_err(|error| error.to_string()))
    else {
        return Ok(());
    };
    let message = message.replace('\n', " ");
    let Some(reporter) = runtime.reporter() else {
        return Err(message.into());
    };
    let class = runtime.failure_class(&message);
    reporter.say(&FromRank::Failed { message, class });
    // The launcher tells the others; nothing is to be waited for here.
    runtime.die("ended with an error");
    Err(Ended::Reported)
}

/// Runs `program` as `n` ranks that are threads of this process, and gives their results in the order of
/// the ranks: for tests, for debugging, and for programs that are ranked only in part.
///
/// # Errors
///
/// The error of the rank that failed first; a panic of a rank is an error that holds its message, and
/// ends what the other ranks wait for.
///
/// # Examples
///
/// ```
/// # fn main() -> phalanx::Result<()> {
/// let sums = phalanx::threads(4, |world| world.allreduce(world.rank(), phalanx::Sum))?;
/// assert_eq!(sums, [6, 6, 6, 6]);
/// # Ok(())
/// # }
/// ```
pub fn threads<R: Send>(
    n: usize,
    program: impl Fn(Communicator) -> Result<R> + Send + Sync,
) -> Result<Vec<R>> {
    let config = environment("threads")?;
    on_threads(n, &config, &program).map_err(|(_, error)| error)
}

/// Runs ranks as threads; an error comes with the rank that failed first.
fn on_threads<R: Send, E: From<Error> + Send>(
    n: usize,
    config: &Config,
    program: &(impl Fn(Communicator) -> std::result::Result<R, E> + Send + Sync),
) -> std::result::Result<Vec<R>, (usize, E)> {
    let start = |reason: String| (0, E::from(start_error("threads", reason)));
    if n == 0 {
        return Err(start("0 ranks: there must be at least one".into()));
    }
    let selection = selection(config, "threads").map_err(|error| (0, error.into()))?;
    let runtimes = join::threads(n, config).map_err(start)?;
    let (ended, endings) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for (rank, runtime) in runtimes.into_iter().enumerate() {
            let world =
                Communicator::world(Arc::clone(&runtime), selection.clone(), config.timeout);
            let ended = ended.clone();
            let thread = std::thread::Builder::new().name(format!("rank {rank}"));
            let spawned = thread.spawn_scoped(scope, {
                let ended = ended.clone();
                let runtime = Arc::clone(&runtime);
                move || run_thread(rank, world, &runtime, program, &ended)
            });
            if let Err(error) = spawned {
                let reason = format!("cannot start a thread for rank {rank}: {error}");
                runtime.die(&reason);
                let _ = ended.send((rank, Err(start_error("threads", reason).into())));
            }
        }
    });
    drop(ended);
    let mut values: Vec<Option<R>> = (0..n).map(|_| None).collect();
    for (rank, outcome) in endings {
        match outcome {
            Ok(value) => values[rank] = Some(value),
            Err(error) => return Err((rank, error)),
        }
    }
    Ok(values.into_iter().flatten().collect())
}

type Endings<R, E> = std::sync::mpsc::Sender<(usize, std::result::Result<R, E>)>;

fn run_thread<R, E: From<Error>>(
    rank: usize,
    world: Communicator,
    runtime: &Runtime,
    program: &impl Fn(Communicator) -> std::result::Result<R, E>,
    ended: &Endings<R, E>,
) {
    let (outcome, end) = match catch_unwind(AssertUnwindSafe(|| program(world))) {
        Ok(Ok(value)) => (Ok(value), None),
        Ok(Err(error)) => (Err(error), Some("ended with an error".to_owned())),
        Err(payload) => {
            let end = format!("panicked: {}", panic_message(&*payload));
            let kind = ErrorKind::System {
                reason: format!("rank {rank} {end}"),
            };
            (Err(Error::new(kind, "threads").into()), Some(end))
        }
    };
    // The outcome first: the errors of those who waited for this rank come after it.
    let _ = ended.send((rank, outcome));
    if let Some(end) = end {
        runtime.die(&end);
    }
}

fn environment(operation: &'static str) -> Result<Config> {
    Config::from_environment().map_err(|reason| start_error(operation, reason))
}

fn selection(config: &Config, operation: &'static str) -> Result<Selection> {
    Selection::force(&config.algorithms)
        .map_err(|error| start_error(operation, format!("PHALANX_ALGORITHMS: {error}")))
}

fn start_error(operation: &'static str, reason: String) -> Error {
    Error::new(ErrorKind::Start { reason }, operation)
}
