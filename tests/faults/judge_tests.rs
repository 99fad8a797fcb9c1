//! Histories that must pass and histories that must not: a recorded one, and what becomes of it
//! when one thing in it is not as it was.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

const OLD: &[u8] = br#"{"password":"old-password-of-some-length","user":"u1"}"#;
const NEW: &[u8] = br#"{"password":"new-password-of-some-length","user":"u2"}"#;
const OTHER: &[u8] = br#"{"password":"other-password","user":"u3"}"#;

/// A history under construction: the alias `orders` stands for `OLD`, from 100 on for `NEW`;
/// everything was at rest at 150.
struct Story {
    versions: Vec<Version>,
    ledger: Ledger,
    intents: Vec<Intent>,
    revision: u64,
    rest_after: Option<usize>,
}

impl Story {
    fn new() -> Self {
        let mut ledger = Ledger::default();
        for (id, payload) in [("k-old", OLD), ("k-new", NEW), ("k-other", OTHER)] {
            ledger.made("main", id, payload, 0);
        }
        let alias = |text: &str| Named::Alias(text.to_owned());
        ledger.stands_for("main", &alias("orders"), "k-old", (0, 5));
        ledger.stands_for("main", &alias("orders"), "k-new", (100, 110));
        ledger.stands_for("main", &alias("other"), "k-other", (0, 5));
        let mut story = Self {
            versions: Vec::new(),
            ledger,
            intents: Vec::new(),
            revision: 0,
            rest_after: None,
        };
        let namespace = json!({"metadata": {"uid": "n"}});
        story.add(Kind::Namespace, "team", 0, Some(namespace));
        story.add(Kind::Key, "orders", 10, Some(object(json!({}))));
        story
    }

    fn add(&mut self, kind: Kind, name: &str, at: At, object: Option<Value>) -> &mut Self {
        let namespace = if kind == Kind::Namespace { "" } else { "team" };
        let which = Which::new(kind, namespace, name);
        let last = self.versions.iter().rev().find(|v| v.which == which);
        let count = last.filter(|v| v.object.is_some()).map_or(0, |v| v.count);
        self.revision += 1;
        self.versions.push(Version {
            which,
            revision: self.revision,
            count: if object.is_some() { count + 1 } else { 0 },
            at,
            object,
        });
        self
    }

    fn secret(&mut self, at: At, data: &[(&str, &[u8])]) -> &mut Self {
        self.add(Kind::Secret, "orders", at, Some(secret(data)))
    }

    fn end(&mut self, kind: Kind, name: &str, at: At) -> &mut Self {
        self.add(kind, name, at, None)
    }

    fn intend(&mut self, at: At, act: Act) -> &mut Self {
        self.intents.push(Intent {
            namespace: "team".to_owned(),
            name: "orders".to_owned(),
            at,
            act,
        });
        self
    }

    fn rest(&mut self) -> &mut Self {
        self.rest_after = Some(self.versions.len());
        self
    }

    /// What the judge says of it.
    fn wrongs(&self) -> Vec<Wrong> {
        let mut judge = Judge::default();
        let (before, after) = self.versions.split_at(self.rest_after.unwrap_or_default());
        let mut complaints = judge.hear(before, &self.ledger, &self.intents);
        if self.rest_after.is_some() {
            judge.rest(150);
        }
        complaints.extend(judge.hear(after, &self.ledger, &self.intents));
        complaints
            .into_iter()
            .map(|complaint| complaint.wrong)
            .collect()
    }

    /// The first and the second write, and a rest after them.
    fn moved() -> Self {
        let mut story = Self::new();
        story
            .secret(20, &[("key", OLD)])
            .secret(120, &[("key", NEW)])
            .rest();
        story
    }
}

fn object(mut spec: Value) -> Value {
    spec["instanceRef"] = json!({"name": "main"});
    json!({"metadata": {"name": "orders", "uid": "o"}, "spec": spec})
}

