//! Row 25: many more buyers than pieces, all at once.

use std::time::Instant;

use tokio::task::JoinSet;

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Ordered, Plan};
use crate::report::Outcome;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// A thousand orders of one ticket: one is taken.
pub(super) async fn of_one_ticket(stage: Stage) -> Outcome {
    let (people, orders_each) = stage.size((20, 50), (1_000, 1));
    rush(stage, people, orders_each, 1).await
}

/// Five thousand orders of five hundred pieces (five hundred of fifty in the short form): exactly as many are taken.
pub(super) async fn of_many_pieces(stage: Stage) -> Outcome {
    let (people, orders_each, pieces) = stage.size((20, 25, 50), (1_000, 5, 500));
    rush(stage, people, orders_each, pieces).await
}

async fn rush(stage: Stage, people: usize, orders_each: usize, pieces: u64) -> Outcome {
    let setup = Setup::default();
    let system = System::start(&setup).await;
    let market = Market::open(&system, people, setup.hold_seconds, stage.seed).await;
    let ticket = market.list(pieces).await.expect("a listing is answered 201");
    stage.say(&format!("{people} people are there"));
    let begun = Instant::now();
    let mut sent = JoinSet::new();
    for buyer in (0..people).flat_map(|buyer| std::iter::repeat_n(buyer, orders_each)) {
        let (market, ticket) = (market.clone(), ticket.clone());
        sent.spawn(async move { (buyer, market.order(buyer, &ticket).await) });
    }
    let (mut taken, mut refused) = (Vec::new(), 0);
    while let Some(answer) = sent.join_next().await {
        match answer.expect("an order does not panic") {
            (buyer, Ordered::Taken(order)) => taken.push((buyer, order)),
            (_, Ordered::Refused) => refused += 1,
            (_, Ordered::Unanswered(_)) => {}
        }
    }
    let rush = begun.elapsed();
    let wanted = usize::try_from(pieces).expect("pieces are counted in hundreds");
    assert_eq!(taken.len(), wanted, "so many of {pieces} pieces were given away");
    assert_eq!(refused, people * orders_each - wanted, "everyone else is told so");
    // Those who were lucky pay; a few at a time, as a crowd of people does.
    for some in taken.chunks(8) {
        let paying: JoinSet<()> = some
            .iter()
            .cloned()
            .map(|(buyer, order)| {
                let market = market.clone();
                async move { market.go_on(buyer, &order, Plan::Buy).await }
            })
            .collect();
        paying.join_all().await;
    }
    let verdict = settle(&system, &market, Healed::now(&system)).await;
    assert_eq!(verdict.complete, wanted, "so many have paid for their piece");
    Outcome {
        done: format!(
            "{} orders of {pieces} in {:.1} s: {wanted} taken and paid, {refused} refused",
            people * orders_each,
            rush.as_secs_f64()
        ),
        kills: 0,
        verdict,
    }
}
