//! Reduce: everyone's input, combined, to the root's output.

pub(super) mod binomial;
pub(super) mod from_left;
pub(super) mod in_order;
pub(super) mod pipelined_tree;
pub(super) mod reduce_scatter_gather;
