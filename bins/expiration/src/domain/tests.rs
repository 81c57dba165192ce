//! Every command in every state; clocks that disagree; and random histories.

use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const HOLD: Duration = Duration::from_secs(900);

fn order_id() -> OrderId {
    OrderId::from_bytes([1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1])
}

fn placed(at: Timestamp) -> Command {
    Command::Schedule {
        order_id: order_id(),
        expires_at: at.plus(HOLD),
        placed_at: at,
    }
}

fn stated(at: Timestamp) -> Command {
    Command::Reschedule {
        order_id: order_id(),
        expires_at: at.plus(HOLD),
        placed_at: at,
    }
}

fn watched(command: Command, now: Timestamp) -> Deadline {
    match decide(None, command, now).unwrap() {
        Decision::Watch(deadline) => deadline,
        other @ (Decision::Fired(..) | Decision::Forget) => panic!("{other:?}"),
    }
}

#[test]
fn every_command_in_every_state() {
    let waiting = watched(placed(NOW), NOW);
    let fired = Deadline {
        state: DeadlineState::Fired,
        ..waiting.clone()
    };
    let commands = [
        ("schedule", placed(NOW), NOW),
        ("fire, too early", Command::Fire, NOW),
        ("fire, in time", Command::Fire, NOW.plus(HOLD)),
        (
            "postpone 5 s",
            Command::Postpone {
                remaining: Duration::from_secs(5),
            },
            NOW,
        ),
        ("settle", Command::Settle, NOW),
        ("stated open", stated(NOW), NOW),
        ("stated open, later", stated(NOW.plus(HOLD)), NOW.plus(HOLD)),
    ];
    let mut table = String::new();
    for (state, deadline) in [
        ("unknown", None),
        ("waiting", Some(waiting)),
        ("fired", Some(fired)),
    ] {
        for (name, command, now) in commands {
            let outcome = match decide(deadline.as_ref(), command, now) {
                Ok(Decision::Watch(deadline)) => {
                    format!("ok: watch until now + {:?}", deadline.due.since(NOW))
                }
                Ok(Decision::Fired(..)) => "ok: order:expired".into(),
                Ok(Decision::Forget) => "ok: forget".into(),
                Err(error) => format!("refused: {error:?}"),
            };
            table.push_str(&format!("{state:8} {name:16} {outcome}\n"));
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn clocks_that_disagree_make_nothing_late() {
    // Our clock is an hour behind the orders service's: its deadline, taken literally, would come an hour too late.
    assert_eq!(watched(placed(NOW.plus(HOUR)), NOW).due, NOW.plus(HOLD));
    // Our clock is an hour ahead: the alarm rings at once, and the orders service says how much is left.
    let early = watched(placed(NOW), NOW.plus(HOUR));
    assert_eq!(early.due, NOW.plus(HOLD));
    let postpone = Command::Postpone { remaining: HOLD };
    let Ok(Decision::Watch(again)) = decide(Some(&early), postpone, NOW.plus(HOUR)) else {
        panic!("not watched")
    };
    assert_eq!(again.due, NOW.plus(HOUR).plus(HOLD));
    // An order whose event comes a day late is over.
    assert!(watched(placed(NOW), NOW.plus(24 * HOUR)).due < NOW.plus(24 * HOUR));
}

proptest! {
    #[test]
    fn a_deadline_is_announced_once_and_never_early(steps in proptest::collection::vec((0..4_u8, 0..600_u64), 1..40)) {
        let mut now = NOW;
        let mut deadline: Option<Deadline> = None;
        let mut announced = 0_u32;
        let mut may_announce = 0_u32;
        for (step, seconds) in steps {
            now = now.plus(Duration::from_secs(seconds));
            let command = match step {
                0 => placed(now),
                1 => Command::Fire,
                2 => Command::Postpone { remaining: Duration::from_secs(30) },
                _ => Command::Settle,
            };
            match decide(deadline.as_ref(), command, now) {
                Ok(Decision::Watch(next)) => {
                    may_announce += 1;
                    deadline = Some(next);
                }
                Ok(Decision::Fired(next, _)) => {
                    prop_assert!(next.due <= now);
                    announced += 1;
                    deadline = Some(next);
                }
                Ok(Decision::Forget) => deadline = None,
                Err(_) => {}
            }
            prop_assert!(announced <= may_announce);
        }
    }
}
