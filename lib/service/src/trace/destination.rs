//! Where spans go, as OpenTelemetry's own variables say it: nowhere, as long as they say nothing.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::context::TraceId;

/// The base of a collector that receives OTLP over HTTP, such as `http://collector:4318`.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The whole address for traces, where it is not the base and `/v1/traces`.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// `name=value,name=value`: for a collector that asks who we are.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// How we are asked to speak.
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
/// `name=value,name=value`: said of every span.
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// Which traces that begin here are recorded.
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
/// The part of them, for a sampler by ratio.
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// How we speak, the only way.
const HTTP_JSON: &str = "http/json";

/// Where spans go, and which.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) ratio: f64,
}

impl Destination {
    /// What the variables say; `None` when no endpoint is named.
    ///
    /// # Errors
    /// The sentence that names the variable and says what is wrong with it.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let said = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let (name, address) = match (said(TRACES_ENDPOINT), said(ENDPOINT)) {
            (Some(whole), _) => (TRACES_ENDPOINT, whole),
            (None, Some(base)) => (ENDPOINT, format!("{}/v1/traces", base.trim_end_matches('/'))),
            (None, None) => return Ok(None),
        };
        let uri: Uri = address
            .parse()
            .map_err(|error| format!("{name} is no address: {error}"))?;
        // It is logged where traces are lost, and would show a password to all who read that.
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(format!(
                "{name} must name nobody before the host: who we are stands in {HEADERS}, such as authorization=Basic%20..."
            ));
        }
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(format!(
                "{name} must begin with http://: traces go to a collector next door, which may speak TLS to others"
            ));
        }
        if let Some(other) = said(PROTOCOL).filter(|protocol| protocol != HTTP_JSON) {
            tracing::warn!(
                "{PROTOCOL} is {other}: traces are sent as {HTTP_JSON}, which collectors take at the same port as http/protobuf"
            );
        }
        Ok(Some(Self {
            uri,
            headers: headers(&said(HEADERS).unwrap_or_default())?,
            resource: pairs(RESOURCE, &said(RESOURCE).unwrap_or_default())?,
            ratio: ratio(said(SAMPLER).as_deref(), said(SAMPLER_ARG).as_deref())?,
        }))
    }

    /// Whether a trace that begins here is recorded. The same for each process, as the id decides it.
    pub(crate) fn samples(&self, trace_id: TraceId) -> bool {
        let [.., a, b, c, d] = trace_id;
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.ratio * (f64::from(u32::MAX) + 1.0)
    }
}

fn headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(HEADERS, text)? {
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("{HEADERS}: `{name}` is no name of a header"))?;
        // The value may be a secret: it is not repeated here, nor by whoever prints the map.
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| format!("{HEADERS}: the value of `{name}` can't stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn pairs(variable: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok((name.trim().to_owned(), decoded(value.trim())))
            }
            Some(_) | None => Err(format!("{variable} is not of the form name=value,name=value")),
        })
        .collect()
}

/// Values may be percent-encoded, since a comma ends them.
fn decoded(value: &str) -> String {
    // In a form a plus sign is a blank; here it is itself.
    let pair = format!("v={}", value.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(pair.as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

fn ratio(sampler: Option<&str>, argument: Option<&str>) -> Result<f64, String> {
    match sampler {
        None | Some("always_on" | "parentbased_always_on") => Ok(1.0),
        Some("always_off" | "parentbased_always_off") => Ok(0.0),
        Some("traceidratio" | "parentbased_traceidratio") => {
            let ratio = argument.map_or(Ok(1.0), str::parse).ok();
            ratio
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .ok_or_else(|| format!("{SAMPLER_ARG} must be a number from 0 to 1"))
        }
        Some(other) => Err(format!(
            "{SAMPLER}: `{other}` is not known here; parentbased_always_on, parentbased_always_off and \
             parentbased_traceidratio are"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Destination>, String> {
        Destination::of(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_an_endpoint_there_is_none() {
        assert!(of(&[]).unwrap().is_none());
        assert!(of(&[(ENDPOINT, " "), (HEADERS, "nonsense")]).unwrap().is_none());
    }

    #[test]
    fn the_variables_mean_what_they_mean_elsewhere() {
        let destination = of(&[
            (ENDPOINT, "http://collector:4318/"),
            (HEADERS, "authorization=Bearer%20a%2Cb+c, x-tenant=shop"),
            (RESOURCE, "deployment.environment=laptop,k8s.pod.name=orders-0"),
            (SAMPLER, "parentbased_traceidratio"),
            (SAMPLER_ARG, "0.25"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(destination.uri, "http://collector:4318/v1/traces");
        assert_eq!(destination.headers["authorization"], "Bearer a,b+c");
        assert_eq!(destination.headers["x-tenant"], "shop");
        assert_eq!(
            destination.resource[1],
            ("k8s.pod.name".to_owned(), "orders-0".to_owned())
        );
        assert!(destination.samples([0; 16]));
        assert!(!destination.samples([0x40; 16]), "a quarter ends there");
        assert!(!format!("{destination:?}").contains("Bearer"));
        let whole = of(&[(ENDPOINT, "http://a"), (TRACES_ENDPOINT, "http://b/traces")]).unwrap();
        assert_eq!(whole.unwrap().uri, "http://b/traces");
    }

    #[test]
    fn all_or_nothing_of_the_traces_can_be_recorded() {
        let sampler = |sampler| {
            of(&[(ENDPOINT, "http://a"), (SAMPLER, sampler)])
                .unwrap()
                .unwrap()
        };
        assert!(sampler("always_on").samples([0xff; 16]));
        assert!(!sampler("parentbased_always_off").samples([0; 16]));
    }

    #[test]
    fn what_can_t_be_meant_is_refused_by_name() {
        for (variables, why) in [
            ([(ENDPOINT, "https://collector"), (RESOURCE, "")], ENDPOINT),
            ([(ENDPOINT, "collector:4318"), (RESOURCE, "")], ENDPOINT),
            ([(ENDPOINT, "http://us:hush@a"), (RESOURCE, "")], HEADERS),
            ([(ENDPOINT, "http://a"), (HEADERS, "nonsense")], HEADERS),
            ([(ENDPOINT, "http://a"), (SAMPLER, "sometimes")], SAMPLER),
        ] {
            let refusal = of(&variables).unwrap_err();
            assert!(refusal.contains(why), "{refusal}");
            assert!(!refusal.contains("hush"), "{refusal}");
        }
    }
}
