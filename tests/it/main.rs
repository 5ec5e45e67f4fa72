//! All integration tests, in one binary.

mod architecture;
mod browser;
mod search_properties;
mod support;
mod tasks;
