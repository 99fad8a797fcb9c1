//! One request to the API server, with a deadline, in which neither body passes through anything
//! that could log it (kube's typed calls log an answer that they cannot read).

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// How long one request may take. kube's client has no limit of its own.
const DEADLINE: Duration = Duration::from_secs(15);

/// Asks for the answer's metadata alone: no data of a Secret comes back.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Why a request has no good answer. The API server's own words are not in it: to a write of a
/// Secret they may quote the Secret.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The API server refused it; `Status` is for recognising why, not for passing on.
    #[error("the API server answered {} {}", .0.code, .0.reason)]
    Refused(Box<Status>),
    /// No answer in time.
    #[error("the API server did not answer in time")]
    TimedOut,
    /// No connection, or one that broke.
    #[error("the API server could not be reached")]
    Unreachable,
    /// An answer that is none.
    #[error("the API server's answer could not be read")]
    Unreadable,
}

/// The metadata of what a write left behind, as far as `M` reads it.
#[derive(Deserialize)]
struct PartialObject<M> {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: M,
}

/// Which object it is and in which version: all that most answers are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    /// Its UID.
    pub uid: Option<String>,
    /// Its resourceVersion.
    pub resource_version: Option<String>,
    /// There, if it is being deleted.
    pub deletion_timestamp: Option<IgnoredAny>,
}

/// A body, and what it is written as.
pub struct Content {
    /// The media type.
    pub media_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl From<Vec<u8>> for Content {
    /// JSON that holds nothing secret.
    fn from(json: Vec<u8>) -> Self {
        Self {
            media_type: "application/json",
            body: Bytes::from(json),
        }
    }
}

/// Sends a request and returns the metadata of the object in the answer; none where the answer
/// is a bare Status, as to a DELETE.
///
/// # Errors
/// Says why there is no good answer.
pub async fn send<M: DeserializeOwned + Default>(
    client: &Client,
    method: Method,
    uri: &str,
    content: impl Into<Content>,
) -> Result<Option<M>, RequestError> {
    let Content { media_type, body } = content.into();
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(ACCEPT, METADATA_ONLY)
        .header(CONTENT_TYPE, media_type)
        .body(Body::from(body))
        .map_err(|_| RequestError::Unreadable)?;
    let exchange = async {
        let response = client
            .send(request)
            .await
            .map_err(|_| RequestError::Unreachable)?;
        let status = response.status();
        let bytes = response
            .into_body()
            .collect_bytes()
            .await
            .map_err(|_| RequestError::Unreachable)?;
        Ok::<_, RequestError>((status, bytes))
    };
    let (status, bytes) = tokio::time::timeout(DEADLINE, exchange)
        .await
        .map_err(|_| RequestError::TimedOut)??;
    read(status, &bytes)
}

fn read<M: DeserializeOwned + Default>(
    status: StatusCode,
    bytes: &[u8],
) -> Result<Option<M>, RequestError> {
    if status.is_success() {
        let object: PartialObject<M> =
            serde_json::from_slice(bytes).map_err(|_| RequestError::Unreadable)?;
        return Ok((object.kind != "Status").then_some(object.metadata));
    }
    let refusal = serde_json::from_slice::<Status>(bytes).unwrap_or_default();
    Err(RequestError::Refused(Box::new(Status {
        code: status.as_u16(),
        ..refusal
    })))
}
