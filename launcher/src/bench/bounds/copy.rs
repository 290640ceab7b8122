//! A copy in memory.

use std::hint::black_box;
use std::time::Duration;

use super::sample;

/// Microseconds to copy that many bytes.
pub(super) fn copy(bytes: usize, time: Duration) -> Option<f64> {
    const BATCH_BYTES: usize = 1 << 20;
    let from = vec![1_u8; bytes];
    let mut to = vec![0_u8; bytes];
    let batch = (BATCH_BYTES / bytes.max(1)).clamp(1, 100_000);
    sample(time, || {
        for _ in 0..batch {
            black_box(&mut to).copy_from_slice(black_box(&from));
        }
        batch
    })
}
