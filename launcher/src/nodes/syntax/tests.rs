//! Every form and every mistake; expansion against a plain one; any bytes at all.

use super::*;
use proptest::prelude::*;

fn slots(hosts: &[Host]) -> Vec<(&str, u32, Option<u32>)> {
    let each = hosts.iter();
    each.map(|host| (host.name.as_str(), host.slots, host.max_slots))
        .collect()
}

const SAMPLE: [(&str, u32, Option<u32>); 3] =
    [("node1", 2, None), ("node2", 1, None), ("node3", 1, None)];

#[test]
fn every_sample_is_understood() {
    let file = |bytes: &[u8]| hostfile::parse(bytes).expect("a hostfile");
    let hydra = file(include_bytes!("../../../../hostfiles/hydra.machinefile"));
    assert_eq!(slots(&hydra), SAMPLE);
    assert_eq!(hydra[1].user.as_deref(), Some("root"));
    let mut ompi = SAMPLE;
    ompi[1].2 = Some(3);
    assert_eq!(
        slots(&file(include_bytes!("../../../../hostfiles/ompi.hostfile"))),
        ompi
    );
    assert_eq!(
        slots(&file(include_bytes!("../../../../hostfiles/pbs.nodefile"))),
        SAMPLE
    );
    assert_eq!(
        slots(&file(include_bytes!(
            "../../../../hostfiles/sge.PE_HOSTFILE"
        ))),
        SAMPLE
    );
    let counted = lsf::counted(include_str!("../../../../hostfiles/lsf.LSB_MCPU_HOSTS"));
    assert_eq!(slots(&counted.expect("hosts")), SAMPLE);
    let repeated = lsf::repeated(include_str!("../../../../hostfiles/lsf.LSB_HOSTS"));
    assert_eq!(slots(&repeated.expect("hosts")), SAMPLE);
}

#[test]
fn every_sample_of_slurm_is_understood() {
    let expected: [(&[&str], &[u32]); 4] = [
        (&["node1", "node2", "node3", "node7"], &[2, 2, 2, 1]),
        (&["node1", "node3"], &[3, 2]),
        (
            &[
                "rack0node08",
                "rack0node09",
                "rack0node10",
                "rack1node08",
                "rack1node09",
                "rack1node10",
                "login",
            ],
            &[1; 7],
        ),
        (&["n1", "n1", "n2", "n10", "n010"], &[]),
    ];
    let text = include_str!("../../../../hostfiles/slurm.nodelists");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), expected.len());
    for (line, (names, counts)) in lines.into_iter().zip(expected) {
        let mut words = line.split_whitespace();
        let list = words.next().expect("a list");
        assert_eq!(slurm::nodes(list).expect(list), names);
        if !counts.is_empty() {
            let list = words.next().expect("tasks");
            assert_eq!(slurm::tasks(list).expect(list), counts);
        }
    }
}

#[test]
fn a_list_has_users_addresses_and_slots() {
    let hosts = list::parse("a:2,me@b,[fe80::1%eth0]:4,a,10.0.0.1").expect("a list");
    let names = [
        ("a", 3, None),
        ("b", 1, None),
        ("fe80::1%eth0", 4, None),
        ("10.0.0.1", 1, None),
    ];
    assert_eq!(slots(&hosts), names);
    assert_eq!(hosts[1].user.as_deref(), Some("me"));
}

#[test]
fn attributes_of_a_hostfile_are_kept() {
    let text = "\r\n  # none\n\ta.x-y slots = 2 max-slots=4 # two\r\nme@b:3 ifname=eth1 port=2222 binding=rr\n";
    let hosts = hostfile::parse(text.as_bytes()).expect("a hostfile");
    assert_eq!(slots(&hosts), [("a.x-y", 2, Some(4)), ("b", 3, None)]);
    let b = &hosts[1];
    assert_eq!(
        (b.user.as_deref(), b.interface.as_deref(), b.port),
        (Some("me"), Some("eth1"), Some(2222))
    );
}

