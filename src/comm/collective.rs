//! Collectives that block until this rank's part is done.
//!
//! All ranks of the communicator call the same operation in the same order, with the same operator,
//! element type, root and, unless it says otherwise, count. A rank that calls something else is found
//! out at its first message: the ranks that meet it get [`ErrorKind::Mismatch`](crate::ErrorKind).

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Call, Communicator};
use crate::error::Result;
use crate::pod::operator::{Operator, Reducer, reducer};
use crate::pod::{OwnedElements, Pod, fingerprint};
use crate::runtime::{CollectiveCall, Setting};
use crate::schedule::{Counts, Operation, Schedule, build};

/// A collective that is ready to begin.
pub(super) struct Prepared {
    pub(super) schedule: Schedule,
    pub(super) setting: Setting,
    pub(super) scratch: Box<dyn OwnedElements>,
}

/// How elements are combined, and by which name all ranks must call it.
pub(super) struct Combination {
    reducer: Arc<dyn Reducer>,
    name: &'static str,
}

impl Combination {
    pub(super) fn of<T: Pod, O: Operator<T>>(operator: O) -> (Self, bool) {
        let (name, commutative) = (operator.name(), operator.commutative());
        (
            Self {
                reducer: Arc::from(reducer::<T, O>(operator)),
                name,
            },
            commutative,
        )
    }
}

impl Communicator {
    /// Waits until all ranks have called it.
    ///
    /// # Errors
    ///
    /// A mismatch; a rank's or the job's end; the time limit. These can befall every collective.
    #[doc(alias = "MPI_Barrier")]
    #[track_caller]
    pub fn barrier(&self) -> Result<()> {
        let call = Call::new("barrier", Location::caller());
        self.execute::<u8>(&call, &Operation::Barrier, None, None, None)
    }

