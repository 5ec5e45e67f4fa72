//! The policy: scores become priors.

use std::num::NonZeroU8;

use async_trait::async_trait;

use super::page::Page;
use super::tools;
use crate::context::Cx;
use crate::policy::llm::prior;
use crate::policy::{Policy, Proposal, ProposeError};
use crate::types::{Action, Candidate, View};

/// Softmax temperature of the priors.
const TEMPERATURE: f64 = 0.5;

/// Proposes by word overlap. See the module's documentation for its limits.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct LexicalPolicy {}

#[async_trait]
impl Policy for LexicalPolicy {
    fn name(&self) -> &'static str {
        "lexical"
    }

    async fn propose(
        &self,
        view: &View<'_>,
        width: NonZeroU8,
        _cx: &Cx,
    ) -> Result<Proposal, ProposeError> {
        if view.observation.terminal {
            return Ok(Proposal::default());
        }
        let scored = if view.observation.is_of_tools() {
            tools::scored(view)
        } else {
            Page::of(view).scored()
        };
        let top = scored.iter().map(|s| s.score).fold(f64::MIN, f64::max);
        let weight = |s: &Scored| ((s.score - top) / TEMPERATURE).exp();
        let total: f64 = scored.iter().map(weight).sum();
        let candidates = scored
            .iter()
            .take(usize::from(width.get()))
            .map(|s| Candidate {
                action: s.action.clone(),
                prior: prior(weight(s) / total),
                thought: Some(s.why.clone()),
            })
            .collect();
        Ok(Proposal {
            candidates,
            ..Proposal::default()
        })
    }
}

/// An action with its score, and the reason for people.
#[derive(Debug)]
pub(super) struct Scored {
    pub(super) action: Action,
    pub(super) score: f64,
    pub(super) why: String,
}
