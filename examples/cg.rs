//! Conjugate gradients on a symmetric positive definite matrix from a Matrix Market file.
//!
//! Every rank has a block of rows. A product with the matrix needs entries of the vector that other
//! ranks have: which ones is found out once, and then only those are exchanged. Dot products are
//! reductions over all ranks, with the same bits everywhere, so that all ranks stop together.
//!
//! `cg [--laplacian] FILE`: the right-hand side is A times a vector of ones, so the solution is known.
//! `--laplacian` makes the graph Laplacian of a pattern plus the identity; the solution then is 0 to 9, repeated.

use std::process::ExitCode;
use std::time::Instant;

use phalanx::{Communicator, Max, Sum};

#[path = "support/matrix.rs"]
mod matrix;
use matrix::Rows;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ENTRIES: u64 = 1;
const TOLERANCE: f64 = 1e-14;

fn main() -> ExitCode {
    phalanx::run(solve)
}

fn solve(world: Communicator) -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let laplacian = arguments.iter().any(|argument| argument == "--laplacian");
    let file = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"));
    let file = file.ok_or("usage: cg [--laplacian] FILE.mtx")?;
    let matrix = matrix::read(file, laplacian)?;
    let order = matrix.len();

    let begun = Instant::now();
    let (mut product, rows) = Product::new(&world, &matrix)?;
    let dot = |a: &[f64], b: &[f64]| -> phalanx::Result<f64> {
        world.allreduce(a.iter().zip(b).map(|(a, b)| a * b).sum(), Sum)
    };
    // All ones, but that would be no test of a Laplacian, which gives ones back.
    let first = order * world.rank() / world.size();
    let known = |row: usize| {
        if laplacian {
            ((first + row) % 10) as f64
        } else {
            1.0
        }
    };
    let solution: Vec<f64> = (0..rows).map(known).collect();
    let b = product.apply(&world, &solution)?;
    let (mut x, mut r, mut p) = (vec![0.0; rows], b.clone(), b.clone());
    let (target, mut rr) = (TOLERANCE * dot(&b, &b)?.sqrt(), dot(&r, &r)?);
    let mut iterations = 0;
    while rr.sqrt() > target && iterations < 20 * order {
        let ap = product.apply(&world, &p)?;
        let alpha = rr / dot(&p, &ap)?;
        for i in 0..rows {
            x[i] += alpha * p[i];
            r[i] -= alpha * ap[i];
        }
        let next = dot(&r, &r)?;
        let beta = next / rr;
        rr = next;
        for i in 0..rows {
            p[i] = r[i] + beta * p[i];
        }
        iterations += 1;
    }

    let ax = product.apply(&world, &x)?;
    let difference: Vec<f64> = b.iter().zip(&ax).map(|(b, ax)| b - ax).collect();
    let residual = (dot(&difference, &difference)? / dot(&b, &b)?).sqrt();
    let off = x.iter().zip(&solution).map(|(x, known)| (x - known).abs());
    let error = world.allreduce(off.fold(0.0, f64::max), Max)?;
    if world.rank() == 0 {
        let (ranks, time) = (world.size(), begun.elapsed());
        println!("order {order}, {ranks} ranks, {iterations} iterations, {time:.1?}");
        println!("residual {residual:.1e}");
        println!("error {error:.1e}");
    }
    if residual < 1e-10 {
        Ok(())
    } else {
        Err("did not converge".into())
    }
}

/// This rank's rows of the matrix, and what it needs to multiply them with a vector.
struct Product {
    /// Columns count first this rank's entries of the vector, then those it gets from others.
    rows: Rows,
    own: usize,
    /// Which of its entries each other rank needs.
    gives: Vec<(usize, Vec<usize>)>,
    /// How many entries come from each other rank.
    takes: Vec<(usize, usize)>,
}

impl Product {
    fn new(world: &Communicator, matrix: &Rows) -> phalanx::Result<(Self, usize)> {
        let (rank, size, order) = (world.rank(), world.size(), matrix.len());
        let first = |rank: usize| order * rank / size;
        let block = first(rank)..first(rank + 1);
        let mut foreign: Vec<usize> = matrix[block.clone()]
            .iter()
            .flat_map(|row| row.iter().map(|&(column, _)| column))
            .filter(|column| !block.contains(column))
            .collect();
        foreign.sort_unstable();
        foreign.dedup();
        // Tell every rank which of its entries are needed here; learn what the others need.
        let held_by = |other: usize| {
            let theirs = first(other)..first(other + 1);
            foreign
                .iter()
                .filter(|column| theirs.contains(column))
                .count()
        };
        let counts: Vec<usize> = (0..size).map(held_by).collect();
        let (wanted, wants) = world.alltoallv(&foreign, &counts)?;
        let mut wanted = wanted.into_iter();
        let gives = wants
            .into_iter()
            .enumerate()
            .filter(|&(_, count)| count > 0);
        let gives = gives
            .map(|(other, count)| {
                (
                    other,
                    wanted
                        .by_ref()
                        .take(count)
                        .map(|c| c - block.start)
                        .collect(),
                )
            })
            .collect();
        let takes = counts
            .into_iter()
            .enumerate()
            .filter(|&(_, count)| count > 0)
            .collect();
        let local = |column: usize| match foreign.binary_search(&column) {
            Ok(index) => block.len() + index,
            Err(_) => column - block.start,
        };
        let rows = matrix[block.clone()]
            .iter()
            .map(|row| {
                row.iter()
                    .map(|&(column, value)| (local(column), value))
                    .collect()
            })
            .collect();
        Ok((
            Self {
                rows,
                own: block.len(),
                gives,
                takes,
            },
            block.len(),
        ))
    }

    fn apply(&mut self, world: &Communicator, x: &[f64]) -> phalanx::Result<Vec<f64>> {
        let packed: Vec<(usize, Vec<f64>)> = self
            .gives
            .iter()
            .map(|(to, entries)| (*to, entries.iter().map(|&entry| x[entry]).collect()))
            .collect();
        let mut all = x.to_vec();
        all.resize(
            self.own + self.takes.iter().map(|(_, count)| count).sum::<usize>(),
            0.0,
        );
        world.scope(|scope| {
            let mut rest = &mut all[self.own..];
            for &(from, count) in &self.takes {
                let (space, after) = std::mem::take(&mut rest).split_at_mut(count);
                scope.irecv_into(space, from, ENTRIES)?;
                rest = after;
            }
            for (to, entries) in &packed {
                scope.isend(entries, *to, ENTRIES)?;
            }
            Ok(())
        })?;
        let times = |row: &Vec<(usize, f64)>| row.iter().map(|&(j, a)| a * all[j]).sum();
        Ok(self.rows.iter().map(times).collect())
    }
}
