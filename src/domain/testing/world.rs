//! One instance, one namespace, some objects, and the loop that the shell runs for them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::cluster::Cluster;
use super::service::Service;
use super::{INSTANCE_ID, INSTANCE_NAMESPACE, NAMESPACE, at, minutes, rule};
use crate::api::Reason;
use crate::api::condition::ConditionType;
use crate::api::instance::AccessRule;
use crate::api::key::{KeyProtectKey, KeyProtectKeyStatus, RevocationPolicy};
use crate::domain::access::Labels;
use crate::domain::account::Account;
use crate::domain::claim::{self, Rival};
use crate::domain::concern;
use crate::domain::look::decide::{Step, look, look_after_failed_write};
use crate::domain::look::hindrance::Need;
use crate::domain::look::observed::{
    Asked, FenceProof, InstanceView, Memory, NamespaceView, Observed, Payloads, Policy, Probe,
    Sight,
};
use crate::domain::look::plan::{Plan, check};
use crate::domain::look::request::target_name;
use crate::domain::revocation::{self, Leave, Tally};
use crate::domain::secret::{self, Mark, SecretView, shared};
use crate::domain::service::catalogue::{Knowledge, Listing};
use crate::domain::status;

/// How often a look may ask before it is said to ask for ever.
const MOST_ASKS: usize = 12;

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) objects: BTreeMap<String, KeyProtectKey>,
    pub(crate) memories: BTreeMap<String, Memory>,
    pub(crate) cluster: Cluster,
    pub(crate) service: Service,
    pub(crate) knowledge: Knowledge,
    /// Whether there is an instance at all.
    pub(crate) instance: bool,
    pub(crate) access: Option<Vec<AccessRule>>,
    pub(crate) unusable: Option<(Reason, &'static str)>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) watches_namespaces: bool,
    pub(crate) terminating: bool,
    /// Whether Secrets cannot be read, and then what is known of the fence.
    pub(crate) unread: Option<FenceProof>,
    /// Whether the owners of shared Secrets give the right to write them.
    pub(crate) may_merge: bool,
    pub(crate) policy: Policy,
    /// How many objects of the namespace are served, where these are not among them.
    pub(crate) surplus: Option<usize>,
    /// The service's ID of the instance.
    pub(crate) instance_id: &'static str,
    /// Whether the namespace is out of view.
    pub(crate) unseen: bool,
    /// What the instance's onAccessWithdrawn says.
    pub(crate) on_access_withdrawn: RevocationPolicy,
    /// What the annotation says that lets revocations go.
    pub(crate) release: Option<String>,
    pub(crate) account: Account,
    /// What a self-test of the fence would show.
    pub(crate) fence: FenceProof,
    /// When the look began.
    begun: Timestamp,
    /// How long it takes to learn something.
    pub(crate) learning: SignedDuration,
    /// How long before it is needed a single read may have begun: others may need the same.
    pub(crate) joined: SignedDuration,
    /// What the last look asked for.
    pub(crate) asked: Vec<Need>,
}

/// Where an execution stops, as a process does that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It does not.
    Never,
    /// After this many writes of Secrets, before anything else.
    AfterWrites(usize),
}

impl World {
    /// A world with one instance that every namespace may use, and these objects.
    pub(crate) fn new(objects: impl IntoIterator<Item = KeyProtectKey>) -> Self {
        let named = |object: KeyProtectKey| (object.metadata.name.clone().unwrap(), object);
        Self {
            now: at(0),
            objects: objects.into_iter().map(named).collect(),
            memories: BTreeMap::new(),
            cluster: Cluster::default(),
            service: Service::default(),
            knowledge: Knowledge::default(),
            instance: true,
            access: Some(vec![rule()]),
            unusable: None,
            labels: BTreeMap::new(),
            watches_namespaces: true,
            terminating: false,
            unread: None,
            begun: at(0),
            learning: SignedDuration::ZERO,
            joined: SignedDuration::ZERO,
            may_merge: true,
            policy: Policy {
                grace: minutes(15),
                default_instance: (INSTANCE_NAMESPACE.to_owned(), "default".to_owned()),
                metadata_prefixes: vec!["example.com".to_owned()],
            },
            surplus: None,
            instance_id: INSTANCE_ID,
            unseen: false,
            on_access_withdrawn: RevocationPolicy::Retain,
            release: None,
            fence: FenceProof::Proven,
            account: Account::parse(
                "system:serviceaccount:key-protect-system:key-protect-operator",
            ),
            asked: Vec::new(),
        }
    }

    pub(crate) fn object(&mut self, name: &str) -> &mut KeyProtectKey {
        self.objects.get_mut(name).unwrap()
    }

