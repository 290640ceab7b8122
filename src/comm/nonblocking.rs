//! Nonblocking operations by ownership: the buffer goes in, and comes back with the result.
//!
//! The collectives here execute the same schedules as the blocking ones.

use std::panic::Location;

use super::collective::{Combination, Prepared};
use super::pending::Remains;
use super::{Call, Communicator, Pending, Source, Status, Tag};
use crate::engine::{Capacity, Mode};
use crate::error::Result;
use crate::pod::operator::Operator;
use crate::pod::{OwnedElements, Pod};
use crate::schedule::{Counts, Operation};

impl Communicator {
    /// Begins to send elements to rank `dest`; [`Pending::wait`] gives them back.
    ///
    /// # Errors
    ///
    /// A bad rank or tag; the receiver's or the job's end, as far as it is known.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(2, |world| {
    ///     let other = 1 - world.rank();
    ///     let outgoing = world.isend(vec![world.rank(); 3], other, 0)?;
    ///     let incoming = world.irecv(vec![0; 3], other, 0)?;
    ///     let (block, status) = incoming.wait()?;
    ///     assert_eq!((block, status.count), (vec![other; 3], 3));
    ///     assert_eq!(outgoing.wait()?, vec![world.rank(); 3]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "MPI_Isend")]
    #[track_caller]
    pub fn isend<T: Pod>(
        &self,
        elements: Vec<T>,
        dest: usize,
        tag: impl Into<Tag>,
    ) -> Result<Pending<Vec<T>>> {
        let call = Call::timeless("isend", Location::caller());
        self.isend_mode(call, elements, dest, tag.into(), Mode::Standard)
    }

    /// Begins to send elements to rank `dest`; done when the receiver has begun to receive them.
    ///
    /// # Errors
    ///
    /// As for [`isend`](Self::isend).
    #[doc(alias = "MPI_Issend")]
    #[track_caller]
    pub fn issend<T: Pod>(
        &self,
        elements: Vec<T>,
        dest: usize,
        tag: impl Into<Tag>,
    ) -> Result<Pending<Vec<T>>> {
        let call = Call::timeless("issend", Location::caller());
        self.isend_mode(call, elements, dest, tag.into(), Mode::Synchronous)
    }

