//! Going on after other ranks have failed.
//!
//! The rules are those of the user-level failure mitigation that has been proposed for MPI (ULFM): no call
//! blocks for ever after a failure; a failed rank disturbs only the communicators that it belongs to; a
//! revocation interrupts everything on its communicator, on all ranks; what [`Runtime::agree`] decides is
//! the same on all of them. The launcher decides, alone: it shares the job's fate anyway.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxBuildHasher;

use super::group::Group;
use super::progress::Core;
use super::retired::Retired;
use super::state::{CollectiveKey, Fault, JobFailure, JobFailureKind, RequestKey};
use super::vigil::{Errand, Subject, Vigil};
use super::{Reporter, Runtime};
use crate::base::ids::{Context, Peer};
use crate::engine::Failure;
use crate::limits::REVOCATIONS_REMEMBERED;
use crate::wire::control::{Agreed, FromRank};

/// Which ranks an operation counts on, besides a peer that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// No other.
    One,
    /// Any member may send.
    Any,
    /// All members take part.
    All,
}

/// A communicator of this rank, as far as failures matter to it.
#[derive(Debug)]
struct Membership {
    group: Group,
    name: Arc<str>,
    /// Collectives begun so far.
    begun: Arc<AtomicU64>,
    revoked: bool,
    /// Members that have failed, in the order of the news.
    failed: Vec<Peer>,
    /// How many of them the program has acknowledged.
    acknowledged: usize,
}

/// What a rank knows of failures that do not end the job.
#[derive(Debug, Default)]
pub(crate) struct Survival {
    /// Operations return the failures of peers, and this rank goes on.
    pub(crate) returns: bool,
    failed: Vec<Peer>,
    memberships: HashMap<Context, Membership, FxBuildHasher>,
    /// Communicators that were revoked before this rank made its handle.
    early: VecDeque<Context>,
    agreed: HashMap<(Context, u64), Agreed, FxBuildHasher>,
    retired: Retired,
    /// Something has failed or was revoked: operations have to look.
    troubled: bool,
}

impl Survival {
    /// Why an operation cannot begin, or go on.
    fn interruption(&self, context: Context, reach: Reach) -> Option<Fault> {
        if !self.troubled {
            return None;
        }
        let membership = self.memberships.get(&context.point_to_point())?;
        if membership.revoked {
            return Some(Fault::Revoked);
        }
        let lost = match reach {
            Reach::One => None,
            Reach::Any => membership.failed.get(membership.acknowledged),
            Reach::All => membership.failed.first(),
        };
        lost.map(|&peer| Fault::Message(Failure::PeerGone(peer)))
    }

    /// Whether ranks may disagree about a collective there without being wrong.
    pub(crate) fn excuses(&self, context: Context) -> bool {
        self.interruption(context, Reach::All).is_some()
    }

    /// Whether messages of this space go nowhere.
    pub(crate) fn is_revoked(&self, context: Context) -> bool {
        self.troubled
            && self
                .memberships
                .get(&context.point_to_point())
                .is_some_and(|membership| membership.revoked)
    }

    /// Message spaces of all communicators, and how many collectives were begun there; and whether none is
    /// missing.
    pub(crate) fn begun(&self) -> (Vec<(u64, u64)>, bool) {
        let living = self.memberships.iter().map(|(context, membership)| {
            let begun = membership.begun.load(Ordering::Relaxed);
            (context.collective().0, begun)
        });
        let (retired, complete) = self.retired.all();
        (living.chain(retired).collect(), complete)
    }

    /// The name of a communicator, unless it is the world, or unknown.
    pub(crate) fn name(&self, context: Context) -> Option<String> {
        let context = context.point_to_point();
        let membership = self.memberships.get(&context);
        let derived = membership.filter(|_| context != Context::WORLD);
        derived.map(|membership| membership.name.to_string())
    }

    /// World ranks of the members of a communicator; none when it is the world, or unknown.
    pub(crate) fn members(&self, context: Context) -> Vec<u32> {
        let membership = self.memberships.get(&context.point_to_point());
        membership.map_or_else(Vec::new, |membership| membership.group.listed())
    }

