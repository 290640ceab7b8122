//! What is said where: input and output, output into files, colours, and how much we say ourselves.

use std::path::PathBuf;

use clap::Args;
use phalanx::wire::control::InputFor;

use crate::cli::Tag;
use crate::nodes::Host;

/// Where input and output go, and how much the launcher says.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Input and output")]
pub(crate) struct TalkArgs {
    /// Which ranks get standard input: a rank, `all` of them the whole of it, or `none`
    #[arg(long, value_name = "RANK|all|none", value_parser = input_for, default_value = "0")]
    pub(crate) stdin: InputFor,

    /// Begin each line of output with its rank, as in `[3] `, or with `--tag-output=host` as in `[3 node1] `
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true,
        default_missing_value = "rank")]
    pub(crate) tag_output: Option<Tag>,

    /// Write the output of each rank to files in DIR, such as rank-03.out and rank-03.err, and not here
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,

    /// Write what became of the job and of each rank to FILE, as JSON, when it is over; see docs/report.md
    #[arg(long, value_name = "FILE")]
    pub(crate) report_json: Option<PathBuf>,

    /// Say which hosts are used, who gave them, and where daemons were started
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Leave out notes; only what went wrong is said
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

fn input_for(text: &str) -> Result<InputFor, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(InputFor::Everybody),
        ("none", _) => Ok(InputFor::Nobody),
        (_, Ok(rank)) => Ok(InputFor::Rank(rank)),
        _ => Err("give the number of a rank, `all` or `none`".to_owned()),
    }
}

/// Colours of ranks, one after the other; all can be read on light and dark.
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// The text in the colour of a rank.
pub(crate) fn coloured(rank: usize, text: &str) -> String {
    let colour = COLOURS[rank % COLOURS.len()];
    format!("\x1b[{colour}m{text}\x1b[0m")
}

/// Whether a stream wants colours: it is a terminal, and the user has nothing against it.
pub(crate) fn wants_colours(stream: &impl std::io::IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !refused && !dumb
}

/// The line of `--verbose` about the hosts.
pub(crate) fn hosts_line(hosts: &[Host], by: Option<&str>) -> String {
    const SHOWN: usize = 16;
    let words = hosts.iter().take(SHOWN).map(|host| {
        let here = if host.here { ", here" } else { "" };
        let plural = if host.slots == 1 { "" } else { "s" };
        format!("{} ({} slot{plural}{here})", host.name, host.slots)
    });
    let words: Vec<String> = words.collect();
    let more = match hosts.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let by = by.map_or_else(
        || "nobody named hosts, so it is this one".to_owned(),
        |by| format!("hosts from {by}"),
    );
    format!("{by}: {}{more}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_with_their_source_and_the_first_of_many() {
        let hosts: Vec<Host> = (0..18).map(|n| Host::new(format!("n{n}"), 2)).collect();
        let line = hosts_line(&hosts, Some("nodes.txt"));
        assert!(
            line.starts_with("hosts from nodes.txt: n0 (2 slots), n1"),
            "{line}"
        );
        assert!(line.ends_with("n15 (2 slots) and 2 more"), "{line}");
    }
}
