//! Carries a plan out and decides nothing: each write is one call, the status comes after the
//! Secret, and Events come last.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Resource;

use super::audit;
use super::clock::now;
use super::context::{Context, WritePermit};
use super::held::text;
use super::instance;
use super::leadership::{NotLeading, Term};
use super::queue::ObjectKey;
use super::said::{Said, lane_of};
use super::turns::Standing;
use super::world::Gathered;
use crate::api::{KeyProtectKey, Reason};
use crate::cluster::request as api_request;
use crate::cluster::secrets::{self, Seen};
use crate::cluster::status::{self, StatusFailure};
use crate::domain::audit::{Account, Why};
use crate::domain::look::plan::{self, Plan, Write, WriteFailure};
use crate::domain::look::request;
use crate::domain::schedule;
use crate::domain::secret::{SecretView, shared};

/// In whose name a look writes: in which term it began, and how its object stood in line.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    /// The term.
    pub(super) term: &'a Term,
    /// What its writes stand in line as, too.
    pub(super) standing: Standing,
}

impl<'a> Writer<'a> {
    async fn permit(
        self,
        context: &'a Context,
        namespace: &str,
    ) -> Result<WritePermit<'a>, NotLeading> {
        context
            .permit_to_write(self.term, namespace, self.standing)
            .await
    }
}

/// A write that failed, and whose.
pub(super) struct FailedWrite {
    /// The Secret's name.
    pub(super) secret: String,
    /// Why.
    pub(super) failure: WriteFailure,
}

/// Why a plan's writes were not all made.
pub(super) enum Unwritten {
    /// One failed.
    Failed(FailedWrite),
    /// The object, its namespace, or the rules that allowed the write changed meanwhile: what was
    /// authorised then may not be any more.
    Outdated,
    /// Another replica leads, or may: this is no matter of the object's.
    NotLeading,
}

impl From<NotLeading> for Unwritten {
    fn from(_: NotLeading) -> Self {
        Self::NotLeading
    }
}

/// Makes a plan's writes of Secrets, and notes in the plan's status what became of them.
///
/// # Errors
/// The first write that failed; those after it were not begun.
pub(super) async fn write(
    context: &Context,
    writer: Writer<'_>,
    key: &ObjectKey,
    gathered: &Gathered,
    mut plan: Plan,
) -> Result<Plan, Unwritten> {
    let uid = gathered.object.metadata.uid.as_deref().unwrap_or_default();
    if let Err(broken) = plan::check(&plan, uid) {
        tracing::error!(object = %key, invariant = broken, "a plan was refused; please report this");
        return Err(Unwritten::Failed(FailedWrite {
            secret: request::target_name(&gathered.object).to_owned(),
            failure: WriteFailure::Failed("the operator refused its own plan; please report this"),
        }));
    }
    for write in std::mem::take(&mut plan.writes) {
        let permit = writer.permit(context, &key.namespace).await?;
        if !context.world().is_as_gathered(key, gathered) {
            return Err(Unwritten::Outdated);
        }
        match perform(context, &permit, key, gathered, &plan.account, &write).await? {
            Ok(Some(view)) => note_written(context, key, &mut plan, view),
            Ok(None) => {}
            Err(failure) => {
                if matches!(
                    failure,
                    WriteFailure::Conflict | WriteFailure::AlreadyExists
                ) {
                    writer.term.doubt();
                }
                return Err(Unwritten::Failed(FailedWrite {
                    secret: write.name().to_owned(),
                    failure,
                }));
            }
        }
    }
    Ok(plan)
}

async fn perform(
    context: &Context,
    permit: &WritePermit<'_>,
    key: &ObjectKey,
    gathered: &Gathered,
    account: &Account,
    write: &Write,
) -> Result<Result<Option<SecretView>, WriteFailure>, NotLeading> {
    let (client, namespace) = (&context.client, key.namespace.as_str());
    // An owner reference goes with these, and the object may be leaving its Secret behind.
    if let Write::Overwrite(_)
    | Write::Replace {
        confirm_alive: true,
        ..
    } = write
    {
        if let Err(failure) = alive(context, &gathered.object).await {
            return Ok(Err(failure));
        }
        permit.still_good()?;
    }
    let whose = audit::Whose::Object(gathered);
    let sent = send(client, namespace, write);
    Ok(audit::written(context, whose, account, write, sent).await)
}

