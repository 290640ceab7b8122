//! Everything that a job needs on other hosts: how they are reached, and the files they get.

use std::path::{Component, Path};
use std::time::Duration;

use phalanx::wire::control::{Assignment, Program, SentFile};

use super::Options;
use super::args::StartArgs;
use crate::job::Refusal;
use crate::nodes::Host;
use crate::ship::Freight;

/// A host that is silent for so long is lost, unless the user says otherwise.
const HOST_TIMEOUT: Duration = Duration::from_secs(3);

/// Programs in these directories belong to a host: each has its own.
const OF_THE_HOST: [&str; 4] = ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"];

/// The other hosts of a job.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// All hosts of the job, this one among them.
    pub(crate) hosts: Vec<Host>,
    pub(crate) options: Options,
    /// The files that are sent, as they are here.
    pub(crate) files: Vec<Freight>,
    sent: Vec<SentFile>,
    /// Which of them is each program, unless hosts have it.
    programs: Vec<Option<u32>>,
    /// None in a job of one host.
    pub(crate) host_timeout: Option<Duration>,
}

impl Elsewhere {
    /// Finds out what the hosts need.
    pub(crate) fn new(
        args: &StartArgs,
        hosts: Vec<Host>,
        in_slurm: bool,
        programs: &[Program],
    ) -> Result<Self, Refusal> {
        let several = hosts.len() > 1 || hosts.iter().any(|host| !host.here);
        let mut elsewhere = Self {
            hosts,
            options: args.way.options(in_slurm),
            host_timeout: several.then(|| args.host_timeout.unwrap_or(HOST_TIMEOUT)),
            ..Self::default()
        };
        if elsewhere.hosts.iter().all(|host| host.here) || args.way.no_ship {
            return Ok(elsewhere);
        }
        for program in programs {
            let sent = elsewhere.add_program(program)?;
            elsewhere.programs.push(sent);
        }
        let directory = programs.first().map_or_else(|| Path::new("."), place);
        let here = Path::new(".");
        for file in &args.ship_file {
            let name = name(file, directory)?;
            elsewhere.add(name, &here.join(file))?;
        }
        Ok(elsewhere)
    }

    /// Adds a program that hosts do not have. Gives its place among the files.
    fn add_program(&mut self, program: &Program) -> Result<Option<u32>, Refusal> {
        let name = program.command.first().map_or("", String::as_str);
        let path = place(program).join(name);
        let is_ours = name.contains('/') && path.is_file();
        let of_the_host = OF_THE_HOST
            .iter()
            .any(|place| path.to_string_lossy().starts_with(place));
        if !is_ours || of_the_host {
            return Ok(None);
        }
        let place = self.files.len();
        self.add(name.to_owned(), &path)?;
        Ok(u32::try_from(place).ok())
    }

    fn add(&mut self, name: String, path: &Path) -> Result<(), Refusal> {
        let freight = Freight::load(path).map_err(|error| {
            Refusal::launch(format!(
                "cannot send {} to other hosts: {error}",
                path.display()
            ))
        })?;
        self.sent.push(SentFile {
            name,
            hash: freight.content.hash,
            bytes: freight.content.bytes,
        });
        self.files.push(freight);
        Ok(())
    }

    /// Adds to what a daemon is told the files that its host gets.
    pub(crate) fn equip(&self, assignment: &mut Assignment) {
        let host = self.hosts.get(assignment.node as usize);
        if host.is_some_and(|host| !host.here) {
            assignment.files.clone_from(&self.sent);
            for (program, sent) in assignment.programs.iter_mut().zip(&self.programs) {
                program.sent = *sent;
            }
        }
    }
}

/// Where the ranks of a program run.
fn place(program: &Program) -> &Path {
    Path::new(program.directory.as_deref().unwrap_or("."))
}

/// The name of a file for ranks whose directory is `directory`.
fn name(file: &Path, directory: &Path) -> Result<String, Refusal> {
    let inside = file.strip_prefix(directory).unwrap_or(file);
    let plain = inside
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match inside.to_str().filter(|_| plain) {
        Some(name) => Ok(name.to_owned()),
        None => Err(Refusal::usage(format!(
            "--ship-file {}: ranks look for it in their working directory, so it has to be below \
             that, without `..`",
            file.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_place_below_the_directory() {
        let name = |file| name(Path::new(file), Path::new("/d")).ok();
        assert_eq!(name("data/a.mtx").as_deref(), Some("data/a.mtx"));
        assert_eq!(name("/d/x/a").as_deref(), Some("x/a"));
        assert_eq!(name("/other/a"), None);
        assert_eq!(name("../a"), None);
    }

    #[test]
    fn a_job_on_this_host_alone_sends_nothing_and_waits_for_no_beat() {
        let args = StartArgs::default();
        let here = Host {
            here: true,
            ..Host::new("h", 1)
        };
        let elsewhere = Elsewhere::new(&args, vec![here], false, &[]);
        let elsewhere = elsewhere.expect("nothing to read");
        assert!(elsewhere.files.is_empty() && elsewhere.host_timeout.is_none());
    }
}
