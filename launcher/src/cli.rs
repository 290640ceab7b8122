//! The command line as typed. What it means is decided in `job`.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::algorithms;
use crate::bench::args as bench;
use crate::daemon;
use crate::doctor::args as doctor;
use crate::doctor::examine::ExamineArgs;
use crate::exit;
use crate::place::{BindTo, By, MapBy};
use crate::programs::{self, ProgramArgs};
use crate::start::args::StartArgs;
use crate::talk::TalkArgs;

/// Starts ranked programs and watches over them.
#[derive(Debug, Parser)]
#[command(
    name = "phalanx",
    version,
    about = "Starts the ranks of a message-passing program and watches over them",
    after_help = "`phalanx run --help` has examples and the exit codes."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program as a number of ranks
    #[command(
        about = "Run a program as a number of ranks",
        long_about = "Runs a program as a number of ranks, which find each other through \
                      `phalanx::init`.\n\nAny program can be started, ranked or not. When a rank \
                      fails, the others are ended and the first cause is named; nothing is left \
                      behind, whoever was killed. Lines of output are never mixed.\n\nSIGINT, SIGTERM \
                      and SIGHUP are passed on to the ranks, and the second one kills them; SIGUSR1 and \
                      SIGUSR2 are passed on as they are. SIGTSTP stops the ranks too, until SIGCONT. \
                      SIGQUIT shows what every rank does, as `phalanx stack`.",
        after_help = "Exit codes and examples: `phalanx run --help`",
        after_long_help = examples_and_codes()
    )]
    Run(Box<RunArgs>),
    /// List your jobs whose launchers run on this host
    Ps,
    /// Show what every rank of a running job does
    #[command(
        about = "Show what every rank of a running job does",
        long_about = "Shows for every rank of a running job whether it computes, waits or is stopped, in \
                      which call and where, and for how long. SIGQUIT to the launcher prints the same."
    )]
    Stack {
        /// The job, or the process of its launcher, as `phalanx ps` lists them [default: the only one]
        job: Option<String>,
    },
    /// Look whether jobs can run here or on other hosts, and how to mend what is wrong
    #[command(
        about = "Look whether jobs can run here or on other hosts, and how to mend what is wrong",
        long_about = doctor::ABOUT,
        after_help = "Exit codes and examples: `phalanx doctor --help`",
        after_long_help = doctor::AFTER
    )]
    Doctor(Box<doctor::DoctorArgs>),
    /// Show which algorithm does which collective, and why
    #[command(
        about = "Show which algorithm does which collective, and why",
        long_about = "Shows which algorithm does which collective for each length of message, \
                      the reason, and what else can be forced with PHALANX_ALGORITHMS (which this \
                      command obeys too).",
        after_help = algorithms::EXAMPLES
    )]
    Algorithms(algorithms::AlgorithmsArgs),
    /// Measure the library on this machine
    #[command(
        about = "Measure the library on this machine",
        long_about = bench::ABOUT,
        after_help = "Examples: `phalanx bench --help`",
        after_long_help = bench::EXAMPLES
    )]
    Bench(Box<bench::BenchArgs>),
    /// Look at one host (used by `doctor`)
    #[command(hide = true)]
    Examine(ExamineArgs),
    /// Start and watch the ranks of one host (used by `run`)
    #[command(hide = true)]
    Daemon(daemon::DaemonArgs),
}

fn examples_and_codes() -> String {
    format!("{EXAMPLES}\n\n{}", exit::TABLE)
}

const EXAMPLES: &str = "\
Examples:
  phalanx run -n 4 ./solver input.dat
  phalanx run -n 4 --example cg -- examples/data/bcsstk01.mtx
  phalanx run -n 4 --release --bin solver -- input.dat
  phalanx run -n 4 --as threads ./solver input.dat
  phalanx run -n 1 ./ocean : -n 3 --env GRID=fine ./air
  phalanx run -n 64 --tag-output --timeout 60 hostname";

/// The heading of what counts for all programs of a job.
const JOB: &str = "For the whole job";

