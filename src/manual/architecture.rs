//! The layers, and the way of a message through them.
//!
//! # A job
//!
//! ```text
//! phalanx run            the launcher: plans, prints, decides what a failure means
//!   └─ daemon            one for each host: starts ranks, forwards their output, reports their ends
//!        ├─ rank 0       a process with this library in it
//!        ├─ rank 1
//!        └─ ...          ranks connect to each other; launcher and daemons carry no messages
//! ```
//!
//! Launcher and daemon speak over the daemon's standard input and output, daemon and rank over a socket
//! that the rank inherits. The first message to a rank, its welcome, says which rank it is, how many there
//! are, where they run, and the secret by which they know each other. With
//! [`threads`](crate::threads), or [`run`](crate::run) without a launcher, there is no launcher and no
//! daemon: the ranks are threads, each with a runtime of its own.
//!
//! # Layers
//!
//! Imports go down only; a test reads them.
//!
//! | layer | module      | what it does                                                                |
//! |-------|-------------|-----------------------------------------------------------------------------|
//! | 4     | `comm`      | the public interface: [`Communicator`](crate::Communicator) and what it gives |
//! | 3     | `runtime`   | joins engine and transports behind one lock; waits; executes schedules        |
//! | 2     | `engine`    | pure: matching, eager messages and announced ones, credit, who is gone        |
//! | 2     | `schedule`  | pure: collectives as data, one algorithm in a file, the table that picks one  |
//! | 2     | `transport` | frames to and from peers: own, threads, shared memory, Unix sockets, TCP      |
//! | 2     | `sys`, `pod` | system calls; elements as bytes, operators                                   |
//! | 1     | `wire`      | pure: frame headers, handshake, control messages                              |
//! | 0     | `base`      | identifiers                                                                   |
//!
//! A *pure* module has no sockets, clocks, threads or unsafe code: values go in, actions come out. So the
//! engine runs in a seeded simulator with many ranks in one process, and every collective algorithm is
//! executed in memory for 1 to 33 ranks, before either meets an operating system. Besides
//! [`Communicator`](crate::Communicator) and its companions, all modules are hidden: they are public for
//! the launcher and the tests, and promise nothing.
//!
//! # A message
//!
//! 1. [`send`](crate::Communicator::send) asks the engine, which gives a header and says whether the
//!    payload may follow at once (*eager*) or must be announced first. Eager is what fits the limit of the
//!    link (64 KiB between processes, 8 KiB between threads) and the credit that the receiver has given.
//! 2. The transport writes header and payload to the peer's ring in shared memory, or to its connection, which it
//!    opens at the first frame. What is not taken at once is queued; memory of an announced message is lent, not copied.
//! 3. At the receiver, the header goes to its engine, which looks for a posted receive with the same
//!    communicator, source and tag (by hash: the cost does not grow with the number of waiting messages).
//!    If there is one, the payload is read straight into its buffer; if not, an eager payload is kept,
//!    within the credit, and an announced one waits at the sender.
//! 4. Between threads of one process, and between processes that share memory where the kernel allows it, an
//!    announced message is copied once, by the receiver, straight out of the sender's buffer.
//!
//! Messages from one rank to another in one communicator are matched in the order in which they were sent
//! (MPI's non-overtaking rule), whatever their lengths.
//!
//! # A collective
//!
//! A pure function builds a schedule for this rank: a small graph of sends, receives, reductions and
//! copies. Blocking and nonblocking forms execute the same schedule. Every frame of it carries a signature
//! of the call (operation, root, operator, element type, length where it must be equal): ranks that call
//! different things learn it from the first frame that arrives, see [`failures`](super::failures). Ranks that share
//! memory do some collectives of the world without frames, see [`transports`](super::transports#shared-memory).
//!
//! # Who makes progress
//!
//! There is no thread in the background of a rank: work is done inside calls, by whichever thread waits.
//! A rank that computes for long answers no announced message meanwhile;
//! [`Communicator::progress`](crate::Communicator::progress) gives it the occasion. The one exception: while a task
//! *awaits* a [`Pending`](crate::Pending), a thread of the runtime makes progress for it.
