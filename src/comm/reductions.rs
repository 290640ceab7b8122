//! Collectives that combine elements by an operator.

use std::panic::Location;

use super::collective::Combination;
use super::{Call, Communicator};
use crate::error::Result;
use crate::pod::Pod;
use crate::pod::operator::{Operator, reducer};
use crate::schedule::{Counts, Operation};

impl Communicator {
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
        self.allreduce_all(Location::caller(), (None, elements), operator)
    }

    /// Combines the elements of all ranks, position by position; every rank gets the same bits in `result`. It matches
    /// [`allreduce_into`](Self::allreduce_into); the elements stay as they
    /// are, which costs no copy more, and may cost one less.
    ///
    /// # Errors
    ///
    /// As for [`barrier`](Self::barrier); a result of another length.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(3, |world| {
    ///     let (mine, mut sums) = ([world.rank(), 1], [0; 2]);
    ///     world.allreduce_from(&mine, &mut sums, phalanx::Sum)?;
    ///     assert_eq!((mine, sums), ([world.rank(), 1], [3, 3]));
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "MPI_Allreduce")]
    #[track_caller]
    pub fn allreduce_from<T: Pod, O: Operator<T>>(
        &self,
        elements: &[T],
        result: &mut [T],
        operator: O,
    ) -> Result<()> {
        let site = Location::caller();
        if elements.len() != result.len() {
            let (count, room) = (elements.len(), result.len());
            let reason = format!("the sum of {count} elements does not fill a buffer of {room}");
            return Err(self.argument(&Call::new("allreduce", site), reason));
        }
        self.allreduce_all(site, (Some(elements), result), operator)
    }

    fn allreduce_all<T: Pod, O: Operator<T>>(
        &self,
        site: &'static Location<'static>,
        elements: (Option<&[T]>, &mut [T]),
        operator: O,
    ) -> Result<()> {
        let operation = Operation::Allreduce {
            count: elements.1.len(),
            commutative: operator.commutative(),
        };
        let (input, result) = elements;
        let meeting = self.meeting(&operation, size_of::<T>());
        let in_cells =
            meeting.is_some_and(|(form, block)| self.inner.runtime.meets_in_cells(form, block));
        if input.is_some() && in_cells {
            let combination = Some(Combination::of::<T, O>(operator).0);
            let call = Call::new("allreduce", site);
            return self.execute(&call, &operation, combination, input, Some(result));
        }
        let name = operator.name();
        let operator = Some((reducer(operator), name));
        self.meet(("allreduce", site), &operation, operator, (input, result))
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
}
