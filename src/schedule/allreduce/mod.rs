//! Allreduce: everyone's output holds the contribution before and the combination of all after, with
//! the same bits everywhere.

pub(super) mod blocks_from_left;
pub(super) mod circulant;
pub(super) mod dual_root;
pub(super) mod from_left;
pub(super) mod recursive_doubling;
pub(super) mod ring;
pub(super) mod tree;
