//! From MPI, name by name.
//!
//! The documentation's search finds MPI's names too. Communicators, tags, wildcards, matching order and the meaning of
//! collectives are MPI's. What differs:
//!
//! * There are no datatypes or counts: a slice says both. Elements are [`Pod`](crate::Pod) (numbers, arrays, structures that
//!   derive `bytemuck::Pod`); any serde value travels by the methods named `*_obj`. Receiving the wrong type is
//!   an error.
//! * Errors are values, in every call; nothing aborts by default.
//! * A nonblocking operation owns its buffer and gives it back, or lives in a [`scope`] that ends with it.
//! * Lengths and tags have 64 bits; there are no `_c` variants.
//! * Vector collectives find their counts themselves: [`allgatherv`] and [`gatherv`] return them.
//!
//! ```
//! // MPI_Sendrecv, MPI_Allreduce
//! # fn main() -> phalanx::Result<()> {
//! phalanx::threads(3, |world| {
//!     let (rank, size) = (world.rank(), world.size());
//!     let mut ghost = [0.0; 2];
//!     let edge = [rank as f64; 2];
//!     world.sendrecv_into(&edge, (rank + 1) % size, 0, &mut ghost, (rank + size - 1) % size, 0)?;
//!     assert_eq!(ghost[0], ((rank + size - 1) % size) as f64);
//!     let largest = world.allreduce(ghost[0], phalanx::Max)?;
//!     assert_eq!(largest, 2.0);
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # Start, end, communicators
//!
//! | MPI                                           | here                                                         |
//! |-----------------------------------------------|--------------------------------------------------------------|
//! | `mpirun -n 4 ./a.out`                         | `phalanx run -n 4 ./a.out`                                   |
//! | `MPI_Init`, `MPI_COMM_WORLD`                  | [`init`], or [`run`] around the whole program                |
//! | `MPI_Finalize`                                | dropping the last handle, or [`finalize`]                    |
//! | `MPI_Abort`                                   | [`abort`]                                                    |
//! | `MPI_Comm_rank`, `MPI_Comm_size`              | [`rank`], [`size`]                                           |
//! | `MPI_Comm_dup`, `MPI_Comm_split`              | [`dup`], [`split`]                                           |
//! | `MPI_Comm_free`                               | dropping it                                                  |
//! | `MPI_Group_translate_ranks` (to the world)    | [`world_rank`]                                               |
//! | `MPI_Get_processor_name`                      | [`host`]                                                     |
//! | `MPI_APPNUM`                                  | [`appnum`](crate::Communicator::appnum)                      |
//! | `MPIX_Comm_revoke`, `_shrink`, `_agree`, `_get_failed`, `_ack_failed` | `revoke`, `shrink`, `agree`, `failed`, `acknowledge_failed`, after [`set_policy`](crate::Communicator::set_policy) |
//! | `MPI_Comm_set_errhandler`, `MPI_Error_string` | [`Result`](crate::Result), and [`Error`](crate::Error) as text |
//! | `MPI_Init_thread`                             | any thread may call, always                                  |
//!
//! # Messages
//!
//! | MPI                                           | here                                                         |
//! |-----------------------------------------------|--------------------------------------------------------------|
//! | `MPI_Send`, `MPI_Ssend`                       | [`send`], [`ssend`]                                          |
//! | `MPI_Recv`                                    | [`recv_into`], [`recv_vec`], [`recv_into_vec`]               |
//! | `MPI_ANY_SOURCE`, `MPI_ANY_TAG`               | [`Source::Any`](crate::Source::Any), [`Tag::Any`](crate::Tag::Any) |
//! | `MPI_Status`, `MPI_Get_count`                 | [`Status`](crate::Status), its `count`; [`Probe::count`](crate::Probe::count) |
//! | `MPI_Sendrecv`                                | [`sendrecv_into`]                                            |
//! | `MPI_Probe`, `MPI_Iprobe`                     | [`probe`], [`iprobe`]                                        |
//! | `MPI_Mprobe` and `MPI_Mrecv` for unknown lengths | [`recv_vec`]                                              |
//! | `MPI_Isend`, `MPI_Issend`, `MPI_Irecv`        | [`isend`], [`issend`], [`irecv`], [`irecv_vec`]; in a scope [`isend`](crate::Scope::isend), [`irecv_into`](crate::Scope::irecv_into) |
//! | `MPI_Wait`, `MPI_Test`, `MPI_Cancel`          | [`wait`](crate::Pending::wait), [`test`](crate::Pending::test), [`cancel`](crate::Pending::cancel); `.await` |
//! | `MPI_Waitall`                                 | the end of a [`scope`]; `wait` for each                      |
//! | `MPI_Pack`, derived datatypes                 | [`send_obj`], [`recv_obj`]                                   |
//! | `MPI_Bsend`, `MPI_Rsend`                      | none: [`isend`]                                              |
//!
//! # Collectives
//!
//! | MPI                                           | here                                                         |
//! |-----------------------------------------------|--------------------------------------------------------------|
//! | `MPI_Barrier`                                 | [`barrier`]                                                  |
//! | `MPI_Bcast`                                   | [`bcast`] (a value), [`bcast_into`], [`bcast_vec`], [`bcast_obj`] |
//! | `MPI_Reduce`, `MPI_Allreduce`                 | [`reduce`], [`reduce_vec`]; [`allreduce`], [`allreduce_into`], [`allreduce_from`] |
//! | `MPI_Scan`, `MPI_Exscan`                      | [`scan`], [`scan_into`]; [`exscan`], [`exscan_into`]         |
//! | `MPI_Gather`, `MPI_Gatherv`                   | [`gather`], [`gatherv`]                                      |
//! | `MPI_Scatter`, `MPI_Scatterv`                 | [`scatter`], [`scatterv`]                                    |
//! | `MPI_Allgather`, `MPI_Allgatherv`             | [`allgather`], [`allgather_into`]; [`allgatherv`]            |
//! | `MPI_Alltoall`, `MPI_Alltoallv`               | [`alltoall`], [`alltoall_into`]; [`alltoallv`]               |
//! | `MPI_Reduce_scatter`, `MPI_Reduce_scatter_block` | [`reduce_scatter`], [`reduce_scatter_block`]              |
//! | `MPI_Ibarrier`, `MPI_Ibcast`, ...             | [`ibarrier`], [`ibcast`], [`ireduce`], [`iallreduce`], [`iscan`], [`iexscan`], [`igather`], [`iscatter`], [`iallgather`], [`ialltoall`], [`ireduce_scatter_block`] |
//! | `MPI_SUM`, `MPI_PROD`, `MPI_MIN`, `MPI_MAX`   | [`Sum`](crate::Sum), [`Product`](crate::Product), [`Min`](crate::Min), [`Max`](crate::Max) |
//! | `MPI_LAND`, `MPI_LOR`, `MPI_LXOR`             | [`LogicalAnd`](crate::LogicalAnd), [`LogicalOr`](crate::LogicalOr), [`LogicalXor`](crate::LogicalXor) |
//! | `MPI_BAND`, `MPI_BOR`, `MPI_BXOR`             | [`BitAnd`](crate::BitAnd), [`BitOr`](crate::BitOr), [`BitXor`](crate::BitXor) |
//! | `MPI_MINLOC`, `MPI_MAXLOC`                    | [`MinLoc`](crate::MinLoc), [`MaxLoc`](crate::MaxLoc) on [`Located`](crate::Located) |
//! | `MPI_Op_create`                               | [`commutative`](crate::commutative), [`ordered`](crate::ordered) |
//! | `MPI_IN_PLACE`                                | the forms `*_into` with one buffer                           |
//!
//! # Not there
//!
//! Persistent requests, one-sided access, topologies and neighbourhood collectives, intercommunicators, dynamic
//! processes, files, and `MPI_Alltoallw`.
//!
//! [`init`]: crate::init()
//! [`run`]: crate::run()
//! [`abort`]: crate::Communicator::abort
//! [`allgather`]: crate::Communicator::allgather
//! [`allgather_into`]: crate::Communicator::allgather_into
//! [`allgatherv`]: crate::Communicator::allgatherv
//! [`allreduce`]: crate::Communicator::allreduce
//! [`allreduce_from`]: crate::Communicator::allreduce_from
//! [`allreduce_into`]: crate::Communicator::allreduce_into
//! [`alltoall`]: crate::Communicator::alltoall
//! [`alltoall_into`]: crate::Communicator::alltoall_into
//! [`alltoallv`]: crate::Communicator::alltoallv
//! [`barrier`]: crate::Communicator::barrier
//! [`bcast`]: crate::Communicator::bcast
//! [`bcast_into`]: crate::Communicator::bcast_into
//! [`bcast_obj`]: crate::Communicator::bcast_obj
//! [`bcast_vec`]: crate::Communicator::bcast_vec
//! [`dup`]: crate::Communicator::dup
//! [`exscan`]: crate::Communicator::exscan
//! [`exscan_into`]: crate::Communicator::exscan_into
//! [`finalize`]: crate::Communicator::finalize
//! [`gather`]: crate::Communicator::gather
//! [`gatherv`]: crate::Communicator::gatherv
//! [`host`]: crate::Communicator::host
//! [`iallgather`]: crate::Communicator::iallgather
//! [`iallreduce`]: crate::Communicator::iallreduce
//! [`ialltoall`]: crate::Communicator::ialltoall
//! [`ibarrier`]: crate::Communicator::ibarrier
//! [`ibcast`]: crate::Communicator::ibcast
//! [`iexscan`]: crate::Communicator::iexscan
//! [`igather`]: crate::Communicator::igather
//! [`iprobe`]: crate::Communicator::iprobe
//! [`irecv`]: crate::Communicator::irecv
//! [`irecv_vec`]: crate::Communicator::irecv_vec
//! [`ireduce`]: crate::Communicator::ireduce
//! [`ireduce_scatter_block`]: crate::Communicator::ireduce_scatter_block
//! [`iscan`]: crate::Communicator::iscan
//! [`iscatter`]: crate::Communicator::iscatter
//! [`isend`]: crate::Communicator::isend
//! [`issend`]: crate::Communicator::issend
//! [`probe`]: crate::Communicator::probe
//! [`rank`]: crate::Communicator::rank
//! [`recv_into`]: crate::Communicator::recv_into
//! [`recv_into_vec`]: crate::Communicator::recv_into_vec
//! [`recv_obj`]: crate::Communicator::recv_obj
//! [`recv_vec`]: crate::Communicator::recv_vec
//! [`reduce`]: crate::Communicator::reduce
//! [`reduce_scatter`]: crate::Communicator::reduce_scatter
//! [`reduce_scatter_block`]: crate::Communicator::reduce_scatter_block
//! [`reduce_vec`]: crate::Communicator::reduce_vec
//! [`scan`]: crate::Communicator::scan
//! [`scan_into`]: crate::Communicator::scan_into
//! [`scatter`]: crate::Communicator::scatter
//! [`scatterv`]: crate::Communicator::scatterv
//! [`scope`]: crate::Communicator::scope
//! [`send`]: crate::Communicator::send
//! [`send_obj`]: crate::Communicator::send_obj
//! [`sendrecv_into`]: crate::Communicator::sendrecv_into
//! [`size`]: crate::Communicator::size
//! [`split`]: crate::Communicator::split
//! [`ssend`]: crate::Communicator::ssend
//! [`world_rank`]: crate::Communicator::world_rank
