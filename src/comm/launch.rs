//! How a program becomes ranked.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use super::{Call, Communicator};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::join::{self, panic_message};
use crate::runtime::{Ledger, Runtime};
use crate::schedule::Selection;
use crate::wire::control::{CONTROL_FD_VARIABLE, FailureClass, FromRank};

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
/// the job could not be joined, or 73 when collectives did not match, and so on as for `phalanx run`.
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
        Err(Ended::Unreported(message, class)) => {
            eprintln!("Error: {message}");
            class.exit_code().map_or(ExitCode::FAILURE, ExitCode::from)
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
    Unreported(String, FailureClass),
    /// It could not become a rank, for this reason.
    Start(String),
}

impl From<String> for Ended {
    fn from(message: String) -> Self {
        Self::Unreported(message, FailureClass::Program)
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
        return run_threads(n, &config, &program);
    }
    let world = init().map_err(|error| Ended::Start(error.to_string()))?;
    let runtime = Arc::clone(&world.inner.runtime);
    let last = world.clone();
    let ended = program(world).map_err(|error| error.to_string());
    let call = Call::new("finalize", Location::caller());
    let finalize = |()| last.leave(call, false).map_err(|error| error.to_string());
    let Err(message) = ended.and_then(finalize) else {
        return Ok(());
    };
    let message = message.replace('\n', " ");
    let Some(reporter) = runtime.reporter() else {
        let class = runtime.failure_class(&message);
        return Err(Ended::Unreported(message, class));
    };
    let class = runtime.failure_class(&message);
    reporter.say(&FromRank::Failed { message, class });
    // The launcher tells the others; nothing is to be waited for here.
    runtime.die("ended with an error");
    Err(Ended::Reported)
}

/// An error of a rank, with its class.
struct Classed<M>(M, FailureClass);

impl From<Error> for Classed<Error> {
    fn from(error: Error) -> Self {
        let class = match error.kind() {
            ErrorKind::Mismatch { .. } => FailureClass::Mismatch,
            _ => FailureClass::Program,
        };
        Self(error, class)
    }
}

impl From<Error> for Classed<String> {
    fn from(error: Error) -> Self {
        let Classed(error, class) = Classed::<Error>::from(error);
        Self(error.to_string(), class)
    }
}

/// The program, with a class for each of its errors.
fn classed<R, E: std::fmt::Display, M>(
    program: impl Fn(Communicator) -> std::result::Result<R, E> + Send + Sync,
    message: impl Fn(E) -> M + Send + Sync,
) -> impl Fn(Communicator) -> std::result::Result<R, Classed<M>> + Send + Sync {
    move |world: Communicator| {
        let runtime = Arc::downgrade(&world.inner.runtime);
        program(world).map_err(|error| {
            let class = runtime.upgrade();
            let class = class.map(|it| it.failure_class(&error.to_string()));
            Classed(message(error), class.unwrap_or(FailureClass::Program))
        })
    }
}

fn run_threads<E: From<Error> + std::fmt::Display>(
    n: usize,
    config: &Config,
    program: &(impl Fn(Communicator) -> std::result::Result<(), E> + Send + Sync),
) -> std::result::Result<(), Ended> {
    let ledger = Ledger::default();
    let program = classed(program, |error: E| error.to_string());
    let ended = on_threads(n, config, &ledger, &program);
    ended
        .map(|_| ())
        .map_err(|(rank, Classed(message, class))| {
            let more = ledger.explanation(class).map(|why| format!("; {why}"));
            let message = format!("rank {rank}: {message}{}", more.unwrap_or_default());
            Ended::Unreported(message, class)
        })
}

/// Runs `program` as `n` ranks that are threads of this process, and gives their results in the order of
/// the ranks: for tests, for debugging, and for programs that are ranked only in part.
///
/// # Errors
///
/// The error of the rank that failed first; a panic of a rank is an error that holds its message, and
/// ends what the other ranks wait for. [`ErrorKind::Mismatch`] also when all ranks have succeeded but turn
/// out to have called different collectives, and when a rank waited for one that has finalized. Messages that nobody has received are named on the standard
/// error stream.
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
    let ledger = Ledger::default();
    let program = classed(program, |error: Error| error);
    on_threads(n, &config, &ledger, &program).map_err(|(_, Classed(error, class))| match class {
        // As under the launcher, where such a job has the code of a mismatch.
        FailureClass::Deserted { .. } => {
            let more = ledger.explanation(class).map(|why| format!("; {why}"));
            let reason = format!("{}{}", error.kind(), more.unwrap_or_default());
            error.recast(ErrorKind::Mismatch { reason })
        }
        _ => error,
    })
}

/// Runs ranks as threads; an error comes with the rank that failed first.
fn on_threads<R: Send, E: From<Error> + Send>(
    n: usize,
    config: &Config,
    ledger: &Ledger,
    program: &(impl Fn(Communicator) -> std::result::Result<R, E> + Send + Sync),
) -> std::result::Result<Vec<R>, (usize, E)> {
    let start = |reason: String| (0, E::from(start_error("threads", reason)));
    if n == 0 {
        return Err(start("0 ranks: there must be at least one".into()));
    }
    let selection = selection(config, "threads").map_err(|error| (0, error.into()))?;
    let runtimes = join::threads(n, config, ledger).map_err(start)?;
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
    if let Some((rank, reason)) = ledger.contradiction() {
        let error = Error::new(ErrorKind::Mismatch { reason }, "finalize");
        return Err((rank as usize, error.into()));
    }
    let warnings = ledger.warnings();
    for line in &warnings {
        eprintln!("phalanx: warning: {line}");
    }
    if let (true, Some(reason)) = (config.check, warnings.into_iter().next()) {
        let error = Error::new(ErrorKind::Mismatch { reason }, "finalize");
        return Err((0, error.into()));
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
