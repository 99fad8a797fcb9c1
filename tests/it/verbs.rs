//! Takes each verb in turn out of the shipped roles, and sees what fails without it: so that none is
//! there that nothing needs. One cluster, and one operator after the other, each under the same
//! roles but for one verb on one resource.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment and wait for real processes"
)]

use std::process::Child;

use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::form::Form;
use crate::scene::{INSTANCE, KEY, OWN_INSTANCE, SECRET, Scene};
use crate::seen::condition;
use crate::stage::{OPERATOR_NAMESPACE, Stage, answer, spawn};

/// One verb on one resource, and the role that has it.
#[derive(Clone, Debug)]
struct Right {
    /// `Role NAMESPACE/NAME` or `ClusterRole /NAME`.
    role: String,
    group: String,
    resource: String,
    verb: String,
    /// The objects that it is for; all, where there are none.
    names: Value,
}

impl Right {
    fn rule(&self) -> Value {
        json!({"apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb],
            "resourceNames": self.names})
    }
}

/// What fails where a right is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    /// The operator does not begin: it says that it may not.
    Start(&'static str),
    /// It does not begin, since no watch of this kind shows a listing.
    Listing,
    /// The watch of this kind breaks, so that changes are seen late.
    Watching,
    /// An object that was synced says nothing of it.
    KeyStatus,
    /// The instance says nothing.
    InstanceStatus,
    /// An owner reference that was taken off is not put back.
    Restoring,
    /// A reason has no Event.
    Event,
    /// Nobody leads, so that nothing is synced.
    Leading,
    /// A standby would not see at once that the leader has gone.
    StandingBy,
}

/// What a right is for.
fn what_fails_without(right: &Right) -> Failing {
    let at_home = right.role.ends_with("/key-protect-operator-instances");
    match (&*right.resource, &*right.verb) {
        ("secrets", "create") if at_home => Failing::Start("RBAC refused the attempt"),
        ("secrets", "create") => Failing::Start("create Secrets"),
        ("secrets", "update") => Failing::Start("may not update Secrets"),
        ("secrets", "delete") => Failing::Start("may not delete Secrets"),
        ("secrets", "list") => Failing::Start("not list them"),
        ("secrets", "watch") => Failing::Start("not watch them"),
        ("keyprotectkeys" | "keyprotectinstances" | "namespaces", "list") => Failing::Listing,
        ("keyprotectkeys" | "keyprotectinstances" | "namespaces", "watch") => Failing::Watching,
        ("keyprotectkeys", "get") => Failing::Restoring,
        ("keyprotectkeys/status", "update") => Failing::KeyStatus,
        ("keyprotectinstances/status", "update") => Failing::InstanceStatus,
        ("events", "create") => Failing::Event,
        ("leases", "get" | "create" | "update") => Failing::Leading,
        ("leases", "list" | "watch") => Failing::StandingBy,
        _ => panic!("nobody says what {right:?} is for"),
    }
}

struct Bench {
    stage: &'static Stage,
    form: Form,
    scene: Scene,
    roles: Vec<Value>,
    /// Objects that were made.
    made: usize,
}

impl Bench {
    fn new(stage: &'static Stage, form: Form) -> Self {
        let cluster = stage.cluster;
        let mut scene = stage.bare_scene("verbs", &format!("verbs-{}", form.folder()));
        scene.namespace = cluster.namespace_blocking("verbs");
        let overlay = form.overlay(cluster, std::slice::from_ref(&scene.namespace));
        cluster.install_rbac(&overlay);
        let roles = cluster.rbac_of(&overlay).into_iter();
        let roles: Vec<Value> = roles
            .map(|role| serde_saphyr::from_str(&role).expect("a role"))
            .filter(|role: &Value| {
                let kind = role["kind"].as_str().unwrap();
                let name = role["metadata"]["name"].as_str().unwrap();
                kind.ends_with("Role") && name.starts_with("key-protect-operator")
            })
            .collect();
        scene.alias("there", "payload");
        let bench = Self {
            stage,
            form,
            scene,
            roles,
            made: 0,
        };
        bench.apply_instances();
        bench
    }

    /// Makes or changes the instance, and one of the team's own that lacks its API key.
    fn apply_instances(&self) {
        let named = json!({"from": "Names", "names": [self.scene.namespace]});
        let interval = format!("{}m", 60 + self.made);
        let fields = json!({"access": [{"namespaces": named}], "refreshInterval": interval});
        self.scene.apply_instance(fields.clone());
        let mut own = self.scene.instance_spec(fields);
        own["credentials"] = json!({"apiKeySecretRef": {"name": "missing"}});
        self.scene.apply(OWN_INSTANCE, "own", json!({"spec": own}));
    }

