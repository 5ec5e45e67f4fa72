//! The integration tests: one binary, one file a subject.

mod architecture;
mod conformance;
mod record;
mod runtime;
mod search_properties;
mod tasks;
