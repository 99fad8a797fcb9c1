//! The fence, tried: what a thief would do with the operator's token, and what others would do
//! (`fence/attempts.yaml`), what has to go on working (`fence/work.yaml`), and that no expression
//! of the policies could be left out. The token is bound to cluster-admin, so that only the fence
//! is judged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use http::Request;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, client_of, eventually};
use crate::stage::OPERATOR_NAMESPACE;

/// What only a reader of the Secret `foreign` (or `owned`, …) knows.
const CANARY: &str = "canary-of-a-payload";
const SHORT: &str = "abc";

/// One attempt, or one piece of work.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempt {
    r#try: String,
    #[serde(default = "operator")]
    r#as: String,
    r#do: String,
    #[serde(default)]
    with: Value,
    patch: Option<String>,
    query: Option<String>,
    impersonate: Option<String>,
    open: Option<String>,
    #[serde(default)]
    leaks: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    group: String,
    attempts: Vec<Attempt>,
}

fn operator() -> String {
    "operator".to_owned()
}

fn groups() -> Vec<Group> {
    let groups: Vec<Group> = serde_saphyr::from_str(include_str!("fence/attempts.yaml")).unwrap();
    let count: usize = groups.iter().map(|group| group.attempts.len()).sum();
    assert!(count >= 120, "only {count}");
    groups
}

fn work() -> Vec<Attempt> {
    serde_saphyr::from_str(include_str!("fence/work.yaml")).unwrap()
}

/// What came of an attempt.
struct Outcome {
    code: u16,
    body: String,
    /// The policy of the fence that refused it.
    policy: Option<String>,
}

impl Outcome {
    fn leaks(&self) -> bool {
        [CANARY, SHORT].iter().any(|canary| {
            self.body
                .contains(&format!("\"{}\"", STANDARD.encode(canary)))
        }) || self.body.contains(CANARY)
            || self.body.contains(&STANDARD.encode(CANARY))
    }
}

/// Namespaces, Secrets and accounts to try things with, on a cluster of its own.
struct Ground {
    /// By account.
    clients: BTreeMap<&'static str, Client>,
    /// What is put in for `{…}`.
    words: BTreeMap<String, String>,
    /// One test at a time changes policies, or relies on them.
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

const TEAM: &str = "fence-team";
const OTHER: &str = "fence-other";

const ACCOUNTS: [(&str, &str, &str); 4] = [
    ("operator", OPERATOR_NAMESPACE, "key-protect-operator"),
    ("tenant", TEAM, "tenant"),
    ("restorer", TEAM, "restorer"),
    ("namesake", TEAM, "key-protect-operator"),
];

/// The cluster, furnished once, and a kubeconfig for each account.
fn furnished() -> Option<&'static (&'static Cluster, BTreeMap<&'static str, PathBuf>)> {
    static FURNISHED: OnceLock<Option<(&Cluster, BTreeMap<&str, PathBuf>)>> = OnceLock::new();
    let furnished = FURNISHED.get_or_init(|| {
        let cluster = Cluster::another("fence")?;
        Ground::furnish(cluster);
        let kubeconfigs = ACCOUNTS.map(|(name, namespace, account)| {
            (name, cluster.service_account_kubeconfig(namespace, account))
        });
        Some((cluster, kubeconfigs.into_iter().collect()))
    });
    furnished.as_ref()
}

