//! The admin port: JSON over plain HTTP, a thin skin over [`Control`].

mod keys;

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::types::{
    ConnectionTrouble, Failover, NewApiKey, NewInstance, NewProfile, NewServiceId, Roles, SetClock,
    TokenLifetime,
};
use crate::control::{Control, ControlError};
use crate::domain::modes::Modes;
use crate::faults::Fault;
use crate::journal::Wanted;

/// What an order answers.
type Done<T = StatusCode> = Result<T, ControlError>;

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Exists(_) => StatusCode::CONFLICT,
            Self::Wrong(_) => StatusCode::BAD_REQUEST,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

/// Makes the admin port's router.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/instances", post(create_instance))
        .route("/instances/{id}", delete(delete_instance))
        .route(
            "/instances/{id}/snapshots/{name}",
            post(take_snapshot).put(restore_snapshot),
        )
        .route("/instances/{id}/failover", post(fail_over))
        .route("/service-ids", post(create_service_id))
        .route("/service-ids/{name}/roles", put(set_roles))
        .route("/profiles", post(create_profile))
        .route("/api-keys", post(create_api_key))
        .route("/api-keys/{key}", delete(delete_api_key))
        .route("/tokens/revoke", post(revoke_tokens))
        .route("/tokens/lifetime", put(set_token_lifetime))
        .route("/modes", get(modes).put(set_modes).patch(change_modes))
        .route("/clock", get(clock).put(set_clock))
        .route("/faults", get(faults).delete(clear_faults))
        .route("/faults/{name}", put(put_fault).delete(remove_fault))
        .route(
            "/connections",
            get(connections)
                .put(set_connection_fault)
                .delete(cut_connections),
        )
        .route("/requests", get(requests).delete(clear_requests))
        .route("/requests/wait", get(wait_for_requests))
        .merge(keys::router())
        .with_state(control)
}

async fn create_instance(
    State(control): State<Control>,
    Json(new): Json<NewInstance>,
) -> Done<Response> {
    let id = new.id.clone();
    control.create_instance(new)?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))).into_response())
}

