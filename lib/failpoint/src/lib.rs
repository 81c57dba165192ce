//! Named points around every effect of a purchase, at which the fault bench kills a process or holds it up.
//!
//! Without the feature `enabled` a point is nothing: no code, no branch, no string. With it, which only the fault
//! bench has, each point looks for a file of its own name in a folder that the environment names, so that a process
//! can be told while it runs. Nothing in here decides anything about the system, and nothing may depend on it.

#[cfg(feature = "enabled")]
mod armed;

/// The variable that names the folder of a process's orders. Below it, `armed/NAME` says what to do at a point, and
/// `visited/NAME` appears when a point was reached for the first time.
pub const FOLDER_VARIABLE: &str = "BOXOFFICE_FAILPOINTS";

macro_rules! points {
    ($($(#[$doc:meta])+ $point:ident = $name:literal,)+) => {
        /// A point in the code. The fault bench fails when one of them is never reached.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$doc])+ $point,)+
        }

        impl Point {
            /// All of them, in the order in which a purchase meets them.
            pub const ALL: &'static [Self] = &[$(Self::$point,)+];

            /// The name, as files and tables have it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// The writer is about to hand a batch to the engine.
    BeforeBatch = "before-batch",
    /// The engine has the batch, in memory.
    AfterBatch = "after-batch",
    /// The batch is about to be written to the kernel.
    BeforeFlush = "before-flush",
    /// The kernel has the batch.
    AfterFlush = "after-flush",
    /// The batch is about to be put onto the disk.
    BeforeSync = "before-sync",
    /// The batch is on the disk, and nobody has been told.
    AfterSync = "after-sync",
    /// Everyone who waited for the batch has been told.
    AfterReply = "after-reply",
    /// The relay is about to append events to the stream.
    BeforeAppend = "before-append",
    /// Redis has appended them and said so.
    AfterAppend = "after-append",
    /// A consumer is about to commit the effect of what it has read.
    BeforeCommit = "before-commit",
    /// The effect is durable, and nothing is acknowledged.
    AfterCommit = "after-commit",
    /// A consumer is about to acknowledge.
    BeforeAck = "before-ack",
    /// Redis has heard the acknowledgement.
    AfterAck = "after-ack",
    /// A deadline is about to be put into the scheduled set.
    BeforeSchedule = "before-schedule",
    /// It is in the set.
    AfterSchedule = "after-schedule",
    /// A deadline is about to be taken out of the set.
    BeforeUnschedule = "before-unschedule",
    /// It is out of the set.
    AfterUnschedule = "after-unschedule",
    /// A request to Stripe is about to be sent.
    BeforeStripe = "before-stripe",
    /// Stripe has answered, and nothing is noted yet.
    AfterStripe = "after-stripe",
}

/// Marks a point: here the bench may strike.
#[inline(always)]
pub fn reach(point: Point) {
    #[cfg(feature = "enabled")]
    armed::reach(point);
    #[cfg(not(feature = "enabled"))]
    let _ = point;
}
