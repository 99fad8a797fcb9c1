//! What a look has learnt so far, and how it learns more: each need of a decision is asked of who
//! knows, and the answer kept until the look ends.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;

use super::audit;
use super::clock::now;
use super::connection::{Connection, Watched};
use super::context::Context;
use super::fence;
use super::instance;
use super::probes;
use super::queue::{Lane, ObjectKey};
use super::reads::{Asker, Reading};
use super::revocations;
use super::said::lane_of;
use super::world::Gathered;
use crate::api::KeyProtectKey;
use crate::domain::access::Question;
use crate::domain::concern;
use crate::domain::look::hindrance::Need;
use crate::domain::look::observed::{self, Payloads, Probe};
use crate::domain::look::plan::WriteFailure;
use crate::domain::pace::listing::Missing;
use crate::domain::revocation::Leave;
use crate::domain::service::catalogue::Answer;
use crate::domain::service::reference::KeyName;

/// Single reads remembered for one object: every source of a Secret in every ring of a few rules.
const QUESTIONS: usize = 256;

/// What a look has learnt so far.
pub(super) struct Learnt {
    /// When the look began.
    pub(super) begun: Timestamp,
    pub(super) answers: HashMap<Question, Answer>,
    pub(super) payloads: Payloads,
    /// Keeps shared payloads alive until this look's write.
    held: Vec<Reading>,
    pub(super) probe: Option<Probe>,
    pub(super) leave: Option<Leave>,
    /// Whether the fence was tried for it.
    pub(super) fence_tried: bool,
    /// Whether a listing was made for it.
    listed: bool,
    /// The connection that it was learnt on.
    pub(super) connection: Option<Arc<Connection>>,
    /// The generation of the object that it was learnt for.
    generation: Option<i64>,
}

impl Learnt {
    /// Begins a look, which knows nothing yet.
    pub(super) fn new(begun: Timestamp) -> Self {
        Self {
            begun,
            answers: HashMap::new(),
            payloads: Payloads::new(),
            held: Vec::new(),
            probe: None,
            leave: None,
            fence_tried: false,
            listed: false,
            connection: None,
            generation: None,
        }
    }

    /// Forgets what is no answer for what is looked at now: everything that was learnt on another
    /// connection, since that is another credential or endpoint, and what was probed for another
    /// spec, which may name another Secret.
    pub(super) fn keep_what_holds(
        &mut self,
        connection: Option<&Arc<Connection>>,
        object: &KeyProtectKey,
    ) {
        let same = match (&self.connection, connection) {
            (Some(then), Some(now)) => Arc::ptr_eq(then, now),
            (None, None) => true,
            _ => false,
        };
        if !same {
            *self = Self {
                connection: connection.cloned(),
                ..Self::new(self.begun)
            };
        }
        let generation = object.metadata.generation;
        if self.generation != generation {
            self.generation = generation;
            (self.probe, self.leave) = (None, None);
        }
    }

    /// Notes which single reads this look needed, beside those that it knew from the one before,
    /// so that the next one begins with all of them. Of those of an earlier spec only what this one
    /// names too is needed.
    pub(super) fn note_questions(&self, mut gathered: Gathered) -> Gathered {
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

/// What came of asking.
pub(super) enum Learned {
    /// More is known now.
    Something,
    /// A listing is to come at this time.
    Later(Timestamp),
}

/// Asks what a decision needs.
pub(super) async fn learn(
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
    let forced = observed::forced(object, &gathered.remembered.memory, now());
    let asker = |key: &KeyName| Asker {
        namespace: object.metadata.namespace.as_deref().unwrap_or_default(),
        read_before: concern::used_before(object, key),
        forced_at: forced.map(|(_, at)| at),
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
            let mut learnt = Learnt::new(now());
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
            let gathered = learnt.note_questions(context.world().gather(&key).unwrap());
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
}
