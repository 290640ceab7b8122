//! Heat in a square plate: Jacobi's iteration on a grid, with halo exchange.
//!
//! The rim of the plate is cold, some discs in it are kept warm; every other cell becomes the mean of
//! its four neighbours, again and again. Every rank has a block of rows. In each iteration it exchanges
//! its first and last row with the ranks above and below, and computes its other rows meanwhile. Now
//! and then all ranks agree on the largest change, to stop together.
//!
//! The grid is the same, bit for bit, with any number of ranks: the checksum tells.
//!
//! `heat [--size N] [--iterations N] [--tolerance T] [--output heat.png]`

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use phalanx::{BitXor, Communicator, Max};

#[path = "support/options.rs"]
mod options;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A row on its way to the rank above, or below.
const UP: u64 = 1;
const DOWN: u64 = 2;
/// Iterations between two reductions.
const CHECK_EVERY: u64 = 50;
/// What is kept warm: row and column of the middle, radius (the plate is 1 wide), temperature.
const DISCS: [(f64, f64, f64, f64); 4] = [
    (0.28, 0.30, 0.10, 1.0),
    (0.38, 0.74, 0.06, 0.8),
    (0.72, 0.62, 0.13, 0.6),
    (0.76, 0.22, 0.04, 0.9),
];

/// Heat in a square plate, by Jacobi's iteration with halo exchange
#[derive(Parser)]
struct Options {
    /// Rows and columns of the grid; at least as many as there are ranks
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    size: u32,
    /// Most iterations
    #[arg(long, default_value_t = 5_000)]
    iterations: u64,
    /// Stop when no cell changes by more than this in an iteration
    #[arg(long, default_value_t = 1e-6)]
    tolerance: f64,
    /// Write a picture of the plate (PNG)
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    phalanx::run(simulate)
}

fn simulate(world: Communicator) -> Fallible<()> {
    let Some(options) = options::parse::<Options>(&world)? else {
        return Ok(());
    };
    if world.size() > options.size as usize {
        let (size, ranks) = (options.size, world.size());
        return Err(format!("{size} rows for {ranks} ranks: give at least --size {ranks}").into());
    }
    // Before the work, so that a bad path is known now.
    let output = options.output.as_deref().filter(|_| world.rank() == 0);
    let output = output.map(create).transpose()?;

    let begun = Instant::now();
    let mut plate = Plate::new(&world, options.size as usize);
    let (mut iterations, mut residual) = (0, f64::INFINITY);
    while iterations < options.iterations && residual > options.tolerance {
        plate.iterate(&world)?;
        iterations += 1;
        if iterations % CHECK_EVERY == 0 || iterations == options.iterations {
            residual = world.allreduce(plate.largest_change(), Max)?;
        }
    }
    let time = begun.elapsed();
    let checksum = world.allreduce(plate.checksum(), BitXor)?;
    if world.rank() == 0 {
        let (size, ranks) = (options.size, world.size());
        println!("size {size} x {size}, {ranks} ranks, {iterations} iterations, {time:.1?}");
        println!("residual {residual:.1e}");
        println!("checksum {checksum:016x}");
    }
    if options.output.is_some() {
        let all = world.gatherv(plate.own(), 0)?;
        if let Some(((cells, _), file)) = all.zip(output) {
            write_picture(file, options.size, &cells)?;
        }
    }
    Ok(())
}

/// This rank's rows of the grid.
struct Plate {
    /// Cells in a row: a cold one at each end, and the plate between them.
    width: usize,
    /// Which rows of the plate these are.
    first: usize,
    rows: usize,
    above: Option<usize>,
    below: Option<usize>,
    /// The rows, between a copy of the last row above and one of the first row below.
    now: Vec<f64>,
    before: Vec<f64>,
    /// Which cells are kept warm, by index in `now`, and how warm.
    kept: Vec<(usize, f64)>,
}

