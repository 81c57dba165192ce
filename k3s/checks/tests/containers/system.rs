//! Everything at once: each program is what its manifest promises, a purchase goes through with one service killed in
//! the middle, and after a stop of everything all is found again.

use std::fs;
use std::time::Duration;

use serde_json::json;
use testkit::eventually_blocking;

use crate::cluster::Cluster;
use crate::collector::Told;
use crate::command::{line, output, run};
use crate::ingress::text;
use crate::person::Person;

/// How long a program may take to drain and go after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How long an order may take to become what it will be.
const SETTLE_MAX: Duration = Duration::from_secs(90);

/// How long a way that is open may take, on a busy machine; and for how long one that is closed is tried. (What an open one
/// answers comes within a millisecond.)
const OPEN_SECONDS_MAX: u64 = 30;
const CLOSED_SECONDS: u64 = 1;

/// The most memory of its own that a service at rest may hold.
const REST_MIB_MAX: u64 = 64;

#[test]
fn all_images_run_as_their_manifests_say_and_a_purchase_survives_a_kill() {
    let mut cluster = Cluster::new();
    let programs = cluster.programs();
    for name in &programs {
        cluster.start(name);
    }
    for name in &programs {
        cluster.await_ready(name);
    }
    for name in &programs {
        is_restricted(&mut cluster, name);
    }
    cluster.open();
    only_the_arrows_are_open(&cluster);
    let order = purchase(&mut cluster);
    is_one_trace(&cluster);
    backup(&mut cluster);
    an_accepted_request_is_answered(&mut cluster, &order);

    for name in &programs {
        let ours = cluster.container(name).program().is_some();
        let (status, took) = cluster.pod(name).terminate(STOP_MAX * 2);
        println!("{name} was gone {} ms after SIGTERM", took.as_millis());
        assert!(took < STOP_MAX, "{name} took {took:?} to stop");
        assert!(
            !ours || status.success(),
            "{name} ended with {status}:\n{}",
            cluster.pod(name).log()
        );
    }
    for name in &programs {
        cluster.start(name);
    }
    for name in &programs {
        cluster.await_ready(name);
    }
    let buyer = person(&mut cluster, "buyer");
    let found = buyer.ask("GET", &format!("/api/orders/{order}"), &[]);
    assert_eq!(found.status, 200, "{found:?}");
    assert_eq!(found.json()["status"], "complete");
}

fn person(cluster: &mut Cluster, name: &str) -> Person {
    let settings = cluster
        .bundle
        .of_kind("ConfigMap")
        .find(|map| map.name().starts_with("settings"));
    let public_url = text(
        &settings.expect("there are settings").value()["data"],
        "PUBLIC_URL",
    )
    .to_owned();
    let cookies = cluster.folder().join(format!("{name}.cookies"));
    let ingress = cluster.ingress();
    Person::new(&cluster.network.node(), ingress, &public_url, &cookies)
}

/// What the kernel says of the process, not what the configuration asks for.
fn is_restricted(cluster: &mut Cluster, name: &str) {
    let pid = cluster.pod(name).pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process has a status");
    let value = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.unwrap_or_else(|| panic!("{field} in\n{status}"))
            .trim_start_matches(':')
            .trim()
            .to_owned()
    };
    assert_eq!(
        value("Uid").split_whitespace().collect::<Vec<_>>(),
        ["65532"; 4],
        "{name}"
    );
    for capabilities in ["CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh"] {
        assert_eq!(value(capabilities), "0".repeat(16), "{name} keeps {capabilities}");
    }
    assert_eq!(value("NoNewPrivs"), "1", "{name}");
    assert_eq!(value("Seccomp"), "2", "{name} runs without a filter");
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("a running process has mounts");
    let root = mounts
        .lines()
        .find(|mount| mount.split(' ').nth(4) == Some("/"))
        .expect("there is a root");
    assert!(
        root.split(' ')
            .nth(5)
            .is_some_and(|options| options.starts_with("ro")),
        "{name}: {root}"
    );
    let resident = value("RssAnon");
    let kibibytes: u64 = resident
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number");
    println!("{name} holds {resident} of its own at rest");
    assert!(
        kibibytes / 1_024 < REST_MIB_MAX,
        "{name} holds {resident} at rest"
    );
}

