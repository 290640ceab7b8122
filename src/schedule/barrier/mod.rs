//! Barrier: messages without elements.

pub(super) mod dissemination;
pub(super) mod flat;
