//! On a host: looks at everything that jobs need there. The doctor starts it as `run` starts a daemon.
//!
//! Each look has a thread of its own and a deadline, because a file system that hangs must not take
//! the rest with it. The end of standard input ends it, and every look that hangs.

mod copying;
mod cores;
mod files;
mod groups;
mod limits;
mod network;
mod system;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use phalanx::wire::control::{Decoder, PROTOCOL, encode};

use super::words::{Check, Finding, FromExaminer, Report, Task, ToExaminer};
use crate::exit;
use network::Doorstep;
pub(super) use network::{REACH_LIMIT, REACHES_AT_ONCE};
pub(super) use system::c_library;

/// Looks that are not over by then are given up.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// What an examiner is started with; see [`DaemonArgs`](crate::daemon::DaemonArgs).
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ExamineArgs {
    /// Where files from the launcher are kept
    #[arg(long)]
    cache: Option<PathBuf>,
    /// This program has just been sent, and should have this hash
    #[arg(long)]
    verify: Option<String>,
    /// Only read memory of this process, at this address
    #[arg(long, num_args = 2, value_names = ["PID", "ADDRESS"])]
    read: Option<Vec<u64>>,
}

/// Answers the doctor until it has gone.
pub(crate) fn run(args: ExamineArgs) -> u8 {
    if let Some([process, address]) = args.read.as_deref() {
        return copying::read(*process, *address);
    }
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        eprintln!("phalanx: `examine` is started by `phalanx doctor`, not by hand");
        return exit::USAGE;
    }
    if let Err(code) = crate::daemon::verify(args.verify.as_deref(), args.cache.as_deref()) {
        return code;
    }
    let mouth = Mouth::default();
    let hello = FromExaminer::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: crate::nodes::own_name(),
    };
    mouth.say(&hello);
    let mut examiner = Examiner {
        mouth,
        cache: args.cache,
        doorstep: None,
    };
    let mut decoder = Decoder::default();
    let mut buffer = [0; 4096];
    loop {
        match std::io::stdin().read(&mut buffer) {
            Ok(0) | Err(_) => return 0,
            Ok(count) => decoder.extend(&buffer[..count]),
        }
        loop {
            match decoder.next() {
                Ok(Some(message)) => examiner.hear(message),
                Ok(None) => break,
                Err(error) => {
                    eprintln!("phalanx: examine: {error}");
                    return exit::WIRE;
                }
            }
        }
    }
}

/// Standard output, shared by threads.
#[derive(Clone, Debug, Default)]
struct Mouth(Arc<Mutex<()>>);

impl Mouth {
    fn say(&self, message: &FromExaminer) {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout();
        let written = encode(message)
            .map_err(std::io::Error::other)
            .and_then(|bytes| out.write_all(&bytes).and_then(|()| out.flush()));
        if written.is_err() {
            // Nobody listens any more.
            std::process::exit(i32::from(exit::OUTPUT_CLOSED));
        }
    }
}

struct Examiner {
    mouth: Mouth,
    cache: Option<PathBuf>,
    /// Where others knock.
    doorstep: Option<Doorstep>,
}

impl Examiner {
    fn hear(&mut self, message: ToExaminer) {
        match message {
            ToExaminer::Clock => self.mouth.say(&FromExaminer::Clock(now())),
            ToExaminer::Examine(task) => {
                // Listening is quick, and connections need it.
                let (doorstep, addresses) = Doorstep::open(&task);
                let report = Report {
                    findings: vec![(Check::Addresses, addresses)],
                    listens_at: doorstep.addresses(),
                    ..Report::default()
                };
                self.doorstep = Some(doorstep);
                let (mouth, cache) = (self.mouth.clone(), self.cache.clone());
                std::thread::spawn(move || {
                    let report = examine(*task, cache, report);
                    mouth.say(&FromExaminer::Examined(Box::new(report)));
                });
            }
            ToExaminer::Connect(targets) => {
                let Some(identity) = self.doorstep.as_ref().map(Doorstep::identity) else {
                    return;
                };
                let mouth = self.mouth.clone();
                std::thread::spawn(move || {
                    let attempts = network::reach(&identity, &targets);
                    mouth.say(&FromExaminer::Connected(attempts));
                });
            }
        }
    }
}

fn now() -> i128 {
    let nanos = |since: Duration| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => nanos(since),
        Err(before) => -nanos(before.duration()),
    }
}

/// Begins a look in a thread of its own.
fn begin<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        // Nobody waits for it any more when it has taken too long.
        let _ = tell.send(look());
    });
    told
}

/// Looks at everything at the same time, and adds it to the report.
fn examine(task: Task, cache: Option<PathBuf>, mut report: Report) -> Report {
    let deadline = Instant::now() + LOOK_LIMIT;
    let (slots, ranks) = (task.slots, task.ranks);
    let of_system = begin(system::name);
    let of_library = begin(c_library);
    let looks = [
        (Check::Cache, begin(move || files::cache(cache.as_deref()))),
        (Check::Temporary, begin(|| Some(files::temporary()))),
        (Check::Cores, begin(move || Some(cores::look(slots)))),
        (
            Check::OpenFiles,
            begin(move || Some(limits::open_files(slots, ranks))),
        ),
        (
            Check::Processes,
            begin(move || Some(limits::processes(slots))),
        ),
        (Check::LockedMemory, begin(|| Some(limits::locked_memory()))),
        (
            Check::SharedMemory,
            begin(|| Some(copying::shared_memory())),
        ),
        (Check::SingleCopy, begin(|| Some(copying::single_copy()))),
    ];
    for (check, look) in looks {
        let found = match look.recv_timeout(left(deadline)) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => Some(Finding::wrong(
                format!("no answer within {} s", LOOK_LIMIT.as_secs()),
                "is a file system or the machine stuck? Look into `dmesg` there",
            )),
            Err(RecvTimeoutError::Disconnected) => Some(Finding::wrong(
                "the look at it failed",
                "please report this: it is a mistake in phalanx",
            )),
        };
        report.findings.extend(found.map(|found| (check, found)));
    }
    report.system = of_system.recv_timeout(left(deadline)).unwrap_or_default();
    report.c_library = of_library.recv_timeout(left(deadline)).unwrap_or_default();
    report
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
