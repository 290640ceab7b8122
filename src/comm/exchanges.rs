//! Collectives that move elements from rank to rank.

use std::panic::Location;

use super::{Call, Communicator};
use crate::error::Result;
use crate::pod::Pod;
use crate::pod::operator::Function;
use crate::schedule::{Counts, Operation};

impl Communicator {
    /// Gives every rank the root's elements. All buffers have the same length.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier); a bad root.
    #[doc(alias = "MPI_Bcast")]
    #[track_caller]
    pub fn bcast_into<T: Pod>(&self, elements: &mut [T], root: usize) -> Result<()> {
        let site = Location::caller();
        if root >= self.size() {
            self.peer(&Call::new("bcast_into", site), root)?;
        }
        let operation = Operation::Bcast {
            root,
            count: elements.len(),
        };
        // Nothing is combined.
        let call = ("bcast_into", site);
        self.meet::<T, Function<fn(T, T) -> T>>(call, &operation, None, (None, elements))
    }

    /// Gives every rank the root's value.
    ///
    /// # Errors
    ///
    /// As for [`bcast_into`](Self::bcast_into).
    #[track_caller]
    pub fn bcast<T: Pod>(&self, value: T, root: usize) -> Result<T> {
        let mut value = [value];
        self.bcast_into(&mut value, root)?;
        Ok(value[0])
    }

    /// Gives every rank the root's vector, whatever its length; other ranks' vectors are replaced.
    ///
    /// # Errors
    ///
    /// As for [`bcast_into`](Self::bcast_into).
    #[track_caller]
    pub fn bcast_vec<T: Pod>(&self, mut elements: Vec<T>, root: usize) -> Result<Vec<T>> {
        let length = self.bcast(elements.len(), root)?;
        elements.resize(length, T::zeroed());
        self.bcast_into(&mut elements, root)?;
        Ok(elements)
    }

    /// Collects equally long blocks of all ranks at the root, in the order of the ranks: `Some` there,
    /// `None` elsewhere.
    ///
    /// # Errors
    ///
    /// As for [`bcast_into`](Self::bcast_into).
    #[doc(alias = "MPI_Gather")]
    #[track_caller]
    pub fn gather<T: Pod>(&self, elements: &[T], root: usize) -> Result<Option<Vec<T>>> {
        let call = Call::new("gather", Location::caller());
        self.peer(&call, root)?;
        let operation = Operation::Gather {
            root,
            count: elements.len(),
        };
        let here = self.rank() == root;
        let total = if here {
            elements.len() * self.size()
        } else {
            0
        };
        let mut result = vec![T::zeroed(); total];
        self.execute(&call, &operation, None, Some(elements), Some(&mut result))?;
        Ok(here.then_some(result))
    }

    /// Collects blocks of any lengths at the root, in the order of the ranks, with their lengths:
    /// `Some` there, `None` elsewhere.
    ///
    /// # Errors
    ///
    /// As for [`bcast_into`](Self::bcast_into).
    #[doc(alias = "MPI_Gatherv")]
    #[track_caller]
    pub fn gatherv<T: Pod>(
        &self,
        elements: &[T],
        root: usize,
    ) -> Result<Option<(Vec<T>, Vec<usize>)>> {
        let counts = self.gather(&[elements.len()], root)?;
        let call = Call::new("gatherv", Location::caller());
        let total = counts.as_ref().map_or(0, |counts| counts.iter().sum());
        let mut result = vec![T::zeroed(); total];
        let all = counts.as_deref();
        let operation = Operation::Gatherv {
            root,
            own: elements.len(),
            all,
        };
        self.execute(&call, &operation, None, Some(elements), Some(&mut result))?;
        Ok(counts.map(|counts| (result, counts)))
    }

