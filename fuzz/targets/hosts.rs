//! Whatever a hostfile, a list or a batch system says is hosts, or a mistake at a place that exists.
//!
//! The allocator is the system's own: lists such as `a[1-65536]` justify more memory than any message.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../launcher/src/nodes/syntax/mod.rs"]
#[allow(dead_code, reason = "a part of the launcher, which is no library")]
mod syntax;

use syntax::{COUNT_MAX, Host, Mistake};

/// Hosts once more, from the list that they would be written as.
fn again(hosts: &[Host]) -> Result<Vec<Host>, Mistake> {
    let texts = hosts.iter().map(|host| {
        let user = host.user.as_ref().map(|user| format!("{user}@"));
        let name = match host.name.contains(':') {
            true => format!("[{}]", host.name),
            false => host.name.clone(),
        };
        format!("{}{name}:{}", user.unwrap_or_default(), host.slots)
    });
    syntax::list::parse(&texts.collect::<Vec<_>>().join(","))
}

fn check(hosts: &Result<Vec<Host>, Mistake>, lines: &[&str]) {
    match hosts {
        Ok(hosts) => {
            for host in hosts {
                assert!(!host.name.is_empty() && host.slots >= 1, "{host:?}");
                let fine = |c: char| !c.is_control() && !c.is_whitespace();
                assert!(host.name.chars().all(fine), "{host:?}");
                // It would be an option of ssh.
                assert!(!host.name.starts_with('-'), "{host:?}");
            }
        }
        Err(mistake) => locate(mistake, lines),
    }
}

/// Only a file has lines; the value of a variable is one.
fn locate(mistake: &Mistake, lines: &[&str]) {
    assert!((1..=lines.len()).contains(&mistake.line), "{mistake:?}");
    let columns = lines[mistake.line - 1].chars().count() + 1;
    assert!((1..=columns).contains(&mistake.column), "{mistake:?}");
    assert!(!mistake.expected.is_empty() && !mistake.found.is_empty());
    for line in [
        mistake.in_file("f"),
        mistake.in_value("V", lines[mistake.line - 1]),
    ] {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (which, bytes) = input;
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.split('\n').collect();
    let one: &[&str] = &[&text];
    match which % 6 {
        0 => check(&syntax::hostfile::parse(bytes), &lines),
        1 => {
            let hosts = syntax::list::parse(&text);
            check(&hosts, one);
            if let Ok(hosts) = hosts {
                if hosts.iter().all(|host| host.slots <= COUNT_MAX) {
                    assert_eq!(again(&hosts), Ok(hosts));
                }
            }
        }
        2 => check(&syntax::lsf::counted(&text), one),
        3 => check(&syntax::lsf::repeated(&text), one),
        4 => match syntax::slurm::nodes(&text) {
            Ok(names) => assert!(names.iter().all(|name| !name.is_empty())),
            Err(mistake) => locate(&mistake, one),
        },
        _ => match syntax::slurm::tasks(&text) {
            Ok(tasks) => assert!(tasks.iter().all(|tasks| *tasks >= 1)),
            Err(mistake) => locate(&mistake, one),
        },
    }
});
