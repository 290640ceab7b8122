//! Queues that are searched by pattern in constant time.
//!
//! A [`MatchQueue`] holds values in order of arrival. Each is threaded on up to `N` doubly linked
//! lists, one for each pattern under which it may be looked for; a hash table finds the ends of a
//! list, except of one: most programs have values under one pattern at a time. Posted receives have one pattern each, which may contain wildcards. Unexpected messages have
//! four: exactly themselves, any source, any tag, and both. Taking a value out unlinks it everywhere,
//! so nothing here costs more with a longer queue.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;
use slotmap::{SlotMap, new_key_type};

use super::Pattern;

new_key_type! {
    /// A value in a queue.
    pub struct NodeId;
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    pattern: Option<Pattern>,
    previous: Option<NodeId>,
    next: Option<NodeId>,
}

#[derive(Debug)]
struct Node<V, const N: usize> {
    value: V,
    order: u64,
    links: [Link; N],
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: NodeId,
    last: NodeId,
}

/// Where lists begin and end.
#[derive(Debug, Default)]
struct Lists {
    /// Of one pattern that found this place free; it is nowhere else.
    one: Option<(Pattern, Ends)>,
    others: HashMap<Pattern, Ends, FxBuildHasher>,
}

impl Lists {
    fn get(&self, pattern: &Pattern) -> Option<&Ends> {
        match &self.one {
            Some((one, ends)) if one == pattern => Some(ends),
            _ => self.others.get(pattern),
        }
    }

    fn get_mut(&mut self, pattern: &Pattern) -> Option<&mut Ends> {
        match &mut self.one {
            Some((one, ends)) if one == pattern => Some(ends),
            _ => self.others.get_mut(pattern),
        }
    }

    /// Begins a list that is not there.
    fn insert(&mut self, pattern: Pattern, ends: Ends) {
        if self.one.is_none() {
            self.one = Some((pattern, ends));
        } else {
            self.others.insert(pattern, ends);
        }
    }

    fn remove(&mut self, pattern: &Pattern) {
        match &self.one {
            Some((one, _)) if one == pattern => self.one = None,
            _ => drop(self.others.remove(pattern)),
        }
    }
}

/// Values in order of arrival, found by pattern.
#[derive(Debug)]
pub struct MatchQueue<V, const N: usize> {
    nodes: SlotMap<NodeId, Node<V, N>>,
    lists: [Lists; N],
    arrivals: u64,
}

impl<V, const N: usize> Default for MatchQueue<V, N> {
    fn default() -> Self {
        Self {
            nodes: SlotMap::with_key(),
            lists: std::array::from_fn(|_| Lists::default()),
            arrivals: 0,
        }
    }
}

impl<V, const N: usize> MatchQueue<V, N> {
    /// Appends a value that is found under each of these patterns, the `k`-th on list `k`.
    pub fn push(&mut self, patterns: [Option<Pattern>; N], value: V) -> NodeId {
        let order = self.arrivals;
        self.arrivals += 1;
        let id = self.nodes.insert(Node {
            value,
            order,
            links: [Link::default(); N],
        });
        for (list, pattern) in patterns.into_iter().enumerate() {
            if let Some(pattern) = pattern {
                self.append(list, pattern, id);
            }
        }
        id
    }

    /// Threads a value that is already there on one more list, at its end: values have to be added in
    /// their order.
    pub fn append(&mut self, list: usize, pattern: Pattern, id: NodeId) {
        let mut previous = None;
        if let Some(ends) = self.lists[list].get_mut(&pattern) {
            previous = Some(ends.last);
            ends.last = id;
        } else {
            let (first, last) = (id, id);
            self.lists[list].insert(pattern, Ends { first, last });
        }
        if let Some(previous) = previous {
            self.nodes[previous].links[list].next = Some(id);
        }
        self.nodes[id].links[list] = Link {
            pattern: Some(pattern),
            previous,
            next: None,
        };
    }

    /// The oldest value under a pattern of list `list`, with its order of arrival.
    pub fn first(&self, list: usize, pattern: &Pattern) -> Option<(NodeId, u64)> {
        let ends = self.lists[list].get(pattern)?;
        Some((ends.first, self.nodes[ends.first].order))
    }

    /// A value.
    pub fn get(&self, id: NodeId) -> Option<&V> {
        self.nodes.get(id).map(|node| &node.value)
    }

