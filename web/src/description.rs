//! The OpenAPI document of all services together, and of the two routes that belong to none of them.
//!
//! What each service says of itself is made there, from its handlers; here it is only put together.

use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::{Content, OpenApi, ResponseBuilder};

/// What the document says about itself.
const ABOUT: &str = "Buy and sell tickets. Sign up or sign in: the cookie that is set, or its token as a Bearer token, \
                     says who asks. Amounts are in major units, times are RFC 3339 in UTC, ids are UUIDv7. Every error is a \
                     problem (RFC 9457) that also lists `errors`, each with a message and, where one is to blame, the field.";

/// One document out of what the services say of themselves, and of the site's own two routes for programs.
pub fn describe(services: impl IntoIterator<Item = OpenApi>) -> OpenApi {
    let mut openapi = OpenApi::default();
    for service in services {
        openapi.merge(service);
    }
    openapi.info.title = "Boxoffice".to_owned();
    openapi.info.version = env!("CARGO_PKG_VERSION").to_owned();
    openapi.info.description = Some(ABOUT.to_owned());
    let parameter = |name: &str, what: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .description(Some(what))
            .build()
    };
    let answer = |what: &str, media: &str| {
        ResponseBuilder::new()
            .description(what)
            .content(media, Content::default())
            .build()
    };
    let live = OperationBuilder::new()
        .operation_id(Some("live"))
        .tag("site")
        .summary(Some("What changes, as it happens"))
        .description(Some(
            "Server-sent events: a ticket's price and availability, the state of one's own order",
        ))
        .parameter(parameter("ticket", "The id of a ticket"))
        .parameter(parameter("order", "The id of one's own order"))
        .response("200", answer("Events `ticket` and `order`", "text/event-stream"))
        .build();
    let document = OperationBuilder::new()
        .operation_id(Some("openapi"))
        .tag("site")
        .summary(Some("This document"))
        .response("200", answer("OpenAPI 3.1", "application/json"))
        .build();
    openapi
        .paths
        .add_path_operation("/live", vec![HttpMethod::Get], live);
    openapi
        .paths
        .add_path_operation("/api/openapi.json", vec![HttpMethod::Get], document);
    openapi
}
