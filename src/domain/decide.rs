//! One look at one object: from everything that is known to what must be asked first, or to the
//! whole plan. Total and pure: the same values always end in the same step.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::conclude::{self, Success};
use super::failure::FailureKind;
use super::identify::{self, Blocked, Hindrance, Need, PayloadNeed};
use super::metadata::KeyMetadata;
use super::observed::{Observed, Probe};
use super::plan::{Plan, SecretBody, Write, WriteFailure};
use super::record::{SourceFacts, record};
use super::reference::KeyName;
use super::render::{self, DesiredData, Source};
use super::request::{self, SyncRequest};
use super::secret::{self, Drift, Expectation, SecretView};
use crate::api::key::DeletionPolicy;
use crate::api::{self, Reason};

/// What one look comes to.
#[derive(Clone, Debug)]
pub enum Step {
    /// Ask this first, then look again.
    Ask(Need),
    /// Do this.
    Do(Box<Plan>),
}

/// Looks at an object.
#[must_use]
pub fn look(observed: &Observed<'_>) -> Step {
    if observed.object.metadata.deletion_timestamp.is_some() {
        return Step::Do(Box::new(conclude::nothing(
            observed,
            "the object is being deleted",
        )));
    }
    if observed.object.spec.suspend == Some(true) && !observed.namespace.terminating {
        return Step::Do(Box::new(conclude::suspended(observed)));
    }
    let request = match request::resolve(observed) {
        Ok(request) => request,
        Err(refusal) => {
            let blocked = Blocked::new(refusal.reason, refusal.message, refusal.cause);
            return Step::Do(Box::new(conclude::blocked(observed, None, &blocked)));
        }
    };
    match sync(observed, &request) {
        Ok(plan) => Step::Do(Box::new(plan)),
        Err(Hindrance::Ask(need)) => Step::Ask(need),
        Err(Hindrance::Relist(cause)) => Step::Do(Box::new(conclude::again(observed, cause, true))),
        Err(Hindrance::Blocked(blocked)) => Step::Do(Box::new(conclude::blocked(
            observed,
            Some(&request),
            &blocked,
        ))),
    }
}

/// Looks at an object one of whose Secrets, `name`, could not be written or deleted.
#[must_use]
pub fn look_after_failed_write(
    observed: &Observed<'_>,
    name: &str,
    failure: &WriteFailure,
) -> Plan {
    let blocked = match failure {
        WriteFailure::AlreadyExists => {
            let mut plan = conclude::blocked(observed, None, &taken(name));
            plan.memory.target_taken = true;
            return plan;
        }
        WriteFailure::Conflict => {
            return conclude::again(observed, "the Secret changed meanwhile", false);
        }
        WriteFailure::ObjectGone => return conclude::nothing(observed, "the object is gone"),
        WriteFailure::Immutable => Blocked::new(
            Reason::SecretImmutable,
            format!(
                "Secret {name} is immutable, so its content cannot follow the key. Delete the \
                 Secret; it is made anew. It is tried again at growing intervals of up to 5 minutes."
            ),
            "immutable",
        ),
        WriteFailure::NamespaceTerminating => Blocked::new(
            Reason::NamespaceTerminating,
            "The namespace is being deleted; nothing is written in it.".to_owned(),
            "namespace terminating",
        ),
        WriteFailure::Rejected(rule) => Blocked::new(
            Reason::SecretRejected,
            format!(
                "The API server refused Secret {name}: {rule}. It is tried again at growing \
                 intervals of up to 5 minutes."
            ),
            *rule,
        ),
        WriteFailure::Failed(what) => Blocked::new(
            Reason::OperatorError,
            format!("Secret {name} could not be written: {what}. It is tried again by itself."),
            *what,
        ),
    };
    conclude::blocked(observed, None, &blocked)
}

fn taken(name: &str) -> Blocked {
    Blocked::new(
        Reason::SecretNotOwned,
        format!(
            "Secret {name} exists and is not this operator's; it is not touched. Give this object \
             another spec.target.name, or delete that Secret if nobody needs it. It is looked for \
             again at growing intervals of up to 5 minutes."
        ),
        "a foreign Secret has the name",
    )
}

