//! Bodies of the operations on keys.

use jiff::Timestamp;

use super::{boolean, object, policies, resource, text, texts};
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
    for encrypted in ["encryptedNonce", "iv", "encryptionAlgorithm"] {
        if fields.contains_key(encrypted) {
            return Err(Refusal::bare(
                501,
                "Importing by an import token is not emulated.",
            ));
        }
    }
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
        ring,
        creation_date: None,
        policies,
    })
}

/// Reads the ring out of a request to move a key there.
pub fn patched_ring(body: &[u8]) -> Result<String, Refusal> {
    let mut fields = object(body, &["keyRingID"])?;
    text(&mut fields, "keyRingID")?
        .ok_or_else(|| Refusal::field("keyRingID", "A key is in a ring."))
}
