//! Each install form on a cluster of its own: its rights are those in the table and no others, the
//! operator finds out which form it is, serves what it is to serve and nothing else, and does not
//! begin with rights that are those of no form.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment and wait for real processes"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::cluster::{client_of, eventually};
use crate::deploy::rights;
use crate::form::Form;
use crate::scene::{INSTANCE, KEY, SECRET, Scene};
use crate::seen::{condition, version};
use crate::stage::{OPERATOR_NAMESPACE, Stage, answer, binary};

type Rights = BTreeMap<String, BTreeSet<String>>;

fn table(rows: &[(&str, &str)]) -> Rights {
    let verbs = |verbs: &str| verbs.split(' ').map(str::to_owned).collect();
    let rows = rows.iter();
    rows.map(|(what, of)| ((*what).to_owned(), verbs(of)))
        .collect()
}

const KEYS: (&str, &str) = ("keyprotect.dev/keyprotectkeys", "get list watch");
const INSTANCES: (&str, &str) = ("keyprotect.dev/keyprotectinstances", "list watch");
const STATUS: [(&str, &str); 2] = [
    ("keyprotect.dev/keyprotectkeys/status", "update"),
    ("keyprotect.dev/keyprotectinstances/status", "update"),
];
const EVENTS: (&str, &str) = ("events.k8s.io/events", "create");
const LEASES: [(&str, &str); 2] = [
    (
        "coordination.k8s.io/leases key-protect-operator",
        "get list watch update",
    ),
    ("coordination.k8s.io/leases", "create"),
];

impl Form {
    /// What the operator may do in a namespace that it serves.
    fn rights_where_it_serves(self) -> Rights {
        let secrets = if self.reads_secrets() {
            "create update delete list watch"
        } else {
            "create update delete"
        };
        let mut rows = vec![KEYS, INSTANCES, EVENTS, ("/secrets", secrets)];
        rows.extend(STATUS);
        if !self.is_for_namespaces() {
            rows.push(("/namespaces", "list watch"));
        }
        table(&rows)
    }

    /// And in its own.
    fn rights_at_home(self) -> Rights {
        let mut rights = if self.is_for_namespaces() {
            table(&[INSTANCES, STATUS[1], ("/secrets", "create")])
        } else {
            self.rights_where_it_serves()
        };
        rights.extend(table(&LEASES));
        rights
    }

    fn rights_elsewhere(self) -> Rights {
        if self.is_for_namespaces() {
            Rights::new()
        } else {
            self.rights_where_it_serves()
        }
    }
}

/// A stage in a form, with a namespace that is served and one that need not be.
struct Installed {
    stage: &'static Stage,
    form: Form,
    overlay: String,
    served: String,
    other: String,
}

impl Installed {
    fn new(stage: &'static Stage, form: Form) -> Self {
        let cluster = stage.cluster;
        let served = cluster.namespace_blocking("served");
        let other = cluster.namespace_blocking("other");
        let overlay = form.overlay(cluster, std::slice::from_ref(&served));
        cluster.install_rbac(&overlay);
        let installed = Self {
            stage,
            form,
            overlay,
            served,
            other,
        };
        // RBAC counts a moment later.
        installed.has_its_rights();
        installed
    }

    fn has_its_rights(&self) {
        let cluster = self.stage.cluster;
        let kubeconfig =
            cluster.service_account_kubeconfig(OPERATOR_NAMESPACE, "key-protect-operator");
        let client = self.stage.block_on(client_of(&kubeconfig));
        let in_namespace = |namespace: &str| self.stage.block_on(rights(&client, namespace));
        let expected = [
            (&*self.served, self.form.rights_where_it_serves()),
            (&*self.other, self.form.rights_elsewhere()),
            (OPERATOR_NAMESPACE, self.form.rights_at_home()),
        ];
        for (namespace, expected) in expected {
            let mut seen = Rights::new();
            eventually(&format!("rights of {:?} in {namespace}", self.form), || {
                seen = in_namespace(namespace);
                seen == expected
            });
        }
        // The list is what RBAC says of itself; this is what the API server decides.
        let mut refused = vec!["get", "patch", "deletecollection", "*"];
        if !self.form.reads_secrets() {
            refused.extend(["list", "watch"]);
        }
        for namespace in [&*self.served, &*self.other, OPERATOR_NAMESPACE] {
            for verb in &refused {
                let may = self.stage.block_on(may(&client, verb, namespace));
                assert!(!may, "{:?} may {verb} Secrets in {namespace}", self.form);
            }
        }
    }

    fn start_operator(&self) -> u16 {
        let flag = format!("--namespaces={}", self.served);
        let flag = [flag.as_str()];
        let flags = if self.form.is_for_namespaces() {
            &flag[..]
        } else {
            &[]
        };
        self.stage.start_operator_with(flags)
    }

