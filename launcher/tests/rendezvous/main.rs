//! Ranks that find each other without `phalanx run`: by the environment, and through PMI.
//!
//! The ranks are processes of this test program, which is told what to play by a variable.

mod strangers;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const PLAY: &str = "RENDEZVOUS_TEST_PLAY";
const WATCHDOG: Duration = Duration::from_secs(60);

/// What a rank does; a test only when there is nothing to play.
#[test]
fn play() {
    let Ok(play) = std::env::var(PLAY) else {
        return;
    };
    let code = phalanx::run(|world| -> phalanx::Result<()> {
        let (rank, size) = (world.rank(), world.size());
        let sum = world.allreduce(rank as u64, phalanx::Sum)?;
        assert_eq!(sum as usize, size * (size - 1) / 2);
        println!("ready {rank} of {size}");
        let (kind, who) = play.split_once(' ').unwrap_or((&play, ""));
        let mine = who.parse() == Ok(rank);
        match kind {
            "panic" if mine => panic!("out of cheese"),
            "leave" if mine => std::process::exit(0),
            "abort" if mine => world.abort(9, "enough"),
            "linger" if mine => {
                world.finalize()?;
                std::thread::sleep(Duration::from_millis(1500));
            }
            "sum" | "linger" => {}
            _ => drop(world.recv_obj::<u8>(rank, 7)?),
        }
        Ok(())
    });
    std::process::exit(i32::from(code != ExitCode::SUCCESS) * code_of(code));
}

/// The number in an exit code, which has no other way out.
fn code_of(code: ExitCode) -> i32 {
    if code == ExitCode::from(71) { 71 } else { 1 }
}

fn command(play: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["play", "--exact", "--nocapture", "--test-threads=1"])
        .env(PLAY, play)
        .env("PHALANX_RENDEZVOUS_TIMEOUT", "30")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in ["PHALANX_CONTROL_FD", "PMI_FD", "PMI_JOBID", "SLURM_STEP_ID"] {
        command.env_remove(name);
    }
    command
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

fn rank(play: &str, address: &str, rank: u32, size: u32) -> Command {
    let mut command = command(play);
    command
        .env("PHALANX_RENDEZVOUS", address)
        .env("PHALANX_RANK", rank.to_string())
        .env("PHALANX_SIZE", size.to_string());
    command
}

struct Ended {
    code: Option<i32>,
    output: String,
    errors: String,
}

impl Ended {
    fn reports(&self) -> Vec<&str> {
        let own = |line: &&str| line.starts_with("phalanx: ");
        self.errors.lines().filter(own).collect()
    }
}

fn finish(mut child: Child) -> Ended {
    let until = Instant::now() + WATCHDOG;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > until {
            child.kill().expect("kill");
            panic!("a rank is stuck");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut ended = Ended {
        code: child.wait().expect("ended").code(),
        output: String::new(),
        errors: String::new(),
    };
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut ended.output).expect("output");
    }
    if let Some(mut errors) = child.stderr.take() {
        errors.read_to_string(&mut ended.errors).expect("errors");
    }
    ended
}

fn start(play: &str, size: u32) -> Vec<Child> {
    let address = free_address();
    let ranks = (0..size).map(|number| rank(play, &address, number, size));
    ranks
        .map(|mut rank| rank.spawn().expect("spawned"))
        .collect()
}

fn run(play: &str, size: u32) -> Vec<Ended> {
    start(play, size).into_iter().map(finish).collect()
}

/// Starts ranks that wait for ever, and kills one.
fn kill(victim: usize) -> Vec<Ended> {
    let mut ranks = start("wait", 4);
    let ready = ranks[victim].stdout.take().expect("piped");
    let mut lines = BufReader::new(ready).lines();
    assert!(lines.any(|line| line.expect("a line").contains("ready")));
    ranks[victim].kill().expect("killed");
    ranks.into_iter().map(finish).collect()
}

fn codes(ended: &[Ended]) -> Vec<Option<i32>> {
    ended.iter().map(|rank| rank.code).collect()
}

/// The one line that was printed, whoever printed it.
fn report(ended: &[Ended]) -> &str {
    let reports: Vec<&str> = ended.iter().flat_map(Ended::reports).collect();
    let errors: Vec<&str> = ended.iter().map(|rank| rank.errors.as_str()).collect();
    assert_eq!(reports.len(), 1, "{errors:?}");
    reports[0]
}

