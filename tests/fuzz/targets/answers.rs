//! Answers of Key Protect and of IAM.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use key_protect_operator::domain::service::ids::KeyId;
use key_protect_operator::keyprotect::wire;
use secrecy::ExposeSecret;
use serde_json::Value;

/// Whatever comes is read or refused; what is read is what was written, and of a text nothing is
/// kept but what has a known form.
pub(crate) fn answers(data: &[u8]) {
    listing(data);
    key(data);
    drop(wire::key_rings(data));
    if let Ok(token) = wire::token(data) {
        let text = token.access_token.expose_secret();
        assert!(!text.is_empty(), "an empty token");
        let is_in = data.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(is_in, "another token than the one that was sent");
    }
    for error in [wire::service_error(data), wire::iam_error(data)] {
        assert!(
            error.is_own || (error.codes.is_empty() && error.request_id.is_none()),
            "a gateway's page has no codes: {error:?}"
        );
        for code in &error.codes {
            let known =
                |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(code.len() <= 64 && code.bytes().all(known), "{code:?}");
        }
        if let Some(id) = &error.request_id {
            let shown = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'<';
            assert!(id.len() <= 128 && id.bytes().all(shown), "{id:?}");
        }
    }
}

fn listing(data: &[u8]) {
    let Ok(page) = wire::key_page(data) else {
        return;
    };
    assert!(page.rows.len() <= page.count);
    for row in &page.rows {
        assert_eq!(KeyId::parse(row.id.as_str()).as_ref(), Ok(&row.id));
    }
    if let Ok(metadata) = wire::key_metadata(data) {
        assert_eq!(page.count, 1, "one key is a page of one");
        assert_eq!(page.rows, [metadata]);
    }
}

fn key(data: &[u8]) {
    let Ok((metadata, material)) = wire::key(data) else {
        return;
    };
    assert_eq!(wire::key_metadata(data), Ok(metadata));
    let Some(material) = material else { return };
    assert!(!material.expose().is_empty(), "an empty payload is none");
    // The service's own word, read by another decoder: which takes only whole text, where the
    // operator does not look at what it has no use for.
    let Ok(answer) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let written: String = answer["resources"][0]["payload"]
        .as_str()
        .unwrap_or_default()
        .chars()
        .filter(|character| !character.is_ascii_whitespace())
        .collect();
    let again = STANDARD.encode(material.expose());
    assert_eq!(
        again.trim_end_matches('='),
        written.trim_end_matches('='),
        "another payload than the one that was sent"
    );
    let shown = format!("{material:?}");
    assert!(again.len() < 8 || !shown.contains(&again), "{shown}");
}
