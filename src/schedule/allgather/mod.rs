//! Allgather and allgatherv: everyone's input to its block of everyone's output.

pub(super) mod bruck;
pub(super) mod circulant;
pub(super) mod ring;
