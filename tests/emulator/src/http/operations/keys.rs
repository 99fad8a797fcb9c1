//! The operations on keys: their life, from creation to purge.

use super::{flag, read_type};
use crate::domain::access::Action;
use crate::domain::key::KEY_TYPE;
use crate::domain::listing::{self, ListQuery};
use crate::domain::refusal::Refusal;
use crate::domain::rings::{self, DEFAULT_RING};
use crate::domain::state::KeyState;
use crate::http::answer::{Answer, envelope};
use crate::http::body::keys as body;
use crate::http::calls::{Admitted, Trace};

/// GET keys.
pub fn list(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    let query = query(admitted)?;
    let media_type = read_type(admitted, KEY_TYPE);
    if !admitted.rights.anywhere(Action::List) {
        if !admitted.modes.list_forbidden_as_empty200 {
            return Err(Refusal::no_access());
        }
        return Ok(Answer::written(200, media_type, listing::nothing().json()));
    }
    let modes = admitted.modes;
    let page = listing::page(
        admitted.instance,
        &admitted.rights,
        &query,
        modes,
        admitted.call.now,
    )?;
    Ok(Answer::written(200, media_type, page.json()))
}

/// HEAD keys.
pub fn count(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    let query = query(admitted)?;
    let listable = admitted.rights.anywhere(Action::List);
    if !listable && !admitted.modes.list_forbidden_as_empty200 {
        return Err(Refusal::no_access());
    }
    let total = listing::total(
        admitted.instance,
        &admitted.rights,
        &query,
        admitted.modes,
        admitted.call.now,
    );
    Ok(Answer::empty(200).header("key-total", total.to_string()))
}

fn query(admitted: &Admitted<'_>) -> Result<ListQuery, Refusal> {
    let ring = admitted.call.header("x-kms-key-ring").map(str::to_owned);
    let query = ListQuery::parse(&admitted.call.query, ring)?;
    match &query.ring {
        Some(ring) if !admitted.instance.rings.contains_key(ring) => Err(rings::not_found(ring)),
        _ => Ok(query),
    }
}

/// POST keys, with policies of the key's own where the operation takes them.
pub fn create(
    admitted: &mut Admitted<'_>,
    with_policies: bool,
    trace: &mut Trace,
) -> Result<Answer, Refusal> {
    let call = admitted.call;
    let ring = call.header("x-kms-key-ring").map(str::to_owned);
    if !admitted
        .rights
        .on_ring(Action::Write, ring.as_deref().unwrap_or(DEFAULT_RING))
    {
        return Err(Refusal::no_access());
    }
    let new = body::new_key(&call.body, ring, with_policies)?;
    let payload = new.check(admitted.instance.import_token.as_ref(), call.now)?;
    let caller = &admitted.caller;
    admitted
        .instance
        .check_room_for_aliases(new.aliases.len(), admitted.modes)?;
    let id = admitted
        .instance
        .create(&new, payload, caller, &call.random, call.now)?;
    trace.key_id = Some(id.clone());
    key_answer(
        admitted,
        201,
        &id,
        call.wants_representation() == Some(true),
    )
}

/// PATCH a key: moves it to another ring.
pub fn patch(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let (call, modes) = (admitted.call, admitted.modes);
    let ring = body::patched_ring(&call.body)?;
    if !admitted.rights.on_ring(Action::Manage, &ring) {
        return Err(Refusal::no_access());
    }
    let delay = modes.ring_move_delay_seconds;
    admitted.instance.move_to_ring(id, &ring, delay, call.now)?;
    key_answer(admitted, 200, id, false)
}

/// POST a restoration.
pub fn restore(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let call = admitted.call;
    if let Some((payload, encryption)) = body::restoration(&call.body)? {
        admitted
            .instance
            .check_restoration(id, &payload, encryption.as_ref(), call.now)?;
    }
    admitted.instance.restore(id, call.now)?;
    key_answer(admitted, 201, id, call.wants_representation() == Some(true))
}

/// DELETE a key.
pub fn delete(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let call = admitted.call;
    // A key that protects a service's resources is not that service's to delete.
    if admitted.service.is_some() {
        return Err(Refusal::of_another_service());
    }
    let force = flag(call, "force");
    admitted
        .instance
        .delete(id, force, &admitted.caller, call.now)?;
    if call.wants_representation() == Some(false) {
        return Ok(Answer::empty(204));
    }
    key_answer(admitted, 200, id, false)
}

/// DELETE a key for good.
pub fn purge(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let call = admitted.call;
    let purged = admitted.instance.purge(id, call.now)?;
    if call.wants_representation() == Some(false) {
        return Ok(Answer::empty(204));
    }
    let resource = purged.metadata(&admitted.instance.crn, admitted.modes, call.now);
    Ok(Answer::json(
        200,
        KEY_TYPE,
        &envelope(KEY_TYPE, &[resource]),
    ))
}

/// GET a key, or its metadata.
pub fn read(admitted: &Admitted<'_>, id: &str, payload: bool) -> Result<Answer, Refusal> {
    let key = admitted.instance.key(id)?;
    if payload && key.state == KeyState::Destroyed && admitted.modes.deleted_get == 410 {
        return Err(Refusal::key_deleted());
    }
    let mut answer = key_answer(admitted, 200, id, payload)?;
    answer.content_type = read_type(admitted, KEY_TYPE);
    Ok(answer)
}

fn key_answer(
    admitted: &Admitted<'_>,
    status: u16,
    id: &str,
    payload: bool,
) -> Result<Answer, Refusal> {
    let key = admitted.instance.key(id)?;
    let (crn, modes, now) = (&admitted.instance.crn, admitted.modes, admitted.call.now);
    let resource = if payload {
        key.with_payload(crn, modes, now)
    } else {
        key.metadata(crn, modes, now)
    };
    Ok(Answer::json(
        status,
        KEY_TYPE,
        &envelope(KEY_TYPE, &[resource]),
    ))
}
