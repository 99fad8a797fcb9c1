//! What status says of keys and Secret, and what status and Secret together say of the value
//! that is in use.

use jiff::{SignedDuration, Timestamp};

use crate::api::condition::ConditionType;
use crate::api::key::{KeyProtectKeyStatus, SecretStatus, SourceKey};
use crate::domain::audit::{self, Account, Why};
use crate::domain::look::expected::{alias_of, record_of};
use crate::domain::look::known;
use crate::domain::look::observed::{Observed, Sight};
use crate::domain::look::plan::Write;
use crate::domain::look::request::SyncRequest;
use crate::domain::schedule::staleness_limit;
use crate::domain::secret;
use crate::domain::secret::render::RenderNote;
use crate::domain::service::catalogue::{Listing, LookUp};
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::service::reference::{KeyName, KeyReference};
use crate::domain::status::{self, Is};

/// What a look found when every key is there.
#[derive(Default)]
pub(super) struct Success {
    /// The keys, in the order of the target's sources.
    pub(super) keys: Vec<KeyMetadata>,
    /// Correlation IDs of the reads of their payloads, where they were read.
    pub(super) correlation: Vec<Option<String>>,
    /// What is to be written.
    pub(super) writes: Vec<Write>,
    /// Why, where something is.
    pub(super) why: Option<Why>,
    /// What rendering noticed.
    pub(super) notes: Vec<RenderNote>,
    /// Whether somebody else undid what was right.
    pub(super) repair: bool,
    /// Whether another look is to follow at once.
    pub(super) unfinished: bool,
}

impl Success {
    /// Why the Secrets are written, and of which keys.
    pub(super) fn account(&self) -> Account {
        let keys = self.keys.iter().zip(&self.correlation);
        let keys = keys.filter(|(_, read)| read.is_some());
        Account {
            why: self.why,
            keys: keys
                .map(|(key, read)| audit::Key {
                    id: key.id.to_string(),
                    crn: key.crn.clone(),
                    key_ring: key.key_ring.clone(),
                    correlation_id: read.clone(),
                })
                .collect(),
        }
    }
}

pub(super) fn synced_message(
    request: &SyncRequest<'_>,
    keys: &[KeyMetadata],
    (namespace, name): &(String, String),
) -> String {
    let secret = &request.target.name;
    match (keys, request.target.sources.first()) {
        ([key], Some(source)) => match &source.key.name {
            KeyName::Id(id) => {
                format!("Secret {secret} holds key {id} of instance {namespace}/{name}.")
            }
            KeyName::Alias(_) | KeyName::Name(_) => format!(
                "Secret {secret} holds key {} ({}) of instance {namespace}/{name}.",
                key.id, source.key
            ),
        },
        ([], _) => format!("Secret {secret} holds literals only."),
        (keys, _) => {
            format!(
                "Secret {secret} holds {} keys of instance {namespace}/{name}.",
                keys.len()
            )
        }
    }
}

pub(super) fn source_keys(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    success: &Success,
) -> Vec<SourceKey> {
    let sources = request.target.sources.iter();
    let read = success
        .correlation
        .iter()
        .cloned()
        .chain(std::iter::repeat(None));
    sources
        .zip(&success.keys)
        .zip(read)
        .map(|((source, key), correlation_id)| {
            let prior = observed
                .object
                .status
                .iter()
                .flat_map(|status| &status.keys)
                .find(|prior| prior.id == key.id.as_str());
            SourceKey {
                entry: source.entry.clone(),
                id: key.id.to_string(),
                crn: key.crn.clone(),
                name: key.name.clone(),
                alias: alias_of(&source.key.name).map(str::to_owned),
                key_ring: key.key_ring.clone(),
                state: key.state.map(|state| state.as_str().to_owned()),
                creation_date: key.creation_date.map(|date| date.to_string()),
                expiration_date: key.expiration_date.map(|date| date.to_string()),
                correlation_id: correlation_id
                    .or_else(|| prior.and_then(|prior| prior.correlation_id.clone())),
            }
        })
        .collect()
}

/// UID and resourceVersion of a Secret that is written come from the API server's answer; the
/// shell fills them in.
pub(super) fn secret_status(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    success: &Success,
) -> SecretStatus {
    let name = request.target.name.clone();
    let prior = observed
        .object
        .status
        .as_ref()
        .and_then(|status| status.secret.as_ref());
    match (written(request, success), observed.secret) {
        (Some(entries), _) => SecretStatus {
            name,
            entries,
            record: (request.target.merges() || observed.sight != Sight::Watched)
                .then(|| record_of(request, &success.keys)),
            ..SecretStatus::default()
        },
        // In sync only while it is what was written last.
        (None, Some(_)) if request.target.merges() => prior.cloned().unwrap_or_default(),
        (None, None) if observed.sight != Sight::Watched => prior.cloned().unwrap_or_default(),
        (None, Some(view)) => {
            let same = prior.filter(|prior| prior.uid.as_deref() == Some(&view.uid));
            let untouched = same.filter(|_| is_untouched(observed));
            SecretStatus {
                name,
                uid: Some(view.uid.clone()),
                resource_version: same
                    .and_then(|prior| prior.resource_version.clone())
                    .or_else(|| Some(view.resource_version.clone())),
                entries: untouched.map_or_else(
                    || view.fields.entries.iter().cloned().collect(),
                    |prior| prior.entries.clone(),
                ),
                record: None,
            }
        }
        (None, None) => SecretStatus {
            name,
            ..SecretStatus::default()
        },
    }
}

