//! The examples, built once for a test program.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The path of an example. They are built once, with the features that tests of the whole workspace
/// have given them already.
pub(crate) fn example(name: &str) -> &'static str {
    static BUILT: OnceLock<Vec<(String, String)>> = OnceLock::new();
    let built = BUILT.get_or_init(build);
    let found = built.iter().find(|(target, _)| target == name);
    &found.expect("there is such an example").1
}

fn build() -> Vec<(String, String)> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--workspace", "--examples"]);
    cargo.arg("--message-format=json-render-diagnostics");
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    for (name, _) in std::env::vars() {
        // What cargo says of the package of this test.
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(root()).stderr(Stdio::inherit());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "the examples do not build");
    let messages = String::from_utf8(output.stdout).expect("UTF-8");
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = |message: Value| {
        let text = |value: &Value| Some(value.as_str()?.to_owned());
        Some((
            text(&message["target"]["name"])?,
            text(&message["executable"])?,
        ))
    };
    messages.filter_map(program).collect()
}

pub(crate) fn root() -> &'static Path {
    let launcher = Path::new(env!("CARGO_MANIFEST_DIR"));
    launcher.parent().expect("the workspace is above")
}
