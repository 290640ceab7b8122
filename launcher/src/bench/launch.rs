//! Starting ranks by the same way as everybody: `phalanx run`, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use phalanx::sys::process::{Tether, spawn_tethered};
use rustix::process::Pid;

use super::interrupt::Interrupt;
use super::order::{Answer, Order, RANK_WORD};
use crate::cli::{Style, Transport};
use crate::job::Refusal;

/// How ranks are started for some points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) ranks: usize,
    pub(crate) style: Style,
    pub(crate) transport: Transport,
}

impl Setting {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        match self.style {
            Style::Threads => format!("{} ranks as threads", self.ranks),
            Style::Processes => {
                format!("{} ranks, transport {}", self.ranks, word(self.transport))
            }
        }
    }
}

/// As typed on the command line.
fn word<E: ValueEnum>(value: E) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The ranks of one launch, while they measure.
pub(crate) struct Launch {
    child: Child,
    begun: Instant,
    interrupt: Interrupt,
}

/// Starts ranks with an order. `limit` ends a launch that hangs, `interrupt` any.
pub(crate) fn start(
    setting: &Setting,
    order: &Order,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<Launch, Refusal> {
    let cannot = |what: String| Refusal::launch(format!("cannot start the ranks: {what}"));
    let program = std::env::current_exe().map_err(|error| cannot(error.to_string()))?;
    let order = serde_json::to_string(order).map_err(|error| cannot(error.to_string()))?;
    let mut command = Command::new(&program);
    command
        .args(["run", "-n", &setting.ranks.to_string()])
        .args(["--as", &word(setting.style)])
        .args(["--transport", &word(setting.transport)])
        .args(["--timeout", &limit.as_secs().max(1).to_string()])
        .arg("--")
        .arg(&program)
        .args([RANK_WORD, &order])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let begun = Instant::now();
    // The thread that starts it is the one that waits for it, so it goes when we go.
    let child = spawn_tethered(&mut command, Tether::default());
    let child = child.map_err(|error| cannot(error.to_string()))?;
    interrupt.cover(Pid::from_child(&child));
    Ok(Launch {
        child,
        begun,
        interrupt: interrupt.clone(),
    })
}

impl Launch {
    /// Takes in answers until the job has ended. Gives the time from its start to its end.
    ///
    /// # Errors
    ///
    /// The job's own exit code when it failed; what went wrong was printed by the launcher.
    pub(crate) fn finish(mut self, mut hear: impl FnMut(Answer)) -> Result<Duration, Refusal> {
        let output = self.child.stdout.take();
        let mut nonsense = None;
        for line in output
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines())
        {
            let Ok(line) = line else { break };
            match serde_json::from_str(&line) {
                Ok(answer) => hear(answer),
                Err(_) => nonsense = Some(line),
            }
        }
        self.interrupt.release();
        let status = self.child.wait();
        let took = self.begun.elapsed();
        let status = status.map_err(|error| Refusal::launch(format!("lost the ranks: {error}")))?;
        if !status.success() {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Err(Refusal {
                code: code.unwrap_or(1),
                message: format!("the ranks of the benchmark ended with {status}"),
            });
        }
        match nonsense {
            Some(line) => Err(Refusal::launch(format!("rank 0 answered {line:?}"))),
            None => Ok(took),
        }
    }
}
