//! A judge without a model: how much of the goal is on the page.
//!
//! **Formula.** Over the page's title, URL, headings, names and values:
//!
//! * `C` coverage: share of the goal's content terms that are there;
//! * `Q` literals: share of the goal's quoted and `key: value` parts that are there, in a field, a
//!   name, the title or the URL (as `C`, if the goal gives none);
//! * `P` progress: share of the steps so far that changed anything (0 at the start);
//! * `S` state: share of ticked, selected or filled elements among those the goal names (0 if none);
//! * `L` loops: share of the steps that repeat an earlier one or changed nothing;
//! * `E` 1 if something on the page reads like a failure that the goal does not mention, else 0.
//!
//! `base = 0.40 C + 0.25 Q + 0.15 P + 0.20 S − 0.20 L − 0.25 E`, within 0..=0.9.
//! If the goal asks something and an answer was given: `0.3 base + 0.7 A`, where `A` says how much of
//! the question stands within three elements of the answer's words (0 if they are not on the page).
//! At any other end: `base + 0.1`, but at most 0.3 if the goal asks something.
//!
//! **What it can do**: prefer states that look like the goal. **What it cannot do**: tell a goal
//! reached from a page that merely mentions it; see negation, arithmetic or comparison; notice that
//! a write was wrong. Its values rank; they are not probabilities.

use std::fmt::Write as _;

use async_trait::async_trait;

use super::{Critic, JudgeError, Judgement};
use crate::context::Cx;
use crate::llm::words::{Goal, count, padded, terms, unit, words};
use crate::types::{Cost, Element, ElementState, Observation, View};

/// Values states by word overlap. See the module's documentation for formula and limits.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct LexicalCritic {}

#[async_trait]
impl Critic for LexicalCritic {
    fn name(&self) -> &'static str {
        "lexical"
    }

    async fn judge(&self, view: &View<'_>, _cx: &Cx) -> Result<Judgement, JudgeError> {
        let parts = Parts::of(view);
        Ok(Judgement {
            value: Some(unit(parts.value())),
            spread: None,
            samples: 1,
            unreadable: 0,
            rationale: parts.told(),
            cost: Cost::default(),
            exchanges: Vec::new(),
        })
    }
}

/// The formula's terms.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Parts {
    coverage: f64,
    literals: f64,
    progress: f64,
    state: f64,
    loops: f64,
    error: f64,
    /// `A`, after an answer.
    answer: Option<f64>,
    /// The episode is over.
    ended: bool,
    /// The goal asks something.
    asked: bool,
}

impl Parts {
    fn of(view: &View<'_>) -> Self {
        let goal = Goal::of(view.goal);
        let page = view.observation;
        let text = everything(page);
        let all = words(&text);
        let phrase = padded(&all);
        let share = |hits: usize, of: usize| {
            if of == 0 {
                0.0
            } else {
                count(hits) / count(of)
            }
        };
        let wanted = if goal.content.is_empty() {
            &goal.terms
        } else {
            &goal.content
        };
        let coverage = share(
            wanted.iter().filter(|t| all.contains(t)).count(),
            wanted.len(),
        );
        let literals = if goal.literals.is_empty() {
            coverage
        } else {
            let here = goal
                .literals
                .iter()
                .filter(|l| phrase.contains(&padded(&words(&l.text))));
            share(here.count(), goal.literals.len())
        };
        let steps = view.path.len();
        let changed = view.path.iter().filter(|s| s.changed).count();
        let repeated = view
            .path
            .iter()
            .enumerate()
            .filter(|(i, step)| {
                !step.changed
                    || view.path[..*i].iter().any(|earlier| {
                        earlier.action == step.action
                            && earlier.target == step.target
                            && earlier.url == step.url
                    })
            })
            .count();
        let named: Vec<&Element> = page
            .elements
            .iter()
            .filter(|e| is_named(e, &goal))
            .collect();
        let done = named.iter().filter(|e| is_done(e, &goal)).count();
        Self {
            coverage,
            literals,
            progress: share(changed, steps),
            state: share(done, named.len()),
            loops: share(repeated, steps),
            error: if fails(page, &goal) { 1.0 } else { 0.0 },
            answer: view.answer.map(|answer| nearness(answer, &goal, page)),
            ended: page.terminal,
            asked: goal.asked.is_some(),
        }
    }

