//! The stage: a cluster whose etcd is recorded, the service, and the operator between them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use key_protect_operator::api::{KeyProtectInstance, KeyProtectKey};
use kube::api::{ApiResource, DeleteParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::cluster::{Cluster, client_of};
use crate::etcd::Etcd;
use crate::history::{Kind, Which};
use crate::judge::{Act, FOREIGN_LABEL, Intent};
use crate::operator::{Operator, Settings};
use crate::proxy::Proxy;
use crate::recorder::Recorder;
use crate::schedule::{FOREIGN, NAMESPACES, Who};
use crate::service::{INSTANCES, Service};

pub(crate) const OPERATOR_NAMESPACE: &str = "key-protect-system";
/// How long the API server may refuse or be away before that is a failure of its own.
const API_SERVER: Duration = Duration::from_secs(60);
/// When it is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// The operator's Pods.
const PODS: [&str; 2] = ["pod-a", "pod-b"];

/// A replica of the operator, and its way to the API server.
pub(crate) struct Replica {
    pub(crate) proxy: Proxy,
    process: Mutex<Operator>,
    pod: String,
}

impl Replica {
    pub(crate) fn process(&self) -> MutexGuard<'_, Operator> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Stage {
    pub(crate) cluster: &'static Cluster,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) service: Service,
    replicas: Vec<Replica>,
    client: Client,
    intents: Mutex<Vec<Intent>>,
    credentials: PathBuf,
    /// A namespace is being deleted and made again.
    pub(crate) renewing: AtomicBool,
}

impl Stage {
    /// Everything but the objects; none where the tests were given a cluster, whose parts cannot
    /// be stopped.
    pub(crate) async fn set(seed: u64) -> Option<Arc<Self>> {
        let begun = Instant::now();
        let cluster = tokio::task::spawn_blocking(|| Cluster::readable("faults"))
            .await
            .expect("a cluster")?;
        let folder = cluster.folder()?;
        let (recorder, _task) = Recorder::start(Etcd::of(folder), begun);
        let chance = Chance::of(seed).split(2);
        let service = Service::start(&recorder, chance).await;
        let client = client_of(cluster.kubeconfig_path()).await;
        let install = || {
            cluster.install("deploy/overlays/standard");
            // Its garbage collector learns of a new kind at once only when it starts.
            cluster.order("restart", "controller-manager");
            let account = "key-protect-operator";
            PODS.map(|_| cluster.service_account_kubeconfig(OPERATOR_NAMESPACE, account))
        };
        let installed = tokio::task::spawn_blocking(install).await;
        let credentials = cluster.scratch().join("credentials");
        let mut replicas = Vec::new();
        for (pod, kubeconfig) in PODS.into_iter().zip(installed.expect("installed")) {
            let proxy = proxied(&kubeconfig).await;
            let process = Operator::new(Settings {
                kubeconfig,
                credentials: credentials.clone(),
                service: service.emulator.api_url().replace("https://", ""),
                log: cluster.scratch().join(format!("{pod}.log")),
                pod: pod.to_owned(),
            });
            replicas.push(Replica {
                proxy,
                process: Mutex::new(process),
                pod: pod.to_owned(),
            });
        }
        let stage = Arc::new(Self {
            cluster,
            recorder,
            service,
            replicas,
            client,
            intents: Mutex::default(),
            credentials,
            renewing: AtomicBool::new(false),
        });
        for instance in 0..INSTANCES.len() {
            stage.put_api_key(instance);
            stage.apply_instance(instance, "1h").await;
        }
        for namespace in NAMESPACES {
            stage.make_namespace(namespace).await;
        }
        Some(stage)
    }

    /// The replicas that are meant, as the Lease is now.
    pub(crate) fn replicas(&self, who: Who) -> Vec<&Replica> {
        let lease = Which::new(Kind::Lease, OPERATOR_NAMESPACE, "key-protect-operator");
        let holder = self.recorder.look(|present| {
            let lease = present.get(&lease)?.object.as_ref()?;
            lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
        });
        let holder = holder.unwrap_or_default();
        let leads = |replica: &Replica| holder.starts_with(&replica.pod);
        let all = self.replicas.iter();
        all.filter(|replica| match who {
            Who::Leader => leads(replica),
            Who::Standby => !leads(replica),
            Who::All => true,
        })
        .collect()
    }

    /// Starts whichever replica does not run.
    pub(crate) fn start(&self) {
        for replica in &self.replicas {
            replica.process().start();
        }
    }

    /// What all replicas hold, the log of each after the other.
    pub(crate) fn logs(&self) -> Vec<String> {
        let all = self.replicas.iter();
        all.map(|replica| replica.process().log()).collect()
    }

    /// What the harness was about to do to Secrets so far.
    pub(crate) fn intents(&self) -> Vec<Intent> {
        let intents = self.intents.lock().unwrap_or_else(PoisonError::into_inner);
        intents.clone()
    }

    /// Notes what the harness is about to do to a Secret.
    pub(crate) fn intend(&self, namespace: &str, name: &str, act: Act) {
        let mut intents = self.intents.lock().unwrap_or_else(PoisonError::into_inner);
        intents.push(Intent {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            at: self.recorder.now(),
            act,
        });
    }

    /// Puts an API key where the operator finds it, as the kubelet does: never half of it.
    pub(crate) fn put_api_key(&self, instance: usize) {
        let folder = self.credentials.join(INSTANCES[instance]);
        std::fs::create_dir_all(&folder).expect("a folder");
        let key = self.service.api_key(instance);
        std::fs::write(folder.join("new"), key).expect("the API key");
        std::fs::rename(folder.join("new"), folder.join("apikey")).expect("the API key");
    }

    /// Puts a new API key in the place of the old one, which is worth nothing from then on.
    pub(crate) fn renew_api_key(&self, instance: usize) {
        let old = self.service.renew_api_key(instance);
        self.put_api_key(instance);
        let gone = self.service.emulator.delete_api_key(&old);
        gone.expect("the old API key");
    }

    /// Nothing is wrong with the service any more. Where IAM refused the API keys, somebody puts
    /// new ones in their place, as the operator's message says.
    pub(crate) fn heal(&self) {
        if self.service.heal() {
            for instance in 0..INSTANCES.len() {
                self.renew_api_key(instance);
            }
        }
    }

    pub(crate) async fn apply_instance(&self, instance: usize, interval: &str) {
        let url = self.service.emulator.api_url();
        let name = INSTANCES[instance];
        let object = json!({"spec": {
            "instanceID": self.service.guid(instance),
            "region": "us-south",
            "endpoint": {"url": url, "iamURL": url, "caBundle": self.service.emulator.ca_pem()},
            "credentials": {"mountedAPIKey": {"name": name}},
            "access": [{"namespaces": {"from": "All"}}],
            // No rule changes, so nothing may ever go for it.
            "onAccessWithdrawn": "Delete",
            "refreshInterval": interval,
        }});
        let which = Which::new(Kind::Instance, OPERATOR_NAMESPACE, name);
        self.apply(&which, object).await;
    }

    /// Makes a namespace with other people's Secrets in it.
    pub(crate) async fn make_namespace(&self, namespace: &str) {
        let which = Which::new(Kind::Namespace, "", namespace);
        self.apply(&which, json!({})).await;
        for name in FOREIGN {
            let which = Which::new(Kind::Secret, namespace, name);
            let labels = json!({FOREIGN_LABEL: "true", "app.kubernetes.io/managed-by": "somebody"});
            let theirs = json!({
                "metadata": {"labels": labels, "annotations": {"theirs": "yes"}},
                "data": {"key": "dGhlaXJz"},
            });
            self.apply(&which, theirs).await;
        }
    }
}

/// Puts a proxy before the API server that a kubeconfig names.
async fn proxied(kubeconfig: &Path) -> Proxy {
    let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig");
    let (_, rest) = text.split_once("server: https://").expect("a server");
    let address = rest.lines().next().expect("an address").to_owned();
    let proxy = Proxy::start(address.parse().expect("an address")).await;
    let text = text.replace(&address, &proxy.address.to_string());
    std::fs::write(kubeconfig, text).expect("a kubeconfig");
    proxy
}

/// The cluster's side: whatever is asked for is asked until there is an answer, since the API
/// server may be away. A refusal is an answer.
impl Stage {
    fn api(&self, which: &Which) -> Api<DynamicObject> {
        let resource = match which.kind {
            Kind::Secret => ApiResource::erase::<Secret>(&()),
            Kind::Key => ApiResource::erase::<KeyProtectKey>(&()),
            Kind::Instance => ApiResource::erase::<KeyProtectInstance>(&()),
            Kind::Namespace => ApiResource::erase::<Namespace>(&()),
            Kind::Event => ApiResource::erase::<Event>(&()),
            Kind::Lease => ApiResource::erase::<Lease>(&()),
        };
        if which.kind == Kind::Namespace {
            return Api::all_with(self.client.clone(), &resource);
        }
        Api::namespaced_with(self.client.clone(), &which.namespace, &resource)
    }

    async fn ask<T, R>(&self, what: &str, request: impl Fn() -> R) -> Option<T>
    where
        R: Future<Output = Result<T, kube::Error>>,
    {
        let begun = Instant::now();
        loop {
            let answer = tokio::time::timeout(Duration::from_secs(15), request()).await;
            match answer {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(kube::Error::Api(status)))
                    if (400..500).contains(&status.code) && ![401, 429].contains(&status.code) =>
                {
                    return None;
                }
                // Away, or not itself yet after a restart.
                Ok(Err(error)) => {
                    assert!(begun.elapsed() < API_SERVER, "{what}: {error}");
                }
                Err(_) => assert!(begun.elapsed() < API_SERVER, "{what}: no answer"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// `kubectl apply --server-side`, as a manager that is not the operator.
    pub(crate) async fn apply(&self, which: &Which, mut object: Value) -> Option<DynamicObject> {
        let (version, kind) = match which.kind {
            Kind::Secret => ("v1", "Secret"),
            Kind::Namespace => ("v1", "Namespace"),
            Kind::Event => ("events.k8s.io/v1", "Event"),
            Kind::Lease => ("coordination.k8s.io/v1", "Lease"),
            Kind::Key => ("keyprotect.dev/v1alpha1", "KeyProtectKey"),
            Kind::Instance => ("keyprotect.dev/v1alpha1", "KeyProtectInstance"),
        };
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!(which.name);
        let params = PatchParams::apply("team").force();
        let api = self.api(which);
        let patch = Patch::Apply(&object);
        self.ask("apply", || api.patch(&which.name, &params, &patch))
            .await
    }

    /// A merge patch, by a manager that is not the operator.
    pub(crate) async fn patch(&self, which: &Which, patch: Value) -> Option<DynamicObject> {
        let params = PatchParams {
            field_manager: Some("somebody".to_owned()),
            ..PatchParams::default()
        };
        let api = self.api(which);
        let patch = Patch::Merge(&patch);
        self.ask("patch", || api.patch(&which.name, &params, &patch))
            .await
    }

    pub(crate) async fn delete(&self, which: &Which) {
        let api = self.api(which);
        let params = DeleteParams::background();
        self.ask("delete", || api.delete(&which.name, &params))
            .await;
    }
}
