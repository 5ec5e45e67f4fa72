//! All integration tests, in one binary.

mod browser;
mod support;
mod tasks;