#[test]
fn a_mistake_in_a_file_has_line_and_column_and_says_what_was_expected() {
    for (text, place, expected) in [
        ("a\n-oProxyCommand=x\n", "2:1", "a host name"),
        ("a slots=x", "1:9", "a number from 1"),
        ("a slots=0", "1:9", "a number from 1"),
        ("a slots=99999999999", "1:9", "a number from 1"),
        ("a slots 2", "1:9", "`=`"),
        ("a slot=2", "1:3", "`slots=`"),
        ("a:2:3", "1:4", "`slots=`"),
        ("fe80::1", "1:6", "in brackets"),
        ("[fe80::zz]", "1:2", "an IPv6 address"),
        ("[::1", "1:5", "`]`"),
        ("a$(x)", "1:2", "a comment"),
        ("a slots=3 max_slots=2", "1:2", "not below"),
        ("a port=70000", "1:8", "a port"),
        ("\n# nothing\n", "1:1", "a host"),
        ("ü", "1:1", "a host name"),
        ("# ü\nnode1 ü", "2:7", "the end of the line"),
    ] {
        let message = hostfile::parse(text.as_bytes())
            .expect_err(text)
            .in_file("f");
        assert!(
            message.starts_with(&format!("f:{place}: expected ")),
            "{text:?}: {message}"
        );
        assert!(message.contains(expected), "{text:?}: {message}");
    }
    let mistake = hostfile::parse(b"a\nb \xff").expect_err("no text");
    assert_eq!((mistake.line, mistake.column), (2, 3));
}

#[test]
fn a_mistake_in_a_value_has_a_column() {
    for (text, column, expected) in [
        ("", 1, "a host name"),
        ("a,,b", 3, "a host name"),
        ("a,", 3, "a host name"),
        ("a:0", 3, "a number"),
        ("a b", 2, "`,` and another host"),
        ("-oProxyCommand=x", 1, "a host name"),
    ] {
        let mistake = list::parse(text).expect_err(text);
        assert_eq!(mistake.column, column, "{text:?}: {mistake:?}");
        assert!(mistake.expected.contains(expected), "{text:?}: {mistake:?}");
    }
    for (text, column) in [
        ("n[1-2]x", 7),
        ("n[2-1]", 3),
        ("n[1-2", 6),
        ("n[]", 3),
        ("[1-2]", 1),
        ("n[1-x]", 5),
        ("n[0-99999]x[0-99999]", 1),
        ("-n", 1),
        ("a,", 3),
    ] {
        let mistake = slurm::nodes(text).expect_err(text);
        assert_eq!(mistake.column, column, "{text:?}: {mistake:?}");
    }
    for (text, column) in [("2(x", 4), ("2(x3", 5), ("x", 1), ("2,", 3), ("2(x0)", 4)] {
        let mistake = slurm::tasks(text).expect_err(text);
        assert_eq!(mistake.column, column, "{text:?}: {mistake:?}");
    }
}

/// A piece of a name with its values, written and expanded by hand.
fn piece() -> impl Strategy<Value = (String, Vec<String>)> {
    let range = (0_u32..120, 0_u32..12, 1_usize..4).prop_map(|(low, more, digits)| {
        let low_text = format!("{low:0digits$}");
        let width = low_text.len();
        let names = (low..=low + more).map(|number| {
            let number = number.to_string();
            "0".repeat(width.saturating_sub(number.len())) + &number
        });
        let text = if more == 0 {
            low_text
        } else {
            format!("{low_text}-{}", low + more)
        };
        (text, names.collect::<Vec<_>>())
    });
    ("[a-z]{1,3}", proptest::collection::vec(range, 1..4)).prop_map(|(before, ranges)| {
        let texts: Vec<&str> = ranges.iter().map(|(text, _)| text.as_str()).collect();
        let text = format!("{before}[{}]", texts.join(","));
        let names = ranges.iter().flat_map(|(_, names)| names);
        (text, names.map(|name| format!("{before}{name}")).collect())
    })
}

