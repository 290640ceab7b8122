//! Files for daemons elsewhere: sent when they ask, no faster than they can keep them.

use phalanx::wire::control::{FILE_WINDOW_BYTES, ToDaemon};

use crate::ship::Freight;

/// A file on its way to one daemon.
#[derive(Debug)]
pub(super) struct Sending {
    file: usize,
    offset: u64,
    outstanding: usize,
}

impl Sending {
    pub(super) const fn of(file: usize) -> Self {
        Self {
            file,
            offset: 0,
            outstanding: 0,
        }
    }

    /// The daemon has kept so many bytes.
    pub(super) fn taken(&mut self, bytes: usize) {
        self.outstanding = self.outstanding.saturating_sub(bytes);
    }

    /// The pieces that may be sent now, and whether they are the last. An error is one line.
    pub(super) fn pieces(&mut self, files: &[Freight]) -> Result<(Vec<ToDaemon>, bool), String> {
        let file = files
            .get(self.file)
            .ok_or_else(|| "a host asked for a file that is not part of the job".to_owned())?;
        let mut pieces = Vec::new();
        while self.outstanding < FILE_WINDOW_BYTES && self.offset < file.content.bytes {
            let piece = file
                .piece(self.offset)
                .map_err(|error| format!("a file changed while it was sent: {error}"))?;
            self.offset += piece.len() as u64;
            self.outstanding += piece.len();
            pieces.push(ToDaemon::File(piece));
        }
        Ok((pieces, self.offset == file.content.bytes))
    }
}
