//! Why no Secret can be made of a target and its keys. Every text here may stand in a status:
//! it quotes what the object's author wrote, never what a payload holds.

use super::json::JsonError;
use super::limits;
use crate::api::key::SecretType;
use crate::domain::service::ids::InvalidName;

/// What is wrong with a target, or with a target and its payloads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The Secret's name is none.
    #[error(
        "spec.target.name {}: must be a Secret's name: lower-case letters, digits, '-' and '.'",
        quote(.name)
    )]
    SecretName {
        /// The name.
        name: String,
    },
    /// A label or annotation that a target may not have.
    #[error("spec.target.metadata.{field}: {} {problem}", quote(.key))]
    Metadata {
        /// `labels` or `annotations`.
        field: &'static str,
        /// Its key.
        key: String,
        /// Why not, and what to do.
        problem: MetadataProblem,
    },
    /// Both forms of content.
    #[error("spec.target.expand takes the place of spec.target.data; remove one of them")]
    ExpandBesideData,
    /// A list of entries with nothing in it.
    #[error("spec.target.data is empty; remove it for one entry `key`, or write an entry")]
    NoEntries,
    /// More entries than a Secret of the operator may have.
    #[error(
        "the Secret would have {found} entries; at most {} are allowed",
        limits::ENTRIES
    )]
    TooManyEntries {
        /// How many there are.
        found: usize,
    },
    /// An entry's name that Kubernetes does not take.
    #[error(
        "spec.target.data: {} cannot name an entry; use at most 253 letters, digits, '-', '_' and '.', \
         not beginning with '..'",
        quote(.name)
    )]
    EntryName {
        /// The name.
        name: String,
    },
    /// Two entries of one name.
    #[error("entry {entry}: is there twice; rename one of them")]
    EntryTwice {
        /// Its name.
        entry: String,
    },
    /// The Secret's type needs an entry that is not there.
    #[error("a Secret of type {} needs {needs}", .secret_type.as_str())]
    EntryMissing {
        /// The type.
        secret_type: SecretType,
        /// The entries, in words.
        needs: &'static str,
    },
    /// An entry cannot be made.
    #[error("entry {entry}: {problem}")]
    Entry {
        /// Its name.
        entry: String,
        /// Why not, and what to write instead.
        problem: Problem,
    },
    /// A template is wrong, or cannot be filled.
    #[error("entry {entry}, template character {position}: {problem}")]
    Template {
        /// The entry's name.
        entry: String,
        /// Where in the template, counted in characters from 1.
        position: usize,
        /// What is wrong there.
        problem: Problem,
    },
    /// The payload cannot be made into entries.
    #[error("spec.target.expand: {problem}")]
    Expand {
        /// Why not.
        problem: Problem,
    },
    /// All values together are too long.
    #[error(
        "the Secret's values would be longer than {} KiB together; write fewer entries",
        limits::SECRET_BYTES / 1024
    )]
    SecretTooLong,
    /// The caller brought other keys than the target has sources: an error of the operator.
    #[error("{found} keys were given for a target of {expected}; this is an error of the operator")]
    SourcesDiffer {
        /// How many the target has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
}

/// Why a label or annotation is not for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataProblem {
    /// It is one of those that say whose the Secret is.
    #[error("is reserved for whoever manages the Secret; remove it")]
    Reserved,
    /// Its prefix is not allowed.
    #[error(
        "has a prefix that is not allowed; use a key without prefix or under app.kubernetes.io/, \
         or let the operator's --target-metadata-prefixes list the prefix"
    )]
    Prefix,
}

