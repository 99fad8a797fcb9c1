//! Writes of Secrets: POST, PUT and DELETE with preconditions, never a patch (`patch` on Secrets
//! is `get`). Bodies are wiped after the write, answers carry metadata only.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::core::Status;
use kube::{Client, Resource};
use serde_json::json;

use super::apply;
use super::protobuf;
use super::request::{Content, Identity, RequestError, send};
use crate::api;
use crate::domain::fence;
use crate::domain::look::observed::Probe;
use crate::domain::look::plan::{SecretBody, WriteFailure};
use crate::domain::secret::SecretView;
use crate::domain::secret::metadata::SecretMetadata;
use crate::domain::service::material::KeyMaterial;

/// What a replacement or deletion was decided on.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// UID of what was seen.
    pub uid: &'a str,
    /// resourceVersion of what was seen.
    pub resource_version: &'a str,
}

/// Creates a Secret.
///
/// # Errors
/// Says why it was not created.
pub async fn create(
    client: &Client,
    namespace: &str,
    body: &SecretBody,
) -> Result<SecretView, WriteFailure> {
    let uri = collection(namespace);
    let answer = send(
        client,
        Method::POST,
        &managed(&uri, ""),
        content(namespace, body, None),
    )
    .await;
    view(answer.map_err(|error| refused(&error, true))?)
}

/// Replaces what was seen, and nothing else.
///
/// # Errors
/// Says why it was not replaced.
pub async fn replace(
    client: &Client,
    namespace: &str,
    body: &SecretBody,
    seen: Seen<'_>,
) -> Result<SecretView, WriteFailure> {
    let uri = format!("{}/{}", collection(namespace), body.name);
    let answer = send(
        client,
        Method::PUT,
        &managed(&uri, ""),
        content(namespace, body, Some(seen)),
    )
    .await;
    view(answer.map_err(|error| refused(&error, false))?)
}

/// Deletes what was seen, and nothing else.
///
/// # Errors
/// Says why it was not deleted.
pub async fn delete(
    client: &Client,
    namespace: &str,
    name: &str,
    seen: Seen<'_>,
) -> Result<(), WriteFailure> {
    let uri = format!("{}/{name}", collection(namespace));
    let body = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": seen.uid, "resourceVersion": seen.resource_version},
    });
    let body = body.to_string().into_bytes();
    match send::<Identity>(client, Method::DELETE, &uri, body).await {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(&error, false)),
    }
}

/// Writes a manager's entries of a shared Secret that was seen, and nothing else of it; none gives
/// back what the manager has there. By force: the owner offers them, whoever wrote them last.
///
/// # Errors
/// Says why they were not written.
pub async fn merge(
    client: &Client,
    namespace: &str,
    name: &str,
    seen: Seen<'_>,
    manager: &str,
    entries: &BTreeMap<String, KeyMaterial>,
) -> Result<SecretView, WriteFailure> {
    let manager = manager.replace('/', "%2F");
    let uri = format!(
        "{}/{name}?fieldManager={manager}&force=true",
        collection(namespace)
    );
    let content = Content {
        media_type: apply::MEDIA_TYPE,
        body: Bytes::from_owner(apply::entries(name, seen, entries)),
    };
    let answer = send(client, Method::PATCH, &uri, content).await;
    view(answer.map_err(|error| refused(&error, false))?)
}

/// Asks whether a name is free, by a create that is not carried out.
///
/// # Errors
/// Says why that is not known.
pub async fn probe(client: &Client, namespace: &str, name: &str) -> Result<Probe, WriteFailure> {
    let uri = managed(&collection(namespace), "&dryRun=All");
    let body = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        // Marked as one that the fence lets in, so that it is the name that matters.
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {api::TARGET_LABEL: api::TARGET_OWNED},
            "annotations": {api::RETAIN_ANNOTATION: "true"},
        },
    });
    let body = body.to_string().into_bytes();
    match send::<Identity>(client, Method::POST, &uri, body).await {
        Ok(_) => Ok(Probe::Free),
        Err(error) => match refused(&error, true) {
            WriteFailure::AlreadyExists => Ok(Probe::Taken),
            failure => Err(failure),
        },
    }
}

