//! Request bodies: JSON objects with known fields and no others.
//!
//! Names are matched without regard to case, since IBM's Go client writes some
//! of them in another case than the documentation.

pub mod actions;
pub mod keys;
pub mod kmip;
pub mod policies;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::import::Encryption;
use crate::domain::refusal::Refusal;
use crate::domain::registrations::RegistrationChange;

/// The fields of an object, by their documented names.
type Fields = BTreeMap<&'static str, Value>;

/// Reads a body that must be there, as an object of known fields.
fn object(body: &[u8], known: &[&'static str]) -> Result<Fields, Refusal> {
    optional_object(body, known)?
        .ok_or_else(|| Refusal::because(400, "NO_BODY_ERR", "Missing body in request."))
}

/// Reads a body that may be absent. IBM's Go client sends `null` for none.
fn optional_object(body: &[u8], known: &[&'static str]) -> Result<Option<Fields>, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    match serde_json::from_slice(body) {
        Ok(Value::Null) => Ok(None),
        Ok(value) => fields(value, known).map(Some),
        Err(_) => Err(Refusal::bad_body("The body is not in JSON.")),
    }
}

fn fields(value: Value, known: &[&'static str]) -> Result<Fields, Refusal> {
    let Value::Object(object) = value else {
        return Err(Refusal::bad_body("The body is no object."));
    };
    let fields: Vec<(&str, Value)> = object
        .into_iter()
        .map(|(name, value)| {
            known
                .iter()
                .find(|known| known.eq_ignore_ascii_case(&name))
                .map(|known| (*known, value))
                .ok_or_else(|| Refusal::bad_body(format!("The field {name} is not known.")))
        })
        .collect::<Result<_, _>>()?;
    // A known field that is null is none.
    let given = fields.into_iter().filter(|(_, value)| !value.is_null());
    Ok(given.collect())
}

/// Reads the one resource out of an envelope.
fn resource(body: &[u8], known: &[&'static str]) -> Result<Fields, Refusal> {
    let mut resources = resources(body)?;
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

/// Reads the resources out of an envelope.
fn resources(body: &[u8]) -> Result<Vec<Value>, Refusal> {
    let mut envelope = object(body, &["metadata", "resources"])?;
    let Some(metadata) = envelope.remove("metadata") else {
        return Err(Refusal::bad_body("The body has no metadata."));
    };
    let metadata = fields(metadata, &["collectionType", "collectionTotal"])?;
    if metadata.is_empty() {
        return Err(Refusal::bad_body("The metadata are empty."));
    }
    let Some(Value::Array(resources)) = envelope.remove("resources") else {
        return Err(Refusal::bad_body("The body has no resources."));
    };
    if let Some(total) = metadata.get("collectionTotal")
        && total.as_u64() != u64::try_from(resources.len()).ok()
    {
        return Err(Refusal::because(
            400,
            "COLLECTION_TOTAL_MISMATCH_ERR",
            "Collection total does not match number of resources",
        ));
    }
    Ok(resources)
}

/// Reads what an import token is to be: how long it lives and how often it may
/// be retrieved.
pub fn import_token(body: &[u8]) -> Result<(Option<i64>, Option<i64>), Refusal> {
    let known = ["expiration", "maxAllowedRetrievals"];
    let mut fields = optional_object(body, &known)?.unwrap_or_default();
    Ok((
        integer(&mut fields, "expiration")?,
        integer(&mut fields, "maxAllowedRetrievals")?,
    ))
}

/// Reads what a registration is to say. What a service keeps with it for itself
/// (`registrationMetadata`) is shown to nobody else, and so is not kept.
pub fn registration(body: &[u8], known: &[&'static str]) -> Result<RegistrationChange, Refusal> {
    let mut fields = resource(body, known)?;
    text(&mut fields, "registrationMetadata")?;
    Ok(RegistrationChange {
        description: text(&mut fields, "description")?,
        prevent_key_deletion: boolean(&mut fields, "preventKeyDeletion")?,
        key_version: text(&mut fields, "keyVersionId")?,
    })
}

/// Reads how a payload is encrypted, where it is.
fn encryption(fields: &mut Fields) -> Result<Option<Encryption>, Refusal> {
    let nonce = text(fields, "encryptedNonce")?;
    let iv = text(fields, "iv")?;
    let algorithm = text(fields, "encryptionAlgorithm")?;
    Encryption::parse(nonce.as_deref(), iv.as_deref(), algorithm.as_deref())
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

/// Reads an integer; IBM's clients send some of them as `600.0`.
fn integer(fields: &mut Fields, name: &'static str) -> Result<Option<i64>, Refusal> {
    let wrong = || Refusal::field(name, "This must be an integer.");
    let Some(value) = fields.remove(name) else {
        return Ok(None);
    };
    if let Some(integer) = value.as_i64() {
        return Ok(Some(integer));
    }
    let float = value
        .as_f64()
        .filter(|float| float.fract() == 0.0)
        .ok_or_else(wrong)?;
    format!("{float:.0}").parse().map(Some).map_err(|_| wrong())
}

fn boolean(fields: &mut Fields, name: &'static str) -> Result<Option<bool>, Refusal> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(_) => Err(Refusal::field(name, "Either true or false.")),
    }
}

/// Reads an object within, of known fields.
fn inner(
    fields_of: &mut Fields,
    name: &'static str,
    known: &[&'static str],
) -> Result<Option<Fields>, Refusal> {
    fields_of
        .remove(name)
        .map(|value| fields(value, known))
        .transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::keys::{new_key, patched_ring};
    use super::*;

    fn code(body: &Value) -> Option<&'static str> {
        new_key(body.to_string().as_bytes(), None, false)
            .unwrap_err()
            .code()
    }

    fn wrapped(resource: &Value) -> Value {
        json!({ "metadata": { "collectionTotal": 1 }, "resources": [resource] })
    }

    #[test]
    fn bodies_of_a_wrong_shape_are_refused_by_name() {
        assert_eq!(
            new_key(b" ", None, false).unwrap_err().code(),
            Some("NO_BODY_ERR")
        );
        assert_eq!(
            new_key(b"{", None, false).unwrap_err().code(),
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
            new_key(key.to_string().as_bytes(), None, false)
                .unwrap()
                .tags,
            ["ab"]
        );
    }
}
