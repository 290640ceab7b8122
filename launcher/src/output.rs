//! Lines out of pieces: a line of output always belongs to one rank.
//!
//! What arrives from a rank is held until its line ends; whole lines pass on at once. An unfinished
//! line is let through when its rank's stream ends, when it grows too long, or when it looks like
//! a prompt: idle for a while. Should another rank print next, a line break is put between. Pure:
//! bytes and `now` in, bytes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Longest part of a line that is held back.
const HELD_BYTES_MAX: usize = 64 * 1024;
/// The only unfinished line is a prompt when it was idle for so long.
const PROMPT_IDLE: Duration = Duration::from_millis(100);
/// With several unfinished lines the writers are slow rather than waiting; then this counts.
const SLOW_IDLE: Duration = Duration::from_secs(1);

/// Takes a terminal to the beginning of the row, and empties it.
const ERASE_ROW: &[u8] = b"\r\x1b[K";

/// Assembles the lines of one output stream.
#[derive(Debug)]
pub(crate) struct Lines {
    /// For each rank what its lines begin with.
    labels: Option<Arc<[String]>>,
    held: BTreeMap<u32, Held>,
    cursor: Cursor,
    /// A line that can be taken back is on the terminal.
    status: bool,
    out: Vec<u8>,
}

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    since: Duration,
    /// The beginning of this line was let through because it is very long.
    long: bool,
}

/// What was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    LineStart,
    /// Inside a line of this rank; a very long one is taken for data, not for text.
    Inside {
        rank: u32,
        long: bool,
    },
}

impl Lines {
    /// With labels each line begins with that of its rank.
    pub(crate) fn new(labels: Option<Arc<[String]>>) -> Self {
        Self {
            labels,
            held: BTreeMap::new(),
            cursor: Cursor::LineStart,
            status: false,
            out: Vec::new(),
        }
    }

    /// What can be written now.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// A rank printed this.
    pub(crate) fn push(&mut self, rank: u32, bytes: &[u8], now: Duration) {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        let (lines, rest) = bytes.split_at(whole.map_or(0, |at| at + 1));
        let held = self.held.remove(&rank);
        let mut long = held.as_ref().is_some_and(|held| held.long);
        let mut begun = held.map(|held| held.bytes).unwrap_or_default();
        if !lines.is_empty() {
            self.write(rank, &begun, long);
            self.write(rank, lines, false);
            begun.clear();
            long = false;
        }
        begun.extend_from_slice(rest);
        if begun.len() >= HELD_BYTES_MAX {
            long = true;
            self.write(rank, &begun, true);
            begun.clear();
        }
        if long || !begun.is_empty() {
            let held = Held {
                bytes: begun,
                since: now,
                long,
            };
            self.held.insert(rank, held);
        }
    }

    /// A rank will print no more.
    pub(crate) fn end(&mut self, rank: u32) {
        if let Some(held) = self.held.remove(&rank) {
            self.write(rank, &held.bytes, held.long);
        }
    }

    /// Shows a line on a terminal that is taken back before anything else is written; nothing when empty.
    pub(crate) fn show_status(&mut self, line: &str) {
        self.take_status_back();
        if self.cursor == Cursor::LineStart && !line.is_empty() {
            self.out.extend_from_slice(line.as_bytes());
            self.status = true;
        }
    }

    fn take_status_back(&mut self) {
        if std::mem::take(&mut self.status) {
            self.out.extend_from_slice(ERASE_ROW);
        }
    }

    /// Our own line.
    pub(crate) fn say(&mut self, line: &str) {
        self.take_status_back();
        if self.cursor != Cursor::LineStart {
            self.out.push(b'\n');
        }
        self.out.extend_from_slice(line.as_bytes());
        self.out.push(b'\n');
        self.cursor = Cursor::LineStart;
    }

    /// When [`Lines::tick`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let idle = self.idle();
        let waiting = self.held.values().filter(|held| !held.bytes.is_empty());
        waiting.map(|held| held.since + idle).min()
    }

    /// Lets prompts through.
    pub(crate) fn tick(&mut self, now: Duration) {
        let idle = self.idle();
        let due: Vec<u32> = self
            .held
            .iter()
            .filter(|(_, held)| !held.bytes.is_empty() && held.since + idle <= now)
            .map(|(rank, _)| *rank)
            .collect();
        for rank in due {
            if let Some(held) = self.held.get_mut(&rank) {
                let long = held.long;
                let bytes = std::mem::take(&mut held.bytes);
                if !long {
                    self.held.remove(&rank);
                }
                self.write(rank, &bytes, long);
            }
        }
    }

    fn idle(&self) -> Duration {
        if self.held.len() > 1 {
            SLOW_IDLE
        } else {
            PROMPT_IDLE
        }
    }

    fn write(&mut self, rank: u32, bytes: &[u8], long: bool) {
        if bytes.is_empty() {
            return;
        }
        self.take_status_back();
        if let Cursor::Inside { rank: last, long } = self.cursor {
            if last != rank && (self.labels.is_some() || !long) {
                self.out.push(b'\n');
                self.cursor = Cursor::LineStart;
            }
        }
        if let Some(labels) = &self.labels {
            let label = labels.get(rank as usize).map_or("", String::as_str);
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                if self.cursor == Cursor::LineStart {
                    self.out.extend_from_slice(label.as_bytes());
                }
                self.out.extend_from_slice(line);
                self.cursor = after(rank, line, long);
            }
        } else {
            self.out.extend_from_slice(bytes);
            self.cursor = after(rank, bytes, long);
        }
    }
}

