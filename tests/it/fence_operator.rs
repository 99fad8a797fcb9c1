//! The operator and its fence: it does nothing before the fence holds, says so when it no longer
//! does, and what teams meet.

use serde_json::json;

use crate::cluster::{Cluster, eventually};
use crate::form::Form;
use crate::scene::{INSTANCE, KEY, SECRET, Scene, base64};
use crate::seen::{condition, version};
use crate::stage::{self, OPERATOR_NAMESPACE, Stage};

/// An operator as a process, under an account of a cluster; killed at the end.
struct Process(std::process::Child, u16);

impl Process {
    fn start(cluster: &Cluster, namespace: &str, account: &str) -> Self {
        let kubeconfig = cluster.service_account_kubeconfig(namespace, account);
        let port = stage::free_port();
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(stage::binary())
            .args(["run", "--namespace", namespace])
            .args(["--health-address", &format!("127.0.0.1:{port}")])
            .args(["--metrics-address", "127.0.0.1:0"])
            .env("KUBECONFIG", kubeconfig)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        Self(stage::spawn(command), port)
    }

    fn readyz(&self) -> String {
        stage::answer(self.1, "/readyz").unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn under_a_name_that_the_fence_does_not_know_the_operator_does_nothing_and_says_which() {
    let Some(cluster) = Cluster::another("fence-names") else {
        return;
    };
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "secrets"}});
    cluster.kubectl_ok(&["apply", "-f", "-"], &namespace.to_string());
    cluster.install("tests/it/fence/forgotten");
    let lost = Process::start(cluster, "secrets", "key-protect-operator");
    eventually("it says that the fence does not bind it", || {
        let told = lost.readyz();
        told.starts_with("HTTP/1.0 503")
            && [
                "system:serviceaccount:secrets:key-protect-operator",
                "deploy/fence/own-name",
            ]
            .iter()
            .all(|words| told.contains(words))
    });
    assert!(
        stage::answer(lost.1, "/livez")
            .unwrap()
            .starts_with("HTTP/1.0 200")
    );
    drop(lost);
    // Before there are policies under a second name, which would refuse the first one's writes.
    strict(cluster);

    let rendered = cluster.kubectl_ok(&["kustomize", "tests/it/fence/renamed"], "");
    assert!(
        !rendered.contains("key-protect-system"),
        "somewhere the old name is left"
    );
    cluster.install("tests/it/fence/renamed");
    let found = Process::start(cluster, "secrets", "acme-key-protect-operator");
    eventually("the operator is ready", || {
        found.readyz().starts_with("HTTP/1.0 200")
    });
    drop(found);
    cluster.down();
}

/// With the strict variant, only a namespace that is labelled is open, and the self-test holds.
fn strict(cluster: &Cluster) {
    cluster.install("tests/it/fence/strict");
    let team = cluster.namespace_blocking("strict");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": team,
        "labels": {"keyprotect.dev/target": "owned"}, "annotations": {"keyprotect.dev/retain": "true"}}});
    let account = "--as=system:serviceaccount:secrets:key-protect-operator";
    let create = || {
        let args = [
            "create",
            "-f",
            "-",
            "--dry-run=server",
            "--field-manager=keyprotect.dev/operator",
            account,
        ];
        cluster.kubectl(&args, &secret.to_string())
    };
    eventually("the namespace is closed", || {
        create()
            .stderr
            .contains("until an admin labels it keyprotect.dev/allow-secrets=true")
    });
    cluster.kubectl_ok(
        &[
            "label",
            "namespace",
            &team,
            "keyprotect.dev/allow-secrets=true",
        ],
        "",
    );
    eventually("the namespace is open", || create().ok);
    let found = Process::start(cluster, "secrets", "key-protect-operator");
    eventually("the operator is ready", || {
        found.readyz().starts_with("HTTP/1.0 200")
    });
}

