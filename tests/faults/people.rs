//! Carries a round's acts out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::chance::Chance;
use crate::history::{self, Kind, Which};
use crate::judge::{self, FOREIGN_LABEL, TARGET_LABEL};
use crate::ledger::Named;
use crate::schedule::{Act, Edit, Lane, NAMESPACES, Round, Step, Who, place};
use crate::service::INSTANCES;
use crate::stage::{OPERATOR_NAMESPACE, Stage};
use crate::want;

/// How long a namespace may take to go.
const NAMESPACE: Duration = Duration::from_secs(90);

/// Carries a round out, all lanes beside each other, until the last of them has ended.
pub(crate) async fn carry_out(stage: &Arc<Stage>, round: &Round, chance: &Chance) {
    let begun = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for lane in [
        Lane::Service,
        Lane::People,
        Lane::Namespace,
        Lane::Operator,
        Lane::Cluster,
    ] {
        let stage = Arc::clone(stage);
        let steps = round.lane(lane);
        let chance = chance.split(lane as u64);
        lanes.spawn(async move { walk(&stage, begun, steps, chance).await });
    }
    while let Some(ended) = lanes.join_next().await {
        ended.expect("a lane");
    }
}

async fn walk(stage: &Arc<Stage>, begun: Instant, steps: Vec<Step>, mut chance: Chance) {
    for step in steps {
        sleep_until(begun + Duration::from_millis(step.at)).await;
        act(stage, step.act, &mut chance).await;
    }
}

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

async fn act(stage: &Arc<Stage>, act: Act, chance: &mut Chance) {
    let service = &stage.service;
    match act {
        Act::Trouble(trouble) => {
            stage.heal();
            service.begin(trouble, chance);
        }
        Act::Also(trouble) => service.begin(trouble, chance),
        Act::MoveAlias(instance, alias) => service.move_alias(instance, alias),
        Act::AliasGap(instance, alias, span) => {
            service.drop_alias(instance, alias);
            sleep(milliseconds(span)).await;
            service.move_alias(instance, alias);
        }
        Act::Renew(instance, name) => service.renew(instance, name),
        Act::Blink(instance, alias, span) => {
            let alias = Named::Alias(alias.to_owned());
            let id = service
                .ledger()
                .now(INSTANCES[instance], &alias)
                .map(str::to_owned);
            let id = id.expect("a key behind every alias");
            service.delete_key(instance, &id);
            sleep(milliseconds(span)).await;
            service.restore_key(instance, &id);
        }
        Act::RotateApiKey(instance) => stage.renew_api_key(instance),
        Act::Edit(slot, edit) => stage.edit(slot, edit, chance).await,
        Act::DeleteSecret(slot) => stage.delete_secret(slot).await,
        Act::Annotate(slot) => {
            let mine = json!({"metadata": {
                "labels": {"theirs.example/label": format!("l{}", chance.below(1_000))},
                "annotations": {"theirs.example/note": format!("n{}", chance.below(1_000))},
            }});
            stage.patch_secret(slot, mine).await;
        }
        Act::Disown(slot) => {
            let nobody = json!({"metadata": {"managedFields": [{}]}});
            stage.patch_secret(slot, nobody).await;
        }
        Act::Release(slot) => stage.release(slot).await,
        Act::Forget(slot) => stage.forget(slot).await,
        Act::Spec(slot, spec) => stage.spec(slot, spec).await,
        Act::Recreate(slot, spec) => {
            stage.delete(&object(slot)).await;
            stage.spec(slot, spec).await;
        }
        Act::Delete(slot) => stage.delete(&object(slot)).await,
        Act::TouchInstance(instance) => {
            let interval = format!("{}m", chance.between(30, 60));
            stage.apply_instance(instance, &interval).await;
        }
        Act::RecreateInstance(instance) => {
            let which = Which::new(Kind::Instance, OPERATOR_NAMESPACE, INSTANCES[instance]);
            stage.delete(&which).await;
            stage.apply_instance(instance, "1h").await;
        }
        Act::RecreateNamespace(objects) => stage.recreate_namespace(objects).await,
        Act::Kill(who, span) => {
            let replicas = stage.replicas(who);
            replicas.iter().for_each(|of| of.process().kill());
            sleep(milliseconds(span)).await;
            replicas.iter().for_each(|of| of.process().start());
        }
        Act::Pause(who, span) => {
            let replicas = stage.replicas(who);
            replicas.iter().for_each(|of| of.process().pause(true));
            sleep(milliseconds(span)).await;
            replicas.iter().for_each(|of| of.process().pause(false));
        }
        Act::Roll(who) => {
            let rolled = Arc::clone(stage);
            let ended = tokio::task::spawn_blocking(move || {
                let replicas = rolled.replicas(who);
                replicas.iter().all(|of| of.process().stop())
            });
            assert!(
                ended.await.expect("their end"),
                "a replica did not end well"
            );
            stage
                .replicas(Who::All)
                .iter()
                .for_each(|of| of.process().start());
        }
        Act::Cut => stage
            .replicas(Who::All)
            .iter()
            .for_each(|of| of.proxy.cut()),
        Act::Partition(who, span) => {
            let replicas = stage.replicas(who);
            for replica in &replicas {
                replica.proxy.block(true);
                replica.proxy.cut();
            }
            sleep(milliseconds(span)).await;
            replicas.iter().for_each(|of| of.proxy.block(false));
        }
        Act::RestartApiServer => {
            order(stage, "restart", "apiserver").await;
            refresh_controllers(stage).await;
        }
        Act::StopApiServer(span) => {
            order(stage, "stop", "apiserver").await;
            sleep(milliseconds(span)).await;
            order(stage, "start", "apiserver").await;
            refresh_controllers(stage).await;
        }
        Act::Compact => {
            order(stage, "stop", "apiserver").await;
            let head = stage.recorder.catch_up().await;
            stage.recorder.etcd.compact(head).await.expect("compaction");
            order(stage, "start", "apiserver").await;
            refresh_controllers(stage).await;
        }
        Act::RestartEtcd => {
            order(stage, "restart", "etcd").await;
            refresh_controllers(stage).await;
        }
    }
}

