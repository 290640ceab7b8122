//! `phalanx algorithms`: which algorithm does which collective, and why.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::Args;
use phalanx::schedule::{Algorithm, Choice, Kind, SHARED_MEMORY, Selection};

use crate::exit;
use crate::job::Refusal;

pub(crate) const EXAMPLES: &str = "\
Examples:
  phalanx algorithms -n 64 allreduce
  PHALANX_ALGORITHMS=bcast=chain phalanx algorithms bcast
  phalanx run -n 64 --env PHALANX_ALGORITHMS=allreduce=ring,bcast=chain ./solver";

/// What `phalanx algorithms` takes.
#[derive(Debug, Args)]
pub(crate) struct AlgorithmsArgs {
    /// Number of ranks [default: the cores that may be used]
    #[arg(short = 'n', long = "ranks", alias = "np", value_name = "N",
        value_parser = crate::cli::ranks, allow_negative_numbers = true)]
    ranks: Option<u32>,

    /// Number of hosts of the job
    #[arg(long, value_name = "N", default_value_t = 1)]
    nodes: u32,

    /// Only these operations, by MPI's names in small letters [default: all]
    #[arg(value_name = "OPERATION")]
    operations: Vec<Kind>,
}

/// Prints the table.
pub(crate) fn run(args: &AlgorithmsArgs) -> Result<u8, Refusal> {
    let forced = std::env::var("PHALANX_ALGORITHMS").unwrap_or_default();
    let selection = Selection::force(&forced)
        .map_err(|error| Refusal::usage(format!("PHALANX_ALGORITHMS: {error}")))?
        .across_hosts(args.nodes > 1);
    let ranks = args.ranks.unwrap_or_else(crate::nodes::cores_here);
    let kinds = match &args.operations[..] {
        [] => &Kind::ALL[..],
        some => some,
    };
    let text = kinds
        .iter()
        .map(|&kind| describe(&selection, kind, ranks as usize))
        .collect::<Vec<_>>()
        .join("\n");
    Ok(match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => exit::OUTPUT_CLOSED,
    })
}

/// What is chosen for one operation, and what else there is.
fn describe(selection: &Selection, kind: Kind, ranks: usize) -> String {
    let mut text = format!("{kind}, {ranks} ranks");
    if let Some(measure) = kind.measure() {
        write!(text, "; length of {measure}").expect("memory");
    }
    text.push('\n');
    let shared = selection.shares_up_to(kind);
    if let Some(most) = shared {
        let lengths = Choice::lengths_between(0, most);
        text.push_str("  in the world, when all its processes share memory:\n");
        writeln!(text, "    {lengths:20} {SHARED_MEMORY:21} fewest sleeps").expect("memory");
        text.push_str("  otherwise:\n");
    }
    let choices = selection.choices(kind, true, ranks);
    table(&mut text, &choices);
    let ordered = selection.choices(kind, false, ranks);
    if Algorithm::of(kind).any(|algorithm| algorithm.commutative_only) {
        text.push_str("  with an operator that is not commutative:\n");
        table(&mut text, &ordered);
    }
    let used = |algorithm: &Algorithm| {
        let mut both = choices.iter().chain(&ordered);
        both.any(|choice| std::ptr::eq(choice.algorithm, algorithm))
    };
    text.push_str("  what each does, and can be made to do:\n");
    for algorithm in Algorithm::of(kind) {
        let note = match (algorithm.commutative_only, used(algorithm)) {
            (true, true) => " (commutative operators only)",
            (true, false) => " (commutative operators only; not chosen by itself here)",
            (false, true) => "",
            (false, false) => " (not chosen by itself here)",
        };
        let force = format!("{kind}={}", algorithm.name);
        writeln!(text, "    {force:42} {}{note}", algorithm.summary).expect("memory");
    }
    if Selection::default().shares_up_to(kind).is_some() {
        let force = format!("{kind}={SHARED_MEMORY}");
        writeln!(
            text,
            "    {force:42} processes meet in shared memory, combine in rank order"
        )
        .expect("memory");
    }
    text
}

fn table(text: &mut String, choices: &[Choice]) {
    for choice in choices {
        let name = choice.algorithm.name;
        writeln!(
            text,
            "    {:20} {name:21} {}",
            choice.lengths(),
            choice.reason
        )
        .expect("memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_forced_is_shown_once() {
        let selection = Selection::default();
        for kind in Kind::ALL {
            let text = describe(&selection, kind, 4);
            for algorithm in Algorithm::of(kind) {
                let force = format!("{kind}={} ", algorithm.name);
                assert_eq!(text.matches(&force).count(), 1, "{force}\n{text}");
                assert!(Selection::force(force.trim()).is_ok());
            }
        }
    }

    #[test]
    fn choices_come_with_lengths_and_reasons() {
        let text = describe(&Selection::default(), Kind::Allreduce, 4);
        assert!(text.starts_with("allreduce, 4 ranks; length of the message\n  in the world, "));
        assert!(
            text.contains(">= 4 MiB             ring                  few ranks"),
            "{text}"
        );
        assert!(
            text.contains("    any                  shared_memory  ")
                && text.contains("otherwise:\n    <= 32 KiB "),
            "{text}"
        );
        assert!(text.contains("allreduce=shared_memory "), "{text}");
        assert!(text.contains("not commutative:\n    <= 32 KiB "), "{text}");
        assert!(text.contains("dual_root"), "{text}");
        let barrier = describe(&Selection::default(), Kind::Barrier, 4);
        assert!(barrier.contains("otherwise:\n    any  "), "{barrier}");
        assert!(!barrier.contains("commutative"), "{barrier}");
        let scan = describe(&Selection::default(), Kind::Scan, 4);
        assert!(!scan.contains(SHARED_MEMORY), "{scan}");
        let forced = Selection::force("barrier=flat").expect("valid");
        let forced = describe(&forced, Kind::Barrier, 4);
        assert!(!forced.contains("otherwise"), "{forced}");
        assert!(forced.contains("barrier=shared_memory "), "{forced}");
    }
}
