//! The services behind the site: which owns a path, and where each of them listens.

use axum::http::Uri;

/// What a service shows to the inside only begins so.
pub(super) const INTERNAL: &str = "/internal/";

/// A service behind the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// People, passwords and sessions.
    Auth,
    /// What is listed and what is left of it.
    Tickets,
    /// Reservations and purchases.
    Orders,
    /// Deadlines; it has no public routes.
    Expiration,
    /// Money.
    Payments,
}

impl Service {
    /// Every service, in the order in which the operators' page shows them.
    pub const ALL: [Service; 5] = [
        Service::Auth,
        Service::Tickets,
        Service::Orders,
        Service::Expiration,
        Service::Payments,
    ];

    /// The service's name as its own status names it.
    pub fn name(self) -> &'static str {
        match self {
            Service::Auth => "auth",
            Service::Tickets => "tickets",
            Service::Orders => "orders",
            Service::Expiration => "expiration",
            Service::Payments => "payments",
        }
    }

    /// The owner of a public path, by its prefix.
    pub(super) fn of_path(path: &str) -> Option<Service> {
        let rest = path.strip_prefix("/api/")?;
        match rest.split(['/', '?']).next()? {
            "users" => Some(Service::Auth),
            "tickets" => Some(Service::Tickets),
            "orders" => Some(Service::Orders),
            "payments" => Some(Service::Payments),
            _ => None,
        }
    }
}

/// Where each service listens.
#[derive(Clone, Debug)]
pub struct ServiceUrls {
    /// Base URL of the auth service, like `http://127.0.0.1:8081`.
    pub auth: Uri,
    /// Base URL of the tickets service.
    pub tickets: Uri,
    /// Base URL of the orders service.
    pub orders: Uri,
    /// Base URL of the expiration service.
    pub expiration: Uri,
    /// Base URL of the payments service.
    pub payments: Uri,
    /// The port of all of them for `/internal/...` paths, if not that of their base URLs.
    pub internal_port: Option<u16>,
}

impl ServiceUrls {
    fn of(&self, service: Service) -> &Uri {
        match service {
            Service::Auth => &self.auth,
            Service::Tickets => &self.tickets,
            Service::Orders => &self.orders,
            Service::Expiration => &self.expiration,
            Service::Payments => &self.payments,
        }
    }

    /// Where a service answers a path.
    pub(super) fn address(&self, service: Service, path: &str) -> String {
        let base = self.of(service);
        match (self.internal_port, base.host()) {
            (Some(port), Some(host)) if path.starts_with(INTERNAL) => format!("http://{host}:{port}{path}"),
            _ => format!("{}{path}", base.to_string().trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_path_is_told_by_its_prefix() {
        assert_eq!(Service::of_path("/api/users/signin"), Some(Service::Auth));
        assert_eq!(Service::of_path("/api/tickets?q=a"), Some(Service::Tickets));
        assert_eq!(Service::of_path("/api/orders/1/refund"), Some(Service::Orders));
        assert_eq!(Service::of_path("/api/payments"), Some(Service::Payments));
        assert_eq!(Service::of_path("/api/ticketsandmore"), None);
        assert_eq!(Service::of_path("/internal/status"), None);
    }

    #[test]
    fn what_is_for_the_inside_may_have_a_port_of_its_own() {
        let urls = |internal_port| {
            let uri = || Uri::from_static("http://orders:8080/");
            ServiceUrls {
                auth: uri(),
                tickets: uri(),
                orders: uri(),
                expiration: uri(),
                payments: uri(),
                internal_port,
            }
        };
        let address = |port, path| urls(port).address(Service::Orders, path);
        assert_eq!(
            address(None, "/internal/status"),
            "http://orders:8080/internal/status"
        );
        assert_eq!(
            address(Some(9090), "/internal/status"),
            "http://orders:9090/internal/status"
        );
        assert_eq!(
            address(Some(9090), "/api/orders"),
            "http://orders:8080/api/orders"
        );
    }
}
