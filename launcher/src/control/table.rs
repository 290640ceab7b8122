//! What every rank is doing now, as a table for people.

use std::time::Duration;

use phalanx::stall::describe_wait;
use phalanx::wire::control::{Answer, Exit, Glance, ToDaemon, ToRank};

use super::{Action, Job};

/// Time that ranks and daemons have to say; what is missing then is shown as far as it is known.
const PATIENCE: Duration = Duration::from_millis(400);
/// The numbers of these questions, apart from those of stall checks.
const NUMBERS: u32 = 0x8000_0000;

/// A table that is being made.
#[derive(Debug)]
pub(super) struct Inquiry {
    until: Duration,
    number: u32,
    missing: usize,
    answers: Vec<Option<Answer>>,
    glances: Vec<Option<Glance>>,
}

impl Job {
    /// Somebody wants to know what the ranks do: [`Action::Table`] will say.
    pub(crate) fn want_table(&mut self, now: Duration) {
        if self.inquiry.is_some() {
            return;
        }
        self.inquiries = self.inquiries.wrapping_add(1) & !NUMBERS;
        let number = self.inquiries | NUMBERS;
        let size = self.ranks.len();
        let asked = (0..).zip(&self.ranks);
        let asked = asked.filter(|(_, it)| it.joined.is_some() && !it.finalized && !it.has_ended());
        let asked: Vec<u32> = asked.map(|(rank, _)| rank).collect();
        let daemons = self.daemons.iter().filter(|daemon| !daemon.over).count();
        self.inquiry = Some(Inquiry {
            until: now + PATIENCE,
            number,
            missing: asked.len() + daemons,
            answers: vec![None; size],
            glances: vec![None; size],
        });
        for rank in asked {
            self.tell_rank(rank, ToRank::Ask { number });
        }
        self.everywhere(&ToDaemon::Glance);
        self.finish_table(now);
    }

    pub(super) fn table_deadline(&self) -> Option<Duration> {
        self.inquiry.as_ref().map(|inquiry| inquiry.until)
    }

    /// An answer of a rank: to this question, or to one of a stall check.
    pub(super) fn heard(&mut self, rank: u32, answer: Answer, now: Duration) {
        if answer.number & NUMBERS == 0 {
            self.answered(rank, answer, now);
            return;
        }
        if let Some(inquiry) = self
            .inquiry
            .as_mut()
            .filter(|it| it.number == answer.number)
        {
            if let Some(place @ None) = inquiry.answers.get_mut(rank as usize) {
                *place = Some(answer);
                inquiry.missing = inquiry.missing.saturating_sub(1);
            }
        }
        self.finish_table(now);
    }

    pub(super) fn glanced(&mut self, node: u32, glances: Vec<Glance>, now: Duration) {
        for glance in &glances {
            if self.setup.placement.node_of.get(glance.rank as usize) == Some(&node) {
                self.looks.set_stopped(glance.rank, glance.stopped);
            }
        }
        if let Some(inquiry) = &mut self.inquiry {
            inquiry.missing = inquiry.missing.saturating_sub(1);
            for glance in glances {
                let rank = glance.rank as usize;
                let mine = self.setup.placement.node_of.get(rank) == Some(&node);
                if let (true, Some(place)) = (mine, inquiry.glances.get_mut(rank)) {
                    *place = Some(glance);
                }
            }
        }
        self.finish_table(now);
    }

    /// Shows the table when all is known, or time is up.
    pub(super) fn finish_table(&mut self, now: Duration) {
        let due = |inquiry: &mut Inquiry| inquiry.missing == 0 || inquiry.until <= now;
        let Some(inquiry) = self.inquiry.take_if(due) else {
            return;
        };
        let mut rows = vec![["rank", "host", "pid", "state", "for", "in"].map(str::to_owned)];
        for (rank, state) in (0..).zip(&self.ranks) {
            let index = rank as usize;
            let (answer, glance) = (&inquiry.answers[index], &inquiry.glances[index]);
            let [what, long, call] = match (state.exit, state.finalized) {
                (Some(Exit::Code(code)), _) => ended(format!("exited with {code}")),
                (Some(Exit::Signal(signal)), _) => ended(format!("killed by signal {signal}")),
                (None, true) => ended("finalized".into()),
                (None, false) if state.joined.is_none() => ended("not joined".into()),
                (None, false) => doing(answer.as_ref(), glance.as_ref()),
            };
            let host = self.host(rank).to_owned();
            rows.push([
                rank.to_string(),
                host,
                state.pid.to_string(),
                what,
                long,
                call,
            ]);
        }
        self.actions.push(Action::Table(aligned(&rows)));
    }
}

fn ended(what: String) -> [String; 3] {
    [what, String::new(), String::new()]
}

fn doing(answer: Option<&Answer>, glance: Option<&Glance>) -> [String; 3] {
    let seconds = |millis: u64| format!("{:.1} s", Duration::from_millis(millis).as_secs_f64());
    let longest = answer.and_then(|it| it.waits.iter().max_by_key(|wait| wait.millis));
    if let Some(wait) = longest {
        return ["waits".into(), seconds(wait.millis), describe_wait(wait)];
    }
    let stopped = glance.is_some_and(|it| it.stopped);
    let what = match answer {
        _ if stopped => "stopped",
        Some(_) => "waits",
        None => "computes",
    };
    let last = glance.and_then(|it| it.last.as_ref());
    let last = last
        .map(|call| format!("last in {call}"))
        .unwrap_or_default();
    [what.into(), String::new(), last]
}

fn aligned(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}
