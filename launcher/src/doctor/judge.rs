//! Findings, from what was seen on the hosts. Pure.

use std::net::SocketAddr;

use super::Entry;
use super::visit::{Clock, Guest};
use super::words::{Attempt, Check, Finding, Outcome};

/// Clocks that differ by less are as good as the same.
const CLOCK_SECONDS_MAX: f64 = 1.0;

/// Everything that can be said of the hosts, in the order of the table.
pub(super) fn judge(guests: &[Guest], ports: Option<(u16, u16)>) -> Vec<Entry> {
    let ours = super::examine::c_library();
    let mut entries = Vec::new();
    for guest in guests {
        let mut add = |check, finding| entries.push(Entry::of(check, &guest.host, finding));
        if let Some(after) = guest.greeted_after {
            let way = match guest.host.here {
                true => "this host".to_owned(),
                false => format!("by {} in {:.1} s", guest.way, after.as_secs_f64()),
            };
            add(Check::Start, Finding::ok(way));
        }
        if let Some(report) = &guest.report {
            let how = match (guest.host.here, guest.was_sent) {
                (true, _) => "",
                (false, true) => ", sent there now",
                (false, false) => ", was there",
            };
            let version = env!("CARGO_PKG_VERSION");
            add(Check::Phalanx, Finding::ok(format!("{version}{how}")));
            add(
                Check::System,
                system(&report.system, &report.c_library, &ours),
            );
            for (check, finding) in &report.findings {
                add(*check, finding.clone());
            }
        }
        if let Some(clock) = guest.clock {
            add(Check::Clock, time(clock));
        }
        if let Some((check, finding)) = &guest.trouble {
            add(*check, finding.clone());
        }
    }
    for (from, guest) in guests.iter().enumerate() {
        for (to, other) in (0_u32..).zip(guests) {
            let mine = guest.attempts.iter().filter(|attempt| attempt.to == to);
            let mine: Vec<&Attempt> = mine.collect();
            if to as usize == from || mine.is_empty() {
                continue;
            }
            let names = (guest.host.name.as_str(), other.host.name.as_str());
            let finding = connections(&mine, names, ports);
            entries.push(Entry {
                to: Some(other.host.name.clone()),
                ..Entry::of(Check::Connections, &guest.host, finding)
            });
        }
    }
    // Stable: hosts stay in their order.
    entries.sort_by_key(|entry| entry.check);
    entries
}

fn system(system: &str, theirs: &str, ours: &str) -> Finding {
    let found = match theirs {
        "" => system.to_owned(),
        library => format!("{system}, {library}"),
    };
    match (glibc(theirs), glibc(ours)) {
        (Some(old), Some(new)) if old < new => Finding::warning(
            format!("{found}; here it is {ours}"),
            "programs that were built here may not start there: build them on the host with the \
             oldest C library, or for a musl target",
        ),
        (None, Some(_)) if theirs.starts_with("musl") => Finding::warning(
            format!("{found}; here it is {ours}"),
            "programs that were built here do not start there unless they are linked statically: \
             build them for a musl target",
        ),
        _ => Finding::ok(found),
    }
}

