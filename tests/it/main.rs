//! The integration tests: one binary, one file per part.

mod conformance;
mod record;
mod runtime;
mod tasks;
