//! Each service as a process of its own, as in production: which program listens where, and how they find each other. The
//! load generator takes the place of the ingress.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use service::Clock;

use super::program::Program;
use super::{Launch, SystemError, Verify};
use crate::place::{Base, Place};

/// What the payments service shows to the stand-in for Stripe, and the other way round. They open nothing else.
const SECRET_KEY: &str = "sk_test_boxoffice";
const WEBHOOK_SECRET: &str = "whsec_boxoffice";

/// The programs of a system, and how others find it.
#[derive(Debug)]
pub(super) struct Apart {
    /// In the order in which they are started.
    pub(super) programs: Vec<Program>,
    /// Where they will be.
    pub(super) place: Place,
    /// How `boxoffice verify` finds them.
    pub(super) verify: Verify,
}

/// Plans a system on ports that are free now.
pub(super) fn plan(launch: &Launch, data_dir: &Path, redis_url: &str) -> Result<Apart, SystemError> {
    let [stripe, auth, tickets, orders, expiration, payments, web] = free_addresses()?;
    let clock = Clock::new();
    // Random enough for a system that lives for minutes on the loopback of this machine.
    let token = format!("{}{}", clock.session_id(), clock.session_id());
    let url = |address: &str| format!("http://{address}");
    let program = |name: &str, listen: &'static str, address: &str| Program {
        path: launch.program.with_file_name(name),
        args: Vec::new(),
        env: vec![
            (listen, address.to_owned()),
            ("BOXOFFICE_DATA_DIR", data_dir.display().to_string()),
            ("REDIS_URL", redis_url.to_owned()),
            ("PUBLIC_URL", url(&web)),
            ("BOXOFFICE_OPERATOR_TOKEN", token.clone()),
        ],
    };
    let with = |mut program: Program, env: &[(&'static str, String)]| {
        program.env.extend(env.iter().cloned());
        program
    };
    let stripe_keys = [
        ("STRIPE_SECRET_KEY", SECRET_KEY.to_owned()),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
    ];
    let stripe_dir = data_dir.join("stripe-fake").display().to_string();
    let webhook = format!("{}/api/payments/webhook", url(&payments));
    let hold = launch.hold_seconds.to_string();
    let programs = vec![
        with(
            with(
                program("stripe-fake", "STRIPE_FAKE_LISTEN", &stripe),
                &stripe_keys,
            ),
            &[
                ("STRIPE_FAKE_DATA_DIR", stripe_dir),
                ("STRIPE_WEBHOOK_URL", webhook),
            ],
        ),
        with(
            program("auth", "AUTH_LISTEN", &auth),
            &[("AUTH_THROTTLE", "off".to_owned())],
        ),
        program("tickets", "TICKETS_LISTEN", &tickets),
        with(
            program("orders", "ORDERS_LISTEN", &orders),
            &[("ORDER_HOLD_SECONDS", hold)],
        ),
        program("expiration", "EXPIRATION_LISTEN", &expiration),
        with(
            with(program("payments", "PAYMENTS_LISTEN", &payments), &stripe_keys),
            &[("STRIPE_API_BASE", url(&stripe))],
        ),
        with(
            program("web", "WEB_LISTEN", &web),
            &[
                ("WEB_SECRET", token.clone()),
                ("AUTH_URL", url(&auth)),
                ("TICKETS_URL", url(&tickets)),
                ("ORDERS_URL", url(&orders)),
                ("EXPIRATION_URL", url(&expiration)),
                ("PAYMENTS_URL", url(&payments)),
                ("STRIPE_FORM_ACTION", url(&stripe)),
            ],
        ),
    ];
    let site: Base = url(&web).parse().map_err(SystemError::Address)?;
    let mut place = Place::at(site);
    for (prefix, address) in [
        ("/api/users", &auth),
        ("/api/tickets", &tickets),
        ("/api/orders", &orders),
        ("/api/payments", &payments),
        ("/stripe-fake", &stripe),
        // Nobody asks it anything over HTTP but for its metrics.
        ("/expiration", &expiration),
    ] {
        let part = place.with_part(&format!("{prefix}={}", url(address)));
        place = part.map_err(|error| SystemError::Address(error.to_string()))?;
    }
    let services = [
        ("auth", &auth),
        ("tickets", &tickets),
        ("orders", &orders),
        ("expiration", &expiration),
        ("payments", &payments),
    ];
    let args = services
        .iter()
        .flat_map(|(name, address)| ["--service".to_owned(), format!("{name}={}", url(address))]);
    Ok(Apart {
        programs,
        place,
        verify: Verify {
            args: args.collect(),
            operator_token: Some(token),
        },
    })
}

/// Addresses that are free now. They are held until all are found, so that they differ.
fn free_addresses() -> Result<[String; 7], SystemError> {
    let mut held = Vec::new();
    for _ in 0..7 {
        held.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(SystemError::Dir)?);
    }
    let addresses: Result<Vec<String>, std::io::Error> = held
        .iter()
        .map(|listener| Ok(listener.local_addr()?.to_string()))
        .collect();
    let addresses = addresses.map_err(SystemError::Dir)?;
    Ok(addresses
        .try_into()
        .expect("seven were held, so that there are seven"))
}
