//! Which algorithm for which case: a table.

mod choices;
mod defaults;

use std::fmt;
use std::str::FromStr;

pub use choices::Choice;
use defaults::{KIB, MIB, defaults, shared_bytes_max};

use super::registry::Algorithm;
use super::{Kind, Operation, UnknownKind};

/// One line of the table: an algorithm and the cases it is for.
///
/// The first line of its kind that applies is taken. A line whose algorithm does not accept the
/// operation (see [`Algorithm::accepts`]) does not apply.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What is chosen.
    pub algorithm: &'static Algorithm,
    /// Fewest ranks.
    pub ranks_min: usize,
    /// Most ranks.
    pub ranks_max: usize,
    /// Shortest message, in the sense of [`Operation::message_bytes`].
    pub bytes_min: usize,
    /// Longest message.
    pub bytes_max: usize,
    /// Whether this is only for more ranks than cores.
    pub crowded_only: bool,
    /// Whether this is only for ranks of several hosts that would share memory on one.
    pub across_only: bool,
    /// Why.
    pub reason: &'static str,
}

impl Rule {
    /// A rule for all cases.
    pub const fn new(algorithm: &'static Algorithm, reason: &'static str) -> Self {
        Self {
            algorithm,
            ranks_min: 1,
            ranks_max: usize::MAX,
            bytes_min: 0,
            bytes_max: usize::MAX,
            crowded_only: false,
            across_only: false,
            reason,
        }
    }

    /// Only with that many ranks.
    #[must_use]
    pub const fn ranks(self, ranks_min: usize, ranks_max: usize) -> Self {
        Self {
            ranks_min,
            ranks_max,
            ..self
        }
    }

    /// Only for messages up to this length.
    #[must_use]
    pub const fn up_to(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// Only for messages of at least this length.
    #[must_use]
    pub const fn from(self, bytes_min: usize) -> Self {
        Self { bytes_min, ..self }
    }

    /// Only with more ranks than cores.
    #[must_use]
    pub const fn crowded(self) -> Self {
        Self {
            crowded_only: true,
            ..self
        }
    }

    /// Only across hosts.
    #[must_use]
    pub const fn across_hosts(self) -> Self {
        Self {
            across_only: true,
            ..self
        }
    }

    fn applies(&self, commutative: bool, size: usize, bytes: usize, selection: &Selection) -> bool {
        (self.ranks_min..=self.ranks_max).contains(&size)
            && (self.bytes_min..=self.bytes_max).contains(&bytes)
            && (selection.crowded || !self.crowded_only)
            && (selection.across || !self.across_only)
            && (commutative || !self.algorithm.commutative_only)
    }
}

/// What ranks that share memory do instead of executing a schedule; see [`Selection::shares`].
pub const SHARED_MEMORY: &str = "shared_memory";

/// Picks an algorithm for each case: by what was forced, by rules that were put before the defaults, and
/// by the defaults, in this order.
///
/// A forced algorithm that does not accept the operation (it is for commutative operators only, and the
/// operator is not) is passed over. The choice depends on nothing that could differ among ranks, so the
/// selections of all ranks must be equal.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    forced: [Option<&'static Algorithm>; Kind::ALL.len()],
    rules: Vec<Rule>,
    crowded: bool,
    across: bool,
    /// Operations that were forced to go through shared memory.
    shared: [bool; Kind::ALL.len()],
}

/// What is wrong with a text that forces algorithms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A part is not of the form `operation=algorithm`.
    #[error("{0:?} is not of the form operation=algorithm, as in allreduce=ring,bcast=binomial")]
    Form(String),
    /// No such operation.
    #[error(transparent)]
    Kind(#[from] UnknownKind),
    /// No such algorithm.
    #[error("no algorithm for {kind} is called {name:?}; there are {}", names(*.kind))]
    Algorithm {
        /// The operation.
        kind: Kind,
        /// What was asked for.
        name: String,
    },
    /// The same operation twice.
    #[error("{0} is given twice")]
    Twice(Kind),
}