fn sync(observed: &Observed<'_>, request: &SyncRequest<'_>) -> Result<Plan, Hindrance> {
    if let Some((reason, message)) = request.instance.unusable {
        let mut blocked = Blocked::new(reason, message.to_owned(), "the instance cannot be used");
        blocked.bearing = identify::Bearing::Keep;
        return Err(blocked.into());
    }
    let mut keys = Vec::with_capacity(request.target.sources.len());
    for source in &request.target.sources {
        keys.push(identify::identify(observed, request, &source.key)?);
    }
    let record = record_of(request, &keys);
    let drift = match observed.secret {
        None => Some(None),
        Some(secret) => match judge_target(observed, request, secret, &record)? {
            Ok(()) => None,
            Err(drift) => Some(Some(drift)),
        },
    };
    let stay = request.target.deletion_policy == DeletionPolicy::Retain;
    let mark_superseded = stay && !observed.superseded.is_empty();
    let mut writes = Vec::new();
    let mut notes = Vec::new();
    let mut correlation = vec![None; keys.len()];
    if drift.is_some() || mark_superseded {
        let why = why(observed, drift.flatten());
        let payloads = payloads(observed, request, &keys, why)?;
        correlation = payloads
            .iter()
            .map(|payload| Some(payload.correlation_id.clone()))
            .collect();
        let data = render(request, &keys, &payloads)?;
        notes = data.notes;
        if drift.is_some() {
            writes.push(write(
                observed,
                request,
                observed.secret,
                &record,
                data.entries.clone(),
            ));
        }
        if mark_superseded {
            for old in observed.superseded {
                writes.push(write(
                    observed,
                    request,
                    Some(old),
                    &record,
                    data.entries.clone(),
                ));
            }
        }
    }
    if !stay {
        writes.extend(observed.superseded.iter().map(|old| Write::Delete {
            name: old.name.clone(),
            uid: old.uid.clone(),
            resource_version: old.resource_version.clone(),
        }));
    }
    let success = Success {
        keys,
        correlation,
        writes,
        notes,
        drift: drift.flatten(),
    };
    Ok(conclude::synced(observed, request, success))
}

fn record_of(request: &SyncRequest<'_>, keys: &[KeyMetadata]) -> String {
    let facts: Vec<SourceFacts<'_>> = request
        .target
        .sources
        .iter()
        .zip(keys)
        .map(|(source, key)| SourceFacts::new(key, alias_of(&source.key.name)))
        .collect();
    let owner =
        (request.target.deletion_policy == DeletionPolicy::Delete).then_some(api::API_VERSION);
    record(&request.target, owner, request.instance.instance_id, &facts)
}

/// The alias by which a key was found.
pub(super) fn alias_of(name: &KeyName) -> Option<&str> {
    match name {
        KeyName::Alias(alias) => Some(alias.as_str()),
        KeyName::Id(_) | KeyName::Name(_) => None,
    }
}

/// Judges a Secret that is in view, and so carries the operator's mark.
fn judge_target(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    secret: &SecretView,
    record: &str,
) -> Result<Result<(), Drift>, Hindrance> {
    if secret.deleting {
        let message = format!(
            "Secret {} is being deleted; it is made anew when it is gone.",
            secret.name
        );
        return Err(Blocked::new(Reason::Pending, message, "the Secret is being deleted").into());
    }
    if let Some(owner) = secret.other_owner(observed.uid()) {
        let message = format!(
            "Secret {} still belongs to KeyProtectKey {} (UID {}), which is being removed or has \
             another target now; it is made anew when that Secret is gone.",
            secret.name, owner.name, owner.uid
        );
        return Err(Blocked::new(
            Reason::Pending,
            message,
            "waiting for the garbage collector",
        )
        .into());
    }
    let expected = Expectation {
        record,
        entries: request.target.expected_entries(),
        labels: &request.target.labels,
        annotations: &request.target.annotations,
        owner_uid: observed.uid(),
        owner_reference: request.target.deletion_policy == DeletionPolicy::Delete,
        last_write: secret::last_write(observed.object.status.as_ref()),
    };
    Ok(secret::in_sync(secret, &expected))
}