/// What `phalanx run` takes.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) program: ProgramArgs,

    /// The programs behind a `:`
    #[arg(skip)]
    pub(crate) later: Vec<ProgramArgs>,

    /// Start ranks as processes, or as threads of one process
    #[arg(help_heading = JOB, long = "as", value_name = "WHAT", default_value = "processes")]
    pub(crate) style: Style,

    /// How ranks talk to each other
    #[arg(help_heading = JOB, long, value_name = "WHICH", default_value = "auto")]
    pub(crate) transport: Transport,

    /// Interfaces or networks through which ranks of several hosts talk: `eth0`, `10.1.0.0/16`
    #[arg(help_heading = JOB, long, value_name = "NAME|CIDR")]
    pub(crate) interface: Option<String>,

    /// TCP ports at which ranks may listen [default: the operating system chooses]
    #[arg(help_heading = JOB, long, value_name = "LOW-HIGH", value_parser = phalanx::config::ports)]
    pub(crate) ports: Option<(u16, u16)>,

    /// Encrypt what ranks of different hosts send each other
    #[arg(help_heading = JOB, long)]
    pub(crate) encrypt: bool,

    /// End the job after so many seconds, with exit code 75
    #[arg(help_heading = JOB, long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) timeout: Option<std::time::Duration>,

    /// End the job, with exit code 75, when a rank has been blocked in one operation for so many seconds
    #[arg(help_heading = JOB, long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) stall_timeout: Option<std::time::Duration>,

    /// Check strictly: every send waits for its receiver, messages that nobody receives are errors (exit
    /// code 73), and receives from any source that several messages fit are named
    #[arg(help_heading = JOB, long)]
    pub(crate) check: bool,

    #[command(flatten)]
    pub(crate) hosts: HostArgs,

    /// Place the ranks as if this machine were so many hosts, for tests: a daemon and a memory for each
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) pretend_hosts: Option<u32>,

    #[command(flatten)]
    pub(crate) start: StartArgs,

    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

impl RunArgs {
    /// All programs, in order; at least one.
    pub(crate) fn programs(&mut self) -> Vec<ProgramArgs> {
        let first = std::mem::take(&mut self.program);
        let later = std::mem::take(&mut self.later);
        std::iter::once(first).chain(later).collect()
    }
}

/// Which hosts are used. Without any, those of the batch system's allocation, else this machine.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Hosts")]
pub(crate) struct HostArgs {
    #[command(flatten)]
    pub(crate) named: NamedHosts,

    /// How places are given to ranks
    #[arg(long, value_name = "WHAT", default_value = "slot")]
    pub(crate) map_by: MapBy,

    /// How places are numbered [default: as they are given]
    #[arg(long, value_name = "WHAT")]
    pub(crate) rank_by: Option<By>,

    /// So many ranks on each host, and no more; by itself it gives the number of ranks
    #[arg(long, visible_alias = "ppn", value_name = "N", value_parser = ranks,
        allow_negative_numbers = true)]
    pub(crate) ranks_per_node: Option<u32>,

    /// What each rank is bound to [default: none]
    #[arg(long, value_name = "WHAT")]
    pub(crate) bind_to: Option<BindTo>,

    /// Say on standard error which processors each rank is bound to
    #[arg(long)]
    pub(crate) report_bindings: bool,

    /// Show on standard error which ranks run where, and which of several programs
    #[arg(long)]
    pub(crate) display_map: bool,

    /// Show which ranks run where, and the command, and start nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Hosts as they are named.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Hosts")]
pub(crate) struct NamedHosts {
    /// Hosts and how many ranks each would like to run (repeatable): `a:2,b,user@c`
    #[arg(short = 'H', long, value_name = "HOST:SLOTS,...", value_parser = host_list,
        conflicts_with = "hostfile")]
    pub(crate) host: Vec<HostList>,

    /// File with a host in each line (repeatable): `a slots=2` or `a:2`; see the manual for all forms
    #[arg(long, value_name = "FILE", alias = "machinefile")]
    pub(crate) hostfile: Vec<String>,
}

/// The hosts of one `--host`. A type of its own, because clap takes a bare `Vec` for many values.
pub(crate) type HostList = std::sync::Arc<[crate::nodes::Host]>;

fn host_list(text: &str) -> Result<HostList, String> {
    crate::nodes::list(text).map(Into::into)
}

/// What is built with cargo before it is run.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "For each program, to build it with cargo first")]
pub(crate) struct BuildArgs {
    /// Run this example of the package
    #[arg(long, value_name = "NAME", conflicts_with = "bin")]
    pub(crate) example: Option<String>,

    /// Run this binary of the package
    #[arg(long, value_name = "NAME")]
    pub(crate) bin: Option<String>,

    /// The package to build; by itself it means its only binary
    #[arg(short, long, value_name = "SPEC")]
    pub(crate) package: Option<String>,

    /// Features to switch on
    #[arg(long, value_name = "LIST")]
    pub(crate) features: Option<String>,

    /// Build with optimisation [default: as the launcher itself under `cargo run`, otherwise not]
    #[arg(long, conflicts_with_all = ["debug", "profile"])]
    pub(crate) release: bool,

    /// Build without optimisation
    #[arg(long, conflicts_with = "profile")]
    pub(crate) debug: bool,

