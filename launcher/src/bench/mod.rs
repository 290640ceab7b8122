//! `phalanx bench`: measures the library on this machine.
//!
//! `args` (as typed) become a `plan`: which ranks are to be started, and what they measure. `launch` starts
//! them by `phalanx run`; each is this program again, and `rank` is what it does. Their answers become
//! `rows`, with `statistics` and the machine's own `bounds`; `guidelines` are checked on them; `report`
//! shows it all.

pub(crate) mod args;
mod bounds;
mod case;
mod guidelines;
mod launch;
mod machine;
mod order;
mod plan;
mod rank;
mod recipe;
mod report;
mod rows;
mod statistics;

use std::process::ExitCode;

use args::BenchArgs;
use bounds::Bounds;
use case::Case;
use machine::{Machine, Ticks};
use order::{Answer, Point};
use plan::Part;
use rows::Rows;

use crate::job::Refusal;

/// When this process was started by a benchmark, to be a rank or to help with a bound: does that. To be
/// asked before the command line is parsed, for a rank should start as fast as any other.
pub(crate) fn answer_the_call() -> Option<ExitCode> {
    rank::answer_the_call().or_else(bounds::answer_the_call)
}

/// Measures, and reports.
pub(crate) fn run(args: &BenchArgs) -> Result<u8, Refusal> {
    let mut machine = Machine::describe();
    let before = Ticks::now();
    let parts = plan::plan(args);
    let mut rows = Rows::default();
    let launches = args.launches();
    for launch in 1..=launches {
        // All parts in each launch, so that what changes on the machine meanwhile meets all alike.
        for part in &parts {
            let what = part.setting.describe();
            eprintln!("phalanx: launch {launch} of {launches}: {what}");
            measure(part, args, &mut rows)?;
        }
    }
    eprintln!("phalanx: bounds");
    let mut bounds = Bounds::default();
    let rows = rows.finish(&mut bounds);
    let findings = guidelines::check(&rows, &mut bounds);
    machine.others = before.and_then(|before| Ticks::now()?.others_since(before));
    let report = report::Report {
        machine: &machine,
        bounds: bounds.known(),
        rows: &rows,
        guidelines: &findings,
    };
    report.publish(args)?;
    Ok(0)
}

/// One launch of a part.
fn measure(part: &Part, args: &BenchArgs, rows: &mut Rows) -> Result<(), Refusal> {
    let (pace, ranks) = (args.pace(), part.setting.ranks);
    let (order, limit) = (part.order(pace), part.limit(&pace));
    if part.alone() != Some(Case::Startup) {
        launch::start(&part.setting, &order, limit)?.finish(|answer| rows.add(ranks, answer))?;
        return Ok(());
    }
    let mut samples = Vec::new();
    let mut transport = String::new();
    for _ in 0..plan::starts(args.quick) {
        let ranks = launch::start(&part.setting, &order, limit)?;
        let took = ranks.finish(|answer| transport = answer.transport)?;
        samples.push(took.as_secs_f64() * 1e6);
    }
    rows.add(
        ranks,
        Answer {
            point: Point::of(Case::Startup, 0),
            transport,
            algorithm: String::new(),
            batch: 1,
            samples,
        },
    );
    Ok(())
}
