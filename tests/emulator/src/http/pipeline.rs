//! The way of a request through the emulator: read, struck by faults, served,
//! written down, answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::sync::Notify;

use super::answer::Answer;
use super::calls::{self, Call, Trace};
use super::operations::tokens;
use super::route::{Operation, route};
use crate::faults::{BodyEffect, Cut, Effect, Target};
use crate::journal::Served;
use crate::world::{Shared, draw};

const MAX_BODY: usize = 1 << 20;

/// The connection is to be cut instead of answered.
#[derive(Debug, thiserror::Error)]
#[error("a fault cuts the connection")]
pub struct Cutting;

/// Writes the request down even when the caller leaves before the answer.
struct Entry {
    shared: Arc<Shared>,
    served: Option<Served>,
}

impl Entry {
    fn finish(mut self, change: impl FnOnce(&mut Served)) {
        if let Some(mut served) = self.served.take() {
            served.at = self.shared.now().to_string();
            served.abandoned = false;
            change(&mut served);
            self.shared.journal.record(served);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(mut served) = self.served.take() {
            served.at = self.shared.now().to_string();
            self.shared.journal.record(served);
        }
    }
}

/// Serves a request. `hangup` ends the connection that it came by.
pub async fn serve(
    shared: Arc<Shared>,
    peer: Option<IpAddr>,
    hangup: Arc<Notify>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cutting> {
    let (head, body) = request.into_parts();
    let raw_query = head.uri.query().unwrap_or_default().to_owned();
    let query: Vec<(String, String)> = form_urlencoded::parse(raw_query.as_bytes())
        .into_owned()
        .collect();
    let route = route(&head.method, head.uri.path(), &query);
    let random = draw();
    // The service makes a correlation ID for a request that has none.
    let correlation_id =
        text(&head.headers, "correlation-id").unwrap_or_else(|| draw().id.to_string());
    let served = arrival(&head, route.operation, &correlation_id);
    let mut entry = Entry {
        shared: Arc::clone(&shared),
        served: Some(served),
    };
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    // HTTP/2 has it in the URI.
    let host = head.uri.host().map(str::to_owned);
    let host = host.or_else(|| text(&head.headers, "host"));
    let mut call = Call {
        host,
        route,
        query,
        headers: head.headers,
        body,
        now: shared.now(),
        random,
        peer,
    };
    let path = format!("{}?{raw_query}", head.uri.path());
    let Strike {
        faults,
        effect,
        page_delay,
        key_id,
    } = strike(&shared, &call, &path);
    if let Some(served) = &mut entry.served {
        served.faults.clone_from(&faults);
    }
    wait(effect.delay_ms).await;
    wait(page_delay).await;
    call.now = shared.now();
    let mut trace = Trace::default();
    let answer = match effect.status {
        Some(status) => spoilt(&call, status, effect.code.as_deref()),
        None => perform(&shared, &call, &mut trace),
    };
    let echo = shared.world().modes.echo_correlation_id;
    let answer = if echo {
        answer.header("correlation-id", correlation_id.clone())
    } else {
        answer
    };
    let cut = matches!(effect.cut, Some(Cut::BeforeResponse | Cut::Connection));
    entry.finish(|served| {
        served.status = (!cut).then_some(answer.status);
        served.code.clone_from(&answer.code);
        served.instance = trace.instance.or_else(|| served.instance.take());
        served.service_id = trace.service_id;
        served.key_id = trace.key_id.or(key_id);
    });
    log(
        &call,
        &correlation_id,
        answer.status,
        &answer.code,
        cut,
        &faults,
    );
    if effect.cut == Some(Cut::Connection) {
        hangup.notify_one();
    }
    if cut {
        return Err(Cutting);
    }
    Ok(respond(answer, &effect))
}

/// Logs a request. Tokens, API keys and payloads are in no part of it: they
/// come in headers and bodies, and a query is left out where it may have one.
fn log(
    call: &Call,
    correlation_id: &str,
    status: u16,
    code: &Option<String>,
    cut: bool,
    faults: &[String],
) {
    let operation = call.route.operation.name();
    let key = call.route.key.as_deref();
    let instance = call.header("bluemix-instance");
    let code = code.as_deref();
    if cut {
        tracing::info!(operation, key, instance, correlation_id, ?faults, "cut");
    } else {
        tracing::info!(
            operation,
            status,
            code,
            key,
            instance,
            correlation_id,
            ?faults,
            "answered"
        );
    }
}

/// Writes down what is known of a request when it arrives.
fn arrival(head: &http::request::Parts, operation: Operation, correlation_id: &str) -> Served {
    Served {
        operation: operation.name().to_owned(),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        version: format!("{:?}", head.version),
        instance: text(&head.headers, "bluemix-instance"),
        correlation_id: Some(correlation_id.to_owned()),
        key_ring: text(&head.headers, "x-kms-key-ring"),
        abandoned: true,
        headers: visible(&head.headers),
        ..Served::default()
    }
}

/// What befalls a request before it is served.
struct Strike {
    faults: Vec<String>,
    effect: Effect,
    page_delay: Option<u64>,
    key_id: Option<String>,
}

/// Chooses what goes wrong, and how long a list takes.
fn strike(shared: &Shared, call: &Call, path: &str) -> Strike {
    let mut world = shared.world();
    let instance = call.header("bluemix-instance");
    // Faults are matched by the key's ID even when the request has its alias.
    let key = call.route.key.as_deref();
    let key_id = instance
        .and_then(|id| world.instances.get(id))
        .and_then(|instance| {
            let key = key?;
            let alias = instance.aliases.get(key);
            let id = alias.map_or(key, |alias| &alias.key);
            instance.keys.contains_key(id).then(|| id.to_owned())
        });
    let target = Target {
        operation: call.route.operation.name(),
        key_id: key_id.as_deref().or(key),
        path,
        instance,
    };
    let (faults, effect) = world.faults.choose(target);
    let delay = world.modes.page_delay_ms;
    let listing = call.route.operation == Operation::List && delay > 0;
    Strike {
        faults,
        effect,
        page_delay: listing.then_some(delay),
        key_id,
    }
}

async fn wait(milliseconds: Option<u64>) {
    if let Some(milliseconds) = milliseconds {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

fn perform(shared: &Shared, call: &Call, trace: &mut Trace) -> Answer {
    let mut world = shared.world();
    match call.route.operation {
        Operation::Token => tokens::token(&world, call, trace),
        Operation::Unknown => Answer::fault(404, None),
        _ => calls::serve(&mut world, call, trace),
    }
}

/// Answers a status that a fault asks for, as the service that was asked would.
fn spoilt(call: &Call, status: u16, code: Option<&str>) -> Answer {
    if call.route.operation == Operation::Token {
        return tokens::fault(call, status, code);
    }
    Answer::fault(status, code)
}

fn text(headers: &http::HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn visible(headers: &http::HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter(|(name, _)| *name != http::header::AUTHORIZATION)
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

/// Makes the response, spoilt as the effect says.
fn respond(answer: Answer, effect: &Effect) -> Response<Body> {
    let mut content_type = answer.content_type;
    let mut bytes = answer.body;
    let mut cut = effect.cut == Some(Cut::MidBody);
    match &effect.body {
        None => {}
        Some(BodyEffect::Raw(raw)) => bytes = Bytes::from(raw.clone()),
        Some(BodyEffect::Html) => {
            content_type = "text/html";
            let status = answer.status;
            bytes = Bytes::from(format!(
                "<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
            ));
        }
        Some(BodyEffect::Empty) => bytes = Bytes::new(),
        Some(BodyEffect::TruncatedJson) => bytes.truncate(bytes.len() / 2),
        Some(BodyEffect::WrongContentType) => content_type = "text/html",
        Some(BodyEffect::HalfBody) => cut = true,
    }
    let length = bytes.len();
    let mut response = if cut {
        Response::new(half(bytes.slice(..length / 2)))
    } else {
        Response::new(Body::from(bytes))
    };
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut set = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            response.headers_mut().insert(name, value);
        }
    };
    if length > 0 {
        set("content-type", content_type);
    }
    if cut {
        set("content-length", &length.to_string());
    }
    for (name, value) in &answer.headers {
        set(name, value);
    }
    if let Some(after) = &effect.retry_after {
        let text = after
            .as_str()
            .map_or_else(|| after.to_string(), str::to_owned);
        set("retry-after", &text);
    }
    for (name, value) in &effect.headers {
        set(name, value);
    }
    response
}

/// Makes a body that breaks off. The pause lets what there is of it go out,
/// since a server may drop with the connection what it has not yet sent.
fn half(bytes: Bytes) -> Body {
    let rest = stream::once(async {
        wait(Some(50)).await;
        Err(io::Error::other("a fault cuts the body"))
    });
    Body::from_stream(stream::iter([Ok(bytes)]).chain(rest))
}

/// Says that a server that only fails by cutting has no other failure.
impl From<Infallible> for Cutting {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
