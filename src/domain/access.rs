//! Who may use which keys: an instance's access rules, cut down to what they grant one
//! namespace. Look-ups run over catalogue ∩ grant, so that what may not be used is never seen.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

use crate::api::instance::{AccessRule, NamespaceSelection, NamespaceSelector, NamespacesFrom};
use crate::domain::service::ids::KeyRing;
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::service::reference::{KeyName, KeyReference};

/// What the rules of an instance grant one namespace. It cannot be made but by [`grant`].
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    rules: Vec<KeyRule>,
}

/// The part of a rule that speaks of keys. A key passes if it is in one of the rings (where
/// rings are given) and matches one of IDs, aliases and names (where any are given). A list that
/// is given and empty matches nothing: taking the last item out of a rule must not widen it.
#[derive(Clone, Debug, PartialEq)]
struct KeyRule {
    rings: Option<Vec<String>>,
    ids: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
    names: Option<Vec<String>>,
}

/// Whether a key may be used, as far as its known fields tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One rule allows it.
    Allowed,
    /// No rule allows it.
    Denied,
    /// A field that matters is not known.
    Unknown,
}

/// A single read that the rules permit for a reference: whether it is sent depends on request
/// and rules alone, never on what the instance holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The key, by ID or alias.
    pub key: KeyName,
    /// Ring to name in `x-kms-key-ring`, so that a key outside it is not found.
    pub ring: Option<KeyRing>,
}

/// What is known of a namespace's labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels<'a> {
    /// These are they.
    Known(&'a BTreeMap<String, String>),
    /// Nothing yet: the namespace has not come into view.
    NotInView,
    /// Nothing ever: the operator serves named namespaces, and watches none.
    NotWatched,
}

impl Labels<'_> {
    /// Whether what rules grant by them is not known, so that a right which they seem to take away
    /// may be there all the same.
    #[must_use]
    pub fn leave_open(self, rules: Option<&[AccessRule]>) -> bool {
        let unclear = |from| match self {
            Labels::Known(_) => false,
            Labels::NotInView => from == NamespacesFrom::Selector,
            Labels::NotWatched => matches!(from, NamespacesFrom::Selector | NamespacesFrom::All),
        };
        let mut rules = rules.into_iter().flatten();
        rules.any(|rule| unclear(rule.namespaces.from))
    }
}

/// Cuts an instance's rules down to what they grant a namespace; `None` if nothing. Where labels are
/// not known, no selector selects; where namespaces are not watched, rules that mean every namespace
/// grant nothing either ([`unsupported`]).
#[must_use]
pub fn grant(
    instance_namespace: &str,
    rules: Option<&[AccessRule]>,
    namespace: &str,
    labels: Labels<'_>,
) -> Option<Grant> {
    let Some(rules) = rules else {
        let whole = KeyRule {
            rings: None,
            ids: None,
            aliases: None,
            names: None,
        };
        return (instance_namespace == namespace).then(|| Grant { rules: vec![whole] });
    };
    let rules: Vec<KeyRule> = rules
        .iter()
        .filter(|rule| selects(&rule.namespaces, instance_namespace, namespace, labels))
        .map(KeyRule::from)
        .collect();
    (!rules.is_empty()).then_some(Grant { rules })
}

fn selects(selection: &NamespaceSelection, own: &str, namespace: &str, labels: Labels<'_>) -> bool {
    match selection.from {
        NamespacesFrom::Same => own == namespace,
        NamespacesFrom::All => labels != Labels::NotWatched,
        NamespacesFrom::Names => selection
            .names
            .iter()
            .flatten()
            .any(|name| name == namespace),
        NamespacesFrom::Selector => match (&selection.selector, labels) {
            (Some(selector), Labels::Known(labels)) => matches_labels(selector, labels),
            _ => false,
        },
    }
}

/// The rules that grant nothing where namespaces are not watched: their places in `spec.access`, and
/// what they say.
#[must_use]
pub fn unsupported(rules: Option<&[AccessRule]>) -> Vec<(usize, NamespacesFrom)> {
    let rules = rules.unwrap_or_default().iter().enumerate();
    rules
        .map(|(at, rule)| (at, rule.namespaces.from))
        .filter(|(_, from)| matches!(from, NamespacesFrom::All | NamespacesFrom::Selector))
        .collect()
}

/// Matches as Kubernetes does, but an empty selector selects nothing: an omission must not
/// widen access.
fn matches_labels(selector: &NamespaceSelector, labels: &BTreeMap<String, String>) -> bool {
    let equalities = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    let empty = selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty);
    !empty
        && equalities
            .into_iter()
            .all(|(key, value)| labels.get(key) == Some(value))
        && expressions
            .into_iter()
            .all(|expression| matches_expression(expression, labels))
}

