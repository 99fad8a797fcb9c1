//! Faults: what goes wrong on purpose, for which requests, and how often.
//!
//! Decides only. The HTTP layer does what the chosen effect says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// A fault.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Which requests it befalls; all, by default.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// How likely it befalls one of them; always, by default.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "probability"
    )]
    pub probability: Option<f64>,
    /// How often it befalls any of them; for ever, by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// How many matching requests go unharmed first.
    #[serde(default)]
    pub skip: u32,
    /// What happens.
    pub effect: Effect,
}

/// Which requests a fault befalls: those that fit all that is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Match {
    /// Any of these operations; one may stand without a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OneOrMany>,
    /// The key, by its ID, also when the request has an alias of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// A part of the path, with its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// One text or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Many.
    Many(Vec<String>),
}

impl OneOrMany {
    fn contains(&self, text: &str) -> bool {
        match self {
            Self::One(one) => one == text,
            Self::Many(many) => many.iter().any(|one| one == text),
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Effect {
    /// This status in place of the operation, which is not done.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "status")]
    pub status: Option<u16>,
    /// This reason code in the body of the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What becomes of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyEffect>,
    /// How long the answer takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// A `Retry-After` header: seconds, or a date as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<serde_json::Value>,
    /// Where the connection is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Further headers, but for those that say where a message ends: other
    /// effects break that off.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "headers"
    )]
    pub headers: BTreeMap<String, String>,
}

/// Reads the status of a final answer.
fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let status = Option::<u16>::deserialize(deserializer)?;
    if status.is_none_or(|status| (200..=599).contains(&status)) {
        return Ok(status);
    }
    Err(D::Error::custom("a status is from 200 to 599"))
}

/// Reads headers that an answer may have more of.
fn headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let headers = BTreeMap::<String, String>::deserialize(deserializer)?;
    let framing = |name: &&String| {
        let name = name.to_ascii_lowercase();
        matches!(
            &*name,
            "content-length" | "transfer-encoding" | "connection"
        )
    };
    match headers.keys().find(framing) {
        Some(name) => Err(D::Error::custom(format!("{name} is the connection's own"))),
        None => Ok(headers),
    }
}

/// Reads how likely something is.
fn probability<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let likely = Option::<f64>::deserialize(deserializer)?;
    if likely.is_none_or(|likely| (0.0..=1.0).contains(&likely)) {
        return Ok(likely);
    }
    Err(D::Error::custom("a probability is from 0 to 1"))
}

/// What becomes of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BodyEffect {
    /// These bytes.
    Raw(String),
    /// A gateway's HTML page.
    Html,
    /// None.
    Empty,
    /// The first half, whole as HTTP goes, so that the JSON is broken.
    TruncatedJson,
    /// The same bytes, called `text/html`.
    WrongContentType,
    /// The first half, and then the connection is cut.
    HalfBody,
}

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cut {
    /// Nothing is answered. The operation is done, unless a status is given.
    BeforeResponse,
    /// The head and the first half of the body are sent.
    MidBody,
    /// Nothing is answered, and the whole connection goes: with HTTP/2, every
    /// other request on it too.
    Connection,
}

/// What the faults look at in a request.
#[derive(Debug, Clone, Copy)]
pub struct Target<'r> {
    /// The operation's name.
    pub operation: &'r str,
    /// The key's ID.
    pub key_id: Option<&'r str>,
    /// Path and query.
    pub path: &'r str,
    /// The instance.
    pub instance: Option<&'r str>,
}

impl Match {
    fn fits(&self, target: Target<'_>) -> bool {
        self.operation
            .as_ref()
            .is_none_or(|any| any.contains(target.operation))
            && self
                .key_id
                .as_deref()
                .is_none_or(|key| Some(key) == target.key_id)
            && self
                .path
                .as_deref()
                .is_none_or(|path| target.path.contains(path))
            && self
                .instance
                .as_deref()
                .is_none_or(|id| Some(id) == target.instance)
    }
}

/// The faults in force, by name.
#[derive(Debug, Default)]
pub struct Faults {
    by_name: BTreeMap<String, (Fault, u32)>,
    /// The state of the dice, which fall the same in every run.
    dice: u64,
}

