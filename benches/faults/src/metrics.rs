//! What the services' metrics say: that something has really happened, which from outside looks as if nothing had.

use testkit::Client;

use crate::part::Part;
use crate::system::System;

/// The value of a service's metric, added up over all series that have this label, or over all there are.
///
/// # Panics
/// When the service does not tell its metrics.
pub async fn told(system: &System, part: Part, name: &str, label: Option<(&str, &str)>) -> f64 {
    let metrics = Client::new(system.base(part)).get("/metrics").expect(200).await;
    let label = label.map(|(label, value)| format!("{label}=\"{value}\""));
    let is_meant = |series: &str| {
        let (known, labels) = series.split_once('{').unwrap_or((series, ""));
        known == name && label.as_ref().is_none_or(|label| labels.contains(label))
    };
    let text = metrics.text();
    let series = text.lines().filter_map(|line| line.rsplit_once(' '));
    series
        .filter(|(series, _)| is_meant(series))
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .sum()
}

/// The same, added up over all services. A counter begins anew with its process: only where none is killed it only grows.
///
/// # Panics
/// As [`told`].
pub async fn told_by_all(system: &System, name: &str) -> f64 {
    let mut sum = 0.0;
    for part in Part::SERVICES {
        sum += told(system, part, name, None).await;
    }
    sum
}
