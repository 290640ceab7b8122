//! Golden bytes, refusals, and what garbage does.

use super::*;
use proptest::prelude::*;

fn identity(rank: u32) -> Identity {
    Identity {
        job: JobId(0x1122_3344_5566_7788),
        secret: Secret([7; 32]),
        epoch: Epoch(3),
        rank: Peer(rank),
        size: 4,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_bytes_of_all_three_messages_are_fixed() {
    let opening = Opening {
        nonce: [0xaa; 16],
        attempt: 2,
        connections: 1,
        received: 0x0102,
        encrypted: false,
    };
    let (initiator, hello) = Initiator::new(&identity(1), Peer(2), &opening);
    let greeting = Greeting::read(&identity(2), &hello, [0; 16]).expect("a member");
    let (acceptor, challenge) = greeting.proceed(&identity(2), [0xbb; 16], 0x0304, 4);
    let proof = initiator.answer(&challenge).expect("wanted").proof;
    assert!(acceptor.is_proved_by(&proof));
    assert_eq!(
        hex(&hello[..64]),
        "5048414c414e580a06000000030000008877665544332211\
         0100000002000000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         02000000010000000201000000000000"
    );
    assert_eq!(
        hex(&challenge[..48]),
        "5048583f000000000600000000000000bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
         04030000000000000500000000000000"
    );
    // Computed by Python's hmac module over the layout above.
    assert_eq!(hex(&hello[64..]), GOLDEN_MACS[0]);
    assert_eq!(hex(&challenge[48..]), GOLDEN_MACS[1]);
    assert_eq!(hex(&proof), GOLDEN_MACS[2]);
}

const GOLDEN_MACS: [&str; 3] = [
    "1f69b65e0225a741d62f99983dffadcb38724f25ec752cbdc314e310f35f6fc3",
    "45ad9dd6f316489d6fa0a97de41983196bc0b49458bb4259c724239fe883e214",
    "e91c22af54d0dda686439cdc00692cce84a73521f52f6f0aa3299f95c12bf37e",
];

#[test]
fn a_stranger_gets_no_answer_and_another_version_a_typed_one() {
    let mut stranger = identity(1);
    stranger.secret = Secret([8; 32]);
    let (_, hello) = Initiator::new(&stranger, Peer(2), &Opening::first([1; 16]));
    let me = identity(2);
    assert_eq!(
        Greeting::read(&me, &hello, [0; 16]).err(),
        Some(Rejected::Stranger)
    );
    let newer = hello_bytes(&stranger, PROTOCOL + 1, Peer(2), &Opening::first([1; 16]));
    let Err(Rejected::Refused(Refusal::Version, answer)) = Greeting::read(&me, &newer, [9; 16])
    else {
        panic!("a typed refusal");
    };
    assert_eq!(answer[16..], [0; 64], "nothing derived from the secret");
    let mut other = challenge_bytes(Refusal::Version as u8, [0; 16]);
    other[8] = 9;
    let (initiator, _) = Initiator::new(&me, Peer(1), &Opening::first([1; 16]));
    assert_eq!(initiator.answer(&other), Err(InitiatorError::Version(9)));
}

#[test]
fn members_in_the_wrong_place_are_told_so() {
    let me = identity(2);
    let cases = [
        (
            Identity {
                job: JobId(1),
                ..identity(1)
            },
            2,
            Refusal::Job,
        ),
        (
            Identity {
                epoch: Epoch(2),
                ..identity(1)
            },
            2,
            Refusal::Epoch,
        ),
        (identity(1), 3, Refusal::Rank),
        (identity(2), 2, Refusal::Rank),
        (identity(4), 2, Refusal::Rank),
    ];
    for (from, to, expected) in cases {
        let (initiator, hello) = Initiator::new(&from, Peer(to), &Opening::first([1; 16]));
        let Err(Rejected::Refused(why, answer)) = Greeting::read(&me, &hello, [2; 16]) else {
            panic!("{expected:?}");
        };
        assert_eq!(why, expected);
        assert_eq!(
            initiator.answer(&answer),
            Err(InitiatorError::Refused(expected))
        );
    }
}

#[test]
fn an_answer_cannot_be_moved_to_another_greeting() {
    let (_, hello) = Initiator::new(&identity(1), Peer(2), &Opening::first([1; 16]));
    let (other, _) = Initiator::new(&identity(1), Peer(2), &Opening::first([2; 16]));
    let greeting = Greeting::read(&identity(2), &hello, [0; 16]).expect("a member");
    let (acceptor, challenge) = greeting.proceed(&identity(2), [3; 16], 0, 0);
    assert_eq!(
        other.answer(&challenge),
        Err(InitiatorError::Authentication)
    );
    let mut tag = [0; PROOF_BYTES];
    tag.copy_from_slice(&challenge[48..]);
    assert!(!acceptor.is_proved_by(&tag), "a challenge is no proof");
}

proptest! {
    #[test]
    fn one_changed_bit_is_noticed(bit in 0..8 * (HELLO_BYTES + CHALLENGE_BYTES + PROOF_BYTES)) {
        let (initiator, mut hello) = Initiator::new(&identity(1), Peer(2), &Opening::first([1; 16]));
        let me = identity(2);
        if bit < 8 * HELLO_BYTES {
            hello[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Greeting::read(&me, &hello, [0; 16]).is_err());
            return Ok(());
        }
        let greeting = Greeting::read(&me, &hello, [0; 16]).expect("a member");
        let (acceptor, mut challenge) = greeting.proceed(&me, [2; 16], 0, 0);
        let bit = bit - 8 * HELLO_BYTES;
        if bit < 8 * CHALLENGE_BYTES {
            challenge[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(initiator.answer(&challenge).is_err());
            return Ok(());
        }
        let mut proof = initiator.answer(&challenge).expect("wanted").proof;
        let bit = bit - 8 * CHALLENGE_BYTES;
        proof[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!acceptor.is_proved_by(&proof));
    }

    #[test]
    fn garbage_is_refused(
        bytes in proptest::collection::vec(any::<u8>(), HELLO_BYTES),
        with_magic in any::<bool>(),
    ) {
        let mut hello = [0; HELLO_BYTES];
        hello.copy_from_slice(&bytes);
        if with_magic {
            hello[..8].copy_from_slice(&HELLO_MAGIC);
        }
        prop_assert!(Greeting::read(&identity(2), &hello, [0; 16]).is_err());
        let mut challenge = [0; CHALLENGE_BYTES];
        challenge.copy_from_slice(&bytes[..CHALLENGE_BYTES]);
        if with_magic {
            challenge[..4].copy_from_slice(&CHALLENGE_MAGIC);
        }
        let (initiator, _) = Initiator::new(&identity(1), Peer(2), &Opening::first([1; 16]));
        prop_assert!(initiator.answer(&challenge).is_err());
    }
}

#[test]
fn the_wish_to_encrypt_is_part_of_the_greeting() {
    let mut opening = Opening::first([1; 16]);
    let (_, plain) = Initiator::new(&identity(1), Peer(2), &opening);
    opening.encrypted = true;
    let (_, mut hello) = Initiator::new(&identity(1), Peer(2), &opening);
    assert!(asks_for_encryption(&hello) && !asks_for_encryption(&plain));
    let greeting = Greeting::read(&identity(2), &hello, [0; 16]).expect("a member");
    assert!(greeting.opening.encrypted);
    // Nobody on the way can take it out.
    hello[14] ^= 1;
    let read = Greeting::read(&identity(2), &hello, [0; 16]);
    assert_eq!(read.expect_err("altered"), Rejected::Stranger);
}
