//! The Secret that an object asks for, with every default filled in and everything checked that
//! can be checked without a key. Decides what is asked; never what a payload makes of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::key::{
    CreationPolicy, DeletionPolicy, Encoding, Entry, Expand, KeySelector, SecretType, Target,
};
use crate::domain::secret::render::{
    MetadataProblem, Path, Problem, RenderError, Template, limits, types,
};
use crate::domain::service::reference::KeyReference;

/// A target, canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// The Secret's name.
    pub name: String,
    /// The Secret's type.
    pub secret_type: SecretType,
    /// Whose the Secret is.
    pub creation_policy: CreationPolicy,
    /// What happens to the Secret when its object is deleted.
    pub deletion_policy: DeletionPolicy,
    /// Labels that the Secret is to have.
    pub labels: BTreeMap<String, String>,
    /// Annotations that the Secret is to have.
    pub annotations: BTreeMap<String, String>,
    /// The keys that it is made from: each once, in the order of first use.
    pub sources: Vec<SourceSpec>,
    /// Its data.
    pub content: Content,
}

/// A key that a target is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// Which key.
    pub key: KeyReference,
    /// The first entry that names it by `from`; none for `spec.key`.
    pub entry: Option<String>,
}

/// Where a target's data come from. Numbers of sources are places in [`TargetSpec::sources`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One entry for each field of a JSON object.
    ExpandJson {
        /// The key whose payload is the object.
        source: usize,
    },
    /// These entries, in the order of the object.
    Entries(Vec<EntrySpec>),
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySpec {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub form: Form,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A whole payload.
    Payload {
        /// Of which key.
        source: usize,
        /// Written how.
        encoding: Encoding,
    },
    /// One value out of a payload that is JSON.
    Property {
        /// Of which key.
        source: usize,
        /// Where in it.
        path: Path,
        /// Written how.
        encoding: Encoding,
    },
    /// Text with substitutions.
    Template {
        /// Of which key; none if no substitution sees one (a `from` beside it has no effect).
        source: Option<usize>,
        /// The text.
        template: Template,
    },
    /// A literal.
    Literal(String),
}

impl Form {
    /// The key that it is made from.
    #[must_use]
    pub const fn source(&self) -> Option<usize> {
        match self {
            Self::Payload { source, .. } | Self::Property { source, .. } => Some(*source),
            Self::Template { source, .. } => *source,
            Self::Literal(_) => None,
        }
    }
}

/// What the templates of a target see of a key beside its payload and ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataUse {
    /// Its name.
    pub name: bool,
    /// Its alias.
    pub alias: bool,
}

impl TargetSpec {
    /// Reads a target. `main` is the key of `spec.key`, and `allowed_prefixes` those of labels
    /// and annotations that the operator was told to allow, like `example.com`.
    ///
    /// # Errors
    /// Names the entry or field, and what to write instead.
    pub fn new(
        object_name: &str,
        target: Option<&Target>,
        main: &KeyReference,
        allowed_prefixes: &[String],
    ) -> Result<Self, RenderError> {
        let absent = Target::default();
        let target = target.unwrap_or(&absent);
        let metadata = target.metadata.clone().unwrap_or_default();
        let mut sources = Sources {
            main,
            found: Vec::new(),
        };
        let content = content(target, &mut sources)?;
        let spec = Self {
            name: secret_name(target.name.as_deref().unwrap_or(object_name))?,
            secret_type: target.type_.unwrap_or_default(),
            creation_policy: target.creation_policy.unwrap_or_default(),
            deletion_policy: target.deletion_policy.unwrap_or_default(),
            labels: checked_metadata("labels", metadata.labels, allowed_prefixes)?,
            annotations: checked_metadata("annotations", metadata.annotations, allowed_prefixes)?,
            sources: sources.found,
            content,
        };
        if let Some(names) = spec.expected_entries() {
            // What an expanded payload lacks is known only when it is there.
            types::check_names(spec.secret_type, |name| names.contains(name))?;
        }
        Ok(spec)
    }

    /// Tells whether the Secret is somebody else's, who offers entries of it.
    #[must_use]
    pub fn merges(&self) -> bool {
        self.creation_policy == CreationPolicy::Merge
    }

    /// Tells whether no key is needed at all.
    #[must_use]
    pub const fn is_literal_only(&self) -> bool {
        self.sources.is_empty()
    }

    /// The names of all entries; none where only the payload knows them.
    #[must_use]
    pub fn expected_entries(&self) -> Option<BTreeSet<&str>> {
        match &self.content {
            Content::ExpandJson { .. } => None,
            Content::Entries(entries) => Some(entries.iter().map(|e| e.name.as_str()).collect()),
        }
    }

    /// Says what of a key's metadata the target's templates see, beside its ID.
    #[must_use]
    pub fn metadata_use(&self, source: usize) -> MetadataUse {
        let mut uses = MetadataUse::default();
        let Content::Entries(entries) = &self.content else {
            return uses;
        };
        for entry in entries {
            if let Form::Template {
                source: Some(of),
                template,
            } = &entry.form
                && *of == source
            {
                uses.name |= template.uses_name();
                uses.alias |= template.uses_alias();
            }
        }
        uses
    }
}

