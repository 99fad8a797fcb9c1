//! A Secret as the API server's own protobuf, for a floor that writes it as the operator does.
//! Written apart from the operator's encoder, so that what is measured is not the operator.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use crate::failure::{Context, Result};

pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Writes what a Secret's JSON says. Field numbers are those of Kubernetes' `generated.proto`.
pub(crate) fn secret(json: &Value) -> Result<Bytes> {
    let of = &json["metadata"];
    let mut metadata = Vec::new();
    field(&mut metadata, 1, text(&of["name"])?);
    field(&mut metadata, 3, text(&of["namespace"])?);
    for (number, map) in [(11, &of["labels"]), (12, &of["annotations"])] {
        for (name, value) in map.as_object().into_iter().flatten() {
            field(&mut metadata, number, &pair(name.as_bytes(), text(value)?));
        }
    }
    for owner in of["ownerReferences"].as_array().into_iter().flatten() {
        let mut reference = Vec::new();
        for (number, name) in [(1, "kind"), (3, "name"), (4, "uid"), (5, "apiVersion")] {
            field(&mut reference, number, text(&owner[name])?);
        }
        field(&mut metadata, 13, &reference);
    }
    let mut secret = Vec::new();
    field(&mut secret, 1, &metadata);
    for (name, value) in json["data"].as_object().into_iter().flatten() {
        let value = STANDARD.decode(text(value)?)?;
        field(&mut secret, 2, &pair(name.as_bytes(), &value));
    }
    field(&mut secret, 3, text(&json["type"])?);
    let mut kind = Vec::new();
    field(&mut kind, 1, b"v1");
    field(&mut kind, 2, b"Secret");
    let mut out = b"k8s\0".to_vec();
    field(&mut out, 1, &kind);
    field(&mut out, 2, &secret);
    Ok(Bytes::from(out))
}

fn text(value: &Value) -> Result<&[u8]> {
    let text = value.as_str().context(|| format!("{value} is no text"))?;
    Ok(text.as_bytes())
}

fn pair(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, 1, name);
    field(&mut out, 2, value);
    out
}

fn field(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_a_byte_are_written_as_varints() {
        let mut out = Vec::new();
        field(&mut out, 2, &[7; 200]);
        assert_eq!(out[..3], [0x12, 0xc8, 0x01]);
        assert_eq!(out.len(), 203);
    }
}
