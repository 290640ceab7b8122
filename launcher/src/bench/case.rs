//! What can be measured.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A case of the benchmark.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// Half the round trip of a message between 2 ranks, each with buffers of its own that stay as they are
    Pingpong,
    /// The same with one buffer: what was received is sent back, so that bytes are always new
    Echo,
    /// Time per message when 64 are under way, between 2 ranks
    Bandwidth,
    /// The same with 8 bytes, by pairs of all ranks at once
    MessageRate,
    /// No rank leaves before all have come
    Barrier,
    /// Sum of doubles, to all
    Allreduce,
    /// Bytes of one rank, to all; the root rotates
    Bcast,
    /// Sum of doubles, to one rank; the root rotates
    Reduce,
    /// A block of each rank, to all
    Allgather,
    /// A block from each rank for each rank
    Alltoall,
    /// A loosely coupled iteration: compute, two exchanges of 1 KiB with neighbours, one small allreduce
    Iterate,
    /// A whole job: start, init, barrier, end
    Startup,
    /// Memory of an idle rank
    Memory,
    /// CPU time of a rank that is blocked in a receive
    Idle,
    /// Barrier and a small allreduce with 1, 2, 4 and 8 times as many ranks as cores
    Oversubscribed,
    /// The same operations between threads and between processes, over every transport
    Tradeoff,
    /// Collectives against others that do the same work, for the performance guidelines
    Guidelines,
}

/// Bytes of each of the two messages of an iteration.
pub(crate) const HALO_BYTES: usize = 1024;
/// Dependent multiply-adds of an iteration, if nothing else is asked for.
pub(crate) const ITERATION_STEPS: usize = 100_000;
/// Messages under way at once.
pub(crate) const WINDOW: usize = 64;

impl Case {
    /// As typed and printed.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// One line for people.
    pub(crate) fn help(self) -> String {
        let value = self.to_possible_value();
        let help = value.and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// Whether the ranks time it as an operation of a certain length.
    pub(crate) const fn is_sized(self) -> bool {
        matches!(
            self,
            Self::Pingpong
                | Self::Echo
                | Self::Bandwidth
                | Self::Allreduce
                | Self::Bcast
                | Self::Reduce
                | Self::Allgather
                | Self::Alltoall
                | Self::Guidelines
        )
    }

    /// Whether it is between two ranks, however many are asked for.
    pub(crate) const fn is_for_two(self) -> bool {
        matches!(self, Self::Pingpong | Self::Echo | Self::Bandwidth)
    }

    /// The length that is measured when this one is asked for; `None` when it would need more memory
    /// than a benchmark should take. Reductions are of doubles.
    pub(crate) fn bytes(self, asked: usize, ranks: usize) -> Option<usize> {
        const BYTES_MAX: usize = 256 << 20;
        let bytes = match self {
            Self::Allreduce | Self::Reduce | Self::Guidelines => {
                asked.next_multiple_of(size_of::<f64>())
            }
            _ => asked,
        };
        let factor = match self {
            Self::Bandwidth => WINDOW,
            Self::Allgather | Self::Alltoall => ranks,
            _ => 1,
        };
        (bytes.checked_mul(factor)? <= BYTES_MAX).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_for_people_and_in_json() {
        for case in Case::value_variants() {
            let json = serde_json::to_string(case).expect("a word");
            assert_eq!(json, format!("\"{}\"", case.name()));
            assert!(!case.help().is_empty(), "{case:?}");
        }
    }

    #[test]
    fn lengths_are_whole_doubles_and_bounded() {
        assert_eq!(Case::Allreduce.bytes(9, 4), Some(16));
        assert_eq!(Case::Bcast.bytes(9, 4), Some(9));
        assert_eq!(Case::Alltoall.bytes(1 << 20, 256), Some(1 << 20));
        assert_eq!(Case::Alltoall.bytes(1 << 20, 257), None);
        assert_eq!(Case::Bandwidth.bytes(4 << 20, 2), Some(4 << 20));
        assert_eq!(Case::Bandwidth.bytes(usize::MAX, 2), None);
    }
}