async fn delete_instance(State(control): State<Control>, Path(id): Path<String>) -> Done {
    control
        .delete_instance(&id)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn take_snapshot(
    State(control): State<Control>,
    Path((id, name)): Path<(String, String)>,
) -> Done {
    control
        .take_snapshot(&id, &name)
        .map(|()| StatusCode::CREATED)
}

async fn restore_snapshot(
    State(control): State<Control>,
    Path((id, name)): Path<(String, String)>,
) -> Done {
    control
        .restore_snapshot(&id, &name)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn fail_over(
    State(control): State<Control>,
    Path(id): Path<String>,
    Json(failover): Json<Failover>,
) -> Done {
    control
        .fail_over(&id, failover)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn create_service_id(
    State(control): State<Control>,
    Json(new): Json<NewServiceId>,
) -> Done<Response> {
    let name = new.name.clone();
    control.create_service_id(new)?;
    Ok((StatusCode::CREATED, Json(json!({ "name": name }))).into_response())
}

async fn set_roles(
    State(control): State<Control>,
    Path(name): Path<String>,
    Json(roles): Json<Roles>,
) -> Done {
    control
        .set_roles(&name, roles.roles)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn create_profile(
    State(control): State<Control>,
    Json(new): Json<NewProfile>,
) -> Done<(StatusCode, Json<Value>)> {
    Ok((
        StatusCode::CREATED,
        Json(json!({ "id": control.create_profile(new)? })),
    ))
}

async fn create_api_key(State(control): State<Control>, Json(new): Json<NewApiKey>) -> Done {
    control.create_api_key(new).map(|()| StatusCode::CREATED)
}

async fn delete_api_key(State(control): State<Control>, Path(key): Path<String>) -> Done {
    control
        .delete_api_key(&key)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn revoke_tokens(State(control): State<Control>) -> StatusCode {
    control.revoke_tokens();
    StatusCode::NO_CONTENT
}

async fn set_token_lifetime(
    State(control): State<Control>,
    Json(lifetime): Json<TokenLifetime>,
) -> StatusCode {
    control.set_token_lifetime(lifetime.seconds);
    StatusCode::NO_CONTENT
}

async fn modes(State(control): State<Control>) -> Json<Modes> {
    Json(control.modes())
}

/// Sets the modes that are given; the others go back to their defaults.
async fn set_modes(State(control): State<Control>, Json(modes): Json<Modes>) -> Json<Modes> {
    control.set_modes(modes);
    Json(control.modes())
}

/// Sets the modes that are given, and leaves the others.
async fn change_modes(
    State(control): State<Control>,
    Json(changes): Json<serde_json::Map<String, Value>>,
) -> Done<Json<Modes>> {
    control.change_modes(changes)?;
    Ok(Json(control.modes()))
}

async fn clock(State(control): State<Control>) -> Json<Value> {
    Json(json!({
        "offsetSeconds": control.clock_offset(),
        "rate": control.clock_rate(),
        "now": control.shared.now().to_string(),
    }))
}

async fn set_clock(State(control): State<Control>, Json(set): Json<SetClock>) -> Done<Json<Value>> {
    if let Some(rate) = set.rate {
        control.set_clock_rate(rate)?;
    }
    if let Some(seconds) = set.offset_seconds {
        control.set_clock_offset(seconds);
    }
    Ok(clock(State(control)).await)
}

async fn faults(State(control): State<Control>) -> Json<Value> {
    let faults: serde_json::Map<String, Value> = control
        .faults()
        .into_iter()
        .map(|(name, fault, matched)| (name, json!({ "fault": fault, "matched": matched })))
        .collect();
    Json(Value::Object(faults))
}

async fn put_fault(
    State(control): State<Control>,
    Path(name): Path<String>,
    Json(fault): Json<Fault>,
) -> StatusCode {
    control.put_fault(&name, fault);
    StatusCode::NO_CONTENT
}

async fn remove_fault(State(control): State<Control>, Path(name): Path<String>) -> Done {
    control.remove_fault(&name).map(|()| StatusCode::NO_CONTENT)
}

async fn clear_faults(State(control): State<Control>) -> StatusCode {
    control.clear_faults();
    StatusCode::NO_CONTENT
}

async fn connections(State(control): State<Control>) -> Json<Value> {
    Json(json!({
        "open": control.open_connections(),
        "fault": control.connection_fault(),
    }))
}

async fn set_connection_fault(
    State(control): State<Control>,
    Json(set): Json<ConnectionTrouble>,
) -> StatusCode {
    control.set_connection_fault(set.fault);
    StatusCode::NO_CONTENT
}

async fn cut_connections(State(control): State<Control>) -> StatusCode {
    control.cut_connections();
    StatusCode::NO_CONTENT
}

async fn requests(State(control): State<Control>, Query(wanted): Query<Wanted>) -> Json<Value> {
    Json(json!({ "requests": control.requests(&wanted), "last": control.last_request() }))
}

async fn clear_requests(State(control): State<Control>) -> StatusCode {
    control.clear_requests();
    StatusCode::NO_CONTENT
}

/// The query of a wait. It is spelled out, because flattened structures cannot
/// be read from a query with numbers in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wait {
    #[serde(default)]
    since: u64,
    operation: Option<String>,
    key_id: Option<String>,
    instance: Option<String>,
    service_id: Option<String>,
    status: Option<u16>,
    count: Option<usize>,
    timeout_ms: Option<u64>,
}

async fn wait_for_requests(State(control): State<Control>, Query(wait): Query<Wait>) -> Response {
    let wanted = Wanted {
        since: wait.since,
        operation: wait.operation,
        key_id: wait.key_id,
        instance: wait.instance,
        service_id: wait.service_id,
        status: wait.status,
    };
    let timeout = Duration::from_millis(wait.timeout_ms.unwrap_or(30_000));
    let count = wait.count.unwrap_or(1);
    let (requests, complete) = control.wait_for_requests(&wanted, count, timeout).await;
    let status = if complete {
        StatusCode::OK
    } else {
        StatusCode::REQUEST_TIMEOUT
    };
    let body = json!({
        "complete": complete,
        "requests": requests,
        "last": control.last_request(),
    });
    (status, Json(body)).into_response()
}