/// The firewall stands: what no arrow draws does not get through, and what one draws does.
fn only_the_arrows_are_open(cluster: &Cluster) {
    let reaches = |from: &str, to: &str, port: u16, seconds: u64| {
        let address = cluster.network.address(to);
        let namespace = cluster.network.of_pod(from);
        let bash = format!("ip netns exec {namespace} timeout {seconds} bash -c");
        let mut command = line(&bash);
        output(command.arg(format!("exec 3<>/dev/tcp/{address}/{port}")))
            .status
            .success()
    };
    for (from, to, port) in [
        ("web", "auth", 8080),
        ("web", "auth", 9090),
        ("web", "expiration", 9090),
        ("orders", "redis", 6379),
        ("ingress", "web", 8080),
        ("web", "collector", 4318),
        ("expiration", "collector", 4318),
    ] {
        assert!(
            reaches(from, to, port, OPEN_SECONDS_MAX),
            "{from} does not reach {to}:{port}"
        );
    }
    for (from, to, port) in [
        ("web", "redis", 6379),
        ("web", "stripe-fake", 8080),
        ("auth", "tickets", 8080),
        ("ingress", "redis", 6379),
        ("ingress", "expiration", 8080),
        ("ingress", "auth", 9090),
        ("stripe-fake", "payments", 9090),
        ("web", "expiration", 8080),
        ("ingress", "web", 9090),
        ("redis", "auth", 8080),
        ("redis", "collector", 4318),
        ("stripe-fake", "collector", 4318),
    ] {
        assert!(
            !reaches(from, to, port, CLOSED_SECONDS),
            "{from} reaches {to}:{port}"
        );
    }
}

/// A seller, a buyer, and in between the death of the service that decides about orders. The order's id.
fn purchase(cluster: &mut Cluster) -> String {
    let (seller, buyer) = (person(cluster, "seller"), person(cluster, "buyer"));
    let page = eventually_blocking("the first page", SETTLE_MAX, || {
        let page = seller.ask("GET", "/", &[]);
        (page.status == 200).then_some(page)
    });
    assert!(page.body.contains("</html>"), "{page:?}");
    seller.sign_up("seller@example.com");
    buyer.sign_up("buyer@example.com");
    let ticket = json!({ "title": "Two seats, row 7", "price": 45.50, "quantity": 2 });
    let ticket = seller.send("POST", "/api/tickets", &ticket);
    assert_eq!(ticket.status, 201, "{ticket:?}");
    let order = buyer.send(
        "POST",
        "/api/orders",
        &json!({ "ticketId": text(&ticket.json(), "id"), "price": 45.50 }),
    );
    assert_eq!(order.status, 201, "{order:?}");
    let id = text(&order.json(), "id").to_owned();
    let is = |wanted: &str| {
        eventually_blocking(&format!("the order to be {wanted}"), SETTLE_MAX, || {
            let order = buyer.ask("GET", &format!("/api/orders/{id}"), &[]);
            (order.status == 200 && order.json()["status"] == wanted).then_some(())
        });
    };
    is("awaiting:payment");
    let payment = buyer.send("POST", "/api/payments", &json!({ "orderId": id }));
    assert_eq!(payment.status, 201, "{payment:?}");

    cluster.pod("orders").kill();
    let away = buyer.ask("GET", &format!("/api/orders/{id}"), &[]);
    assert!(away.status >= 500, "nobody answers for orders, and yet: {away:?}");
    let card = [
        "--data",
        "number=4242424242424242",
        "--data",
        "expiry=12/34",
        "--data",
        "cvc=123",
    ];
    let paid = buyer.ask("POST", text(&payment.json(), "url"), &card);
    assert!(paid.status < 400, "{paid:?}");
    cluster.start("orders");
    cluster.await_ready("orders");
    is("complete");
    let left = seller.ask(
        "GET",
        &format!("/api/tickets/{}", text(&ticket.json(), "id")),
        &[],
    );
    assert_eq!(left.json()["available"], 1, "{left:?}");
    let document = seller.ask("GET", "/api/openapi.json", &[]);
    assert_eq!(document.status, 200, "{document:?}");
    assert!(
        document.json()["paths"]["/api/orders"].is_object(),
        "{document:?}"
    );
    let nothing = seller.ask("GET", "/api/nothing", &[]);
    assert_eq!(nothing.status, 404, "{nothing:?}");
    assert_eq!(nothing.json()["status"], 404, "a program gets no page");
    for inside in ["/healthz", "/metrics", "/internal/status"] {
        assert_eq!(
            seller.ask("GET", inside, &[]).status,
            404,
            "{inside} is open to everybody"
        );
    }
    id
}

