//! `phalanx doctor` without other hosts: an agent stands for them, which brings us to where we are.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Outcome, Running, phalanx, run};

/// A directory with an agent, which goes with its tests.
struct Agent(PathBuf);

impl Agent {
    /// `script` is given the host as `$host`, and ends by running the command, or does not.
    fn new(script: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("phalanx-doctor-{}-{number}", std::process::id());
        let place = std::env::temp_dir().join(name);
        std::fs::create_dir(&place).expect("new");
        let agent = place.join("agent");
        let script = format!("#!/bin/sh\nhost=$1; shift\n{script}\nexec \"$@\"\n");
        std::fs::write(&agent, script).expect("writes");
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&agent, mode).expect("ours");
        Self(place)
    }

    /// The doctor for these hosts, which keep nothing of this user's own.
    fn doctor(&self, hosts: &str, words: &[&str]) -> Outcome {
        let agent = self.0.join("agent");
        let agent = agent.to_str().expect("UTF-8");
        let fixed = ["doctor", "--host", hosts, "--launch-agent", agent];
        let mut command = phalanx(&[&fixed[..], &["--interface", "lo"], words].concat());
        command.env("HOME", &self.0).env_remove("XDG_CACHE_HOME");
        Running::start(command).finish()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("ours");
    }
}

/// The lines about what is not well: state, place, check and what was found, then the cure.
fn told(text: &str) -> Vec<(&str, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.windows(2);
    let ours = pairs.filter(|pair| pair[1].starts_with("  mend: "));
    ours.map(|pair| (pair[0], pair[1])).collect()
}

fn expect(outcome: &Outcome, code: i32, begin: &str, needles: &[&str]) {
    let text = outcome.text();
    assert_eq!(outcome.code, Some(code), "{text}{}", outcome.stderr);
    let found = told(&text)
        .into_iter()
        .find(|(line, _)| line.starts_with(begin));
    let Some((line, mend)) = found else {
        panic!("{begin}: {text}");
    };
    for needle in needles {
        assert!(
            line.contains(needle) || mend.contains(needle),
            "{needle}: {line}{mend}"
        );
    }
}

#[test]
fn this_machine_alone_is_looked_at_in_every_respect() {
    let outcome = run(&["doctor", "--json"]);
    let all: serde_json::Value = serde_json::from_slice(&outcome.stdout).expect("JSON");
    let findings = all["findings"].as_array().expect("a list");
    let is_wrong = findings.iter().any(|one| one["state"] == "wrong");
    assert_eq!(outcome.code, Some(i32::from(is_wrong)), "{all:#}");
    for check in [
        "start",
        "phalanx",
        "system",
        "temporary",
        "cores",
        "open-files",
        "processes",
        "locked-memory",
        "shared-memory",
        "single-copy",
        "addresses",
    ] {
        let same = findings.iter().filter(|one| one["check"] == check);
        assert_eq!(same.count(), 1, "{check}: {all:#}");
    }
    for one in findings {
        let is_well = one["state"] == "ok";
        assert_eq!(
            one["mend"] == "",
            is_well,
            "what is not well has a cure: {one}"
        );
    }
}

#[test]
fn hosts_get_this_program_and_reach_each_other() {
    let agent = Agent::new("");
    for known in ["sent there now", "was there"] {
        let outcome = agent.doctor("a,b,c", &["-v", "--ports", "1024-65535"]);
        let text = outcome.text();
        assert_eq!(outcome.code, Some(0), "{text}{}", outcome.stderr);
        // They have one cache, and whoever is first fills it for those who ask later.
        assert!(text.contains(known), "{text}");
        assert_eq!(text.matches(" -> ").count(), 6, "{text}");
    }
}

