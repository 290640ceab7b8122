//! Hosts that have IPv6 addresses, alone or beside IPv4 ones.

use crate::bed::{Bed, bed_over};
use crate::ranked;

/// Six ranks on three hosts, however these are named.
fn sums(bed: &Bed, words: &[&str]) {
    let ranked = ranked("sum");
    let ranked: Vec<&str> = ranked.iter().map(String::as_str).collect();
    let outcome = bed.run(&[words, &["-n", "6"], &ranked[..]].concat());
    assert_eq!(outcome.code, Some(0), "{words:?}: {}", outcome.stderr);
    assert_eq!(
        outcome.text().matches("of 6: sum 21").count(),
        6,
        "{words:?}"
    );
    assert_eq!(outcome.reports(), [""; 0]);
    bed.assert_clean();
}

#[test]
fn a_job_runs_on_hosts_that_have_ipv6_only() {
    let Some(bed) = bed_over("6", 3) else { return };
    sums(&bed, &["--host", "node1:2,node2:2,node3:2"]);
    // The head is number 1 of the network, and known to be this host.
    let addresses = "[fd77:77::1]:2,[fd77:77::2]:2,[fd77:77::3]:2";
    sums(&bed, &["--host", addresses]);
    sums(
        &bed,
        &[
            "--host",
            "node1:2,node2:2,node3:2",
            "--interface",
            "fd77:77::/64",
        ],
    );
    let outcome = bed.doctor(&["--host", "head,node1,node2", "--verbose"]);
    let text = outcome.text();
    assert_eq!(outcome.code, Some(0), "{text}");
    assert_eq!(text.matches("fd77:77::3 in ").count(), 2, "{text}");
    bed.fault(&["block", "node1", "node2", "1024-65535"]);
    let outcome = bed.doctor(&["--host", "node1,node2"]);
    let text = outcome.text();
    assert_eq!(outcome.code, Some(1), "{text}");
    assert!(
        text.contains("wrong: node1 -> node2: connections: [fd77:77::3]:"),
        "{text}"
    );
    bed.fault(&["heal"]);
    let nowhere = bed.run(&["--host", "node1,nowhere", "true"]);
    assert_eq!(nowhere.code, Some(71), "{}", nowhere.stderr);
    assert!(
        nowhere.stderr.contains("on nowhere: "),
        "{}",
        nowhere.stderr
    );
    bed.assert_clean();
}

#[test]
fn ranks_take_either_version_where_hosts_have_both() {
    let Some(bed) = bed_over("46", 3) else { return };
    let hosts = ["--host", "node1:2,node2:2,node3:2"];
    sums(&bed, &hosts);
    sums(
        &bed,
        &[&hosts[..], &["--interface", "fd77:77::/64"]].concat(),
    );
    // One host has lost its IPv4 address: the others still reach it, and it them.
    bed.on("node2", &["ip", "-4", "addr", "flush", "dev", "eth0"]);
    sums(&bed, &hosts);
}
