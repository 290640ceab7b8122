//! What the launcher shows on a terminal while hosts are slow to start; an agent stands for hosts.

mod common;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use common::{Outcome, Running, await_that};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Erases the row, as terminals understand it.
const ERASE: &str = "\r\x1b[K";

/// A directory with an agent whose hosts start when a file of their name is there.
struct Hosts(PathBuf);

impl Hosts {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("phalanx-progress-{}-{number}", std::process::id());
        let hosts = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&hosts.0).expect("it is not there");
        let script =
            "#!/bin/sh\nhost=$1; shift\nuntil [ -e $host ]; do sleep 0.02; done\nexec \"$@\"\n";
        let agent = hosts.0.join("agent");
        std::fs::write(&agent, script).expect("writes");
        std::fs::set_permissions(&agent, PermissionsExt::from_mode(0o700)).expect("ours");
        hosts
    }

    fn let_start(&self, host: &str) {
        std::fs::write(self.0.join(host), "").expect("writes");
    }

    /// A job on these hosts that gives its standard error to `to`.
    fn start(&self, hosts: &str, words: &str, to: &str) -> Running {
        let fixed = "run --launch-agent ./agent --no-ship --host";
        let words = format!("{fixed} {hosts} {words} true");
        let mut command = Command::new("sh");
        command
            .args(["-c", "err=$1; shift; exec \"$0\" \"$@\" 2>\"$err\""])
            .args([env!("CARGO_BIN_EXE_phalanx"), to])
            .args(words.split(' '))
            .current_dir(&self.0)
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running::start(command)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("ours");
    }
}

/// A terminal, and what was written to it.
struct Terminal {
    path: String,
    /// While we have it open, its reader sees no end.
    end: OwnedFd,
    text: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    fn new() -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("ours");
        let path = ptsname(&ours, Vec::new()).expect("a name");
        let path = path.into_string().expect("text");
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let end = rustix::fs::open(&path, flags, Mode::empty()).expect("opens");
        let text = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            // It is an error when nobody has the terminal open any more.
            while let Ok(count @ 1..) =
                File::from(ours.try_clone().expect("a copy")).read(&mut buffer)
            {
                theirs
                    .lock()
                    .expect("no panic")
                    .extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            path,
            end,
            text,
            reader,
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("no panic")).into_owned()
    }

    /// All that was written.
    fn finish(self) -> String {
        drop(self.end);
        self.reader.join().expect("no panic");
        let text = self.text.lock().expect("no panic");
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn is_well(outcome: &Outcome, said: &str) {
    assert_eq!(outcome.code, Some(0), "{said}");
}

#[test]
fn hosts_that_are_waited_for_are_named_in_a_line_that_is_taken_back() {
    let hosts = Hosts::new();
    hosts.let_start("a.invalid");
    let terminal = Terminal::new();
    let names = "a.invalid,b.invalid,c.invalid";
    let running = hosts.start(names, "-n 3", &terminal.path);
    let both = "1 of 3 hosts started, waiting for b.invalid, c.invalid";
    await_that("a line about two hosts", || terminal.text().contains(both));
    hosts.let_start("c.invalid");
    let one = "2 of 3 hosts started, waiting for b.invalid";
    await_that("a line about one host", || terminal.text().contains(one));
    hosts.let_start("b.invalid");
    let outcome = running.finish();
    let said = terminal.finish();
    is_well(&outcome, &said);
    assert!(said.ends_with(ERASE) && !said.contains('\n'), "{said:?}");
}

#[test]
fn a_host_that_cannot_be_started_takes_the_line_back_before_it_is_named() {
    let hosts = Hosts::new();
    let terminal = Terminal::new();
    let running = hosts.start("a.invalid", "-n 1 --start-timeout 2", &terminal.path);
    let outcome = running.finish();
    let said = terminal.finish();
    assert_eq!(outcome.code, Some(71), "{said}");
    let (line, rest) = said.split_once("waiting for a.invalid").expect("a line");
    assert!(!line.contains('\n'), "{said:?}");
    let named = format!("{ERASE}phalanx: cannot start on a.invalid");
    assert!(rest.starts_with(&named) && rest.ends_with('\n'), "{said:?}");
}

#[test]
fn quiet_users_and_files_get_no_such_line() {
    let terminal = Terminal::new();
    let hosts = Hosts::new();
    let file = hosts.0.join("said");
    let file = file.to_str().expect("text");
    for (words, to) in [("-n 1 --quiet", terminal.path.as_str()), ("-n 1", file)] {
        let mark = hosts.0.join("a.invalid");
        let running = hosts.start("a.invalid", words, to);
        // Longer than it would take for the line to come.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        hosts.let_start("a.invalid");
        is_well(&running.finish(), words);
        std::fs::remove_file(mark).expect("ours");
    }
    assert_eq!(std::fs::read_to_string(file).expect("reads"), "");
    assert_eq!(terminal.finish(), "");
}
