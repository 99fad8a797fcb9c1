//! Secrets that the operator may not read, not even their metadata (the no-read form). What status
//! says of the last write stands for the Secret: made from these inputs, with this UID and
//! resourceVersion. Whether it is still so is asked now and then, by a deletion that is not
//! carried out; and what is not so is written over, as far as the fence says that it is the
//! operator's.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::api::key::{DeletionPolicy, SecretStatus};
use crate::domain::look::expected;
use crate::domain::look::hindrance::{Blocked, Hindrance, Need};
use crate::domain::look::observed::{FenceProof, Observed, Probe, Sight};
use crate::domain::look::plan::Write;
use crate::domain::look::request::SyncRequest;
use crate::domain::schedule;
use crate::domain::secret::{Drift, body};
use crate::domain::service::material::KeyMaterial;

/// The Secret as it was last written, if that was the target.
fn written<'a>(observed: &Observed<'a>, request: &SyncRequest<'_>) -> Option<&'a SecretStatus> {
    let written = observed.object.status.as_ref()?.secret.as_ref()?;
    (written.name == request.target.name && written.uid.is_some()).then_some(written)
}

/// Judges the target: what is to be written, if anything is, and why.
pub(super) fn judge(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    record: &str,
) -> Result<Option<Option<Drift>>, Hindrance> {
    let Some(written) = written(observed, request) else {
        return Ok(Some(None));
    };
    let same = written.record.as_deref() == Some(record);
    if observed.memory.doubted || (same && is_due(observed)) {
        match observed.probe {
            None => return Err(Hindrance::Ask(need(written))),
            Some(Probe::Gone) => return Ok(Some(None)),
            Some(Probe::Changed) => return Ok(Some(Some(Drift::Edited))),
            Some(_) => {}
        }
    }
    Ok((!same).then_some(Some(Drift::Inputs)))
}

fn need(written: &SecretStatus) -> Need {
    Need::Drift {
        name: written.name.clone(),
        uid: written.uid.clone().unwrap_or_default(),
        resource_version: written.resource_version.clone().unwrap_or_default(),
    }
}

/// Whether the time has come to ask whether the Secret is as it was written, or somebody asks for
/// a look now.
fn is_due(observed: &Observed<'_>) -> bool {
    let due = next_probe(observed, observed.memory.probed_at);
    let forced = observed.forced_at();
    due.is_some_and(|due| due <= observed.now)
        || forced.is_some_and(|forced| observed.memory.probed_at < forced)
}

/// When it is asked next, after it was asked at a time. Each object has its own place in the
/// interval, so that the questions are spread.
pub(super) fn next_probe(observed: &Observed<'_>, asked: Timestamp) -> Option<Timestamp> {
    let Sight::Unread { interval, .. } = observed.sight else {
        return None;
    };
    schedule::next_turn(asked, interval, observed.uid())
}

/// Whether the write that a look comes to is one over whatever is there.
const fn overwrites(observed: &Observed<'_>) -> bool {
    matches!(observed.sight, Sight::Unread { .. })
        && matches!(observed.probe, Some(Probe::Changed | Probe::Ours))
}

/// A write over whatever is there needs a fence that was seen to hold just now: it alone keeps
/// the write from a Secret that is somebody else's. Asked before a payload is read.
pub(super) fn fenced(observed: &Observed<'_>, request: &SyncRequest<'_>) -> Result<(), Hindrance> {
    let Sight::Unread { fence, .. } = observed.sight else {
        return Ok(());
    };
    if !overwrites(observed) {
        return Ok(());
    }
    let name = &request.target.name;
    match fence {
        FenceProof::Proven => Ok(()),
        FenceProof::Old => Err(Hindrance::Ask(Need::FenceProof)),
        FenceProof::Missing => {
            let message = format!(
                "Secret {name} was changed, and is put right only while the fence is known to \
                 hold, which it is not: see the condition FenceInactive of the instance. It is \
                 tried again at growing intervals of up to 1 minute."
            );
            Err(Blocked::new(Reason::OperatorError, message, "the fence is not proven").into())
        }
        FenceProof::Off => {
            let message = format!(
                "Secret {name} was made or changed by somebody else. Without a fence (--fence=off) \
                 and without the right to read Secrets, the operator cannot tell whose it is. \
                 Delete that Secret; it is made anew within the interval of its checks."
            );
            Err(Blocked::new(Reason::SecretNotOwned, message, "no fence to judge it").into())
        }
    }
}

