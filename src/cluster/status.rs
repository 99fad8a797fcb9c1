//! Writes of status: a PUT on the status subresource with the object's resourceVersion, without
//! which an old status would land on a recreated object.

use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, Resource};
use serde::Serialize;

use super::request::{Identity, RequestError, send};

/// The body of a write of status: the API server takes nothing else from it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a, S> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    spec: Empty,
    status: &'a S,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<&'a str>,
}

/// The schema wants a spec.
#[derive(Serialize)]
struct Empty {}

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
    let body = Body {
        api_version: &K::api_version(&()),
        kind: &K::kind(&()),
        metadata: Metadata {
            name,
            namespace,
            uid: metadata.uid.as_deref(),
            resource_version: metadata.resource_version.as_deref(),
        },
        spec: Empty {},
        status,
    };
    let Ok(body) = serde_json::to_vec(&body) else {
        tracing::error!(namespace, name, "a status could not be written as JSON");
        return Err(StatusFailure::Failed);
    };
    let uri = format!(
        "{}/{name}/status?fieldManager={}",
        K::url_path(&(), Some(namespace)),
        crate::api::FIELD_MANAGER.replace('/', "%2F")
    );
    match send::<Identity>(client, Method::PUT, &uri, body).await {
        Ok(written) => Ok(written.and_then(|written| written.resource_version)),
        Err(RequestError::Refused(status)) if matches!(status.code, 404 | 409) => {
            Err(StatusFailure::Conflict)
        }
        Err(error) => {
            tracing::warn!(%error, namespace, name, "status was not written");
            Err(StatusFailure::Failed)
        }
    }
}