impl Plate {
    fn new(world: &Communicator, size: usize) -> Self {
        let (rank, ranks) = (world.rank(), world.size());
        let (first, end) = (size * rank / ranks, size * (rank + 1) / ranks);
        let (rows, width) = (end - first, size + 2);
        let place = |cell: usize| (cell as f64 + 0.5) / size as f64;
        let mut kept = Vec::new();
        for row in 0..rows {
            for column in 0..size {
                let (y, x) = (place(first + row), place(column));
                let inside = |&&(row, column, radius, _): &&(f64, f64, f64, f64)| {
                    (y - row) * (y - row) + (x - column) * (x - column) < radius * radius
                };
                if let Some(&(.., temperature)) = DISCS.iter().find(inside) {
                    kept.push(((row + 1) * width + column + 1, temperature));
                }
            }
        }
        let mut now = vec![0.0; (rows + 2) * width];
        for &(cell, temperature) in &kept {
            now[cell] = temperature;
        }
        Self {
            width,
            first,
            rows,
            above: rank.checked_sub(1),
            below: Some(rank + 1).filter(|&below| below < ranks),
            before: now.clone(),
            now,
            kept,
        }
    }

    /// One iteration: `now` becomes `before`, and the new grid `now`.
    fn iterate(&mut self, world: &Communicator) -> phalanx::Result<()> {
        std::mem::swap(&mut self.now, &mut self.before);
        let (width, rows, neighbours) = (self.width, self.rows, (self.above, self.below));
        let now = &mut self.now;
        let (row_above, rest) = self.before.split_at_mut(width);
        let (own, row_below) = rest.split_at_mut(rows * width);
        let own = &*own;
        world.scope(|scope| {
            if let Some(above) = neighbours.0 {
                scope.irecv_into(row_above, above, DOWN)?;
                scope.isend(&own[..width], above, UP)?;
            }
            if let Some(below) = neighbours.1 {
                scope.irecv_into(row_below, below, UP)?;
                scope.isend(&own[(rows - 1) * width..], below, DOWN)?;
            }
            for row in 1..rows.saturating_sub(1) {
                let three = &own[(row - 1) * width..(row + 2) * width];
                relax(three, &mut now[(row + 1) * width..(row + 2) * width]);
            }
            Ok(())
        })?;
        // Those that needed a row of another rank.
        for row in [1, rows] {
            let three = &self.before[(row - 1) * width..(row + 2) * width];
            relax(three, &mut self.now[row * width..(row + 1) * width]);
        }
        for &(cell, temperature) in &self.kept {
            self.now[cell] = temperature;
        }
        Ok(())
    }

    /// The largest change of a cell in the last iteration.
    fn largest_change(&self) -> f64 {
        let old = &self.before[self.width..];
        let changes = self
            .own()
            .iter()
            .zip(old)
            .map(|(new, old)| (new - old).abs());
        changes.fold(0.0, f64::max)
    }

    fn own(&self) -> &[f64] {
        &self.now[self.width..(self.rows + 1) * self.width]
    }

    /// A number that depends on every bit of these rows and on where they are in the plate.
    fn checksum(&self) -> u64 {
        let first = self.first * self.width;
        let cells = self.own().iter().enumerate();
        let mix = |(cell, value): (usize, &f64)| {
            let place = ((first + cell) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (value.to_bits() ^ place).wrapping_mul(0xd6e8_feb8_6659_fd93);
            (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
        };
        cells.map(mix).fold(0, |all, one| all ^ one)
    }
}

/// The means of the neighbours of the cells in the middle of three rows.
fn relax(three: &[f64], new: &mut [f64]) {
    let width = new.len();
    let (up, rest) = three.split_at(width);
    let (here, down) = rest.split_at(width);
    for column in 1..width - 1 {
        let beside = here[column - 1] + here[column + 1];
        new[column] = 0.25 * (up[column] + down[column] + beside);
    }
}

fn create(file: &Path) -> Result<File, String> {
    File::create(file).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Rows of cells between 0 and 1, with a cold one at each end, as colours from black to pale yellow.
fn write_picture(file: File, size: u32, cells: &[f64]) -> Fallible<()> {
    let rows = cells.chunks_exact(size as usize + 2);
    let inner = rows.flat_map(|row| &row[1..row.len() - 1]);
    let colours = inner.flat_map(|&cell| colorous::INFERNO.eval_continuous(cell).as_array());
    let pixels: Vec<u8> = colours.collect();
    let mut encoder = png::Encoder::new(BufWriter::new(file), size, size);
    encoder.set_color(png::ColorType::Rgb);
    let mut picture = encoder.write_header()?;
    picture.write_image_data(&pixels)?;
    Ok(picture.finish()?)
}
