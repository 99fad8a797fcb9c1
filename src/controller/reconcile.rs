//! One look at one object: gather, decide, ask what the decision needs, decide again, carry the
//! plan out. Every round gathers anew, so that what an answer is used for was allowed just now.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::audit;
use super::clock::now;
use super::connection::{Connection, Watched};
use super::context::Context;
use super::execute::{self, FailedWrite, Unwritten, Writer};
use super::fence;
use super::gathered::labels;
use super::instance;
use super::leadership::Term;
use super::probes;
use super::queue::{Lane, ObjectKey};
use super::reads::{Asker, Reading};
use super::revocations;
use super::said::lane_of;
use super::turns::Standing;
use super::world::Gathered;
use crate::api::{KeyProtectInstance, Reason};
use crate::domain::access::Question;
use crate::domain::concern;
use crate::domain::look::decide::{self, Step};
use crate::domain::look::hindrance::Need;
use crate::domain::look::observed::{
    self, Asked, FenceProof, InstanceView, NamespaceView, Observed, Payloads, Probe, Sight,
};
use crate::domain::look::plan::{Plan, WriteFailure};
use crate::domain::look::request;
use crate::domain::look::unread::PROOF_AGE;
use crate::domain::pace::listing::Missing;
use crate::domain::revocation::Leave;
use crate::domain::schedule;
use crate::domain::service::catalogue::{Answer, Knowledge};
use crate::domain::service::reference::KeyName;

/// Rounds after which a look gives up: more needs than any object has.
const ROUNDS: usize = 16;

/// When it is tried again to give back what an object that is gone left behind.
const GIVE_BACK_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// Single reads remembered for one object: every source of a Secret in every ring of a few rules.
const QUESTIONS: usize = 256;

/// What a look has learnt so far.
#[derive(Default)]
struct Learnt {
    answers: HashMap<Question, Answer>,
    payloads: Payloads,
    /// Keeps shared payloads alive until this look's write.
    held: Vec<Reading>,
    probe: Option<Probe>,
    leave: Option<Leave>,
    /// Whether the fence was tried for it.
    fence_tried: bool,
    /// Whether a listing was made for it.
    listed: bool,
    /// The connection that it was learnt on.
    connection: Option<Arc<Connection>>,
}

