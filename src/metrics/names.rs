//! Every metric: its name, type, unit, labels and meaning. `docs/metrics.md` is made from this,
//! and a test compares what is exposed with it.

use prometheus_client::registry::Unit;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size, and adds up.
    Histogram,
    /// Says something by its labels; always 1.
    Info,
}

impl Kind {
    /// Names the type as the page does.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// What a metric measures in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A number of things.
    Number,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// One metric.
#[derive(Debug)]
pub struct Description {
    /// Its name without unit and ending.
    pub stem: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it measures in.
    pub measure: Measure,
    /// Names of its labels, in the order in which they are given.
    pub labels: &'static [&'static str],
    /// What it says, without a full stop.
    pub help: &'static str,
}

impl Description {
    /// The unit, where it has one; it becomes part of the name.
    #[must_use]
    pub const fn unit(&self) -> Option<Unit> {
        match self.measure {
            Measure::Number => None,
            Measure::Seconds => Some(Unit::Seconds),
            Measure::Bytes => Some(Unit::Bytes),
        }
    }

    /// The name under which it is asked for.
    #[must_use]
    pub fn name(&self) -> String {
        let unit = match self.measure {
            Measure::Number => "",
            Measure::Seconds => "_seconds",
            Measure::Bytes => "_bytes",
        };
        let ending = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{unit}{ending}", self.stem)
    }
}