/// The one request of a write.
async fn send(
    client: &kube::Client,
    namespace: &str,
    write: &Write,
) -> Result<Option<SecretView>, WriteFailure> {
    let seen = |uid, resource_version| Seen {
        uid,
        resource_version,
    };
    match write {
        Write::Create(body) => secrets::create(client, namespace, body).await.map(Some),
        Write::Overwrite(body) => secrets::overwrite(client, namespace, body).await.map(Some),
        Write::Replace {
            uid,
            resource_version,
            body,
            ..
        } => {
            let seen = seen(uid, resource_version);
            let replaced = secrets::replace(client, namespace, body, seen);
            replaced.await.map(Some)
        }
        Write::Delete {
            name,
            uid,
            resource_version,
            unseen,
        } => {
            let version = resource_version.as_deref();
            let deleted = secrets::delete(client, namespace, name, uid, version, *unseen);
            deleted.await.map(|()| None)
        }
        Write::Merge {
            name,
            uid,
            resource_version,
            manager,
            entries,
        } => {
            let seen = seen(uid, resource_version);
            let merged = secrets::merge(client, namespace, name, seen, manager, entries);
            merged.await.map(Some)
        }
        Write::GiveBack {
            name,
            uid,
            resource_version,
            manager,
        } => {
            let (seen, nothing) = (seen(uid, resource_version), BTreeMap::new());
            let given = secrets::merge(client, namespace, name, seen, manager, &nothing);
            given.await.map(Some)
        }
    }
}

/// Gives back what an object that is gone left behind in shared Secrets. That it is gone, the API
/// server itself has to say: a watch may be behind, or the object may have been made anew.
///
/// Returns whether something is left to do.
pub(super) async fn give_back_for(
    context: &Context,
    term: &Term,
    key: &ObjectKey,
) -> Result<bool, NotLeading> {
    let left = context.world().left_by(key);
    let given: Vec<Write> = left
        .iter()
        .filter_map(|view| shared::give_back_all(view, &key.name))
        .collect();
    if given.is_empty() {
        return Ok(false);
    }
    match look_up(context, &key.namespace, &key.name).await {
        Ok(None) => {}
        // It is there, or that is not known: a watch will show it, or it is asked again.
        Ok(Some(_)) | Err(()) => return Ok(true),
    }
    let account = Account {
        why: Some(Why::ObjectDeleted),
        ..Account::default()
    };
    let mut unfinished = false;
    for write in given {
        let _permit = context
            .permit_to_write(term, &key.namespace, Standing::InCrowd)
            .await?;
        let (whose, name) = (audit::Whose::Gone(key), write.name());
        let sent = send(&context.client, &key.namespace, &write);
        match audit::written(context, whose, &account, &write, sent).await {
            Ok(view) => {
                tracing::info!(object = %key, secret = name, "entries were given back");
                if let Some(view) = view {
                    context.world().secret_written(&key.namespace, view);
                }
            }
            Err(failure) => {
                tracing::warn!(object = %key, secret = name, ?failure, "entries could not be given back");
                unfinished = true;
            }
        }
    }
    Ok(unfinished)
}

/// Looks at the object itself, not at what a watch showed of it.
async fn alive(context: &Context, object: &KeyProtectKey) -> Result<(), WriteFailure> {
    let metadata = &object.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    match look_up(context, namespace, name).await {
        Ok(Some(live)) if live.uid == metadata.uid && live.deletion_timestamp.is_none() => Ok(()),
        Ok(_) => Err(WriteFailure::ObjectGone),
        Err(()) => Err(WriteFailure::Failed(
            "the object could not be looked at again",
        )),
    }
}

