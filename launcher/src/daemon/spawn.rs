//! Starting one rank: its environment, its streams, and its first message.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;

use phalanx::sys::black_box::Boxes;
use phalanx::sys::process::{Tether, spawn_tethered};
use phalanx::transport::Segment;
use phalanx::wire::control::{
    Assignment, CONTROL_FD_VARIABLE, PROTOCOL, ToRank, TransportChoice, Welcome, encode,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

use super::binding::Bindings;
use crate::job::RANK_VARIABLES;
use crate::signals;
use crate::stream::{Outbox, set_nonblocking};

/// Descriptors that the daemon needs for itself, generously.
const OWN_FILES: u64 = 64;
/// Descriptors for each rank: three pipes and a socket.
const FILES_PER_RANK: u64 = 4;

/// Files that a daemon with so many ranks may have open.
pub(crate) const fn files_for(ranks: usize) -> u64 {
    OWN_FILES + FILES_PER_RANK * ranks as u64
}

/// A rank that was just started.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: Pid,
    pub(super) input: Option<ChildStdin>,
    pub(super) outputs: [Option<OwnedFd>; 2],
    pub(super) control: Option<(UnixStream, Outbox)>,
}

/// Starts the ranks of an assignment, one at a time.
#[derive(Debug)]
pub(super) struct Spawner {
    assignment: Assignment,
    /// Where each program is when it came from the launcher.
    sent: Vec<Option<PathBuf>>,
    welcome: ToRank,
    /// The memory that all ranks of this host share.
    segment: Option<Segment>,
    /// What they last did.
    boxes: Option<Arc<Boxes>>,
    bindings: Bindings,
    /// The limit of open files as we found it: ranks get it back.
    open_files: Option<(u64, u64)>,
}

/// Why a rank could not be started.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) missing: bool,
    pub(super) message: String,
}

impl Spawner {
    /// Prepares to start that many ranks on this host.
    pub(super) fn new(
        mut assignment: Assignment,
        sent: Vec<Option<PathBuf>>,
        ranks: usize,
    ) -> Result<Self, Failure> {
        if assignment.programs.is_empty() {
            return Err(Failure {
                missing: false,
                message: "there is no program to start".to_owned(),
            });
        }
        settle_directories(&mut assignment)?;
        let bindings =
            Bindings::new(assignment.binding, ranks, cores()).map_err(|message| Failure {
                missing: false,
                message,
            })?;
        let segment = share_memory(&mut assignment, ranks)?;
        let boxes = make_boxes(&assignment, ranks);
        let open_files = allow_files(files_for(ranks), ranks)?;
        let welcome = ToRank::Welcome(Box::new(Welcome {
            protocol: PROTOCOL,
            job: assignment.job,
            secret: assignment.secret.clone(),
            epoch: assignment.epoch,
            rank: 0,
            size: assignment.size,
            nodes: assignment.nodes.clone(),
            programs: assignment.programs.iter().map(|it| it.first_rank).collect(),
            transport: assignment.transport,
            cores: u32::try_from(cores()).ok(),
            shared: segment
                .as_ref()
                .map(|segment| segment.descriptor().as_raw_fd()),
            boxes: boxes.as_ref().map(|boxes| boxes.descriptor().as_raw_fd()),
        }));
        Ok(Self {
            assignment,
            sent,
            welcome,
            segment,
            boxes,
            bindings,
            open_files,
        })
    }

    /// Starts one rank, which is the `local`-th on this host.
    pub(super) fn spawn(&mut self, rank: u32, local: usize) -> Result<Spawned, Failure> {
        let (ours, theirs) = match self.control(rank) {
            Ok(Some((ours, theirs))) => (Some(ours), Some(theirs)),
            Ok(None) => (None, None),
            Err(error) => return Err(self.explain(rank, &error)),
        };
        let mut command = self.command(rank, local);
        if let Some(theirs) = &theirs {
            command.env(CONTROL_FD_VARIABLE, theirs.as_raw_fd().to_string());
        }
        let tether = Tether {
            inherit: self.inherited(theirs.as_ref()),
            default_signals: signals::DEFAULT_IN_RANKS.to_vec(),
            open_files: self.open_files,
            processors: self.bindings.of(local),
        };
        let child =
            spawn_tethered(&mut command, tether).map_err(|error| self.explain(rank, &error))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else {
            return Err(self.explain(rank, &io::Error::other("it has no process id")));
        };
        let spawned = Spawned {
            pid,
            input: child.stdin,
            outputs: [
                child.stdout.map(OwnedFd::from),
                child.stderr.map(OwnedFd::from),
            ],
            control: ours,
        };
        spawned
            .unblock()
            .map_err(|error| self.explain(rank, &error))?;
        Ok(spawned)
    }

