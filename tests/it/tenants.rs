//! Two tenants of one instance attack each other through every field there is. Whatever one of them
//! writes, it gets no key of the other, learns nothing of it, and takes nothing from it.

use std::collections::BTreeSet;

use key_protect_operator::controller::clock::now;
use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::scene::{INSTANCE, KEY, SECRET, Scene, base64};
use crate::seen::condition;
use crate::stage::Stage;

/// An instance of two tenants, each with a ring of its own; the scene's namespace is the victim's.
struct Tenants {
    scene: Scene,
    mallory: String,
    /// The victim's key, behind the alias `orders-db`.
    id: String,
}

fn rules(victim: &str, mallory: &str) -> Value {
    let tier = json!({"matchLabels": {"access.keyprotect.dev/tier": "gold"}});
    json!({"access": [
        {"namespaces": {"from": "Names", "names": [victim]}, "keyRings": ["victim"]},
        {"namespaces": {"from": "Names", "names": [mallory]}, "keyRings": ["mallory"]},
        {"namespaces": {"from": "Selector", "selector": tier}, "keyRings": ["gold"]},
    ]})
}

fn tenants(stage: &'static Stage, name: &str) -> Tenants {
    let scene = stage.scene_prepared(name, |scene| {
        scene.roles(json!([{"instance": scene.guid, "role": "ReaderPlus"}]));
    });
    let mallory = scene.stage.cluster.namespace_blocking("mallory");
    scene.apply_instance(rules(&scene.namespace, &mallory));
    let id = scene.key(
        json!({"name": "orders", "aliases": ["orders-db"], "keyRing": "victim",
        "payload": base64(b"the victim's"), "creationDate": "2026-01-01T00:00:00Z"}),
    );
    scene.key(
        json!({"name": "own", "aliases": ["own"], "keyRing": "mallory",
        "payload": base64(b"mallory's")}),
    );
    scene.key(
        json!({"name": "gold", "aliases": ["gold"], "keyRing": "gold",
        "payload": base64(b"for gold")}),
    );
    scene.until_instance("Ready", "Available");
    Tenants { scene, mallory, id }
}

impl Tenants {
    /// Does something in the attacker's namespace.
    fn as_mallory<T>(&mut self, act: impl FnOnce(&Scene) -> T) -> T {
        let victim = std::mem::replace(&mut self.scene.namespace, self.mallory.clone());
        let done = act(&self.scene);
        self.scene.namespace = victim;
        done
    }

    /// Payloads of the victim's key that were read.
    fn reads(&self, since: u64) -> usize {
        let served = self.scene.served_since("get", since);
        let victims = served.iter().filter(|asked| asked.path.contains(&self.id));
        victims.count()
    }
}

#[test]
fn no_name_of_a_key_reaches_into_the_ring_of_another_tenant() {
    let mut tenants = tenants(Stage::shared(), "names");
    let id = tenants.id.clone();
    let key = |key: Value| json!({"key": key});
    let source = |from: Value| {
        json!({"key": {"alias": "own"}, "target": {"data": [
        {"name": "own"}, {"name": "stolen", "from": from}]}})
    };
    let attacks = [
        ("its alias", key(json!({"alias": "orders-db"}))),
        ("its ID", key(json!({"id": id}))),
        ("its ID in capitals", key(json!({"id": id.to_uppercase()}))),
        (
            "its alias, in its ring",
            key(json!({"alias": "orders-db", "keyRing": "victim"})),
        ),
        (
            "its alias, in the own ring",
            key(json!({"alias": "orders-db", "keyRing": "mallory"})),
        ),
        (
            "its ID, in its ring",
            key(json!({"id": id, "keyRing": "victim"})),
        ),
        (
            "its name, in its ring",
            key(json!({"name": "orders", "keyRing": "victim"})),
        ),
        (
            "its name, in the own ring",
            key(json!({"name": "orders", "keyRing": "mallory"})),
        ),
        (
            "its name, in the default ring",
            key(json!({"name": "orders", "keyRing": "default"})),
        ),
        (
            "a pattern as a name",
            key(json!({"name": "or*", "keyRing": "victim"})),
        ),
        (
            "a path as a name",
            key(json!({"name": "../keys/orders-db", "keyRing": "mallory"})),
        ),
        (
            "a header as a name",
            key(json!({"name": "x y: z", "keyRing": "mallory"})),
        ),
        (
            "the alias of a ring by label",
            key(json!({"alias": "gold"})),
        ),
        (
            "its alias beside an own key",
            source(json!({"alias": "orders-db"})),
        ),
        ("its ID beside an own key", source(json!({"id": id}))),
        (
            "its name beside an own key",
            source(json!({"name": "orders", "keyRing": "victim"})),
        ),
    ];
    let journal = tenants.scene.emulator.last_request();
    tenants.as_mallory(|scene| {
        for (number, (_, spec)) in attacks.iter().enumerate() {
            scene.object(&format!("attack-{number}"), spec.clone());
        }
        for (number, (attack, _)) in attacks.iter().enumerate() {
            let name = format!("attack-{number}");
            let said = scene.until_reason(&name, "KeyNotAvailable");
            assert_eq!(said.status, "False", "{attack}");
            assert!(scene.find(SECRET, &name).is_none(), "{attack}");
            let object = scene.get(KEY, &name);
            assert_eq!(object["status"]["keys"], Value::Null, "{attack}");
        }
    });
    assert_eq!(tenants.reads(journal), 0);
    // Their own keys both of them get.
    tenants.scene.synced_object("orders-db", json!({}));
    tenants.as_mallory(|scene| scene.synced_object("own", json!({})));
}

