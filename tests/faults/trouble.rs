//! What goes wrong with the service, each under a name of its own.

use key_protect_emulator::ConnectionFault;
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::service::{INSTANCES, Service};

/// What goes wrong with keys. A run deals them like cards, so that each has its turn.
pub(crate) const KEYS: &[&str] = &[
    "latency",
    "slow",
    "500",
    "503",
    "503-retry-after",
    "429",
    "429-retry-after",
    "502-html",
    "401",
    "403",
    "404",
    "404-key-not-found",
    "410",
    "cut-before-response",
    "cut-mid-body",
    "cut-connection",
    "cut-all-connections",
    "half-body",
    "truncated-json",
    "empty-body",
    "html-body",
    "wrong-content-type",
    "no-key",
    "other-key",
    "payload-missing",
    "payload-empty",
    "payload-line-breaks",
    "list-empty",
    "list-half",
    "list-disagrees",
    "list-omits-aliases",
    "list-omits-rings",
    "list-slow",
    "list-refused",
    "new-keys-hidden",
    "reader-only",
    "no-role",
    "tls-closed",
    "tls-silent",
    "tls-cut-handshake",
    "tls-other-authority",
    "tls-expired",
    "tls-other-name",
];

/// What goes wrong with tokens. The operator asks IAM for another one at most once a minute after
/// a refusal, lest a missing right become a storm: so each round has these before its kill, and
/// not after.
pub(crate) const TOKENS: &[&str] = &[
    "iam-503",
    "iam-cut",
    "iam-html",
    "iam-slow",
    "iam-refuses",
    "token-refused-midway",
    "tokens-of-seconds",
    "token-without-token",
    "token-clock-skew",
    "clock-ahead",
    "clock-behind",
];

/// What costs a refusal or leads to one.
pub(crate) fn refuses(trouble: &str) -> bool {
    TOKENS.contains(&trouble)
        || ["401", "403", "list-refused", "reader-only", "no-role"].contains(&trouble)
}

/// Lists lack keys, and say nothing of it.
const PARTIAL_LISTS: [&str; 3] = ["list-half", "list-disagrees", "new-keys-hidden"];

/// Everything that reads keys.
const READS: [&str; 3] = ["list", "metadata", "get"];

impl Service {
    /// Begins a trouble.
    pub(crate) fn begin(&self, trouble: &str, chance: &mut Chance) {
        let one = usize::try_from(chance.below(INSTANCES.len() as u64)).expect("an index");
        if let Some(effect) = effect(trouble, chance) {
            return self.strike(trouble, &READS, &effect, chance);
        }
        if let Some(effect) = effect_on_iam(trouble, chance) {
            let always = json!({"match": {"operation": "token"}, "effect": effect});
            self.fault(trouble, always);
            // Else nobody asks IAM for an hour.
            return self.emulator.revoke_tokens();
        }
        if PARTIAL_LISTS.contains(&trouble) {
            self.note_partial_lists();
        }
        if let Some(modes) = modes(trouble, chance) {
            let modes = modes.as_object().cloned().expect("modes");
            self.emulator.change_modes(modes).expect("modes");
            if trouble.starts_with("token-") {
                self.emulator.revoke_tokens();
            }
            return;
        }
        if let Some(fault) = connection_fault(trouble) {
            self.emulator.set_connection_fault(fault);
            return self.emulator.cut_connections();
        }
        let get = ["get"];
        match trouble {
            "no-key" => {
                let none = json!({"metadata": {"collectionTotal": 0}, "resources": []});
                self.strike(trouble, &get, &raw(&none), chance);
            }
            "other-key" => {
                let other = self.other_key(one);
                self.strike(trouble, &get, &raw(&other), chance);
            }
            "list-refused" => {
                let fault = json!({"match": {"operation": "list"}, "effect": {"status": 401}});
                self.fault(trouble, fault);
            }
            "cut-all-connections" => self.emulator.cut_connections(),
            "token-refused-midway" => self.emulator.revoke_tokens(),
            "tokens-of-seconds" => {
                self.emulator.set_token_lifetime(1);
                self.emulator.revoke_tokens();
            }
            "clock-ahead" => self.emulator.set_clock_offset(7_200),
            "clock-behind" => self.emulator.set_clock_offset(-7_200),
            "reader-only" => self.role(one, Some("Reader")),
            "no-role" => self.role(one, None),
            other => panic!("no trouble {other}"),
        }
    }

