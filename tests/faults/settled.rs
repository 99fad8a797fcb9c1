//! Whether everything is as it should be once all faults are lifted. Plain values.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::history::{self, Kind, Present, Which};
use crate::judge::is_owned;
use crate::ledger::{Ledger, Named};
use crate::want::{self, Data};

/// An alias that no key has.
pub(crate) const NOWHERE: &str = "nowhere";
/// An alias of a root key.
pub(crate) const ROOT: &str = "root";

/// What is to become of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Its Secret holds this, made from these keys.
    Synced(Data, Vec<String>),
    /// It is not Ready, for this reason.
    Refused(&'static str),
}

/// What is to become of an object, by what there is and what the service holds.
pub(crate) fn expected(
    which: &Which,
    object: &Value,
    present: &Present,
    ledger: &Ledger,
) -> Expected {
    let target = want::target(object);
    let age = |object: &Value| {
        let created = object["metadata"]["creationTimestamp"].as_str();
        (
            created.unwrap_or_default().to_owned(),
            history::uid(object).to_owned(),
        )
    };
    let mut others = objects(present).filter(|(other, _)| other.namespace == which.namespace);
    if others.any(|(_, other)| want::target(other) == target && age(other) < age(object)) {
        return Expected::Refused("TargetConflict");
    }
    let instance = want::instance(object);
    let sources = want::sources(object);
    let alias = |name: &str| Named::Alias(name.to_owned());
    if sources.contains(&alias(NOWHERE)) {
        return Expected::Refused("KeyNotAvailable");
    }
    if sources.contains(&alias(ROOT)) {
        return Expected::Refused("NotExtractable");
    }
    let secret = Which::new(Kind::Secret, &which.namespace, target);
    let secret = present
        .get(&secret)
        .and_then(|version| version.object.as_ref());
    if secret.is_some_and(|secret| !is_owned(secret)) {
        return Expected::Refused("SecretNotOwned");
    }
    let keys = sources.iter().map(|source| ledger.now(instance, source));
    let keys: Option<Vec<String>> = keys.map(|key| key.map(str::to_owned)).collect();
    let data = want::data(object, |source| {
        ledger.payload(ledger.now(instance, source)?)
    });
    match keys.zip(data) {
        Some((keys, data)) => Expected::Synced(data, keys),
        None => Expected::Refused("KeyNotAvailable"),
    }
}

fn objects(present: &Present) -> impl Iterator<Item = (&Which, &Value)> {
    let keys = present.iter().filter(|(which, _)| which.kind == Kind::Key);
    keys.filter_map(|(which, version)| Some((which, version.object.as_ref()?)))
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amiss {
    pub(crate) which: Which,
    pub(crate) what: String,
}

/// Everything that is not as it should be in these namespaces.
pub(crate) fn amiss(present: &Present, ledger: &Ledger, namespaces: &[&str]) -> Vec<Amiss> {
    let ours = |which: &Which| namespaces.contains(&&*which.namespace);
    let mut amiss = Vec::new();
    let mut live = BTreeSet::new();
    for (which, object) in objects(present).filter(|(which, _)| ours(which)) {
        live.insert(history::uid(object));
        let problem = look_at(which, object, present, ledger);
        amiss.extend(problem.err().map(|what| Amiss {
            which: which.clone(),
            what,
        }));
    }
    for (which, version) in present
        .iter()
        .filter(|(which, _)| which.kind == Kind::Secret && ours(which))
    {
        let Some(secret) = version.object.as_ref().filter(|secret| is_owned(secret)) else {
            continue;
        };
        let owners = history::owners(secret);
        let retained = history::annotation(secret, "keyprotect.dev/retain").is_some();
        let what = if owners.is_empty() && !retained {
            "it belongs to no object and is not kept"
        } else if !owners.is_empty() && !owners.iter().any(|uid| live.contains(uid)) {
            "its object is gone"
        } else if is_left_over(which, &owners, present, ledger) {
            "its object has another target"
        } else {
            continue;
        };
        amiss.push(Amiss {
            which: which.clone(),
            what: what.to_owned(),
        });
    }
    amiss
}

/// Whether a Secret is the former target of an object that has its new one.
fn is_left_over(secret: &Which, owners: &[&str], present: &Present, ledger: &Ledger) -> bool {
    let mut owning = objects(present).filter(|(_, object)| owners.contains(&history::uid(object)));
    owning.any(|(which, object)| {
        want::target(object) != secret.name
            && matches!(
                expected(which, object, present, ledger),
                Expected::Synced(..)
            )
    })
}

fn look_at(
    which: &Which,
    object: &Value,
    present: &Present,
    ledger: &Ledger,
) -> Result<(), String> {
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return Err("it is being deleted".to_owned());
    }
    let status = &object["status"];
    let conditions = status["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .ok_or("it has no condition Ready")?;
    let says = |field: &str| ready[field].as_str().unwrap_or_default();
    let is = |wanted: &str, reason: &str| {
        if (says("status"), says("reason")) == (wanted, reason) {
            return Ok(());
        }
        Err(format!(
            "Ready is {}, {}, where it should be {wanted}, {reason}; it says: {}",
            says("status"),
            says("reason"),
            says("message")
        ))
    };
    let generation = &object["metadata"]["generation"];
    if status["observedGeneration"] != *generation {
        return Err(format!(
            "status speaks of generation {} and not of {generation}",
            status["observedGeneration"]
        ));
    }
    let (data, keys) = match expected(which, object, present, ledger) {
        Expected::Refused(reason) => return is("False", reason),
        Expected::Synced(data, keys) => (data, keys),
    };
    let target = want::target(object);
    let secret = present
        .get(&Which::new(Kind::Secret, &which.namespace, target))
        .and_then(|version| version.object.as_ref())
        .ok_or_else(|| {
            format!(
                "there is no Secret {target}; Ready says: {}",
                says("message")
            )
        })?;
    let held = history::data(secret);
    if held != data {
        let said: Vec<String> = held
            .iter()
            .map(|(entry, value)| format!("{entry}: {}", ledger.describe(value)))
            .collect();
        return Err(format!(
            "Secret {target} does not hold what the service does ({}); Ready is {}, {}: {}",
            said.join(", "),
            says("status"),
            says("reason"),
            says("message")
        ));
    }
    is("True", "Synced")?;
    let used = status["keys"].as_array().into_iter().flatten();
    let used: BTreeSet<&str> = used.filter_map(|key| key["id"].as_str()).collect();
    let wanted: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
    if used != wanted {
        return Err(format!("status names keys {used:?} and not {wanted:?}"));
    }
    if status["secret"]["uid"] != secret["metadata"]["uid"] {
        return Err("status speaks of another Secret of the name".to_owned());
    }
    let stays = want::stays(object);
    let owned = history::owners(secret).contains(&history::uid(object));
    if owned == stays {
        return Err("the owner reference is there and should not be, or the other way".to_owned());
    }
    Ok(())
}
