//! Everything that is known when one object is looked at, as plain values. The shell gathers it;
//! nothing here was decided yet.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::api::instance::AccessRule;
use crate::api::key::{KeyProtectKey, RevocationPolicy};
use crate::domain::access::Labels;
use crate::domain::account::Account;
use crate::domain::claim::Rival;
use crate::domain::look::hindrance::Blocked;
use crate::domain::revocation::Leave;
use crate::domain::secret::SecretView;
use crate::domain::service::catalogue::Knowledge;
use crate::domain::service::failure::FetchFailure;
use crate::domain::service::ids::KeyId;
use crate::domain::service::material::Payload;

/// Settings of the operator that decisions depend on.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long an absence is no evidence (`--grace`).
    pub grace: SignedDuration,
    /// Namespace and name of the instance that objects without instanceRef mean.
    pub default_instance: (String, String),
    /// Prefixes of labels and annotations that targets may carry beside app.kubernetes.io/.
    pub metadata_prefixes: Vec<String>,
}

/// The object's namespace.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceView<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is known of its labels.
    pub labels: Labels<'a>,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// The instance that the object names.
#[derive(Clone, Copy, Debug)]
pub struct InstanceView<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its access rules.
    pub access: Option<&'a [AccessRule]>,
    /// The service's instance ID: part of the record.
    pub instance_id: &'a str,
    /// How often its keys are looked at.
    pub refresh_interval: SignedDuration,
    /// What happens to Secrets whose right to a key is withdrawn.
    pub on_access_withdrawn: RevocationPolicy,
    /// Why it cannot be used at all: its spec names no usable endpoint, or there is no
    /// credential. The words are for whoever may use the instance.
    pub unusable: Option<(Reason, &'a str)>,
}

/// What the API server said of the target when it was asked without writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The name is free.
    Free,
    /// A Secret of that name exists, out of the operator's view.
    Taken,
    /// Its owner lets the operator write it.
    MayMerge,
    /// Its owner does not.
    MayNotMerge,
    /// A Secret of that name exists, and the fence takes it for the operator's.
    Ours,
    /// It is as it was last written.
    Same,
    /// Somebody wrote it since, or it was made anew.
    Changed,
    /// It is gone.
    Gone,
}

/// How much the operator sees of Secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Their metadata is watched.
    Watched,
    /// Nothing: it has no right to read any.
    Unread {
        /// How often it is asked whether a Secret is as it was written.
        interval: SignedDuration,
        /// What is known of the fence.
        fence: FenceProof,
    },
}

/// What is known of the fence, which must judge a write over what was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceProof {
    /// It was seen to hold just now.
    Proven,
    /// It was seen to hold, but too long ago.
    Old,
    /// It was tried just now, and not seen to hold.
    Missing,
    /// There is none.
    Off,
}

/// A sync request, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What the annotation says.
    pub value: String,
    /// When it was seen first.
    pub seen_at: Timestamp,
    /// When it is let through.
    pub let_through_at: Timestamp,
}

/// What is remembered of an object between two looks. It is lost on a restart, and nothing may
/// depend on it but pace.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Failures in a row.
    pub failures: u32,
    /// The generation of spec that they are counted for.
    pub generation: Option<i64>,
    /// Once this has come, a listing begun before it does not count any more.
    pub fresh_after: Timestamp,
    /// Once this has come, a single read sent before it does not count any more.
    pub answers_after: Timestamp,
    /// The last attempt at making the Secret, if it failed.
    pub attempt: Option<Attempt>,
    /// How often in a short time the Secret had to be restored, and when last.
    pub repairs: (u32, Timestamp),
    /// Whether a create found the target's name taken.
    pub target_taken: bool,
    /// Whether a write found the Secret not as status says, where it cannot be seen.
    pub doubted: bool,
    /// When it was last asked, or made sure by a write, that a Secret is as status says, where it
    /// cannot be seen.
    pub probed_at: Timestamp,
    /// The sync request seen last, and when it is let through.
    pub sync_request: Option<Asked>,
    /// When the object was last known to be right.
    pub confirmed_at: Timestamp,
}

impl Memory {
    /// Remembers nothing: as when the operator starts, or the object appears.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            failures: 0,
            generation: None,
            fresh_after: Timestamp::MIN,
            answers_after: Timestamp::MIN,
            attempt: None,
            repairs: (0, Timestamp::MIN),
            target_taken: false,
            doubted: false,
            probed_at: now,
            sync_request: None,
            confirmed_at: now,
        }
    }
}

impl Memory {
    /// When the object is to be looked at for a sync request that was not let through yet when this
    /// was decided. That may be by now: a look takes time.
    #[must_use]
    pub fn sync_due(&self, decided_at: Timestamp) -> Option<Timestamp> {
        let seen = self.sync_request.as_ref()?;
        (seen.let_through_at > decided_at).then_some(seen.let_through_at)
    }

    /// Forgets an attempt that failed because the service did not answer, or refused: it does, or
    /// allows, again.
    pub fn release(&mut self) {
        if self.attempt.as_ref().is_some_and(Attempt::failed_upstream) {
            self.attempt = None;
        }
    }
}

/// An attempt at making a Secret that failed. With the same inputs it is not repeated before its
/// time, however often the object is looked at: each would read payloads, and a refused read is a
/// critical event in the customer's audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The record of the inputs.
    pub record: String,
    /// The object's generation.
    pub generation: Option<i64>,
    /// UID and resourceVersion of the Secret that was in view.
    pub seen: Option<(String, String)>,
    /// When it was made.
    pub at: Timestamp,
    /// When it may be repeated; never without a change where there is no time.
    pub until: Option<Timestamp>,
    /// How it ended.
    pub blocked: Box<Blocked>,
}

