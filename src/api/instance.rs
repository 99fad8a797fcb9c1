//! `KeyProtectInstance`: where keys come from and who may use them.
#![allow(
    unreachable_pub,
    reason = "the schema derives repeat the type inside a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelectorRequirement};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key::RevocationPolicy;
use super::schema;

/// Where keys come from and who may use them: a Key Protect instance, its endpoint, the
/// credential to use there, and the namespaces that may name its keys.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[kube(
    group = "keyprotect.dev",
    version = "v1alpha1",
    kind = "KeyProtectInstance",
    plural = "keyprotectinstances",
    shortname = "kpi",
    category = "keyprotect",
    namespaced,
    status = "KeyProtectInstanceStatus",
    derive = "PartialEq",
    doc = "Where keys come from and who may use them: an instance of IBM Key Protect (or Key Protect Dedicated, or Hyper Protect Crypto Services).",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Region", type_ = "string", json_path = ".status.region"),
    printcolumn(name = "Keys", type_ = "integer", json_path = ".status.keysInUse"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".status.instanceID", priority = 1),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name: must be at most 63 characters; choose a shorter name")
)]
#[x_kube(
    validation = Rule::new("has(self.cloudFoundry) || has(self.crn) != has(self.instanceID)")
        .message("spec: give either crn, or instanceID together with region; copy the CRN from 'ibmcloud resource service-instance NAME --id'"),
    validation = Rule::new("!has(self.cloudFoundry) || (!has(self.crn) && !has(self.instanceID))")
        .message("spec.cloudFoundry: takes the place of crn and instanceID; remove those, or remove cloudFoundry").field_path(".cloudFoundry"),
    validation = Rule::new("!has(self.instanceID) || has(self.region) || (has(self.endpoint) && has(self.endpoint.url))")
        .message("spec.region: required with instanceID, for example us-south (or give endpoint.url)").field_path(".region"),
    validation = Rule::new("!has(self.cloudFoundry) || !has(self.endpoint) || (!has(self.endpoint.kind) && !has(self.endpoint.network) && !has(self.endpoint.port))")
        .message("spec.endpoint: kind, network and port have no meaning with cloudFoundry; remove them, or give url if the legacy host is not meant").field_path(".endpoint"),
    validation = Rule::new("!has(self.crn) || !has(self.region)")
        .message("spec.region: the CRN names the region already; remove region").field_path(".region")
)]
#[serde(rename_all = "camelCase")]
pub struct KeyProtectInstanceSpec {
    /// CRN of the instance, as `ibmcloud resource service-instance NAME --id` prints it. The
    /// instance ID that this command prints after the CRN may stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(
        validation = Rule::new(format!("!({}) || {}", schema::CRN_SERVICE, schema::CRN_FORM))
            .message("spec.crn: must look like crn:v1:bluemix:public:kms:us-south:a/<account>:<instance ID>::, as 'ibmcloud resource service-instance NAME --id' prints it"),
        validation = Rule::new(schema::CRN_SERVICE)
            .message("spec.crn: names another service than Key Protect (kms) or Hyper Protect Crypto Services (hs-crypto); use the CRN of the key management instance"),
        validation = Rule::new(format!("!({}) || {}", schema::CRN_FORM, schema::CRN_INSTANCE))
            .message("spec.crn: names no instance; copy the whole line that 'ibmcloud resource service-instance NAME --id' prints")
    )]
    pub crn: Option<String>,
    /// Instance ID (a GUID), where no CRN is given.
    #[serde(rename = "instanceID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(schema::UUID).message("spec.instanceID: must be the instance's GUID, like 12e8c9c2-a162-472d-b7d6-8b9a86b815a6; a CRN goes into crn"))]
    pub instance_id: Option<String>,
    /// Region of the instance, where no CRN is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]{2}-[a-z]{2,5}$')").message("spec.region: must be a region like us-south, eu-de or jp-tok"))]
    pub region: Option<String>,
    /// Which host is called. Default: the public one of the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointSpec>,
    /// The credential used at IAM. Default: the one that the operator's `--default-credential`
    /// names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// A legacy instance in a Cloud Foundry org and space, which are named in place of an
    /// instance ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_foundry: Option<CloudFoundry>,
    /// How often the instance's keys are looked at, like 1h or 30m; at least 1m. Default: 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 18))]
    #[x_kube(validation = Rule::new(format!("{} && duration(self) >= duration('1m')", schema::DURATION))
        .message("spec.refreshInterval: must be a duration of hours, minutes and seconds like 1h, 30m or 1h30m, and at least 1m"))]
    pub refresh_interval: Option<String>,
    /// Which namespaces may use which keys: a request passes if one rule allows it. Absent:
    /// every key, but for the instance's own namespace only. An empty list: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub access: Option<Vec<AccessRule>>,
    /// What happens to Secrets whose right to a key was withdrawn by a change of access, after the
    /// grace. Default: Retain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_access_withdrawn: Option<RevocationPolicy>,
}

