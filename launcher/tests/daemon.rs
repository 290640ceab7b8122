//! A daemon spoken to as the launcher does, as if it were on another host.

mod common;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use phalanx::base::ids::JobId;
use phalanx::wire::control::{
    Assignment, Binding, Decoder, FromDaemon, InputFor, NodeMap, PROTOCOL, Program, Secret, Stream,
    ToDaemon, TransportChoice, encode,
};

/// A job of one rank here.
fn assignment(command: &[&str]) -> Assignment {
    Assignment {
        protocol: PROTOCOL,
        job: JobId(7),
        secret: Secret([1; 32]),
        epoch: 0,
        size: 1,
        nodes: NodeMap {
            hosts: vec!["here".to_owned()],
            node_of: vec![0],
        },
        node: 0,
        transport: TransportChoice::Auto,
        programs: vec![Program {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..Program::default()
        }],
        input: InputFor::Rank(0),
        binding: Binding::Free,
        report_bindings: false,
        kill_grace_millis: 100,
        threads: None,
        files: Vec::new(),
    }
}

/// What the daemon did: its messages, and its standard error.
fn obey(assignment: Assignment, home: &str) -> (Vec<FromDaemon>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phalanx"));
    command.arg("daemon").env("HOME", home);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let mut running = common::Running::start(command);
    let start = encode(&ToDaemon::Start(Box::new(assignment))).expect("encodes");
    let mut to = running.child.stdin.take().expect("piped");
    to.write_all(&start).expect("it listens");
    let mut decoder = Decoder::default();
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = running.out.read(&mut buffer).expect("reads");
        decoder.extend(&buffer[..count]);
        while let Some(message) = decoder.next::<FromDaemon>().expect("sense") {
            said.push(message);
        }
        if count == 0 {
            let outcome = running.finish();
            return (said, outcome.stderr);
        }
    }
}

fn printed(said: &[FromDaemon]) -> String {
    let output = said.iter().filter_map(|message| match message {
        FromDaemon::Printed { stream, bytes, .. } if *stream == Stream::Output => Some(bytes),
        _ => None,
    });
    String::from_utf8_lossy(&output.flatten().copied().collect::<Vec<u8>>()).into_owned()
}

const NOWHERE: &str = "/no/such/directory";

#[test]
fn a_directory_that_the_host_lacks_gives_way_to_the_home_directory() {
    let mut assignment = assignment(&["pwd"]);
    assignment.programs[0].directory = Some(NOWHERE.to_owned());
    let (said, errors) = obey(assignment, "/usr");
    assert_eq!(printed(&said), "/usr\n");
    assert!(errors.contains("has no directory /no/such/directory: its ranks run in /usr"));
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn a_directory_that_was_asked_for_must_exist() {
    let mut assignment = assignment(&["pwd"]);
    assignment.programs[0].directory = Some(NOWHERE.to_owned());
    assignment.programs[0].directory_required = true;
    let (said, _) = obey(assignment, "/usr");
    let failed = said.iter().find_map(|message| match message {
        FromDaemon::StartFailed { message, .. } => Some(message.as_str()),
        _ => None,
    });
    assert_eq!(
        failed,
        Some("--wdir /no/such/directory: there is no such directory")
    );
}

#[test]
fn variables_of_the_assignment_reach_the_ranks() {
    let mut assignment = assignment(&["sh", "-c", "echo $PHALANX_INTERFACE"]);
    assignment.programs[0].environment = vec![("PHALANX_INTERFACE".to_owned(), "eth7".to_owned())];
    assert_eq!(printed(&obey(assignment, "/").0), "eth7\n");
}
