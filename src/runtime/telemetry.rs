//! Logs. Targets that could print a Secret are silenced whatever the filter asks for.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterFn, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::settings::LogFormat;

/// Says that the filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("--log: {0}; write for example info, or key_protect_operator=debug")]
pub struct InvalidFilter(String);

/// Starts logging to standard error. What was read and written is no log: see [`super::audit`].
///
/// # Errors
/// The filter cannot be read.
pub fn start(format: LogFormat, filter: &str) -> Result<(), InvalidFilter> {
    let filter = EnvFilter::try_new(filter).map_err(|error| InvalidFilter(error.to_string()))?;
    let layer = match format {
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Text => fmt::layer()
            .with_target(true)
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let safe: FilterFn = filter_fn(may_be_logged);
    tracing_subscriber::registry()
        .with(layer.with_filter(filter).with_filter(safe))
        .init();
    Ok(())
}

/// kube's client logs the whole body of an answer that it cannot read, and hyper and h2 log
/// frames at trace.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let own = target.starts_with("key_protect_operator");
    own || *metadata.level() <= Level::WARN && !target.starts_with("kube_client::client")
}
