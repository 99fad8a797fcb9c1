//! Shows a decision what is known: the world as gathered, what the connection knows and what this
//! look has learnt, as one plain value.

use jiff::Timestamp;

use super::clock::now;
use super::context::Context;
use super::gathered::labels;
use super::learnt::Learnt;
use super::world::Gathered;
use crate::api::{KeyProtectInstance, Reason};
use crate::domain::look::observed::{FenceProof, InstanceView, NamespaceView, Observed, Sight};
use crate::domain::look::unread::PROOF_AGE;
use crate::domain::schedule;
use crate::domain::service::catalogue::Knowledge;

/// Shows a decision what is known.
pub(super) fn observe<T>(
    context: &Context,
    gathered: &Gathered,
    learnt: &Learnt,
    decision: impl FnOnce(&Observed<'_>) -> T,
) -> T {
    let connection = learnt.connection.as_ref();
    let mut answers = connection
        .map(|connection| connection.answers(&gathered.remembered.questions))
        .unwrap_or_default();
    answers.extend(learnt.answers.iter().map(|(q, a)| (q.clone(), a.clone())));
    let knowledge = Knowledge {
        listing: connection
            .map(|connection| connection.listing())
            .unwrap_or_default(),
        answers,
        last_found: connection.and_then(|connection| connection.last_found()),
    };
    let instance_id = connection
        .map(|connection| connection.instance_id())
        .unwrap_or_default();
    let instance = gathered.instance.as_deref().map(|instance| {
        let unusable = connection.and_then(|c| c.usable.as_ref().err());
        instance_view(instance, &instance_id, unusable)
    });
    decision(&Observed {
        now: now(),
        begun: learnt.begun,
        object: &gathered.object,
        namespace: NamespaceView {
            name: gathered
                .object
                .metadata
                .namespace
                .as_deref()
                .unwrap_or_default(),
            labels: labels(gathered.namespace.as_deref(), &context.form().scope),
            terminating: gathered
                .namespace
                .as_ref()
                .is_some_and(|facts| facts.terminating),
        },
        surplus: gathered.surplus,
        rival: gathered.rival.as_ref(),
        instance,
        sight: sight(context, learnt),
        secret: gathered.secret.as_ref(),
        owners_live: gathered.owners_live,
        superseded: &gathered.superseded,
        written_is_wanted: gathered.written_is_wanted,
        merged: &gathered.merged,
        knowledge: &knowledge,
        payloads: &learnt.payloads,
        probe: learnt.probe,
        leave: learnt.leave,
        memory: &gathered.remembered.memory,
        policy: &context.settings.policy,
        account: context.account(),
    })
}

fn sight(context: &Context, learnt: &Learnt) -> Sight {
    if context.form().reads_secrets {
        return Sight::Watched;
    }
    let since = now().checked_sub(PROOF_AGE).unwrap_or(Timestamp::MIN);
    let fence = if context.settings.fence.is_none() {
        FenceProof::Off
    } else if context.fence.has_held_since(since) {
        FenceProof::Proven
    } else if learnt.fence_tried {
        FenceProof::Missing
    } else {
        FenceProof::Old
    };
    let interval = context.settings.drift_interval;
    Sight::Unread { interval, fence }
}

fn instance_view<'a>(
    instance: &'a KeyProtectInstance,
    instance_id: &'a str,
    unusable: Option<&'a (Reason, String)>,
) -> InstanceView<'a> {
    InstanceView {
        namespace: instance.metadata.namespace.as_deref().unwrap_or_default(),
        name: instance.metadata.name.as_deref().unwrap_or_default(),
        access: instance.spec.access.as_deref(),
        instance_id,
        refresh_interval: schedule::refresh_interval(instance),
        on_access_withdrawn: instance.spec.on_access_withdrawn.unwrap_or_default(),
        unusable: unusable.map(|(reason, message)| (*reason, message.as_str())),
    }
}