/// The collector that the settings name has heard of the purchase: what followed from the order is one trace. (What orders
/// itself had to tell of it may have died with it.)
fn is_one_trace(cluster: &Cluster) {
    let story = [
        ("tickets", "process order:created"),
        ("payments", "process order:created"),
        ("expiration", "process order:created"),
    ];
    let named = |told: &Told, (service, name): (&str, &str)| told.service == service && told.name == name;
    eventually_blocking("the collector to hear of the purchase", SETTLE_MAX, || {
        let spans = cluster.collector.spans();
        let ordered = spans.iter().filter(|told| named(told, story[0]));
        let mut traces = ordered.map(|told| &told.trace);
        let whole = traces.any(|trace| {
            let tells = |step| spans.iter().any(|told| told.trace == *trace && named(told, step));
            story.into_iter().all(tells)
        });
        let heard = |service: &&str| spans.iter().any(|told| told.service == *service);
        (whole && ["web", "auth", "orders"].iter().all(heard)).then_some(())
    });
}

/// Somebody waits for an order to change while the service is told to stop: it answers before it goes.
fn an_accepted_request_is_answered(cluster: &mut Cluster, order: &str) {
    let (buyer, path) = (person(cluster, "buyer"), format!("/api/orders/{order}"));
    let version = buyer.ask("GET", &path, &[]).json()["version"].clone();
    let known = format!("If-None-Match: \"{version}\"");
    let answer = std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| buyer.ask("GET", &path, &["--header", "Prefer: wait=30", "--header", &known]));
        eventually_blocking("the request to arrive", SETTLE_MAX, || {
            is_asked(cluster, "orders").then_some(())
        });
        let (status, took) = cluster.pod("orders").terminate(STOP_MAX * 2);
        assert!(
            status.success() && took < STOP_MAX,
            "orders ended with {status} after {took:?}"
        );
        waiting.join().expect("the request ends")
    });
    assert!(
        [200, 304].contains(&answer.status),
        "a request under way was dropped: {answer:?}"
    );
    cluster.start("orders");
    cluster.await_ready("orders");
}

/// Whether a program has read a request that came through the ingress, and not answered it yet. That a connection stands is
/// not enough: the kernel makes it before the program knows of it.
fn is_asked(cluster: &Cluster, name: &str) -> bool {
    let (namespace, ingress) = (cluster.network.of_pod(name), cluster.network.address("ingress"));
    let connections = run(&mut line(&format!(
        "ip netns exec {namespace} ss -HtinO state established sport = :8080 dst {ingress}"
    )));
    connections.lines().any(|connection| {
        let unread = connection.split_whitespace().next();
        unread == Some("0") && connection.contains("bytes_received:") && !connection.contains("bytes_sent:")
    })
}

/// The nightly job, once: it gets in with the operator's token, and leaves a whole backup on its volume.
fn backup(cluster: &mut Cluster) {
    cluster.start("backup");
    let status = cluster.pod("backup").await_end(SETTLE_MAX);
    assert!(status.success(), "{status}:\n{}", cluster.pod("backup").log());
    let manifest = cluster.volumes().join("backups/backup-0/manifest.json");
    assert!(manifest.is_file(), "there is no {}", manifest.display());
}
