//! The integration tests: one binary.

mod conformance;
mod record;
mod runtime;
