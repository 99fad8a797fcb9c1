//! Takes watch events into the world, one task per kind, and keeps a task for each instance.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::clock::now;
use super::context::Context;
use super::instance;
use super::queue::ObjectKey;
use super::world::NamespaceFacts;
use crate::api::{KeyProtectInstance, KeyProtectKey};
use crate::cluster::watch::{self, Happened, Named};
use crate::domain::secret::SecretView;
use crate::domain::secret::metadata::SecretMetadata;

/// Watches that must have shown their first listing before anything is decided.
const WATCHES: usize = 4;

/// Counts the watches that have shown their first listing.
#[derive(Clone, Default)]
struct Synced(Arc<AtomicUsize>);

impl Synced {
    fn note(&self, context: &Context, first: &mut bool) {
        if std::mem::take(first) && self.0.fetch_add(1, Ordering::AcqRel) + 1 == WATCHES {
            tracing::info!("every watch has shown its first listing");
            context.set_ready();
        }
    }
}

/// The names in a listing that is under way. Between listings nothing is noted: a watch may go on
/// for weeks without another one.
#[derive(Default)]
struct Names(Option<HashSet<ObjectKey>>);

impl Names {
    fn begin(&mut self) {
        self.0 = Some(HashSet::new());
    }

    fn note(&mut self, key: &ObjectKey) {
        if let Some(names) = &mut self.0 {
            names.insert(key.clone());
        }
    }

    fn end(&mut self) -> HashSet<ObjectKey> {
        self.0.take().unwrap_or_default()
    }
}

fn key_named(named: &Named) -> ObjectKey {
    ObjectKey::new(&named.namespace, &named.name)
}

/// Starts a task for each kind.
pub(super) fn start(context: &Arc<Context>, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
    let synced = Synced::default();
    let client = &context.client;
    tasks.spawn(keys(
        Arc::clone(context),
        watch::keys(client),
        synced.clone(),
    ));
    tasks.spawn(secrets(
        Arc::clone(context),
        watch::secrets(client),
        synced.clone(),
    ));
    tasks.spawn(namespaces(
        Arc::clone(context),
        watch::namespaces(client),
        synced.clone(),
    ));
    tasks.spawn(instances(
        Arc::clone(context),
        watch::instances(client),
        synced,
        stop.clone(),
    ));
}

async fn keys(
    context: Arc<Context>,
    stream: impl Stream<Item = Happened<KeyProtectKey>>,
    synced: Synced,
) {
    let mut stream = std::pin::pin!(stream);
    let (mut listed, mut first) = (Names::default(), true);
    while let Some(happened) = stream.next().await {
        let mut used = None;
        let concerned = match happened {
            Happened::ListBegins => {
                listed.begin();
                continue;
            }
            Happened::Listed(object) | Happened::Applied(object) => {
                listed.note(&ObjectKey::of(&object));
                let mut world = context.world();
                used = Some(world.instance_key(&object));
                world.key_applied(object)
            }
            Happened::Deleted(object) => {
                let mut world = context.world();
                used = Some(world.instance_key(&object));
                world.key_deleted(&ObjectKey::of(&object))
            }
            Happened::Malformed(named) => {
                listed.note(&key_named(&named));
                continue;
            }
            Happened::MalformedDeleted(named) => context.world().key_deleted(&key_named(&named)),
            Happened::ListEnds => {
                let concerned = context.world().keys_listed(&listed.end());
                synced.note(&context, &mut first);
                concerned
            }
        };
        if let Some(instance) = used.filter(|_| !first) {
            instance::note_use(&context, &instance);
        }
        context.look_now(concerned, now());
    }
}

async fn secrets(
    context: Arc<Context>,
    stream: impl Stream<Item = Happened<SecretMetadata>>,
    synced: Synced,
) {
    let mut stream = std::pin::pin!(stream);
    let (mut listed, mut first) = (Names::default(), true);
    while let Some(happened) = stream.next().await {
        let concerned = match happened {
            Happened::ListBegins => {
                listed.begin();
                context.world().secrets_listing();
                continue;
            }
            Happened::Listed(secret) | Happened::Applied(secret) => {
                let namespace = secret.namespace.clone().unwrap_or_default();
                let Some(view) = SecretView::from_metadata(secret) else {
                    continue;
                };
                listed.note(&ObjectKey::new(&namespace, &view.name));
                context.world().secret_applied(&namespace, view)
            }
            Happened::Deleted(secret) => {
                let key = ObjectKey::new(
                    secret.namespace.as_deref().unwrap_or_default(),
                    secret.name.as_deref().unwrap_or_default(),
                );
                let version = secret.resource_version.as_deref();
                context.world().secret_deleted(&key, version)
            }
            // Metadata has but one form.
            Happened::Malformed(_) | Happened::MalformedDeleted(_) => continue,
            Happened::ListEnds => {
                let concerned = context.world().secrets_listed(&listed.end());
                synced.note(&context, &mut first);
                concerned
            }
        };
        context.look_when_due(concerned, now());
    }
}

