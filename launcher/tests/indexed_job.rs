//! What a Kubernetes Indexed Job gives its pods is enough for ranks to meet: the environment and the mounted
//! secret of `docs/jobs/indexed-job.yaml`, and a name of rank 0 that resolves late. Two namespaces of the
//! network stand for two pods each; without the right to make them the test says that it was skipped.

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PLAY: &str = "INDEXED_JOB_TEST_PLAY";
const WATCHDOG: Duration = Duration::from_secs(60);
const LOCAL: &str = "127.0.0.1 localhost\n";

/// What a rank does; a test only when there is something to play.
#[test]
fn play() {
    if std::env::var_os(PLAY).is_none() {
        return;
    }
    let code = phalanx::run(|world| -> phalanx::Result<()> {
        let sum = world.allreduce(world.rank() as u64, phalanx::Sum)?;
        println!("rank {} of {}: {sum}", world.rank(), world.size());
        Ok(())
    });
    std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
}

/// The variables that the manifest sets.
fn environment() -> Vec<(String, String)> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/jobs/indexed-job.yaml");
    let text = std::fs::read_to_string(manifest).expect("the manifest");
    let mut variables = Vec::new();
    let mut name = None;
    for line in text.lines().map(str::trim) {
        if let Some(found) = line.strip_prefix("- name: PHALANX_") {
            let word = found.split_whitespace().next().expect("a name");
            name = Some(format!("PHALANX_{word}"));
        } else if let (Some(value), Some(name)) = (line.strip_prefix("value: "), name.take()) {
            variables.push((name, value.trim_matches('"').to_owned()));
        }
    }
    variables
}

/// Two namespaces with an address each, and a file of hosts for each that can still change.
struct Network {
    names: [String; 2],
}

impl Network {
    fn new() -> Option<Self> {
        let id = std::process::id();
        let network = Self {
            names: [format!("phalanx-{id}-0"), format!("phalanx-{id}-1")],
        };
        let [one, other] = &network.names;
        let made = ip(&["netns", "add", one])
            && ip(&["netns", "add", other])
            && ip(&[
                "-n", one, "link", "add", "pod", "type", "veth", "peer", "name", "pod", "netns",
                other,
            ]);
        let made = made
            && network.names.iter().zip(1..).all(|(name, number)| {
                let address = format!("10.79.0.{number}/24");
                ip(&["-n", name, "address", "add", &address, "dev", "pod"])
                    && ip(&["-n", name, "link", "set", "pod", "up"])
                    && ip(&["-n", name, "link", "set", "lo", "up"])
                    && network.write(name, "nsswitch.conf", "hosts: files\n")
                    && network.write(name, "hosts", LOCAL)
            });
        made.then_some(network)
    }

    fn write(&self, name: &str, file: &str, text: &str) -> bool {
        let directory = Self::files(name);
        let made = std::fs::create_dir_all(&directory);
        made.is_ok() && std::fs::write(directory.join(file), text).is_ok()
    }

    fn files(name: &str) -> PathBuf {
        Path::new("/etc/netns").join(name)
    }

    /// A name for the first one becomes known.
    fn announce(&self, host: &str) {
        for name in &self.names {
            let text = format!("{LOCAL}10.79.0.1 {host}\n");
            assert!(self.write(name, "hosts", &text), "{name}");
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
            let _ = std::fs::remove_dir_all(Self::files(name));
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    let command = command.args(arguments).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A secret as Kubernetes mounts it: a link through `..data`, readable for the group.
struct Mounted(PathBuf);

impl Mounted {
    fn new() -> Self {
        let directory =
            std::env::temp_dir().join(format!("phalanx-indexed-job-{}", std::process::id()));
        let version = directory.join("..version");
        std::fs::create_dir_all(&version).expect("a directory");
        let file = version.join("secret");
        std::fs::write(&file, "0123456789abcdef".repeat(4)).expect("written");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o440)).expect("chmod");
        symlink("..version", directory.join("..data")).expect("a link");
        symlink("..data/secret", directory.join("secret")).expect("a link");
        Self(directory)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pod(namespace: &str, index: usize, secret: &Path) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut pod = Command::new("ip");
    pod.args(["netns", "exec", namespace])
        .arg(program)
        .args(["play", "--exact", "--nocapture", "--test-threads=1"])
        .envs(environment())
        .env("PHALANX_SECRET_FILE", secret)
        .env("PHALANX_RENDEZVOUS_TIMEOUT", "30")
        .env("JOB_COMPLETION_INDEX", index.to_string())
        .env(PLAY, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    pod.spawn().expect("spawned")
}

fn finish(mut child: Child) -> (bool, String) {
    let until = Instant::now() + WATCHDOG;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > until {
            child.kill().expect("kill");
            panic!("a rank is stuck");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.wait_with_output().expect("ended");
    let mut said = String::new();
    (&ended.stdout[..]).read_to_string(&mut said).expect("text");
    (&ended.stderr[..]).read_to_string(&mut said).expect("text");
    (ended.status.success(), said)
}

#[test]
fn the_pods_of_an_indexed_job_meet_when_the_name_of_the_first_resolves() {
    let variables = environment();
    let value = |name: &str| {
        let found = variables.iter().find(|(known, _)| known == name);
        found.expect("in the manifest").1.clone()
    };
    let size: usize = value("PHALANX_SIZE").parse().expect("a number");
    let address = value("PHALANX_RENDEZVOUS");
    let (host, _) = address.split_once(':').expect("a port");
    let Some(network) = Network::new() else {
        eprintln!("NOT TESTED: namespaces of the network cannot be made here");
        return;
    };
    let mounted = Mounted::new();
    let secret = mounted.0.join("secret");
    let mut pods: Vec<Child> = (0..size)
        .map(|index| pod(&network.names[index % 2], index, &secret))
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    for pod in &mut pods {
        assert!(pod.try_wait().expect("a child").is_none(), "it gave up");
    }
    network.announce(host);
    for (index, pod) in pods.into_iter().enumerate() {
        let (well, said) = finish(pod);
        let sum = size * (size - 1) / 2;
        assert!(well, "{said}");
        assert!(
            said.contains(&format!("rank {index} of {size}: {sum}")),
            "{said}"
        );
    }
}
