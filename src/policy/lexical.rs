//! A proposer without a model: word overlap between the goal and the page.
//!
//! **What it can do.** Click what the goal names; type what the goal quotes or gives as
//! `key: value` into the field that is named near it; choose the option and tick the box whose label
//! stands in the goal; press the button that submits once nothing is left to fill in; search for the
//! goal's own words; answer a question whose answer stands beside the question's words.
//!
//! **What it cannot do.** Understand. It knows no synonyms ("purchase" is not "buy"), no negation,
//! no arithmetic, no comparison ("cheapest"), no layout and no pictures; it plans nothing beyond the
//! next action. It exists so that search can be shown, tested and measured without a key.
//!
//! **Score.** For an element with terms `E` and the goal's terms `G`, over the page's elements:
//! `2 · Σ idf(t), t ∈ G∩E / Σ idf(t), t ∈ E`, plus 2 if its whole name stands in the goal, plus 2 if
//! it is a quoted part that is not to be typed, plus 0.3 if the goal names its role. Priors are a
//! softmax of the scores at temperature 0.5. Deterministic.

use std::collections::BTreeMap;
use std::num::NonZeroU8;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::llm::prior;
use super::wire::{meaning, usable};
use super::{Policy, Proposal, ProposeError};
use crate::context::Cx;
use crate::llm::words::{Asked, Goal, Literal, Use, count, extract, terms, words};
use crate::types::{Action, ActionSpec, Candidate, Element, ElementState, Observation, View};

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
        let scored = Page::of(view).scored();
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

#[derive(Debug)]
struct Scored {
    action: Action,
    score: f64,
    why: String,
}

/// One state, prepared for scoring.
struct Page<'a> {
    view: &'a View<'a>,
    observation: &'a Observation,
    goal: Goal,
    idf: BTreeMap<String, f64>,
    /// Elements that can be acted upon.
    usable: Vec<&'a Element>,
}

impl<'a> Page<'a> {
    fn of(view: &'a View<'a>) -> Self {
        let observation = view.observation;
        let usable: Vec<&Element> = observation.elements.iter().filter(|e| usable(e)).collect();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for element in &usable {
            for term in terms(&label(element)) {
                *seen.entry(term).or_default() += 1;
            }
        }
        let n = count(usable.len());
        let idf = seen
            .into_iter()
            .map(|(term, df)| (term, (1.0 + n / count(df)).ln()))
            .collect();
        Self {
            view,
            observation,
            goal: Goal::of(view.goal),
            idf,
            usable,
        }
    }

    fn spec(&self, name: &str) -> Option<&ActionSpec> {
        self.view.actions.iter().find(|s| s.name == name)
    }

    fn scored(&self) -> Vec<Scored> {
        let mut all = self.fills();
        all.extend(self.selects());
        all.extend(self.checks());
        // A field that hides its value (a password) is not pending once it was filled.
        let pending = all
            .iter()
            .any(|s| s.score >= 1.0 && self.repeated(&s.action) <= 0.0);
        let clicks = self.clicks(pending);
        let named = clicks.iter().any(|s| s.score >= 2.0);
        all.extend(clicks);
        all.extend(self.stop(pending || named));
        all.extend(self.moves(all.iter().any(|s| s.score >= 1.0)));
        self.settle(all)
    }

    /// Leaves out what was tried, punishes what was done before, merges what means the same, and
    /// sorts; ties keep their order.
    fn settle(&self, mut all: Vec<Scored>) -> Vec<Scored> {
        let key = |a: &Action| meaning(a, self.view.actions, self.observation);
        let tried: Vec<Action> = self.view.siblings.iter().map(|s| key(&s.action)).collect();
        for scored in &mut all {
            scored.score -= self.repeated(&scored.action);
        }
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut keys: Vec<Action> = Vec::new();
        all.retain(|scored| {
            let key = key(&scored.action);
            let new = !tried.contains(&key) && !keys.contains(&key) && scored.score > -2.0;
            if new {
                keys.push(key);
            }
            new
        });
        all
    }

    /// How much an action loses because it was done on the way here: all of it if nothing came of
    /// it, some of it if something did.
    fn repeated(&self, action: &Action) -> f64 {
        let target = action
            .target()
            .and_then(|r| self.observation.element(r))
            .map(rendered);
        self.view
            .path
            .iter()
            .filter(|step| {
                step.action.name == action.name
                    && match (&target, &step.target) {
                        (Some(now), Some(then)) if now == then => {
                            other(&step.action) == other(action)
                        }
                        (None, _) => step.action == *action,
                        // The same reference on the same page, however it was rendered.
                        _ => step.action == *action && step.url == self.observation.url,
                    }
            })
            .map(|step| match (step.changed, action.target().is_some()) {
                (false, _) => 6.0,
                (true, true) => 1.5,
                (true, false) => 0.3,
            })
            .sum()
    }