    /// Build with this profile
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

/// What a line of output begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tag {
    /// The rank
    Rank,
    /// The rank and its host
    Host,
}

/// How ranks are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// A process for each rank
    Processes,
    /// One process that runs the ranks as threads
    Threads,
}

/// Which transport connects ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// The best one for each pair
    Auto,
    /// Shared memory, within one host
    Shm,
    /// Unix sockets, within one host
    Unix,
    /// TCP, even within one host
    Tcp,
}

/// Parses our own command line. Help and version are printed and end the process, and so is a
/// mistake, in one line.
pub(crate) fn parse() -> Result<Cli, u8> {
    let error = match Cli::try_parse() {
        Ok(mut cli) => {
            if let Command::Run(run) = &mut cli.command {
                programs::split(run).map_err(|line| {
                    eprintln!("phalanx: {line}");
                    exit::USAGE
                })?;
            }
            return Ok(cli);
        }
        Err(error) => error,
    };
    use clap::error::ErrorKind as Kind;
    match error.kind() {
        Kind::DisplayHelp | Kind::DisplayVersion => {
            // A reader that has gone does not need the help text.
            let _ = error.print();
            Err(0)
        }
        Kind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Err(exit::USAGE)
        }
        _ => {
            eprintln!("phalanx: {}", one_line(&error.to_string()));
            Err(exit::USAGE)
        }
    }
}

/// The commands that users type.
const SHOWN: [&str; 6] = ["run", "bench", "doctor", "ps", "stack", "algorithms"];

/// The message of a clap error without its usage and hints.
pub(crate) fn one_line(rendered: &str) -> String {
    let words = rendered
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .replace(" tip: ", "; ");
    let words = words.strip_prefix("error: ").unwrap_or(&words);
    let typed = std::env::args().nth(1);
    let command = typed.as_deref().filter(|word| SHOWN.contains(word));
    format!(
        "{words} (see `phalanx {} --help`)",
        command.unwrap_or("run")
    )
}

pub(crate) fn ranks(text: &str) -> Result<u32, String> {
    let most = phalanx::limits::RANKS_MAX;
    match text.parse::<u32>() {
        Ok(ranks) if ranks >= 1 && ranks as usize <= most => Ok(ranks),
        _ => Err(format!(
            "the number of ranks must be a whole number from 1 to {most}"
        )),
    }
}

pub(crate) fn seconds(text: &str) -> Result<std::time::Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "give a number of seconds above 0, such as 90 or 0.5".to_owned())
}

pub(crate) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => match std::env::var(text) {
            Ok(value) => (text, value),
            Err(_) => {
                return Err(format!(
                    "{text} is not set here; write {text}=VALUE to set it for the ranks"
                ));
            }
        },
    };
    if name.is_empty() || text.contains('\0') {
        return Err("write NAME=VALUE".to_owned());
    }
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(words: &[&str]) -> Result<RunArgs, String> {
        let words = ["phalanx", "run"].iter().chain(words);
        match Cli::try_parse_from(words) {
            Ok(Cli {
                command: Command::Run(run),
            }) => Ok(*run),
            Ok(_) => Err("not a run".into()),
            Err(error) => Err(one_line(&error.to_string())),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_program_belongs_to_it() {
        let args = run(&["-n", "3", "prog", "-n", "x", "--timeout", "y"]).expect("parses");
        assert_eq!(args.program.ranks, Some(3));
        assert_eq!(args.program.command, ["prog", "-n", "x", "--timeout", "y"]);
        let args = run(&["--example", "cg", "--", "--laplacian"]).expect("parses");
        assert_eq!(args.program.command, ["--laplacian"]);
    }

    #[test]
    fn mistakes_are_told_in_one_line_that_says_what_to_do() {
        for (words, needle) in [
            (&["-n", "0", "x"][..], "from 1 to"),
            (&["-n", "-1", "x"], "whole number"),
            (&["-n", "four", "x"], "whole number"),
            (&["-n", "99999999999", "x"], "whole number"),
            (&["--timeout", "-3", "x"], "above 0"),
            (&["--timeout", "soon", "x"], "above 0"),
            (&["--transport", "pigeon", "x"], "auto, shm, unix, tcp"),
            (&["--ports", "9-8", "x"], "20000-20999"),
            (&["--stdin", "some", "x"], "`all` or `none`"),
            (&["--env", "=3", "x"], "NAME=VALUE"),
            (&["--env", "PHALANX_NO_SUCH_VARIABLE", "x"], "is not set"),
            (&["--frobnicate", "x"], "'--frobnicate' found; to pass"),
        ] {
            let message = run(words).expect_err("a mistake");
            assert!(message.contains(needle), "{words:?}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
