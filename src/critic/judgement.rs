//! The trait and what it returns.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::context::Cx;
use crate::llm::ChatError;
use crate::types::{Cost, Exchange, Preference, UnitF32, View};

/// A state's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Expected success from here, 0..=1; `None` if the critic abstained.
    pub value: Option<UnitF32>,
    /// Standard deviation over samples, where there were several.
    pub spread: Option<f32>,
    /// Samples that counted.
    pub samples: u32,
    /// Samples that could not be read; they count as nothing, not as 0.
    pub unreadable: u32,
    /// Why, in the critic's words.
    pub rationale: String,
    /// What it cost.
    pub cost: Cost,
    /// Prompts and replies, for the record.
    pub exchanges: Vec<Exchange>,
}

/// Which of two states is nearer the goal.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// `None` if the critic abstained.
    pub preference: Option<Preference>,
    /// Why, in the critic's words.
    pub rationale: String,
    /// What it cost.
    pub cost: Cost,
    /// Prompts and replies, for the record.
    pub exchanges: Vec<Exchange>,
}

/// Why there is no judgement. Unreadable replies are an abstention, not an error.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The provider failed.
    #[error(transparent)]
    Model(#[from] ChatError),
}

/// Values states.
#[async_trait]
pub trait Critic: Send + Sync {
    /// The name for the record.
    fn name(&self) -> &str;

    /// Values the state in `view`.
    async fn judge(&self, view: &View<'_>, cx: &Cx) -> Result<Judgement, JudgeError>;

    /// Says which of two states of one task is nearer the goal. By default both are judged and the
    /// higher value is preferred; equal values are a tie, and an abstention on either abstains.
    async fn compare(
        &self,
        first: &View<'_>,
        second: &View<'_>,
        cx: &Cx,
    ) -> Result<Comparison, JudgeError> {
        let one = self.judge(first, cx).await?;
        let other = self.judge(second, cx).await?;
        let mut cost = one.cost;
        cost += other.cost;
        let preference =
            one.value
                .zip(other.value)
                .map(|(one, other)| match one.total_cmp(&other) {
                    std::cmp::Ordering::Greater => Preference::First,
                    std::cmp::Ordering::Less => Preference::Second,
                    std::cmp::Ordering::Equal => Preference::Tie,
                });
        let shown = |value: Option<UnitF32>| value.map_or("none".to_owned(), |v| v.to_string());
        Ok(Comparison {
            preference,
            rationale: format!("values {} and {}", shown(one.value), shown(other.value)),
            cost,
            exchanges: one.exchanges.into_iter().chain(other.exchanges).collect(),
        })
    }
}
