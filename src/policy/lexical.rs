//! A proposer without a model: word overlap between the goal and the page, and the habits of a
//! careful person who cannot know what the words mean. Over calls of tools: `lexical_tools`.
//!
//! **What it can do.** Open what the goal names and what is not known yet from the way here; type
//! what the goal quotes or gives as `key: value` into the field that is labelled so; choose the
//! option and tick the box whose label stands in the goal; then press the button of that form; press
//! a button that says what the goal says once the page is about the goal's object; take the row
//! with the smallest or largest figure where the goal has a superlative; search, once a query, where
//! nothing else speaks; answer a question whose answer stands beside the question's words; count
//! fields, boxes and buttons by ordinals; stop where the page says it is done.
//!
//! **What it cannot do.** Understand. It knows no synonyms ("purchase" is not "buy"), no negation,
//! no arithmetic, no layout and no pictures; it plans nothing beyond the next action. It exists so
//! that search can be shown, tested and measured without a key.
//!
//! **Score.** With `G` the goal's terms, `E` an element's (without counts and prices), `K` those of
//! `G` that the way here and the page's headline show to be dealt with (see `words::evidence`), and
//! weights `idf` over the page's elements:
//!
//! * overlap: `p · (0.8 + 1.2 r)`, `p` the share of `E` in `G`, `r` the share of `G \ K` in `E`;
//! * +1 if the whole name stands in the goal (+0.3 for a link of one word), +2 if it is a quoted
//!   part that is not to be typed, +0.3 if the goal names its role;
//! * −1 if all it shares is in `K`; −3 if it is a link to what the headline says; −0.5 if it stood
//!   on the previous, other page too (navigation), +0.4 if it appeared on this one; −1 if it names
//!   only where something is to go; −1.5 if it undoes or leaves ("sign out", "cancel") and the goal
//!   does not say so;
//! * buttons all of whose words are in the goal: +0.5 + the share of the rest of the goal in `K`;
//! * the nearest button after the field that was last filled: +2 (+1 if something else was done
//!   since); such buttons stay below fields that are still to be filled;
//! * rows: up to +1.5 (+2 for links) by the share of the open goal in the texts of the row; folded things +2.5 if the
//!   goal says to unfold; help pages +0.9 for questions;
//! * superlatives: +2, +1.3, +0.6 for the first three rows in order;
//! * fields 3 + fit, options and boxes 3 if named, searching 1.2, answers 4.2 · nearness², stopping 3.6
//!   where all is done and the page confirms it.
//!
//! What was done before on this path loses (6 if nothing came of it, links 3, else 1.5). Priors are
//! a softmax of the scores at temperature 0.5. Deterministic.

use std::collections::BTreeMap;
use std::num::NonZeroU8;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::lexical_tools;
use super::llm::prior;
use super::wire::{meaning, usable};
use super::{Policy, Proposal, ProposeError};
use crate::context::Cx;
use crate::llm::replies::of_tools;
use crate::llm::words::{
    Asked, Goal, Literal, Measure, Use, bare, confirms, count, echoes, evidence, extract, fails,
    figure, gives, headline, is_doing, literal_done, padded, target_name, terms, words,
};
use crate::types::{
    Action, ActionSpec, Candidate, Element, ElementState, Observation, SiblingOutcome, View,
};

/// Softmax temperature of the priors.
const TEMPERATURE: f64 = 0.5;
/// A value of the goal that is still to be given scores at least this.
const PENDING: f64 = 2.5;

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
        let scored = if of_tools(view.observation) {
            lexical_tools::scored(view)
        } else {
            Page::of(view).scored()
        };
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

/// An action with its score, and the reason for people.
#[derive(Debug)]
pub(super) struct Scored {
    pub(super) action: Action,
    pub(super) score: f64,
    pub(super) why: String,
}

/// One state, prepared for scoring.
struct Page<'a> {
    view: &'a View<'a>,
    observation: &'a Observation,
    goal: Goal,
    idf: BTreeMap<String, f64>,
    /// Elements that can be acted upon, with their index among all.
    usable: Vec<(usize, &'a Element)>,
    /// The goal's terms that are dealt with.
    known: Vec<String>,
    headline: Vec<String>,
    /// The last action led to another page.
    moved: bool,
    /// The page says that something went wrong.
    failed: bool,
}

