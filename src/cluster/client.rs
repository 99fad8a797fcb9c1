//! The client of the API server, as the operator wants it: no retry of its own (who asked decides
//! when to ask again) and a name that audit logs can show.

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::{Client, Config};

/// Name and version, as servers see them.
pub const AGENT: &str = concat!("key-protect-operator/", env!("CARGO_PKG_VERSION"));

/// Makes a client from the Pod's ServiceAccount or, outside a cluster, from the kubeconfig.
///
/// # Errors
/// Where there is neither, or it cannot be read.
pub async fn connect() -> Result<Client, kube::Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    config.default_retry = false;
    // A proxy of the environment is for IBM Cloud; in a Pod, kube does not take one either.
    config.proxy_url = None;
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(AGENT)));
    Client::try_from(config)
}
