//! How long a rank polls before it sleeps, as far as that is known when it joins.

use std::time::Duration;

use crate::config::Config;
use crate::runtime::Identity;
use crate::runtime::wait::{Patience, Stages};

/// With a core for every rank of this host, polling is the fastest; without, it steals the core from
/// the rank that is waited for.
pub(super) fn patience(config: &Config, identity: &Identity) -> Patience {
    let nodes = &identity.nodes.node_of;
    let here = nodes.get(identity.me.index());
    let ranks = nodes.iter().filter(|&node| Some(node) == here).count();
    let stages = |spin: u64, yields: u32| Stages {
        spin: config.spin.unwrap_or_else(|| Duration::from_micros(spin)),
        yields: config.yields.unwrap_or(yields),
    };
    Patience {
        alone: stages(100, 2),
        crowded: stages(0, 100),
        presumably_crowded: ranks > identity.cores.map_or_else(cores, |cores| cores as usize),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::ids::Peer;
    use crate::sys::processor::Processors;
    use crate::wire::control::NodeMap;

    fn is_crowded(ranks: u32, cores: Option<u32>) -> bool {
        let nodes = NodeMap {
            hosts: vec!["here".to_owned()],
            node_of: vec![0; ranks as usize],
        };
        let identity = Identity {
            me: Peer(0),
            size: ranks,
            nodes: Arc::new(nodes),
            programs: Vec::new(),
            cores,
        };
        let config = Config::from_lookup(|_| None).expect("defaults");
        patience(&config, &identity).presumably_crowded
    }

    #[test]
    fn a_rank_that_is_bound_to_one_core_does_not_take_the_host_for_crowded() {
        let bound = std::thread::spawn(|| {
            let one = Processors::allowed().expect("a set").numbers()[0];
            Processors::of(&[one])
                .expect("a set")
                .bind()
                .expect("binds");
            [(2, None), (2, Some(2)), (3, Some(2))].map(|(ranks, cores)| is_crowded(ranks, cores))
        });
        assert_eq!(bound.join().expect("no panic"), [true, false, true]);
    }
}
