//! (being written)

pub mod fetch;
pub mod install;
