//! Golden bytes, fragments, and what garbage does.

use super::*;
use proptest::prelude::*;

fn samples() -> Vec<FromRank> {
    vec![
        FromRank::Join {
            protocol: PROTOCOL,
            pid: 7,
            addresses: vec!["127.0.0.1:9".into()],
        },
        FromRank::Watch { ranks: vec![] },
        FromRank::Abort {
            code: 9,
            message: "enough".into(),
        },
    ]
}

#[test]
fn the_bytes_of_a_message_are_fixed() {
    let join = encode(&samples()[0]).expect("short");
    assert_eq!(join, b"\x10\0\0\0\x00\x06\x07\x01\x0b127.0.0.1:9");
}

#[test]
fn messages_survive_any_fragmentation() {
    let stream: Vec<u8> = samples()
        .iter()
        .flat_map(|message| encode(message).expect("short"))
        .collect();
    for piece in 1..stream.len() {
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for bytes in stream.chunks(piece) {
            decoder.extend(bytes);
            while let Some(message) = decoder.next::<FromRank>().expect("well-formed") {
                seen.push(message);
            }
        }
        assert_eq!(seen, samples());
        assert!(!decoder.is_inside_message());
    }
}

#[test]
fn a_huge_length_is_refused_before_anything_is_kept_for_it() {
    let mut decoder = Decoder::default();
    decoder.extend(&u32::MAX.to_le_bytes());
    assert_eq!(
        decoder.next::<FromRank>(),
        Err(ControlError::TooLong(u32::MAX as usize))
    );
}

#[test]
fn byte_strings_are_a_length_and_the_bytes() {
    let printed = FromDaemon::Printed {
        rank: 3,
        stream: Stream::Error,
        bytes: b"hi\n".to_vec(),
    };
    let bytes = encode(&printed).expect("short");
    assert_eq!(bytes, b"\x07\0\0\0\x04\x03\x01\x03hi\n");
    let mut decoder = Decoder::default();
    decoder.extend(&bytes);
    assert_eq!(decoder.next::<FromDaemon>(), Ok(Some(printed)));
    let input = encode(&ToDaemon::Input(vec![1, 2])).expect("short");
    assert_eq!(input, b"\x04\0\0\0\x03\x02\x01\x02");
}

#[test]
fn the_secret_is_never_printed() {
    assert_eq!(format!("{:?}", Secret([7; 32])), "Secret(..)");
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::default();
        decoder.extend(&bytes);
        while let Ok(Some(_)) = decoder.next::<FromDaemon>() {}
        let mut decoder = Decoder::default();
        decoder.extend(&bytes);
        while let Ok(Some(_)) = decoder.next::<ToDaemon>() {}
    }
}
