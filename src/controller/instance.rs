//! Looks after instances: makes their connections, lists their keys on time, tells the objects
//! that a listing concerns, and writes the instances' status.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use super::clock::{now, sleep_until};
use super::connection::{Connection, News, Usable, Watched};
use super::context::Context;
use super::credential;
use super::gathered::labels;
use super::leadership::Term;
use super::queue::ObjectKey;
use super::revocations;
use super::turns::Standing;
use super::world::{Concerned, Gathered, Known};
use crate::api::{KeyProtectInstance, Reason, SYNC_REQUESTED_ANNOTATION};
use crate::cluster::status;
use crate::domain::access;
use crate::domain::concern;
use crate::domain::instance_status::{self, EndpointFacts, Seen};
use crate::domain::schedule;
use crate::domain::service::catalogue::{Catalogue, Changes, Listing};
use crate::domain::service::endpoint;
use crate::keyprotect::{Client, ClientOptions};

/// How often the credential of an instance that IAM refused is looked at.
const CREDENTIAL_WATCH: Duration = Duration::from_secs(2);
/// How long after a status could not be written it is tried again, at first and at most.
const WRITE_AGAIN: Duration = Duration::from_millis(500);
const WRITE_AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// Changes of the number of keys in use are gathered for this long before status says so.
const SETTLE: Duration = Duration::from_secs(2);

/// The connection of an instance as the world shows it now, made when it is first asked for; none
/// once the instance is gone. Whoever gathered before it changed must not put the connection of
/// before back, nor that of an instance that was deleted.
pub(super) fn connection(
    context: &Context,
    instance: &KeyProtectInstance,
) -> Option<Arc<Connection>> {
    let key = ObjectKey::of(instance);
    // Nobody takes these two the other way round.
    let mut connections = context.connections();
    let instance = context.world().instance(&key)?;
    if let Some(known) = connections.get(&key)
        && known.is_of(&instance)
    {
        return Some(Arc::clone(known));
    }
    let made = Arc::new(Connection::new(
        instance.uid()?,
        instance.metadata.generation,
        usable(context, &instance),
    ));
    if let Some(old) = connections.insert(key, Arc::clone(&made)) {
        old.poke.notify_one();
    }
    Some(made)
}

fn usable(context: &Context, instance: &KeyProtectInstance) -> Result<Usable, (Reason, String)> {
    let settings = &context.settings;
    let (place, credential) = credential::of(context, instance)?;
    let unreachable = |message: String| {
        (
            Reason::Unreachable,
            format!("The instance cannot be called: {message}."),
        )
    };
    let endpoint = endpoint::resolve(&instance.spec, &settings.allowed_hosts)
        .map_err(|error| unreachable(error.to_string()))?;
    let options = ClientOptions {
        metrics: context.metrics.upstream.clone(),
        paced: true,
        ..ClientOptions::default()
    };
    let client = Client::new(&endpoint, credential.clone(), &options)
        .map_err(|error| unreachable(error.to_string()))?;
    Ok(Usable {
        endpoint,
        client,
        credential,
        place,
    })
}

/// Looks after one instance until it is gone, while this process leads, also where doing so once
/// panics.
pub(super) async fn supervise(context: Arc<Context>, key: ObjectKey, gone: CancellationToken) {
    loop {
        let term = tokio::select! {
            () = gone.cancelled() => return,
            term = context.leadership.acting() => term,
        };
        let ended = AssertUnwindSafe(look_after(&context, &term, &key, &gone)).catch_unwind();
        let ended = tokio::select! {
            () = term.over() => continue,
            ended = ended => ended,
        };
        if ended.is_ok() {
            return;
        }
        tracing::error!(instance = %key, "an instance's task ended badly; please report this");
        tokio::select! {
            () = gone.cancelled() => return,
            () = tokio::time::sleep(super::AFTER_PANIC) => {}
        }
    }
}

async fn look_after(context: &Context, term: &Term, key: &ObjectKey, gone: &CancellationToken) {
    let (mut forced, mut unwritten) = (None, 0_u32);
    loop {
        let Some(instance) = context.world().instance(key) else {
            return;
        };
        let Some(connection) = connection(context, &instance) else {
            return;
        };
        let asked = open_sync_request(&instance);
        let interval = interval(context, key, &instance);
        let in_use = keys_in_use(context, &instance);
        let due = match connection.next_listing(interval).await {
            // The opening one: whichever was begun first will do.
            None => Some(Timestamp::MIN),
            // Nobody needs it.
            Some(_) if in_use == 0 && is_well(&connection.listing()) => None,
            Some(due) => Some(due),
        };
        let credential = matches!(&connection.listing(), Listing::Failed { failure, .. } if failure.is_credential());
        let is_forced = asked.is_some() && asked != forced;
        let not_before = if is_forced || connection.credential_renewed().await {
            Some(now())
        } else {
            due.filter(|due| *due <= now())
        };
        if let Some(not_before) = not_before
            && let Some(news) = connection
                .ensure_listing(not_before, is_forced, || watched(context, key))
                .await
        {
            spread(context, key, &connection, &news);
        }
        if gone.is_cancelled() {
            return;
        }
        match write_status(context, term, key, &connection, asked.as_deref()).await {
            StatusWrite::Done => unwritten = 0,
            StatusWrite::Failed => unwritten = unwritten.saturating_add(1),
            StatusWrite::Outdated => continue,
        }
        forced = asked;
        let wait = async {
            tokio::select! {
                () = sleep_until(due_again(&connection, interval, in_use).await) => {}
                () = tokio::time::sleep(CREDENTIAL_WATCH), if credential => {}
                () = tokio::time::sleep(write_again(unwritten)), if unwritten > 0 => {}
                () = connection.limiter.changed() => {}
                () = connection.poke.notified() => tokio::time::sleep(settle(context, key)).await,
            }
        };
        tokio::select! {
            () = gone.cancelled() => return,
            () = wait => {}
        }
    }
}