#[test]
fn ranks_meet_and_end_quietly() {
    for size in [2, 5] {
        for (number, ended) in run("sum", size).into_iter().enumerate() {
            assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
            let ready = format!("ready {number} of {size}");
            assert!(ended.output.contains(&ready), "{}", ended.output);
        }
    }
}

#[test]
fn a_rank_that_lives_on_after_finalize_is_no_failure() {
    for who in [0, 1] {
        let ended = run(&format!("linger {who}"), 3);
        assert_eq!(codes(&ended), [Some(0); 3], "{}", ended[0].errors);
    }
}

#[test]
fn a_killed_rank_ends_the_job_and_is_named_once() {
    for victim in [0, 2] {
        let ended = kill(victim);
        let line = report(&ended);
        let named = format!("phalanx: rank {victim} on ");
        assert!(
            line.starts_with(&named) && line.contains("was lost"),
            "{line}"
        );
        for (number, rank) in ended.iter().enumerate() {
            let expected = if number == victim { None } else { Some(72) };
            assert_eq!(rank.code, expected, "rank {number}: {}", rank.errors);
        }
    }
}

#[test]
fn a_panic_a_departure_and_an_abort_are_named() {
    for who in [0, 1] {
        let panic = run(&format!("panic {who}"), 3);
        assert!(
            report(&panic).contains("out of cheese"),
            "{}",
            report(&panic)
        );
        let other = &panic[1 - who];
        assert_eq!(other.code, Some(101), "{}", other.errors);
        let leave = run(&format!("leave {who}"), 3);
        assert!(report(&leave).contains(&format!("rank {who} on")));
        let abort = run(&format!("abort {who}"), 3);
        assert!(report(&abort).contains("aborted the job with code 9: enough"));
        assert_eq!(abort[2].code, Some(9), "{}", abort[2].errors);
    }
}

#[test]
fn missing_ranks_are_named_by_all_that_arrived() {
    let address = free_address();
    let start = |number: u32| {
        let mut rank = rank("sum", &address, number, 4);
        let rank = rank.env("PHALANX_RENDEZVOUS_TIMEOUT", "2");
        rank.spawn().expect("spawned")
    };
    for ended in [start(0), start(3)].map(finish) {
        assert_eq!(ended.code, Some(71), "{}", ended.errors);
        let told = "ranks 1, 2 of 4 have not arrived within 2 s";
        assert!(ended.errors.contains(told), "{}", ended.errors);
    }
    let mut lonely = rank("sum", &free_address(), 1, 2);
    let lonely = lonely.env("PHALANX_RENDEZVOUS_TIMEOUT", "1");
    let ended = finish(lonely.spawn().expect("spawned"));
    assert_eq!(ended.code, Some(71));
    assert!(
        ended.errors.contains("rank 0 has not been reached"),
        "{}",
        ended.errors
    );
}

#[test]
fn a_second_claim_and_another_size_are_turned_away_and_the_job_goes_on() {
    let address = free_address();
    let start = |number, size| {
        rank("sum", &address, number, size)
            .spawn()
            .expect("spawned")
    };
    let zero = start(0, 3);
    let wrong = finish(start(1, 5));
    assert!(wrong.errors.contains("5 ranks"), "{}", wrong.errors);
    let mut ones = vec![start(1, 3), start(1, 3)];
    let taken = loop {
        let ended = ones
            .iter_mut()
            .position(|one| one.try_wait().expect("a child").is_some());
        match ended {
            Some(index) => break finish(ones.remove(index)),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert_eq!(taken.code, Some(71));
    assert!(
        taken.errors.contains("is taken by rank 1 on"),
        "{}",
        taken.errors
    );
    ones.extend([zero, start(2, 3)]);
    for ended in ones.into_iter().map(finish) {
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
    }
}

#[test]
fn torchruns_variables_will_do() {
    let address = free_address();
    let (host, port) = address.rsplit_once(':').expect("a port");
    let ranks = [0, 1].map(|number: u32| {
        let mut rank = command("sum");
        rank.env("MASTER_ADDR", host).env("MASTER_PORT", port);
        rank.env("RANK", number.to_string()).env("WORLD_SIZE", "2");
        rank.spawn().expect("spawned")
    });
    for ended in ranks.map(finish) {
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
    }
}

/// This machine's own name, as torchrun gives it: no secret is needed as long as all are here.
#[test]
fn a_machine_meets_under_its_own_name() {
    let name = rustix::system::uname();
    let name = name.nodename().to_str().expect("a name").to_owned();
    if std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), 1)).is_err() {
        eprintln!("NOT TESTED: the name of this machine, {name}, does not resolve");
        return;
    }
    let port = free_address();
    let (_, port) = port.rsplit_once(':').expect("a port");
    let address = format!("{name}:{port}");
    let ranks = [0, 1].map(|number| {
        let mut rank = rank("sum", &address, number, 2);
        rank.spawn().expect("spawned")
    });
    for ended in ranks.map(finish) {
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
    }
}

