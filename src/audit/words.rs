//! Contradictions and warnings as the user is told of them.

use super::Count;
use crate::base::ids::Context;
use crate::wire::control::{Account, Call, Race, Unmatched};

pub(super) fn different(one: (u32, &str), other: (u32, &str)) -> String {
    format!(
        "ranks called different collectives: rank {}: {}; rank {}: {}; operation, operator, element type, \
         count, root and order of calls must agree",
        one.0, one.1, other.0, other.1
    )
}

/// Two ranks that did not begin equally many collectives on a communicator.
pub(super) fn numbers(context: u64, one: &Count, other: &Count) -> String {
    let (less, more) = if one.begun < other.begun {
        (one, other)
    } else {
        (other, one)
    };
    let place = communicator(context);
    let extra = more.calls.iter().find(|call| call.sequence == less.begun);
    let extra = extra.map_or_else(|| "another collective", |call| call.words.as_str());
    format!(
        "ranks called different numbers of collectives on {place}: rank {} called {}, rank {} called {}: \
         rank {} did not take part in {extra}; it finalized{} after {}",
        more.rank,
        more.begun,
        less.rank,
        less.begun,
        less.rank,
        site(less.site.as_deref()),
        last(&less.calls),
    )
}

/// How a rank left.
pub(super) fn end(account: &Account) -> String {
    format!(
        "finalized{} after {}",
        site(account.site.as_deref()),
        last(&account.calls)
    )
}

fn site(site: Option<&str>) -> String {
    site.map_or_else(String::new, |site| format!(" at {site}"))
}

fn last(calls: &[Call]) -> String {
    let last = calls.last().map(|call| call.words.as_str());
    last.map_or_else(
        || "no collective at all".to_owned(),
        |words| format!("its last collective, {words}"),
    )
}

fn communicator(context: u64) -> &'static str {
    if Context(context).point_to_point() == Context::WORLD {
        "the world"
    } else {
        "a derived communicator"
    }
}

pub(super) fn unmatched(rank: u32, group: &Unmatched) -> String {
    let Unmatched {
        context,
        source,
        tag,
        messages,
        bytes,
    } = group;
    let plural = if *messages == 1 { "" } else { "s" };
    format!(
        "rank {rank} never received {messages} message{plural} from rank {source} with tag {tag} on {} \
         ({bytes} bytes)",
        communicator(*context)
    )
}

pub(super) fn lost(from: u32, to: u32, messages: u64) -> String {
    let (plural, verb) = if messages == 1 {
        ("", "was")
    } else {
        ("s", "were")
    };
    format!(
        "{messages} message{plural} of rank {from} to rank {to} {verb} never received: rank {to} had \
         finalized before"
    )
}

pub(super) fn unfinished(rank: u32, count: u64, places: &[String]) -> String {
    let plural = if count == 1 { "" } else { "s" };
    let begun = if places.is_empty() {
        String::new()
    } else {
        format!(", begun at {}", places.join(", "))
    };
    format!(
        "rank {rank} finalized with {count} nonblocking operation{plural} that it never waited for{begun}; \
         call `wait` on what `isend` or `irecv` returns"
    )
}

pub(super) fn race(rank: u32, race: &Race) -> String {
    let tag = race
        .tag
        .map_or_else(|| "any tag".to_owned(), |tag| format!("tag {tag}"));
    let sources: Vec<String> = race.sources.iter().map(ToString::to_string).collect();
    format!(
        "message race: a receive of rank {rank} from any source with {tag} at {} could take a message of \
         each of the ranks {}; which one it takes may differ from run to run",
        race.site,
        sources.join(", ")
    )
}
