//! The options of an example: every rank reads them, and what there is to say is said once.

use clap::Parser;
use phalanx::Communicator;

/// The options of this program; `None` when they asked for the help text, which is then printed.
///
/// An error is one line that names the mistake and what can be done.
pub(crate) fn parse<O: Parser>(world: &Communicator) -> Result<Option<O>, String> {
    let error = match O::try_parse() {
        Ok(options) => return Ok(Some(options)),
        Err(error) => error,
    };
    let text = error.to_string();
    if error.use_stderr() {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines =
            lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
        let line = lines.collect::<Vec<_>>().join(" ");
        let line = line.strip_prefix("error: ").unwrap_or(&line);
        return Err(format!("{line} (--help lists the options)"));
    }
    if world.rank() == 0 {
        print!("{text}");
    }
    Ok(None)
}
