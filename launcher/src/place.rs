//! Which rank runs where. Pure: hosts in, map out.

use std::fmt::Write as _;

use clap::ValueEnum;

use crate::nodes::Host;

/// Where each rank runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The hosts that got ranks, in the order given.
    pub(crate) hosts: Vec<Host>,
    /// For each rank the index of its host.
    pub(crate) node_of: Vec<u32>,
}

/// In which order places, or numbers, are given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// One host after the other
    #[default]
    Slot,
    /// Round the hosts, one rank each
    Node,
}

/// In which order places are given out, and what that means for cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum MapBy {
    /// One host after the other
    #[default]
    Slot,
    /// Round the hosts, one rank each
    Node,
    /// As slot, with each rank bound to a core, unless --bind-to says otherwise
    Core,
}

impl MapBy {
    pub(crate) const fn order(self) -> By {
        match self {
            Self::Slot | Self::Core => By::Slot,
            Self::Node => By::Node,
        }
    }
}

/// What a rank is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BindTo {
    /// A core of its own; an error where there are too few
    Core,
    /// Nothing: it may use what the launcher may use
    None,
    /// A core of its own on hosts that have enough
    Auto,
}

/// How ranks are to be placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// How places are given out.
    pub(crate) map_by: By,
    /// How the places are numbered; as they are given out when not set.
    pub(crate) rank_by: Option<By>,
    /// As many ranks on each host, and no more.
    pub(crate) per_node: Option<u32>,
}

impl Placement {
    /// The names of the hosts.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| host.name.as_str())
    }

    /// One line about hosts that run more ranks than they would like to.
    pub(crate) fn oversubscribed(&self) -> Option<String> {
        let mut shares = vec![0_u32; self.hosts.len()];
        for node in &self.node_of {
            shares[*node as usize] += 1;
        }
        let over: Vec<String> = shares
            .iter()
            .zip(&self.hosts)
            .filter(|(share, host)| **share > host.slots)
            .map(|(share, host)| format!("{} ({share} in {})", host.name, host.slots))
            .collect();
        let line = || format!("more ranks than slots on {}", some_of(&over));
        (!over.is_empty()).then(line)
    }

    /// The map for people: a line for each host.
    pub(crate) fn map(&self) -> String {
        let mut ranks_of: Vec<Vec<u32>> = vec![Vec::new(); self.hosts.len()];
        for (rank, node) in (0..).zip(&self.node_of) {
            ranks_of[*node as usize].push(rank);
        }
        let mut map = String::new();
        for (host, ranks) in self.hosts.iter().zip(&ranks_of) {
            // A string takes all that is written to it.
            let _ = writeln!(
                map,
                "{} (slots {}): {} {}",
                host.name,
                host.slots,
                if ranks.len() == 1 { "rank" } else { "ranks" },
                ranges(ranks)
            );
        }
        map
    }
}

/// The first few of many.
fn some_of(words: &[String]) -> String {
    const SHOWN: usize = 4;
    match words.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", words[..SHOWN].join(", ")),
        _ => words.join(", "),
    }
}

/// `0-3,7` for 0, 1, 2, 3, 7.
pub(crate) fn ranges(numbers: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let text = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    parts.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Gives every rank a host.
///
/// By slot, one host after the other is filled; by node, each gets one in turn. What is left over goes
/// round again, so that more ranks than slots need no permission; only `max_slots` is never exceeded. A
/// host without slots counts as one with a single slot.
///
/// # Errors
///
/// One line, when the ranks do not fit.
pub(crate) fn place(hosts: &[Host], ranks: u32, wishes: &Wishes) -> Result<Placement, String> {
    let shares = shares(hosts, ranks, wishes)?;
    let chosen = hosts.iter().zip(shares).filter(|(_, share)| *share > 0);
    let (hosts, shares): (Vec<Host>, Vec<u32>) =
        chosen.map(|(host, share)| (host.clone(), share)).unzip();
    let mut node_of = Vec::with_capacity(ranks as usize);
    match wishes.rank_by.unwrap_or(wishes.map_by) {
        By::Slot => {
            for (node, share) in (0..).zip(&shares) {
                node_of.extend((0..*share).map(|_| node));
            }
        }
        By::Node => {
            let rounds = shares.iter().copied().max().unwrap_or(0);
            for round in 0..rounds {
                let more = (0..).zip(&shares).filter(|(_, share)| **share > round);
                node_of.extend(more.map(|(node, _)| node));
            }
        }
    }
    Ok(Placement { hosts, node_of })
}

/// How many ranks each host gets.
fn shares(hosts: &[Host], ranks: u32, wishes: &Wishes) -> Result<Vec<u32>, String> {
    let most = |host: &Host| {
        let most = host.max_slots.unwrap_or(u32::MAX);
        most.min(wishes.per_node.unwrap_or(u32::MAX))
    };
    let fit = hosts.iter().map(|host| u64::from(most(host))).sum::<u64>();
    if fit < u64::from(ranks) {
        return Err(too_many(hosts, ranks, wishes));
    }
    let mut shares = vec![0_u32; hosts.len()];
    let mut left = ranks;
    while left > 0 {
        for (share, host) in shares.iter_mut().zip(hosts) {
            let step = match (wishes.per_node, wishes.map_by) {
                (_, By::Node) => 1,
                (Some(ranks), By::Slot) => ranks,
                (None, By::Slot) => host.slots.max(1),
            };
            let more = step.min(most(host) - *share).min(left);
            *share += more;
            left -= more;
        }
    }
    Ok(shares)
}

fn too_many(hosts: &[Host], ranks: u32, wishes: &Wishes) -> String {
    let limits: Vec<String> = hosts
        .iter()
        .filter_map(|host| Some(format!("{} {}", host.name, host.max_slots?)))
        .collect();
    let per_node = match wishes.per_node {
        Some(each) => format!("--ranks-per-node {each} on {} hosts", hosts.len()),
        None => String::new(),
    };
    let max_slots = format!("max_slots ({})", some_of(&limits));
    let (limit, change) = match (limits.is_empty(), per_node.is_empty()) {
        (true, _) => (per_node, "--ranks-per-node"),
        (false, true) => (max_slots, "`max_slots=` in the hostfile"),
        (false, false) => (format!("{per_node} and {max_slots}"), "them"),
    };
    format!("{ranks} ranks do not fit: {limit} allow fewer; raise {change}, add hosts, or lower -n")
}

#[cfg(test)]
mod tests;