fn why(observed: &Observed<'_>, drift: Option<Drift>) -> &'static str {
    let synced_before = observed
        .object
        .status
        .as_ref()
        .is_some_and(|status| status.secret.is_some());
    match (observed.secret, drift) {
        (None, _) if synced_before => "the Secret is missing",
        (None, _) => "first sync",
        (Some(_), Some(Drift::Edited)) => "the Secret was edited",
        (Some(_), Some(Drift::OwnerReference)) => "the owner reference changed",
        (Some(_), _) => "the key or the target changed",
    }
}

/// Collects the payload of every source, each verified against what was authorised.
fn payloads<'a>(
    observed: &Observed<'a>,
    request: &SyncRequest<'_>,
    keys: &[KeyMetadata],
    why: &'static str,
) -> Result<Vec<&'a super::material::Payload>, Hindrance> {
    if observed.secret.is_none() && observed.memory.target_taken {
        match observed.probe {
            None => return Err(Hindrance::Ask(Need::TargetFree)),
            Some(Probe::Taken) => return Err(taken(&request.target.name).into()),
            Some(Probe::Free) => {}
        }
    }
    let mut needed: Vec<PayloadNeed> = Vec::new();
    for key in keys {
        let unread = !observed.payloads.contains_key(&key.id);
        if unread && !needed.iter().any(|need| need.id == key.id) {
            needed.push(PayloadNeed {
                id: key.id.clone(),
                ring: request.grant.ring_header(key),
                why,
            });
        }
    }
    if !needed.is_empty() {
        return Err(Hindrance::Ask(Need::Payloads(needed)));
    }
    keys.iter()
        .zip(&request.target.sources)
        .map(|(key, source)| {
            let Some(answer) = observed.payloads.get(&key.id) else {
                return Err(Hindrance::Relist("a payload is missing"));
            };
            let payload = match answer {
                Ok(payload) => payload.as_ref(),
                Err(failure) => return Err(unreadable(key, failure)),
            };
            verify(request, &source.key.name, key, &payload.metadata)?;
            if payload.metadata.is_deleted() || payload.metadata.extractable == Some(false) {
                return Err(Hindrance::Relist("the key changed after the listing"));
            }
            if payload.material.is_none() {
                let message = format!(
                    "Key {} has no payload yet; the service may take a moment after creating a \
                     key. It is tried again by itself.",
                    key.id
                );
                return Err(
                    Blocked::new(Reason::Pending, message, "no payload in the answer").into(),
                );
            }
            Ok(payload)
        })
        .collect()
}

/// What the answer says of the key must be what was authorised: its alias is still there, and
/// the grant still allows it.
fn verify(
    request: &SyncRequest<'_>,
    name: &KeyName,
    row: &KeyMetadata,
    answer: &KeyMetadata,
) -> Result<(), Hindrance> {
    let alias_moved = alias_of(name).is_some_and(|alias| {
        answer
            .aliases
            .as_ref()
            .is_some_and(|aliases| !aliases.iter().any(|a| a == alias))
    });
    let mut known = row.clone();
    known.key_ring = answer.key_ring.clone().or(known.key_ring);
    known.aliases = answer.aliases.clone().or(known.aliases);
    known.name = answer.name.clone().or(known.name);
    if answer.id != row.id
        || alias_moved
        || request.grant.verdict(&known) != super::access::Verdict::Allowed
    {
        return Err(Hindrance::Relist("the key moved after the listing"));
    }
    Ok(())
}

fn unreadable(key: &KeyMetadata, failure: &super::failure::FetchFailure) -> Hindrance {
    match failure.kind {
        FailureKind::KeyNotFound | FailureKind::KeyGone => {
            Hindrance::Relist("the key went after the listing")
        }
        FailureKind::Denied => {
            let message = format!(
                "The service shows key {} but not its payload: {}. Give the service ID the role \
                 ReaderPlus, Writer or Manager on it; Reader cannot read payloads. It is tried \
                 again at growing intervals of up to 15 minutes.",
                key.id, failure.detail
            );
            let message = super::status::with_request_id(
                &message,
                "correlation ID",
                failure.request_id.as_deref(),
            );
            Blocked::new(Reason::PayloadForbidden, message, failure.to_string()).into()
        }
        _ => identify::failed(failure).into(),
    }
}

