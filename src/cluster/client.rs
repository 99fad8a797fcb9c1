//! The client of the API server, as the operator wants it: no retry of its own (who asked decides
//! when to ask again), a name that audit logs can show, and HTTP/2, on one connection.
//!
//! kube's own client speaks HTTP/1.1: a connection for each watch and each write under way, some 36
//! at their peak, whose buffers are memory; and a watch on a connection whose other end died without
//! a word stays silent until its idle timer ends, minutes later. HTTP/2 pings find that out within
//! [`PING`] and [`PONG`]. Throughput is the same, latency under load a third less (measured:
//! `docs/architecture.md`). Watches and writes share the connection's flow control, which hurts
//! nobody as long as every watch is read at once, and it is: its events go into a map.

use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tower::timeout::TimeoutLayer;
use tower::{BoxError, Layer, ServiceBuilder};

use super::meter::Meter;
use crate::metrics::ApiRequests;

/// Name and version, as servers see them.
pub const AGENT: &str = concat!("key-protect-operator/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How often the API server has to show that it lives. All requests share one connection, the
/// Lease's renewals too, and until a dead one is given up they all wait: both together are less
/// than what a leader has to renew in.
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
    // By ALPN: an API server behind something that knows HTTP/1.1 only is spoken to in that.
    let connector = tls.enable_all_versions().wrap_connector(tcp);
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PONG)
        .http2_keep_alive_while_idle(true)
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ANSWER))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    let metered = Meter(requests.clone()).layer(service);
    Ok(Client::new(metered, config.default_namespace))
}
