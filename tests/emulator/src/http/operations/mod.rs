//! The operations of the API, as HTTP has them: a file for each kind of thing.

pub mod actions;
pub mod aliases;
pub mod import_tokens;
pub mod keys;
pub mod kmip;
pub mod policies;
pub mod registrations;
pub mod rings;
pub mod tokens;
pub mod versions;

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Answer, JSON};
use super::calls::{Admitted, Call};
use crate::domain::listing::number;
use crate::domain::refusal::Refusal;

/// The media type of what is only read; that of what is written is always the
/// resource's own, which IBM's Python client depends on.
fn read_type(admitted: &Admitted<'_>, media_type: &'static str) -> &'static str {
    if admitted.modes.read_media_type {
        media_type
    } else {
        JSON
    }
}

/// Answers a part of a collection, as `limit` and `offset` ask for it, with the
/// size of the whole where `totalCount` does.
fn collection<T: Serialize>(
    admitted: &Admitted<'_>,
    media_type: &'static str,
    all: Vec<T>,
    default_limit: usize,
) -> Result<Answer, Refusal> {
    let call = admitted.call;
    let limit = number(call.query("limit"), "limit", default_limit, Some(5000))?;
    let offset = number(call.query("offset"), "offset", 0, None)?;
    let total = all.len();
    let page: Vec<T> = all.into_iter().skip(offset).take(limit).collect();
    let mut metadata = json!({ "collectionType": media_type, "collectionTotal": page.len() });
    if flag(call, "totalCount") {
        metadata["totalCount"] = json!(total);
    }
    let mut body = json!({ "metadata": metadata });
    if !page.is_empty() {
        body["resources"] = json!(page);
    }
    Ok(Answer::json(200, read_type(admitted, media_type), &body))
}

/// Says whether a member of the query is `true`, in any case.
fn flag(call: &Call, name: &str) -> bool {
    call.query(name)
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// Adds a member to an object, where there is one to add.
fn add<T: Serialize>(object: &mut Value, name: &str, member: Option<T>) {
    if let Some(member) = member {
        object[name] = json!(member);
    }
}
