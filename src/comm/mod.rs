//! Layer 4: the public interface: communicators and what they can do.

mod collective;
mod exchanges;
mod faults;
mod inspect;
mod launch;
mod members;
mod nonblocking;
mod object;
mod pending;
mod point;
mod reductions;
mod scope;
mod select;
mod survival;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use launch::{init, run, threads};
pub use pending::Pending;
pub use scope::{Scope, ScopedRequest};
pub use select::{Probe, Source, Status, Tag};
pub use survival::{Agreement, Policy};

use crate::base::ids::{Context, Peer};
use crate::engine::{Failure, Pattern};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::TAG_MAX;
use crate::runtime::group::Group;
use crate::runtime::{Errand, Fault, Runtime, describe_mismatch};
use crate::schedule::{Counts, Operation, Selection};
use crate::wire::control::FromRank;
use faults::{kind_of_job, peer_gone};

/// A group of ranks that exchange messages, apart from all other groups.
///
/// The first one is the world, from [`init`], [`run`] or [`threads`]; [`dup`](Self::dup) and
/// [`split`](Self::split) derive others. A communicator is a handle: it can be cloned and used from
/// several threads at once. Collectives have to be called by all its ranks in the same order, so two
/// threads of one rank must not call collectives on the same communicator at the same time: give
/// each its own `dup`.
///
/// When the last handle of a process is dropped, the rank finalizes: what was sent is still delivered.
///
/// # Examples
///
/// ```
/// # fn main() -> phalanx::Result<()> {
/// phalanx::threads(2, |world| {
///     if world.rank() == 0 {
///         world.send(&[1.0, 2.0], 1, 7)
///     } else {
///         let (numbers, status) = world.recv_vec::<f64>(0, 7)?;
///         assert_eq!((numbers, status.source), (vec![1.0, 2.0], 0));
///         Ok(())
///     }
/// })?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "MPI_Comm")]
#[derive(Clone)]
pub struct Communicator {
    inner: Arc<Inner>,
    timeout: Option<Duration>,
}

struct Inner {
    runtime: Arc<Runtime>,
    group: Group,
    rank: usize,
    context: Context,
    name: Arc<str>,
    /// Collectives begun so far.
    sequence: Arc<AtomicU64>,
    /// Communicators derived so far.
    children: AtomicU64,
    /// Agreements begun so far.
    agreements: AtomicU64,
    selection: Arc<Selection>,
}

impl Inner {
    fn register(&self) {
        let (context, group, name) = (self.context, &self.group, &self.name);
        let begun = &self.sequence;
        self.runtime.register(context, group, name, begun);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.runtime.unregister(self.context);
    }
}

impl fmt::Debug for Communicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Communicator")
            .field("name", &self.inner.name)
            .field("rank", &self.rank())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

/// The circumstances of a call, for its error.
#[derive(Clone, Copy)]
struct Call {
    operation: &'static str,
    site: &'static Location<'static>,
    /// `None` when it did not read the clock: its waiting begins later.
    begun: Option<Instant>,
    peer: Option<usize>,
    tag: Option<u64>,
}

impl Call {
    fn new(operation: &'static str, site: &'static Location<'static>) -> Self {
        Self {
            begun: Some(Instant::now()),
            ..Self::timeless(operation, site)
        }
    }

    /// A call that does not wait itself.
    const fn timeless(operation: &'static str, site: &'static Location<'static>) -> Self {
        Self {
            operation,
            site,
            begun: None,
            peer: None,
            tag: None,
        }
    }

    const fn with(mut self, peer: Option<usize>, tag: Option<u64>) -> Self {
        self.peer = peer;
        self.tag = tag;
        self
    }
}

impl Communicator {
    fn world(runtime: Arc<Runtime>, selection: Selection, timeout: Option<Duration>) -> Self {
        let identity = runtime.identity();
        let (rank, size) = (identity.me.index(), identity.size);
        let nodes = &identity.nodes.node_of;
        let across = nodes.iter().any(|node| Some(node) != nodes.first());
        let inner = Inner {
            group: Group::World(size),
            rank,
            context: Context::WORLD,
            name: "world".into(),
            sequence: Arc::default(),
            children: AtomicU64::new(0),
            agreements: AtomicU64::new(0),
            selection: Arc::new(selection.across_hosts(across)),
            runtime,
        };
        inner.register();
        Self {
            inner: Arc::new(inner),
            timeout,
        }
    }

    /// This rank: a number from 0 to `size() - 1`.
    #[doc(alias = "MPI_Comm_rank")]
    pub fn rank(&self) -> usize {
        self.inner.rank
    }

    /// How many ranks the communicator has.
    #[doc(alias = "MPI_Comm_size")]
    pub fn size(&self) -> usize {
        self.inner.group.size()
    }