/// A sync request is answered at once; a change of numbers may wait for more of them.
fn settle(context: &Context, key: &ObjectKey) -> Duration {
    let asked = context
        .world()
        .instance(key)
        .and_then(|instance| open_sync_request(&instance));
    if asked.is_some() {
        Duration::ZERO
    } else {
        SETTLE
    }
}

async fn due_again(
    connection: &Connection,
    interval: jiff::SignedDuration,
    in_use: i64,
) -> Option<Timestamp> {
    if connection.usable.is_err() || (is_well(&connection.listing()) && in_use == 0) {
        return None;
    }
    let due = connection.next_listing(interval).await?;
    // Never a tight loop, whatever the clock says.
    Some(due.max(now().checked_add(Duration::from_secs(1)).unwrap_or(due)))
}

fn open_sync_request(instance: &KeyProtectInstance) -> Option<String> {
    let asked = instance.annotations().get(SYNC_REQUESTED_ANNOTATION)?;
    let answered = instance
        .status
        .as_ref()
        .and_then(|status| status.last_handled_sync_request.as_ref());
    (answered != Some(asked)).then(|| asked.clone())
}

/// The shortest interval that the instance or one of its objects asks for.
fn interval(
    context: &Context,
    key: &ObjectKey,
    instance: &KeyProtectInstance,
) -> jiff::SignedDuration {
    let own = schedule::refresh_interval(instance);
    let world = context.world();
    world
        .objects_of(key)
        .map(|(_, known)| known.held.interval)
        .fold(own, std::cmp::Ord::min)
}

const fn is_well(listing: &Listing) -> bool {
    matches!(listing, Listing::Fresh(_) | Listing::Singly { .. })
}

/// What is watched of an instance: what the choice between listing and single reads depends on.
pub(super) fn watched(context: &Context, key: &ObjectKey) -> Watched {
    let world = context.world();
    Watched {
        objects: world.objects_of(key).count(),
        by_name: world
            .objects_of(key)
            .any(|(_, known)| known.held.names_by_name),
    }
}

fn keys_in_use(context: &Context, instance: &KeyProtectInstance) -> i64 {
    let world = context.world();
    let own = instance.namespace().unwrap_or_default();
    let mut counts: HashMap<&str, i64> = HashMap::new();
    for (key, _) in world.objects_of(&ObjectKey::of(instance)) {
        *counts.entry(&key.namespace).or_default() += 1;
    }
    let granted = counts.into_iter().filter(|(namespace, _)| {
        let facts = world.namespace(namespace);
        let access = instance.spec.access.as_deref();
        let labels = labels(facts.as_deref(), &context.form().scope);
        access::grant(&own, access, namespace, labels).is_some()
    });
    granted.map(|(_, count)| count).sum()
}

/// Takes in what a listing brought that an object's look asked for.
pub(super) fn take_news(
    context: &Context,
    gathered: &Gathered,
    connection: &Connection,
    news: &News,
) {
    if let Some(instance) = &gathered.instance {
        spread(context, &ObjectKey::of(instance.as_ref()), connection, news);
    }
}

/// Tells the objects that a listing concerns, and wakes the task that writes the status.
fn spread(context: &Context, key: &ObjectKey, connection: &Connection, news: &News) {
    connection.poke.notify_one();
    let concerned = match news {
        News::Failed => growing_stale(context, key, connection),
        // Those that waited for the first listing go on by themselves.
        News::Listed {
            changes: None,
            recovered: false,
        } => return,
        News::Singly
        | News::Listed {
            recovered: true, ..
        } => context.world().meaning(key),
        News::Listed {
            changes: Some(changes),
            ..
        } => concerned_by(context, key, changes),
    };
    context.look_now(concerned, now());
}

/// Tells the objects that a breaker held up that it has closed.
pub(super) fn note_recovery(context: &Context, gathered: &Gathered, connection: &Connection) {
    if !connection.limiter.take_recovered() {
        return;
    }
    let Some(instance) = &gathered.instance else {
        return;
    };
    let concerned = context.world().release(&ObjectKey::of(instance.as_ref()));
    context.look_now(concerned, now());
}