/// Which host is called.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(
    validation = Rule::new("!has(self.url) || (!has(self.network) && !has(self.port) && !has(self.kind))")
        .message("spec.endpoint.url: names the whole host; remove kind, network and port, or remove url").field_path(".url")
)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSpec {
    /// Which service's host is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EndpointKind>,
    /// Which network is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Port of a private endpoint with an allowed-IP policy, or of an HPCS host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Takes the place of the host and port that kind, region and network would make, like
    /// `https://private.us-south.kms.cloud.ibm.com:12345`. The operator's admin allows hosts
    /// other than IBM Cloud's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    #[x_kube(validation = Rule::new(schema::url("/?"))
        .message("spec.endpoint.url: must be https://HOST or https://HOST:PORT, without user, path or query (http only for a loopback host)"))]
    pub url: Option<String>,
    /// Takes the place of IAM's token URL, like `https://iam.cloud.ibm.com/identity/token`; the
    /// legacy path /oidc/token is kept where it is given.
    #[serde(rename = "iamURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    #[x_kube(validation = Rule::new(schema::url("(/|/identity/token|/oidc/token)?"))
        .message("spec.endpoint.iamURL: must be https://HOST or https://HOST:PORT with nothing, /identity/token or /oidc/token after it (http only for a loopback host)"))]
    pub iam_url: Option<String>,
    /// Extra root certificates in PEM, for hosts whose certificate no public authority signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    #[x_kube(validation = Rule::new("self.contains('-----BEGIN CERTIFICATE-----')")
        .message("spec.endpoint.caBundle: must hold certificates in PEM, beginning with -----BEGIN CERTIFICATE-----"))]
    pub ca_bundle: Option<String>,
}

/// Which service's host the region and the instance ID make: Standard (Key Protect), Dedicated
/// (Key Protect Dedicated) or HPCS (Hyper Protect Crypto Services). Default: what the CRN says,
/// else Standard.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum EndpointKind {
    /// Key Protect.
    Standard,
    /// Key Protect Dedicated.
    Dedicated,
    /// Hyper Protect Crypto Services.
    #[serde(rename = "HPCS")]
    Hpcs,
}

/// Which network the hosts are reached over: Public, or Private (IBM Cloud's private network,
/// for IAM too). Default: Public.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum Network {
    /// The public Internet.
    Public,
    /// IBM Cloud's private network.
    Private,
}

/// The credential used at IAM.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(
    validation = Rule::new("[has(self.mountedAPIKey), has(self.apiKeySecretRef), has(self.trustedProfile)].filter(given, given).size() <= 1")
        .message("spec.credentials: give one of mountedAPIKey, apiKeySecretRef and trustedProfile, and remove the others")
)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// A service ID's API key that is mounted into the operator's Pod. Only for instances in
    /// the operator's own namespace.
    #[serde(rename = "mountedAPIKey", skip_serializing_if = "Option::is_none")]
    pub mounted_api_key: Option<MountedApiKey>,
    /// A service ID's API key in a Secret in the instance's own namespace. The Secret's owner lets
    /// the operator read it by a Role with the verb get on that Secret; the instance's status says
    /// which one is missing.
    #[serde(rename = "apiKeySecretRef", skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<ApiKeySecretRef>,
    /// A trusted profile that trusts the operator's ServiceAccount: no API key is needed, on
    /// clusters that IBM Cloud knows. Only for instances in the operator's own namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_profile: Option<TrustedProfile>,
}

