//! The command line of `phalanx bench`, and what it means.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::case::{Case, ITERATION_STEPS};
use super::order::Pace;
use crate::cli::{self, Transport};

/// What `phalanx bench` takes.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure [default: everything]
    #[arg(value_name = "CASE")]
    pub(crate) cases: Vec<Case>,

    /// Number of ranks [default: the cores that may be used, but at least 2]
    #[arg(short = 'n', long = "ranks", alias = "np", value_name = "N",
        value_parser = cli::ranks, allow_negative_numbers = true)]
    pub(crate) ranks: Option<u32>,

    /// How ranks talk to each other
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub(crate) transport: Transport,

    /// Lengths of messages or blocks, as in 8,1K,64K,1M
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = size)]
    pub(crate) sizes: Vec<usize>,

    /// How often the ranks are started anew [default: 3, quick: 1]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) launches: Option<u32>,

    /// Repetitions of each figure in each launch [default: as many as the budget allows, 5 to 1000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) repetitions: Option<u32>,

    /// Time for each figure in each launch, in seconds [default: 0.4, quick: 0.03]
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, allow_negative_numbers = true)]
    pub(crate) budget: Option<Duration>,

    /// Dependent multiply-adds, of 2 to 3 ns each, that a rank computes in one iteration of `iterate`
    #[arg(long, value_name = "COUNT", default_value_t = ITERATION_STEPS as u32)]
    pub(crate) steps: u32,

    /// How long `idle` watches, in seconds [default: 10, quick: 2]
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds, allow_negative_numbers = true)]
    pub(crate) seconds: Option<Duration>,

    /// Measure less: one launch, few lengths, short; to see that all works
    #[arg(long)]
    pub(crate) quick: bool,

    /// Write machine, bounds, rows and guidelines to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the rows to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,

    /// Write a page with tables and plots to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// For the help text.
pub(crate) const ABOUT: &str = "\
Measures this library on this machine, in the manner of the OSU benchmarks, and says how far from the \
machine's own limits it is.

Ranks are this program, started as `phalanx run` starts any other. A repetition begins with one \
operation that is not timed and a dissemination barrier of empty messages; then every rank times a batch of operations, so long that clock and barrier do \
not matter; the figure is the time of the slowest rank divided by the length of the batch. Each table shows \
the fastest repetition, the median and the 99th percentile (of several launches: the median of theirs), and \
the range of the launches' medians. Results are checked; a wrong one ends the benchmark with exit code 1. \
Interrupted, it shows what it has until then.

The bounds are measured in the same run: a cache line passed between two cores, a copy in memory, bare \
sockets, switches between processes of one core.";

/// For the help text.
pub(crate) const EXAMPLES: &str = "\
Examples:
  phalanx bench -n 4
  phalanx bench -n 4 barrier allreduce --sizes 8,64K,1M --launches 10 --html bench.html
  phalanx bench tradeoff --quick
  phalanx bench -n 64 startup memory idle --json bench.json";

impl BenchArgs {
    /// Ranks of the collective cases.
    pub(crate) fn size(&self) -> usize {
        let default = super::machine::cores().max(2);
        self.ranks.map_or(default, |ranks| ranks as usize)
    }

    /// Without repetition; all when none is named.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let mut cases = self.cases.clone();
        if cases.is_empty() {
            cases = Case::value_variants().to_vec();
        }
        cases.sort_unstable();
        cases.dedup();
        cases
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        const KIB: usize = 1 << 10;
        const MIB: usize = 1 << 20;
        match (self.sizes.as_slice(), self.quick) {
            ([], true) => vec![8, KIB, 64 * KIB, MIB],
            ([], false) => vec![8, 64, KIB, 8 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB],
            (sizes, _) => sizes.to_vec(),
        }
    }

    /// Fewer by default, for each is measured in many ways.
    pub(crate) fn guideline_sizes(&self) -> Vec<usize> {
        match (self.sizes.as_slice(), self.quick) {
            ([], true) => vec![8, 64 << 10],
            ([], false) => vec![8, 1 << 10, 64 << 10, 1 << 20],
            (sizes, _) => sizes.to_vec(),
        }
    }

    pub(crate) fn launches(&self) -> usize {
        let default = if self.quick { 1 } else { 3 };
        self.launches.map_or(default, |launches| launches as usize)
    }

    pub(crate) fn pace(&self) -> Pace {
        let budget = if self.quick { 0.03 } else { 0.4 };
        let idle = if self.quick { 2.0 } else { 10.0 };
        Pace {
            budget_seconds: self.budget.map_or(budget, |budget| budget.as_secs_f64()),
            repetitions: self.repetitions.map(|count| count as usize),
            idle_seconds: self.seconds.map_or(idle, |seconds| seconds.as_secs_f64()),
        }
    }
}

/// A number of bytes, with K, M or G for powers of 1024.
fn size(text: &str) -> Result<usize, String> {
    const BYTES_MAX: usize = 1 << 30;
    let text = text
        .trim()
        .trim_end_matches("iB")
        .trim_end_matches(['b', 'B']);
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let bytes = digits.trim().parse::<usize>().ok();
    bytes
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| (1..=BYTES_MAX).contains(bytes))
        .ok_or_else(|| "give bytes from 1 to 1G, as in 8,1K,64K,1M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [
            ("8", 8),
            ("8B", 8),
            ("1K", 1024),
            ("64KiB", 65536),
            ("2m", 2 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "K",
            "-1",
            "1.5K",
            "2G",
            "99999999999999999999",
            "8X",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
