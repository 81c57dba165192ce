//! `boxoffice backup` and `restore`: what was published comes back from the streams, and where it can't, nobody
//! pretends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::{Reply, TempDir, eventually_blocking, temp_dir};

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::load::Load;
use crate::operator::Operator;
use crate::person::Person;

/// How many orders come before, and how many after, a backup was taken in the middle of them.
const ORDERS_BEFORE: usize = 40;
const ORDERS_AFTER: usize = 60;

/// How long services may take to start, and to find that they can't take back what they have lost.
const REFUSED_MAX: Duration = Duration::from_secs(90);

/// How long a stop may take.
const STOP_MAX: Duration = Duration::from_secs(30);

in_both_deployments!(
    what_was_published_since_the_backup_comes_back_from_the_streams,
    without_the_streams_it_refuses_and_only_the_operator_can_accept_the_loss,
    one_store_alone_begins_anew_and_the_others_follow,
    all_stores_restored_without_any_stream_refuse_until_the_loss_is_accepted,
);

async fn what_was_published_since_the_backup_comes_back_from_the_streams(deployment: Deployment) {
    let mut system = System::start(deployment, Options::redis_of_the_test()).await;
    let (operator, backup) = (Operator::of(&system, deployment), Backup::new());
    let load = Load::on(&system).await;
    load.goes_on_for(ORDERS_BEFORE).await;
    operator
        .does(&backup.command("backup --to"))
        .expect(0, &["The backup is whole"]);
    load.goes_on_for(ORDERS_AFTER).await;
    let aftermath = load.ends().await;
    // What the relay has not published yet lies on the disk that is given up here, and nowhere else.
    operator.finds_nothing_wrong();
    system.kill();

    Operator::of_stores(system.data_dir())
        .does(&backup.command("restore --from"))
        .expect(
            0,
            &["restored as it was at", "takes back from its stream", "Passwords"],
        );
    system.start_again().await;
    aftermath.nothing_is_lost().await;
    aftermath.everyone_is_served().await;
    operator.finds_nothing_wrong();
}

async fn without_the_streams_it_refuses_and_only_the_operator_can_accept_the_loss(deployment: Deployment) {
    let mut system = System::start(deployment, Options::redis_of_the_test()).await;
    let (operator, backup) = (Operator::of(&system, deployment), Backup::new());
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let kept = seller.lists(2).await;
    let bought = buyer.buys(&kept).await;
    operator.finds_nothing_wrong();
    operator.does(&backup.command("backup --to")).expect(0, &[]);
    let lost = seller.lists(1).await;
    let order = buyer.orders(&lost).await;
    buyer.sees(&order, "awaiting:payment").await;
    system.kill();

    // The orders service has applied what the tickets service has lost, and nobody can tell it any more.
    let at_rest = Operator::of_stores(system.data_dir());
    let tickets_alone = format!("{} --service tickets", backup.command("restore --from"));
    at_rest
        .does(&tickets_alone)
        .expect(0, &["takes back from its stream"]);
    flush(&mut system);
    system.spawn_again();
    eventually_blocking("it says that it does not serve, and why", REFUSED_MAX, || {
        let said = operator.does("verify --within 0s");
        let refuses = said.code == 1
            && said.out.contains("The tickets store does not serve")
            && said.out.contains("--accept-loss");
        refuses.then_some(())
    });
    system.kill();

    let accept = format!("{} --accept-loss", backup.command("restore --from"));
    at_rest.does(&accept).expect(
        0,
        &[
            "given up",
            "a new epoch begins",
            "is kept in",
            "Stripe keeps what this store has given up",
        ],
    );
    system.start_again().await;
    assert_eq!(buyer.order(&bought).await["status"], "complete");
    seller.get(&format!("/api/tickets/{lost}")).expect(404).await;
    operator.finds_nothing_wrong();
    // And it goes on as if nothing had been.
    buyer.buys(&kept).await;
    operator.finds_nothing_wrong();
}

