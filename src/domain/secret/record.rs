//! The record: from which inputs a Secret was made. A Secret whose record equals the one computed
//! now needs no fetch. Made of inputs alone, never of payload: whoever reads it learns nothing
//! that could be tried against a guess.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::key::{DeletionPolicy, Encoding};
use crate::domain::secret::render::encoding;
use crate::domain::secret::render::substitution::{FilterKind, Head, Part, Template};
use crate::domain::secret::target::{Content, EntrySpec, Form, TargetSpec};
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::KeyMetadata;

/// Version of the record's own form.
const RECORD_VERSION: u32 = 1;

/// Version of what is made from equal inputs. It changes when the same target and keys would make
/// another Secret, and then every Secret is written once more.
pub const RENDERER_VERSION: u32 = 1;

/// What a record says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFacts<'a> {
    /// Its ID: a standard key's payload never changes under it.
    pub id: &'a KeyId,
    /// Its name; counts only where a template sees it.
    pub name: Option<&'a str>,
    /// The alias by which it was found; counts only where a template sees it.
    pub alias: Option<&'a str>,
}

impl<'a> SourceFacts<'a> {
    /// Takes them out of a key's metadata.
    #[must_use]
    pub fn new(metadata: &'a KeyMetadata, alias: Option<&'a str>) -> Self {
        Self {
            id: &metadata.id,
            name: metadata.name.as_deref(),
            alias,
        }
    }
}

/// Computes the record of a Secret. `owner_api_version` is that of its owner reference, if it has
/// one; `sources` are in the order of the target's sources.
#[must_use]
pub fn record(
    target: &TargetSpec,
    owner_api_version: Option<&str>,
    instance_id: &str,
    sources: &[SourceFacts<'_>],
) -> String {
    let order = canonical_order(target);
    let facts: Vec<Value> = order
        .iter()
        .map(|index| sources.get(*index).map(|facts| seen(target, *index, facts)))
        .map(|facts| facts.unwrap_or(Value::Null))
        .collect();
    // Keys in alphabetical order, here and below, so that the text is the same whether or not
    // some dependency makes serde_json keep the order of insertion.
    let inputs = json!({
        "instance": instance_id,
        "owner": owner_api_version,
        "renderer": RENDERER_VERSION,
        "sources": facts,
        "target": target.canonical(),
        "version": RECORD_VERSION,
    });
    let digest = encoding::hex(&Sha256::digest(inputs.to_string()));
    format!("v{RECORD_VERSION}:{}", String::from_utf8_lossy(&digest))
}

fn seen(target: &TargetSpec, index: usize, facts: &SourceFacts<'_>) -> Value {
    let uses = target.metadata_use(index);
    json!({
        "alias": facts.alias.filter(|_| uses.alias),
        "id": facts.id.as_str(),
        "name": facts.name.filter(|_| uses.name),
    })
}

impl TargetSpec {
    /// Shows the target in a form in which two that make the same Secret from the same keys are
    /// equal: the order of entries and the way in which a key is named do not matter.
    #[must_use]
    pub fn canonical(&self) -> Value {
        let mut canonical = json!({
            "annotations": self.annotations,
            "content": self.canonical_content(),
            "deletionPolicy": match self.deletion_policy {
                DeletionPolicy::Delete => "Delete",
                DeletionPolicy::Retain => "Retain",
            },
            "labels": self.labels,
            "name": self.name,
            "type": self.secret_type.as_str(),
        });
        // Said only where it is so: what is the rule is not written into every record.
        if self.merges()
            && let Value::Object(fields) = &mut canonical
        {
            fields.insert("creationPolicy".to_owned(), json!("Merge"));
        }
        canonical
    }

    fn canonical_content(&self) -> Value {
        let order = canonical_order(self);
        let place = |source: usize| order.iter().position(|index| *index == source);
        match &self.content {
            Content::ExpandJson { source } => json!({"expand": "JSON", "source": place(*source)}),
            Content::Entries(entries) => sorted(entries)
                .into_iter()
                .map(|entry| {
                    let source = entry.form.source().and_then(place);
                    json!([entry.name, source, canonical_form(&entry.form)])
                })
                .collect(),
        }
    }
}

/// The numbers of a target's sources in the order of first use by entries in the order of their
/// names: so the order of entries in the object does not matter.
fn canonical_order(target: &TargetSpec) -> Vec<usize> {
    let used: Vec<usize> = match &target.content {
        Content::ExpandJson { source } => vec![*source],
        Content::Entries(entries) => sorted(entries)
            .into_iter()
            .filter_map(|entry| entry.form.source())
            .collect(),
    };
    let mut order = Vec::new();
    for source in used {
        if !order.contains(&source) {
            order.push(source);
        }
    }
    order
}

fn sorted(entries: &[EntrySpec]) -> Vec<&EntrySpec> {
    let mut sorted: Vec<&EntrySpec> = entries.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    sorted
}

fn canonical_form(form: &Form) -> Value {
    match form {
        Form::Payload { encoding, .. } => json!(["payload", encoding_name(*encoding)]),
        Form::Property { path, encoding, .. } => {
            json!(["property", path.as_str(), encoding_name(*encoding)])
        }
        Form::Template { template, .. } => template.as_text().map_or_else(
            || json!(["template", canonical_template(template)]),
            |text| json!(["value", text]),
        ),
        Form::Literal(text) => json!(["value", text]),
    }
}

fn canonical_template(template: &Template) -> Value {
    let part = |part: &Part| match part {
        Part::Text(text) => json!(text),
        Part::Substitution(substitution) => {
            let filters = substitution.filters.iter().map(|filter| &filter.kind);
            let mut steps = vec![head(&substitution.head)];
            steps.extend(filters.map(filter_step));
            json!(steps)
        }
    };
    template.parts().iter().map(part).collect()
}

fn head(head: &Head) -> Value {
    match head {
        Head::Payload => json!("payload"),
        Head::KeyName => json!("key.name"),
        Head::KeyId => json!("key.id"),
        Head::KeyAlias => json!("key.alias"),
        Head::Literal(text) => json!([text]),
    }
}

fn filter_step(kind: &FilterKind) -> Value {
    match kind {
        FilterKind::Json(path) => json!(["json", path.as_str()]),
        FilterKind::UrlEncode => json!("urlencode"),
        FilterKind::Base64 => json!("base64"),
        FilterKind::Hex => json!("hex"),
        FilterKind::Trim => json!("trim"),
    }
}

const fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Raw => "Raw",
        Encoding::Text => "Text",
        Encoding::Base64 => "Base64",
        Encoding::Base64Url => "Base64URL",
        Encoding::Base64UrlNoPad => "Base64URLNoPad",
        Encoding::Hex => "Hex",
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