macro_rules! metrics {
    ($($name:ident: $kind:ident $measure:ident $stem:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $name: Description = Description {
                stem: $stem,
                kind: Kind::$kind,
                measure: Measure::$measure,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// Every metric, in the order of the page.
        pub static ALL: &[&Description] = &[$(&$name),*];
    };
}

metrics! {
    SYNCS: Counter Number "keyprotect_syncs" ["result", "reason"]
        "Looks at KeyProtectKeys that came to an end, by how they ended: result is success, waiting or failed, reason one of the reasons of Ready";
    SYNC_DURATION: Histogram Seconds "keyprotect_sync_duration" []
        "How long a look at a KeyProtectKey took, from its turn in the queue to its status and Events";
    OBJECTS: Gauge Number "keyprotect_objects" ["ready", "reason"]
        "KeyProtectKeys by status and reason of their condition Ready";
    STALE_OBJECTS: Gauge Number "keyprotect_stale_objects" []
        "KeyProtectKeys whose condition Stale is True: their Secret was right, but has not been confirmed for long";
    WAITING_OBJECTS: Gauge Number "keyprotect_waiting_objects" ["lane"]
        "KeyProtectKeys whose turn for a look has come and that wait for it, by lane of the queue: first (never synced) and routine";
    OLDEST_WAITING: Gauge Seconds "keyprotect_oldest_waiting" ["lane"]
        "How long the one that has waited longest in the lane has waited; 0 where none waits";

    INSTANCES: Gauge Number "keyprotect_instances" []
        "KeyProtectInstances, with and without series of their own";
    INSTANCES_OMITTED: Gauge Number "keyprotect_instances_omitted" []
        "KeyProtectInstances that have no series of their own, because there are too many";
    INSTANCE_READY: Gauge Number "keyprotect_instance_ready" ["instance_namespace", "instance_name", "reason"]
        "1 where the condition Ready of the KeyProtectInstance is True, else 0; reason is that condition's";
    KEYS_IN_USE: Gauge Number "keyprotect_keys_in_use" ["instance_namespace", "instance_name"]
        "KeyProtectKeys that name the instance and may use it, as its status says";
    HELD_REVOCATIONS: Gauge Number "keyprotect_held_revocations" ["instance_namespace", "instance_name"]
        "Secrets of the instance whose key, or the right to it, is gone, and whose deletion waits for an admin because there are too many of them";
    KEYS: Gauge Number "keyprotect_keys" ["instance_namespace", "instance_name", "state"]
        "Standard keys in the last listing of the instance, by state";
    CATALOGUE_AGE: Gauge Seconds "keyprotect_catalogue_age" ["instance_namespace", "instance_name"]
        "Time since the last listing of the instance that succeeded was begun; an instance that no KeyProtectKey uses is not listed again";
    NEXT_KEY_EXPIRY: Gauge Seconds "keyprotect_next_key_expiry" ["instance_namespace", "instance_name"]
        "Time until the next of the keys in use expires; absent where none will";
    TOKEN_EXPIRY: Gauge Seconds "keyprotect_token_expiry" ["instance_namespace", "instance_name"]
        "Time until the token in use ends; 0 once it has, absent before the first. It is renewed when it is needed";
    BREAKER_OPEN: Gauge Number "keyprotect_breaker_open" ["instance_namespace", "instance_name", "breaker"]
        "How many breakers of the instance are open, so that one request tries it for all: outage (the endpoint does not answer) and withdrawal (keys are refused that could be read before) are 0 or 1, refusal (keys are refused) may be several";

    UPSTREAM_REQUESTS: Counter Number "keyprotect_upstream_requests" ["operation", "code"]
        "Requests to IAM (operation token) and Key Protect (the others), by HTTP status; code is none where no whole answer came, other for a rare status, and 200/404/410 for every answer to get_key_metadata that says whether the key is there (which of them, might tell of a key that is not for whoever asked)";
    UPSTREAM_REQUEST_DURATION: Histogram Seconds "keyprotect_upstream_request_duration" ["operation"]
        "How long those requests took, to the end of the answer";
    UPSTREAM_RETRIES: Counter Number "keyprotect_upstream_retries" ["operation"]
        "Requests that were sent again within one call";
    UPSTREAM_THROTTLED: Counter Number "keyprotect_upstream_throttled" ["operation"]
        "Answers that asked for fewer requests: status 429, or a Retry-After";

    API_REQUESTS: Counter Number "keyprotect_api_requests" ["verb", "resource", "code"]
        "Requests to the API server, by HTTP status; verb dry-run is a write that is only tried, code none where no answer came, other for a rare status";
    API_REQUEST_DURATION: Histogram Seconds "keyprotect_api_request_duration" ["verb", "resource"]
        "How long those requests took, to the head of the answer; without watches";

    AUDIT_LINES_LOST: Counter Number "keyprotect_audit_lines_lost" []
        "Lines of the audit stream that could not be written to standard output";
    LEADER: Gauge Number "keyprotect_leader" []
        "1 where this replica is the one that writes, else 0";
    FENCE: Gauge Number "keyprotect_fence" ["state"]
        "1 for the state of the fence, 0 for the others: active, inactive (it should bound the operator and does not) or off (--fence=off)";
    INSTALL_FORM: Gauge Number "keyprotect_install_form" ["form"]
        "1 for the form in which the operator found itself installed, 0 for the others: Standard, NoRead, StandardNamespaces or NoReadNamespaces";
    BUILD: Info Number "keyprotect_build" ["version"]
        "The operator's version";

    PROCESS_CPU: Counter Seconds "process_cpu" []
        "Processor time that the process has used";
    PROCESS_RESIDENT_MEMORY: Gauge Bytes "process_resident_memory" []
        "Memory of the process that is in RAM";
    PROCESS_OPEN_FDS: Gauge Number "process_open_fds" []
        "Open file descriptors";
    PROCESS_MAX_FDS: Gauge Number "process_max_fds" []
        "File descriptors that the process may have open";
    PROCESS_START_TIME: Gauge Seconds "process_start_time" []
        "When the process started, in Unix time";
}

/// The rows of the table in `docs/metrics.md`: name, type, labels, meaning.
#[must_use]
pub fn table() -> String {
    let mut rows = String::new();
    for metric in ALL {
        let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        rows.push_str(&format!(
            "| `{}` | {} | {} | {}. |\n",
            metric.name(),
            metric.kind.as_str(),
            labels.join(", "),
            metric.help
        ));
    }
    rows
}
