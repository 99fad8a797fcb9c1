//! An instance of a team's own, whose API key is in a Secret of the team: read by the right that the
//! Secret's owner gives, followed when it is rotated, and shared with nobody.

use serde_json::{Value, json};

use crate::scene::{INSTANCE, KEY, OWN_INSTANCE, SECRET, Scene, base64};
use crate::seen::{Said, condition};
use crate::stage::Stage;

const KEY_SECRET: &str = "key-protect";

impl Scene {
    /// Makes an instance in the team's namespace that names the Secret.
    fn apply_own_instance(&self, reference: &Value) {
        let spec = self.instance_spec(json!({"credentials": {"apiKeySecretRef": reference}}));
        self.apply(OWN_INSTANCE, "own", json!({"spec": spec}));
    }

    /// Waits until the team's own instance says this of its credential.
    #[track_caller]
    fn until_own(&self, kind: &str, reason: &str, words: &str) -> Said {
        let what = format!("{kind} {reason}: {words}");
        let object = self.until(OWN_INSTANCE, "own", &what, |object| {
            condition(object, kind)
                .is_some_and(|is| is.reason == reason && is.message.contains(words))
        });
        condition(&object, kind).expect(kind)
    }

    fn own_object(&self, name: &str) {
        self.apply(KEY, name, json!({"spec": {"instanceRef": {"name": "own"}}}));
    }

    fn put_key_secret(&self, entry: &str, key: &str) {
        self.apply(
            SECRET,
            KEY_SECRET,
            json!({"data": {entry: base64(key.as_bytes())}}),
        );
    }

    /// Types what the message says.
    fn type_command(&self, said: &Said) {
        let from = said.message.find("kubectl create role").expect("a command");
        let command = &said.message[from..];
        let command = command.split(". It is taken").next().expect("its end");
        for one in command.split(" && ") {
            let words: Vec<&str> = one.split(' ').collect();
            assert_eq!(words[0], "kubectl");
            self.stage.cluster.kubectl_ok(&words[1..], "");
        }
    }
}

#[test]
fn an_api_key_in_a_secret_is_read_once_its_owner_lets_the_operator() {
    let scene = Stage::shared().bare_scene("own-key", "own-key");
    scene.alias("orders-db", "payload");
    scene.put_key_secret("other", &scene.api_key);
    scene.apply_own_instance(&json!({"name": KEY_SECRET}));
    scene.own_object("orders-db");
    let said = scene.until_own("Authenticated", "CredentialMissing", "may not be read");
    assert_eq!(said.status, "False");
    let entry = format!("entry apikey of Secret {}/{KEY_SECRET}", scene.namespace);
    said.tells(&[
        &entry,
        "kubectl create role",
        "--verb=get",
        "--serviceaccount=key-protect-system:key-protect-operator",
    ]);
    let told = scene.until_reason("orders-db", "CredentialMissing");
    assert_eq!(told.status, "False");
    told.tells(&["instance's owner has to put it right"]);
    assert!(scene.served("token").is_empty());

    scene.type_command(&said);
    scene.until_own(
        "Authenticated",
        "CredentialMissing",
        "has no entry of that name",
    );
    scene.put_key_secret("apikey", &scene.api_key);
    scene.until_own("Ready", "Available", "");
    scene.until_synced("orders-db");
    // The right is to that Secret alone.
    let may = |secret: &str| {
        let secret = format!("secrets/{secret}");
        let account = "--as=system:serviceaccount:key-protect-system:key-protect-operator";
        scene
            .kubectl(&["auth", "can-i", "get", &secret, account])
            .ok
    };
    assert!(may(KEY_SECRET) && !may("orders-db"));
    let log = scene.stage.log();
    assert!(!log.contains(&scene.api_key) && !log.contains(&base64(scene.api_key.as_bytes())));
}

#[test]
fn a_rotated_api_key_in_a_secret_is_followed_without_a_restart() {
    let scene = Stage::shared().bare_scene("own-rotated", "own-rotated");
    scene.alias("orders-db", "payload");
    scene.put_key_secret("key.json", &format!(r#"{{"apikey":"{}"}}"#, scene.api_key));
    scene.apply_own_instance(&json!({"name": KEY_SECRET, "key": "key.json"}));
    let said = scene.until_own("Authenticated", "CredentialMissing", "may not be read");
    scene.type_command(&said);
    scene.own_object("orders-db");
    scene.until_synced("orders-db");

    let new = crate::rows_access::new_api_key(&scene);
    scene.put_key_secret("key.json", &new);
    let journal = scene.emulator.last_request();
    scene
        .emulator
        .delete_api_key(&scene.api_key)
        .expect("no old key");
    scene.emulator.revoke_tokens();
    scene.alias("late", "payload");
    scene.own_object("late");
    scene.until_synced("late");
    // The refused token was replaced by one for the new key, and the old key was not tried.
    let tokens = scene.served_since("token", journal);
    assert!(
        tokens.iter().all(|token| token.status == Some(200)),
        "{tokens:?}"
    );
    assert!(!tokens.is_empty());
}

/// Two instances, of one GUID: what one of them may read is no help to the other.
#[test]
fn a_teams_own_instance_does_not_ride_on_the_operators_credential() {
    let scene = Stage::shared().scene("riding");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    let weak = json!({"name": "weak", "apiKey": "weak-api-key"});
    let weak = serde_json::from_value(weak).expect("a service ID");
    scene
        .emulator
        .create_service_id(weak)
        .expect("a service ID");
    scene.put_key_secret("apikey", "weak-api-key");
    scene.apply_own_instance(&json!({"name": KEY_SECRET}));
    let said = scene.until_own("Authenticated", "CredentialMissing", "may not be read");
    let token = |of: &str| {
        let object = scene.get(
            of,
            if of == INSTANCE {
                &scene.instance
            } else {
                "own"
            },
        );
        condition(&object, "Authenticated").map(|said| said.status)
    };
    assert_eq!(token(INSTANCE).as_deref(), Some("True"));
    assert_eq!(token(OWN_INSTANCE).as_deref(), Some("False"));
    scene.type_command(&said);
    let journal = scene.emulator.last_request();
    let stolen = json!({"spec": {"instanceRef": {"name": "own"}, "key": {"alias": "orders-db"}}});
    scene.apply(KEY, "stolen", stolen);
    // The service shows that service ID an empty list, and no key by its alias.
    scene.until_own("Ready", "Available", "");
    scene.until_reason("stolen", "KeyNotAvailable");
    assert!(scene.find(SECRET, "stolen").is_none());
    assert!(scene.served_since("get", journal).is_empty());
    assert_eq!(scene.ready("orders-db").status, "True");
}
