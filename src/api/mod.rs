//! The wire contract with Kubernetes: both kinds, their conditions and reasons, and every
//! name that the operator writes into the cluster. Nothing here decides or talks to anyone.

pub mod condition;
pub mod instance;
pub mod key;
pub mod schema;

pub use condition::{ConditionType, Reason};
pub use instance::{KeyProtectInstance, KeyProtectInstanceSpec, KeyProtectInstanceStatus};
pub use key::{KeyProtectKey, KeyProtectKeySpec, KeyProtectKeyStatus};

/// API group of both kinds.
pub const GROUP: &str = "keyprotect.dev";
/// `apiVersion` of both kinds, as owner references name it.
pub const API_VERSION: &str = "keyprotect.dev/v1alpha1";
/// Kind of the object that one Secret is made for, as owner references name it.
pub const KEY_KIND: &str = "KeyProtectKey";
/// Field manager of every Secret and status that the operator writes.
pub const FIELD_MANAGER: &str = "keyprotect.dev/operator";
/// Field managers of entries in shared Secrets: this, and the name of the KeyProtectKey, with which
/// they go.
pub const MERGE_MANAGER: &str = "keyprotect.dev/merge/";
/// The same for entries that outlive their object (`deletionPolicy: Retain`): once the object is
/// gone, nothing else tells the two apart.
pub const MERGE_RETAIN_MANAGER: &str = "keyprotect.dev/merge-retain/";
/// Name of the Lease by which one of several replicas leads, in the operator's namespace.
pub const LEASE: &str = "key-protect-operator";

/// Label that decides what the operator may touch (design: "Marks").
pub const TARGET_LABEL: &str = "keyprotect.dev/target";
/// Value of [`TARGET_LABEL`] on a Secret that the operator made.
pub const TARGET_OWNED: &str = "owned";
/// Value of [`TARGET_LABEL`] on a Secret whose own owner lets the operator put entries in.
pub const TARGET_SHARED: &str = "shared";
/// Value of [`TARGET_LABEL`] on a Secret whose own owner hands it over to the operator.
pub const TARGET_ADOPT: &str = "adopt";
/// Annotation on a shared Secret with the names of the entries that its owner offers: `a,b`.
pub const ENTRIES_ANNOTATION: &str = "keyprotect.dev/entries";
/// Annotation with the record of the inputs from which an owned Secret was made.
pub const RECORD_ANNOTATION: &str = "keyprotect.dev/record";
/// Annotation on an owned Secret that outlives its object (`deletionPolicy: Retain`).
pub const RETAIN_ANNOTATION: &str = "keyprotect.dev/retain";
/// Annotation on either kind that asks for one look now; its value is echoed in status.
pub const SYNC_REQUESTED_ANNOTATION: &str = "keyprotect.dev/sync-requested-at";
/// Annotation on an instance that lets held revocations go: those held at its time, an RFC 3339 one.
pub const RELEASE_REVOCATIONS_ANNOTATION: &str = "keyprotect.dev/release-revocations";
/// Annotation on a CRD that lets it be deleted.
pub const ALLOW_DELETE_ANNOTATION: &str = "keyprotect.dev/allow-delete";
