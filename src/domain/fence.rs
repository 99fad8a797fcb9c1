//! Whether the fence holds: what the API server's answers to attempts prove that it must refuse in
//! the fence's own words. A refusal for another reason proves nothing: RBAC, a quota or a policy of
//! somebody else may change tomorrow.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::condition::ConditionType;
use crate::domain::status::{self, Is};

/// How `deploy/fence/operator-secrets.yaml` refuses a Secret without the operator's label.
pub const SECRET_WORDS: &str =
    "fence: key-protect-operator creates no Secret without the label keyprotect.dev/target=owned";
/// How `deploy/fence/operator-writes.yaml` refuses a Lease that is not the operator's.
pub const LEASE_WORDS: &str =
    "fence: key-protect-operator writes no Lease but its own, key-protect-operator";

/// What the fence's refusal of a Secret means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not the operator's.
    NotOurs,
    /// It has finalizers, which the write would take off.
    Finalizers,
    /// It is immutable, which the write would end.
    Immutable,
    /// Another rule, in words for the team whose Secret it would have been.
    Rule(&'static str),
}

/// What the fence's refusal of a Secret means; nothing where it was not the fence. Its own words go
/// no further: they are recognised.
#[must_use]
pub fn refusal(message: &str) -> Option<Refusal> {
    let words = message.split_once("fence: ")?.1;
    let kinds = [
        (
            "this Secret is not key-protect-operator's",
            Refusal::NotOurs,
        ),
        (
            "key-protect-operator changes the label keyprotect.dev/target in one way only",
            Refusal::NotOurs,
        ),
        (
            "key-protect-operator deletes no Secret but those labelled",
            Refusal::NotOurs,
        ),
        (
            "key-protect-operator leaves finalizers alone",
            Refusal::Finalizers,
        ),
        (
            "key-protect-operator leaves immutable alone",
            Refusal::Immutable,
        ),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(begin, _)| words.starts_with(begin)) {
        return Some(*kind);
    }
    let known = [
        (
            "no Secrets of key-protect-operator in",
            "the fence keeps the operator out of this namespace; an admin lets it in with the namespace's label keyprotect.dev/allow-secrets=true",
        ),
        (
            "key-protect-operator sets no labels under",
            "the fence does not let it set a label of target.metadata.labels; an admin adds the prefix to deploy/fence/operator-secrets.yaml too",
        ),
        (
            "key-protect-operator sets no annotations under",
            "the fence does not let it set an annotation of target.metadata.annotations; an admin adds the prefix to deploy/fence/operator-secrets.yaml too",
        ),
    ];
    let found = known.iter().find(|(begin, _)| words.starts_with(begin));
    Some(Refusal::Rule(found.map_or(
        "the fence does not let it in, perhaps since a mutating webhook changes it; the API server's audit log says by which rule",
        |(_, meaning)| meaning,
    )))
}

/// What the API server answered to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It let it pass.
    Passed,
    /// It refused.
    Refused {
        /// HTTP status.
        code: u16,
        /// Its reason, like `Forbidden`.
        reason: String,
        /// Its words.
        message: String,
    },
    /// There was no answer: no connection, no time, a server that fails.
    Silence,
}

/// The answers to both attempts, which are dry runs in the operator's own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// To the creation of a Secret without the operator's label.
    pub secret: Answer,
    /// To the creation of a Lease of another name than the operator's.
    pub lease: Answer,
    /// The operator's username, where that was asked for.
    pub account: Option<String>,
}

/// What the answers prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The fence holds for this account.
    Holds,
    /// It does not: something passed that it must refuse.
    Open(String),
    /// Something else than the fence refused, so nothing is proven.
    Unproven(String),
    /// No answer: what was known before stays known.
    Unknown,
}

impl Verdict {
    /// Why it is not `Holds`, for people.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Holds => None,
            Self::Open(why) | Self::Unproven(why) => Some(why),
            Self::Unknown => Some("the API server did not answer"),
        }
    }
}

/// What is to be done about a fence that binds nobody, or somebody else.
const REMEDY: &str = "Apply the overlay again; where it has another namespace or name prefix than the one that ships, with deploy/fence/own-name among its transformers. (--fence=off runs without.)";

