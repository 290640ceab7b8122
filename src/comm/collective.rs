//! Collectives that block until this rank's part is done.
//!
//! All ranks of the communicator call the same operation in the same order, with the same operator,
//! element type, root and, unless it says otherwise, count. A rank that calls something else is found
//! out at its first message: the ranks that meet it get [`ErrorKind::Mismatch`](crate::ErrorKind).

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Call, Communicator};
use crate::base::ids::Context;
use crate::base::words::LINE_BYTES;
use crate::error::Result;
use crate::pod::operator::{Operator, Reducer, Sum, Typed, reducer};
use crate::pod::{OwnedElements, Pod, fingerprint};
use crate::runtime::meeting::{DirectCall, Directly, Form, SLOT_BYTES, Way, scratch_elements};
use crate::runtime::{CollectiveCall, Setting};
use crate::schedule::{Counts, Operation, SHARED_MEMORY, Schedule, build};

/// A collective that is ready to begin.
pub(super) struct Prepared {
    pub(super) schedule: Schedule,
    pub(super) setting: Setting,
    pub(super) scratch: Box<dyn OwnedElements>,
}

/// A call as the program wrote it.
struct Named {
    operation: &'static str,
    site: &'static Location<'static>,
    operator: Option<&'static str>,
    algorithm: &'static str,
    nonblocking: bool,
}

/// A call that has its number.
struct Numbered {
    sequence: u64,
    signature: u64,
    call: CollectiveCall,
}

/// The schedule of a collective whose ranks meet in shared memory: no steps.
fn met(form: Form, element: usize, block: usize) -> Schedule {
    Schedule {
        algorithm: SHARED_MEMORY,
        scratch: scratch_elements(form, element, block),
        ..Schedule::default()
    }
}