    fn remove(self) {
        self.stage.cluster.remove_rbac(&self.overlay);
    }
}

async fn may(client: &kube::Client, verb: &str, namespace: &str) -> bool {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                resource: Some("secrets".to_owned()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await;
    answer.unwrap().status.unwrap().allowed
}

#[test]
fn each_form_is_found_out_and_serves_what_it_is_to_serve() {
    let Some(stage) = Stage::empty("forms") else {
        return;
    };
    // The stage itself comes in the form of the run.
    let own = Form::current();
    stage
        .cluster
        .remove_rbac(&own.overlay(stage.cluster, &own.pool()));
    for form in Form::ALL {
        let installed = Installed::new(stage, form);
        installed.start_operator();
        a_key_is_synced_where_it_serves(&installed);
        stage.stop_operator();
        installed.remove();
    }
    another_form_later(stage);
    half_of_a_form_is_none(stage);
    stage.strike();
}

fn a_key_is_synced_where_it_serves(installed: &Installed) {
    let (stage, form) = (installed.stage, installed.form);
    let mut scene = stage.bare_scene("forms", &format!("forms-{}", form.folder()));
    scene.alias("orders-db", "payload");
    let names = [&installed.served, &installed.other];
    let named = json!({"namespaces": {"from": "Names", "names": names}});
    scene.apply_instance(json!({"access": [named]}));
    scene.until_instance("Ready", "Available");
    let instance = scene.get(INSTANCE, &scene.instance);
    assert_eq!(instance["status"]["installForm"], form.name());

    // First the one that is not served in some forms, so that the other comes after it.
    scene.namespace.clone_from(&installed.other);
    scene.object("orders-db", json!({}));
    if !form.is_for_namespaces() {
        scene.until_synced("orders-db");
    }
    scene.namespace.clone_from(&installed.served);
    scene.object("orders-db", json!({}));
    scene.until_synced("orders-db");
    assert_eq!(entry(&scene), "payload");
    if form.is_for_namespaces() {
        scene.namespace.clone_from(&installed.other);
        let unseen = scene.get(KEY, "orders-db");
        assert_eq!(condition(&unseen, "Ready").unwrap().reason, "Pending");
        assert_eq!(unseen["status"]["observedGeneration"], Value::Null);
        assert!(scene.find(SECRET, "orders-db").is_none());
        scene.namespace.clone_from(&installed.served);
    }
    rules_that_need_labels(&scene, form, &named);
    let metrics = stage.metrics("text/plain");
    let of_form = format!("keyprotect_install_form{{form=\"{}\"}} 1", form.name());
    assert!(metrics.contains(&of_form), "{metrics}");
    let watched = |resource: &str| {
        metrics.lines().any(|line| {
            line.contains(&format!("resource=\"{resource}\"")) && line.contains("verb=\"watch\"")
        })
    };
    assert_eq!(watched("secrets"), form.reads_secrets());
    assert_eq!(watched("namespaces"), !form.is_for_namespaces());
    assert!(watched("keyprotectkeys"));
}

fn rules_that_need_labels(scene: &Scene, form: Form, named: &Value) {
    let label = json!({"matchLabels": {"access.keyprotect.dev/tier": "prod"}});
    scene.apply_instance(json!({"access": [
        named,
        {"namespaces": {"from": "All"}},
        {"namespaces": {"from": "Selector", "selector": label}},
    ]}));
    if form.is_for_namespaces() {
        let said = scene.until_instance("RuleNotSupported", "NamespacesNotWatched");
        assert_eq!(said.status, "True");
        said.tells(&[
            "spec.access[1].namespaces.from: All",
            "spec.access[2].namespaces.from: Selector",
            "'from: Names'",
        ]);
    }
    // What a rule names is granted all the same.
    scene.sync("orders-db");
    scene.until_synced("orders-db");
    scene.apply_instance(json!({"access": [named]}));
    scene.until(
        INSTANCE,
        &scene.instance,
        "every rule is supported",
        |instance| {
            instance["status"]["observedGeneration"] == instance["metadata"]["generation"]
                && condition(instance, "RuleNotSupported").is_none()
        },
    );
}

fn entry(scene: &Scene) -> String {
    use base64::Engine;
    let secret = scene.get(SECRET, "orders-db");
    let text = secret["data"]["key"].as_str().expect("the entry");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    String::from_utf8(bytes.expect("base64")).expect("text")
}

/// To `no-read` and back, status learns and forgets of what the Secret was made, which itself stays
/// as it is: the write that it costs says what is there already.
fn another_form_later(stage: &'static Stage) {
    let scene = stage.bare_scene("later", "forms-later");
    scene.alias("orders-db", "payload");
    let named = json!({"from": "Names", "names": [&scene.namespace]});
    scene.apply_instance(json!({"access": [{"namespaces": named}]}));
    scene.object("orders-db", json!({}));
    let stays = [Form::Standard, Form::NoRead, Form::Standard].map(|form| {
        let installed = Installed::new(stage, form);
        installed.start_operator();
        scene.sync("orders-db");
        scene.until_synced("orders-db");
        let (secret, object) = (scene.get(SECRET, "orders-db"), scene.get(KEY, "orders-db"));
        stage.stop_operator();
        installed.remove();
        let told = &object["status"]["secret"];
        assert_eq!(told["record"].is_string(), !form.reads_secrets(), "{told}");
        assert_eq!(told["resourceVersion"], json!(version(&secret)));
        (version(&secret).to_owned(), scene.served("get").len())
    });
    let versions = stays.each_ref().map(|(version, _)| version);
    assert_eq!(versions, [versions[0]; 3]);
    assert_eq!(stays.map(|(_, payloads)| payloads), [1, 2, 2]);
}

/// Without `watch`, or without anything, the operator says what is wrong and begins nothing; it goes
/// on when RBAC is put right, without a restart.
fn half_of_a_form_is_none(stage: &'static Stage) {
    let cluster = stage.cluster;
    let overlay = Form::Standard.overlay(cluster, &[]);
    cluster.install_rbac(&overlay);
    let verbs = |verbs: &[&str]| {
        let rule = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}]);
        let patch = json!({"rules": rule}).to_string();
        let role = [
            "patch",
            "clusterrole",
            "key-protect-operator-secrets",
            "--type=merge",
            "-p",
        ];
        cluster.kubectl_ok(&[&role[..], &[&patch]].concat(), "");
    };
    verbs(&["create", "update", "delete", "list"]);
    let (mut command, port) = stage.operator_command("half.log");
    command.args(["--pod-uid", "half"]);
    let mut operator = crate::stage::spawn(command);
    let says = |words: &str| answer(port, "/readyz").is_some_and(|answer| answer.contains(words));
    eventually("it says what is missing", || {
        says("may list Secrets in every namespace, but not watch them in every namespace")
    });
    verbs(&["list", "watch"]);
    eventually("it says what is missing", || {
        says("may not create Secrets in every namespace; apply one overlay")
            || says("the fence holds is not known: RBAC refused the attempt")
    });
    verbs(&["create", "update", "delete", "list", "watch"]);
    eventually("it is ready", || crate::stage::answers_ok(port, "/readyz"));
    assert!(
        stage
            .log_named("half.log")
            .contains("the operator waits for its rights")
    );
    operator.kill().expect("its end");
    operator.wait().expect("its end");
}

