//! A world in which things happen in any order: keys and aliases move, lists lie, Secrets are
//! edited, the operator is killed between two writes. Whatever happens, no plan breaks an
//! invariant; and once the world is calm, every Secret is what its key says.

mod events;
mod truth;

use std::collections::BTreeSet;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use self::events::{ALIASES, Event, KEYS, NAMES, event};
use self::truth::Truth;
use crate::api::Reason;
use crate::api::key::{DeletionPolicy, KeyProtectKeySpec, RevocationPolicy};
use crate::domain::access;
use crate::domain::look::observed::FenceProof;
use crate::domain::look::plan::{Plan, Write, WriteFailure};
use crate::domain::look::request::target_name;
use crate::domain::secret::SecretView;
use crate::domain::service::catalogue::Listing;
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::{KeyMetadata, KeyState};
use crate::domain::service::reference::{KeyName, KeyReference};
use crate::domain::testing::world::{Stop, World};
use crate::domain::testing::{
    INSTANCE_NAMESPACE, KeyExt as _, NAMESPACE, RING, at, by_alias, by_id, by_name, key, key_id,
    minutes, naming, object, rule, strings, target,
};

/// `oa` by its own name, `ob` by another alias, `oc` by name, all three with Secrets of their own
/// names; `od` by ID, with the Secret of the older `oc`.
fn world() -> World {
    let mut shared = naming(by_id(&key_id(1)));
    target(&mut shared).name = Some("oc".to_owned());
    let mut world = World::new([
        object("oa", KeyProtectKeySpec::default()),
        object("ob", naming(by_alias("bb"))),
        object("oc", naming(by_name("nn", RING))),
        object("od", shared),
    ]);
    for (age, name) in NAMES.iter().enumerate() {
        let created = at(i64::try_from(age).unwrap() - 60);
        world.object(name).metadata.creation_timestamp = Some(Time(created));
    }
    for number in 1..=KEYS {
        world.service.put(key(number).named("nn"));
    }
    world.service.move_alias("oa", &key_id(2));
    world.service.move_alias("bb", &key_id(3));
    world
}

const fn policy(delete: bool) -> RevocationPolicy {
    if delete {
        RevocationPolicy::Delete
    } else {
        RevocationPolicy::Retain
    }
}

/// What the newest look promised: when each object is to be looked at again.
struct Run {
    world: World,
    next: std::collections::BTreeMap<String, Option<jiff::Timestamp>>,
    truth: Truth,
}

impl Run {
    /// With these objects; `unread`, where the operator may not read Secrets.
    fn new(unread: Option<FenceProof>) -> Self {
        let mut world = world();
        world.unread = unread;
        world.joined = SignedDuration::from_secs(10);
        Self {
            world,
            next: std::collections::BTreeMap::new(),
            truth: Truth::default(),
        }
    }

    fn unseen(&self) -> bool {
        self.world.unread.is_some()
    }

