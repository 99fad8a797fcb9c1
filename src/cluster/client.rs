//! The client of the API server, as the operator wants it: no retry of its own (who asked decides
//! when to ask again), a name that audit logs can show, and two ways to send.
//!
//! What lasts or has to notice a dead end goes over one HTTP/2 connection: watches, their listings,
//! and the Lease. By HTTP/1.1, as kube's own client does it, each watch has a connection, and one
//! whose other end died without a word stays silent until its idle timer ends, minutes later;
//! HTTP/2 pings find that out within [`PING`] and [`PONG`].
//!
//! Writes go over HTTP/1.1, a connection for each one under way. On one HTTP/2 connection all
//! answers and watch events wait for one writer at the API server, which costs a sixth of the
//! throughput (measured: `docs/performance.md`), and of a payload sent over it copies stay in
//! memory.

use std::task::{Context, Poll};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Method, Request};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tower::timeout::TimeoutLayer;
use tower::{BoxError, Layer, Service, ServiceBuilder};

use super::meter::Meter;
use crate::metrics::ApiRequests;

/// Name and version, as servers see them.
pub const AGENT: &str = concat!("key-protect-operator/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may be idle. The API server closes one after 90 s, and a write that is
/// just then under way would be lost.
const IDLE: Duration = Duration::from_secs(60);
/// How often the API server has to show that it lives. The Lease's renewals share a connection with
/// the watches, and until a dead one is given up they all wait: both together are less than what a
/// leader has to renew in.
const PING: Duration = Duration::from_secs(4);
/// How long it may take to do so.
const PONG: Duration = Duration::from_secs(3);
/// How long an answer may take to begin, as long as the API server itself gives a request. Only for
/// what nothing else would end: a listing without an answer would leave the operator blind for ever.
const ANSWER: Duration = Duration::from_secs(60);

/// Makes a client from the Pod's ServiceAccount or, outside a cluster, from the kubeconfig. Its
/// requests are counted.
///
/// # Errors
/// Where there is neither, or it cannot be read.
pub async fn connect(requests: &ApiRequests) -> Result<Client, kube::Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(AGENT)));
    let ways = Ways {
        lasting: http(&config, Protocol::Http2)?,
        writes: http(&config, Protocol::Http1)?,
    };
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ANSWER))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(ways);
    let metered = Meter(requests.clone()).layer(service);
    Ok(Client::new(metered, config.default_namespace))
}

type Http = hyper_util::client::legacy::Client<hyper_rustls::HttpsConnector<HttpConnector>, Body>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    /// By ALPN: an API server behind something that knows HTTP/1.1 only is spoken to in that.
    Http2,
}

fn http(config: &Config, protocol: Protocol) -> Result<Http, kube::Error> {
    // A proxy of the environment is for IBM Cloud; kube does not take one in a Pod either.
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let mut tls = HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    if let Some(name) = config.tls_server_name.clone() {
        let name = name
            .try_into()
            .map_err(|error| kube::Error::Service(BoxError::from(error)))?;
        tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let connector = match protocol {
        Protocol::Http1 => tls.enable_http1().wrap_connector(tcp),
        Protocol::Http2 => tls.enable_all_versions().wrap_connector(tcp),
    };
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PONG)
        .http2_keep_alive_while_idle(true)
        .build(connector);
    Ok(client)
}

/// The two ways to the API server.
#[derive(Clone, Debug)]
struct Ways<S> {
    lasting: S,
    writes: S,
}

impl<S: Service<Request<Q>>, Q> Service<Request<Q>> for Ways<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.lasting.poll_ready(cx) {
            Poll::Ready(Ok(())) => self.writes.poll_ready(cx),
            other => other,
        }
    }

    fn call(&mut self, request: Request<Q>) -> S::Future {
        if is_write(request.method(), request.uri().path()) {
            self.writes.call(request)
        } else {
            self.lasting.call(request)
        }
    }
}

/// Whether a request is one of the many writes. The Lease's renewals are not: one that hangs on a
/// dead connection for longer than a moment costs the lead.
fn is_write(method: &Method, path: &str) -> bool {
    method != Method::GET && !path.starts_with("/apis/coordination.k8s.io/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_statuses_are_writes_and_what_keeps_the_lead_is_not() {
        for (method, path, wanted) in [
            (Method::POST, "/api/v1/namespaces/n/secrets", true),
            (Method::DELETE, "/api/v1/namespaces/n/secrets/leases", true),
            (
                Method::PUT,
                "/apis/keyprotect.dev/v1alpha1/namespaces/n/keyprotectkeys/x/status",
                true,
            ),
            (
                Method::PUT,
                "/apis/coordination.k8s.io/v1/namespaces/n/leases/x",
                false,
            ),
            (Method::GET, "/api/v1/secrets", false),
        ] {
            assert_eq!(is_write(&method, path), wanted, "{method} {path}");
        }
    }
}
