//! Errors, time limits, ranks that die, collectives that do not match.
//!
//! Every call that communicates returns [`Result`](crate::Result). An [`Error`](crate::Error) is one line: operation,
//! what happened, peer and host, tag, communicator, how long it took, and where in the program it was called.
//! A program decides by [`ErrorKind`](crate::ErrorKind):
//!
//! ```
//! use phalanx::ErrorKind;
//!
//! # fn main() -> phalanx::Result<()> {
//! phalanx::threads(2, |world| {
//!     if world.rank() == 0 {
//!         return world.send(&[1.0, 2.0, 3.0], 1, 7);
//!     }
//!     let error = world.recv_into(&mut [0.0; 2], 0, 7).expect_err("three do not fit into two");
//!     assert_eq!(*error.kind(), ErrorKind::Truncated { sent: 3, capacity: 2 });
//!     assert!(error.to_string().contains("(peer rank 0 on "));
//!     assert!(error.site().is_some_and(|site| site.line() > 0));
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # The kinds
//!
//! | kind                                                              | what to do                                     |
//! |-------------------------------------------------------------------|------------------------------------------------|
//! | [`InvalidRank`], [`InvalidTag`], [`InvalidArgument`]              | correct the call                               |
//! | [`Truncated`], [`WrongType`], [`Object`]                          | correct one side; the message is consumed       |
//! | [`Mismatch`]                                                      | correct the program: see below                  |
//! | [`PeerGone`], [`Unreachable`]                                     | the job is usually ending; other ranks may live |
//! | [`Revoked`]                                                       | go on with a smaller communicator, see below    |
//! | [`Timeout`]                                                       | try again, or give up                           |
//! | [`Withdrawn`]                                                     | the sender gave a long message up half-way      |
//! | [`Finalized`]                                                     | a call came after [`finalize`]                  |
//! | [`OutOfMemory`], [`System`], [`Start`]                            | the text says what was refused                  |
//! | [`Wire`], [`Authentication`]                                      | a foreign process, or another version           |
//!
//! # A rank that dies
//!
//! Under the launcher, the first rank that exits with a code above 0, is killed, panics, or returns an error from
//! [`run`](crate::run) ends the job: the launcher names that rank, its host, its process and the cause, once; the
//! others get SIGTERM, and SIGKILL after a quarter of a second. Calls that wait for a dead rank fail with
//! [`PeerGone`]; such errors are never taken for the first cause. A rank that finalized and then exits with 0 is
//! not a failure. The others learn of a death before the system has taken the process down, which for gigabytes of
//! memory takes long; the report waits for how it ended, and tells the last call in which the rank had to wait, and
//! whether the system killed it for lack of memory. [`abort`](crate::Communicator::abort) ends the whole job with a code of the program's choice.
//!
//! Between threads of one process a panic is caught: [`threads`](crate::threads) returns the error of the rank
//! that failed first, with the panic's message, and the others' calls fail.
//!
//! An operator of the program's own that panics in the middle of a collective ends its rank as any other panic does. It
//! leaves the collective half done, whoever catches the panic: the rank breaks off at once, so that the others' calls
//! fail as if it had died, and whatever it calls itself fails with [`System`](crate::ErrorKind::System) and the
//! collective's name and place. The launcher names the panic, with exit code 101. An operator that may fail returns
//! a value that stands for failure instead.
//!
//! `phalanx run --report-json FILE` writes the same for programs: the first cause with its rank, call and place, what
//! became of each rank, the ranks of a deadlock, the exit code. `docs/report.md` describes the file.
//!
//! # A connection that breaks
//!
//! A TCP connection between two ranks that breaks while both live, by a reset, a firewall that forgets it, a link that
//! goes down for a moment, is no failure: it is made again, and goes on where it broke. Messages arrive once, in order,
//! unaltered; they are late by the time that it took. Only when the peer's host gives no sign of life for 30 s
//! (`PHALANX_RECONNECT`, seconds; 0: a break is an end, as it always is between ranks of one host) is the peer lost, and the
//! error says what broke, how long it was tried and what happened at each address. A peer that computes meanwhile is
//! not lost however long it takes; one whose process has ended is told by the launcher at once.
//!
//! What is not found out is a connection that goes silent without breaking: the operating system tries for many minutes
//! before it gives such a connection up. And a rank that has finalized is gone as soon as the peer's host has
//! everything: should that host lose what it has acknowledged, the peer sees the rank lost.
//!
//! # Collectives that do not match
//!
//! All ranks of a communicator have to call the same collectives in the same order. When one calls an
//! `allreduce` and another a `bcast`, or the lengths, roots, operators or element types differ, both get
//! [`Mismatch`], which names both calls, at the first message that shows it; the launcher leaves with code 73.
//! A rank that calls no collective at all is found as below.
//!
//! A program may be wrong and yet run to its end. So every rank, when it finalizes, gives an account of the
//! collectives that it has begun, and the launcher compares: another number of them, or another call among the
//! last 32, ends the job with code 73 and names both calls. A rank that finalizes while another still waits for
//! it ends the job with 73 too. Messages that nobody has received, and nonblocking operations that nobody has
//! waited for, are one line of warning each. Ranks that are threads are compared in the same way:
//! [`threads`](crate::threads) returns [`Mismatch`].
//!
//! With `phalanx run --check` (or `PHALANX_CHECK=1`) these warnings are errors, with code 73; every send waits for
//! its receiver, so that a program which needs messages to be buffered is stuck, and named; and receives from any
//! source for which messages of several ranks were waiting are noted.
//!
//! # What the compiler refuses
//!
//! Some mistakes that are made with MPI cannot be written. A buffer that a nonblocking operation uses has been given
//! away, or is borrowed until its scope ends:
//!
//! ```compile_fail,E0382
//! # fn main() -> phalanx::Result<()> {
//! phalanx::threads(2, |world| {
//!     let mut block = vec![1.0; 8];
//!     let pending = world.isend(block, 1 - world.rank(), 0)?;
//!     block[0] = 2.0; // not before `pending.wait()` has given it back
//!     pending.wait().map(drop)
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! ```compile_fail,E0506
//! # fn main() -> phalanx::Result<()> {
//! phalanx::threads(2, |world| {
//!     let mut edge = [1.0; 8];
//!     world.scope(|scope| {
//!         scope.isend(&edge, 1 - world.rank(), 0)?;
//!         edge[0] = 2.0; // not before the scope has ended
//!         Ok(())
//!     })
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! An operation is waited for once; the elements of a message are plain data; an operator fits its elements:
//!
//! ```compile_fail,E0382
//! # fn main() -> phalanx::Result<()> {
//! phalanx::threads(1, |world| {
//!     let pending = world.ibarrier()?;
//!     pending.wait()?;
//!     pending.wait()
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! ```compile_fail,E0277
//! # fn main() -> phalanx::Result<()> {
//! phalanx::threads(2, |world| world.bcast_vec(vec![String::from("no plain data")], 0))?;
//! # Ok(())
//! # }
//! ```
//!
//! ```compile_fail,E0277
//! # fn main() -> phalanx::Result<()> {
//! phalanx::threads(2, |world| world.allreduce(1.5, phalanx::BitXor))?;
//! # Ok(())
//! # }
//! ```
//!
//! So there is nothing for checksums of buffers to find that are in use while they change.
//!
//! # Ranks that wait for each other
//!
//! A rank that has been blocked for a second tells the launcher, which asks all ranks what they wait for. If some
//! of them wait only for each other, with nothing under way, that is a deadlock: the launcher prints who waits
//! for whom, in which call at which place, and leaves with code 73. Ranks are not stuck while a thread of theirs
//! can still act: one that computes, sleeps, reads, or waits with a time limit. If only that speaks against a
//! deadlock, the launcher says so and the job goes on.
//!
//! `phalanx stack` shows at any time what every rank of a running job does (`phalanx ps` lists the jobs), and so does
//! SIGQUIT to the launcher.
//!
//! A rank that computes while others wait for it is no error, nor is one that is stopped (SIGSTOP, a terminal, a
//! debugger): it goes on after SIGCONT, and the job with it. After 5 seconds such a rank is named, once, with what it
//! does and how many wait; one that computed when it was named, and is stopped then, once more. `phalanx run --stall-timeout SECONDS` ends the job, with code 75, when a call has been blocked for so
//! long.
//!
//! # Time limits
//!
//! Nothing is limited by default: waiting for a slow rank is no error. Limits are set with
//! [`with_timeout`](crate::Communicator::with_timeout) for a handle, with `PHALANX_TIMEOUT` (seconds) for the world and what is
//! derived from it, and with `phalanx run --timeout` for the whole job. A receive that gave up has taken nothing,
//! unless a message was just arriving for it over a socket (TCP, Unix): its buffer is gone then, and so is the message. A send that gave up
//! while its message was under way lets the receive fail that it was for: "the sender gave the message up before it was complete".
//! After a collective gave up its communicator should not be used for others: the ranks are out of step.
//!
//! ```
//! use std::time::Duration;
//!
//! # fn main() -> phalanx::Result<()> {
//! phalanx::threads(2, |world| {
//!     let hasty = world.with_timeout(Duration::from_millis(20));
//!     if world.rank() == 1 {
//!         let error = hasty.recv_vec::<u8>(0, 5).expect_err("nobody sends that");
//!         assert_eq!(*error.kind(), phalanx::ErrorKind::Timeout);
//!     }
//!     world.barrier()
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # Going on after a failure
//!
//! With [`Policy::Return`] the death of a rank is an error of the operations that need it, and the others go on, in the
//! manner of ULFM, the fault tolerance proposed for MPI. Whoever gives up revokes the communicator, so that nobody waits
//! for somebody who has given up; then all who live shrink it:
//!
//! ```no_run
//! use phalanx::{ErrorKind, Policy, Sum};
//!
//! # fn main() -> phalanx::Result<()> {
//! let mut world = phalanx::init()?;
//! world.set_policy(Policy::Return)?;
//! world.agree(0)?; // from here on all ranks have chosen
//! let mut step = 0_u64;
//! while step < 1000 {
//!     match world.allreduce(step, Sum) {
//!         Ok(_) => step += 1,
//!         Err(error) if matches!(error.kind(), ErrorKind::PeerGone { .. } | ErrorKind::Revoked) => {
//!             world.revoke();
//!             world = world.shrink()?;
//!             // Some may have been a step ahead when it happened.
//!             step = world.allreduce(step, phalanx::Min)?;
//!         }
//!         Err(error) => return Err(error),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Errors are local: one rank may have left a collective with success that fails on another. What
//! [`agree`](crate::Communicator::agree) says is the same on all ranks, and it works whatever has failed. A failed rank
//! disturbs only communicators that it belongs to. A receive from [`Source::Any`](crate::Source::Any) fails as long as a
//! member has failed that was not acknowledged. The launcher decides alone who has failed and what was agreed; when it dies,
//! the job ends. Ranks that are threads of one process fail together.
//!
//! [`Policy::Return`]: crate::Policy::Return
//!
//! # The end of a rank
//!
//! Dropping the last handle finalizes: what was sent is still delivered. [`finalize`] does the same and can
//! report an error. `std::process::exit` skips both, and the launcher will say that the rank left early.
//!
//! [`InvalidRank`]: crate::ErrorKind::InvalidRank
//! [`InvalidTag`]: crate::ErrorKind::InvalidTag
//! [`InvalidArgument`]: crate::ErrorKind::InvalidArgument
//! [`Truncated`]: crate::ErrorKind::Truncated
//! [`WrongType`]: crate::ErrorKind::WrongType
//! [`Object`]: crate::ErrorKind::Object
//! [`Mismatch`]: crate::ErrorKind::Mismatch
//! [`PeerGone`]: crate::ErrorKind::PeerGone
//! [`Revoked`]: crate::ErrorKind::Revoked
//! [`Unreachable`]: crate::ErrorKind::Unreachable
//! [`Timeout`]: crate::ErrorKind::Timeout
//! [`Withdrawn`]: crate::ErrorKind::Withdrawn
//! [`Finalized`]: crate::ErrorKind::Finalized
//! [`OutOfMemory`]: crate::ErrorKind::OutOfMemory
//! [`System`]: crate::ErrorKind::System
//! [`Start`]: crate::ErrorKind::Start
//! [`Wire`]: crate::ErrorKind::Wire
//! [`Authentication`]: crate::ErrorKind::Authentication
//! [`finalize`]: crate::Communicator::finalize
