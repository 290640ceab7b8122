//! Which rank runs where. Pure: hosts in, map out.

use crate::nodes::Host;

/// Where each rank runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The hosts that got ranks, in the order given.
    pub(crate) hosts: Vec<Host>,
    /// For each rank the index of its host.
    pub(crate) node_of: Vec<u32>,
}

impl Placement {
    /// The names of the hosts.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| host.name.as_str())
    }
}

/// Fills the slots of one host after the other; what is left over goes round again, so that more
/// ranks than slots need no permission. A host without slots counts as one with a single slot.
pub(crate) fn by_slot(hosts: &[Host], ranks: u32) -> Placement {
    let mut shares = vec![0_u32; hosts.len()];
    let mut left = ranks;
    while left > 0 && !hosts.is_empty() {
        for (share, host) in shares.iter_mut().zip(hosts) {
            let more = host.slots.max(1).min(left);
            *share += more;
            left -= more;
        }
    }
    let mut placement = Placement {
        hosts: Vec::new(),
        node_of: Vec::with_capacity(ranks as usize),
    };
    for (share, host) in shares.into_iter().zip(hosts) {
        if share > 0 {
            let node = u32::try_from(placement.hosts.len()).unwrap_or(u32::MAX);
            placement.hosts.push(host.clone());
            placement.node_of.extend((0..share).map(|_| node));
        }
    }
    placement
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(slots: &[u32]) -> Vec<Host> {
        let host = |(at, slots): (usize, &u32)| Host::new(format!("h{at}"), *slots);
        slots.iter().enumerate().map(host).collect()
    }

    #[test]
    fn slots_are_filled_in_order() {
        assert_eq!(by_slot(&hosts(&[2, 3]), 4).node_of, [0, 0, 1, 1]);
    }

    #[test]
    fn ranks_beyond_the_slots_go_round_and_stay_contiguous() {
        assert_eq!(by_slot(&hosts(&[2, 1]), 5).node_of, [0, 0, 0, 0, 1]);
        assert_eq!(by_slot(&hosts(&[1]), 3).node_of, [0, 0, 0]);
    }

    #[test]
    fn hosts_that_are_not_needed_are_left_out() {
        let placement = by_slot(&hosts(&[2, 2, 2]), 3);
        assert!(placement.names().eq(["h0", "h1"]));
    }

    #[test]
    fn a_host_without_slots_still_ends() {
        assert_eq!(by_slot(&hosts(&[0, 0]), 3).node_of, [0, 0, 1]);
        assert_eq!(by_slot(&[], 3).node_of, [0_u32; 0]);
    }
}
