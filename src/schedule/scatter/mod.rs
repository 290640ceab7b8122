//! Scatter and scatterv: each block of the root's input to its rank's output.

pub(super) mod binomial;
pub(super) mod linear;