fn item() -> impl Strategy<Value = (String, Vec<String>)> {
    let ranged = proptest::collection::vec(piece(), 1..3).prop_map(|pieces| {
        let mut all = (String::new(), vec![String::new()]);
        for (text, names) in pieces {
            all.0 += &text;
            let mut longer = Vec::new();
            for begun in &all.1 {
                for name in &names {
                    longer.push(format!("{begun}{name}"));
                }
            }
            all.1 = longer;
        }
        all
    });
    let plain = "[a-z][a-z0-9.-]{0,5}".prop_map(|name| (name.clone(), vec![name]));
    prop_oneof![ranged, plain]
}

fn near_misses() -> impl Strategy<Value = String> {
    "[a-c0-3:=,#\\[\\]()x@% .\t\r\n-]{0,40}|(a|node1)( slots=[0-9]{0,12}| [0-9]| user=a| [a-z=]{0,5}){0,4}"
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_expand_as_by_hand(items in proptest::collection::vec(item(), 1..4)) {
        let texts: Vec<&str> = items.iter().map(|(text, _)| text.as_str()).collect();
        let names: Vec<String> = items.iter().flat_map(|(_, names)| names.clone()).collect();
        prop_assert_eq!(slurm::nodes(&texts.join(",")), Ok(names));
    }

    #[test]
    fn tasks_expand_as_by_hand(runs in proptest::collection::vec((1_u32..9, 1_usize..5), 1..9)) {
        let text = |(tasks, times): &(u32, usize)| match times {
            1 => tasks.to_string(),
            times => format!("{tasks}(x{times})"),
        };
        let texts: Vec<String> = runs.iter().map(text).collect();
        let tasks: Vec<u32> = runs.iter().flat_map(|(tasks, times)| vec![*tasks; *times]).collect();
        prop_assert_eq!(slurm::tasks(&texts.join(",")), Ok(tasks));
    }

    #[test]
    fn any_bytes_give_hosts_or_a_place_in_them(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        check(&bytes)?;
    }

    #[test]
    fn near_misses_give_hosts_or_a_place_in_them(text in near_misses()) {
        check(text.as_bytes())?;
    }
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    match hostfile::parse(bytes) {
        Ok(hosts) => check_hosts(&hosts)?,
        Err(mistake) => check_place(&mistake, bytes)?,
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    for parsed in [list::parse(text), lsf::counted(text), lsf::repeated(text)] {
        match parsed {
            Ok(hosts) => check_hosts(&hosts)?,
            Err(mistake) => check_column(&mistake, text)?,
        }
    }
    if let Err(mistake) = slurm::nodes(text) {
        check_column(&mistake, text)?;
    }
    if let Err(mistake) = slurm::tasks(text) {
        check_column(&mistake, text)?;
    }
    Ok(())
}

fn check_hosts(hosts: &[Host]) -> Result<(), TestCaseError> {
    prop_assert!(!hosts.is_empty());
    for host in hosts {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._:%-".contains(letter);
        prop_assert!(
            host.name.chars().all(allowed) && !host.name.starts_with('-'),
            "{host:?}"
        );
        prop_assert!(host.slots > 0 && host.max_slots.is_none_or(|most| most > 0));
    }
    Ok(())
}

fn check_column(mistake: &Mistake, text: &str) -> Result<(), TestCaseError> {
    let within = (1..=text.chars().count() + 1).contains(&mistake.column);
    prop_assert!(
        within && !mistake.expected.is_empty(),
        "{mistake:?} in {text:?}"
    );
    Ok(())
}

fn check_place(mistake: &Mistake, bytes: &[u8]) -> Result<(), TestCaseError> {
    let line = bytes.split(|byte| *byte == b'\n').nth(mistake.line - 1);
    let line = String::from_utf8_lossy(line.expect("the line exists")).into_owned();
    check_column(mistake, &line)
}