    /// Gives each rank its block of the root's elements; the blocks are as long as `block`. Ranks other
    /// than the root give `None`.
    ///
    /// # Errors
    ///
    /// As for [`bcast_into`](Self::bcast_into); at the root, elements that are missing or too many.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(2, |world| {
    ///     let all = [1, 2, 3, 4];
    ///     let mut mine = [0; 2];
    ///     world.scatter((world.rank() == 0).then_some(&all[..]), &mut mine, 0)?;
    ///     assert_eq!(mine, if world.rank() == 0 { [1, 2] } else { [3, 4] });
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "MPI_Scatter")]
    #[track_caller]
    pub fn scatter<T: Pod>(
        &self,
        elements: Option<&[T]>,
        block: &mut [T],
        root: usize,
    ) -> Result<()> {
        let call = Call::new("scatter", Location::caller());
        self.peer(&call, root)?;
        let mut input: &[T] = &[];
        if self.rank() == root {
            let needed = block.len() * self.size();
            let given = elements.map_or(0, <[T]>::len);
            if given != needed {
                let (ranks, count) = (self.size(), block.len());
                return Err(self.argument(
                    &call,
                    format!(
                        "the root gives {given} elements; {ranks} blocks of {count} need {needed}"
                    ),
                ));
            }
            input = elements.unwrap_or_default();
        }
        let operation = Operation::Scatter {
            root,
            count: block.len(),
        };
        self.execute(&call, &operation, None, Some(input), Some(block))
    }

    /// Gives each rank its block of the root's elements, whatever its length. Ranks other than the root
    /// give `None`.
    ///
    /// # Errors
    ///
    /// As for [`scatter`](Self::scatter).
    #[doc(alias = "MPI_Scatterv")]
    #[track_caller]
    pub fn scatterv<T: Pod>(
        &self,
        blocks: Option<(&[T], &[usize])>,
        root: usize,
    ) -> Result<Vec<T>> {
        let call = Call::new("scatterv", Location::caller());
        self.peer(&call, root)?;
        let here = self.rank() == root;
        if here {
            let (elements, counts) = blocks.unwrap_or_default();
            if counts.len() != self.size() || counts.iter().sum::<usize>() != elements.len() {
                let reason = format!(
                    "the root gives {} counts with the sum {} for {} ranks and {} elements",
                    counts.len(),
                    counts.iter().sum::<usize>(),
                    self.size(),
                    elements.len()
                );
                return Err(self.argument(&call, reason));
            }
        }
        let (input, counts) = blocks.filter(|_| here).unzip();
        let mut own = [0];
        self.scatter(counts, &mut own, root)?;
        let mut block = vec![T::zeroed(); own[0]];
        let operation = Operation::Scatterv {
            root,
            own: own[0],
            all: counts,
        };
        self.execute(
            &call,
            &operation,
            None,
            Some(input.unwrap_or_default()),
            Some(&mut block),
        )?;
        Ok(block)
    }

    /// Collects equally long blocks of all ranks at all ranks, in the order of the ranks.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier).
    #[doc(alias = "MPI_Allgather")]
    #[track_caller]
    pub fn allgather<T: Pod>(&self, elements: &[T]) -> Result<Vec<T>> {
        let mut result = vec![T::zeroed(); elements.len() * self.size()];
        self.allgather_into(elements, &mut result)?;
        Ok(result)
    }

    /// As [`allgather`](Self::allgather), into a buffer of `size()` times the block.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier); a buffer of another length.
    #[track_caller]
    pub fn allgather_into<T: Pod>(&self, elements: &[T], result: &mut [T]) -> Result<()> {
        let site = Location::caller();
        if result.len() != elements.len() * self.size() {
            let call = Call::new("allgather", site);
            let (count, ranks, room) = (elements.len(), self.size(), result.len());
            let reason =
                format!("{ranks} blocks of {count} elements do not fill a buffer of {room}");
            return Err(self.argument(&call, reason));
        }
        let operation = Operation::Allgather {
            counts: Counts::Equal(elements.len()),
        };
        self.exchange(("allgather", site), &operation, elements, result)
    }

    /// Collects blocks of any lengths at all ranks, in the order of the ranks, with their lengths.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(3, |world| {
    ///     let mine = vec![world.rank(); world.rank()];
    ///     let (all, counts) = world.allgatherv(&mine)?;
    ///     assert_eq!((all, counts), (vec![1, 2, 2], vec![0, 1, 2]));
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "MPI_Allgatherv")]
    #[track_caller]
    pub fn allgatherv<T: Pod>(&self, elements: &[T]) -> Result<(Vec<T>, Vec<usize>)> {
        let counts = self.allgather(&[elements.len()])?;
        let call = Call::new("allgatherv", Location::caller());
        let mut result = vec![T::zeroed(); counts.iter().sum()];
        let operation = Operation::Allgather {
            counts: Counts::Each(&counts),
        };
        self.execute(&call, &operation, None, Some(elements), Some(&mut result))?;
        Ok((result, counts))
    }

    /// Gives block `j` of each rank `i` to rank `j`, as its block `i`. All blocks are equally long: the
    /// elements divided by the ranks.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier); elements that cannot be divided.
    #[doc(alias = "MPI_Alltoall")]
    #[track_caller]
    pub fn alltoall<T: Pod>(&self, elements: &[T]) -> Result<Vec<T>> {
        let mut result = vec![T::zeroed(); elements.len()];
        self.alltoall_into(elements, &mut result)?;
        Ok(result)
    }

    /// As [`alltoall`](Self::alltoall), into a buffer of the same length.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier); elements that cannot be divided; a buffer of another length.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(2, |world| {
    ///     let mut blocks = [0; 2];
    ///     world.alltoall_into(&[10 * world.rank(), 10 * world.rank() + 1], &mut blocks)?;
    ///     assert_eq!(blocks, [world.rank(), 10 + world.rank()]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn alltoall_into<T: Pod>(&self, elements: &[T], result: &mut [T]) -> Result<()> {
        let (site, ranks) = (Location::caller(), self.size());
        let (given, room) = (elements.len(), result.len());
        if given % ranks != 0 || room != given {
            let call = Call::new("alltoall", site);
            self.block(&call, given)?;
            let reason = format!("{given} elements do not fill a buffer of {room}");
            return Err(self.argument(&call, reason));
        }
        let operation = Operation::Alltoall {
            count: given / ranks,
        };
        self.exchange(("alltoall", site), &operation, elements, result)
    }

    /// Blocks of all ranks to all, which may end at once.
    fn exchange<T: Pod>(
        &self,
        call: (&'static str, &'static Location<'static>),
        operation: &Operation<'_>,
        elements: &[T],
        result: &mut [T],
    ) -> Result<()> {
        // Nothing is combined.
        self.meet::<T, Function<fn(T, T) -> T>>(call, operation, None, (Some(elements), result))
    }

    /// As [`alltoall`](Self::alltoall) with blocks of any lengths: `counts[j]` elements go to rank `j`.
    /// Gives what arrived, in the order of the ranks, and how much came from each.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier); counts that do not fit the elements.
    #[doc(alias = "MPI_Alltoallv")]
    #[track_caller]
    pub fn alltoallv<T: Pod>(
        &self,
        elements: &[T],
        counts: &[usize],
    ) -> Result<(Vec<T>, Vec<usize>)> {
        let call = Call::new("alltoallv", Location::caller());
        self.check_counts(&call, elements.len(), counts)?;
        let receives = self.alltoall(counts)?;
        let mut result = vec![T::zeroed(); receives.iter().sum()];
        let operation = Operation::Alltoallv {
            sends: counts,
            receives: &receives,
        };
        self.execute(&call, &operation, None, Some(elements), Some(&mut result))?;
        Ok((result, receives))
    }

    pub(super) fn bcast_bytes(&self, call: &Call, bytes: Vec<u8>, root: usize) -> Result<Vec<u8>> {
        self.peer(call, root)?;
        let mut length = [bytes.len() as u64];
        let operation = Operation::Bcast { root, count: 1 };
        self.execute(call, &operation, None, None, Some(&mut length))?;
        let mut bytes = bytes;
        bytes.resize(length[0] as usize, 0);
        let operation = Operation::Bcast {
            root,
            count: bytes.len(),
        };
        self.execute(call, &operation, None, None, Some(&mut bytes))?;
        Ok(bytes)
    }
}
