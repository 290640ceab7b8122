//! All programs, each with what is to be said of it. Wherever it makes sense, a wrong program comes with a
//! correct one that differs in the mistake only.

mod arguments;
mod collectives;
mod messages;
mod requests;

use crate::program::{Program, Step};

/// A program and what Phalanx has to say of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// For `phalanx run`.
    pub(crate) words: &'static [&'static str],
    pub(crate) program: Program,
    pub(crate) expected: Option<Expected>,
}

/// What a report has to be like. None is expected of a correct program.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) class: Class,
    /// Besides the words of the class.
    pub(crate) says: Vec<String>,
    /// Of each of these groups, one place: the rank and its step.
    pub(crate) places: Vec<Vec<(usize, usize)>>,
}

/// What sort of mistake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Ranks called different collectives.
    Mismatch,
    /// A rank did not take part in a collective: found out when it left, or by comparing numbers of calls.
    Missing,
    /// Ranks wait for each other.
    Deadlock,
    /// A rank has left while another one waits for it.
    Deserted,
    /// A message that nobody received.
    Unreceived,
    /// An operation that nobody waited for.
    Unfinished,
    /// The same with `--check`.
    UnfinishedChecked,
    /// What a call was given makes no sense.
    Argument,
    /// A message of another type or length than the receiver asked for.
    Message,
    /// A process that ended before it finalized.
    Early,
    /// The result depends on what comes first.
    Race,
}

impl Class {
    /// The code of the job, and words of which reports of this class have one.
    pub(crate) fn marks(self) -> (i32, &'static [&'static str]) {
        match self {
            Self::Mismatch => (73, &["ranks called different collectives"]),
            Self::Missing => (73, &["did not take part in", "finalized after"]),
            Self::Deadlock => (73, &["deadlock: "]),
            Self::Deserted => (73, &["has finalized", "finalized after"]),
            Self::Unreceived => (0, &["warning: "]),
            Self::Unfinished => (0, &["warning: "]),
            Self::UnfinishedChecked => (73, &["error: "]),
            Self::Argument => (1, &[" failed: "]),
            Self::Message => (1, &[" failed: "]),
            Self::Early => (1, &["left with exit code 0 before finalize"]),
            Self::Race => (0, &["note: message race"]),
        }
    }
}

impl Expected {
    pub(crate) fn new(class: Class, places: &[(usize, usize)]) -> Self {
        let groups = places.iter().map(|place| vec![*place]);
        Self {
            class,
            says: Vec::new(),
            places: groups.collect(),
        }
    }

    /// A place of `odd` and one of any of the others, in step `step`.
    pub(crate) fn odd(class: Class, ranks: usize, (odd, own): (usize, usize), step: usize) -> Self {
        let others = (0..ranks).filter(|rank| *rank != odd);
        Self {
            class,
            says: vec![format!("rank {odd}")],
            places: vec![vec![(odd, own)], others.map(|rank| (rank, step)).collect()],
        }
    }

    pub(crate) fn saying(mut self, words: impl Into<String>) -> Self {
        self.says.push(words.into());
        self
    }
}

impl Case {
    pub(crate) fn wrong(name: String, program: Program, expected: Expected) -> Self {
        Self {
            name,
            words: &[],
            program,
            expected: Some(expected),
        }
    }

    pub(crate) fn correct(name: &str, program: Program) -> Self {
        Self {
            name: format!("{name} (correct)"),
            words: &[],
            program,
            expected: None,
        }
    }

    pub(crate) fn checked(mut self) -> Self {
        self.words = &["--check"];
        self.name += " --check";
        self
    }
}

/// A program in which one rank does something else than the others.
pub(crate) fn odd_one(ranks: usize, odd: usize, its: &[Step], others: &[Step]) -> Program {
    let steps = |rank| if rank == odd { its } else { others };
    (0..ranks).map(|rank| steps(rank).to_vec()).collect()
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = collectives::all();
    cases.extend(arguments::all());
    cases.extend(messages::all());
    cases.extend(requests::all());
    cases
}
