//! What every measurement begins with: a fresh API server with the CRDs, RBAC and fence that ship,
//! an emulator with keys, and objects that nobody has looked at yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::Method;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::emulator::{API_KEY, Emulator, GUID};
use crate::failure::{Context, Failure, Result};
use crate::http::Client;

pub(crate) const OPERATOR_NAMESPACE: &str = "key-protect-system";
pub(crate) const ACCOUNT: &str = "key-protect-operator";
/// Namespaces that objects are spread over.
pub(crate) const NAMESPACES: usize = 50;
/// Namespace of the objects that are made while something is measured.
pub(crate) const NEW: &str = "bench-new";
/// What the aliases of the objects that are there from the start begin with.
const PREFIX: &str = "obj-";
/// The same for the keys that objects are made for later.
pub(crate) const LATER: &str = "later-";
pub(crate) const SECRETS: &str = "/api/v1/secrets";
pub(crate) const KEYS: &str = "/apis/keyprotect.dev/v1alpha1/keyprotectkeys";
pub(crate) const INSTANCES: &str = "/apis/keyprotect.dev/v1alpha1/keyprotectinstances";
const INSTANCE: &str =
    "/apis/keyprotect.dev/v1alpha1/namespaces/key-protect-system/keyprotectinstances/default";
/// Requests of the administrator in flight.
const AT_ONCE: usize = 32;
/// How long the API server may take for what it does by and by.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where everything is.
pub(crate) struct Places {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Folder for what is written while measuring.
    pub(crate) work: PathBuf,
    pub(crate) operator: PathBuf,
    pub(crate) emulator: PathBuf,
    /// By how much everything is favoured before the rest of the machine.
    pub(crate) nice: Option<i32>,
}

/// What objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// KeyProtectKeys.
    Own,
    /// Not made yet: the peer has objects of its own.
    Peer,
}

/// What a bed is to be like.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// Objects, each for a key of its own.
    pub(crate) objects: usize,
    /// Further keys, whose objects are made while something is measured.
    pub(crate) later: usize,
    /// Objects of what kind.
    pub(crate) kind: Kind,
    /// With the fence.
    pub(crate) fence: bool,
    /// Whose requests the API server writes down.
    pub(crate) audited: Option<String>,
}

/// An object that was made.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: String,
}

impl Object {
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A bed.
pub(crate) struct Bed {
    pub(crate) folder: PathBuf,
    pub(crate) admin: Arc<Client>,
    /// The operator's ServiceAccount.
    pub(crate) account: Client,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) fence: bool,
    /// Somebody's requests are written down.
    pub(crate) audited: bool,
    pub(crate) objects: Vec<Object>,
    /// Digits of the number in a later key's alias.
    later_digits: usize,
    pub(crate) emulator: Emulator,
    pub(crate) cluster: Cluster,
}

