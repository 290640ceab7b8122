//! Every bound and default of the library, with its unit in the name.
//!
//! What is here is a promise about memory, time or size; `Config` may lower or raise some of them.

/// Largest tag: tags are non-negative 63-bit numbers.
pub const TAG_MAX: u64 = i64::MAX as u64;

/// Messages up to this many bytes are sent at once, without asking the receiver.
pub const EAGER_BYTES_MAX: usize = 64 * 1024;

/// Between threads of one process a longer message is copied once, straight from the sender's buffer.
pub const EAGER_THREADS_BYTES_MAX: usize = 8 * 1024;

/// Through shared memory a longer message is copied once, by its receiver and its sender, where the kernel allows it.
pub const EAGER_SHARED_BYTES_MAX: usize = 16 * 1024;

/// Two ranks that copy a long message together take chunks of at least so many bytes, or halves of less than two,
pub const SHARE_CHUNK_BYTES_MIN: usize = 32 * 1024;
/// and at most so many, unless the message is longer than 4096 of these.
pub const SHARE_CHUNK_BYTES_MAX: usize = 256 * 1024;
/// So often a rank that has helped, and has announced more, looks whether it can help with the next message.
pub const SHARE_LOOKS_MAX: u32 = 300;
/// Messages that it helps with before it looks at anything else.
pub const SHARE_NEXT_MAX: usize = 16;
/// Nobody begins to help with a copy that has lasted longer.
pub const SHARE_MILLIS_MAX: u64 = 1_000;

/// Ranks of one host that can share memory; more use sockets.
pub const LOCAL_RANKS_MAX: usize = 2048;

/// Communicators of a host whose collectives go through shared memory at the same time.
pub const NODE_AREAS: usize = 8;

/// After so many looks in vain at a peer's shared memory only its bell is listened to.
pub const SHM_MISSES_MAX: u32 = 2000;

/// So often a blocking receive looks for its message before it becomes a request.
pub const DIRECT_LOOKS_MAX: u32 = 400;

/// One blocking receive in so many becomes a request at once: these also look at everything else that
/// has to go on.
pub const DIRECT_PER_TURN: u32 = 32;

/// Where ranks outnumber cores, a collective that blocks leaves its core so often to others before it goes onto the
/// table of what is under way.
pub const DIRECT_YIELDS_MAX: u32 = 16;

/// There, while all that it waits for run on other cores, it looks so often before it leaves its own.
pub const DIRECT_CROWDED_LOOKS: u32 = 60;

/// Bytes of a result that one rank makes at a time when ranks meet in shared memory.
pub const MEETING_PIECE_BYTES: usize = 8 * 1024;

/// Cells that a collective uses at a time, unless one rank after the other adds its contribution: as many as caches hold.
pub const CELLS_AHEAD: u32 = 4;

/// Where ranks outnumber cores, one after the other adds its contribution to a result that is longer than this.
pub const CHAIN_BYTES_MIN: usize = 16 * 1024;
/// So many parts the contributions have then at least, as far as that does not make them shorter than
/// [`CHAIN_BYTES_MIN`].
pub const CHAIN_CHUNKS_MIN: usize = 8;

/// Up to so many ranks that meet with short contributions post them on boards, and each makes the result for
/// itself.
pub const BOARDS_RANKS_MAX: usize = 16;
/// So many ranks do that with long contributions, too: it costs no more than sharing the work.
pub const BOARDS_LONG_RANKS: usize = 2;
/// From this length on each of two ranks makes one half of a sum, in the memory of both.
pub const HALVES_BYTES_MIN: usize = 64 * 1024;
/// Bytes of it that a rank fetches, combines and brings back at a time.
pub const HALVES_PIECE_BYTES: usize = 128 * 1024;
/// So often a rank looks whether the other one has come, or is done with its half.
pub const HALVES_LOOKS_MAX: u32 = 20_000;
/// Posts that a rank has on its board for one collective, of those that not all have read.
pub const BOARDS_AHEAD: u32 = 2;

/// Longer blocks that ranks of one host exchange are fetched from where they lie, where the kernel allows it.
pub const EXCHANGE_COPIED_BYTES_MAX: usize = 16 * 1024;

/// Where ranks outnumber cores, shortest time between two looks whether a rank should run where its neighbours do not.
pub const GO_HOME_MICROS_MIN: u64 = 20_000;
/// There, a rank of a chain whose turn has not come looks so often for that alone before it looks for everything.
pub const CHAIN_LOOKS_PER_TURN: u32 = 8;
/// Shortest time between two moves of a rank to another processor.
pub const STEP_ASIDE_MICROS_MIN: u64 = 1_000;