/// What is wrong with one entry, one place of a template, or an expanded payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// More than one of property, template and value, or something beside them that has no
    /// meaning there.
    #[error("{0}")]
    Forms(&'static str),
    /// `from` has a name of the wrong form.
    #[error("from: {0}")]
    From(InvalidName),
    /// `from` names no key, or names it twice.
    #[error("from: name the key by one of id, alias, and name with keyRing")]
    FromUnclear,
    /// The payload is no text.
    #[error("the payload is not UTF-8 text; {instead}")]
    NotText {
        /// What to write.
        instead: &'static str,
    },
    /// What should be JSON is none.
    #[error("the payload is not JSON that can be read: {0}")]
    Json(JsonError),
    /// The JSON is another thing than an object.
    #[error("the payload is JSON but no object; use spec.target.data with property instead")]
    NotObject,
    /// The object has no field.
    #[error("the payload is an empty JSON object, which would make a Secret without entries")]
    EmptyObject,
    /// A field cannot become an entry; its name is content and so is not told.
    #[error(
        "the name of the payload's field number {field} cannot name an entry; use letters, \
         digits, '-', '_' and '.' there, or spec.target.data with property"
    )]
    FieldName {
        /// Which one, counted from 1.
        field: usize,
    },
    /// An object that is looked into has a field twice; readers of JSON disagree on which one
    /// holds.
    #[error(
        "the payload has a JSON object with the same field twice, and which one holds is not \
         certain; write each field once"
    )]
    FieldTwice,
    /// The JSON has nothing there.
    #[error(
        "the payload's JSON has nothing at {}{}; write the path of a field that is there, like \
         db.password, hosts[0].name or a[\"x.y\"]",
        quote(.path),
        as_far_as(.reached)
    )]
    NothingThere {
        /// The path.
        path: String,
        /// As far as it could be followed.
        reached: String,
    },
    /// No field has the name, and it is no path.
    #[error(
        "the payload's JSON has no field {}, and as a path it fails at its character {position}, \
         where {expected} is expected",
        quote(.path)
    )]
    PathSyntax {
        /// The path.
        path: String,
        /// Where it fails, counted in characters from 1.
        position: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// The template itself is too long.
    #[error("the template is longer than {} KiB; shorten it", limits::TEMPLATE_BYTES / 1024)]
    TemplateTooLong,
    /// Too many substitutions.
    #[error(
        "the template has more than {} substitutions; use fewer",
        limits::SUBSTITUTIONS
    )]
    TooManySubstitutions,
    /// Too many filters.
    #[error(
        "the substitution has more than {} filters; use fewer",
        limits::FILTERS
    )]
    TooManyFilters,
    /// The template has something else there.
    #[error("expected {0}")]
    Expected(&'static str),
    /// What a template may see of a key is not known.
    #[error("{what} is not known of this key; {instead}")]
    Unknown {
        /// What it was to be.
        what: &'static str,
        /// What to write.
        instead: &'static str,
    },
    /// The result is too long.
    #[error("the result is longer than {} KiB; use a shorter payload or fewer filters", limits::OUTPUT_BYTES / 1024)]
    OutputTooLong,
    /// A docker configuration that is none.
    #[error(
        "must be a JSON object, since the Secret's type is kubernetes.io/dockerconfigjson: {0}"
    )]
    DockerConfig(JsonError),
    /// An entry that must not be empty is.
    #[error("must not be empty, since the Secret's type is {0}")]
    Empty(&'static str),
}

/// A problem and where in the template it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Where, counted in characters from 1.
    pub position: usize,
    /// What is wrong there.
    pub problem: Problem,
}

impl TemplateError {
    /// Says in which entry it is.
    #[must_use]
    pub fn in_entry(self, entry: &str) -> RenderError {
        RenderError::Template {
            entry: entry.to_owned(),
            position: self.position,
            problem: self.problem,
        }
    }
}

/// Longest quotation in a message: messages end up in a status, which has a bound of its own.
const QUOTED_CHARS: usize = 64;

/// Quotes what an author wrote, shortened and with control characters escaped.
fn quote(text: &str) -> String {
    let mut quoted: String = text
        .chars()
        .take(QUOTED_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(QUOTED_CHARS).is_some() {
        quoted.push('…');
    }
    format!("\"{quoted}\"")
}

/// Words how far a path could be followed.
fn as_far_as(reached: &str) -> String {
    if reached.is_empty() {
        String::new()
    } else {
        format!(" (it could be followed as far as {})", quote(reached))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_short_and_have_no_control_characters() {
        assert_eq!(quote("a\nb"), "\"a\\nb\"");
        let long = quote(&"é".repeat(500));
        assert_eq!(long.chars().count(), QUOTED_CHARS + 3);
        assert!(long.ends_with("…\""), "{long}");
    }
}