    fn fail(&mut self, peer: Peer) {
        if self.failed.contains(&peer) {
            return;
        }
        self.troubled = true;
        self.failed.push(peer);
        for membership in self.memberships.values_mut() {
            if membership.group.rank(peer).is_some() {
                membership.failed.push(peer);
            }
        }
    }
}

impl Core {
    /// Whether an operation may begin.
    pub(crate) fn check_open(&self, context: Context, reach: Reach) -> Result<(), Fault> {
        self.check_alive()?;
        match self.state.survival.interruption(context, reach) {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    /// A rank has failed: the end of the job, unless this rank goes on without it.
    pub(crate) fn peer_failed(&mut self, peer: Peer, cause: String) {
        if !self.state.survival.returns || peer == self.state.me {
            let kind = JobFailureKind::Gone;
            self.state.fail_job(JobFailure { peer, cause, kind });
            return;
        }
        self.state.departures.insert(peer, cause);
        self.state.engine.peer_gone(peer, false);
        self.state.survival.fail(peer);
        self.interrupt();
    }

    /// All ranks are to give up what they do on this communicator.
    pub(crate) fn revoked(&mut self, context: Context) {
        let context = context.point_to_point();
        let survival = &mut self.state.survival;
        survival.troubled = true;
        match survival.memberships.get_mut(&context) {
            Some(membership) => membership.revoked = true,
            None if survival.early.contains(&context) => {}
            None => {
                survival.early.push_back(context);
                if survival.early.len() > REVOCATIONS_REMEMBERED {
                    survival.early.pop_front();
                }
            }
        }
        self.interrupt();
        self.state.engine.discard(context);
        self.state.engine.discard(context.collective());
    }

    pub(crate) fn agreed(&mut self, agreed: Agreed) {
        for &rank in &agreed.failed {
            let peer = Peer(rank);
            let known = rank >= self.state.size || peer == self.state.me;
            if !known && !self.state.engine.is_gone(peer) {
                self.peer_failed(peer, "is gone".into());
            }
        }
        let key = (Context(agreed.context), agreed.sequence);
        self.state.survival.agreed.insert(key, agreed);
        self.state.completions += 1;
    }

    /// Ends everything under way that cannot be completed any more.
    fn interrupt(&mut self) {
        self.state.completions += 1;
        let survival = &self.state.survival;
        let open = self.state.requests.iter();
        let open = open.filter(|(_, request)| request.outcome.is_none());
        let requests: Vec<(RequestKey, Fault)> = open
            .filter_map(|(key, request)| {
                let (context, reach) = request.place;
                Some((key, survival.interruption(context, reach)?))
            })
            .collect();
        let open = self.state.collectives.iter();
        let open = open.filter(|(_, running)| running.outcome.is_none());
        let collectives: Vec<(CollectiveKey, Fault)> = open
            .filter_map(|(key, running)| {
                let context = running.setting.context;
                Some((key, survival.interruption(context, Reach::All)?))
            })
            .collect();
        for (key, fault) in requests {
            self.interrupt_request(key, fault);
        }
        for (key, fault) in collectives {
            self.fail_collective(key, fault);
        }
    }

    fn interrupt_request(&mut self, key: RequestKey, fault: Fault) {
        let Some(request) = self.state.requests.get_mut(key) else {
            return;
        };
        let handle = std::mem::replace(&mut request.handle, super::state::Handle::None);
        request.outcome = Some(Err(fault));
        if let Some(waker) = request.waker.take() {
            waker.wake();
        }
        let forgotten = request.forgotten.then_some(request.buffer);
        self.give_up(handle);
        if let Some(buffer) = forgotten {
            self.state.requests.remove(key);
            self.state.buffers.take(buffer);
        }
    }
}

impl Runtime {
    /// Notes a communicator, so that failures of its members and its revocation reach it.
    pub(crate) fn register(
        &self,
        context: Context,
        group: &Group,
        name: &Arc<str>,
        begun: &Arc<AtomicU64>,
    ) {
        self.station.act(|core| {
            let survival = &mut core.state.survival;
            let early = survival.early.iter().position(|early| *early == context);
            if let Some(index) = early {
                survival.early.remove(index);
            }
            let failed = survival.failed.iter().copied();
            let membership = Membership {
                group: group.clone(),
                name: Arc::clone(name),
                begun: Arc::clone(begun),
                revoked: early.is_some(),
                failed: failed.filter(|&peer| group.rank(peer).is_some()).collect(),
                acknowledged: 0,
            };
            survival.memberships.insert(context, membership);
        });
    }

    /// The last handle of a communicator has gone.
    pub(crate) fn unregister(&self, context: Context) {
        let mut core = self.station.lock();
        let survival = &mut core.state.survival;
        if let Some(membership) = survival.memberships.remove(&context) {
            let begun = membership.begun.load(Ordering::Relaxed);
            survival.retired.add(context.collective().0, begun);
        }
    }

    /// Whether failures of peers are returned by operations, instead of ending the job.
    pub(crate) fn set_returns(&self, returns: bool) -> Result<(), NoLauncher> {
        let reporter = self.reporter.as_ref();
        if reporter.is_none() && self.identity.size > 1 {
            return Err(NoLauncher);
        }
        // First here: what the launcher tells of failures once it knows is meant for this policy.
        self.station.lock().state.survival.returns = returns;
        if let Some(reporter) = reporter {
            reporter.say(&FromRank::Policy { returns });
        }
        Ok(())
    }

    /// Members of a communicator that have failed, and how many of them were acknowledged.
    pub(crate) fn failed_in(&self, context: Context) -> (Vec<Peer>, usize) {
        self.station.poll(|_| None::<()>);
        let core = self.station.lock();
        let membership = core.state.survival.memberships.get(&context);
        membership.map_or((Vec::new(), 0), |it| (it.failed.clone(), it.acknowledged))
    }

    /// From now on receives from any source wait although these members have failed.
    pub(crate) fn acknowledge(&self, context: Context, count: usize) {
        let mut core = self.station.lock();
        if let Some(membership) = core.state.survival.memberships.get_mut(&context) {
            membership.acknowledged = count.min(membership.failed.len());
        }
    }

    pub(crate) fn is_revoked(&self, context: Context) -> bool {
        self.station.poll(|_| None::<()>);
        self.station.lock().state.survival.is_revoked(context)
    }

    /// Revokes a communicator here, and through the launcher everywhere.
    pub(crate) fn revoke(&self, context: Context) {
        self.station.act(|core| core.revoked(context));
        if let Some(reporter) = &self.reporter {
            reporter.say(&FromRank::Revoke { context: context.0 });
        }
    }

    /// Contributes `flags` and waits until the launcher has decided: it has heard every member of the
    /// group that lives.
    pub(crate) fn agree(
        &self,
        context: Context,
        sequence: u64,
        group: &Group,
        flags: u64,
        errand: Errand,
    ) -> Result<Agreed, Fault> {
        self.station.act(|core| core.check_alive())?;
        let members = (0..group.size()).filter_map(|rank| group.peer(rank));
        let members: Vec<u32> = members.map(|peer| peer.0).collect();
        let Some(reporter) = self.reporter.as_ref().filter(|_| members.len() > 1) else {
            return Ok(Agreed {
                context: context.0,
                sequence,
                flags,
                failed: Vec::new(),
            });
        };
        contribute(reporter, context, sequence, members.clone(), flags);
        let key = (context, sequence);
        let subject = Subject::Agreement {
            context,
            sequence,
            members,
        };
        let errand = Errand {
            deadline: None,
            ..errand
        };
        let decided = self.station.wait(Vigil::new(errand, subject), |core| {
            let agreed = core.state.survival.agreed.remove(&key).map(Ok);
            agreed.or_else(|| core.failed())
        });
        decided.unwrap_or(Err(Fault::Timeout))
    }
}

fn contribute(reporter: &Reporter, context: Context, sequence: u64, members: Vec<u32>, flags: u64) {
    reporter.say(&FromRank::Agree {
        context: context.0,
        sequence,
        members,
        flags,
    });
}

/// Only a launcher can tell who has failed.
#[derive(Debug)]
pub(crate) struct NoLauncher;
