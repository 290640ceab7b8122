//! Every rank says hello.
use std::process::ExitCode;

fn main() -> ExitCode {
    phalanx::run(|world| {
        let total = world.allreduce(1_u64, phalanx::Sum)?;
        println!(
            "hello from rank {} of {} on {}",
            world.rank(),
            total,
            world.host(world.rank()).unwrap_or("?")
        );
        world.barrier()
    })
}
