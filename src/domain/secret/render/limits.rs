//! Bounds of what one object can make the operator compute or write. A tenant writes templates
//! and may choose payloads, so nothing here relies on the service's own limits.

/// Bytes of a template.
pub const TEMPLATE_BYTES: usize = 4 * 1024;
/// Substitutions of a template.
pub const SUBSTITUTIONS: usize = 16;
/// Filters of one substitution.
pub const FILTERS: usize = 8;
/// Bytes of what a template makes, and of every step on the way there.
pub const OUTPUT_BYTES: usize = 64 * 1024;
/// Bytes of a payload that is read as JSON; the service's own limit for a payload is 7,500.
pub const JSON_BYTES: usize = 64 * 1024;
/// Objects and arrays within each other.
pub const JSON_DEPTH: usize = 32;
/// Entries of a Secret.
pub const ENTRIES: usize = 64;
/// Bytes of all values of a Secret together; the API server's own limit is 1 MiB.
pub const SECRET_BYTES: usize = 512 * 1024;
