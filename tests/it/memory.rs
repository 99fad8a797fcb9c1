//! What is held in memory for each object while nothing happens, counted at the allocator: a
//! bound on each part, and `docs/architecture.md` says the same.

use std::fs;
use std::path::Path;

use allocation_counter::measure;
use jiff::Timestamp;
use key_protect_operator::api::KeyProtectKey;
use key_protect_operator::controller::queue::{Lane, ObjectKey, Queue};
use key_protect_operator::controller::world::{Remembered, World};
use key_protect_operator::domain::look::observed::Memory;
use key_protect_operator::domain::secret::SecretView;
use key_protect_operator::domain::service::catalogue::Catalogue;
use key_protect_operator::domain::service::ids::KeyId;
use key_protect_operator::domain::service::metadata::{KeyMetadata, KeyState};
use serde_json::json;

const OBJECTS: u32 = 1_000;
const UID: &str = "6f1c2f8e-6a0b-4d4e-9a44-0d5a3b0e7c11";
const KEY: &str = "02fd6835-6001-4482-a892-13bd2085f75d";
const CRN: &str = "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:\
                   12e8c9c2-a162-472d-b7d6-8b9a86b815a6:key:02fd6835-6001-4482-a892-13bd2085f75d";

fn name(number: u32) -> String {
    format!("orders-database-{number:05}")
}

fn namespace(number: u32) -> String {
    format!("team-{}", number % 20)
}

/// A synced object, as an API server shows it.
fn object(number: u32) -> KeyProtectKey {
    let name = name(number);
    serde_json::from_value(json!({
        "apiVersion": "keyprotect.dev/v1alpha1",
        "kind": "KeyProtectKey",
        "metadata": {"name": name, "namespace": namespace(number), "uid": UID,
            "resourceVersion": number.to_string(), "generation": 1,
            "creationTimestamp": "2026-11-24T20:00:00Z"},
        "spec": {"instanceRef": {"name": "default", "namespace": "key-protect-system"}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "Synced",
                "message": "The Secret holds the key.", "observedGeneration": 1,
                "lastTransitionTime": "2026-11-24T20:00:00Z"}],
            "key": name,
            "keys": [{"id": KEY, "crn": CRN, "name": name, "alias": name, "keyRing": "default",
                "state": "Active", "creationDate": "2026-11-24T20:00:00Z",
                "correlationID": "0b0e8cd0-c24c-4b4e-8a52-8e3a29cbfa0e"}],
            "instanceRef": {"name": "default", "namespace": "key-protect-system"},
            "secret": {"name": name, "uid": UID, "resourceVersion": number.to_string(),
                "entries": ["key"]},
            "lastChangeTime": "2026-11-24T20:00:00Z",
            "observedGeneration": 1,
        },
    }))
    .unwrap()
}

/// Its Secret, as an API server shows it.
fn secret(number: u32) -> SecretView {
    let metadata = serde_json::from_value(json!({
        "name": name(number), "namespace": namespace(number), "uid": UID,
        "resourceVersion": number.to_string(), "creationTimestamp": "2026-11-24T20:00:00Z",
        "labels": {"keyprotect.dev/target": "owned"},
        "annotations": {"keyprotect.dev/record":
            "v1:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
        "ownerReferences": [{"apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey",
            "name": name(number), "uid": UID}],
        "managedFields": [{"manager": "keyprotect.dev/operator", "operation": "Update",
            "apiVersion": "v1", "time": "2026-11-24T20:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:key": {}}, "f:metadata": {
                "f:annotations": {".": {}, "f:keyprotect.dev/record": {}},
                "f:labels": {".": {}, "f:keyprotect.dev/target": {}},
                "f:ownerReferences": {".": {}}}, "f:type": {}}}],
    }));
    SecretView::from_metadata(metadata.unwrap()).unwrap()
}

fn row(number: u32) -> KeyMetadata {
    let id = format!("02fd6835-6001-4482-a892-{number:012}");
    KeyMetadata {
        name: Some(name(number)),
        aliases: Some(vec![name(number)]),
        key_ring: Some("default".to_owned()),
        state: Some(KeyState::Active),
        extractable: Some(true),
        deleted: Some(false),
        crn: Some(CRN.to_owned()),
        creation_date: Some(Timestamp::UNIX_EPOCH),
        ..KeyMetadata::unknown(KeyId::parse(&id).unwrap())
    }
}

/// Bytes for each object that are still allocated once `build` is done.
fn held<T>(build: impl FnOnce() -> T) -> u64 {
    let mut built = None;
    let counted = measure(|| built = Some(build()));
    u64::try_from(counted.bytes_current).unwrap() / u64::from(OBJECTS)
}

/// What is counted, how many bytes there may be of it for each object.
fn parts() -> [(&'static str, u64, u64); 5] {
    let world = || {
        let instance = ("key-protect-system".to_owned(), "default".to_owned());
        World::new(instance, 1000, Timestamp::UNIX_EPOCH)
    };
    let objects = || {
        let mut world = world();
        for number in 0..OBJECTS {
            world.key_applied(object(number));
        }
        world
    };
    let object = held(objects);
    let remembered = held(|| {
        let mut world = objects();
        for number in 0..OBJECTS {
            let key = ObjectKey::new(&namespace(number), &name(number));
            let remembered = Remembered {
                memory: Memory::new(Timestamp::UNIX_EPOCH),
                ..world.remembered(world.known(&key).unwrap())
            };
            world.remember(&key, Some(UID), remembered);
        }
        world
    });
    let secret = held(|| {
        let mut world = world();
        for number in 0..OBJECTS {
            world.secret_applied(&namespace(number), secret(number));
        }
        world
    });
    let waiting = held(|| {
        let mut queue = Queue::default();
        for number in 0..OBJECTS {
            let key = ObjectKey::new(&namespace(number), &name(number));
            queue.schedule(&key, Timestamp::UNIX_EPOCH, Lane::Routine);
        }
        queue
    });
    let row = held(|| Catalogue::new((0..OBJECTS).map(row).collect(), Timestamp::UNIX_EPOCH));
    [
        ("KeyProtectKey", object, 1_550),
        ("what is remembered of it", remembered - object, 400),
        ("its place in the queue, if it has a time", waiting, 480),
        ("its Secret's metadata", secret, 780),
        ("its key's row in the listing", row, 900),
    ]
}

#[test]
fn what_is_held_for_each_object_is_bounded_and_documented() {
    let parts = parts();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = fs::read_to_string(page).unwrap();
    for (part, bytes, bound) in parts {
        assert!(
            bytes <= bound,
            "{part}: {bytes} bytes, and {bound} are allowed; all: {parts:?}"
        );
        assert!(
            page.contains(&format!("| {part} | {bound} |")),
            "docs/architecture.md does not say {part} | {bound}; counted: {parts:?}"
        );
    }
}