/// Objects that have been unconfirmed for so long that their status has to say so, and does not.
fn growing_stale(context: &Context, key: &ObjectKey, connection: &Connection) -> Concerned {
    let world = context.world();
    let listing = connection.listing();
    let Some((instance, listed)) = world
        .instance(key)
        .zip(listing.catalogue().map(Catalogue::listed_at))
    else {
        return Vec::new();
    };
    let interval = schedule::refresh_interval(&instance);
    let due = world.objects_of(key).filter(|(key, known)| {
        let object = known.held.object(key);
        object.is_some_and(|object| concern::is_growing_stale(&object, interval, listed, now()))
    });
    due.map(|(key, known)| (key.clone(), known.held.lane))
        .collect()
}

/// Objects whose keys changed, that are not shown by listings, or that wait for something.
fn concerned_by(context: &Context, key: &ObjectKey, changes: &Changes) -> Concerned {
    let world = context.world();
    let waits = |known: &Known| {
        known.remembered.as_ref().is_some_and(|remembered| {
            remembered.memory.failures > 0 || !remembered.questions.is_empty()
        })
    };
    let touched = |key: &ObjectKey, known: &Known| {
        let object = known.held.object(key);
        object.is_some_and(|object| concern::touches(&object, changes))
    };
    let concerned = world
        .objects_of(key)
        .filter(|(key, known)| waits(known) || !changes.is_empty() && touched(key, known));
    concerned
        .map(|(key, known)| (key.clone(), known.held.lane))
        .collect()
}

/// What became of an instance's status.
enum StatusWrite {
    /// It says what is so.
    Done,
    /// It has to be written again.
    Failed,
    /// The instance changed, or another has its name, while its keys were listed: what was seen
    /// by the old spec is no word about the new one.
    Outdated,
}

/// How long after a status could not be written so often in a row it is tried again.
fn write_again(failures: u32) -> Duration {
    let doubled = 1_u32 << failures.saturating_sub(1).min(16);
    WRITE_AGAIN.saturating_mul(doubled).min(WRITE_AGAIN_AT_MOST)
}

async fn write_status(
    context: &Context,
    term: &Term,
    key: &ObjectKey,
    connection: &Connection,
    asked: Option<&str>,
) -> StatusWrite {
    let Some(instance) = context.world().instance(key) else {
        return StatusWrite::Done;
    };
    if !connection.is_of(&instance) {
        return StatusWrite::Outdated;
    }
    let listing = connection.listing();
    let endpoint = connection.usable.as_ref().map_or_else(
        |(reason, message)| Err((*reason, message.as_str())),
        |usable| Ok(&usable.endpoint),
    );
    let facts = endpoint.map(|endpoint| EndpointFacts {
        url: endpoint.key_base.to_string(),
        instance_id: endpoint
            .instance_id
            .as_ref()
            .map(crate::domain::service::ids::InstanceId::as_str),
        region: endpoint
            .region
            .as_ref()
            .map(crate::domain::service::ids::Region::as_str),
        warnings: &endpoint.warnings,
    });
    let fence = context.fence.known();
    let seen = Seen {
        now: now(),
        fence: fence.as_ref(),
        endpoint: facts,
        listing: &listing,
        authenticated: connection
            .usable
            .as_ref()
            .ok()
            .and_then(|usable| usable.client.token_source().authenticated()),
        keys_in_use: keys_in_use(context, &instance),
        held: revocations::held(context, key),
        shut: connection.limiter.shut(),
        form: context.form().name(),
        credential: connection.usable.as_ref().ok().map(|usable| &usable.place),
        account: context.account(),
        answered: asked.filter(|_| is_well(&listing)),
    };
    let Some(new) = instance_status::status(&instance, &seen) else {
        return StatusWrite::Done;
    };
    let written = {
        let Ok(_permit) = context
            .permit_to_write(term, &key.namespace, Standing::Alone)
            .await
        else {
            // The term is over, and so is this task until the next.
            return StatusWrite::Failed;
        };
        status::replace(&context.client, instance.as_ref(), &new).await
    };
    match written {
        Ok(_) => {
            let told = instance_status::announcement(instance.status.as_ref(), &new);
            if let Some(told) = told
                && let Ok(_permit) = context
                    .permit_to_write(term, &key.namespace, Standing::Alone)
                    .await
            {
                let announcer = &context.announcer;
                announcer.announce(instance.as_ref(), &told, now()).await;
            }
            StatusWrite::Done
        }
        Err(failure) => {
            if failure == status::StatusFailure::Conflict {
                term.doubt();
            }
            tracing::debug!(instance = %key, ?failure, "the instance's status is written again soon");
            StatusWrite::Failed
        }
    }
}

/// Wakes the task that looks after an instance, where one of its objects came or went.
pub(super) fn note_use(context: &Context, instance: &ObjectKey) {
    if let Some(connection) = context.connections().get(instance) {
        connection.poke.notify_one();
    }
}

#[cfg(test)]
#[path = "instance_tests.rs"]
mod tests;
