//! A judge without a model: how much of the goal is evidently done.
//!
//! **Formula.** Of the goal and the way here (see `words::evidence`):
//!
//! * `C` coverage: mean evidence of the goal's content terms (of the question's, if it asks): 1 in
//!   the page's headline, in what was typed, chosen or ticked, and in what the page announces; 0.8 in
//!   the page's address and in the names of what was opened or pressed; 0.5 in the headline of a page of search results; 0.4
//!   in what was only searched for;
//! * `Q` literals: share of the goal's quoted and `key: value` parts that were typed, chosen, ticked
//!   or pressed, or that a field holds (as `C`, if the goal gives none);
//! * `F` effect: 1 if a button or a sent field changed the state and the page confirms it ("thank
//!   you", "added"), 0.5 if it changed the state only and nothing else was done since, 1 if the goal
//!   is to be somewhere, all its literals are given and sent, and the headline, the address or what was
//!   pressed say all the rest; where a write waits to be sent, 1 if what was pressed for it shares a
//!   word with the goal or sends what was filled in; else 0;
//! * `H` prospect: share of the content terms that stand anywhere on the page;
//! * `P` 1 if anything changed at all;
//! * `L` loops: share of the steps that repeat an earlier one or changed nothing, 1 where the state
//!   looks like one that was left;
//! * `W` wandering: share of the clicks on things that share no word with the goal and are not the
//!   button of what was filled in;
//! * `E` 1 if something on the page reads like a failure that the goal does not mention.
//!
//! `base = (0.35 C + 0.20 Q + 0.25 F + 0.10 H + 0.05 P − 0.20 L − 0.10 W)`, within 0..=0.9, times
//! `1 − 0.5 E`.
//!
//! At an end:
//!
//! * an answer to a question: `0.3 base + 0.7 A`, where `A` says how much of the question stands
//!   within three elements of the answer's words (0 if they are not on the page); 1 if `A >= 0.95`,
//!   `Q = 1`, `E = 0`;
//! * a question without an answer: `base`, at most 0.3;
//! * `stop` with `Q = 1`, `F = 1`, `E = 0`, `L < 0.5` and nothing left to press, choose or tick that the goal
//!   names in full: 1 if `C >= 0.8`, else `0.6 + 0.35 C`; any other `stop`: `0.6 base`;
//! * an end by the page itself: `0.6 + 0.35 C` if `Q = 1` and nothing is left, else `0.1 + 0.6 base`.
//!
//! **What it can do**: rise along a way that does what the goal says, fall where it goes wrong in
//! words, recognise an end that a page confirms. **What it cannot do**: see negation, arithmetic or
//! comparison; notice that a write was wrong; tell one thing from another of the same name. Its
//! values rank; they are not probabilities.

use std::fmt::Write as _;

use async_trait::async_trait;

use super::{Critic, JudgeError, Judgement, lexical_tools};
use crate::context::Cx;
use crate::llm::words::{
    Goal, address, bare, confirms, count, echoes, evidence, fails, gives, headline, literal_done,
    padded, target_name, target_role, terms, unit, words,
};
use crate::types::{Cost, ElementState, Observation, PathStep, View};

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
        let (value, told) = if view.observation.is_of_tools() {
            lexical_tools::value(view)
        } else {
            let parts = Parts::of(view);
            (parts.value(), parts.told())
        };
        Ok(Judgement {
            value: Some(unit(value)),
            spread: None,
            samples: 1,
            unreadable: 0,
            rationale: told,
            cost: Cost::default(),
            exchanges: Vec::new(),
        })
    }
}

/// The formula's terms.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts of a state"
)]
#[derive(Debug, Clone, Copy, PartialEq)]
struct Parts {
    coverage: f64,
    literals: f64,
    effect: f64,
    prospect: f64,
    progress: f64,
    loops: f64,
    wandering: f64,
    error: f64,
    /// Something that the goal names in full is left to be done here.
    left: bool,
    /// `A`, after an answer.
    answer: Option<f64>,
    /// The episode is over.
    ended: bool,
    /// It was ended by an action that ends it.
    stopped: bool,
    /// The goal asks something.
    asked: bool,
}