#[test]
fn a_fence_that_goes_is_told_by_instances_and_readiness_until_it_is_back() {
    let Some(stage) = Stage::alone("fence-lost") else {
        return;
    };
    stage.stop_operator();
    let port = stage.start_operator_with(&["--fence-interval", "1s"]);
    let scene = stage.scene("fence-lost");
    scene.until_instance("Ready", "Available");
    let inactive = |instance: &serde_json::Value| condition(instance, "FenceInactive");
    assert_eq!(inactive(&scene.get(INSTANCE, &scene.instance)), None);

    let binding = "validatingadmissionpolicybinding/operator-secrets.fence.keyprotect.dev";
    stage.cluster.kubectl_ok(&["delete", binding], "");
    let told = scene.until(INSTANCE, &scene.instance, "the fence is gone", |instance| {
        inactive(instance).is_some()
    });
    let said = inactive(&told).unwrap();
    assert_eq!((&*said.status, &*said.reason), ("True", "NotBound"));
    said.tells(&[
        "system:serviceaccount:key-protect-system:key-protect-operator",
        "Apply the overlay again",
    ]);
    assert!(
        stage::answer(port, "/readyz")
            .unwrap()
            .starts_with("HTTP/1.0 503")
    );
    // Secrets go on following their keys.
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));

    stage
        .cluster
        .kubectl_ok(&["apply", "-k", "deploy/fence"], "");
    scene.until(INSTANCE, &scene.instance, "the fence is back", |instance| {
        inactive(instance).is_none()
    });
    assert!(
        stage::answer(port, "/readyz")
            .unwrap()
            .starts_with("HTTP/1.0 200")
    );
    stage.strike();
}

/// A team's member, who may edit in the scene's namespace.
fn edit(scene: &Scene, roles: &[&str]) -> String {
    let user = format!("somebody-of-{}", scene.namespace);
    for role in roles {
        let made = scene.kubectl(&[
            "create",
            "rolebinding",
            role,
            "--clusterrole",
            role,
            "--user",
            &user,
        ]);
        assert!(made.ok, "{made:?}");
    }
    format!("--as={user}")
}

#[test]
fn a_team_may_label_its_secret_and_release_it_but_not_change_its_entries() {
    let scene = Stage::shared().scene("team");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    let team = edit(&scene, &["edit"]);
    let patch = |patch: serde_json::Value| {
        let patch = patch.to_string();
        scene.kubectl(&[
            "patch",
            "secret",
            "orders-db",
            &team,
            "--type=merge",
            "-p",
            &patch,
        ])
    };
    eventually("the team may edit", || {
        patch(json!({"metadata": {"labels": {"team": "payments"}}})).ok
    });
    let before = scene.get(SECRET, "orders-db");
    let refused = patch(json!({"data": {"key": base64(b"other")}}));
    assert!(!refused.ok);
    for words in [
        "KeyProtectKey orders-db",
        "Key Protect",
        "change them there",
        "owned-secrets.fence",
    ] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    let off = json!({"metadata": {"labels": {"keyprotect.dev/target": null}}});
    let refused = patch(off);
    assert!(!refused.ok);
    for words in [
        "still be deleted with KeyProtectKey orders-db",
        "--cascade=orphan",
    ] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    let seen = scene.get(SECRET, "orders-db");
    assert_eq!(seen["data"], before["data"]);
    // Where Secrets are not read, the team's label is an edit, undone at the operator's next look.
    if Form::current().reads_secrets() {
        assert_eq!(version(&seen), version(&before));
    }
    let release =
        json!({"metadata": {"labels": {"keyprotect.dev/target": null}, "ownerReferences": null}});
    let released = patch(release);
    assert!(released.ok, "{}", released.stderr);
    if !Form::current().reads_secrets() {
        // Asked for now, instead of waiting for the next look at it.
        scene.ask(KEY, "orders-db");
    }
    scene.until_reason("orders-db", "SecretNotOwned");
    scene.delete(KEY, "orders-db");
    scene.until_gone(KEY, "orders-db");
    assert_eq!(
        scene.data("orders-db")["key"],
        b"payload",
        "it is the team's now"
    );
    let theirs = patch(json!({"data": {"key": base64(b"other")}}));
    assert!(theirs.ok, "{}", theirs.stderr);
}

