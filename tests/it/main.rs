//! Integration tests: one binary.

mod models;
mod policies;
