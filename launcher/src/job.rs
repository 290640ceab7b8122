//! The validated plan of a job: what was typed, checked, with every default filled in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phalanx::base::ids::JobId;
use phalanx::wire::control::{
    Assignment, Binding, InputFor, NodeMap, PROTOCOL, Secret, TransportChoice,
};

use crate::cargo;
use crate::cli::{HostArgs, RunArgs, Style, Tag, Transport};
use crate::exit;
use crate::inherit;
use crate::nodes::{self, Host};
use crate::place::{self, BindTo, MapBy, Placement, Wishes};
use crate::start::elsewhere::Elsewhere;
use crate::talk;

/// Time between the polite and the final signal when ranks are ended.
pub(crate) const KILL_GRACE: Duration = Duration::from_millis(250);

/// Variables that the daemon sets for each rank, and that nobody else may.
pub(crate) const RANK_VARIABLES: [&str; 6] = [
    phalanx::wire::control::CONTROL_FD_VARIABLE,
    "PHALANX_RANK",
    "PHALANX_SIZE",
    "PHALANX_LOCAL_RANK",
    "PHALANX_JOB",
    "PHALANX_THREADS",
];

/// Why there is no job, and the exit code for that.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: exit::USAGE,
            message: message.into(),
        }
    }

    pub(crate) fn launch(message: impl Into<String>) -> Self {
        Self {
            code: exit::LAUNCH,
            message: message.into(),
        }
    }
}

/// A job that can be started.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) placement: Placement,
    /// Lines to say before anything is started.
    pub(crate) notes: Vec<String>,
    pub(crate) verbose: bool,
    /// Where files take the output, instead of our own streams.
    pub(crate) output_dir: Option<PathBuf>,
    pub(crate) show: Show,
    pub(crate) threads: Option<u32>,
    pub(crate) binding: Binding,
    pub(crate) report_bindings: bool,
    pub(crate) transport: TransportChoice,
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Variables of ours that go to other hosts.
    pub(crate) carried: Vec<(String, String)>,
    /// Which ranks get our standard input.
    pub(crate) input: InputFor,
    pub(crate) directory: Option<String>,
    pub(crate) directory_required: bool,
    pub(crate) tag_output: Option<Tag>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stall_timeout: Option<Duration>,
    pub(crate) check: bool,
    pub(crate) elsewhere: Elsewhere,
}

/// Whether the map is shown, and whether that is all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// The job is started.
    Nothing,
    /// The map is shown, and the job is started.
    Map,
    /// The map and the command are shown, and nothing is started.
    All,
}

impl Show {
    const fn new(args: &HostArgs) -> Self {
        match (args.dry_run, args.display_map) {
            (true, _) => Self::All,
            (false, true) => Self::Map,
            (false, false) => Self::Nothing,
        }
    }
}

impl Plan {
    /// The map, and the command that each rank runs.
    pub(crate) fn description(&self) -> String {
        let words: Vec<String> = self
            .command
            .iter()
            .map(|word| format!("{word:?}"))
            .collect();
        let threads = match self.threads {
            Some(threads) => format!(" as {threads} threads"),
            None => String::new(),
        };
        format!(
            "{}command{threads}: {}\n",
            self.placement.map(),
            words.join(" ")
        )
    }

    /// What the lines of each rank begin with, if with anything.
    pub(crate) fn labels(&self, coloured: bool) -> Option<Arc<[String]>> {
        let nodes = (0_usize..).zip(&self.placement.node_of);
        let hosts = &self.placement.hosts;
        let label: &dyn Fn((usize, &u32)) -> String = match self.tag_output? {
            Tag::Rank => &|(rank, _)| format!("[{rank}] "),
            Tag::Host => &|(rank, node)| format!("[{rank} {}] ", hosts[*node as usize].name),
        };
        let paint = |(rank, text): (usize, String)| match coloured {
            true => talk::coloured(rank, &text),
            false => text,
        };
        Some(nodes.map(label).enumerate().map(paint).collect())
    }

