//! Before the ranks start: the files that the launcher has and this host has not.

use std::io;
use std::path::{Path, PathBuf};

use phalanx::wire::control::{Assignment, FromDaemon, Program};

use super::Daemon;
use super::cache::{Cache, Incoming};
use super::spawn::Failure;

/// An assignment whose files are not all here yet.
#[derive(Debug)]
pub(super) struct Fetch {
    assignment: Assignment,
    /// The place of the file that is being looked at.
    at: usize,
    incoming: Option<Incoming>,
}

impl Daemon {
    /// Takes up an assignment: its files first.
    pub(super) fn fetch(&mut self, assignment: Assignment) -> io::Result<()> {
        self.fetching = Some(Fetch {
            assignment,
            at: 0,
            incoming: None,
        });
        self.fetch_next()
    }

    /// A piece of the file that was asked for.
    pub(super) fn file_piece(&mut self, piece: &[u8]) -> io::Result<()> {
        let Some(fetch) = &mut self.fetching else {
            return Ok(()); // The job was ended meanwhile.
        };
        let Some(incoming) = &mut fetch.incoming else {
            return Ok(());
        };
        match incoming.keep(piece) {
            Ok(false) => {}
            Ok(true) => {
                fetch.incoming = None;
                fetch.at += 1;
            }
            Err(error) => {
                let name = fetch.assignment.files[fetch.at].name.clone();
                return self.cannot_fetch(&name, &error);
            }
        }
        let over = fetch.incoming.is_none();
        let bytes = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        self.tell(&FromDaemon::FileTaken { bytes })?;
        if over { self.fetch_next() } else { Ok(()) }
    }

    fn fetch_next(&mut self) -> io::Result<()> {
        while let (Some(fetch), Some(cache)) = (&mut self.fetching, &self.cache) {
            let Some(file) = fetch.assignment.files.get(fetch.at) else {
                break;
            };
            if cache.has(file) {
                fetch.at += 1;
                continue;
            }
            let name = file.name.clone();
            let empty = file.bytes == 0;
            let made = cache.receive(file).and_then(|mut incoming| {
                let whole = empty && incoming.keep(&[])?;
                Ok((!whole).then_some(incoming))
            });
            match made {
                Ok(None) => continue,
                Ok(incoming) => fetch.incoming = incoming,
                Err(error) => return self.cannot_fetch(&name, &error),
            }
            let file = u32::try_from(fetch.at).unwrap_or(u32::MAX);
            return self.tell(&FromDaemon::NeedFile { file });
        }
        let Some(fetch) = self.fetching.take() else {
            return Ok(());
        };
        let mut assignment = fetch.assignment;
        match self.lay_out(&mut assignment) {
            Ok(()) => self.start(assignment),
            Err((name, error)) => self.cannot_fetch(&name, &error),
        }
    }

    /// Puts the files where the ranks look for them.
    fn lay_out(&mut self, assignment: &mut Assignment) -> Result<(), (String, io::Error)> {
        let Some(cache) = &mut self.cache else {
            return Ok(());
        };
        let is_program = |place: &usize| {
            let mut sent = assignment
                .programs
                .iter()
                .filter_map(|program| program.sent);
            sent.any(|program| program as usize == *place)
        };
        let data = (0..assignment.files.len()).filter(|place| !is_program(place));
        let data: Vec<usize> = data.collect();
        let missing = |directory: &String| !Path::new(directory).is_dir();
        let homeless =
            |it: &Program| !data.is_empty() || it.directory.as_ref().is_some_and(missing);
        if !assignment.programs.iter().any(homeless) {
            return Ok(());
        }
        let directory = cache
            .job()
            .map_err(|error| ("a directory for the ranks".to_owned(), error))?;
        for program in assignment.programs.iter_mut().filter(|it| homeless(it)) {
            program.directory = Some(directory.to_string_lossy().into_owned());
        }
        for file in data.iter().map(|place| &assignment.files[*place]) {
            cache
                .lay_out(file, &directory)
                .map_err(|error| (file.name.clone(), error))?;
        }
        Ok(())
    }

    /// Where a program is that came from the launcher.
    pub(super) fn sent_programs(&self, assignment: &Assignment) -> Vec<Option<PathBuf>> {
        let path = |program: &Program| {
            let file = assignment.files.get(program.sent? as usize)?;
            Some(self.cache.as_ref()?.path(file))
        };
        assignment.programs.iter().map(path).collect()
    }

    fn cannot_fetch(&mut self, name: &str, error: &io::Error) -> io::Result<()> {
        let place = self.cache.as_ref().map(Cache::place);
        let place = place
            .unwrap_or_else(|| Path::new("."))
            .display()
            .to_string();
        let rank = self
            .fetching
            .take()
            .map_or(0, |fetch| first_rank(&fetch.assignment));
        let failure = Failure {
            missing: false,
            message: format!("cannot keep `{name}` in {place}: {error}"),
        };
        self.start_failed(rank, failure)
    }
}

fn first_rank(assignment: &Assignment) -> u32 {
    let mut nodes = (0..).zip(&assignment.nodes.node_of);
    let mine = nodes.find(|(_, node)| **node == assignment.node);
    mine.map_or(0, |(rank, _)| rank)
}