/// Looks at an object and does what is to be done for it, as long as this process leads. A look
/// that the end of the term cuts off leaves no status: the next leader looks at everything.
pub(super) async fn look_at(
    context: &Arc<Context>,
    term: &Term,
    key: &ObjectKey,
    standing: Standing,
) {
    let writer = Writer { term, standing };
    let mut learnt = Learnt::default();
    let mut last_need = None;
    for _ in 0..ROUNDS {
        let Some(gathered) = gather(context, key) else {
            return give_back(context, term, key).await;
        };
        let connection = connection_of(context, &gathered);
        learnt.stay_on(connection.as_ref());
        let failed = match decide_on(context, &gathered, &learnt) {
            Step::Do(plan) => {
                let gathered = learnt.note_questions(gathered);
                let plan = match execute::write(context, writer, key, &gathered, *plan).await {
                    Ok(plan) => plan,
                    Err(Unwritten::Failed(failed)) => {
                        after_failed_write(context, key, &gathered, &learnt, &failed)
                    }
                    // Whatever was learnt is looked at anew, by what is allowed now.
                    Err(Unwritten::Outdated) => continue,
                    Err(Unwritten::NotLeading) => return,
                };
                // Payloads are let go of before the status is written, not after.
                drop(learnt);
                return execute::settle(context, writer, key, &gathered, plan).await;
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
    if let Some(gathered) = gather(context, key) {
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
    let plan = after_failed_write(context, key, gathered, learnt, &failed);
    execute::settle(context, writer, key, gathered, plan).await;
}

impl Learnt {
    /// Forgets everything that was learnt on another connection: what one credential or
    /// endpoint showed is no answer for another.
    fn stay_on(&mut self, connection: Option<&Arc<Connection>>) {
        let same = match (&self.connection, connection) {
            (Some(then), Some(now)) => Arc::ptr_eq(then, now),
            (None, None) => true,
            _ => false,
        };
        if !same {
            *self = Self {
                connection: connection.cloned(),
                ..Self::default()
            };
        }
    }

    /// Notes which single reads this look needed, beside those that it knew from the one before,
    /// so that the next one begins with all of them. Of those of an earlier spec only what this one
    /// names too is needed.
    fn note_questions(&self, mut gathered: Gathered) -> Gathered {
        let (object, remembered) = (&gathered.object, &mut gathered.remembered);
        let questions = &mut remembered.questions;
        let generation = object.metadata.generation;
        if remembered.asked_by != generation {
            remembered.asked_by = generation;
            questions.retain(|question| {
                concern::references(object).any(|reference| reference.name == question.key)
            });
        }
        for question in self.answers.keys() {
            if !questions.contains(question) {
                questions.push(question.clone());
            }
        }
        // The oldest go first.
        let surplus = questions.len().saturating_sub(QUESTIONS);
        questions.drain(..surplus);
        gathered
    }
}

/// Gathers everything about an object, and notes of a sync request that is new when it is let
/// through.
fn gather(context: &Context, key: &ObjectKey) -> Option<Gathered> {
    let mut gathered = context.world().gather(key)?;
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
        let uid = gathered.object.metadata.uid.clone();
        context
            .world()
            .remember(key, uid.as_deref(), gathered.remembered.clone());
    }
    Some(gathered)
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

/// Shows a decision what is known.
fn observe<T>(
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

/// What came of asking.
enum Learned {
    /// More is known now.
    Something,
    /// A listing is to come at this time.
    Later(Timestamp),
}

/// Asks what a decision needs.
async fn learn(
    context: &Arc<Context>,
    gathered: &Gathered,
    learnt: &mut Learnt,
    need: Need,
) -> Result<Learned, WriteFailure> {
    if need == Need::FenceProof {
        fence::try_it(context).await;
        learnt.fence_tried = true;
        return Ok(Learned::Something);
    }
    if let Some(probe) = probes::ask(context, gathered, &need).await? {
        learnt.probe = Some(probe);
        return Ok(Learned::Something);
    }
    if let Need::Leave(since) = need {
        learnt.leave = Some(revocations::leave(context, gathered, since));
        return Ok(Learned::Something);
    }
    let Some(connection) = learnt.connection.clone() else {
        return Ok(Learned::Something);
    };
    let object = &gathered.object;
    let forced = observed::forced(object, &gathered.remembered.memory, now()).is_some();
    let asker = |key: &KeyName| Asker {
        namespace: object.metadata.namespace.as_deref().unwrap_or_default(),
        read_before: concern::used_before(object, key),
        forced,
    };
    match need {
        Need::TargetFree
        | Need::MayMerge
        | Need::Drift { .. }
        | Need::FenceProof
        | Need::Leave(_) => {}
        Need::Listing(not_before) => {
            list(context, gathered, &connection, not_before).await;
        }
        Need::Answers(questions, not_before) => {
            if lane_of(object) == Lane::First && !learnt.listed {
                let missed_at = gathered.remembered.missed_at.unwrap_or_else(now);
                match connection.missing(missed_at) {
                    Missing::Read => {}
                    Missing::Wait(until) => return Ok(Learned::Later(until)),
                    Missing::List => {
                        list(context, gathered, &connection, missed_at).await;
                        learnt.listed = true;
                        return Ok(Learned::Something);
                    }
                }
            }
            let asked = questions
                .iter()
                .map(|question| connection.ask(question, not_before, asker(&question.key)));
            let asked = join_all(asked).await;
            for (question, answer) in questions.into_iter().zip(asked) {
                if let Some(answer) = answer {
                    learnt.answers.insert(question, answer);
                }
            }
        }
        Need::Payloads(needs) => {
            let instance_id = connection.instance_id();
            let read = needs.iter().map(async |need| {
                let asker = asker(&KeyName::Id(need.id.clone()));
                let audited = audit::Reading::new(context, gathered, &instance_id, need);
                connection.payload(need, asker, &audited.attempts).await
            });
            let read = join_all(read).await;
            for (need, reading) in needs.into_iter().zip(read) {
                let Some(reading) = reading else {
                    continue;
                };
                if context.world().shares_a_key(object) {
                    connection.linger(&reading);
                }
                learnt.payloads.insert(need.id, reading.result.clone());
                learnt.held.push(reading);
            }
        }
    }
    instance::note_recovery(context, gathered, &connection);
    Ok(Learned::Something)
}

async fn list(
    context: &Arc<Context>,
    gathered: &Gathered,
    connection: &Connection,
    not_before: Timestamp,
) {
    let watched = || {
        let instance = gathered.instance.as_deref().map(ObjectKey::of);
        instance.map_or_else(Watched::default, |key| instance::watched(context, &key))
    };
    if let Some(news) = connection.ensure_listing(not_before, false, watched).await {
        instance::take_news(context, gathered, connection, &news);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};
    use crate::domain::service::ids::Alias;

    #[tokio::test]
    async fn questions_of_an_earlier_spec_are_forgotten_and_those_of_this_one_are_not() {
        let context = Context::nowhere();
        let key = ObjectKey::new("n", "x");
        let asked_after = |generation: i64, alias: &str, asks: &[&str]| {
            let object = json!({
                "apiVersion": "keyprotect.dev/v1alpha1",
                "kind": "KeyProtectKey",
                "metadata": {"name": "x", "namespace": "n", "uid": "u", "generation": generation,
                    "resourceVersion": generation.to_string()},
                "spec": {"key": {"alias": alias}},
            });
            let object = serde_json::from_value(object).unwrap();
            context.world().key_applied(object);
            let mut learnt = Learnt::default();
            for alias in asks {
                let question = Question {
                    key: KeyName::Alias(Alias::parse(alias).unwrap()),
                    ring: None,
                };
                let gone = FailureKind::KeyNotFound;
                let result = Err(FetchFailure::new(Operation::GetKeyMetadata, gone, "gone"));
                let asked_at = now();
                learnt.answers.insert(question, Answer { result, asked_at });
            }
            let gathered = learnt.note_questions(gather(&context, &key).unwrap());
            let remembered = gathered.remembered;
            let asked = remembered.questions.iter();
            let mut asked: Vec<_> = asked.map(|question| question.key.to_string()).collect();
            context.world().remember(&key, Some("u"), remembered);
            asked.sort_unstable();
            asked
        };
        assert_eq!(asked_after(1, "one", &["one", "old"]), ["old", "one"]);
        assert_eq!(asked_after(1, "one", &["new"]), ["new", "old", "one"]);
        // An edit of something else costs no read of what is known.
        assert_eq!(asked_after(2, "one", &[]), ["one"]);
        for generation in 3..400 {
            let alias = format!("a{generation}");
            assert_eq!(asked_after(generation, &alias, &[&alias]), [&*alias]);
        }
    }

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
            let memory = gather(&context, &key).unwrap().remembered.memory;
            let asked = memory.sync_request.unwrap();
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