    fn happen(&mut self, event: &Event) {
        let world = &mut self.world;
        let secret = |index: usize| NAMES[index];
        match event {
            Event::MoveAlias(alias, key) => {
                if world.service.keys.contains_key(&key_id(*key)) {
                    world.service.move_alias(ALIASES[*alias], &key_id(*key));
                }
            }
            Event::Unalias(alias) => world.service.unalias(ALIASES[*alias]),
            Event::DeleteKey(key) => self.change(*key, |key| {
                key.deleted = Some(true);
                key.state = Some(KeyState::Destroyed);
                key.aliases = Some(vec![]);
            }),
            Event::RestoreKey(key) => self.change(*key, |key| {
                key.deleted = Some(false);
                key.state = Some(KeyState::Active);
                key.expiration_date = None;
            }),
            Event::PurgeKey(key) => {
                world.service.keys.remove(&key_id(*key));
            }
            Event::ExpireKey(key, seconds) => {
                let date = world.now + SignedDuration::from_secs(*seconds);
                self.change(*key, |key| key.expiration_date = Some(date));
            }
            Event::Deactivate(key) => {
                self.change(*key, |key| key.state = Some(KeyState::Deactivated));
            }
            Event::MoveRing(key) => {
                self.change(*key, |key| key.key_ring = Some("other".to_owned()));
            }
            Event::Unlist(key) => {
                world.service.unlisted.insert(key_id(*key));
            }
            Event::ListAll => world.service.unlisted.clear(),
            Event::Singly(singly) => world.service.singly = *singly,
            Event::ListsFail(kind) => world.service.lists_fail = *kind,
            Event::ReadsFail(kind) => world.service.reads_fail = *kind,
            Event::PayloadsFail(kind) => world.service.payloads_fail = *kind,
            Event::PayloadsLate(late) => world.service.payloads_late = *late,
            Event::Refresh => world.refresh(),
            Event::Look(index) => {
                self.look(NAMES[*index]);
            }
            Event::LookAndCrash(index, writes) => {
                let plan = self.plan(NAMES[*index]);
                self.world
                    .execute(NAMES[*index], plan, Stop::AfterWrites(*writes));
                self.world.restart();
            }
            Event::Restart => world.restart(),
            Event::Learning(millis) => world.learning = SignedDuration::from_millis(*millis),
            Event::Pass(seconds) => world.pass(SignedDuration::from_secs(*seconds)),
            Event::ClockBack(seconds) => {
                world.now -= SignedDuration::from_secs(*seconds);
                self.truth.clock_was_set(world.now);
            }
            Event::EditEntry(index) => world.cluster.edit_entry(secret(*index), "key", b"edited"),
            Event::ClearFields(index) => world.cluster.touch(secret(*index), |secret| {
                secret.view.fields = Default::default();
            }),
            Event::DropOwners(index) => world.cluster.touch(secret(*index), |secret| {
                secret.view.owner_references.clear();
            }),
            Event::Annotate(index) => world.cluster.annotate(secret(*index), "theirs", "1"),
            Event::DeleteSecret(index) => world.cluster.delete(secret(*index)),
            Event::TakeLabel(index) => world.cluster.touch(secret(*index), |secret| {
                secret.view.labels.clear();
                secret.view.fields.labels.clear();
            }),
            Event::CollectGarbage => {
                let living = world.uids();
                world.cluster.collect_garbage(&living);
            }
            Event::Refuse(failure) => world.cluster.refuses = failure.clone(),
            Event::Rename(index) => {
                let name = NAMES[*index];
                let old = target_name(world.object(name)).to_owned();
                let new = if old == name {
                    format!("{name}-new")
                } else {
                    name.to_owned()
                };
                world.edit(name, |spec| target(spec).name = Some(new));
            }
            Event::Policy(index, stay) => {
                let policy = if *stay {
                    DeletionPolicy::Retain
                } else {
                    DeletionPolicy::Delete
                };
                world.edit(NAMES[*index], |spec| {
                    target(spec).deletion_policy = Some(policy);
                });
            }
            Event::Suspend(index, suspend) => {
                world.edit(NAMES[*index], |spec| spec.suspend = Some(*suspend));
            }
            Event::Revocation(index, delete) => world.edit(NAMES[*index], |spec| {
                spec.revocation_policy = Some(policy(*delete));
            }),
            Event::OnWithdrawn(delete) => world.on_access_withdrawn = policy(*delete),
            Event::Release => {
                world.release = Some(world.now.to_string());
                self.truth.released();
            }
            Event::Recreate(index) => self.recreate(NAMES[*index]),
            Event::Withdraw(ring_only) => {
                let mut by_ring = rule();
                by_ring.key_rings = strings(&[RING]);
                world.access = Some(if *ring_only { vec![by_ring] } else { vec![] });
            }
        }
    }

    fn change(&mut self, number: u32, change: impl FnOnce(&mut KeyMetadata)) {
        if let Some(key) = self.world.service.keys.get_mut(&key_id(number)) {
            change(key);
        }
    }

