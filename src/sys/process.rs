//! Processes: what a child must do between `fork` and `exec`, and the descriptors it inherits.
//!
//! A rank must never outlive the daemon that started it. On Linux the kernel sees to that
//! (`PR_SET_PDEATHSIG`); note that it watches the *thread* that forked, so a daemon starts its
//! ranks from a thread that lives as long as itself. Elsewhere a rank notices the end of its
//! control stream.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::processor::Processors;

/// What a child does before its program starts, besides what [`Command`] does.
#[derive(Clone, Debug, Default)]
pub struct Tether {
    /// The descriptors that the program inherits besides its standard streams. They must stay open
    /// until the child was spawned.
    pub inherit: Vec<RawFd>,
    /// Signals set back to their default, whatever this process does with them.
    pub default_signals: Vec<i32>,
    /// The processors that it is bound to, when it is not to use all that this process may use.
    pub processors: Option<Processors>,
    /// Soft and hard limit of open files, when it should differ from this process's.
    pub open_files: Option<(u64, u64)>,
}

/// Starts a child that is killed when the calling thread ends.
///
/// # Errors
///
/// What [`Command::spawn`] returns, and failures of the steps described by `tether`.
pub fn spawn_tethered(command: &mut Command, tether: Tether) -> io::Result<Child> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let parent = rustix::process::getpid();
    let steps = move || {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        die_with(parent)?;
        for signal in &tether.default_signals {
            // SAFETY: `signal` is async-signal-safe (POSIX), and SIG_DFL installs no code of ours.
            if unsafe { libc::signal(*signal, libc::SIG_DFL) } == libc::SIG_ERR {
                return Err(io::Error::last_os_error());
            }
        }
        for descriptor in &tether.inherit {
            // SAFETY: `fcntl` is async-signal-safe; F_SETFD touches only the flags of a descriptor
            // in the child's own table, and reports a descriptor that is not open as an error.
            if unsafe { libc::fcntl(*descriptor, libc::F_SETFD, 0) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        if let Some(processors) = &tether.processors {
            processors.bind()?;
        }
        if let Some((soft, hard)) = tether.open_files {
            let limit = libc::rlimit {
                rlim_cur: soft,
                rlim_max: hard,
            };
            // SAFETY: a plain system call on Linux and macOS that takes no lock and reads `limit`,
            // which lives on this stack.
            if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: `steps` runs in the forked child, where other threads' locks may be held for ever. It
    // makes only the system calls above, each async-signal-safe; it allocates nothing (its vectors
    // were filled before the fork and are only read; `last_os_error` stores an integer), takes no
    // lock, and cannot panic.
    unsafe { command.pre_exec(steps) };
    command.spawn()
}

/// Asks the kernel to kill this process when the thread that forked it ends.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn die_with(parent: rustix::process::Pid) -> io::Result<()> {
    // SAFETY: `prctl` is a plain system call; PR_SET_PDEATHSIG takes an integer and no pointer.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // The parent may have died before the request: then nobody would ever kill us.
    if rustix::process::getppid() == Some(parent) {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

/// Blocks a signal in the calling thread only.
///
/// A thread that blocks `SIGTTIN` gets an error when it reads from a terminal in the background,
/// instead of stopping the whole process.
///
/// # Errors
///
/// When there is no such signal.
pub fn block_signal_in_this_thread(signal: i32) -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set that it is given room for.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised just above.
    if unsafe { libc::sigaddset(set.as_mut_ptr(), signal) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the set is initialised and outlives the call; the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Whether this process was told to ignore the signal, as `nohup` does with `SIGHUP`.
pub fn ignores_signal(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks for the present one, which is written to `action`.
    let code = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros is a valid `sigaction` (integers, sets of bits and an optional pointer),
    // so it is initialised whether or not the call succeeded.
    let action = unsafe { action.assume_init() };
    code == 0 && action.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_child_inherits_exactly_the_descriptor_it_is_given() {
        let (mut ours, theirs) = UnixStream::pair().expect("socketpair");
        let (_other, hidden) = UnixStream::pair().expect("socketpair");
        let script = format!(
            "echo given >&{}; if [ -e /dev/fd/{} ]; then echo leaked >&{0}; fi",
            theirs.as_raw_fd(),
            hidden.as_raw_fd()
        );
        let tether = Tether {
            inherit: vec![theirs.as_raw_fd()],
            ..Tether::default()
        };
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        let mut child = spawn_tethered(&mut command, tether).expect("sh runs");
        drop(theirs);
        let mut said = String::new();
        ours.read_to_string(&mut said).expect("reads");
        child.wait().expect("ends");
        assert_eq!(said, "given\n");
    }

    #[test]
    fn limits_of_open_files_reach_the_child() {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg("ulimit -n")
            .stdout(std::process::Stdio::piped());
        let tether = Tether {
            open_files: Some((64, 64)),
            ..Tether::default()
        };
        let child = spawn_tethered(&mut command, tether).expect("sh runs");
        let output = child.wait_with_output().expect("ends");
        assert_eq!(output.stdout, b"64\n");
    }

    #[test]
    fn an_ignored_signal_is_seen() {
        assert!(!ignores_signal(libc::SIGUSR2));
        assert!(ignores_signal(libc::SIGPIPE), "the standard library does");
    }

    #[test]
    fn the_standard_streams_of_a_child_still_work() {
        let mut command = Command::new("cat");
        command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped());
        let mut child = spawn_tethered(&mut command, Tether::default()).expect("cat runs");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(b"x")
            .expect("writes");
        assert_eq!(child.wait_with_output().expect("ends").stdout, b"x");
    }
}
