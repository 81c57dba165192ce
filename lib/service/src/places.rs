//! A bounded number of places, each free again when its holder is dropped. Nobody waits for one: who finds none is
//! told so at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many places.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    max: usize,
}

/// A place that is taken, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a AtomicUsize);

impl Places {
    /// `max` places, all free.
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            max,
        }
    }

    /// A place, if one is free.
    pub(crate) fn take(&self) -> Option<Place<'_>> {
        let fits = |count: usize| (count < self.max).then_some(count + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()
            .map(|_| Place(&self.taken))
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_given_back() {
        let places = Places::new(2);
        let (first, second) = (places.take(), places.take());
        assert!(first.is_some() && second.is_some());
        assert!(places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
        assert_eq!(places.taken(), 1);
    }
}
