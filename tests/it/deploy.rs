//! What is under `deploy/`, put before a real API server: the overlays are taken as they are, the
//! Pod is one that Pod Security `restricted` lets in, the operator's rights are those that its
//! code needs and no more, and every example is one that both API server and operator take.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use key_protect_operator::api::{KeyProtectInstance, KeyProtectKey};
use key_protect_operator::domain::secret::target::TargetSpec;
use key_protect_operator::domain::service::endpoint::{self, AllowedHosts};
use key_protect_operator::domain::service::reference::KeyReference;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};
use crate::form::Form;
use crate::manifests::send;

const NAMESPACE: &str = "key-protect-system";

/// The folders under `deploy/overlays`, as the repository names them.
fn overlays() -> Vec<String> {
    files("deploy/overlays")
        .iter()
        .filter(|path| path.is_dir())
        .map(|path| path.display().to_string())
        .collect()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "nothing in {folder}");
    paths
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// The one object of a kind that an overlay renders.
fn rendered(cluster: &Cluster, overlay: &str, kind: &str) -> Value {
    let mut found: Vec<Value> = documents(&cluster.kubectl_ok(&["kustomize", overlay], ""))
        .into_iter()
        .filter(|document| document["kind"] == kind)
        .collect();
    assert_eq!(found.len(), 1, "{overlay}: {kind}");
    found.remove(0)
}

#[test]
fn every_overlay_is_taken_as_it_is() {
    let cluster = Cluster::shared();
    cluster.install_form();
    // The one that the overlays for namespaces ship with.
    cluster.namespace_named("payments");
    let overlays = overlays();
    assert_eq!(overlays.len(), Form::ALL.len(), "{overlays:?}");
    for overlay in overlays {
        let output = cluster.kubectl(
            &[
                "apply",
                "--dry-run=server",
                "--validate=strict",
                "-k",
                &overlay,
            ],
            "",
        );
        assert!(output.ok, "{overlay}: {}", output.stderr);
        // Pod Security warns of a Deployment whose Pods it would not let in.
        assert_eq!(output.stderr, "", "{overlay}");
        assert!(
            output
                .stdout
                .contains("deployment.apps/key-protect-operator")
        );
    }
}

#[test]
fn the_pod_is_let_in_where_pod_security_is_enforced() {
    let cluster = Cluster::shared();
    cluster.install_form();
    for overlay in overlays() {
        let namespace = cluster.kubectl_ok(&["get", "namespace", NAMESPACE, "-o", "json"], "");
        let namespace: Value = serde_json::from_str(&namespace).unwrap();
        let label = "pod-security.kubernetes.io/enforce";
        assert_eq!(namespace["metadata"]["labels"][label], "restricted");

        let deployment = rendered(cluster, &overlay, "Deployment");
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "one", "namespace": NAMESPACE},
            "spec": deployment["spec"]["template"]["spec"]});
        let dry_run = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let made: Value =
            serde_json::from_str(&cluster.kubectl_ok(&dry_run, &pod.to_string())).unwrap();
        // Nothing is mounted but what the Deployment says: no long-lived token.
        let volumes = made["spec"]["volumes"].as_array().unwrap();
        assert_eq!(volumes.len(), 2, "{volumes:?}");
        let mut less = pod;
        less["spec"]["containers"][0]["securityContext"] = json!({});
        let refused = cluster.kubectl(&dry_run, &less.to_string());
        assert!(
            !refused.ok && refused.stderr.contains("PodSecurity"),
            "{refused:?}"
        );
    }
}

