//! A stream of control messages means the same wherever it is cut, and what was understood can be said
//! again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phalanx::wire::control::{
    ControlError, Decoder, FromDaemon, FromRank, ToDaemon, ToRank, encode,
};
use phalanx_fuzz as fuzz;

/// Every message up to the end or the first error.
fn read<M: for<'a> serde::Deserialize<'a>>(
    bytes: &[u8],
    lengths: &[u8],
) -> (Vec<M>, Option<ControlError>) {
    let (mut decoder, mut messages) = (Decoder::default(), Vec::new());
    for piece in fuzz::pieces(bytes, lengths) {
        decoder.extend(piece);
        loop {
            match decoder.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

fn check<M>(bytes: &[u8], lengths: &[u8])
where
    M: for<'a> serde::Deserialize<'a> + serde::Serialize + PartialEq + std::fmt::Debug,
{
    let whole = read::<M>(bytes, &[]);
    assert_eq!(whole, read(bytes, lengths));
    let mut again = Vec::new();
    for message in &whole.0 {
        again.extend(encode(message).expect("it came from bytes within the limit"));
    }
    assert_eq!(read(&again, lengths), (whole.0, None));
}

fuzz_target!(|input: (u8, [u8; 4], &[u8])| {
    let (which, lengths, bytes) = input;
    // The length of the first message is made right, so that most inputs get past it.
    let mut framed = u32::try_from(bytes.len())
        .expect("short")
        .to_le_bytes()
        .to_vec();
    framed.extend_from_slice(bytes);
    let stream = if which & 4 == 0 { bytes } else { &framed[..] };
    match which % 4 {
        0 => check::<ToRank>(stream, &lengths),
        1 => check::<FromRank>(stream, &lengths),
        2 => check::<ToDaemon>(stream, &lengths),
        _ => check::<FromDaemon>(stream, &lengths),
    }
});
