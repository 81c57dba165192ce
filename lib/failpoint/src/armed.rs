//! What a point does when the bench is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use crate::{FOLDER_VARIABLE, Point};

/// What the bench has ordered for a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// kill -9, at the so-manieth visit from now on; once.
    Kill { visits: u32 },
    /// Be held up for so long, at every visit until the order is taken back.
    Sleep { millis: u64 },
}

pub(crate) fn reach(point: Point) {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from));
    let Some(folder) = folder else {
        return;
    };
    note_visit(folder, point);
    let order = {
        // An order that is counted down is read and written again: several threads must not do that at once.
        static ORDERS: Mutex<()> = Mutex::new(());
        let _held = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
        take_order(folder, point)
            .unwrap_or_else(|error| panic!("the orders for {} can't be read: {error}", point.name()))
    };
    match order {
        None => {}
        Some(Order::Kill { .. }) => {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            // The signal is on its way; nothing may happen after the point.
            loop {
                std::thread::park();
            }
        }
        #[expect(clippy::disallowed_methods, reason = "being slow is what was ordered")]
        Some(Order::Sleep { millis }) => std::thread::sleep(Duration::from_millis(millis)),
    }
}

fn note_visit(folder: &Path, point: Point) {
    static VISITED: [OnceLock<()>; Point::ALL.len()] = [const { OnceLock::new() }; Point::ALL.len()];
    VISITED[point as usize].get_or_init(|| {
        let visited = folder.join("visited").join(point.name());
        fs::write(&visited, "")
            .unwrap_or_else(|error| panic!("{} can't be noted: {error}", visited.display()));
    });
}

/// What is to be done now. An order to kill counts its visits down in its own file, and goes when it is carried out.
fn take_order(folder: &Path, point: Point) -> io::Result<Option<Order>> {
    let file = folder.join("armed").join(point.name());
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let order = parse(&text).ok_or_else(|| io::Error::other(format!("{text:?} is no order")))?;
    match order {
        Order::Kill { visits: 0 | 1 } => {
            // Two threads may be here at once: the one that removes the order carries it out.
            match fs::remove_file(&file) {
                Ok(()) => Ok(Some(order)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        }
        Order::Kill { visits } => {
            let next = file.with_extension("next");
            fs::write(&next, format!("kill {}", visits - 1))?;
            fs::rename(next, file)?;
            Ok(None)
        }
        Order::Sleep { .. } => Ok(Some(order)),
    }
}

fn parse(text: &str) -> Option<Order> {
    match text.trim().split_once(' ')? {
        ("kill", visits) => visits.parse().ok().map(|visits| Order::Kill { visits }),
        ("sleep", millis) => millis.parse().ok().map(|millis| Order::Sleep { millis }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_to_kill_waits_for_its_visit_and_is_carried_out_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("armed")).unwrap();
        let order = || take_order(folder.path(), Point::AfterSync).unwrap();
        assert_eq!(order(), None);
        fs::write(folder.path().join("armed/after-sync"), "kill 3").unwrap();
        assert_eq!((order(), order()), (None, None));
        assert_eq!(order(), Some(Order::Kill { visits: 1 }));
        assert_eq!(order(), None);
    }

    #[test]
    fn an_order_to_wait_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("armed")).unwrap();
        fs::write(folder.path().join("armed/before-sync"), "sleep 20\n").unwrap();
        for _ in 0..3 {
            let order = take_order(folder.path(), Point::BeforeSync).unwrap();
            assert_eq!(order, Some(Order::Sleep { millis: 20 }));
        }
        fs::write(folder.path().join("armed/before-sync"), "nonsense").unwrap();
        assert!(take_order(folder.path(), Point::BeforeSync).is_err());
    }
}
