//! Scan: everyone's output holds the contribution before, and after it the combination of the
//! contributions of the ranks up to this one.

pub(super) mod linear;
pub(super) mod recursive_doubling;
