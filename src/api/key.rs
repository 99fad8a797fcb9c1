//! `KeyProtectKey`: one Secret's worth of keys.
#![allow(
    unreachable_pub,
    reason = "the schema derives repeat the type inside a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// One Secret's worth of keys: which key of which instance, and the Secret to make of it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[kube(
    group = "keyprotect.dev",
    version = "v1alpha1",
    kind = "KeyProtectKey",
    plural = "keyprotectkeys",
    shortname = "kpk",
    category = "keyprotect",
    namespaced,
    status = "KeyProtectKeyStatus",
    derive = "PartialEq",
    doc = "One Secret's worth of keys held in IBM Key Protect. The shortest useful one is `spec: {}`: the key whose alias is the object's own name, from the operator's default instance, under the entry `key`.",
    selectable = ".spec.instanceRef.name",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secret.name"),
    printcolumn(name = "Key", type_ = "string", json_path = ".status.key"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.keys[0].state"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".status.instanceRef.name", priority = 1),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.keys[0].expirationDate", priority = 1),
    printcolumn(name = "Changed", type_ = "string", json_path = ".status.lastChangeTime", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name: must be at most 63 characters; choose a shorter name, and target.name for a longer Secret's"),
    validation = Rule::new("(has(self.spec.key) && (has(self.spec.key.id) || has(self.spec.key.alias) || has(self.spec.key.name))) || (self.metadata.name.matches('^[a-z0-9-]{2,}$') && !self.metadata.name.matches('^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') && !(self.metadata.name in ['key','keys','metadata','policy','policies','registration','registrations','ring','rings','rotate','wrap','unwrap','rewrap','version','versions']))")
        .message("spec.key: metadata.name cannot be a key's alias (dots, UUID-shaped, too short or reserved); name the key by key.alias, key.id, or key.name with key.keyRing").field_path(".spec.key")
)]
#[x_kube(
    validation = Rule::new("(has(self.target) && has(self.target.type) ? self.target.type : 'Opaque') == (has(oldSelf.target) && has(oldSelf.target.type) ? oldSelf.target.type : 'Opaque')")
        .message("spec.target.type: cannot be changed, since a Secret's type is immutable; make a new KeyProtectKey with another target.name").field_path(".target.type"),
    validation = Rule::new("(has(self.target) && has(self.target.creationPolicy) ? self.target.creationPolicy : 'Owner') == (has(oldSelf.target) && has(oldSelf.target.creationPolicy) ? oldSelf.target.creationPolicy : 'Owner')")
        .message("spec.target.creationPolicy: cannot be changed; make a new KeyProtectKey").field_path(".target.creationPolicy")
)]
#[serde(rename_all = "camelCase")]
pub struct KeyProtectKeySpec {
    /// The KeyProtectInstance that has the key. Default: the operator's `--default-instance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_ref: Option<InstanceRef>,
    /// The key. Default: the one whose alias is this object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeySelector>,
    /// How old what is known of the key may get, like 10m; at least 1m, or 0s: a new key behind
    /// the alias or name is taken only when this object changes. Default: the instance's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 18))]
    #[x_kube(validation = Rule::new(format!("{} && (duration(self) >= duration('1m') || duration(self) == duration('0s'))", schema::DURATION))
        .message("spec.refreshInterval: must be a duration of hours, minutes and seconds like 10m or 24h: at least 1m, or 0s to take a new key only when this object changes"))]
    pub refresh_interval: Option<String>,
    /// What happens to the Secret when the key can no longer be used: it was deleted, it expired,
    /// or its alias or name is gone for longer than the grace. Default: Retain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_policy: Option<RevocationPolicy>,
    /// Nothing is fetched or written for this object while true. Whether the key may still be
    /// used is looked at all the same: a policy that says Delete still acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// The Secret to make. Default: this object's name, type Opaque, one entry `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// A KeyProtectInstance by name.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRef {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("spec.instanceRef.name: must be the name of a KeyProtectInstance; its namespace goes into namespace"))]
    pub name: String,
    /// Its namespace. Default: the object's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new(schema::DNS_LABEL).message("spec.instanceRef.namespace: must be a namespace's name"))]
    pub namespace: Option<String>,
}

