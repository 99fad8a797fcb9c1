//! Watches, turned into plain events. Both kinds pass through a guard, so that one malformed
//! object cannot stop a watch; Secrets and namespaces are watched as metadata.

use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{PartialObjectMeta, Status};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};

use super::received::{Assembled, Received, ReceivedSecret};
use crate::api::{
    KeyProtectInstance, KeyProtectKey, TARGET_ADOPT, TARGET_LABEL, TARGET_OWNED, TARGET_SHARED,
};
use crate::domain::secret::metadata::SecretMetadata;

/// Objects on a page of an opening listing: a page is held whole, as text and as values.
const PAGE: u32 = 100;

fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// One thing that happened to a kind of object.
#[derive(Debug)]
pub enum Happened<T> {
    /// A new listing begins.
    ListBegins,
    /// The object is in the listing.
    Listed(T),
    /// The listing is complete: what was not in it is gone.
    ListEnds,
    /// The object appeared or changed.
    Applied(T),
    /// The object is gone.
    Deleted(T),
    /// The object is there, but does not have the form of its kind: what was known of it stays.
    Malformed(Named),
    /// An object that does not have the form of its kind is gone.
    MalformedDeleted(Named),
}

/// Which object: all that is known of a malformed one.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl<T> Happened<T> {
    fn map<U>(self, change: impl FnOnce(T) -> Result<U, Named>) -> Happened<U> {
        match self {
            Self::ListBegins => Happened::ListBegins,
            Self::ListEnds => Happened::ListEnds,
            Self::Listed(object) => {
                change(object).map_or_else(Happened::Malformed, Happened::Listed)
            }
            Self::Applied(object) => {
                change(object).map_or_else(Happened::Malformed, Happened::Applied)
            }
            Self::Deleted(object) => {
                change(object).map_or_else(Happened::MalformedDeleted, Happened::Deleted)
            }
            Self::Malformed(named) => Happened::Malformed(named),
            Self::MalformedDeleted(named) => Happened::MalformedDeleted(named),
        }
    }
}

impl<T> From<Event<T>> for Happened<T> {
    fn from(event: Event<T>) -> Self {
        match event {
            Event::Init => Self::ListBegins,
            Event::InitApply(object) => Self::Listed(object),
            Event::InitDone => Self::ListEnds,
            Event::Apply(object) => Self::Applied(object),
            Event::Delete(object) => Self::Deleted(object),
        }
    }
}

/// A kind's API in a namespace, or in all of them.
fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Watches KeyProtectKeys, in a namespace or in all of them.
pub fn keys(
    client: &Client,
    namespace: Option<&str>,
) -> impl Stream<Item = Happened<KeyProtectKey>> + Send + 'static {
    guarded::<KeyProtectKey>("KeyProtectKey", api(client, namespace))
}

/// Watches KeyProtectInstances, in a namespace or in all of them.
pub fn instances(
    client: &Client,
    namespace: Option<&str>,
) -> impl Stream<Item = Happened<KeyProtectInstance>> + Send + 'static {
    guarded::<KeyProtectInstance>("KeyProtectInstance", api(client, namespace))
}

/// Watches the metadata of Secrets that carry one of the operator's marks, in a namespace or in all
/// of them.
pub fn secrets(
    client: &Client,
    namespace: Option<&str>,
) -> impl Stream<Item = Happened<SecretMetadata>> + Send + 'static {
    let marks = [TARGET_OWNED, TARGET_SHARED, TARGET_ADOPT].join(", ");
    let config = config().labels(&format!("{TARGET_LABEL} in ({marks})"));
    let secrets: Api<ReceivedSecret> = api(client, namespace);
    plain("Secret", watcher(secrets, config))
        .map(|happened| happened.map(|secret: ReceivedSecret| Ok(secret.metadata)))
}

/// Watches the metadata of namespaces.
pub fn namespaces(
    client: &Client,
) -> impl Stream<Item = Happened<PartialObjectMeta<Namespace>>> + Send + 'static {
    plain(
        "Namespace",
        watcher(
            Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
            config(),
        ),
    )
}

