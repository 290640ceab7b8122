//! What the tests of the launcher share: running it under a watchdog, and finding what it left.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use phalanx::Communicator;
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

/// After this a test is stuck; nothing else asserts a time.
const WATCHDOG: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its lines in order, whoever printed them.
    pub(crate) fn sorted_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// What the launcher itself said.
    pub(crate) fn reports(&self) -> Vec<&str> {
        let own = |line: &&str| line.starts_with("phalanx: ");
        self.stderr.lines().filter(own).collect()
    }
}

/// The launcher, with these words.
pub(crate) fn phalanx(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phalanx"));
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs to the end.
pub(crate) fn run(words: &[&str]) -> Outcome {
    Running::start(phalanx(words)).finish()
}

/// Runs to the end with this input.
pub(crate) fn run_with_input(words: &[&str], input: Vec<u8>) -> Outcome {
    let mut command = phalanx(words);
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.child.stdin.take().expect("piped");
    let feeder = std::thread::spawn(move || {
        // The job may not want all of it.
        let _ = stdin.write_all(&input);
    });
    let outcome = running.finish();
    feeder.join().expect("feeds");
    outcome
}

/// Runs a script of `sh` as this many ranks.
pub(crate) fn run_script(ranks: u32, script: &str) -> Outcome {
    run(&["run", "-n", &ranks.to_string(), "sh", "-c", script])
}

/// How ranks reach each other, and the words of `phalanx run` for it.
pub(crate) const TRANSPORTS: &[(&str, &[&str])] = &[
    ("shm", &["--transport", "shm"]),
    ("unix", &["--transport", "unix"]),
    ("tcp", &["--transport", "tcp"]),
    ("threads", &["--as", "threads"]),
];

/// Shared memory once more, where receivers copy long messages out of their senders' memory.
pub(crate) const SINGLE_COPY: (&str, &[&str]) = (
    "shm, single copy",
    &["--transport", "shm", "--env", "PHALANX_SINGLE_COPY=1"],
);

/// Says to a test program which of its parts it plays as a rank.
const PART: &str = "PHALANX_TEST_PART";

/// Runs the test `ranked_program` of this very test program as `ranks` ranks; it plays `part`.
pub(crate) fn run_part(part: &str, ranks: usize, words: &[&str], limit: Duration) -> Outcome {
    Running::start_within(limit, part_command(part, ranks, words)).finish()
}

/// The command of [`run_part`].
pub(crate) fn part_command(part: &str, ranks: usize, words: &[&str]) -> Command {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = phalanx(&["run", "-n", &ranks.to_string()]);
    command
        .args(words)
        .arg("--env")
        .arg(format!("{PART}={part}"))
        .arg(program)
        .args([
            "--exact",
            "ranked_program",
            "--nocapture",
            "--test-threads=1",
        ]);
    command
}

/// Which part this process plays; `None` when it is the one that tests.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// A part that every rank of a job plays.
pub(crate) type Part = fn(&Communicator) -> phalanx::Result<()>;

/// As a rank, plays the part that this process was started for, says that it is well and leaves; returns at once
/// in the process that tests.
pub(crate) fn play(parts: &[(&str, Part)]) {
    let Some(name) = part() else { return };
    let part = parts.iter().find(|(part, _)| *part == name);
    let (_, play) = part.expect("a part of this name");
    leave(phalanx::run(|world| {
        play(&world)?;
        println!("rank {} is well", world.rank());
        world.finalize()
    }))
}

/// Ends a rank as its `main` would.
pub(crate) fn leave(code: ExitCode) -> ! {
    std::process::exit(i32::from(code != ExitCode::SUCCESS))
}

/// What a launcher has said on its standard error so far.
#[derive(Default)]
struct Said {
    bytes: Mutex<Vec<u8>>,
    more: Condvar,
}

impl Said {
    /// Takes in all of it.
    fn listen(&self, mut stderr: impl Read) {
        let mut piece = [0; 4096];
        loop {
            let read = stderr.read(&mut piece).expect("reads");
            let mut bytes = self.bytes.lock().expect("nobody panics");
            bytes.extend(&piece[..read]);
            self.more.notify_all();
            if read == 0 {
                return;
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("nobody panics")).into_owned()
    }
}

/// A launcher that is running.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) out: BufReader<ChildStdout>,
    said: Arc<Said>,
    stderr: JoinHandle<()>,
    watchdog: Watchdog,
}

impl Running {
    pub(crate) fn start(command: Command) -> Self {
        Self::start_within(WATCHDOG, command)
    }

    pub(crate) fn start_within(limit: Duration, mut command: Command) -> Self {
        let mut child = command.spawn().expect("the launcher starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let err = child.stderr.take().expect("piped");
        let said = Arc::new(Said::default());
        let stderr = std::thread::spawn({
            let said = Arc::clone(&said);
            move || said.listen(err)
        });
        let watchdog = Watchdog::over(child.id(), limit);
        Self {
            child,
            out,
            said,
            stderr,
            watchdog,
        }
    }

    /// Waits for that many lines, as a sign that the ranks are up.
    pub(crate) fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            let mut line = String::new();
            self.out.read_line(&mut line).expect("reads");
            lines.push(line.trim_end().to_owned());
        }
        lines
    }

    /// Waits until its standard error has these words, or it says no more.
    pub(crate) fn wait_for_words(&self, words: &str) {
        let has_words = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(words);
        let mut bytes = self.said.bytes.lock().expect("nobody panics");
        while !has_words(&bytes) && !self.stderr.is_finished() {
            let moment = Duration::from_millis(100); // It tells of bytes, not of the end of its thread.
            bytes = self
                .said
                .more
                .wait_timeout(bytes, moment)
                .expect("nobody panics")
                .0;
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.child.id()), signal).expect("it runs");
    }

    /// Its daemon.
    pub(crate) fn daemon(&self) -> Pid {
        let parent = self.child.id().to_string();
        let is_child = |process: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            after_name.split_whitespace().nth(1) == Some(parent.as_str())
        };
        loop {
            // It may not be there yet; the watchdog looks after a launcher that never starts it.
            if let Some(found) = processes().into_iter().find(is_child) {
                return pid(found);
            }
            assert!(processes().contains(&self.child.id()), "it has ended");
        }
    }

    pub(crate) fn finish(self) -> Outcome {
        let (outcome, bitten) = self.finish_or_bite();
        assert!(!bitten, "the launcher was stuck: {}", outcome.stderr);
        outcome
    }

    /// How it ended, and whether only because the watchdog bit.
    pub(crate) fn finish_or_bite(mut self) -> (Outcome, bool) {
        let mut stdout = Vec::new();
        self.out.read_to_end(&mut stdout).expect("reads");
        let status: ExitStatus = self.child.wait().expect("ends");
        self.stderr.join().expect("reads");
        let stderr = self.said.text();
        let outcome = Outcome {
            code: status.code(),
            stdout,
            stderr,
        };
        (outcome, self.watchdog.stop())
    }
}

