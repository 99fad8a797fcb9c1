//! Import tokens, see [`crate::domain::import_token`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::read_type;
use crate::domain::access::Action;
use crate::domain::import_token::{ImportToken, PUBLIC_KEY, expired};
use crate::domain::modes::date;
use crate::domain::refusal::Refusal;
use crate::http::answer::Answer;
use crate::http::body::import_token;
use crate::http::calls::Admitted;

const TOKEN_TYPE: &str = "application/vnd.ibm.kms.import_token+json";

/// POST a token, in place of any before it.
pub fn create(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Write)?;
    let call = admitted.call;
    let (lifetime, retrievals) = import_token(&call.body)?;
    let token = ImportToken::new(lifetime, retrievals, call.random.iv, call.now)?;
    let body = describe(&token);
    admitted.instance.import_token = Some(token);
    Ok(Answer::json(200, TOKEN_TYPE, &body))
}

/// GET the token, which counts.
pub fn retrieve(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Write)?;
    let now = admitted.call.now;
    let token = admitted.instance.import_token.as_mut();
    let token = token.ok_or_else(expired)?;
    token.retrieve(now)?;
    let mut body = describe(token);
    body["payload"] = json!(STANDARD.encode(PUBLIC_KEY));
    body["nonce"] = json!(STANDARD.encode(token.nonce));
    Ok(Answer::json(200, read_type(admitted, TOKEN_TYPE), &body))
}

fn describe(token: &ImportToken) -> Value {
    json!({
        "expiration": token.lifetime,
        "maxAllowedRetrievals": token.max_retrievals,
        "remainingRetrievals": token.remaining,
        "creationDate": date(token.creation_date),
        "expirationDate": date(token.expiration()),
    })
}