    /// What is to be said of the binding of a rank, if that was asked for.
    pub(super) fn binding_report(&self, rank: u32, local: usize) -> Option<String> {
        let report = self.assignment.report_bindings && self.assignment.threads.is_none();
        report.then(|| self.bindings.line(rank, local))
    }

    /// Whether a rank gets the launcher's standard input.
    pub(super) fn gives_input(&self, rank: u32) -> bool {
        self.assignment.input.reaches(rank)
    }

    /// The memory that the ranks of this host share, if they do.
    pub(super) const fn segment(&self) -> Option<&Segment> {
        self.segment.as_ref()
    }

    /// What the ranks of this host last did, if that can be seen.
    pub(super) const fn boxes(&self) -> Option<&Arc<Boxes>> {
        self.boxes.as_ref()
    }

    fn inherited(&self, control: Option<&UnixStream>) -> Vec<RawFd> {
        let memory = self.segment.as_ref().map(Segment::descriptor);
        let memory = memory.map(|descriptor| descriptor.as_raw_fd());
        let boxes = self.boxes.as_ref().map(|it| it.descriptor().as_raw_fd());
        control
            .map(AsRawFd::as_raw_fd)
            .into_iter()
            .chain(memory)
            .chain(boxes)
            .collect()
    }

    fn command(&self, rank: u32, local: usize) -> Command {
        let assignment = &self.assignment;
        let number = assignment.program_of(rank);
        let program = &assignment.programs[number];
        let (name, arguments) = match program.command.split_first() {
            Some((name, arguments)) => (name.as_str(), arguments),
            None => ("", &[][..]),
        };
        let mut command = match self.sent.get(number).and_then(Option::as_ref) {
            None => Command::new(name),
            Some(sent) => {
                let mut command = Command::new(sent);
                command.arg0(name);
                command
            }
        };
        command.args(arguments);
        for name in RANK_VARIABLES {
            command.env_remove(name);
        }
        for (name, value) in &program.environment {
            command.env(name, value);
        }
        if let Some(threads) = assignment.threads {
            command.env("PHALANX_THREADS", threads.to_string());
        } else {
            command
                .env("PHALANX_RANK", rank.to_string())
                .env("PHALANX_SIZE", assignment.size.to_string())
                .env("PHALANX_LOCAL_RANK", local.to_string())
                .env("PHALANX_APPNUM", number.to_string())
                .env("PHALANX_JOB", assignment.job.to_string());
        }
        if let Some(directory) = &program.directory {
            command.current_dir(directory);
        }
        let input = if self.gives_input(rank) {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    /// The control stream of a rank: our end with the welcome on its way, and the rank's end.
    fn control(&mut self, rank: u32) -> io::Result<Option<((UnixStream, Outbox), UnixStream)>> {
        if self.assignment.threads.is_some() {
            return Ok(None);
        }
        if let ToRank::Welcome(welcome) = &mut self.welcome {
            welcome.rank = rank;
        }
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut outbox = Outbox::default();
        outbox.push(encode(&self.welcome).map_err(io::Error::other)?);
        outbox.flush(&ours)?;
        Ok(Some(((ours, outbox), theirs)))
    }

    fn explain(&self, rank: u32, error: &io::Error) -> Failure {
        let program = &self.assignment.programs[self.assignment.program_of(rank)];
        let name = program.command.first().map_or("", String::as_str);
        let here = program.directory.as_deref().unwrap_or(".");
        let path = Path::new(here).join(name);
        let is_path = name.contains('/');
        let mut missing = false;
        let reason = match error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            Some(rustix::io::Errno::NOENT) if !Path::new(here).is_dir() => {
                format!("the working directory {here} does not exist")
            }
            Some(rustix::io::Errno::NOENT) if is_path && path.exists() => {
                "the interpreter or loader that it asks for does not exist".to_owned()
            }
            Some(rustix::io::Errno::NOENT) => {
                missing = true;
                "there is no such program".to_owned()
            }
            Some(rustix::io::Errno::ACCESS) if is_path && path.is_dir() => {
                "it is a directory".to_owned()
            }
            Some(rustix::io::Errno::ACCESS) => {
                "permission denied; is it executable (chmod +x)?".to_owned()
            }
            Some(rustix::io::Errno::NOEXEC) => {
                "not a program for this machine; a script needs a first line such as #!/bin/sh"
                    .to_owned()
            }
            Some(rustix::io::Errno::AGAIN) => {
                "no more processes are allowed (see `ulimit -u` and the limits of the container)"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        Failure {
            missing,
            message: format!("cannot start `{name}`: {reason}"),
        }
    }
}

/// The home directory takes the place of directories that this host does not have, unless they were asked for.
fn settle_directories(assignment: &mut Assignment) -> Result<(), Failure> {
    let mut said = Vec::new();
    for program in &mut assignment.programs {
        let missing = |directory: &String| !Path::new(directory).is_dir();
        let Some(wanted) = program.directory.clone().filter(missing) else {
            continue;
        };
        if program.directory_required {
            return Err(Failure {
                missing: false,
                message: format!("--wdir {wanted}: there is no such directory"),
            });
        }
        let home = std::env::var("HOME").ok();
        let Some(home) = home.filter(|home| Path::new(home).is_dir()) else {
            continue;
        };
        if !said.contains(&wanted) {
            let host = crate::nodes::own_name();
            eprintln!(
                "phalanx: {host} has no directory {wanted}: its ranks run in {home} (see --wdir)"
            );
            said.push(wanted);
        }
        program.directory = Some(home);
    }
    Ok(())
}

fn is_on_one_host(assignment: &Assignment) -> bool {
    let mut nodes = assignment.nodes.node_of.iter();
    nodes.all(|node| *node == assignment.node)
}

/// Processors that ranks may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Makes the memory that the ranks of this host share. Where it cannot be had, and was not asked for by
/// name, they use Unix sockets instead, and one line says so.
fn share_memory(assignment: &mut Assignment, ranks: usize) -> Result<Option<Segment>, Failure> {
    let asked = assignment.transport == TransportChoice::Shm;
    let here = is_on_one_host(assignment);
    if asked && !here {
        return Err(Failure {
            missing: false,
            message:
                "ranks of several hosts cannot share one memory; leave out `--transport shm`: \
                      those of each host share memory by themselves, and others use TCP"
                    .to_owned(),
        });
    }
    // A rank that is alone on its host has nobody to share it with.
    let auto = assignment.transport == TransportChoice::Auto && (here || ranks > 1);
    let wanted = asked || auto;
    if !wanted || assignment.threads.is_some() || ranks == 0 {
        return Ok(None);
    }
    match Segment::create(ranks, cores(), std::process::id()) {
        Ok(segment) => Ok(Some(segment)),
        Err(error) if asked => Err(Failure {
            missing: false,
            message: format!(
                "{ranks} ranks cannot share memory: {error}; leave out `--transport shm` to use sockets"
            ),
        }),
        Err(error) => {
            eprintln!("phalanx: ranks use Unix sockets, because they cannot share memory: {error}");
            if here {
                assignment.transport = TransportChoice::Unix;
            }
            Ok(None)
        }
    }
}

/// Black boxes for the ranks of this host. Without them less can be told.
fn make_boxes(assignment: &Assignment, ranks: usize) -> Option<Arc<Boxes>> {
    if assignment.threads.is_some() || ranks == 0 {
        return None;
    }
    Boxes::create(ranks).ok().map(Arc::new)
}

impl Spawned {
    fn unblock(&self) -> io::Result<()> {
        if let Some(input) = &self.input {
            set_nonblocking(input)?;
        }
        self.outputs.iter().flatten().try_for_each(set_nonblocking)
    }
}

/// Raises the limit of open files when it is too low. Returns what it was, if it was raised.
fn allow_files(needed: u64, ranks: usize) -> Result<Option<(u64, u64)>, Failure> {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if soft >= needed {
        return Ok(None);
    }
    let raised = Rlimit {
        current: Some(needed.min(hard)),
        maximum: limit.maximum,
    };
    if hard < needed || setrlimit(Resource::Nofile, raised).is_err() {
        return Err(Failure {
            missing: false,
            message: format!(
                "{ranks} ranks on one host need {needed} open files, but only {hard} are allowed \
                 (`ulimit -Hn`); raise that limit or start fewer ranks"
            ),
        });
    }
    Ok(Some((soft, hard)))
}
