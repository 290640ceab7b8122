//! Every rank says who it is.

use std::process::ExitCode;

fn main() -> ExitCode {
    phalanx::run(|world| -> phalanx::Result<()> {
        let (rank, size) = (world.rank(), world.size());
        let host = world.host(rank).unwrap_or("an unknown host");
        println!("hello from rank {rank} of {size} on {host}");
        world.barrier()
    })
}