/// Which key: at most one of id, alias and name.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("[has(self.id), has(self.alias), has(self.name)].filter(x, x).size() <= 1")
        .message("id, alias, name: give one of them only, and remove the others"),
    validation = Rule::new("!has(self.name) || has(self.keyRing)")
        .message("keyRing: required beside name, since names are not unique; write the key's ring, for example default").field_path(".keyRing")
)]
#[serde(rename_all = "camelCase")]
pub struct KeySelector {
    /// That key and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(schema::UUID).message("id: must be the key's ID (a UUID like 02fd6835-6001-4482-a892-13bd2085f75d, the last part of its CRN); an alias goes into alias, a name into name with keyRing"))]
    pub id: Option<String>,
    /// Whichever key has the alias now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 90))]
    #[x_kube(validation = Rule::new(schema::ALIAS).message("alias: must be 2 to 90 letters, digits, '-' or '_', no UUID (that goes into id) and no word of the API like keys or policies; a name goes into name with keyRing"))]
    pub alias: Option<String>,
    /// The newest active standard key of that name in that ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 90))]
    #[x_kube(validation = Rule::new("self.size() >= 2 && self.matches('^[^\\\\x00-\\\\x1f\\\\x7f]*$')").message("name: must be 2 to 90 characters without control characters, as the key is named in Key Protect"))]
    pub name: Option<String>,
    /// Narrows the look-up to one key ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new(schema::KEY_RING).message("keyRing: must be a key ring's ID, 2 to 100 letters, digits, '-' or '_', like default"))]
    pub key_ring: Option<String>,
}

/// The Secret to make.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(
    validation = Rule::new("!has(self.creationPolicy) || self.creationPolicy != 'Merge' || !has(self.type)")
        .message("spec.target.type: the Secret is its owner's with creationPolicy Merge, and so is its type; remove it").field_path(".type"),
    validation = Rule::new("!has(self.creationPolicy) || self.creationPolicy != 'Merge' || !has(self.metadata)")
        .message("spec.target.metadata: the Secret is its owner's with creationPolicy Merge, and so are its labels and annotations; remove it").field_path(".metadata"),
    validation = Rule::new("!has(self.expand) || !has(self.data)")
        .message("spec.target.expand: takes the place of data; remove one of them").field_path(".expand"),
    validation = Rule::new("!has(self.type) || self.type != 'kubernetes.io/tls' || has(self.expand) || (has(self.data) && ['tls.crt', 'tls.key'].all(n, self.data.exists(e, e.name == n)))")
        .message("spec.target.data: a Secret of type kubernetes.io/tls needs the entries tls.crt and tls.key; add what is missing").field_path(".data"),
    validation = Rule::new("!has(self.type) || self.type != 'kubernetes.io/basic-auth' || has(self.expand) || (has(self.data) && self.data.exists(e, e.name in ['username', 'password']))")
        .message("spec.target.data: a Secret of type kubernetes.io/basic-auth needs the entry username or password; add one").field_path(".data"),
    validation = Rule::new("!has(self.type) || self.type != 'kubernetes.io/ssh-auth' || has(self.expand) || (has(self.data) && self.data.exists(e, e.name == 'ssh-privatekey'))")
        .message("spec.target.data: a Secret of type kubernetes.io/ssh-auth needs the entry ssh-privatekey; add it").field_path(".data"),
    validation = Rule::new("!has(self.type) || self.type != 'kubernetes.io/dockerconfigjson' || has(self.expand) || (has(self.data) && self.data.exists(e, e.name == '.dockerconfigjson'))")
        .message("spec.target.data: a Secret of type kubernetes.io/dockerconfigjson needs the entry .dockerconfigjson; add it").field_path(".data")
)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The Secret's name. Default: this object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("spec.target.name: must be a Secret's name: lower-case letters, digits, '-' and '.', with a letter or digit at both ends"))]
    pub name: Option<String>,
    /// The Secret's type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<SecretType>,
    /// Whose the Secret is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_policy: Option<CreationPolicy>,
    /// What happens to the Secret when this object is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Labels and annotations of the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TargetMetadata>,
    /// The payload is a JSON object, and each of its fields becomes an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expand: Option<Expand>,
    /// The Secret's entries. Default: one entry `key` with the payload's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub data: Option<Vec<Entry>>,
}

