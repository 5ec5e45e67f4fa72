//! Who acts and values at random: what a search does is then up to its seed alone.

use std::collections::BTreeMap;
use std::num::NonZeroU8;

use async_trait::async_trait;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::context::Cx;
use crate::critic::{Critic, JudgeError, Judgement};
use crate::policy::{Policy, Proposal, ProposeError};
use crate::types::{Action, Candidate, Cost, Element, Seed, UnitF32, View};

/// What it types.
const WORDS: [&str; 6] = ["lamp", "3", "Moss", "alan@example.org", "12 Hill Road", "5"];

/// Proposes actions on random elements. Buttons and fields are rare on most pages, and what can
/// write: each kind is drawn as often as links are.
#[derive(Debug)]
pub(super) struct RandomPolicy;

#[async_trait]
impl Policy for RandomPolicy {
    fn name(&self) -> &'static str {
        "random"
    }

    async fn propose(
        &self,
        view: &View<'_>,
        width: NonZeroU8,
        _cx: &Cx,
    ) -> Result<Proposal, ProposeError> {
        let mut dice = dice(view.seed);
        let usable = view.observation.elements.iter().filter(|e| e.interactive);
        let mut kinds: BTreeMap<u8, Vec<&Element>> = BTreeMap::new();
        for element in usable {
            let kind = match element.role.as_str() {
                "button" => 0,
                "link" => 1,
                _ => 2,
            };
            kinds.entry(kind).or_default().push(element);
        }
        let kinds: Vec<Vec<&Element>> = kinds.into_values().collect();
        let mut candidates: Vec<Candidate> = Vec::new();
        for _ in 0..width.get() {
            let element = kinds
                .choose(&mut dice)
                .and_then(|kind| kind.choose(&mut dice));
            let action = match element {
                Some(element) => on(element, &mut dice),
                None => Action::new("back", json!({})),
            };
            if candidates.iter().all(|known| known.action != action) {
                candidates.push(Candidate {
                    action,
                    prior: UnitF32::saturating(dice.random()),
                    thought: None,
                });
            }
        }
        Ok(Proposal {
            candidates,
            ..Proposal::default()
        })
    }
}

/// What can be done to an element.
fn on(element: &Element, dice: &mut ChaCha8Rng) -> Action {
    let target = element.r#ref.as_str();
    match element.role.as_str() {
        "textbox" | "searchbox" | "spinbutton" => {
            let text = WORDS.choose(dice).copied().unwrap_or_default();
            Action::new("fill", json!({"ref": target, "text": text}))
        }
        _ => match element.options.choose(dice) {
            Some(option) => Action::new("select", json!({"ref": target, "option": option})),
            None => Action::new("click", json!({"ref": target})),
        },
    }
}

/// Values at random.
#[derive(Debug)]
pub(super) struct RandomCritic;

#[async_trait]
impl Critic for RandomCritic {
    fn name(&self) -> &'static str {
        "random"
    }

    async fn judge(&self, view: &View<'_>, _cx: &Cx) -> Result<Judgement, JudgeError> {
        // Never 1: that would end the search.
        let value = dice(view.seed).random_range(0.0..0.99);
        Ok(Judgement {
            value: Some(UnitF32::saturating(value)),
            spread: None,
            samples: 1,
            unreadable: 0,
            rationale: "drawn".to_owned(),
            cost: Cost::default(),
            exchanges: Vec::new(),
        })
    }
}

fn dice(seed: Seed) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed.0)
}
