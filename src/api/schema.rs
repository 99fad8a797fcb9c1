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
