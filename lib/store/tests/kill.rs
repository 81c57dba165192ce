//! kill -9, again and again, in the middle of writing: nothing that was acknowledged is lost, nothing is torn.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Account, Bank, Refusal, account, event, id, now, options};
use events::{Seq, Version};
use store::{Context, Store};

/// How often the writing process is killed. The long form is for the fault bench.
const KILLS: u64 = 10;

/// How many clients the process writes for.
const CLIENTS: usize = 8;

/// Tells the copy of this program that is killed what it is.
const DIR_VARIABLE: &str = "STORE_TEST_KILL_DIR";

/// Not a test by itself: what runs in the process that is killed. It writes until then, and says what was
/// acknowledged. Each transaction raises two accounts of a client and emits two events.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let store: Bank = Store::open(options(Path::new(&dir))).unwrap();
        let clients: Vec<_> = (0..CLIENTS as u64)
            .map(|client| {
                let store = store.clone();
                tokio::spawn(async move {
                    loop {
                        let points = raise(&store, client).await;
                        println!("ACK {client} {points}");
                        std::io::stdout().flush().unwrap();
                    }
                })
            })
            .collect();
        // None of them ends by itself; the first one is as good to wait for as any.
        let first = clients.into_iter().next().expect("there are clients");
        let _: std::convert::Infallible = first.await.expect("it is killed before it fails");
    });
}

async fn raise(store: &Bank, client: u64) -> u64 {
    let raised: Result<u64, Refusal> = store
        .transact(Context::new(now()), move |txn| {
            let mut points = 0;
            for number in [client * 2, client * 2 + 1] {
                let row = txn.get::<Account>(&id(number))?;
                let version = row.map_or(0, |row| row.version.0);
                points = version + 1;
                let expected = (version > 0).then_some(Version(version));
                txn.put(expected, account(number, points, points))?;
                txn.emit(event(number));
            }
            Ok(points)
        })
        .await;
    raised.unwrap()
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = [0_u64; CLIENTS];
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env(DIR_VARIABLE, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        let mut hear = |line: String| {
            if let Some(rest) = line.split("ACK ").nth(1) {
                let mut numbers = rest.split(' ').map(|number| number.parse::<u64>());
                // The last line may be cut short by the kill.
                if let (Some(Ok(client)), Some(Ok(points))) = (numbers.next(), numbers.next()) {
                    let seen = &mut acknowledged[usize::try_from(client).unwrap()];
                    *seen = points.max(*seen);
                    return 1;
                }
            }
            0
        };
        // Each time at another point.
        while heard < 40 + kill * 37 {
            heard += hear(lines.next().expect("it writes until it is killed").unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it was killed counts, the last line excepted if that is cut.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let whole = rest.len().saturating_sub(1);
        for line in rest.into_iter().take(whole) {
            hear(line);
        }

        let store: Bank = Store::open(options(dir.path())).unwrap();
        let mut total = 0;
        for (client, points) in (0_u64..).zip(acknowledged) {
            let versions: Vec<_> = [client * 2, client * 2 + 1]
                .into_iter()
                .map(|number| {
                    store
                        .get::<Account>(&id(number))
                        .unwrap()
                        .map_or(0, |row| row.version.0)
                })
                .collect();
            assert_eq!(versions[0], versions[1], "a torn transaction, kill {kill}");
            assert!(
                versions[0] >= points,
                "lost: client {client} {versions:?} < {points}, kill {kill}"
            );
            total += versions[0] * 2;
        }
        let events = store.outbox(Seq(0), usize::MAX).unwrap();
        let first = events.first().map_or(1, |entry| entry.seq.0);
        assert_eq!(first, 1);
        assert_eq!(
            store.status().head.0,
            total,
            "as many events as effects, kill {kill}"
        );
        store.close();
    }
    assert!(acknowledged.iter().sum::<u64>() > KILLS * 40);
}
