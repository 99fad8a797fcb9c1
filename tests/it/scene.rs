//! A scene: an emulator with one instance, the object that names it, a credential and a
//! namespace, all of its own, and what a test does and sees there.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment and wait for real processes"
)]

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use key_protect_emulator::{Emulator, Served, Wanted};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use crate::cluster::{Output, eventually};
use crate::stage::{OPERATOR_NAMESPACE, Stage};

/// How long something may take that the operator does at once, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) const KEY: &str = "keyprotectkey";
pub(crate) const INSTANCE: &str = "keyprotectinstance";
pub(crate) const SECRET: &str = "secret";

pub(crate) struct Scene {
    pub(crate) stage: &'static Stage,
    pub(crate) emulator: Emulator,
    /// GUID in the emulator.
    pub(crate) guid: String,
    /// Name of the KeyProtectInstance, and of its mounted API key.
    pub(crate) instance: String,
    /// The team's namespace.
    pub(crate) namespace: String,
    pub(crate) api_key: String,
}

/// A condition, as far as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Said {
    /// Asserts that the message has all of these words.
    #[track_caller]
    pub(crate) fn tells(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.message.contains(word), "{word:?} is not in {self:?}");
        }
        self
    }
}

impl Stage {
    /// A scene whose instance is usable from every namespace.
    pub(crate) fn scene(&'static self, name: &str) -> Scene {
        self.scene_prepared(name, |_| {})
    }

    /// The same, prepared before the operator hears of it.
    pub(crate) fn scene_prepared(&'static self, name: &str, prepare: impl FnOnce(&Scene)) -> Scene {
        let tag = uuid::Uuid::new_v4().simple().to_string();
        let scene = self.bare_scene(name, &format!("{name}-{}", &tag[..8]));
        prepare(&scene);
        scene.apply_instance(open_to_all());
        scene
    }

    /// A scene whose KeyProtectInstance was not made yet.
    pub(crate) fn bare_scene(&'static self, name: &str, instance: &str) -> Scene {
        let guid = uuid::Uuid::new_v4().to_string();
        let api_key = format!("api-key-{}", uuid::Uuid::new_v4());
        let emulator = self.emulator(&api_key);
        let new = serde_json::from_value(json!({"id": guid})).expect("an instance");
        emulator.create_instance(new).expect("an instance");
        let scene = Scene {
            stage: self,
            emulator,
            instance: instance.to_owned(),
            namespace: self.cluster.namespace_blocking(name),
            guid,
            api_key,
        };
        scene.put_api_key(&scene.api_key);
        scene.role("ReaderPlus");
        scene
    }
}

/// Fields of an instance that every namespace may use.
pub(crate) fn open_to_all() -> Value {
    json!({"access": [{"namespaces": {"from": "All"}}]})
}

/// The emulator's side.
impl Scene {
    /// Puts an API key where the operator finds it, as the kubelet does: never half of it.
    pub(crate) fn put_api_key(&self, key: &str) {
        let folder = self.stage.credential_folder(&self.instance);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("new"), key).expect("the API key");
        fs::rename(folder.join("new"), folder.join("apikey")).expect("the API key in its place");
    }

    /// Takes the API key's file away.
    pub(crate) fn remove_api_key(&self) {
        let folder = self.stage.credential_folder(&self.instance);
        fs::remove_file(folder.join("apikey")).expect("the API key");
    }

    /// Gives the operator's service ID this role on the instance, and no other.
    pub(crate) fn role(&self, role: &str) {
        self.roles(json!([{"instance": self.guid, "role": role}]));
    }

    pub(crate) fn roles(&self, roles: Value) {
        let roles = serde_json::from_value(roles).expect("roles");
        self.emulator.set_roles("operator", roles).expect("roles");
    }

    /// Makes a key; returns its ID.
    pub(crate) fn key(&self, new: Value) -> String {
        let new = serde_json::from_value(new).expect("a key");
        let key = self.emulator.create_key(&self.guid, new).expect("a key");
        key["id"].as_str().expect("its ID").to_owned()
    }

    /// Makes a key with this text as payload behind an alias; returns its ID.
    pub(crate) fn alias(&self, alias: &str, payload: &str) -> String {
        self.key(json!({"name": alias, "aliases": [alias], "payload": base64(payload.as_bytes())}))
    }

    pub(crate) fn move_alias(&self, alias: &str, key: &str) {
        let moved = self.emulator.put_alias(&self.guid, alias, key);
        moved.expect("a moved alias");
    }

    /// From now on, this is wrong with the service.
    pub(crate) fn fault(&self, fault: Value) {
        let fault = serde_json::from_value(fault).expect("a fault");
        self.emulator.put_fault("fault", fault);
    }

    pub(crate) fn modes(&self, modes: Value) {
        let modes = serde_json::from_value(modes).expect("modes");
        self.emulator.set_modes(modes);
    }

    /// Nothing is wrong with the service any more.
    pub(crate) fn heal(&self) {
        self.emulator.clear_faults();
        self.modes(json!({}));
    }

    /// Requests of an operation that the emulator has served after a number.
    pub(crate) fn served_since(&self, operation: &str, since: u64) -> Vec<Served> {
        self.emulator.requests(&Wanted {
            since,
            operation: Some(operation.to_owned()),
            ..Wanted::default()
        })
    }

    pub(crate) fn served(&self, operation: &str) -> Vec<Served> {
        self.served_since(operation, 0)
    }
}

