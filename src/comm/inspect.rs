//! What reports say of a communicator: how ranks are connected, and which algorithms are chosen.

use super::Communicator;
use crate::schedule::{Counts, Kind, Operation, SHARED_MEMORY};

impl Communicator {
    /// What connects this rank with another: `own`, `threads`, `shm`, `unix` or `tcp`. `None` when there is no
    /// such rank.
    #[doc(hidden)]
    pub fn link_name(&self, rank: usize) -> Option<&'static str> {
        let peer = self.inner.group.peer(rank)?;
        Some(self.inner.runtime.link_name(peer))
    }

    /// The algorithm of a collective, by MPI's name in small letters, with `count` elements (of each block
    /// where there are blocks) and a commutative operator. `None` when there is no such collective, or its
    /// ranks have blocks of different lengths.
    #[doc(hidden)]
    pub fn algorithm_name(
        &self,
        collective: &str,
        count: usize,
        element_bytes: usize,
    ) -> Option<&'static str> {
        let (root, commutative) = (0, true);
        let counts = Counts::Equal(count);
        let operation = match collective.parse().ok()? {
            Kind::Barrier => Operation::Barrier,
            Kind::Bcast => Operation::Bcast { root, count },
            Kind::Reduce => Operation::Reduce {
                root,
                count,
                commutative,
            },
            Kind::Allreduce => Operation::Allreduce { count, commutative },
            Kind::Scan => Operation::Scan { count },
            Kind::Exscan => Operation::Exscan { count },
            Kind::Gather => Operation::Gather { root, count },
            Kind::Scatter => Operation::Scatter { root, count },
            Kind::Allgather => Operation::Allgather { counts },
            Kind::Alltoall => Operation::Alltoall { count },
            Kind::ReduceScatterBlock => Operation::ReduceScatter {
                counts,
                commutative,
            },
            _ => return None,
        };
        if self.meeting(&operation, element_bytes).is_some() {
            return Some(SHARED_MEMORY);
        }
        let selection = &self.inner.selection;
        let chosen = selection.choose(&operation, self.size(), element_bytes);
        Some(chosen.name)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn links_and_algorithms_have_names() {
        let names = crate::threads(2, |world| {
            let other = 1 - world.rank();
            assert_eq!(world.link_name(world.rank()), Some("own"));
            assert_eq!(world.link_name(2), None);
            assert_eq!(world.algorithm_name("alltoallw", 1, 1), None);
            assert!(world.algorithm_name("allreduce", 100, 8).is_some());
            Ok((
                world.link_name(other),
                world.algorithm_name("barrier", 0, 1),
            ))
        });
        let same = (Some("threads"), Some("dissemination"));
        assert_eq!(names.expect("runs"), [same, same]);
    }
}