/// The Pod of every form, beyond what Pod Security asks for.
#[test]
fn the_pod_has_nothing_that_it_does_not_need() {
    let cluster = Cluster::shared();
    let profile = "tests/it/deploy/trusted-profile".to_owned();
    for overlay in overlays().into_iter().chain([profile]) {
        let account = rendered(cluster, &overlay, "ServiceAccount");
        assert_eq!(account["automountServiceAccountToken"], false, "{overlay}");
        let deployment = rendered(cluster, &overlay, "Deployment");
        let pod = &deployment["spec"]["template"]["spec"];
        let containers = pod["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1, "{overlay}");
        assert_eq!(pod["initContainers"], Value::Null, "{overlay}");
        for (what, is, wanted) in [
            (
                "a token of its own choice",
                &pod["automountServiceAccountToken"],
                json!(false),
            ),
            (
                "names of services",
                &pod["enableServiceLinks"],
                json!(false),
            ),
            ("the node's network", &pod["hostNetwork"], Value::Null),
            ("the node's processes", &pod["hostPID"], Value::Null),
            // OpenShift gives each namespace numbers of its own.
            (
                "user and group",
                &pod["securityContext"],
                json!({
                "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
            ),
            (
                "its rights",
                &containers[0]["securityContext"],
                json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]}}),
            ),
            // A host is asked for by its full name first.
            (
                "names",
                &pod["dnsConfig"],
                json!({"options": [{"name": "ndots", "value": "1"}]}),
            ),
        ] {
            assert_eq!(*is, wanted, "{overlay}: {what}");
        }
        for mount in containers[0]["volumeMounts"].as_array().unwrap() {
            assert_eq!(mount["readOnly"], true, "{overlay}: {mount}");
        }
        assert!(
            containers[0]["resources"]["limits"]["memory"].is_string(),
            "{overlay}"
        );
        judge_volumes(&overlay, pod);
    }
    let dockerfile = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile"));
    let dockerfile = dockerfile.unwrap();
    assert!(dockerfile.contains("\nFROM scratch\n"));
    assert!(dockerfile.contains("\nUSER 65532:65532\n"));
}

/// Readable to whatever user the Pod is given, and to no other Pod; tokens are short-lived, and one
/// for IAM is none for the API server.
fn judge_volumes(overlay: &str, pod: &Value) {
    let mut audiences = Vec::new();
    for volume in pod["volumes"].as_array().unwrap() {
        let (mode, items) = if volume["secret"].is_object() {
            let secret = &volume["secret"];
            (&secret["defaultMode"], secret["items"].as_array())
        } else {
            (&volume["projected"]["defaultMode"], None)
        };
        assert_eq!(*mode, json!(0o444), "{overlay}: {volume}");
        for item in items.into_iter().flatten() {
            assert_eq!(item["mode"], json!(0o444), "{overlay}: {volume}");
        }
        let sources = volume["projected"]["sources"].as_array();
        for source in sources.into_iter().flatten() {
            let token = &source["serviceAccountToken"];
            if token.is_object() {
                let life = token["expirationSeconds"].as_u64().unwrap();
                audiences.push((token["audience"].as_str().map(str::to_owned), life));
            }
        }
    }
    let mut expected = vec![(None, 600)];
    if overlay.ends_with("trusted-profile") {
        expected.push((Some("iam".to_owned()), 3600));
        let text = pod.to_string();
        assert!(
            !text.contains("key-protect-operator-credentials"),
            "an API key after all"
        );
    }
    audiences.sort();
    assert_eq!(audiences, expected, "{overlay}");
}