async fn one_store_alone_begins_anew_and_the_others_follow(deployment: Deployment) {
    let mut system = System::start(deployment, Options::redis_of_the_test()).await;
    let (operator, backup) = (Operator::of(&system, deployment), Backup::new());
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let kept = seller.lists(2).await;
    operator.finds_nothing_wrong();
    operator.does(&backup.command("backup --to")).expect(0, &[]);
    let lost = seller.lists(1).await;
    let (on_the_lost, on_the_kept) = (buyer.orders(&lost).await, buyer.orders(&kept).await);
    buyer.sees(&on_the_lost, "awaiting:payment").await;
    buyer.sees(&on_the_kept, "awaiting:payment").await;
    system.kill();

    let accept = format!(
        "{} --service tickets --accept-loss",
        backup.command("restore --from")
    );
    Operator::of_stores(system.data_dir())
        .does(&accept)
        .expect(0, &["a new epoch begins"]);
    system.start_again().await;
    // Nobody knows of the pieces that were held: whoever waits for them hears that it is over, or gets them again.
    operator.finds_nothing_wrong();
    buyer.sees(&on_the_lost, "cancelled").await;
    buyer.buys(&kept).await;
    operator.finds_nothing_wrong();
}

/// Everybody was set back to the same moment, and nobody is left who knows more: that is for the operator to accept.
async fn all_stores_restored_without_any_stream_refuse_until_the_loss_is_accepted(deployment: Deployment) {
    let mut system = System::start(deployment, Options::redis_of_the_test()).await;
    let (operator, backup) = (Operator::of(&system, deployment), Backup::new());
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(2).await;
    buyer.buys(&ticket).await;
    operator.finds_nothing_wrong();
    operator.does(&backup.command("backup --to")).expect(0, &[]);
    system.kill();

    let at_rest = Operator::of_stores(system.data_dir());
    at_rest.does(&backup.command("restore --from")).expect(0, &[]);
    flush(&mut system);
    system.spawn_again();
    eventually_blocking("it says what to do", REFUSED_MAX, || {
        let said = operator.does("verify --within 0s");
        (said.code == 1 && said.out.contains("nobody can tell") && said.out.contains("--accept-loss"))
            .then_some(())
    });

    system.kill();
    at_rest
        .does(&backup.command("restore --accept-loss --from"))
        .expect(0, &[]);
    system.start_again().await;
    buyer.buys(&ticket).await;
    operator.finds_nothing_wrong();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_whole_backup_is_refused_and_nothing_is_touched() {
    let mut system = System::start(Deployment::OneProcess, Options::default()).await;
    let seller = Person::sign_up(&system).await;
    let ticket = seller.lists(1).await;
    let (operator, backup) = (Operator::of(&system, Deployment::OneProcess), Backup::new());
    operator.does(&backup.command("backup --to")).expect(0, &[]);
    operator
        .does(&backup.command("backup --to"))
        .expect(2, &["holds a backup already"]);
    operator
        .does(&backup.command("restore --from"))
        .expect(2, &["is in use by another boxoffice"]);

    system.terminate(STOP_MAX);
    operator
        .does("restore --from nowhere-at-all")
        .expect(2, &["is no backup"]);
    let file = backup.path().join("tickets.backup");
    let whole = std::fs::read(&file).expect("the backup has that file");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&file, flipped).expect("a file of this test can be written");
    operator.does(&backup.command("restore --from")).expect(
        2,
        &["tickets.backup is not what was written", "Nothing was restored"],
    );
    std::fs::write(&file, whole).expect("a file of this test can be written");

    system.start_again().await;
    seller.get(&format!("/api/tickets/{ticket}")).expect(200).await;
    operator.finds_nothing_wrong();
}

/// Where a backup goes to.
struct Backup(TempDir);

impl Backup {
    fn new() -> Self {
        Self(temp_dir())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("backup")
    }

    fn command(&self, words: &str) -> String {
        format!("{words} {}", shown(&self.path()))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn flush(system: &mut System) {
    let reply = system.redis().command(&["FLUSHALL"]);
    assert_eq!(reply, Reply::Status("OK".to_owned()));
}