    /// Every right of every role.
    fn rights(&self) -> Vec<Right> {
        let strings = |value: &Value| -> Vec<String> {
            let all = value.as_array().into_iter().flatten();
            all.map(|one| one.as_str().unwrap().to_owned()).collect()
        };
        let mut rights = Vec::new();
        for role in &self.roles {
            for rule in role["rules"].as_array().expect("rules") {
                for group in strings(&rule["apiGroups"]) {
                    for resource in strings(&rule["resources"]) {
                        rights.extend(strings(&rule["verbs"]).into_iter().map(|verb| Right {
                            role: id(role),
                            group: group.clone(),
                            resource: resource.clone(),
                            verb,
                            names: rule["resourceNames"].clone(),
                        }));
                    }
                }
            }
        }
        rights
    }

    /// Writes a role with all of its rights but one, or with all.
    fn write_role(&self, role: &str, but: Option<&Right>) {
        let is_but = |right: &Right| but.is_some_and(|but| but.rule() == right.rule());
        let rights = self.rights().into_iter();
        let rules: Vec<Value> = rights
            .filter(|right| right.role == role && !is_but(right))
            .map(|right| right.rule())
            .collect();
        let mut written = self
            .roles
            .iter()
            .find(|one| id(one) == role)
            .unwrap()
            .clone();
        written["rules"] = json!(rules);
        let cluster = self.stage.cluster;
        cluster.kubectl_ok(&["replace", "-f", "-"], &written.to_string());
    }

    fn lease(&self, args: &[&str]) {
        let lease = [
            "-n",
            OPERATOR_NAMESPACE,
            "delete",
            "lease",
            "--ignore-not-found",
        ];
        self.stage
            .cluster
            .kubectl_ok(&[&lease[..], args].concat(), "");
    }

    fn start(&self, log: &str) -> Operator {
        let (mut command, port) = self.stage.operator_command(log);
        if self.form.is_for_namespaces() {
            command.arg(format!("--namespaces={}", self.scene.namespace));
        }
        Operator {
            child: spawn(command),
            port,
        }
    }

    /// Makes work for every right: a new key, one that is not there, and other intervals of the
    /// instances, of which their status has to speak.
    fn make_work(&mut self) -> (String, String) {
        self.made += 1;
        let (there, missing) = (
            format!("there-{}", self.made),
            format!("missing-{}", self.made),
        );
        let selected = json!({"key": {"alias": "there"}});
        self.scene.object(&there, selected);
        self.scene
            .object(&missing, json!({"key": {"alias": "missing"}}));
        self.apply_instances();
        (there, missing)
    }

    /// Takes the owner reference off a Secret, once it is there.
    fn orphan(&self, secret: &str) {
        eventually("the Secret is there", || {
            self.scene.find(SECRET, secret).is_some()
        });
        let orphan = json!({"metadata": {"ownerReferences": null}});
        self.scene.patch(SECRET, secret, &orphan);
        self.scene.ask(KEY, secret);
    }

    /// Whether a request was refused for want of this right.
    fn was_refused(&self, right: &Right) -> bool {
        let metrics = self.stage.metrics_if_served().unwrap_or_default();
        metrics.lines().any(|line| {
            line.starts_with("keyprotect_api_requests_total{")
                && line.contains("code=\"403\"")
                && line.contains(&format!("resource=\"{}\"", right.resource))
                && line.contains(&format!("verb=\"{}\"", right.verb))
        })
    }
}

struct Operator {
    child: Child,
    port: u16,
}

impl Operator {
    fn says(&self, words: &str) -> bool {
        answer(self.port, "/readyz").is_some_and(|answer| answer.contains(words))
    }