    fn strike(&self, name: &str, operations: &[&str], effect: &Value, chance: &mut Chance) {
        let probability = [0.3, 0.6, 1.0, 1.0];
        let fault = json!({
            "match": {"operation": operations},
            "probability": chance.pick(&probability),
            "effect": effect,
        });
        self.fault(name, fault);
    }

    fn fault(&self, name: &str, fault: Value) {
        let fault = serde_json::from_value(fault).expect("a fault");
        self.emulator.put_fault(name, fault);
    }

    /// A whole and good answer about a key that nobody asks for by its ID.
    fn other_key(&self, instance: usize) -> Value {
        let all = self.emulator.keys(self.guid(instance)).expect("keys");
        let fixed = all.into_iter().find(|key| key["name"] == "fixed");
        json!({"metadata": {"collectionTotal": 1}, "resources": [fixed.expect("a key")]})
    }
}

fn raw(body: &Value) -> Value {
    json!({"body": {"raw": body.to_string()}})
}

fn effect(trouble: &str, chance: &mut Chance) -> Option<Value> {
    Some(match trouble {
        "latency" => json!({"delayMs": chance.between(100, 900)}),
        "slow" => json!({"delayMs": chance.between(2_000, 6_000)}),
        "500" => json!({"status": 500}),
        "503" => json!({"status": 503}),
        "503-retry-after" => json!({"status": 503, "retryAfter": chance.between(1, 3)}),
        "429" => json!({"status": 429}),
        "429-retry-after" => json!({"status": 429, "retryAfter": chance.between(1, 3)}),
        "502-html" => json!({"status": 502, "body": "html"}),
        "401" => json!({"status": 401}),
        "403" => json!({"status": 403, "code": "CONFIG_RULE_CONFLICT_ERR"}),
        "404" => json!({"status": 404}),
        "404-key-not-found" => json!({"status": 404, "code": "KEY_NOT_FOUND_ERR"}),
        "410" => json!({"status": 410, "code": "KEY_DELETED_ERR"}),
        "cut-before-response" => json!({"cut": "beforeResponse"}),
        "cut-mid-body" => json!({"cut": "midBody"}),
        "cut-connection" => json!({"cut": "connection"}),
        "half-body" => json!({"body": "halfBody"}),
        "truncated-json" => json!({"body": "truncatedJson"}),
        "empty-body" => json!({"body": "empty"}),
        "html-body" => json!({"body": "html"}),
        "wrong-content-type" => json!({"body": "wrongContentType"}),
        _ => return None,
    })
}

fn effect_on_iam(trouble: &str, chance: &mut Chance) -> Option<Value> {
    Some(match trouble {
        "iam-503" => json!({"status": 503}),
        "iam-cut" => json!({"cut": "connection"}),
        "iam-html" => json!({"body": "html"}),
        "iam-slow" => json!({"delayMs": chance.between(1_000, 4_000)}),
        "iam-refuses" => json!({"status": 400, "code": "BXNIM0415E"}),
        _ => return None,
    })
}

fn modes(trouble: &str, chance: &mut Chance) -> Option<Value> {
    Some(match trouble {
        "payload-missing" => json!({"payloadMissing": true}),
        "payload-empty" => json!({"payloadEmpty": true}),
        "payload-line-breaks" => json!({"payloadLineBreaks": true}),
        "token-without-token" => json!({"tokenOmitsAccessToken": true}),
        "token-clock-skew" => json!({
            "tokenExpirationSkewSeconds": *chance.pick(&[-7_200, 7_200]),
            "tokenExpiresIn": *chance.pick(&[0, 5, 100_000]),
        }),
        "list-empty" => json!({"listEmpty": true}),
        "list-half" => json!({"listHalf": true}),
        "list-disagrees" => json!({"listDisagrees": true}),
        "list-omits-aliases" => json!({"listOmitsAliases": true}),
        "list-omits-rings" => json!({"listOmitsRings": true}),
        "list-slow" => json!({"pageDelayMs": chance.between(500, 4_000)}),
        "new-keys-hidden" => json!({"newKeyHiddenSeconds": 5}),
        _ => return None,
    })
}

fn connection_fault(trouble: &str) -> Option<ConnectionFault> {
    Some(match trouble {
        "tls-closed" => ConnectionFault::Closed,
        "tls-silent" => ConnectionFault::Silent,
        "tls-cut-handshake" => ConnectionFault::CutHandshake,
        "tls-other-authority" => ConnectionFault::OtherAuthority,
        "tls-expired" => ConnectionFault::ExpiredCertificate,
        "tls-other-name" => ConnectionFault::OtherName,
        _ => return None,
    })
}
