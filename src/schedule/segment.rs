//! Cutting a long message so that its parts can follow each other through a tree.

/// Length of a segment: long enough that its cost is bandwidth, short enough for shared memory.
pub const SEGMENT_BYTES: usize = 32 * 1024;

/// Most segments of one message; longer messages have longer segments, so that schedules stay small.
pub const SEGMENTS_MAX: usize = 256;

/// Segments that a rank may hold before the next step of the pipeline has taken them.
pub(crate) const WINDOW: usize = 4;

/// The segments of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments {
    count: usize,
    length: usize,
}

impl Segments {
    pub(crate) fn new(count: usize, element_bytes: usize) -> Self {
        let length = (SEGMENT_BYTES / element_bytes.max(1)).max(count.div_ceil(SEGMENTS_MAX));
        Self {
            count,
            length: length.clamp(1, count.max(1)),
        }
    }

    /// Elements of the longest.
    pub(crate) fn length(self) -> usize {
        self.length
    }

    pub(crate) fn number(self) -> usize {
        self.count.div_ceil(self.length)
    }

    /// For each segment its number, first element and length.
    pub(crate) fn iter(self) -> impl Iterator<Item = (u32, usize, usize)> {
        (0..self.number()).map(move |number| {
            let offset = number * self.length;
            (number as u32, offset, self.length.min(self.count - offset))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_and_are_few() {
        for count in [0, 1, 5, 1000, 4096, 4097, 10_000_000] {
            for element_bytes in [0, 1, 8, 5000, 100_000] {
                let segments = Segments::new(count, element_bytes);
                assert!(segments.number() <= SEGMENTS_MAX);
                let mut next = 0;
                for (_, offset, length) in segments.iter() {
                    assert_eq!(offset, next);
                    assert!(length > 0 && length <= segments.length());
                    next += length;
                }
                assert_eq!(next, count);
            }
        }
    }
}