impl Faults {
    /// Puts a fault in force, in place of any of this name.
    pub fn put(&mut self, name: &str, fault: Fault) {
        self.by_name.insert(name.to_owned(), (fault, 0));
    }

    /// Ends a fault, and says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// Ends all faults.
    pub fn clear(&mut self) {
        self.by_name.clear();
    }

    /// Returns the faults in force, each with how many requests it matched.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Fault, u32)> {
        self.by_name
            .iter()
            .map(|(name, (fault, matched))| (name, fault, *matched))
    }

    /// Chooses what befalls a request: the names of the faults, and their
    /// effects as one. Of effects that collide, that of the first name counts.
    pub fn choose(&mut self, target: Target<'_>) -> (Vec<String>, Effect) {
        let mut names = Vec::new();
        let mut effect = Effect::default();
        let mut dice = self.dice;
        for (name, (fault, matched)) in &mut self.by_name {
            if !fault.matches.fits(target) {
                continue;
            }
            let before = *matched;
            let spent = fault
                .times
                .is_some_and(|times| before >= fault.skip.saturating_add(times));
            if spent
                || fault
                    .probability
                    .is_some_and(|likely| roll(&mut dice) >= likely)
            {
                continue;
            }
            *matched += 1;
            if before < fault.skip {
                continue;
            }
            names.push(name.clone());
            effect.add(&fault.effect);
        }
        self.dice = dice;
        (names, effect)
    }
}

impl Effect {
    fn add(&mut self, other: &Self) {
        self.status = self.status.or(other.status);
        self.code = self.code.take().or_else(|| other.code.clone());
        self.body = self.body.take().or_else(|| other.body.clone());
        self.delay_ms = self.delay_ms.or(other.delay_ms);
        self.retry_after = self
            .retry_after
            .take()
            .or_else(|| other.retry_after.clone());
        self.cut = self.cut.or(other.cut);
        for (name, value) in &other.headers {
            self.headers
                .entry(name.clone())
                .or_insert_with(|| value.clone());
        }
    }
}

/// Rolls a number from 0 to 1 (splitmix64).
fn roll(dice: &mut u64) -> f64 {
    *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *dice;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    // 32 bits are plenty for a test's dice, and convert without loss.
    f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Target<'_> = Target {
        operation: "get",
        key_id: Some("k"),
        path: "/api/v2/keys/k",
        instance: None,
    };

    fn fault(json: serde_json::Value) -> Fault {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_fault_befalls_what_it_matches_as_often_as_it_says() {
        let mut faults = Faults::default();
        faults.put(
            "f",
            fault(serde_json::json!({
                "match": { "operation": "get" }, "skip": 1, "times": 2, "effect": { "status": 503 },
            })),
        );
        let other = Target {
            operation: "list",
            ..GET
        };
        let statuses: Vec<_> = [GET, other, GET, GET, GET]
            .map(|target| faults.choose(target).1.status)
            .to_vec();
        assert_eq!(statuses, [None, None, Some(503), Some(503), None]);
    }

    #[test]
    fn effects_of_several_faults_are_joined() {
        let mut faults = Faults::default();
        faults.put(
            "a",
            fault(serde_json::json!({ "effect": { "delayMs": 5 } })),
        );
        faults.put(
            "b",
            fault(serde_json::json!({ "effect": { "body": { "raw": "x" } } })),
        );
        let (names, effect) = faults.choose(GET);
        assert_eq!(names, ["a", "b"]);
        assert_eq!(
            (effect.delay_ms, effect.body),
            (Some(5), Some(BodyEffect::Raw("x".to_owned())))
        );
    }

    #[test]
    fn chance_befalls_about_as_many_as_it_says() {
        let mut faults = Faults::default();
        faults.put(
            "f",
            fault(serde_json::json!({ "probability": 0.25, "effect": {"status": 500} })),
        );
        let hit = (0..1000)
            .filter(|_| faults.choose(GET).1.status.is_some())
            .count();
        assert!((200..300).contains(&hit), "{hit}");
    }
}
