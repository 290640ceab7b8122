//! Exscan: everyone's output holds the contribution before, and after it the combination of the
//! contributions of the ranks before this one; rank 0 keeps its own.

pub(super) mod linear;
pub(super) mod recursive_doubling;
