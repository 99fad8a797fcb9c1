//! The plan: everything that is to be done for one object, in such detail that whoever carries
//! it out decides nothing.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::api::condition::{ConditionType, Reason};
use crate::api::key::{KeyProtectKeyStatus, SecretType};
use crate::domain::audit::Account;
use crate::domain::look::evidence::Evidence;
use crate::domain::look::observed::Memory;
use crate::domain::service::material::KeyMaterial;
use crate::domain::status;

/// What is to be done for one object.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Writes of Secrets, in this order; what comes later depends on what comes before.
    pub writes: Vec<Write>,
    /// What they rest on, where they take a Secret or entries away because its key, or the right
    /// to it, is gone.
    pub revocation: Option<Evidence>,
    /// The whole new status, if it says anything new. Written after the Secret: Ready never
    /// precedes the data.
    pub status: Option<Box<KeyProtectKeyStatus>>,
    /// Events, after the status.
    pub events: Vec<Announcement>,
    /// When to look again, if nothing happens before.
    pub next: Option<Timestamp>,
    /// What to remember.
    pub memory: Memory,
    /// How the look ended.
    pub outcome: Reason,
    /// Which case it was, for the operator's own log.
    pub cause: String,
    /// What the audit lines of its writes say.
    pub account: Account,
}

/// One write of a Secret.
#[derive(Clone, Debug)]
pub enum Write {
    /// POST: the name must be free.
    Create(SecretBody),
    /// PUT over what was seen, and nothing else.
    Replace {
        /// UID of what was seen.
        uid: String,
        /// resourceVersion of what was seen.
        resource_version: String,
        /// What it becomes.
        body: SecretBody,
        /// An owner reference that had vanished is put back: only if a live look at the object
        /// shows it alive, since a deletion with `--cascade=orphan` takes the reference first.
        confirm_alive: bool,
    },
    /// PUT over whatever is there, in the form without the right to read Secrets: the fence refuses
    /// it on a Secret that is not the operator's.
    Overwrite(SecretBody),
    /// DELETE of this Secret, and nothing else.
    Delete {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// Its resourceVersion; nothing where whatever was written to it since is the fence's to
        /// judge.
        resource_version: Option<String>,
        /// Secrets are not seen: what is gone, another one, changed or somebody else's by now is
        /// left alone, and counts as deleted.
        unseen: bool,
    },
    /// Server-side apply of entries that the owner of a shared Secret offers: those, and no
    /// others, are the manager's afterwards.
    Merge {
        /// The Secret's name.
        name: String,
        /// UID of what was seen.
        uid: String,
        /// resourceVersion of what was seen.
        resource_version: String,
        /// The field manager: one for each object.
        manager: String,
        /// The entries.
        entries: BTreeMap<String, KeyMaterial>,
    },
    /// Server-side apply of nothing: the manager's entries of a shared Secret go.
    GiveBack {
        /// The Secret's name.
        name: String,
        /// UID of what was seen. Without it, an empty Secret would be made where there is none.
        uid: String,
        /// resourceVersion of what was seen.
        resource_version: String,
        /// The field manager.
        manager: String,
    },
}

impl Write {
    /// The Secret that it concerns.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Create(body) | Self::Overwrite(body) | Self::Replace { body, .. } => &body.name,
            Self::Delete { name, .. } | Self::Merge { name, .. } | Self::GiveBack { name, .. } => {
                name
            }
        }
    }
}

/// A whole Secret.
#[derive(Clone)]
pub struct SecretBody {
    /// Its name.
    pub name: String,
    /// Its type.
    pub secret_type: SecretType,
    /// Its labels, the operator's mark included.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, the record included.
    pub annotations: BTreeMap<String, String>,
    /// Its owner references.
    pub owner_references: Vec<OwnerReference>,
    /// Its finalizers, which are never the operator's.
    pub finalizers: Vec<String>,
    /// Its data.
    pub entries: BTreeMap<String, KeyMaterial>,
}

impl fmt::Debug for SecretBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretBody")
            .field("name", &self.name)
            .field("secret_type", &self.secret_type)
            .field("labels", &self.labels)
            .field("annotations", &self.annotations)
            .field("owner_references", &self.owner_references)
            .field("finalizers", &self.finalizers)
            .field("entries", &self.entries.keys())
            .finish()
    }
}

/// An Event to announce, at most once per object, reason and ten minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its reason.
    pub reason: &'static str,
    /// Whether it is a warning.
    pub warning: bool,
    /// What it says.
    pub note: String,
}