impl Parts {
    fn of(view: &View<'_>) -> Self {
        let goal = Goal::of(view.goal);
        let page = view.observation;
        let ends = |step: &PathStep| {
            let spec = view.actions.iter().find(|s| s.name == step.action.name);
            spec.is_some_and(|s| s.terminal)
        };
        let path: Vec<&PathStep> = view.path.iter().filter(|s| !ends(s)).collect();
        let known = evidence(&goal, view);
        let wanted = if goal.content.is_empty() {
            &goal.terms
        } else if goal.asked.is_some() {
            &goal.question
        } else {
            &goal.content
        };
        let sure = |term: &String| {
            let found = known.iter().find(|(t, _)| t == term);
            found.map_or(0.0, |(_, sure)| *sure)
        };
        let coverage = wanted.iter().map(sure).sum::<f64>() / count(wanted.len().max(1));
        let given = goal
            .literals
            .iter()
            .filter(|l| literal_done(l, view))
            .count();
        let literals = if goal.literals.is_empty() {
            coverage
        } else {
            share(given, goal.literals.len())
        };
        let all = words(&everything(page));
        let here = wanted.iter().filter(|t| all.contains(t)).count();
        let clicks: Vec<(usize, &&PathStep)> = path
            .iter()
            .enumerate()
            .filter(|(_, s)| s.action.name == "click")
            .collect();
        let astray = clicks
            .iter()
            .filter(|(i, step)| {
                let form = path[..*i].last().is_some_and(|s| gives(&s.action));
                !form
                    && !terms(target_name(step))
                        .iter()
                        .any(|t| goal.terms.contains(t))
            })
            .count();
        Self {
            coverage,
            literals,
            effect: effect(&goal, &path, view, given == goal.literals.len()),
            prospect: share(here, wanted.len()),
            progress: if path.iter().any(|s| s.changed) {
                1.0
            } else {
                0.0
            },
            loops: loops(&path),
            wandering: share(astray, clicks.len()),
            error: if fails(page, &goal) { 1.0 } else { 0.0 },
            left: left(&goal, &known, page),
            answer: view.answer.map(|answer| nearness(answer, &goal, page)),
            ended: page.terminal,
            stopped: view.path.last().is_some_and(ends),
            asked: goal.asked.is_some(),
        }
    }

    fn value(&self) -> f64 {
        let base = 0.35 * self.coverage
            + 0.20 * self.literals
            + 0.25 * self.effect
            + 0.10 * self.prospect
            + 0.05 * self.progress
            - 0.20 * self.loops
            - 0.10 * self.wandering;
        let base = base.clamp(0.0, 0.9) * (1.0 - 0.5 * self.error);
        let given = self.literals >= 1.0 && self.error <= 0.0;
        match (self.answer, self.ended || self.stopped) {
            (Some(near), _) if self.asked && near >= 0.95 && given => 1.0,
            (Some(near), _) if self.asked => 0.3 * base + 0.7 * near,
            (_, true) if self.asked => base.min(0.3),
            (_, false) => base,
            (_, true) if self.stopped => {
                // Without literals, what is to be given is part of the coverage.
                let given = self.error <= 0.0 && (given || self.literals >= self.coverage);
                if given && self.effect >= 1.0 && self.loops < 0.5 && !self.left {
                    if self.coverage >= 0.8 {
                        1.0
                    } else {
                        0.6 + 0.35 * self.coverage
                    }
                } else {
                    0.6 * base
                }
            }
            (_, true) => {
                if given && !self.left {
                    0.6 + 0.35 * self.coverage
                } else {
                    0.1 + 0.6 * base
                }
            }
        }
    }

    fn told(&self) -> String {
        let mut out = format!(
            "coverage {:.2}, literals {:.2}, effect {:.1}, prospect {:.2}, loops {:.2}, wandering {:.2}, errors {:.0}",
            self.coverage,
            self.literals,
            self.effect,
            self.prospect,
            self.loops,
            self.wandering,
            self.error
        );
        if self.left {
            out.push_str(", something is left to do");
        }
        if let Some(near) = self.answer {
            let _written = write!(out, ", answer {near:.2}");
        }
        out
    }
}