/// Longest sleep of a rank in shared memory before it looks whether its launcher is still there.
pub const SHARED_SLEEP_MILLIS_MAX: u64 = 1_000;

/// So often a rank in shared memory that never sleeps looks whether its launcher is still there.
pub const CONTROL_LOOK_MILLIS: u64 = 1_000;

/// So often a rank that has shared memory and sockets asks the operating system about the sockets while it is awake.
pub const MIXED_LOOK_MICROS: u64 = 10;

/// Calls of collectives that a rank repeats in the account that it gives when it ends.
pub const ACCOUNT_CALLS_MAX: usize = 32;
/// Groups of messages that it never received which such an account lists.
pub const ACCOUNT_UNMATCHED_MAX: usize = 16;

/// Looks in vain (`test`, `iprobe`) after which a rank asks about those from whom something has to come.
pub const LOOKS_PER_WATCH: u32 = 1024;
/// Turns in which a rank that finalizes looks for messages that nobody received, as long as some come.
pub const FINALIZE_LOOKS_MAX: usize = 64;

/// Unexpected payload that a rank holds at most, for all its peers together.
pub const UNEXPECTED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Least and most eager credit that one peer is given out of [`UNEXPECTED_BYTES_MAX`].
pub const CREDIT_BYTES_MIN: usize = 16 * 1024;
/// See [`CREDIT_BYTES_MIN`].
pub const CREDIT_BYTES_MAX: usize = 256 * 1024;

/// What an envelope costs in credit, besides its payload: roughly what the receiver spends on it.
pub const ENVELOPE_CREDIT_BYTES: usize = 256;

/// A message sent on demand travels in parts of at most this many bytes, so that others may pass between.
pub const DATA_PART_BYTES_MAX: usize = 1024 * 1024;

/// Longest control message, in either direction.
pub const CONTROL_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Output of a rank is forwarded in pieces of at most this many bytes.
pub const OUTPUT_PIECE_BYTES_MAX: usize = 32 * 1024;

/// Most ranks of a job.
pub const RANKS_MAX: usize = 1 << 20;

/// Longest handshake, before a stranger has proved anything.
pub const HANDSHAKE_BYTES_MAX: usize = 1024;
/// Time a stranger has for its first message.
pub const HANDSHAKE_MILLIS_MAX: u64 = 2_000;
/// Connections that may be in the handshake at once; the oldest gives way.
pub const HANDSHAKES_MAX: usize = 64;

/// How long ranks that nobody launched wait for each other, unless the user says something else; seconds.
pub const RENDEZVOUS_SECONDS: u64 = 60;

/// Addresses at which a rank listens at most, and those of a peer that are tried.
pub const ADDRESSES_MAX: usize = 16;

/// While one address of a peer does not answer, the next one is tried after this time.
pub const NEXT_ADDRESS_MILLIS: u64 = 250;

/// Time that a peer has to answer a greeting through TCP before its addresses are tried anew. It may
/// compute for longer: that is no failure.
pub const GREETING_MILLIS_MAX: u64 = 30_000;

/// Time for the operating system to establish a connection.
pub const CONNECT_MILLIS_MAX: u64 = 10_000;

/// A TCP connection between ranks that breaks is made again as long as nothing was heard from the peer's host for
/// no more than this time, unless the user says something else.
pub const RECONNECT_MILLIS: u64 = 30_000;
/// Time that the side which did not make a connection leaves it to the other one to make it again.
pub const RECONNECT_YIELD_MILLIS: u64 = 250;
/// Copies of what was written to one TCP connection and the peer has not acknowledged: beyond this nothing more is
/// written before it does.
pub const RESEND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// After so many bytes that have arrived over TCP the peer is told so, but not within a long payload.
pub const ACKNOWLEDGE_BYTES: u64 = 64 * 1024;
/// After so many bytes also there.
pub const ACKNOWLEDGE_BYTES_MAX: u64 = 1024 * 1024;
/// Payloads that are read again if a TCP connection breaks are copied, when their owner waits for the peer's
/// acknowledgement: up to this length soon, longer ones before it sleeps.
pub const LOAN_COPY_BYTES_MAX: u64 = 256 * 1024;
/// How soon: about the time that such a copy takes.
pub const LOAN_PATIENCE_MICROS: u64 = 20;
/// Memory for copies that a rank keeps for the next ones.
pub const SPARE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Time that a broken connection waits for the launcher's word on the peer's fate.
pub const VERDICT_MILLIS_MAX: u64 = 3_000;

