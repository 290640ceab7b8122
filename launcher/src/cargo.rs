//! Building the program with cargo before it is run, as `cargo run` does.

use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::cli::BuildArgs;
use crate::job::Refusal;

/// Builds what was asked for and returns the path of the executable; `None` when nothing was.
pub(crate) fn build(args: &BuildArgs) -> Result<Option<String>, Refusal> {
    let wanted = args.example.is_some() || args.bin.is_some() || args.package.is_some();
    if !wanted {
        if args.release || args.debug || args.profile.is_some() || args.features.is_some() {
            return Err(Refusal::usage(
                "--release, --debug, --profile and --features say how to build; add --example NAME, \
                 --bin NAME or --package NAME to say what",
            ));
        }
        return Ok(None);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command
        .args(arguments(args, built_by_cargo_run_in_release()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    forget_our_own_package(&mut command);
    let output = command
        .stderr(Stdio::inherit())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .map_err(|error| {
            Refusal::launch(format!(
                "cannot run {}: {error}; is cargo installed and on the PATH?",
                cargo.to_string_lossy()
            ))
        })?;
    if !output.status.success() {
        return Err(Refusal::launch(format!(
            "cargo could not build {}; its messages are above",
            describe(args)
        )));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    choose(args, executables(&messages, args)).map(Some)
}

/// Under `cargo run --release -p phalanx-launcher -- run --example x` the user has said
/// `--release` once and means both; an installed launcher does as cargo does.
fn built_by_cargo_run_in_release() -> bool {
    !cfg!(debug_assertions)
        && std::env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == env!("CARGO_PKG_NAME"))
}

fn arguments(args: &BuildArgs, release_by_default: bool) -> Vec<String> {
    let mut words = vec![
        "build".to_owned(),
        "--message-format=json-render-diagnostics".to_owned(),
    ];
    let mut option = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            words.push(name.to_owned());
            words.push(value.clone());
        }
    };
    option("--package", &args.package);
    option("--example", &args.example);
    option("--bin", &args.bin);
    option("--features", &args.features);
    option("--profile", &args.profile);
    if args.release || (release_by_default && !args.debug && args.profile.is_none()) {
        words.push("--release".to_owned());
    }
    words
}

/// What cargo sets for the program it runs describes our package, not the one to be built.
fn forget_our_own_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let ours = name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || matches!(
                name,
                "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR"
            );
        if ours {
            command.env_remove(name);
        }
    }
}

fn describe(args: &BuildArgs) -> String {
    match (&args.example, &args.bin, &args.package) {
        (Some(name), _, _) => format!("example {name}"),
        (_, Some(name), _) => format!("binary {name}"),
        (_, _, Some(name)) => format!("package {name}"),
        _ => "the program".to_owned(),
    }
}

/// The part of cargo's messages that we need.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The executables that cargo says it has made, or found fresh, and that were asked for.
fn executables(messages: &str, args: &BuildArgs) -> Vec<(String, String)> {
    let kind = if args.example.is_some() {
        "example"
    } else {
        "bin"
    };
    let name = args.example.as_ref().or(args.bin.as_ref());
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter_map(|message| Some((message.target?, message.executable?)))
        .filter(|(target, _)| target.kind.iter().any(|this| this == kind))
        .filter(|(target, _)| name.is_none_or(|name| *name == target.name))
        .map(|(target, executable)| (target.name, executable))
        .collect()
}

fn choose(args: &BuildArgs, found: Vec<(String, String)>) -> Result<String, Refusal> {
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    match found.as_slice() {
        [(_, executable)] => Ok(executable.clone()),
        [] => Err(Refusal::launch(format!(
            "cargo built {} but no program came of it; name one with --bin or --example",
            describe(args)
        ))),
        _ => Err(Refusal::launch(format!(
            "{} has several programs ({}); choose one with --bin or --package",
            describe(args),
            names.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"x"},"executable":null}
{"reason":"build-script-executed","package_id":"y"}
not json at all
{"reason":"compiler-artifact","target":{"kind":["example"],"name":"cg"},"executable":"/t/examples/cg","fresh":true}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"cg"},"executable":"/t/cg"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"other"},"executable":"/t/other"}
{"reason":"build-finished","success":true}"#;

    fn found(args: &BuildArgs) -> Result<String, String> {
        choose(args, executables(MESSAGES, args)).map_err(|refusal| refusal.message)
    }

    #[test]
    fn the_right_executable_is_taken_from_cargos_messages() {
        let example = BuildArgs {
            example: Some("cg".into()),
            ..BuildArgs::default()
        };
        assert_eq!(found(&example).as_deref(), Ok("/t/examples/cg"));
        let bin = BuildArgs {
            bin: Some("cg".into()),
            ..BuildArgs::default()
        };
        assert_eq!(found(&bin).as_deref(), Ok("/t/cg"));
        let package = BuildArgs {
            package: Some("p".into()),
            ..BuildArgs::default()
        };
        assert!(found(&package).expect_err("two").contains("cg, other"));
    }

    #[test]
    fn the_profile_follows_the_launcher_unless_the_user_says_otherwise() {
        let release = "--release".to_owned();
        let mut args = BuildArgs::default();
        assert!(arguments(&args, true).contains(&release));
        assert!(!arguments(&args, false).contains(&release));
        args.debug = true;
        assert!(!arguments(&args, true).contains(&release));
        args.debug = false;
        args.release = true;
        assert!(arguments(&args, false).contains(&release));
    }
}
