//! Events: best effort, at most one per object, reason and ten minutes, so that a flapping
//! object floods nobody. Posted by hand: kube's recorder drops a new note and needs `patch`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::{Client, Resource};

use super::request::{Identity, send};
use crate::domain::look::plan::Announcement;

/// Least time between two Events of one object and reason.
const QUIET: SignedDuration = SignedDuration::from_mins(10);
/// Longest note that the API server takes.
const LONGEST_NOTE: usize = 1024;
/// Objects and reasons remembered before those that are over are swept out.
const SWEEP_AT: usize = 4096;

/// Posts Events about objects.
pub struct Announcer {
    client: Client,
    instance: String,
    last: Mutex<HashMap<(String, &'static str), Timestamp>>,
}

impl Announcer {
    /// Posts in the name of this instance of the operator (the Pod's name).
    #[must_use]
    pub fn new(client: Client, instance: String) -> Self {
        Self {
            client,
            instance,
            last: Mutex::new(HashMap::new()),
        }
    }

    /// Posts an Event, unless one of that reason was posted for the object within ten minutes.
    pub async fn announce<K>(&self, object: &K, announcement: &Announcement, now: Timestamp)
    where
        K: Resource<DynamicType = ()>,
    {
        let metadata: &ObjectMeta = object.meta();
        let (Some(namespace), Some(uid)) = (&metadata.namespace, &metadata.uid) else {
            return;
        };
        if !self.is_due(uid, announcement.reason, now) {
            return;
        }
        let mut note = announcement.note.clone();
        if note.len() > LONGEST_NOTE {
            let end = (0..=LONGEST_NOTE - 3)
                .rev()
                .find(|at| note.is_char_boundary(*at))
                .unwrap_or(0);
            note.truncate(end);
            note.push('…');
        }
        let event = Event {
            metadata: ObjectMeta {
                // The object's name is at most 63 characters, by the schema.
                name: metadata
                    .name
                    .as_ref()
                    .map(|name| format!("{name}.{:x}", now.as_nanosecond())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            action: Some("Sync".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(note),
            reason: Some(announcement.reason.to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                name: metadata.name.clone(),
                namespace: Some(namespace.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(crate::api::FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(
                if announcement.warning {
                    "Warning"
                } else {
                    "Normal"
                }
                .to_owned(),
            ),
            ..Event::default()
        };
        let Ok(body) = serde_json::to_vec(&event) else {
            return;
        };
        let uri = Event::url_path(&(), Some(namespace));
        let posted = send::<Identity>(&self.client, Method::POST, &uri, body);
        if let Err(error) = posted.await {
            tracing::warn!(%error, reason = announcement.reason, "an Event was not posted");
        }
    }

    fn is_due(&self, uid: &str, reason: &'static str, now: Timestamp) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |at: &Timestamp| at.checked_add(QUIET).is_ok_and(|end| end <= now);
        if last.len() >= SWEEP_AT {
            last.retain(|_, at| !over(at));
        }
        let key = (uid.to_owned(), reason);
        let due = last.get(&key).is_none_or(over);
        if due {
            last.insert(key, now);
        }
        due
    }
}