/// The write that makes the target right.
pub(super) fn write(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    record: &str,
    entries: BTreeMap<String, KeyMaterial>,
    drift: Option<Drift>,
) -> Write {
    let body = body::anew(observed, request, record, entries);
    if overwrites(observed) {
        return Write::Overwrite(body);
    }
    match drift.and(written(observed, request)) {
        Some(written) => Write::Replace {
            uid: written.uid.clone().unwrap_or_default(),
            resource_version: written.resource_version.clone().unwrap_or_default(),
            body,
            confirm_alive: false,
        },
        None => Write::Create(body),
    }
}

/// The deletion of the target of before. One that is to stay was marked so when it was written.
///
/// # Errors
/// Whether the fence holds is to be asked first.
pub(super) fn left_behind(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
) -> Result<Option<Write>, Need> {
    if request.target.deletion_policy == DeletionPolicy::Retain {
        return Ok(None);
    }
    match deletion_of_written(observed) {
        Some(deletion) if deletion.name() != request.target.name => {
            proven(observed).map(|()| Some(deletion))
        }
        _ => Ok(None),
    }
}

/// The deletion of the Secret that status names, where Secrets are not seen. By its UID alone where
/// a fence keeps it from what is somebody else's by now; where none does, only as it was written:
/// whoever wrote to it since may have taken it. None where another object wants it: a write over it
/// kept its UID, so it cannot be told whose it is.
pub(super) fn deletion_of_written(observed: &Observed<'_>) -> Option<Write> {
    let Sight::Unread { fence, .. } = observed.sight else {
        return None;
    };
    if observed.written_is_wanted {
        return None;
    }
    let written = observed.object.status.as_ref()?.secret.as_ref()?;
    let resource_version = match fence {
        FenceProof::Proven | FenceProof::Old => None,
        FenceProof::Missing | FenceProof::Off => Some(written.resource_version.clone()?),
    };
    Some(Write::Delete {
        name: written.name.clone(),
        uid: written.uid.clone()?,
        resource_version,
        unseen: true,
    })
}

/// Whether it is known if the fence holds.
///
/// # Errors
/// It is to be asked.
pub(super) fn proven(observed: &Observed<'_>) -> Result<(), Need> {
    match observed.sight {
        Sight::Unread {
            fence: FenceProof::Old,
            ..
        } => Err(Need::FenceProof),
        _ => Ok(()),
    }
}

/// Whether the Secret is, as far as is known, what the keys in status make of spec as it is now.
pub(super) fn holds_good_value(observed: &Observed<'_>, request: &SyncRequest<'_>) -> bool {
    written(observed, request).is_some_and(|written| {
        !observed.memory.doubted
            && written.record.is_some()
            && written.record == expected::record_of_status(observed, request)
    })
}

/// In this form, a shared Secret cannot be told to be shared.
pub(super) fn merge_unsupported(name: &str) -> Blocked {
    Blocked::new(
        Reason::SecretNotOwned,
        format!(
            "creationPolicy Merge needs an operator that watches Secrets, and this one was \
             installed without the right to (status.installForm of the instance says so). Give \
             this object a Secret of its own instead of {name}, or ask the cluster's admin for \
             the standard form."
        ),
        "merge in the no-read form",
    )
}

/// How long a proof of the fence counts.
pub const PROOF_AGE: SignedDuration = SignedDuration::from_secs(60);
