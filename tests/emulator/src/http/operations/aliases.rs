//! The operations on aliases.

use serde_json::json;

use crate::domain::modes::date;
use crate::domain::refusal::Refusal;
use crate::http::answer::{Answer, envelope};
use crate::http::calls::Admitted;

const ALIAS_TYPE: &str = "application/vnd.ibm.kms.key_alias+json";

/// POST an alias.
pub fn create(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let (call, caller) = (admitted.call, &admitted.caller);
    admitted
        .instance
        .create_alias(id, call.item(), caller, admitted.modes, call.now)?;
    let resource = json!({
        "keyId": id,
        "alias": call.item(),
        "createdBy": caller,
        "creationDate": date(call.now),
    });
    Ok(Answer::json(
        201,
        ALIAS_TYPE,
        &envelope(ALIAS_TYPE, &[resource]),
    ))
}

/// DELETE an alias.
pub fn delete(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let call = admitted.call;
    admitted
        .instance
        .delete_alias(id, call.item(), admitted.modes, call.now)?;
    Ok(Answer::empty(204))
}
