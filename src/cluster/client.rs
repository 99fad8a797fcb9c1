//! The client of the API server, as the operator wants it: no retry of its own (who asked decides
//! when to ask again) and a name that audit logs can show.

use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::ClientBuilder;
use kube::{Client, Config};

use super::meter::Meter;
use crate::metrics::ApiRequests;

/// Name and version, as servers see them.
pub const AGENT: &str = concat!("key-protect-operator/", env!("CARGO_PKG_VERSION"));

/// How long the API server may be silent on a connection that an answer is awaited from. Beyond the
/// 295 s after which a silent watch is begun anew, so that it only ends what nothing else would: a
/// listing without an answer, which would leave the operator blind for ever.
const SILENCE: Duration = Duration::from_secs(310);

/// Makes a client from the Pod's ServiceAccount or, outside a cluster, from the kubeconfig. Its
/// requests are counted.
///
/// # Errors
/// Where there is neither, or it cannot be read.
pub async fn connect(requests: &ApiRequests) -> Result<Client, kube::Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    config.default_retry = false;
    config.read_timeout = Some(SILENCE);
    // The silence counts from the request, not from when the connection was last used.
    config.reset_reader_on_write = true;
    // A proxy of the environment is for IBM Cloud; in a Pod, kube does not take one either.
    config.proxy_url = None;
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(AGENT)));
    let meter = Meter(requests.clone());
    Ok(ClientBuilder::try_from(config)?.with_layer(&meter).build())
}