/// The Secret's type. Cannot be changed. Default: Opaque. Other types than these mean something
/// to other controllers, and the operator does not make them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum SecretType {
    /// Anything.
    #[default]
    Opaque,
    /// A certificate (`tls.crt`) and its key (`tls.key`).
    #[serde(rename = "kubernetes.io/tls")]
    Tls,
    /// `username` and `password`.
    #[serde(rename = "kubernetes.io/basic-auth")]
    BasicAuth,
    /// `ssh-privatekey`.
    #[serde(rename = "kubernetes.io/ssh-auth")]
    SshAuth,
    /// `.dockerconfigjson`.
    #[serde(rename = "kubernetes.io/dockerconfigjson")]
    DockerConfigJson,
}

impl SecretType {
    /// Names the type as Kubernetes does.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "Opaque",
            Self::Tls => "kubernetes.io/tls",
            Self::BasicAuth => "kubernetes.io/basic-auth",
            Self::SshAuth => "kubernetes.io/ssh-auth",
            Self::DockerConfigJson => "kubernetes.io/dockerconfigjson",
        }
    }
}

/// Whose the Secret is: Owner (the operator makes it, whole) or Merge (it is there, its own owner
/// shares it, and the operator puts entries in that the owner offers). Cannot be changed. Default:
/// Owner.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum CreationPolicy {
    /// The operator makes it, whole.
    #[default]
    Owner,
    /// It is somebody else's, who offers entries of it.
    Merge,
}

/// What happens to the Secret (Merge: to its entries) when this object is deleted: Delete (it goes too) or Retain (it
/// stays, and an object with the same target takes it up again). Default: Delete.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It goes too.
    #[default]
    Delete,
    /// It stays; an object with the same target takes it up again.
    Retain,
}

/// What happens to a Secret whose key, or the right to it, is gone: Retain (it keeps its last
/// value) or Delete (it is deleted, and made anew when the key or the right is back).
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum RevocationPolicy {
    /// It keeps its last value.
    #[default]
    Retain,
    /// It is deleted, and made anew when the key or the right is back.
    Delete,
}

/// In place of data. JSON: the payload is a JSON object, and each of its fields becomes an entry
/// (values that are no strings as compact JSON).
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum Expand {
    /// One entry per field of a JSON object; values that are no strings as compact JSON.
    #[serde(rename = "JSON")]
    Json,
}

/// Labels and annotations of the Secret.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(
    validation = Rule::new("!has(self.labels) || self.labels.all(k, !k.matches('^([a-z0-9.-]+[.])?keyprotect[.]dev/') && k != 'app.kubernetes.io/instance' && k != 'app.kubernetes.io/managed-by')")
        .message("spec.target.metadata.labels: labels under keyprotect.dev/, app.kubernetes.io/instance and app.kubernetes.io/managed-by are not for a target; remove them").field_path(".labels"),
    validation = Rule::new("!has(self.annotations) || self.annotations.all(k, !k.matches('^([a-z0-9.-]+[.])?keyprotect[.]dev/') && k != 'app.kubernetes.io/instance' && k != 'app.kubernetes.io/managed-by')")
        .message("spec.target.metadata.annotations: annotations under keyprotect.dev/, app.kubernetes.io/instance and app.kubernetes.io/managed-by are not for a target; remove them").field_path(".annotations")
)]
#[serde(rename_all = "camelCase")]
pub struct TargetMetadata {
    /// Labels. Prefixes other than app.kubernetes.io/ as the operator's
    /// `--target-metadata-prefixes` allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$') && self[k].matches('^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$'))")
        .message("spec.target.metadata.labels: each must be a label that Kubernetes takes: [prefix/]name, and a value of at most 63 letters, digits, '-', '_' and '.'"))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations. Prefixes as with labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 4096}))]
    #[x_kube(validation = Rule::new("self.all(k, k.matches('^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$'))")
        .message("spec.target.metadata.annotations: each key must be [prefix/]name of letters, digits, '-', '_' and '.'"))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// One entry of the Secret.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("[has(self.property), has(self.template), has(self.value)].filter(x, x).size() <= 1")
        .message("spec.target.data[]: property, template, value: give one of them only, and remove the others (a template reads a field by {{ payload | json('path') }})"),
    validation = Rule::new("!has(self.value) || (!has(self.from) && !has(self.encoding))")
        .message("spec.target.data[].value: is a literal; remove from and encoding beside it").field_path(".value"),
    validation = Rule::new("!has(self.template) || !has(self.encoding)")
        .message("spec.target.data[].encoding: has no meaning beside template; use a filter there, like {{ payload | base64 }}").field_path(".encoding"),
    validation = Rule::new("!has(self.from) || has(self.from.id) || has(self.from.alias) || has(self.from.name)")
        .message("spec.target.data[].from: must name a key: write id, alias, or name with keyRing").field_path(".from")
)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The entry's name in the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')").message("spec.target.data[].name: must be made of letters, digits, '-', '_' and '.', like tls.key, and not begin with '..'"))]
    pub name: String,
    /// What the payload's bytes are written as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// The payload is JSON: one value out of it. A field of exactly that name first, then the
    /// path, like `db.password` or `hosts[0].name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub property: Option<String>,
    /// Another key of the same instance. Default: `spec.key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<KeySelector>,
    /// Text with substitutions: `{{ payload | json('path') | urlencode }}`, `{{ key.name }}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub template: Option<String>,
    /// A literal, readable by whoever can read this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
}

