//! The body of a Secret's write as the API server's own protobuf, which costs it less to read than
//! JSON, and needs no base64. Field numbers are those of `k8s.io/api/core/v1/generated.proto` and
//! `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`, which never change.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use zeroize::Zeroizing;

use super::secrets::Seen;
use crate::domain::look::plan::SecretBody;

/// The media type of [`secret`].
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What a protobuf of Kubernetes begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Writes a Secret into one buffer of known size, which is wiped when it is dropped: growth would
/// leave copies of the payload behind.
pub(super) fn secret(
    namespace: &str,
    body: &SecretBody,
    seen: Option<Seen<'_>>,
) -> Zeroizing<Vec<u8>> {
    let mut head = Vec::new();
    string(&mut head, 1, "v1");
    string(&mut head, 2, "Secret");
    let metadata = metadata(namespace, body, seen);
    let secret_type = body.secret_type.as_str();
    let entries = || {
        let entries = body.entries.iter();
        entries.map(|(name, value)| (name.as_str(), value.expose()))
    };
    let entry_size =
        |(name, value): (&str, &[u8])| field_size(name.len()) + field_size(value.len());
    let secret_size = field_size(metadata.len())
        + entries()
            .map(|entry| field_size(entry_size(entry)))
            .sum::<usize>()
        + field_size(secret_type.len());
    let size = MAGIC.len() + field_size(head.len()) + field_size(secret_size);

    let mut out = Zeroizing::new(Vec::with_capacity(size));
    out.extend_from_slice(MAGIC);
    bytes(&mut out, 1, &head);
    prefix(&mut out, 2, secret_size);
    bytes(&mut out, 1, &metadata);
    for (name, value) in entries() {
        prefix(&mut out, 2, entry_size((name, value)));
        string(&mut out, 1, name);
        bytes(&mut out, 2, value);
    }
    string(&mut out, 3, secret_type);
    debug_assert_eq!(out.len(), size, "the size was reckoned beforehand");
    out
}

fn metadata(namespace: &str, body: &SecretBody, seen: Option<Seen<'_>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    string(&mut out, 1, &body.name);
    string(&mut out, 3, namespace);
    if let Some(seen) = seen {
        string(&mut out, 5, seen.uid);
        string(&mut out, 6, seen.resource_version);
    }
    map(&mut out, 11, &body.labels);
    map(&mut out, 12, &body.annotations);
    for owner in &body.owner_references {
        bytes(&mut out, 13, &owner_reference(owner));
    }
    for finalizer in &body.finalizers {
        string(&mut out, 14, finalizer);
    }
    out
}

fn owner_reference(owner: &OwnerReference) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    string(&mut out, 1, &owner.kind);
    string(&mut out, 3, &owner.name);
    string(&mut out, 4, &owner.uid);
    string(&mut out, 5, &owner.api_version);
    for (field, flag) in [(6, owner.controller), (7, owner.block_owner_deletion)] {
        if let Some(flag) = flag {
            // A varint: wire type 0.
            out.extend_from_slice(&[field << 3, u8::from(flag)]);
        }
    }
    out
}

fn map(out: &mut Vec<u8>, field: u8, entries: &BTreeMap<String, String>) {
    for (name, value) in entries {
        prefix(out, field, field_size(name.len()) + field_size(value.len()));
        string(out, 1, name);
        string(out, 2, value);
    }
}

fn string(out: &mut Vec<u8>, field: u8, text: &str) {
    bytes(out, field, text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    prefix(out, field, value.len());
    out.extend_from_slice(value);
}

/// What stands before so many bytes: the field, up to 15, with wire type 2, and their number.
fn prefix(out: &mut Vec<u8>, field: u8, mut length: usize) {
    out.push(field << 3 | 2);
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
}

/// How long a field with so many bytes is, as [`prefix`] and they are written.
const fn field_size(length: usize) -> usize {
    let mut size = 2 + length;
    let mut rest = length >> 7;
    while rest > 0 {
        size += 1;
        rest >>= 7;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::key::SecretType;
    use crate::domain::service::material::KeyMaterial;

    #[test]
    fn a_secret_is_written_as_the_api_server_reads_it() {
        let text = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let body = SecretBody {
            name: "n".to_owned(),
            secret_type: SecretType::Opaque,
            labels: text(&[("l", "v")]),
            annotations: text(&[("a", "w")]),
            owner_references: vec![OwnerReference {
                api_version: "g/v1".to_owned(),
                kind: "K".to_owned(),
                name: "o".to_owned(),
                uid: "u".to_owned(),
                controller: None,
                block_owner_deletion: Some(false),
            }],
            finalizers: vec!["f".to_owned()],
            entries: [(
                "key".to_owned(),
                KeyMaterial::new(Zeroizing::new(vec![0xff; 200])),
            )]
            .into(),
        };
        let seen = Seen {
            uid: "id",
            resource_version: "7",
        };
        let mut wanted = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x91\x02".to_vec();
        wanted.extend_from_slice(b"\x0a\x34\x0a\x01n\x1a\x02ns\x2a\x02id\x32\x017");
        wanted.extend_from_slice(b"\x5a\x06\x0a\x01l\x12\x01v\x62\x06\x0a\x01a\x12\x01w");
        wanted.extend_from_slice(b"\x6a\x11\x0a\x01K\x1a\x01o\x22\x01u\x2a\x04g/v1\x38\x00");
        wanted.extend_from_slice(b"\x72\x01f\x12\xd0\x01\x0a\x03key\x12\xc8\x01");
        wanted.extend_from_slice(&[0xff; 200]);
        wanted.extend_from_slice(b"\x1a\x06Opaque");
        let written = secret("ns", &body, Some(seen));
        assert_eq!(*written, wanted);
        // Nothing was moved while it grew.
        assert_eq!(written.len(), written.capacity());
    }
}
