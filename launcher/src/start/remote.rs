//! A daemon on another host, through a program that runs a command there.
//!
//! The command is `sh`, which reads our script from its standard input. So nothing has to be quoted
//! for whatever shell a user has there, and every way is used alike.

use std::process::{Command, Stdio};

use super::{Options, Started, Way};
use crate::job::Refusal;
use crate::nodes::Host;

/// Names the program to use in place of `ssh`.
const SSH_VARIABLE: &str = "PHALANX_SSH";

/// What is to be known of the way before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Whether `srun` has `--overlap`. Those before 20.11 do what it means without being asked.
    overlap: bool,
}

impl Known {
    /// Asks the program, where there is something to ask.
    pub(crate) fn about(options: &Options) -> Self {
        if options.way != Way::Srun {
            return Self { overlap: false };
        }
        let help = Command::new("srun")
            .arg("--help")
            .stdin(Stdio::null())
            .output();
        Self {
            // One that says nothing fails all the same, and is quoted then.
            overlap: help.map_or(true, |help| has_overlap(&help.stdout)),
        }
    }
}

fn has_overlap(help: &[u8]) -> bool {
    let help = String::from_utf8_lossy(help);
    help.contains("--overlap") || !help.contains("--ntasks")
}

/// Begins to start a daemon.
pub(crate) fn start(options: &Options, known: Known, target: &Host) -> Result<Started, Refusal> {
    let words = words(options, known, target, std::env::var(SSH_VARIABLE).ok());
    let (program, arguments) = words.split_first().ok_or_else(|| {
        Refusal::usage("--launch-agent: give a command that runs another one on a host")
    })?;
    let cannot = |error: std::io::Error| {
        Refusal::launch(format!(
            "cannot start on {}: `{program}` cannot be run here: {error}",
            target.name
        ))
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let streams = child.stdin.take().zip(child.stdout.take());
    let Some((to, from)) = streams else {
        return Err(Refusal::launch(format!("`{program}` has no streams")));
    };
    let errors = child.stderr.take();
    Ok(Started {
        child,
        to,
        from,
        errors,
    })
}

/// The command that runs `sh` on the host.
fn words(options: &Options, known: Known, target: &Host, ssh: Option<String>) -> Vec<String> {
    let mut words: Vec<String> = match &options.way {
        Way::Ssh => ssh_words(options, target, ssh),
        Way::Srun => [
            "srun",
            "--nodes=1",
            "--ntasks=1",
            "--ntasks-per-node=1",
            "--mpi=none",
            "--cpu-bind=none",
            "--unbuffered",
            "--quiet",
            "--kill-on-bad-exit=0",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain(known.overlap.then(|| "--overlap".to_owned()))
        .chain([format!("--nodelist={}", target.name)])
        .collect(),
        Way::Kubectl => ["kubectl", "exec", "-i", &target.name, "--"]
            .map(str::to_owned)
            .into(),
        Way::Agent(words) => {
            let mut words = words.clone();
            words.push(target.name.clone());
            words
        }
    };
    words.push("sh".to_owned());
    words
}

fn ssh_words(options: &Options, target: &Host, ssh: Option<String>) -> Vec<String> {
    let ssh = ssh.filter(|ssh| !ssh.trim().is_empty());
    let mut words: Vec<String> = ssh
        .as_deref()
        .unwrap_or("ssh")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let mut option = |text: &str| words.extend(["-o".to_owned(), text.to_owned()]);
    // Never a question, never endless. Whether a host's key is right is ssh's and the user's matter.
    option("BatchMode=yes");
    option("ConnectTimeout=10");
    option("ServerAliveInterval=5");
    option("ServerAliveCountMax=3");
    words.extend(["-T", "-x"].map(str::to_owned));
    if let Some(user) = &target.user {
        words.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(port) = target.port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    words.extend(options.ssh_options.iter().cloned());
    // A name that begins with a dash would be an option.
    words.extend(["--".to_owned(), target.name.clone()]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Host {
        Host {
            user: Some("ada".to_owned()),
            port: Some(2222),
            ..Host::new("n1", 1)
        }
    }

    const NOTHING: Known = Known { overlap: false };

    #[test]
    fn srun_is_told_to_overlap_only_where_it_knows_the_word() {
        assert!(has_overlap(
            b"  -n, --ntasks=ntasks\n      --overlap  Allow"
        ));
        assert!(!has_overlap(
            b"  -n, --ntasks=ntasks\n  -s, --oversubscribe"
        ));
        assert!(has_overlap(b"srun: fatal"), "this is not its help");
        let options = Options {
            way: Way::Srun,
            ..Options::default()
        };
        for overlap in [true, false] {
            let words = words(&options, Known { overlap }, &target(), None);
            assert_eq!(words.contains(&"--overlap".to_owned()), overlap);
            assert!(words.ends_with(&["--nodelist=n1".to_owned(), "sh".to_owned()]));
        }
    }

    #[test]
    fn ssh_never_asks_and_never_waits_for_ever() {
        let options = Options {
            ssh_options: vec!["-4".to_owned()],
            ..Options::default()
        };
        let line = words(&options, NOTHING, &target(), None).join(" ");
        assert!(line.starts_with("ssh -o BatchMode=yes -o ConnectTimeout=10"));
        assert!(line.ends_with("-l ada -p 2222 -4 -- n1 sh"), "{line}");
        assert!(!line.contains("HostKey"), "{line}");
    }

    #[test]
    fn another_ssh_and_its_words_can_be_named() {
        let words = words(
            &Options::default(),
            NOTHING,
            &target(),
            Some("/opt/bin/ssh -F f".into()),
        );
        assert_eq!(words[..3], ["/opt/bin/ssh", "-F", "f"]);
    }

    #[test]
    fn an_agent_gets_the_host_and_the_command() {
        let options = Options {
            way: Way::Agent(vec!["docker".into(), "exec".into(), "-i".into()]),
            ..Options::default()
        };
        let words = words(&options, NOTHING, &target(), None);
        assert_eq!(words, ["docker", "exec", "-i", "n1", "sh"]);
    }
}
