//! Arrivals, deadlines, failures.

use super::*;

const START: Duration = Duration::ZERO;

fn arrival(rank: u32, size: u32) -> Arrival {
    Arrival {
        protocol: PROTOCOL,
        rank,
        size,
        pid: 100 + rank,
        host: format!("node{rank}"),
        node: format!("boot{}", rank / 2),
        processors: vec![0, 1 << rank],
    }
}

fn new(size: u32) -> Coordinator {
    let limit = Duration::from_secs(60);
    Coordinator::new(JobId(1), Secret([1; 32]), size, START, limit)
}

fn complete(size: u32) -> Coordinator {
    let mut job = new(size);
    for rank in 0..size {
        job.arrived(arrival(rank, size)).expect("welcome");
    }
    job.take_actions();
    job
}

fn end(job: &mut Coordinator) -> Option<(u8, String)> {
    job.take_actions()
        .into_iter()
        .find_map(|action| match action {
            Action::End { code, line } => Some((code, line)),
            _ => None,
        })
}

#[test]
fn all_that_arrive_are_told_who_and_where_the_others_are() {
    let mut job = new(3);
    job.arrived(arrival(0, 3)).expect("welcome");
    job.arrived(arrival(2, 3)).expect("welcome");
    assert_eq!(job.take_actions(), [], "one is missing");
    job.arrived(arrival(1, 3)).expect("welcome");
    let welcomes = job
        .take_actions()
        .into_iter()
        .filter_map(|action| match action {
            Action::Send(to, FromMeeting::Tell(ToRank::Welcome(welcome))) => Some((to, welcome)),
            _ => None,
        });
    let welcomes: Vec<_> = welcomes.collect();
    assert_eq!(welcomes.len(), 3);
    for (to, welcome) in welcomes {
        assert_eq!(welcome.rank, to);
        assert_eq!(welcome.nodes.node_of, [0, 0, 1]);
        assert_eq!(welcome.nodes.hosts, ["node0", "node2"]);
        // Each is bound to one, and has it to itself.
        assert_eq!(welcome.cores, Some([2, 2, 1][to as usize]));
    }
}

#[test]
fn cores_are_not_known_when_one_rank_does_not_say() {
    assert_eq!(cores([&[3][..], &[6, 1]].into_iter()), Some(4));
    assert_eq!(cores([&[3][..], &[]].into_iter()), None);
}

#[test]
fn who_cannot_take_part_is_told_why() {
    let mut job = new(3);
    job.arrived(arrival(1, 3)).expect("welcome");
    let twice = job.arrived(arrival(1, 3)).expect_err("taken");
    assert!(
        twice.contains("taken by rank 1 on node1 (pid 101)"),
        "{twice}"
    );
    let size = job.arrived(arrival(2, 4)).expect_err("another size");
    assert!(
        size.contains("4 ranks") && size.contains("it has 3"),
        "{size}"
    );
    let mut old = arrival(2, 3);
    old.protocol = 1;
    let version = job.arrived(old).expect_err("another version");
    assert!(version.contains("protocol 1"), "{version}");
    assert!(job.arrived(arrival(3, 3)).is_err(), "there is no rank 3");
}

#[test]
fn after_the_deadline_all_hear_who_is_missing() {
    let mut job = new(4);
    job.arrived(arrival(0, 4)).expect("welcome");
    job.arrived(arrival(2, 4)).expect("welcome");
    assert_eq!(job.next_deadline(), Some(Duration::from_secs(60)));
    job.tick(Duration::from_secs(60));
    let told = job.take_actions();
    let refused = |action: &Action| match action {
        Action::Send(to, FromMeeting::Refused { reason }) => Some((*to, reason.clone())),
        _ => None,
    };
    let told: Vec<_> = told.iter().filter_map(refused).collect();
    assert_eq!(told.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [0, 2]);
    assert!(
        told[0].1.contains("ranks 1, 3 of 4 have not arrived"),
        "{told:?}"
    );
    assert!(told[0].1.contains("node0, node2"), "{told:?}");
}

#[test]
fn a_rank_that_is_lost_ends_the_job_unless_it_finalized() {
    let mut job = complete(4);
    job.said(1, FromRank::Finalized, START);
    job.lost(1);
    assert_eq!(end(&mut job), None);
    job.lost(3);
    let (code, line) = end(&mut job).expect("rank 3 is lost");
    assert_eq!(code, 72);
    assert!(
        line.starts_with("rank 3 on node3 (pid 103) was lost"),
        "{line}"
    );
}

#[test]
fn a_panic_explains_the_loss() {
    let mut job = complete(2);
    let panic = FromRank::Panicked {
        message: "out of cheese".into(),
        location: "a.rs:1:1".into(),
    };
    job.said(1, panic, START);
    assert_eq!(end(&mut job), None, "the panic may be caught");
    job.lost(1);
    let (code, line) = end(&mut job).expect("lost");
    assert_eq!(code, 101);
    assert!(
        line.contains("panicked at a.rs:1:1: out of cheese"),
        "{line}"
    );
}

#[test]
fn a_victim_waits_for_the_culprit() {
    let mut job = complete(3);
    let message = "peer gone".to_owned();
    let class = FailureClass::PeerGone;
    job.said(1, FromRank::Failed { message, class }, START);
    assert_eq!(end(&mut job), None);
    job.lost(2);
    let (_, line) = end(&mut job).expect("lost");
    assert!(line.starts_with("rank 2 "), "{line}");
}

#[test]
fn the_job_is_over_when_all_have_finalized() {
    let mut job = complete(2);
    job.said(0, FromRank::Finalized, START);
    assert!(!job.take_actions().contains(&Action::Over));
    job.said(1, FromRank::Finalized, START);
    assert!(job.take_actions().contains(&Action::Over));
    job.lost(1);
    assert_eq!(job.take_actions(), []);
}

#[test]
fn an_address_is_told_once_it_is_known() {
    let mut job = complete(2);
    job.said(0, FromRank::Lookup { rank: 1 }, START);
    assert_eq!(job.take_actions(), []);
    let addresses = vec!["10.0.0.1:9".to_owned()];
    let join = FromRank::Join {
        protocol: PROTOCOL,
        pid: 1,
        addresses: addresses.clone(),
    };
    job.said(1, join, START);
    let address = FromMeeting::Tell(ToRank::Address { rank: 1, addresses });
    assert_eq!(job.take_actions(), [Action::Send(0, address)]);
}