impl<'a> Page<'a> {
    fn of(view: &'a View<'a>) -> Self {
        let observation = view.observation;
        let usable: Vec<(usize, &Element)> = observation
            .elements
            .iter()
            .enumerate()
            .filter(|(_, e)| usable(e))
            .collect();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (_, element) in &usable {
            for term in terms(&bare(&element.name)) {
                *seen.entry(term).or_default() += 1;
            }
        }
        let n = count(usable.len());
        let idf = seen
            .into_iter()
            .map(|(term, df)| (term, (1.0 + n / count(df)).ln()))
            .collect();
        let goal = Goal::of(view.goal);
        let known = evidence(&goal, view)
            .into_iter()
            .filter(|(_, sure)| *sure >= 0.8)
            .map(|(term, _)| term)
            .collect();
        let headline = headline(observation);
        let path = |url: &str| url.split(['?', '#']).next().unwrap_or_default().to_owned();
        let moved = view.previous.is_some_and(|p| {
            path(&p.url) != path(&observation.url) || self::headline(p) != headline
        });
        Self {
            failed: fails(observation, &goal),
            view,
            observation,
            goal,
            idf,
            usable,
            known,
            headline,
            moved,
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
        let open: Vec<&Scored> = all
            .iter()
            .filter(|s| s.score >= PENDING)
            .filter(|s| self.repeated(&s.action) <= 0.0 && !self.tried(&s.action))
            .collect();
        let pending = open.iter().map(|s| s.score).reduce(f64::max);
        // The buttons after what is pending.
        let forms: Vec<usize> = open
            .iter()
            .filter_map(|s| self.button_after(s.action.target()?))
            .collect();
        let clicks = self.clicks(pending, &forms);
        let named = clicks
            .iter()
            .any(|s| s.score - self.repeated(&s.action) >= 2.0);
        all.extend(clicks);
        let best = all
            .iter()
            .map(|s| s.score - self.repeated(&s.action))
            .fold(f64::MIN, f64::max);
        all.extend(self.searches(best));
        all.extend(self.stop(pending.is_some(), named));
        all.extend(self.moves(best >= 1.0));
        self.settle(all)
    }

    fn tried(&self, action: &Action) -> bool {
        let key = |a: &Action| meaning(a, self.view.actions, self.observation);
        let wanted = key(action);
        self.view.siblings.iter().any(|s| key(&s.action) == wanted)
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
            let new = !tried.contains(&key) && !keys.contains(&key) && scored.score > -4.0;
            if new {
                keys.push(key);
            }
            new
        });
        all
    }

    /// How much an action loses because it was done on the way here: all of it if nothing came of
    /// it, some of it if something did; most for a link, which leads where it led before.
    fn repeated(&self, action: &Action) -> f64 {
        let element = action.target().and_then(|r| self.observation.element(r));
        let target = element.map(rendered);
        let link = element.is_some_and(|e| e.role == "link");
        self.view
            .path
            .iter()
            .filter(|step| {
                step.action.name == action.name
                    && match (&target, &step.target) {
                        (Some(now), Some(then)) if now == then => {
                            // Elements without a name of their own are told apart by reference.
                            let same = step.action == *action;
                            let shared = self.alike(now) > 1 && step.url == self.observation.url;
                            other(&step.action) == other(action) && (same || !shared)
                        }
                        (None, _) => step.action == *action,
                        // The same reference on the same page, however it was rendered.
                        _ => step.action == *action && step.url == self.observation.url,
                    }
            })
            .map(|step| match (step.changed, action.target().is_some()) {
                (false, _) => 6.0,
                (true, true) if link => 3.0,
                (true, true) => 1.5,
                (true, false) => 0.3,
            })
            .sum()
    }

    /// How many elements are rendered like this.
    fn alike(&self, name: &str) -> usize {
        let same = |e: &&(usize, &Element)| rendered(e.1) == name;
        self.usable.iter().filter(same).count()
    }

    fn weight(&self, term: &str) -> f64 {
        self.idf.get(term).copied().unwrap_or(1.0)
    }

    /// `p · (0.8 + 1.2 r)`, and whether everything that is shared is dealt with already.
    fn overlap(&self, text: &str) -> (f64, bool) {
        let mine = terms(text);
        let all: f64 = mine.iter().map(|t| self.weight(t)).sum();
        if all <= 0.0 {
            return (0.0, false);
        }
        let shared: Vec<&String> = mine
            .iter()
            .filter(|t| self.goal.terms.contains(t))
            .collect();
        let sum: f64 = shared.iter().map(|t| self.weight(t)).sum();
        let open: Vec<&String> = self
            .goal
            .content
            .iter()
            .filter(|t| !self.known.contains(t) && self.idf.contains_key(*t))
            .collect();
        let left: f64 = open.iter().map(|t| self.weight(t)).sum();
        let new: f64 = open
            .iter()
            .filter(|t| mine.contains(t))
            .map(|t| self.weight(t))
            .sum();
        let recall = if left > 0.0 { new / left } else { 0.0 };
        let stale = !shared.is_empty() && shared.iter().all(|t| self.known.contains(t));
        (sum / all * (0.8 + 1.2 * recall), stale)
    }

    /// How far the goal names this text as a whole: 2 quoted, 1 in its words, 0 not.
    fn said(&self, text: &str) -> f64 {
        let name = words(text);
        if self.quoted(text).is_some() {
            return 2.0;
        }
        let content = !terms(text).is_empty();
        if content && self.goal.says(&name) {
            1.0
        } else {
            0.0
        }
    }

    /// The literal that this text is, unless it is to be typed.
    fn quoted(&self, text: &str) -> Option<(usize, &Literal)> {
        let name = words(text);
        self.goal.literals.iter().enumerate().find(|(_, l)| {
            let free = l.purpose != Use::Type;
            let same = if name.is_empty() {
                !text.is_empty() && l.text.trim() == text.trim()
            } else {
                words(&l.text) == name
            };
            free && same
        })
    }

    /// Whether the goal's words are all there are in this name.
    fn all_said(&self, text: &str) -> bool {
        let mine = terms(text);
        !mine.is_empty() && mine.iter().all(|t| self.goal.terms.contains(t))
    }

    /// The share of the goal, apart from these words, that is dealt with.
    fn reached(&self, apart: &[String]) -> f64 {
        let rest: Vec<&String> = self
            .goal
            .content
            .iter()
            .filter(|t| !apart.contains(t) && !self.goal.destination.contains(t))
            .collect();
        if rest.is_empty() {
            return 1.0;
        }
        let done = rest.iter().filter(|t| self.known.contains(t)).count();
        count(done) / count(rest.len())
    }

    /// The text that stands right before an element, where it is short enough to be a label.
    fn caption(&self, index: usize) -> Option<&'a str> {
        let before = &self.observation.elements[index.checked_sub(1)?];
        let label =
            !before.interactive && before.role == "text" && before.name.chars().count() <= 40;
        label.then_some(before.name.as_str())
    }

    /// What a field is called: its name and the text before it.
    fn label(&self, index: usize) -> String {
        let name = &self.observation.elements[index].name;
        match self.caption(index) {
            Some(caption) => format!("{name} {caption}"),
            None => name.clone(),
        }
    }

    // --- superlatives ---------------------------------------------------------------------------

    /// What elements gain by a superlative: the extreme one of the largest group of elements of one
    /// role that all have such a figure, in their name or in the texts after them.
    fn extremes(&self) -> BTreeMap<usize, f64> {
        let mut out = BTreeMap::new();
        let Some(extreme) = self.goal.extreme else {
            return out;
        };
        let mut groups: BTreeMap<(bool, &str), Vec<(usize, f64)>> = BTreeMap::new();
        for (n, (index, element)) in self.usable.iter().enumerate() {
            if is_field(element) || !element.options.is_empty() {
                continue;
            }
            if let Some(value) = figure(&element.name, extreme.measure) {
                groups
                    .entry((true, element.role.as_str()))
                    .or_default()
                    .push((*index, value));
                continue;
            }
            let end = self.usable.get(n + 1).map_or(index + 5, |(next, _)| *next);
            let after = &self.observation.elements
                [index + 1..end.min(index + 5).min(self.observation.elements.len())];
            let mut own = after.iter().take_while(|e| e.role != "heading");
            if let Some(value) = own.find_map(|e| figure(&e.name, extreme.measure)) {
                groups
                    .entry((false, element.role.as_str()))
                    .or_default()
                    .push((*index, value));
            }
        }
        if extreme.measure == Measure::Number {
            groups.retain(|(own, _), _| *own);
        }
        let Some((_, mut rows)) = groups
            .into_iter()
            .filter(|(_, rows)| rows.len() > 1)
            .max_by_key(|((own, _), rows)| (*own, rows.len()))
        else {
            return out;
        };
        rows.sort_by(|a, b| {
            let order = a.1.total_cmp(&b.1);
            if extreme.largest {
                order.reverse()
            } else {
                order
            }
        });
        // What was taken already and refused gives way to the next.
        let refused = |index: &usize| {
            self.failed
                && self.observation.elements[*index]
                    .states
                    .contains(&ElementState::Checked)
        };
        rows.retain(|(index, _)| !refused(index));
        for ((index, _), gain) in rows.iter().zip([2.0, 1.3, 0.6]) {
            out.insert(*index, gain);
        }
        out
    }

    /// The extreme box that is ticked already; after a refusal, whichever was ticked since.
    fn settled(&self, extremes: &BTreeMap<usize, f64>) -> Option<usize> {
        let ticked = |index: &usize| {
            self.observation.elements[*index]
                .states
                .contains(&ElementState::Checked)
        };
        let anew = self.failed
            && self
                .view
                .path
                .last()
                .is_some_and(|s| s.action.name == "check");
        let boxes = self.usable.iter().filter(|(_, e)| is_box(e));
        if anew {
            return boxes.map(|(index, _)| *index).find(ticked);
        }
        extremes
            .iter()
            .filter(|(_, gain)| **gain >= 2.0)
            .map(|(index, _)| *index)
            .find(ticked)
    }

    // --- fields ---------------------------------------------------------------------------------

    /// Values that may be typed: not those that name something here to be pressed or chosen.
    fn values(&self) -> Vec<&Literal> {
        let is = |text: &str, l: &Literal| {
            let (here, wanted) = (words(text), words(&l.text));
            here == wanted
                || (l.keyed && !wanted.is_empty() && padded(&here).starts_with(&padded(&wanted)))
        };
        let chosen = |l: &Literal| {
            self.usable.iter().any(|(_, e)| {
                !is_field(e) && (is(&e.name, l) || is(&bare(&e.name), l))
                    || e.options.iter().any(|o| is(o, l))
            })
        };
        // What was typed and then sent is not typed again, unless it failed.
        let sent = |l: &Literal| {
            let typed = self.view.path.iter().position(|s| {
                s.action.name == "fill" && s.changed && s.action.text("text") == Some(&l.text)
            });
            !self.failed
                && typed.is_some_and(|at| {
                    self.view.path[at..].iter().any(|s| {
                        s.changed
                            && s.action.name == "click"
                            && target_is_button(s.target.as_deref())
                    })
                })
        };
        self.goal
            .literals
            .iter()
            .filter(|l| !sent(l))
            .filter(|l| match l.purpose {
                Use::Type if !l.keyed => true,
                Use::Press => false,
                Use::Type | Use::Either => !chosen(l),
            })
            .collect()
    }

    fn fills(&self) -> Vec<Scored> {
        let Some(spec) = self.spec("fill") else {
            return Vec::new();
        };
        let can_submit = spec.parameters["properties"].get("submit").is_some();
        let fields: Vec<Field<'_>> = self
            .usable
            .iter()
            .filter(|(_, e)| is_field(e))
            .enumerate()
            .map(|(n, (index, element))| Field {
                element,
                label: self.label(*index),
                caption: self.caption(*index).unwrap_or_default().to_owned(),
                place: n + 1,
            })
            .collect();
        let values = self.values();
        let again = ["both", "each", "every", "all", "twice"]
            .iter()
            .any(|w| self.goal.says(&[(*w).to_owned()]));
        let read = self.read(&fields);
        let values = if read.is_empty() {
            values
        } else {
            read.iter().collect()
        };
        let mut out = Vec::new();
        for (i, (field, value, fit)) in assign(&fields, &values, again).into_iter().enumerate() {
            if is_value(field.element, &value.text) {
                continue;
            }
            let submit = can_submit && is_search(field.element);
            let score = 3.0 + fit - 0.05 * count(i);
            let refused = self.view.siblings.iter().any(|s| {
                s.action.target() == Some(&field.element.r#ref)
                    && matches!(s.outcome, SiblingOutcome::Rejected(_))
            });
            out.push(fill(field.element, &value.text, submit, score));
            // Fields of their own format say no to the format of people.
            if let (true, Some(other)) = (refused, machine_format(&value.text)) {
                out.push(fill(field.element, &other, submit, score - 0.1));
            }
        }
        out
    }

    /// Values that are to be read off the page ("the value of X"): the text after the label, which is
    /// the goal's, or each field's own.
    fn read(&self, fields: &[Field<'_>]) -> Vec<Literal> {
        let phrase: Vec<String> = self
            .goal
            .phrase
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let Some(at) = phrase.iter().position(|w| w == "value") else {
            return Vec::new();
        };
        let lookup = |label: &[String]| {
            let all = &self.observation.elements;
            all.windows(2).find_map(|pair| {
                let plain = pair.iter().all(|e| !e.interactive && e.role == "text");
                (plain && !label.is_empty() && words(&pair[0].name) == label)
                    .then(|| pair[1].name.clone())
            })
        };
        let literal = |text: String, keys: Vec<String>| Literal {
            text,
            keys,
            purpose: Use::Type,
            keyed: false,
        };
        if phrase.get(at + 1).is_some_and(|w| w == "of") {
            let rest = &phrase[at + 2..];
            let end = rest
                .iter()
                .position(|w| w == "into" || w == "in")
                .unwrap_or(rest.len());
            let found = lookup(&rest[..end]).map(|text| literal(text, Vec::new()));
            return found.into_iter().collect();
        }
        fields
            .iter()
            .filter_map(|field| {
                let caption = words(&field.caption);
                Some(literal(lookup(&caption)?, caption))
            })
            .collect()
    }

    /// A place to search, and nothing else that speaks: the goal's object, one query after another.
    fn searches(&self, best: f64) -> Vec<Scored> {
        let Some(spec) = self.spec("fill") else {
            return Vec::new();
        };
        let can_submit = spec.parameters["properties"].get("submit").is_some();
        let mut out = Vec::new();
        let searched: Vec<&str> = self
            .view
            .path
            .iter()
            .filter_map(|s| s.action.text("text"))
            .collect();
        for (_, field) in self.usable.iter().filter(|(_, e)| is_search(e)).take(1) {
            let open = self
                .goal
                .queries
                .iter()
                .filter(|q| !searched.contains(&q.as_str()));
            for (i, query) in open.enumerate().take(2) {
                if is_value(field, query) {
                    continue;
                }
                let base = if best >= 2.0 { 0.6 } else { 1.2 };
                // Where the object is reached there is nothing to search for.
                let there = self.reached(&[]) >= 0.8 && !echoes(self.observation);
                let again = 0.4 * count(searched.len());
                let score = base - again - 0.5 * count(i) - if there { 1.0 } else { 0.0 };
                out.push(fill(field, query, can_submit, score));
            }
            let typed = self.view.path.last().is_some_and(|s| {
                s.action.name == "fill" && s.target.as_deref() == Some(rendered(field).as_str())
            });
            if typed && !can_submit && self.spec("press").is_some() {
                out.push(Scored {
                    action: Action::new("press", json!({ "key": "Enter", "ref": field.r#ref })),
                    score: 2.6,
                    why: "sends the search".to_owned(),
                });
            }
        }
        out
    }

    fn selects(&self) -> Vec<Scored> {
        if self.spec("select").is_none() {
            return Vec::new();
        }
        let mut out = Vec::new();
        for (index, element) in self.usable.iter().filter(|(_, e)| !e.options.is_empty()) {
            let label = terms(&self.label(*index));
            let mut best: Vec<(f64, &String)> = element
                .options
                .iter()
                .map(|option| (self.chosen(option, &label), option))
                .filter(|(score, _)| *score >= 1.0)
                .collect();
            best.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (i, (score, option)) in best.into_iter().take(2).enumerate() {
                if is_value(element, option) {
                    break;
                }
                out.push(Scored {
                    action: Action::new(
                        "select",
                        json!({ "ref": element.r#ref, "option": option }),
                    ),
                    score: score - count(i),
                    why: format!("the goal names the option {option:?}"),
                });
            }
        }
        out
    }

    /// How much the goal wants an option or a box with this name under this label.
    fn chosen(&self, name: &str, label: &[String]) -> f64 {
        let here = bare(name);
        let own = words(&here);
        if own.is_empty() {
            return 0.0;
        }
        let keyed = self
            .goal
            .literals
            .iter()
            .filter(|l| l.purpose != Use::Press || words(&l.text) == own)
            .filter(|l| {
                let wanted = words(&l.text);
                !wanted.is_empty()
                    && (own == wanted || (l.keyed && padded(&own).starts_with(&padded(&wanted))))
            })
            .map(|l| {
                if !l.keyed {
                    3.2
                } else if label.iter().any(|t| l.keys.contains(t)) {
                    4.0
                } else if label.is_empty() {
                    3.0
                } else {
                    2.0
                }
            })
            .fold(0.0, f64::max);
        if keyed > 0.0 {
            return keyed;
        }
        let mine = terms(&here);
        let fresh = mine.iter().any(|t| !self.known.contains(t));
        if self.said(&here) > 0.0 {
            return if fresh { 3.0 } else { 0.0 };
        }
        // A name with more to it ("Steel, brushed") is meant if most of it is said.
        let (overlap, stale) = self.overlap(&here);
        if stale || overlap < 0.8 || self.goal.says(&own[..1]) && own.len() == 1 {
            return 0.0;
        }
        let near = label.iter().any(|t| self.goal.terms.contains(t));
        overlap + if near { 0.8 } else { 0.0 }
    }

    fn checks(&self) -> Vec<Scored> {
        if self.spec("check").is_none() {
            return Vec::new();
        }
        let off = ["uncheck", "untick", "deselect", "unselect", "disable"]
            .iter()
            .any(|w| self.goal.terms.iter().any(|t| t == w));
        let extremes = self.extremes();
        let settled = self.settled(&extremes).is_some();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut out = Vec::new();
        for (index, element) in self.usable.iter().filter(|(_, e)| is_box(e)) {
            let place = places.entry(element.role.as_str()).or_default();
            *place += 1;
            let mut score = self.chosen(&element.name, &[]);
            if let Some(gain) = extremes.get(index).filter(|_| !settled) {
                score = score.max(1.5 + gain);
            }
            if ordinal(&self.goal.phrase, &element.role) == Some(*place) {
                score = score.max(3.0);
            }
            let on = element.states.contains(&ElementState::Checked);
            if score >= 1.5 && on == off {
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

    /// The button that belongs to what was last given to this page, and whether nothing else was
    /// done since: the nearest after it; before it, if none follows.
    fn form_button(&self) -> Option<(usize, bool)> {
        let here = |url: &str| url == self.observation.url;
        let (ago, step) = self
            .view
            .path
            .iter()
            .rev()
            .enumerate()
            .take_while(|(_, s)| here(&s.url))
            .find(|(_, s)| gives(&s.action))?;
        if step.action.arguments.get("submit") == Some(&json!(true)) {
            // Sent already.
            return None;
        }
        if ago > 0
            && self
                .view
                .path
                .iter()
                .rev()
                .take(ago)
                .any(|s| s.changed && target_is_button(s.target.as_deref()))
        {
            return None;
        }
        let at = step
            .action
            .target()
            .and_then(|r| self.observation.elements.iter().position(|e| e.r#ref == r))
            .or_else(|| {
                let target = step.target.as_deref()?;
                self.observation
                    .elements
                    .iter()
                    .position(|e| rendered(e) == target)
            })?;
        self.button_near(at).map(|i| (i, ago == 0))
    }

    fn button_after(&self, reference: &str) -> Option<usize> {
        let at = self
            .observation
            .elements
            .iter()
            .position(|e| e.r#ref == reference && e.interactive)?;
        self.button_near(at)
    }

    /// The nearest button after this element; before it, if none follows.
    fn button_near(&self, at: usize) -> Option<usize> {
        let pressable = |e: &Element| {
            (e.role == "button" || e.role == "clickable" && is_submit(e))
                && !words(&e.name).is_empty()
                && !leaves(&e.name)
        };
        let after = self.usable.iter().find(|(i, e)| *i > at && pressable(e));
        let before = || {
            self.usable
                .iter()
                .rev()
                .find(|(i, e)| *i < at && pressable(e))
        };
        after.or_else(before).map(|(i, _)| *i)
    }

    fn clicks(&self, pending: Option<f64>, forms: &[usize]) -> Vec<Scored> {
        if self.spec("click").is_none() {
            return Vec::new();
        }
        let extremes = self.extremes();
        let ready = || Some((self.button_near(self.settled(&extremes)?)?, true));
        let form = self.form_button().or_else(ready);
        let waiting = self.waiting();
        let unfolds = ["expand", "unfold", "collapsible", "section"]
            .iter()
            .any(|w| self.goal.terms.iter().any(|t| t == w));
        let folded = unfolds
            && self
                .usable
                .iter()
                .any(|(_, e)| e.states.contains(&ElementState::Collapsed) && !is_submit(e));
        let pending = pending.or(folded.then_some(PENDING));
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut out = Vec::new();
        for (n, (index, element)) in self.usable.iter().enumerate() {
            let place = places.entry(element.role.as_str()).or_default();
            *place += 1;
            let boxed = is_box(element) && self.spec("check").is_some();
            let listed = !element.options.is_empty() && self.spec("select").is_some();
            if boxed || listed {
                continue;
            }
            let (mut score, mut why) = self.press(element);
            if is_field(element) {
                // A field is for typing; a click only gives it the focus.
                score = score.min(0.5) - 0.5;
            } else {
                score += extremes.get(index).copied().unwrap_or(0.0);
                score += self.news(element) + self.row(*index, element);
                if self.goal.asked.is_some() && helps(element) {
                    score += 0.9;
                }
                if ordinal(&self.goal.phrase, &element.role) == Some(*place) {
                    score += 2.0;
                }
                // What hides something is to be opened where what is wanted is not to be seen.
                if unfolds
                    && element.states.contains(&ElementState::Collapsed)
                    && !is_submit(element)
                {
                    score += 2.5;
                    "the goal says to open it".clone_into(&mut why);
                }
                if waiting
                    && (element.states.contains(&ElementState::Collapsed) || element.role == "tab")
                {
                    score += 1.0;
                    "what is wanted may be in there".clone_into(&mut why);
                }
                let own = form.filter(|(i, _)| i == index);
                if let Some((_, now)) = own {
                    score += if now { 2.0 } else { 1.0 };
                    "the button of what was filled in".clone_into(&mut why);
                }
                if own.is_none() && self.searches_only(*index, element) {
                    score -= 2.0;
                }
                if let (Some(top), true) = (
                    pending,
                    own.is_some() || forms.contains(index) || is_submit(element),
                ) {
                    score = score.min(top - 0.7);
                }
            }
            if element.states.contains(&ElementState::Selected) {
                score -= 1.5;
            }
            // What the goal mentions first comes first; then what stands first on the page.
            let mention = self.mention(element);
            score += 0.2 * (1.0 - mention) + 0.05 / (1.0 + count(n));
            out.push(Scored {
                action: Action::new("click", json!({ "ref": element.r#ref })),
                score,
                why,
            });
        }
        out
    }

    /// Whether something quoted that is to be pressed is not on the page.
    fn waiting(&self) -> bool {
        self.goal.literals.iter().any(|l| {
            l.purpose == Use::Press
                && !literal_done(l, self.view)
                && !self
                    .usable
                    .iter()
                    .any(|(_, e)| words(&e.name) == words(&l.text))
        })
    }

    /// The score of a click on an element by its name.
    fn press(&self, element: &Element) -> (f64, String) {
        let name = bare(&element.name);
        let (mut score, stale) = self.overlap(&name);
        let own = words(&name);
        let mut why = if score > 0.0 {
            format!("{} shares words with the goal", rendered(element))
        } else {
            "nothing speaks for or against it".to_owned()
        };
        let link = element.role == "link";
        let said = self.said(&name);
        score += match (said > 1.0, said > 0.0) {
            (true, _) => 2.5,
            (_, true) if link && own.len() == 1 => 0.3,
            (_, true) => 1.0,
            _ => 0.0,
        };
        if score > 0.0 && self.goal.terms.contains(&element.role) {
            score += 0.3;
        }
        // Quoted things are pressed in their order.
        if let Some((at, _)) = self.quoted(&name) {
            let earlier = self.goal.literals[..at].iter().any(|l| {
                l.purpose == Use::Press
                    && !literal_done(l, self.view)
                    && self
                        .usable
                        .iter()
                        .any(|(_, e)| words(&e.name) == words(&l.text))
            });
            if earlier {
                score -= 4.0;
            }
        }
        let command =
            matches!(element.role.as_str(), "button" | "menuitem") && self.all_said(&name);
        if command {
            score += 0.5 + self.reached(&terms(&name));
            if stale {
                score -= 0.3;
            }
        } else if stale && said < 2.0 {
            score -= 1.0;
        }
        if link {
            let there = !own.is_empty() && own == self.headline;
            let goes = !self.goal.destination.is_empty()
                && terms(&name)
                    .iter()
                    .all(|t| self.goal.destination.contains(t));
            if there {
                score -= 3.0;
            }
            if goes {
                score -= 1.0;
            }
        }
        if leaves(&name) && said == 0.0 {
            score -= 1.5;
        }
        (score, std::mem::take(&mut why))
    }

    /// What an element gains or loses by having been there on the previous observation.
    fn news(&self, element: &Element) -> f64 {
        let Some(previous) = self.view.previous else {
            return 0.0;
        };
        let old = previous
            .elements
            .iter()
            .any(|e| e.role == element.role && e.name == element.name);
        match (old, self.moved) {
            (true, true) if element.role == "link" => -0.5,
            (true, _) => 0.0,
            (false, _) => 0.4,
        }
    }

    /// Whether a button only sends a search field that holds nothing new.
    fn searches_only(&self, index: usize, element: &Element) -> bool {
        let before = self.usable.iter().rev().find(|(i, _)| *i < index);
        element.role == "button" && before.is_some_and(|(_, e)| is_search(e))
    }

    /// What an element gains by the row it stands in: for a link the texts after it, for a button
    /// those before its group.
    fn row(&self, index: usize, element: &Element) -> f64 {
        let all = &self.observation.elements;
        let plain = |e: &&Element| !e.interactive && e.role == "text";
        let text: Vec<&str> = if element.role == "link" {
            all[index + 1..]
                .iter()
                .take(4)
                .take_while(plain)
                .map(|e| e.name.as_str())
                .collect()
        } else if matches!(element.role.as_str(), "button" | "clickable") && !is_submit(element) {
            all[..index]
                .iter()
                .rev()
                .take(12)
                .skip_while(|e| e.interactive && e.role == element.role)
                .take(4)
                .take_while(plain)
                .map(|e| e.name.as_str())
                .collect()
        } else {
            return 0.0;
        };
        // The goal itself, where the page shows it, is no row.
        let text = text
            .into_iter()
            .filter(|t| !self.goal.says(&words(t)) || words(t).len() < 5);
        let mine = terms(&text.collect::<Vec<_>>().join(" . "));
        let open: Vec<&String> = self
            .goal
            .content
            .iter()
            .filter(|t| !self.known.contains(t))
            .collect();
        let hits = open.iter().filter(|t| mine.contains(t)).count();
        if hits == 0 {
            return 0.0;
        }
        let base = if element.role == "link" { 0.8 } else { 0.3 };
        base + 1.2 * count(hits) / count(open.len())
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

    fn stop(&self, pending: bool, named: bool) -> Option<Scored> {
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
    matches!(element.role.as_str(), "button" | "clickable")
        && words(&element.name)
            .first()
            .is_some_and(|w| SENDING.contains(&w.as_str()))
}

/// Whether a link leads to where questions are answered.
fn helps(element: &Element) -> bool {
    let known = [
        "help",
        "faq",
        "support",
        "information",
        "info",
        "question",
        "term",
    ];
    element.role == "link"
        && words(&element.name)
            .iter()
            .any(|w| known.contains(&w.as_str()))
}

/// Whether a name says that pressing it undoes or leaves.
fn leaves(name: &str) -> bool {
    let name = padded(&words(name));
    [
        "sign out", "log out", "logout", "signout", "cancel", "reset", "delete", "remove", "close",
        "discard", "clear", "trash",
    ]
    .iter()
    .any(|w| name.starts_with(&format!(" {w} ")))
}

fn target_is_button(target: Option<&str>) -> bool {
    target.is_some_and(|t| t.starts_with("button ") || t.starts_with("clickable "))
}

/// Which one the goal means by an ordinal ("the 2nd checkbox"), counted from 1.
fn ordinal(phrase: &str, role: &str) -> Option<usize> {
    const ORDINALS: &[&[&str]] = &[
        &["1st", "first"],
        &["2nd", "second"],
        &["3rd", "third"],
        &["4th", "fourth"],
        &["5th", "fifth"],
    ];
    let kinds: &[&str] = match role {
        "checkbox" => &["checkbox", "check box"],
        "radio" => &["radio"],
        "button" => &["button"],
        "link" => &["link"],
        "tab" => &["tab"],
        "textbox" | "searchbox" | "spinbutton" => {
            &["textbox", "text box", "input", "field", "text field"]
        }
        _ => return None,
    };
    ORDINALS
        .iter()
        .position(|names| {
            names
                .iter()
                .any(|n| kinds.iter().any(|k| phrase.contains(&format!(" {n} {k} "))))
        })
        .map(|at| at + 1)
}

fn is_value(element: &Element, text: &str) -> bool {
    element.value.as_deref().is_some_and(|v| {
        let hidden = !v.is_empty() && v.chars().all(|c| c == '•');
        if hidden {
            v.chars().count() == text.chars().count()
        } else {
            v.trim().to_lowercase() == text.trim().to_lowercase()
        }
    })
}

/// A date (month first) or a time as fields of their own format take it: `2031-03-14`, `18:05`.
fn machine_format(text: &str) -> Option<String> {
    let number = |t: &str| t.parse::<u32>().ok();
    let parts: Vec<&str> = text.trim().split('/').collect();
    if let [month, day, year] = parts[..] {
        let (month, day) = (number(month)?, number(day)?);
        return (year.len() == 4).then(|| format!("{year}-{month:02}-{day:02}"));
    }
    let (clock, half) = text.trim().split_once(' ')?;
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute) = (number(hour)?, number(minute)?);
    let hour = match half.to_lowercase().as_str() {
        "am" => hour % 12,
        "pm" => hour % 12 + 12,
        _ => return None,
    };
    Some(format!("{hour:02}:{minute:02}"))
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

/// A field to be filled.
struct Field<'a> {
    element: &'a Element,
    /// What it is called.
    label: String,
    /// The text before it.
    caption: String,
    /// Counted from 1 among the fields.
    place: usize,
}

/// How well a value fits a field, by the words that name it; 0 if nothing says so.
fn fit(field: &Field<'_>, value: &Literal) -> f64 {
    let share = |text: &str| {
        let mut name = terms(text);
        if name.is_empty() {
            name = words(text);
        }
        let shared = name.iter().filter(|t| value.keys.contains(t)).count();
        count(shared) / count(name.len().max(1))
    };
    let numeric = value.text.trim().parse::<f64>().is_ok();
    if field.element.role == "spinbutton" && !numeric {
        return 0.0;
    }
    let whole = padded(&value.keys);
    let nth =
        ordinal(&format!("{whole}textbox "), "textbox").or_else(|| ordinal(&whole, "textbox"));
    if value.keys.iter().any(|k| k.ends_with(['t', 'd', 'h'])) && nth == Some(field.place) {
        return 1.0;
    }
    if is_search(field.element) && !value.keys.iter().any(|k| k == "search") {
        return 0.0;
    }
    share(&field.element.name).max(share(&field.label))
}

/// Values for fields: first those whose words name the field, best match first. What is left of
/// the values that no key ties down goes into the fields that are left, in order; a single value
/// also goes into every further field if the goal says so, or the field asks for it again.
fn assign<'a, 'b>(
    fields: &'b [Field<'a>],
    values: &[&'b Literal],
    again: bool,
) -> Vec<(&'b Field<'a>, &'b Literal, f64)> {
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
    let plain = |f: usize| !is_search(fields[f].element) && fields[f].element.role != "spinbutton";
    let sole = fields.iter().filter(|f| !is_search(f.element)).count() == 1;
    for (v, value) in values.iter().enumerate() {
        let numeric = value.text.trim().parse::<f64>().is_ok();
        let loose = !value.keyed && (value.purpose == Use::Type || sole);
        if !loose || out.iter().any(|(_, ov, _)| *ov == v) {
            continue;
        }
        let free = (0..fields.len())
            .filter(|f| plain(*f) || (numeric && fields[*f].element.role == "spinbutton"))
            .find(|f| !out.iter().any(|(of, ..)| of == f));
        if let Some(f) = free {
            out.push((f, v, 0.0));
        }
    }
    if let [value] = values
        && !value.keyed
        && let Some((first, ..)) = out.first().copied()
    {
        for (f, field) in fields
            .iter()
            .enumerate()
            .filter(|(f, _)| *f != first && plain(*f))
        {
            let repeats = ["verify", "confirm", "repeat", "again", "retype"];
            let asks = words(&field.label)
                .iter()
                .any(|w| repeats.contains(&w.as_str()));
            if again || asks {
                out.push((f, 0, -0.3));
            }
        }
    }
    out.sort_by_key(|(f, ..)| *f);
    out.into_iter()
        .map(|(f, v, score)| (&fields[f], values[v], score))
        .collect()
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
