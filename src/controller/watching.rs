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
use super::listed::{Listed, Place};
use super::queue::ObjectKey;
use super::world::NamespaceFacts;
use crate::api::{KeyProtectInstance, KeyProtectKey};
use crate::cluster::watch::{self, Happened, Named};
use crate::domain::secret::SecretView;
use crate::domain::secret::metadata::SecretMetadata;

/// Counts the watches that have not shown their first listing.
#[derive(Clone)]
struct Unsynced(Arc<AtomicUsize>);

impl Unsynced {
    fn note(&self, context: &Context, first: &mut bool) {
        if std::mem::take(first) && self.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            tracing::info!("every watch has shown its first listing");
            context.set_ready();
        }
    }
}

/// The names in a listing that is under way. Between listings nothing is noted: a watch may go on
/// for weeks without another one.
struct Names {
    place: Place,
    names: Option<HashSet<ObjectKey>>,
}

impl Names {
    const fn of(place: Place) -> Self {
        Self { place, names: None }
    }

    fn begin(&mut self) {
        self.names = Some(HashSet::new());
    }

    fn note(&mut self, key: &ObjectKey) {
        if let Some(names) = &mut self.names {
            names.insert(key.clone());
        }
    }

    fn end(&mut self) -> Listed {
        Listed {
            place: self.place.clone(),
            names: self.names.take().unwrap_or_default(),
        }
    }
}

fn key_named(named: &Named) -> ObjectKey {
    ObjectKey::new(&named.namespace, &named.name)
}

/// Starts a task for each kind, and for each namespace where only some are served. What the form
/// does not let be watched is not: Secrets where none is read, namespaces where some are named.
pub(super) fn start(context: &Arc<Context>, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
    let form = context.form();
    let own = context.settings.namespace.as_str();
    let places = form.scope.places();
    let of_instances = form.scope.places_of_instances(own);
    let of_secrets = if form.reads_secrets {
        places.clone()
    } else {
        Vec::new()
    };
    let of_namespaces = usize::from(form.scope.is_cluster());
    let all = places.len() + of_instances.len() + of_secrets.len() + of_namespaces;
    let unsynced = Unsynced(Arc::new(AtomicUsize::new(all)));
    let client = &context.client;
    for place in places {
        let (stream, names) = (watch::keys(client, place), Names::of(place_of(place)));
        tasks.spawn(keys(Arc::clone(context), stream, names, unsynced.clone()));
    }
    for place in of_secrets {
        let (stream, names) = (watch::secrets(client, place), Names::of(place_of(place)));
        tasks.spawn(secrets(
            Arc::clone(context),
            stream,
            names,
            unsynced.clone(),
        ));
    }
    if form.scope.is_cluster() {
        let stream = watch::namespaces(client);
        tasks.spawn(namespaces(Arc::clone(context), stream, unsynced.clone()));
    }
    for place in of_instances {
        let (stream, names) = (watch::instances(client, place), Names::of(place_of(place)));
        let stop = stop.clone();
        tasks.spawn(instances(
            Arc::clone(context),
            stream,
            names,
            unsynced.clone(),
            stop,
        ));
    }
}

fn place_of(namespace: Option<&str>) -> Place {
    namespace.map(str::to_owned)
}

async fn keys(
    context: Arc<Context>,
    stream: impl Stream<Item = Happened<KeyProtectKey>>,
    mut listed: Names,
    unsynced: Unsynced,
) {
    let mut stream = std::pin::pin!(stream);
    let mut first = true;
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
                unsynced.note(&context, &mut first);
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
    mut listed: Names,
    unsynced: Unsynced,
) {
    let mut stream = std::pin::pin!(stream);
    let mut first = true;
    while let Some(happened) = stream.next().await {
        let concerned = match happened {
            Happened::ListBegins => {
                listed.begin();
                context.world().secrets_listing(&listed.place);
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
                unsynced.note(&context, &mut first);
                concerned
            }
        };
        context.look_when_due(concerned, now());
    }
}

async fn namespaces(
    context: Arc<Context>,
    stream: impl Stream<Item = Happened<PartialObjectMeta<Namespace>>>,
    unsynced: Unsynced,
) {
    let mut stream = std::pin::pin!(stream);
    let (mut listed, mut first) = (Names::of(None), true);
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
                context.world().namespaces_listed(&listed.end().names);
                unsynced.note(&context, &mut first);
                continue;
            }
        };
        context.look_now(concerned, now());
    }
}

async fn instances(
    context: Arc<Context>,
    stream: impl Stream<Item = Happened<KeyProtectInstance>>,
    mut listed: Names,
    unsynced: Unsynced,
    stop: CancellationToken,
) {
    let mut stream = std::pin::pin!(stream);
    let mut first = true;
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
                unsynced.note(&context, &mut first);
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
    // In this order: a look in between would find the instance still there, and put its connection
    // back, which nobody would take away any more.
    let concerned = context.world().instance_deleted(key);
    context.connections().remove(key);
    concerned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_instance_leaves_the_world_before_its_connection_goes() {
        let context = Arc::new(Context::nowhere());
        let instance = serde_json::json!({
            "apiVersion": "keyprotect.dev/v1alpha1",
            "kind": "KeyProtectInstance",
            "metadata": {"name": "default", "namespace": "n", "uid": "u", "generation": 1},
            "spec": {},
        });
        let instance: KeyProtectInstance = serde_json::from_value(instance).unwrap();
        let key = ObjectKey::of(&instance);
        context.world().instance_applied(instance.clone());
        assert!(instance::connection(&context, &instance).is_some());
        // While a look holds the connections, so that it is seen what is done first: one that comes
        // in between must not find the instance still there, and connect it again.
        let held = context.connections();
        let (theirs, gone) = (Arc::clone(&context), key.clone());
        let forgetting =
            std::thread::spawn(move || forget(&theirs, &mut HashMap::new(), &gone).len());
        let is_gone = (0..100).any(|_| {
            #[allow(clippy::disallowed_methods, reason = "a lock is held meanwhile")]
            std::thread::sleep(std::time::Duration::from_millis(20));
            context.world().instance(&key).is_none()
        });
        drop(held);
        forgetting.join().unwrap();
        assert!(is_gone);
        assert!(context.connections().is_empty());
    }

    #[test]
    fn names_are_noted_in_a_listing_and_never_between_two() {
        let mut names = Names::of(None);
        let key = |name| ObjectKey::new("n", name);
        names.begin();
        names.note(&key("a"));
        assert_eq!(names.end().names, HashSet::from([key("a")]));
        names.note(&key("b"));
        assert!(names.names.is_none());
        names.begin();
        assert_eq!(names.end().names, HashSet::new());
    }
}
