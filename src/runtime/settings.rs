//! Settings: read once from flags and environment, checked once, passed on as values.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use crate::controller::context::Settings;
use crate::domain::form::{InvalidScope, Scope};
use crate::domain::look::observed::Policy;
use crate::domain::schedule::parse_duration;
use crate::domain::service::endpoint::AllowedHosts;

/// Shortest lease: a renewal has to find its way within two thirds of it.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);
/// Longest lease: for so long nobody may lead after a crash.
const LONGEST_LEASE: Duration = Duration::from_secs(300);

/// Flags of `key-protect-operator run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// KeyProtectInstance that objects without instanceRef mean, as NAMESPACE/NAME.
    #[arg(long, env = "DEFAULT_INSTANCE", default_value = "key-protect-system/default", value_parser = parse_instance)]
    pub default_instance: (String, String),
    /// Namespaces to serve, by Roles there, as the overlays for namespaces ship them; none: all of
    /// the cluster.
    #[arg(long, env = "NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Folder of the mounted API keys: the file of credential NAME is FOLDER/NAME/apikey.
    #[arg(
        long,
        env = "CREDENTIALS_DIR",
        default_value = "/var/run/secrets/keyprotect.dev/credentials"
    )]
    pub credentials_dir: PathBuf,
    /// File of the ServiceAccount token, for the audience iam, that trusted profiles are had for.
    #[arg(
        long,
        env = "SERVICE_ACCOUNT_TOKEN_FILE",
        default_value = "/var/run/secrets/keyprotect.dev/iam/token"
    )]
    pub service_account_token_file: PathBuf,
    /// Mounted API key of instances that name none.
    #[arg(long, env = "DEFAULT_CREDENTIAL", default_value = "default")]
    pub default_credential: String,
    /// Whether the admission policies of deploy/fence have to hold before anything is done.
    #[arg(long, env = "FENCE", value_enum, default_value_t = Fence::On)]
    pub fence: Fence,
    /// How often it is tried whether they hold, like 1h; at least 1s.
    #[arg(long, env = "FENCE_INTERVAL", default_value = "1h", value_parser = parse_interval)]
    pub fence_interval: SignedDuration,
    /// How often it is asked whether a Secret is as it was written, like 10m; at least 1s. Only
    /// without the right to read Secrets: else their metadata is watched.
    #[arg(long, env = "DRIFT_INTERVAL", default_value = "10m", value_parser = parse_interval)]
    pub drift_interval: SignedDuration,
    /// How long the absence of a key, alias or name is no evidence, like 15m.
    #[arg(long, env = "GRACE", default_value = "15m", value_parser = parse_grace)]
    pub grace: SignedDuration,
    /// Prefixes of labels and annotations that targets may carry, beside app.kubernetes.io/.
    #[arg(long, env = "TARGET_METADATA_PREFIXES", value_delimiter = ',')]
    pub target_metadata_prefixes: Vec<String>,
    /// How many KeyProtectKeys of a namespace are served: the oldest of them.
    #[arg(long, env = "MAX_KEYS_PER_NAMESPACE", default_value = "1000")]
    pub max_keys_per_namespace: NonZeroUsize,
    /// Hosts (HOST or HOST:PORT) that API keys may go to, beside IBM Cloud's own.
    #[arg(long, env = "ALLOWED_IAM_HOSTS", value_delimiter = ',')]
    pub allowed_iam_hosts: Vec<String>,
    /// Hosts (HOST or HOST:PORT) that tokens may go to, beside IBM Cloud's own.
    #[arg(long, env = "ALLOWED_KEY_HOSTS", value_delimiter = ',')]
    pub allowed_key_hosts: Vec<String>,
    /// Lets allowed hosts be called by plain http on a loopback address: for tests.
    #[arg(long, env = "ALLOW_INSECURE_LOOPBACK")]
    pub allow_insecure_loopback: bool,
    /// Address of /livez and /readyz.
    #[arg(long, env = "HEALTH_ADDRESS", default_value = "0.0.0.0:8081")]
    pub health_address: SocketAddr,
    /// Address of /metrics; 0 turns them off.
    #[arg(long, env = "METRICS_ADDRESS", default_value = "0.0.0.0:8080", value_parser = parse_metrics_address)]
    pub metrics_address: MetricsAddress,
    /// Form of the log.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged, as tracing's filters say it.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
    /// The operator's own namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "key-protect-system")]
    pub namespace: String,
    /// The operator's name in Events and in its Lease.
    #[arg(long, env = "POD_NAME", default_value = "key-protect-operator")]
    pub pod_name: String,
    /// UID of the operator's Pod, by which its Lease is its own after a crash; a random one where
    /// it is not given.
    #[arg(long, env = "POD_UID")]
    pub pod_uid: Option<String>,
    /// How long other replicas wait for a leader that says nothing, like 15s.
    #[arg(long, env = "LEASE_DURATION", default_value = "15s", value_parser = parse_lease)]
    pub lease_duration: Duration,
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAddress {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

/// Whether admission policies have to bound the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fence {
    /// They have to: without them the operator does not become ready.
    On,
    /// They need not, as in a cluster that has no such policies.
    Off,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl RunArgs {
    /// Who this process is among several replicas. A container that is restarted in its Pod is the
    /// same; the name is for people.
    fn identity(&self) -> String {
        let uid = self.pod_uid.clone();
        let uid = uid.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        format!("{}_{uid}", self.pod_name)
    }

    /// The controller's settings.
    ///
    /// # Errors
    /// The namespaces to serve cannot be served.
    pub fn controller(&self) -> Result<Settings, InvalidScope> {
        Ok(Settings {
            scope: Scope::parse(&self.namespaces)?,
            policy: Policy {
                grace: self.grace,
                default_instance: self.default_instance.clone(),
                metadata_prefixes: self.target_metadata_prefixes.clone(),
            },
            max_keys_per_namespace: self.max_keys_per_namespace.get(),
            fence: (self.fence == Fence::On).then_some(self.fence_interval.unsigned_abs()),
            drift_interval: self.drift_interval,
            namespace: self.namespace.clone(),
            credentials_dir: self.credentials_dir.clone(),
            service_account_token_file: self.service_account_token_file.clone(),
            default_credential: self.default_credential.clone(),
            allowed_hosts: AllowedHosts {
                iam: self.allowed_iam_hosts.clone(),
                keys: self.allowed_key_hosts.clone(),
                insecure_loopback: self.allow_insecure_loopback,
            },
            instance_name: self.pod_name.clone(),
            identity: self.identity(),
            lease_duration: self.lease_duration,
        })
    }
}

fn parse_lease(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| (SHORTEST_LEASE..=LONGEST_LEASE).contains(duration))
        .ok_or_else(|| "write a time from 3s to 5m, like 15s".to_owned())
}

fn parse_instance(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("write NAMESPACE/NAME, like key-protect-system/default".to_owned()),
    }
}

fn parse_metrics_address(text: &str) -> Result<MetricsAddress, String> {
    if text == "0" {
        return Ok(MetricsAddress::Off);
    }
    text.parse()
        .map(MetricsAddress::At)
        .map_err(|_| "write an address and a port, like 0.0.0.0:8080, or 0 for none".to_owned())
}

fn parse_grace(text: &str) -> Result<SignedDuration, String> {
    parse_duration(text)
        .filter(|grace| !grace.is_zero())
        .ok_or_else(|| "write hours, minutes and seconds, like 15m".to_owned())
}

fn parse_interval(text: &str) -> Result<SignedDuration, String> {
    parse_duration(text)
        .filter(|interval| *interval >= SignedDuration::from_secs(1))
        .ok_or_else(|| "write hours, minutes and seconds, like 1h, and at least 1s".to_owned())
}
