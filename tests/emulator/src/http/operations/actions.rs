//! The actions on a key: `keys/{id}/actions/…`, and their deprecated form
//! `keys/{id}?action=…`, which answers the same under another media type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::domain::envelope::{check_aad, unwrap, wrap};
use crate::domain::key::Damage;
use crate::domain::refusal::Refusal;
use crate::domain::state::{Act, permit};
use crate::http::answer::Answer;
use crate::http::body::actions;
use crate::http::calls::Admitted;

const WRAP_TYPE: &str = "application/vnd.ibm.kms.key_action_wrap+json";
const UNWRAP_TYPE: &str = "application/vnd.ibm.kms.key_action_unwrap+json";
const REWRAP_TYPE: &str = "application/vnd.ibm.kms.key_action_rewrap+json";

const ANY_TYPE: &str = "application/vnd.ibm.kms.key_action+json";

/// Gives the answer of the deprecated form its media type.
pub fn typed(admitted: &Admitted<'_>, mut answer: Answer) -> Answer {
    if admitted.call.query("action").is_some() {
        answer.content_type = ANY_TYPE;
    }
    answer
}

/// Wraps a data key; makes one when none is brought along.
pub fn wrap_key(admitted: &Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let key = admitted.instance.key(id)?;
    permit(key.class, key.state, Act::Wrap)?;
    let random = &admitted.call.random;
    let asked = actions::wrap(&admitted.call.body)?;
    check_aad(&asked.aad)?;
    let generated = asked.plaintext.is_none();
    let plaintext = asked.plaintext.unwrap_or_else(|| random.payload.to_vec());
    let ciphertext = wrap(&key.versions, &plaintext, &asked.aad, &random.iv)?;
    let mut body = json!({
        "ciphertext": ciphertext,
        "keyVersion": { "id": key.versions.newest().id },
    });
    if generated {
        body["plaintext"] = json!(STANDARD.encode(&plaintext));
    }
    Ok(Answer::json(200, WRAP_TYPE, &body))
}

/// Unwraps a data key, and wraps it anew when the root key has rotated since.
pub fn unwrap_key(admitted: &Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let key = admitted.instance.key(id)?;
    permit(key.class, key.state, Act::Unwrap)?;
    let asked = actions::wrapped(&admitted.call.body)?;
    check_aad(&asked.aad)?;
    let opened = unwrap(&key.versions, &asked.ciphertext, &asked.aad)?;
    let newest = key.versions.newest();
    let mut body = json!({
        "plaintext": STANDARD.encode(&opened.plaintext),
        "keyVersion": { "id": opened.version.id },
    });
    if opened.version.id != newest.id {
        let iv = &admitted.call.random.iv;
        body["ciphertext"] = json!(wrap(&key.versions, &opened.plaintext, &asked.aad, iv)?);
        body["rewrappedKeyVersion"] = json!({ "id": newest.id });
    }
    Ok(Answer::json(200, UNWRAP_TYPE, &body))
}

/// Wraps a wrapped data key anew, by the newest version.
pub fn rewrap_key(admitted: &Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let key = admitted.instance.key(id)?;
    permit(key.class, key.state, Act::Rewrap)?;
    if key.damage == Some(Damage::Signature) {
        return Err(Refusal::because(
            422,
            "INVALID_SIG_EXP_ERR",
            "Signature is invalid.",
        ));
    }
    let asked = actions::wrapped(&admitted.call.body)?;
    check_aad(&asked.aad)?;
    let opened = unwrap(&key.versions, &asked.ciphertext, &asked.aad)?;
    let iv = &admitted.call.random.iv;
    let body: Value = json!({
        "ciphertext": wrap(&key.versions, &opened.plaintext, &asked.aad, iv)?,
        "keyVersion": { "id": opened.version.id },
        "rewrappedKeyVersion": { "id": key.versions.newest().id },
    });
    Ok(Answer::json(200, REWRAP_TYPE, &body))
}

/// Makes a new version. It answers 204, whatever the caller prefers.
pub fn rotate(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    let call = admitted.call;
    let (payload, encryption) = actions::rotation(&call.body)?;
    let brought = payload.as_deref().map(|text| (text, encryption.as_ref()));
    if brought.is_none() && encryption.is_some() {
        return Err(Refusal::field("payload", "There is nothing to import."));
    }
    admitted
        .instance
        .rotate(id, brought, &call.random, call.now)?;
    Ok(Answer::empty(204))
}

/// Suspends a root key, or ends its suspension.
pub fn set_enabled(admitted: &mut Admitted<'_>, id: &str, enable: bool) -> Result<Answer, Refusal> {
    actions::nothing(&admitted.call.body)?;
    admitted
        .instance
        .set_enabled(id, enable, admitted.call.now)?;
    Ok(Answer::empty(204))
}

/// Gives the first authorisation of a deletion, or takes it back.
pub fn set_for_deletion(
    admitted: &mut Admitted<'_>,
    id: &str,
    set: bool,
) -> Result<Answer, Refusal> {
    actions::nothing(&admitted.call.body)?;
    admitted
        .instance
        .set_for_deletion(id, set, &admitted.caller, admitted.call.now)?;
    Ok(Answer::empty(204))
}

/// Tells other services of a key's state, of which the emulator has none.
pub fn sync(admitted: &Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    actions::nothing(&admitted.call.body)?;
    let key = admitted.instance.key(id)?;
    permit(key.class, key.state, Act::Govern)?;
    Ok(Answer::empty(204))
}