/// What the payload's bytes are written as: Raw (as they are), Text (UTF-8, one final newline
/// removed), Base64, Base64URL (padded, as Fernet wants it), Base64URLNoPad (as in a JWK) or Hex
/// (lower case). Default: Raw.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    #[default]
    Raw,
    /// UTF-8 text, one final newline removed.
    Text,
    /// Base64, standard alphabet, padded.
    Base64,
    /// Base64, URL-safe alphabet, padded (Fernet).
    #[serde(rename = "Base64URL")]
    Base64Url,
    /// Base64, URL-safe alphabet, not padded (JWK).
    #[serde(rename = "Base64URLNoPad")]
    Base64UrlNoPad,
    /// Hexadecimal, lower case.
    Hex,
}

/// What the operator has made of the object: no payload, no digest of one, and nothing that
/// moves while nothing changes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("default" = {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "Waiting for the operator.", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}))]
pub struct KeyProtectKeyStatus {
    /// Ready; Reconciling and Stalled (kstatus); Stale, ExpiringSoon and MassRevocationHeld where
    /// they hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"], "maxItems" = 16))]
    pub conditions: Vec<Condition>,
    /// The key as the object names it: its alias, name or ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The keys that the Secret was made from, one per source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65))]
    pub keys: Vec<SourceKey>,
    /// The instance that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_ref: Option<InstanceRef>,
    /// The Secret as it was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretStatus>,
    /// What a grace is counted from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingStatus>,
    /// When the Secret's content last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_change_time: Option<Time>,
    /// When the Secret was last deleted because its key, or the right to it, was gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_revocation_time: Option<Time>,
    /// The value of `keyprotect.dev/sync-requested-at` that was last answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_sync_request: Option<String>,
    /// The generation of spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// A key that the Secret was made from.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SourceKey {
    /// The first entry that is made from it by `from`; absent for `spec.key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Its ID.
    pub id: String,
    /// Its CRN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crn: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The alias by which it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Its key ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_ring: Option<String>,
    /// Its state: Active, Deactivated, Destroyed or Suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_date: Option<String>,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_date: Option<String>,
    /// Correlation ID of the request that read its payload.
    #[serde(rename = "correlationID", skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// The Secret as it was last written.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretStatus {
    /// Its name.
    pub name: String,
    /// Its UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Its resourceVersion after the operator's last write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// The names of its entries that the operator wrote.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub entries: Vec<String>,
    /// The record of the inputs that it was made from, where it cannot stand on the Secret itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
}

/// What a grace is counted from; it survives a restart.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PendingStatus {
    /// The reason that would hold after the grace.
    pub reason: String,
    /// The key that it is counted for, as the object names it; absent where it is counted for
    /// all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it was first seen.
    pub since: Time,
}