    /// Gives every rank the root's elements. All buffers have the same length.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier); a bad root.
    #[doc(alias = "MPI_Bcast")]
    #[track_caller]
    pub fn bcast_into<T: Pod>(&self, elements: &mut [T], root: usize) -> Result<()> {
        let call = Call::new("bcast_into", Location::caller());
        self.peer(&call, root)?;
        let operation = Operation::Bcast {
            root,
            count: elements.len(),
        };
        self.execute(&call, &operation, None, None, Some(elements))
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

    /// Combines the elements of all ranks, position by position, at the root: `Some` there, `None`
    /// elsewhere.
    ///
    /// # Errors
    ///
    /// As for [`bcast_into`](Self::bcast_into).
    #[doc(alias = "MPI_Reduce")]
    #[track_caller]
    pub fn reduce_vec<T: Pod, O: Operator<T>>(
        &self,
        elements: &[T],
        operator: O,
        root: usize,
    ) -> Result<Option<Vec<T>>> {
        let call = Call::new("reduce", Location::caller());
        self.peer(&call, root)?;
        let (combination, commutative) = Combination::of(operator);
        let operation = Operation::Reduce {
            root,
            count: elements.len(),
            commutative,
        };
        let here = self.rank() == root;
        let mut result = vec![T::zeroed(); if here { elements.len() } else { 0 }];
        self.execute(
            &call,
            &operation,
            Some(combination),
            Some(elements),
            Some(&mut result),
        )?;
        Ok(here.then_some(result))
    }

    /// Combines one value of each rank at the root.
    ///
    /// # Errors
    ///
    /// As for [`reduce_vec`](Self::reduce_vec).
    #[track_caller]
    pub fn reduce<T: Pod, O: Operator<T>>(
        &self,
        value: T,
        operator: O,
        root: usize,
    ) -> Result<Option<T>> {
        Ok(self
            .reduce_vec(&[value], operator, root)?
            .map(|result| result[0]))
    }

    /// Combines the elements of all ranks, position by position; every rank gets the same bits, in
    /// place of its own elements.
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
    ///     let mut gradient = [world.rank() as f64, 1.0];
    ///     world.allreduce_into(&mut gradient, phalanx::Sum)?;
    ///     assert_eq!(gradient, [3.0, 3.0]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "MPI_Allreduce")]
    #[track_caller]
    pub fn allreduce_into<T: Pod, O: Operator<T>>(
        &self,
        elements: &mut [T],
        operator: O,
    ) -> Result<()> {
        let call = Call::new("allreduce", Location::caller());
        let (combination, commutative) = Combination::of(operator);
        let operation = Operation::Allreduce {
            count: elements.len(),
            commutative,
        };
        self.execute(&call, &operation, Some(combination), None, Some(elements))
    }

    /// Combines one value of each rank; every rank gets the result.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier).
    #[track_caller]
    pub fn allreduce<T: Pod, O: Operator<T>>(&self, value: T, operator: O) -> Result<T> {
        let mut value = [value];
        self.allreduce_into(&mut value, operator)?;
        Ok(value[0])
    }

    /// Combines the elements of this rank and of all ranks before it, in place.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier).
    #[doc(alias = "MPI_Scan")]
    #[track_caller]
    pub fn scan_into<T: Pod, O: Operator<T>>(&self, elements: &mut [T], operator: O) -> Result<()> {
        let call = Call::new("scan", Location::caller());
        let (combination, _) = Combination::of(operator);
        let operation = Operation::Scan {
            count: elements.len(),
        };
        self.execute(&call, &operation, Some(combination), None, Some(elements))
    }

    /// Combines one value of this rank and of each rank before it.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier).
    #[track_caller]
    pub fn scan<T: Pod, O: Operator<T>>(&self, value: T, operator: O) -> Result<T> {
        let mut value = [value];
        self.scan_into(&mut value, operator)?;
        Ok(value[0])
    }

    /// Combines the elements of all ranks before this one, in place. Rank 0, which has none before
    /// it, keeps its own.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier).
    #[doc(alias = "MPI_Exscan")]
    #[track_caller]
    pub fn exscan_into<T: Pod, O: Operator<T>>(
        &self,
        elements: &mut [T],
        operator: O,
    ) -> Result<()> {
        let call = Call::new("exscan", Location::caller());
        let (combination, _) = Combination::of(operator);
        let operation = Operation::Exscan {
            count: elements.len(),
        };
        self.execute(&call, &operation, Some(combination), None, Some(elements))
    }

    /// Combines one value of each rank before this one; `None` at rank 0.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier).
    #[track_caller]
    pub fn exscan<T: Pod, O: Operator<T>>(&self, value: T, operator: O) -> Result<Option<T>> {
        let mut value = [value];
        self.exscan_into(&mut value, operator)?;
        Ok((self.rank() > 0).then_some(value[0]))
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
        let call = Call::new("allgather", Location::caller());
        if result.len() != elements.len() * self.size() {
            let (count, ranks, room) = (elements.len(), self.size(), result.len());
            let reason =
                format!("{ranks} blocks of {count} elements do not fill a buffer of {room}");
            return Err(self.argument(&call, reason));
        }
        let operation = Operation::Allgather {
            counts: Counts::Equal(elements.len()),
        };
        self.execute(&call, &operation, None, Some(elements), Some(result))
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
        let call = Call::new("alltoall", Location::caller());
        let count = self.block(&call, elements.len())?;
        let mut result = vec![T::zeroed(); elements.len()];
        let operation = Operation::Alltoall { count };
        self.execute(&call, &operation, None, Some(elements), Some(&mut result))?;
        Ok(result)
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

    /// Combines the elements of all ranks, position by position, and gives each rank its block of the
    /// result; block `i` has `counts[i]` elements.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier); counts that do not fit the elements.
    #[doc(alias = "MPI_Reduce_scatter")]
    #[track_caller]
    pub fn reduce_scatter<T: Pod, O: Operator<T>>(
        &self,
        elements: &[T],
        counts: &[usize],
        operator: O,
    ) -> Result<Vec<T>> {
        let call = Call::new("reduce_scatter", Location::caller());
        self.check_counts(&call, elements.len(), counts)?;
        let (combination, commutative) = Combination::of(operator);
        let mut result = vec![T::zeroed(); counts[self.rank()]];
        let counts = Counts::Each(counts);
        let operation = Operation::ReduceScatter {
            counts,
            commutative,
        };
        self.execute(
            &call,
            &operation,
            Some(combination),
            Some(elements),
            Some(&mut result),
        )?;
        Ok(result)
    }

    /// As [`reduce_scatter`](Self::reduce_scatter) with equally long blocks: the elements divided by the
    /// ranks.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier); elements that cannot be divided.
    #[doc(alias = "MPI_Reduce_scatter_block")]
    #[track_caller]
    pub fn reduce_scatter_block<T: Pod, O: Operator<T>>(
        &self,
        elements: &[T],
        operator: O,
    ) -> Result<Vec<T>> {
        let call = Call::new("reduce_scatter_block", Location::caller());
        let count = self.block(&call, elements.len())?;
        let (combination, commutative) = Combination::of(operator);
        let mut result = vec![T::zeroed(); count];
        let operation = Operation::ReduceScatter {
            counts: Counts::Equal(count),
            commutative,
        };
        self.execute(
            &call,
            &operation,
            Some(combination),
            Some(elements),
            Some(&mut result),
        )?;
        Ok(result)
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

    /// Builds the schedule of a collective and gives it its number.
    pub(super) fn prepare<T: Pod>(
        &self,
        call: &Call,
        operation: &Operation<'_>,
        combination: Option<Combination>,
    ) -> Prepared {
        let inner = &self.inner;
        let sequence = inner.sequence.fetch_add(1, Ordering::Relaxed);
        let schedule = build(
            operation,
            self.rank(),
            self.size(),
            size_of::<T>(),
            &inner.selection,
        );
        let operator = combination.as_ref().map(|combination| combination.name);
        let facts = agreed(operation);
        let described = CollectiveCall {
            operation: call.operation,
            element: facts.count.map(|_| std::any::type_name::<T>()),
            count: facts.count,
            operator,
            root: facts.root,
            algorithm: schedule.algorithm,
            site: call.site,
        };
        let setting = Setting {
            group: inner.group.clone(),
            context: inner.context.collective(),
            sequence,
            signature: self.signature::<T>(operation, &facts, &described, sequence),
            element: size_of::<T>(),
            call: described,
            reducer: combination.map(|combination| combination.reducer),
            buffers: [None; 3],
        };
        let scratch = Box::new(vec![T::zeroed(); schedule.scratch]);
        Prepared {
            schedule,
            setting,
            scratch,
        }
    }

    fn execute<T: Pod>(
        &self,
        call: &Call,
        operation: &Operation<'_>,
        combination: Option<Combination>,
        input: Option<&[T]>,
        output: Option<&mut [T]>,
    ) -> Result<()> {
        let Prepared {
            schedule,
            setting,
            scratch,
        } = self.prepare::<T>(call, operation, combination);
        let input = input.map(bytemuck::cast_slice);
        let output = output.map(bytemuck::cast_slice_mut);
        let runtime = &self.inner.runtime;
        let deadline = self.deadline(call);
        let done = runtime.collective(schedule, setting, scratch, input, output, deadline);
        done.map_err(|fault| self.error(call, fault, std::any::type_name::<T>()))
    }

    /// What all ranks must agree on, in 64 bits.
    fn signature<T: 'static>(
        &self,
        operation: &Operation<'_>,
        facts: &Agreed,
        call: &CollectiveCall,
        sequence: u64,
    ) -> u64 {
        let hash = |text: &str| xxhash_rust::xxh3::xxh3_64(text.as_bytes());
        let numbers = [
            self.inner.context.0,
            sequence,
            operation.kind() as u64,
            fingerprint::<T>(),
            facts.root.map_or(u64::MAX, |root| root as u64),
            facts.counts,
            hash(call.operator.unwrap_or_default()),
            hash(call.algorithm),
        ];
        xxhash_rust::xxh3::xxh3_64(bytemuck::cast_slice(&numbers))
    }

    pub(super) fn block(&self, call: &Call, elements: usize) -> Result<usize> {
        let ranks = self.size();
        if elements % ranks == 0 {
            return Ok(elements / ranks);
        }
        let reason = format!("{elements} elements cannot be divided into {ranks} equal blocks");
        Err(self.argument(call, reason))
    }

    fn check_counts(&self, call: &Call, elements: usize, counts: &[usize]) -> Result<()> {
        let sum: usize = counts.iter().sum();
        if counts.len() == self.size() && sum == elements {
            return Ok(());
        }
        let (given, ranks) = (counts.len(), self.size());
        let reason =
            format!("{given} counts with the sum {sum} for {ranks} ranks and {elements} elements");
        Err(self.argument(call, reason))
    }
}

/// Root and counts as far as they have to be equal on all ranks.
struct Agreed {
    root: Option<usize>,
    /// For people: elements of this rank's block.
    count: Option<usize>,
    /// For the signature.
    counts: u64,
}

fn agreed(operation: &Operation<'_>) -> Agreed {
    let one = |root: Option<usize>, count: usize| Agreed {
        root,
        count: Some(count),
        counts: count as u64,
    };
    match *operation {
        Operation::Barrier => Agreed {
            root: None,
            count: None,
            counts: 0,
        },
        Operation::Alltoallv { sends, .. } => Agreed {
            root: None,
            count: Some(sends.iter().sum()),
            counts: 0,
        },
        Operation::Gatherv { root, own, .. } | Operation::Scatterv { root, own, .. } => Agreed {
            root: Some(root),
            count: Some(own),
            counts: 0,
        },
        Operation::Bcast { root, count }
        | Operation::Reduce { root, count, .. }
        | Operation::Gather { root, count }
        | Operation::Scatter { root, count } => one(Some(root), count),
        Operation::Allreduce { count, .. }
        | Operation::Scan { count }
        | Operation::Exscan { count }
        | Operation::Alltoall { count } => one(None, count),
        Operation::Allgather { counts } | Operation::ReduceScatter { counts, .. } => match counts {
            Counts::Equal(count) => one(None, count),
            Counts::Each(counts) => Agreed {
                root: None,
                count: Some(counts.iter().sum()),
                counts: xxhash_rust::xxh3::xxh3_64(bytemuck::cast_slice(counts)),
            },
        },
    }
}
