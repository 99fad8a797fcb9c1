//! What the admin port takes and gives, and what a seed file holds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::access::Grant;
use crate::domain::key::Damage;
use crate::domain::modes::Modes;
use crate::faults::Fault;
use crate::iam::profile::Trust;

/// An instance to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewInstance {
    /// Its GUID.
    pub id: String,
    /// Its CRN; one is made up when absent.
    #[serde(default)]
    pub crn: Option<String>,
    /// A Cloud Foundry organisation that names it, with the space.
    #[serde(default)]
    pub bluemix_org: Option<String>,
    /// A Cloud Foundry space that names it, with the organisation.
    #[serde(default)]
    pub bluemix_space: Option<String>,
    /// Rings to begin with, beside `default`.
    #[serde(default)]
    pub rings: Vec<String>,
    /// Keys to begin with.
    #[serde(default)]
    pub keys: Vec<CreateKey>,
}

/// A service ID to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewServiceId {
    /// Its name.
    pub name: String,
    /// An API key to begin with.
    #[serde(default)]
    pub api_key: Option<String>,
    /// What it may do.
    #[serde(default)]
    pub roles: Vec<Grant>,
    /// The service of IBM Cloud that it acts for, by its name in CRNs: such as
    /// `cloud-object-storage`. Only services make registrations.
    #[serde(default)]
    pub service: Option<String>,
}

/// A trusted profile to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewProfile {
    /// Its name.
    pub name: String,
    /// Its ID; `Profile-` and a UUID when absent.
    #[serde(default)]
    pub id: Option<String>,
    /// What it trusts.
    pub trust: Trust,
    /// What it may do.
    #[serde(default)]
    pub roles: Vec<Grant>,
}

/// An API key to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewApiKey {
    /// The service ID's name.
    pub service_id: String,
    /// The API key.
    pub api_key: String,
}

/// New roles of a service ID.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Roles {
    /// What it may do.
    pub roles: Vec<Grant>,
}

/// A key to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CreateKey {
    /// Its name; not unique.
    pub name: String,
    /// Its ID; a v4 UUID is made when absent.
    pub id: Option<String>,
    /// The material in base64; 32 random bytes when absent.
    pub payload: Option<String>,
    /// `true`, the default, for a standard key.
    pub extractable: Option<bool>,
    /// A description.
    pub description: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Aliases.
    pub aliases: Vec<String>,
    /// The ring, which is made when there is none such.
    pub key_ring: Option<String>,
    /// When it expires, in RFC 3339; here it may have passed.
    pub expiration_date: Option<String>,
    /// When it was made.
    pub creation_date: Option<String>,
}

/// Many keys to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateKeys {
    /// How many.
    pub count: usize,
    /// What their names begin with; a number follows.
    pub prefix: String,
    /// What their aliases begin with; none when absent.
    #[serde(default)]
    pub alias_prefix: Option<String>,
    /// The material of each; random when absent.
    #[serde(default)]
    pub payload: Option<String>,
    /// Standard, by default, or root.
    #[serde(default)]
    pub extractable: Option<bool>,
    /// The ring.
    #[serde(default)]
    pub key_ring: Option<String>,
}

/// The state that a key is put in: a number, or `active`, `suspended`,
/// `deactivated`, `deleted`, `purged`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetState {
    /// The state.
    pub state: serde_json::Value,
}

/// The key that an alias is to stand for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AliasTarget {
    /// The key's ID.
    pub key_id: String,
}

/// The ring that a key is to be in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RingTarget {
    /// The ring.
    pub key_ring: String,
}

/// When a key is to expire.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Expiration {
    /// The date in RFC 3339, or none.
    pub expiration_date: Option<String>,
}

/// Where the emulator's clock is to stand, and how fast it is to go. What is
/// absent stays as it is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SetClock {
    /// How many seconds ahead of the real time; negative for behind.
    pub offset_seconds: Option<i64>,
    /// How many seconds go by in a real one; 0 stops it.
    pub rate: Option<f64>,
}

/// A cloud resource that a root key is to protect.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRegistration {
    /// The resource's CRN.
    pub resource_crn: String,
    /// A description.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether a retention policy keeps the key from deletion.
    #[serde(default)]
    pub prevent_key_deletion: bool,
}

/// A failover of an instance to another region.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Failover {
    /// How many seconds old the copy there is.
    pub age_seconds: u32,
    /// For how many seconds nothing can be changed there.
    pub read_only_seconds: u32,
}

/// What is to be broken about a key inside the service.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SetDamage {
    /// The damage; null mends the key.
    pub damage: Option<Damage>,
}

/// What goes wrong with new connections.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionTrouble {
    /// The fault.
    pub fault: crate::connections::ConnectionFault,
}

/// How long tokens live.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenLifetime {
    /// Seconds.
    pub seconds: i64,
}

/// What a seed file holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Seed {
    /// Instances with their keys.
    pub instances: Vec<NewInstance>,
    /// Service IDs with their roles.
    pub service_ids: Vec<NewServiceId>,
    /// Trusted profiles.
    pub profiles: Vec<NewProfile>,
    /// Modes.
    pub modes: Option<Modes>,
    /// Faults by name.
    pub faults: BTreeMap<String, Fault>,
}

impl Seed {
    /// Returns the JSON schema of a seed file.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}