fn secret(data: &[(&str, &[u8])]) -> Value {
    let data: serde_json::Map<String, Value> = data
        .iter()
        .map(|(entry, value)| ((*entry).to_owned(), json!(STANDARD.encode(value))))
        .collect();
    json!({
        "metadata": {"uid": "s", "labels": {TARGET_LABEL: "owned"},
            "ownerReferences": [{"kind": "KeyProtectKey", "uid": "o"}]},
        "data": data,
    })
}

fn foreign(data: &[(&str, &[u8])]) -> Value {
    let mut secret = secret(data);
    secret["metadata"] = json!({"uid": "f", "labels": {FOREIGN_LABEL: "true"}});
    secret
}

/// A story and what is wrong in it: nothing, for one that passes.
#[track_caller]
fn is(story: &Story, expected: &[fn(&Wrong) -> bool]) {
    let wrongs = story.wrongs();
    assert_eq!(wrongs.len(), expected.len(), "{wrongs:?}");
    for (wrong, expected) in wrongs.iter().zip(expected) {
        assert!(expected(wrong), "{wrong:?}");
    }
}

const DATA: fn(&Wrong) -> bool = |wrong| matches!(wrong, Wrong::Data(_));
const EMPTY: fn(&Wrong) -> bool = |wrong| *wrong == Wrong::Empty;
const DELETED: fn(&Wrong) -> bool = |wrong| *wrong == Wrong::Deleted;
const FOREIGN: fn(&Wrong) -> bool = |wrong| *wrong == Wrong::Foreign;
const GAP: fn(&Wrong) -> bool = |wrong| *wrong == Wrong::Gap;
const UNLABELLED: fn(&Wrong) -> bool = |wrong| *wrong == Wrong::Unlabelled;

#[test]
fn a_first_write_and_a_move_pass() {
    is(&Story::moved(), &[]);
}

#[test]
fn a_late_writer_may_write_what_was_true_since_the_last_rest() {
    let mut story = Story::new();
    is(story.secret(140, &[("key", OLD)]), &[]);
}

#[test]
fn an_old_value_after_the_move_was_settled_is_refused() {
    let mut story = Story::moved();
    is(story.secret(160, &[("key", OLD)]), &[DATA]);
    // Also for a Secret that was deleted meanwhile, and is made anew.
    let mut story = Story::moved();
    story
        .intend(155, Act::Delete)
        .end(Kind::Secret, "orders", 156);
    is(story.secret(160, &[("key", OLD)]), &[DATA]);
    let mut story = Story::moved();
    story
        .intend(155, Act::Delete)
        .end(Kind::Secret, "orders", 156);
    is(story.secret(160, &[("key", NEW)]), &[]);
}

#[test]
fn a_value_that_comes_too_early_is_refused() {
    let mut story = Story::new();
    is(story.secret(20, &[("key", NEW)]), &[DATA]);
}

#[test]
fn an_empty_value_is_refused() {
    for data in [&[][..], &[("key", &b""[..])]] {
        let mut story = Story::moved();
        is(story.secret(160, data), &[EMPTY]);
        is(Story::new().secret(20, data), &[EMPTY]);
    }
}

#[test]
fn a_half_value_is_refused() {
    let half = &NEW[..NEW.len() / 2];
    is(Story::moved().secret(160, &[("key", half)]), &[DATA]);
    is(Story::new().secret(20, &[("key", &OLD[1..])]), &[DATA]);
}

#[test]
fn a_value_of_another_key_is_refused() {
    is(Story::moved().secret(160, &[("key", OTHER)]), &[DATA]);
}

#[test]
fn an_entry_too_many_or_too_few_is_refused() {
    let more: &[(&str, &[u8])] = &[("key", NEW), ("more", b"x")];
    is(Story::moved().secret(160, more), &[DATA]);
    let spec = json!({"target": {"data": [{"name": "a"}, {"name": "b", "value": "x"}]}});
    let write = |data: &[(&str, &[u8])]| {
        let mut story = Story::new();
        story.add(Kind::Key, "orders", 12, Some(object(spec.clone())));
        // The old spec holds no more.
        story.rest();
        story.secret(160, data);
        story
    };
    is(&write(&[("a", NEW), ("b", b"x")]), &[]);
    is(&write(&[("a", NEW)]), &[DATA]);
    is(&write(&[("key", NEW)]), &[DATA]);
}

