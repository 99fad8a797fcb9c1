//! Reviews of the operator's own access: what it may do is asked, not tried.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

/// How long a review may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Asks whether the operator has a verb on a Secret; nothing, where there is no answer.
pub async fn may(client: &Client, verb: &str, namespace: &str, secret: &str) -> Option<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some(verb.to_owned()),
                version: Some("v1".to_owned()),
                resource: Some("secrets".to_owned()),
                name: Some(secret.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    let params = PostParams::default();
    let answer = tokio::time::timeout(DEADLINE, reviews.create(&params, &review)).await;
    Some(answer.ok()?.ok()?.status?.allowed)
}
