//! The operations on key rings.

use serde_json::{Value, json};

use super::{add, collection, flag};
use crate::domain::access::Action;
use crate::domain::modes::date;
use crate::domain::refusal::Refusal;
use crate::http::answer::Answer;
use crate::http::calls::Admitted;

const RING_TYPE: &str = "application/vnd.ibm.kms.key_ring+json";

/// GET rings.
pub fn list(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    if !admitted.rights.anywhere(Action::Read) {
        return Err(Refusal::no_access());
    }
    let visible: Vec<Value> = admitted
        .instance
        .rings
        .iter()
        .filter(|(id, _)| admitted.rights.on_ring(Action::Read, id))
        .map(|(id, ring)| {
            let mut row = json!({ "id": id });
            add(&mut row, "creationDate", ring.creation_date.map(date));
            add(&mut row, "createdBy", ring.created_by.as_deref());
            row
        })
        .collect();
    collection(admitted, RING_TYPE, visible, 100)
}

/// POST a ring.
pub fn create(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Write)?;
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
    admitted
        .instance
        .delete_ring(call.item(), flag(call, "force"))?;
    Ok(Answer::empty(204))
}
