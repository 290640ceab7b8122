//! The doctor on several hosts: what is well, and every fault with its place and its cure.

use crate::bed::bed;
use crate::common::Outcome;

/// The lines after the table that begin so, each with the cure below it.
fn told<'a>(outcome: &'a Outcome, text: &'a str, state: &str) -> Vec<String> {
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.windows(2);
    let ours = pairs.filter(|pair| pair[0].starts_with(&format!("{state}: ")));
    ours.map(|pair| pair.join("")).collect()
}

fn expect(outcome: &Outcome, code: i32, wrong: &[&[&str]]) {
    let text = outcome.text();
    assert_eq!(outcome.code, Some(code), "{text}{}", outcome.stderr);
    let told = told(outcome, &text, "wrong");
    assert_eq!(told.len(), wrong.len(), "{text}");
    for (told, needles) in told.iter().zip(wrong) {
        for needle in *needles {
            assert!(told.contains(needle), "{needle}: {told}");
        }
    }
}

#[test]
fn hosts_that_are_well_are_found_well() {
    let Some(bed) = bed(3) else { return };
    for known in ["sent there now", "was there"] {
        let outcome = bed.doctor(&["--host", "head,node1,node2,node3", "-v"]);
        expect(&outcome, 0, &[]);
        let text = outcome.text();
        assert_eq!(text.matches(known).count(), 3, "{text}");
        assert_eq!(text.matches(" -> ").count(), 12, "every pair: {text}");
        assert_eq!(text.matches("(eth0)").count(), 4, "{text}");
        bed.assert_clean();
    }
}

#[test]
fn faults_are_named_with_their_place_and_their_cure() {
    let Some(bed) = bed(3) else { return };
    bed.fault(&["block", "node1", "node2", "20000-20004"]);
    bed.on("node3", &["mount", "-o", "remount,ro", "none", "/tmp"]);
    let fill = "head -c 2G /dev/zero >/tmp/fill 2>/dev/null; true";
    bed.on("node2", &["sh", "-c", fill]);
    let hosts = ["--host", "node1,node2,node3,nowhere"];
    let outcome = bed.doctor(&[&hosts[..], &["--ports", "20000-20009"]].concat());
    let unreachable: &[&str] = &[
        "nowhere: start: it cannot be reached",
        "No route to host",
        "is the host up",
    ];
    let full: &[&str] = &[
        "node2: temporary files: /tmp cannot take",
        "No space left",
        "make room in /tmp",
    ];
    let read_only: &[&str] = &[
        "node3: temporary files: /tmp cannot take",
        "Read-only",
        "remount,rw /tmp",
    ];
    let blocked: &[&str] = &[
        "node1 -> node2: connections: 10.77.0.3:20000",
        "do not answer",
        "let TCP ports 20000-20009 through from node1 to node2",
    ];
    expect(&outcome, 1, &[unreachable, full, read_only, blocked]);
    let text = outcome.text();
    assert!(!text.contains("10.77.0.3:20009"), "that port works: {text}");
    assert!(text.contains("4 things are wrong"), "{text}");
    bed.assert_clean();

    // Other ports are not blocked.
    bed.on("node2", &["rm", "/tmp/fill"]);
    bed.on("node3", &["mount", "-o", "remount,rw", "none", "/tmp"]);
    let hosts = ["--host", "node1,node2,node3"];
    let outcome = bed.doctor(&[&hosts[..], &["--ports", "21000-21009"]].concat());
    expect(&outcome, 0, &[]);

    // A host that falls silent while it is looked at, or before, costs its deadline and no more.
    bed.fault(&["cut", "node2"]);
    let outcome = bed.doctor(&hosts);
    let silent: &[&str] = &["node2: start: it does not answer", "timed out", "firewall"];
    expect(&outcome, 1, &[silent]);
    bed.fault(&["heal"]);
    bed.assert_clean();
}
