//! Pieces of the CRD schema that both kinds use: validation rules whose messages name the
//! field and say what to write, and bounds (CEL cost is estimated from them).

/// CEL for a Go-style duration in hours, minutes and seconds. Five digits a unit keep CEL's
/// own `duration()` from overflowing.
pub const DURATION: &str = "self.matches('^([0-9]{1,5}(h|m|s)){1,3}$')";

/// CEL for the shape of a v4 UUID, in either case.
pub const UUID: &str =
    "self.matches('^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$')";

/// CEL for a Kubernetes object name (DNS subdomain).
pub const OBJECT_NAME: &str =
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";

/// CEL for a DNS label, which is what may become a folder name under the credentials folder.
pub const DNS_LABEL: &str = "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')";

/// CEL for an alias that the service takes: its characters, no UUID (which would be read as a
/// key's ID), and none of the words that stand in its place in the API's paths.
pub const ALIAS: &str = "self.matches('^[A-Za-z0-9_-]{2,90}$') && !self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$') && !(self in ['allowed_ip','key','keys','metadata','policy','policies','registration','registrations','ring','rings','rotate','wrap','unwrap','rewrap','version','versions'])";

/// CEL for a key ring's ID.
pub const KEY_RING: &str = "self.matches('^[A-Za-z0-9_-]{2,100}$')";

/// CEL that holds where a CRN has the form of one, up to the account.
pub const CRN_FORM: &str = r"self.matches('^crn:v1:[A-Za-z0-9-]+:[A-Za-z0-9-]+:[a-z0-9-]+:[a-z]{2}-[a-z]{2,5}:a/[0-9a-fA-F-]{32,36}(:([0-9a-fA-F-]{36})?:(key)?:([0-9a-fA-F-]{36})?)?([ \\t]+[0-9a-fA-F-]{36})?[ \\t]*$')";

/// CEL that holds where a CRN names a service that speaks this API, or has no such part.
pub const CRN_SERVICE: &str =
    "self.split(':').size() < 5 || self.split(':')[4] in ['kms', 'hs-crypto']";

/// CEL that holds where a CRN names an instance: in its place, after the CRN, or (as in IBM's
/// instructions of 2017) in the account's place.
pub const CRN_INSTANCE: &str =
    r"self.matches('(:|a/|[ \\t])[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}(:|[ \\t]|$)')";

/// CEL for `https://HOST[:PORT]`, or `http` to a loopback host (which the operator takes only
/// with `--allow-insecure-loopback`); `path` is what may follow, as a regular expression.
#[must_use]
pub fn url(path: &str) -> String {
    format!(
        "self.matches('^([hH][tT][tT][pP][sS]://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[hH][tT][tT][pP]://(localhost|127[.][0-9.]*[0-9]))(:[0-9]{{1,5}})?{path}$')"
    )
}