#[test]
fn what_another_tenant_does_in_its_own_ring_changes_no_secret_of_the_victim() {
    let tenants = tenants(Stage::shared(), "moves");
    let scene = &tenants.scene;
    scene.synced_object("orders-db", json!({"revocationPolicy": "Delete"}));
    let named = json!({"key": {"name": "orders", "keyRing": "victim"}});
    scene.synced_object("by-name", named);
    // A newer key of the victim's name, and then the victim's alias, in the attacker's ring.
    let theirs = scene.key(json!({"name": "orders", "keyRing": "mallory",
        "payload": base64(b"mallory's")}));
    scene.sync("by-name");
    scene.until_synced("by-name");
    scene.move_alias("orders-db", &theirs);
    scene.sync("orders-db");
    let said = scene.until_reason("orders-db", "AliasMoving");
    assert_eq!(said.status, "True");
    for name in ["orders-db", "by-name"] {
        assert_eq!(scene.data(name)["key"], b"the victim's", "{name}");
    }
    // Its key moved out of its ring is no key of its any more, and no key of the other's either.
    scene.move_alias("orders-db", &tenants.id);
    scene.sync("orders-db");
    scene.until_synced("orders-db");
    scene
        .emulator
        .set_key_ring(&scene.guid, &tenants.id, "mallory")
        .expect("a ring");
    scene.sync("orders-db");
    scene.until_reason("orders-db", "AccessWithdrawn");
    assert_eq!(scene.data("orders-db")["key"], b"the victim's");
}

#[test]
fn an_instance_of_a_tenants_own_does_not_ride_on_the_shared_credential() {
    let mut tenants = tenants(Stage::shared(), "rides");
    let spec = tenants.scene.get(INSTANCE, &tenants.scene.instance)["spec"].clone();
    let journal = tenants.scene.emulator.last_request();
    let mallory = tenants.mallory.clone();
    let changes = [
        ("the same, open to its namespace", json!({"access": null})),
        (
            "another endpoint",
            json!({"endpoint": {"url": "https://mallory.example.com"}}),
        ),
        (
            "the operator's other keys",
            json!({"credentials": {"mountedAPIKey": {"name": "default"}}}),
        ),
        ("no credential", json!({"credentials": null})),
    ];
    tenants.as_mallory(|scene| {
        for (what, change) in changes {
            let mut spec = spec.clone();
            for (field, value) in change.as_object().expect("fields") {
                spec[field] = value.clone();
            }
            let manifest = json!({"apiVersion": "keyprotect.dev/v1alpha1",
                "kind": "KeyProtectInstance",
                "metadata": {"name": "default", "namespace": mallory}, "spec": spec});
            let cluster = scene.stage.cluster;
            let made = cluster.kubectl(&["apply", "-f", "-"], &manifest.to_string());
            assert!(!made.ok, "{what}: {made:?}");
            assert!(made.stderr.contains("apiKeySecretRef"), "{what}: {made:?}");
        }
        let own = json!({"spec": {"instanceRef": {"name": "default"},
            "key": {"alias": "orders-db"}}});
        scene.apply(KEY, "rides", own);
        scene.until_reason("rides", "KeyNotAvailable");
    });
    assert_eq!(tenants.reads(journal), 0);
}

#[test]
fn a_namespaces_label_is_an_admins_to_give_and_a_new_namespace_has_none() {
    let tenants = tenants(Stage::shared(), "labels");
    let scene = &tenants.scene;
    let cluster = scene.stage.cluster;
    let name = cluster.namespace_blocking("reborn");
    let labelled = |value: &str| {
        let label = format!("access.keyprotect.dev/tier={value}");
        cluster.kubectl_ok(&["label", "namespace", &name, &label, "--overwrite"], "");
    };
    labelled("gold");
    let mut reborn = Tenants {
        mallory: name.clone(),
        id: tenants.id.clone(),
        scene: tenants.scene,
    };
    reborn.as_mallory(|scene| scene.synced_object("gold", json!({})));
    if !cluster.has_controllers() {
        return;
    }
    // Made anew without the label, it gets nothing of what its namesake had.
    cluster.kubectl_ok(&["delete", "namespace", &name, "--wait=true"], "");
    cluster.kubectl_ok(&["create", "namespace", &name], "");
    let journal = reborn.scene.emulator.last_request();
    reborn.as_mallory(|scene| {
        scene.object("gold", json!({}));
        scene.until_reason("gold", "KeyNotAvailable");
        assert!(scene.find(SECRET, "gold").is_none());
    });
    assert!(reborn.scene.served_since("get", journal).is_empty());
}