fn matches_expression(
    expression: &LabelSelectorRequirement,
    labels: &BTreeMap<String, String>,
) -> bool {
    let value = labels.get(&expression.key);
    let listed = |value: &String| expression.values.iter().flatten().any(|v| v == value);
    match expression.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => value.is_none_or(|value| !listed(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // The schema lets no other operator in; one that came anyway must not widen access.
        _ => false,
    }
}

impl From<&AccessRule> for KeyRule {
    fn from(rule: &AccessRule) -> Self {
        Self {
            rings: rule.key_rings.clone(),
            ids: rule
                .ids
                .as_ref()
                .map(|ids| ids.iter().map(|id| id.to_ascii_lowercase()).collect()),
            aliases: rule.aliases.clone(),
            names: rule.names.clone(),
        }
    }
}

impl KeyRule {
    fn any_key(&self) -> bool {
        self.ids.is_none() && self.aliases.is_none() && self.names.is_none()
    }

    fn has_id(&self, id: &str) -> bool {
        self.ids.iter().flatten().any(|allowed| allowed == id)
    }

    /// Globs over names. Whoever can write keys can take any name, so names count only beside
    /// rings; the schema refuses other rules.
    fn name_globs(&self) -> &[String] {
        match (&self.rings, &self.names) {
            (Some(_), Some(names)) => names,
            _ => &[],
        }
    }

    fn verdict(&self, key: &KeyMetadata) -> Verdict {
        let ring = match (&self.rings, &key.key_ring) {
            (None, _) => Verdict::Allowed,
            (Some(rings), Some(ring)) if rings.contains(ring) => Verdict::Allowed,
            (Some(_), Some(_)) => return Verdict::Denied,
            (Some(_), None) => Verdict::Unknown,
        };
        let selected = if self.any_key() || self.has_id(key.id.as_str()) {
            Verdict::Allowed
        } else {
            let aliases = self.aliases.as_deref().unwrap_or_default();
            let by_alias = known_match(aliases, key.aliases.as_deref());
            let name = key.name.as_ref().map(std::slice::from_ref);
            let by_name = known_match(self.name_globs(), name);
            match (by_alias, by_name) {
                (Verdict::Allowed, _) | (_, Verdict::Allowed) => Verdict::Allowed,
                (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
                (Verdict::Denied, Verdict::Denied) => Verdict::Denied,
            }
        };
        match (ring, selected) {
            (_, Verdict::Denied) => Verdict::Denied,
            (Verdict::Allowed, selected) => selected,
            (ring, _) => ring,
        }
    }

    /// Whether a reference could name a key that this rule allows.
    fn permits(&self, reference: &KeyReference) -> bool {
        let ring = match (&self.rings, &reference.ring) {
            (Some(rings), Some(ring)) => rings.iter().any(|r| r == ring.as_str()),
            _ => true,
        };
        let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        ring && (self.any_key()
            || match &reference.name {
                KeyName::Id(id) => {
                    self.has_id(id.as_str()) || any(&self.aliases) || !self.name_globs().is_empty()
                }
                KeyName::Alias(alias) => {
                    let globs = self.aliases.iter().flatten();
                    globs
                        .into_iter()
                        .any(|glob| glob_matches(glob, alias.as_str()))
                        || any(&self.ids)
                        || !self.name_globs().is_empty()
                }
                KeyName::Name(_) => true,
            })
    }
}

fn known_match(globs: &[String], values: Option<&[String]>) -> Verdict {
    if globs.is_empty() {
        return Verdict::Denied;
    }
    match values {
        None => Verdict::Unknown,
        Some(values)
            if values
                .iter()
                .any(|value| globs.iter().any(|glob| glob_matches(glob, value))) =>
        {
            Verdict::Allowed
        }
        Some(_) => Verdict::Denied,
    }
}

/// Matches `*` and `?`, anchored and case-sensitive, in time linear in text × stars.
fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some('*') => {
                retry = Some((g, t));
                g += 1;
            }
            Some(&c) if c == '?' || text.get(t) == Some(&c) => {
                g += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    g = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    glob.iter().skip(g).all(|&c| c == '*')
}

impl Grant {
    /// Judges a key by what is known of it.
    #[must_use]
    pub fn verdict(&self, key: &KeyMetadata) -> Verdict {
        let mut unknown = false;
        for rule in &self.rules {
            match rule.verdict(key) {
                Verdict::Allowed => return Verdict::Allowed,
                Verdict::Unknown => unknown = true,
                Verdict::Denied => {}
            }
        }
        if unknown {
            Verdict::Unknown
        } else {
            Verdict::Denied
        }
    }

    /// Whether the rules alone, whatever the instance holds, leave room for the key that a
    /// reference names.
    #[must_use]
    pub fn permits(&self, reference: &KeyReference) -> bool {
        self.rules.iter().any(|rule| rule.permits(reference))
    }

    /// Lists the single reads that may be sent to find the key that a reference names: one per
    /// ring where the rules are by ring. None for a name, which the service cannot look up.
    #[must_use]
    pub fn questions(&self, reference: &KeyReference) -> Vec<Question> {
        if matches!(reference.name, KeyName::Name(_)) {
            return Vec::new();
        }
        let mut questions = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.permits(reference)) {
            let rings: Vec<Option<KeyRing>> = match (&reference.ring, &rule.rings) {
                (Some(ring), _) => vec![Some(ring.clone())],
                (None, None) => vec![None],
                (None, Some(rings)) => rings
                    .iter()
                    .filter_map(|ring| KeyRing::parse(ring).ok())
                    .map(Some)
                    .collect(),
            };
            for ring in rings {
                let question = Question {
                    key: reference.name.clone(),
                    ring,
                };
                if !questions.contains(&question) {
                    questions.push(question);
                }
            }
        }
        // A read without a ring header finds whatever those with one would.
        if let Some(any) = questions.iter().find(|question| question.ring.is_none()) {
            return vec![any.clone()];
        }
        questions
    }

    /// Names the ring that a payload read of an allowed key carries: the key's own, where a rule
    /// is by ring, so that a key moved out of it meanwhile is not read.
    #[must_use]
    pub fn ring_header(&self, key: &KeyMetadata) -> Option<KeyRing> {
        let whole = self
            .rules
            .iter()
            .any(|rule| rule.rings.is_none() && rule.verdict(key) == Verdict::Allowed);
        if whole {
            None
        } else {
            key.key_ring
                .as_deref()
                .and_then(|ring| KeyRing::parse(ring).ok())
        }
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
