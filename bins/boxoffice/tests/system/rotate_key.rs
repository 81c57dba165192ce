//! `boxoffice rotate-key` under load: sessions go on, new ones are signed with the new key, and nobody is taken for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::operator::Operator;
use crate::person::Person;

/// How many people ask for what is theirs all the while.
const ASKING: usize = 3;

/// How long each of them looks at an answer before they ask for the next. They are there to see every moment of the change, not
/// to slow it down: a machine with two cores has it to make, and other tests beside it.
const LOOKED_AT: Duration = Duration::from_millis(50);

in_both_deployments!(a_new_signing_key_disturbs_nobody);

async fn a_new_signing_key_disturbs_nobody(deployment: Deployment) {
    let system = System::start(deployment, Options::default()).await;
    let people = Person::sign_up_many(&system, ASKING).await;
    let (seller, buyer) = (&people[0], Person::sign_up(&system).await);
    let first = kid(seller);
    assert_eq!(kids(seller).await, std::slice::from_ref(&first));

    let load = Load::begin(&people);
    let operator = Operator::of(&system, deployment);
    let rotate = move || {
        let rotate = || operator.does("rotate-key");
        // Two operators at once get one key between them.
        std::thread::scope(|scope| {
            let other = scope.spawn(rotate);
            [rotate(), other.join().expect("a command does not panic")]
        })
    };
    let said = tokio::task::spawn_blocking(rotate)
        .await
        .expect("a command does not panic");
    for said in &said {
        said.expect(0, &["is published", "New sessions are signed with it"]);
    }
    let known = kids(seller).await;
    assert_eq!(known.len(), 2, "{known:?} {said:#?}");

    // The session of before goes on, and a new one is the new key's, at every service at once.
    assert_eq!(kid(seller), first);
    let ticket = seller.lists(1).await;
    buyer.sign_in().await;
    let second = kid(&buyer);
    assert!(second != first && known.contains(&second), "{second}");
    said[0].expect(0, &[&second]);
    buyer.buys(&ticket).await;

    let asked = load.end().await;
    assert!(asked > 0, "somebody asked meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_rotate_keys() {
    let system = System::start(Deployment::Separate, Options::default()).await;
    let stranger = Operator::of_stores(system.data_dir());
    let auth = &system.ingress.auth;
    stranger
        .does(&format!("rotate-key --service auth={auth}"))
        .expect(2, &["BOXOFFICE_OPERATOR_TOKEN"]);
    let tickets = &system.ingress.tickets;
    stranger
        .does(&format!("rotate-key --service tickets={tickets}"))
        .expect(2, &["--service auth=URL"]);
    let somebody = Person::sign_up(&system).await;
    assert_eq!(kids(&somebody).await.len(), 1);
}

/// People who ask for what is theirs, again and again.
struct Load {
    over: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
    tasks: JoinSet<()>,
}

impl Load {
    fn begin(people: &[Person]) -> Self {
        let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut tasks = JoinSet::new();
        for person in people {
            let (person, over, asked) = (person.clone(), Arc::clone(&over), Arc::clone(&asked));
            tasks.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    for path in ["/api/orders", "/api/tickets?seller=me"] {
                        let status = person.get(path).send().await.status;
                        // A 401 is what must never be: nobody has signed out. Being asked to come again is no refusal.
                        assert!(status == 200 || status == 503, "{path}: {status}");
                        if status == 200 {
                            asked.fetch_add(1, Ordering::Relaxed);
                        }
                        tokio::time::sleep(LOOKED_AT).await;
                    }
                }
            });
        }
        Self { over, asked, tasks }
    }

    /// How often somebody was answered.
    async fn end(mut self) -> u32 {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("nobody was turned away");
        }
        self.asked.load(Ordering::Relaxed)
    }
}

/// The key that has signed this person's session.
fn kid(person: &Person) -> String {
    let token = person
        .at("/api/users")
        .cookie("session")
        .expect("they are signed in");
    let header = token.split('.').next().expect("a token has parts");
    let header = base64::prelude::BASE64_URL_SAFE_NO_PAD
        .decode(header)
        .expect("a token's header is base64");
    let header: Value = serde_json::from_slice(&header).expect("and JSON");
    header["kid"].as_str().expect("it names the key").to_owned()
}

/// The keys that auth shows to everybody.
async fn kids(person: &Person) -> Vec<String> {
    let keys = person.get("/api/users/jwks.json").expect(200).await.json();
    let kids = keys["keys"].as_array().expect("a list of keys").iter();
    kids.map(|key| key["kid"].as_str().expect("a name").to_owned())
        .collect()
}
