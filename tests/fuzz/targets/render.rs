//! What makes a Secret of a payload: templates, paths, encodings, JSON.

use key_protect_operator::api::key::{Encoding, Entry, Expand, Target};
use key_protect_operator::domain::secret::render::limits::{
    ENTRIES, OUTPUT_BYTES, SECRET_BYTES, TEMPLATE_BYTES,
};
use key_protect_operator::domain::secret::render::{DesiredData, Source, Template, project};
use key_protect_operator::domain::secret::target::TargetSpec;
use key_protect_operator::domain::service::ids::{Alias, KeyId};
use key_protect_operator::domain::service::material::KeyMaterial;
use key_protect_operator::domain::service::metadata::KeyMetadata;
use key_protect_operator::domain::service::reference::{KeyName, KeyReference};
use serde_json::Value;
use zeroize::Zeroizing;

use super::two;

/// What no author writes, and so what no message may have.
const CANARY: &str = "canary-9f27c41b";

/// Makes a Secret's data. What goes wrong is told without a word of the payload.
fn made(target: &Target, payload: &[u8]) -> Option<DesiredData> {
    let alias = Alias::parse("orders-db").ok()?;
    let main = KeyReference {
        name: KeyName::Alias(alias),
        ring: None,
    };
    let spec = TargetSpec::new("orders-db", Some(target), &main, &[]).ok()?;
    let id = KeyId::parse("02fd6835-6001-4482-a892-13bd2085f75d").ok()?;
    let metadata = KeyMetadata {
        name: Some("orders".to_owned()),
        ..KeyMetadata::unknown(id)
    };
    let material = KeyMaterial::new(Zeroizing::new(payload.to_vec()));
    let source = Source {
        metadata: &metadata,
        alias: Some("orders-db"),
        material: &material,
    };
    let sources: Vec<_> = spec.sources.iter().map(|_| source).collect();
    match project(&spec, &sources) {
        Ok(data) => {
            let sizes = data.entries.values().map(|value| value.expose().len());
            assert!(sizes.sum::<usize>() <= SECRET_BYTES);
            assert!(data.entries.len() <= ENTRIES);
            assert!(!format!("{data:?}").contains(CANARY));
            Some(data)
        }
        Err(error) => {
            let (message, shown) = (error.to_string(), format!("{error:?}"));
            assert!(
                !message.contains(CANARY) && !shown.contains(CANARY),
                "the payload is quoted: {message}"
            );
            assert!(message.len() < 2048, "{} bytes of message", message.len());
            None
        }
    }
}

fn entry(change: impl FnOnce(&mut Entry)) -> Target {
    let mut entry = Entry {
        name: "entry".to_owned(),
        ..Entry::default()
    };
    change(&mut entry);
    Target {
        data: Some(vec![entry]),
        ..Target::default()
    }
}

fn only(data: &DesiredData) -> &[u8] {
    data.entries["entry"].expose()
}

/// A template is parsed or refused at a place within it; what it makes is bounded, the same each
/// time, and a text without `{{` is itself.
pub(crate) fn templates(data: &[u8]) {
    let Some((text, payload)) = two(data) else {
        return;
    };
    match Template::parse(text) {
        Ok(_) => assert!(text.len() <= TEMPLATE_BYTES),
        Err(error) => {
            let characters = text.chars().count();
            assert!((1..=characters + 1).contains(&error.position), "{error:?}");
            return;
        }
    }
    if text.contains(CANARY) {
        return;
    }
    let target = entry(|entry| entry.template = Some(text.to_owned()));
    let payload = [payload, CANARY.as_bytes()].concat();
    let Some(data) = made(&target, &payload) else {
        return;
    };
    assert!(only(&data).len() <= OUTPUT_BYTES);
    if !text.contains("{{") {
        assert_eq!(only(&data), text.as_bytes());
    }
    let again = made(&target, &payload);
    assert_eq!(again.as_ref().map(only), Some(only(&data)));
}

/// A payload in every encoding decodes to itself, a field is found as `serde_json` finds it, and an
/// expanded object has exactly its fields.
pub(crate) fn payloads(data: &[u8]) {
    let Some((path, payload)) = two(data) else {
        return;
    };
    if path.contains(CANARY) {
        return;
    }
    encodings(payload);
    let value: Option<Value> = serde_json::from_slice(payload).ok();
    let target = entry(|entry| entry.property = Some(path.to_owned()));
    if let Some(found) = made(&target, payload)
        && let Some(Value::String(text)) = value.as_ref().and_then(|value| value.get(path))
    {
        assert_eq!(only(&found), text.as_bytes(), "{path:?}");
    }
    let broken = [payload, CANARY.as_bytes()].concat();
    drop(made(&target, &broken));
    let expanded = Target {
        expand: Some(Expand::Json),
        ..Target::default()
    };
    drop(made(&expanded, &broken));
    if let Some(expanded) = made(&expanded, payload) {
        let Some(Value::Object(object)) = value else {
            panic!("expanded what serde_json takes for no object");
        };
        let names: Vec<_> = object.keys().collect();
        assert_eq!(expanded.entries.keys().collect::<Vec<_>>(), names);
        for (name, value) in &expanded.entries {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            assert!(
                name.bytes().all(legal) && !name.starts_with(".."),
                "{name:?}"
            );
            if let Value::String(text) = &object[name] {
                assert_eq!(value.expose(), text.as_bytes());
            }
        }
    }
}

fn encodings(payload: &[u8]) {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    let hex = || payload.iter().map(|byte| format!("{byte:02x}")).collect();
    for (encoding, expected) in [
        (Encoding::Raw, None),
        (Encoding::Text, None),
        (Encoding::Base64, Some(STANDARD.encode(payload))),
        (Encoding::Base64Url, Some(URL_SAFE.encode(payload))),
        (
            Encoding::Base64UrlNoPad,
            Some(URL_SAFE_NO_PAD.encode(payload)),
        ),
        (Encoding::Hex, Some(hex())),
    ] {
        let target = entry(|entry| entry.encoding = Some(encoding));
        let Some(data) = made(&target, payload) else {
            continue;
        };
        match expected {
            Some(expected) => assert_eq!(only(&data), expected.as_bytes(), "{encoding:?}"),
            None if encoding == Encoding::Raw => assert_eq!(only(&data), payload),
            None => assert!(std::str::from_utf8(only(&data)).is_ok()),
        }
    }
}