/// What is written there is all that can be judged here: the test cluster's network enforces no
/// policy.
#[test]
fn the_network_policy_lets_through_what_the_operator_needs_and_no_more() {
    let cluster = Cluster::shared();
    for overlay in overlays() {
        let policy = rendered(cluster, &overlay, "NetworkPolicy");
        let deployment = rendered(cluster, &overlay, "Deployment");
        let template = &deployment["spec"]["template"];
        let selected = policy["spec"]["podSelector"]["matchLabels"]
            .as_object()
            .unwrap();
        assert!(!selected.is_empty());
        for (label, value) in selected {
            assert_eq!(template["metadata"]["labels"][label], *value, "{overlay}");
        }
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));

        let open = |direction: &str, peers: &str| -> BTreeSet<(String, bool)> {
            let rules = policy["spec"][direction].as_array().unwrap();
            let ports = rules.iter().flat_map(|rule| {
                let ports = rule["ports"]
                    .as_array()
                    .expect("a rule without ports opens all");
                ports.iter().map(|port| {
                    let protocol = port["protocol"].as_str().unwrap();
                    let anybody = rule[peers].is_null();
                    (format!("{}/{protocol}", port["port"]), anybody)
                })
            });
            ports.collect()
        };
        let set = |ports: &[(&str, bool)]| -> BTreeSet<(String, bool)> {
            let ports = ports.iter();
            ports
                .map(|(port, anybody)| ((*port).to_owned(), *anybody))
                .collect()
        };
        assert_eq!(
            open("ingress", "from"),
            set(&[("8080/TCP", false), ("8081/TCP", true)])
        );
        let egress = [
            "53/UDP", "53/TCP", "5353/UDP", "5353/TCP", "443/TCP", "6443/TCP",
        ];
        let egress: Vec<_> = egress.iter().map(|port| (*port, false)).collect();
        assert_eq!(open("egress", "to"), set(&egress));
        // The machine's own identity is nobody's business here.
        for rule in policy["spec"]["egress"].as_array().unwrap() {
            for peer in rule["to"].as_array().unwrap() {
                let except = &peer["ipBlock"]["except"];
                assert!(except.to_string().contains("254"), "{overlay}: {peer}");
            }
        }
        // The ports that are let in are those that are served.
        let served = template["spec"]["containers"][0]["ports"]
            .as_array()
            .unwrap();
        let served: BTreeSet<String> = served
            .iter()
            .map(|port| format!("{}/TCP", port["containerPort"]))
            .collect();
        let let_in = open("ingress", "from").into_iter().map(|(port, _)| port);
        assert_eq!(let_in.collect::<BTreeSet<_>>(), served, "{overlay}");
    }
}

/// A drain leaves one replica, and the replicas are told apart by what the Lease names.
#[test]
fn there_are_two_replicas_of_which_one_stays() {
    let cluster = Cluster::shared();
    for overlay in overlays() {
        let deployment = rendered(cluster, &overlay, "Deployment");
        let spec = &deployment["spec"];
        assert_eq!(spec["replicas"], 2, "{overlay}");
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        let budget = rendered(cluster, &overlay, "PodDisruptionBudget");
        assert_eq!(budget["spec"]["maxUnavailable"], 1, "{overlay}");
        let selected = &budget["spec"]["selector"]["matchLabels"];
        let pods = &spec["template"]["metadata"]["labels"];
        for (label, value) in selected.as_object().unwrap() {
            assert_eq!(pods[label], *value, "{overlay}");
        }
        let env = spec["template"]["spec"]["containers"][0]["env"]
            .as_array()
            .unwrap();
        let uid = env.iter().find(|env| env["name"] == "POD_UID").unwrap();
        assert_eq!(uid["valueFrom"]["fieldRef"]["fieldPath"], "metadata.uid");
    }
}

/// `deploy/base/deployment.yaml` says what the operator's own defaults are, and what its flags
/// are called.
#[test]
fn the_operator_understands_its_arguments() {
    let cluster = Cluster::shared();
    for overlay in overlays() {
        let deployment = rendered(cluster, &overlay, "Deployment");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let args = container["args"].as_array().unwrap();
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_key-protect-operator"))
            .args(args.iter().map(|arg| arg.as_str().unwrap()))
            .arg("--help")
            .output()
            .unwrap();
        let help = String::from_utf8(run.stdout).unwrap();
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        for arg in &args[1..] {
            let flag = arg.as_str().unwrap().split('=').next().unwrap();
            assert!(
                help.contains(&format!("{flag} ")),
                "{overlay}: no flag {flag}"
            );
        }
    }
}