/// Watches one Lease.
pub fn lease(
    client: &Client,
    namespace: &str,
    name: &str,
) -> impl Stream<Item = Happened<Lease>> + Send + 'static {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    plain(
        "Lease",
        watcher(Api::<Lease>::namespaced(client.clone(), namespace), config),
    )
}

fn plain<T: Send + 'static>(
    kind: &'static str,
    stream: impl Stream<Item = watcher::Result<Event<T>>> + Send + 'static,
) -> impl Stream<Item = Happened<T>> + Send + 'static {
    stream
        .default_backoff()
        .filter_map(move |event| async move {
            match event {
                Ok(event) => Some(Happened::from(event)),
                Err(error) => {
                    // The stream goes on by itself, with a back-off.
                    if let Some(remedy) = remedy(&error) {
                        tracing::error!(
                            error = words(&error),
                            kind,
                            remedy,
                            "cannot be watched; it is tried again"
                        );
                    } else {
                        tracing::warn!(
                            error = words(&error),
                            kind,
                            "a watch broke; it is tried again"
                        );
                    }
                    None
                }
            }
        })
}

/// What the API server answered, where it did.
fn answer(error: &watcher::Error) -> Option<&Status> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => Some(status),
        _ => None,
    }
}

/// Words a watch's error. kube's own text of an API server's answer is a form for programmers.
fn words(error: &watcher::Error) -> String {
    answer(error).map_or_else(
        || error.to_string(),
        |status| {
            let said = status.message.trim_end();
            format!("the API server answered {}: {said}", status.code)
        },
    )
}

/// What an admin has to do before a watch can start; nothing where it starts by itself.
fn remedy(error: &watcher::Error) -> Option<&'static str> {
    match answer(error)?.code {
        401 => Some("the API server does not take the operator's token; see its ServiceAccount"),
        403 => Some("the operator may not list and watch this kind; apply its RBAC"),
        404 => Some("the API server does not know this kind; apply the CRDs of this version"),
        _ => None,
    }
}

fn guarded<K: Assembled + Clone + std::fmt::Debug + Send + 'static>(
    kind: &'static str,
    api: Api<Received<K>>,
) -> impl Stream<Item = Happened<K>> + Send + 'static {
    plain(kind, watcher(api, config())).map(move |happened| {
        happened.map(|object: Received<K>| match object {
            Received::Whole(object) => Ok(object),
            Received::Malformed { metadata, error } => {
                let named = Named {
                    namespace: metadata.namespace.unwrap_or_default(),
                    name: metadata.name.unwrap_or_default(),
                };
                tracing::error!(
                    kind,
                    namespace = named.namespace,
                    name = named.name,
                    error,
                    "an object does not have the form of its kind; it is left alone"
                );
                Err(named)
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_keeps_a_watch_from_starting_comes_with_what_to_do() {
        let refused = |code| {
            let status = Status {
                code,
                ..Status::default()
            };
            watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
        };
        assert!(remedy(&refused(404)).is_some_and(|text| text.contains("CRDs")));
        assert!(remedy(&refused(403)).is_some_and(|text| text.contains("RBAC")));
        for passing in [410, 429, 500, 503] {
            assert_eq!(remedy(&refused(passing)), None, "{passing}");
        }
    }

    #[test]
    fn a_malformed_object_stays_in_a_listing_and_its_deletion_is_one() {
        let named = || Named {
            namespace: "n".to_owned(),
            name: "x".to_owned(),
        };
        let malformed = |happened: Happened<()>| happened.map(|()| Err::<(), _>(named()));
        for there in [Happened::Listed(()), Happened::Applied(())] {
            assert!(matches!(malformed(there), Happened::Malformed(x) if x == named()));
        }
        let gone = malformed(Happened::Deleted(()));
        assert!(matches!(gone, Happened::MalformedDeleted(x) if x == named()));
    }

    #[test]
    fn a_broken_watch_is_told_in_words() {
        let status = Status::failure("404 page not found\n", "NotFound").with_code(404);
        let error = watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(status)));
        assert_eq!(
            words(&error),
            "the API server answered 404: 404 page not found"
        );
    }
}
