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
use crate::api::{self, key::SecretType};
use crate::domain::fence::{self, Refusal};
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
    put(client, namespace, body, Some(seen)).await
}

/// Replaces whatever is there, as far as the fence takes it for the operator's.
///
/// # Errors
/// Says why it was not replaced.
pub async fn overwrite(
    client: &Client,
    namespace: &str,
    body: &SecretBody,
) -> Result<SecretView, WriteFailure> {
    put(client, namespace, body, None).await
}

async fn put(
    client: &Client,
    namespace: &str,
    body: &SecretBody,
    seen: Option<Seen<'_>>,
) -> Result<SecretView, WriteFailure> {
    let uri = format!("{}/{}", collection(namespace), body.name);
    let answer = send(
        client,
        Method::PUT,
        &managed(&uri, ""),
        content(namespace, body, seen),
    )
    .await;
    view(answer.map_err(|error| refused(&error, false))?)
}

/// Deletes this Secret, as it was at that resourceVersion if one is given, and nothing else. Of one
/// that was not seen (`unseen`), what is gone, another one, changed or somebody else's by now counts
/// as deleted.
///
/// # Errors
/// Says why it was not deleted.
pub async fn delete(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
    resource_version: Option<&str>,
    unseen: bool,
) -> Result<(), WriteFailure> {
    let preconditions = match resource_version {
        Some(version) => json!({"uid": uid, "resourceVersion": version}),
        None => json!({"uid": uid}),
    };
    match send_delete(
        client,
        namespace,
        name,
        json!({"preconditions": preconditions}),
    )
    .await
    {
        Ok(()) => Ok(()),
        Err(error) => match refused(&error, false) {
            WriteFailure::Conflict | WriteFailure::NotOurs if unseen => Ok(()),
            failure => Err(failure),
        },
    }
}

/// Asks whether a Secret is as it was seen, by a deletion that is not carried out. The dry run is
/// asked for in the body: beside a body, the API server does not look for it in the address.
///
/// # Errors
/// Says why that is not known.
pub async fn probe_drift(
    client: &Client,
    namespace: &str,
    name: &str,
    seen: Seen<'_>,
) -> Result<Probe, WriteFailure> {
    let options = json!({
        "dryRun": ["All"],
        "preconditions": {"uid": seen.uid, "resourceVersion": seen.resource_version},
    });
    match send_delete(client, namespace, name, options).await {
        Ok(()) => Ok(Probe::Same),
        Err(RequestError::Refused(status)) if status.code == 404 => Ok(Probe::Gone),
        Err(RequestError::Refused(status)) if status.code == 409 => Ok(Probe::Changed),
        Err(error) => Err(refused(&error, false)),
    }
}

async fn send_delete(
    client: &Client,
    namespace: &str,
    name: &str,
    mut options: serde_json::Value,
) -> Result<(), RequestError> {
    let uri = format!("{}/{name}", collection(namespace));
    options["apiVersion"] = json!("v1");
    options["kind"] = json!("DeleteOptions");
    let body = options.to_string().into_bytes();
    send::<Identity>(client, Method::DELETE, &uri, body).await?;
    Ok(())
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

/// Asks whether there is a Secret of a name and the fence takes it for the operator's, by a PUT that
/// is not carried out: for an operator that sees no Secrets.
///
/// # Errors
/// Says why that is not known.
pub async fn probe_unseen(
    client: &Client,
    namespace: &str,
    name: &str,
    secret_type: SecretType,
) -> Result<Probe, WriteFailure> {
    let uri = managed(&format!("{}/{name}", collection(namespace)), "&dryRun=All");
    let body = marked(namespace, name, secret_type);
    match send::<Identity>(client, Method::PUT, &uri, body).await {
        Ok(_) => Ok(Probe::Ours),
        // The API server asks no policy about a Secret that is not valid: one of a type that needs
        // entries, or that is immutable or of another type already.
        Err(RequestError::Refused(status)) if status.code == 422 => {
            probe_label(client, namespace, name).await
        }
        Err(RequestError::Refused(status)) if status.code == 404 => Ok(Probe::Free),
        Err(error) => match refused(&error, false) {
            WriteFailure::NotOurs => Ok(Probe::Taken),
            // What the fence minds is that the probe says nothing of them.
            WriteFailure::Finalizers | WriteFailure::Immutable => Ok(Probe::Ours),
            failure => Err(failure),
        },
    }
}

/// Asks whether the fence takes a Secret for the operator's, by a deletion that is not carried out.
/// It names no UID, which the fence refuses as well: but first of all one without the label.
async fn probe_label(client: &Client, namespace: &str, name: &str) -> Result<Probe, WriteFailure> {
    let options = json!({"dryRun": ["All"]});
    match send_delete(client, namespace, name, options).await {
        Ok(()) => Ok(Probe::Ours),
        Err(RequestError::Refused(status)) if status.code == 404 => Ok(Probe::Free),
        Err(error) => match refused(&error, false) {
            WriteFailure::NotOurs => Ok(Probe::Taken),
            WriteFailure::Rejected(_) => Ok(Probe::Ours),
            failure => Err(failure),
        },
    }
}

/// Asks whether a name is free, by a create that is not carried out.
///
/// # Errors
/// Says why that is not known.
pub async fn probe(client: &Client, namespace: &str, name: &str) -> Result<Probe, WriteFailure> {
    let uri = managed(&collection(namespace), "&dryRun=All");
    let body = marked(namespace, name, SecretType::Opaque);
    match send::<Identity>(client, Method::POST, &uri, body).await {
        Ok(_) => Ok(Probe::Free),
        Err(error) => match refused(&error, true) {
            WriteFailure::AlreadyExists => Ok(Probe::Taken),
            failure => Err(failure),
        },
    }
}

/// An empty Secret, marked as one that the fence lets in, so that it is what is there that matters.
fn marked(namespace: &str, name: &str, secret_type: SecretType) -> Vec<u8> {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": secret_type.as_str(),
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {api::TARGET_LABEL: api::TARGET_OWNED},
            "annotations": {api::RETAIN_ANNOTATION: "true"},
        },
    });
    body.to_string().into_bytes()
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
        403 if let Some(refusal) = fence::refusal(&status.message) => match refusal {
            Refusal::NotOurs => WriteFailure::NotOurs,
            Refusal::Finalizers => WriteFailure::Finalizers,
            Refusal::Immutable => WriteFailure::Immutable,
            Refusal::Rule(meaning) => WriteFailure::Rejected(meaning),
        },
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
