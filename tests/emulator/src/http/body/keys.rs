//! Bodies of the operations on keys.

use jiff::Timestamp;

use super::{boolean, encryption, object, optional_object, policies, resource, text, texts};
use crate::domain::import::Encryption;
use crate::domain::new_key::NewKey;
use crate::domain::refusal::Refusal;

const FIELDS: [&str; 11] = [
    "type",
    "name",
    "aliases",
    "description",
    "tags",
    "extractable",
    "expirationDate",
    "payload",
    "encryptedNonce",
    "iv",
    "encryptionAlgorithm",
];

/// Reads a request for a key, with policies of its own where the operation
/// takes them.
pub fn new_key(body: &[u8], ring: Option<String>, with_policies: bool) -> Result<NewKey, Refusal> {
    let mut known = FIELDS.to_vec();
    if with_policies {
        known.extend(["dualAuthDelete", "rotation"]);
    }
    let mut fields = resource(body, &known)?;
    let policies = policies::change(&mut fields)?;
    let encryption = encryption(&mut fields)?;
    let Some(name) = text(&mut fields, "name")? else {
        return Err(Refusal::field("name", "A key has a name."));
    };
    let expiration = text(&mut fields, "expirationDate")?
        .map(|date| date.parse::<Timestamp>())
        .transpose()
        .map_err(|_| Refusal::field("expirationDate", "A date is in the format of RFC 3339."))?;
    let extractable = boolean(&mut fields, "extractable")?;
    Ok(NewKey {
        id: None,
        name,
        description: text(&mut fields, "description")?,
        tags: texts(&mut fields, "tags")?,
        aliases: texts(&mut fields, "aliases")?,
        extractable,
        expiration,
        payload: text(&mut fields, "payload")?,
        encryption,
        ring,
        creation_date: None,
        policies,
    })
}

/// Reads a request to restore: the payload with its encryption, when the key's
/// material is brought along.
pub fn restoration(body: &[u8]) -> Result<Option<(String, Option<Encryption>)>, Refusal> {
    if optional_object(body, &["metadata", "resources"])?.is_none_or(|body| body.is_empty()) {
        return Ok(None);
    }
    let known = ["payload", "encryptedNonce", "iv", "encryptionAlgorithm"];
    let mut fields = resource(body, &known)?;
    let encryption = encryption(&mut fields)?;
    let payload = text(&mut fields, "payload")?
        .ok_or_else(|| Refusal::field("payload", "There is nothing to restore by."))?;
    Ok(Some((payload, encryption)))
}

/// Reads the ring out of a request to move a key there.
pub fn patched_ring(body: &[u8]) -> Result<String, Refusal> {
    let mut fields = object(body, &["keyRingID"])?;
    text(&mut fields, "keyRingID")?
        .ok_or_else(|| Refusal::field("keyRingID", "A key is in a ring."))
}