fn after(rank: u32, bytes: &[u8], long: bool) -> Cursor {
    if bytes.last() == Some(&b'\n') {
        Cursor::LineStart
    } else {
        Cursor::Inside { rank, long }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn labels() -> Option<Arc<[String]>> {
        Some((0..10).map(|rank| format!("[{rank}] ")).collect())
    }

    fn text(lines: &mut Lines) -> String {
        String::from_utf8(lines.take()).expect("text")
    }

    #[test]
    fn lines_of_two_ranks_never_mix() {
        let mut lines = Lines::new(None);
        lines.push(0, b"he", NOW);
        lines.push(1, b"wor", NOW);
        lines.push(0, b"llo\nag", NOW);
        lines.push(1, b"ld\n", NOW);
        lines.push(0, b"ain\n", NOW);
        assert_eq!(text(&mut lines), "hello\nworld\nagain\n");
    }

    #[test]
    fn tags_go_before_every_line() {
        let mut lines = Lines::new(labels());
        lines.push(3, b"a\nb\n\nc", NOW);
        lines.end(3);
        lines.push(4, b"d\n", NOW);
        assert_eq!(text(&mut lines), "[3] a\n[3] b\n[3] \n[3] c\n[4] d\n");
    }

    #[test]
    fn the_unfinished_last_line_is_let_through_as_it_is() {
        let mut lines = Lines::new(None);
        lines.push(0, b"no end", NOW);
        assert_eq!(text(&mut lines), "");
        lines.end(0);
        assert_eq!(text(&mut lines), "no end");
    }

    #[test]
    fn a_prompt_shows_after_a_moment_and_its_line_goes_on() {
        let mut lines = Lines::new(labels());
        lines.push(0, b"name? ", NOW);
        assert_eq!(lines.next_deadline(), Some(PROMPT_IDLE));
        lines.tick(PROMPT_IDLE / 2);
        assert_eq!(text(&mut lines), "");
        lines.tick(PROMPT_IDLE);
        assert_eq!(text(&mut lines), "[0] name? ");
        assert_eq!(lines.next_deadline(), None);
        lines.push(0, b"hello\n", NOW);
        assert_eq!(text(&mut lines), "hello\n");
    }

    #[test]
    fn after_a_prompt_another_rank_and_our_own_words_start_a_line() {
        let mut lines = Lines::new(None);
        lines.push(0, b"name? ", NOW);
        lines.tick(PROMPT_IDLE);
        lines.push(1, b"busy\n", NOW);
        lines.push(1, b"?", NOW);
        lines.end(1);
        lines.say("phalanx: x");
        assert_eq!(text(&mut lines), "name? \nbusy\n?\nphalanx: x\n");
    }

    #[test]
    fn a_status_is_taken_back_before_anything_else() {
        let mut lines = Lines::new(None);
        lines.show_status("");
        lines.show_status("1 of 2");
        lines.show_status("2 of 2");
        lines.say("phalanx: x");
        lines.show_status("more");
        lines.push(0, b"y\n", NOW);
        lines.push(0, b"z", NOW);
        lines.end(0);
        lines.show_status("not within a line");
        let erase = "\r\x1b[K";
        let wanted = format!("1 of 2{erase}2 of 2{erase}phalanx: x\nmore{erase}y\nz");
        assert_eq!(text(&mut lines), wanted);
    }

    #[test]
    fn slow_writers_do_not_break_each_others_lines() {
        let mut lines = Lines::new(None);
        lines.push(0, b"a", NOW);
        lines.push(1, b"b", NOW);
        lines.tick(PROMPT_IDLE * 2);
        lines.push(0, b"A\n", NOW);
        lines.push(1, b"B\n", NOW);
        assert_eq!(text(&mut lines), "aA\nbB\n");
    }

    #[test]
    fn data_without_line_breaks_passes_in_pieces_and_stays_whole() {
        let mut lines = Lines::new(None);
        let mut seen = Vec::new();
        for turn in 0..100 {
            lines.push(turn % 2, &[b'x'; 10_000], NOW);
            seen.extend(lines.take());
            let held: usize = lines.held.values().map(|held| held.bytes.len()).sum();
            assert!(held <= 2 * HELD_BYTES_MAX);
        }
        lines.end(0);
        lines.end(1);
        seen.extend(lines.take());
        assert_eq!(seen, vec![b'x'; 1_000_000]);
    }
}
