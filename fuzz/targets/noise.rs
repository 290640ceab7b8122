//! An encrypted stream gives what was sealed, in any pieces, and nothing once a bit was altered; no garbage
//! opens one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phalanx::wire::control::Secret;
use phalanx::wire::noise::Session;
use phalanx_fuzz::pieces;

fuzz_target!(|input: (Vec<u8>, Vec<u8>, Vec<u8>, usize, u8)| {
    let (garbage, stream, lengths, place, bits) = input;
    let secret = Secret([9; 32]);
    let mut stranger = Session::responder(&secret).expect("primitives");
    for piece in pieces(&garbage, &lengths) {
        if stranger.receive(piece).is_err() {
            break;
        }
    }
    assert!(!stranger.is_open());

    let (mut one, hello) = Session::initiator(&secret).expect("random numbers");
    let mut other = Session::responder(&secret).expect("primitives");
    let answer = other.receive(&hello).expect("genuine");
    one.receive(&answer.reply).expect("genuine");
    let mut sealed = one.seal(&stream).expect("open");
    if let Some(altered) = sealed.len().checked_sub(1).map(|last| place % (last + 1)) {
        sealed[altered] ^= bits;
    }
    let mut plain = Vec::new();
    let mut broken = false;
    for piece in pieces(&sealed, &lengths) {
        match other.receive(piece) {
            Ok(received) => plain.extend(received.plain),
            Err(_) => {
                broken = true;
                break;
            }
        }
    }
    assert!(stream.starts_with(&plain), "only what was sealed comes out");
    if bits == 0 {
        assert!(!broken && plain == stream);
    } else if !sealed.is_empty() {
        assert_ne!(plain, stream);
    }
});
