//! A daemon on this host: this very program again, talking over its standard input and output
//! exactly as it would through ssh.

use std::process::{Command, Stdio};

use super::{Role, Started};
use crate::job::Refusal;

/// Starts it.
pub(crate) fn start(role: Role) -> Result<Started, Refusal> {
    let cannot = |error| Refusal::launch(format!("cannot start the local daemon: {error}"));
    let mut program = std::env::current_exe().map_err(cannot)?;
    if !program.exists() {
        // It was replaced while it runs, as a build does; Linux still has it.
        program = "/proc/self/exe".into();
    }
    let mut child = Command::new(program)
        .arg(role.word())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let streams = child.stdin.take().zip(child.stdout.take());
    let Some((to, from)) = streams else {
        return Err(Refusal::launch("the local daemon has no streams"));
    };
    Ok(Started {
        child,
        to,
        from,
        errors: None,
    })
}
