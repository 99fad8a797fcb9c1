//! Logs. Targets that could print a Secret are silenced whatever the filter asks for.

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterFn, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
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
    subscriber(format, filter, std::io::stderr)?.init();
    Ok(())
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + 'static, InvalidFilter>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|error| InvalidFilter(error.to_string()))?;
    let layer = match format {
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(writer)
            .boxed(),
        LogFormat::Text => fmt::layer().with_target(true).with_writer(writer).boxed(),
    };
    let safe: FilterFn = filter_fn(may_be_logged);
    Ok(tracing_subscriber::registry().with(layer.with_filter(filter).with_filter(safe)))
}

/// kube's client logs the whole body of an answer that it cannot read, and hyper and h2 log
/// frames at trace.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let own = target.starts_with("key_protect_operator");
    own || *metadata.level() <= Level::WARN && !target.starts_with("kube_client::client")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged, in memory.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, says: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = subscriber(format, filter, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, says);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn libraries_log_no_bodies_whatever_the_filter_says() {
        for filter in [
            "trace",
            "hyper=trace,h2=trace,kube_client=trace,rustls=trace,reqwest=trace",
            "kube_client::client=warn",
        ] {
            for format in [LogFormat::Json, LogFormat::Text] {
                let text = logged(format, filter, || {
                    tracing::trace!(target: "hyper::proto::h1::io", "canary");
                    tracing::debug!(target: "h2::codec::framed_read", "canary");
                    tracing::trace!(target: "rustls::conn", "canary");
                    tracing::info!(target: "reqwest::connect", "canary");
                    // It quotes the whole answer in a warning.
                    tracing::warn!(target: "kube_client::client", "canary");
                    tracing::error!(target: "kube_client::client", "canary");
                    tracing::warn!(target: "kube_runtime::watcher", "may be said");
                    tracing::trace!(target: "key_protect_operator::x", "may be said too");
                });
                assert!(!text.contains("canary"), "{filter}: {text}");
                if filter == "trace" {
                    assert_eq!(text.matches("may be said").count(), 2, "{text}");
                }
            }
        }
        assert!(subscriber(LogFormat::Json, "a=b=c", std::io::stderr).is_err());
    }
}
