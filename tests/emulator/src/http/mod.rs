//! The HTTP layer: reads requests, asks the domain, writes answers.
//!
//! [`pipeline`] is the way of a request, [`route`] says which operation it is,
//! [`calls`] whether it gets as far as one, and [`operations`] has them all.

pub mod answer;
pub mod body;
pub mod calls;
pub mod operations;
pub mod pipeline;
pub mod route;
