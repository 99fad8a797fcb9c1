//! What a KeyProtectInstance's status says: made from what its connection has seen, and written
//! only when that says something new.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::RELEASE_REVOCATIONS_ANNOTATION;
use crate::api::condition::{ConditionType, Reason};
use crate::api::instance::{
    CatalogueMode, InstallForm, KeyProtectInstance, KeyProtectInstanceStatus,
};
use crate::domain::access;
use crate::domain::account::Account;
use crate::domain::credentials::CredentialPlace;
use crate::domain::fence::{self, Standing};
use crate::domain::look::plan::Announcement;
use crate::domain::service::catalogue::Listing;
use crate::domain::service::failure::{FailureKind, FetchFailure};
use crate::domain::status::{self, Is, with_request_id};

/// What the connection of an instance has seen.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The time.
    pub now: Timestamp,
    /// Where it is called, or why it cannot be.
    pub endpoint: Result<EndpointFacts<'a>, (Reason, &'a str)>,
    /// The last listing.
    pub listing: &'a Listing,
    /// Why no request for a single key is sent now, where that is so.
    pub shut: Option<FetchFailure>,
    /// What IAM said last; nothing before it was asked.
    pub authenticated: Option<Result<(), FetchFailure>>,
    /// How many objects use the instance.
    pub keys_in_use: i64,
    /// Whether the fence holds, where there has to be one.
    pub fence: Option<&'a Standing>,
    /// How many revocations wait, and how many may act within an hour.
    pub held: (usize, usize),
    /// The form in which the operator was installed.
    pub form: InstallForm,
    /// Where the credential is.
    pub credential: Option<&'a CredentialPlace>,
    /// Who the operator is to the API server.
    pub account: Option<&'a Account>,
    /// The sync request that was answered, where one was.
    pub answered: Option<&'a str>,
}

/// The endpoint, as status shows it.
#[derive(Clone, Debug)]
pub struct EndpointFacts<'a> {
    /// Scheme, host and port.
    pub url: String,
    /// The instance ID.
    pub instance_id: Option<&'a str>,
    /// The region.
    pub region: Option<&'a str>,
    /// What the admin should know of the spec.
    pub warnings: &'a [String],
}

/// The status that an instance should have; nothing, if it has it.
#[must_use]
pub fn status(instance: &KeyProtectInstance, seen: &Seen<'_>) -> Option<KeyProtectInstanceStatus> {
    let old = instance.status.clone().unwrap_or_default();
    let mut new = old.clone();
    let generation = instance.metadata.generation;
    let (is, reason, message) = ready(seen);
    let conditions = &mut new.conditions;
    status::set(
        conditions,
        ConditionType::Ready,
        is,
        reason,
        &message,
        generation,
        seen.now,
    );
    if let Some((is, reason, message)) = authenticated(seen) {
        status::set(
            conditions,
            ConditionType::Authenticated,
            is,
            reason,
            &message,
            generation,
            seen.now,
        );
    }
    fence::set_condition(conditions, seen.fence, generation, seen.now);
    match unsupported(instance, seen.form) {
        Some(message) => status::set(
            conditions,
            ConditionType::RuleNotSupported,
            Is::True,
            "NamespacesNotWatched",
            &message,
            generation,
            seen.now,
        ),
        None => status::clear(conditions, ConditionType::RuleNotSupported),
    }
    set_held(instance, conditions, seen);
    if let Ok(endpoint) = &seen.endpoint {
        new.endpoint = Some(endpoint.url.clone());
        new.instance_id = endpoint.instance_id.map(str::to_owned);
        new.region = endpoint.region.map(str::to_owned);
    }
    new.catalogue_mode = match seen.listing {
        Listing::None => new.catalogue_mode,
        Listing::Failed { failure, .. } if failure.kind == FailureKind::Denied => {
            Some(CatalogueMode::Single)
        }
        Listing::Singly { .. } => Some(CatalogueMode::Single),
        Listing::Failed { .. } | Listing::Fresh(_) => Some(CatalogueMode::List),
    };
    new.keys_in_use = Some(seen.keys_in_use);
    new.install_form = Some(seen.form);
    if let Some(answered) = seen.answered {
        new.last_handled_sync_request = Some(answered.to_owned());
    }
    new.observed_generation = generation;
    (new != old).then_some(new)
}

/// Which access rules grant nothing, since namespaces are not watched in this form.
fn unsupported(instance: &KeyProtectInstance, form: InstallForm) -> Option<String> {
    if !form.is_for_namespaces() {
        return None;
    }
    let rules = access::unsupported(instance.spec.access.as_deref());
    let named: Vec<String> = rules
        .iter()
        .map(|(at, from)| format!("spec.access[{at}].namespaces.from: {from:?}"))
        .collect();
    (!named.is_empty()).then(|| {
        format!(
            "{} grants nothing: the operator serves named namespaces (--namespaces), and sees \
             neither others nor any labels. List the namespaces, with 'from: Names'.",
            named.join(", ")
        )
    })
}

/// What is announced when revocations begin to wait; nothing, where `old` says so already.
#[must_use]
pub fn announcement(
    old: Option<&KeyProtectInstanceStatus>,
    new: &KeyProtectInstanceStatus,
) -> Option<Announcement> {
    const TYPE: ConditionType = ConditionType::MassRevocationHeld;
    let before = old.is_some_and(|old| status::holds(&old.conditions, TYPE));
    let now = status::find(&new.conditions, TYPE)?;
    (!before).then(|| Announcement {
        reason: TYPE.as_str(),
        warning: true,
        note: now.message.clone(),
    })
}

