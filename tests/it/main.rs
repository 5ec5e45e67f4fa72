//! All integration tests, in one binary.

mod architecture;
mod browser;
mod models;
mod policies;
mod search_properties;
mod support;
mod tasks;
