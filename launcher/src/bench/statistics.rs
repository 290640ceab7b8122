//! What is said of many samples.

/// Smallest, middle and nearly largest of some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

impl Summary {
    /// `None` when there are no samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        Some(Self {
            min: *sorted.first()?,
            median: middle(&sorted)?,
            p99: sorted[nearest_rank(sorted.len(), 0.99)],
        })
    }
}

/// The middle one, or the mean of the two in the middle. `None` when there are none.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    middle(&sorted)
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[sorted.len() / 2 - 1] + upper) / 2.0)
}

/// Index of the smallest of `count` sorted samples that is at least as large as this part of them.
fn nearest_rank(count: usize, part: f64) -> usize {
    let rank = (part * count as f64).ceil() as usize;
    rank.clamp(1, count.max(1)) - 1
}

/// Samples on each side without which no test is made.
const TESTED_MIN: usize = 5;
/// Up to this many samples on each side, chances are counted instead of approximated.
const COUNTED_MAX: usize = 12;

/// How likely it is that `left` is as much larger than `right` as it is, if in truth it is not larger: the
/// one-sided test of Mann and Whitney. `None` with less than five samples of either.
pub(crate) fn larger_by_chance(left: &[f64], right: &[f64]) -> Option<f64> {
    let (m, n) = (left.len(), right.len());
    if m.min(n) < TESTED_MIN {
        return None;
    }
    let mut all: Vec<(f64, bool)> = left.iter().map(|value| (*value, true)).collect();
    all.extend(right.iter().map(|value| (*value, false)));
    all.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let (mut rank_sum, mut before, mut ties) = (0.0, 0, 0.0);
    for equal in all.chunk_by(|one, other| one.0 == other.0) {
        let count = equal.len() as f64;
        // Equal samples share the mean of their ranks.
        let rank = before as f64 + (count + 1.0) / 2.0;
        rank_sum += rank * equal.iter().filter(|(_, is_left)| *is_left).count() as f64;
        ties += count.powi(3) - count;
        before += equal.len();
    }
    // In how many pairs the left one is the larger one.
    let wins = rank_sum - (m * (m + 1)) as f64 / 2.0;
    if ties == 0.0 && m.max(n) <= COUNTED_MAX {
        return Some(counted(m, n, wins as usize));
    }
    let (m, n, both) = (m as f64, n as f64, (m + n) as f64);
    let variance = m * n / 12.0 * (both + 1.0 - ties / (both * (both - 1.0)));
    if variance <= 0.0 {
        return Some(0.5);
    }
    let deviation = (wins - m * n / 2.0 - 0.5) / variance.sqrt();
    Some(libm::erfc(deviation / std::f64::consts::SQRT_2) / 2.0)
}

/// The part of all orders of `m` and `n` different samples in which at least `wins` pairs are won.
fn counted(m: usize, n: usize, wins: usize) -> f64 {
    // ways[i][u]: orders of i left samples and the right samples looked at so far, with u pairs won. The
    // largest of all is a right one, which wins nothing for the left, or a left one, which beats all right.
    let most = m * n;
    let mut ways = vec![vec![0.0; most + 1]; m + 1];
    ways.iter_mut().for_each(|row| row[0] = 1.0);
    for right in 1..=n {
        for left in 1..=m {
            for pairs in right..=most {
                ways[left][pairs] += ways[left - 1][pairs - right];
            }
        }
    }
    let all: f64 = ways[m].iter().sum();
    ways[m].iter().skip(wins).sum::<f64>() / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries() {
        assert_eq!(Summary::of(&[]), None);
        let one = Summary::of(&[3.0]).expect("one");
        assert_eq!((one.min, one.median, one.p99), (3.0, 3.0, 3.0));
        let samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let many = Summary::of(&samples).expect("many");
        assert_eq!((many.min, many.median, many.p99), (1.0, 100.5, 198.0));
        assert_eq!(median(&[5.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn ranks_tell_larger_from_equal() {
        let low: Vec<f64> = (0..20).map(f64::from).collect();
        let high: Vec<f64> = low.iter().map(|value| value + 15.5).collect();
        let chance = larger_by_chance(&high, &low).expect("enough");
        assert!(chance < 0.001, "{chance}");
        let chance = larger_by_chance(&low, &high).expect("enough");
        assert!(chance > 0.99, "{chance}");
        let chance = larger_by_chance(&low, &low).expect("enough, all tied in pairs");
        assert!((0.4..0.6).contains(&chance), "{chance}");
        assert_eq!(larger_by_chance(&low[..4], &low), None);
    }

    #[test]
    fn five_against_five_is_exact() {
        // Of the 252 ways to divide ten ranks, one has the five largest on the left.
        let low = [1.0, 2.0, 3.0, 4.0, 5.0];
        let high = [6.0, 7.0, 8.0, 9.0, 10.0];
        let chance = larger_by_chance(&high, &low).expect("enough");
        assert!((chance - 1.0 / 252.0).abs() < 1e-9, "{chance}");
    }
}
