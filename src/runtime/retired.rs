//! Communicators that a rank has dropped, and how many collectives they had: whether it took part in one
//! can be asked later.

use std::collections::VecDeque;

use crate::limits::RETIRED_REMEMBERED;

/// The last ones.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    list: VecDeque<(u64, u64)>,
    /// There were more.
    forgot: bool,
}

impl Retired {
    pub(crate) fn add(&mut self, context: u64, begun: u64) {
        if self.list.len() == RETIRED_REMEMBERED {
            self.list.pop_front();
            self.forgot = true;
        }
        self.list.push_back((context, begun));
    }

    /// Message spaces and collectives begun there, and whether these are all.
    pub(crate) fn all(&self) -> (impl Iterator<Item = (u64, u64)> + '_, bool) {
        (self.list.iter().copied(), !self.forgot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known_and_it_is_known_whether_these_are_all() {
        let mut retired = Retired::default();
        for context in 0..RETIRED_REMEMBERED as u64 {
            retired.add(context, 7);
        }
        assert!(retired.all().1);
        retired.add(u64::MAX, 8);
        let (list, complete) = retired.all();
        let list: Vec<_> = list.collect();
        assert_eq!((list.len(), complete), (RETIRED_REMEMBERED, false));
        assert_eq!(list.last(), Some(&(u64::MAX, 8)));
    }
}
