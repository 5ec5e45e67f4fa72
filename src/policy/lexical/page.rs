//! One state, prepared for scoring, and what all kinds of actions are scored by.

use std::collections::BTreeMap;

use serde_json::Value;

use super::element::{is_box, is_field, rendered};
use super::proposer::Scored;
use crate::llm::words::{
    Goal, Literal, Measure, Use, bare, count, evidence, fails, figure, headline, terms, words,
};
use crate::policy::wire::{meaning, usable};
use crate::types::{Action, ActionSpec, Element, ElementState, Observation, View};

/// A value of the goal that is still to be given scores at least this.
pub(super) const PENDING: f64 = 2.5;

/// One state, prepared for scoring.
pub(super) struct Page<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) observation: &'a Observation,
    pub(super) goal: Goal,
    pub(super) idf: BTreeMap<String, f64>,
    /// Elements that can be acted upon, with their index among all.
    pub(super) usable: Vec<(usize, &'a Element)>,
    /// The goal's terms that are dealt with.
    pub(super) known: Vec<String>,
    pub(super) headline: Vec<String>,
    /// The last action led to another page.
    pub(super) moved: bool,
    /// The page says that something went wrong.
    pub(super) failed: bool,
}

impl<'a> Page<'a> {
    pub(super) fn of(view: &'a View<'a>) -> Self {
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

    pub(super) fn spec(&self, name: &str) -> Option<&ActionSpec> {
        self.view.actions.iter().find(|s| s.name == name)
    }

    pub(super) fn scored(&self) -> Vec<Scored> {
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

    pub(super) fn tried(&self, action: &Action) -> bool {
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
    pub(super) fn repeated(&self, action: &Action) -> f64 {
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
    pub(super) fn alike(&self, name: &str) -> usize {
        let same = |e: &&(usize, &Element)| rendered(e.1) == name;
        self.usable.iter().filter(same).count()
    }

    pub(super) fn weight(&self, term: &str) -> f64 {
        self.idf.get(term).copied().unwrap_or(1.0)
    }

    /// `p · (0.8 + 1.2 r)`, and whether everything that is shared is dealt with already.
    pub(super) fn overlap(&self, text: &str) -> (f64, bool) {
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
    pub(super) fn said(&self, text: &str) -> f64 {
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
    pub(super) fn quoted(&self, text: &str) -> Option<(usize, &Literal)> {
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
    pub(super) fn all_said(&self, text: &str) -> bool {
        let mine = terms(text);
        !mine.is_empty() && mine.iter().all(|t| self.goal.terms.contains(t))
    }

    /// The share of the goal, apart from these words, that is dealt with.
    pub(super) fn reached(&self, apart: &[String]) -> f64 {
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
    pub(super) fn caption(&self, index: usize) -> Option<&'a str> {
        let before = &self.observation.elements[index.checked_sub(1)?];
        let label =
            !before.interactive && before.role == "text" && before.name.chars().count() <= 40;
        label.then_some(before.name.as_str())
    }

    /// What a field is called: its name and the text before it.
    pub(super) fn label(&self, index: usize) -> String {
        let name = &self.observation.elements[index].name;
        match self.caption(index) {
            Some(caption) => format!("{name} {caption}"),
            None => name.clone(),
        }
    }

    /// What elements gain by a superlative: the extreme one of the largest group of elements of one
    /// role that all have such a figure, in their name or in the texts after them.
    pub(super) fn extremes(&self) -> BTreeMap<usize, f64> {
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
    pub(super) fn settled(&self, extremes: &BTreeMap<usize, f64>) -> Option<usize> {
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
}

/// The arguments apart from the reference.
fn other(action: &Action) -> Vec<(&String, &Value)> {
    action
        .arguments
        .iter()
        .filter(|(k, _)| *k != "ref")
        .collect()
}
