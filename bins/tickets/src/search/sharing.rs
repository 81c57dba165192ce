//! The tickets that share a word. Most words of a large market are in one title only (a row, a seat, a name), and a set of its
//! own for each of them would take more memory than all the rest that is known of that ticket.

use std::collections::BTreeSet;

use events::TicketId;

/// At least one ticket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// One.
    One(TicketId),
    /// Two or more.
    More(BTreeSet<TicketId>),
}

impl Sharing {
    /// Adds a ticket, if it is not among them.
    pub(super) fn add(&mut self, id: TicketId) {
        match self {
            Self::One(only) if *only == id => {}
            Self::One(only) => *self = Self::More(BTreeSet::from([*only, id])),
            Self::More(ids) => {
                ids.insert(id);
            }
        }
    }

    /// Takes a ticket away; `None` when nobody is left.
    pub(super) fn without(self, id: TicketId) -> Option<Self> {
        match self {
            Self::One(only) => (only != id).then_some(Self::One(only)),
            Self::More(mut ids) => {
                ids.remove(&id);
                match (ids.first(), ids.len()) {
                    (Some(only), 1) => Some(Self::One(*only)),
                    _ => Some(Self::More(ids)),
                }
            }
        }
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::More(ids) => ids.len(),
        }
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = TicketId> + '_ {
        let (one, more) = match self {
            Self::One(id) => (Some(*id), None),
            Self::More(ids) => (None, Some(ids.iter().copied())),
        };
        one.into_iter().chain(more.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with a plain set, over all sequences of additions and removals of three tickets up to a length.
    #[test]
    fn it_is_a_set_that_is_never_empty() {
        let ids = [1, 2, 3].map(|byte| TicketId::from_bytes([byte; 16]));
        const STEPS: u32 = 5;
        for sequence in 0..6_usize.pow(STEPS) {
            let mut left = sequence;
            let (mut sharing, mut plain) = (Some(Sharing::One(ids[0])), BTreeSet::from([ids[0]]));
            for _ in 0..STEPS {
                let (id, adds) = (ids[left % 3], left / 3 % 2 == 0);
                left /= 6;
                if adds {
                    plain.insert(id);
                    match &mut sharing {
                        Some(sharing) => sharing.add(id),
                        none => *none = Some(Sharing::One(id)),
                    }
                } else {
                    plain.remove(&id);
                    sharing = sharing.and_then(|sharing| sharing.without(id));
                }
                let told: Vec<TicketId> = sharing.iter().flat_map(Sharing::iter).collect();
                assert_eq!(told, Vec::from_iter(plain.iter().copied()));
                assert_eq!(sharing.as_ref().map_or(0, Sharing::count), plain.len());
                // One content has one form: what was rebuilt is compared with what is in memory.
                assert_eq!(matches!(sharing, Some(Sharing::One(_))), plain.len() == 1);
            }
        }
    }
}
