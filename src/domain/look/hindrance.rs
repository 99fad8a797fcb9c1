//! What stands between an object and its Secret: something still to be asked, or a reason that
//! status shows. Values only; what they lead to stands in [`crate::domain::look::conclude`].

use jiff::Timestamp;

use crate::api::Reason;
use crate::domain::access::Question;
use crate::domain::audit::Why;
use crate::domain::look::evidence::Evidence;
use crate::domain::service::failure::{FailureKind, FetchFailure};
use crate::domain::service::ids::{KeyId, KeyRing};
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::status::with_request_id;

/// Something that is not known yet and must be before a plan can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// A listing begun at this time or later (any, for the least time there is).
    Listing(Timestamp),
    /// Single reads of metadata that are begun at this time or later.
    Answers(Vec<Question>, Timestamp),
    /// Payloads.
    Payloads(Vec<PayloadNeed>),
    /// A dry-run create: whether the target's name is free, before a payload is read for it.
    TargetFree,
    /// Leave to delete a Secret by a revocation that has waited since this time: there may be too
    /// many of them.
    Leave(Timestamp),
    /// A review of the operator's own access: whether it may write the shared Secret.
    MayMerge,
    /// A deletion of a Secret as status says it is that is not carried out: whether it is so still.
    Drift {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// The self-test of the fence.
    FenceProof,
}

/// A payload that is needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PayloadNeed {
    /// Whose.
    pub id: KeyId,
    /// Ring to name in the request.
    pub ring: Option<KeyRing>,
    /// Ring that the key is in, where it is known.
    pub key_ring: Option<String>,
    /// Its CRN, where it is known.
    pub crn: Option<String>,
    /// Why, for the audit line.
    pub why: Why,
}

/// Why no Secret can be made or confirmed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The reason.
    pub reason: Reason,
    /// What status says.
    pub message: String,
    /// How it bears on a Secret that holds a good value.
    pub bearing: Bearing,
    /// What a grace is counted from.
    pub pending: Option<Counted>,
    /// When the server asked to be tried again.
    pub retry_after: Option<std::time::Duration>,
    /// When a grace ends, or something is due to be looked at whatever the back-off says.
    pub next: Option<Timestamp>,
    /// Which case it was: for the operator's own log.
    pub cause: String,
    /// The key, where its metadata was read.
    pub key: Option<Box<KeyMetadata>>,
    /// Whether the listing is to be made again before the next try.
    pub relist: bool,
    /// What says that the key of the Secret, or the right to it, is gone.
    pub evidence: Option<Evidence>,
}

/// What a grace is counted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The reason that would hold after it.
    pub reason: Reason,
    /// When it was first seen.
    pub since: Timestamp,
    /// The key that it is counted for, as the object names it; nothing, where it is for all.
    pub key: Option<String>,
}

/// How a hindrance bears on an object whose Secret holds a good value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// Ready says nothing new: nothing was learnt.
    Keep,
    /// Ready stays True, with this reason.
    StayReady,
    /// Ready becomes False.
    NotReady,
}

impl Blocked {
    /// A hindrance that makes Ready False.
    #[must_use]
    pub fn new(reason: Reason, message: String, cause: impl Into<String>) -> Self {
        Self {
            reason,
            message,
            bearing: Bearing::NotReady,
            pending: None,
            retry_after: None,
            next: None,
            cause: cause.into(),
            key: None,
            relist: false,
            evidence: None,
        }
    }

    /// What was listed and what a key itself says differ: both are to be read again.
    #[must_use]
    pub fn moved(id: &KeyId, cause: &'static str) -> Self {
        let message = format!(
            "What the service lists and what key {id} itself says differ: {cause}. Both are read \
             again at growing intervals of up to 5 minutes."
        );
        let blocked = Self::new(Reason::ServiceError, message, cause).bearing(Bearing::Keep);
        Self {
            relist: true,
            ..blocked
        }
    }

    /// Changes how it bears on a good value.
    #[must_use]
    pub const fn bearing(mut self, bearing: Bearing) -> Self {
        self.bearing = bearing;
        self
    }
}

/// Where the look for one key ends.
pub type Identity = Result<KeyMetadata, Hindrance>;

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// Something must be asked first.
    Ask(Need),
    /// It cannot be done now.
    Blocked(Box<Blocked>),
    /// The Secret could not be made or written of these inputs (their record) now.
    Failed(Box<Blocked>, String),
    /// It could not, and its time to be tried again has not come.
    Held,
}

impl Hindrance {
    /// Says of which inputs something failed.
    #[must_use]
    pub fn of(self, record: &str) -> Self {
        match self {
            Self::Blocked(blocked) => Self::Failed(blocked, record.to_owned()),
            other => other,
        }
    }
}

impl From<Blocked> for Hindrance {
    fn from(blocked: Blocked) -> Self {
        Self::Blocked(Box::new(blocked))
    }
}

/// Words an error as a sentence, as status shows it. A field's path begins it as it is written.
#[must_use]
pub fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    if text.starts_with("spec.") {
        return format!("{text}.");
    }
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    first
        .into_iter()
        .flatten()
        .chain(chars)
        .chain(['.'])
        .collect()
}

/// Turns a failed request into a hindrance, by its kind alone; `what` could not be had for it.
#[must_use]
pub fn failed(what: &str, failure: &FetchFailure) -> Blocked {
    const AGAIN: &str = "It is tried again at growing intervals of up to 5 minutes.";
    let (reason, remedy) = match failure.kind {
        FailureKind::Unreachable => (Reason::Unreachable, AGAIN),
        FailureKind::Throttled => (
            Reason::Throttled,
            "It is tried again when the service allows.",
        ),
        FailureKind::CredentialMissing => (
            Reason::CredentialMissing,
            "The instance's owner has to put it right, as the instance's status says; it is taken \
             within a minute then.",
        ),
        FailureKind::CredentialRejected => (
            Reason::CredentialRejected,
            "The instance's owner has to replace the API key, or to see to the trusted profile: the instance's condition Authenticated says which.",
        ),
        FailureKind::Denied => (
            Reason::AccessDenied,
            "Check the service ID's roles, the instance's region, and allowed-IP and \
             context-based rules. It is tried again at growing intervals of up to 15 minutes.",
        ),
        FailureKind::ServiceError
        | FailureKind::Invalid
        | FailureKind::KeyNotFound
        | FailureKind::KeyGone => (Reason::ServiceError, AGAIN),
    };
    let message = format!(
        "{what} cannot be read now: {}: {}. {remedy}",
        failure.operation.as_str(),
        failure.detail
    );
    let mut blocked = Blocked::new(reason, request_id(&message, failure), failure.to_string())
        .bearing(Bearing::Keep);
    blocked.retry_after = failure.retry_after;
    blocked
}

/// Appends the request ID that IBM's support would ask for.
#[must_use]
pub fn request_id(message: &str, failure: &FetchFailure) -> String {
    with_request_id(
        message,
        failure.operation.id_name(),
        failure.request_id.as_deref(),
    )
}
