//! What Slurm says of its allocation: `SLURM_JOB_NODELIST` such as `rack[0-1]node[08-10],login`, and
//! `SLURM_TASKS_PER_NODE` such as `2(x3),1`.
//!
//! The digits of a number count: `[08-10]` is 08, 09, 10. Nothing but another bracket may follow one
//! (`n[1-2]x` is refused), as in Slurm itself.

use winnow::ascii::digit1;
use winnow::combinator::{cut_err, delimited, eof, opt, preceded, repeat, terminated};
use winnow::token::{one_of, take_while};
use winnow::{ModalResult, Parser};

use super::Mistake;
use super::grammar::{between_commas, count, is_of_a_name, want, whole};

/// Most digits of a number in a name.
const DIGITS_MAX: usize = 18;

/// The names of a list of nodes, in order; duplicates are kept.
pub(crate) fn nodes(text: &str) -> Result<Vec<String>, Mistake> {
    let within = |items: &Vec<Item<'_>>| items.iter().map(Item::count).sum::<u64>() <= MOST;
    let items = between_commas(item).verify(within).context(want(
        "at most 65536 hosts: names with ranges in brackets, between commas",
    ));
    let items: Vec<Item<'_>> = whole(
        terminated(items, eof.context(want("`[`, `,` or the end"))),
        text,
        1,
    )?;
    Ok(items.iter().flat_map(Item::expand).collect())
}

/// The tasks of each node.
pub(crate) fn tasks(text: &str) -> Result<Vec<u32>, Mistake> {
    let within = |runs: &Vec<(u32, u32)>| {
        runs.iter().map(|(_, times)| u64::from(*times)).sum::<u64>() <= MOST
    };
    let runs = between_commas(run)
        .verify(within)
        .context(want("at most 65536 hosts: numbers of tasks between commas"));
    let runs: Vec<(u32, u32)> = whole(
        terminated(runs, eof.context(want("`(x`, `,` or the end"))),
        text,
        1,
    )?;
    let expand = |(tasks, times): &(u32, u32)| std::iter::repeat_n(*tasks, *times as usize);
    Ok(runs.iter().flat_map(expand).collect())
}

/// Most hosts that a list may name.
const MOST: u64 = 1 << 16;

fn run(input: &mut &str) -> ModalResult<(u32, u32)> {
    let times = delimited("(x", cut_err(count), cut_err(')').context(want("`)`")));
    let (tasks, times) = (count, opt(times)).parse_next(input)?;
    Ok((tasks, times.unwrap_or(1)))
}

/// A name with ranges in it.
struct Item<'t> {
    first: &'t str,
    /// Each bracket and the text before it.
    parts: Vec<(&'t str, Vec<Range>)>,
}

#[derive(Clone, Copy)]
struct Range {
    low: u64,
    high: u64,
    digits: usize,
}

fn item<'t>(input: &mut &'t str) -> ModalResult<Item<'t>> {
    let first = (
        one_of(is_of_a_name).verify(|first| !matches!(first, '-' | '.')),
        literal,
    )
        .take()
        .context(want("a host name"))
        .parse_next(input)?;
    let parts = opt(brackets).parse_next(input)?;
    let Some((bracket, more)) = parts else {
        let parts = Vec::new();
        return Ok(Item { first, parts });
    };
    let parts = std::iter::once(("", bracket)).chain(more).collect();
    Ok(Item { first, parts })
}

type Brackets<'t> = (Vec<Range>, Vec<(&'t str, Vec<Range>)>);

fn brackets<'t>(input: &mut &'t str) -> ModalResult<Brackets<'t>> {
    let again = (literal, bracket);
    (bracket, repeat(0.., again)).parse_next(input)
}

fn literal<'t>(input: &mut &'t str) -> ModalResult<&'t str> {
    take_while(0.., is_of_a_name).parse_next(input)
}

fn bracket(input: &mut &str) -> ModalResult<Vec<Range>> {
    let ranges = between_commas(range);
    delimited(
        '[',
        cut_err(ranges),
        cut_err(']').context(want("`]`, `-` or `,`")),
    )
    .parse_next(input)
}

fn range(input: &mut &str) -> ModalResult<Range> {
    let number = || digit1.verify(|digits: &str| digits.len() <= DIGITS_MAX);
    let ends = (number(), opt(preceded('-', cut_err(number()))));
    ends.verify_map(|(low, high): (&str, Option<&str>)| {
        let digits = low.len();
        let high = high.unwrap_or(low).parse().ok()?;
        let low = low.parse().ok()?;
        (low <= high).then_some(Range { low, high, digits })
    })
    .context(want(
        "a number, or a range such as 08-10 of at most 18 digits",
    ))
    .parse_next(input)
}

impl Item<'_> {
    fn count(&self) -> u64 {
        let width = |range: &Range| range.high - range.low + 1;
        let widths = self.parts.iter().map(|(_, ranges)| {
            let widths = ranges.iter().map(width);
            widths.fold(0_u64, u64::saturating_add)
        });
        // Kept so low that a sum of many cannot overflow.
        widths.fold(1_u64, u64::saturating_mul).min(MOST + 1)
    }

    fn expand(&self) -> Vec<String> {
        let mut names = vec![self.first.to_owned()];
        for (before, ranges) in &self.parts {
            let numbers = || {
                let each = ranges.iter();
                each.flat_map(|range| (range.low..=range.high).map(|number| (number, range.digits)))
            };
            names = names
                .iter()
                .flat_map(|name| {
                    numbers()
                        .map(move |(number, digits)| format!("{name}{before}{number:0digits$}"))
                })
                .collect();
        }
        names
    }
}