    fn is_ready(&self) -> bool {
        crate::stage::answers_ok(self.port, "/readyz")
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn id(role: &Value) -> String {
    let metadata = &role["metadata"];
    format!(
        "{} {}/{}",
        role["kind"].as_str().unwrap(),
        metadata["namespace"].as_str().unwrap_or_default(),
        metadata["name"].as_str().unwrap()
    )
}

#[test]
fn no_right_is_there_that_nothing_needs() {
    let Some(stage) = Stage::empty("verbs") else {
        return;
    };
    let own = Form::current();
    stage
        .cluster
        .remove_rbac(&own.overlay(stage.cluster, &own.pool()));
    let mut tried = 0;
    for form in Form::ALL {
        let mut bench = Bench::new(stage, form);
        with_every_right_all_goes_well(&mut bench);
        for right in bench.rights() {
            // What the forms for the whole cluster have in common was tried in the first.
            let is_shared =
                form == Form::NoRead && !matches!(&*right.resource, "secrets" | "keyprotectkeys");
            let is_shared = is_shared
                || form == Form::NoReadNamespaces && right.resource != "secrets"
                || form != Form::Standard && right.resource == "leases";
            if !is_shared {
                without(&mut bench, &right);
                tried += 1;
            }
        }
        let overlay = form.overlay(stage.cluster, std::slice::from_ref(&bench.scene.namespace));
        stage.cluster.remove_rbac(&overlay);
    }
    println!("{tried} rights were taken away in turn");
    stage.strike();
}

fn with_every_right_all_goes_well(bench: &mut Bench) {
    bench.lease(&["key-protect-operator"]);
    let operator = bench.start("whole.log");
    eventually("the operator is ready", || operator.is_ready());
    let (there, missing) = bench.make_work();
    bench.scene.until_synced(&there);
    bench.scene.until_event(&missing, "KeyNotAvailable");
    bench.scene.until_instance("Ready", "Available");
    let missing_key = |own: &Value| {
        condition(own, "Ready").is_some_and(|ready| ready.reason == "CredentialMissing")
    };
    let scene = &bench.scene;
    scene.until(OWN_INSTANCE, "own", "its API key is missing", missing_key);
    bench.orphan(&there);
    bench
        .scene
        .until(SECRET, &there, "the owner reference is back", |secret| {
            secret["metadata"]["ownerReferences"][0]["name"] == there
        });
    let metrics = bench.stage.metrics("text/plain");
    let refused = metrics.lines().find(|line| {
        line.starts_with("keyprotect_api_requests_total{")
            && line.contains("code=\"403\"")
            // The fence's self-test, and the API key that the team has not let it read.
            && !line.contains("verb=\"dry-run\"")
            && !(line.contains("resource=\"secrets\"") && line.contains("verb=\"get\""))
    });
    assert_eq!(refused, None, "{:?}", bench.form);
}

fn without(bench: &mut Bench, right: &Right) {
    let what = format!("{:?} without {right:?}", bench.form);
    println!("{what}");
    let failing = what_fails_without(right);
    bench.write_role(&right.role, Some(right));
    let is_creation_of_lease = right.resource == "leases" && right.verb == "create";
    if is_creation_of_lease || failing != Failing::Leading {
        bench.lease(&["key-protect-operator"]);
    }
    let log = format!("without-{}.log", uuid::Uuid::new_v4());
    let operator = bench.start(&log);
    match failing {
        Failing::Start(words) => {
            eventually(&what, || operator.says(words));
            assert!(!operator.is_ready());
        }
        Failing::Listing => {
            eventually(&what, || bench.was_refused(right));
            assert!(operator.says("first listings"), "{what}");
        }
        _ => {
            eventually(&what, || operator.is_ready() || bench.was_refused(right));
            fails(bench, right, failing, &what, &log);
        }
    }
    drop(operator);
    bench.write_role(&right.role, None);
}

fn fails(bench: &mut Bench, right: &Right, failing: Failing, what: &str, log: &str) {
    let (there, missing) = bench.make_work();
    if failing == Failing::Restoring {
        bench.orphan(&there);
    }
    eventually(what, || bench.was_refused(right));
    match failing {
        Failing::Watching => {
            let told = bench.stage.log_named(log);
            assert!(told.contains("cannot be watched"), "{what}");
        }
        Failing::KeyStatus => {
            eventually(what, || bench.scene.find(SECRET, &there).is_some());
            assert_eq!(reason(bench, &there).as_deref(), Some("Pending"), "{what}");
        }
        Failing::InstanceStatus => {
            // A Role for a namespace is for the team's own instance in it.
            let instance = if right.role.contains(&bench.scene.namespace) {
                bench.scene.get(OWN_INSTANCE, "own")
            } else {
                bench.scene.get(INSTANCE, &bench.scene.instance)
            };
            let (status, metadata) = (&instance["status"], &instance["metadata"]);
            assert_ne!(
                status["observedGeneration"], metadata["generation"],
                "{what}"
            );
        }
        Failing::Restoring => {
            let secret = bench.scene.get(SECRET, &there);
            assert_eq!(secret["metadata"]["ownerReferences"], Value::Null, "{what}");
        }
        Failing::Event => {
            bench.scene.until_reason(&missing, "KeyNotAvailable");
            assert!(bench.scene.events(&missing).is_empty(), "{what}");
        }
        Failing::Leading => {
            assert_eq!(reason(bench, &there).as_deref(), Some("Pending"), "{what}");
        }
        Failing::StandingBy | Failing::Start(_) | Failing::Listing => {}
    }
}

fn reason(bench: &Bench, object: &str) -> Option<String> {
    condition(&bench.scene.get(KEY, object), "Ready").map(|ready| ready.reason)
}
