//! The programs of a job: one, or several with ranks of their own, as in `run -n 2 ./a x : -n 3 ./b`.

use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser};
use phalanx::limits::RANKS_MAX;
use phalanx::wire::control::Program;

use crate::cargo;
use crate::cli::{BuildArgs, Cli, RunArgs, one_line, ranks, variable};
use crate::inherit;
use crate::job::Refusal;
use crate::place::ranges;

/// Begins the next program.
const SEPARATOR: &str = ":";

/// A program, how many ranks run it, and what they find around them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "For each program")]
pub(crate) struct ProgramArgs {
    /// Number of ranks [default: the slots of all hosts; on this machine, the cores that may be used]
    #[arg(short = 'n', long = "ranks", alias = "np", value_name = "N",
        value_parser = ranks, allow_negative_numbers = true)]
    pub(crate) ranks: Option<u32>,

    /// Set a variable in the environment of the ranks (repeatable); `K` alone passes ours on
    #[arg(long, value_name = "K=V", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,

    /// Working directory of the ranks
    #[arg(long, value_name = "DIR")]
    pub(crate) wdir: Option<PathBuf>,

    /// The program and its arguments; only its arguments after --example or --bin. `:` begins another program
    #[arg(value_name = "PROGRAM ARGS", trailing_var_arg = true,
        help_heading = clap::builder::Resettable::Reset)]
    pub(crate) command: Vec<String>,

    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// What may stand behind a `:`.
#[derive(Debug, Parser)]
#[command(disable_help_flag = true, disable_version_flag = true)]
struct Later {
    #[command(flatten)]
    program: ProgramArgs,
}

/// Takes the programs behind a `:` out of the arguments of the one before.
///
/// # Errors
///
/// One line, when what stands there is not understood.
pub(crate) fn split(run: &mut RunArgs) -> Result<(), String> {
    let words = std::mem::take(&mut run.program.command);
    let mut parts = words.split(|word| word == SEPARATOR);
    run.program.command = parts.next().unwrap_or_default().to_vec();
    for (number, words) in (2..).zip(parts) {
        run.later.push(later(number, words)?);
    }
    Ok(())
}

fn later(number: usize, words: &[String]) -> Result<ProgramArgs, String> {
    if words.is_empty() {
        return Err(
            "`:` begins another program, and none follows; a program cannot be given a bare `:`, \
             unless through a script"
                .to_owned(),
        );
    }
    let words = std::iter::once("phalanx").chain(words.iter().map(String::as_str));
    let error = match Later::try_parse_from(words) {
        Ok(later) => return Ok(later.program),
        Err(error) => error,
    };
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) if error.kind() == ErrorKind::UnknownArgument => option,
        _ => {
            return Err(format!(
                "program {number}: {}",
                one_line(&error.to_string())
            ));
        }
    };
    if is_of_run(option) {
        return Err(format!(
            "{option} counts for the whole job: give it before the first program, not for program {number} \
             alone (-n, --env, --wdir and what to build are for each program)"
        ));
    }
    Err(format!(
        "program {number}: {}",
        one_line(&error.to_string())
    ))
}

/// Whether `phalanx run` knows an option.
fn is_of_run(option: &str) -> bool {
    let cli = Cli::command();
    let run = cli.find_subcommand("run");
    let mut options = run.into_iter().flat_map(clap::Command::get_arguments);
    options.any(|argument| {
        let long = argument.get_long_and_visible_aliases().unwrap_or_default();
        let short = argument.get_short();
        long.iter()
            .any(|long| option.strip_prefix("--") == Some(long))
            || short.is_some_and(|short| option == format!("-{short}"))
    })
}

/// How many ranks run each program; `all` for the only one.
///
/// # Errors
///
/// When one of several has no number, or there are too many together.
pub(crate) fn ranks_of(programs: &[ProgramArgs], all: u32) -> Result<Vec<u32>, Refusal> {
    if let [only] = programs {
        return Ok(vec![only.ranks.unwrap_or(all)]);
    }
    let of = |(number, program): (usize, &ProgramArgs)| {
        program.ranks.ok_or_else(|| {
            Refusal::usage(format!(
                "with several programs each needs its own -n; program {number} has none"
            ))
        })
    };
    let each = (1..)
        .zip(programs)
        .map(of)
        .collect::<Result<Vec<u32>, _>>()?;
    let sum: u64 = each.iter().map(|ranks| u64::from(*ranks)).sum();
    if sum > RANKS_MAX as u64 {
        let line = format!("{sum} ranks of all programs are more than {RANKS_MAX}");
        return Err(Refusal::usage(line));
    }
    Ok(each)
}

/// Builds what is to be built, and makes sure that there is a program for all ranks. `used_here` says that ranks
/// run on this host; `options` are variables for all.
pub(crate) fn plan(
    programs: Vec<ProgramArgs>,
    ranks: &[u32],
    used_here: bool,
    options: &[(String, String)],
) -> Result<Vec<Program>, Refusal> {
    let here = std::env::current_dir().ok();
    let mut planned = Vec::new();
    let mut first_rank = 0;
    for (program, ranks) in programs.into_iter().zip(ranks) {
        inherit::check(&program.env)?;
        let wanted = program.wdir.as_deref();
        let directory = inherit::directory(wanted, here.as_deref(), used_here)?;
        let mut command = program.command;
        match cargo::build(&program.build)? {
            Some(built) => command.insert(0, built),
            None => settle(&mut command, wanted.is_some())?,
        }
        let mut environment = program.env;
        environment.extend_from_slice(options);
        planned.push(Program {
            first_rank,
            command,
            environment,
            directory,
            directory_required: program.wdir.is_some(),
            sent: None,
        });
        first_rank += ranks;
    }
    Ok(planned)
}

