//! Why something could not be learnt from IBM Cloud. Texts here are the operator's own words;
//! nothing of what a server wrote is passed on but its reason code and request IDs.

use std::fmt;
use std::time::Duration;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A token, at IAM.
    Token,
    /// The listing of keys.
    ListKeys,
    /// One key's metadata.
    GetKeyMetadata,
    /// One key with its payload.
    GetKey,
    /// The listing of key rings.
    ListKeyRings,
}

impl Operation {
    /// Names the operation in messages and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "IAM token",
            Self::ListKeys => "list keys",
            Self::GetKeyMetadata => "get key metadata",
            Self::GetKey => "get key",
            Self::ListKeyRings => "list key rings",
        }
    }

    /// What IBM calls the ID by which its support finds a request: IAM and Key Protect differ.
    #[must_use]
    pub const fn id_name(self) -> &'static str {
        match self {
            Self::Token => "request ID",
            _ => "correlation ID",
        }
    }
}

/// What kind of failure it was; decides what it is evidence of, and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection, no TLS, or no whole answer in time.
    Unreachable,
    /// 429.
    Throttled,
    /// 5xx, or an answer that is none.
    ServiceError,
    /// No usable API key.
    CredentialMissing,
    /// IAM refused the API key.
    CredentialRejected,
    /// 401 or 403 from Key Protect; five causes look alike.
    Denied,
    /// 404 with `KEY_NOT_FOUND_ERR`: this key is not there. Any other 404 is a [`Self::ServiceError`].
    KeyNotFound,
    /// 410: the key was deleted.
    KeyGone,
    /// The request was refused before it was sent or by 400: host not allowed, bad name.
    Invalid,
}

/// A failed request, or one that was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FetchFailure {
    /// What was asked.
    pub operation: Operation,
    /// What kind of failure it was.
    pub kind: FailureKind,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The service's reason code, like `KEY_NOT_FOUND_ERR` or `BXNIM0415E`: upper-case letters,
    /// digits and `_` only, at most 64.
    pub code: Option<String>,
    /// Correlation ID (Key Protect) or request ID (IAM), for IBM's support.
    pub request_id: Option<String>,
    /// When the server asked to be tried again.
    pub retry_after: Option<Duration>,
    /// What happened, in the operator's own words.
    pub detail: String,
}

impl FetchFailure {
    /// Makes one of which no more is known than what kind it is.
    #[must_use]
    pub fn new(operation: Operation, kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            operation,
            kind,
            status: None,
            code: None,
            request_id: None,
            retry_after: None,
            detail: detail.into(),
        }
    }
}

impl FetchFailure {
    /// Whether it is the credential that failed.
    #[must_use]
    pub const fn is_credential(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::CredentialMissing | FailureKind::CredentialRejected
        )
    }

    /// Whether the next try may not meet it: connection errors, 429, and 5xx except 501, which says
    /// that it will never work. (IBM's own clients do the same.)
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self.kind {
            FailureKind::Unreachable | FailureKind::Throttled => true,
            FailureKind::ServiceError => self
                .status
                .is_some_and(|status| status >= 500 && status != 501),
            _ => false,
        }
    }
}

impl fmt::Display for FetchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation.as_str(), self.detail)?;
        if let Some(status) = self.status {
            write!(f, " (HTTP {status}")?;
            if let Some(code) = &self.code {
                write!(f, ", {code}")?;
            }
            f.write_str(")")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, ", {} {id}", self.operation.id_name())?;
        }
        Ok(())
    }
}