fn content(target: &Target, sources: &mut Sources<'_>) -> Result<Content, RenderError> {
    let data = match (target.expand, &target.data) {
        (Some(_), Some(_)) => return Err(RenderError::ExpandBesideData),
        (Some(Expand::Json), None) => {
            return Ok(Content::ExpandJson {
                source: sources.main(),
            });
        }
        (None, None) => {
            let form = Form::Payload {
                source: sources.main(),
                encoding: Encoding::Raw,
            };
            return Ok(Content::Entries(vec![EntrySpec {
                name: "key".to_owned(),
                form,
            }]));
        }
        (None, Some(data)) => data,
    };
    if data.is_empty() {
        return Err(RenderError::NoEntries);
    }
    if data.len() > limits::ENTRIES {
        return Err(RenderError::TooManyEntries { found: data.len() });
    }
    let mut names = BTreeSet::new();
    let mut entries = Vec::with_capacity(data.len());
    for entry in data {
        if !is_entry_name(&entry.name.chars()) {
            return Err(RenderError::EntryName {
                name: entry.name.clone(),
            });
        }
        if !names.insert(entry.name.as_str()) {
            return Err(RenderError::EntryTwice {
                entry: entry.name.clone(),
            });
        }
        entries.push(EntrySpec {
            name: entry.name.clone(),
            form: form(entry, sources)?,
        });
    }
    Ok(Content::Entries(entries))
}

fn form(entry: &Entry, sources: &mut Sources<'_>) -> Result<Form, RenderError> {
    let fail = |problem| RenderError::Entry {
        entry: entry.name.clone(),
        problem,
    };
    let encoding = entry.encoding.unwrap_or_default();
    // The schema refuses these too; an object may have been made under another version of it.
    match (&entry.property, &entry.template, &entry.value) {
        (None, None, None) => Ok(Form::Payload {
            source: sources.of(entry).map_err(fail)?,
            encoding,
        }),
        (Some(path), None, None) => Ok(Form::Property {
            source: sources.of(entry).map_err(fail)?,
            path: Path::new(path),
            encoding,
        }),
        (None, Some(_), None) if entry.encoding.is_some() => Err(fail(Problem::Forms(
            "encoding has no meaning beside template; use a filter there, like {{ payload | base64 }}",
        ))),
        (None, Some(text), None) => {
            let template = Template::parse(text).map_err(|error| error.in_entry(&entry.name))?;
            let source = if template.uses_key() {
                Some(sources.of(entry).map_err(fail)?)
            } else {
                None
            };
            Ok(Form::Template { source, template })
        }
        (None, None, Some(_)) if entry.from.is_some() || entry.encoding.is_some() => Err(fail(
            Problem::Forms("value is a literal; remove from and encoding beside it"),
        )),
        (None, None, Some(text)) => Ok(Form::Literal(text.clone())),
        _ => Err(fail(Problem::Forms(
            "give at most one of property, template and value",
        ))),
    }
}

/// Collects keys as entries name them.
struct Sources<'a> {
    main: &'a KeyReference,
    found: Vec<SourceSpec>,
}

impl Sources<'_> {
    fn main(&mut self) -> usize {
        self.place(self.main.clone(), None)
    }

    fn of(&mut self, entry: &Entry) -> Result<usize, Problem> {
        let Some(from) = &entry.from else {
            return Ok(self.main());
        };
        let key = reference(from)?;
        // An entry that names spec.key again makes it no other key.
        let by = (key != *self.main).then(|| entry.name.clone());
        Ok(self.place(key, by))
    }

    fn place(&mut self, key: KeyReference, entry: Option<String>) -> usize {
        let known = self.found.iter().position(|source| source.key == key);
        known.unwrap_or_else(|| {
            self.found.push(SourceSpec { key, entry });
            self.found.len() - 1
        })
    }
}

/// Reads `from`. It is whole by itself: a ring of `spec.key` says nothing about another key.
fn reference(from: &KeySelector) -> Result<KeyReference, Problem> {
    let names = [&from.id, &from.alias, &from.name];
    if names.iter().filter(|name| name.is_some()).count() != 1 {
        return Err(Problem::FromUnclear);
    }
    KeyReference::from_selector(Some(from), "").map_err(Problem::From)
}

/// Tells whether Kubernetes takes a name for an entry.
pub(super) fn is_entry_name(name: &(impl Iterator<Item = char> + Clone)) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let length = name.clone().take(254).count();
    let climbs = name.clone().take(2).eq("..".chars());
    (1..=253).contains(&length)
        && !climbs
        && !name.clone().eq(".".chars())
        && name.clone().all(legal)
}

fn secret_name(name: &str) -> Result<String, RenderError> {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        Ok(name.to_owned())
    } else {
        Err(RenderError::SecretName {
            name: name.to_owned(),
        })
    }
}

fn checked_metadata(
    field: &'static str,
    given: Option<BTreeMap<String, String>>,
    allowed_prefixes: &[String],
) -> Result<BTreeMap<String, String>, RenderError> {
    let given = given.unwrap_or_default();
    for key in given.keys() {
        if let Some(problem) = metadata_problem(key, allowed_prefixes) {
            return Err(RenderError::Metadata {
                field,
                key: key.clone(),
                problem,
            });
        }
    }
    Ok(given)
}

/// Says why a label or annotation is not for a target. Others' prefixes can steer other
/// controllers, so an admin allows them; ours say what the operator itself may touch, so nobody
/// does.
fn metadata_problem(key: &str, allowed_prefixes: &[String]) -> Option<MetadataProblem> {
    let (prefix, name) = key.split_once('/')?;
    let lower = prefix.to_ascii_lowercase();
    if lower == "keyprotect.dev" || lower.ends_with(".keyprotect.dev") {
        return Some(MetadataProblem::Reserved);
    }
    if lower == "app.kubernetes.io" {
        let reserved = ["instance", "managed-by"].contains(&name);
        return reserved.then_some(MetadataProblem::Reserved);
    }
    let allowed = allowed_prefixes.iter().any(|allowed| allowed == prefix);
    (!allowed).then_some(MetadataProblem::Prefix)
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
