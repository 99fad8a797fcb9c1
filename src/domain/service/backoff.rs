//! How long to wait before trying again: exponential with full jitter, so that many callers
//! that failed together do not come back together. The seed comes in as an argument.

use std::time::Duration;

/// Waits between tries: each uniformly between nothing and a bound that doubles.
#[derive(Clone, Debug)]
pub struct FullJitter {
    bound: Duration,
    cap: Duration,
    left: usize,
    state: u64,
}

impl FullJitter {
    /// Begins a series of at most `retries` waits.
    #[must_use]
    pub const fn new(first: Duration, cap: Duration, retries: usize, seed: u64) -> Self {
        Self {
            bound: first,
            cap,
            left: retries,
            state: seed,
        }
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): spreads well from any seed.
    const fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Iterator for FullJitter {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let bound = self.bound.min(self.cap);
        self.bound = bound.saturating_mul(2);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        let random = self.random();
        Some(Duration::from_micros(random % micros.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(200);
    const CAP: Duration = Duration::from_secs(2);

    #[test]
    fn waits_stay_under_a_doubling_bound_and_end() {
        for seed in 0..200 {
            let waits: Vec<_> = FullJitter::new(FIRST, CAP, 6, seed).collect();
            assert_eq!(waits.len(), 6);
            for (n, wait) in waits.iter().enumerate() {
                let bound = FIRST * 2_u32.pow(u32::try_from(n).unwrap_or_default());
                assert!(*wait <= bound.min(CAP), "{n}: {wait:?}");
            }
        }
    }

    #[test]
    fn one_seed_gives_one_series_and_two_seeds_two() {
        let series = |seed| FullJitter::new(FIRST, CAP, 6, seed).collect::<Vec<_>>();
        assert_eq!(series(7), series(7));
        assert_ne!(series(7), series(8));
    }
}
