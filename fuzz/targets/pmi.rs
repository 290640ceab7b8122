//! Whatever a process manager says is an answer, the beginning of one, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phalanx::wire::pmi::{ANSWER_BYTES_MAX, Answer, Dialect, Request};
use phalanx_fuzz as _;

fuzz_target!(|input: (bool, Vec<u8>)| {
    let (framed, bytes) = input;
    let Ok(decoded) = Answer::decode(&bytes, framed) else {
        return;
    };
    let Some((answer, taken)) = decoded else {
        assert!(
            bytes.len() <= ANSWER_BYTES_MAX + 6,
            "it must not wait for more"
        );
        return;
    };
    assert!(taken <= bytes.len());
    // What comes behind changes nothing, and one byte less is no answer.
    let again = Answer::decode(&bytes[..taken], framed);
    assert_eq!(again, Ok(Some((answer.clone(), taken))));
    assert_eq!(Answer::decode(&bytes[..taken - 1], framed), Ok(None));
    let dialect = if framed { Dialect::Two } else { Dialect::One };
    let get = Request::Get {
        space: "7.0",
        key: "phalanx",
    };
    if answer.check(&get, dialect).is_ok() {
        assert_eq!(answer.get("cmd"), Some(get.answered_by(dialect)));
    }
});
