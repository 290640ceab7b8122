//! Every collective algorithm, run by the interpreter on all ranks in memory: 1 to 33 ranks, odd counts
//! and roots, operators that do not commute, random orders of events.

#[path = "schedules/oracle.rs"]
mod oracle;

use std::collections::BTreeSet;
use std::path::Path;

use oracle::{Value, brought, wanted, with_cases};
use phalanx::schedule::interpret::{Delivery, Job, Memory};
use phalanx::schedule::{
    ALGORITHMS, Algorithm, Counts, Kind, Operation, Schedule, Selection, Step, build,
};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const RANKS_MAX: usize = 33;
/// Makes segments of two elements.
const BIG_ELEMENT_BYTES: usize = phalanx::schedule::SEGMENT_BYTES / 2;

/// Builds the schedules of all ranks, lets the interpreter check them, runs them, and compares.
fn verify(algorithm: &Algorithm, operations: &[Operation<'_>], element_bytes: usize) {
    let size = operations.len();
    let case = || {
        let first = operations[0];
        format!(
            "{} {} on {size} ranks: {first:?}",
            algorithm.kind, algorithm.name
        )
    };
    let schedules: Vec<Schedule> = (0..size)
        .map(|rank| algorithm.build(&operations[rank], rank, size, element_bytes))
        .collect();
    let lengths: Vec<_> = (0..size)
        .map(|rank| {
            let operation = &operations[rank];
            (
                operation.input_length(rank, size),
                operation.output_length(rank, size),
            )
        })
        .collect();
    let job = Job::new(&schedules, &lengths).unwrap_or_else(|fault| panic!("{}: {fault}", case()));
    if algorithm.kind == Kind::Barrier {
        assert!(everyone_hears_of_everyone(&schedules), "{}", case());
    } else {
        let empty = |step: &Step| match step {
            Step::Send { from: span, .. } | Step::Receive { into: span, .. } => span.length == 0,
            _ => false,
        };
        let found = schedules
            .iter()
            .flat_map(|schedule| &schedule.steps)
            .find(|step| empty(step));
        assert_eq!(found, None, "an empty message in {}", case());
    }
    let memories: Vec<_> = (0..size)
        .map(|rank| brought(&operations[rank], rank, size))
        .collect();
    // Without races the order of events makes no difference; the second run is to show that.
    let runs = if size <= RANKS_MAX / 2 { 2 } else { 1 };
    for (seed, delivery) in (1..=runs).zip([Delivery::Synchronous, Delivery::Mixed]) {
        let mut random = SmallRng::seed_from_u64((seed * 1000 + size) as u64);
        let ends = job
            .run(memories.clone(), Value::combine, delivery, |n| {
                random.random_range(0..n)
            })
            .unwrap_or_else(|fault| panic!("{}, seed {seed}: {fault}", case()));
        for (rank, end) in ends.iter().enumerate() {
            let wanted = wanted(&operations[rank], rank, size).into_iter().map(Some);
            assert!(
                end.output.iter().copied().eq(wanted),
                "{}, seed {seed}, rank {rank} has {:?}",
                case(),
                end.output
            );
            assert_eq!(end.input, memories[rank].input, "{}", case());
        }
    }
}

/// Reductions whose bits must not depend on where ranks run: the operands are grouped from the left as well.
#[test]
fn reductions_from_the_left_group_their_operands_so() {
    let left = ALGORITHMS
        .iter()
        .filter(|one| one.name.ends_with("from_left"));
    assert_eq!(left.clone().count(), 3);
    for algorithm in left {
        for (size, count) in (1..=RANKS_MAX).flat_map(|size| [(size, 1), (size, 2 * size + 3)]) {
            let (root, commutative) = (size / 2, false);
            let operation = match algorithm.kind {
                Kind::Reduce => Operation::Reduce {
                    root,
                    count,
                    commutative,
                },
                _ => Operation::Allreduce { count, commutative },
            };
            let ranks = 0..size;
            let schedules: Vec<_> = ranks
                .clone()
                .map(|rank| algorithm.build(&operation, rank, size, 8))
                .collect();
            let lengths = |rank| {
                (
                    operation.input_length(rank, size),
                    operation.output_length(rank, size),
                )
            };
            let lengths: Vec<_> = ranks.map(lengths).collect();
            let memory = |(rank, (input, output)): (usize, &(usize, usize))| Memory {
                input: vec![Some(rank.to_string()); *input],
                output: vec![Some(rank.to_string()); *output],
            };
            let memories = lengths.iter().enumerate().map(memory).collect();
            let job = Job::new(&schedules, &lengths).expect("sound");
            let combine = |a: &String, b: &String| format!("({a} {b})");
            let ends = job
                .run(memories, combine, Delivery::Synchronous, |_| 0)
                .expect("ends");
            let wanted = (1..size).fold("0".to_owned(), |value, rank| format!("({value} {rank})"));
            for output in ends.iter().flat_map(|end| &end.output) {
                assert_eq!(
                    output.as_ref(),
                    Some(&wanted),
                    "{} {} on {size}",
                    algorithm.kind,
                    algorithm.name
                );
            }
        }
    }
}

/// Whether each rank, when it has done all its steps, can only have done them after all ranks began.
fn everyone_hears_of_everyone(schedules: &[Schedule]) -> bool {
    let everyone = (0..schedules.len()).fold(0u64, |bits, rank| bits | 1 << rank);
    let mut known: Vec<Vec<u64>> = schedules
        .iter()
        .enumerate()
        .map(|(rank, schedule)| vec![1 << rank; schedule.steps.len()])
        .collect();
    loop {
        let before = known.clone();
        for (rank, schedule) in schedules.iter().enumerate() {
            for (number, step) in schedule.steps.iter().enumerate() {
                for &earlier in schedule.after.of(number) {
                    known[rank][number] |= known[rank][earlier as usize];
                }
                if let Step::Receive { from, round, .. } = *step {
                    let is_send = |other: &Step| matches!(other, Step::Send { to, round: r, .. } if *to == rank && *r == round);
                    let send = schedules[from]
                        .steps
                        .iter()
                        .position(is_send)
                        .expect("matched");
                    known[rank][number] |= known[from][send];
                }
            }
        }
        if known == before {
            break;
        }
    }
    known
        .iter()
        .enumerate()
        .all(|(rank, steps)| steps.iter().fold(1 << rank, |bits, step| bits | step) == everyone)
}

/// All algorithms of a kind, 1 to 33 ranks.
fn verify_kind(kind: Kind) {
    // Where each rank has a block its length does not meet the number of ranks in any way.
    let blocks = !matches!(
        kind,
        Kind::Bcast | Kind::Reduce | Kind::Allreduce | Kind::Scan | Kind::Exscan
    );
    let with_operator = matches!(
        kind,
        Kind::Reduce | Kind::Allreduce | Kind::ReduceScatter | Kind::ReduceScatterBlock
    );
    let mut verified = BTreeSet::new();
    for size in 1..=RANKS_MAX {
        let roots = BTreeSet::from([0, size / 3, size / 2, size - 1]);
        let mut cases = BTreeSet::new();
        let counts = BTreeSet::from([0, 1, 2, 3, 7, size - 1, size, size + 1, 64]);
        for (index, count) in counts.into_iter().enumerate() {
            if !blocks || count <= 3 {
                cases.insert((
                    *roots.iter().nth(index % roots.len()).expect("a root"),
                    count,
                    8,
                ));
            }
            if !blocks && (count == 7 || count == 64) {
                cases.insert((size / 2, count, BIG_ELEMENT_BYTES));
            }
        }
        cases.extend(roots.iter().map(|root| (*root, 2, 8)));
        for (root, count, element_bytes) in cases {
            with_cases(kind, size, root, count, |operations| {
                let has_operator = operations[0].commutative() && with_operator;
                for algorithm in Algorithm::of(kind).filter(|a| a.accepts(&operations[0])) {
                    // What keeps rank order is shown with an operator that needs it.
                    if has_operator && !algorithm.commutative_only {
                        continue;
                    }
                    verify(algorithm, operations, element_bytes);
                    verified.insert(algorithm.name);
                }
            });
        }
    }
    let registered: BTreeSet<_> = Algorithm::of(kind)
        .map(|algorithm| algorithm.name)
        .collect();
    assert_eq!(
        verified, registered,
        "algorithms of {kind} that were never run"
    );
}

macro_rules! kinds {
    ($($test:ident: $kind:ident,)*) => {
        $(#[test] fn $test() { verify_kind(Kind::$kind); })*

        /// The kinds that have a test.
        const TESTED: &[Kind] = &[$(Kind::$kind),*];
    };
}

kinds! {
    barrier: Barrier,
    bcast: Bcast,
    reduce: Reduce,
    allreduce: Allreduce,
    scan: Scan,
    exscan: Exscan,
    gather: Gather,
    gatherv: Gatherv,
    scatter: Scatter,
    scatterv: Scatterv,
    allgather: Allgather,
    allgatherv: Allgatherv,
    alltoall: Alltoall,
    alltoallv: Alltoallv,
    reduce_scatter_block: ReduceScatterBlock,
    reduce_scatter: ReduceScatter,
}

#[test]
fn every_registered_algorithm_is_tested() {
    for algorithm in ALGORITHMS {
        assert!(
            TESTED.contains(&algorithm.kind),
            "no test for {}",
            algorithm.kind
        );
        let same =
            |other: &&&Algorithm| other.kind == algorithm.kind && other.name == algorithm.name;
        assert_eq!(
            ALGORITHMS.iter().filter(same).count(),
            1,
            "{} twice",
            algorithm.name
        );
    }
    assert!(
        Kind::ALL
            .into_iter()
            .all(|kind| Algorithm::of(kind).next().is_some())
    );
}

#[test]
fn every_file_of_an_algorithm_is_registered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schedule");
    let mut files = 0;
    for kind in Kind::ALL {
        let Ok(entries) = folder.join(kind.name()).read_dir() else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("an entry").path();
            let name = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .expect("a name");
            if name != "mod" {
                assert!(
                    Algorithm::find(kind, name).is_some(),
                    "{} is not registered",
                    path.display()
                );
                files += 1;
            }
        }
    }
    let distinct: BTreeSet<_> = ALGORITHMS.iter().map(|a| (a.summary, a.name)).collect();
    assert!(
        files >= distinct.len() - 5,
        "only {files} files of algorithms were found"
    );
}

