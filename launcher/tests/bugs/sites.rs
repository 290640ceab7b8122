//! A place in the source for each step of each rank, so that a report can be told from another one by the
//! places that it names.

use std::panic::Location;

use phalanx::Result;

use crate::play::Player;
use crate::program::Step;

type Site = fn(&mut Player, &Step) -> Result<()>;

/// By rank and step. The closures differ in where they are.
#[rustfmt::skip]
const SITES: [[Site; 6]; 4] = [
    [
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
    ],
    [
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
    ],
    [
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
    ],
    [
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
        |player, step| player.step(step),
    ],
];

/// What carries out this step of this rank.
pub(crate) fn at(rank: usize, step: usize) -> Site {
    SITES[rank][step]
}

/// Where that is, as reports name it.
pub(crate) fn place(rank: usize, step: usize) -> String {
    let mut scout = Player::scout();
    at(rank, step)(&mut scout, &Step::Pause).expect("only looks");
    let here: &Location<'_> = scout.here;
    format!("sites.rs:{}:", here.line())
}