    /// Checks what was typed, and builds the program when asked to.
    pub(crate) fn new(args: RunArgs) -> Result<Self, Refusal> {
        let found = nodes::find(&args.hosts.named.host, &args.hosts.named.hostfile)
            .map_err(Refusal::usage)?;
        let size = args
            .ranks
            .unwrap_or_else(|| all_slots(&found.hosts, args.hosts.ranks_per_node));
        inherit::check(&args.env)?;
        let here = std::env::current_dir().ok();
        let used_here = found.hosts.iter().any(|host| host.here);
        let directory = inherit::directory(args.wdir.as_deref(), here.as_deref(), used_here)?;
        let mut command = args.command;
        match cargo::build(&args.build)? {
            Some(program) => command.insert(0, program),
            None => settle_program(&mut command, args.wdir.is_some())?,
        }
        let ports = args.ports.map(|(low, high)| format!("{low}-{high}"));
        let options = [
            ("PHALANX_INTERFACE", args.interface),
            ("PHALANX_PORTS", ports),
            ("PHALANX_CHECK", args.check.then(|| "1".to_owned())),
        ];
        let threads = (args.style == Style::Threads).then_some(size);
        let processes = if threads.is_some() { 1 } else { size };
        let wishes = Wishes {
            map_by: args.hosts.map_by.order(),
            rank_by: args.hosts.rank_by,
            per_node: args.hosts.ranks_per_node,
        };
        let hosts = match args.pretend_hosts {
            Some(hosts) => nodes::pretended(hosts, processes),
            None => found.hosts,
        };
        let placement = place::place(&hosts, processes, &wishes).map_err(Refusal::usage)?;
        let program = command.first().map_or("", String::as_str);
        let elsewhere = Elsewhere::new(
            &args.start,
            placement.hosts.clone(),
            std::env::var_os("SLURM_JOB_ID").is_some(),
            program,
            directory.as_deref(),
        )?;
        let asked = (found.by.is_some() || args.hosts.display_map) && !args.talk.quiet;
        let told = || talk::hosts_line(&hosts, found.by.as_deref());
        let told = args.talk.verbose.then(told);
        let crowded = placement.oversubscribed().filter(|_| asked);
        Ok(Self {
            elsewhere,
            notes: told.into_iter().chain(crowded).collect(),
            verbose: args.talk.verbose,
            output_dir: args.talk.output_dir,
            show: Show::new(&args.hosts),
            placement,
            threads,
            binding: binding(&args.hosts, threads.is_some())?,
            report_bindings: args.hosts.report_bindings,
            transport: args.transport.into(),
            command,
            environment: with_options(args.env, options),
            input: input_for(args.talk.stdin, size, threads.is_some())?,
            carried: inherit::carried(std::env::vars_os()),
            directory,
            directory_required: args.wdir.is_some(),
            tag_output: args.tag_output,
            timeout: args.timeout,
            stall_timeout: args.stall_timeout,
            check: args.check,
        })
    }

    /// The hosts with ranks that get our standard input.
    pub(crate) fn nodes_with_input(&self) -> Vec<usize> {
        let ranks = (0..).zip(&self.placement.node_of);
        let takers = ranks.filter(|(rank, _)| self.input.reaches(*rank));
        let mut nodes: Vec<usize> = takers.map(|(_, node)| *node as usize).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// What the daemon of this node is told.
    pub(crate) fn assignment(&self, node: u32, identity: &Identity) -> Assignment {
        let size = self.placement.node_of.len();
        let mut assignment = Assignment {
            protocol: PROTOCOL,
            job: identity.job,
            secret: identity.secret.clone(),
            epoch: 0,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            nodes: NodeMap {
                hosts: self.placement.names().map(str::to_owned).collect(),
                node_of: self.placement.node_of.clone(),
            },
            node,
            transport: self.transport,
            command: self.command.clone(),
            environment: inherit::environment(
                &self.placement.hosts[node as usize],
                &self.carried,
                &self.environment,
            ),
            input: self.input,
            binding: self.binding,
            report_bindings: self.report_bindings,
            directory: self.directory.clone(),
            directory_required: self.directory_required,
            kill_grace_millis: u64::try_from(KILL_GRACE.as_millis()).unwrap_or(u64::MAX),
            threads: self.threads,
            files: Vec::new(),
            sent_program: None,
        };
        self.elsewhere.equip(&mut assignment);
        assignment
    }
}

impl From<Transport> for TransportChoice {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Auto => Self::Auto,
            Transport::Unix => Self::Unix,
            Transport::Tcp => Self::Tcp,
            Transport::Shm => Self::Shm,
        }
    }
}

