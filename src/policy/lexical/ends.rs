//! When to stop and with which answer; where else to look.

use serde_json::json;

use super::element::{is_field, target_is_button};
use super::page::Page;
use super::proposer::Scored;
use crate::llm::words::{
    Asked, Goal, confirms, count, echoes, extract, gives, headline, is_doing, literal_done,
    target_name, terms, words,
};
use crate::types::{Action, ActionSpec, Observation};

impl Page<'_> {
    pub(super) fn stop(&self, pending: bool, named: bool) -> Option<Scored> {
        let spec = self.view.actions.iter().find(|s| s.terminal)?;
        let argument = spec.parameters["properties"]
            .as_object()
            .and_then(|p| p.keys().next().cloned());
        if let Some(asked) = self.goal.asked {
            let (answer, near) = answer(&self.goal, self.observation, asked)?;
            let argument = argument?;
            let wait = if pending { 1.2 } else { 0.0 };
            return Some(Scored {
                action: Action::new(&spec.name, json!({ argument: answer })),
                score: 4.2 * near * near - wait,
                why: "the answer stands beside the question's words".to_owned(),
            });
        }
        let last = self
            .view
            .path
            .iter()
            .rev()
            .find(|s| s.action.name != "scroll")?;
        if !self.view.path.iter().any(|s| s.changed) {
            return None;
        }
        let given = self
            .goal
            .literals
            .iter()
            .all(|l| literal_done(l, self.view));
        let pressed = last.changed
            && (last.action.name != "fill"
                || last.action.arguments.get("submit") == Some(&json!(true)))
            && !matches!(last.action.name.as_str(), "select" | "check");
        let effect = pressed && confirms(self.observation, self.view.previous);
        let about = self.reached(&terms(target_name(last)));
        let unsent = gives(&last.action)
            && last.action.arguments.get("submit").is_none()
            && last
                .action
                .target()
                .is_some_and(|r| self.button_after(r).is_some());
        let there = self.goal.arriving && !unsent && !echoes(self.observation) && about >= 0.99;
        let (score, why) = if self.failed || pending {
            (0.0, "something may be done")
        } else if given && effect && about >= 0.5 {
            (3.6, "all is given and the page confirms it")
        } else if given && there {
            (3.0, "the page is what the goal names")
        } else if given && pressed && target_is_button(last.target.as_deref()) && about >= 0.5 {
            (2.0, "all is given and sent")
        } else if named {
            (0.2, "something may be done")
        } else {
            (
                0.2 + 0.7 * about,
                "something was done and nothing else overlaps",
            )
        };
        let arguments = match (&argument, required(spec)) {
            (Some(name), true) => json!({ name: "done" }),
            _ => json!({}),
        };
        Some(Scored {
            action: Action::new(&spec.name, arguments),
            score,
            why: why.to_owned(),
        })
    }

    pub(super) fn moves(&self, promising: bool) -> Vec<Scored> {
        let omitted = self.observation.omitted;
        let base = if promising { 0.1 } else { 0.9 };
        let mut out = Vec::new();
        let mut offer = |action: Action, score: f64, why: &str| {
            out.push(Scored {
                action,
                score,
                why: why.to_owned(),
            });
        };
        if self.spec("scroll").is_some() {
            let more = omitted.below.saturating_add(omitted.cut);
            if more > 0 {
                let action = Action::new("scroll", json!({ "direction": "down" }));
                offer(action, base, "more of the page is below");
            }
            let down = self
                .view
                .path
                .last()
                .is_some_and(|s| s.action.name == "scroll");
            if omitted.above > 0 && !down {
                let action = Action::new("scroll", json!({ "direction": "up" }));
                offer(action, base - 0.4, "more of the page is above");
            }
        }
        if self.spec("back").is_some() && self.view.path.iter().any(|s| s.changed) {
            offer(
                Action::new("back", json!({})),
                base - 0.6,
                "the way here led nowhere",
            );
        }
        out
    }
}