/// Makes sure there is a program, and that `./prog` means the one that the user sees.
fn settle(command: &mut [String], elsewhere: bool) -> Result<(), Refusal> {
    let Some(program) = command.first_mut() else {
        return Err(Refusal::usage(
            "what shall be run? Give a program, as in `phalanx run -n 4 ./prog`, or --example NAME \
             or --bin NAME to build one with cargo",
        ));
    };
    if program.is_empty() {
        return Err(Refusal::usage("the name of the program is empty"));
    }
    if elsewhere && program.contains('/') && Path::new(&program).is_file() {
        let absolute: Option<PathBuf> = std::path::absolute(&program).ok();
        if let Some(absolute) = absolute.as_deref().and_then(Path::to_str) {
            *program = absolute.to_owned();
        }
    }
    Ok(())
}

/// All programs in one line, as they are typed.
pub(crate) fn line(programs: &[Program]) -> String {
    let commands: Vec<String> = programs.iter().map(|it| it.command.join(" ")).collect();
    commands.join(" : ")
}

/// The programs for people: a line for each of several, with its ranks of all `size`.
pub(crate) fn description(programs: &[Program], size: u32) -> String {
    let ends = programs.iter().skip(1).map(|next| next.first_rank);
    let line = |((number, program), end): ((usize, &Program), u32)| {
        let ranks: Vec<u32> = (program.first_rank..end).collect();
        let plural = if ranks.len() == 1 { "" } else { "s" };
        let words = quoted(&program.command);
        format!(
            "program {number}, rank{plural} {}: {words}\n",
            ranges(&ranks)
        )
    };
    let programs = programs.iter().enumerate();
    programs.zip(ends.chain([size])).map(line).collect()
}

/// A command whose words can be told apart.
pub(crate) fn quoted(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| format!("{word:?}")).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Vec<ProgramArgs>, String> {
        let words = ["phalanx", "run"].into_iter().chain(words.split(' '));
        let cli = Cli::try_parse_from(words).expect("the first program is fine");
        let crate::cli::Command::Run(mut run) = cli.command else {
            panic!("not a run");
        };
        split(&mut run)?;
        Ok(run.programs())
    }

    #[test]
    fn each_program_has_its_own_ranks_variables_and_arguments() {
        let all = parsed(
            "-n 2 --timeout 5 ./a -n x : -n 3 --env K=V --wdir /d ./b : -n 1 --example c -- y",
        );
        let all = all.expect("three programs");
        let commands: Vec<_> = all.iter().map(|it| it.command.join(" ")).collect();
        assert_eq!(commands, ["./a -n x", "./b", "y"]);
        assert_eq!(ranks_of(&all, 9).expect("numbers"), [2, 3, 1]);
        assert_eq!(all[1].env, [("K".to_owned(), "V".to_owned())]);
        assert_eq!(all[1].wdir.as_deref(), Some(Path::new("/d")));
        assert!(all[0].env.is_empty() && all[2].build.example.as_deref() == Some("c"));
    }

    #[test]
    fn options_to_build_may_stand_without_arguments_before_the_next_program() {
        let all = parsed("-n 1 --example a : -n 2 --bin b --release").expect("two programs");
        assert_eq!(all[0].build.example.as_deref(), Some("a"));
        assert!(all[0].command.is_empty() && all[1].command.is_empty());
        assert!(!all[0].build.release && all[1].build.release);
    }

    #[test]
    fn mistakes_behind_a_colon_teach() {
        for (words, needle) in [
            (
                "-n 1 a : -n 1 --timeout 5 b",
                "--timeout counts for the whole job",
            ),
            (
                "-n 1 a : -n 1 --tag-output=host b",
                "--tag-output counts for the whole job",
            ),
            ("-n 1 a : -n 1 -q b", "-q counts for the whole job"),
            ("-n 1 a : -n 1 --ppn 2 b", "--ppn counts for the whole job"),
            (
                "-n 1 a : -n 1 --frobnicate b",
                "program 2: unexpected argument",
            ),
            ("-n 1 a : -n 1 b : -n 0 c", "program 3: invalid value"),
            ("-n 1 sh -c :", "a program cannot be given a bare `:`"),
            ("-n 1 a : : -n 1 b", "none follows"),
        ] {
            let message = parsed(words).expect_err("a mistake");
            assert!(message.contains(needle), "{words}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn several_programs_need_numbers_that_fit() {
        let refusal = |words| {
            let all = parsed(words).expect("programs");
            ranks_of(&all, 4).expect_err("refused").message
        };
        assert!(refusal("-n 1 a : b").contains("program 2 has none"));
        let most = RANKS_MAX;
        assert!(refusal(&format!("-n {most} a : -n 1 b")).contains("are more than"));
    }

    #[test]
    fn the_programs_are_told_with_their_ranks() {
        let program = |first_rank, name: &str| Program {
            first_rank,
            command: vec![name.to_owned(), "x y".to_owned()],
            ..Program::default()
        };
        assert_eq!(
            description(&[program(0, "a"), program(2, "b")], 3),
            "program 0, ranks 0-1: \"a\" \"x y\"\nprogram 1, rank 2: \"b\" \"x y\"\n"
        );
    }
}
