//! The body of a server-side apply of entries: JSON, in one buffer of known size that is wiped
//! when it is dropped.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use zeroize::Zeroizing;

use super::secrets::Seen;
use crate::domain::service::material::KeyMaterial;

/// The media type of [`entries`]: YAML, of which JSON is a part.
pub(super) const MEDIA_TYPE: &str = "application/apply-patch+yaml";

/// Writes a Secret that has these entries, and nothing else to say. None at all gives back what
/// the manager has.
pub(super) fn entries(
    name: &str,
    seen: Seen<'_>,
    entries: &BTreeMap<String, KeyMaterial>,
) -> Zeroizing<Vec<u8>> {
    let metadata = json!({
        "name": name,
        "uid": seen.uid,
        "resourceVersion": seen.resource_version,
    });
    let head = format!(r#"{{"apiVersion":"v1","kind":"Secret","metadata":{metadata},"data":{{"#);
    let encoded = |value: &KeyMaterial| value.expose().len().div_ceil(3) * 4;
    // An entry's name, four quotes, a colon and a comma.
    let size = head.len()
        + entries
            .iter()
            .map(|(name, value)| name.len() + encoded(value) + 6)
            .sum::<usize>()
        + 2;
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    out.extend_from_slice(head.as_bytes());
    for (index, (name, value)) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'"');
        // Names of entries have no character that JSON would have to escape.
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":\"");
        let start = out.len();
        out.resize(start + encoded(value), 0);
        let room = out.get_mut(start..).unwrap_or_default();
        // The room is as large as the text, so this cannot fail.
        let written = STANDARD.encode_slice(value.expose(), room);
        debug_assert_eq!(written, Ok(encoded(value)));
        out.push(b'"');
    }
    out.extend_from_slice(b"}}");
    debug_assert!(out.len() <= size, "the size was reckoned beforehand");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_written_as_the_api_server_reads_them_in_a_buffer_that_never_grows() {
        let material = |length: u8| KeyMaterial::new(Zeroizing::new((0..length).collect()));
        let seen = Seen {
            uid: "u\"",
            resource_version: "7",
        };
        for lengths in [&[][..], &[0], &[1], &[2, 3], &[255, 4, 0]] {
            let all: BTreeMap<String, KeyMaterial> = lengths
                .iter()
                .enumerate()
                .map(|(at, length)| (format!("a.b-{at}"), material(*length)))
                .collect();
            let written = entries("s", seen, &all);
            assert!(written.capacity() >= written.len());
            let read: serde_json::Value = serde_json::from_slice(&written).unwrap();
            let data: serde_json::Map<String, serde_json::Value> = all
                .iter()
                .map(|(name, value)| (name.clone(), STANDARD.encode(value.expose()).into()))
                .collect();
            let metadata = json!({"name": "s", "uid": "u\"", "resourceVersion": "7"});
            let expected = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data,
            });
            assert_eq!(read, expected);
        }
    }
}
