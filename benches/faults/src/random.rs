//! Chance that can be had again: every choice of a run follows from one seed.
//!
//! What the scheduler and the network do is not in here, so the same seed gives the same choices, not the same
//! microseconds.

use testkit::Chance;

/// An odd number without a pattern: neighbouring forks begin far apart.
const FORKS_APART: u64 = 0xD1B5_4A32_D192_ED03;

/// The choices of one run, or of one part of it.
#[derive(Debug, Clone)]
pub struct Random {
    seed: u64,
    chance: Chance,
}

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            chance: Chance::new(seed),
        }
    }

    /// A sequence of its own for one of many who share a seed, whatever the others have drawn meanwhile.
    #[must_use]
    pub fn fork(&self, which: u64) -> Self {
        let mut chance = Chance::new(self.seed ^ which.wrapping_mul(FORKS_APART));
        Self::new(chance.number())
    }

    /// The next 64 bits.
    pub fn number(&mut self) -> u64 {
        self.chance.number()
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// When nothing is below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        self.number() % bound
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// One of some, or none of none.
    pub fn pick<'a, T>(&mut self, some: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(some.len()).ok().filter(|count| *count > 0)?;
        usize::try_from(self.below(count))
            .ok()
            .and_then(|index| some.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_sequence_and_forks_differ() {
        let draw = |mut random: Random| (0..4).map(|_| random.number()).collect::<Vec<_>>();
        assert_eq!(draw(Random::new(7)), draw(Random::new(7)));
        let root = Random::new(7);
        assert_ne!(draw(root.fork(0)), draw(root.fork(1)));
    }

    #[test]
    fn bounds_are_kept() {
        let mut random = Random::new(1);
        for _ in 0..1_000 {
            assert!((3..=5).contains(&random.between(3, 5)));
        }
        assert_eq!(random.pick::<u8>(&[]), None);
        assert_eq!(random.pick(&[9]), Some(&9));
    }
}
