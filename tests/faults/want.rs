//! What an object's Secret should hold: the harness's own reading of a spec, which knows nothing
//! of the operator's. Only the forms that the churn makes are known here. Plain values.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

use crate::ledger::Named;

pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// The name of the Secret that an object asks for.
pub(crate) fn target(object: &Value) -> &str {
    let named = object["spec"]["target"]["name"].as_str();
    named
        .or_else(|| object["metadata"]["name"].as_str())
        .unwrap_or_default()
}

/// The KeyProtectInstance that an object names.
pub(crate) fn instance(object: &Value) -> &str {
    let named = object["spec"]["instanceRef"]["name"].as_str();
    named.unwrap_or_default()
}

/// Whether an object's Secret outlives it.
pub(crate) fn stays(object: &Value) -> bool {
    object["spec"]["target"]["deletionPolicy"] == "Retain"
}

fn named(selector: &Value, object: &Value) -> Named {
    let text = |field: &str| selector[field].as_str().map(str::to_owned);
    if let Some(id) = text("id") {
        return Named::Id(id);
    }
    if let Some(name) = text("name") {
        let ring = text("keyRing").unwrap_or_default();
        return Named::Name { name, ring };
    }
    let own = object["metadata"]["name"].as_str().unwrap_or_default();
    Named::Alias(text("alias").unwrap_or_else(|| own.to_owned()))
}

fn entries(object: &Value) -> &[Value] {
    let entries = object["spec"]["target"]["data"].as_array();
    entries.map_or(&[], Vec::as_slice)
}

/// The keys that an object needs, the main one first; each once.
pub(crate) fn sources(object: &Value) -> Vec<Named> {
    let main = named(&object["spec"]["key"], object);
    let entries = entries(object);
    let needs_main = entries.is_empty()
        || entries
            .iter()
            .any(|entry| entry["from"].is_null() && entry["value"].is_null());
    let mut all: Vec<Named> = needs_main.then_some(main).into_iter().collect();
    for entry in entries.iter().filter(|entry| !entry["from"].is_null()) {
        let other = named(&entry["from"], object);
        if !all.contains(&other) {
            all.push(other);
        }
    }
    all
}

/// The data that an object's Secret has, where its keys have these payloads; nothing for a spec
/// that the churn does not make.
pub(crate) fn data<'p>(
    object: &Value,
    payload: impl Fn(&Named) -> Option<&'p [u8]>,
) -> Option<Data> {
    let main = named(&object["spec"]["key"], object);
    if object["spec"]["target"]["expand"] == "JSON" {
        let fields: Value = serde_json::from_slice(payload(&main)?).ok()?;
        let fields = fields.as_object()?.iter();
        return Some(
            fields
                .map(|(field, value)| {
                    let text = value.as_str().map(str::to_owned);
                    let text = text.unwrap_or_else(|| value.to_string());
                    (field.clone(), text.into_bytes())
                })
                .collect(),
        );
    }
    let entries = entries(object);
    if entries.is_empty() {
        return Some([("key".to_owned(), payload(&main)?.to_vec())].into());
    }
    entries
        .iter()
        .map(|entry| {
            let name = entry["name"].as_str()?.to_owned();
            if let Some(literal) = entry["value"].as_str() {
                return Some((name, literal.as_bytes().to_vec()));
            }
            let source = if entry["from"].is_null() {
                main.clone()
            } else {
                named(&entry["from"], object)
            };
            Some((name, written(entry, payload(&source)?)?))
        })
        .collect()
}

fn written(entry: &Value, payload: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = payload.to_vec();
    if let Some(property) = entry["property"].as_str() {
        let fields: Value = serde_json::from_slice(payload).ok()?;
        bytes = fields[property].as_str()?.as_bytes().to_vec();
    }
    if let Some(template) = entry["template"].as_str() {
        let (front, rest) = template.split_once("{{ payload | json('password') }}")?;
        let fields: Value = serde_json::from_slice(payload).ok()?;
        let password = fields["password"].as_str()?;
        bytes = format!("{front}{password}{rest}").into_bytes();
    }
    match entry["encoding"].as_str() {
        None | Some("Raw" | "Text") => Some(bytes),
        Some("Base64") => Some(STANDARD.encode(bytes).into_bytes()),
        Some("Base64URL") => Some(URL_SAFE.encode(bytes).into_bytes()),
        Some("Hex") => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(hex.into_bytes())
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_spec_is_read_as_the_documents_say() {
        let payload = br#"{"password":"p","user":"u"}"#;
        let make = |target: Value| {
            let object = json!({"metadata": {"name": "o"}, "spec": {"target": target}});
            let data = data(&object, |_| Some(payload))?;
            let text = |value: &Vec<u8>| String::from_utf8(value.clone()).expect("text");
            Some(
                data.iter()
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect::<BTreeMap<_, _>>(),
            )
        };
        let is = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            Some(
                pairs
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            )
        };
        let whole = r#"{"password":"p","user":"u"}"#;
        assert_eq!(make(Value::Null), is(&[("key", whole)]));
        assert_eq!(
            make(json!({"expand": "JSON"})),
            is(&[("password", "p"), ("user", "u")])
        );
        let entries = json!({"data": [
            {"name": "a", "property": "user", "encoding": "Hex"},
            {"name": "b", "template": "x:{{ payload | json('password') }}@y"},
            {"name": "c", "value": "literal"},
        ]});
        assert_eq!(
            make(entries),
            is(&[("a", "75"), ("b", "x:p@y"), ("c", "literal")])
        );
    }

    #[test]
    fn the_keys_that_a_spec_needs_are_all_found() {
        let object = json!({"metadata": {"name": "o"}, "spec": {"target": {"data": [
            {"name": "a"}, {"name": "b", "from": {"alias": "x"}},
            {"name": "c", "from": {"name": "n", "keyRing": "r"}}, {"name": "d", "from": {"alias": "x"}},
        ]}}});
        let alias = |text: &str| Named::Alias(text.to_owned());
        let name = Named::Name {
            name: "n".to_owned(),
            ring: "r".to_owned(),
        };
        assert_eq!(sources(&object), [alias("o"), alias("x"), name]);
    }
}
