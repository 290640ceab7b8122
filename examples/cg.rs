//! Conjugate gradients on a symmetric positive definite matrix from a Matrix Market file.
//!
//! Every rank has a block of rows. A product with the matrix needs entries of the vector that other
//! ranks have: which ones is found out once, and then only those are exchanged. Dot products are
//! reductions over all ranks, with the same bits everywhere, so that all ranks stop together.
//!
//! `cg [--laplacian] [--output x.txt] FILE.mtx`: the right-hand side is A times a vector of ones, so
//! the solution is known. `--laplacian` makes the graph Laplacian of a pattern plus the identity; the
//! solution then is 0 to 9, repeated.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use phalanx::{Communicator, Max, Sum};

#[path = "support/matrix.rs"]
mod matrix;
#[path = "support/options.rs"]
mod options;
use matrix::Rows;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ENTRIES: u64 = 1;
const TOLERANCE: f64 = 1e-14;

/// Conjugate gradients on a symmetric positive definite matrix
#[derive(Parser)]
struct Options {
    /// The matrix: a Matrix Market file
    #[arg(value_name = "FILE.mtx")]
    matrix: PathBuf,
    /// Take the graph Laplacian of a pattern, plus the identity
    #[arg(long)]
    laplacian: bool,
    /// Write the solution, a number in each line
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    phalanx::run(solve)
}

fn solve(world: Communicator) -> Fallible<()> {
    let Some(options) = options::parse::<Options>(&world)? else {
        return Ok(());
    };
    let matrix = matrix::read(&options.matrix, options.laplacian)?;
    let order = matrix.len();

    let begun = Instant::now();
    let (product, rows) = Product::new(&world, &matrix)?;
    // All ones, but that would be no test of a Laplacian, which gives ones back.
    let first = order * world.rank() / world.size();
    let known = |row: usize| match options.laplacian {
        true => ((first + row) % 10) as f64,
        false => 1.0,
    };
    let solution: Vec<f64> = (0..rows).map(known).collect();
    let b = product.apply(&world, &solution)?;
    let (x, iterations) = conjugate_gradients(&world, &product, &b, 20 * order)?;
    let time = begun.elapsed();

    let ax = product.apply(&world, &x)?;
    let difference: Vec<f64> = b.iter().zip(&ax).map(|(b, ax)| b - ax).collect();
    let residual = (dot(&world, &difference, &difference)? / dot(&world, &b, &b)?).sqrt();
    let off = x.iter().zip(&solution).map(|(x, known)| (x - known).abs());
    let error = world.allreduce(off.fold(0.0, f64::max), Max)?;
    if world.rank() == 0 {
        let ranks = world.size();
        println!("order {order}, {ranks} ranks, {iterations} iterations, {time:.1?}");
        println!("residual {residual:.1e}");
        println!("error {error:.1e}");
    }
    if residual.is_nan() || residual >= 1e-10 {
        let told = format!("no convergence in {iterations} iterations, residual {residual:.1e}");
        return Err(format!("{told}: is the matrix positive definite?").into());
    }
    if let Some(file) = options.output {
        if let Some((x, _)) = world.gatherv(&x, 0)? {
            write_solution(&file, &x)
                .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        }
    }
    Ok(())
}

/// The solution for the right-hand side `b`, and the iterations that it took.
fn conjugate_gradients(
    world: &Communicator,
    product: &Product,
    b: &[f64],
    iterations_max: usize,
) -> phalanx::Result<(Vec<f64>, usize)> {
    let (mut x, mut r, mut p) = (vec![0.0; b.len()], b.to_vec(), b.to_vec());
    let mut rr = dot(world, &r, &r)?;
    let target = TOLERANCE * rr.sqrt();
    let mut iterations = 0;
    while rr.sqrt() > target && iterations < iterations_max {
        let ap = product.apply(world, &p)?;
        let alpha = rr / dot(world, &p, &ap)?;
        for i in 0..b.len() {
            x[i] += alpha * p[i];
            r[i] -= alpha * ap[i];
        }
        let next = dot(world, &r, &r)?;
        let beta = next / rr;
        rr = next;
        for i in 0..b.len() {
            p[i] = r[i] + beta * p[i];
        }
        iterations += 1;
    }
    Ok((x, iterations))
}

fn dot(world: &Communicator, a: &[f64], b: &[f64]) -> phalanx::Result<f64> {
    world.allreduce(a.iter().zip(b).map(|(a, b)| a * b).sum(), Sum)
}

fn write_solution(file: &Path, x: &[f64]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(file)?);
    for value in x {
        writeln!(file, "{value:e}")?;
    }
    file.flush()
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

    fn apply(&self, world: &Communicator, x: &[f64]) -> phalanx::Result<Vec<f64>> {
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
