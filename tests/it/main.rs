//! The integration tests: one binary.

mod demo_shop;