/// The cluster's side.
impl Scene {
    /// Makes or changes the KeyProtectInstance; what is null is left out.
    pub(crate) fn apply_instance(&self, more: Value) {
        let url = self.emulator.api_url();
        let mut spec = json!({
            "instanceID": self.guid,
            "region": "us-south",
            "endpoint": {"url": url, "iamURL": url, "caBundle": self.emulator.ca_pem()},
            "credentials": {"mountedAPIKey": {"name": self.instance}},
        });
        let spec_fields = spec.as_object_mut().expect("fields");
        for (field, value) in more.as_object().expect("fields") {
            if value.is_null() {
                spec_fields.remove(field);
            } else {
                spec_fields.insert(field.clone(), value.clone());
            }
        }
        self.apply(INSTANCE, &self.instance, json!({"spec": spec}));
    }

    /// Makes or changes a KeyProtectKey that names this scene's instance.
    pub(crate) fn object(&self, name: &str, mut spec: Value) {
        spec["instanceRef"] = json!({"name": self.instance, "namespace": OPERATOR_NAMESPACE});
        self.apply(KEY, name, json!({"spec": spec}));
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        use k8s_openapi::api::{core::v1, events};
        use key_protect_operator::api::{KeyProtectInstance, KeyProtectKey};
        let resource = match kind {
            SECRET => ApiResource::erase::<v1::Secret>(&()),
            KEY => ApiResource::erase::<KeyProtectKey>(&()),
            INSTANCE => ApiResource::erase::<KeyProtectInstance>(&()),
            "resourcequota" => ApiResource::erase::<v1::ResourceQuota>(&()),
            "event" => ApiResource::erase::<events::v1::Event>(&()),
            other => panic!("{other} is not known here"),
        };
        let namespace = if kind == INSTANCE {
            OPERATOR_NAMESPACE
        } else {
            &self.namespace
        };
        Api::namespaced_with(self.stage.client.clone(), namespace, &resource)
    }

    fn whole(kind: &str, name: &str, mut object: Value) -> Value {
        object["metadata"]["name"] = json!(name);
        let (version, kind) = match kind {
            KEY => ("keyprotect.dev/v1alpha1", "KeyProtectKey"),
            INSTANCE => ("keyprotect.dev/v1alpha1", "KeyProtectInstance"),
            SECRET => ("v1", "Secret"),
            "resourcequota" => ("v1", "ResourceQuota"),
            other => panic!("{other} is not known here"),
        };
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object
    }

    /// `kubectl apply --server-side`, as a manager that is not the operator.
    pub(crate) fn apply(&self, kind: &str, name: &str, object: Value) -> Value {
        let object = Self::whole(kind, name, object);
        let params = PatchParams::apply("team").force();
        let patch = Patch::Apply(&object);
        let applied = self
            .stage
            .block_on(self.api(kind).patch(name, &params, &patch));
        value(applied.unwrap_or_else(|error| panic!("apply {kind} {name}: {error}")))
    }