/// Every verb that an account has, by `group/resource`.
pub(crate) async fn rights(
    client: &kube::Client,
    namespace: &str,
) -> BTreeMap<String, BTreeSet<String>> {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let api: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    let status = api
        .create(&PostParams::default(), &review)
        .await
        .unwrap()
        .status
        .unwrap();
    assert!(!status.incomplete, "{status:?}");
    let mut rights = BTreeMap::<String, BTreeSet<String>>::new();
    for rule in status.resource_rules {
        // Those that are for one object are told with its name.
        let only = rule.resource_names.as_deref().unwrap_or_default().join(" ");
        for group in rule.api_groups.iter().flatten() {
            // What everybody may: ask for their own rights.
            if ["authorization.k8s.io", "authentication.k8s.io"].contains(&group.as_str()) {
                continue;
            }
            for resource in rule.resources.iter().flatten() {
                let what = format!("{group}/{resource} {only}").trim_end().to_owned();
                let verbs = rights.entry(what).or_default();
                verbs.extend(rule.verbs.iter().cloned());
            }
        }
    }
    rights
}

/// Gives a role to an account of its own, and tells what that may.
struct Bound<'a> {
    cluster: &'a Cluster,
    namespace: String,
    account: String,
}

impl<'a> Bound<'a> {
    fn to(cluster: &'a Cluster, namespace: &str, role: &str) -> Self {
        let bound = Self {
            cluster,
            namespace: namespace.to_owned(),
            account: format!("has-{role}"),
        };
        let account = bound.account.as_str();
        cluster.kubectl_ok(&["-n", namespace, "create", "serviceaccount", account], "");
        let subject = format!("--serviceaccount={namespace}:{account}");
        let role = format!("--clusterrole={role}");
        let binding = [
            "-n",
            namespace,
            "create",
            "rolebinding",
            account,
            &role,
            &subject,
        ];
        cluster.kubectl_ok(&binding, "");
        bound
    }

    fn may(&self, verb: &str, resource: &str) -> bool {
        let user = format!(
            "--as=system:serviceaccount:{}:{}",
            self.namespace, self.account
        );
        let resource = format!("{resource}.keyprotect.dev");
        let args = [
            "-n",
            &self.namespace,
            "auth",
            "can-i",
            verb,
            &resource,
            &user,
        ];
        let output = self.cluster.kubectl(&args, "");
        let answer = output.stdout.trim();
        assert!(["yes", "no"].contains(&answer), "{output:?}");
        answer == "yes"
    }
}

#[test]
fn teams_that_may_edit_may_use_keys_and_those_that_may_view_may_not() {
    let cluster = Cluster::shared();
    cluster.install_form();
    let namespace = cluster.namespace_blocking("roles");
    let bound = |role| Bound::to(cluster, &namespace, role);

    for role in ["edit", "admin"] {
        let team = bound(role);
        // It is the controller manager that puts these roles together.
        if cluster.has_controllers() {
            eventually("the team may use keys", || {
                team.may("create", "keyprotectkeys")
            });
        }
        assert!(!team.may("create", "keyprotectinstances"), "{role}");
    }
    let viewer = bound("view");
    assert!(!viewer.may("create", "keyprotectkeys"));
    let user = bound("key-protect-key-user");
    assert!(user.may("create", "keyprotectkeys"));
    assert!(!user.may("deletecollection", "keyprotectkeys"));
    assert!(!user.may("create", "keyprotectinstances"));
    let admin = bound("key-protect-instance-admin");
    assert!(admin.may("update", "keyprotectinstances"));
    assert!(!admin.may("create", "keyprotectkeys"));
}

