//! A line on the terminal while hosts are being started, when that takes long enough for a user to wonder.

use std::io::IsTerminal;
use std::time::Duration;

use super::Launcher;
use super::link::Link;

/// Starts that take no longer are not talked of.
const QUIET: Duration = Duration::from_secs(1);
/// Hosts that are named.
const NAMED: usize = 4;

/// What is shown of the start.
#[derive(Debug)]
pub(super) struct Progress {
    /// Nothing will be shown any more.
    over: bool,
    /// What is on the terminal now; empty when nothing is.
    shown: String,
}

impl Progress {
    /// On a terminal that can take a line back, unless the user wants none.
    pub(super) fn new(quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            over: quiet || dumb || !std::io::stderr().is_terminal(),
            shown: String::new(),
        }
    }

    /// When the line is due.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let waits = !self.over && self.shown.is_empty();
        waits.then_some(QUIET)
    }
}

impl Launcher {
    /// Shows how many hosts are there, and takes the line back when all are, or the start has failed.
    pub(super) fn show_progress(&mut self, now: Duration) {
        if self.progress.over || now < QUIET {
            return;
        }
        let given_up = self.exit.is_some() || self.links.iter().any(Link::is_abandoned);
        let hosts = self.links.iter();
        let hosts: Vec<_> = hosts
            .map(|link| (link.host.as_str(), link.is_greeted()))
            .collect();
        let text = if given_up { None } else { waiting(&hosts) };
        self.progress.over = text.is_none();
        let text = text.unwrap_or_default();
        if text != self.progress.shown {
            let width = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
            let width = width.map_or(0, |size| usize::from(size.ws_col));
            self.lines[1].show_status(&fitting(&text, width));
            self.progress.shown = text;
        }
    }
}

/// How many hosts are there and for whom we wait; none when all are there.
fn waiting(hosts: &[(&str, bool)]) -> Option<String> {
    let late: Vec<&str> = hosts
        .iter()
        .filter(|(_, greeted)| !greeted)
        .map(|(host, _)| *host)
        .collect();
    if late.is_empty() {
        return None;
    }
    let more = match late.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = &late[..late.len().min(NAMED)];
    Some(format!(
        "phalanx: {} of {} hosts started, waiting for {}{more}",
        hosts.len() - late.len(),
        hosts.len(),
        named.join(", ")
    ))
}

/// As much as fits into one row, since only one can be taken back.
fn fitting(text: &str, width: usize) -> String {
    let most = if width < 10 { 79 } else { width - 1 };
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(3)).collect();
    kept + "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_late_are_named_and_the_first_of_many() {
        let few = [("n1", true), ("n2", false), ("n3", true), ("n4", false)];
        assert_eq!(
            waiting(&few).as_deref(),
            Some("phalanx: 2 of 4 hosts started, waiting for n2, n4")
        );
        let names: Vec<String> = (0..16).map(|n| format!("n{n}")).collect();
        let many: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), false)).collect();
        assert_eq!(
            waiting(&many).as_deref(),
            Some("phalanx: 0 of 16 hosts started, waiting for n0, n1, n2, n3 and 12 more")
        );
        assert_eq!(waiting(&[("n1", true)]), None);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        assert_eq!(fitting("0123456789", 11), "0123456789");
        assert_eq!(fitting("0123456789", 10), "012345...");
        assert_eq!(fitting(&"x".repeat(200), 0).len(), 79);
    }
}