    /// Begins to receive a message into a buffer, of which it fills the beginning; [`Pending::wait`]
    /// gives the buffer back.
    ///
    /// # Errors
    ///
    /// A bad rank or tag, or what is known at once.
    #[doc(alias = "MPI_Irecv")]
    #[track_caller]
    pub fn irecv<T: Pod>(
        &self,
        buffer: Vec<T>,
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<Pending<(Vec<T>, Status)>> {
        let call = Call::timeless("irecv", Location::caller());
        let capacity = Capacity::Fixed((buffer.len() * size_of::<T>()) as u64);
        self.begin_receive(call, buffer, source.into(), tag.into(), capacity)
    }

    /// Begins to receive a message of any length; [`Pending::wait`] gives it.
    ///
    /// # Errors
    ///
    /// As for [`irecv`](Self::irecv).
    #[track_caller]
    pub fn irecv_vec<T: Pod>(
        &self,
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<Pending<(Vec<T>, Status)>> {
        let call = Call::timeless("irecv_vec", Location::caller());
        self.begin_receive(
            call,
            Vec::new(),
            source.into(),
            tag.into(),
            Capacity::Growable,
        )
    }

    /// Begins a [`barrier`](Self::barrier).
    ///
    /// # Errors
    ///
    /// What is known at once.
    #[doc(alias = "MPI_Ibarrier")]
    #[track_caller]
    pub fn ibarrier(&self) -> Result<Pending<()>> {
        let call = Call::new("ibarrier", Location::caller());
        self.begin::<u8, _>(
            call,
            &Operation::Barrier,
            None,
            None,
            None,
            |_, _, _| Ok(()),
        )
    }

    /// Begins a [`bcast_into`](Self::bcast_into).
    ///
    /// # Errors
    ///
    /// A bad root, or what is known at once.
    #[doc(alias = "MPI_Ibcast")]
    #[track_caller]
    pub fn ibcast<T: Pod>(&self, elements: Vec<T>, root: usize) -> Result<Pending<Vec<T>>> {
        let call = Call::new("ibcast", Location::caller());
        self.peer(&call, root)?;
        let operation = Operation::Bcast {
            root,
            count: elements.len(),
        };
        self.begin::<T, _>(call, &operation, None, None, Some(elements), output)
    }

    /// Begins a [`reduce_vec`](Self::reduce_vec).
    ///
    /// # Errors
    ///
    /// A bad root, or what is known at once.
    #[doc(alias = "MPI_Ireduce")]
    #[track_caller]
    pub fn ireduce<T: Pod, O: Operator<T>>(
        &self,
        elements: Vec<T>,
        operator: O,
        root: usize,
    ) -> Result<Pending<Option<Vec<T>>>> {
        let call = Call::new("ireduce", Location::caller());
        self.peer(&call, root)?;
        let (combination, commutative) = Combination::of(operator);
        let operation = Operation::Reduce {
            root,
            count: elements.len(),
            commutative,
        };
        let here = self.rank() == root;
        let result = vec![T::zeroed(); if here { elements.len() } else { 0 }];
        let finish = if here { some::<T> } else { none::<T> };
        let combination = Some(combination);
        self.begin::<T, _>(
            call,
            &operation,
            combination,
            Some(elements),
            Some(result),
            finish,
        )
    }

    /// Begins an [`allreduce_into`](Self::allreduce_into).
    ///
    /// # Errors
    ///
    /// What is known at once.
    #[doc(alias = "MPI_Iallreduce")]
    #[track_caller]
    pub fn iallreduce<T: Pod, O: Operator<T>>(
        &self,
        elements: Vec<T>,
        operator: O,
    ) -> Result<Pending<Vec<T>>> {
        let call = Call::new("iallreduce", Location::caller());
        let (combination, commutative) = Combination::of(operator);
        let operation = Operation::Allreduce {
            count: elements.len(),
            commutative,
        };
        self.begin::<T, _>(
            call,
            &operation,
            Some(combination),
            None,
            Some(elements),
            output,
        )
    }

    /// Begins a [`scan_into`](Self::scan_into).
    ///
    /// # Errors
    ///
    /// What is known at once.
    #[doc(alias = "MPI_Iscan")]
    #[track_caller]
    pub fn iscan<T: Pod, O: Operator<T>>(
        &self,
        elements: Vec<T>,
        operator: O,
    ) -> Result<Pending<Vec<T>>> {
        let call = Call::new("iscan", Location::caller());
        let (combination, _) = Combination::of(operator);
        let operation = Operation::Scan {
            count: elements.len(),
        };
        self.begin::<T, _>(
            call,
            &operation,
            Some(combination),
            None,
            Some(elements),
            output,
        )
    }

    /// Begins an [`exscan_into`](Self::exscan_into).
    ///
    /// # Errors
    ///
    /// What is known at once.
    #[doc(alias = "MPI_Iexscan")]
    #[track_caller]
    pub fn iexscan<T: Pod, O: Operator<T>>(
        &self,
        elements: Vec<T>,
        operator: O,
    ) -> Result<Pending<Vec<T>>> {
        let call = Call::new("iexscan", Location::caller());
        let (combination, _) = Combination::of(operator);
        let operation = Operation::Exscan {
            count: elements.len(),
        };
        self.begin::<T, _>(
            call,
            &operation,
            Some(combination),
            None,
            Some(elements),
            output,
        )
    }

    /// Begins a [`gather`](Self::gather).
    ///
    /// # Errors
    ///
    /// A bad root, or what is known at once.
    #[doc(alias = "MPI_Igather")]
    #[track_caller]
    pub fn igather<T: Pod>(
        &self,
        elements: Vec<T>,
        root: usize,
    ) -> Result<Pending<Option<Vec<T>>>> {
        let call = Call::new("igather", Location::caller());
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
        let result = vec![T::zeroed(); total];
        let finish = if here { some::<T> } else { none::<T> };
        self.begin::<T, _>(call, &operation, None, Some(elements), Some(result), finish)
    }

    /// Begins a [`scatter`](Self::scatter) of blocks of `count` elements.
    ///
    /// # Errors
    ///
    /// A bad root, or elements that are missing or too many at the root.
    #[doc(alias = "MPI_Iscatter")]
    #[track_caller]
    pub fn iscatter<T: Pod>(
        &self,
        elements: Option<Vec<T>>,
        count: usize,
        root: usize,
    ) -> Result<Pending<Vec<T>>> {
        let call = Call::new("iscatter", Location::caller());
        self.peer(&call, root)?;
        let given = elements.as_ref().map_or(0, Vec::len);
        let needed = count * self.size();
        if self.rank() == root && given != needed {
            let reason = format!("the root gives {given} elements; the blocks need {needed}");
            return Err(self.argument(&call, reason));
        }
        let input = elements.filter(|_| self.rank() == root);
        let operation = Operation::Scatter { root, count };
        let block = vec![T::zeroed(); count];
        self.begin::<T, _>(call, &operation, None, input, Some(block), output)
    }

    /// Begins an [`allgather`](Self::allgather).
    ///
    /// # Errors
    ///
    /// What is known at once.
    #[doc(alias = "MPI_Iallgather")]
    #[track_caller]
    pub fn iallgather<T: Pod>(&self, elements: Vec<T>) -> Result<Pending<Vec<T>>> {
        let call = Call::new("iallgather", Location::caller());
        let operation = Operation::Allgather {
            counts: Counts::Equal(elements.len()),
        };
        let result = vec![T::zeroed(); elements.len() * self.size()];
        self.begin::<T, _>(call, &operation, None, Some(elements), Some(result), output)
    }

    /// Begins an [`alltoall`](Self::alltoall).
    ///
    /// # Errors
    ///
    /// Elements that cannot be divided, or what is known at once.
    #[doc(alias = "MPI_Ialltoall")]
    #[track_caller]
    pub fn ialltoall<T: Pod>(&self, elements: Vec<T>) -> Result<Pending<Vec<T>>> {
        let call = Call::new("ialltoall", Location::caller());
        let count = self.block(&call, elements.len())?;
        let operation = Operation::Alltoall { count };
        let result = vec![T::zeroed(); elements.len()];
        self.begin::<T, _>(call, &operation, None, Some(elements), Some(result), output)
    }

    /// Begins a [`reduce_scatter_block`](Self::reduce_scatter_block).
    ///
    /// # Errors
    ///
    /// Elements that cannot be divided, or what is known at once.
    #[doc(alias = "MPI_Ireduce_scatter_block")]
    #[track_caller]
    pub fn ireduce_scatter_block<T: Pod, O: Operator<T>>(
        &self,
        elements: Vec<T>,
        operator: O,
    ) -> Result<Pending<Vec<T>>> {
        let call = Call::new("ireduce_scatter_block", Location::caller());
        let count = self.block(&call, elements.len())?;
        let (combination, commutative) = Combination::of(operator);
        let operation = Operation::ReduceScatter {
            counts: Counts::Equal(count),
            commutative,
        };
        let (combination, result) = (Some(combination), vec![T::zeroed(); count]);
        self.begin::<T, _>(
            call,
            &operation,
            combination,
            Some(elements),
            Some(result),
            output,
        )
    }

    fn begin<T: Pod, R>(
        &self,
        call: Call,
        operation: &Operation<'_>,
        combination: Option<Combination>,
        input: Option<Vec<T>>,
        output: Option<Vec<T>>,
        finish: fn(&Self, &Call, Remains) -> Result<R>,
    ) -> Result<Pending<R>> {
        let Prepared {
            schedule,
            setting,
            scratch,
        } = self.prepare::<T>(&call, operation, combination, true);
        let [input, output] = [input, output]
            .map(|elements| elements.map(|it| Box::new(it) as Box<dyn OwnedElements>));
        let runtime = &self.inner.runtime;
        let key = runtime
            .start_collective(schedule, setting, scratch, input, output)
            .map_err(|fault| self.error(&call, fault, ""))?;
        Ok(Pending::collective(self, call, key, finish))
    }

    fn isend_mode<T: Pod>(
        &self,
        call: Call,
        elements: Vec<T>,
        dest: usize,
        tag: Tag,
        mode: Mode,
    ) -> Result<Pending<Vec<T>>> {
        let args = self.send_args::<T>(&call, dest, tag, mode)?;
        let call = call.with(Some(dest), Some(args.tag));
        let runtime = &self.inner.runtime;
        if runtime.send_directly(&args, bytemuck::cast_slice(&elements)) {
            return Ok(Pending::done(call, elements));
        }
        let key = runtime.start_send(args, Box::new(elements));
        let key = key.map_err(|fault| self.error(&call, fault, ""))?;
        let finish =
            |comm: &Self, call: &Call, remains: Remains| comm.elements(call, remains.elements);
        Ok(Pending::request(
            self,
            call,
            key,
            None,
            finish,
            |comm, call, _, fault| comm.error(call, fault, ""),
        ))
    }

    fn begin_receive<T: Pod>(
        &self,
        call: Call,
        buffer: Vec<T>,
        source: Source,
        tag: Tag,
        capacity: Capacity,
    ) -> Result<Pending<(Vec<T>, Status)>> {
        let args = self.recv_args::<T>(&call, source, tag)?;
        let runtime = &self.inner.runtime;
        let key = runtime.start_recv(args, Box::new(buffer), capacity);
        let key = key.map_err(|fault| self.recv_error::<T>(&call, &args, fault))?;
        Ok(Pending::request(
            self,
            call,
            key,
            Some(args),
            received::<T>,
            |comm, call, args, fault| match args {
                Some(args) => comm.recv_error::<T>(call, args, fault),
                None => comm.error(call, fault, ""),
            },
        ))
    }
}

fn received<T: Pod>(
    comm: &Communicator,
    call: &Call,
    remains: Remains,
) -> Result<(Vec<T>, Status)> {
    let elements = comm.elements(call, remains.elements)?;
    let status = remains.envelope.map(|envelope| comm.status::<T>(&envelope));
    let nothing = Status {
        source: comm.rank(),
        tag: 0,
        count: 0,
    };
    Ok((elements, status.unwrap_or(nothing)))
}

fn output<T: Pod>(comm: &Communicator, call: &Call, remains: Remains) -> Result<Vec<T>> {
    comm.elements(call, remains.elements)
}

fn some<T: Pod>(comm: &Communicator, call: &Call, remains: Remains) -> Result<Option<Vec<T>>> {
    comm.elements(call, remains.elements).map(Some)
}

fn none<T: Pod>(_: &Communicator, _: &Call, _: Remains) -> Result<Option<Vec<T>>> {
    Ok(None)
}
