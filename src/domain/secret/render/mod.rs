//! From keys to a Secret's data. Decides every byte of it, and only that: which keys, which
//! Secret and whether to write at all were decided before. Nothing here prints content.

pub(in crate::domain) mod encoding;
mod error;
mod json;
pub mod limits;
mod path;
pub(in crate::domain) mod substitution;
pub(in crate::domain) mod types;

use std::collections::BTreeMap;
use std::fmt;

use crate::api::key::Encoding;
use crate::domain::secret::target::{Content, EntrySpec, Form, TargetSpec, is_entry_name};
use crate::domain::service::material::KeyMaterial;
use crate::domain::service::metadata::KeyMetadata;
use encoding::Bytes;
use json::{Kind, Value};
use substitution::View;

pub use error::{MetadataProblem, Problem, RenderError, TemplateError};
pub use json::JsonError;
pub use path::Path;
pub use substitution::Template;

/// A key as a target's source.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What is known of it.
    pub metadata: &'a KeyMetadata,
    /// The alias by which it was found.
    pub alias: Option<&'a str>,
    /// Its payload.
    pub material: &'a KeyMaterial,
}

/// A Secret's data.
#[derive(Clone, Default)]
pub struct DesiredData {
    /// Content by entry.
    pub entries: BTreeMap<String, KeyMaterial>,
    /// What the object's author should know of it.
    pub notes: Vec<RenderNote>,
}

impl fmt::Debug for DesiredData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the entries' names: expanded, they come out of the payload.
        write!(f, "DesiredData({} entries)", self.entries.len())
    }
}

/// What an author should know of a Secret that could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderNote {
    /// A payload ends in a newline and is written as it is, under a name that is usually read
    /// without one.
    PayloadNewline {
        /// The entry's name.
        entry: String,
    },
}

/// Makes a Secret's data of a target and its keys, which are in the order of its sources.
///
/// # Errors
/// Names the entry, and what to write instead; never content.
pub fn project(target: &TargetSpec, sources: &[Source<'_>]) -> Result<DesiredData, RenderError> {
    if sources.len() != target.sources.len() {
        return Err(differ(target, sources));
    }
    let source = |index: usize| sources.get(index).ok_or_else(|| differ(target, sources));
    let mut data = DesiredData::default();
    match &target.content {
        Content::ExpandJson { source: index } => {
            expand(source(*index)?.material.expose(), &mut data)?;
        }
        Content::Entries(entries) => {
            for entry in entries {
                let source = entry.form.source().map(source).transpose()?;
                let content = render(entry, source)?;
                data.notes.extend(note(entry, &content));
                data.entries
                    .insert(entry.name.clone(), KeyMaterial::new(content));
                check_length(&data)?;
            }
        }
    }
    types::check(target.secret_type, &data)?;
    Ok(data)
}

fn differ(target: &TargetSpec, sources: &[Source<'_>]) -> RenderError {
    RenderError::SourcesDiffer {
        expected: target.sources.len(),
        found: sources.len(),
    }
}

fn check_length(data: &DesiredData) -> Result<(), RenderError> {
    let lengths = data.entries.values().map(|content| content.expose().len());
    if lengths.fold(0, usize::saturating_add) > limits::SECRET_BYTES {
        return Err(RenderError::SecretTooLong);
    }
    Ok(())
}

fn render(entry: &EntrySpec, source: Option<&Source<'_>>) -> Result<Bytes, RenderError> {
    let payload = source.map_or(&[][..], |source| source.material.expose());
    let made = match &entry.form {
        Form::Literal(text) => Ok(encoding::copy(text.as_bytes())),
        Form::Payload { encoding, .. } => encoding::encode(*encoding, payload),
        Form::Property { path, encoding, .. } => path
            .extract(payload)
            .and_then(|value| encoding::encode(*encoding, &value)),
        Form::Template { template, .. } => {
            let view = source.map(|source| View {
                payload,
                id: source.metadata.id.as_str(),
                name: source.metadata.name.as_deref(),
                alias: source.alias,
            });
            return template
                .fill(view)
                .map_err(|error| error.in_entry(&entry.name));
        }
    };
    made.map_err(|problem| RenderError::Entry {
        entry: entry.name.clone(),
        problem,
    })
}

// What is expanded needs no check of its length: no value is longer than its JSON.
const _: () = assert!(limits::JSON_BYTES <= limits::SECRET_BYTES);

/// Makes an entry of each field of a JSON object.
fn expand(payload: &[u8], data: &mut DesiredData) -> Result<(), RenderError> {
    let fail = |problem| RenderError::Expand { problem };
    let text = path::json_text(payload).map_err(fail)?;
    let value = Value::parse(text).map_err(|error| fail(Problem::Json(error)))?;
    let Kind::Object(fields) = value.kind() else {
        return Err(fail(Problem::NotObject));
    };
    if fields.is_empty() {
        return Err(fail(Problem::EmptyObject));
    }
    if fields.len() > limits::ENTRIES {
        return Err(RenderError::TooManyEntries {
            found: fields.len(),
        });
    }
    if json::has_field_twice(fields) {
        return Err(fail(Problem::FieldTwice));
    }
    for (index, (name, value)) in fields.iter().enumerate() {
        // Checked before it is copied: a field that is named like no entry may hold anything.
        if !is_entry_name(&name.chars()) {
            return Err(fail(Problem::FieldName { field: index + 1 }));
        }
        let name = name.chars().collect();
        data.entries.insert(name, KeyMaterial::new(value.write()));
    }
    Ok(())
}

fn note(entry: &EntrySpec, content: &[u8]) -> Option<RenderNote> {
    let raw = matches!(
        entry.form,
        Form::Payload {
            encoding: Encoding::Raw,
            ..
        }
    );
    // Bytes that are no text end in this one by chance, one key in 256, and cannot be Text.
    let newline = content.ends_with(b"\n") && std::str::from_utf8(content).is_ok();
    (raw && newline && is_read_without_newline(&entry.name)).then(|| RenderNote::PayloadNewline {
        entry: entry.name.clone(),
    })
}

/// Tells whether what stands under a name is usually compared whole, so that a newline at its
/// end is somebody's afternoon. PEM and configuration files end in one rightly.
fn is_read_without_newline(name: &str) -> bool {
    const WORDS: [&str; 6] = [
        "password",
        "passwd",
        "passphrase",
        "token",
        "secret",
        "apikey",
    ];
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests;