    pub(crate) fn create(&self, kind: &str, name: &str, object: Value) -> Value {
        let object = serde_json::from_value(Self::whole(kind, name, object)).expect("an object");
        let params = PostParams::default();
        let made = self.stage.block_on(self.api(kind).create(&params, &object));
        value(made.unwrap_or_else(|error| panic!("create {kind} {name}: {error}")))
    }

    /// A merge patch, by a manager that is not the operator.
    pub(crate) fn patch(&self, kind: &str, name: &str, patch: &Value) -> Value {
        let params = PatchParams {
            field_manager: Some("somebody".to_owned()),
            ..PatchParams::default()
        };
        let patched =
            self.stage
                .block_on(self.api(kind).patch(name, &params, &Patch::Merge(patch)));
        value(patched.unwrap_or_else(|error| panic!("patch {kind} {name}: {error}")))
    }

    pub(crate) fn delete(&self, kind: &str, name: &str) {
        let params = DeleteParams::default();
        let gone = self.stage.block_on(self.api(kind).delete(name, &params));
        drop(gone.unwrap_or_else(|error| panic!("delete {kind} {name}: {error}")));
    }

    /// The object, if it is there.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<Value> {
        let found = self.stage.block_on(self.api(kind).get_opt(name));
        found.expect("an answer").map(value)
    }

    #[track_caller]
    pub(crate) fn get(&self, kind: &str, name: &str) -> Value {
        self.find(kind, name)
            .unwrap_or_else(|| panic!("there is no {kind} {name}\n{}", self.describe(name)))
    }

    /// `kubectl` in the team's namespace.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Output {
        let mut all = vec!["-n", &self.namespace];
        all.extend(args);
        self.stage.cluster.kubectl(&all, "")
    }

    /// Waits, on a watch, until an object is as asked; returns it.
    #[track_caller]
    pub(crate) fn until(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        mut holds: impl FnMut(&Value) -> bool,
    ) -> Value {
        let mut seen = None;
        let condition = |object: Option<&DynamicObject>| {
            let Some(object) = object else { return false };
            let object = value(object.clone());
            let is_so = holds(&object);
            seen = Some(object);
            is_so
        };
        let condition = Stateful(std::cell::RefCell::new(condition));
        let waited = self.stage.block_on(async {
            tokio::time::timeout(PATIENCE, await_condition(self.api(kind), name, condition)).await
        });
        match waited {
            Ok(Ok(_)) => seen.expect("what was seen"),
            Ok(Err(error)) => panic!("watch of {kind} {name}: {error}"),
            Err(_) => panic!(
                "not within {PATIENCE:?}: {kind} {name}: {what}\nlast seen: {}\n{}",
                seen.unwrap_or_default(),
                self.describe(name)
            ),
        }
    }

    /// Waits until an object is gone. A new cluster's garbage collector learns of a new kind only
    /// at its next look for such, up to half a minute later.
    #[track_caller]
    pub(crate) fn until_gone(&self, kind: &str, name: &str) {
        let gone =
            kube::runtime::wait::Condition::not(|object: Option<&DynamicObject>| object.is_some());
        let waited = self.stage.block_on(async {
            let patience = 2 * PATIENCE;
            tokio::time::timeout(patience, await_condition(self.api(kind), name, gone)).await
        });
        assert!(waited.is_ok(), "{kind} {name} is still there");
    }

    /// Waits until Ready has this reason for the spec as it is, and says what it says.
    #[track_caller]
    pub(crate) fn until_reason(&self, name: &str, reason: &str) -> Said {
        let object = self.until(KEY, name, reason, |object| {
            condition(object, "Ready").is_some_and(|ready| ready.reason == reason)
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        });
        condition(&object, "Ready").expect("Ready")
    }

    #[track_caller]
    pub(crate) fn until_synced(&self, name: &str) -> Said {
        let said = self.until_reason(name, "Synced");
        assert_eq!(said.status, "True");
        said
    }

    /// Makes a KeyProtectKey and waits until it is synced.
    #[track_caller]
    pub(crate) fn synced_object(&self, name: &str, spec: Value) {
        self.object(name, spec);
        self.until_synced(name);
    }

    /// Waits until the instance's condition has this reason, and says what it says.
    #[track_caller]
    pub(crate) fn until_instance(&self, kind: &str, reason: &str) -> Said {
        let object = self.until(INSTANCE, &self.instance, reason, |object| {
            condition(object, kind).is_some_and(|is| is.reason == reason)
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        });
        condition(&object, kind).expect(kind)
    }

    /// Asks for a look now.
    pub(crate) fn ask(&self, kind: &str, name: &str) -> String {
        let stamp = uuid::Uuid::new_v4().to_string();
        let asked =
            json!({"metadata": {"annotations": {"keyprotect.dev/sync-requested-at": stamp}}});
        self.patch(kind, name, &asked);
        stamp
    }

    #[track_caller]
    pub(crate) fn until_answered(&self, kind: &str, name: &str, stamp: &str) -> Value {
        self.until(kind, name, "the sync request is answered", |object| {
            object["status"]["lastHandledSyncRequest"] == stamp
        })
    }

    /// Asks for a look now, and waits for the answer.
    #[track_caller]
    pub(crate) fn sync(&self, name: &str) -> Value {
        let stamp = self.ask(KEY, name);
        self.until_answered(KEY, name, &stamp)
    }

    #[track_caller]
    pub(crate) fn sync_instance(&self) -> Value {
        let stamp = self.ask(INSTANCE, &self.instance);
        self.until_answered(INSTANCE, &self.instance, &stamp)
    }

    /// The data of a Secret, decoded.
    #[track_caller]
    pub(crate) fn data(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        data(&self.get(SECRET, name))
    }

    pub(crate) fn ready(&self, name: &str) -> Said {
        condition(&self.get(KEY, name), "Ready").expect("Ready")
    }

    /// Reasons and notes of the Events about an object.
    pub(crate) fn events(&self, name: &str) -> Vec<(String, String)> {
        let all = self
            .stage
            .block_on(self.api("event").list(&ListParams::default()));
        let all = all.expect("Events").items.into_iter().map(value);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all.filter(|event| event["regarding"]["name"] == name)
            .map(|event| (text(&event["reason"]), text(&event["note"])))
            .collect()
    }

    /// Waits for an Event; returns its note.
    #[track_caller]
    pub(crate) fn until_event(&self, name: &str, reason: &str) -> String {
        let mut note = None;
        eventually(&format!("an Event {reason} about {name}"), || {
            let mut events = self.events(name).into_iter();
            note = events.find(|(is, _)| is == reason).map(|(_, note)| note);
            note.is_some()
        });
        note.unwrap_or_default()
    }

    /// Waits until the operator has looked at an object since its log had so many bytes: the one
    /// sign of a look that had nothing to say.
    #[track_caller]
    pub(crate) fn until_looked_at(&self, name: &str, after: usize) {
        eventually(&format!("a look at {name}"), || {
            let log = self.stage.log();
            log.get(after..).unwrap_or_default().lines().any(|line| {
                serde_json::from_str::<Value>(line)
                    .is_ok_and(|line| line["namespace"] == *self.namespace && line["name"] == name)
            })
        });
    }

    /// What there is, for whoever reads why a test failed.
    fn describe(&self, name: &str) -> String {
        let log = self.stage.log();
        let about = |line: &&str| line.contains(&*self.namespace) && line.contains(name);
        let mut tail: Vec<&str> = log.lines().rev().filter(about).take(12).collect();
        tail.reverse();
        tail.join("\n")
    }
}

/// A condition of `await_condition` that remembers what it saw.
struct Stateful<F>(std::cell::RefCell<F>);

impl<F: FnMut(Option<&DynamicObject>) -> bool> kube::runtime::wait::Condition<DynamicObject>
    for Stateful<F>
{
    fn matches_object(&self, object: Option<&DynamicObject>) -> bool {
        (self.0.borrow_mut())(object)
    }
}

pub(crate) fn condition(object: &Value, kind: &str) -> Option<Said> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some(Said {
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
    })
}

/// A Secret's data, decoded.
pub(crate) fn data(secret: &Value) -> BTreeMap<String, Vec<u8>> {
    let data = secret["data"].as_object().into_iter().flatten();
    data.map(|(entry, value)| {
        let bytes = STANDARD.decode(value.as_str().expect("base64"));
        (entry.clone(), bytes.expect("base64"))
    })
    .collect()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The object's resourceVersion.
pub(crate) fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"]
        .as_str()
        .expect("a version")
}

fn value(object: DynamicObject) -> Value {
    serde_json::to_value(object).expect("JSON")
}
