//! Payloads of a look: whether they may be read, whether they are what was authorised, and what
//! the Secret's data become of them.

use std::fmt::Write as _;

use jiff::SignedDuration;

use crate::api::{self, Reason};
use crate::domain::audit::Why;
use crate::domain::look::expected::alias_of;
use crate::domain::look::hindrance::{Blocked, Hindrance, Need, PayloadNeed, failed, sentence};
use crate::domain::look::judge;
use crate::domain::look::known;
use crate::domain::look::merge;
use crate::domain::look::observed::{Observed, Probe};
use crate::domain::look::request::SyncRequest;
use crate::domain::look::unread;
use crate::domain::pace::gate;
use crate::domain::secret::render::{self, DesiredData, RenderError, Source};
use crate::domain::secret::target::{Content, TargetSpec};
use crate::domain::service::failure::{FailureKind, FetchFailure};
use crate::domain::service::material::Payload;
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::service::reference::KeyName;
use crate::domain::status;

/// Collects the payload of every source, each verified against what was authorised.
pub(super) fn payloads<'a>(
    observed: &Observed<'a>,
    request: &SyncRequest<'_>,
    keys: &[KeyMetadata],
    why: Why,
) -> Result<Vec<&'a Payload>, Hindrance> {
    if request.target.merges() {
        merge::granted(observed, request)?;
    }
    let status = observed.object.status.as_ref();
    let was_taken = status.and_then(status::ready_reason) == Some(Reason::SecretNotOwned);
    if observed.secret.is_none() && (observed.memory.target_taken || was_taken) {
        match observed.probe {
            None => return Err(Hindrance::Ask(Need::TargetFree)),
            Some(Probe::Taken) => return Err(taken(&request.target.name).into()),
            Some(_) => {}
        }
    }
    unread::fenced(observed, request)?;
    let mut needed: Vec<PayloadNeed> = Vec::new();
    for key in keys {
        let unread = !observed.payloads.contains_key(&key.id);
        if unread && !needed.iter().any(|need| need.id == key.id) {
            needed.push(PayloadNeed {
                id: key.id.clone(),
                ring: request.grant.ring_header(key),
                key_ring: key.key_ring.clone(),
                crn: key.crn.clone(),
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
            let payload = match observed.payloads.get(&key.id) {
                Some(Ok(payload)) => payload.as_ref(),
                Some(Err(failure)) => return Err(unreadable(observed, key, failure)),
                None => return Err(Blocked::moved(&key.id, "no payload was read").into()),
            };
            let reference = known::meant(observed, request, &source.key);
            let known = verify(request, &reference.name, key, &payload.metadata)?;
            judge::usable(observed, request, &reference, known)?;
            if payload.material.is_none() {
                let message = format!(
                    "Key {} has no payload yet; the service may take a moment after creating a \
                     key. It is tried again within seconds.",
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
) -> Result<KeyMetadata, Hindrance> {
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
    known.state = answer.state.or(known.state);
    known.deleted = answer.deleted.or(known.deleted);
    known.extractable = answer.extractable.or(known.extractable);
    known.expiration_date = answer.expiration_date.or(known.expiration_date);
    if answer.id != row.id
        || alias_moved
        || request.grant.verdict(&known) != crate::domain::access::Verdict::Allowed
    {
        return Err(Blocked::moved(&row.id, "it has another alias, name or ring").into());
    }
    Ok(known)
}

fn unreadable(observed: &Observed<'_>, key: &KeyMetadata, failure: &FetchFailure) -> Hindrance {
    match failure.kind {
        FailureKind::KeyNotFound | FailureKind::KeyGone => {
            Blocked::moved(&key.id, "it is listed and not found").into()
        }
        FailureKind::Denied => {
            let message = format!(
                "The service shows key {} but not its payload: {}. Give the service ID the role \
                 ReaderPlus, Writer or Manager on it; Reader cannot read payloads. It is tried \
                 again at growing intervals of up to 15 minutes.",
                key.id, failure.detail
            );
            let message =
                status::with_request_id(&message, "correlation ID", failure.request_id.as_deref());
            let mut blocked = Blocked::new(Reason::PayloadForbidden, message, failure.to_string());
            // It was refused for somebody else a moment ago, and not asked for again.
            let moment = failure
                .retry_after
                .and_then(|left| SignedDuration::try_from(left).ok());
            blocked.next = moment
                .filter(|left| *left <= gate::REFUSED)
                .and_then(|left| observed.now.checked_add(left).ok());
            blocked.into()
        }
        _ => failed(&format!("The payload of key {}", key.id), failure).into(),
    }
}

pub(super) fn render(
    request: &SyncRequest<'_>,
    keys: &[KeyMetadata],
    payloads: &[&Payload],
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
        let mut message = sentence(&error);
        let source = payload_of(&request.target, &error);
        let key = source.and_then(|index| request.target.sources.get(index).zip(keys.get(index)));
        if let Some((source, key)) = key {
            let about = judge::about(&source.key, key);
            let _ = write!(
                message,
                " The payload is that of {about}; it is looked at again when this object or that \
                 key changes."
            );
        }
        Blocked::new(Reason::RenderFailed, message, "cannot be rendered").into()
    })
}

/// The source of whose payload an error speaks.
fn payload_of(target: &TargetSpec, error: &RenderError) -> Option<usize> {
    match (&target.content, error) {
        (Content::ExpandJson { source }, _) => Some(*source),
        (
            Content::Entries(entries),
            RenderError::Entry { entry, .. } | RenderError::Template { entry, .. },
        ) => entries
            .iter()
            .find(|spec| spec.name == *entry)?
            .form
            .source(),
        (Content::Entries(_), _) => None,
    }
}

/// A Secret of the target's name is there and does not carry the operator's mark.
pub(super) fn taken(name: &str) -> Blocked {
    Blocked::new(
        Reason::SecretNotOwned,
        format!(
            "Secret {name} exists and is not this operator's; it is not touched. Give this object \
             another spec.target.name, delete that Secret if nobody needs it, or let its owner \
             hand it over, whose entries are replaced then: kubectl label secret {name} {}={} \
             (with --overwrite where it has that label). It is looked for again at growing \
             intervals of up to 5 minutes.",
            api::TARGET_LABEL,
            api::TARGET_ADOPT
        ),
        "a foreign Secret has the name",
    )
}