/// The numbers of its version.
fn glibc(library: &str) -> Option<(u32, u32)> {
    let (major, minor) = library.strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn time(clock: Clock) -> Finding {
    let ahead = clock.ahead_nanos as f64 / 1e9;
    let doubt = clock.doubt.as_secs_f64();
    let found = format!("{ahead:+.3} s, to within {doubt:.3} s");
    if ahead.abs() - doubt <= CLOCK_SECONDS_MAX {
        return Finding::ok(found);
    }
    Finding::warning(
        found,
        "times in logs and of files do not fit together (jobs run all the same): let chrony or \
         systemd-timesyncd set the clock there, and here",
    )
}

/// All attempts of one host to reach another.
fn connections(
    attempts: &[&Attempt],
    (from, to): (&str, &str),
    ports: Option<(u16, u16)>,
) -> Finding {
    let mut addresses: Vec<std::net::IpAddr> = Vec::new();
    for attempt in attempts {
        if !addresses.contains(&attempt.address.ip()) {
            addresses.push(attempt.address.ip());
        }
    }
    let of = |address| {
        let some = attempts
            .iter()
            .filter(move |one| one.address.ip() == address);
        some.copied().collect::<Vec<_>>()
    };
    let failed: Vec<&Attempt> = attempts
        .iter()
        .copied()
        .filter(|one| !matches!(one.outcome, Outcome::Reached { .. }))
        .collect();
    let whole = addresses.iter().filter(|address| {
        let mut all = of(**address).into_iter();
        all.all(|one| matches!(one.outcome, Outcome::Reached { .. }))
    });
    let whole: Vec<String> = whole.map(ToString::to_string).collect();
    let time = attempts.iter().filter_map(|one| match one.outcome {
        Outcome::Reached { micros } => Some(micros),
        _ => None,
    });
    let time = time.min().unwrap_or(0) as f64 / 1000.0;
    let Some(worst) = failed.first() else {
        return Finding::ok(format!("{} in {time:.1} ms", whole.join(", ")));
    };
    let why = told(&failed);
    let cure = cure(&worst.outcome, (from, to), ports);
    if whole.is_empty() {
        return Finding::wrong(why, cure);
    }
    Finding::warning(
        format!("{} in {time:.1} ms, but {why}", whole.join(", ")),
        format!(
            "connections take longer; choose the network that works with --interface, or: {cure}"
        ),
    )
}

/// Which addresses cannot be reached, and why.
fn told(failed: &[&Attempt]) -> String {
    let mut groups: Vec<(&Outcome, Vec<SocketAddr>)> = Vec::new();
    for attempt in failed {
        match groups.iter_mut().find(|(why, _)| **why == attempt.outcome) {
            Some((_, all)) => all.push(attempt.address),
            None => groups.push((&attempt.outcome, vec![attempt.address])),
        }
    }
    for (_, addresses) in &mut groups {
        addresses.sort_unstable();
    }
    let one = |(why, addresses): &(&Outcome, Vec<SocketAddr>)| {
        let named: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let many = named.len() > 1;
        let verb = |one: &str, several: &str| if many { several } else { one }.to_owned();
        let why = match why {
            Outcome::Silence => verb("does not answer", "do not answer"),
            Outcome::Refused => verb("refuses connections", "refuse connections"),
            Outcome::Stranger => verb(
                "is answered by somebody else",
                "are answered by somebody else",
            ),
            Outcome::Failed(error) => format!("cannot be reached: {error}"),
            Outcome::Reached { .. } => String::new(),
        };
        format!("{} {why}", named.join(", "))
    };
    groups.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn cure(outcome: &Outcome, (from, to): (&str, &str), ports: Option<(u16, u16)>) -> String {
    let let_through = match ports {
        Some((low, high)) => format!(
            "let TCP ports {low}-{high} through from {from} to {to}, or choose others with --ports"
        ),
        None => format!(
            "let all TCP ports through from {from} to {to}, or a range that you name with --ports"
        ),
    };
    match outcome {
        Outcome::Silence => format!("a firewall drops what {from} sends: {let_through}"),
        Outcome::Refused => format!("a firewall rejects what {from} sends: {let_through}"),
        Outcome::Stranger => format!(
            "another machine has an address of {to} too, or something stands between them: choose \
             the network that they share with --interface"
        ),
        _ => format!(
            "{from} has no way to that network: choose one that both have with --interface, or \
             look at `ip route` there"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::words::State;
    use std::time::Duration;

    fn attempt(address: &str, outcome: Outcome) -> Attempt {
        Attempt {
            to: 1,
            address: address.parse().expect("an address"),
            outcome,
        }
    }

    const REACHED: Outcome = Outcome::Reached { micros: 400 };

    fn judged(attempts: &[Attempt], ports: Option<(u16, u16)>) -> Finding {
        let all: Vec<&Attempt> = attempts.iter().collect();
        connections(&all, ("a", "b"), ports)
    }

    #[test]
    fn one_address_that_works_is_enough_and_a_part_of_its_ports_is_not() {
        let good = attempt("10.0.0.2:7", REACHED);
        let silent = attempt("10.9.0.2:7", Outcome::Silence);
        assert_eq!(judged(std::slice::from_ref(&good), None).state, State::Ok);
        let half = judged(&[good.clone(), silent.clone()], None);
        assert_eq!(half.state, State::Warning);
        assert!(
            half.found.contains("10.9.0.2:7 does not answer"),
            "{half:?}"
        );
        assert!(half.mend.contains("--interface"), "{half:?}");
        let other_port = attempt("10.0.0.2:9", Outcome::Silence);
        let ports = judged(&[good, other_port], Some((7, 9)));
        assert_eq!(ports.state, State::Wrong);
        assert!(ports.found.starts_with("10.0.0.2:9 does not answer"));
        let cure = "let TCP ports 7-9 through from a to b";
        assert!(ports.mend.contains(cure), "{ports:?}");
    }

    #[test]
    fn every_way_to_fail_has_its_words_and_its_cure() {
        for (outcome, words, cure) in [
            (Outcome::Silence, "does not answer", "drops"),
            (Outcome::Refused, "refuses connections", "rejects"),
            (Outcome::Stranger, "somebody else", "another machine"),
            (Outcome::Failed("No route".into()), "No route", "no way"),
        ] {
            let found = judged(&[attempt("[fd00::2]:7", outcome)], None);
            assert_eq!(found.state, State::Wrong);
            assert!(found.found.contains(words), "{found:?}");
            assert!(found.mend.contains(cure), "{found:?}");
        }
    }

    #[test]
    fn an_older_c_library_is_told() {
        let judge = |theirs| system("Linux 6 x86_64", theirs, "glibc 2.36");
        assert_eq!(judge("glibc 2.36").state, State::Ok);
        assert_eq!(judge("glibc 2.40").state, State::Ok);
        assert_eq!(judge("").found, "Linux 6 x86_64");
        assert!(judge("glibc 2.9").mend.contains("oldest C library"));
        assert!(judge("musl 1.2.4").mend.contains("statically"));
    }

    #[test]
    fn clocks_that_differ_by_more_than_can_be_doubted_are_told() {
        let time = |seconds: f64, doubt| {
            let ahead_nanos = (seconds * 1e9) as i128;
            let doubt = Duration::from_secs_f64(doubt);
            time(Clock { ahead_nanos, doubt })
        };
        assert_eq!(time(0.9, 0.0).state, State::Ok);
        assert_eq!(time(-3.0, 2.5).state, State::Ok);
        let late = time(-3.0, 0.1);
        assert_eq!(late.state, State::Warning);
        assert!(late.found.starts_with("-3.000 s"), "{late:?}");
        assert!(late.mend.contains("chrony"), "{late:?}");
    }
}
