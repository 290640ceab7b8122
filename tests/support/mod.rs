//! A virtual network of engines, and a judge who knows MPI's matching rules but not the engine.

pub mod acts;
pub mod judge;
pub mod network;
pub mod node;
pub mod program;
pub mod random;
pub mod storms;