/// Who lends credentials, who uses keys, and who may pass the fence are three people, unless somebody
/// gives one of them two roles; none of the roles reads a Secret or writes a status.
#[test]
fn the_roles_for_people_keep_duties_apart() {
    let cluster = Cluster::shared();
    cluster.install_form();
    let rendered = documents(&cluster.kubectl_ok(&["kustomize", "deploy/overlays/standard"], ""));
    let role = |name: &str| -> &Value {
        let mut roles = rendered
            .iter()
            .filter(|document| document["kind"] == "ClusterRole");
        roles
            .find(|role| role["metadata"]["name"] == name)
            .expect(name)
    };
    let kinds = [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ];
    let mut seen = BTreeSet::new();
    for (name, resource, verbs) in [
        (
            "key-protect-instance-admin",
            "keyprotectinstances",
            &kinds[..],
        ),
        ("key-protect-key-user", "keyprotectkeys", &kinds[..]),
        ("key-protect-fence-admin", "keyprotectkeys", &["adopt"]),
    ] {
        let rules =
            json!([{"apiGroups": ["keyprotect.dev"], "resources": [resource], "verbs": verbs}]);
        assert_eq!(role(name)["rules"], rules, "{name}");
        for verb in verbs {
            assert!(
                seen.insert((resource, *verb)),
                "{name}: {verb} {resource} is another's too"
            );
        }
        // Only who may use keys is part of what namespaces' owners have anyway, and never of view.
        let aggregates = role(name)["metadata"]["labels"].as_object();
        let aggregates: Vec<&String> = aggregates.into_iter().flatten().map(|(l, _)| l).collect();
        let expected: &[&str] = if name == "key-protect-key-user" {
            &[
                "rbac.authorization.k8s.io/aggregate-to-admin",
                "rbac.authorization.k8s.io/aggregate-to-edit",
            ]
        } else {
            &[]
        };
        assert_eq!(aggregates, expected, "{name}");
    }
    let bindings = rendered.iter().filter(|document| {
        let kind = document["kind"].as_str().unwrap_or_default();
        kind.ends_with("RoleBinding")
    });
    for binding in bindings {
        let bound = binding["roleRef"]["name"].as_str().unwrap();
        assert!(
            bound.starts_with("key-protect-operator"),
            "{bound} is bound"
        );
    }
}

/// What the operator itself says to an object that the API server took.
pub(crate) fn operator_takes(object: &Value) -> Result<(), String> {
    if object["kind"] == "KeyProtectInstance" {
        let object: KeyProtectInstance = serde_json::from_value(object.clone()).unwrap();
        return endpoint::resolve(&object.spec, &AllowedHosts::default())
            .map(drop)
            .map_err(|error| error.to_string());
    }
    let object: KeyProtectKey = serde_json::from_value(object.clone()).unwrap();
    let name = object.metadata.name.as_deref().unwrap();
    let main = KeyReference::from_selector(object.spec.key.as_ref(), name)
        .map_err(|error| error.to_string())?;
    TargetSpec::new(name, object.spec.target.as_ref(), &main, &[])
        .map(drop)
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn every_example_is_taken() {
    let cluster = Cluster::shared();
    cluster.install_form();
    let client = cluster.client().await;
    let namespace = cluster.namespace("examples").await;
    let mut kinds = BTreeMap::<String, usize>::new();
    for path in files("deploy/examples") {
        for mut object in documents(&fs::read_to_string(&path).unwrap()) {
            let path = path.display();
            if object["apiVersion"] != "keyprotect.dev/v1alpha1" {
                object["metadata"]["namespace"] = json!(namespace);
                let taken = cluster.kubectl(
                    &["create", "--dry-run=server", "-f", "-"],
                    &object.to_string(),
                );
                assert!(taken.ok, "{path}: {}", taken.stderr);
                continue;
            }
            // Elsewhere the fence refuses instances that have no API key of their own.
            object["metadata"]["namespace"] = match object["kind"].as_str() {
                Some("KeyProtectInstance") => json!(NAMESPACE),
                _ => json!(namespace),
            };
            let answer = send(&client, &object, false).await;
            assert_eq!(answer.code, 201, "{path}: {}", answer.body);
            assert!(answer.warnings.is_empty(), "{path}: {:?}", answer.warnings);
            let verdict = operator_takes(&answer.body);
            assert_eq!(verdict, Ok(()), "{path}");
            let kind = answer.body["kind"].as_str().unwrap().to_owned();
            *kinds.entry(kind).or_default() += 1;
        }
    }
    assert!(
        kinds["KeyProtectKey"] >= 5 && kinds["KeyProtectInstance"] >= 1,
        "{kinds:?}"
    );
}
