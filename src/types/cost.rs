//! What things cost: model calls, tokens, money, time.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Money in millionths of a US dollar.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

impl std::fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micro = self.0;
        write!(f, "${}.{:04}", micro / 1_000_000, micro % 1_000_000 / 100)
    }
}

/// The cost of one order, or a sum of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Requests sent to a model provider, retries included.
    pub model_calls: u32,
    /// Prompt tokens, cached ones included.
    pub input_tokens: u64,
    /// The part of `input_tokens` that the provider served from its prefix cache.
    pub cached_tokens: u64,
    /// Completion tokens.
    pub output_tokens: u64,
    /// Money, where the price table knows the model.
    pub money: MicroUsd,
    /// Actions executed in an environment, replayed ones included.
    pub env_actions: u32,
    /// Wall time in milliseconds. Not part of tree equality.
    pub wall_ms: u64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.model_calls += other.model_calls;
        self.input_tokens += other.input_tokens;
        self.cached_tokens += other.cached_tokens;
        self.output_tokens += other.output_tokens;
        self.money.0 += other.money.0;
        self.env_actions += other.env_actions;
        self.wall_ms += other.wall_ms;
    }
}

impl Cost {
    /// Prompt and completion tokens together.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.input_tokens + self.output_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_prints_as_dollars() {
        assert_eq!(MicroUsd(1_234_567).to_string(), "$1.2345");
        assert_eq!(MicroUsd(99).to_string(), "$0.0000");
    }
}
