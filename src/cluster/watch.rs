//! Watches, turned into plain events. Both kinds pass through a guard, so that one malformed
//! object cannot stop a watch; Secrets and namespaces are watched as metadata.

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};

use crate::api::{KeyProtectInstance, KeyProtectKey, TARGET_LABEL, TARGET_OWNED};

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
}

impl<T> Happened<T> {
    fn map<U>(self, change: impl FnOnce(T) -> Option<U>) -> Option<Happened<U>> {
        Some(match self {
            Self::ListBegins => Happened::ListBegins,
            Self::ListEnds => Happened::ListEnds,
            Self::Listed(object) => Happened::Listed(change(object)?),
            Self::Applied(object) => Happened::Applied(change(object)?),
            Self::Deleted(object) => Happened::Deleted(change(object)?),
        })
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

/// Watches KeyProtectKeys.
pub fn keys(client: &Client) -> impl Stream<Item = Happened<KeyProtectKey>> + Send + 'static {
    guarded(Api::<DeserializeGuard<KeyProtectKey>>::all(client.clone()))
}

/// Watches KeyProtectInstances.
pub fn instances(
    client: &Client,
) -> impl Stream<Item = Happened<KeyProtectInstance>> + Send + 'static {
    guarded(Api::<DeserializeGuard<KeyProtectInstance>>::all(
        client.clone(),
    ))
}

/// Watches the metadata of Secrets that carry the operator's mark.
pub fn secrets(
    client: &Client,
) -> impl Stream<Item = Happened<PartialObjectMeta<Secret>>> + Send + 'static {
    let config = watcher::Config::default().labels(&format!("{TARGET_LABEL}={TARGET_OWNED}"));
    plain(watcher(
        Api::<PartialObjectMeta<Secret>>::all(client.clone()),
        config,
    ))
}

/// Watches the metadata of namespaces.
pub fn namespaces(
    client: &Client,
) -> impl Stream<Item = Happened<PartialObjectMeta<Namespace>>> + Send + 'static {
    plain(watcher(
        Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
        watcher::Config::default(),
    ))
}

fn plain<T: Send + 'static>(
    stream: impl Stream<Item = watcher::Result<Event<T>>> + Send + 'static,
) -> impl Stream<Item = Happened<T>> + Send + 'static {
    stream.default_backoff().filter_map(|event| async move {
        match event {
            Ok(event) => Some(Happened::from(event)),
            Err(error) => {
                // The stream goes on by itself, with a back-off.
                tracing::warn!(error = words(&error), kind = kind::<T>(), "a watch broke");
                None
            }
        }
    })
}

/// Words a watch's error. kube's own text of an API server's answer is a form for programmers.
fn words(error: &watcher::Error) -> String {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        other => return other.to_string(),
    };
    format!(
        "the API server answered {}: {}",
        status.code,
        status.message.trim_end()
    )
}

/// The kind that a type of objects stands for: `Secret` of `PartialObjectMeta<….Secret>`.
fn kind<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    let name = name.rsplit("::").next().unwrap_or(name);
    name.trim_end_matches('>')
}

fn guarded<K>(api: Api<DeserializeGuard<K>>) -> impl Stream<Item = Happened<K>> + Send + 'static
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    plain(watcher(api, watcher::Config::default())).filter_map(|happened| async move {
        happened.map(|object: DeserializeGuard<K>| match object.0 {
            Ok(mut object) => {
                object.managed_fields_mut().clear();
                Some(object)
            }
            Err(invalid) => {
                tracing::error!(
                    kind = %K::kind(&()),
                    namespace = invalid.metadata.namespace,
                    name = invalid.metadata.name,
                    error = %invalid.error,
                    "an object does not have the form of its kind; it is left alone"
                );
                None
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn a_broken_watch_is_told_in_words() {
        let status = Status::failure("404 page not found\n", "NotFound").with_code(404);
        let error = watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(status)));
        assert_eq!(
            words(&error),
            "the API server answered 404: 404 page not found"
        );
        assert_eq!(kind::<PartialObjectMeta<Secret>>(), "Secret");
        assert_eq!(kind::<DeserializeGuard<KeyProtectKey>>(), "KeyProtectKey");
    }
}
