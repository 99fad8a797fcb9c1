//! Objects as a watch reads them: each is cut into its parts as text, and of each part only what
//! somebody needs is built. kube's own guard builds a tree of values of every object first, and
//! managedFields are as much as the rest of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::api::{self, KeyProtectInstance, KeyProtectKey};
use crate::domain::secret::metadata::SecretMetadata;

/// A kind of which a watch shows spec and status.
pub(super) trait Assembled: Resource<DynamicType = ()> + Sized {
    /// What is asked for.
    type Spec: DeserializeOwned;
    /// What became of it.
    type Status: DeserializeOwned;

    /// Puts an object together.
    fn assemble(metadata: ObjectMeta, spec: Self::Spec, status: Option<Self::Status>) -> Self;
}

impl Assembled for KeyProtectKey {
    type Spec = api::KeyProtectKeySpec;
    type Status = api::KeyProtectKeyStatus;

    fn assemble(metadata: ObjectMeta, spec: Self::Spec, status: Option<Self::Status>) -> Self {
        Self {
            metadata,
            spec,
            status,
        }
    }
}

impl Assembled for KeyProtectInstance {
    type Spec = api::KeyProtectInstanceSpec;
    type Status = api::KeyProtectInstanceStatus;

    fn assemble(metadata: ObjectMeta, spec: Self::Spec, status: Option<Self::Status>) -> Self {
        Self {
            metadata,
            spec,
            status,
        }
    }
}

/// An object of a kind, or why it is none: one malformed object cannot stop a watch.
#[derive(Clone, Debug)]
pub(super) enum Received<K> {
    /// As the operator needs it.
    Whole(K),
    /// It does not have the form of its kind.
    Malformed {
        /// Its metadata.
        metadata: Box<ObjectMeta>,
        /// Why.
        error: String,
    },
}

/// An object in its parts.
#[derive(Deserialize)]
struct Parts<'a> {
    metadata: Metadata,
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

/// The metadata that somebody needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<BTreeMap<String, String>>,
}

impl From<Metadata> for ObjectMeta {
    fn from(metadata: Metadata) -> Self {
        // Others' annotations are nothing to the operator, and `kubectl apply` leaves the whole
        // object in one.
        let ours = |name: &str| {
            name.split_once('/')
                .is_some_and(|(prefix, _)| prefix == api::GROUP)
        };
        let mut annotations = metadata.annotations.unwrap_or_default();
        annotations.retain(|name, _| ours(name));
        Self {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            creation_timestamp: metadata.creation_timestamp,
            deletion_timestamp: metadata.deletion_timestamp,
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..Self::default()
        }
    }
}

impl<'de, K: Assembled> Deserialize<'de> for Received<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = Parts::deserialize(deserializer)?;
        let metadata = parts.metadata.into();
        let read = || {
            let spec = parts.spec.ok_or_else(|| de::Error::missing_field("spec"))?;
            let spec = serde_json::from_str(spec.get())?;
            let status = parts
                .status
                .map(|status| serde_json::from_str(status.get()));
            Ok::<_, serde_json::Error>((spec, status.transpose()?))
        };
        Ok(match read() {
            Ok((spec, status)) => Self::Whole(K::assemble(metadata, spec, status)),
            Err(error) => Self::Malformed {
                metadata: Box::new(metadata),
                error: error.to_string(),
            },
        })
    }
}

impl<K: Assembled> Resource for Received<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Whole(object) => object.meta(),
            Self::Malformed { metadata, .. } => metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Whole(object) => object.meta_mut(),
            Self::Malformed { metadata, .. } => metadata,
        }
    }
}

/// A Secret of which only metadata is asked for.
#[derive(Clone, Debug)]
pub(super) struct ReceivedSecret {
    /// What of it is needed.
    pub(super) metadata: SecretMetadata,
    /// What kube's watcher needs: the resourceVersion.
    version: ObjectMeta,
}

impl<'de> Deserialize<'de> for ReceivedSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Partial {
            metadata: SecretMetadata,
        }
        let Partial { metadata } = Partial::deserialize(deserializer)?;
        let version = ObjectMeta {
            resource_version: metadata.resource_version.clone(),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, version })
    }
}

impl Resource for ReceivedSecret {
    type DynamicType = ();
    type Scope = <Secret as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        Secret::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Secret::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Secret::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Secret::plural(&())
    }

    fn metadata_api() -> bool {
        true
    }

    fn meta(&self) -> &ObjectMeta {
        &self.version
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.version
    }
}