/// Asks the API server for an object; nothing, if it is not there.
async fn look_up(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<api_request::Identity>, ()> {
    let uri = format!("{}/{name}", KeyProtectKey::url_path(&(), Some(namespace)));
    let get = http::Method::GET;
    match api_request::send(&context.client, get, &uri, Vec::new()).await {
        Ok(live) => Ok(live),
        Err(api_request::RequestError::Refused(status)) if status.code == 404 => Ok(None),
        Err(_) => Err(()),
    }
}

/// Notes what the API server answered to a write: in the world, so that its echo in the watch is
/// no news, and in the status that follows.
fn note_written(context: &Context, key: &ObjectKey, plan: &mut Plan, view: SecretView) {
    if let Some(secret) = plan
        .status
        .as_mut()
        .and_then(|status| status.secret.as_mut())
        && secret.name == view.name
    {
        secret.uid = Some(view.uid.clone());
        secret.resource_version = Some(view.resource_version.clone());
    }
    // What is not watched is not held either: it would never be seen to change.
    if context.form().reads_secrets {
        context.world().secret_written(&key.namespace, view);
    }
}

/// Writes the status, announces Events, remembers, and asks for the next look, for a plan that was
/// decided on at this time or a little later; nothing of it where this process does not lead any more.
pub(super) async fn settle(
    context: &Arc<Context>,
    writer: Writer<'_>,
    key: &ObjectKey,
    gathered: &Gathered,
    plan: Plan,
    decided_at: Timestamp,
) {
    let object = &gathered.object;
    let mut next = plan.next;
    let mut remembered = gathered.remembered.clone();
    remembered.missed_at = None;
    let mut lane = lane_of(object);
    if let Some(status) = plan.status.as_deref() {
        let said = Said::of(Some(status));
        let status = text(status);
        let written = {
            let Ok(_permit) = writer.permit(context, &key.namespace).await else {
                return;
            };
            context.world().status_in_writing(key, status.clone());
            status::replace(&context.client, object, &status).await
        };
        match written {
            Ok(version) => {
                remembered.unwritten = 0;
                lane = said.lane();
                let uid = object.metadata.uid.as_deref();
                let version = version.as_deref();
                let was_held = Said::of(object.status.as_ref()).held;
                let is_held = said.held;
                context.world().status_written(key, uid, version, said);
                if was_held != is_held
                    && let Some(instance) = &gathered.instance
                {
                    // Its status counts those that wait.
                    instance::note_use(context, &ObjectKey::of(instance.as_ref()));
                }
            }
            Err(failure) => {
                context.world().status_not_written(key);
                // The object changed, or the API server failed: plan again from what is there.
                remembered.unwritten = remembered.unwritten.saturating_add(1);
                let conflict = failure == StatusFailure::Conflict;
                if conflict {
                    writer.term.doubt();
                }
                let uid = object.metadata.uid.as_deref().unwrap_or_default();
                let again = schedule::status_at(now(), conflict, remembered.unwritten, uid);
                next = Some(earlier(next, again));
            }
        }
    } else {
        remembered.unwritten = 0;
    }
    // Whoever does not lead any more has nothing to say of it.
    log(key, &plan);
    context.metrics.synced(plan.outcome);
    remembered.memory = plan.memory;
    let blocked = plan.outcome != Reason::Synced && plan.outcome != Reason::Suspended;
    remembered.not_before = if blocked {
        next.unwrap_or(Timestamp::MIN)
    } else {
        Timestamp::MIN
    };
    if let Some(at) = remembered.memory.sync_due(decided_at) {
        next = Some(earlier(next, at));
    }
    context
        .world()
        .remember(key, object.metadata.uid.as_deref(), remembered);
    for event in &plan.events {
        let Ok(_permit) = writer.permit(context, &key.namespace).await else {
            return;
        };
        context.announcer.announce(object, event, now()).await;
    }
    if let Some(at) = next {
        context.queue().schedule(key, at, lane);
        context.wake.notify_one();
    }
}

fn earlier(next: Option<Timestamp>, at: Timestamp) -> Timestamp {
    next.map_or(at, |next| next.min(at))
}

fn log(key: &ObjectKey, plan: &Plan) {
    let reason = plan.outcome.as_str();
    if plan.outcome == Reason::Synced && plan.status.is_some() {
        tracing::debug!(namespace = key.namespace, name = key.name, reason, "synced");
    } else if plan.outcome != Reason::Synced && plan.status.is_some() {
        tracing::warn!(
            namespace = key.namespace,
            name = key.name,
            reason,
            cause = plan.cause,
            "not synced"
        );
    } else {
        tracing::debug!(
            namespace = key.namespace,
            name = key.name,
            reason,
            cause = plan.cause,
            "nothing to do"
        );
    }
}
