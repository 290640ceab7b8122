//! A token goes round all ranks; each adds one to it.

use std::process::ExitCode;
use std::time::Instant;

const TOKEN: u64 = 0;
const ROUNDS: u64 = 10;

fn main() -> ExitCode {
    phalanx::run(|world| -> phalanx::Result<()> {
        let (rank, size) = (world.rank(), world.size());
        let (left, right) = ((rank + size - 1) % size, (rank + 1) % size);
        let begun = Instant::now();
        let mut token = [0_u64];
        for _ in 0..ROUNDS {
            // Rank 0 sends first; everybody else waits for the token to come by.
            if rank == 0 {
                world.send(&[token[0] + 1], right, TOKEN)?;
                world.recv_into(&mut token, left, TOKEN)?;
            } else {
                world.recv_into(&mut token, left, TOKEN)?;
                world.send(&[token[0] + 1], right, TOKEN)?;
            }
        }
        if rank == 0 {
            assert_eq!(token[0], ROUNDS * size as u64);
            let hop = begun.elapsed() / token[0] as u32;
            println!("{} hops over {size} ranks, {hop:?} each", token[0]);
        }
        Ok(())
    })
}
