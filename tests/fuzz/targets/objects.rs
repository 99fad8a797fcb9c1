//! Objects as a watch of the API server brings them.

use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use key_protect_operator::api::KeyProtectKey;
use key_protect_operator::cluster::watch::{self, Happened};
use key_protect_operator::domain::secret::SecretView;
use key_protect_operator::domain::secret::metadata::SecretMetadata;
use key_protect_operator::domain::secret::target::TargetSpec;
use key_protect_operator::domain::service::reference::KeyReference;
use kube::client::Body;
use serde_json::{Value, json};

/// One odd object does not keep the others from coming: where its metadata can be read, it is
/// listed or named as malformed, and the one after it is listed.
pub(crate) fn watched(data: &[u8]) {
    if let Ok(metadata) = serde_json::from_slice::<SecretMetadata>(data) {
        let named = metadata.name.is_some() && metadata.namespace.is_some();
        let view = SecretView::from_metadata(metadata);
        assert!(view.is_none() || named, "a Secret without a name");
    }
    let Ok(Value::Object(odd)) = serde_json::from_slice(data) else {
        return;
    };
    let metadata = odd.get("metadata").cloned().unwrap_or_default();
    let Ok(metadata) = serde_json::from_value::<ObjectMeta>(metadata) else {
        return;
    };
    let Some(name) = metadata.name.filter(|_| metadata.namespace.is_some()) else {
        return;
    };
    let good = json!({
        "apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey",
        "metadata": {"name": "good", "namespace": "team", "uid": "u", "resourceVersion": "2"},
        "spec": {"instanceRef": {"name": "main"}},
    });
    let page = json!({
        "apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKeyList",
        "metadata": {"resourceVersion": "3"},
        "items": [Value::Object(odd), good],
    });
    let (first, second) = listed(page.to_string().into_bytes());
    match &first {
        Happened::Listed(object) => {
            assert_eq!(object.metadata.name.as_ref(), Some(&name));
            target(object);
        }
        Happened::Malformed(named) => assert_eq!(named.name, name),
        other => panic!("{other:?} in place of {name}"),
    }
    let Happened::Listed(object) = second else {
        panic!("{second:?} in place of the good one, after {first:?}");
    };
    assert_eq!(object.metadata.name.as_deref(), Some("good"));
}

/// What an object wants is read or refused by a message that names what to change.
fn target(object: &KeyProtectKey) {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let Ok(main) = KeyReference::from_selector(object.spec.key.as_ref(), name) else {
        return;
    };
    if let Err(error) = TargetSpec::new(name, object.spec.target.as_ref(), &main, &[]) {
        assert!(!error.to_string().is_empty());
    }
}

/// The two objects of a listing, as the operator's watch brings them.
fn listed(page: Vec<u8>) -> (Happened<KeyProtectKey>, Happened<KeyProtectKey>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(async move {
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let body = Body::from(page.clone());
            async move { Ok::<_, Infallible>(http::Response::new(body)) }
        });
        let client = kube::Client::new(service, "team");
        let mut events = Box::pin(watch::keys(&client, None));
        let mut next = async || {
            let event = tokio::time::timeout(Duration::from_secs(5), events.next());
            match event.await {
                Ok(Some(event)) => event,
                Ok(None) => panic!("the watch ended"),
                Err(_) => panic!("the watch stopped at the odd object"),
            }
        };
        let begins = next().await;
        assert!(matches!(begins, Happened::ListBegins), "{begins:?}");
        (next().await, next().await)
    })
}
