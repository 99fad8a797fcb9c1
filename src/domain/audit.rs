//! The audit stream's line: which payload was read for whom and why, and what was written of it.
//! Its shape is a promise (`docs/audit.md`, which a test compares with this). It names keys,
//! objects and Secrets, and never holds a payload, a digest of one, or a word of the service's or
//! the API server's own.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::domain::look::plan::{Write, WriteFailure};
use crate::domain::service::failure::{FailureKind, FetchFailure};

/// Names the shape, so that a line is recognised among others; it changes with the meaning of a
/// field that there is, not when one is added.
pub const SCHEMA: &str = "keyprotect.dev/audit/v1";

/// A closed list of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$word_doc])* $word),* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$word),*];

            /// The word in the line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => stringify!($word)),* }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words!(
    /// What was done.
    Action {
        /// A key with its payload was asked for, by its ID: one request to the service.
        ReadPayload,
        /// POST of a Secret.
        CreateSecret,
        /// PUT of a Secret.
        ReplaceSecret,
        /// DELETE of a Secret.
        DeleteSecret,
        /// Server-side apply of entries that the owner of a shared Secret offers.
        MergeEntries,
        /// Server-side apply of nothing: those entries go.
        GiveBackEntries,
    }
);

words!(
    /// How it ended.
    Outcome {
        /// As asked.
        Succeeded,
        /// Refused: by the service (401, 403), or by a rule of the cluster.
        Denied,
        /// It did not come about.
        Failed,
        /// It was sent, and what came of it is not known: no whole answer came in time, or the
        /// connection broke, or the operator had to stop.
        Unanswered,
    }
);

words!(
    /// Why a payload is read and a Secret written.
    Why {
        /// There was none yet.
        FirstSync,
        /// It is not there any more.
        SecretMissing,
        /// Somebody else changed it.
        SecretEdited,
        /// The owner reference is not as it should be.
        OwnerReferenceChanged,
        /// Another key is meant, or the object asks for something else.
        KeyOrTargetChanged,
        /// The object names another Secret now.
        TargetRenamed,
        /// Its owner handed it over.
        SecretHandedOver,
        /// Somebody wrote a Secret in which entries are the operator's.
        SharedSecretChanged,
        /// The object is gone.
        ObjectDeleted,
        /// The key, or the right to it, is gone.
        KeyRevoked,
        /// The key, or the right to it, is back.
        KeyBack,
    }
);

/// A key of which a Secret is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// Its ID.
    pub id: String,
    /// Its CRN, where a listing or an answer named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crn: Option<String>,
    /// Its ring, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_ring: Option<String>,
    /// By which the read is found in IBM's logs.
    #[serde(rename = "correlationID", skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// Why a plan's Secrets are written, and of which keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Why.
    pub why: Option<Why>,
    /// The keys whose payloads are written.
    pub keys: Vec<Key>,
}

/// An object of the cluster.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Object<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The namespace's UID, where a watch has shown the namespace.
    #[serde(rename = "namespaceUID", skip_serializing_if = "Option::is_none")]
    pub namespace_uid: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<&'a str>,
}

/// The instance whose key it is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Instance<'a> {
    /// The KeyProtectInstance.
    #[serde(flatten)]
    pub object: Object<'a>,
    /// The service's own name of it.
    #[serde(rename = "instanceID")]
    pub instance_id: &'a str,
}

/// For whom something is done.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Subject<'a> {
    /// The KeyProtectKey.
    pub object: Object<'a>,
    /// The KeyProtectInstance that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance<'a>>,
}

/// The Secret that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret<'a> {
    /// Its name; its namespace is the object's.
    pub name: &'a str,
    /// Its UID, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<&'a str>,
    /// The version that was made, or that was to be replaced or deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<&'a str>,
    /// Names of its entries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<&'a str>,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line<'a> {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// When it ended.
    pub time: Timestamp,
    /// What was done.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Why>,
    /// For whom.
    #[serde(flatten)]
    pub subject: Subject<'a>,
    /// The Secret, where one was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret<'a>>,
    /// The key that was read, or those whose payloads were written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// The service's HTTP status, where it refused or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The service's reason code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    /// What went wrong, in the operator's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
}

/// One request for a payload that was sent, and how it ended; nothing, where no end was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// By which it is found in IBM's logs: what the service called it, else what it was sent as.
    pub correlation_id: String,
    /// How it ended.
    pub end: Option<Result<(), FetchFailure>>,
}