async fn order(stage: &Arc<Stage>, verb: &'static str, component: &'static str) {
    let cluster = stage.cluster;
    tokio::task::spawn_blocking(move || cluster.order(verb, component))
        .await
        .expect("the cluster obeys");
}

/// The controller manager's watches come back up to a minute after the API server, and the longer
/// the more often it was away. It is not what is tested here.
async fn refresh_controllers(stage: &Arc<Stage>) {
    order(stage, "restart", "controller-manager").await;
}

/// The object of a slot.
pub(crate) fn object(slot: usize) -> Which {
    let (namespace, name) = place(slot);
    Which::new(Kind::Key, namespace, &name)
}

impl Stage {
    /// The Secret that a slot's object names, and what is in it.
    fn secret_of(&self, slot: usize) -> Option<(Which, Value)> {
        self.recorder.look(|present| {
            let object = present.get(&object(slot))?.object.as_ref()?;
            let (namespace, _) = place(slot);
            let which = Which::new(Kind::Secret, namespace, want::target(object));
            let secret = present.get(&which)?.object.clone()?;
            Some((which, secret))
        })
    }

    fn owned_secret_of(&self, slot: usize) -> Option<(Which, Value)> {
        self.secret_of(slot)
            .filter(|(_, secret)| judge::is_owned(secret))
    }

    async fn edit(&self, slot: usize, edit: Edit, chance: &mut Chance) {
        let Some((which, secret)) = self.owned_secret_of(slot) else {
            return;
        };
        let value = format!("tampered-{:016x}", chance.next()).into_bytes();
        let first = history::data(&secret).into_keys().next();
        let (entry, value) = match (edit, first) {
            (Edit::Change, Some(entry)) => (entry, Some(value)),
            (Edit::Remove, Some(entry)) => (entry, None),
            (Edit::Add, _) | (_, None) => ("added".to_owned(), Some(value)),
        };
        let wire = value.as_ref().map(|value| STANDARD.encode(value));
        let act = judge::Act::Edit(entry.clone(), value);
        self.intend(&which.namespace, &which.name, act);
        // Only of the Secret that was seen: another one may be somebody else's.
        let uid = history::uid(&secret);
        let patch = json!({"metadata": {"uid": uid}, "data": {entry: wire}});
        self.patch(&which, patch).await;
    }

    async fn delete_secret(&self, slot: usize) {
        if let Some((which, _)) = self.owned_secret_of(slot) {
            self.intend(&which.namespace, &which.name, judge::Act::Delete);
            self.delete(&which).await;
        }
    }

    async fn patch_secret(&self, slot: usize, mut patch: Value) {
        if let Some((which, secret)) = self.owned_secret_of(slot) {
            patch["metadata"]["uid"] = json!(history::uid(&secret));
            self.patch(&which, patch).await;
        }
    }

    async fn release(&self, slot: usize) {
        if let Some((which, secret)) = self.owned_secret_of(slot) {
            self.intend(&which.namespace, &which.name, judge::Act::Release);
            let patch = json!({"metadata": {
                "uid": history::uid(&secret),
                "labels": {TARGET_LABEL: null, FOREIGN_LABEL: "true"},
                // The owner reference would let the garbage collector take it.
                "ownerReferences": null,
            }});
            self.patch(&which, patch).await;
        }
    }

    async fn forget(&self, slot: usize) {
        let Some((which, secret)) = self.secret_of(slot) else {
            return;
        };
        let is_theirs = crate::schedule::FOREIGN.contains(&&*which.name);
        if !is_theirs && !judge::is_owned(&secret) {
            self.intend(&which.namespace, &which.name, judge::Act::Delete);
            self.delete(&which).await;
        }
    }

    /// Makes or changes a slot's object.
    pub(crate) async fn spec(&self, slot: usize, spec: Value) {
        // Not into a namespace that does not have other people's Secrets yet.
        if self.renewing.load(Ordering::Acquire) && place(slot).0 == NAMESPACES[2] {
            return;
        }
        self.apply(&object(slot), json!({"spec": spec})).await;
    }

    async fn recreate_namespace(&self, objects: Vec<(usize, Value)>) {
        self.renewing.store(true, Ordering::Release);
        let namespace = Which::new(Kind::Namespace, "", NAMESPACES[2]);
        self.delete(&namespace).await;
        let gone = self
            .recorder
            .until(NAMESPACE, |present| !present.contains_key(&namespace));
        assert!(gone.await, "namespace {} does not go", NAMESPACES[2]);
        self.make_namespace(NAMESPACES[2]).await;
        self.renewing.store(false, Ordering::Release);
        for (slot, spec) in objects {
            self.spec(slot, spec).await;
        }
    }
}