/// The entries of the target Secret, where the plan writes it.
pub(super) fn written(request: &SyncRequest<'_>, success: &Success) -> Option<Vec<String>> {
    success.writes.iter().find_map(|write| match write {
        Write::Create(body) | Write::Overwrite(body) | Write::Replace { body, .. }
            if body.name == request.target.name =>
        {
            Some(body.entries.keys().cloned().collect())
        }
        Write::Merge { name, entries, .. } if *name == request.target.name => {
            Some(entries.keys().cloned().collect())
        }
        _ => None,
    })
}

/// Shows the state of a key that was read but cannot be used, where it is the one in the Secret.
pub(super) fn note_key(new: &mut KeyProtectKeyStatus, key: Option<&KeyMetadata>) {
    let Some(key) = key else { return };
    for known in new
        .keys
        .iter_mut()
        .filter(|known| known.id == key.id.as_str())
    {
        known.state = key.state.map(|state| state.as_str().to_owned());
        known.expiration_date = key.expiration_date.map(|date| date.to_string());
    }
}

/// Whether nobody wrote the Secret since the operator did.
fn is_untouched(observed: &Observed<'_>) -> bool {
    let last = secret::last_write(observed.object.status.as_ref());
    let seen = observed.secret;
    last.zip(seen)
        .is_some_and(|((uid, version), view)| view.uid == uid && view.resource_version == version)
}

/// Whether what the keys are was learnt within an interval, and not from an older listing.
pub(super) fn is_confirmed(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    keys: &[KeyMetadata],
) -> bool {
    let read_singly =
        |(key, source): (&KeyMetadata, &crate::domain::secret::target::SourceSpec)| {
            let prior = known::prior(observed, request, &source.key);
            let reference = known::meant(observed, request, &source.key);
            known::questions(request, &reference, prior)
                .iter()
                .filter_map(|question| known::answer(observed, request, question))
                .any(|answer| answer.result.as_ref().is_ok_and(|found| found.id == key.id))
        };
    matches!(observed.knowledge.listing, Listing::Fresh(_))
        || keys.iter().zip(&request.target.sources).all(read_singly)
}

/// Says so when a value has not been confirmed for long; says when that would be.
pub(super) fn mark_stale(
    observed: &Observed<'_>,
    new: &mut KeyProtectKeyStatus,
    interval: SignedDuration,
    unconfirmed: bool,
) -> Option<Timestamp> {
    if !unconfirmed {
        status::clear(&mut new.conditions, ConditionType::Stale);
        return None;
    }
    let limit = staleness_limit(interval);
    let due = confirmed_at(observed).checked_add(limit).ok()?;
    if observed.now < due {
        return Some(due);
    }
    let message = format!(
        "The key could not be looked at for {limit:#}; the Secret keeps its last value. See the \
         conditions of the KeyProtectInstance."
    );
    status::set(
        &mut new.conditions,
        ConditionType::Stale,
        Is::True,
        "NotConfirmed",
        &message,
        observed.object.metadata.generation,
        observed.now,
    );
    None
}

/// When the value in use was last known to be right. A listing that shows its keys confirms it,
/// though nobody looked at the object then: nothing had changed.
fn confirmed_at(observed: &Observed<'_>) -> Timestamp {
    let looked = observed.memory.confirmed_at;
    let Some(catalogue) = observed.knowledge.listing.catalogue() else {
        return looked;
    };
    let keys = observed
        .object
        .status
        .iter()
        .flat_map(|status| &status.keys);
    let mut listed =
        keys.map(|key| KeyId::parse(&key.id).is_ok_and(|id| catalogue.row(&id).is_some()));
    if listed.all(|listed| listed) {
        looked.max(catalogue.listed_at())
    } else {
        looked
    }
}

/// A key that no listing shows is asked for singly, an interval after the last time.
pub(super) fn next_single_read(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
) -> Option<Timestamp> {
    let catalogue = observed.knowledge.listing.in_force();
    let is_listed = |reference: &KeyReference, prior: Option<&SourceKey>| {
        let Some(catalogue) = catalogue else {
            return false;
        };
        // An older key of the name is there; whether the last one still has it was asked.
        let last_missing = matches!(reference.name, KeyName::Name(_))
            && prior
                .and_then(|prior| KeyId::parse(&prior.id).ok())
                .is_some_and(|id| catalogue.row(&id).is_none());
        catalogue.look_up(reference, &request.grant) != LookUp::Missing && !last_missing
    };
    let sources = request.target.sources.iter();
    sources
        .map(|source| {
            let prior = known::prior(observed, request, &source.key);
            (known::meant(observed, request, &source.key), prior)
        })
        .filter(|(reference, prior)| !is_listed(reference, *prior))
        .flat_map(|(reference, prior)| known::questions(request, &reference, prior))
        .filter_map(|question| observed.knowledge.answers.get(&question))
        .filter_map(|answer| answer.asked_at.checked_add(request.interval).ok())
        .filter(|due| *due > observed.fresh_as_of())
        .min()
        .map(|due| due.max(observed.now))
}
