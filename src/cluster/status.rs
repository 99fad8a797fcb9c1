//! Writes of status: a PUT on the status subresource with the object's resourceVersion, without
//! which an old status would land on a recreated object.

use bytes::Bytes;
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, Resource};
use serde::Serialize;
use serde_json::json;

use super::request::{RequestError, send};

/// Why a status was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFailure {
    /// The object changed or went meanwhile: look again.
    Conflict,
    /// The API server failed, or refused.
    Failed,
}

/// Replaces an object's status; returns the object's new resourceVersion.
///
/// # Errors
/// Says why it was not written.
pub async fn replace<K>(
    client: &Client,
    object: &K,
    status: &impl Serialize,
) -> Result<Option<String>, StatusFailure>
where
    K: Resource<DynamicType = ()>,
{
    let metadata: &ObjectMeta = object.meta();
    let (Some(name), Some(namespace)) = (&metadata.name, &metadata.namespace) else {
        return Err(StatusFailure::Conflict);
    };
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "spec": {},
        "status": status,
    });
    let uri = format!(
        "{}/{name}/status?fieldManager={}",
        K::url_path(&(), Some(namespace)),
        crate::api::FIELD_MANAGER.replace('/', "%2F")
    );
    match send(client, Method::PUT, &uri, Bytes::from(body.to_string())).await {
        Ok(metadata) => Ok(metadata.and_then(|metadata| metadata.resource_version)),
        Err(RequestError::Refused(status)) if matches!(status.code, 404 | 409) => {
            Err(StatusFailure::Conflict)
        }
        Err(error) => {
            tracing::warn!(%error, namespace, name, "status was not written");
            Err(StatusFailure::Failed)
        }
    }
}
