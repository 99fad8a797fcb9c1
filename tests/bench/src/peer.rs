//! The peer that people use otherwise: External Secrets Operator, with the same keys, the same
//! namespaces and the same API server, by its webhook provider: one request to Key Protect per
//! object, by the key's ID. Its manifests here are the project's own.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use crate::audit::Asked;
use crate::bed::{self, Bed, Kind, NAMESPACES, Object, Places, Wanted};
use crate::cluster::user;
use crate::cold::{self, Cold, Eyes};
use crate::emulator::{API_KEY, GUID};
use crate::failure::{Context, Result};
use crate::http::{Client, Server};
use crate::operator::Operator;

const NAMESPACE: &str = "external-secrets";
const ACCOUNT: &str = "external-secrets";
const OBJECTS: &str = "/apis/external-secrets.io/v1/externalsecrets";
const STORES: &str = "/apis/external-secrets.io/v1/clustersecretstores";

/// Where it is.
pub(crate) struct Peer {
    pub(crate) program: PathBuf,
    /// Its CRDs, as it ships them.
    pub(crate) crds: PathBuf,
}

/// How it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Tuning {
    /// 50 workers, and as good as no limit of requests.
    #[serde(rename = "tuned")]
    Tuned,
    /// As it comes.
    #[serde(rename = "defaults")]
    Defaults,
}

/// One cold start of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PeerRun {
    pub(crate) objects: usize,
    pub(crate) tuning: Tuning,
    pub(crate) cold: Cold,
    pub(crate) peak_kib: u64,
    /// Its requests to the API server, where they were counted (and time does not count).
    pub(crate) api: Option<Asked>,
}

/// Measures one cold start.
pub(crate) async fn run(
    places: &Places,
    peer: &Peer,
    objects: usize,
    tuning: Tuning,
    audited: bool,
) -> Result<PeerRun> {
    let wanted = Wanted {
        objects,
        later: 0,
        kind: Kind::Peer,
        fence: false,
        audited: audited.then_some(user(NAMESPACE, ACCOUNT)),
    };
    let mut bed = Bed::make(places, &wanted).await?;
    let kubeconfig = install(&mut bed, peer, objects).await?;
    let eyes = Eyes::on(&bed, OBJECTS).await?;
    let mut command = Command::new(&peer.program);
    command
        .args(["--metrics-addr", "0", "--loglevel", "error"])
        .env("KUBECONFIG", kubeconfig);
    if tuning == Tuning::Tuned {
        command.args([
            "--concurrent",
            "50",
            "--client-qps",
            "2000",
            "--client-burst",
            "2000",
        ]);
    }
    let log = bed.folder.join("peer.log");
    let (mut operator, cold) =
        cold::watched(&bed, &eyes, || Operator::peer(&command, &log)).await?;
    operator.check()?;
    let peak_kib = operator.memory()?.peak;
    let api = if bed.audited {
        Some(Asked::read(&bed.cluster.audit_log()?)?)
    } else {
        None
    };
    Ok(PeerRun {
        objects,
        tuning,
        cold,
        peak_kib,
        api,
    })
}

/// Its CRDs, its rights, its store with a token, and its objects. Returns its kubeconfig.
async fn install(bed: &mut Bed, peer: &Peer, count: usize) -> Result<PathBuf> {
    let crds = peer.crds.display().to_string();
    let args = ["apply", "--server-side", "-f", &crds];
    // A kustomization among them is no object.
    bed.cluster.kubectl(&args, "").or_else(|_| {
        bed.cluster
            .kubectl(&["apply", "--server-side", "-k", &crds], "")
    })?;
    let wait = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        "--all",
    ];
    bed.cluster.kubectl(&wait, "")?;
    bed.cluster
        .kubectl(&["apply", "-f", "-"], &rights().to_string())?;
    let (kubeconfig, _) = bed.cluster.account(NAMESPACE, ACCOUNT)?;
    let token = token(bed).await?;
    let secret = json!({
        "metadata": {"name": "token", "labels": {"external-secrets.io/type": "webhook"}},
        "stringData": {"token": token},
    });
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
    bed.admin.post(&path, &secret).await?;
    bed.admin.post(STORES, &store(bed)).await?;
    let keys: Vec<(String, String)> = bed
        .emulator
        .truth()
        .await?
        .into_iter()
        .map(|(alias, (id, _))| (alias, id))
        .collect();
    debug_assert_eq!(keys.len(), count);
    let numbered = keys.into_iter().enumerate().collect();
    let shared = &*bed;
    let objects = shared
        .many(numbered, |(number, (alias, id))| {
            make_object(shared, bed::namespace(number % NAMESPACES), alias, id)
        })
        .await?;
    bed.objects = objects;
    Ok(kubeconfig)
}

async fn make_object(bed: &Bed, namespace: String, name: String, id: String) -> Result<Object> {
    let body = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"name": name},
        "spec": {
            "refreshInterval": "1h",
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "key-protect"},
            "target": {"name": name},
            "data": [{"secretKey": "key", "remoteRef": {"key": id, "decodingStrategy": "Base64"}}],
        },
    });
    let path = format!("/apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets");
    let answer = bed.admin.post(&path, &body).await?;
    let text = |field: &str| {
        let value = &answer["metadata"][field];
        value.as_str().unwrap_or_default().to_owned()
    };
    Ok(Object {
        uid: text("uid"),
        version: text("resourceVersion"),
        namespace,
        name,
    })
}

/// One request to Key Protect for each key, with a token.
fn store(bed: &Bed) -> Value {
    json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ClusterSecretStore",
        "metadata": {"name": "key-protect"},
        "spec": {"provider": {"webhook": {
            "url": format!("{}/api/v2/keys/{{{{ .remoteRef.key }}}}", bed.emulator.url),
            "headers": {
                "Authorization": "Bearer {{ .auth.token }}",
                "Bluemix-Instance": GUID,
                "Accept": "application/json",
            },
            "result": {"jsonPath": "$.resources[0].payload"},
            "caBundle": STANDARD.encode(&bed.emulator.authority),
            "secrets": [{"name": "auth",
                "secretRef": {"name": "token", "namespace": NAMESPACE, "key": "token"}}],
        }}},
    })
}

/// What it needs to be allowed, as its own chart grants it.
fn rights() -> Value {
    let all = [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ];
    let read = ["get", "list", "watch"];
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": NAMESPACE}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": ACCOUNT},
            "rules": [
                {"apiGroups": ["external-secrets.io", "generators.external-secrets.io"],
                    "resources": ["*"], "verbs": all},
                {"apiGroups": [""], "resources": ["secrets"], "verbs": all},
                {"apiGroups": [""], "resources": ["configmaps", "namespaces", "serviceaccounts"],
                    "verbs": read},
                {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
                {"apiGroups": ["", "events.k8s.io"], "resources": ["events"],
                    "verbs": ["create", "patch"]},
            ]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}]},
    ]})
}

async fn token(bed: &Bed) -> Result<String> {
    let server = Server::tls(&bed.emulator.url, bed.emulator.authority.as_bytes(), "")?;
    let form =
        format!("grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey={API_KEY}");
    let (_, answer) = Client::new(server)
        .send(
            Method::POST,
            "/identity/token",
            "application/json",
            Bytes::from(form),
        )
        .await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    answer["access_token"]
        .as_str()
        .map(str::to_owned)
        .context(|| format!("no token: {answer}"))
}
