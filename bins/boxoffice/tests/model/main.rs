//! The purchase protocol, explored exhaustively over the real `decide` functions of tickets, orders, expiration and
//! payments: every interleaving of buyers, a seller, deadlines (early and late), Stripe, and in-order streams.
//!
//! A state is everything that the services know, what is still on its way between them, and what Stripe has.
//! [`World::steps`] lists what may happen next; the explorer visits every state that can be reached, checks I1 and I2
//! in each, and in each state in which nothing but people could still act, that no order is left hanging.
//! The protocol is the one of ARCHITECTURE.md; the first model of it was a sketch in Python.

mod explorer;
mod world;

use world::World;

/// Two buyers after one piece: the race for a ticket.
#[test]
fn two_orders_for_one_piece() {
    let explored = explorer::explore(World::new(1, 2));
    println!("{explored:?}");
    assert!(
        explored.states > 50_000,
        "the exploration has become suspiciously small: {explored:?}"
    );
    assert!(explored.seen.contains("complete cancelled"), "{explored:?}");
    assert!(explored.seen.contains("cancelled complete"), "{explored:?}");
}

/// One buyer, every fate of one order.
#[test]
fn one_order() {
    let explored = explorer::explore(World::new(1, 1).in_bad_weather());
    println!("{explored:?}");
    for fate in ["none", "complete", "cancelled"] {
        assert!(
            explored.seen.contains(fate),
            "{fate} was never reached: {explored:?}"
        );
    }
}

/// A protocol that forgets to release the hold of a cancelled order must be found out.
#[test]
fn a_broken_protocol_is_found_out() {
    let broken = World::new(1, 1).that_forgets_to_release();
    let violation = explorer::find_violation(broken).expect("a hold that is never released is a violation");
    assert!(violation.contains("cancelled, but"), "{violation}");
}