/// The real thing, from the package `mpich` where `.ci/run` puts it.
#[test]
fn mpiexec_starts_ranks() {
    let tools = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/mpich/bin/mpiexec");
    if !tools.exists() {
        eprintln!("NOT TESTED: there is no mpiexec in target/mpich");
        return;
    }
    let launch = |play: &str| {
        let rank = command(play);
        let mut mpiexec = Command::new(&tools);
        mpiexec
            .args(["-n", "4"])
            .arg(rank.get_program())
            .args(rank.get_args())
            .envs(
                rank.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        finish(mpiexec.spawn().expect("mpiexec"))
    };
    let ended = launch("sum");
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    for number in 0..4 {
        let ready = format!("ready {number} of 4");
        assert!(ended.output.contains(&ready), "{}", ended.output);
    }
    let ended = launch("panic 2");
    let told = ended.errors.matches("phalanx: rank 2 on ").count();
    assert_eq!(told, 1, "{}", ended.errors);
    assert!(ended.errors.contains("out of cheese"), "{}", ended.errors);
}

/// Serves PMI-2 for one process; the space of values is shared.
fn serve_pmi2(stream: UnixStream, fence: &std::sync::Barrier, space: &std::sync::Mutex<String>) {
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    let mut writer = stream;
    let mut first = String::new();
    reader.read_line(&mut first).expect("a line");
    assert_eq!(first, "cmd=init pmi_version=2 pmi_subversion=0\n");
    let answer = b"cmd=response_to_init rc=0 pmi_version=2 pmi_subversion=0\n";
    writer.write_all(answer).expect("sent");
    loop {
        let mut digits = [0; 6];
        if reader.read_exact(&mut digits).is_err() {
            return;
        }
        let length = std::str::from_utf8(&digits).expect("text").trim();
        let mut body = vec![0; length.parse().expect("a number")];
        reader.read_exact(&mut body).expect("the body");
        let body = String::from_utf8(body).expect("text");
        let word = |name: &str| {
            let mut words = body.split(';').filter_map(|word| word.split_once('='));
            words
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.to_owned())
        };
        let command = word("cmd").expect("a command");
        let more = match command.as_str() {
            "fullinit" => {
                assert_eq!(word("pmijobid").as_deref(), Some("7.0"), "{body}");
                "pmi-version=2;pmi-subversion=0;".to_owned()
            }
            "kvs-put" => {
                *space.lock().expect("locked") = word("value").expect("a value");
                String::new()
            }
            "kvs-fence" => {
                fence.wait();
                String::new()
            }
            "kvs-get" => format!("flag=TRUE;value={};", space.lock().expect("locked")),
            "finalize" => String::new(),
            other => panic!("unknown: {other}"),
        };
        let answer = format!("cmd={command}-response;{more}rc=0;");
        write!(writer, "{:6}{answer}", answer.len()).expect("sent");
    }
}

#[test]
fn pmi_2_brings_ranks_together() {
    let fence = std::sync::Barrier::new(2);
    let space = std::sync::Mutex::new(String::new());
    std::thread::scope(|scope| {
        let ranks: Vec<Child> = (0..2)
            .map(|number| {
                let (ours, theirs) = UnixStream::pair().expect("a pair");
                let theirs = OwnedFd::from(theirs);
                rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).expect("inherited");
                let mut rank = command("sum");
                rank.env("PMI_FD", theirs.as_raw_fd().to_string())
                    .env("PMI_RANK", number.to_string())
                    .env("PMI_SIZE", "2")
                    .env("PMI_JOBID", "7.0");
                let child = rank.spawn().expect("spawned");
                let (fence, space) = (&fence, &space);
                scope.spawn(move || serve_pmi2(ours, fence, space));
                child
            })
            .collect();
        for ended in ranks.into_iter().map(finish) {
            assert_eq!(ended.code, Some(0), "{}", ended.errors);
        }
    });
}
