//! Request bodies: JSON objects with known fields and no others.
//!
//! Names are matched without regard to case, since IBM's Go client writes some
//! of them in another case than the documentation.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::new_key::NewKey;
use crate::domain::refusal::Refusal;

/// The fields of an object, by their documented names.
type Fields = BTreeMap<&'static str, Value>;

/// Reads a body that must be there, as an object of known fields.
pub fn object(body: &[u8], known: &[&'static str]) -> Result<Fields, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Refusal::because(
            400,
            "NO_BODY_ERR",
            "The request has no body.",
        ));
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|_| Refusal::bad_body("The body is not in JSON."))?;
    fields(value, known)
}

fn fields(value: Value, known: &[&'static str]) -> Result<Fields, Refusal> {
    let Value::Object(object) = value else {
        return Err(Refusal::bad_body("The body is no object."));
    };
    object
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            known
                .iter()
                .find(|known| known.eq_ignore_ascii_case(&name))
                .map(|known| (*known, value))
                .ok_or_else(|| Refusal::bad_body(format!("The field {name} is not known.")))
        })
        .collect()
}

/// Reads the one resource out of an envelope.
fn resource(body: &[u8], known: &[&'static str]) -> Result<Fields, Refusal> {
    let mut envelope = object(body, &["metadata", "resources"])?;
    let Some(metadata) = envelope.remove("metadata") else {
        return Err(Refusal::bad_body("The body has no metadata."));
    };
    let metadata = fields(metadata, &["collectionType", "collectionTotal"])?;
    if metadata.is_empty() {
        return Err(Refusal::bad_body("The metadata are empty."));
    }
    let Some(Value::Array(mut resources)) = envelope.remove("resources") else {
        return Err(Refusal::bad_body("The body has no resources."));
    };
    if let Some(total) = metadata.get("collectionTotal")
        && total.as_u64() != u64::try_from(resources.len()).ok()
    {
        return Err(Refusal::because(
            400,
            "COLLECTION_TOTAL_MISMATCH_ERR",
            "collectionTotal is not the number of resources.",
        ));
    }
    match (resources.pop(), resources.is_empty()) {
        (Some(resource), true) => fields(resource, known),
        (None, _) => Err(Refusal::bad_body("The body has no resource.")),
        (Some(_), false) => Err(Refusal::because(
            400,
            "NUM_COLLECTION_RESOURCE_ERR",
            "The body must have one resource.",
        )),
    }
}

/// Reads a request for a key.
pub fn new_key(body: &[u8], ring: Option<String>) -> Result<NewKey, Refusal> {
    let mut fields = resource(
        body,
        &[
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
        ],
    )?;
    for encrypted in ["encryptedNonce", "iv", "encryptionAlgorithm"] {
        if fields.contains_key(encrypted) {
            return Err(Refusal::bare(501, "Import tokens are not emulated."));
        }
    }
    let Some(name) = text(&mut fields, "name")? else {
        return Err(Refusal::field("name", "A key has a name."));
    };
    let expiration = text(&mut fields, "expirationDate")?
        .map(|date| date.parse::<Timestamp>())
        .transpose()
        .map_err(|_| Refusal::field("expirationDate", "A date is in the format of RFC 3339."))?;
    let extractable = match fields.remove("extractable") {
        None => None,
        Some(Value::Bool(extractable)) => Some(extractable),
        Some(_) => return Err(Refusal::field("extractable", "Either true or false.")),
    };
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
    })
}

/// Reads the ring out of a request to move a key there.
pub fn patched_ring(body: &[u8]) -> Result<String, Refusal> {
    let mut fields = object(body, &["keyRingID"])?;
    text(&mut fields, "keyRingID")?
        .ok_or_else(|| Refusal::field("keyRingID", "A key is in a ring."))
}

fn text(fields: &mut Fields, name: &'static str) -> Result<Option<String>, Refusal> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::field(name, "This must be a text.")),
    }
}

fn texts(fields: &mut Fields, name: &'static str) -> Result<Vec<String>, Refusal> {
    fields.remove(name).map_or_else(
        || Ok(Vec::new()),
        |value| {
            serde_json::from_value(value)
                .map_err(|_| Refusal::field(name, "This must be a list of texts."))
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(body: &Value) -> Option<&'static str> {
        new_key(body.to_string().as_bytes(), None)
            .unwrap_err()
            .code()
    }

    fn wrapped(resource: &Value) -> Value {
        json!({ "metadata": { "collectionTotal": 1 }, "resources": [resource] })
    }

    #[test]
    fn bodies_of_a_wrong_shape_are_refused_by_name() {
        assert_eq!(new_key(b" ", None).unwrap_err().code(), Some("NO_BODY_ERR"));
        assert_eq!(
            new_key(b"{", None).unwrap_err().code(),
            Some("BAD_BODY_ERR")
        );
        let unknown = wrapped(&json!({ "name": "key", "colour": "red" }));
        assert_eq!(code(&unknown), Some("BAD_BODY_ERR"));
        assert_eq!(
            code(&json!({ "metadata": {}, "resources": [] })),
            Some("BAD_BODY_ERR")
        );
        let two = json!({ "metadata": { "collectionTotal": 2 }, "resources": [{}, {}] });
        assert_eq!(code(&two), Some("NUM_COLLECTION_RESOURCE_ERR"));
        let miscounted = json!({ "metadata": { "collectionTotal": 2 }, "resources": [{}] });
        assert_eq!(code(&miscounted), Some("COLLECTION_TOTAL_MISMATCH_ERR"));
        assert_eq!(code(&wrapped(&json!({}))), Some("INVALID_FIELD_ERR"));
    }

    #[test]
    fn names_of_fields_are_matched_in_any_case() {
        assert_eq!(patched_ring(br#"{"KeyRingID": "r1"}"#).unwrap(), "r1");
        let key = wrapped(&json!({ "Name": "key", "Tags": ["ab"], "description": null }));
        assert_eq!(
            new_key(key.to_string().as_bytes(), None).unwrap().tags,
            ["ab"]
        );
    }
}
