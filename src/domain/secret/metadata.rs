//! A Secret's metadata as an API server writes it, read without building what nobody looks at:
//! managedFields alone are as much as all the rest, and of them only names matter.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

/// Metadata of a Secret, from a watch or from the answer to a write.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretMetadata {
    /// Its name.
    pub name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its UID.
    pub uid: Option<String>,
    /// Its resourceVersion.
    pub resource_version: Option<String>,
    /// Its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Its annotations.
    pub annotations: Option<BTreeMap<String, String>>,
    /// Its owner references.
    pub owner_references: Option<Vec<OwnerReference>>,
    /// Its finalizers.
    pub finalizers: Option<Vec<String>>,
    /// There, if it is being deleted.
    pub deletion_timestamp: Option<IgnoredAny>,
    /// Who wrote which of its fields.
    pub managed_fields: Option<Vec<Managed>>,
}

/// What one manager owns.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Managed {
    /// Its name.
    pub manager: Option<String>,
    /// How it wrote: Update or Apply.
    pub operation: Option<String>,
    /// The fields.
    #[serde(rename = "fieldsV1")]
    pub fields: Option<Fields>,
}

/// The fields that matter, out of those that a manager owns.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fields {
    /// Entries.
    #[serde(rename = "f:data")]
    pub data: Names,
    /// Labels and annotations.
    #[serde(rename = "f:metadata")]
    pub metadata: MetadataFields,
}

/// Labels and annotations that a manager owns.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MetadataFields {
    /// Labels.
    #[serde(rename = "f:labels")]
    pub labels: Names,
    /// Annotations.
    #[serde(rename = "f:annotations")]
    pub annotations: Names,
}

/// Names below a field: what is written `f:<name>`.
#[derive(Clone, Debug, Default)]
pub struct Names(pub Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a set of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    names.extend(name);
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// One key of a set of fields; `.` stands for the set itself, and is no name.
struct Name(Option<String>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;
        impl Visitor<'_> for Key {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<Name, E> {
                Ok(Name(key.strip_prefix("f:").map(str::to_owned)))
            }
        }
        deserializer.deserialize_str(Key)
    }
}
