//! The operations on keys and their aliases, as HTTP has them.

use serde_json::json;

use super::answer::{Answer, JSON, envelope};
use super::body;
use super::calls::{Admitted, Trace};
use super::route::Operation;
use crate::domain::access::Action;
use crate::domain::key::KEY_TYPE;
use crate::domain::listing::{self, ListQuery};
use crate::domain::modes::date;
use crate::domain::refusal::Refusal;
use crate::domain::rings::{self, DEFAULT_RING};
use crate::domain::state::KeyState;

const ALIAS_TYPE: &str = "application/vnd.ibm.kms.key_alias+json";

/// GET keys.
pub fn list(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    let query = query(admitted)?;
    let media_type = read_type(admitted);
    if !admitted.rights.anywhere(Action::List) {
        if !admitted.modes.list_forbidden_as_empty200 {
            return Err(Refusal::no_access());
        }
        return Ok(Answer::json(200, media_type, &listing::nothing()));
    }
    let modes = admitted.modes;
    let page = listing::page(
        admitted.instance,
        &admitted.rights,
        &query,
        modes,
        admitted.call.now,
    )?;
    Ok(Answer::json(200, media_type, &page))
}

/// HEAD keys.
pub fn count(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    let query = query(admitted)?;
    let listable = admitted.rights.anywhere(Action::List);
    if !listable && !admitted.modes.list_forbidden_as_empty200 {
        return Err(Refusal::no_access());
    }
    let total = listing::total(admitted.instance, &admitted.rights, &query, admitted.modes);
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

/// POST keys.
pub fn create(admitted: &mut Admitted<'_>, trace: &mut Trace) -> Result<Answer, Refusal> {
    let call = admitted.call;
    let ring = call.header("x-kms-key-ring").map(str::to_owned);
    if !admitted
        .rights
        .on_ring(Action::Write, ring.as_deref().unwrap_or(DEFAULT_RING))
    {
        return Err(Refusal::no_access());
    }
    let new = body::new_key(&call.body, ring)?;
    let payload = new.check(call.now)?;
    let caller = &admitted.caller;
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

/// The operations on a key that was found and may be operated on.
pub fn on_key(
    admitted: &mut Admitted<'_>,
    operation: Operation,
    id: &str,
) -> Result<Answer, Refusal> {
    let (call, modes, now) = (admitted.call, admitted.modes, admitted.call.now);
    let caller = admitted.caller.clone();
    match operation {
        Operation::Metadata => read(admitted, id, false),
        Operation::Get => read(admitted, id, true),
        Operation::Delete => delete(admitted, id),
        Operation::Purge => purge(admitted, id),
        Operation::Restore => {
            admitted.instance.restore(id, now)?;
            key_answer(admitted, 201, id, call.wants_representation() == Some(true))
        }
        Operation::Enable | Operation::Disable => {
            admitted
                .instance
                .set_enabled(id, operation == Operation::Enable, now)?;
            Ok(Answer::empty(204))
        }
        Operation::Patch => {
            let ring = body::patched_ring(&call.body)?;
            if !admitted.rights.on_ring(Action::Manage, &ring) {
                return Err(Refusal::no_access());
            }
            admitted
                .instance
                .move_to_ring(id, &ring, modes.ring_move_delay_seconds, now)?;
            key_answer(admitted, 200, id, false)
        }
        Operation::CreateAlias => {
            admitted
                .instance
                .create_alias(id, call.item(), &caller, now)?;
            let resource = json!({
                "keyId": id,
                "alias": call.item(),
                "createdBy": caller,
                "creationDate": date(now),
            });
            Ok(Answer::json(
                201,
                ALIAS_TYPE,
                &envelope(ALIAS_TYPE, &[resource]),
            ))
        }
        Operation::DeleteAlias => {
            admitted
                .instance
                .delete_alias(id, call.item(), modes, now)?;
            Ok(Answer::empty(204))
        }
        _ => Err(Refusal::bare(404, "Not Found: no such operation.")),
    }
}

fn delete(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let call = admitted.call;
    admitted.instance.delete(id, &admitted.caller, call.now)?;
    if call.wants_representation() == Some(false) {
        return Ok(Answer::empty(204));
    }
    key_answer(admitted, 200, id, false)
}

fn purge(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
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

fn read(admitted: &Admitted<'_>, id: &str, payload: bool) -> Result<Answer, Refusal> {
    let key = admitted.instance.key(id)?;
    if payload && key.state == KeyState::Destroyed && admitted.modes.deleted_get == 410 {
        return Err(Refusal::because(
            410,
            "KEY_DELETED_ERR",
            "Key has already been deleted.",
        ));
    }
    let mut answer = key_answer(admitted, 200, id, payload)?;
    answer.content_type = read_type(admitted);
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

/// The media type of what is only read; that of what is written is always the
/// resource's own, which IBM's Python client depends on.
fn read_type(admitted: &Admitted<'_>) -> &'static str {
    if admitted.modes.read_media_type {
        KEY_TYPE
    } else {
        JSON
    }
}
