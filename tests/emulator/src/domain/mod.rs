//! What the service decides: pure state and pure rules.
//!
//! Nothing here knows of HTTP, sockets or the clock. Every rule takes the
//! present as an argument and answers with a value or a [`refusal::Refusal`].

pub mod access;
pub mod aliases;
pub mod envelope;
pub mod history;
pub mod import;
pub mod import_token;
pub mod instance;
pub mod key;
pub mod kmip;
pub mod listing;
pub mod modes;
pub mod new_key;
pub mod policies;
pub mod refusal;
pub mod registrations;
pub mod rings;
pub mod state;
pub mod versions;