/// The line of a request for a payload.
#[must_use]
pub fn read<'a>(
    time: Timestamp,
    subject: Subject<'a>,
    why: Why,
    key: &Key,
    sent: &'a Sent,
) -> Line<'a> {
    let failure = sent.end.as_ref().and_then(|end| end.as_ref().err());
    let outcome = match &sent.end {
        None => Outcome::Unanswered,
        Some(Ok(())) => Outcome::Succeeded,
        Some(Err(failure)) => match failure.kind {
            FailureKind::Denied => Outcome::Denied,
            FailureKind::Unreachable => Outcome::Unanswered,
            _ => Outcome::Failed,
        },
    };
    Line {
        schema: SCHEMA,
        time,
        action: Action::ReadPayload,
        outcome,
        reason: Some(why),
        subject,
        secret: None,
        keys: vec![Key {
            correlation_id: Some(sent.correlation_id.clone()),
            ..key.clone()
        }],
        status: failure.and_then(|failure| failure.status),
        code: failure.and_then(|failure| failure.code.as_deref()),
        detail: failure.map(|failure| failure.detail.as_str()),
    }
}

/// The line of a write of a Secret. `end` is nothing where no end was seen; `made` is UID and
/// resourceVersion of what it left behind.
#[must_use]
pub fn written<'a>(
    time: Timestamp,
    subject: Subject<'a>,
    account: &Account,
    write: &'a Write,
    end: Option<Result<Option<(&'a str, &'a str)>, &'a WriteFailure>>,
) -> Line<'a> {
    let (action, entries) = match write {
        Write::Create(body) => (Action::CreateSecret, Some(&body.entries)),
        Write::Replace { body, .. } | Write::Overwrite(body) => {
            (Action::ReplaceSecret, Some(&body.entries))
        }
        Write::Delete { .. } => (Action::DeleteSecret, None),
        Write::Merge { entries, .. } => (Action::MergeEntries, Some(entries)),
        Write::GiveBack { .. } => (Action::GiveBackEntries, None),
    };
    let seen = match write {
        Write::Create(_) | Write::Overwrite(_) => None,
        Write::Delete {
            uid,
            resource_version,
            ..
        } => Some((
            uid.as_str(),
            resource_version.as_deref().unwrap_or_default(),
        )),
        Write::Replace {
            uid,
            resource_version,
            ..
        }
        | Write::Merge {
            uid,
            resource_version,
            ..
        }
        | Write::GiveBack {
            uid,
            resource_version,
            ..
        } => Some((uid.as_str(), resource_version.as_str())),
    };
    let made = end.and_then(Result::ok).flatten();
    let (uid, resource_version) = made.or(seen).unzip();
    let (outcome, detail) = match end {
        None => (Outcome::Unanswered, None),
        Some(Ok(_)) => (Outcome::Succeeded, None),
        Some(Err(failure)) => {
            let (outcome, detail) = told(failure);
            (outcome, Some(detail))
        }
    };
    Line {
        schema: SCHEMA,
        time,
        action,
        outcome,
        reason: account.why,
        subject,
        secret: Some(Secret {
            name: write.name(),
            uid,
            resource_version,
            entries: entries
                .map(|entries| entries.keys().map(String::as_str).collect())
                .unwrap_or_default(),
        }),
        // A deletion writes no payload.
        keys: entries.map(|_| account.keys.clone()).unwrap_or_default(),
        status: None,
        code: None,
        detail,
    }
}

const fn told(failure: &WriteFailure) -> (Outcome, &'static str) {
    match failure {
        WriteFailure::AlreadyExists => (Outcome::Failed, "a Secret of that name exists"),
        WriteFailure::Conflict => (Outcome::Failed, "the Secret changed meanwhile"),
        WriteFailure::ObjectGone => (Outcome::Failed, "the object is gone"),
        WriteFailure::NotOurs => (Outcome::Denied, "the Secret is not the operator's"),
        WriteFailure::Immutable => (Outcome::Denied, "the Secret is immutable"),
        WriteFailure::Finalizers => (Outcome::Denied, "the Secret has somebody's finalizers"),
        WriteFailure::NamespaceTerminating => (Outcome::Denied, "the namespace is being deleted"),
        WriteFailure::Rejected(rule) => (Outcome::Denied, rule),
        // Also where no answer came: whether it was written shows in the watch.
        WriteFailure::Failed(what) => (Outcome::Unanswered, what),
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
