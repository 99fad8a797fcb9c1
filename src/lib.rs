//! Keeps Kubernetes Secrets equal to keys held in IBM Key Protect.
//!
//! The way of one change: watch event → gather what is known → [`domain`]: resolve, need →
//! fetch → project, plan → execute → status. Everything in [`domain`] is a function of plain
//! values; [`keyprotect`] talks to IBM Cloud, [`cluster`] to Kubernetes, [`controller`] stands
//! between them, and [`runtime`] is the process.

pub mod api;
mod buffer;
pub mod check;
pub mod cluster;
pub mod controller;
pub mod crds;
pub mod domain;
pub mod keyprotect;
pub mod metrics;
pub mod runtime;
