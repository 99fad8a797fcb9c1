//! What one user asked of the API server, out of its audit log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::{Context, Result};

/// Requests by verb and resource, like `create secrets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Asked(pub(crate) BTreeMap<String, u64>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(default)]
    object_ref: Option<Reference>,
    #[serde(rename = "requestURI")]
    uri: String,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
}

impl Asked {
    /// Counts what a log says. A watch counts when it begins, everything else when it is answered.
    pub(crate) fn read(log: &str) -> Result<Self> {
        let mut counts = BTreeMap::new();
        for line in log.lines() {
            let event: Line = serde_json::from_str(line).context(|| line.to_owned())?;
            let counted = if event.verb == "watch" {
                "ResponseStarted"
            } else {
                "ResponseComplete"
            };
            if event.stage != counted {
                continue;
            }
            let what = match event.object_ref {
                Some(object) if object.subresource.is_empty() => object.resource,
                Some(object) => format!("{}/{}", object.resource, object.subresource),
                None => event.uri.clone(),
            };
            let what = if event.uri.contains("dryRun=All") {
                format!("{what} (dry run)")
            } else {
                what
            };
            *counts.entry(format!("{} {what}", event.verb)).or_default() += 1;
        }
        Ok(Self(counts))
    }

    /// What was asked since an earlier count.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let rose = self.0.iter().map(|(what, count)| {
            let was = before.0.get(what).copied().unwrap_or_default();
            (what.clone(), count.saturating_sub(was))
        });
        Self(rose.filter(|(_, count)| *count > 0).collect())
    }

    /// Reads of single Secrets and objects.
    pub(crate) fn reads(&self) -> u64 {
        self.sum(|verb, what| verb == "get" && is_object(what))
    }

    /// Writes of Secrets, objects' statuses and Events.
    pub(crate) fn writes(&self) -> u64 {
        self.sum(|verb, what| {
            !matches!(verb, "get" | "list" | "watch") && (is_object(what) || what == "events")
        })
    }

    /// Everything that is neither a watch, its opening list, the instance's status nor upkeep.
    pub(crate) fn beside_status(&self) -> u64 {
        self.sum(|verb, what| {
            !matches!(verb, "list" | "watch")
                && !is_upkeep(what)
                && what != "keyprotectinstances/status"
        })
    }

    /// Writes of anything but upkeep.
    pub(crate) fn all_writes(&self) -> u64 {
        self.sum(|verb, what| !matches!(verb, "get" | "list" | "watch") && !is_upkeep(what))
    }

    fn sum(&self, counts: impl Fn(&str, &str) -> bool) -> u64 {
        self.0
            .iter()
            .filter(|(key, _)| {
                let (verb, what) = key.split_once(' ').unwrap_or((key, ""));
                counts(verb, what)
            })
            .map(|(_, count)| count)
            .sum()
    }
}

/// The Lease, the fence's self-test and reviews of the operator's own access.
fn is_upkeep(what: &str) -> bool {
    what.starts_with("leases") || what.ends_with("(dry run)") || what.ends_with("reviews")
}

fn is_object(what: &str) -> bool {
    matches!(
        what,
        "secrets"
            | "keyprotectkeys"
            | "keyprotectkeys/status"
            | "externalsecrets"
            | "externalsecrets/status"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"stage":"ResponseStarted","verb":"watch","requestURI":"/api/v1/secrets?watch=1","objectRef":{"resource":"secrets"}}
{"stage":"ResponseComplete","verb":"watch","requestURI":"/api/v1/secrets?watch=1","objectRef":{"resource":"secrets"}}
{"stage":"ResponseComplete","verb":"list","requestURI":"/api/v1/secrets","objectRef":{"resource":"secrets"}}
{"stage":"ResponseComplete","verb":"create","requestURI":"/api/v1/namespaces/a/secrets","objectRef":{"resource":"secrets"}}
{"stage":"ResponseComplete","verb":"update","requestURI":"/x","objectRef":{"resource":"keyprotectkeys","subresource":"status"}}
{"stage":"ResponseComplete","verb":"update","requestURI":"/x","objectRef":{"resource":"keyprotectinstances","subresource":"status"}}
{"stage":"ResponseComplete","verb":"get","requestURI":"/version"}
{"stage":"ResponseComplete","verb":"create","requestURI":"/api/v1/namespaces/a/secrets?dryRun=All","objectRef":{"resource":"secrets"}}
{"stage":"ResponseComplete","verb":"update","requestURI":"/x","objectRef":{"resource":"leases"}}
{"stage":"ResponseComplete","verb":"get","requestURI":"/x","objectRef":{"resource":"secrets"}}"#;

    #[test]
    fn requests_are_counted_once() {
        let asked = Asked::read(LOG).unwrap();
        assert_eq!(asked.0["watch secrets"], 1);
        assert_eq!(asked.reads(), 1);
        assert_eq!(asked.writes(), 2);
        assert_eq!(asked.beside_status(), 4);
        assert_eq!(asked.all_writes(), 3);
        assert_eq!(asked.since(&asked), Asked::default());
    }
}