impl Ground {
    /// None where the tests were given a cluster.
    async fn laid() -> Option<Self> {
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let turn = TURN.lock().await;
        let furnished = tokio::task::spawn_blocking(furnished).await.unwrap();
        let (cluster, kubeconfigs) = furnished?;
        // A client lives as long as the runtime of the test that made it.
        let mut clients = BTreeMap::from([("admin", cluster.client().await)]);
        for (name, kubeconfig) in kubeconfigs {
            clients.insert(name, client_of(kubeconfig).await);
        }
        let words = [
            ("team", TEAM),
            ("other", OTHER),
            ("system", OPERATOR_NAMESPACE),
        ];
        let mut ground = Self {
            clients,
            words: words
                .map(|(word, text)| (word.to_owned(), text.to_owned()))
                .into(),
            _turn: turn,
        };
        for (word, path) in [
            (
                "orders",
                "/apis/keyprotect.dev/v1alpha1/namespaces/{team}/keyprotectkeys/orders",
            ),
            ("foreign", "secrets/foreign"),
            ("owned", "secrets/owned"),
            ("held", "secrets/held"),
            ("shared", "secrets/shared"),
            ("handed", "secrets/handed"),
            ("release", "secrets/release"),
            (
                "kube-system/marked",
                "/api/v1/namespaces/kube-system/secrets/marked",
            ),
        ] {
            let object = ground.get(path).await;
            let uid = object["metadata"]["uid"].as_str();
            let uid = uid.unwrap_or_else(|| panic!("{path}: {object}")).to_owned();
            ground.words.insert(format!("uid {word}"), uid);
        }
        Some(ground)
    }

