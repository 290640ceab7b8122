//! How ranks are connected, and what differs between the ways.
//!
//! | between                | transport     | longest message sent at once | longer messages                       |
//! |------------------------|---------------|------------------------------|---------------------------------------|
//! | a rank and itself      | own           | 64 KiB; among threads 8 KiB  | one copy, from buffer to buffer       |
//! | threads of one process | threads       | 8 KiB                        | one copy, from buffer to buffer       |
//! | processes of one host  | shared memory | 16 KiB                       | one copy, out of the sender's memory  |
//! | processes of one host  | Unix sockets  | 64 KiB                       | announced, then straight into place   |
//! | processes of two hosts | TCP           | 64 KiB                       | announced, then straight into place   |
//!
//! `phalanx run --transport auto` (the default) takes shared memory between ranks of one host and TCP between
//! hosts, in one job; within a host Unix sockets, with one line that says so, when it cannot be had. `--transport shm` and `--transport unix` insist
//! on one of them; `--transport tcp` uses TCP within a host too, over the loopback interface, which is for
//! tests and comparisons. Such a connection does not use the congestion control that the system prefers but `reno`: within a host nothing
//! congests, and one that paces, as BBR does, makes pauses all the same. `phalanx run --as threads` makes the ranks threads, whatever the program, as long
//! as it begins with [`run`](crate::run). What is sent, and what arrives, is the same everywhere; only
//! times differ. Every transport passes one suite of tests.
//!
//! # Shared memory
//!
//! The daemon makes one piece of memory for all its ranks (a sealed memfd on Linux), which they inherit; nothing is
//! left in a file system. It holds a ring for each ordered pair; rings that nobody uses cost nothing. At most
//! [`LOCAL_RANKS_MAX`](crate::limits::LOCAL_RANKS_MAX) ranks share memory.
//!
//! A message above 16 KiB is copied once, from the sender's memory into the receiver's, if the kernel allows that
//! (`process_vm_readv`, `process_vm_writev`). The receiver begins as soon as it has matched the message, and a sender that waits
//! helps: each copies from one end, until they meet. Two cores copy up to twice as fast as one; nobody has to wait for
//! the other. A receiver does not return before its helper has left its memory: a sender that is stopped (`SIGSTOP`, a debugger) in
//! the middle of that, which lasts some ten microseconds, holds it up until it goes on or dies, whatever its time limit.
//! When ranks outnumber cores nobody helps: with up to 16 ranks long messages then stream through a ring
//! while their sender waits, and are copied by their receiver while it does something else; with more they are
//! always copied. `PHALANX_SINGLE_COPY=0` lets all of them stream, and nobody touch another's memory; `1` lets receivers copy alone.
//!
//! Barrier, bcast, reduce, allreduce, allgather and alltoall of the world do not send messages here: ranks put in their parts
//! and whoever runs combines them, in the order of the ranks (`phalanx algorithms` calls that `shared_memory`). Blocks of an alltoall longer
//! than 16 KiB, and shorter ones of many ranks, are not even put in: who needs them fetches them from where they lie. Two ranks that
//! call an allreduce of 64 KiB or more at the same time do not even do that: each makes one half of the result, in the memory of both. Other
//! collectives, and all those of derived communicators, execute a schedule.
//!
//! # Several hosts
//!
//! Each daemon makes a memory for its own ranks. A rank of such a job sleeps where it hears its sockets, and the others of
//! its host wake it by a datagram instead of by a word in memory; while it is awake a message through shared
//! memory costs what it costs on one host. Long messages are pulled within a host and announced between hosts.
//!
//! Sums of the world do not depend on where ranks run: `reduce` and `allreduce` combine from the left, in rank order,
//! `((x0 + x1) + x2) + ...`, when ranks meet in shared memory, and across hosts too (`from_left`, see `phalanx
//! algorithms --nodes 2`). So the same number of ranks gets the same bits on one host and on many, as long as
//! `PHALANX_ALGORITHMS` forces nothing and `--transport` is left alone; with sockets or threads alone on one host another order
//! is used. The price across hosts is that all contributions go to one rank: where messages are long and the
//! order of terms does not matter, force another algorithm, such as `allreduce=circulant`.
//!
//! # Connections
//!
//! Sockets connect two ranks when the first frame goes from one to the other, until the end: a rank
//! that speaks to six neighbours has six connections, however large the job is. When both open one at
//! the same moment, exactly one stays. An attempt that gets no answer is repeated, with pauses of 1 to
//! 200 ms; when a connection fails for good, operations with that peer fail with
//! [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) and others go on.
//!
//! A rank of a job that spans hosts listens at every address of its host that another one may reach: not
//! at loopback and link-local ones, nor at interfaces that are down, and at the bridges of containers and
//! virtual machines only when nothing else is left. `--interface` (or `PHALANX_INTERFACE`) chooses
//! interfaces or networks, `eth0` or `10.1.0.0/16`; `--ports` (or `PHALANX_PORTS`) a range of ports. Whoever
//! connects goes through the peer's addresses, the next one after 250 ms without an answer or when the
//! one before has failed; the handshake tells whether the right rank has answered, and somebody else
//! at the same private address is passed over. Hosts may have IPv4 addresses, IPv6 ones, or both. When all fail, the error names each with its own reason.
//!
//! A TCP connection that breaks is made again, by the side that made it and a little later by the other one too. Each side
//! keeps what it has written until the other one has acknowledged it, says in the greeting how many bytes have arrived,
//! and goes on from there ([failures](crate::manual::failures)). Short messages are copied for that, at most 4 MiB for each
//! connection. Long ones stay where they are until they are acknowledged; when nothing else is left to do and nothing has
//! moved for 20 us, up to 256 KiB are copied, and before the rank sleeps as much as may be kept: a peer that computes holds nobody up.
//!
//! # Who may connect
//!
//! Shared memory is inherited, and open to nobody else. Every connection begins with a handshake in which each side proves that it knows the 32-byte secret of
//! the job, before anything else is read. At most 1 KiB is read from a stranger, within two seconds; the only answer
//! it can get is that it speaks another version; a recorded greeting gets none. The secret comes from the launcher through an inherited descriptor; it is never in a command line or
//! in the environment. On Linux Unix sockets have abstract names, which leave no file behind, and the user of
//! the other process is checked. TCP listens on the loopback interface when all ranks are on one host.
//!
//! What follows the handshake is neither encrypted nor authenticated, unless `--encrypt` (or `PHALANX_ENCRYPT=1`, for all ranks)
//! asks for it: then whoever can read or alter packets between hosts sees how much is said and when, and nothing else. What he
//! alters, leaves out, repeats or moves ends the link with an error that says so, and is never taken for data. Keys are made anew for each
//! connection, within the handshake and without another round trip (Noise `NNpsk0`: X25519, ChaCha20-Poly1305, under the
//! secret of the job), and forgotten with it. It concerns TCP only: between ranks of one host nothing leaves the host. Both sides say whether they
//! encrypt, and a rank that does not agree is told so. Each encrypted connection has 200 KiB of buffers. What it costs is in
//! `docs/performance.md`. Control connections are always encrypted: those of ssh by ssh, those of the rendezvous by Noise.
//!
//! # Memory
//!
//! A receiver that is behind keeps at most 64 MiB of payload that it has not asked for, for all its peers
//! together ([`UNEXPECTED_BYTES_MAX`](crate::limits::UNEXPECTED_BYTES_MAX)). Each sender has a share of that as
//! credit; when it is used up, its [`send`](crate::Communicator::send) waits. No length from the wire is
//! believed before it was checked.