#[test]
fn sources_of_one_secret_each_have_their_own_window() {
    let spec =
        json!({"target": {"data": [{"name": "a"}, {"name": "b", "from": {"alias": "other"}}]}});
    let write = |a: &[u8], b: &[u8]| {
        let mut story = Story::new();
        story.add(Kind::Key, "orders", 12, Some(object(spec.clone())));
        story.secret(130, &[("a", a), ("b", b)]);
        story
    };
    is(&write(OLD, OTHER), &[]);
    is(&write(NEW, OTHER), &[]);
    is(&write(OTHER, OTHER), &[DATA]);
    is(&write(NEW, NEW), &[DATA]);
}

#[test]
fn a_name_without_a_past_may_be_read_from_a_list_that_lacks_keys() {
    let named = || Named::Name {
        name: "rot".to_owned(),
        ring: "r".to_owned(),
    };
    let rot = json!({"key": {"name": "rot", "keyRing": "r"}});
    let write = |is_partial: bool, status: Value, payload: &[u8]| {
        let mut story = Story::moved();
        story.ledger.stands_for("main", &named(), "k-old", (0, 5));
        story.ledger.stands_for("main", &named(), "k-new", (90, 95));
        if is_partial {
            story.ledger.lists_are_partial(152);
        }
        // Made anew after the rest.
        let mut object = object(rot.clone());
        object["status"] = status;
        story
            .end(Kind::Key, "orders", 151)
            .add(Kind::Key, "orders", 155, Some(object))
            .secret(160, &[("key", payload)]);
        story
    };
    let past = json!({"keys": [{"id": "k-new", "name": "rot", "keyRing": "r"}]});
    is(&write(true, Value::Null, OLD), &[]);
    is(&write(false, Value::Null, OLD), &[DATA]);
    is(&write(true, past, OLD), &[DATA]);
    is(&write(true, Value::Null, OTHER), &[DATA]);
}

#[test]
fn an_edit_by_the_harness_passes_once_and_its_repair_too() {
    let edit = || Act::Edit("key".to_owned(), Some(b"tampered".to_vec()));
    let mut story = Story::moved();
    story
        .intend(155, edit())
        .secret(156, &[("key", b"tampered")]);
    is(story.secret(160, &[("key", NEW)]), &[]);
    is(story.secret(170, &[("key", b"tampered")]), &[DATA]);
    let mut story = Story::moved();
    story
        .intend(155, Act::Edit("key".to_owned(), None))
        .secret(156, &[]);
    is(story.secret(160, &[("key", NEW)]), &[]);
    // What the operator makes of an edit is judged whole: half a repair is none.
    let mut story = Story::moved();
    story
        .intend(155, edit())
        .secret(156, &[("key", b"tampered")]);
    let half: &[(&str, &[u8])] = &[("key", NEW), ("more", b"tampered")];
    is(story.secret(160, half), &[DATA]);
    // An intent explains no version from before it, and no other edit.
    let mut story = Story::moved();
    is(
        story
            .intend(170, edit())
            .secret(160, &[("key", b"tampered")]),
        &[DATA],
    );
    let mut story = Story::moved();
    is(
        story.intend(155, edit()).secret(160, &[("key", b"else")]),
        &[DATA],
    );
}

#[test]
fn a_deletion_without_evidence_is_refused() {
    is(Story::moved().end(Kind::Secret, "orders", 160), &[DELETED]);
}

