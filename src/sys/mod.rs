//! Layer 2, edge: the only place that calls the operating system beyond what `std`, `rustix` and
//! `mio` wrap safely. Every unsafe block carries its proof.

pub mod black_box;
pub mod clock;
pub mod descriptor;
pub mod life;
pub mod peer_memory;
pub mod process;
pub mod processor;
pub mod shared_memory;
pub mod socket;
pub mod threads;
