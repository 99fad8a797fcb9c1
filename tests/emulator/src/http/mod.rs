//! The HTTP layer: reads requests, asks the domain, writes answers.

pub mod answer;
pub mod body;
pub mod calls;
pub mod identity;
pub mod keys;
pub mod pipeline;
pub mod rings;
pub mod route;