#[test]
fn allreduce_gives_everyone_the_same_bits() {
    for size in 1..=RANKS_MAX {
        let count = 19;
        let mut random = SmallRng::seed_from_u64(size as u64);
        let memories: Vec<_> = (0..size)
            .map(|_| Memory {
                input: vec![],
                output: (0..count)
                    .map(|_| Some(random.random_range(-1e6..1e6)))
                    .collect(),
            })
            .collect();
        for algorithm in Algorithm::of(Kind::Allreduce) {
            let operation = Operation::Allreduce {
                count,
                commutative: true,
            };
            let schedules: Vec<_> = (0..size)
                .map(|r| algorithm.build(&operation, r, size, BIG_ELEMENT_BYTES))
                .collect();
            let job = Job::new(&schedules, &vec![(0, count); size]).expect("a valid schedule");
            let mut run = || {
                let choose = |n| random.random_range(0..n);
                let add = |one: &f64, two: &f64| one + two;
                job.run(memories.clone(), add, Delivery::Mixed, choose)
                    .expect("it runs")
            };
            let (first, second) = (run(), run());
            let bits = |memory: &Memory<f64>| -> Vec<_> {
                memory
                    .output
                    .iter()
                    .map(|value| value.map(f64::to_bits))
                    .collect()
            };
            for memory in first.iter().chain(&second) {
                assert_eq!(
                    bits(memory),
                    bits(&first[0]),
                    "{} on {size} ranks",
                    algorithm.name
                );
            }
        }
    }
}