impl Answer {
    /// Whether admission let it pass. Whether a name is taken is looked at after admission.
    fn passed(&self) -> bool {
        match self {
            Self::Passed => true,
            Self::Refused { reason, .. } => reason == "AlreadyExists",
            Self::Silence => false,
        }
    }
}

impl Answers {
    /// Whether something passed that the fence must refuse.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.secret.passed() || self.lease.passed()
    }
}

/// Judges. One attempt that passed outweighs everything: of two policies one may be missing, or
/// name another account.
#[must_use]
pub fn judge(answers: &Answers) -> Verdict {
    if answers.passed() {
        let what = if answers.secret.passed() {
            "a Secret without the operator's label"
        } else {
            "a Lease that is not the operator's"
        };
        let account = answers
            .account
            .as_ref()
            .map_or_else(String::new, |account| format!(", {account}"));
        return Verdict::Open(format!(
            "The fence does not bind the operator's account{account}: {what} would have been taken. {REMEDY}"
        ));
    }
    match (&answers.secret, &answers.lease) {
        // RBAC may refuse the Lease, as where there is one replica: then it cannot be made anyway.
        (Answer::Refused { message, .. }, Answer::Refused { .. })
            if message.contains(SECRET_WORDS) =>
        {
            Verdict::Holds
        }
        (
            Answer::Refused {
                code,
                reason,
                message,
            },
            Answer::Refused { .. },
        ) => Verdict::Unproven(unproven(*code, reason, message)),
        _ => Verdict::Unknown,
    }
}

fn unproven(code: u16, reason: &str, message: &str) -> String {
    if message.contains("cannot create resource") {
        "Whether the fence holds is not known: RBAC refused the attempt before it came to the fence. The operator needs the right to create Secrets in its own namespace, where the fence lets it create none."
            .to_owned()
    } else {
        format!(
            "Whether the fence holds is not known: the attempt to create a Secret without the operator's label was refused, but not by the fence ({code} {reason}). Look for a quota, webhook or policy on the operator's own namespace, and whether the namespace is there."
        )
    }
}

/// Whether the fence holds, as known by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    verdict: Option<Verdict>,
    held_at: Option<Timestamp>,
}

impl Standing {
    /// Takes in a new verdict; tells whether that is news. Silence is none: it proves nothing.
    pub fn learn(&mut self, verdict: Verdict, now: Timestamp) -> bool {
        if verdict == Verdict::Unknown && self.verdict.is_some() {
            return false;
        }
        if verdict == Verdict::Holds {
            self.held_at = Some(now);
        }
        let news = self.verdict.as_ref() != Some(&verdict);
        self.verdict = Some(verdict);
        news
    }

    /// Whether it holds, by the last answer that proved anything.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict == Some(Verdict::Holds)
    }

    /// When it was last seen to hold.
    #[must_use]
    pub const fn held_at(&self) -> Option<Timestamp> {
        self.held_at
    }

    /// Why it is not known to hold.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        match &self.verdict {
            None => Some("the fence was not tried yet"),
            Some(verdict) => verdict.problem(),
        }
    }

    /// The condition FenceInactive as status and reason; nothing where the fence holds.
    #[must_use]
    pub fn condition(&self) -> Option<(Is, &'static str, &str)> {
        match self.verdict.as_ref()? {
            Verdict::Open(why) => Some((Is::True, "NotBound", why)),
            Verdict::Unproven(why) => Some((Is::Unknown, "NotProven", why)),
            Verdict::Holds | Verdict::Unknown => None,
        }
    }
}

/// Sets or clears the condition FenceInactive.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    standing: Option<&Standing>,
    generation: Option<i64>,
    now: Timestamp,
) {
    match standing.and_then(Standing::condition) {
        Some((is, reason, why)) => status::set(
            conditions,
            ConditionType::FenceInactive,
            is,
            reason,
            why,
            generation,
            now,
        ),
        None => status::clear(conditions, ConditionType::FenceInactive),
    }
}

#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
