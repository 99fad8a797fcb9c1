//! I/O with IBM Cloud: tokens from IAM, keys from Key Protect. Whatever arrives is turned into
//! the domain's values here, and whatever fails into a [`FetchFailure`] in the operator's own
//! words.
//!
//! [`FetchFailure`]: crate::domain::service::failure::FetchFailure

mod ask;
mod attempts;
mod cause;
pub mod client;
pub mod credential;
mod dns;
mod exchange;
mod http;
pub mod iam;
mod listing;
pub mod options;
mod retry;
pub mod token;
mod verdict;
pub mod wire;

pub use attempts::Attempts;
pub use client::Client;
pub use credential::{CredentialError, CredentialSource, NotRead, ReadEntry};
pub use iam::TokenSource;
pub use listing::{Listed, Mark};
pub use options::{ClientError, ClientOptions};
pub(crate) use retry::random_seed;
pub use token::Token;
