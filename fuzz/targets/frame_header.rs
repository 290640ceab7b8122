//! 56 bytes are a header that encodes to the same bytes, or they are refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phalanx::wire::header::Header;

fuzz_target!(|bytes: [u8; 56]| {
    if let Ok(header) = Header::decode(&bytes) {
        assert_eq!(header.encode(), bytes, "{header:?}");
        assert!(header.payload() <= header.length);
        assert!(isize::try_from(header.length).is_ok());
    }
});
