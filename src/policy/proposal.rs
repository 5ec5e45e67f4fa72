//! The trait and what it returns.

use std::num::NonZeroU8;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::context::Cx;
use crate::llm::ChatError;
use crate::types::{Candidate, Cost, Exchange, View};

/// What a policy proposed under one state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Proposal {
    /// At most the asked width, distinct by meaning, most likely first.
    pub candidates: Vec<Candidate>,
    /// Replies that were no valid action, each with the reason: shown, never executed.
    pub discarded: Vec<String>,
    /// What it cost.
    pub cost: Cost,
    /// Prompts and replies, for the record.
    pub exchanges: Vec<Exchange>,
}

/// Why there is no proposal. An empty proposal is not an error: it says "nothing to try".
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// The provider failed.
    #[error(transparent)]
    Model(#[from] ChatError),
    /// The model answered, but nothing usable after `tries` requests. What was spent is kept.
    #[error("no usable action in {tries} replies; the last: {last}")]
    Unusable {
        /// Replies read.
        tries: u32,
        /// What was wrong with the last one.
        last: String,
        /// What it cost all the same.
        cost: Cost,
        /// The exchanges, for the record.
        exchanges: Vec<Exchange>,
    },
}

/// Proposes actions.
#[async_trait]
pub trait Policy: Send + Sync {
    /// The name for the record.
    fn name(&self) -> &str;

    /// Proposes up to `width` distinct actions for the state in `view`.
    async fn propose(
        &self,
        view: &View<'_>,
        width: NonZeroU8,
        cx: &Cx,
    ) -> Result<Proposal, ProposeError>;
}