/// Options that travel as variables, behind those that were typed as such.
fn with_options(
    mut environment: Vec<(String, String)>,
    options: [(&str, Option<String>); 3],
) -> Vec<(String, String)> {
    for (name, value) in options {
        environment.extend(value.map(|value| (name.to_owned(), value)));
    }
    environment
}

/// Who gets our standard input; threads share that of their one process.
fn input_for(asked: InputFor, size: u32, threads: bool) -> Result<InputFor, Refusal> {
    match asked {
        InputFor::Rank(rank) if rank >= size => Err(Refusal::usage(format!(
            "--stdin {rank}: there is no such rank, the last one is {}",
            size - 1
        ))),
        InputFor::Rank(_) if threads => Ok(InputFor::Rank(0)),
        asked => Ok(asked),
    }
}

/// What ranks are bound to.
fn binding(args: &HostArgs, threads: bool) -> Result<Binding, Refusal> {
    let binding = match (args.bind_to, args.map_by) {
        (Some(BindTo::Core), _) | (None, MapBy::Core) => Binding::Core,
        (Some(BindTo::None), _) | (None, _) => Binding::Free,
        (Some(BindTo::Auto), _) => Binding::Auto,
    };
    match (threads, binding) {
        (true, Binding::Core) => Err(Refusal::usage(
            "--bind-to core: ranks that are threads of one process cannot be bound; leave it out, or start \
             them as processes",
        )),
        (true, _) => Ok(Binding::Free),
        (false, binding) => Ok(binding),
    }
}

/// As many ranks as all hosts would like to run, or as were asked for on each.
fn all_slots(hosts: &[Host], per_node: Option<u32>) -> u32 {
    let most = u32::try_from(phalanx::limits::RANKS_MAX).unwrap_or(u32::MAX);
    let slots = hosts.iter().map(|host| per_node.unwrap_or(host.slots));
    slots.fold(0, u32::saturating_add).clamp(1, most)
}

/// What tells this job from all others.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) job: JobId,
    pub(crate) secret: Secret,
}

impl Identity {
    /// Draws one at random.
    pub(crate) fn draw() -> Result<Self, Refusal> {
        let mut secret = [0_u8; 32];
        let mut job = [0_u8; 8];
        getrandom::fill(&mut secret)
            .and_then(|()| getrandom::fill(&mut job))
            .map_err(|error| Refusal::launch(format!("no random numbers to be had: {error}")))?;
        Ok(Self {
            job: JobId(u64::from_le_bytes(job)),
            secret: Secret(secret),
        })
    }
}

/// Makes sure there is a program, and that `./prog` means the one that the user sees.
fn settle_program(command: &mut [String], elsewhere: bool) -> Result<(), Refusal> {
    let Some(program) = command.first_mut() else {
        return Err(Refusal::usage(
            "what shall be run? Give a program, as in `phalanx run -n 4 ./prog`, or --example NAME \
             or --bin NAME to build one with cargo",
        ));
    };
    if program.is_empty() {
        return Err(Refusal::usage("the name of the program is empty"));
    }
    if elsewhere && program.contains('/') && Path::new(&program).is_file() {
        let absolute: Option<PathBuf> = std::path::absolute(&program).ok();
        if let Some(absolute) = absolute.as_deref().and_then(Path::to_str) {
            *program = absolute.to_owned();
        }
    }
    Ok(())
}
