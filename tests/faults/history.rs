//! What etcd saw: every version of every object, in one order. Plain values.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::ledger::At;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Secret,
    Key,
    Instance,
    Namespace,
    Event,
    Lease,
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Which {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Which {
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Reads a path in etcd; nothing for kinds that are not looked at.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix("/registry/")?.split('/').collect();
        match parts[..] {
            ["secrets", namespace, name] => Some(Self::new(Kind::Secret, namespace, name)),
            ["keyprotect.dev", "keyprotectkeys", namespace, name] => {
                Some(Self::new(Kind::Key, namespace, name))
            }
            ["keyprotect.dev", "keyprotectinstances", namespace, name] => {
                Some(Self::new(Kind::Instance, namespace, name))
            }
            ["events", namespace, name] => Some(Self::new(Kind::Event, namespace, name)),
            ["leases", namespace, name] => Some(Self::new(Kind::Lease, namespace, name)),
            ["namespaces", name] => Some(Self::new(Kind::Namespace, "", name)),
            _ => None,
        }
    }
}

/// One version of an object, or its end.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) which: Which,
    /// etcd's revision, which is the resourceVersion too.
    pub(crate) revision: u64,
    /// The how manieth version since the object was created; 0 for its end.
    pub(crate) count: u64,
    /// When it was seen here, which is after it was written.
    pub(crate) at: At,
    /// The object; nothing, when it was deleted.
    pub(crate) object: Option<Value>,
}

impl Version {
    pub(crate) fn uid(&self) -> &str {
        self.object.as_ref().map_or("", uid)
    }
}

/// The newest version of every object there is.
pub(crate) type Present = BTreeMap<Which, Version>;

pub(crate) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// A Secret's data, decoded; what is no base64 is told apart from everything else.
pub(crate) fn data(secret: &Value) -> BTreeMap<String, Vec<u8>> {
    let data = secret["data"].as_object().into_iter().flatten();
    data.map(|(entry, value)| {
        let text = value.as_str().unwrap_or_default();
        let bytes = STANDARD.decode(text);
        (
            entry.clone(),
            bytes.unwrap_or_else(|_| b"(no base64)".to_vec()),
        )
    })
    .collect()
}

pub(crate) fn label<'a>(object: &'a Value, label: &str) -> Option<&'a str> {
    object["metadata"]["labels"].get(label)?.as_str()
}

pub(crate) fn annotation<'a>(object: &'a Value, annotation: &str) -> Option<&'a str> {
    object["metadata"]["annotations"].get(annotation)?.as_str()
}

/// UIDs of the KeyProtectKeys that own a Secret.
pub(crate) fn owners(secret: &Value) -> Vec<&str> {
    let owners = secret["metadata"]["ownerReferences"].as_array();
    let keys = owners.into_iter().flatten();
    keys.filter(|owner| owner["kind"] == "KeyProtectKey")
        .filter_map(|owner| owner["uid"].as_str())
        .collect()
}