fn collection(namespace: &str) -> String {
    Secret::url_path(&(), Some(namespace))
}

fn managed(uri: &str, rest: &str) -> String {
    format!(
        "{uri}?fieldManager={}{rest}",
        api::FIELD_MANAGER.replace('/', "%2F")
    )
}

fn view(answer: Option<SecretMetadata>) -> Result<SecretView, WriteFailure> {
    answer
        .and_then(SecretView::from_metadata)
        .ok_or(WriteFailure::Failed(
            "the API server's answer could not be read",
        ))
}

fn content(namespace: &str, body: &SecretBody, seen: Option<Seen<'_>>) -> Content {
    Content {
        media_type: protobuf::MEDIA_TYPE,
        body: Bytes::from_owner(protobuf::secret(namespace, body, seen)),
    }
}

/// Recognises why the API server refused, from a closed list; its words go no further.
fn refused(error: &RequestError, creating: bool) -> WriteFailure {
    let status = match error {
        RequestError::Refused(status) => status,
        RequestError::TimedOut => {
            return WriteFailure::Failed("the API server did not answer in time");
        }
        RequestError::Unreachable => {
            return WriteFailure::Failed("the API server could not be reached");
        }
        RequestError::Unreadable => {
            return WriteFailure::Failed("the API server's answer could not be read");
        }
    };
    match status.code {
        409 if creating && status.reason == "AlreadyExists" => WriteFailure::AlreadyExists,
        404 if creating => WriteFailure::NamespaceTerminating,
        404 | 409 => WriteFailure::Conflict,
        403 if caused_by(status, "NamespaceTerminating") => WriteFailure::NamespaceTerminating,
        403 if status.message.contains("exceeded quota") => WriteFailure::Rejected(
            "a ResourceQuota of the namespace is used up; raise it or delete what is not needed",
        ),
        403 if let Some(meaning) = fence::refusal(&status.message) => {
            WriteFailure::Rejected(meaning)
        }
        422 | 403 if status.message.contains("ValidatingAdmissionPolicy") => {
            WriteFailure::Rejected(
                "an admission policy of the cluster does not let it in; ask the cluster's admin which",
            )
        }
        400 | 403 if status.message.contains("admission webhook") => WriteFailure::Rejected(
            "an admission webhook of the cluster does not let it in; ask the cluster's admin which",
        ),
        403 => WriteFailure::Failed(
            "the operator has no right to write Secrets in this namespace; see its RBAC",
        ),
        422 if status
            .message
            .contains("field is immutable when `immutable` is set") =>
        {
            WriteFailure::Immutable
        }
        422 => WriteFailure::Rejected(unprocessable(status)),
        413 => WriteFailure::Rejected("it is too large"),
        429 => WriteFailure::Failed("the API server is busy"),
        _ => WriteFailure::Failed("the API server failed"),
    }
}

fn caused_by(status: &Status, cause: &str) -> bool {
    status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .any(|c| c.reason == cause)
}

fn unprocessable(status: &Status) -> &'static str {
    let fields: Vec<&str> = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .map(|c| c.field.as_str())
        .collect();
    if fields.contains(&"type") {
        "a Secret of that name with another type is there, and a type cannot be changed; delete that Secret, and it is made anew"
    } else if fields
        .iter()
        .any(|field| field.starts_with("data[") || *field == "data")
    {
        "an entry that its type requires is missing or has another form, or it is larger than 1 MiB"
    } else if fields
        .iter()
        .any(|field| field.starts_with("metadata.labels"))
    {
        "a label in target.metadata.labels has a form that Kubernetes does not take"
    } else if fields
        .iter()
        .any(|field| field.starts_with("metadata.annotations"))
    {
        "an annotation in target.metadata.annotations has a form that Kubernetes does not take"
    } else {
        "it does not have the form that Kubernetes asks for"
    }
}
