//! Asks the API server who the operator is and what it may do. Reviews write nothing, everybody may
//! make them of themselves, and no admission policy sees them.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::domain::form::{Review, SecretVerb};

/// How long a review may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Reviews under way at once.
const AT_ONCE: usize = 8;

/// The operator's username; nothing where there was no answer.
pub async fn who_am_i(client: &Client) -> Option<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let (params, review) = (PostParams::default(), SelfSubjectReview::default());
    let asked = tokio::time::timeout(DEADLINE, reviews.create(&params, &review)).await;
    asked.ok()?.ok()?.status?.user_info?.username
}

/// What the operator may do with Secrets; nothing where one question had no answer.
pub async fn secrets(
    client: &Client,
    questions: Vec<(SecretVerb, Option<String>)>,
) -> Option<Vec<Review>> {
    stream::iter(questions)
        .map(|(verb, namespace)| async move {
            let allowed = may(client, verb.as_str(), namespace.as_deref(), None)
                .await
                .ok_or(())?;
            Ok::<_, ()>(Review {
                verb,
                namespace,
                allowed,
            })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .ok()
}

/// Whether the operator may patch one Secret, which is for its owner to allow; nothing where there
/// was no answer.
pub async fn may_patch(client: &Client, namespace: &str, secret: &str) -> Option<bool> {
    may(client, "patch", Some(namespace), Some(secret)).await
}

async fn may(
    client: &Client,
    verb: &str,
    namespace: Option<&str>,
    secret: Option<&str>,
) -> Option<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: namespace.map(str::to_owned),
                resource: Some("secrets".to_owned()),
                name: secret.map(str::to_owned),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let params = PostParams::default();
    let asked = tokio::time::timeout(DEADLINE, reviews.create(&params, &review)).await;
    Some(asked.ok()?.ok()?.status?.allowed)
}
