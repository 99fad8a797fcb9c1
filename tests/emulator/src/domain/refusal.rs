//! Refusals: what the service answers when it does not do what was asked.
//!
//! A refusal is a status, a sentence and, mostly, reasons with a code. Clients
//! match on the codes, so each code is written once, here.

use serde_json::{Value, json};

/// One entry of `reasons` in an error body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The code that clients match on.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// The field that is at fault, when one is.
    pub field: Option<String>,
}

/// A request that the service refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What `errorMsg` says.
    pub message: String,
    /// Why; empty for the errors that the service gives no reason for.
    pub reasons: Vec<Reason>,
}

impl Refusal {
    /// A refusal with one reason.
    pub fn because(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let class = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            409 => "Conflict",
            410 => "Gone",
            422 => "Unprocessable Entity",
            _ => "Internal Server Error",
        };
        Self {
            status,
            message: format!(
                "{class}: Action could not be performed. Please see `reasons` for more details."
            ),
            reasons: vec![Reason {
                code,
                message: message.into(),
                field: None,
            }],
        }
    }

    /// A field whose value the service does not take.
    pub fn field(name: &str, message: impl Into<String>) -> Self {
        let mut refusal = Self::because(400, "INVALID_FIELD_ERR", message);
        if let Some(reason) = refusal.reasons.first_mut() {
            reason.field = Some(name.to_owned());
        }
        refusal
    }

    /// A body that is not of the shape that the operation takes.
    pub fn bad_body(message: impl Into<String>) -> Self {
        Self::because(400, "BAD_BODY_ERR", message)
    }

    /// No such key, or none that the request may know of.
    pub fn key_not_found(id: &str) -> Self {
        Self::because(
            404,
            "KEY_NOT_FOUND_ERR",
            format!("Key {id} does not exist."),
        )
    }

    /// The key has been deleted already.
    pub fn key_deleted() -> Self {
        Self::because(
            410,
            "KEY_DELETED_ERR",
            "Key has already been deleted: Please delete references to this key.",
        )
    }

    /// Only a root key would do.
    pub fn root_key_required() -> Self {
        Self::because(
            400,
            "KEY_ROOT_REQ_ERR",
            "Requested action can only be completed with a root key.",
        )
    }

    /// The key's metadata are broken inside the service.
    pub fn incomplete_metadata() -> Self {
        Self::because(
            500,
            "INCOMPLETE_METADATA_ERR",
            "Key metadata became corrupted. Please delete this key.",
        )
    }

    /// A service asked for what is not its own.
    pub fn of_another_service() -> Self {
        Self::because(
            403,
            "RESOURCE_OWNER_ERR",
            "The resource(s) queried does not belong to the service.",
        )
    }

    /// Only other services of IBM Cloud do this.
    pub fn service_only() -> Self {
        Self::because(
            403,
            "SERVICE_ONLY_ERR",
            "This action can only be done by a service (service to service).",
        )
    }

    /// The 401 of a token that is absent, malformed, forged or expired.
    pub fn bad_token() -> Self {
        Self::bare(
            401,
            "Unauthorized: The user's token is not valid, or has expired.",
        )
    }

    /// The 401 of a valid token without the right to do this. It has no reasons.
    pub fn no_access() -> Self {
        Self::bare(
            401,
            "Unauthorized: The user does not have access to the specified resource",
        )
    }

    /// An error that the service gives no reason for.
    pub fn bare(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            reasons: Vec::new(),
        }
    }

    /// Returns the first reason's code.
    pub fn code(&self) -> Option<&'static str> {
        self.reasons.first().map(|reason| reason.code)
    }

    /// The same refusal, whose code stands in the sentence and nowhere else.
    #[must_use]
    pub fn with_code_in_message(mut self) -> Self {
        if let Some(code) = self.code() {
            let message = self.message.trim_end_matches('.');
            self.message = format!("{message} ({code})");
            self.reasons.clear();
        }
        self
    }

    /// Renders the error envelope.
    pub fn body(&self) -> Value {
        let mut resource = json!({ "errorMsg": self.message });
        if !self.reasons.is_empty() {
            let reasons: Vec<Value> = self
                .reasons
                .iter()
                .map(|reason| self.reason(reason))
                .collect();
            resource["reasons"] = Value::Array(reasons);
        }
        json!({
            "metadata": {
                "collectionType": "application/vnd.ibm.kms.error+json",
                "collectionTotal": 1,
            },
            "resources": [resource],
        })
    }

    fn reason(&self, reason: &Reason) -> Value {
        let mut value = json!({
            "code": reason.code,
            "message": reason.message,
            "status": self.status,
            "moreInfo": "https://cloud.ibm.com/apidocs/key-protect",
        });
        if let Some(field) = &reason.field {
            value["target"] = json!({ "type": "field", "name": field });
        }
        value
    }
}
