//! Visits every state that can be reached, breadth first, so that the first violation has a shortest history.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{Hash, Hasher};

use super::world::World;

/// What an exploration has seen.
#[derive(Debug, Default)]
pub(crate) struct Explored {
    /// How many different states.
    pub(crate) states: usize,
    /// How many of them are at rest: nothing but people could still act.
    pub(crate) at_rest: usize,
    /// How the orders stand in the states at rest.
    pub(crate) seen: BTreeSet<String>,
}

/// Explores everything.
///
/// # Panics
/// At the first violation, with the history that leads to it.
pub(crate) fn explore(start: World) -> Explored {
    match search(start) {
        Ok(explored) => explored,
        Err(violation) => panic!("{violation}"),
    }
}

/// The first violation, if there is one.
pub(crate) fn find_violation(start: World) -> Option<String> {
    search(start).err()
}

fn search(start: World) -> Result<Explored, String> {
    let mut explored = Explored::default();
    // Only fingerprints are kept of visited states, with how each was first reached.
    let mut reached: HashMap<u64, Option<(u64, String)>> = HashMap::new();
    let mut waiting = VecDeque::new();
    reached.insert(fingerprint(&start), None);
    waiting.push_back(start);
    while let Some(world) = waiting.pop_front() {
        explored.states += 1;
        let here = fingerprint(&world);
        let violation = |what: String| {
            Err(format!(
                "{what}\nafter: {}\n{world:#?}",
                history(&reached, here).join(", ")
            ))
        };
        if let Err(what) = world.check() {
            return violation(what);
        }
        let steps = match world.steps() {
            Ok(steps) => steps,
            Err(what) => return violation(what),
        };
        if steps.iter().all(|step| step.by_people) {
            explored.at_rest += 1;
            explored.seen.insert(world.summary());
            if let Err(what) = world.check_at_rest() {
                return violation(what);
            }
        }
        for step in steps {
            let there = fingerprint(&step.world);
            if let std::collections::hash_map::Entry::Vacant(entry) = reached.entry(there) {
                entry.insert(Some((here, step.name)));
                waiting.push_back(step.world);
            }
        }
    }
    Ok(explored)
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

fn history(reached: &HashMap<u64, Option<(u64, String)>>, mut here: u64) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(Some((before, name))) = reached.get(&here) {
        names.push(name.clone());
        here = *before;
    }
    names.reverse();
    names
}
