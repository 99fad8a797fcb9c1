//! A scene: an emulator with one instance, the object that names it, a credential and a
//! namespace, all of its own, and what a test does there. What it sees there is in
//! [`crate::seen`].
#![allow(
    clippy::needless_pass_by_value,
    reason = "what comes in is written down on the spot, by json!"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment and wait for real processes"
)]

use std::fs;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use key_protect_emulator::{Emulator, Served, Wanted};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use crate::cluster::Output;
use crate::form::Form;
use crate::stage::{OPERATOR_NAMESPACE, Stage};

pub(crate) const KEY: &str = "keyprotectkey";
pub(crate) const INSTANCE: &str = "keyprotectinstance";
/// A KeyProtectInstance in the team's own namespace.
pub(crate) const OWN_INSTANCE: &str = "own keyprotectinstance";
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
        let api_key = format!("{}{}", api_key_beginning(), uuid::Uuid::new_v4());
        let emulator = self.emulator(&api_key);
        let new = serde_json::from_value(json!({"id": guid})).expect("an instance");
        emulator.create_instance(new).expect("an instance");
        let scene = Scene {
            stage: self,
            emulator,
            instance: instance.to_owned(),
            namespace: self.namespace(name),
            guid,
            api_key,
        };
        scene.put_api_key(&scene.api_key);
        scene.role("ReaderPlus");
        scene
    }
}

/// How every API key of this run begins: whoever searches for it searches for all of them.
pub(crate) fn api_key_beginning() -> &'static str {
    static BEGINNING: OnceLock<String> = OnceLock::new();
    BEGINNING.get_or_init(|| format!("api-key-{}-", uuid::Uuid::new_v4()))
}

/// Fields of an instance that every namespace may use, as far as the form of this run lets it say so.
pub(crate) fn open_to_all() -> Value {
    json!({"access": [{"namespaces": everybody()}]})
}

/// An access rule's word for every namespace that a test may use.
pub(crate) fn everybody() -> Value {
    match Form::current().pool() {
        pool if pool.is_empty() => json!({"from": "All"}),
        pool => json!({"from": "Names", "names": pool}),
    }
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

    /// Waits, so many seconds at most, until a request of an operation is served after a number.
    pub(crate) fn until_served(&self, operation: &str, since: u64, seconds: u64) {
        let wanted = Wanted {
            since,
            operation: Some(operation.to_owned()),
            ..Wanted::default()
        };
        let patience = std::time::Duration::from_secs(seconds);
        let waited = self.emulator.wait_for_requests(&wanted, 1, patience);
        let (_, came) = self.stage.block_on(waited);
        assert!(came, "no {operation} within {patience:?}");
    }

    pub(crate) fn served(&self, operation: &str) -> Vec<Served> {
        self.served_since(operation, 0)
    }
}

/// The cluster's side.
impl Scene {
    /// Makes or changes the KeyProtectInstance; what is null is left out.
    pub(crate) fn apply_instance(&self, more: Value) {
        let spec = self.instance_spec(more);
        self.apply(INSTANCE, &self.instance, json!({"spec": spec}));
    }

    /// The spec of a KeyProtectInstance of this scene, with more or other fields.
    pub(crate) fn instance_spec(&self, more: Value) -> Value {
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
        spec
    }

    /// Makes or changes a KeyProtectKey that names this scene's instance.
    pub(crate) fn object(&self, name: &str, mut spec: Value) {
        spec["instanceRef"] = json!({"name": self.instance, "namespace": OPERATOR_NAMESPACE});
        self.apply(KEY, name, json!({"spec": spec}));
    }

    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        use k8s_openapi::api::{core::v1, events};
        use key_protect_operator::api::{KeyProtectInstance, KeyProtectKey};
        let resource = match kind {
            SECRET => ApiResource::erase::<v1::Secret>(&()),
            KEY => ApiResource::erase::<KeyProtectKey>(&()),
            INSTANCE | OWN_INSTANCE => ApiResource::erase::<KeyProtectInstance>(&()),
            "resourcequota" => ApiResource::erase::<v1::ResourceQuota>(&()),
            "namespace" => ApiResource::erase::<v1::Namespace>(&()),
            "event" => ApiResource::erase::<events::v1::Event>(&()),
            other => panic!("{other} is not known here"),
        };
        let namespace = if kind == INSTANCE {
            OPERATOR_NAMESPACE
        } else {
            &self.namespace
        };
        if kind == "namespace" {
            return Api::all_with(self.stage.client.clone(), &resource);
        }
        Api::namespaced_with(self.stage.client.clone(), namespace, &resource)
    }

    fn whole(kind: &str, name: &str, mut object: Value) -> Value {
        object["metadata"]["name"] = json!(name);
        let (version, kind) = match kind {
            KEY => ("keyprotect.dev/v1alpha1", "KeyProtectKey"),
            INSTANCE | OWN_INSTANCE => ("keyprotect.dev/v1alpha1", "KeyProtectInstance"),
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
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn value(object: DynamicObject) -> Value {
    serde_json::to_value(object).expect("JSON")
}