fn names(kind: Kind) -> String {
    let shared = shared_bytes_max(kind).map(|_| SHARED_MEMORY);
    Algorithm::of(kind)
        .map(|algorithm| algorithm.name)
        .chain(shared)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Selection {
    /// The defaults, but for the operations in `text`: `allreduce=ring,bcast=binomial`. Spaces, empty
    /// parts and the difference between `-` and `_` do not matter.
    ///
    /// # Errors
    ///
    /// What is not understood; an unknown name with the known ones.
    pub fn force(text: &str) -> Result<Self, SelectionError> {
        let mut selection = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let Some((kind, name)) = part.split_once('=') else {
                return Err(SelectionError::Form(part.to_owned()));
            };
            let kind: Kind = kind.parse()?;
            let canonical = name.trim().to_ascii_lowercase().replace('-', "_");
            if canonical == SHARED_MEMORY && shared_bytes_max(kind).is_some() {
                let twice = std::mem::replace(&mut selection.shared[kind as usize], true);
                if twice || selection.forced[kind as usize].is_some() {
                    return Err(SelectionError::Twice(kind));
                }
                continue;
            }
            let algorithm =
                Algorithm::find(kind, &canonical).ok_or_else(|| SelectionError::Algorithm {
                    kind,
                    name: name.trim().to_owned(),
                })?;
            let shared = selection.shared[kind as usize];
            if selection.forced[kind as usize].replace(algorithm).is_some() || shared {
                return Err(SelectionError::Twice(kind));
            }
        }
        Ok(selection)
    }

    /// Whether there are more ranks than cores: then sleeps count more than rounds. Must be said alike on
    /// all ranks.
    #[must_use]
    pub fn crowded(self, crowded: bool) -> Self {
        Self { crowded, ..self }
    }

    /// Whether this is for the world of a job of several hosts: then reductions combine in the order in which ranks
    /// that share memory do, so that results do not depend on where ranks run. Must be said alike on all ranks.
    #[must_use]
    pub fn across_hosts(self, across: bool) -> Self {
        Self { across, ..self }
    }

    /// Puts a rule before the defaults, and behind the ones that were put there earlier.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Whether the ranks should meet in shared memory, if all of them share it, instead of executing a
    /// schedule.
    pub fn shares(&self, operation: &Operation<'_>, size: usize, element_bytes: usize) -> bool {
        let bytes = operation.message_bytes(size, element_bytes);
        self.shares_up_to(operation.kind())
            .is_some_and(|most| bytes <= most)
    }

    /// The longest message for which ranks should meet in shared memory, if all of them share it; `None`
    /// when they should not, or cannot.
    pub fn shares_up_to(&self, kind: Kind) -> Option<usize> {
        if self.forced[kind as usize].is_some() || !self.rules.is_empty() || self.across {
            return None;
        }
        let most = shared_bytes_max(kind)?;
        Some(if self.shared[kind as usize] {
            usize::MAX
        } else {
            most
        })
    }

    /// The algorithm for this case.
    pub fn choose(
        &self,
        operation: &Operation<'_>,
        size: usize,
        element_bytes: usize,
    ) -> &'static Algorithm {
        let bytes = operation.message_bytes(size, element_bytes);
        self.first(operation.kind(), operation.commutative(), size, bytes)
            .0
    }

    /// The first that applies, and why it is there.
    fn first(
        &self,
        kind: Kind,
        commutative: bool,
        size: usize,
        bytes: usize,
    ) -> (&'static Algorithm, &'static str) {
        if let Some(forced) = self.forced[kind as usize] {
            if commutative || !forced.commutative_only {
                return (forced, "forced");
            }
        }
        self.rules_of(kind)
            .find(|rule| rule.applies(commutative, size, bytes, self))
            .map(|rule| (rule.algorithm, rule.reason))
            .expect("the last default of each kind applies to everything")
    }

    /// The rules of one kind, in the order in which they are tried.
    fn rules_of(&self, kind: Kind) -> impl Iterator<Item = &Rule> {
        let added = self.rules.iter();
        added
            .filter(move |rule| rule.algorithm.kind == kind)
            .chain(defaults(kind))
    }
}

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        Self::force(text)
    }
}

/// A number of bytes as in `32 KiB`.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes % MIB == 0 => write!(f, "{} MiB", bytes / MIB),
            bytes if bytes > 0 && bytes % KIB == 0 => write!(f, "{} KiB", bytes / KIB),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

fn range<T: fmt::Display>(min: Option<T>, max: Option<T>) -> String {
    match (min, max) {
        (None, None) => "any".to_owned(),
        (None, Some(max)) => format!("<= {max}"),
        (Some(min), None) => format!(">= {min}"),
        (Some(min), Some(max)) => format!("{min} .. {max}"),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let min = |min: usize, least| (min > least).then_some(min);
        let max = |max: usize| (max < usize::MAX).then_some(max);
        let ranks = range(min(self.ranks_min, 1), max(self.ranks_max));
        let bytes = range(
            min(self.bytes_min, 0).map(Bytes),
            max(self.bytes_max).map(Bytes),
        );
        let when = match (self.crowded_only, self.algorithm.commutative_only) {
            _ if self.across_only => "hosts",
            (false, false) => "",
            (true, false) => "crowded",
            (false, true) => "commutative",
            (true, true) => "both",
        };
        let Algorithm { kind, name, .. } = self.algorithm;
        write!(
            f,
            "{kind:20} {ranks:10} {bytes:20} {when:11} {name:21} {}",
            self.reason
        )
    }
}

