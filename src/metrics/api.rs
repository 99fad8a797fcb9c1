//! Requests to the API server, told apart by verb and resource alone: no name and no namespace of
//! an object becomes part of a metric.

use std::time::Duration;

use http::Method;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::request::{Request, durations};
use super::{Labels, names, register};

/// Resources that the operator has to do with; others are counted as one.
const RESOURCES: [&str; 10] = [
    "secrets",
    "namespaces",
    "events",
    "leases",
    "keyprotectkeys",
    "keyprotectkeys/status",
    "keyprotectinstances",
    "keyprotectinstances/status",
    "selfsubjectaccessreviews",
    "selfsubjectreviews",
];
const OTHER: &str = "other";
const WATCH: &str = "watch";

/// Counts requests to the API server. Clones count together.
#[derive(Clone, Debug)]
pub struct ApiRequests {
    requests: Family<Labels<3>, Counter>,
    duration: Family<Labels<2>, Histogram>,
}

impl Default for ApiRequests {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(durations),
        }
    }
}

impl ApiRequests {
    /// Begins a request.
    pub fn begin(
        &self,
        method: &Method,
        path: &str,
        query: &str,
    ) -> Request<impl FnOnce(&'static str, Duration) + use<>> {
        let (requests, duration) = (self.requests.clone(), self.duration.clone());
        let (verb, resource) = classify(method, path, query);
        Request::begin(move |code, took| {
            let (verb, resource) = (("verb", verb), ("resource", resource));
            let labels = [verb, resource, ("code", code)];
            requests.get_or_create(&labels).inc();
            if verb.1 != WATCH {
                let seconds = took.as_secs_f64();
                duration.get_or_create(&[verb, resource]).observe(seconds);
            }
        })
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        register(registry, &names::API_REQUESTS, self.requests.clone());
        register(
            registry,
            &names::API_REQUEST_DURATION,
            self.duration.clone(),
        );
    }
}

/// Verb and resource of a request.
fn classify(method: &Method, path: &str, query: &str) -> (&'static str, &'static str) {
    let mut parts = path.trim_matches('/').split('/');
    // `api/VERSION` or `apis/GROUP/VERSION`.
    let skipped = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return (verb(method, query, true), OTHER),
    };
    let rest: Vec<&str> = parts.skip(skipped).collect();
    // A namespace is a resource of its own, too.
    let rest = match rest.as_slice() {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let (resource, named) = match rest {
        [resource] => ((*resource).to_owned(), false),
        [resource, _] => ((*resource).to_owned(), true),
        [resource, _, sub] => (format!("{resource}/{sub}"), true),
        _ => (String::new(), true),
    };
    let known = RESOURCES.into_iter().find(|known| *known == resource);
    (verb(method, query, named), known.unwrap_or(OTHER))
}

fn verb(method: &Method, query: &str, named: bool) -> &'static str {
    let has = |parameter| query.split('&').any(|own| own == parameter);
    match *method {
        Method::GET if has("watch=true") || has("watch=1") => WATCH,
        Method::GET if named => "get",
        Method::GET => "list",
        _ if has("dryRun=All") => "dry-run",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_verb_and_resource_alone() {
        let secrets = "/api/v1/namespaces/payments/secrets";
        let keys = "/apis/keyprotect.dev/v1alpha1/namespaces/payments/keyprotectkeys";
        let status = format!("{keys}/orders-db/status");
        let one = format!("{secrets}/orders-db");
        for (method, path, query, expected) in [
            (
                Method::POST,
                secrets,
                "fieldManager=x",
                ("create", "secrets"),
            ),
            (
                Method::POST,
                secrets,
                "fieldManager=x&dryRun=All",
                ("dry-run", "secrets"),
            ),
            (Method::PUT, &one, "fieldManager=x", ("update", "secrets")),
            (Method::DELETE, &one, "", ("delete", "secrets")),
            (
                Method::PUT,
                &status,
                "",
                ("update", "keyprotectkeys/status"),
            ),
            (
                Method::GET,
                &format!("{keys}/orders-db"),
                "",
                ("get", "keyprotectkeys"),
            ),
            (
                Method::GET,
                "/api/v1/secrets",
                "limit=500",
                ("list", "secrets"),
            ),
            (
                Method::GET,
                "/api/v1/secrets",
                "&watch=true",
                ("watch", "secrets"),
            ),
            (
                Method::GET,
                "/api/v1/namespaces",
                "",
                ("list", "namespaces"),
            ),
            (
                Method::GET,
                "/api/v1/namespaces/payments",
                "",
                ("get", "namespaces"),
            ),
            (
                Method::POST,
                "/apis/events.k8s.io/v1/namespaces/payments/events",
                "",
                ("create", "events"),
            ),
            (
                Method::GET,
                "/api/v1/namespaces/payments/pods/x/log",
                "",
                ("get", "other"),
            ),
            (Method::GET, "/version", "", ("get", "other")),
            (Method::GET, "/", "", ("get", "other")),
            (
                Method::HEAD,
                "/apis/g/v1/things/x/y/z",
                "",
                ("other", "other"),
            ),
        ] {
            assert_eq!(classify(&method, path, query), expected, "{method} {path}");
        }
    }
}