/// After this long a blocked rank asks the launcher to tell it when the peer has gone.
pub const WATCH_AFTER_MILLIS: u64 = 50;

/// After this long a blocked rank, in which nothing has happened, makes others look whether that can end.
pub const BLOCKED_AFTER_MILLIS: u64 = 1_000;
/// Communicators that are gone of which a rank still knows how many collectives they had.
pub const RETIRED_REMEMBERED: usize = 1024;

/// Longest description of a collective that one rank sends another in a dispute.
pub const DISPUTE_BYTES_MAX: usize = 1024;
/// Time that a rank waits to hear what the other one called.
pub const DISPUTE_MILLIS_MAX: u64 = 500;
/// Collectives that a rank can still describe after it has completed them.
pub const DISPUTES_REMEMBERED: usize = 64;

/// Bytes that one read of a stream takes at most into the shared buffer.
pub const STREAM_READ_BYTES: usize = 64 * 1024;
/// Payloads of at least so many bytes are read where they belong, and not through that buffer:
pub const STREAM_LONG_BYTES_MIN: u64 = 16 * 1024;
/// behind one of them that buffer takes at most so many bytes of what follows, which may be as long.
pub const STREAM_PEEK_BYTES: usize = 4 * 1024;

/// Frames from threads of the same process, or to oneself, that one turn delivers at most.
pub const TURN_FRAMES_MAX: usize = 256;
/// System calls that one turn spends at most on reading from one peer, and as many on writing to it.
pub const TURN_CALLS_MAX: usize = 8;
/// Peers that one turn serves at most.
pub const TURN_PEERS_MAX: usize = 16;
/// While some peers are read directly, the operating system is asked about all others each so many turns.
pub const TURNS_PER_POLL: u32 = 32;
/// Peers that are read directly, because something came from them recently.
pub const HOT_PEERS_MAX: usize = 4;
/// After so many turns in vain a peer is not read directly any more.
pub const HOT_MISSES_MAX: u32 = 256;
/// Of so many things to do at once frames do not leave one by one.
pub const ACTIONS_HELD_MIN: usize = 2;
/// Bytes that one system call writes at most of what has waited: the peer reads the first while the next are
/// written, and what lies between the two stays within the caches.
pub const WRITE_BYTES_MAX: usize = 512 * 1024;
/// A payload of at least so many bytes is written in halves to a peer that has read all before it and waits: it
/// reads the first while the second is written.
pub const WRITE_HALVES_BYTES_MIN: usize = 32 * 1024;
/// Pieces of memory that one system call writes at most.
pub const WRITE_PIECES_MAX: usize = 64;

/// Shortest and longest pause before a peer that does not answer yet is tried again.
pub const RETRY_MILLIS_MIN: u64 = 1;
/// See [`RETRY_MILLIS_MIN`].
pub const RETRY_MILLIS_MAX: u64 = 200;
/// Greetings that may end without an answer before the peer counts as foreign.
pub const UNANSWERED_MAX: u32 = 16;
/// Pause before connections are accepted again when descriptors have run out.
pub const ACCEPT_PAUSE_MILLIS: u64 = 50;
/// Connections that may wait to be accepted.
pub const BACKLOG_MAX: usize = 4096;
/// Shortest and longest pause between two looks at whether the peer's host has everything.
pub const DRAIN_LOOK_MILLIS_MIN: u64 = 1;
/// See [`DRAIN_LOOK_MILLIS_MIN`].
pub const DRAIN_LOOK_MILLIS_MAX: u64 = 50;
/// Revocations that a rank remembers for communicators that it has not made yet.
pub const REVOCATIONS_REMEMBERED: usize = 1024;

const _: () = assert!(EAGER_BYTES_MAX + ENVELOPE_CREDIT_BYTES <= CREDIT_BYTES_MAX / 2);
const _: () = assert!(EAGER_THREADS_BYTES_MAX <= EAGER_BYTES_MAX);
const _: () = assert!(CREDIT_BYTES_MIN >= 4 * ENVELOPE_CREDIT_BYTES);
const _: () = assert!(CREDIT_BYTES_MAX <= UNEXPECTED_BYTES_MAX);
const _: () = assert!(CREDIT_BYTES_MAX < RESEND_BYTES_MAX);
const _: () = assert!(2 * ACKNOWLEDGE_BYTES_MAX < RESEND_BYTES_MAX as u64);
const _: () = assert!(OUTPUT_PIECE_BYTES_MAX < CONTROL_FRAME_BYTES_MAX);