/// Why a write of a Secret failed, recognised from a closed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteFailure {
    /// 409 on POST: a Secret of that name exists, out of view.
    AlreadyExists,
    /// 409 on PUT or DELETE, or 404: what was seen is not there any more. Look again.
    Conflict,
    /// The object is gone or being deleted: nothing is to be written for it.
    ObjectGone,
    /// The Secret is immutable.
    Immutable,
    /// The Secret has somebody's finalizers, which a write over what was not seen would take off.
    Finalizers,
    /// The fence: the Secret is not the operator's.
    NotOurs,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// Refused by a rule, in the operator's own words.
    Rejected(&'static str),
    /// The API server failed or did not answer, in the operator's own words.
    Failed(&'static str),
}

/// Checks what every plan must satisfy, whatever it was made from.
///
/// # Errors
/// Names the invariant that does not hold.
pub fn check(plan: &Plan, own_uid: &str) -> Result<(), &'static str> {
    for write in &plan.writes {
        match write {
            Write::Create(body) | Write::Overwrite(body) => check_body(body, own_uid)?,
            Write::Replace {
                uid,
                resource_version,
                body,
                ..
            } => {
                if uid.is_empty() || resource_version.is_empty() {
                    return Err("a replacement names what it replaces");
                }
                check_body(body, own_uid)?;
            }
            Write::Delete {
                uid,
                resource_version,
                ..
            } => {
                if uid.is_empty() || resource_version.as_ref().is_some_and(String::is_empty) {
                    return Err("a deletion names what it deletes");
                }
            }
            Write::Merge {
                uid,
                resource_version,
                manager,
                entries,
                ..
            } => {
                check_shared(uid, resource_version, manager)?;
                if entries.is_empty() {
                    return Err("a merge writes something");
                }
            }
            Write::GiveBack {
                uid,
                resource_version,
                manager,
                ..
            } => check_shared(uid, resource_version, manager)?,
        }
    }
    check_ground(plan)
}

/// A look that ended well writes what it likes, but revokes nothing. One that did not writes
/// nothing; or it takes away, on evidence that bears out how it ended, and status does not go on
/// speaking of what is gone.
fn check_ground(plan: &Plan) -> Result<(), &'static str> {
    let Some(evidence) = &plan.revocation else {
        if plan.outcome != Reason::Synced && !plan.writes.is_empty() {
            return Err("a look that did not end well writes and deletes nothing without evidence");
        }
        return Ok(());
    };
    let takes = |write: &Write| matches!(write, Write::Delete { .. } | Write::GiveBack { .. });
    if !evidence.bears_out(plan.outcome) {
        return Err("a revocation rests on evidence for how the look ended");
    }
    if !plan.writes.iter().all(takes) {
        return Err("a revocation takes away and makes nothing");
    }
    match &plan.status {
        Some(status)
            if status.secret.is_none()
                && status.last_revocation_time.is_some()
                && !status::holds(&status.conditions, ConditionType::Ready) =>
        {
            Ok(())
        }
        _ => Err("status says that the Secret was revoked"),
    }
}

fn check_shared(uid: &str, resource_version: &str, manager: &str) -> Result<(), &'static str> {
    if uid.is_empty() || resource_version.is_empty() {
        return Err("a write of a shared Secret names what it was decided on");
    }
    if crate::domain::secret::shared::object_of(manager).is_none() {
        return Err("a shared Secret is written under its object's own manager");
    }
    Ok(())
}

fn check_body(body: &SecretBody, own_uid: &str) -> Result<(), &'static str> {
    use crate::api::{RECORD_ANNOTATION, RETAIN_ANNOTATION, TARGET_LABEL, TARGET_OWNED};
    if body.entries.is_empty() {
        return Err("a Secret is never emptied");
    }
    if body.labels.get(TARGET_LABEL).map(String::as_str) != Some(TARGET_OWNED) {
        return Err("what is written is marked as owned");
    }
    if !body.annotations.contains_key(RECORD_ANNOTATION) {
        return Err("what is written carries its record");
    }
    let owned = body
        .owner_references
        .iter()
        .any(|owner| owner.uid == own_uid);
    if owned == body.annotations.contains_key(RETAIN_ANNOTATION) {
        return Err("a Secret goes with its object or is marked to stay, never both or neither");
    }
    if body.owner_references.iter().any(|owner| {
        owner.uid == own_uid
            && (owner.controller == Some(true) || owner.block_owner_deletion == Some(true))
    }) {
        return Err("the owner reference neither controls nor blocks");
    }
    Ok(())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
