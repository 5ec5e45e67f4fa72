//! The integration tests: one binary, one file per part.

mod tasks;