/// A trusted profile in IAM, by name or ID.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.id)")
        .message("spec.credentials.trustedProfile: give either name or id, as 'ibmcloud iam trusted-profiles' shows them")
)]
#[serde(rename_all = "camelCase")]
pub struct TrustedProfile {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]')").message("spec.credentials.trustedProfile.name: must be the profile's name, on one line"))]
    pub name: Option<String>,
    /// Its ID, like Profile-9fd84246-7df4-4667-94e4-8ecde51d5ac5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9-]{1,64}$')").message("spec.credentials.trustedProfile.id: must be the profile's ID, like Profile-9fd84246-7df4-4667-94e4-8ecde51d5ac5; a name goes into name"))]
    pub id: Option<String>,
}

/// An API key file in the operator's Pod.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MountedApiKey {
    /// Folder under the operator's `--credentials-dir` that holds the file `apikey`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new(schema::DNS_LABEL).message("spec.credentials.mountedAPIKey.name: must be a DNS label like default or team-a"))]
    pub name: String,
}

/// An entry of a Secret in the instance's own namespace.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeySecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("spec.credentials.apiKeySecretRef.name: must be a Secret's name, like key-protect"))]
    pub name: String,
    /// The entry that holds the API key, alone or as the JSON that IBM's CLI writes. Default:
    /// apikey.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("spec.credentials.apiKeySecretRef.key: must be an entry's name of letters, digits, '-', '_' and '.'"))]
    pub key: Option<String>,
}

impl ApiKeySecretRef {
    /// The entry that holds the API key.
    #[must_use]
    pub fn entry(&self) -> &str {
        self.key.as_deref().unwrap_or("apikey")
    }
}

/// A Cloud Foundry org and space.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CloudFoundry {
    /// GUID of the organization (`bx iam org NAME --guid`).
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new(schema::UUID).message("spec.cloudFoundry.organization: must be the organization's GUID"))]
    pub organization: String,
    /// GUID of the space (`bx iam space NAME --guid`).
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new(schema::UUID).message("spec.cloudFoundry.space: must be the space's GUID"))]
    pub space: String,
}

/// One rule: which namespaces may use which keys. A key has to be in one of keyRings and match
/// one of ids, aliases and names; what is absent does not restrict.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(
    validation = Rule::new("!has(self.names) || has(self.keyRings)")
        .message("spec.access[].names: needs keyRings beside it, since whoever can write keys can take any name; add the keyRings of those keys").field_path(".names")
)]
#[serde(rename_all = "camelCase")]
pub struct AccessRule {
    /// Which namespaces the rule speaks of.
    pub namespaces: NamespaceSelection,
    /// Key rings whose keys may be used (the recommended form). Absent: every ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 100)))]
    #[x_kube(validation = Rule::new("self.all(r, r.matches('^[A-Za-z0-9_-]{2,100}$'))").message("spec.access[].keyRings: each must be a key ring's ID, 2 to 100 letters, digits, '-' or '_'; patterns are not understood here"))]
    pub key_rings: Option<Vec<String>>,
    /// Key IDs, exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(max = 64)))]
    #[x_kube(validation = Rule::new("self.all(i, i.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'))").message("spec.access[].ids: each must be a key's ID (a UUID); aliases go into aliases, names into names"))]
    pub ids: Option<Vec<String>>,
    /// Aliases; `*` and `?` as in a shell, case-sensitive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 90)))]
    #[x_kube(validation = Rule::new("self.all(a, a.matches('^[A-Za-z0-9_*?-]{1,90}$'))").message("spec.access[].aliases: each must be made of letters, digits, '-', '_', and the wildcards '*' and '?'"))]
    pub aliases: Option<Vec<String>>,
    /// Key names; `*` and `?` as in a shell, case-sensitive. Only together with keyRings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 90)))]
    pub names: Option<Vec<String>>,
}

