//! Tries what the fence must refuse, and brings home what the API server answered. Both attempts
//! are dry runs: nothing is left behind, whatever the answer.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api;
use crate::domain::fence::{Answer, Answers};

/// Name of the Secret and the Lease that are never made.
const NAME: &str = "key-protect-operator-fence-self-test";
/// How long an attempt may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Tries to make a Secret without the operator's label and a Lease that is not its own, in its own
/// namespace; and asks who it is, where one of them passed.
pub async fn attempt(client: &Client, namespace: &str) -> Answers {
    let metadata = ObjectMeta {
        name: Some(NAME.to_owned()),
        ..ObjectMeta::default()
    };
    let secret = Secret {
        metadata: metadata.clone(),
        ..Secret::default()
    };
    let lease = Lease {
        metadata,
        ..Lease::default()
    };
    let (secret, lease) = tokio::join!(
        create(client, namespace, &secret),
        create(client, namespace, &lease)
    );
    let mut answers = Answers {
        secret,
        lease,
        account: None,
    };
    if answers.passed() {
        answers.account = super::reviews::who_am_i(client).await;
    }
    answers
}

async fn create<K>(client: &Client, namespace: &str, object: &K) -> Answer
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    // In all else as the operator's own writes are, so that it is the one thing that matters.
    let params = PostParams {
        dry_run: true,
        field_manager: Some(api::FIELD_MANAGER.to_owned()),
    };
    match tokio::time::timeout(DEADLINE, api.create(&params, object)).await {
        Ok(Ok(_)) => Answer::Passed,
        // Busy or broken is no word about the fence; neither is a token that has run out.
        Ok(Err(kube::Error::Api(status))) if !matches!(status.code, 401 | 408 | 429 | 500..) => {
            Answer::Refused {
                code: status.code,
                reason: status.reason,
                message: status.message,
            }
        }
        Ok(Err(_)) | Err(_) => Answer::Silence,
    }
}