/// The whole table, a line for each rule, in the order in which they are tried.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crowded = if self.crowded {
            "more ranks than cores"
        } else {
            "a core for each rank"
        };
        writeln!(
            f,
            "Selection for {crowded}; the first line that applies is taken."
        )?;
        writeln!(
            f,
            "{:20} {:10} {:20} {:11} {:21} why",
            "operation", "ranks", "message", "only if", "algorithm"
        )?;
        for kind in Kind::ALL {
            if let Some(forced) = self.forced[kind as usize] {
                writeln!(f, "{}", Rule::new(forced, "forced"))?;
            }
            for rule in self.rules_of(kind) {
                writeln!(f, "{rule}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::allreduce;
    use super::*;

    const LONG: Operation<'_> = Operation::Allreduce {
        count: 1_000_000,
        commutative: true,
    };
    const LONG_ORDERED: Operation<'_> = Operation::Allreduce {
        count: 1_000_000,
        commutative: false,
    };
    const SHORT: Operation<'_> = Operation::Allreduce {
        count: 1,
        commutative: true,
    };

    #[test]
    fn defaults_depend_on_length_order_and_crowd() {
        let selection = Selection::default();
        assert_eq!(selection.choose(&SHORT, 8, 8).name, "recursive_doubling");
        assert_eq!(selection.choose(&LONG, 8, 8).name, "circulant");
        assert_eq!(selection.choose(&LONG_ORDERED, 8, 8).name, "dual_root");
        assert_eq!(selection.choose(&LONG, 4, 8).name, "ring");
        assert_eq!(selection.crowded(true).choose(&SHORT, 8, 8).name, "tree");
        let across = Selection::default().across_hosts(true);
        assert_eq!(across.choose(&SHORT, 8, 8).name, "from_left");
        assert_eq!(across.choose(&LONG, 8, 8).name, "blocks_from_left");
        assert_eq!(across.shares_up_to(Kind::Allreduce), None);
    }

    #[test]
    fn forced_algorithms_are_taken_where_they_are_valid() {
        let selection =
            Selection::force(" allreduce = Ring ,, bcast=scatter-allgather").expect("valid");
        assert_eq!(selection.choose(&SHORT, 8, 8).name, "ring");
        assert_eq!(selection.choose(&LONG_ORDERED, 8, 8).name, "dual_root");
        let bcast = Operation::Bcast { root: 0, count: 1 };
        assert_eq!(selection.choose(&bcast, 2, 1).name, "scatter_allgather");
        assert_eq!(
            selection.choose(&Operation::Barrier, 2, 1).name,
            "dissemination"
        );
    }

    #[test]
    fn errors_name_what_there_is() {
        let message = |text: &str| Selection::force(text).expect_err(text).to_string();
        assert!(message("allreduce=rung").contains("circulant, ring, dual_root"));
        assert!(message("allreduce=rung").contains("\"rung\""));
        assert!(message("allredoce=ring").contains("allreduce, scan"));
        assert!(message("ring").contains("operation=algorithm"));
        assert!(message("scan=linear,scan=linear").contains("scan is given twice"));
        assert!(message("bcast=chain,bcast=shared_memory").contains("bcast is given twice"));
        assert!(message("bcast=shared_memory,bcast=chain").contains("bcast is given twice"));
        assert!(message("scan=shared_memory").contains("no algorithm for scan"));
        assert!(
            message("bcast=ring").contains("binomial"),
            "of another kind"
        );
    }

    #[test]
    fn added_rules_come_before_the_defaults() {
        let rule = Rule::new(&allreduce::tree::ALGORITHM, "measured")
            .ranks(8, 8)
            .up_to(64);
        let selection = Selection::default().rule(rule);
        assert_eq!(selection.choose(&SHORT, 8, 8).name, "tree");
        assert_eq!(selection.choose(&SHORT, 9, 8).name, "recursive_doubling");
        assert_eq!(selection.choose(&SHORT, 8, 80).name, "recursive_doubling");
    }

    #[test]
    fn the_table_is_printed() {
        let text = Selection::force("allreduce=ring")
            .expect("valid")
            .crowded(true)
            .to_string();
        for kind in Kind::ALL {
            assert!(
                text.lines().any(|line| line.starts_with(kind.name())),
                "{kind}"
            );
            for rule in defaults(kind) {
                assert_eq!(rule.algorithm.kind, kind);
                assert!(text.contains(rule.reason), "{}", rule.reason);
            }
        }
        let line = text
            .lines()
            .find(|line| line.ends_with("forced"))
            .expect("forced");
        assert!(line.starts_with("allreduce") && line.contains("ring"));
        assert!(text.contains("<= 32 KiB") && text.contains(">= 4 MiB") && text.contains("3 .. 4"));
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
    }

    #[test]
    fn the_last_default_of_each_kind_applies_to_everything() {
        for kind in Kind::ALL {
            let last = defaults(kind).last().expect("a rule");
            assert!(
                last.ranks_max == usize::MAX && last.bytes_max == usize::MAX,
                "{kind}"
            );
            assert!(
                last.ranks_min == 1 && last.bytes_min == 0 && !last.crowded_only,
                "{kind}"
            );
            assert!(!last.algorithm.commutative_only, "{kind}");
        }
    }

    #[test]
    fn names_are_parsed_as_they_are_shown() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }
}
