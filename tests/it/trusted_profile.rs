//! A trusted profile in place of an API key, with tokens that the API server itself makes: IAM (the
//! emulator) checks them against the cluster's own keys.

use std::fs;

use serde_json::{Value, json};

use crate::scene::{SECRET, Scene};
use crate::seen::version;
use crate::stage::{OPERATOR_NAMESPACE, Stage};

const ACCOUNT: &str = "key-protect-operator";
const PROFILE: &str = "Profile-9fd84246-7df4-4667-94e4-8ecde51d5ac5";

/// A token of a ServiceAccount in the operator's namespace, made by the API server.
fn token(scene: &Scene, account: &str, audience: &str) -> String {
    let args = [
        "create",
        "token",
        "-n",
        OPERATOR_NAMESPACE,
        account,
        "--audience",
        audience,
        "--duration",
        "1h",
    ];
    scene.stage.cluster.kubectl_ok(&args, "").trim().to_owned()
}

/// Puts a token where the operator finds it, as the kubelet does: never half of it.
fn put(scene: &Scene, token: &str) {
    let file = scene.stage.service_account_token_file();
    let folder = file.parent().expect("a folder");
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("new"), token).expect("a token");
    fs::rename(folder.join("new"), &file).expect("the token in its place");
}

/// Makes a profile that trusts the operator's ServiceAccount of this cluster and no other.
fn trust(scene: &Scene, name: &str) {
    let raw = |path: &str| -> Value {
        let text = scene.stage.cluster.kubectl_ok(&["get", "--raw", path], "");
        serde_json::from_str(&text).expect("JSON")
    };
    let issuer = raw("/.well-known/openid-configuration")["issuer"].clone();
    let profile = json!({
        "name": name,
        "id": PROFILE,
        "roles": [{"instance": scene.guid, "role": "ReaderPlus"}],
        "trust": {
            "namespace": OPERATOR_NAMESPACE,
            "serviceAccount": ACCOUNT,
            "issuer": issuer,
            "jwks": raw("/openid/v1/jwks"),
        },
    });
    let profile = serde_json::from_value(profile).expect("a profile");
    scene.emulator.create_profile(profile).expect("a profile");
}

fn credentials(profile: &Value) -> Value {
    json!({
        "access": [{"namespaces": {"from": "All"}}],
        "credentials": {"trustedProfile": profile},
    })
}

/// All in one test, since the operator has one token.
#[test]
fn the_operators_own_service_account_gets_a_token_without_an_api_key() {
    let stage = Stage::shared();
    let tag = uuid::Uuid::new_v4().simple().to_string();
    let scene = stage.bare_scene("profile", &format!("profile-{}", &tag[..8]));
    scene.remove_api_key();
    scene.alias("orders-db", "payload");
    // A name with everything that would end a field of the form.
    let name = "the operator's & co: 100 % = +";
    trust(&scene, name);
    scene.apply_instance(credentials(&json!({"name": name})));
    scene
        .until_instance("Authenticated", "CredentialMissing")
        .tells(&[
            "ServiceAccount token file",
            "deploy/components/trusted-profile",
            "projected",
        ]);
    assert!(scene.served("token").is_empty());

    // Tokens that are genuine, and not for this.
    for (account, audience) in [
        (ACCOUNT, "https://kubernetes.default.svc"),
        ("default", "iam"),
    ] {
        let journal = scene.emulator.last_request();
        put(&scene, &token(&scene, account, audience));
        scene.until_served("token", journal, 30);
        scene
            .until_instance("Authenticated", "CredentialRejected")
            .tells(&[
                "BXNIM0137E",
                "trusted profile",
                "request ID",
                "trusted-profile-links",
            ]);
    }
    put(&scene, &token(&scene, ACCOUNT, "iam"));
    scene.until_instance("Authenticated", "TokenIssued");
    scene.until_instance("Ready", "Available");
    scene.synced_object("orders-db", json!({}));
    assert_eq!(scene.data("orders-db")["key"], b"payload");
    let granted = scene.served("token");
    let granted: Vec<_> = granted.iter().filter(|t| t.status == Some(200)).collect();
    assert_eq!(granted.len(), 1, "{granted:?}");
    assert_eq!(granted[0].service_id.as_deref(), Some(PROFILE));

    // The kubelet renews it: nothing is asked for that.
    let journal = scene.emulator.last_request();
    put(&scene, &token(&scene, ACCOUNT, "iam"));
    scene.sync("orders-db");
    scene.sync_instance();
    assert!(scene.served_since("token", journal).is_empty());
    let lists = scene.served_since("list", journal);
    assert!(lists.len() <= 2, "one for each that asked: {lists:?}");

    // By its ID, and once it trusts nobody any more.
    let before = scene.get(SECRET, "orders-db");
    scene.apply_instance(credentials(&json!({"id": PROFILE})));
    scene.until_instance("Authenticated", "TokenIssued");
    put(&scene, &token(&scene, "default", "iam"));
    scene.emulator.revoke_tokens();
    scene.ask(crate::scene::INSTANCE, &scene.instance);
    scene.until_instance("Authenticated", "CredentialRejected");
    scene.alias("late", "payload");
    scene.object("late", json!({}));
    scene
        .until_reason("late", "CredentialRejected")
        .tells(&["see to the trusted profile"]);
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&before));
    put(&scene, &token(&scene, ACCOUNT, "iam"));
    scene.until_instance("Authenticated", "TokenIssued");
    scene.until_synced("late");
    for token in scene.served("token") {
        assert_ne!(
            token.service_id.as_deref(),
            Some("operator"),
            "the service ID's API key"
        );
    }
    let log = stage.log();
    assert!(!log.contains("eyJ"), "a token is in the log");
}