    fn recreate(&mut self, name: &str) {
        let world = &mut self.world;
        let old = world.objects.remove(name).unwrap();
        let mut new = object(name, old.spec);
        new.metadata.uid = Some(format!("{}x", old.metadata.uid.unwrap()));
        // Later than every other: one API server does not turn its clock back.
        let created = world.objects.values().filter_map(|other| {
            other
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0)
        });
        let created = created.max().unwrap_or(world.now).max(world.now);
        new.metadata.creation_timestamp = Some(Time(created + SignedDuration::from_secs(1)));
        world.memories.remove(name);
        world.objects.insert(name.to_owned(), new);
        self.truth.forget(name);
    }

    /// Plans, and checks what holds for every plan of this world.
    fn plan(&mut self, object_name: &str) -> Plan {
        let name = object_name;
        self.truth.note(&self.world);
        let plan = self.world.plan(name);
        let target_name = target_name(self.world.object(name)).to_owned();
        let uid = self.world.object(name).metadata.uid.clone().unwrap();
        let there = |world: &World| {
            world
                .cluster
                .secrets
                .get(&target_name)
                .is_some_and(|secret| secret.view.is_owned())
        };
        let mut made = there(&self.world);
        for write in &plan.writes {
            match write {
                Write::Create(body) | Write::Overwrite(body) | Write::Replace { body, .. } => {
                    made |= body.name == target_name;
                    let value = body.entries.get("key").unwrap().expose().to_vec();
                    let source = self
                        .world
                        .service
                        .keys
                        .values()
                        .find(|key| self.world.service.payload(&key.id) == value);
                    assert!(
                        source.is_some_and(|key| self.is_readable(key)),
                        "{source:?}"
                    );
                }
                Write::Delete { name, .. } if plan.revocation.is_some() => {
                    let old = self.world.cluster.secrets.get(name);
                    let owned = old.is_some_and(|old| old.view.is_owned());
                    // Unseen, the API server judges.
                    assert!(owned || self.unseen(), "{name}");
                }
                Write::Delete { name, .. } => {
                    let old = self.world.cluster.secrets.get(name);
                    let ours = |view: &SecretView| view.is_owned() && view.is_owned_by(&uid);
                    assert!(*name != target_name);
                    // Unseen, the API server judges.
                    assert!(self.unseen() || old.is_some_and(|old| ours(&old.view)));
                    assert!(made || self.unseen(), "the new one comes first");
                }
                Write::Merge { .. } | Write::GiveBack { .. } => {
                    panic!("no object of this world merges")
                }
            }
        }
        if let Some(evidence) = &plan.revocation {
            let evidence = evidence.to_string();
            self.truth
                .assert_revocation(&self.world, object_name, &evidence);
        }
        if plan.outcome == Reason::Synced {
            let failing = self.world.service.payloads_fail.is_some() && !plan.writes.is_empty();
            let deletes = plan
                .writes
                .iter()
                .all(|write| matches!(write, Write::Delete { .. }));
            assert!(!failing || deletes, "a failed read writes nothing");
        }
        plan
    }

    fn is_readable(&self, key: &KeyMetadata) -> bool {
        let world = &self.world;
        let grant = access::grant(
            INSTANCE_NAMESPACE,
            world.access.as_deref(),
            NAMESPACE,
            access::Labels::Known(&world.labels),
        );
        let allowed = grant.is_some_and(|grant| grant.verdict(key) == access::Verdict::Allowed);
        allowed && !key.is_deleted() && key.extractable != Some(false)
    }

    /// Looks, carries out, and looks again: nothing is to be done twice.
    fn look(&mut self, name: &str) -> Plan {
        let foreign = self.foreign();
        let plan = self.plan(name);
        let plan = self.world.execute(name, plan, Stop::Never);
        self.next.insert(name.to_owned(), plan.next);
        assert_eq!(self.foreign(), foreign, "a Secret of others was changed");
        let at_once = self.world.learning.is_zero();
        let due = plan.next.is_none_or(|next| next > self.world.now);
        assert!(
            due || !at_once,
            "{:?} is due at once: {}",
            plan.outcome,
            plan.cause
        );
        // A conflict or two say nothing: the look after them does.
        if self.world.cluster.refuses != Some(WriteFailure::Conflict) {
            // What may not be read may have been edited a moment ago.
            if !self.unseen() {
                self.assert_ready_is_true(name);
            }
            let waits = plan.memory.doubted || plan.memory.target_taken;
            if !(self.unseen() && waits) {
                if at_once {
                    self.world.assert_settled(name);
                } else {
                    self.assert_settles(name);
                }
            }
        }
        plan
    }

    /// Where answers take time, something else may be due when a look ends: some seconds are longer
    /// than the first steps of a back-off. But not for ever.
    fn assert_settles(&mut self, name: &str) {
        for _ in 0..10 {
            let before = self.world.service.requests;
            let plan = self.world.sync(name);
            self.next.insert(name.to_owned(), plan.next);
            let is_silent = plan.writes.is_empty() && plan.status.is_none();
            if is_silent && plan.events.is_empty() && self.world.service.requests == before {
                return;
            }
        }
        panic!("{name} does not settle");
    }

    /// Ready=True: the Secret is there and holds the payload of the key that status names.
    fn assert_ready_is_true(&mut self, name: &str) {
        let (status, reason) = self.world.ready(name);
        if status != "True" || reason == "Suspended" {
            return;
        }
        let target_name = target_name(self.world.object(name)).to_owned();
        let id = KeyId::parse(&self.world.status(name).keys[0].id).unwrap();
        let value = self.world.entry(&target_name, "key");
        assert_eq!(value, Some(self.world.service.payload(&id)), "{reason}");
    }

    fn foreign(&self) -> Vec<crate::domain::secret::SecretView> {
        let secrets = self.world.cluster.secrets.values();
        secrets
            .map(|secret| secret.view.clone())
            .filter(|view| !view.is_owned())
            .collect()
    }

    /// Everything is well from here on.
    fn calm(&mut self) {
        let world = &mut self.world;
        world.service.lists_fail = None;
        world.service.reads_fail = None;
        world.service.payloads_fail = None;
        world.service.payloads_late = false;
        world.service.unlisted.clear();
        world.cluster.refuses = None;
        world.access = Some(vec![rule()]);
        world
            .cluster
            .secrets
            .retain(|_, secret| secret.view.is_owned());
        for name in NAMES {
            if world.object(name).spec.suspend == Some(true) {
                world.edit(name, |spec| spec.suspend = None);
            }
        }
    }

    /// Runs the world as the shell does: objects are looked at when their time has come, when a
    /// Secret changed, and when a listing shows a change that concerns them.
    fn live(&mut self, time: SignedDuration) {
        self.world.refresh();
        let mut awake: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        let end = self.world.now + time;
        let mut listed_at = self.world.now;
        while self.world.now < end {
            for name in std::mem::take(&mut awake) {
                let plan = self.look(&name);
                if !plan.writes.is_empty() {
                    awake.extend(NAMES.iter().map(|name| (*name).to_owned()));
                }
            }
            let living = self.world.uids();
            let before = self.world.cluster.secrets.len();
            self.world.cluster.collect_garbage(&living);
            if !awake.is_empty() || before != self.world.cluster.secrets.len() {
                awake.extend(NAMES.iter().map(|name| (*name).to_owned()));
                continue;
            }
            let listing_at = listed_at + minutes(60);
            let due = self
                .next
                .values()
                .flatten()
                .copied()
                .chain([listing_at])
                .min()
                .unwrap();
            self.world.now = self.world.now.max(due);
            let now = self.world.now;
            if now >= listing_at {
                awake.extend(self.refresh());
                listed_at = now;
            }
            let due = self
                .next
                .iter()
                .filter(|(_, next)| next.is_some_and(|next| next <= now));
            awake.extend(due.map(|(name, _)| name.clone()));
        }
    }

    /// Lists, and says whom the changes concern.
    fn refresh(&mut self) -> Vec<String> {
        let before = self.world.knowledge.listing.clone();
        self.world.refresh();
        let (Listing::Fresh(old), Listing::Fresh(new)) = (&before, &self.world.knowledge.listing)
        else {
            return NAMES.iter().map(|name| (*name).to_owned()).collect();
        };
        let changes = old.changes(new);
        let concerns = |name: &&&str| {
            let object = &self.world.objects[**name];
            let reference = KeyReference::from_selector(object.spec.key.as_ref(), name).unwrap();
            let last = self
                .world
                .status(name)
                .keys
                .first()
                .and_then(|key| KeyId::parse(&key.id).ok());
            changes.concern(&reference, last.as_ref())
        };
        NAMES
            .iter()
            .filter(concerns)
            .map(|name| (*name).to_owned())
            .collect()
    }

    /// The key that an object should have by now, if there is one that can be used.
    fn expected(&self, name: &str) -> Option<KeyId> {
        let object = &self.world.objects[name];
        let reference = KeyReference::from_selector(object.spec.key.as_ref(), name).unwrap();
        let keys = self.world.service.keys.values();
        let key = match &reference.name {
            KeyName::Id(id) => keys.into_iter().find(|key| key.id == *id),
            KeyName::Alias(alias) => keys
                .into_iter()
                .find(|key| key.aliases.iter().flatten().any(|a| a == alias.as_str())),
            KeyName::Name(name) => keys
                .filter(|key| key.name.as_ref() == Some(name) && key.is_active_standard())
                .filter(|key| key.key_ring.as_deref() == Some(RING))
                .max_by_key(|key| key.creation_date),
        }?;
        let usable = key.state == Some(KeyState::Active)
            && key.expiration_date.is_none_or(|date| date > self.world.now);
        usable.then(|| key.id.clone())
    }

    fn assert_converged(&mut self) {
        for name in NAMES {
            let target_name = target_name(self.world.object(name)).to_owned();
            let age = |object: &crate::api::KeyProtectKey| {
                (
                    object.metadata.creation_timestamp.clone(),
                    object.metadata.uid.clone(),
                )
            };
            let mine = age(self.world.object(name));
            let rival = self.world.objects.values().any(|other| {
                crate::domain::look::request::target_name(other) == target_name && age(other) < mine
            });
            let (status, reason) = self.world.ready(name);
            if rival {
                assert_eq!(reason, "TargetConflict", "{name}");
                continue;
            }
            let message = self.world.message(name);
            match self.expected(name) {
                Some(id) => {
                    assert_eq!(
                        (status.as_str(), reason.as_str()),
                        ("True", "Synced"),
                        "{name}: {message}"
                    );
                    let value = self.world.entry(&target_name, "key");
                    assert_eq!(value, Some(self.world.service.payload(&id)), "{name}");
                }
                None => assert_eq!(status, "False", "{name}: {reason}: {message}"),
            }
        }
    }
}

