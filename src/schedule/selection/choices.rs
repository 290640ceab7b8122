//! What the table comes to for a number of ranks: an algorithm for each range of lengths.

use std::fmt;

use super::{Bytes, Selection};
use crate::schedule::Kind;
use crate::schedule::registry::Algorithm;

/// What is chosen for messages of these lengths.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Shortest message, in the sense of [`Operation::message_bytes`](crate::schedule::Operation::message_bytes).
    pub bytes_min: usize,
    /// Longest message; `usize::MAX`: no limit.
    pub bytes_max: usize,
    /// What is chosen.
    pub algorithm: &'static Algorithm,
    /// Why.
    pub reason: &'static str,
}

impl Choice {
    /// The range of lengths in words, as in `> 32 KiB, < 4 MiB`.
    pub fn lengths(&self) -> impl fmt::Display {
        Self::lengths_between(self.bytes_min, self.bytes_max)
    }

    /// A range of lengths in words.
    pub fn lengths_between(bytes_min: usize, bytes_max: usize) -> impl fmt::Display {
        struct Lengths(usize, usize);
        impl fmt::Display for Lengths {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let least = match self.0 {
                    0 => None,
                    min if min % 2 == 1 => Some(format!("> {}", Bytes(min - 1))),
                    min => Some(format!(">= {}", Bytes(min))),
                };
                let most = match self.1 {
                    usize::MAX => None,
                    max if max % 2 == 1 => Some(format!("< {}", Bytes(max + 1))),
                    max => Some(format!("<= {}", Bytes(max))),
                };
                match (least, most) {
                    (None, None) => f.pad("any"),
                    (Some(one), None) | (None, Some(one)) => f.pad(&one),
                    (Some(least), Some(most)) => f.pad(&format!("{least}, {most}")),
                }
            }
        }
        Lengths(bytes_min, bytes_max)
    }
}

impl Selection {
    /// What is chosen for each length, in ranges, short ones first, with or without a commutative
    /// operator.
    pub fn choices(&self, kind: Kind, commutative: bool, size: usize) -> Vec<Choice> {
        // The choice can change only where a rule begins or ends.
        let limits = |rule: &super::Rule| [rule.bytes_min, rule.bytes_max.saturating_add(1)];
        let mut starts: Vec<usize> = self.rules_of(kind).flat_map(limits).collect();
        starts.extend([0, usize::MAX]);
        starts.sort_unstable();
        starts.dedup();
        let mut choices: Vec<Choice> = Vec::new();
        for ends in starts.windows(2) {
            let (algorithm, reason) = self.first(kind, commutative, size, ends[0]);
            let bytes_max = match ends[1] {
                usize::MAX => usize::MAX,
                next => next - 1,
            };
            match choices.last_mut() {
                Some(last) if std::ptr::eq(last.algorithm, algorithm) => last.bytes_max = bytes_max,
                _ => choices.push(Choice {
                    bytes_min: ends[0],
                    bytes_max,
                    algorithm,
                    reason,
                }),
            }
        }
        choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Operation, allreduce};

    fn told(selection: &Selection, commutative: bool, size: usize) -> Vec<(String, &'static str)> {
        selection
            .choices(Kind::Allreduce, commutative, size)
            .iter()
            .map(|choice| (choice.lengths().to_string(), choice.algorithm.name))
            .collect()
    }

    #[test]
    fn ranges_say_what_is_chosen() {
        let defaults = Selection::default();
        let few = [
            ("<= 32 KiB".to_owned(), "recursive_doubling"),
            ("> 32 KiB, < 4 MiB".to_owned(), "circulant"),
            (">= 4 MiB".to_owned(), "ring"),
        ];
        assert_eq!(told(&defaults, true, 4), few);
        assert_eq!(told(&defaults, true, 5).len(), 2);
        assert_eq!(told(&defaults, false, 4)[1].1, "dual_root");
        let forced = Selection::force("allreduce=ring").expect("valid");
        assert_eq!(told(&forced, true, 9), [("any".to_owned(), "ring")]);
        assert_eq!(told(&forced, false, 9).len(), 2, "passed over");
    }

    #[test]
    fn ranges_agree_with_the_choice_at_every_length() {
        let rule = super::super::Rule::new(&allreduce::tree::ALGORITHM, "measured").up_to(64);
        let selection = Selection::default().rule(rule);
        for size in 1..20 {
            for commutative in [true, false] {
                let choices = selection.choices(Kind::Allreduce, commutative, size);
                for (count, choice) in choices
                    .iter()
                    .flat_map(|choice| [(choice.bytes_min, choice), (choice.bytes_max, choice)])
                {
                    let operation = Operation::Allreduce { count, commutative };
                    let chosen = selection.choose(&operation, size, 1);
                    assert_eq!(chosen.name, choice.algorithm.name, "{count} bytes");
                }
            }
        }
    }
}