impl Attempt {
    /// Whether the service did not answer, or refused.
    const fn failed_upstream(&self) -> bool {
        matches!(
            self.blocked.reason,
            Reason::Unreachable
                | Reason::Throttled
                | Reason::ServiceError
                | Reason::CredentialMissing
                | Reason::CredentialRejected
                | Reason::AccessDenied
                | Reason::PayloadForbidden
        )
    }

    /// Whether it failed before the Secret mattered, so that an edit of that changes nothing.
    pub(super) const fn failed_on_payloads(&self) -> bool {
        let unfit = matches!(
            self.blocked.reason,
            Reason::KeyDeleted
                | Reason::KeyExpired
                | Reason::KeyDisabled
                | Reason::NotExtractable
                | Reason::RenderFailed
        );
        unfit || self.failed_upstream()
    }
}

/// Payloads that were read in this look, by key.
pub type Payloads = HashMap<KeyId, Result<Arc<Payload>, FetchFailure>>;

/// Everything that is known when one object is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The time.
    pub now: Timestamp,
    /// When the look began: what was fresh enough then is so until it ends, however long the
    /// service takes.
    pub begun: Timestamp,
    /// The object.
    pub object: &'a KeyProtectKey,
    /// Its namespace.
    pub namespace: NamespaceView<'a>,
    /// How many objects of its namespace are served, where it is not one of them.
    pub surplus: Option<usize>,
    /// An older object that wants the same target, or the same entry of it.
    pub rival: Option<&'a Rival>,
    /// The instance that it names, if there is one.
    pub instance: Option<InstanceView<'a>>,
    /// How much is seen of Secrets.
    pub sight: Sight,
    /// The target Secret, if it is in view (it carries the operator's label).
    pub secret: Option<&'a SecretView>,
    /// Whether every other KeyProtectKey that the target Secret names as owner is alive and not
    /// being deleted. Then it is younger, or has another target now, and the Secret may be taken;
    /// else the garbage collector is about to take it.
    pub owners_live: bool,
    /// Other Secrets that this object owns: targets of before.
    pub superseded: &'a [SecretView],
    /// Whether another object wants the Secret that status names as the target. Unread, it may be
    /// that object's by now, under the same UID: it was written over.
    pub written_is_wanted: bool,
    /// Shared Secrets that have entries of this object, the target among them.
    pub merged: &'a [SecretView],
    /// What is known of the instance's keys.
    pub knowledge: &'a Knowledge,
    /// Payloads read in this look.
    pub payloads: &'a Payloads,
    /// What the API server said of the target in this look.
    pub probe: Option<Probe>,
    /// Whether a revocation may delete the Secret now, where that was asked in this look.
    pub leave: Option<Leave>,
    /// What is remembered.
    pub memory: &'a Memory,
    /// The operator's settings.
    pub policy: &'a Policy,
    /// Who the operator is, for messages that say whom to give a right.
    pub account: Option<&'a Account>,
}

impl Observed<'_> {
    /// The object's UID; empty only for an object that never came from an API server.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.object.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// The time that the age of what is known is counted to: when the look began, if the clock has not
    /// been set back since.
    #[must_use]
    pub fn fresh_as_of(&self) -> Timestamp {
        self.begun.min(self.now)
    }

    /// The sync request that status has not answered yet, once it is let through.
    #[must_use]
    pub fn open_sync_request(&self) -> Option<&str> {
        self.forced().map(|(asked, _)| asked)
    }

    /// When that request was let through, as the shell remembers it.
    #[must_use]
    pub fn forced_at(&self) -> Option<Timestamp> {
        self.forced().map(|(_, at)| at)
    }

    fn forced(&self) -> Option<(&str, Timestamp)> {
        forced(self.object, self.memory, self.now)
    }

    /// Whether that request was made after something that is known since this time.
    #[must_use]
    pub fn is_asked_since(&self, since: Timestamp) -> bool {
        let seen = self.memory.sync_request.as_ref();
        self.forced().is_some() && seen.is_some_and(|seen| seen.seen_at >= since)
    }

    /// UID and resourceVersion of the target Secret in view.
    #[must_use]
    pub fn seen(&self) -> Option<(String, String)> {
        let secret = self.secret?;
        Some((secret.uid.clone(), secret.resource_version.clone()))
    }
}

/// The sync request of an object that its status has not answered yet and that is let through, and
/// since when it is.
#[must_use]
pub fn forced<'a>(
    object: &'a KeyProtectKey,
    memory: &Memory,
    now: Timestamp,
) -> Option<(&'a str, Timestamp)> {
    let asked = sync_asked_for(object)?;
    let seen = memory.sync_request.as_ref()?;
    let is_open = seen.value == asked && seen.let_through_at <= now;
    is_open.then_some((asked, seen.let_through_at))
}

/// The sync request of an object that its status has not answered yet.
#[must_use]
pub fn sync_asked_for(object: &KeyProtectKey) -> Option<&str> {
    let asked = object
        .metadata
        .annotations
        .as_ref()?
        .get(crate::api::SYNC_REQUESTED_ANNOTATION)?;
    let answered = object
        .status
        .as_ref()
        .and_then(|status| status.last_handled_sync_request.as_ref());
    (answered != Some(asked)).then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::at;

    #[test]
    fn a_sync_request_that_was_let_through_while_a_look_lasted_is_the_next_ones() {
        let mut memory = Memory::new(at(0));
        assert_eq!(memory.sync_due(at(0)), None);
        memory.sync_request = Some(Asked {
            value: "1".to_owned(),
            seen_at: at(5),
            let_through_at: at(10),
        });
        // However late it is by now.
        assert_eq!(memory.sync_due(at(9)), Some(at(10)));
        // That look took it for let through.
        assert_eq!(memory.sync_due(at(10)), None);
    }
}