fn render(
    request: &SyncRequest<'_>,
    keys: &[KeyMetadata],
    payloads: &[&super::material::Payload],
) -> Result<DesiredData, Hindrance> {
    let sources: Vec<Source<'_>> = request
        .target
        .sources
        .iter()
        .zip(keys)
        .zip(payloads)
        .filter_map(|((source, metadata), payload)| {
            let material = payload.material.as_ref()?;
            Some(Source {
                metadata,
                alias: alias_of(&source.key.name),
                material,
            })
        })
        .collect();
    render::project(&request.target, &sources).map_err(|error| {
        Blocked::new(
            Reason::RenderFailed,
            error.to_string(),
            "cannot be rendered",
        )
        .into()
    })
}

/// Makes the write that turns what is there into what is asked. Labels, annotations, owner
/// references and finalizers of others are kept; all data is the operator's.
fn write(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    existing: Option<&SecretView>,
    record: &str,
    entries: BTreeMap<String, super::material::KeyMaterial>,
) -> Write {
    let target = &request.target;
    let stay = target.deletion_policy == DeletionPolicy::Retain;
    let mut labels = others(existing.map(|view| (&view.labels, &view.fields.labels)));
    labels.extend(target.labels.clone());
    labels.insert(api::TARGET_LABEL.to_owned(), api::TARGET_OWNED.to_owned());
    let mut annotations =
        others(existing.map(|view| (&view.annotations, &view.fields.annotations)));
    annotations.remove(api::RETAIN_ANNOTATION);
    annotations.extend(target.annotations.clone());
    annotations.insert(api::RECORD_ANNOTATION.to_owned(), record.to_owned());
    let mut owner_references: Vec<OwnerReference> = existing
        .into_iter()
        .flat_map(|view| view.owner_references.iter())
        .filter(|owner| owner.uid != observed.uid())
        .cloned()
        .collect();
    if stay {
        annotations.insert(api::RETAIN_ANNOTATION.to_owned(), "true".to_owned());
    } else {
        owner_references.push(owner_reference(observed));
    }
    let body = SecretBody {
        name: existing.map_or_else(|| target.name.clone(), |view| view.name.clone()),
        secret_type: target.secret_type,
        labels,
        annotations,
        owner_references,
        finalizers: existing
            .map(|view| view.finalizers.clone())
            .unwrap_or_default(),
        entries,
    };
    match existing {
        None => Write::Create(body),
        Some(view) => Write::Replace {
            uid: view.uid.clone(),
            resource_version: view.resource_version.clone(),
            confirm_alive: !stay && !view.is_owned_by(observed.uid()),
            body,
        },
    }
}

/// Labels or annotations that are not the operator's: all that are there, less those that it
/// wrote itself and no longer wants.
fn others(
    existing: Option<(
        &BTreeMap<String, String>,
        &std::collections::BTreeSet<String>,
    )>,
) -> BTreeMap<String, String> {
    existing
        .into_iter()
        .flat_map(|(all, ours)| all.iter().filter(|(key, _)| !ours.contains(*key)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Neither controls nor blocks: both need rights on finalizers where OpenShift's admission
/// plugin OwnerReferencesPermissionEnforcement is on.
fn owner_reference(observed: &Observed<'_>) -> OwnerReference {
    OwnerReference {
        api_version: api::API_VERSION.to_owned(),
        kind: api::KEY_KIND.to_owned(),
        name: observed.name().to_owned(),
        uid: observed.uid().to_owned(),
        controller: None,
        block_owner_deletion: None,
    }
}

/// When any of the keys expires first.
pub(super) fn first_expiry(keys: &[KeyMetadata]) -> Option<(Timestamp, &KeyMetadata)> {
    keys.iter()
        .filter_map(|key| key.expiration_date.map(|date| (date, key)))
        .min_by_key(|(date, _)| *date)
}
