//! Maps as drawn by hand, and what holds for all of them.

use super::*;
use proptest::prelude::*;

fn hosts(slots: &[u32]) -> Vec<Host> {
    let host = |(at, slots): (usize, &u32)| Host::new(format!("h{at}"), *slots);
    slots.iter().enumerate().map(host).collect()
}

fn by(map_by: By) -> Wishes {
    let unset = Wishes::default();
    Wishes { map_by, ..unset }
}

fn map(slots: &[u32], ranks: u32, wishes: &Wishes) -> Vec<u32> {
    place(&hosts(slots), ranks, wishes).expect("fits").node_of
}

#[test]
fn slots_are_filled_in_order_and_then_again() {
    assert_eq!(map(&[2, 3], 4, &by(By::Slot)), [0, 0, 1, 1]);
    assert_eq!(map(&[2, 1], 5, &by(By::Slot)), [0, 0, 0, 0, 1]);
    assert_eq!(map(&[1], 3, &by(By::Slot)), [0, 0, 0]);
    assert_eq!(map(&[0, 0], 3, &by(By::Slot)), [0, 0, 1]);
}

#[test]
fn hosts_take_turns() {
    assert_eq!(map(&[2, 3], 4, &by(By::Node)), [0, 1, 0, 1]);
    let rank_by = Some(By::Slot);
    assert_eq!(
        map(
            &[2, 3],
            4,
            &Wishes {
                rank_by,
                ..by(By::Node)
            }
        ),
        [0, 0, 1, 1]
    );
    let rank_by = Some(By::Node);
    assert_eq!(
        map(
            &[3, 1],
            4,
            &Wishes {
                rank_by,
                ..by(By::Slot)
            }
        ),
        [0, 1, 0, 0]
    );
}

#[test]
fn a_number_for_each_host_is_kept() {
    let per_node = Some(2);
    let wishes = Wishes {
        per_node,
        ..by(By::Slot)
    };
    assert_eq!(map(&[9, 1, 1], 5, &wishes), [0, 0, 1, 1, 2]);
    let error = place(&hosts(&[9, 9]), 5, &wishes).expect_err("four fit");
    assert!(error.contains("--ranks-per-node 2 on 2 hosts"), "{error}");
}

#[test]
fn a_limit_is_never_exceeded_and_the_message_names_it() {
    let mut limited = hosts(&[2, 1]);
    limited[0].max_slots = Some(3);
    let placed = place(&limited, 6, &by(By::Slot)).expect("the other takes more");
    assert_eq!(placed.node_of, [0, 0, 0, 1, 1, 1]);
    limited[1].max_slots = Some(1);
    let error = place(&limited, 5, &by(By::Slot)).expect_err("four fit");
    assert!(
        error.contains("h0 3, h1 1") && error.contains("`max_slots=`"),
        "{error}"
    );
}

#[test]
fn hosts_that_are_not_needed_are_left_out() {
    let placement = place(&hosts(&[2, 2, 2]), 3, &by(By::Slot)).expect("fits");
    assert!(placement.names().eq(["h0", "h1"]));
    assert_eq!(placement.oversubscribed(), None);
    assert_eq!(
        placement.map(),
        "h0 (slots 2): ranks 0-1\nh1 (slots 2): rank 2\n"
    );
    let full = place(&hosts(&[1, 1]), 3, &by(By::Slot)).expect("fits");
    assert_eq!(
        full.oversubscribed().expect("over"),
        "more ranks than slots on h0 (2 in 1)"
    );
}

fn some_hosts() -> impl Strategy<Value = Vec<Host>> {
    let host = (0_u32..5, proptest::option::of(0_u32..4));
    proptest::collection::vec(host, 1..6).prop_map(|all| {
        let host = |(at, (slots, more)): (usize, (u32, Option<u32>))| Host {
            max_slots: more.map(|more| slots.max(1) + more),
            ..Host::new(format!("h{at}"), slots)
        };
        all.into_iter().enumerate().map(host).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_rank_has_one_place_within_the_limits(
        hosts in some_hosts(),
        ranks in 1_u32..40,
        nodes in any::<[bool; 2]>(),
        per_node in proptest::option::of(1_u32..6),
    ) {
        let choice = |node| if node { By::Node } else { By::Slot };
        let wishes = Wishes { map_by: choice(nodes[0]), rank_by: Some(choice(nodes[1])), per_node };
        let most = |host: &Host| {
            let each = per_node.map_or(u64::MAX >> 8, u64::from);
            host.max_slots.map_or(each, |most| each.min(u64::from(most)))
        };
        let fit: u64 = hosts.iter().map(most).sum();
        match place(&hosts, ranks, &wishes) {
            Err(_) => prop_assert!(fit < u64::from(ranks)),
            Ok(placement) => {
                prop_assert!(fit >= u64::from(ranks));
                prop_assert_eq!(placement.node_of.len(), ranks as usize);
                for (node, host) in (0_u32..).zip(&placement.hosts) {
                    let share = placement.node_of.iter().filter(|at| **at == node).count() as u64;
                    prop_assert!(share > 0 && share <= most(host));
                }
                if !nodes[1] {
                    prop_assert!(placement.node_of.is_sorted(), "ranks of a host are contiguous");
                }
            }
        }
    }
}
