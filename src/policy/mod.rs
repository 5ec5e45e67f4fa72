//! Who proposes actions. A policy sees a [`View`](crate::types::View) and nothing else.

mod batch;
mod lexical;
mod llm;
mod menu;
mod proposal;
mod wire;

pub use lexical::LexicalPolicy;
pub use llm::{LlmPolicy, LlmPolicyConfig, ProposeMode};
pub use proposal::{Policy, Proposal, ProposeError};
