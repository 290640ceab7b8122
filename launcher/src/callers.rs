//! Who asks about a running job, and where: an abstract Unix socket, whose name the system lists.
//!
//! Nothing is left behind when the launcher is killed, because there is no file. The name is `phalanx/`, the
//! user, the job and the process of the launcher; other users are turned away, and a name that another user
//! has taken is not believed.

use std::io::{self, Read, Write};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use mio::Registry;
use mio::net::UnixListener;

use crate::job::Refusal;

/// Callers that wait for a table.
const CALLERS_MAX: usize = 16;
/// Time that one side has to take or to give what the other expects.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The launcher's side.
#[derive(Debug)]
pub(crate) struct Callers {
    listener: Option<UnixListener>,
    /// The first line of each answer: what `phalanx ps` shows.
    line: String,
    waiting: Vec<UnixStream>,
}

impl Callers {
    /// Listens; without a socket nobody can ask, nothing else.
    pub(crate) fn listen(job: &str, registry: &Registry, token: mio::Token, line: String) -> Self {
        let name = format!("{}{job}/{}", prefix(), std::process::id());
        let listener = address(&name)
            .and_then(|address| UnixListener::bind_addr(&address))
            .and_then(|mut listener| {
                registry.register(&mut listener, token, mio::Interest::READABLE)?;
                Ok(listener)
            });
        Self {
            listener: listener.ok(),
            line,
            waiting: Vec::new(),
        }
    }

    /// Takes in who calls; whether somebody wants a table.
    pub(crate) fn accept(&mut self) -> bool {
        let Some(listener) = &self.listener else {
            return false;
        };
        while let Ok((stream, _)) = listener.accept() {
            let stream = UnixStream::from(std::os::fd::OwnedFd::from(stream));
            if is_ours(&stream) && self.waiting.len() < CALLERS_MAX {
                self.waiting.push(stream);
            }
        }
        !self.waiting.is_empty()
    }

    /// Gives all who wait the table.
    pub(crate) fn answer(&mut self, seconds: u64, table: &str) {
        for mut stream in self.waiting.drain(..) {
            let text = format!("{seconds}\t{}\n{table}", self.line);
            // Somebody who does not read must not stop the job.
            std::thread::spawn(move || {
                let written = stream
                    .set_nonblocking(false)
                    .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
                    .and_then(|()| stream.write_all(text.as_bytes()));
                drop(written);
            });
        }
    }
}

fn prefix() -> String {
    format!("phalanx/{}/", rustix::process::getuid().as_raw())
}

#[cfg(target_os = "linux")]
fn address(name: &str) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

/// Only Linux has names without files.
#[cfg(not(target_os = "linux"))]
fn address(_name: &str) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn is_ours(stream: &UnixStream) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stream).map(|peer| peer.uid);
    peer.is_ok_and(|uid| uid == rustix::process::getuid() || uid.is_root())
}

#[cfg(not(target_os = "linux"))]
fn is_ours(_stream: &UnixStream) -> bool {
    false
}

/// A running job: its name, and what it says of itself.
struct Found {
    job: String,
    seconds: String,
    launcher: String,
    line: String,
    table: String,
}

fn call(name: &str) -> Option<Found> {
    let rest = name.strip_prefix(&prefix())?;
    let (job, launcher) = rest.split_once('/')?;
    let stream = UnixStream::connect_addr(&address(name).ok()?).ok()?;
    if !is_ours(&stream) {
        return None;
    }
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut text = String::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    let (line, table) = text.split_once('\n')?;
    let (seconds, line) = line.split_once('\t')?;
    Some(Found {
        job: job.to_owned(),
        seconds: seconds.to_owned(),
        launcher: launcher.to_owned(),
        line: line.to_owned(),
        table: table.to_owned(),
    })
}

fn jobs() -> Result<Vec<Found>, Refusal> {
    let cannot = |error: io::Error| {
        Refusal::usage(format!(
            "cannot list the sockets of this host (/proc/net/unix): {error}"
        ))
    };
    let list = std::fs::read_to_string("/proc/net/unix").map_err(cannot)?;
    let names = list
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7)?.strip_prefix('@'));
    let mut names: Vec<&str> = names.filter(|name| name.starts_with(&prefix())).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names.into_iter().filter_map(call).collect())
}

/// `phalanx ps`: the jobs of this user on this host.
pub(crate) fn ps() -> Result<u8, Refusal> {
    println!(
        "{:16}  {:>8}  {:>8}  ranks and command",
        "job", "launcher", "seconds"
    );
    for found in jobs()? {
        let Found {
            job,
            seconds,
            launcher,
            line,
            ..
        } = found;
        println!("{job:16}  {launcher:>8}  {seconds:>8}  {line}");
    }
    Ok(0)
}

/// `phalanx stack JOB`: what every rank of a job does; the only job when none is named.
pub(crate) fn stack(wanted: Option<&str>) -> Result<u8, Refusal> {
    let mut found = jobs()?;
    found.retain(|job| {
        wanted.is_none_or(|wanted| job.job.starts_with(wanted) || job.launcher == wanted)
    });
    match &found[..] {
        [job] => {
            print!("{}", job.table);
            Ok(0)
        }
        [] => Err(Refusal::usage(
            "no such job of this user runs here; `phalanx ps` lists them",
        )),
        _ => Err(Refusal::usage(
            "several jobs are meant; name one of those that `phalanx ps` lists",
        )),
    }
}
