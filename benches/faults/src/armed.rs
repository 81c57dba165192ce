//! What the parts are told to do at their failpoints, and which of those they have reached; see `failpoint`.

use std::fs;

use failpoint::Point;

use crate::layout;
use crate::part::Part;
use crate::system::System;

/// So many visits of a point are more than any story makes: an order for the last of them only counts.
const VISITS_COUNTED_MAX: u64 = 1_000_000_000;

impl System {
    /// Orders a failpoint of a part to do something: `kill 1`, `sleep 1000`.
    ///
    /// # Panics
    /// When the order can't be written.
    pub fn arm(&self, part: Part, point: Point, order: &str) {
        let armed = layout::failpoints(self.dir(), part).join("armed");
        let made = armed.join(format!("{}.made", point.name()));
        // Renamed into place, so that no process reads half an order.
        fs::write(&made, order).expect("a temporary directory can be written");
        fs::rename(made, armed.join(point.name())).expect("a temporary directory can be written");
    }

    /// Takes an order back; answers whether it was still there, that is, whether the point was not reached.
    pub fn disarm(&self, part: Part, point: Point) -> bool {
        let armed = layout::failpoints(self.dir(), part).join("armed");
        fs::remove_file(armed.join(point.name())).is_ok()
    }

    /// Whether an order still waits for its point.
    pub fn is_armed(&self, part: Part, point: Point) -> bool {
        let armed = layout::failpoints(self.dir(), part).join("armed");
        armed.join(point.name()).exists()
    }

    /// Whether a part has reached a point since the system was started.
    pub fn visited(&self, part: Part, point: Point) -> bool {
        let visited = layout::failpoints(self.dir(), part).join("visited");
        visited.join(point.name()).exists()
    }

    /// Begins to count how often a part comes to a point.
    pub fn count_visits(&self, part: Part, point: Point) {
        self.arm(part, point, &format!("kill {VISITS_COUNTED_MAX}"));
    }

    /// How often it has come there since [`Self::count_visits`], which ends.
    ///
    /// # Panics
    /// When nobody counts.
    pub fn visits_counted(&self, part: Part, point: Point) -> u64 {
        let armed = layout::failpoints(self.dir(), part)
            .join("armed")
            .join(point.name());
        let order = fs::read_to_string(armed).expect("an order for so late a visit is not carried out");
        self.disarm(part, point);
        let left = order
            .strip_prefix("kill ")
            .and_then(|left| left.trim().parse::<u64>().ok());
        VISITS_COUNTED_MAX - left.expect("an order to kill says at which visit")
    }
}
