//! Whoever has no business at the meeting of ranks keeps nobody from it.

use std::io::Write;
use std::net::TcpStream;
use std::process::Child;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{finish, free_address, rank};

/// Connections that one stranger keeps open.
const KEPT: usize = 2 * phalanx::limits::HANDSHAKES_MAX;

/// A stranger that knocks until `knocks` is beyond counting: it says nothing, or a byte now and then, or garbage.
fn storm(address: &str, manner: usize, knocks: &AtomicUsize) {
    let mut open = Vec::new();
    while knocks.load(Relaxed) < usize::MAX / 2 {
        // Other tests need ports too.
        std::thread::sleep(Duration::from_micros(300));
        let Ok(mut stranger) = TcpStream::connect(address) else {
            continue;
        };
        knocks.fetch_add(1, Relaxed);
        if manner == 2 {
            // It may be closed in our face.
            let _ = stranger.write_all(&[0x2a; 2000]);
            continue;
        }
        stranger.set_nonblocking(true).expect("a socket");
        open.push(stranger);
        if open.len() > KEPT {
            open.remove(0);
        }
        if manner == 1 {
            for stranger in &mut open {
                let _ = stranger.write(&[0x2a]);
            }
        }
    }
}

#[test]
fn strangers_at_the_door_disturb_nobody() {
    let address = free_address();
    let zero = rank("sum", &address, 0, 2).spawn().expect("spawned");
    let first = loop {
        match TcpStream::connect(&address) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut strangers = vec![first];
    for number in 0..200 {
        let mut stranger = TcpStream::connect(&address).expect("connected");
        if number % 2 == 0 {
            let garbage: Vec<u8> = (0..5000_u32)
                .map(|byte| (byte * 7 + number) as u8)
                .collect();
            let _ = stranger.write_all(&garbage);
        }
        strangers.push(stranger);
    }
    let one = rank("sum", &address, 1, 2).spawn().expect("spawned");
    for ended in [zero, one].map(finish) {
        assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
    }
}

/// Descriptors of a process.
fn descriptors(process: &Child) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", process.id())).map_or(0, Iterator::count)
}

#[test]
fn ranks_meet_in_a_storm_of_strangers_which_is_bounded() {
    let address = free_address();
    let mut zero = rank("sum", &address, 0, 3).spawn().expect("spawned");
    let knocks = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for manner in 0..3 {
            let (address, knocks) = (&address, &knocks);
            scope.spawn(move || storm(address, manner, knocks));
        }
        while knocks.load(Relaxed) < 1000 && zero.try_wait().expect("a child").is_none() {
            assert!(descriptors(&zero) < 2 * phalanx::limits::HANDSHAKES_MAX);
            std::thread::sleep(Duration::from_millis(1));
        }
        let others = [1, 2].map(|number| rank("sum", &address, number, 3).spawn());
        let others = others.map(|other| finish(other.expect("spawned")));
        knocks.store(usize::MAX, Relaxed);
        for ended in others.into_iter().chain([finish(zero)]) {
            assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
        }
    });
}

#[test]
fn a_rank_with_another_secret_does_not_come_in() {
    let directory = std::env::temp_dir();
    let file = |number: u32| {
        let name = format!("phalanx-rendezvous-{}-{number}", std::process::id());
        let path = directory.join(name);
        std::fs::write(&path, [number as u8; 32]).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("chmod");
        path
    };
    let files = [file(0), file(1)];
    let address = free_address();
    let ranks = [0, 1].map(|number: u32| {
        let mut rank = rank("sum", &address, number, 2);
        rank.env("PHALANX_SECRET_FILE", &files[number as usize]);
        rank.env("PHALANX_RENDEZVOUS_TIMEOUT", "2");
        rank.spawn().expect("spawned")
    });
    let ended = ranks.map(finish);
    assert!(
        ended[0].errors.contains("rank 1 of 2 has not arrived"),
        "{}",
        ended[0].errors
    );
    assert!(
        ended[1].errors.contains("another secret"),
        "{}",
        ended[1].errors
    );
    for file in files {
        std::fs::remove_file(file).expect("removed");
    }
}
