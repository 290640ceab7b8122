//! Data whose every element tells where it comes from.

use super::Trouble;

/// The byte at `index` of what `rank` sends in the round `salt`. Shifts by any power of two show.
fn byte(rank: usize, salt: usize, index: usize) -> u8 {
    let place = index ^ (index >> 8) ^ (index >> 16) ^ (index >> 24);
    (place as u8) ^ (rank.wrapping_mul(29) as u8) ^ (salt.wrapping_mul(37) as u8)
}

/// Fills a buffer with what `rank` sends.
pub(super) fn fill(buffer: &mut [u8], rank: usize, salt: usize) {
    for (index, place) in buffer.iter_mut().enumerate() {
        *place = byte(rank, salt, index);
    }
}

/// Writes the number of an operation into the first byte, so that an old result is recognised.
pub(super) fn stamp(buffer: &mut [u8], index: usize) {
    if let Some(first) = buffer.first_mut() {
        *first = index as u8;
    }
}

/// Whether a buffer has the number of this operation.
pub(super) fn is_stamped(buffer: &[u8], index: usize) -> bool {
    buffer.first().is_none_or(|first| *first == index as u8)
}

/// Checks a buffer against what `rank` sent as operation `index`.
pub(super) fn check(
    what: &str,
    buffer: &[u8],
    rank: usize,
    salt: usize,
    index: usize,
) -> Result<(), Trouble> {
    let expected = |place: usize| match place {
        0 => index as u8,
        _ => byte(rank, salt, place),
    };
    let wrong = buffer
        .iter()
        .enumerate()
        .find(|(place, found)| **found != expected(*place));
    wrong.map_or(Ok(()), |(place, found)| {
        Err(Trouble::Wrong(format!(
            "{what} of {} bytes, operation {index}: byte {place} of what rank {rank} sent is {found} \
             instead of {}",
            buffer.len(),
            expected(place)
        )))
    })
}

/// The addends of a sum. All sums of a job are whole numbers that doubles hold exactly.
pub(super) mod addends {
    use super::Trouble;

    fn place(salt: usize, index: usize) -> f64 {
        ((index & 0xffff) + (salt & 0xff)) as f64
    }

    /// One addend of a rank.
    pub(in super::super) fn of(rank: usize, salt: usize, index: usize) -> f64 {
        place(salt, index) + rank as f64
    }

    /// The addends of a rank.
    pub(in super::super) fn fill(buffer: &mut [f64], rank: usize, salt: usize) {
        for (index, value) in buffer.iter_mut().enumerate() {
            *value = of(rank, salt, index);
        }
    }

    /// The first addend tells the operation.
    pub(in super::super) fn stamp(buffer: &mut [f64], rank: usize, index: usize) {
        buffer[0] = (index & 0xffff) as f64 + rank as f64;
    }

    fn first_sum(size: usize, index: usize) -> f64 {
        ((index & 0xffff) * size + size * (size - 1) / 2) as f64
    }

    /// Whether the first sum is that of this operation.
    pub(in super::super) fn is_stamped(sums: &[f64], size: usize, index: usize) -> bool {
        sums.first() == Some(&first_sum(size, index))
    }

    /// Checks the sums over all ranks.
    pub(in super::super) fn check(
        what: &str,
        sums: &[f64],
        size: usize,
        salt: usize,
        index: usize,
    ) -> Result<(), Trouble> {
        let expected = |at: usize| match at {
            0 => first_sum(size, index),
            _ => size as f64 * place(salt, at) + (size * (size - 1) / 2) as f64,
        };
        let wrong = sums
            .iter()
            .enumerate()
            .find(|(at, found)| **found != expected(*at));
        wrong.map_or(Ok(()), |(at, found)| {
            Err(Trouble::Wrong(format!(
                "{what} of {} doubles on {size} ranks, operation {index}: element {at} is {found} \
                 instead of {}",
                sums.len(),
                expected(at)
            )))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displaced_and_old_bytes_are_noticed() {
        let mut buffer = vec![0; 5000];
        fill(&mut buffer, 3, 7);
        stamp(&mut buffer, 9);
        assert!(check("test", &buffer, 3, 7, 9).is_ok());
        for (rank, salt, index) in [(2, 7, 9), (3, 6, 9), (3, 7, 8)] {
            assert!(check("test", &buffer, rank, salt, index).is_err());
        }
        let mut shifted = buffer.clone();
        shifted.copy_within(1024..2048, 2048);
        let error = check("test", &shifted, 3, 7, 9).expect_err("moved");
        assert!(error.to_string().contains("byte 2048"), "{error}");
    }

    #[test]
    fn wrong_sums_are_noticed() {
        let size = 5;
        let mut sums = vec![0.0; 300];
        let mut mine = sums.clone();
        for rank in 0..size {
            addends::fill(&mut mine, rank, 2);
            addends::stamp(&mut mine, rank, 11);
            sums.iter_mut()
                .zip(&mine)
                .for_each(|(sum, mine)| *sum += mine);
        }
        assert!(addends::is_stamped(&sums, size, 11));
        assert!(!addends::is_stamped(&sums, size, 10));
        assert!(addends::check("test", &sums, size, 2, 11).is_ok());
        assert!(addends::check("test", &sums, size, 3, 11).is_err());
        sums[299] += 1.0;
        let error = addends::check("test", &sums, size, 2, 11).expect_err("one more");
        assert!(error.to_string().contains("element 299"), "{error}");
    }
}
