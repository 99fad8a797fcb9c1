//! The operations on key rings, as HTTP has them.

use serde_json::{Value, json};

use super::answer::{Answer, JSON};
use super::calls::Admitted;
use crate::domain::access::Action;
use crate::domain::listing::number;
use crate::domain::modes::date;
use crate::domain::refusal::Refusal;

const RING_TYPE: &str = "application/vnd.ibm.kms.key_ring+json";

/// GET rings.
pub fn list(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    if !admitted.rights.anywhere(Action::Read) {
        return Err(Refusal::no_access());
    }
    let limit = number(admitted.call.query("limit"), "limit", 100, Some(5000))?;
    let offset = number(admitted.call.query("offset"), "offset", 0, None)?;
    let visible: Vec<Value> = admitted
        .instance
        .rings
        .iter()
        .filter(|(id, _)| admitted.rights.on_ring(Action::Read, id))
        .map(|(id, ring)| {
            let mut row = json!({ "id": id });
            if let Some(made) = ring.creation_date {
                row["creationDate"] = json!(date(made));
            }
            if let Some(by) = &ring.created_by {
                row["createdBy"] = json!(by);
            }
            row
        })
        .collect();
    let total = visible.len();
    let page: Vec<Value> = visible.into_iter().skip(offset).take(limit).collect();
    let mut metadata = json!({ "collectionType": RING_TYPE, "collectionTotal": page.len() });
    if admitted
        .call
        .query("totalCount")
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    {
        metadata["totalCount"] = json!(total);
    }
    Ok(Answer::json(
        200,
        JSON,
        &json!({ "metadata": metadata, "resources": page }),
    ))
}

/// POST a ring.
pub fn create(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    if !admitted.rights.on_whole(Action::Write) {
        return Err(Refusal::no_access());
    }
    let call = admitted.call;
    admitted
        .instance
        .create_ring(call.item(), &admitted.caller, call.now)?;
    // IBM's Go client takes a 201 for success only with an empty body.
    Ok(Answer::empty(201))
}

/// DELETE a ring.
pub fn delete(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    let call = admitted.call;
    if !admitted.rights.on_ring(Action::Manage, call.item()) {
        return Err(Refusal::no_access());
    }
    let force = call
        .query("force")
        .is_some_and(|text| text.eq_ignore_ascii_case("true"));
    admitted.instance.delete_ring(call.item(), force)?;
    Ok(Answer::empty(204))
}
