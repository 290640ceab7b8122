//! The answers, and the script itself, run by the shells that are here.

use super::*;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn an_answer_is_found_behind_noise_and_in_pieces() {
    let stream = b"Welcome!\n$ phalanx-bootstrap: need Linux/x86_64\n\x01\x02";
    for piece in 1..stream.len() {
        let mut listener = Listener::default();
        let mut answers = Vec::new();
        let mut after = Vec::new();
        for bytes in stream.chunks(piece) {
            if answers.is_empty() {
                if let Some((answer, rest)) = listener.hear(bytes) {
                    answers.push(answer);
                    after = rest;
                }
            } else {
                after.extend_from_slice(bytes);
            }
        }
        assert_eq!(answers, [Answer::Need("Linux/x86_64".to_owned())]);
        assert_eq!(after, [1, 2]);
        assert_eq!(listener.noise(), "Welcome! $");
    }
}

#[test]
fn endless_noise_is_no_answer() {
    let mut listener = Listener::default();
    let answer = listener.hear(&vec![b'x'; NOISE_BYTES_MAX + 1]);
    assert_eq!(answer, Some((Answer::Babble, Vec::new())));
}

/// Runs the script in a shell; `program` stands for the launcher. Gives all that was said.
fn converse(shell: &[&str], room: &Path, program: &str, send: &[u8]) -> String {
    let content = Content::of_bytes(program.as_bytes());
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .env("HOME", room)
        .env_remove("XDG_CACHE_HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let mut to = child.stdin.take().expect("piped");
    let mut from = child.stdout.take().expect("piped");
    to.write_all(script(&content, Role::Daemon).as_bytes())
        .expect("writes");
    let mut listener = Listener::default();
    let mut said;
    let mut buffer = [0; 512];
    loop {
        let count = from.read(&mut buffer).expect("reads");
        if let Some((answer, rest)) = listener.hear(&buffer[..count]) {
            said = format!("{answer:?} {}", String::from_utf8_lossy(&rest));
            if matches!(answer, Answer::Need(_)) {
                to.write_all(send).expect("writes");
            }
            break;
        }
        assert!(count > 0, "no answer: {}", listener.noise());
    }
    drop(to);
    from.read_to_string(&mut said).expect("reads");
    child.wait().expect("ends");
    said
}

fn shells() -> Vec<Vec<&'static str>> {
    let all = [
        vec!["sh"],
        vec!["bash"],
        vec!["dash"],
        vec!["busybox", "sh"],
    ];
    let there = |words: &Vec<&str>| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["-c", ":"]);
        command.stderr(Stdio::null()).status().is_ok()
    };
    all.into_iter().filter(there).collect()
}

#[test]
fn the_script_takes_exactly_what_it_needs_and_finds_it_the_next_time() {
    let program = "#!/bin/sh\necho \"runs $1\"\n";
    for shell in shells() {
        let room = crate::ship::scratch("bootstrap");
        let cache = room.join(".cache/phalanx");
        let said = converse(&shell, &room, program, program.as_bytes());
        assert!(said.starts_with("Need"), "{shell:?}: {said}");
        assert!(said.ends_with("runs daemon\n"), "{shell:?}: {said}");
        let said = converse(&shell, &room, program, b"");
        assert!(said.starts_with("Have"), "{shell:?}: {said}");
        assert!(said.ends_with("runs daemon\n"), "{shell:?}: {said}");
        let files = std::fs::read_dir(&cache).expect("made").count();
        assert_eq!(files, 1, "{shell:?}");
        std::fs::remove_dir_all(&room).expect("removes");
    }
}

#[test]
fn a_launcher_that_goes_away_leaves_nothing() {
    for shell in shells() {
        let room = crate::ship::scratch("half");
        let said = converse(&shell, &room, "#!/bin/sh\necho runs\n", b"#!/bin");
        assert!(!said.contains("runs"), "{shell:?}: {said}");
        let files = std::fs::read_dir(room.join(".cache/phalanx")).expect("made");
        assert_eq!(files.count(), 0, "{shell:?}");
        std::fs::remove_dir_all(&room).expect("removes");
    }
}