#[test]
fn a_foreign_secret_that_no_write_could_change_is_named_as_a_foreign_one() {
    let scene = Stage::shared().scene("unchangeable");
    let tls = json!({"tls.crt": base64(b"theirs"), "tls.key": base64(b"theirs")});
    for (name, theirs) in [
        ("web", json!({"type": "kubernetes.io/tls", "data": tls})),
        (
            "frozen",
            json!({"immutable": true, "stringData": {"a": "theirs"}}),
        ),
    ] {
        scene.alias(name, "payload");
        let theirs = scene.create(SECRET, name, theirs);
        let reads = scene.served("get").len();
        scene.object(name, json!({}));
        scene
            .until_reason(name, "SecretNotOwned")
            .tells(&["keyprotect.dev/target=adopt"]);
        scene.sync(name);
        scene.until_reason(name, "SecretNotOwned");
        assert_eq!(version(&scene.get(SECRET, name)), version(&theirs));
        let reads = scene.served("get").len() - reads;
        assert_eq!(reads, 1, "once, before the name was seen to be taken");
    }
}

#[test]
fn a_secret_that_its_owner_took_back_stays_when_its_object_names_another() {
    let scene = Stage::shared().scene("took-back");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    let release =
        json!({"metadata": {"labels": {"keyprotect.dev/target": null}, "ownerReferences": null}});
    let theirs = scene.patch(SECRET, "orders-db", &release);
    if !Form::current().reads_secrets() {
        // Asked for now, instead of waiting for the next look at it.
        scene.ask(KEY, "orders-db");
    }
    scene.until_reason("orders-db", "SecretNotOwned");
    scene.object("orders-db", json!({"target": {"name": "another"}}));
    scene.until_synced("orders-db").tells(&["Secret another"]);
    assert_eq!(scene.data("another")["key"], b"payload");
    assert_eq!(version(&scene.get(SECRET, "orders-db")), version(&theirs));
}

#[test]
fn who_has_the_verb_adopt_restores_a_secret_from_a_backup() {
    let scene = Stage::shared().scene("backup");
    scene.alias("orders-db", "payload");
    scene.synced_object("orders-db", json!({}));
    let mut backup = scene.get(SECRET, "orders-db");
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "ownerReferences",
    ] {
        backup["metadata"].as_object_mut().unwrap().remove(field);
    }
    let deleted = scene.kubectl(&["delete", "kpk", "orders-db"]);
    assert!(deleted.ok, "{}", deleted.stderr);
    scene.until_gone(SECRET, "orders-db");

    let restore = |user: &str| {
        let args = ["-n", &scene.namespace, "create", "-f", "-", user];
        scene.stage.cluster.kubectl(&args, &backup.to_string())
    };
    let team = edit(&scene, &["edit"]);
    eventually("the team may edit, but not restore", || {
        restore(&team)
            .stderr
            .contains("have the verb adopt on keyprotectkeys")
    });
    let binding = scene.kubectl(&[
        "create",
        "rolebinding",
        "restore",
        "--clusterrole=key-protect-fence-admin",
        "--user",
        team.trim_start_matches("--as="),
    ]);
    assert!(binding.ok, "{binding:?}");
    eventually("who may adopt restores it", || restore(&team).ok);
    let restored = scene.get(SECRET, "orders-db");
    scene.synced_object("orders-db", json!({}));
    let now = scene.get(SECRET, "orders-db");
    assert_eq!(
        now["metadata"]["uid"], restored["metadata"]["uid"],
        "the new object takes it up"
    );
    assert_eq!(scene.data("orders-db")["key"], b"payload");
}

#[test]
fn a_secret_in_a_closed_namespace_is_refused_in_the_operators_own_words() {
    let scene = Stage::shared().scene("kube-closed");
    scene.alias("orders-db", "payload");
    scene.object("orders-db", json!({}));
    let said = scene.until_reason("orders-db", "SecretRejected");
    said.tells(&[
        "the fence keeps the operator out of this namespace",
        "keyprotect.dev/allow-secrets=true",
    ]);
    let label = [
        "label",
        "namespace",
        &scene.namespace,
        "keyprotect.dev/allow-secrets=true",
    ];
    scene.stage.cluster.kubectl_ok(&label, "");
    scene.sync("orders-db");
    scene.until_synced("orders-db");
    assert_ne!(scene.namespace, OPERATOR_NAMESPACE);
}
