//! How a buffer is divided among the ranks.

use super::{Counts, Span};

/// One block for each rank, in rank order, without gaps.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    size: usize,
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    /// All of the same length.
    Equal(usize),
    /// As equal as can be: the first `longer` have one element more.
    Split { length: usize, longer: usize },
    /// Where each starts, and where the last ends.
    Starts(Vec<usize>),
}

impl Blocks {
    pub(crate) fn new(counts: Counts<'_>, size: usize) -> Self {
        match counts {
            Counts::Equal(count) => Self {
                size,
                layout: Layout::Equal(count),
            },
            Counts::Each(counts) => {
                assert_eq!(counts.len(), size, "a count for each rank");
                let mut starts = Vec::with_capacity(size + 1);
                let mut start = 0;
                starts.push(start);
                starts.extend(counts.iter().map(|count| {
                    start += count;
                    start
                }));
                Self {
                    size,
                    layout: Layout::Starts(starts),
                }
            }
        }
    }

    /// `count` elements divided as equally as possible.
    pub(crate) fn split(count: usize, size: usize) -> Self {
        let layout = Layout::Split {
            length: count / size,
            longer: count % size,
        };
        Self { size, layout }
    }

    /// Where a block starts; of the one after the last, where the last ends.
    fn start(&self, block: usize) -> usize {
        match &self.layout {
            Layout::Equal(length) => block * length,
            Layout::Split { length, longer } => block * length + block.min(*longer),
            Layout::Starts(starts) => starts[block],
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.start(self.size)
    }

    pub(crate) fn length(&self, block: usize) -> usize {
        self.start(block + 1) - self.start(block)
    }

    /// One block of a buffer that holds them all.
    pub(crate) fn one(&self, buffer: Span, block: usize) -> Span {
        buffer.part(self.start(block), self.length(block))
    }

    /// Elements in `number` blocks from `first`, around the circle.
    pub(crate) fn run_length(&self, first: usize, number: usize) -> usize {
        let [head, tail] = self.ends(first, number);
        head.1 - head.0 + tail.1 - tail.0
    }

    /// `number` blocks from `first`, around the circle, of a buffer that holds them all: a run to the
    /// end of the buffer at most, and what is left from its start.
    pub(crate) fn run(&self, buffer: Span, first: usize, number: usize) -> [Span; 2] {
        self.ends(first, number)
            .map(|(start, end)| buffer.part(start, end - start))
    }

    /// The same blocks where they lie one after the other in `buffer` from `offset`, cut where
    /// [`Self::run`] cuts them.
    pub(crate) fn packed(
        &self,
        buffer: Span,
        offset: usize,
        first: usize,
        number: usize,
    ) -> [Span; 2] {
        let [head, tail] = self.ends(first, number).map(|(start, end)| end - start);
        [buffer.part(offset, head), buffer.part(offset + head, tail)]
    }

    fn ends(&self, first: usize, number: usize) -> [(usize, usize); 2] {
        debug_assert!(number <= self.size);
        let first = first % self.size;
        let end = first + number;
        if end <= self.size {
            [(self.start(first), self.start(end)), (0, 0)]
        } else {
            [
                (self.start(first), self.total()),
                (0, self.start(end - self.size)),
            ]
        }
    }
}