#[test]
fn a_deletion_passes_after_that_of_the_object_and_never_before() {
    let mut story = Story::moved();
    story.end(Kind::Key, "orders", 159);
    is(story.end(Kind::Secret, "orders", 160), &[]);
    let mut story = Story::moved();
    story.end(Kind::Secret, "orders", 159);
    is(story.end(Kind::Key, "orders", 160), &[DELETED]);
    // Another object of the name is no reason to spare the first one's.
    let mut story = Story::moved();
    let mut another = object(json!({}));
    another["metadata"]["uid"] = json!("p");
    story.end(Kind::Key, "orders", 158);
    story.add(Kind::Key, "orders", 159, Some(another));
    is(story.end(Kind::Secret, "orders", 160), &[]);
}

#[test]
fn a_deletion_passes_where_the_target_or_the_namespace_says_so() {
    let mut story = Story::moved();
    let renamed = object(json!({"target": {"name": "elsewhere"}}));
    story.add(Kind::Key, "orders", 158, Some(renamed));
    is(story.end(Kind::Secret, "orders", 160), &[]);
    let mut story = Story::moved();
    let dying = json!({"metadata": {"uid": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    story.add(Kind::Namespace, "team", 158, Some(dying));
    is(story.end(Kind::Secret, "orders", 160), &[]);
}

#[test]
fn a_deletion_by_the_harness_explains_one_deletion() {
    let mut story = Story::moved();
    story
        .intend(155, Act::Delete)
        .end(Kind::Secret, "orders", 156);
    story.secret(160, &[("key", NEW)]);
    is(&story, &[]);
    is(story.end(Kind::Secret, "orders", 170), &[DELETED]);
}

#[test]
fn a_secret_that_is_to_stay_is_not_deleted_with_its_object() {
    let mut story = Story::moved();
    let mut kept = secret(&[("key", NEW)]);
    kept["metadata"]["ownerReferences"] = Value::Null;
    story.add(Kind::Secret, "orders", 155, Some(kept));
    story.end(Kind::Key, "orders", 156);
    is(story.end(Kind::Secret, "orders", 160), &[DELETED]);
}

#[test]
fn a_secret_that_is_given_up_to_stay_takes_its_owners_data_along() {
    let given_up = |policy: &str| {
        let mut story = Story::moved();
        let target =
            json!({"name": "elsewhere", "deletionPolicy": policy, "data": [{"name": "a"}]});
        let renamed = object(json!({"target": target}));
        story.add(Kind::Key, "orders", 155, Some(renamed));
        story.secret(160, &[("a", NEW)]);
        story
    };
    is(&given_up("Retain"), &[]);
    is(&given_up("Delete"), &[DATA]);
}

#[test]
fn what_is_not_the_operators_is_not_touched() {
    let begin = || {
        let mut story = Story::new();
        story.add(
            Kind::Secret,
            "orders",
            20,
            Some(foreign(&[("x", b"theirs")])),
        );
        story
    };
    is(&begin(), &[]);
    let mut story = begin();
    is(story.end(Kind::Secret, "orders", 30), &[FOREIGN]);
    let mut story = begin();
    story.add(
        Kind::Secret,
        "orders",
        30,
        Some(foreign(&[("x", b"changed")])),
    );
    is(&story, &[FOREIGN]);
    // Not even its metadata.
    let mut story = begin();
    let mut annotated = foreign(&[("x", b"theirs")]);
    annotated["metadata"]["annotations"] = json!({"a": "b"});
    story.add(Kind::Secret, "orders", 30, Some(annotated));
    is(&story, &[FOREIGN]);
    // Nor is it taken over.
    let mut story = begin();
    is(story.secret(30, &[("key", OLD)]), &[FOREIGN]);
    let mut story = begin();
    story.intend(25, Act::Delete);
    is(story.end(Kind::Secret, "orders", 30), &[]);
}

#[test]
fn a_secret_is_made_with_the_label_and_keeps_it() {
    let mut bare = secret(&[("key", OLD)]);
    bare["metadata"]["labels"] = Value::Null;
    let mut story = Story::new();
    story.add(Kind::Secret, "orders", 20, Some(bare.clone()));
    is(&story, &[UNLABELLED]);
    let mut story = Story::new();
    story.secret(20, &[("key", OLD)]);
    story.add(Kind::Secret, "orders", 30, Some(bare.clone()));
    is(&story, &[UNLABELLED]);
    let mut story = Story::new();
    story.secret(20, &[("key", OLD)]).intend(25, Act::Release);
    story.add(Kind::Secret, "orders", 30, Some(bare));
    is(&story, &[]);
}

#[test]
fn a_status_does_not_speak_of_a_secret_before_it_is_there() {
    let says = |revision: &str, uid: &str| {
        let mut object = object(json!({}));
        object["status"]["secret"] = json!({"uid": uid, "resourceVersion": revision});
        object
    };
    let mut story = Story::new();
    story.secret(20, &[("key", OLD)]);
    let revision = story.revision.to_string();
    story.add(Kind::Key, "orders", 21, Some(says(&revision, "s")));
    is(&story, &[]);
    let early: fn(&Wrong) -> bool = |wrong| *wrong == Wrong::Early;
    for (revision, uid) in [("99", "s"), (&*revision, "another")] {
        let mut story = Story::new();
        story.secret(20, &[("key", OLD)]);
        story.add(Kind::Key, "orders", 21, Some(says(revision, uid)));
        is(&story, &[early]);
    }
}

#[test]
fn a_payload_stands_in_a_secrets_data_only() {
    let told: fn(&Wrong) -> bool = |wrong| *wrong == Wrong::Told;
    let mut story = Story::new();
    let payload = json!({"password": "0123456789abcdef0123456789abcdef"}).to_string();
    story.ledger.made("main", "k-hex", payload.as_bytes(), 0);
    let alias = Named::Alias("orders".to_owned());
    story.ledger.stands_for("main", &alias, "k-hex", (200, 201));
    story.secret(210, &[("key", payload.as_bytes())]);
    is(&story, &[]);
    let event = json!({"note": format!("the value is {payload}")});
    story.add(Kind::Event, "an-event", 211, Some(event));
    let mut applied = secret(&[("key", payload.as_bytes())]);
    applied["metadata"]["annotations"] = json!({"last": STANDARD.encode(&payload)});
    story.add(Kind::Secret, "orders", 212, Some(applied));
    is(&story, &[told, told]);
}

#[test]
fn a_gap_in_the_record_is_told() {
    let mut story = Story::moved();
    story
        .secret(160, &[("key", NEW)])
        .secret(161, &[("key", NEW)]);
    let whole = story.versions.len();
    story.versions.remove(whole - 2);
    is(&story, &[GAP]);
    // The end of something that was never seen.
    let mut story = Story::moved();
    is(story.end(Kind::Secret, "unseen", 160), &[GAP]);
}

#[test]
fn a_secret_may_end_with_its_key_only_where_its_object_asks_for_that() {
    for (policy, deleted, passes) in [
        (Some("Delete"), Some("k-new"), true),
        (Some("Delete"), Some("k-other"), false),
        (Some("Delete"), None, false),
        (Some("Retain"), Some("k-new"), false),
        (None, Some("k-new"), false),
    ] {
        let mut story = Story::moved();
        let mut asking = object(json!({"revocationPolicy": policy}));
        asking["status"] = json!({"keys": [{"id": "k-new"}]});
        story.add(Kind::Key, "orders", 155, Some(asking));
        if let Some(key) = deleted {
            story.ledger.deleted(key, 156);
        }
        story.end(Kind::Secret, "orders", 160);
        is(&story, if passes { &[] } else { &[DELETED] });
    }
    // A key that was restored before the last rest is none that is gone.
    let mut story = Story::moved();
    let mut asking = object(json!({"revocationPolicy": "Delete"}));
    asking["status"] = json!({"keys": [{"id": "k-new"}]});
    story.ledger.deleted("k-new", 130);
    story.ledger.restored("k-new", 140);
    story.add(Kind::Key, "orders", 155, Some(asking));
    is(story.end(Kind::Secret, "orders", 160), &[DELETED]);
}