    /// Changes an object's spec as its author would.
    pub(crate) fn edit(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut crate::api::key::KeyProtectKeySpec),
    ) {
        let object = self.object(name);
        change(&mut object.spec);
        object.metadata.generation = object.metadata.generation.map(|generation| generation + 1);
    }

    pub(crate) fn status(&self, name: &str) -> KeyProtectKeyStatus {
        self.objects
            .get(name)
            .and_then(|object| object.status.clone())
            .unwrap_or_default()
    }

    /// Ready's status and reason.
    pub(crate) fn ready(&self, name: &str) -> (String, String) {
        let status = self.status(name);
        let ready = status::find(&status.conditions, crate::api::ConditionType::Ready);
        ready
            .map(|ready| (ready.status.clone(), ready.reason.clone()))
            .unwrap_or_default()
    }

    /// Ready's message.
    pub(crate) fn message(&self, name: &str) -> String {
        let status = self.status(name);
        let ready = status::find(&status.conditions, crate::api::ConditionType::Ready);
        ready.map(|ready| ready.message.clone()).unwrap_or_default()
    }

    /// One entry of a Secret.
    pub(crate) fn entry(&self, secret: &str, entry: &str) -> Option<Vec<u8>> {
        self.cluster.secrets.get(secret)?.data.get(entry).cloned()
    }

    pub(crate) fn pass(&mut self, time: SignedDuration) {
        self.now += time;
    }

    /// Lists the instance's keys, as the shell does once an interval.
    pub(crate) fn refresh(&mut self) {
        let by_name = self.objects.values().any(concern::names_by_name);
        self.knowledge.listing = if self.service.singly && !by_name {
            Listing::Singly {
                at: self.now,
                rows: 1_000,
            }
        } else {
            self.service.list(self.now, &self.knowledge.listing)
        };
    }

    /// Forgets what a restart forgets.
    pub(crate) fn restart(&mut self) {
        self.memories.clear();
        self.knowledge = Knowledge::default();
    }

    /// Looks, asks and looks again, until there is a plan.
    pub(crate) fn plan(&mut self, name: &str) -> Plan {
        self.begun = self.now;
        let mut payloads = Payloads::new();
        let (mut probe, mut leave) = (None, None);
        self.asked.clear();
        let memory = self.remembered(name);
        while self.asked.len() < MOST_ASKS {
            let step = self.with_observed(name, &memory, &payloads, (probe, leave), look);
            match step {
                Step::Do(plan) => {
                    let uid = self.uid(name);
                    assert_eq!(check(&plan, &uid), Ok(()), "{plan:?}");
                    return *plan;
                }
                Step::Ask(need) => {
                    assert!(!self.asked.contains(&need), "asked twice for {need:?}");
                    self.asked.push(need.clone());
                    if let Need::Leave(since) = &need {
                        leave = Some(self.leave(name, *since));
                    }
                    self.learn(name, &need, &mut payloads, &mut probe);
                    self.now += self.learning;
                }
            }
        }
        panic!("no plan after {:?}", self.asked);
    }

    fn learn(
        &mut self,
        name: &str,
        need: &Need,
        payloads: &mut Payloads,
        probe: &mut Option<Probe>,
    ) {
        match need {
            Need::Listing(not_before) => {
                assert!(*not_before <= self.now, "no listing is so new: {need:?}");
                self.refresh();
            }
            Need::Answers(questions, not_before) => {
                assert!(*not_before <= self.now, "no answer is so new: {need:?}");
                let begun = self.now.checked_sub(self.joined).unwrap();
                let asked_at = begun.max(*not_before);
                for question in questions {
                    let answer = self.service.answer(question, asked_at);
                    if let Ok(found) = &answer.result {
                        self.knowledge.last_found = Some((found.id.clone(), self.now));
                    }
                    self.knowledge.answers.insert(question.clone(), answer);
                }
            }
            Need::Payloads(needs) => {
                for need in needs {
                    payloads.insert(need.id.clone(), self.service.read(need));
                }
            }
            Need::Leave(_) => {}
            Need::TargetFree => {
                let target = target_name(self.object(name)).to_owned();
                let mark = self
                    .cluster
                    .secrets
                    .get(&target)
                    .map(|secret| secret.view.mark());
                *probe = Some(match mark {
                    None => Probe::Free,
                    Some(Some(Mark::Owned | Mark::Adopt)) if self.unread.is_some() => Probe::Ours,
                    Some(_) => Probe::Taken,
                });
            }
            Need::Drift {
                name,
                uid,
                resource_version,
            } => {
                *probe = Some(match self.cluster.secrets.get(name) {
                    None => Probe::Gone,
                    Some(there)
                        if there.view.uid == *uid
                            && there.view.resource_version == *resource_version =>
                    {
                        Probe::Same
                    }
                    Some(_) => Probe::Changed,
                });
            }
            Need::FenceProof => self.unread = Some(self.fence),
            Need::MayMerge => {
                *probe = Some(if self.may_merge {
                    Probe::MayMerge
                } else {
                    Probe::MayNotMerge
                });
            }
        }
    }

    /// Leave for a revocation, counted from statuses alone.
    pub(crate) fn leave(&self, name: &str, since: Timestamp) -> Leave {
        let mut tally = Tally::default();
        for (other, object) in &self.objects {
            let status = object.status.clone().unwrap_or_default();
            let target = target_name(object);
            let revoked = status.last_revocation_time.as_ref();
            let revoked = revoked.is_some_and(|time| revocation::counts(time.0, self.now));
            let has = status.secret.is_some();
            let acted = revoked || has && !self.cluster.secrets.contains_key(target);
            tally.secrets += usize::from(acted || has);
            if other != name {
                let held = status::holds(&status.conditions, ConditionType::MassRevocationHeld);
                tally.acted += usize::from(acted);
                tally.held += usize::from(held && !acted);
            }
        }
        tally.leave(since, self.release.as_deref(), self.now)
    }

    /// What is remembered of an object, with the sync request that the shell has seen.
    fn remembered(&mut self, name: &str) -> Memory {
        let now = self.now;
        let asked = self
            .object(name)
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(crate::api::SYNC_REQUESTED_ANNOTATION))
            .cloned();
        let memory = self
            .memories
            .entry(name.to_owned())
            .or_insert_with(|| Memory::new(now));
        if let Some(asked) = asked
            && memory
                .sync_request
                .as_ref()
                .is_none_or(|seen| seen.value != asked)
        {
            memory.sync_request = Some(Asked {
                value: asked,
                seen_at: now,
                let_through_at: now,
            });
        }
        memory.clone()
    }

    /// Shows what would be observed of an object before anything is asked.
    pub(crate) fn observe<T>(&self, name: &str, decide: impl FnOnce(&Observed<'_>) -> T) -> T {
        let memory = Memory::new(self.now);
        self.with_observed(name, &memory, &Payloads::new(), (None, None), decide)
    }

    fn uid(&self, name: &str) -> String {
        self.objects
            .get(name)
            .and_then(|object| object.metadata.uid.clone())
            .unwrap()
    }

    fn with_observed<T>(
        &self,
        name: &str,
        memory: &Memory,
        payloads: &Payloads,
        (probe, leave): (Option<Probe>, Option<Leave>),
        decide: impl FnOnce(&Observed<'_>) -> T,
    ) -> T {
        let object = self.objects.get(name).unwrap();
        let uid = self.uid(name);
        let target = target_name(object);
        let in_view = || self.cluster.in_view().filter(|_| self.unread.is_none());
        let superseded: Vec<SecretView> = in_view()
            .filter(|view| view.name != target && view.is_owned_by(&uid))
            .cloned()
            .collect();
        let merged: Vec<SecretView> = in_view()
            .filter(|view| shared::objects(view).any(|object| object == name))
            .cloned()
            .collect();
        let rival = self.rival(object);
        decide(&Observed {
            now: self.now,
            begun: self.begun,
            object,
            namespace: NamespaceView {
                name: NAMESPACE,
                labels: if !self.watches_namespaces {
                    Labels::NotWatched
                } else if self.unseen {
                    Labels::NotInView
                } else {
                    Labels::Known(&self.labels)
                },
                terminating: self.terminating,
            },
            surplus: self.surplus,
            rival: rival.as_ref(),
            instance: self.instance.then_some(InstanceView {
                namespace: INSTANCE_NAMESPACE,
                name: "default",
                access: self.access.as_deref(),
                instance_id: self.instance_id,
                refresh_interval: minutes(60),
                on_access_withdrawn: self.on_access_withdrawn,
                unusable: self.unusable,
            }),
            sight: self.unread.map_or(Sight::Watched, |fence| Sight::Unread {
                interval: minutes(10),
                fence,
            }),
            secret: in_view().find(|view| view.name == target),
            owners_live: self.owners_live(target, &uid),
            superseded: &superseded,
            written_is_wanted: self.written_is_wanted(name),
            merged: &merged,
            knowledge: &self.knowledge,
            payloads,
            probe,
            leave,
            memory,
            policy: &self.policy,
            account: Some(&self.account),
        })
    }

    fn written_is_wanted(&self, name: &str) -> bool {
        let status = self.objects.get(name).and_then(|of| of.status.as_ref());
        let written = status.and_then(|status| status.secret.as_ref());
        written.is_some_and(|written| {
            let mut others = self.objects.iter().filter(|(other, _)| *other != name);
            others.any(|(_, other)| {
                target_name(other) == written.name && other.metadata.deletion_timestamp.is_none()
            })
        })
    }

    fn owners_live(&self, target: &str, uid: &str) -> bool {
        let Some(secret) = self.cluster.secrets.get(target) else {
            return false;
        };
        let others = secret.view.owner_references.iter();
        let mut others = others.filter(|owner| secret::is_key(owner) && owner.uid != uid);
        others.all(|owner| {
            self.objects.values().any(|object| {
                object.metadata.uid.as_ref() == Some(&owner.uid)
                    && object.metadata.deletion_timestamp.is_none()
            })
        })
    }

    /// The oldest object that wants what this one wants, by creation time, then UID.
    fn rival(&self, object: &KeyProtectKey) -> Option<Rival> {
        let age = |object: &KeyProtectKey| {
            (
                object
                    .metadata
                    .creation_timestamp
                    .as_ref()
                    .map(|time| time.0),
                object.metadata.uid.clone(),
            )
        };
        let claim = claim::of(object);
        let older = self
            .objects
            .values()
            .filter(|other| target_name(other) == target_name(object) && age(other) < age(object));
        older
            .filter_map(|other| {
                let over = claim.conflict(&claim::of(other))?;
                let name = other.metadata.name.clone()?;
                Some((age(other), Rival { name, over }))
            })
            .min_by_key(|(age, _)| age.clone())
            .map(|(_, rival)| rival)
    }

    /// Carries a plan out: Secrets, then status, then memory.
    pub(crate) fn execute(&mut self, name: &str, mut plan: Plan, stop: Stop) -> Plan {
        let target = target_name(self.object(name)).to_owned();
        for (done, write) in plan.writes.iter().enumerate() {
            if stop == Stop::AfterWrites(done) {
                return plan;
            }
            match self.cluster.execute(write) {
                Ok(view) => {
                    let secret = plan
                        .status
                        .as_mut()
                        .and_then(|status| status.secret.as_mut());
                    if let Some((secret, view)) = secret.zip(view)
                        && view.name == target
                    {
                        secret.uid = Some(view.uid);
                        secret.resource_version = Some(view.resource_version);
                    }
                }
                Err(failure) => {
                    let failed = write.name().to_owned();
                    return self.fail(name, &failed, &failure);
                }
            }
        }
        if stop != Stop::Never {
            return plan;
        }
        self.finish(name, &plan);
        plan
    }

    fn fail(
        &mut self,
        name: &str,
        write: &str,
        failure: &crate::domain::look::plan::WriteFailure,
    ) -> Plan {
        let memory = self.remembered(name);
        let none = Payloads::new();
        let plan = self.with_observed(name, &memory, &none, (None, None), |observed| {
            look_after_failed_write(observed, write, failure)
        });
        assert_eq!(check(&plan, &self.uid(name)), Ok(()), "{plan:?}");
        self.finish(name, &plan);
        plan
    }

    fn finish(&mut self, name: &str, plan: &Plan) {
        if let Some(status) = &plan.status {
            // Times are cut to the second on the wire.
            let wire = serde_json::to_value(status).unwrap();
            self.object(name).status = Some(serde_json::from_value(wire).unwrap());
        }
        self.memories.insert(name.to_owned(), plan.memory.clone());
    }

    /// Looks and carries out.
    pub(crate) fn sync(&mut self, name: &str) -> Plan {
        let plan = self.plan(name);
        self.execute(name, plan, Stop::Never)
    }

    /// Asserts that another look, now, has nothing to do and asks for nothing.
    pub(crate) fn assert_settled(&mut self, name: &str) {
        let before = self.service.requests;
        let plan = self.plan(name);
        assert!(plan.writes.is_empty(), "{:?}", plan.writes);
        let old = self.status(name);
        assert!(plan.status.is_none(), "{:#?}\nnot\n{old:#?}", plan.status);
        assert_eq!(plan.events, [], "{}", plan.cause);
        assert_eq!(self.service.requests, before, "asked for {:?}", self.asked);
    }

    /// Carries a look out that writes nothing, and asserts that another one asks for nothing.
    pub(crate) fn assert_settled_after_asking(&mut self, name: &str) {
        let plan = self.sync(name);
        assert!(plan.writes.is_empty() && plan.status.is_none(), "{plan:?}");
        self.assert_settled(name);
    }

    pub(crate) fn uids(&self) -> BTreeSet<String> {
        self.objects
            .values()
            .filter_map(|object| object.metadata.uid.clone())
            .collect()
    }
}