impl Bed {
    /// Makes a bed.
    pub(crate) async fn make(places: &Places, wanted: &Wanted) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = places.work.join(format!("bed-{number}"));
        fs::create_dir_all(folder.join("credentials/default"))?;
        fs::write(folder.join("credentials/default/apikey"), API_KEY)?;
        let audited = wanted.audited.as_deref();
        let cluster = Cluster::up(&places.root, &folder.join("cluster"), audited, places.nice)?;
        let emulator = Emulator::start(&places.emulator, &folder).await?;
        emulator.keys(wanted.objects, PREFIX).await?;
        emulator.keys(wanted.later, LATER).await?;
        let admin = Arc::new(cluster.admin()?);
        install(places, &cluster, wanted.fence)?;
        let (kubeconfig, account) = cluster.account(OPERATOR_NAMESPACE, ACCOUNT)?;
        let mut bed = Self {
            folder,
            admin,
            account,
            kubeconfig,
            fence: wanted.fence,
            audited: wanted.audited.is_some(),
            objects: Vec::new(),
            later_digits: wanted.later.to_string().len(),
            emulator,
            cluster,
        };
        if wanted.fence {
            bed.until_fenced().await?;
        }
        bed.make_namespaces().await?;
        if wanted.kind == Kind::Own {
            bed.admin
                .post(INSTANCES_OF_OPERATOR, &bed.instance())
                .await?;
            bed.make_objects(wanted.objects).await?;
        }
        Ok(bed)
    }

    async fn make_namespaces(&self) -> Result<()> {
        let names: Vec<String> = (0..NAMESPACES)
            .map(namespace)
            .chain([NEW.to_owned()])
            .collect();
        self.many(names, |name| async move {
            let body = json!({"metadata": {"name": name}});
            self.admin.post("/api/v1/namespaces", &body).await
        })
        .await?;
        Ok(())
    }

    async fn make_objects(&mut self, count: usize) -> Result<()> {
        let digits = count.to_string().len();
        let names = (0..count).map(|number| {
            let name = format!("{PREFIX}{number:0digits$}");
            (namespace(number % NAMESPACES), name)
        });
        let names: Vec<_> = names.collect();
        self.objects = self
            .many(names, |(namespace, name)| self.make_object(namespace, name))
            .await?;
        Ok(())
    }

    /// Does something for many, some at once, and keeps their order.
    pub(crate) async fn many<T, A, F>(&self, all: Vec<T>, act: impl Fn(T) -> F) -> Result<Vec<A>>
    where
        F: Future<Output = Result<A>>,
    {
        let mut acts = stream::iter(all).map(act).buffered(AT_ONCE);
        let mut done = Vec::new();
        while let Some(answer) = acts.next().await {
            done.push(answer?);
        }
        Ok(done)
    }

    /// Makes one object, for the key behind the alias of its name.
    pub(crate) async fn make_object(&self, namespace: String, name: String) -> Result<Object> {
        let body = json!({
            "apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectKey",
            "metadata": {"name": name}, "spec": {},
        });
        let path = format!("/apis/keyprotect.dev/v1alpha1/namespaces/{namespace}/keyprotectkeys");
        let answer = self.admin.post(&path, &body).await?;
        let text = |field: &str| {
            answer["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        Ok(Object {
            uid: text("uid"),
            version: text("resourceVersion"),
            namespace,
            name,
        })
    }

    /// Alias of a key whose object was not made at the start.
    pub(crate) fn later(&self, number: usize) -> String {
        format!("{LATER}{number:0digits$}", digits = self.later_digits)
    }

    fn instance(&self) -> Value {
        json!({
            "apiVersion": "keyprotect.dev/v1alpha1", "kind": "KeyProtectInstance",
            "metadata": {"name": "default", "namespace": OPERATOR_NAMESPACE},
            "spec": {
                "instanceID": GUID, "region": "us-south",
                "endpoint": {"url": self.emulator.url, "iamURL": self.emulator.url,
                    "caBundle": self.emulator.authority},
                "access": [{"namespaces": {"from": "All"}}],
            },
        })
    }

    /// Asks for one look at all keys of the instance.
    pub(crate) async fn ask_for_sync(&self, word: &str) -> Result<()> {
        let patch =
            json!({"metadata": {"annotations": {"keyprotect.dev/sync-requested-at": word}}});
        self.admin.ask(Method::PATCH, INSTANCE, &patch).await?;
        Ok(())
    }

    /// A policy counts some moments after it was made.
    async fn until_fenced(&self) -> Result<()> {
        let path = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets?dryRun=All");
        let body = json!({"metadata": {"generateName": "not-mine-"}}).to_string();
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let body = Bytes::from(body.clone());
            let (status, _) = self
                .account
                .send(Method::POST, &path, "application/json", body)
                .await?;
            if !status.is_success() {
                return Ok(());
            }
            if tokio::time::Instant::now() > end {
                return Err(Failure::new("the fence does not come to hold"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many objects of a kind are not Ready.
    pub(crate) async fn not_ready(&self, path: &str) -> Result<usize> {
        let list = self.admin.get(path).await?;
        let items = list["items"]
            .as_array()
            .context(|| "no objects".to_owned())?;
        Ok(items.iter().filter(|item| !is_ready(item)).count())
    }

    /// Fails unless every object of the start has a Secret that holds what the emulator does.
    pub(crate) async fn check_secrets(&self) -> Result<()> {
        let truth = self.emulator.truth().await?;
        let list = self.admin.get(SECRETS).await?;
        let items = list["items"]
            .as_array()
            .context(|| "no Secrets".to_owned())?;
        let mut right = 0;
        for item in items {
            let space = item["metadata"]["namespace"].as_str().unwrap_or_default();
            if !space.starts_with("bench-") {
                continue;
            }
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            let held = item["data"]["key"].as_str();
            match truth.get(name) {
                Some((_, payload)) if held == Some(payload.as_str()) => right += 1,
                _ => {
                    return Err(Failure::new(format!(
                        "the Secret {name} holds something else"
                    )));
                }
            }
        }
        if right < self.objects.len() {
            let missing = self.objects.len() - right;
            return Err(Failure::new(format!("{missing} Secrets are missing")));
        }
        Ok(())
    }
}

const INSTANCES_OF_OPERATOR: &str =
    "/apis/keyprotect.dev/v1alpha1/namespaces/key-protect-system/keyprotectinstances";

/// Whether a KeyProtectKey says that it is Ready.
pub(crate) fn is_ready(object: &Value) -> bool {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Name of one of the namespaces that objects are spread over.
pub(crate) fn namespace(number: usize) -> String {
    format!("bench-{number:02}")
}

/// Whether this version ships a fence.
pub(crate) fn has_fence(root: &Path) -> bool {
    root.join("deploy/fence/kustomization.yaml").exists()
}

/// Installs what ships, but for the Deployment: the operator runs as a process here.
fn install(places: &Places, cluster: &Cluster, fence: bool) -> Result<()> {
    cluster.kubectl(&["apply", "-k", "crds"], "")?;
    let crds = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd/keyprotectkeys.keyprotect.dev",
        "crd/keyprotectinstances.keyprotect.dev",
    ];
    cluster.kubectl(&crds, "")?;
    let mut rendered = cluster.kubectl(&["kustomize", "deploy/overlays/standard"], "")?;
    if fence && has_fence(&places.root) && !rendered.contains("kind: ValidatingAdmissionPolicy") {
        rendered.push_str("\n---\n");
        rendered.push_str(&cluster.kubectl(&["kustomize", "deploy/fence"], "")?);
    }
    let documents: Vec<&str> = rendered
        .split("\n---\n")
        .filter(|document| {
            let kind = document
                .lines()
                .find_map(|line| line.strip_prefix("kind: "))
                .unwrap_or_default();
            kind != "Deployment" && (fence || !kind.starts_with("ValidatingAdmissionPolicy"))
        })
        .collect();
    cluster.kubectl(&["apply", "-f", "-"], &documents.join("\n---\n"))?;
    Ok(())
}