fn share(hits: usize, of: usize) -> f64 {
    if of == 0 {
        0.0
    } else {
        count(hits) / count(of)
    }
}

/// `F`: whether the last thing done had the effect that the goal is about.
fn effect(goal: &Goal, path: &[&PathStep], view: &View<'_>, given: bool) -> f64 {
    let page = view.observation;
    let unsent = path
        .last()
        .is_some_and(|s| gives(&s.action) && s.action.arguments.get("submit").is_none());
    if goal.arriving && given && !unsent && !echoes(page) {
        let head = headline(page);
        let there = address(page);
        // What was typed or chosen by name, and the buttons for it, need not be in the headline.
        let handled = |t: &String| {
            let keyed = goal
                .literals
                .iter()
                .any(|l| l.keyed && (words(&l.text).contains(t) || l.keys.contains(t)));
            keyed
                || path
                    .iter()
                    .filter(|s| s.changed && target_role(s) != "link")
                    .any(|s| {
                        let option = s.action.text("option").unwrap_or_default();
                        s.action.name != "fill"
                            && (words(target_name(s)).contains(t) || words(option).contains(t))
                    })
        };
        let open = |t: &&String| !head.contains(t) && !there.contains(t) && !handled(t);
        if !head.is_empty() && goal.content.iter().filter(open).count() == 0 {
            return 1.0;
        }
    }
    let Some((last, before)) = path.split_last() else {
        return 0.0;
    };
    let sends = last.action.name == "fill"
        && last
            .action
            .arguments
            .get("submit")
            .and_then(serde_json::Value::as_bool)
            == Some(true)
        && target_role(last) != "searchbox";
    let presses =
        last.action.name == "click" && matches!(target_role(last), "button" | "clickable");
    if !last.changed || !(sends || presses) {
        return 0.0;
    }
    let name = terms(target_name(last));
    let meant = name.iter().any(|t| goal.terms.contains(t))
        || before.last().is_some_and(|s| gives(&s.action));
    if !view.waiting.is_empty() {
        // What the page will say is not known yet: a write counts by what was pressed for it.
        return if meant { 1.0 } else { 0.0 };
    }
    // After a stop the page before it is the page itself.
    let previous = if view.path.len() == path.len() {
        view.previous
    } else {
        None
    };
    match (meant, confirms(page, previous)) {
        (true, true) => 1.0,
        (true, false) => 0.5,
        (false, true) => 0.4,
        (false, false) => 0.0,
    }
}

/// `L`.
fn loops(path: &[&PathStep]) -> f64 {
    let repeated = path
        .iter()
        .enumerate()
        .filter(|(i, step)| {
            !step.changed
                || path[..*i].iter().any(|earlier| {
                    earlier.action == step.action
                        && earlier.target == step.target
                        && earlier.url == step.url
                })
        })
        .count();
    // A page that was left and is here again by the same link.
    let back = path.split_last().is_some_and(|(last, before)| {
        last.action.name == "back"
            || last.action.name == "click"
                && target_role(last) == "link"
                && before.iter().rev().skip(1).any(|s| s.url == last.url)
                && before.last().is_some_and(|s| s.url != last.url)
    });
    if back {
        1.0
    } else {
        share(repeated, path.len())
    }
}

/// Whether something that the goal names in full is there and was not pressed, chosen or ticked.
fn left(goal: &Goal, known: &[(String, f64)], page: &Observation) -> bool {
    let open = |t: &String| known.iter().any(|(k, sure)| k == t && *sure < 0.4);
    page.elements.iter().filter(|e| e.interactive).any(|e| {
        if !matches!(e.role.as_str(), "button" | "checkbox" | "radio" | "switch") {
            return false;
        }
        let name = terms(&bare(&e.name));
        !name.is_empty()
            && !e.states.contains(&ElementState::Checked)
            && !e.states.contains(&ElementState::Disabled)
            && name.iter().all(|t| goal.terms.contains(t))
            && name.iter().any(open)
    })
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
