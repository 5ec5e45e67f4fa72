//! What tokens cost.
//!
//! List prices change; the table holds those known when it was written (2025) and a configuration
//! can override them. A model that is not in the table costs 0 and is reported as not priced.

use serde::{Deserialize, Serialize};

use super::Usage;
use crate::types::MicroUsd;

/// Prices in US dollars per million tokens (which is micro-dollars per token).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Prompt tokens.
    pub input: f64,
    /// Prompt tokens served from the provider's prefix cache; like `input` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<f64>,
    /// Completion tokens.
    pub output: f64,
}

/// Model, prompt, cached prompt, completion; dollars per million tokens.
const TABLE: &[(&str, f64, f64, f64)] = &[
    ("gpt-3.5-turbo", 0.5, 0.5, 1.5),
    ("gpt-4-turbo", 10.0, 10.0, 30.0),
    ("gpt-4o", 2.5, 1.25, 10.0),
    ("gpt-4o-mini", 0.15, 0.075, 0.6),
    ("gpt-4.1", 2.0, 0.5, 8.0),
    ("gpt-4.1-mini", 0.4, 0.1, 1.6),
    ("gpt-4.1-nano", 0.1, 0.025, 0.4),
    ("gpt-5", 1.25, 0.125, 10.0),
    ("gpt-5-mini", 0.25, 0.025, 2.0),
    ("gpt-5-nano", 0.05, 0.005, 0.4),
    ("o3", 2.0, 0.5, 8.0),
    ("o4-mini", 1.1, 0.275, 4.4),
    ("claude-opus-4", 15.0, 1.5, 75.0),
    ("claude-sonnet-4", 3.0, 0.3, 15.0),
    ("claude-sonnet-4-5", 3.0, 0.3, 15.0),
    ("claude-haiku-4-5", 1.0, 0.1, 5.0),
    ("claude-3-5-haiku", 0.8, 0.08, 4.0),
];

impl Price {
    /// The list price of a model: its name, with or without a provider before a slash, alone or
    /// followed by a date (`gpt-4o-2024-08-06`) or `-latest`.
    #[must_use]
    pub fn of(model: &str) -> Option<Self> {
        let model = model.rsplit('/').next().unwrap_or(model);
        TABLE
            .iter()
            .find(|(name, ..)| {
                model.strip_prefix(name).is_some_and(|rest| {
                    rest.is_empty() || rest == "-latest" || is_date(rest.trim_start_matches('-'))
                })
            })
            .map(|&(_, input, cached, output)| Self {
                input,
                cached: Some(cached),
                output,
            })
    }

    /// The money for this usage, rounded to a micro-dollar.
    #[must_use]
    pub fn money(&self, usage: Usage) -> MicroUsd {
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let fresh = usage.input_tokens - cached;
        let micro = tokens(fresh) * self.input
            + tokens(cached) * self.cached.unwrap_or(self.input)
            + tokens(usage.output_tokens) * self.output;
        MicroUsd(whole(micro))
    }
}

fn is_date(text: &str) -> bool {
    text.len() >= 8
        && text.starts_with("20")
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

fn tokens(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "negative numbers and NaN saturate to 0, huge ones to the maximum"
)]
fn whole(micro: f64) -> u64 {
    micro.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_are_cheaper() {
        let usage = Usage {
            input_tokens: 1_000,
            cached_tokens: 400,
            output_tokens: 100,
        };
        let price = Price::of("openai/gpt-4o-2024-08-06").unwrap();
        // 600 * 2.5 + 400 * 1.25 + 100 * 10
        assert_eq!(price.money(usage), MicroUsd(3_000));
    }

    #[test]
    fn a_relative_of_a_known_model_is_not_that_model() {
        assert_eq!(Price::of("gpt-4o-audio-preview"), None);
        assert_eq!(Price::of("base"), None);
        assert_eq!(
            Price::of("gpt-4o-mini"),
            Price::of("gpt-4o-mini-2024-07-18")
        );
        assert_ne!(Price::of("gpt-4o-mini"), Price::of("gpt-4o"));
    }
}