fn set_held(instance: &KeyProtectInstance, conditions: &mut Vec<Condition>, seen: &Seen<'_>) {
    let (held, most) = seen.held;
    if held == 0 {
        return status::clear(conditions, ConditionType::MassRevocationHeld);
    }
    let metadata = &instance.metadata;
    let message = format!(
        "The deletion of {held} Secrets waits, since revocations would delete more than {most} within \
         an hour: their keys, or the right to them, are gone. Find out whether that is meant \
         (kubectl get keyprotectkeys -A). If it is, let go those that wait now: kubectl annotate \
         keyprotectinstance {} -n {} --overwrite {RELEASE_REVOCATIONS_ANNOTATION}=$(date -u \
         +%FT%TZ). If not, put keys or rules right: the Secrets stay.",
        metadata.name.as_deref().unwrap_or_default(),
        metadata.namespace.as_deref().unwrap_or_default(),
    );
    status::set(
        conditions,
        ConditionType::MassRevocationHeld,
        Is::True,
        "TooMany",
        &message,
        metadata.generation,
        seen.now,
    );
}

fn ready(seen: &Seen<'_>) -> (Is, &'static str, String) {
    let warnings = match &seen.endpoint {
        Ok(endpoint) => endpoint.warnings,
        Err((reason, message)) => return (Is::False, reason.as_str(), (*message).to_owned()),
    };
    match seen.listing {
        Listing::None => (
            Is::Unknown,
            Reason::Pending.as_str(),
            "The instance's keys were not looked at yet.".to_owned(),
        ),
        Listing::Fresh(_) | Listing::Singly { .. } if let Some(failure) = &seen.shut => {
            let (reason, remedy) = remedy(failure.kind, seen);
            let message = format!(
                "{}: {}. One request tries it for all. {remedy} Secrets keep their last values meanwhile.",
                failure.operation.as_str(),
                failure.detail
            );
            (Is::False, reason.as_str(), message)
        }
        Listing::Fresh(_) | Listing::Singly { .. } => {
            let mut message = match seen.listing {
                Listing::Singly { .. } => {
                    "The instance's keys can be looked at. They are read one by one: it has many \
                     more than are used here."
                }
                _ => "The instance's keys can be looked at.",
            }
            .to_owned();
            for warning in warnings {
                message.push(' ');
                message.push_str(warning);
            }
            (Is::True, "Available", message)
        }
        Listing::Failed { failure, since, .. } => {
            let (reason, remedy) = remedy(failure.kind, seen);
            let since = Timestamp::from_second(since.as_second()).unwrap_or(*since);
            let message = format!(
                "{}: {}. The listing has failed since {since}. {remedy} Secrets keep their last values meanwhile.",
                failure.operation.as_str(),
                failure.detail
            );
            (
                Is::False,
                reason.as_str(),
                with_request_id(
                    &message,
                    failure.operation.id_name(),
                    failure.request_id.as_deref(),
                ),
            )
        }
    }
}

fn authenticated(seen: &Seen<'_>) -> Option<(Is, &'static str, String)> {
    Some(match seen.authenticated.as_ref()? {
        Ok(()) => (
            Is::True,
            "TokenIssued",
            "IAM issued a token for the credential.".to_owned(),
        ),
        Err(failure) => {
            let (reason, remedy) = remedy(failure.kind, seen);
            let code = failure
                .code
                .as_ref()
                .map(|code| format!(" ({code})"))
                .unwrap_or_default();
            let message = format!("{}{code}. {remedy}", failure.detail);
            (
                Is::False,
                reason.as_str(),
                with_request_id(&message, "request ID", failure.request_id.as_deref()),
            )
        }
    })
}

/// The reason of a failure, and what to do about it.
fn remedy(kind: FailureKind, seen: &Seen<'_>) -> (Reason, Cow<'static, str>) {
    let (reason, general) = general_remedy(kind);
    let of_credential = seen
        .credential
        .and_then(|place| place.remedy(kind, seen.account));
    (
        reason,
        of_credential.map_or(Cow::Borrowed(general), Cow::Owned),
    )
}

const fn general_remedy(kind: FailureKind) -> (Reason, &'static str) {
    match kind {
        FailureKind::Unreachable => (
            Reason::Unreachable,
            "Check DNS, egress rules, proxy and spec.endpoint from the operator's Pod. It is tried again at growing intervals of up to 5 minutes.",
        ),
        FailureKind::Throttled => (
            Reason::Throttled,
            "It is tried again when the service allows.",
        ),
        FailureKind::CredentialMissing => (
            Reason::CredentialMissing,
            "It is taken without a restart once it is there.",
        ),
        FailureKind::CredentialRejected => (
            Reason::CredentialRejected,
            "Make a new API key for the service ID; it is taken without a restart.",
        ),
        FailureKind::Denied => (
            Reason::AccessDenied,
            "Check that the service ID has a role on this instance, that instance ID and region are right, and allowed-IP and context-based rules. Keys are looked at singly meanwhile. It is tried again at growing intervals of up to 15 minutes.",
        ),
        FailureKind::ServiceError
        | FailureKind::KeyNotFound
        | FailureKind::KeyGone
        | FailureKind::Invalid => (
            Reason::ServiceError,
            "It is tried again at growing intervals of up to 5 minutes.",
        ),
    }
}
