//! Answers, well-formed and not.

use super::*;
use secrecy::ExposeSecret;

const ID: &str = "02fd6835-6001-4482-a892-13bd2085f75d";

fn key_body(fields: &str) -> Vec<u8> {
    format!(
        r#"{{"metadata":{{"collectionType":"application/vnd.ibm.kms.key+json","collectionTotal":1}},"resources":[{{"id":"{ID}"{fields}}}]}}"#
    )
    .into_bytes()
}

fn payload(fields: &str) -> Result<Option<Vec<u8>>, WireError> {
    key(&key_body(fields)).map(|(_, material)| material.map(|bytes| bytes.expose().to_vec()))
}

#[test]
fn a_key_is_read_with_every_field_it_has() {
    let body = key_body(
        r#","type":"application/vnd.ibm.kms.key+json","name":"n","aliases":["a","b"],"keyRingID":"payments","state":1,"extractable":true,"deleted":false,"crn":"crn:…","creationDate":"2026-01-02T03:04:05Z","expirationDate":"2027-01-02T03:04:05.678901234Z","unknown":{"x":[1]}"#,
    );
    let key = key_metadata(&body).unwrap();
    assert_eq!(key.id.as_str(), ID);
    assert_eq!(key.name.as_deref(), Some("n"));
    assert_eq!(key.aliases, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(key.key_ring.as_deref(), Some("payments"));
    assert_eq!(key.state, Some(KeyState::Active));
    assert_eq!((key.extractable, key.deleted), (Some(true), Some(false)));
    assert_eq!(
        key.creation_date.unwrap().to_string(),
        "2026-01-02T03:04:05Z"
    );
    assert!(key.expiration_date.is_some());
}

#[test]
fn a_field_that_is_missing_null_or_odd_is_unknown() {
    for fields in [
        "",
        r#","name":null,"aliases":null,"keyRingID":null,"state":null,"extractable":null,"deleted":null,"crn":null,"creationDate":null,"expirationDate":null"#,
        r#","name":5,"aliases":"a","keyRingID":[],"state":"1","extractable":"true","deleted":0,"crn":{},"creationDate":"yesterday","expirationDate":17"#,
        r#","state":4,"aliases":[1]"#,
    ] {
        let id = KeyId::parse(ID).unwrap();
        assert_eq!(
            key_metadata(&key_body(fields)),
            Ok(KeyMetadata::unknown(id)),
            "{fields}"
        );
    }
}

#[test]
fn a_payload_is_decoded_line_breaks_and_all() {
    for (fields, bytes) in [
        (r#","payload":"aGVsbG8=""#, Some("hello")),
        (r#","payload":"aGVsbG8""#, Some("hello")),
        (r#","payload":"aGVs\r\nbG8=\n""#, Some("hello")),
        (r#","payload":" aGVs bG8= ""#, Some("hello")),
        (r#","payload":"Pz8\/Pz8=""#, Some("?????")),
        (r#","payload":"\u0061GVsbG8=""#, Some("hello")),
        ("", None),
        (r#","payload":null"#, None),
        (r#","payload":"""#, None),
        (r#","payload":"\n""#, None),
    ] {
        let expected = bytes.map(|text| text.as_bytes().to_vec());
        assert_eq!(payload(fields), Ok(expected), "{fields}");
    }
    let all: Vec<u8> = (0..=255).collect();
    let text = base64::engine::general_purpose::STANDARD.encode(&all);
    assert_eq!(payload(&format!(r#","payload":"{text}""#)), Ok(Some(all)));
}

#[test]
fn a_payload_that_is_none_is_an_error_that_does_not_quote_it() {
    for fields in [
        r#","payload":"canary!""#,
        r#","payload":"aGVsbG8_""#,
        r#","payload":"a""#,
        r#","payload":"aGVsbG8=aGVsbG8=""#,
        r#","payload":["canary"]"#,
        r#","payload":17"#,
    ] {
        let error = payload(fields).unwrap_err();
        assert_eq!(error, WireError::Payload, "{fields}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[test]
fn an_answer_that_is_no_key_is_an_error() {
    for (body, error) in [
        ("", WireError::Json),
        ("<html></html>", WireError::Json),
        ("null", WireError::Json),
        ("[]", WireError::Json),
        ("{", WireError::Json),
        ("{\"resources\":[{\"id\":\"02fd6835", WireError::Json),
        ("\u{feff}{}", WireError::Json),
        ("{}", WireError::NotOneKey),
        ("{\"resources\":null}", WireError::NotOneKey),
        ("{\"resources\":[]}", WireError::NotOneKey),
        ("{\"resources\":[{},{}]}", WireError::NotOneKey),
        ("{\"resources\":[{}]}", WireError::NoId),
        ("{\"resources\":[{\"id\":\"../keys\"}]}", WireError::NoId),
        ("{\"resources\":[{\"id\":5}]}", WireError::NoId),
    ] {
        assert_eq!(key_metadata(body.as_bytes()), Err(error), "{body}");
        assert_eq!(key(body.as_bytes()).map(|_| ()), Err(error), "{body}");
    }
    assert_eq!(key_metadata(&[b'['; 100_000]), Err(WireError::Json));
}

#[test]
fn a_page_is_counted_by_its_rows() {
    let body = format!(
        r#"{{"metadata":{{"collectionTotal":2}},"resources":[{{"id":"{ID}"}},{{"id":"odd"}}]}}"#
    );
    let page = key_page(body.as_bytes()).unwrap();
    assert_eq!(
        (page.rows.len(), page.count, page.announced),
        (1, 2, Some(2))
    );
    // The service's answer to who may not list.
    let page = key_page(br#"{"metadata":{"collectionType":"x","collectionTotal":0}}"#).unwrap();
    assert_eq!(
        (page.rows.len(), page.count, page.announced),
        (0, 0, Some(0))
    );
    for body in [
        "",
        "{}",
        "<html>",
        "[]",
        "{\"metadata\":{}, \"resources\":[{]}",
        "{\"resources\":{}}",
    ] {
        assert_eq!(key_page(body.as_bytes()), Err(WireError::Json), "{body}");
    }
}

#[test]
fn a_token_answer_is_read_whatever_it_says_of_its_life() {
    for (rest, expires_in, expiration) in [
        ("", None, None),
        (
            r#","expires_in":3600,"expiration":1473188353"#,
            Some(3600.0),
            Some(1_473_188_353),
        ),
        (r#","expires_in":"3600""#, Some(3600.0), None),
        (r#","expires_in":0"#, Some(0.0), None),
        (r#","expires_in":-1,"expiration":"soon""#, Some(-1.0), None),
        (r#","expires_in":1e300"#, Some(1e300), None),
        (r#","expires_in":null"#, None, None),
        (r#","expires_in":{}"#, None, None),
    ] {
        let body =
            format!(r#"{{"access_token":"t","refresh_token":"r","token_type":"Bearer"{rest}}}"#);
        let answer = token(body.as_bytes()).unwrap();
        assert_eq!(answer.access_token.expose_secret(), "t");
        assert_eq!(
            (answer.expires_in, answer.expiration),
            (expires_in, expiration),
            "{rest}"
        );
    }
    for (body, error) in [
        ("{}", WireError::NoToken),
        (r#"{"access_token":""}"#, WireError::NoToken),
        (r#"{"access_token":null}"#, WireError::NoToken),
        (r#"{"access_token":5}"#, WireError::Json),
        ("", WireError::Json),
        ("<html>", WireError::Json),
    ] {
        assert_eq!(token(body.as_bytes()).map(|_| ()), Err(error), "{body}");
    }
}

#[test]
fn an_iam_error_is_read_by_code_and_request_id() {
    let error = iam_error(br#"{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found","context":{"requestId":"MTIz-abc.1","url":"https://iam"}}"#);
    assert!(error.is_own);
    assert_eq!(error.codes, ["BXNIM0415E"]);
    assert_eq!(error.request_id.as_deref(), Some("MTIz-abc.1"));
    let error = iam_error(br#"{"errorCode":"<script>","context":{"requestId":"a b\n"}}"#);
    assert!(error.is_own && error.codes.is_empty() && error.request_id.is_none());
    for body in ["", "<html>", "{}", "{\"error\":\"x\"}", "[]"] {
        assert_eq!(iam_error(body.as_bytes()), ErrorBody::default(), "{body}");
    }
}
