//! Reduce-scatter, with equal blocks or not: everyone's inputs, combined; each block to its rank's
//! output.

pub(super) mod circulant;
pub(super) mod linear;
pub(super) mod tree;
