//! What the operator counts while it works. The shell records into [`Metrics`]; what can be told
//! at any moment from what is there anyway (ages, waits, numbers of objects) is not recorded but
//! gathered when somebody asks, by the controller.
//!
//! Labels of what is recorded are `&'static str`: nothing that comes from outside, no name of a
//! key, of an object or of its namespace, can become one, and the number of series is bounded.

mod api;
pub mod names;
mod request;
mod upstream;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use tokio::time::Instant;

pub use api::ApiRequests;
use names::Description;
use request::durations;
pub use upstream::Upstream;

use crate::api::Reason;
use crate::api::instance::InstallForm;

/// Labels and their values.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// State of the fence: the admission policies that bound the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceState {
    /// It bounds the operator.
    Active,
    /// It should, and does not.
    Inactive,
    /// Nobody asked for it.
    Off,
}

impl FenceState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Active, Self::Inactive, Self::Off];

    /// Names the state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Off => "off",
        }
    }
}

/// Everything that is recorded. Clones record together.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Requests to IAM and Key Protect.
    pub upstream: Upstream,
    /// Requests to the API server.
    pub api: ApiRequests,
    syncs: Family<Labels<2>, Counter>,
    sync_duration: Histogram,
    fence: Family<Labels<1>, Gauge>,
    audit_lines_lost: Counter,
    install_form: Family<Labels<1>, Gauge>,
}

impl Default for Metrics {
    /// Nothing was recorded yet; the self-test says of the fence.
    fn default() -> Self {
        Self {
            upstream: Upstream::default(),
            api: ApiRequests::default(),
            syncs: Family::default(),
            sync_duration: durations(),
            fence: Family::default(),
            audit_lines_lost: Counter::default(),
            install_form: Family::default(),
        }
    }
}

impl Metrics {
    /// Counts a look that came to its end.
    pub fn synced(&self, outcome: Reason) {
        let labels = [("result", result(outcome)), ("reason", outcome.as_str())];
        self.syncs.get_or_create(&labels).inc();
    }

    /// Begins to measure a look; it ends when what is returned is dropped.
    #[must_use]
    pub fn look(&self) -> Look {
        Look {
            duration: self.sync_duration.clone(),
            begun: Instant::now(),
        }
    }

    /// Says what state the fence is in.
    pub fn fence(&self, state: FenceState) {
        for other in FenceState::ALL {
            let gauge = self.fence.get_or_create(&[("state", other.as_str())]);
            gauge.set(i64::from(other == state));
        }
    }

    /// Counts a line of the audit stream that could not be written.
    pub fn audit_line_lost(&self) {
        self.audit_lines_lost.inc();
    }

    /// How many lines of the audit stream could not be written.
    #[must_use]
    pub fn audit_lines_lost(&self) -> u64 {
        self.audit_lines_lost.get()
    }

    /// Says in which form the operator was installed.
    pub fn install_form(&self, form: InstallForm) {
        for other in InstallForm::ALL {
            let gauge = self.install_form.get_or_create(&[("form", other.as_str())]);
            gauge.set(i64::from(other == form));
        }
    }

    /// Registers everything that is recorded.
    pub fn register(&self, registry: &mut Registry) {
        register(registry, &names::SYNCS, self.syncs.clone());
        let duration = self.sync_duration.clone();
        register(registry, &names::SYNC_DURATION, duration);
        self.upstream.register(registry);
        self.api.register(registry);
        register(registry, &names::FENCE, self.fence.clone());
        let lost = self.audit_lines_lost.clone();
        register(registry, &names::AUDIT_LINES_LOST, lost);
        let form = self.install_form.clone();
        register(registry, &names::INSTALL_FORM, form);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        register(registry, &names::BUILD, Info::new(version));
    }
}

/// A look that is under way.
#[derive(Debug)]
pub struct Look {
    duration: Histogram,
    begun: Instant,
}

impl Drop for Look {
    fn drop(&mut self) {
        self.duration.observe(self.begun.elapsed().as_secs_f64());
    }
}

fn register(registry: &mut Registry, metric: &Description, recorded: impl Metric) {
    match metric.unit() {
        None => registry.register(metric.stem, metric.help, recorded),
        Some(unit) => registry.register_with_unit(metric.stem, metric.help, unit, recorded),
    }
}

/// How a look ended, in one word: what waits is neither done nor wrong.
const fn result(outcome: Reason) -> &'static str {
    match outcome {
        Reason::Synced | Reason::Suspended => "success",
        Reason::Pending
        | Reason::AliasMoving
        | Reason::AliasWentBack
        | Reason::NamespaceTerminating => "waiting",
        _ => "failed",
    }
}
