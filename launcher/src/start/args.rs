//! How other hosts are started, as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Options, Way};
use crate::cli::seconds;

/// The part of `phalanx run` that is about other hosts.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Other hosts")]
pub(crate) struct StartArgs {
    #[command(flatten)]
    pub(crate) way: WayArgs,

    /// Send this file along (repeatable): ranks elsewhere find it under the same name
    #[arg(long, value_name = "FILE", conflicts_with = "no_ship")]
    pub(crate) ship_file: Vec<PathBuf>,

    /// A host that is silent for so long is lost, with exit code 72 [default: 3]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) host_timeout: Option<Duration>,
}

/// By which way.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Other hosts")]
pub(crate) struct WayArgs {
    /// What reaches other hosts [default: srun inside an allocation of Slurm, otherwise ssh]
    #[arg(long, value_name = "WAY", conflicts_with = "launch_agent")]
    pub(crate) launcher: Option<Launcher>,

    /// Reach other hosts with this command: it is given a host and a command to run there
    #[arg(long, value_name = "CMD")]
    pub(crate) launch_agent: Option<String>,

    /// A word for ssh, such as `-oPort=2222` (repeatable); PHALANX_SSH names another ssh
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) ssh_option: Vec<String>,

    /// Send nothing: other hosts have the launcher, the program and the directory already
    #[arg(long)]
    pub(crate) no_ship: bool,

    /// A host that does not answer for so long when it is started has failed [default: 12]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) start_timeout: Option<Duration>,
}

/// The ways that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Launcher {
    /// The system's ssh
    Ssh,
    /// A step of Slurm for each host
    Srun,
    /// `kubectl exec`; hosts are names of pods
    Kubectl,
}

impl WayArgs {
    /// The way and its options; `in_slurm` says that we are inside an allocation.
    pub(crate) fn options(&self, in_slurm: bool) -> Options {
        let way = match (&self.launch_agent, self.launcher) {
            (Some(words), _) => Way::Agent(words.split_whitespace().map(str::to_owned).collect()),
            (None, Some(Launcher::Srun)) => Way::Srun,
            (None, Some(Launcher::Kubectl)) => Way::Kubectl,
            (None, Some(Launcher::Ssh)) => Way::Ssh,
            (None, None) if in_slurm => Way::Srun,
            (None, None) => Way::Ssh,
        };
        let patience = Options::default().patience;
        Options {
            way,
            ssh_options: self.ssh_option.clone(),
            no_ship: self.no_ship,
            patience: self.start_timeout.unwrap_or(patience),
        }
    }
}