/// Whether memory that is aligned to a cache line is aligned for such elements.
const fn aligns<T>() -> bool {
    align_of::<T>() <= LINE_BYTES
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
                reducer: Arc::new(reducer::<T, O>(operator)),
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
        let call = ("barrier", Location::caller());
        self.meet::<u8, Sum>(call, &Operation::Barrier, None, (None, &mut []))
    }

    /// Builds the schedule of a collective and gives it its number.
    pub(super) fn prepare<T: Pod>(
        &self,
        call: &Call,
        operation: &Operation<'_>,
        combination: Option<Combination>,
        nonblocking: bool,
    ) -> Prepared {
        let meeting = self.meeting(operation, size_of::<T>());
        let schedule = match meeting {
            Some((form, block)) => met(form, size_of::<T>(), block),
            None => {
                let (rank, size, selection) = (self.rank(), self.size(), &self.inner.selection);
                build(operation, rank, size, size_of::<T>(), selection)
            }
        };
        let way = meeting.map(|(form, block)| Way {
            form,
            block,
            begun: None,
        });
        let named = Named {
            operation: call.operation,
            site: call.site,
            operator: combination.as_ref().map(|combination| combination.name),
            algorithm: schedule.algorithm,
            nonblocking,
        };
        let numbered = self.number::<T>(&named, operation);
        self.assemble::<T>(numbered, schedule, way, combination)
    }

    /// Gives a collective its number.
    fn number<T: 'static>(&self, named: &Named, operation: &Operation<'_>) -> Numbered {
        let sequence = self.inner.sequence.fetch_add(1, Ordering::Relaxed);
        let facts = agreed(operation);
        let call = CollectiveCall {
            operation: named.operation,
            nonblocking: named.nonblocking,
            element: facts.count.map(|_| std::any::type_name::<T>()),
            count: facts.count,
            operator: named.operator,
            root: facts.root,
            algorithm: named.algorithm,
            site: named.site,
        };
        Numbered {
            sequence,
            signature: self.signature::<T>(operation, &facts, &call, sequence),
            call,
        }
    }

    fn assemble<T: Pod>(
        &self,
        numbered: Numbered,
        schedule: Schedule,
        meeting: Option<Way>,
        combination: Option<Combination>,
    ) -> Prepared {
        let setting = Setting {
            group: self.inner.group.clone(),
            context: self.inner.context.collective(),
            sequence: numbered.sequence,
            signature: numbered.signature,
            element: size_of::<T>(),
            call: numbered.call,
            reducer: combination.map(|combination| combination.reducer),
            buffers: [None; 3],
            meeting,
        };
        let scratch = Box::new(vec![T::zeroed(); schedule.scratch]);
        Prepared {
            schedule,
            setting,
            scratch,
        }
    }

    /// A barrier, a bcast, a reduction to all or an exchange of blocks, which may end at once; `operator` with its name. Without
    /// `input`, the contribution is in `elements`; of an exchange it stays apart.
    pub(super) fn meet<T: Pod, O: Operator<T>>(
        &self,
        (name, site): (&'static str, &'static Location<'static>),
        operation: &Operation<'_>,
        operator: Option<(Typed<T, O>, &'static str)>,
        (input, elements): (Option<&[T]>, &mut [T]),
    ) -> Result<()> {
        let meeting = self.meeting(operation, size_of::<T>());
        let combination = |(reducer, name)| Combination {
            reducer: Arc::new(reducer),
            name,
        };
        let (apart, within) = if exchanges(operation) {
            (input, None)
        } else {
            (None, input)
        };
        let Some((form, block)) = meeting.filter(|_| aligns::<T>()) else {
            let call = Call::new(name, site);
            let combination = operator.map(combination);
            if let Some(input) = within {
                elements.copy_from_slice(input);
            }
            return self.execute(&call, operation, combination, apart, Some(elements));
        };
        let named = Named {
            operation: name,
            site,
            operator: operator.as_ref().map(|(_, name)| *name),
            algorithm: SHARED_MEMORY,
            nonblocking: false,
        };
        let numbered = self.number::<T>(&named, operation);
        let direct = DirectCall {
            context: self.inner.context.collective(),
            sequence: numbered.sequence,
            signature: numbered.signature,
            element: size_of::<T>(),
            form,
            described: numbered.call,
        };
        let reducer = operator
            .as_ref()
            .map(|(reducer, _)| reducer as &dyn Reducer);
        let both = (
            input.map(bytemuck::cast_slice),
            bytemuck::cast_slice_mut(&mut *elements),
        );
        let begun = match self.inner.runtime.meet_directly(&direct, both, reducer) {
            Directly::Done => return Ok(()),
            Directly::Begun(begun) => Some(begun),
            Directly::No => {
                if let Some(input) = within {
                    elements.copy_from_slice(input);
                }
                None
            }
        };
        let way = Way { form, block, begun };
        let combination = operator.map(combination);
        let schedule = met(form, size_of::<T>(), block);
        let prepared = self.assemble::<T>(numbered, schedule, Some(way), combination);
        self.complete(&Call::new(name, site), prepared, apart, Some(elements))
    }

    /// How the ranks meet in shared memory for this operation, and the bytes of one contribution, if
    /// they share memory and that is the best way. The same on all ranks.
    pub(super) fn meeting(
        &self,
        operation: &Operation<'_>,
        element: usize,
    ) -> Option<(Form, usize)> {
        let inner = &self.inner;
        let (form, count) = match *operation {
            Operation::Barrier => (Form::Barrier, 0),
            Operation::Bcast { root, count } => (Form::Bcast { root }, count),
            Operation::Reduce { root, count, .. } => (Form::Reduce { root }, count),
            Operation::Allreduce { count, .. } => (Form::Allreduce, count),
            Operation::Allgather {
                counts: Counts::Equal(count),
            } => (Form::Allgather, count),
            Operation::Alltoall { count } => (Form::Alltoall, count * self.size()),
            _ => return None,
        };
        let meets = inner.context == Context::WORLD
            && (1..=SLOT_BYTES).contains(&element)
            && inner.runtime.meets()
            && inner.selection.shares(operation, self.size(), element);
        meets.then_some((form, count * element))
    }

    pub(super) fn execute<T: Pod>(
        &self,
        call: &Call,
        operation: &Operation<'_>,
        combination: Option<Combination>,
        input: Option<&[T]>,
        output: Option<&mut [T]>,
    ) -> Result<()> {
        let prepared = self.prepare::<T>(call, operation, combination, false);
        self.complete(call, prepared, input, output)
    }

    fn complete<T: Pod>(
        &self,
        call: &Call,
        prepared: Prepared,
        input: Option<&[T]>,
        output: Option<&mut [T]>,
    ) -> Result<()> {
        let Prepared {
            schedule,
            setting,
            scratch,
        } = prepared;
        let input = input.map(bytemuck::cast_slice);
        let output = output.map(bytemuck::cast_slice_mut);
        let runtime = &self.inner.runtime;
        let errand = self.errand(call);
        let done = runtime.collective(schedule, setting, scratch, input, output, errand);
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
        if cfg!(bare) {
            return 0;
        }
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
            u64::from(call.nonblocking),
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

    pub(super) fn check_counts(
        &self,
        call: &Call,
        elements: usize,
        counts: &[usize],
    ) -> Result<()> {
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

/// Whether ranks give each other blocks as they are.
const fn exchanges(operation: &Operation<'_>) -> bool {
    matches!(
        operation,
        Operation::Allgather { .. } | Operation::Alltoall { .. }
    )
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