    /// The name that errors call this communicator by: `world`, `world/dup 0`, `world/split 1 colour 2`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// A handle whose blocking operations give up after `limit` with [`ErrorKind::Timeout`].
    ///
    /// A receive that gave up has taken nothing, unless a message was just arriving for it over a socket: that one
    /// is lost. A send that gave up may or may not be received; if it was under way, the receive that it was for fails.
    /// After a collective has given up, the communicator's ranks are out of step: only other communicators should be used.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(1, |world| {
    ///     let patient = world.with_timeout(Duration::from_millis(10));
    ///     let error = patient.recv_vec::<u8>(0, 1).expect_err("nobody sends");
    ///     assert_eq!(*error.kind(), phalanx::ErrorKind::Timeout);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_timeout(&self, limit: Duration) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            timeout: Some(limit),
        }
    }

    /// A communicator with the same ranks and messages of its own. Every rank has to call it, in the
    /// same order as other derivations from this communicator; it does not communicate.
    #[doc(alias = "MPI_Comm_dup")]
    #[must_use]
    pub fn dup(&self) -> Self {
        let child = self.next_child();
        let name = format!("{}/dup {child}", self.inner.name);
        self.derived(self.inner.group.clone(), self.rank(), child, 0, name)
    }

    /// Communicators of the ranks that give the same colour, ordered by `key` and then by rank here.
    /// `None` for a rank that gives no colour. A collective: every rank has to call it.
    ///
    /// # Errors
    ///
    /// As for any collective.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(5, |world| {
    ///     let parity = world.split(Some(world.rank() as u64 % 2), 0)?.expect("all have a colour");
    ///     assert_eq!(parity.size(), if world.rank() % 2 == 0 { 3 } else { 2 });
    ///     assert_eq!(parity.rank(), world.rank() / 2);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "MPI_Comm_split")]
    #[track_caller]
    pub fn split(&self, colour: Option<u64>, key: i64) -> Result<Option<Self>> {
        let child = self.next_child();
        let mine = [u64::from(colour.is_some()), colour.unwrap_or(0), key as u64];
        let call = Call::new("split", Location::caller());
        let mut all = vec![0; mine.len() * self.size()];
        let operation = Operation::Allgather {
            counts: Counts::Equal(mine.len()),
        };
        self.execute(&call, &operation, None, Some(&mine), Some(&mut all))?;
        let Some(colour) = colour else {
            return Ok(None);
        };
        let mut members: Vec<(i64, usize)> = all
            .chunks_exact(3)
            .enumerate()
            .filter(|(_, theirs)| theirs[0] == 1 && theirs[1] == colour)
            .map(|(rank, theirs)| (theirs[2] as i64, rank))
            .collect();
        members.sort_unstable();
        let rank = members
            .iter()
            .position(|&(_, rank)| rank == self.rank())
            .unwrap_or(0);
        let peers = members
            .iter()
            .filter_map(|&(_, rank)| self.inner.group.peer(rank))
            .collect();
        let name = format!("{}/split {child} colour {colour}", self.inner.name);
        // Colours of one split have different contexts; 0 is what `dup` uses.
        Ok(Some(self.derived(
            Group::of(peers),
            rank,
            child,
            colour.wrapping_add(1),
            name,
        )))
    }

    /// Ends the whole job at once: all ranks are ended, and the launcher leaves with `code`
    /// (1 to 255; 0 counts as 1). Does not return. Without a launcher, ends this process.
    #[doc(alias = "MPI_Abort")]
    #[track_caller]
    pub fn abort(&self, code: u8, message: &str) -> ! {
        let code = code.max(1);
        let site = Location::caller();
        if let Some(reporter) = self.inner.runtime.reporter() {
            let message = format!("{} at {site}", message.replace('\n', " "));
            reporter.say(&FromRank::Abort { code, message });
            // The daemon ends this process; if it does not, the process ends by itself.
            std::thread::sleep(Duration::from_secs(2));
        } else {
            eprintln!(
                "phalanx: rank {} aborted the job at {site}: {message}",
                self.rank()
            );
        }
        std::process::exit(i32::from(code))
    }

    /// Finalizes this rank: waits until what was sent has left, and tells the other ranks. Operations
    /// begun later fail with [`ErrorKind::Finalized`]. Dropping the last handle does the same, but
    /// cannot report an error.
    ///
    /// # Errors
    ///
    /// When the job had failed before.
    #[doc(alias = "MPI_Finalize")]
    #[track_caller]
    pub fn finalize(self) -> Result<()> {
        self.leave(Call::new("finalize", Location::caller()), true)
    }

    fn leave(self, call: Call, called: bool) -> Result<()> {
        self.inner
            .runtime
            .finalize(self.errand(&call), called)
            .map_err(|fault| self.error(&call, fault, ""))
    }

    /// Lets the runtime make progress for up to `limit`, or until `done` says so: for programs that
    /// compute for long while others wait for large messages from them.
    pub fn progress(&self, limit: Duration, done: impl Fn() -> bool) {
        self.inner.runtime.progress_until(limit, done);
    }

    fn next_child(&self) -> u64 {
        self.inner.children.fetch_add(1, Ordering::Relaxed)
    }

    fn derived(&self, group: Group, rank: usize, child: u64, colour: u64, name: String) -> Self {
        let inner = Inner {
            runtime: Arc::clone(&self.inner.runtime),
            context: self.inner.context.derive(child, colour),
            group,
            rank,
            name: name.into(),
            sequence: Arc::default(),
            children: AtomicU64::new(0),
            agreements: AtomicU64::new(0),
            // Within one host they do not meet in shared memory either.
            selection: Arc::new(Selection::clone(&self.inner.selection).across_hosts(false)),
        };
        inner.register();
        Self {
            inner: Arc::new(inner),
            timeout: self.timeout,
        }
    }

    /// What a blocking call is about when it waits.
    fn errand(&self, call: &Call) -> Errand {
        Errand {
            operation: call.operation,
            site: call.site,
            deadline: self
                .timeout
                .and_then(|limit| call.begun?.checked_add(limit)),
        }
    }

    fn peer(&self, call: &Call, rank: usize) -> Result<Peer> {
        self.inner.group.peer(rank).ok_or_else(|| {
            let kind = ErrorKind::InvalidRank {
                rank: rank as i64,
                size: self.size(),
            };
            Error::new(kind, call.operation)
                .on(&self.inner.name)
                .at(call.site)
        })
    }

    fn tag(&self, call: &Call, tag: Tag) -> Result<u64> {
        match tag {
            Tag::Is(tag) if tag <= TAG_MAX => Ok(tag),
            Tag::Is(tag) => Err(self.bad_tag(call, Some(tag as i64))),
            Tag::Any => Err(self.bad_tag(call, None)),
        }
    }

    fn bad_tag(&self, call: &Call, tag: Option<i64>) -> Error {
        Error::new(ErrorKind::InvalidTag { tag }, call.operation)
            .on(&self.inner.name)
            .at(call.site)
    }

    fn pattern(&self, call: &Call, source: Source, tag: Tag) -> Result<Pattern> {
        let source = match source {
            Source::Any => None,
            Source::Rank(rank) => Some(self.peer(call, rank)?),
        };
        let tag = match tag {
            Tag::Any => None,
            tag => Some(self.tag(call, tag)?),
        };
        Ok(Pattern {
            context: self.inner.context.point_to_point(),
            source,
            tag,
        })
    }

    fn argument(&self, call: &Call, reason: String) -> Error {
        let kind = ErrorKind::InvalidArgument { reason };
        Error::new(kind, call.operation)
            .on(&self.inner.name)
            .at(call.site)
    }

    /// The error of a call; `element` names the element type that it asked for.
    fn error(&self, call: &Call, fault: Fault, element: &'static str) -> Error {
        let mut peer = call.peer.and_then(|rank| self.inner.group.peer(rank));
        let mut tag = call.tag;
        let kind = match fault {
            Fault::Message(failure) => {
                if let Some(envelope) = failure.envelope() {
                    peer = Some(envelope.source);
                    tag = Some(envelope.tag);
                }
                self.kind_of(failure, element)
            }
            Fault::OutOfMemory(bytes) => ErrorKind::OutOfMemory { bytes },
            Fault::Mismatch {
                peer: other,
                ours,
                theirs,
            } => {
                peer = Some(other);
                let rank = self.inner.group.rank(other).unwrap_or(0);
                let (ours, theirs) = (ours.as_deref(), theirs.as_deref());
                let reason = describe_mismatch((self.rank(), ours), (rank, theirs));
                ErrorKind::Mismatch { reason }
            }
            Fault::Job(failure) => {
                peer = Some(failure.peer);
                kind_of_job(&failure)
            }
            Fault::Revoked => ErrorKind::Revoked,
            Fault::Finalized => ErrorKind::Finalized,
            Fault::Timeout => ErrorKind::Timeout,
        };
        let error = Error::new(kind, call.operation)
            .on(&self.inner.name)
            .with_tag(tag)
            .at(call.site);
        let error = match call.begun {
            Some(begun) => error.after(begun.elapsed()),
            None => error,
        };
        let peer = peer.and_then(|peer| Some((self.inner.group.rank(peer)?, peer)));
        let error = match peer {
            Some((rank, peer)) => error.with_peer(rank, self.inner.runtime.identity().host(peer)),
            None => error,
        };
        self.inner.runtime.note_error(&error);
        error
    }

    fn kind_of(&self, failure: Failure, element: &'static str) -> ErrorKind {
        match failure {
            Failure::Truncated { envelope, capacity } => ErrorKind::Truncated {
                sent: envelope.length as usize,
                capacity: capacity as usize,
            },
            Failure::Type { .. } => ErrorKind::WrongType { expected: element },
            Failure::PeerGone(peer) => {
                // What made the job fail may be something else about this peer than that it has gone.
                if let Some(failure) = self.inner.runtime.failure_instead_of(peer) {
                    return kind_of_job(&failure);
                }
                let cause = self.inner.runtime.departure(peer);
                peer_gone(peer, cause.unwrap_or_else(|| "is gone".into()))
            }
            Failure::Withdrawn(_) | Failure::Cancelled => ErrorKind::Withdrawn,
        }
    }
}
