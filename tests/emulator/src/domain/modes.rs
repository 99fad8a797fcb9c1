//! Modes: where the service's behaviour is not known for certain, or is worse
//! on some days than on others, a mode says which behaviour the emulator shows.
//!
//! The defaults are what IBM documents, and where that leaves a choice, what
//! its reference pages make the likeliest.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// The switches; each has a default, and the admin port sets any of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Modes {
    /// List rows have no `aliases`.
    pub list_omits_aliases: bool,
    /// List rows have no `keyRingID`.
    pub list_omits_rings: bool,
    /// These key IDs are missing from lists.
    pub list_omit_keys: BTreeSet<String>,
    /// Lists are empty: 200, no `resources`.
    pub list_empty: bool,
    /// Lists have only the first half of the keys.
    pub list_half: bool,
    /// Every second list has only the first half of the keys.
    pub list_disagrees: bool,
    /// How long a new key is missing from lists.
    pub new_key_hidden_seconds: i64,
    /// Without the right to list: 200 and nothing (else 401).
    pub list_forbidden_as_empty200: bool,
    /// Keys that are granted singly show in lists.
    pub list_shows_single_grants: bool,
    /// How long each page of a list takes.
    pub page_delay_ms: u64,
    /// How long a deleted key reads as Deactivated (3).
    pub deleted_reads_as3_seconds: i64,
    /// Where it does.
    pub deleted_reads_as3_in: Places,
    /// What reading a deleted key answers: 200 without payload, or 410.
    #[serde(deserialize_with = "either::<_, 200, 410>")]
    pub deleted_get: u16,
    /// What an instance that does not exist answers: 404 or 401.
    #[serde(deserialize_with = "either::<_, 404, 401>")]
    pub unknown_instance: u16,
    /// The reason code of the 400 for a request without `bluemix-instance`.
    pub missing_instance_code: MissingInstanceCode,
    /// What a key in another ring than the header's answers: 404 or 401.
    #[serde(deserialize_with = "either::<_, 404, 401>")]
    pub other_ring: u16,
    /// What a key outside the caller's grants answers: 401 or 404.
    #[serde(deserialize_with = "either::<_, 401, 404>")]
    pub no_access: u16,
    /// How many aliases an instance may have; 0 is no limit.
    pub aliases_per_instance: usize,
    /// How long a deleted alias lingers.
    pub alias_deletion_delay_seconds: i64,
    /// How long a key stays in its old ring after a move.
    pub ring_move_delay_seconds: i64,
    /// How long changed roles take to count.
    pub role_change_delay_seconds: i64,
    /// How often expired keys are turned to Deactivated.
    pub expiry_pass_seconds: i64,
    /// `correlation-id` is echoed in answers.
    pub echo_correlation_id: bool,
    /// Refusals have no `reasons`: their code is in brackets at the end of
    /// `errorMsg`.
    pub code_in_error_msg: bool,
    /// A 401 has a `WWW-Authenticate` header.
    pub www_authenticate: bool,
    /// Reads answer the resource's media type, not `application/json`.
    pub read_media_type: bool,
    /// All writes are refused (503), as after a regional failover.
    pub read_only: bool,
    /// How far back each instance can be rolled; 0 keeps no past.
    pub history_seconds: i64,
    /// Everything is refused (503), as by Key Protect Dedicated before its
    /// crypto units are initialised.
    pub crypto_unit_uninitialized: bool,
    /// GET of a key without a payload for so long after its creation.
    pub payload_delay_seconds: i64,
    /// GET of a key has no payload, for no reason that shows.
    pub payload_missing: bool,
    /// Payloads are empty texts.
    pub payload_empty: bool,
    /// Payloads are sent with line breaks every 76 characters.
    pub payload_line_breaks: bool,
    /// Token answers say this `expires_in` instead of the truth.
    pub token_expires_in: Option<i64>,
    /// Token answers have no `access_token`.
    pub token_omits_access_token: bool,
    /// How far `expiration` in token answers is off.
    pub token_expiration_skew_seconds: i64,
}

/// Where the service shows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Places {
    /// In lists, and of the key itself.
    Everywhere,
    /// In lists only.
    Lists,
    /// In what is answered of the key itself only.
    Reads,
}

/// The reason code that a request without an instance gets: a field's, as for
/// other values that the service does not take, or none, as some errors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MissingInstanceCode {
    /// `INVALID_FIELD_ERR`, with the header as its target.
    #[serde(rename = "INVALID_FIELD_ERR")]
    InvalidField,
    /// No `reasons` at all.
    #[serde(rename = "none")]
    None,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            list_omits_aliases: false,
            list_omits_rings: false,
            list_omit_keys: BTreeSet::new(),
            list_empty: false,
            list_half: false,
            list_disagrees: false,
            new_key_hidden_seconds: 0,
            list_forbidden_as_empty200: true,
            list_shows_single_grants: false,
            page_delay_ms: 0,
            deleted_reads_as3_seconds: 0,
            deleted_reads_as3_in: Places::Everywhere,
            deleted_get: 200,
            unknown_instance: 404,
            missing_instance_code: MissingInstanceCode::InvalidField,
            other_ring: 404,
            no_access: 401,
            aliases_per_instance: 0,
            alias_deletion_delay_seconds: 0,
            ring_move_delay_seconds: 0,
            role_change_delay_seconds: 0,
            expiry_pass_seconds: 3600,
            echo_correlation_id: true,
            code_in_error_msg: false,
            www_authenticate: false,
            read_media_type: false,
            read_only: false,
            history_seconds: 0,
            crypto_unit_uninitialized: false,
            payload_delay_seconds: 0,
            payload_missing: false,
            payload_empty: false,
            payload_line_breaks: false,
            token_expires_in: None,
            token_omits_access_token: false,
            token_expiration_skew_seconds: 0,
        }
    }
}

impl Modes {
    /// Returns when the last background pass over expired keys was: at each
    /// whole interval of the clock, so that moving the clock is enough.
    pub fn last_expiry_pass(&self, now: Timestamp) -> Timestamp {
        let every = self.expiry_pass_seconds.max(1);
        let second = now.as_second();
        Timestamp::from_second(second - second.rem_euclid(every)).unwrap_or(now)
    }
}

/// Reads a status that is one of two.
fn either<'de, D, const ONE: u16, const OTHER: u16>(deserializer: D) -> Result<u16, D::Error>
where
    D: Deserializer<'de>,
{
    let status = u16::deserialize(deserializer)?;
    if status == ONE || status == OTHER {
        return Ok(status);
    }
    Err(D::Error::custom(format!(
        "{status}, expected {ONE} or {OTHER}"
    )))
}

/// Renders a time as the API does: to the second, so that keys that were made
/// one after the other can have the same date.
pub fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Adds seconds to a time, staying put at the end of time.
pub fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
