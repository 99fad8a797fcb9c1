//! One look at one object: gather, decide, ask what the decision needs, decide again, carry the
//! plan out. Every round gathers anew, so that what an answer is used for was allowed just now.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::clock::now;
use super::connection::Connection;
use super::context::Context;
use super::execute::{self, FailedWrite, Unwritten, Writer};
use super::instance;
use super::leadership::Term;
use super::learnt::{Learned, Learnt, learn};
use super::observing::observe;
use super::queue::{Lane, ObjectKey};
use super::said::lane_of;
use super::turns::Standing;
use super::world::Gathered;
use crate::domain::look::decide::{self, Step};
use crate::domain::look::observed::{self, Asked};
use crate::domain::look::plan::{Plan, WriteFailure};
use crate::domain::look::request;

/// Rounds after which a look gives up: more needs than any object has.
const ROUNDS: usize = 16;

/// When it is tried again to give back what an object that is gone left behind.
const GIVE_BACK_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// Looks at an object and does what is to be done for it, as long as this process leads. A look
/// that the end of the term cuts off leaves no status: the next leader looks at everything.
pub(super) async fn look_at(
    context: &Arc<Context>,
    term: &Term,
    key: &ObjectKey,
    standing: Standing,
) {
    let writer = Writer { term, standing };
    let mut learnt = Learnt::new(now());
    let mut last_need = None;
    for round in 0..ROUNDS {
        let gathered = context.world().gather(key);
        let Some(mut gathered) = gathered else {
            return give_back(context, term, key).await;
        };
        // One that comes while the look lasts is the next one's, so that none goes on for ever.
        if round == 0 {
            note_sync_request(context, key, &mut gathered);
        }
        let connection = connection_of(context, &gathered);
        learnt.keep_what_holds(connection.as_ref(), &gathered.object);
        let mut decided_at = now();
        let failed = match decide_on(context, &gathered, &learnt) {
            Step::Do(plan) => {
                let gathered = learnt.note_questions(gathered);
                let plan = match execute::write(context, writer, key, &gathered, *plan).await {
                    Ok(plan) => plan,
                    Err(Unwritten::Failed(failed)) => {
                        decided_at = now();
                        after_failed_write(context, key, &gathered, &learnt, &failed)
                    }
                    // Whatever was learnt is looked at anew, by what is allowed now.
                    Err(Unwritten::Outdated) => continue,
                    Err(Unwritten::NotLeading) => return,
                };
                // Payloads are let go of before the status is written, not after.
                drop(learnt);
                return execute::settle(context, writer, key, &gathered, plan, decided_at).await;
            }
            Step::Ask(need) => {
                last_need = Some(need.clone());
                match learn(context, &gathered, &mut learnt, need).await {
                    Ok(Learned::Something) => Ok(()),
                    Ok(Learned::Later(at)) => return wait_for_listing(context, key, gathered, at),
                    Err(failure) => Err(failure),
                }
            }
        };
        if let Err(failure) = failed {
            return give_up(context, writer, key, &gathered, &learnt, failure).await;
        }
    }
    tracing::error!(object = %key, ?last_need, "a look did not come to an end; it is tried again");
    let failure = WriteFailure::Failed("the operator could not decide; please report this");
    let gathered = context.world().gather(key);
    if let Some(gathered) = gathered {
        give_up(context, writer, key, &gathered, &learnt, failure).await;
    }
}

/// Ends the look at an object that is gone.
async fn give_back(context: &Context, term: &Term, key: &ObjectKey) {
    if let Ok(true) = execute::give_back_for(context, term, key).await
        && let Ok(at) = now().checked_add(GIVE_BACK_AGAIN)
    {
        context.queue().schedule(key, at, Lane::Routine);
        context.wake.notify_one();
    }
}

/// Ends a look for which there is nothing to do before a listing is to come.
fn wait_for_listing(context: &Context, key: &ObjectKey, mut gathered: Gathered, at: Timestamp) {
    gathered.remembered.missed_at.get_or_insert_with(now);
    let uid = gathered.object.metadata.uid.as_deref();
    context.world().remember(key, uid, gathered.remembered);
    let lane = lane_of(&gathered.object);
    context.queue().schedule(key, at, lane);
    context.wake.notify_one();
}

/// Ends a look that did not get as far as a write.
async fn give_up(
    context: &Arc<Context>,
    writer: Writer<'_>,
    key: &ObjectKey,
    gathered: &Gathered,
    learnt: &Learnt,
    failure: WriteFailure,
) {
    let secret = request::target_name(&gathered.object).to_owned();
    let failed = FailedWrite { secret, failure };
    let decided_at = now();
    let plan = after_failed_write(context, key, gathered, learnt, &failed);
    execute::settle(context, writer, key, gathered, plan, decided_at).await;
}

/// Notes of a sync request that is new when it is let through.
fn note_sync_request(context: &Context, key: &ObjectKey, gathered: &mut Gathered) {
    let memory = &mut gathered.remembered.memory;
    if let Some(asked) = observed::sync_asked_for(&gathered.object)
        && memory
            .sync_request
            .as_ref()
            .is_none_or(|seen| seen.value != asked)
    {
        let last = memory.sync_request.as_ref().map(|seen| seen.let_through_at);
        let seen_at = now();
        memory.sync_request = Some(Asked {
            value: asked.to_owned(),
            seen_at,
            let_through_at: context.forced().admit(&key.namespace, last, seen_at),
        });
        let uid = gathered.object.metadata.uid.as_deref();
        context
            .world()
            .remember(key, uid, gathered.remembered.clone());
    }
}

fn connection_of(context: &Context, gathered: &Gathered) -> Option<Arc<Connection>> {
    let instance = gathered.instance.as_ref()?;
    instance::connection(context, instance)
}

fn decide_on(context: &Context, gathered: &Gathered, learnt: &Learnt) -> Step {
    observe(context, gathered, learnt, decide::look)
}

fn after_failed_write(
    context: &Context,
    key: &ObjectKey,
    gathered: &Gathered,
    learnt: &Learnt,
    failed: &FailedWrite,
) -> Plan {
    let FailedWrite { secret, failure } = failed;
    tracing::debug!(object = %key, ?failure, "a write of a Secret failed");
    observe(context, gathered, learnt, |observed| {
        decide::look_after_failed_write(observed, secret, failure)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn forced_syncs_of_an_object_are_let_through_ten_seconds_apart() {
        let context = Context::nowhere();
        let key = ObjectKey::new("n", "x");
        let moment = |version: u32| {
            let object = json!({
                "apiVersion": "keyprotect.dev/v1alpha1",
                "kind": "KeyProtectKey",
                "metadata": {"name": "x", "namespace": "n", "uid": "u",
                    "resourceVersion": version.to_string(),
                    "annotations": {crate::api::SYNC_REQUESTED_ANNOTATION: version.to_string()}},
                "spec": {},
            });
            let object = serde_json::from_value(object).unwrap();
            context.world().key_applied(object);
            let mut gathered = context.world().gather(&key).unwrap();
            note_sync_request(&context, &key, &mut gathered);
            let asked = gathered.remembered.memory.sync_request.unwrap();
            assert_eq!(asked.value, version.to_string());
            asked.let_through_at
        };
        let first = moment(1);
        assert!(first <= now());
        for version in 2..5 {
            assert_eq!(moment(version), first + jiff::SignedDuration::from_secs(10));
        }
    }
}