    /// Makes what is tried upon, as the cluster's administrator.
    fn furnish(cluster: &Cluster) {
        let apply = |object: Value| {
            cluster.kubectl_ok(&["apply", "-f", "-"], &object.to_string());
        };
        let namespace = |name: &str, labels: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        for (name, labels) in [
            (TEAM, json!({})),
            (OTHER, json!({"access.keyprotect.dev/tier": "prod"})),
            ("kubernetes-team", json!({})),
            ("kube-open", json!({"keyprotect.dev/allow-secrets": "true"})),
            (
                "kube-closed",
                json!({"keyprotect.dev/allow-secrets": "false"}),
            ),
            ("openshift", json!({})),
            ("openshift-config", json!({})),
        ] {
            apply(namespace(name, labels));
        }
        cluster.install("deploy/overlays/standard");
        // The fence lets an administrator do all that follows; it has to count before, though, or
        // the tests would begin too early.
        eventually("the fence counts", || {
            let user =
                format!("--as=system:serviceaccount:{OPERATOR_NAMESPACE}:key-protect-operator");
            let args = [
                "create",
                "secret",
                "generic",
                "try",
                "--dry-run=server",
                "-n",
                TEAM,
                &user,
            ];
            cluster.kubectl(&args, "").stderr.contains("fence:")
        });
        for account in ["tenant", "restorer", "key-protect-operator"] {
            apply(
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": TEAM}}),
            );
        }
        let verbs = json!([
            "get", "list", "watch", "create", "update", "patch", "delete"
        ]);
        let rule = |groups: Value, resources: Value| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
        let rbac = |kind: &str, name: &str, namespace: Option<&str>, more: Value| {
            let mut object = more;
            object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
            object["kind"] = json!(kind);
            object["metadata"] = json!({"name": name, "namespace": namespace});
            object
        };
        let bind = |role: &str, kind: &str, subjects: Value| json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, "subjects": subjects});
        let account = |name: &str, namespace: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
        let people = json!([
            account("tenant", TEAM),
            account("restorer", TEAM),
            account("key-protect-operator", TEAM)
        ]);
        let team = [
            rule(json!([""]), json!(["secrets"])),
            rule(json!(["keyprotect.dev"]), json!(["*"])),
        ];
        let namespaces = [rule(
            json!([""]),
            json!(["namespaces", "namespaces/status", "namespaces/finalize"]),
        )];
        let adopt = [
            json!({"apiGroups": ["keyprotect.dev"], "resources": ["keyprotectkeys"], "verbs": ["adopt"]}),
        ];
        for object in [
            rbac("Role", "team", Some(TEAM), json!({"rules": team})),
            rbac(
                "RoleBinding",
                "team",
                Some(TEAM),
                bind("team", "Role", people.clone()),
            ),
            rbac(
                "ClusterRole",
                "fence-namespaces",
                None,
                json!({"rules": namespaces}),
            ),
            rbac(
                "ClusterRoleBinding",
                "fence-namespaces",
                None,
                bind("fence-namespaces", "ClusterRole", people),
            ),
            rbac("Role", "adopt", Some(TEAM), json!({"rules": adopt})),
            rbac(
                "RoleBinding",
                "adopt",
                Some(TEAM),
                bind("adopt", "Role", json!([account("restorer", TEAM)])),
            ),
            rbac(
                "ClusterRoleBinding",
                "stolen",
                None,
                bind(
                    "cluster-admin",
                    "ClusterRole",
                    json!([account("key-protect-operator", OPERATOR_NAMESPACE)]),
                ),
            ),
        ] {
            apply(object);
        }
        let key = json!({"apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey", "metadata": {"name": "orders", "namespace": TEAM}, "spec": {}});
        apply(key);
        apply(
            json!({"apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectInstance", "metadata": {"name": "default", "namespace": OPERATOR_NAMESPACE}, "spec": {"instanceID": "12e8c9c2-a162-472d-b7d6-8b9a86b815a6", "region": "us-south"}}),
        );
        let uid = cluster.kubectl_ok(
            &[
                "get",
                "kpk",
                "orders",
                "-n",
                TEAM,
                "-o",
                "jsonpath={.metadata.uid}",
            ],
            "",
        );
        let owner = json!([{"apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey", "name": "orders", "uid": uid}]);
        let create = |namespace: &str, name: &str, more: Value, data: Value| {
            let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {}, "stringData": data});
            merge(&mut secret, &more);
            secret["metadata"]["name"] = json!(name);
            secret["metadata"]["namespace"] = json!(namespace);
            cluster.kubectl_ok(&["create", "-f", "-"], &secret.to_string());
        };
        let canary = json!({"password": CANARY, "short": SHORT});
        let labelled =
            |value: &str| json!({"metadata": {"labels": {"keyprotect.dev/target": value}}});
        let owned = json!({"metadata": {"labels": {"keyprotect.dev/target": "owned"}, "annotations": {"keyprotect.dev/record": "r"}, "ownerReferences": owner}});
        let mut held = owned.clone();
        merge(
            &mut held,
            &json!({"metadata": {"finalizers": ["example.com/hold"], "labels": {"example.com/team": "a"}, "annotations": {"example.com/note": "a"}}}),
        );
        let retained = json!({"metadata": {"labels": {"keyprotect.dev/target": "owned"}, "annotations": {"keyprotect.dev/record": "r", "keyprotect.dev/retain": "true"}}});
        let shared = json!({"metadata": {"labels": {"keyprotect.dev/target": "shared"}, "annotations": {"keyprotect.dev/entries": "a, b"}}});
        let mut release = retained.clone();
        release["type"] = json!("helm.sh/release.v1");
        let entry = json!({"key": CANARY});
        let mut labelled_owned = owned.clone();
        merge(
            &mut labelled_owned,
            &json!({"metadata": {"labels": {"example.com/team": "a"}, "annotations": {"example.com/note": "a"}}}),
        );
        create(TEAM, "foreign", json!({}), canary.clone());
        create(TEAM, "owned", labelled_owned, entry.clone());
        create(TEAM, "held", held, entry.clone());
        create(TEAM, "retained", retained.clone(), entry.clone());
        create(TEAM, "shared", shared, json!({"a": "1", "theirs": CANARY}));
        create(TEAM, "handed", labelled("adopt"), canary.clone());
        create(TEAM, "release", release, entry.clone());
        create("kube-system", "system", json!({}), canary.clone());
        create("kube-system", "marked", retained.clone(), entry.clone());
        create(OPERATOR_NAMESPACE, "marked", retained, entry);
        create(
            OPERATOR_NAMESPACE,
            "key-protect-operator-credentials",
            json!({}),
            json!({"apikey": CANARY}),
        );
        apply(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}}));
        for (name, namespace) in [
            ("key-protect-operator", OPERATOR_NAMESPACE),
            ("theirs", "kube-system"),
        ] {
            apply(
                json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": namespace}}),
            );
        }
        apply(
            json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "old", "namespace": TEAM}, "eventTime": "2026-01-01T00:00:00.000000Z", "action": "a", "reason": "r", "type": "Normal", "note": "n", "reportingController": "keyprotect.dev/operator", "reportingInstance": "i", "regarding": {"apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey", "name": "orders", "namespace": TEAM}}),
        );
        if cluster.has_controllers() {
            eventually("the team's default account", || {
                cluster
                    .kubectl(&["get", "serviceaccount", "default", "-n", TEAM], "")
                    .ok
            });
        }
        apply(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "victim", "namespace": TEAM}, "spec": {"nodeName": "node-a", "containers": [{"name": "a", "image": "a"}]}}),
        );
    }

    fn put_in(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (word, value) in &self.words {
            text = text.replace(&format!("{{{word}}}"), value);
        }
        text
    }

    fn path(&self, short: &str) -> String {
        let path = self.put_in(short);
        if path.starts_with('/') {
            path
        } else {
            format!("/api/v1/namespaces/{TEAM}/{path}")
        }
    }

    async fn get(&self, path: &str) -> Value {
        let request = Request::get(self.path(path)).body(Body::empty()).unwrap();
        let answer = self.clients["admin"].send(request).await.unwrap();
        let body = answer.into_body().collect_bytes().await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// What an attempt sends: a body, and what kind of body that is.
    async fn body(&self, attempt: &Attempt, method: &str, path: &str) -> (Value, &'static str) {
        let with: Value = serde_json::from_str(&self.put_in(&attempt.with.to_string())).unwrap();
        let secrets = path.contains("/secrets");
        match (method, attempt.patch.as_deref()) {
            ("POST", _) if secrets => {
                let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                    "metadata": {"name": "new", "labels": {"keyprotect.dev/target": "owned"},
                                 "annotations": {"keyprotect.dev/retain": "true"}},
                    "data": {"key": "YQ=="}});
                merge(&mut secret, &with);
                (secret, "application/json")
            }
            ("PUT", _) => {
                let object = path.strip_suffix("/finalize").unwrap_or(path);
                let mut object = self.get(object).await;
                let metadata = object["metadata"].as_object_mut().unwrap();
                metadata.remove("managedFields");
                merge(&mut object, &with);
                (object, "application/json")
            }
            ("PATCH", None | Some("merge")) => (with, "application/merge-patch+json"),
            ("PATCH", Some("json")) => (with, "application/json-patch+json"),
            ("PATCH", Some("strategic")) => (with, "application/strategic-merge-patch+json"),
            ("PATCH", Some("apply")) => {
                let mut object = with;
                if secrets {
                    object["apiVersion"] = json!("v1");
                    object["kind"] = json!("Secret");
                }
                (object, "application/apply-patch+yaml")
            }
            ("PATCH", Some(other)) => panic!("{other} is no patch"),
            ("DELETE", _) => {
                let mut options = with;
                options["apiVersion"] = json!("v1");
                options["kind"] = json!("DeleteOptions");
                (options, "application/json")
            }
            _ => (with, "application/json"),
        }
    }

    /// Makes an attempt; as a dry run, or for good.
    async fn make(&self, attempt: &Attempt, dry_run: bool) -> Outcome {
        let (method, short) = attempt.r#do.split_once(' ').unwrap();
        let path = self.path(short);
        let (mut body, media_type) = self
            .body(attempt, method, path.split('?').next().unwrap())
            .await;
        let query = attempt.query.clone().unwrap_or_else(|| match method {
            "POST" | "PUT" | "PATCH" => "fieldManager=keyprotect.dev/operator".to_owned(),
            _ => String::new(),
        });
        let mut uri = if path.contains('?') {
            format!("{path}&{query}")
        } else {
            format!("{path}?{query}")
        };
        if dry_run {
            // What stands in the address beside a body is not heeded.
            if method == "DELETE" {
                body["dryRun"] = json!(["All"]);
            } else if !uri.contains("dryRun") && !uri.contains("/pods/victim/") {
                uri.push_str("&dryRun=All");
            }
        }
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", media_type);
        if let Some(user) = &attempt.impersonate {
            request = request
                .header("impersonate-user", user)
                .header("impersonate-group", "system:masters");
        }
        let body = if method == "GET" || body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string().into_bytes())
        };
        let client = &self.clients[attempt.r#as.as_str()];
        let answer = client.send(request.body(body).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let body = answer.into_body().collect_bytes().await.unwrap();
        let body = String::from_utf8_lossy(&body).into_owned();
        let policy = body
            .split_once("ValidatingAdmissionPolicy '")
            .and_then(|(_, rest)| rest.split_once(".fence.keyprotect.dev' with binding"))
            .filter(|_| code == 403)
            .map(|(name, _)| name.to_owned());
        Outcome { code, body, policy }
    }

    /// Makes many attempts at once, as dry runs; in their order.
    async fn make_all<'a>(
        &self,
        attempts: impl Iterator<Item = &'a Attempt>,
    ) -> Vec<(&'a Attempt, Outcome)> {
        futures::stream::iter(attempts)
            .map(async |attempt| (attempt, self.make(attempt, true).await))
            .buffered(12)
            .collect()
            .await
    }
}

