//! Only the genuine messages of a handshake are taken for such.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phalanx::base::ids::{Epoch, JobId, Peer};
use phalanx::wire::control::Secret;
use phalanx::wire::handshake::{
    CHALLENGE_BYTES, Greeting, HELLO_BYTES, Identity, Initiator, Opening, PROOF_BYTES, Rejected,
};
use phalanx_fuzz as _;

fn identity(rank: u32) -> Identity {
    Identity {
        job: JobId(7),
        secret: Secret([9; 32]),
        epoch: Epoch(0),
        rank: Peer(rank),
        size: 2,
    }
}

/// The genuine message with the bits of `change` turned over, or `change` itself.
fn altered<const N: usize>(genuine: &[u8; N], change: &[u8; N], keep: bool) -> [u8; N] {
    std::array::from_fn(|at| {
        if keep {
            genuine[at] ^ change[at]
        } else {
            change[at]
        }
    })
}

type Input = (
    u8,
    [u8; HELLO_BYTES],
    [u8; CHALLENGE_BYTES],
    [u8; PROOF_BYTES],
);

fuzz_target!(|input: Input| {
    let (keep, hello_change, challenge_change, proof_change) = input;
    let keep = |bit: u8| keep >> bit & 1 == 0;
    let (me, other) = (identity(0), identity(1));
    let (initiator, hello) = Initiator::new(&other, me.rank, &Opening::first([1; 16]));

    let said = altered(&hello, &hello_change, keep(0));
    match Greeting::read(&me, &said, [2; 16]) {
        Ok(greeting) => assert!(said == hello && greeting.from == other.rank),
        Err(Rejected::Stranger) => assert_ne!(said, hello),
        Err(Rejected::Refused(_, answer)) => {
            assert_ne!(said, hello);
            assert!(initiator.answer(&answer).is_err());
        }
    }

    let greeting = Greeting::read(&me, &hello, [2; 16]).expect("genuine");
    let (acceptor, challenge) = greeting.proceed(&me, [2; 16], 0, 0);
    let said = altered(&challenge, &challenge_change, keep(1));
    assert_eq!(initiator.answer(&said).is_ok(), said == challenge);

    let proof = initiator.answer(&challenge).expect("genuine").proof;
    let said = altered(&proof, &proof_change, keep(2));
    assert_eq!(acceptor.is_proved_by(&said), said == proof);
});
