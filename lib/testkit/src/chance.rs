//! Chance that a seed reproduces: what one run of a test drew, another run with the same seed draws again.

use std::ops::Range;

/// A source of chance (SplitMix64). Good enough to scatter faults, and for nothing that must be secret.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// All that it gives follows from the seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub const fn below(&mut self, end: u64) -> u64 {
        let number = self.number();
        if end == 0 { 0 } else { number % end }
    }

    /// An index out of `range`; its start if it is empty.
    pub fn index(&mut self, range: Range<usize>) -> usize {
        let length = range.end.saturating_sub(range.start) as u64;
        range.start + usize::try_from(self.below(length)).expect("below the length of a range of usize")
    }

    /// One of some.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        assert!(!some.is_empty(), "none of none can be picked");
        &some[self.index(0..some.len())]
    }

    /// True `times` out of `of`.
    pub const fn happens(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    /// Another source, independent of what this one gives from now on.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self(self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_reproduces_and_another_one_differs() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            [chance.number(), chance.below(10), chance.fork().number()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn what_is_drawn_stays_in_its_bounds_and_reaches_all_of_them() {
        let mut chance = Chance::new(7);
        let mut seen = [0; 5];
        for _ in 0..1_000 {
            seen[chance.index(0..5)] += 1;
            assert!((3..5).contains(&chance.index(3..5)));
        }
        assert!(seen.iter().all(|times| *times > 100), "{seen:?}");
        assert_eq!((chance.below(0), chance.index(4..4)), (0, 4));
        assert!([1, 2].contains(chance.pick(&[1, 2])));
        assert!(!chance.happens(0, 3) && chance.happens(3, 3));
    }
}
