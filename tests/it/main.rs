//! All integration tests, in one binary.

mod architecture;
mod browser;
mod conformance;
mod demo_shop;
mod models;
mod policies;
mod record;
mod report;
mod runtime;
mod search_properties;
mod support;
mod tasks;
