//! A daemon on this host: this very program again, talking over its standard input and output
//! exactly as it would through ssh.

use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::job::Refusal;

/// A daemon that was started, and the streams to it.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) to: ChildStdin,
    pub(crate) from: ChildStdout,
}

/// Starts the daemon.
pub(crate) fn start() -> Result<Started, Refusal> {
    let cannot = |error| Refusal::launch(format!("cannot start the local daemon: {error}"));
    let mut program = std::env::current_exe().map_err(cannot)?;
    if !program.exists() {
        // It was replaced while it runs, as a build does; Linux still has it.
        program = "/proc/self/exe".into();
    }
    let mut child = Command::new(program)
        .arg("daemon")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let streams = child.stdin.take().zip(child.stdout.take());
    let Some((to, from)) = streams else {
        return Err(Refusal::launch("the local daemon has no streams"));
    };
    Ok(Started { child, to, from })
}