struct Watchdog {
    off: std::sync::mpsc::Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    fn over(process: u32, limit: Duration) -> Self {
        let (off, wait) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let bites = wait.recv_timeout(limit).is_err();
            if bites {
                let _ = kill_process(pid(process), Signal::KILL);
            }
            bites
        });
        Self { off, thread }
    }

    /// Whether it had to bite.
    fn stop(self) -> bool {
        let _ = self.off.send(());
        self.thread.join().expect("watches")
    }
}

fn pid(number: u32) -> Pid {
    let number = i32::try_from(number).expect("a process id");
    Pid::from_raw(number).expect("not 0")
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("Linux");
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.flatten().filter_map(number).collect()
}

/// A variable by which the processes of one test are known.
pub(crate) struct Mark(String);

impl Mark {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("PHALANX_MARK={}-{number}", std::process::id()))
    }

    /// For `--env`.
    pub(crate) fn variable(&self) -> &str {
        &self.0
    }

    /// The processes that carry it now.
    pub(crate) fn bearers(&self) -> Vec<Pid> {
        let carries = |process: &u32| {
            let environment = std::fs::read(format!("/proc/{process}/environ"));
            environment
                .unwrap_or_default()
                .split(|byte| *byte == 0)
                .any(|variable| variable == self.0.as_bytes())
        };
        processes().into_iter().filter(carries).map(pid).collect()
    }

    /// Waits until none is left; only a process that would stay makes this fail.
    pub(crate) fn assert_gone(&self) {
        await_that("its processes are gone", || self.bearers().is_empty());
    }

    /// Waits until there are some and all are in such a state.
    pub(crate) fn await_processes(&self, what: &str, state: impl Fn(char) -> bool) {
        await_that(&format!("all processes are {what}"), || {
            let all = self.bearers();
            let fits =
                |process: &Pid| state(state_of(process.as_raw_nonzero().get().unsigned_abs()));
            !all.is_empty() && all.iter().all(fits)
        });
    }
}

/// Waits until it is so; only what would never come to be makes this fail.
pub(crate) fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "never came to be: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Now, in nanoseconds of a clock that is the same in all processes.
pub(crate) fn nanos() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// The times in a text, in such nanoseconds: lines that begin with `what`.
pub(crate) fn stamps(text: &str, what: &str) -> Vec<i64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(what));
    lines.filter_map(|time| time.trim().parse().ok()).collect()
}

/// Times in words: median, 99th percentile and longest.
pub(crate) fn times(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).max(1) - 1;
        times[index].as_secs_f64()
    };
    format!(
        "{:.3} s (median), {:.3} (p99), {:.3} (longest)",
        at(50),
        at(99),
        at(100)
    )
}

/// The state of a process as `ps` names it; `X` when there is none.
pub(crate) fn state_of(process: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    after_name.chars().next().unwrap_or('X')
}
