//! Several hosts on this machine: `tests/cluster/bed.sh`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{Outcome, Running};

/// Programs that a bed needs, and the Debian packages that have them.
const NEEDED: &[(&str, &str)] = &[
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
];

/// Processes of a host of the bed itself.
const OWN: &[&str] = &["bash", "sshd", "sleep", "sh", "cat"];

/// Processes of a Slurm that stands on the bed. Its steps are not among them.
const OF_SLURM: &[&str] = &["munged", "slurmctld", "slurmscriptd", "slurmd"];

/// What a Slurm needs besides.
const NEEDED_BY_SLURM: &[(&str, &str)] = &[
    ("slurmctld", "slurmctld"),
    ("slurmd", "slurmd"),
    ("srun", "slurm-client"),
    ("munged", "munge"),
];

/// A bed that is up; its end takes it down.
pub(crate) struct Bed {
    name: String,
    nodes: u32,
    /// Versions of IP that its hosts speak.
    versions: &'static str,
}

/// A bed, or a line that says why there is none, which is shown whatever happens to the test's output.
pub(crate) fn bed(nodes: u32) -> Option<Bed> {
    bed_over("4", nodes)
}

/// A bed whose hosts speak IP version 4, 6, or both: 46.
pub(crate) fn bed_over(versions: &'static str, nodes: u32) -> Option<Bed> {
    if let Some(why) = missing(NEEDED) {
        skipped(&format!("tests of several hosts: {why}"));
        return None;
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("phx{}-{number}", std::process::id());
    let bed = Bed {
        name,
        nodes,
        versions,
    };
    let up = bed.script(&["up", &nodes.to_string()]);
    assert!(up.status.success(), "the bed does not come up: {up:?}");
    Some(bed)
}

/// A bed with a Slurm whose nodes have so many processors each, or a line that says why there is none.
pub(crate) fn slurm(nodes: u32, processors: u32) -> Option<Bed> {
    if let Some(why) = missing(NEEDED_BY_SLURM) {
        skipped(&format!("tests of Slurm: {why}"));
        return None;
    }
    let bed = bed(nodes)?;
    let mut command = bed.command("slurm.sh", &["up", &processors.to_string()]);
    let up = command.output().expect("bash");
    assert!(up.status.success(), "Slurm does not come up: {up:?}");
    Some(bed)
}

fn skipped(what: &str) {
    use std::io::Write;
    // Around the capture of the test's own output.
    let _ = std::fs::File::options()
        .append(true)
        .open("/dev/stderr")
        .and_then(|mut stderr| stderr.write_all(format!("SKIPPED: {what}\n").as_bytes()));
}

fn missing(needed: &[(&str, &str)]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("they need root".to_owned());
    }
    let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let there = |name: &str| {
        places
            .iter()
            .any(|place| Path::new(place).join(name).exists())
    };
    let (name, package) = needed.iter().find(|(name, _)| !there(name))?;
    Some(format!("there is no {name}: apt-get install {package}"))
}

pub(crate) fn root() -> PathBuf {
    let launcher = Path::new(env!("CARGO_MANIFEST_DIR"));
    launcher.parent().expect("the workspace").to_owned()
}

impl Bed {
    /// Where the bed has its state, on every host.
    pub(crate) fn state(&self) -> PathBuf {
        Path::new("/run").join(&self.name)
    }

    /// One of the scripts in `tests/cluster` for this bed.
    pub(crate) fn command(&self, script: &str, words: &[&str]) -> Command {
        let mut command = Command::new(root().join("tests/cluster").join(script));
        // What hosts do not have: the checkout and what was built, and the home of the user.
        let target = Path::new(env!("CARGO_BIN_EXE_phalanx")).ancestors().nth(2);
        let mut hidden = vec![root(), target.expect("it was built somewhere").to_owned()];
        hidden.extend(std::env::var_os("HOME").map(PathBuf::from));
        hidden.retain(|path| path.parent().is_some());
        let hidden: Vec<String> = hidden
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        command
            .args(words)
            .env("BED", &self.name)
            .env("BED_IP", self.versions)
            .env("BED_HIDE", hidden.join(":"))
            .stdin(Stdio::null());
        command
    }

    fn script(&self, words: &[&str]) -> Output {
        self.command("bed.sh", words).output().expect("bash")
    }

    /// Runs a command on a host and gives what it prints.
    pub(crate) fn on(&self, host: &str, words: &[&str]) -> String {
        let output = self.script(&[&["on", host], words].concat());
        assert!(output.status.success(), "{words:?} on {host}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn fault(&self, words: &[&str]) {
        let output = self.script(&[&["fault"], words].concat());
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    /// Kills the `choice`-th of the processes of a host with such names. False when there is none.
    pub(crate) fn kill_one(&self, host: &str, name: &str, choice: usize) -> bool {
        let script = format!(
            "set -- $(pgrep -x '{name}.*'); [ $# = 0 ] && exit 0; shift $(({choice} % $#)); kill -KILL $1 && echo hit"
        );
        self.on(host, &["sh", "-c", &script]).contains("hit")
    }

    /// A job, started on the head.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        self.launcher(&[&["run"], words].concat())
    }

    /// The doctor, called on the head.
    pub(crate) fn doctor(&self, words: &[&str]) -> Outcome {
        self.launcher(&[&["doctor"], words].concat()).finish()
    }

    /// The launcher on the head.
    fn launcher(&self, words: &[&str]) -> Running {
        let launcher = env!("CARGO_BIN_EXE_phalanx");
        let words = [&["on", "head", launcher], words].concat();
        let mut command = self.command("bed.sh", &words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.current_dir(root());
        Running::start(command)
    }

    /// Sends a signal to the launcher itself, not to what brought it to the head.
    pub(crate) fn signal(&self, name: &str) {
        let script = format!("kill -{name} $(pgrep -o -x phalanx)");
        self.on("head", &["sh", "-c", &script]);
    }

    pub(crate) fn run(&self, words: &[&str]) -> Outcome {
        self.start(words).finish()
    }

    pub(crate) fn hosts(&self) -> Vec<String> {
        let nodes = (1..=self.nodes).map(|number| format!("node{number}"));
        std::iter::once("head".to_owned()).chain(nodes).collect()
    }

    /// What runs on a host besides its own, and files that are left half made.
    fn left_on(&self, host: &str) -> Vec<String> {
        let script = "for p in /proc/[0-9]*; do cat $p/comm 2>/dev/null; done; \
             for d in /tmp /var/tmp /dev/shm $HOME/.cache/phalanx /tmp/phalanx-*; do \
             ls -A $d 2>/dev/null | grep -e '^\\.new' -e '^\\.job' -e '^\\.tmp'; done; true";
        let found = self.on(host, &["sh", "-c", script]);
        let own = |line: &str| OWN.contains(&line) || OF_SLURM.contains(&line);
        let lines = found.lines().filter(|line| !own(line));
        lines.map(|line| format!("{host}: {line}")).collect()
    }

    /// Waits until nothing of a job is left on any host; only what would stay makes this fail.
    pub(crate) fn assert_clean(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let left: Vec<String> = self
                .hosts()
                .iter()
                .flat_map(|host| self.left_on(host))
                .collect();
            if left.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "left: {left:?}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let down = self.script(&["down"]);
        if !down.status.success() && !std::thread::panicking() {
            panic!("the bed does not go down: {down:?}");
        }
    }
}
