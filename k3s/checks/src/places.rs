//! What the ingress must open and what not, and what may never be in a place where money is real.

use serde_json::Value;

use crate::object::{list_at, text_at};
use crate::{Bundle, Object};

/// The only overlay with the stand-in for Stripe.
const LAPTOP: &str = "laptop";

/// Where each path of the HTTP contract leads.
const ROUTES: &[(&str, &str)] = &[
    ("/api/users", "auth"),
    ("/api/tickets", "tickets"),
    ("/api/orders", "orders"),
    ("/api/payments", "payments"),
    ("/", "web"),
];

/// What buyers see of the stand-in for Stripe.
const STAND_IN: &[(&str, &str)] = &[
    ("/stripe-fake/pay", "stripe-fake"),
    ("/stripe-fake/dashboard", "stripe-fake"),
];

/// The ingress controller that k3s ships, and the route entry for https.
const INGRESS_CLASS: &str = "traefik";
const ENTRY_POINTS: &str = "traefik.ingress.kubernetes.io/router.entrypoints";

pub(crate) fn check(bundle: &Bundle) -> Vec<String> {
    let mut wrong = Vec::new();
    routes(bundle, &mut wrong);
    if bundle.overlay != LAPTOP {
        real_money(bundle, &mut wrong);
    }
    wrong
}

fn setting<'a>(bundle: &'a Bundle, key: &str) -> &'a str {
    let settings = bundle
        .of_kind("ConfigMap")
        .find(|map| map.name().starts_with("settings"));
    let value = settings.and_then(|map| map.at("/data")?.get(key)?.as_str());
    value.unwrap_or_default()
}

fn routes(bundle: &Bundle, wrong: &mut Vec<String>) {
    let Some(ingress) = bundle.find("Ingress", "boxoffice") else {
        wrong.push("Ingress boxoffice: does not exist, so nobody gets in".to_owned());
        return;
    };
    for ingress in bundle.of_kind("Ingress") {
        if ingress.text("/spec/ingressClassName") != INGRESS_CLASS {
            wrong.push(format!(
                "{}: is not for {INGRESS_CLASS}, which k3s brings",
                ingress.title()
            ));
        }
    }
    let mut expected: Vec<(&str, &str)> = ROUTES.to_vec();
    if bundle.overlay == LAPTOP {
        expected.extend(STAND_IN);
    }
    let found: Vec<(&str, &str)> = ingress
        .list("/spec/rules")
        .iter()
        .flat_map(|rule| list_at(rule, "/http/paths"))
        .map(|path| (text_at(path, "/path"), text_at(path, "/backend/service/name")))
        .collect();
    for (path, service) in &expected {
        match found.iter().find(|(found, _)| found == path) {
            None => wrong.push(format!("Ingress boxoffice: {path} leads nowhere")),
            Some((_, found)) if found != service => {
                wrong.push(format!(
                    "Ingress boxoffice: {path} leads to {found} instead of {service}"
                ));
            }
            Some(_) => {}
        }
    }
    for (path, service) in &found {
        if !expected.iter().any(|(known, _)| known == path) {
            wrong.push(format!(
                "Ingress boxoffice: {path} of {service} is open to everybody"
            ));
        }
    }
}

fn real_money(bundle: &Bundle, wrong: &mut Vec<String>) {
    for workload in bundle.workloads() {
        for container in workload.containers() {
            if container.program() == Some("stripe-fake") {
                wrong.push(format!(
                    "{}: is a stand-in for Stripe, where money is real",
                    workload.object.title()
                ));
            }
            if container.env().any(|(name, _)| name == "STRIPE_API_BASE") {
                wrong.push(format!(
                    "{}: is told another Stripe than Stripe's own",
                    workload.object.title()
                ));
            }
        }
    }
    refuses_a_stand_in(bundle, wrong);
    let url = setting(bundle, "PUBLIC_URL");
    let Some(host) = url.strip_prefix("https://") else {
        wrong.push(format!(
            "ConfigMap settings: PUBLIC_URL is {url}: cookies would not be Secure"
        ));
        return;
    };
    for ingress in bundle.of_kind("Ingress") {
        hosts_and_certificate(ingress, host, wrong);
    }
}

/// Whatever key and address an operator gives it by mistake, payments must not start on a stand-in.
fn refuses_a_stand_in(bundle: &Bundle, wrong: &mut Vec<String>) {
    let refuses = |workload: crate::Workload<'_>| {
        workload.containers().iter().any(|container| {
            container
                .env()
                .any(|(name, value)| name == "STRIPE_STAND_IN" && text_at(value, "/value") == "refused")
        })
    };
    let payments = bundle
        .workloads()
        .find(|workload| workload.object.name() == "payments");
    if !payments.is_some_and(refuses) {
        wrong.push(
            "StatefulSet payments: would start on a stand-in for Stripe, where money is real".to_owned(),
        );
    }
}

fn hosts_and_certificate(ingress: &Object, host: &str, wrong: &mut Vec<String>) {
    let title = ingress.title();
    for rule in ingress.list("/spec/rules") {
        let found = text_at(rule, "/host");
        if found != host {
            wrong.push(format!(
                "{title}: answers for `{found}`, but PUBLIC_URL says {host}"
            ));
        }
    }
    let entry = ingress
        .at("/metadata/annotations")
        .and_then(|annotations| annotations.get(ENTRY_POINTS));
    let redirects = ingress
        .at("/metadata/annotations/traefik.ingress.kubernetes.io~1router.middlewares")
        .and_then(Value::as_str)
        .is_some_and(|middlewares| middlewares.contains("to-https"));
    if entry != Some(&Value::from("websecure")) && !redirects {
        wrong.push(format!("{title}: can be reached without TLS"));
    }
    let covered = ingress
        .list("/spec/tls")
        .iter()
        .any(|tls| list_at(tls, "/hosts").contains(&Value::from(host)));
    if !covered && !redirects {
        wrong.push(format!("{title}: has no certificate for {host}"));
    }
}