#[test]
fn a_change_of_the_rules_stops_all_objects_at_once_also_the_restoring_of_secrets() {
    let tenants = tenants(Stage::shared(), "stops");
    let scene = &tenants.scene;
    let names: Vec<String> = (0..8).map(|number| format!("o{number}")).collect();
    for name in &names {
        scene.object(name, json!({"key": {"alias": "orders-db"}}));
    }
    for name in &names {
        scene.until_synced(name);
    }
    scene.apply_instance(rules("nobody", &tenants.mallory));
    for name in &names {
        scene.until_reason(name, "AccessWithdrawn");
    }
    let journal = scene.emulator.last_request();
    let logged = scene.stage.log().len();
    scene.delete(SECRET, "o0");
    scene.ask(KEY, "o0");
    scene.until_looked_at("o0", logged);
    assert!(scene.find(SECRET, "o0").is_none(), "nothing is restored");
    assert!(scene.served_since("get", journal).is_empty());
    assert!(scene.served_since("metadata", journal).is_empty());
}

#[test]
fn a_flood_of_sync_requests_shares_listings_and_delays_nobody() {
    let mut tenants = tenants(Stage::shared(), "floods");
    tenants.as_mallory(|scene| {
        for number in 0..40 {
            scene.object(&format!("f{number}"), json!({"key": {"alias": "own"}}));
        }
        for number in 0..40 {
            scene.until_synced(&format!("f{number}"));
        }
    });
    let journal = tenants.scene.emulator.last_request();
    let begun = now();
    tenants.as_mallory(|scene| {
        for round in 0..5 {
            for number in 0..40 {
                let asked = json!({"metadata": {"annotations":
                    {"keyprotect.dev/sync-requested-at": format!("{round}")}}});
                scene.patch(KEY, &format!("f{number}"), &asked);
            }
        }
    });
    // The victim's first sync comes in the midst of it.
    tenants.scene.synced_object("orders-db", json!({}));
    let seconds = now().duration_since(begun).as_secs();
    let seconds = usize::try_from(seconds).expect("a short time");
    let listings = tenants.scene.served_since("list", journal).len();
    assert!(
        listings <= seconds + 4,
        "{listings} listings in {seconds} s for 200 requests"
    );
}

#[test]
fn a_flood_of_objects_is_served_up_to_a_number_and_delays_nobody() {
    const MOST: usize = 5;
    let Some(stage) = Stage::empty("flood") else {
        return;
    };
    stage.start_operator_with(&["--max-keys-per-namespace", "5"]);
    let mut tenants = tenants(stage, "flood");
    tenants.as_mallory(|scene| {
        let name = |number: usize| format!("f{number:02}");
        let own = || json!({"key": {"alias": "own"}});
        for number in 0..MOST {
            scene.synced_object(&name(number), own());
        }
        // Of those that are made in the same second, none is the older.
        let last = scene.get(KEY, &name(MOST - 1))["metadata"]["creationTimestamp"].clone();
        let last: jiff::Timestamp = last.as_str().expect("a time").parse().expect("a time");
        eventually("the next second", || {
            now().as_second() > last.as_second() + 1
        });
        for number in MOST..30 {
            scene.object(&name(number), own());
        }
    });
    tenants.scene.synced_object("orders-db", json!({}));
    let served = |scene: &Scene| -> BTreeSet<String> {
        let names = (0..30).map(|number| format!("f{number:02}"));
        names
            .filter(|name| scene.find(SECRET, name).is_some())
            .collect()
    };
    tenants.as_mallory(|scene| {
        for number in 0..30 {
            let name = format!("f{number:02}");
            scene.until(
                KEY,
                &name,
                "it is served, or told that it is not",
                |object| {
                    condition(object, "Ready").is_some_and(|ready| {
                        ready.reason == "Synced"
                            || ready.message.contains("more than 5 KeyProtectKeys")
                    })
                },
            );
        }
        let first = served(scene);
        assert_eq!(first.len(), MOST, "{first:?}");
        // When one of them goes, the next moves up, without being asked.
        let gone = first.first().expect("a name").clone();
        scene.delete(KEY, &gone);
        eventually("the next one is served", || {
            let now = served(scene);
            now.difference(&first).count() == 1
        });
    });
    stage.strike();
}