/// Few cases in the daily run, since each is hours of a world's life; more by PROPTEST_CASES.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    let by_default = given.cases == 256;
    ProptestConfig {
        cases: if by_default { 40 } else { given.cases },
        failure_persistence: None,
        ..given
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_no_plan_breaks_an_invariant_and_a_calm_world_converges(
        events in proptest::collection::vec(event(), 0..60),
        unread in proptest::option::of(Just(FenceProof::Old)),
    ) {
        let mut run = Run::new(unread);
        for event in &events {
            run.happen(event);
            run.truth.note(&run.world);
        }
        run.calm();
        run.live(SignedDuration::from_hours(5));
        run.assert_converged();
        let writes = run.world.cluster.secrets.clone();
        run.live(SignedDuration::from_hours(2));
        run.assert_converged();
        for (name, secret) in &writes {
            let now = run.world.cluster.secrets.get(name).map(|secret| &secret.view);
            if now.is_none() && run.truth.was_revoked(&run.world) {
                continue;
            }
            prop_assert_eq!(now, Some(&secret.view), "written without need");
        }
    }
}

/// A grace counts on where an alias came back and went again with no look in between.
#[test]
fn what_was_back_between_two_looks_was_seen_by_nobody() {
    let mut run = Run::new(None);
    for event in [
        Event::Look(0),
        Event::Unalias(0),
        Event::LookAndCrash(0, 0),
        Event::Look(0),
        Event::Pass(1),
        Event::Revocation(0, true),
        Event::MoveAlias(0, 1),
        Event::Unalias(0),
    ] {
        run.happen(&event);
        run.truth.note(&run.world);
    }
    run.calm();
    run.live(SignedDuration::from_hours(5));
    run.assert_converged();
}

/// The listing still shows the key as it was.
#[test]
fn an_expiry_that_only_the_payload_shows_yet_revokes() {
    let mut run = Run::new(None);
    for event in [
        Event::Look(0),
        Event::DropOwners(0),
        Event::ExpireKey(2, 0),
        Event::Revocation(0, true),
        Event::Look(0),
        Event::Look(0),
    ] {
        run.happen(&event);
    }
    assert_eq!(run.world.ready("oa").1, "KeyExpired");
    assert!(!run.world.cluster.secrets.contains_key("oa"));
}
