//! `phalanx doctor`: looks whether jobs can run on hosts, and how to mend what is wrong.
//!
//! `visit` brings this very program to every host, as `run` brings daemons there, and lets it `examine` the
//! host and reach the others; `judge` makes findings of what comes back; `table` shows them.

pub(crate) mod args;
pub(crate) mod examine;
mod judge;
mod table;
mod visit;
mod words;

use std::io::Write;

use phalanx::config::Config;
use serde::Serialize;

use crate::exit;
use crate::job::{Identity, Refusal};
use crate::nodes::{self, Host};
use args::DoctorArgs;
use visit::Visit;
use words::{Check, Finding, State};

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Entry {
    check: Check,
    host: String,
    /// Where a connection leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(flatten)]
    finding: Finding,
}

impl Entry {
    fn of(check: Check, host: &Host, finding: Finding) -> Self {
        Self {
            check,
            host: host.name.clone(),
            to: None,
            finding,
        }
    }

    /// On which host, or from which to which.
    fn place(&self) -> String {
        match &self.to {
            None => self.host.clone(),
            Some(to) => format!("{} -> {to}", self.host),
        }
    }
}

/// Everything, for programs.
#[derive(Debug, Serialize)]
struct Everything<'a> {
    hosts: Vec<&'a str>,
    wrong: usize,
    warnings: usize,
    findings: &'a [Entry],
}

/// Looks at everything and prints what was found.
pub(crate) fn run(args: &DoctorArgs) -> Result<u8, Refusal> {
    let found = nodes::find(&args.hosts.host, &args.hosts.hostfile).map_err(Refusal::usage)?;
    let config = Config::from_environment().map_err(Refusal::usage)?;
    let wishes = visit::Wishes {
        options: args.way.options(std::env::var_os("SLURM_JOB_ID").is_some()),
        interface: args.interface.clone(),
        usual_interface: config.interface,
        ports: args.ports.or(config.ports),
    };
    let guests = Visit::begin(&found.hosts, wishes, Identity::draw()?)?.finish()?;
    let entries = judge::judge(&guests, args.ports.or(config.ports));
    let count = |state| {
        let same = entries.iter().filter(|entry| entry.finding.state == state);
        same.count()
    };
    let text = if args.json {
        let everything = Everything {
            hosts: found.hosts.iter().map(|host| host.name.as_str()).collect(),
            wrong: count(State::Wrong),
            warnings: count(State::Warning),
            findings: &entries,
        };
        serde_json::to_string_pretty(&everything)
            .map_err(|error| Refusal::launch(error.to_string()))?
            + "\n"
    } else {
        table::text(&entries, args.verbose, table::width())
    };
    Ok(match std::io::stdout().write_all(text.as_bytes()) {
        Err(_) => exit::OUTPUT_CLOSED,
        Ok(()) if count(State::Wrong) > 0 => exit::UNWELL,
        Ok(()) => 0,
    })
}
