//! What `phalanx doctor` takes.

use clap::Args;

use crate::cli::NamedHosts;
use crate::start::args::WayArgs;

pub(crate) const ABOUT: &str = "\
Looks whether jobs can run on hosts, and says what is wrong and how to mend it.

On every host: can it be reached, and with the same phalanx; its system and C library, clock, cache and /tmp, cores \
and quotas, limits of files, processes and locked memory, shared memory, copies between processes, addresses. Between \
every pair of hosts, both ways: can a connection be made where ranks would make it. Hosts are the same as those of \
`phalanx run`; without any it is this machine alone. All hosts are looked at together, and every look has a \
deadline. Nothing is left there but the copy of phalanx in the cache.";

pub(crate) const AFTER: &str = "\
Exit codes:
  0        nothing is wrong; there may be warnings
  1        something is wrong
  2        the command line is wrong
  71       the doctor could not start anything
  141      the reader of our standard output has gone

Examples:
  phalanx doctor
  phalanx doctor --host node1:4,node2:4
  phalanx doctor --hostfile hosts --interface ib0 --ports 20000-20999
  phalanx doctor --hostfile hosts --json | jq '.findings[] | select(.state != \"ok\")'";

/// As typed.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Interfaces or networks through which ranks of several hosts would talk: `eth0`, `10.1.0.0/16`
    #[arg(long, value_name = "NAME|CIDR")]
    pub(super) interface: Option<String>,

    /// TCP ports at which ranks would listen: some of them are tried, the ends among them
    #[arg(long, value_name = "LOW-HIGH", value_parser = phalanx::config::ports)]
    pub(super) ports: Option<(u16, u16)>,

    /// Print everything that was found as JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Show a row for every host, also where all is well
    #[arg(short, long, conflicts_with = "json")]
    pub(super) verbose: bool,

    #[command(flatten)]
    pub(super) hosts: NamedHosts,

    #[command(flatten)]
    pub(super) way: WayArgs,
}
