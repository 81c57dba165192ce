//! Two processes of the site behind one address, replaced one after the other while people open pages and send forms: what one
//! of them has rendered another one accepts, whoever is signed in stays so, and no click fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::{Answer, Client, Process, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::front::{Front, SERVED_BY};
use crate::harness::{Deployment, Options, System};
use crate::operator::Operator;
use crate::person::Person;

/// How many processes of the site there are, besides the one that comes while another one goes.
const REPLICAS: usize = 2;

/// How many people click.
const CLICKING: usize = 3;

/// So many clicks are made before the next process is replaced.
const CLICKS_EACH: usize = 40;

/// How long those may take, one click may take, and a process may take to end, on a busy machine.
const CLICKS_MAX: Duration = Duration::from_secs(150);
const CLICK_MAX: Duration = Duration::from_secs(60);
const GONE_MAX: Duration = Duration::from_secs(60);

/// What a service says when it begins to read a body.
const CONTINUE: &[u8; 25] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What somebody met.
#[derive(Default)]
struct Met {
    /// Orders that were placed by a form.
    orders: usize,
    /// Forms that another process had rendered than the one that accepted them.
    crossed: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_of_two_is_replaced_and_no_click_fails() {
    let front = Front::open().await;
    let address = front.base().to_owned();
    let told = [("PUBLIC_URL", address.as_str())];
    let mut system = System::start_told(Deployment::Separate, Options::default(), &told).await;
    system.site_is_at(&address);
    let mut sites: Vec<Process> = (0..REPLICAS).map(|_| system.another_site(&[])).collect();
    for site in &sites {
        front.begins(site.base());
    }
    let seller = Person::sign_up(&system).await;
    let ticket: Arc<str> = seller.lists(10_000).await.into();
    let over = Arc::new(AtomicBool::new(false));
    let mut clicking = JoinSet::new();
    for person in Person::sign_up_many(&system, CLICKING).await {
        clicking.spawn(clicks(person, Arc::clone(&ticket), Arc::clone(&over)));
    }
    let writer = Person::sign_up(&system).await;
    for _ in 0..REPLICAS {
        clicked(&front, &clicking).await;
        // The new one first, as its Deployment says.
        let next = system.another_site(&[]);
        front.begins(next.base());
        let mut gone = sites.remove(0);
        let form = Held::by(&gone, &writer).await;
        // What preStop is for: whoever gives out requests knows before the process does.
        front.spares(gone.base()).await;
        gone.terminate();
        form.completed(&gone).await;
        let status = gone.wait(GONE_MAX);
        assert_eq!(status.code(), Some(0), "{}", gone.printed());
        sites.push(next);
    }
    clicked(&front, &clicking).await;
    over.store(true, Ordering::Relaxed);
    let (mut orders, mut crossed) = (0, 0);
    for met in clicking.join_all().await {
        orders += met.orders;
        crossed += met.crossed;
    }
    assert!(orders > 0, "somebody has ordered meanwhile");
    assert!(
        crossed > 0,
        "each of {orders} forms went to whoever had rendered it"
    );
    Operator::of(&system, Deployment::Separate).finds_nothing_wrong();

    // That this shows something: a process with another secret takes nobody's form.
    let stranger = system.another_site(&[("WEB_SECRET", "another secret of thirty-two bytes or more")]);
    let page = shown(&writer, "/tickets/new").await;
    let refused = writer
        .at("/")
        .at(stranger.base())
        .form("/tickets/new", &borrowed(&listing(&page.text())))
        .send()
        .await;
    assert_eq!(refused.status, 403, "{}", refused.text());
}

/// Waits until people have clicked for a while.
async fn clicked(front: &Front, clicking: &JoinSet<Met>) {
    let enough = front.given() + CLICKS_EACH;
    let people = clicking.len();
    eventually(&format!("{people} people click"), CLICKS_MAX, async || {
        (front.given() >= enough).then_some(())
    })
    .await;
}

/// Signs in by the form, orders and cancels by forms, signs out by one; and again.
async fn clicks(person: Person, ticket: Arc<str>, over: Arc<AtomicBool>) -> Met {
    let mut met = Met::default();
    let site = person.at("/").clone();
    while !over.load(Ordering::Relaxed) {
        site.clear_cookies();
        let page = shown(&person, "/auth/signin").await;
        let (email, password) = person.email_and_password();
        let mut form = fields(&page.text(), "/auth/signin");
        form.extend([("email".to_owned(), email), ("password".to_owned(), password)]);
        sent(&site, &page, "/auth/signin", &form, &mut met).await;

        shown(&person, "/").await;
        let path = format!("/tickets/{ticket}");
        let page = shown(&person, &path).await;
        let mut form = fields(&page.text(), &path);
        form.push(("quantity".to_owned(), "1".to_owned()));
        let order = sent(&site, &page, &path, &form, &mut met).await;
        assert!(order.starts_with("/orders/"), "an order leads to {order}");
        met.orders += 1;

        let page = shown(&person, &order).await;
        let id = order.trim_start_matches("/orders/").split('?').next();
        let path = format!("/orders/{}/cancel", id.expect("an order has an id"));
        let form = fields(&page.text(), &path);
        sent(&site, &page, &path, &form, &mut met).await;
        let page = shown(&person, "/orders").await;
        let form = fields(&page.text(), "/auth/signout");
        sent(&site, &page, "/auth/signout", &form, &mut met).await;
    }
    met
}

/// A page that is there.
async fn shown(person: &Person, path: &str) -> Answer {
    click(person.at("/"), path, None).await
}

/// A form that is accepted; where it leads.
async fn sent(site: &Client, page: &Answer, path: &str, form: &[(String, String)], met: &mut Met) -> String {
    let answer = click(site, path, Some(form)).await;
    met.crossed += usize::from(answer.header(SERVED_BY) != page.header(SERVED_BY));
    let location = answer.header("location");
    location.expect("a redirect says where to").to_owned()
}

/// One click, that ends as it should. On a machine that has no time for a service, a page may say to come again, and a person
/// does; nothing else that goes wrong is excused, least of all a process of the site that gave no answer.
async fn click(site: &Client, path: &str, form: Option<&[(String, String)]>) -> Answer {
    let expected = if form.is_some() { 303 } else { 200 };
    let begun = Instant::now();
    loop {
        let request = match form {
            Some(form) => site.form(path, &borrowed(form)),
            None => site.get(path),
        };
        let answer = request.within(CLICK_MAX).send().await;
        if answer.status == expected {
            return answer;
        }
        assert!(
            answer.status == 503 && begun.elapsed() < CLICKS_MAX,
            "{path} by {:?}: {}\n{}",
            answer.header(SERVED_BY),
            answer.status,
            answer.text()
        );
    }
}

/// The hidden fields of the form that leads there.
fn fields(page: &str, action: &str) -> Vec<(String, String)> {
    let (_, form) = page
        .split_once(&format!("action=\"{action}\""))
        .unwrap_or_else(|| panic!("no form leads to {action}:\n{page}"));
    let (form, _) = form.split_once("</form>").expect("a form ends");
    let inputs = form.split("<input type=\"hidden\"").skip(1);
    inputs
        .map(|input| (quoted(input, "name"), quoted(input, "value")))
        .filter(|(name, _)| name != "quantity")
        .collect()
}

fn quoted(tag: &str, attribute: &str) -> String {
    let (_, rest) = tag
        .split_once(&format!("{attribute}=\""))
        .expect("a hidden field has a name and a value");
    rest.split('"').next().unwrap_or_default().to_owned()
}

fn borrowed(form: &[(String, String)]) -> Vec<(&str, &str)> {
    form.iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// The form of a listing, filled in.
fn listing(page: &str) -> Vec<(String, String)> {
    let mut form = fields(page, "/tickets/new");
    let known: BTreeSet<String> = form.iter().map(|(name, _)| name.clone()).collect();
    for (name, value) in [
        ("title", "Held over a stop"),
        ("price", "25.50"),
        ("quantity", "1"),
    ] {
        if !known.contains(name) {
            form.push((name.to_owned(), value.to_owned()));
        }
    }
    form
}

/// A form of which a process of the site has everything but the body when it is told to stop: a listing.
struct Held {
    stream: TcpStream,
    body: String,
}

impl Held {
    async fn by(site: &Process, person: &Person) -> Self {
        // Rendered by whoever's turn it is.
        let page = shown(person, "/tickets/new").await;
        let body: Vec<String> = listing(&page.text())
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace(' ', "+")))
            .collect();
        let body = body.join("&");
        let address = site.base().trim_start_matches("http://");
        let session = person.at("/").cookie("session").expect("they are signed in");
        let head = format!(
            "POST /tickets/new HTTP/1.1\r\nhost: {address}\r\ncookie: session={session}\r\ncontent-length: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream
            .write_all(head.as_bytes())
            .await
            .expect("it takes the head");
        let mut said = [0; CONTINUE.len()];
        timeout(CLICK_MAX, stream.read_exact(&mut said))
            .await
            .expect("it begins in time")
            .expect("it begins to read");
        assert_eq!(&said, CONTINUE);
        Self { stream, body }
    }

    /// Once it has heard of its stop, the rest: it is answered as ever.
    async fn completed(mut self, site: &Process) {
        let address = site.base().trim_start_matches("http://");
        eventually("it takes no connections", GONE_MAX, async || {
            TcpStream::connect(address).await.is_err().then_some(())
        })
        .await;
        let exchange = async {
            self.stream.write_all(self.body.as_bytes()).await?;
            let mut answer = String::new();
            self.stream.read_to_string(&mut answer).await?;
            Ok::<String, std::io::Error>(answer)
        };
        let answer = timeout(CLICK_MAX, exchange).await.expect("it answers in time");
        let answer = answer.expect("it answers");
        assert!(
            answer.starts_with("HTTP/1.1 303"),
            "a form that was accepted before a stop: {answer}"
        );
    }
}