async fn namespaces(
    context: Arc<Context>,
    stream: impl Stream<Item = Happened<PartialObjectMeta<Namespace>>>,
    synced: Synced,
) {
    let mut stream = std::pin::pin!(stream);
    let (mut listed, mut first) = (Names::default(), true);
    while let Some(happened) = stream.next().await {
        let concerned = match happened {
            Happened::ListBegins => {
                listed.begin();
                continue;
            }
            Happened::Listed(namespace) | Happened::Applied(namespace) => {
                listed.note(&ObjectKey::of(&namespace));
                let facts = NamespaceFacts {
                    terminating: namespace.metadata.deletion_timestamp.is_some(),
                    labels: namespace.metadata.labels.clone().unwrap_or_default(),
                    uid: namespace.metadata.uid.as_deref().map(Box::from),
                };
                context
                    .world()
                    .namespace_applied(&namespace.name_any(), facts)
            }
            Happened::Deleted(namespace) => {
                context.world().namespace_deleted(&namespace.name_any());
                continue;
            }
            Happened::Malformed(_) | Happened::MalformedDeleted(_) => continue,
            Happened::ListEnds => {
                context.world().namespaces_listed(&listed.end());
                synced.note(&context, &mut first);
                continue;
            }
        };
        context.look_now(concerned, now());
    }
}

async fn instances(
    context: Arc<Context>,
    stream: impl Stream<Item = Happened<KeyProtectInstance>>,
    synced: Synced,
    stop: CancellationToken,
) {
    let mut stream = std::pin::pin!(stream);
    let (mut listed, mut first) = (Names::default(), true);
    let mut tasks: HashMap<ObjectKey, CancellationToken> = HashMap::new();
    let mut running = JoinSet::new();
    loop {
        let happened = tokio::select! {
            happened = stream.next() => happened,
            // Those that are over are let go of.
            Some(_) = running.join_next() => continue,
        };
        let Some(happened) = happened else {
            return;
        };
        let concerned = match happened {
            Happened::ListBegins => {
                listed.begin();
                continue;
            }
            Happened::Listed(object) | Happened::Applied(object) => {
                let key = ObjectKey::of(&object);
                listed.note(&key);
                let concerned = context.world().instance_applied(object);
                instance::note_use(&context, &key);
                tasks.entry(key.clone()).or_insert_with(|| {
                    let gone = stop.child_token();
                    running.spawn(instance::supervise(Arc::clone(&context), key, gone.clone()));
                    gone
                });
                concerned
            }
            Happened::Deleted(object) => {
                let key = ObjectKey::of(&object);
                forget(&context, &mut tasks, &key)
            }
            Happened::Malformed(named) => {
                listed.note(&key_named(&named));
                continue;
            }
            Happened::MalformedDeleted(named) => forget(&context, &mut tasks, &key_named(&named)),
            Happened::ListEnds => {
                let gone = context.world().instances_but(&listed.end());
                let concerned = gone
                    .iter()
                    .flat_map(|key| forget(&context, &mut tasks, key))
                    .collect();
                synced.note(&context, &mut first);
                concerned
            }
        };
        context.look_now(concerned, now());
    }
}

fn forget(
    context: &Context,
    tasks: &mut HashMap<ObjectKey, CancellationToken>,
    key: &ObjectKey,
) -> super::world::Concerned {
    if let Some(task) = tasks.remove(key) {
        task.cancel();
    }
    context.connections().remove(key);
    context.world().instance_deleted(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_noted_in_a_listing_and_never_between_two() {
        let mut names = Names::default();
        let key = |name| ObjectKey::new("n", name);
        names.begin();
        names.note(&key("a"));
        assert_eq!(names.end(), HashSet::from([key("a")]));
        names.note(&key("b"));
        assert!(names.0.is_none());
        names.begin();
        assert_eq!(names.end(), HashSet::new());
    }
}