fn required(spec: &ActionSpec) -> bool {
    spec.parameters["required"]
        .as_array()
        .is_some_and(|r| !r.is_empty())
}

/// The best answer on the page and how near it stands to the question's words, 0..=1.
fn answer(goal: &Goal, observation: &Observation, asked: Asked) -> Option<(String, f64)> {
    // Words that name the kind of the answer ("price", "code") are there by its form already.
    let kind = |t: &str| match asked {
        Asked::Money => matches!(t, "price" | "cost" | "amount" | "euro" | "dollar" | "fee"),
        Asked::Number => matches!(t, "number" | "count"),
        Asked::Date => matches!(t, "date" | "time" | "day"),
        Asked::Code | Asked::Words => false,
    };
    let wanted: Vec<&String> = goal
        .question
        .iter()
        .filter(|t| !kind(t) && !is_doing(t))
        .collect();
    if wanted.is_empty() {
        return None;
    }
    let unit = unit_of(goal);
    let given = words(&goal.phrase).len();
    let texts: Vec<(String, Vec<String>)> = observation
        .elements
        .iter()
        .map(|e| {
            let text = match &e.value {
                Some(value) if !e.role.eq("link") => format!("{}: {value}", e.name),
                _ => e.name.clone(),
            };
            // The goal itself, where the page shows it, says nothing.
            let said = words(&text);
            let echo = said.len() > 3 && said.len() * 2 > given && goal.says(&said);
            let text = if echo { String::new() } else { text };
            let own = terms(&text);
            (text, own)
        })
        .collect();
    let head = headline(observation);
    let general = terms(&format!("{} {}", observation.title, observation.url));
    let mut best: Option<(String, f64)> = None;
    for (i, (text, _)) in texts.iter().enumerate() {
        let element = &observation.elements[i];
        if element.interactive && is_field(element) {
            continue;
        }
        // How much of the question stands here, next to here, or in the page's headline.
        let near: f64 = wanted
            .iter()
            .map(|term| {
                let at = |d: usize| {
                    let here = |j: Option<usize>| {
                        j.and_then(|j| texts.get(j))
                            .is_some_and(|(_, own)| own.contains(term))
                    };
                    here(i.checked_sub(d)) || here(i.checked_add(d))
                };
                if at(0) {
                    1.0
                } else if head.contains(term) {
                    0.9
                } else if at(1) {
                    0.8
                } else if at(2) {
                    0.6
                } else if at(3) || general.contains(term) {
                    0.45
                } else {
                    0.0
                }
            })
            .sum::<f64>()
            / count(wanted.len());
        let found = match &unit {
            Some(unit) if asked == Asked::Number => with_unit(text, unit),
            _ => extract(text, asked),
        };
        let Some(found) = found else {
            continue;
        };
        // The question itself is no answer to it.
        let new = terms(&found).iter().any(|t| !goal.terms.contains(t));
        let near = if unit.is_some() {
            (near + 0.15).min(1.0)
        } else {
            near
        };
        if new && near > best.as_ref().map_or(0.25, |(_, n)| *n) {
            best = Some((found, near));
        }
    }
    best
}

/// What is counted: the word after "how many".
fn unit_of(goal: &Goal) -> Option<String> {
    let all: Vec<&str> = goal.phrase.split_whitespace().collect();
    let at = all.windows(2).position(|w| w == ["how", "many"])?;
    all.get(at + 2).map(|w| (*w).to_owned())
}

/// The number before this word in a text ("45 days").
fn with_unit(text: &str, unit: &str) -> Option<String> {
    let all = words(text);
    let at = all.iter().position(|w| w == unit)?;
    let number =
        |w: &&String| w.starts_with(|c: char| c.is_ascii_digit()) && w.parse::<f64>().is_ok();
    let before = all[..at].iter().rev().take(2).find(number);
    before
        .or_else(|| all[at + 1..].iter().take(2).find(number))
        .cloned()
}
