//! What the API server says of a target when it is asked without writing.

use super::context::Context;
use super::world::Gathered;
use crate::cluster::{reviews, secrets};
use crate::domain::look::hindrance::Need;
use crate::domain::look::observed::Probe;
use crate::domain::look::plan::WriteFailure;
use crate::domain::look::request;

/// Asks the API server about the target, where that is what is needed.
pub(super) async fn ask(
    context: &Context,
    gathered: &Gathered,
    need: &Need,
) -> Result<Option<Probe>, WriteFailure> {
    let object = &gathered.object;
    let (client, name) = (&context.client, request::target_name(object));
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    Ok(Some(match need {
        Need::TargetFree if context.form().reads_secrets => {
            secrets::probe(client, namespace, name).await?
        }
        Need::TargetFree => {
            let target = object.spec.target.as_ref();
            let secret_type = target.and_then(|target| target.type_).unwrap_or_default();
            secrets::probe_unseen(client, namespace, name, secret_type).await?
        }
        Need::MayMerge => may_merge(context, namespace, name).await?,
        Need::Drift {
            name,
            uid,
            resource_version,
        } => {
            let seen = secrets::Seen {
                uid,
                resource_version,
            };
            secrets::probe_drift(client, namespace, name, seen).await?
        }
        Need::Listing(_)
        | Need::Answers(..)
        | Need::Payloads(_)
        | Need::FenceProof
        | Need::Leave(_) => {
            return Ok(None);
        }
    }))
}

async fn may_merge(
    context: &Context,
    namespace: &str,
    secret: &str,
) -> Result<Probe, WriteFailure> {
    match reviews::may_patch(&context.client, namespace, secret).await {
        Some(true) => Ok(Probe::MayMerge),
        Some(false) => Ok(Probe::MayNotMerge),
        None => Err(WriteFailure::Failed(
            "the API server did not say whether the operator may write it",
        )),
    }
}
