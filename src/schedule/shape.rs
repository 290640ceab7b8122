//! Who talks to whom: trees, circulants, and the in-order trees that keep rank order.

/// Number of doublings from 1 to at least `size`.
pub(crate) fn ceil_log2(size: usize) -> u32 {
    size.next_power_of_two().trailing_zeros()
}

/// The rank, counted from the root.
pub(crate) fn relative(rank: usize, root: usize, size: usize) -> usize {
    (rank + size - root) % size
}

/// The rank that is the `node`-th from the root; the inverse of [`relative`].
pub(crate) fn absolute(node: usize, root: usize, size: usize) -> usize {
    (node + root) % size
}

/// One node of a binomial tree over `0..size` with root 0.
///
/// The subtree of a node is a run of consecutive numbers that starts with the node, and the subtrees of
/// its children, in ascending order, follow each other: so a reduction in that order is in rank order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binomial {
    pub(crate) node: usize,
    pub(crate) size: usize,
}

impl Binomial {
    /// Number of nodes in the subtree.
    pub(crate) fn span(self) -> usize {
        if self.node == 0 {
            self.size
        } else {
            (self.size - self.node).min(1 << self.node.trailing_zeros())
        }
    }

    pub(crate) fn parent(self) -> Option<usize> {
        (self.node != 0).then(|| self.node & (self.node - 1))
    }

    /// The children, in ascending order; the last has the largest subtree.
    pub(crate) fn children(self) -> impl DoubleEndedIterator<Item = Self> {
        let levels = if self.node == 0 {
            ceil_log2(self.size)
        } else {
            self.node.trailing_zeros()
        };
        (0..levels)
            .map(move |level| Self {
                node: self.node + (1 << level),
                ..self
            })
            .filter(|child| child.node < child.size)
    }
}

/// The rounds of a circulant exchange of `size` blocks: for each the pair (near, far), first
/// `(ceil(size/2), size)`, last `(1, 2)`. A rank that holds `far` blocks keeps `near` of them and gives
/// the others to the rank at distance `near`; run backwards it collects.
pub(crate) fn halving(
    size: usize,
) -> impl DoubleEndedIterator<Item = (usize, usize)> + ExactSizeIterator {
    (0..ceil_log2(size)).map(move |level| (size.div_ceil(2 << level), size.div_ceil(1 << level)))
}

/// One node of a binary tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) parent: Option<usize>,
    /// In an in-order tree all nodes of this subtree are smaller.
    pub(crate) left: Option<usize>,
    /// In an in-order tree all nodes of this subtree are larger.
    pub(crate) right: Option<usize>,
}

/// The family of `rank` in the binary tree over `first..end` with root `top`, both of whose halves are
/// balanced, and in which every subtree is a run of ranks around its root: combining left, own, right
/// is combining in rank order.
pub(crate) fn in_order(rank: usize, first: usize, end: usize, top: usize) -> Family {
    debug_assert!((first..end).contains(&rank) && (first..end).contains(&top));
    let middle = |first: usize, end: usize| (first < end).then(|| first + (end - first) / 2);
    let (mut first, mut end, mut node, mut parent) = (first, end, top, None);
    loop {
        let (left, right) = (middle(first, node), middle(node + 1, end));
        let next = match rank.cmp(&node) {
            std::cmp::Ordering::Equal => {
                return Family {
                    parent,
                    left,
                    right,
                };
            }
            std::cmp::Ordering::Less => {
                end = node;
                left
            }
            std::cmp::Ordering::Greater => {
                first = node + 1;
                right
            }
        };
        parent = Some(node);
        let Some(next) = next else {
            return Family::default();
        };
        node = next;
    }
}

/// The family of `node` in the binary tree in which the children of `n` are `2n+1` and `2n+2`.
pub(crate) fn heap(node: usize, size: usize) -> Family {
    let child = |child: usize| (child < size).then_some(child);
    Family {
        parent: (node > 0).then(|| (node - 1) / 2),
        left: child(2 * node + 1),
        right: child(2 * node + 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binomial_subtrees_follow_each_other() {
        for size in 1..70 {
            for node in 0..size {
                let tree = Binomial { node, size };
                let mut next = node + 1;
                for child in tree.children() {
                    assert_eq!(child.node, next);
                    assert_eq!(child.parent(), Some(node));
                    next += child.span();
                }
                assert_eq!(next, node + tree.span(), "node {node} of {size}");
            }
        }
    }

    #[test]
    fn halving_ends_at_one_block() {
        for size in 2..70 {
            let rounds: Vec<_> = halving(size).collect();
            assert_eq!(rounds[0].1, size);
            assert_eq!(rounds[rounds.len() - 1].0, 1);
            assert!(rounds.windows(2).all(|pair| pair[0].0 == pair[1].1));
            assert!(rounds.iter().all(|(near, far)| far - near <= *near));
        }
    }

    #[test]
    fn trees_agree_about_their_families() {
        for size in 1..40 {
            for top in 0..size {
                for rank in 0..size {
                    let family = in_order(rank, 0, size, top);
                    assert_eq!(family.parent.is_none(), rank == top);
                    for child in [family.left, family.right].into_iter().flatten() {
                        assert_eq!(in_order(child, 0, size, top).parent, Some(rank));
                    }
                    assert!(family.left.is_none_or(|left| left < rank));
                    assert!(family.right.is_none_or(|right| right > rank));
                }
            }
            for node in 0..size {
                let family = heap(node, size);
                for child in [family.left, family.right].into_iter().flatten() {
                    assert_eq!(heap(child, size).parent, Some(node));
                }
            }
        }
    }
}