    /// A value, to be changed.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut V> {
        self.nodes.get_mut(id).map(|node| &mut node.value)
    }

    /// Takes a value out of all its lists and gives it back.
    pub fn remove(&mut self, id: NodeId) -> Option<V> {
        self.unlink(id);
        self.nodes.remove(id).map(|node| node.value)
    }

    /// Takes a value out of all its lists, so that it is not found any more, but keeps it.
    pub fn unlink(&mut self, id: NodeId) {
        for list in 0..N {
            let Some(node) = self.nodes.get_mut(id) else {
                return;
            };
            let link = std::mem::take(&mut node.links[list]);
            let Some(pattern) = link.pattern else {
                continue;
            };
            if let Some(previous) = link.previous {
                self.nodes[previous].links[list].next = link.next;
            }
            if let Some(next) = link.next {
                self.nodes[next].links[list].previous = link.previous;
            }
            self.mend_ends(list, &pattern, link);
        }
    }

    fn mend_ends(&mut self, list: usize, pattern: &Pattern, link: Link) {
        match (link.previous, link.next) {
            (None, None) => {
                self.lists[list].remove(pattern);
            }
            (None, Some(next)) => {
                if let Some(ends) = self.lists[list].get_mut(pattern) {
                    ends.first = next;
                }
            }
            (Some(previous), None) => {
                if let Some(ends) = self.lists[list].get_mut(pattern) {
                    ends.last = previous;
                }
            }
            (Some(_), Some(_)) => {}
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All values in order of arrival. Costs a sort: for rare occasions.
    pub fn in_order(&self) -> Vec<NodeId> {
        let mut all: Vec<_> = self
            .nodes
            .iter()
            .map(|(id, node)| (node.order, id))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{Context, Peer};

    fn pattern(source: u32, tag: u64) -> Pattern {
        Pattern {
            context: Context::WORLD,
            source: Some(Peer(source)),
            tag: Some(tag),
        }
    }

    #[test]
    fn values_come_out_in_order_whatever_is_taken_from_the_middle() {
        let mut queue = MatchQueue::<u32, 1>::default();
        let ids: Vec<_> = (0..5)
            .map(|value| queue.push([Some(pattern(0, 0))], value))
            .collect();
        assert_eq!(queue.remove(ids[2]), Some(2));
        assert_eq!(queue.remove(ids[4]), Some(4));
        assert_eq!(queue.remove(ids[0]), Some(0));
        let mut rest = Vec::new();
        while let Some((id, _)) = queue.first(0, &pattern(0, 0)) {
            rest.push(queue.remove(id).expect("just found"));
        }
        assert_eq!(rest, [1, 3]);
        assert!(queue.is_empty());
        let lists = &queue.lists[0];
        let none = lists.one.is_none() && lists.others.is_empty();
        assert!(none, "no list outlives its values");
    }

    #[test]
    fn lists_that_come_and_go_are_told_apart() {
        let mut queue = MatchQueue::<u64, 1>::default();
        let put = |queue: &mut MatchQueue<u64, 1>, tag: u64, value| {
            queue.push([Some(pattern(0, tag))], value)
        };
        let first = put(&mut queue, 1, 10);
        put(&mut queue, 2, 20);
        put(&mut queue, 1, 11);
        queue.remove(first);
        put(&mut queue, 2, 21);
        let mut take = |tag: u64| {
            let (id, _) = queue.first(0, &pattern(0, tag))?;
            queue.remove(id)
        };
        assert_eq!(take(1), Some(11));
        assert_eq!((take(2), take(1)), (Some(20), None));
        put(&mut queue, 3, 30);
        let (id, _) = queue.first(0, &pattern(0, 3)).expect("there");
        assert_eq!(queue.remove(id), Some(30));
        let (id, _) = queue.first(0, &pattern(0, 2)).expect("there");
        assert_eq!(queue.remove(id), Some(21));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_value_taken_on_one_list_is_gone_from_the_others() {
        let mut queue = MatchQueue::<u32, 2>::default();
        let any = Pattern {
            source: None,
            ..pattern(0, 7)
        };
        queue.push([Some(pattern(1, 7)), Some(any)], 1);
        queue.push([Some(pattern(2, 7)), Some(any)], 2);
        let (id, _) = queue.first(0, &pattern(1, 7)).expect("there");
        queue.remove(id);
        let (id, _) = queue.first(1, &any).expect("there");
        assert_eq!(queue.get(id), Some(&2));
    }

    #[test]
    fn an_unlinked_value_is_kept_but_not_found() {
        let mut queue = MatchQueue::<u32, 1>::default();
        let id = queue.push([Some(pattern(0, 0))], 9);
        queue.unlink(id);
        assert!(queue.first(0, &pattern(0, 0)).is_none());
        assert_eq!(queue.remove(id), Some(9));
    }
}
