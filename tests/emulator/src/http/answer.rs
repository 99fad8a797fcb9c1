//! Answers, before faults have been at them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::domain::refusal::Refusal;

/// The plain media type.
pub const JSON: &str = "application/json";

/// An answer of the service.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The media type, when there is a body.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The reason code of a refusal, for the journal.
    pub code: Option<String>,
}

impl Answer {
    /// An answer with a JSON body.
    pub fn json(status: u16, content_type: &'static str, body: &impl Serialize) -> Self {
        // What the emulator makes of its own values is always JSON.
        Self::written(
            status,
            content_type,
            serde_json::to_vec(body).unwrap_or_default(),
        )
    }

    /// An answer with a body that is written already.
    pub fn written(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            content_type,
            body: Bytes::from(body),
            ..Self::empty(status)
        }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            content_type: JSON,
            body: Bytes::new(),
            headers: Vec::new(),
            code: None,
        }
    }

    /// The answer of a status that a fault asks for.
    pub fn fault(status: u16, code: Option<&str>) -> Self {
        let mut body = Refusal::bare(status, "A fault was injected.").body();
        if let Some(code) = code {
            body["resources"][0]["reasons"] = json!([{
                "code": code,
                "message": "A fault was injected.",
                "status": status,
                "moreInfo": "https://cloud.ibm.com/apidocs/key-protect",
            }]);
        }
        Self {
            code: code.map(str::to_owned),
            ..Self::json(status, JSON, &body)
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code().map(str::to_owned),
            ..Self::json(refusal.status, JSON, &refusal.body())
        }
    }
}

/// An envelope around resources of a media type.
#[derive(Debug, Serialize)]
pub struct Envelope<'r, R> {
    metadata: EnvelopeMetadata,
    #[serde(skip_serializing_if = "<[R]>::is_empty")]
    resources: &'r [R],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeMetadata {
    collection_type: &'static str,
    collection_total: usize,
}

/// Puts resources of a media type into an envelope.
pub fn envelope<'r, R>(collection_type: &'static str, resources: &'r [R]) -> Envelope<'r, R> {
    Envelope {
        metadata: EnvelopeMetadata {
            collection_type,
            collection_total: resources.len(),
        },
        resources,
    }
}