    fn value(&self) -> f64 {
        let base =
            0.40 * self.coverage + 0.25 * self.literals + 0.15 * self.progress + 0.20 * self.state
                - 0.20 * self.loops
                - 0.25 * self.error;
        let base = base.clamp(0.0, 0.9);
        match (self.answer, self.ended) {
            (Some(near), _) if self.asked => 0.3 * base + 0.7 * near,
            (_, true) if self.asked => (base + 0.1).min(0.3),
            (Some(_), _) | (None, true) => base + 0.1,
            (None, false) => base,
        }
    }

    fn told(&self) -> String {
        let mut out = format!(
            "coverage {:.2}, literals {:.2}, progress {:.2}, state {:.2}, loops {:.2}, errors {:.0}",
            self.coverage, self.literals, self.progress, self.state, self.loops, self.error
        );
        if let Some(near) = self.answer {
            let _written = write!(out, ", answer {near:.2}");
        }
        out
    }
}

fn everything(page: &Observation) -> String {
    let mut text = format!("{} . {} .", page.title, page.url.replace(['+', '_'], " "));
    for element in &page.elements {
        text.push(' ');
        text.push_str(&element.name);
        if let Some(value) = &element.value {
            text.push_str(" . ");
            text.push_str(value);
        }
        text.push_str(" .");
    }
    text
}

/// A box, choice or field that the goal speaks of.
fn is_named(element: &Element, goal: &Goal) -> bool {
    let name = words(&element.name);
    match element.role.as_str() {
        "checkbox" | "radio" | "switch" | "option" | "tab" => goal.says(&name),
        "textbox" | "searchbox" | "spinbutton" | "textarea" | "combobox" => {
            let name = terms(&element.name);
            goal.literals
                .iter()
                .any(|l| name.iter().any(|t| l.keys.contains(t)))
                || element
                    .options
                    .iter()
                    .any(|o| goal.says(&words(o)) && !terms(o).is_empty())
        }
        _ => false,
    }
}

fn is_done(element: &Element, goal: &Goal) -> bool {
    if let Some(value) = &element.value {
        let value = words(value);
        return goal.says(&value) || goal.literals.iter().any(|l| words(&l.text) == value);
    }
    let on = [
        ElementState::Checked,
        ElementState::Selected,
        ElementState::Pressed,
    ];
    on.iter().any(|s| element.states.contains(s))
}

/// Whether something on the page reads like a failure that the goal does not speak of.
fn fails(page: &Observation, goal: &Goal) -> bool {
    const SIGNS: &[&str] = &[
        "not found",
        "no result",
        "nothing found",
        "out of stock",
        "sold out",
        "unavailable",
        "error",
        "invalid",
        "incorrect",
        "failed",
        "access denied",
        "forbidden",
        "went wrong",
        "try again",
        "is required",
    ];
    let bad = |text: &str| {
        let text = padded(&words(text));
        SIGNS
            .iter()
            .any(|sign| text.contains(&format!(" {sign} ")) && !goal.phrase.contains(sign))
    };
    bad(&page.title)
        || page.elements.iter().any(|e| {
            e.states.contains(&ElementState::Invalid)
                || (e.visible && !e.interactive && bad(&e.name))
        })
        || page.notices.iter().any(|n| bad(&n.text))
}

/// How much of the goal stands near the answer's words, 0..=1.
fn nearness(answer: &str, goal: &Goal, page: &Observation) -> f64 {
    let wanted = words(answer);
    if wanted.is_empty() {
        return 0.0;
    }
    let rows: Vec<Vec<String>> = page
        .elements
        .iter()
        .map(|e| {
            words(&format!(
                "{} . {}",
                e.name,
                e.value.as_deref().unwrap_or_default()
            ))
        })
        .collect();
    let title = words(&format!("{} {}", page.title, page.url));
    let phrase = padded(&wanted);
    let mut best: f64 = 0.0;
    for i in (0..rows.len()).filter(|i| padded(&rows[*i]).contains(&phrase)) {
        let from = i.saturating_sub(3);
        let window = &rows[from..(i + 4).min(rows.len())];
        let hits: f64 = goal
            .content
            .iter()
            .map(|term| {
                if window.iter().any(|row| row.contains(term)) {
                    1.0
                } else if title.contains(term) {
                    0.8
                } else {
                    0.0
                }
            })
            .sum();
        best = best.max(hits / count(goal.content.len().max(1)));
    }
    best
}
