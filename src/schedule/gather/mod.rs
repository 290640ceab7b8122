//! Gather and gatherv: everyone's input to its block of the root's output.

pub(super) mod binomial;
pub(super) mod linear;