/// Which namespaces a rule speaks of.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(
    validation = Rule::new("(self.from == 'Names') == has(self.names)")
        .message("spec.access[].namespaces.names: list the namespaces here with 'from: Names', and only then").field_path(".names"),
    validation = Rule::new("(self.from == 'Selector') == has(self.selector)")
        .message("spec.access[].namespaces.selector: give a label selector here with 'from: Selector', and only then").field_path(".selector")
)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelection {
    /// Same, All, Names or Selector.
    pub from: NamespacesFrom,
    /// Namespace names, with `from: Names`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))").message("spec.access[].namespaces.names: each must be a namespace's name; patterns are not understood here"))]
    pub names: Option<Vec<String>>,
    /// Namespace labels, with `from: Selector`: only those under access.keyprotect.dev/, which
    /// admins guard, and kubernetes.io/metadata.name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// How namespaces are selected: Same (the instance's own), All, Names (those listed under
/// names) or Selector (those whose labels match selector).
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum NamespacesFrom {
    /// The instance's own namespace.
    #[default]
    Same,
    /// Every namespace.
    All,
    /// Those named.
    Names,
    /// Those with matching labels.
    Selector,
}

/// A label selector over namespaces.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.matchLabels) || has(self.matchExpressions)")
        .message("spec.access[].namespaces.selector: give matchLabels or matchExpressions; for every namespace write 'from: All'"),
    validation = Rule::new("!has(self.matchLabels) || self.matchLabels.all(k, k.startsWith('access.keyprotect.dev/') || k == 'kubernetes.io/metadata.name')")
        .message("spec.access[].namespaces.selector.matchLabels: only labels under access.keyprotect.dev/ or kubernetes.io/metadata.name, since others can be set by whoever may label a namespace").field_path(".matchLabels"),
    validation = Rule::new("!has(self.matchExpressions) || self.matchExpressions.all(e, e.key.startsWith('access.keyprotect.dev/') || e.key == 'kubernetes.io/metadata.name')")
        .message("spec.access[].namespaces.selector.matchExpressions: only keys under access.keyprotect.dev/ or kubernetes.io/metadata.name, since others can be set by whoever may label a namespace").field_path(".matchExpressions"),
    validation = Rule::new("!has(self.matchExpressions) || self.matchExpressions.all(e, (e.operator in ['In', 'NotIn']) == (has(e.values) && e.values.size() > 0))")
        .message("spec.access[].namespaces.selector.matchExpressions: In and NotIn need values, Exists and DoesNotExist take none").field_path(".matchExpressions")
)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels with their values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Label expressions (In, NotIn, Exists, DoesNotExist).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minItems" = 1, "maxItems" = 16, "items" = {"type": "object", "required": ["key", "operator"], "properties": {
        "key": {"type": "string", "maxLength": 317},
        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
        "values": {"type": "array", "maxItems": 64, "items": {"type": "string", "maxLength": 63}}}}))]
    pub match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

/// What the operator has seen of the instance. Nothing in it moves while nothing changes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("default" = {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "Waiting for the operator.", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}))]
pub struct KeyProtectInstanceStatus {
    /// Ready, Authenticated, and abnormal-true ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"], "maxItems" = 16))]
    pub conditions: Vec<Condition>,
    /// The endpoint in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The instance ID in use.
    #[serde(rename = "instanceID", skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The region in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How keys are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalogue_mode: Option<CatalogueMode>,
    /// How many KeyProtectKeys name this instance and may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_in_use: Option<i64>,
    /// The form in which the operator found itself installed: what its rights let it do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_form: Option<InstallForm>,
    /// The value of `keyprotect.dev/sync-requested-at` that was last answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_sync_request: Option<String>,
    /// The generation of spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// How keys are looked at: List (one listing for all) or Single (key by key).
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum CatalogueMode {
    /// One listing for all.
    List,
    /// Key by key.
    Single,
}

/// The form in which the operator was installed: Standard (it watches Secrets' metadata), NoRead (it
/// reads no Secret), and each for named namespaces only.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq, Hash)]
pub enum InstallForm {
    /// Secrets' metadata is watched in every namespace.
    Standard,
    /// No Secret is read.
    NoRead,
    /// Secrets' metadata is watched in the namespaces of `--namespaces`.
    StandardNamespaces,
    /// No Secret is read, and only the namespaces of `--namespaces` are served.
    NoReadNamespaces,
}

impl InstallForm {
    /// Every form.
    pub const ALL: [Self; 4] = [
        Self::Standard,
        Self::NoRead,
        Self::StandardNamespaces,
        Self::NoReadNamespaces,
    ];

    /// Whether it is for named namespaces only.
    #[must_use]
    pub const fn is_for_namespaces(self) -> bool {
        matches!(self, Self::StandardNamespaces | Self::NoReadNamespaces)
    }

    /// Names the form as status shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::NoRead => "NoRead",
            Self::StandardNamespaces => "StandardNamespaces",
            Self::NoReadNamespaces => "NoReadNamespaces",
        }
    }
}
