//! Who values states. A critic that cannot judge abstains; it never returns a made-up number.

mod judgement;
mod lexical;
mod lexical_tools;
mod llm;
mod pairwise;

pub use judgement::{Comparison, Critic, JudgeError, Judgement};
pub use lexical::LexicalCritic;
pub use llm::{CriticMode, LlmCritic, LlmCriticConfig, Scale};
pub use pairwise::PairwiseCritic;
