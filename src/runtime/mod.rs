//! The process: settings, logs, the audit stream, health, metrics, shutdown.

pub mod audit;
pub mod health;
pub mod metrics;
pub mod process;
pub mod server;
pub mod settings;
pub mod telemetry;
