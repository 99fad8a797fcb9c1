//! `/metrics`: what was recorded and what is gathered on the spot, in the format that whoever asks
//! prefers. It is served on a port of its own, without TLS or a password, as is usual in a
//! cluster, so nothing is in it that a tenant may not know of another but the names and numbers of
//! instances; the page says so.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, prometheus_text, text,
};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::{process, server};
use crate::controller::context::Context;
use crate::controller::gauges::{Gauges, InstanceGauges};
use crate::metrics::names::{self, Description, Kind};

/// Serves until told to stop.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    context: Arc<Context>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .with_state(Arc::new(registry(context)));
    server::serve("metrics", address, routes, stop).await
}

fn registry(context: Arc<Context>) -> Registry {
    let mut registry = Registry::default();
    context.metrics.register(&mut registry);
    registry.register_collector(Box::new(Gathered(context)));
    registry
}

type Answer = (StatusCode, [(HeaderName, &'static str); 1], String);

async fn metrics(State(registry): State<Arc<Registry>>, headers: HeaderMap) -> Answer {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::preferred(accepted.unwrap_or_default());
    match format.write(&registry) {
        Ok(text) => (
            StatusCode::OK,
            [(CONTENT_TYPE, format.content_type())],
            text,
        ),
        Err(fmt::Error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, "text/plain")],
            "the metrics could not be written; please report this\n".to_owned(),
        ),
    }
}

/// A format of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Prometheus's own, version 0.0.4: what everybody reads.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Reads an Accept header. OpenMetrics is written where it is asked for by name, and at least
    /// as gladly taken as the other: whoever asks for nothing in particular gets what everybody
    /// reads.
    fn preferred(accept: &str) -> Self {
        let weight = |wanted: &[&str]| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let name = parts.next()?.to_ascii_lowercase();
                let weight = parts
                    .find_map(|part| part.strip_prefix("q="))
                    .map_or(Some(1.0), |weight| weight.parse::<f32>().ok())?;
                wanted.contains(&name.as_str()).then_some(weight)
            });
            ranges.fold(0.0, f32::max)
        };
        let open = weight(&["application/openmetrics-text"]);
        if open > 0.0 && open >= weight(&["text/plain", "text/*"]) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    fn write(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(32 * 1024);
        match self {
            Self::Prometheus => prometheus_text::encode(&mut text, registry)?,
            Self::OpenMetrics => text::encode(&mut text, registry)?,
        }
        Ok(text)
    }
}

/// What is gathered when somebody asks.
struct Gathered(Arc<Context>);

impl fmt::Debug for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gathered")
    }
}

impl Collector for Gathered {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.gauges(&self.0.gauges())?;
        page.process(&process::usage(), self.0.started.as_second())
    }
}

/// Writes one metric after the other.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauges(&mut self, gauges: &Gauges) -> fmt::Result {
        self.gauge(&names::LEADER, [([], i64::from(gauges.leads))])?;
        let objects = gauges.objects.iter();
        self.gauge(
            &names::OBJECTS,
            objects.map(|((ready, reason), count)| ([*ready, *reason], *count)),
        )?;
        self.gauge(&names::STALE_OBJECTS, [([], gauges.stale)])?;
        let lanes = || gauges.waiting.iter();
        let counts = lanes().map(|(lane, count, _)| ([*lane], *count));
        self.gauge(&names::WAITING_OBJECTS, counts)?;
        let oldest = lanes().map(|(lane, _, seconds)| ([*lane], *seconds));
        self.gauge(&names::OLDEST_WAITING, oldest)?;
        let all = gauges.instances.len() + gauges.omitted;
        self.gauge(&names::INSTANCES, [([], all)])?;
        self.gauge(&names::INSTANCES_OMITTED, [([], gauges.omitted)])?;
        self.instances(&gauges.instances)
    }

    fn instances(&mut self, all: &[InstanceGauges]) -> fmt::Result {
        let ready = all.iter().map(|of| {
            let (is, reason) = of.ready;
            ([&*of.namespace, &*of.name, reason], i64::from(is))
        });
        self.gauge(&names::INSTANCE_READY, ready)?;
        self.each(&names::KEYS_IN_USE, all, |of| Some(of.keys_in_use))?;
        self.each(&names::HELD_REVOCATIONS, all, |of| {
            Some(of.held_revocations)
        })?;
        let keys = all.iter().flat_map(|of| {
            let states = of.keys.iter();
            states.map(|(state, count)| ([&*of.namespace, &*of.name, *state], *count))
        });
        self.gauge(&names::KEYS, keys)?;
        self.each(&names::CATALOGUE_AGE, all, |of| of.catalogue_age)?;
        self.each(&names::NEXT_KEY_EXPIRY, all, |of| of.next_key_expiry)?;
        self.each(&names::TOKEN_EXPIRY, all, |of| of.token_expiry)?;
        let breakers = all.iter().flat_map(|of| {
            let breakers = of.breakers.iter();
            breakers.map(|(breaker, open)| ([&*of.namespace, &*of.name, *breaker], *open))
        });
        self.gauge(&names::BREAKER_OPEN, breakers)
    }

    /// A gauge of each instance that has it.
    fn each<V: EncodeGaugeValue>(
        &mut self,
        metric: &Description,
        all: &[InstanceGauges],
        value: impl Fn(&InstanceGauges) -> Option<V>,
    ) -> fmt::Result {
        let values = all
            .iter()
            .filter_map(|of| Some(([&*of.namespace, &*of.name], value(of)?)));
        self.gauge(metric, values)
    }

    fn process(&mut self, usage: &process::Usage, started: i64) -> fmt::Result {
        self.counter(&names::PROCESS_CPU, usage.cpu_seconds)?;
        let resident = usage.resident_bytes.map(|bytes| ([], bytes));
        self.gauge(&names::PROCESS_RESIDENT_MEMORY, resident)?;
        let open = usage.open_fds.map(|count| ([], count));
        self.gauge(&names::PROCESS_OPEN_FDS, open)?;
        let most = usage.max_fds.map(|count| ([], count));
        self.gauge(&names::PROCESS_MAX_FDS, most)?;
        self.gauge(&names::PROCESS_START_TIME, [([], started)])
    }

    /// A gauge, with the values of its labels in their order; nothing, where there are none.
    fn gauge<'v, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        metric: &Description,
        values: impl IntoIterator<Item = ([&'v str; N], V)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let (help, unit) = (format!("{}.", metric.help), metric.unit());
        let mut encoder = self.0.encode_descriptor(
            metric.stem,
            &help,
            unit.as_ref(),
            ConstGauge::<i64>::new(0).metric_type(),
        )?;
        for (labels, value) in values {
            let labels: Vec<_> = metric.labels.iter().copied().zip(labels).collect();
            encoder.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter<V: EncodeCounterValue + Clone + fmt::Debug>(
        &mut self,
        metric: &Description,
        value: V,
    ) -> fmt::Result
    where
        ConstCounter<V>: EncodeMetric,
    {
        debug_assert_eq!(metric.kind, Kind::Counter);
        let (help, unit) = (format!("{}.", metric.help), metric.unit());
        let counter = ConstCounter::new(value);
        let encoder =
            self.0
                .encode_descriptor(metric.stem, &help, unit.as_ref(), counter.metric_type())?;
        counter.encode(encoder)
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
