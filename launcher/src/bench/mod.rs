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
mod interrupt;
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
use interrupt::Interrupt;
use machine::{Machine, Ticks};
use order::{Answer, Point};
use plan::Part;
use rows::Rows;

use crate::exit;
use crate::job::Refusal;

/// When this process was started by a benchmark, to be a rank or to help with a bound: does that. To be
/// asked before the command line is parsed, for a rank should start as fast as any other.
pub(crate) fn answer_the_call() -> Option<ExitCode> {
    rank::answer_the_call().or_else(bounds::answer_the_call)
}

/// Measures, and reports. When it is interrupted it reports what it has.
pub(crate) fn run(args: &BenchArgs) -> Result<u8, Refusal> {
    report::check(args)?;
    let interrupt = Interrupt::listen()
        .map_err(|error| Refusal::launch(format!("cannot handle signals: {error}")))?;
    let mut machine = Machine::describe();
    let before = Ticks::now();
    let rows = measure_all(args, &interrupt)?;
    match interrupt.came() {
        None => eprintln!("phalanx: bounds"),
        Some(_) => eprintln!("phalanx: interrupted; this is what was measured until then"),
    }
    let mut bounds = Bounds::until(&interrupt);
    let rows = rows.finish(&mut bounds);
    let findings = guidelines::check(&rows, &mut bounds);
    machine.others = before.and_then(|before| Ticks::now()?.others_since(before));
    let signal = interrupt.came();
    let report = report::Report {
        interrupted: signal.is_some(),
        machine: &machine,
        bounds: bounds.known(),
        rows: &rows,
        guidelines: &findings,
    };
    report.publish(args)?;
    Ok(signal.map_or(0, exit::of_signal))
}

/// All launches, or those before an interruption.
fn measure_all(args: &BenchArgs, interrupt: &Interrupt) -> Result<Rows, Refusal> {
    let parts = plan::plan(args);
    let mut rows = Rows::default();
    let launches = args.launches();
    for launch in 1..=launches {
        // All parts in each launch, so that what changes on the machine meanwhile meets all alike.
        for part in &parts {
            let what = part.setting.describe();
            eprintln!("phalanx: launch {launch} of {launches}: {what}");
            let measured = measure(part, args, interrupt, &mut rows);
            if interrupt.came().is_some() {
                // The ranks were ended, and have failed therefore.
                return Ok(rows);
            }
            measured?;
        }
    }
    Ok(rows)
}

/// One launch of a part.
fn measure(
    part: &Part,
    args: &BenchArgs,
    interrupt: &Interrupt,
    rows: &mut Rows,
) -> Result<(), Refusal> {
    let (pace, ranks) = (args.pace(), part.setting.ranks);
    let (order, limit) = (part.order(pace), part.limit(&pace));
    let start = || launch::start(&part.setting, &order, limit, interrupt);
    if part.alone() != Some(Case::Startup) {
        start()?.finish(|answer| rows.add(ranks, answer))?;
        return Ok(());
    }
    let mut samples = Vec::new();
    let mut transport = String::new();
    let mut ended = Ok(());
    for _ in 0..plan::starts(args.quick) {
        match start()?.finish(|answer| transport = answer.transport) {
            Ok(took) => samples.push(took.as_secs_f64() * 1e6),
            Err(refusal) => {
                ended = Err(refusal);
                break;
            }
        }
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
    ended
}
