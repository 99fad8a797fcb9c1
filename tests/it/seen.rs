//! What a test sees of a scene: conditions, Secrets, Events, and waiting for them on watches.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use crate::cluster::{PATIENCE, eventually};
use crate::scene::{INSTANCE, KEY, SECRET, Scene, value};

/// A condition, as far as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Said {
    /// Asserts that the message has all of these words.
    #[track_caller]
    pub(crate) fn tells(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.message.contains(word), "{word:?} is not in {self:?}");
        }
        self
    }
}

impl Scene {
    /// Waits, on a watch, until an object is as asked; returns it.
    #[track_caller]
    pub(crate) fn until(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        mut holds: impl FnMut(&Value) -> bool,
    ) -> Value {
        let mut seen = None;
        let condition = |object: Option<&DynamicObject>| {
            let Some(object) = object else { return false };
            let object = value(object.clone());
            let is_so = holds(&object);
            seen = Some(object);
            is_so
        };
        let condition = Stateful(std::cell::RefCell::new(condition));
        let waited = self.stage.block_on(async {
            tokio::time::timeout(PATIENCE, await_condition(self.api(kind), name, condition)).await
        });
        match waited {
            Ok(Ok(_)) => seen.expect("what was seen"),
            Ok(Err(error)) => panic!("watch of {kind} {name}: {error}"),
            Err(_) => panic!(
                "not within {PATIENCE:?}: {kind} {name}: {what}\nlast seen: {}\n{}",
                seen.unwrap_or_default(),
                self.describe(name)
            ),
        }
    }

    /// Waits until an object is gone. A new cluster's garbage collector learns of a new kind only
    /// at its next look for such, up to half a minute later.
    #[track_caller]
    pub(crate) fn until_gone(&self, kind: &str, name: &str) {
        let gone =
            kube::runtime::wait::Condition::not(|object: Option<&DynamicObject>| object.is_some());
        let waited = self.stage.block_on(async {
            tokio::time::timeout(PATIENCE, await_condition(self.api(kind), name, gone)).await
        });
        assert!(waited.is_ok(), "{kind} {name} is still there");
    }

    /// Waits until Ready has this reason for the spec as it is, and says what it says.
    #[track_caller]
    pub(crate) fn until_reason(&self, name: &str, reason: &str) -> Said {
        let object = self.until(KEY, name, reason, |object| {
            condition(object, "Ready").is_some_and(|ready| ready.reason == reason)
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        });
        condition(&object, "Ready").expect("Ready")
    }

    #[track_caller]
    pub(crate) fn until_synced(&self, name: &str) -> Said {
        let said = self.until_reason(name, "Synced");
        assert_eq!(said.status, "True");
        said
    }

    /// Makes a KeyProtectKey and waits until it is synced.
    #[track_caller]
    pub(crate) fn synced_object(&self, name: &str, spec: Value) {
        self.object(name, spec);
        self.until_synced(name);
    }

    /// Waits until the instance's condition has this reason, and says what it says.
    #[track_caller]
    pub(crate) fn until_instance(&self, kind: &str, reason: &str) -> Said {
        let object = self.until(INSTANCE, &self.instance, reason, |object| {
            condition(object, kind).is_some_and(|is| is.reason == reason)
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        });
        condition(&object, kind).expect(kind)
    }

    /// Asks for a look now.
    pub(crate) fn ask(&self, kind: &str, name: &str) -> String {
        let stamp = uuid::Uuid::new_v4().to_string();
        let asked =
            json!({"metadata": {"annotations": {"keyprotect.dev/sync-requested-at": stamp}}});
        self.patch(kind, name, &asked);
        stamp
    }

    #[track_caller]
    pub(crate) fn until_answered(&self, kind: &str, name: &str, stamp: &str) -> Value {
        self.until(kind, name, "the sync request is answered", |object| {
            object["status"]["lastHandledSyncRequest"] == stamp
        })
    }

    /// Asks for a look now, and waits for the answer.
    #[track_caller]
    pub(crate) fn sync(&self, name: &str) -> Value {
        let stamp = self.ask(KEY, name);
        self.until_answered(KEY, name, &stamp)
    }

    #[track_caller]
    pub(crate) fn sync_instance(&self) -> Value {
        let stamp = self.ask(INSTANCE, &self.instance);
        self.until_answered(INSTANCE, &self.instance, &stamp)
    }

    /// The data of a Secret, decoded.
    #[track_caller]
    pub(crate) fn data(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        data(&self.get(SECRET, name))
    }

    pub(crate) fn ready(&self, name: &str) -> Said {
        condition(&self.get(KEY, name), "Ready").expect("Ready")
    }

    /// Reasons and notes of the Events about an object.
    pub(crate) fn events(&self, name: &str) -> Vec<(String, String)> {
        let all = self
            .stage
            .block_on(self.api("event").list(&ListParams::default()));
        let all = all.expect("Events").items.into_iter().map(value);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all.filter(|event| event["regarding"]["name"] == name)
            .map(|event| (text(&event["reason"]), text(&event["note"])))
            .collect()
    }

    /// Waits for an Event; returns its note.
    #[track_caller]
    pub(crate) fn until_event(&self, name: &str, reason: &str) -> String {
        let mut note = None;
        eventually(&format!("an Event {reason} about {name}"), || {
            let mut events = self.events(name).into_iter();
            note = events.find(|(is, _)| is == reason).map(|(_, note)| note);
            note.is_some()
        });
        note.unwrap_or_default()
    }

    /// Waits until the operator has looked at an object since its log had so many bytes: the one
    /// sign of a look that had nothing to say.
    #[track_caller]
    pub(crate) fn until_looked_at(&self, name: &str, after: usize) {
        eventually(&format!("a look at {name}"), || {
            let log = self.stage.log();
            log.get(after..).unwrap_or_default().lines().any(|line| {
                serde_json::from_str::<Value>(line)
                    .is_ok_and(|line| line["namespace"] == *self.namespace && line["name"] == name)
            })
        });
    }

    /// What there is, for whoever reads why a test failed.
    pub(crate) fn describe(&self, name: &str) -> String {
        let log = self.stage.log();
        let about = |line: &&str| line.contains(&*self.namespace) && line.contains(name);
        let mut tail: Vec<&str> = log.lines().rev().filter(about).take(12).collect();
        tail.reverse();
        tail.join("\n")
    }
}

/// A condition of `await_condition` that remembers what it saw.
struct Stateful<F>(std::cell::RefCell<F>);

impl<F: FnMut(Option<&DynamicObject>) -> bool> kube::runtime::wait::Condition<DynamicObject>
    for Stateful<F>
{
    fn matches_object(&self, object: Option<&DynamicObject>) -> bool {
        (self.0.borrow_mut())(object)
    }
}

pub(crate) fn condition(object: &Value, kind: &str) -> Option<Said> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some(Said {
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
    })
}

/// A Secret's data, decoded.
pub(crate) fn data(secret: &Value) -> BTreeMap<String, Vec<u8>> {
    let data = secret["data"].as_object().into_iter().flatten();
    data.map(|(entry, value)| {
        let bytes = STANDARD.decode(value.as_str().expect("base64"));
        (entry.clone(), bytes.expect("base64"))
    })
    .collect()
}

/// The object's resourceVersion.
pub(crate) fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"]
        .as_str()
        .expect("a version")
}