/// Merges as a JSON merge patch does.
fn merge(into: &mut Value, patch: &Value) {
    let (Some(fields), Some(changes)) = (into.as_object_mut(), patch.as_object()) else {
        *into = patch.clone();
        return;
    };
    for (name, change) in changes {
        match change {
            Value::Null => {
                fields.remove(name);
            }
            Value::Object(_) => merge(
                fields.entry(name.clone()).or_insert_with(|| json!({})),
                change,
            ),
            other => {
                fields.insert(name.clone(), other.clone());
            }
        }
    }
}

/// Says what is wrong with an outcome, if anything.
fn flaw(attempt: &Attempt, outcome: &Outcome) -> Option<String> {
    let told = || format!("{} {:.400}", outcome.code, outcome.body);
    if attempt.r#as == "operator" && outcome.leaks() != attempt.leaks {
        return Some(format!("leaks: {}: {}", outcome.leaks(), told()));
    }
    match (&attempt.open, &outcome.policy) {
        (None, None) => Some(format!("was not refused by the fence: {}", told())),
        (Some(_), Some(policy)) => Some(format!("is not open: {policy} refused it")),
        _ => None,
    }
}

/// The list of attempts as `docs/fence.md` has it.
fn table(groups: &[(String, Vec<(&Attempt, Outcome)>)]) -> String {
    let mut text = String::new();
    for (group, outcomes) in groups {
        let _ = writeln!(text, "\n### {group}\n\n| attempt | outcome |\n|---|---|");
        for (attempt, outcome) in outcomes {
            let seen = match (&outcome.policy, &attempt.open) {
                (Some(policy), _) => format!("refused by `{policy}`"),
                (None, Some(why)) => format!("**open**: {why}"),
                (None, None) => "**passed**".to_owned(),
            };
            let _ = writeln!(text, "| {} | {seen} |", attempt.r#try);
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
#[allow(
    clippy::disallowed_methods,
    reason = "tests read their own environment"
)]
async fn every_attempt_of_a_thief_is_refused_or_named() {
    let Some(ground) = Ground::laid().await else {
        return;
    };
    let groups = groups();
    let (mut flaws, mut told) = (Vec::new(), Vec::new());
    for group in &groups {
        let mut outcomes = Vec::new();
        for attempt in &group.attempts {
            // What the fence refuses is tried for good.
            let outcome = ground.make(attempt, attempt.open.is_some()).await;
            let flaw = flaw(attempt, &outcome);
            flaws.extend(flaw.map(|flaw| format!("{}: {}: {flaw}", group.group, attempt.r#try)));
            outcomes.push((attempt, outcome));
        }
        told.push((group.group.clone(), outcomes));
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fence.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- attempts: begin -->\n", "\n<!-- attempts: end -->");
    let (head, rest) = page.split_once(begin).expect("the list's begin");
    let (list, tail) = rest.split_once(end).expect("the list's end");
    let seen = table(&told);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{head}{begin}{seen}{end}{tail}")).unwrap();
    } else {
        assert!(
            list == seen,
            "docs/fence.md says otherwise: UPDATE_DOCS=1 puts it right"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn legitimate_work_passes_the_fence() {
    let Some(ground) = Ground::laid().await else {
        return;
    };
    let work = work();
    let outcomes = ground.make_all(work.iter()).await;
    let stopped = outcomes.iter().filter(|(_, outcome)| outcome.code >= 300);
    let stopped: Vec<_> = stopped
        .map(|(work, outcome)| format!("{}: {} {}", work.r#try, outcome.code, outcome.body))
        .collect();
    assert!(stopped.is_empty(), "{}", stopped.join("\n"));
}

/// One change of a policy, after which it is weaker.
struct Mutant {
    policy: String,
    /// JSON pointer of the expression.
    at: String,
    expression: String,
    instead: &'static str,
}

fn mutants(policies: &Value) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for policy in policies["items"].as_array().unwrap() {
        let name = policy["metadata"]["name"].as_str().unwrap();
        if !name.contains(".fence.") {
            continue;
        }
        // Validations that let everything pass, conditions by which a policy concerns nobody.
        for (field, instead) in [("validations", "true"), ("matchConditions", "false")] {
            for (index, rule) in policy["spec"][field]
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
            {
                mutants.push(Mutant {
                    policy: name.to_owned(),
                    at: format!("/spec/{field}/{index}/expression"),
                    expression: rule["expression"].as_str().unwrap().to_owned(),
                    instead,
                });
            }
        }
    }
    mutants
}

impl Ground {
    async fn change(&self, mutant: &Mutant, expression: &str) {
        let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
        let patch = json!([{"op": "replace", "path": mutant.at, "value": expression}]);
        let request = Request::patch(format!("{path}/{}", mutant.policy))
            .header("content-type", "application/json-patch+json")
            .body(Body::from(patch.to_string().into_bytes()))
            .unwrap();
        let answer = self.clients["admin"].send(request).await.unwrap();
        assert!(answer.status().is_success(), "{}", mutant.policy);
    }

    /// The first of these attempts that the fence does not refuse, within some seconds.
    async fn first_to_pass<'a>(&self, attempts: &[&'a Attempt]) -> Option<&'a Attempt> {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let passed = futures::stream::iter(attempts)
                .map(async |attempt| (*attempt, self.make(attempt, true).await))
                .buffer_unordered(8)
                .filter(|(_, outcome)| std::future::ready(outcome.policy.is_none()));
            if let Some((attempt, _)) = std::pin::pin!(passed).next().await {
                return Some(attempt);
            }
        }
        None
    }
}

/// Each expression is taken out in turn, and something passes that was refused: so there is none
/// that nothing tests, and none that is not needed.
#[tokio::test(flavor = "multi_thread")]
async fn no_expression_of_the_fence_could_be_left_out() {
    let Some(ground) = Ground::laid().await else {
        return;
    };
    let policies = ground
        .get("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies")
        .await;
    let mutants = mutants(&policies);
    assert!(mutants.len() >= 30, "only {}", mutants.len());
    let groups = groups();
    let refused = groups.iter().flat_map(|group| &group.attempts);
    let refused = ground
        .make_all(refused.filter(|attempt| attempt.open.is_none()))
        .await;
    let mut survivors = Vec::new();
    for mutant in &mutants {
        let by_it = |outcome: &Outcome| {
            let policy = outcome.policy.as_ref();
            policy.is_some_and(|policy| format!("{policy}.fence.keyprotect.dev") == mutant.policy)
        };
        let concerned: Vec<&Attempt> = refused
            .iter()
            .filter(|(_, outcome)| by_it(outcome))
            .map(|(attempt, _)| *attempt)
            .collect();
        ground.change(mutant, mutant.instead).await;
        let passed = ground.first_to_pass(&concerned).await;
        ground.change(mutant, &mutant.expression).await;
        let Some(passed) = passed else {
            survivors.push(format!(
                "{} {}: {}",
                mutant.policy, mutant.at, mutant.expression
            ));
            continue;
        };
        crate::bed::until("the policy is as it was", async || {
            ground.make(passed, true).await.policy.is_some()
        })
        .await;
    }
    assert!(
        survivors.is_empty(),
        "nothing tests:\n{}",
        survivors.join("\n")
    );
}
