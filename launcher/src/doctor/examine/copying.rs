//! How ranks of one host can move bytes.

use std::process::{Command, Stdio};

use phalanx::sys::peer_memory::{allow_reading_by, read_process};
use phalanx::sys::shared_memory::SharedMemory;

use crate::doctor::words::Finding;
use crate::exit;

/// Bytes of memory that is made for a trial.
const TRIAL_BYTES: usize = 1 << 20;
/// What is read out of another process.
const PATTERN: [u8; 64] = [0xa7; 64];

/// Makes memory as daemons do.
pub(super) fn shared_memory() -> Finding {
    let trial = SharedMemory::create("phalanx-doctor", TRIAL_BYTES)
        .and_then(|memory| memory.reserve(0, TRIAL_BYTES));
    match trial {
        Ok(()) => Finding::ok("can be made (memfd)"),
        Err(error) => Finding::warning(
            format!("cannot be made (memfd): {error}"),
            "ranks of this host use Unix sockets instead, which is slower: let the container's \
             seccomp profile allow memfd_create, and give it memory",
        ),
    }
}

/// Lets another process read our memory, as ranks do.
pub(super) fn single_copy() -> Finding {
    // Its children are among those who may.
    allow_reading_by(std::process::id());
    let pattern = Box::new(PATTERN);
    let child = Command::new("/proc/self/exe")
        .args(["examine", "--read"])
        .arg(std::process::id().to_string())
        .arg((std::ptr::from_ref(&*pattern) as u64).to_string())
        .stdin(Stdio::null())
        .output();
    let output = match child {
        Ok(output) if output.status.success() => {
            return Finding::ok("allowed (process_vm_readv)");
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    drop(pattern);
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    Finding::warning(
        format!("not allowed (process_vm_readv): {output}"),
        format!(
            "long messages are copied twice instead of once: {}",
            cure(scope.trim())
        ),
    )
}

fn cure(scope: &str) -> &'static str {
    match scope {
        "2" | "3" => {
            "set kernel.yama.ptrace_scope to 1 (`sysctl`; 3 can only be left by a restart)"
        }
        _ => {
            "let the container's seccomp profile allow process_vm_readv, or give it the capability \
             SYS_PTRACE"
        }
    }
}

/// The other process: reads the pattern.
pub(super) fn read(process: u64, address: u64) -> u8 {
    let mut found = [0; PATTERN.len()];
    let process = u32::try_from(process).map_err(std::io::Error::other);
    match process.and_then(|process| read_process(process, address, &mut found)) {
        Ok(()) if found == PATTERN => 0,
        Ok(()) => {
            eprintln!("something else was read");
            exit::LAUNCH
        }
        Err(error) => {
            eprintln!("{error}");
            exit::LAUNCH
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read_and_nothing_else_is_taken_for_it() {
        let pattern = Box::new(PATTERN);
        let other = Box::new([1_u8; PATTERN.len()]);
        let me = u64::from(std::process::id());
        assert_eq!(read(me, std::ptr::from_ref(&*pattern) as u64), 0);
        assert_eq!(read(me, std::ptr::from_ref(&*other) as u64), exit::LAUNCH);
        assert_eq!(read(me, 8), exit::LAUNCH);
    }

    #[test]
    fn the_cure_depends_on_what_forbids_it() {
        assert!(cure("2").contains("ptrace_scope") && cure("").contains("seccomp"));
    }
}
