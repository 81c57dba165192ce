//! Every row of the fault bench in its short form, against real processes, a real redis-server, real stores.
//!
//! Only built with the feature `failpoints`: `cargo nextest run -p faults --features failpoints`. What a row does
//! stands in `src/rows`; the long form is `./scripts/faults`.

/// The choices of these tests are always the same; `boxoffice-faults run` draws a seed of its own.
const SEED: u64 = 1;

/// One test for each row, by its name.
macro_rules! rows {
    ($($test:ident = $row:literal,)+) => {
        $(
            #[test]
            fn $test() {
                faults::run::test($row, SEED);
            }
        )+

        #[test]
        fn every_row_is_tested() {
            let tested = [$($row),+];
            let all: Vec<&str> = faults::rows::ROWS.iter().map(|row| row.name).collect();
            assert_eq!(tested.as_slice(), all.as_slice(), "the rows here are those of src/rows, in order");
        }
    };
}

rows! {
    row_01_every_point_visited = "every-point-visited",
    row_01_points_of_auth = "points-of-auth",
    row_01_points_of_tickets = "points-of-tickets",
    row_01_points_of_orders = "points-of-orders",
    row_01_points_of_expiration = "points-of-expiration",
    row_01_points_of_payments = "points-of-payments",
    row_02_two_at_random = "two-at-random",
    row_03_after_2xx = "after-2xx",
    row_04_around_the_append = "around-the-append",
    row_05_around_the_ack = "around-the-ack",
    row_06_redis_killed_kept = "redis-killed-kept",
    row_06_redis_killed_lost = "redis-killed-lost",
    row_07_redis_stopped = "redis-stopped",
    row_08_flushall = "flushall",
    row_08_pieces_deleted = "pieces-deleted",
    row_09_link_cut = "link-cut",
    row_10_redis_full = "redis-full",
    row_11_trimmed = "trimmed",
    row_12_disk_full = "disk-full",
    row_13_disk_slow = "disk-slow",
    row_13_too_many_at_once = "too-many-at-once",
    row_13_power_cut = "power-cut",
    row_14_clock_an_hour_off = "clock-an-hour-off",
    row_14_clocks_apart = "clocks-apart",
    row_15_slow_consumer = "slow-consumer",
    row_16_delivered_again = "delivered-again",
    row_17_delayed_and_shuffled = "delayed-and-shuffled",
    row_18_poison = "poison",
    row_18_newer_schema = "newer-schema",
    row_19_claimed = "claimed",
    row_25_one_ticket = "one-ticket",
    row_25_many_pieces = "many-pieces",
    row_26_all_restarted = "all-restarted",
    row_27_second_process = "second-process",
    row_28_store_damaged = "store-damaged",
    row_29_restored_with_streams = "restored-with-streams",
    row_29_restored_without_streams = "restored-without-streams",
    row_30_sigterm = "sigterm",
    row_31_releases = "releases",
    row_32_sessions_ended = "sessions-ended",
    row_33_redis_or_stripe_gone = "redis-or-stripe-gone",
    row_34_empty_store_late = "empty-store-late",
}