#[test]
fn a_host_that_does_not_start_is_named_with_the_words_of_the_way() {
    let agent = Agent::new(
        "if [ $host = b ]; then echo 'ssh: connect to host b port 22: Connection refused' >&2; exit 255; fi",
    );
    let outcome = agent.doctor("a,b", &[]);
    let needles = ["port 22: Connection refused", "start sshd on it"];
    expect(
        &outcome,
        1,
        "wrong: b: start: no sshd listens there",
        &needles,
    );
    assert!(
        outcome.text().contains("1 thing is wrong"),
        "a is well: {}",
        outcome.text()
    );
}

#[test]
fn a_host_that_says_nothing_costs_its_deadline() {
    let agent = Agent::new("[ $host = b ] && exec sleep 1000");
    let outcome = agent.doctor("a,b", &["--start-timeout", "1"]);
    let needles = ["within 1 s", "has to run `sh` on b"];
    expect(&outcome, 1, "wrong: b: start: it does not answer", &needles);
}

#[test]
fn a_host_that_is_lost_while_it_is_looked_at_is_named() {
    // It says who it is, hears what is wanted, and goes. `read` takes no more than a line; others would.
    let version = env!("CARGO_PKG_VERSION");
    let mut hello = vec![
        0,
        u8::try_from(phalanx::wire::control::PROTOCOL).expect("small"),
    ];
    for word in [version, "b"] {
        hello.push(u8::try_from(word.len()).expect("short"));
        hello.extend(word.as_bytes());
    }
    let length = u32::try_from(hello.len()).expect("short").to_le_bytes();
    let octal = |byte: &u8| format!("\\{byte:03o}");
    let bytes: String = length.iter().chain(&hello).map(octal).collect();
    let agent = Agent::new(&format!(
        "[ $host = b ] && {{ echo phalanx-bootstrap: have $(uname -s)/$(uname -m); printf '{bytes}'; \
         while read -r line && [ \"$line\" != phalanx_begins ]; do :; done; \
         head -c 1 >/dev/null; echo oh >&2; exit 3; }}"
    ));
    let outcome = agent.doctor("a,b", &[]);
    let needles = ["lost while it was looked at", "says: oh)", "log of sshd"];
    expect(&outcome, 1, "wrong: b: phalanx: it was ", &needles);
}

#[test]
fn directories_that_cannot_be_used_are_named() {
    let agent = Agent::new(
        "[ $host = b ] && export TMPDIR=/no/such/place\n[ $host = c ] && export XDG_CACHE_HOME=/dev/null",
    );
    let outcome = agent.doctor("a,b,c", &[]);
    let needles = [
        "/no/such/place cannot take",
        "make the directory /no/such/place",
    ];
    expect(&outcome, 1, "wrong: b: temporary files: ", &needles);
    let needles = ["because /dev/null/phalanx cannot be used", "XDG_CACHE_HOME"];
    expect(&outcome, 1, "warning: c: cache: ", &needles);
    assert_eq!(told(&outcome.text()).len(), 2, "{}", outcome.text());
}

#[test]
fn limits_that_are_too_low_are_named() {
    let agent = Agent::new("[ $host = b ] && ulimit -n 64");
    let outcome = agent.doctor("a,b:20", &[]);
    let needles = ["20 ranks need", "ulimit -Hn"];
    expect(&outcome, 1, "wrong: b: open files: 64", &needles);
}

#[test]
fn a_phalanx_of_another_kind_is_told() {
    let agent = Agent::new(
        "[ $host = b ] && { echo 'phalanx-bootstrap: have '$(uname -s)/$(uname -m); printf '\\002\\000\\000\\000xy'; cat >/dev/null; exit 0; }",
    );
    let outcome = agent.doctor("a,b", &[]);
    let needles = ["makes no sense", "the same build"];
    expect(&outcome, 1, "wrong: b: phalanx: ", &needles);
}

#[test]
fn mistakes_in_the_command_line_are_told() {
    for words in [
        &["--ports", "9-8"][..],
        &["--hostfile", "no/such"],
        &["--host", "a b["],
    ] {
        let outcome = run(&[&["doctor"], words].concat());
        assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
        assert_eq!(outcome.reports().len(), 1, "{}", outcome.stderr);
    }
}