#[test]
fn strings_come_out_in_rank_order() {
    for size in [2, 3, 6, 26] {
        let letter = |rank: usize| char::from(b'a' + rank as u8).to_string();
        let alphabet: String = (0..size).map(letter).collect();
        let operation = Operation::Allreduce {
            count: 1,
            commutative: false,
        };
        for algorithm in Algorithm::of(Kind::Allreduce).filter(|a| a.accepts(&operation)) {
            let schedules: Vec<_> = (0..size)
                .map(|rank| algorithm.build(&operation, rank, size, 8))
                .collect();
            let job = Job::new(&schedules, &vec![(0, 1); size]).expect("a valid schedule");
            let memories = (0..size)
                .map(|rank| Memory {
                    input: vec![],
                    output: vec![Some(letter(rank))],
                })
                .collect();
            let join = |left: &String, right: &String| format!("{left}{right}");
            let ends = job
                .run(memories, join, Delivery::Mixed, |n| n - 1)
                .expect("it runs");
            assert!(
                ends.iter()
                    .all(|end| end.output == [Some(alphabet.clone())])
            );
        }
    }
}

#[test]
fn the_defaults_fit_every_case() {
    for crowded in [false, true] {
        let selection = Selection::default().crowded(crowded);
        for kind in Kind::ALL {
            for size in [1, 2, 3, 4, 5, 8, 13] {
                for element_bytes in [1, 300, 20_000, 2_000_000] {
                    with_cases(kind, size, size / 2, 3, |operations| {
                        let algorithm = selection.choose(&operations[0], size, element_bytes);
                        assert!(algorithm.accepts(&operations[0]));
                        for (rank, operation) in operations.iter().enumerate() {
                            let chosen = selection.choose(operation, size, element_bytes);
                            assert_eq!(chosen.name, algorithm.name, "the same on all ranks");
                            let schedule = build(operation, rank, size, element_bytes, &selection);
                            assert_eq!(schedule.algorithm, algorithm.name);
                        }
                        verify(algorithm, operations, element_bytes);
                    });
                }
            }
        }
    }
}

