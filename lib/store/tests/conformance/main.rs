//! What every store does, whatever engine is under it. The suite names no engine; the list at the end does.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

#[path = "../common/mod.rs"]
mod common;
mod durability;
mod own_rows;
mod transactions;
mod walking;

use std::sync::Arc;

use common::{Place, Stepped};
use events::{Epoch, Position, Seq};
use store::OutboxEntry;
use store::engine::{Disk, OpenEngine};

fn seqs(entries: &[OutboxEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq.0).collect()
}

fn outbox(store: &Stepped, after: u64) -> Vec<OutboxEntry> {
    store.store.outbox(Seq(after), usize::MAX).unwrap()
}

const fn position(seq: u64) -> Position {
    Position {
        epoch: Epoch(1),
        seq: Seq(seq),
    }
}

fn on(engine: impl OpenEngine + 'static) -> Place {
    Place::new(Arc::new(engine))
}

macro_rules! conformance {
    ($($group:ident :: { $($test:ident),* $(,)? })*) => {
        mod on_disk {
            $($(#[test] fn $test() { crate::$group::$test(&crate::on(crate::Disk)); })*)*
        }
        mod in_memory {
            $($(#[test] fn $test() { crate::$group::$test(&crate::on(crate::common::Memory::default())); })*)*
        }
    };
}

conformance!(
    transactions::{
        a_new_row_must_be_new,
        of_two_that_read_the_same_version_one_wins,
        a_later_transaction_of_a_batch_sees_the_earlier_ones,
        what_is_refused_or_panics_leaves_nothing,
        a_part_can_fail_without_the_rest,
        an_error_converts_for_every_caller,
        too_many_are_turned_away_at_once,
        large_and_tiny_rows_come_back,
        walking_over_a_table_sees_what_the_batch_has_made_of_it,
    }
    durability::{
        readers_see_only_what_is_durable,
        after_a_failure_the_outcome_is_unknown_and_the_store_recovers,
        a_batch_for_which_there_is_no_room_changes_nothing_and_reading_goes_on,
        an_index_that_panics_is_rebuilt,
        everything_is_there_again_after_a_reopening,
        an_old_store_does_not_serve,
    }
    own_rows::{
        numbers_have_no_gaps_whatever_is_refused,
        cursors_take_each_event_once_and_in_order,
        the_outbox_is_read_in_pages,
        events_carry_their_cause_and_trace,
        dead_letters_are_kept_cut_and_dropped,
        an_idempotency_key_replays_refuses_and_expires,
    }
    walking::{
        all_rows_of_the_service_are_walked_over_and_no_others,
        a_check_finds_nothing_wrong_whatever_was_done,
        a_check_follows_the_writer,
    }
);
