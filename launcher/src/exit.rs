//! Exit codes of `phalanx run`, and one of `phalanx doctor`: a promise to scripts. `phalanx run --help` prints the table.

/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// The job could not be started: no such program, a failed build, too few descriptors.
pub(crate) const LAUNCH: u8 = 71;
/// A host, or the daemon on it, was lost.
pub(crate) const HOST_LOST: u8 = 72;
/// Collectives that do not match, or a deadlock.
pub(crate) const MISMATCH: u8 = 73;
/// `--timeout`, or a time limit of the program, ran out.
pub(crate) const TIMEOUT: u8 = 75;
/// A rank panicked: what a Rust program ends with that does.
pub(crate) const PANICKED: u8 = 101;
/// Bytes that make no sense, or another version of the protocol.
pub(crate) const WIRE: u8 = 76;
/// The reader of our standard output has gone, as for a program that `SIGPIPE` ended.
pub(crate) const OUTPUT_CLOSED: u8 = 141;
/// `phalanx doctor` has found something wrong.
pub(crate) const UNWELL: u8 = 1;
/// A rank left with exit code 0 though it had not finalized.
pub(crate) const LEFT_EARLY: u8 = 1;

/// The exit code that shells give to a process that a signal ended.
pub(crate) fn of_signal(signal: i32) -> u8 {
    u8::try_from(signal)
        .ok()
        .and_then(|signal| signal.checked_add(128))
        .unwrap_or(255)
}

/// The table for the help text.
pub(crate) const TABLE: &str = "\
Exit codes:
  0        every rank ended with 0
  N        the exit code of the first rank that failed, or of abort
  128+S    the first rank that failed was killed by signal S; 130 and 143 after SIGINT and SIGTERM
  1        a rank left with 0 before finalize
  2        the command line is wrong
  71       the job could not be started (no such program, the build failed, limits)
  72       a host or its daemon was lost
  73       collectives that do not match, a deadlock, a rank that leaves while others wait for it;
           with --check also messages that nobody received
  75       a time limit ran out
  76       messages that make no sense, or another version of the library
  77       a process could not prove that it belongs to the job
  101      a rank panicked, or failed after a panic that it had caught
  141      the reader of our standard output has gone, or files of --output-dir cannot be written";

#[cfg(test)]
mod tests {
    use phalanx::wire::control::FailureClass as Class;

    #[test]
    fn the_library_keeps_to_the_table() {
        let classes = [
            (Class::Mismatch, super::MISMATCH),
            (Class::Deserted { rank: 0 }, super::MISMATCH),
            (Class::Timeout, super::TIMEOUT),
            (Class::Wire, super::WIRE),
            (Class::Authentication, 77),
        ];
        for (class, code) in classes {
            assert_eq!(class.exit_code(), Some(code), "{class:?}");
            let line = format!("\n  {code}  ");
            assert!(super::TABLE.contains(&line), "{code} is not in the table");
        }
    }
}