#[test]
fn schedules_stay_small() {
    for (size, count) in [(2, 1 << 30), (64, 1 << 28), (1000, 100)] {
        for algorithm in Algorithm::of(Kind::Allreduce) {
            let operation = Operation::Allreduce {
                count,
                commutative: true,
            };
            let steps = algorithm.build(&operation, size / 2, size, 8).steps.len();
            assert!(
                steps <= 5 * size.max(512),
                "{}: {steps} steps",
                algorithm.name
            );
        }
    }
}

/// Ranks, a root, and a count for each pair of ranks, many of them zero.
fn random_counts() -> impl Strategy<Value = (usize, Vec<Vec<usize>>)> {
    let count = prop_oneof![2 => Just(0usize), 3 => 1..6usize];
    (1..=12usize).prop_flat_map(move |size| {
        let row = prop::collection::vec(count.clone(), size);
        (0..size, prop::collection::vec(row, size))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_counts_of_blocks((root, counts) in random_counts()) {
        let size = counts.len();
        let all = &counts[0];
        let receives: Vec<Vec<_>> =
            (0..size).map(|rank| counts.iter().map(|row| row[rank]).collect()).collect();
        let per_rank = |kind: Kind, rank: usize| {
            let (own, at_root) = (all[rank], (rank == root).then_some(&all[..]));
            match kind {
                Kind::Gatherv => Operation::Gatherv { root, own, all: at_root },
                Kind::Scatterv => Operation::Scatterv { root, own, all: at_root },
                Kind::Allgatherv => Operation::Allgather { counts: Counts::Each(all) },
                Kind::Alltoallv => {
                    Operation::Alltoallv { sends: &counts[rank], receives: &receives[rank] }
                }
                _ => Operation::ReduceScatter { counts: Counts::Each(all), commutative: root % 2 == 0 },
            }
        };
        for kind in [
            Kind::Gatherv, Kind::Scatterv, Kind::Allgatherv, Kind::Alltoallv, Kind::ReduceScatter,
        ] {
            let operations: Vec<_> = (0..size).map(|rank| per_rank(kind, rank)).collect();
            for algorithm in Algorithm::of(kind).filter(|a| a.accepts(&operations[0])) {
                verify(algorithm, &operations, 8);
            }
        }
    }

    #[test]
    fn random_lengths(
        size in 1..=20usize,
        root in 0..20usize,
        count in 0..200usize,
        element_bytes in prop::sample::select(vec![1, 8, 1000, BIG_ELEMENT_BYTES, 100_000]),
        kind in prop::sample::select(Kind::ALL.to_vec()),
    ) {
        let blocks = !matches!(
            kind,
            Kind::Bcast | Kind::Reduce | Kind::Allreduce | Kind::Scan | Kind::Exscan
        );
        let count = if blocks { count % 10 } else { count };
        with_cases(kind, size, root % size, count, |operations| {
            for algorithm in Algorithm::of(kind).filter(|a| a.accepts(&operations[0])) {
                verify(algorithm, operations, element_bytes);
            }
        });
    }
}
