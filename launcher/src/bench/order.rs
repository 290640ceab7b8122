//! What ranks are told to measure, and what they answer: JSON, as an argument and as lines of output.

use serde::{Deserialize, Serialize};

use super::case::{Case, ITERATION_STEPS};
use super::recipe::Recipe;

/// The first argument of a process that is to be a rank of a benchmark; the second is an [`Order`].
pub(crate) const RANK_WORD: &str = "bench-rank";

/// Everything that one launch of ranks measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) points: Vec<Point>,
    pub(crate) pace: Pace,
}

/// A case and a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) case: Case,
    /// 0 where it has no meaning.
    pub(crate) bytes: usize,
    /// Multiply-adds of an iteration; 0 for what does not compute.
    pub(crate) work: usize,
    /// What exactly is done for `guidelines`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recipe: Option<Recipe>,
}

impl Point {
    /// Without a recipe, and with the usual computation.
    pub(crate) const fn of(case: Case, bytes: usize) -> Self {
        let work = if matches!(case, Case::Iterate) {
            ITERATION_STEPS
        } else {
            0
        };
        Self {
            case,
            bytes,
            work,
            recipe: None,
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pace {
    pub(crate) budget_seconds: f64,
    pub(crate) repetitions: Option<usize>,
    pub(crate) idle_seconds: f64,
}

/// What one launch found for one point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) point: Point,
    pub(crate) transport: String,
    /// Empty where there is none to choose.
    pub(crate) algorithm: String,
    /// Operations timed together.
    pub(crate) batch: usize,
    /// Microseconds of one operation, one for each repetition; memory in MiB, one for each rank.
    pub(crate) samples: Vec<f64>,
}

impl Answer {
    /// As a line of output.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
