//! What a server was told, and how it is put back.

use std::sync::Arc;

use super::state::Write;

/// What is known of a server's state: the writes since the start.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) writes: Vec<Arc<Write>>,
    /// How many of them a commit sent: the first ones. They stay.
    pub(super) kept: usize,
    /// Set when it is not known whether a write arrived: why.
    pub(super) unsure: Option<String>,
}
