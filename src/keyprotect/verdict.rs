//! What an answer of Key Protect other than 200 means. What follows from it is decided
//! elsewhere, so this errs on the side of "the service failed": only a whole and well-formed
//! answer says that a key is not there.

use super::http::Answer;
use super::wire;
use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};

/// A token that is no JWT (Key Protect docs, "Error messages").
const BAD_TOKEN: &str = "BEARER_SUB_EXTRACTION_ERR";
/// An unknown key.
const NO_KEY: &str = "KEY_NOT_FOUND_ERR";

/// Tells whether another token may help.
pub(super) fn may_be_the_token(failure: &FetchFailure) -> bool {
    failure.kind == FailureKind::Denied
        && (failure.status == Some(401) || failure.code.as_deref() == Some(BAD_TOKEN))
}

/// Judges an answer.
pub(super) fn of(operation: Operation, answer: &Answer, correlation_id: String) -> FetchFailure {
    let error = wire::service_error(&answer.body);
    let has = |code: &str| error.codes.iter().any(|own| own == code);
    let is_page = !error.is_own && !answer.body.is_empty();
    let (kind, detail) = match answer.status {
        400 if has(BAD_TOKEN) => (FailureKind::Denied, "the token was not understood"),
        400 if error.is_own => (FailureKind::Invalid, "the request was refused as malformed"),
        401 => (FailureKind::Denied, "refused"),
        403 => (
            FailureKind::Denied,
            "refused by a rule of the instance or its account",
        ),
        404 if has(NO_KEY) => (FailureKind::KeyNotFound, "there is no such key"),
        404 => (
            FailureKind::ServiceError,
            "nothing answers at this address; check the instance's ID, region and endpoint",
        ),
        // A page in some gateway's own words is no word about a key.
        410 if !is_page => (FailureKind::KeyGone, "the key was deleted"),
        429 => (
            FailureKind::Throttled,
            "the service asks for fewer requests",
        ),
        300..400 => (
            FailureKind::ServiceError,
            "answered with a redirect, which is not followed",
        ),
        500.. => (FailureKind::ServiceError, "the service failed"),
        _ => (
            FailureKind::ServiceError,
            "answered in a way that is not understood",
        ),
    };
    let preferred = [NO_KEY, BAD_TOKEN].into_iter().find(|code| has(code));
    FetchFailure {
        status: Some(answer.status),
        code: preferred
            .map(str::to_owned)
            .or_else(|| error.codes.into_iter().next()),
        request_id: Some(correlation_id),
        retry_after: answer.retry_after,
        ..FetchFailure::new(operation, kind, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn judge(status: u16, body: &str) -> (FailureKind, Option<String>) {
        let answer = Answer {
            status,
            body: Zeroizing::new(body.as_bytes().to_vec()),
            retry_after: None,
            correlation_id: None,
        };
        let failure = of(Operation::GetKey, &answer, "id".into());
        assert!(!failure.to_string().contains("canary"));
        (failure.kind, failure.code)
    }

    #[test]
    fn only_a_well_formed_answer_says_that_a_key_is_not_there() {
        use FailureKind::*;
        let reason = |code: &str| {
            format!(
                r#"{{"metadata":{{"collectionType":"application/vnd.ibm.kms.error+json","collectionTotal":1}},"resources":[{{"errorMsg":"Not Found: canary","reasons":[{{"code":"{code}","message":"canary","status":404}}]}}]}}"#
            )
        };
        let bracket = r#"{"resources":[{"errorMsg":"Not Found: Key does not exist. Please see `reasons` for more details (KEY_NOT_FOUND_ERR)"}]}"#;
        let bare = r#"{"resources":[{"errorMsg":"Unauthorized: The user does not have access to the specified resource canary"}]}"#;
        let html = "<html><body>canary (KEY_NOT_FOUND_ERR)</body></html>";
        for (status, body, kind, code) in [
            (
                404,
                reason("KEY_NOT_FOUND_ERR"),
                KeyNotFound,
                Some("KEY_NOT_FOUND_ERR"),
            ),
            (404, bracket.into(), KeyNotFound, Some("KEY_NOT_FOUND_ERR")),
            (
                404,
                reason("INSTANCE_NOT_FOUND_ERR"),
                ServiceError,
                Some("INSTANCE_NOT_FOUND_ERR"),
            ),
            (404, bare.into(), ServiceError, None),
            (404, html.into(), ServiceError, None),
            (404, String::new(), ServiceError, None),
            (
                404,
                "{\"resources\":[{\"reasons\":[{\"code\":\"KEY_NOT_FOUND".into(),
                ServiceError,
                None,
            ),
            (
                404,
                "{\"errorMsg\":\"KEY_NOT_FOUND_ERR\"}".into(),
                ServiceError,
                None,
            ),
            (
                410,
                reason("KEY_DELETED_ERR"),
                KeyGone,
                Some("KEY_DELETED_ERR"),
            ),
            (410, String::new(), KeyGone, None),
            (410, html.into(), ServiceError, None),
            (401, bare.into(), Denied, None),
            (401, html.into(), Denied, None),
            (401, String::new(), Denied, None),
            (
                403,
                reason("FEATURE_RESTRICTED_ERR"),
                Denied,
                Some("FEATURE_RESTRICTED_ERR"),
            ),
            (
                400,
                reason("BEARER_SUB_EXTRACTION_ERR"),
                Denied,
                Some("BEARER_SUB_EXTRACTION_ERR"),
            ),
            (
                400,
                reason("INVALID_FIELD_ERR"),
                Invalid,
                Some("INVALID_FIELD_ERR"),
            ),
            (400, html.into(), ServiceError, None),
            (429, html.into(), Throttled, None),
            (301, String::new(), ServiceError, None),
            (204, String::new(), ServiceError, None),
            (
                500,
                reason("INCOMPLETE_METADATA_ERR"),
                ServiceError,
                Some("INCOMPLETE_METADATA_ERR"),
            ),
            (500, reason("lower canary"), ServiceError, None),
            (503, html.into(), ServiceError, None),
        ] {
            assert_eq!(
                judge(status, &body),
                (kind, code.map(str::to_owned)),
                "{status} {body}"
            );
        }
    }
}
