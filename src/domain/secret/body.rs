//! The write that turns what is there into what is asked, in full.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::api::{self, key::DeletionPolicy};
use crate::domain::look::observed::Observed;
use crate::domain::look::plan::{SecretBody, Write};
use crate::domain::look::request::SyncRequest;
use crate::domain::secret::{self, SecretView};
use crate::domain::service::material::KeyMaterial;

/// Makes the write that turns what is there into what is asked. Labels, annotations, owner
/// references and finalizers of others are kept; all data is the operator's.
pub fn write(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    existing: Option<&SecretView>,
    record: &str,
    entries: BTreeMap<String, KeyMaterial>,
) -> Write {
    let body = body(observed, request, existing, record, entries);
    let stay = request.target.deletion_policy == DeletionPolicy::Retain;
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

fn body(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    existing: Option<&SecretView>,
    record: &str,
    entries: BTreeMap<String, KeyMaterial>,
) -> SecretBody {
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
    // A target that names others is written only if they have no claim to it.
    let leaves = observed.owners_live;
    let mut owner_references: Vec<OwnerReference> = existing
        .into_iter()
        .flat_map(|view| view.owner_references.iter())
        .filter(|owner| owner.uid != observed.uid() && !(leaves && secret::is_key(owner)))
        .cloned()
        .collect();
    if stay {
        annotations.insert(api::RETAIN_ANNOTATION.to_owned(), "true".to_owned());
    } else {
        owner_references.push(owner_reference(observed));
    }
    SecretBody {
        name: existing.map_or_else(|| target.name.clone(), |view| view.name.clone()),
        secret_type: target.secret_type,
        labels,
        annotations,
        owner_references,
        finalizers: existing
            .map(|view| view.finalizers.clone())
            .unwrap_or_default(),
        entries,
    }
}

/// Makes the body of a Secret of which nothing is known that is there already.
#[must_use]
pub fn anew(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    record: &str,
    entries: BTreeMap<String, KeyMaterial>,
) -> SecretBody {
    body(observed, request, None, record, entries)
}

/// Labels or annotations that are not the operator's: all that are there, less those that it
/// wrote itself and no longer wants.
fn others(
    existing: Option<(&BTreeMap<String, String>, &BTreeSet<String>)>,
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