#[test]
fn namespaces_that_are_none_are_refused_at_the_start() {
    for (names, words) in [
        ("Payments", "\"Payments\" is no namespace's name"),
        ("payments,,orders", "\"\" is no namespace's name"),
        (
            "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y",
            "25 are too many, at most 24",
        ),
    ] {
        let run = Command::new(binary())
            .args(["run", &format!("--namespaces={names}")])
            .output()
            .expect("a run");
        assert!(!run.status.success());
        let told = String::from_utf8_lossy(&run.stderr);
        assert!(told.contains(words), "{told}");
    }
}

/// What is committed for the overlays of named namespaces is what the command makes.
#[test]
fn the_namespaces_of_an_overlay_are_listed_once() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let cluster = crate::cluster::Cluster::shared();
    for form in [Form::StandardNamespaces, Form::NoReadNamespaces] {
        let committed = root.join("deploy/overlays").join(form.folder());
        let made = form.overlay(cluster, &["payments".to_owned()]);
        let several: Vec<String> = ["b", "a", "b"].map(str::to_owned).to_vec();
        let several = form.overlay(cluster, &several);
        for file in ["namespaces.yaml", "namespaces-flag.yaml"] {
            let read =
                |folder: &std::path::Path| std::fs::read_to_string(folder.join(file)).unwrap();
            assert_eq!(read(&committed), read(made.as_ref()), "{form:?} {file}");
        }
        let rendered = cluster.kubectl_ok(&["kustomize", &several], "");
        assert!(rendered.contains("--namespaces=a,b\n"), "{rendered}");
        // For each a Role and its binding; and the Lease's and the instances' at home.
        let rbac = cluster.rbac_of(&several);
        let count = |kind: &str| {
            let kind = format!("kind: {kind}");
            let of_kind = rbac
                .iter()
                .filter(|role| role.lines().any(|line| line == kind));
            of_kind.count()
        };
        assert_eq!((count("Role"), count("RoleBinding")), (4, 4));
        assert_eq!(count("ClusterRoleBinding"), 0);
    }
    let refused = Command::new(root.join("deploy/overlays/set-namespaces"))
        .args(["standard-namespaces", "Payments"])
        .output()
        .expect("a run");
    assert!(!refused.status.success());
}
