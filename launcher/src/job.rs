//! The validated plan of a job: what was typed, checked, with every default filled in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use phalanx::base::ids::JobId;
use phalanx::wire::control::{
    Assignment, Binding, InputFor, NodeMap, PROTOCOL, Program, Secret, TransportChoice,
};

use crate::cli::{HostArgs, RunArgs, Style, Tag, Transport};
use crate::exit;
use crate::inherit;
use crate::nodes::{self, Host};
use crate::place::{self, BindTo, MapBy, Placement, Wishes};
use crate::programs;
use crate::start::elsewhere::Elsewhere;
use crate::talk;

/// Time between the polite and the final signal when ranks are ended.
pub(crate) const KILL_GRACE: Duration = Duration::from_millis(250);

/// Variables that the daemon sets for each rank, and that nobody else may.
pub(crate) const RANK_VARIABLES: [&str; 7] = [
    phalanx::wire::control::CONTROL_FD_VARIABLE,
    "PHALANX_RANK",
    "PHALANX_SIZE",
    "PHALANX_LOCAL_RANK",
    "PHALANX_APPNUM",
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
    pub(crate) quiet: bool,
    /// Where files take the output, instead of our own streams.
    pub(crate) output_dir: Option<PathBuf>,
    /// Where the end of the job is described for programs.
    pub(crate) report_json: Option<PathBuf>,
    pub(crate) show: Show,
    pub(crate) threads: Option<u32>,
    pub(crate) binding: Binding,
    pub(crate) report_bindings: bool,
    pub(crate) transport: TransportChoice,
    /// What ranks run.
    pub(crate) programs: Vec<Program>,
    /// Variables of ours that go to other hosts.
    pub(crate) carried: Vec<(String, String)>,
    /// Which ranks get our standard input.
    pub(crate) input: InputFor,
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
    /// The map, and which ranks run which of several programs.
    pub(crate) fn map(&self) -> String {
        let size = u32::try_from(self.placement.node_of.len()).unwrap_or(u32::MAX);
        let programs = match self.programs.as_slice() {
            [_] => String::new(),
            several => programs::description(several, size),
        };
        format!("{}{programs}", self.placement.map())
    }

    /// The map, and what is run.
    pub(crate) fn description(&self) -> String {
        let [only] = self.programs.as_slice() else {
            return self.map();
        };
        let threads = match self.threads {
            Some(threads) => format!(" as {threads} threads"),
            None => String::new(),
        };
        let command = programs::quoted(&only.command);
        format!("{}command{threads}: {command}\n", self.map())
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
    pub(crate) fn new(mut args: RunArgs) -> Result<Self, Refusal> {
        let found = nodes::find(&args.hosts.named.host, &args.hosts.named.hostfile)
            .map_err(Refusal::usage)?;
        let programs = args.programs();
        let all = all_slots(&found.hosts, args.hosts.ranks_per_node);
        let ranks = programs::ranks_of(&programs, all)?;
        if args.style == Style::Threads && programs.len() > 1 {
            return Err(Refusal::usage(
                "--as threads: ranks of several programs cannot be threads of one process",
            ));
        }
        let size = ranks.iter().sum();
        let ports = args.ports.map(|(low, high)| format!("{low}-{high}"));
        let options = options_as_variables([
            ("PHALANX_INTERFACE", args.interface.clone()),
            ("PHALANX_PORTS", ports),
            ("PHALANX_ENCRYPT", args.encrypt.then(|| "1".to_owned())),
            ("PHALANX_CHECK", args.check.then(|| "1".to_owned())),
        ]);
        let used_here = found.hosts.iter().any(|host| host.here);
        let programs = programs::plan(programs, &ranks, used_here, &options)?;
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
        let elsewhere = Elsewhere::new(
            &args.start,
            placement.hosts.clone(),
            std::env::var_os("SLURM_JOB_ID").is_some(),
            &programs,
        )?;
        let asked = (found.by.is_some() || args.hosts.display_map) && !args.talk.quiet;
        let told = || talk::hosts_line(&hosts, found.by.as_deref());
        let told = args.talk.verbose.then(told);
        let crowded = placement.oversubscribed().filter(|_| asked);
        Ok(Self {
            elsewhere,
            notes: told.into_iter().chain(crowded).collect(),
            verbose: args.talk.verbose,
            quiet: args.talk.quiet,
            output_dir: args.talk.output_dir,
            report_json: args.talk.report_json,
            show: Show::new(&args.hosts),
            placement,
            threads,
            binding: binding(&args.hosts, threads.is_some())?,
            report_bindings: args.hosts.report_bindings,
            transport: args.transport.into(),
            programs,
            input: input_for(args.talk.stdin, size, threads.is_some())?,
            carried: inherit::carried(std::env::vars_os()),
            tag_output: args.talk.tag_output,
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
            programs: self.programs_at(node),
            input: self.input,
            binding: self.binding,
            report_bindings: self.report_bindings,
            kill_grace_millis: u64::try_from(KILL_GRACE.as_millis()).unwrap_or(u64::MAX),
            threads: self.threads,
            files: Vec::new(),
        };
        self.elsewhere.equip(&mut assignment);
        assignment
    }

    /// The programs with the variables that ranks of this node find.
    fn programs_at(&self, node: u32) -> Vec<Program> {
        let host = &self.placement.hosts[node as usize];
        let mut programs = self.programs.clone();
        for program in &mut programs {
            program.environment = inherit::environment(host, &self.carried, &program.environment);
        }
        programs
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
fn options_as_variables(options: [(&str, Option<String>); 4]) -> Vec<(String, String)> {
    let set = options.into_iter();
    let set = set.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    set.collect()
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
