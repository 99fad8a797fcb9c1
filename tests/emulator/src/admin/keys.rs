//! The admin port's orders about keys, aliases and rings.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Done;
use crate::control::Control;
use crate::control::types::{
    AliasTarget, CreateKey, CreateKeys, Expiration, NewRegistration, RingTarget, SetDamage,
    SetState,
};

/// Makes the part of the router that is about keys.
pub(super) fn router() -> Router<Control> {
    Router::new()
        .route("/instances/{id}/keys", get(keys).post(create_key))
        .route("/instances/{id}/keys/bulk", post(create_keys))
        .route("/instances/{id}/keys/{key}", delete(delete_key))
        .route("/instances/{id}/keys/{key}/state", post(set_state))
        .route("/instances/{id}/keys/{key}/restore", post(restore_key))
        .route("/instances/{id}/keys/{key}/ring", put(set_ring))
        .route("/instances/{id}/keys/{key}/expiration", put(set_expiration))
        .route("/instances/{id}/keys/{key}/registrations", post(register))
        .route("/instances/{id}/keys/{key}/damage", put(damage_key))
        .route(
            "/instances/{id}/aliases/{alias}",
            put(put_alias).delete(delete_alias),
        )
        .route("/instances/{id}/expiry-pass", post(run_expiry_pass))
}

async fn keys(State(control): State<Control>, Path(id): Path<String>) -> Done<Json<Value>> {
    Ok(Json(json!({ "keys": control.keys(&id)? })))
}

async fn create_key(
    State(control): State<Control>,
    Path(id): Path<String>,
    Json(new): Json<CreateKey>,
) -> Done<(StatusCode, Json<Value>)> {
    Ok((StatusCode::CREATED, Json(control.create_key(&id, new)?)))
}

async fn create_keys(
    State(control): State<Control>,
    Path(id): Path<String>,
    Json(new): Json<CreateKeys>,
) -> Done<(StatusCode, Json<Value>)> {
    Ok((
        StatusCode::CREATED,
        Json(json!({ "ids": control.create_keys(&id, &new)? })),
    ))
}

async fn delete_key(
    State(control): State<Control>,
    Path((id, key)): Path<(String, String)>,
) -> Done {
    control
        .set_key_state(&id, &key, &json!("deleted"))
        .map(|()| StatusCode::NO_CONTENT)
}

async fn set_state(
    State(control): State<Control>,
    Path((id, key)): Path<(String, String)>,
    Json(set): Json<SetState>,
) -> Done {
    control
        .set_key_state(&id, &key, &set.state)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn restore_key(
    State(control): State<Control>,
    Path((id, key)): Path<(String, String)>,
) -> Done {
    control
        .restore_key(&id, &key)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn set_ring(
    State(control): State<Control>,
    Path((id, key)): Path<(String, String)>,
    Json(target): Json<RingTarget>,
) -> Done {
    control
        .set_key_ring(&id, &key, &target.key_ring)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn set_expiration(
    State(control): State<Control>,
    Path((id, key)): Path<(String, String)>,
    Json(expiration): Json<Expiration>,
) -> Done {
    let set = control.set_key_expiration(&id, &key, expiration.expiration_date);
    set.map(|()| StatusCode::NO_CONTENT)
}

async fn register(
    State(control): State<Control>,
    Path((id, key)): Path<(String, String)>,
    Json(new): Json<NewRegistration>,
) -> Done {
    control
        .register(&id, &key, new)
        .map(|()| StatusCode::CREATED)
}

async fn damage_key(
    State(control): State<Control>,
    Path((id, key)): Path<(String, String)>,
    Json(set): Json<SetDamage>,
) -> Done {
    control
        .damage_key(&id, &key, set.damage)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn put_alias(
    State(control): State<Control>,
    Path((id, alias)): Path<(String, String)>,
    Json(target): Json<AliasTarget>,
) -> Done {
    control
        .put_alias(&id, &alias, &target.key_id)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn delete_alias(
    State(control): State<Control>,
    Path((id, alias)): Path<(String, String)>,
) -> Done {
    control
        .delete_alias(&id, &alias)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn run_expiry_pass(State(control): State<Control>, Path(id): Path<String>) -> Done {
    control
        .run_expiry_pass(&id)
        .map(|()| StatusCode::NO_CONTENT)
}