    fn overlap(&self, text: &str) -> f64 {
        let mine = terms(text);
        let idf = |t: &String| self.idf.get(t).copied().unwrap_or(1.0);
        let all: f64 = mine.iter().map(idf).sum();
        let shared: f64 = mine
            .iter()
            .filter(|t| self.goal.terms.contains(t))
            .map(idf)
            .sum();
        if all > 0.0 { 2.0 * shared / all } else { 0.0 }
    }

    /// The score of an element by its label.
    fn named(&self, text: &str, role: &str) -> f64 {
        let name = words(text);
        let mut score = self.overlap(text);
        let literal = self
            .goal
            .literals
            .iter()
            .find(|l| l.purpose != Use::Type && words(&l.text) == name);
        if literal.is_some() {
            score += 2.0;
        }
        if self.goal.says(&name) && (name.len() > 1 || !terms(text).is_empty() || literal.is_some())
        {
            score += 2.0;
        }
        if score > 0.0 && self.goal.terms.iter().any(|t| t == role) {
            score += 0.3;
        }
        score
    }

    // --- fields ---------------------------------------------------------------------------------

    fn fills(&self) -> Vec<Scored> {
        let Some(spec) = self.spec("fill") else {
            return Vec::new();
        };
        let can_submit = spec.parameters["properties"].get("submit").is_some();
        let fields: Vec<&Element> = self
            .usable
            .iter()
            .copied()
            .filter(|e| is_field(e))
            .collect();
        let values: Vec<&Literal> = self
            .goal
            .literals
            .iter()
            .filter(|l| match l.purpose {
                Use::Type => true,
                Use::Press => false,
                // A quoted text that names something here is to be clicked.
                Use::Either => !self.usable.iter().any(|e| words(&e.name) == words(&l.text)),
            })
            .collect();
        let mut out = Vec::new();
        for (i, (field, value, fit)) in assign(&fields, &values).into_iter().enumerate() {
            if is_value(field, &value.text) {
                continue;
            }
            let submit = can_submit && is_search(field);
            out.push(fill(
                field,
                &value.text,
                submit,
                2.5 + 2.0 * fit - 0.05 * count(i),
            ));
        }
        // A place to search, and nothing literal to type: the goal's own words.
        for field in fields.iter().filter(|f| is_search(f)) {
            let typed = out
                .iter()
                .any(|s: &Scored| s.action.target() == Some(&field.r#ref));
            let query: Vec<&str> = self
                .goal
                .content
                .iter()
                .take(5)
                .map(String::as_str)
                .collect();
            let query = query.join(" ");
            if typed || query.is_empty() {
                continue;
            }
            let searched = self.view.path.iter().any(|s| {
                s.action.name == "fill" && s.target.as_deref() == Some(rendered(field).as_str())
            });
            if !is_value(field, &query) && !searched {
                out.push(fill(field, &query, can_submit, 1.4));
            } else if !can_submit && self.spec("press").is_some() && !self.just("press") {
                out.push(Scored {
                    action: Action::new("press", json!({ "key": "Enter", "ref": field.r#ref })),
                    score: 1.6,
                    why: "sends the search".to_owned(),
                });
            }
        }
        out
    }

    fn just(&self, action: &str) -> bool {
        self.view
            .path
            .last()
            .is_some_and(|s| s.action.name == action)
    }

    fn selects(&self) -> Vec<Scored> {
        if self.spec("select").is_none() {
            return Vec::new();
        }
        let mut out = Vec::new();
        for element in self.usable.iter().filter(|e| !e.options.is_empty()) {
            let near = self.overlap(&element.name);
            let mut best: Vec<(f64, &String)> = element
                .options
                .iter()
                .map(|option| (self.named(option, "option"), option))
                .filter(|(score, _)| *score >= 1.0)
                .collect();
            best.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (score, option) in best.into_iter().take(2) {
                if is_value(element, option) {
                    break;
                }
                out.push(Scored {
                    action: Action::new(
                        "select",
                        json!({ "ref": element.r#ref, "option": option }),
                    ),
                    score: score + 0.5 * near,
                    why: format!("the goal names the option {option:?}"),
                });
            }
        }
        out
    }

    fn checks(&self) -> Vec<Scored> {
        if self.spec("check").is_none() {
            return Vec::new();
        }
        let off = ["uncheck", "untick", "deselect", "unselect", "disable"]
            .iter()
            .any(|w| self.goal.terms.iter().any(|t| t == w));
        let mut out = Vec::new();
        for element in self.usable.iter().filter(|e| is_box(e)) {
            let score = self.named(&element.name, &element.role);
            let on = element.states.contains(&ElementState::Checked);
            if score >= 2.0 && on == off {
                out.push(Scored {
                    action: Action::new("check", json!({ "ref": element.r#ref, "on": !off })),
                    score,
                    why: format!("the goal names {:?}", element.name),
                });
            }
        }
        out
    }

    // --- clicks ---------------------------------------------------------------------------------

    fn clicks(&self, pending: bool) -> Vec<Scored> {
        if self.spec("click").is_none() {
            return Vec::new();
        }
        let forms = self
            .usable
            .iter()
            .any(|e| is_field(e) || is_box(e) || !e.options.is_empty());
        let handled = self
            .view
            .path
            .last()
            .is_some_and(|s| matches!(s.action.name.as_str(), "fill" | "select" | "check"));
        let mut out = Vec::new();
        for (i, element) in self.usable.iter().enumerate() {
            let boxed = is_box(element) && self.spec("check").is_some();
            let listed = !element.options.is_empty() && self.spec("select").is_some();
            if boxed || listed {
                continue;
            }
            let field = is_field(element);
            let mut score = self.named(&label(element), &element.role);
            let mut why = if score > 0.0 {
                format!("{} shares words with the goal", rendered(element))
            } else {
                "nothing speaks for or against it".to_owned()
            };
            if field {
                // A field is for typing; a click only gives it the focus.
                score = score.min(0.5) - 0.5;
            } else if is_submit(element) {
                if pending {
                    score -= 1.5;
                } else if handled || (forms && !self.view.path.is_empty()) {
                    score += if handled { 2.0 } else { 0.5 };
                    "everything the goal gives is filled in".clone_into(&mut why);
                }
            }
            if element.states.contains(&ElementState::Selected) {
                score -= 1.0;
            }
            // What the goal mentions first comes first; then what stands first on the page.
            let place = self.mention(element);
            score += 0.2 * (1.0 - place) + 0.05 / (1.0 + count(i));
            out.push(Scored {
                action: Action::new("click", json!({ "ref": element.r#ref })),
                score,
                why,
            });
        }
        out
    }

    /// Where in the goal the element is first mentioned, 0 at its start, 1 at its end or nowhere.
    fn mention(&self, element: &Element) -> f64 {
        let n = count(self.goal.terms.len().max(1));
        terms(&element.name)
            .iter()
            .filter_map(|t| self.goal.terms.iter().position(|g| g == t))
            .min()
            .map_or(1.0, |at| count(at) / n)
    }

    // --- ends and moves -------------------------------------------------------------------------

    fn stop(&self, more_to_do: bool) -> Option<Scored> {
        let spec = self.view.actions.iter().find(|s| s.terminal)?;
        let argument = spec.parameters["properties"]
            .as_object()
            .and_then(|p| p.keys().next().cloned());
        if let Some(asked) = self.goal.asked {
            let (answer, near) = answer(&self.goal, self.observation, asked)?;
            let argument = argument?;
            return Some(Scored {
                action: Action::new(&spec.name, json!({ argument: answer })),
                score: 4.0 * near - if more_to_do { 0.8 } else { 0.0 },
                why: "the answer stands beside the question's words".to_owned(),
            });
        }
        let progress = self.view.path.iter().any(|s| s.changed);
        if !progress {
            return None;
        }
        let arguments = match (&argument, required(spec)) {
            (Some(name), true) => json!({ name: "done" }),
            _ => json!({}),
        };
        Some(Scored {
            action: Action::new(&spec.name, arguments),
            score: if more_to_do { 0.2 } else { 1.6 },
            why: "something was done and nothing else overlaps".to_owned(),
        })
    }

    fn moves(&self, promising: bool) -> Vec<Scored> {
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

/// Name and, for links and buttons, nothing else: values are what was typed.
fn label(element: &Element) -> String {
    element.name.clone()
}

fn rendered(element: &Element) -> String {
    format!("{} {:?}", element.role, element.name)
}

/// The arguments apart from the reference.
fn other(action: &Action) -> Vec<(&String, &Value)> {
    action
        .arguments
        .iter()
        .filter(|(k, _)| *k != "ref")
        .collect()
}

fn required(spec: &ActionSpec) -> bool {
    spec.parameters["required"]
        .as_array()
        .is_some_and(|r| !r.is_empty())
}

fn is_field(element: &Element) -> bool {
    element.options.is_empty()
        && !element.states.contains(&ElementState::Readonly)
        && matches!(
            element.role.as_str(),
            "textbox" | "searchbox" | "spinbutton" | "combobox" | "textarea" | "date" | "time"
        )
}

fn is_search(element: &Element) -> bool {
    is_field(element)
        && (element.role == "searchbox" || words(&element.name).iter().any(|w| w == "search"))
}

fn is_box(element: &Element) -> bool {
    matches!(element.role.as_str(), "checkbox" | "radio" | "switch")
}

fn is_submit(element: &Element) -> bool {
    const SENDING: &[&str] = &[
        "submit", "ok", "save", "send", "go", "search", "login", "log", "sign", "continue", "next",
        "confirm", "apply", "done", "add", "update", "place", "checkout", "book", "order", "post",
        "finish", "create", "register",
    ];
    element.role == "button"
        && words(&element.name)
            .first()
            .is_some_and(|w| SENDING.contains(&w.as_str()))
}

fn is_value(element: &Element, text: &str) -> bool {
    element
        .value
        .as_deref()
        .is_some_and(|v| v.trim().to_lowercase() == text.trim().to_lowercase())
}

fn fill(field: &Element, text: &str, submit: bool, score: f64) -> Scored {
    let mut arguments = json!({ "ref": field.r#ref, "text": text });
    if submit {
        arguments["submit"] = json!(true);
    }
    Scored {
        action: Action::new("fill", arguments),
        score,
        why: format!("{} takes {text:?}", rendered(field)),
    }
}

/// Values for fields: first those whose words name the field, best match first; then the rest in
/// order; a single value also goes into every further field of the same kind (a password and its
/// confirmation).
fn assign<'a>(
    fields: &[&'a Element],
    values: &[&'a Literal],
) -> Vec<(&'a Element, &'a Literal, f64)> {
    let fit = |field: &Element, value: &Literal| {
        let mut name = terms(&field.name);
        if name.is_empty() {
            name = words(&field.name);
        }
        let shared = name.iter().filter(|t| value.keys.contains(t)).count();
        count(shared) / count(name.len().max(1))
    };
    let mut all: Vec<(f64, usize, usize)> = Vec::new();
    for (f, field) in fields.iter().enumerate() {
        for (v, value) in values.iter().enumerate() {
            all.push((fit(field, value), f, v));
        }
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut out: Vec<(usize, usize, f64)> = Vec::new();
    for &(score, f, v) in all.iter().filter(|(score, ..)| *score > 0.0) {
        if !out.iter().any(|(of, ov, _)| *of == f || *ov == v) {
            out.push((f, v, score));
        }
    }
    let free_value = |out: &[(usize, usize, f64)]| {
        (0..values.len()).find(|v| !out.iter().any(|(_, ov, _)| ov == v))
    };
    for (f, field) in fields.iter().enumerate() {
        if out.iter().any(|(of, ..)| *of == f) {
            continue;
        }
        if let Some(v) = free_value(&out) {
            out.push((f, v, 0.0));
        } else if values.len() == 1 && !is_search(field) {
            out.push((f, 0, -0.5));
        }
    }
    out.sort_by_key(|(f, ..)| *f);
    out.into_iter()
        .map(|(f, v, score)| (fields[f], values[v], score))
        .collect()
}

/// The best answer on the page and how near it stands to the question's words, 0..=1.
fn answer(goal: &Goal, observation: &Observation, asked: Asked) -> Option<(String, f64)> {
    let wanted: Vec<&String> = goal.content.iter().collect();
    if wanted.is_empty() {
        return None;
    }
    let texts: Vec<(String, Vec<String>)> = observation
        .elements
        .iter()
        .map(|e| {
            let text = match &e.value {
                Some(value) if !e.role.eq("link") => format!("{}: {value}", e.name),
                _ => e.name.clone(),
            };
            let own = terms(&text);
            (text, own)
        })
        .collect();
    let general = terms(&format!("{} {}", observation.title, observation.url));
    let mut best: Option<(String, f64)> = None;
    for (i, (text, _)) in texts.iter().enumerate() {
        // How much of the question stands here, next to here, or in the page's title.
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
        let Some(found) = extract(text, asked) else {
            continue;
        };
        // The question itself is no answer to it.
        let new = terms(&found).iter().any(|t| !goal.terms.contains(t));
        if new && near > best.as_ref().map_or(0.25, |(_, n)| *n) {
            best = Some((found, near));
        }
    }
    best
}
