//! The launcher of Phalanx: starts ranked programs and watches over them.
//!
//! `cli` (as typed) becomes a `job` (a validated plan) with a `place` for every rank; `launch`
//! starts a `daemon` on each host and lets `control`, a pure state machine, decide what to do about
//! what happens. Daemons start the ranks, forward their output and report their ends.

mod algorithms;
mod bench;
mod callers;
mod cargo;
mod cli;
mod control;
mod daemon;
mod doctor;
mod document;
mod exit;
mod files;
mod inherit;
mod input;
mod job;
mod launch;
mod nodes;
mod orphans;
mod output;
mod place;
mod programs;
mod ship;
mod signals;
mod sink;
mod start;
mod stream;
mod talk;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = bench::answer_the_call() {
        return code;
    }
    let code = match cli::parse() {
        Err(code) => code,
        Ok(cli) => match cli.command {
            cli::Command::Daemon(args) => daemon::run(args),
            cli::Command::Run(args) => run(*args),
            cli::Command::Examine(args) => doctor::examine::run(args),
            cli::Command::Doctor(args) => report(doctor::run(&args)),
            cli::Command::Ps => report(callers::ps()),
            cli::Command::Stack { job } => report(callers::stack(job.as_deref())),
            cli::Command::Algorithms(args) => report(algorithms::run(&args)),
            cli::Command::Bench(args) => report(bench::run(&args)),
        },
    };
    ExitCode::from(code)
}

fn run(args: cli::RunArgs) -> u8 {
    report(job::Plan::new(args).and_then(|plan| {
        for note in &plan.notes {
            eprintln!("phalanx: {note}");
        }
        match plan.show {
            job::Show::Nothing => {}
            job::Show::Map => eprint!("{}", plan.map()),
            job::Show::All => {
                // A reader that has gone does not need it.
                let _ = write!(std::io::stdout(), "{}", plan.description());
                return Ok(0);
            }
        }
        launch::run(plan)
    }))
}

fn report(outcome: Result<u8, job::Refusal>) -> u8 {
    outcome.unwrap_or_else(|refusal| {
        eprintln!("phalanx: {}", refusal.message);
        refusal.code
    })
}
