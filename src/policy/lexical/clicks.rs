//! What is pressed: links, buttons, and what belongs to the form that was filled in.

use std::collections::BTreeMap;

use serde_json::json;

use super::element::{
    helps, is_box, is_field, is_search, is_submit, leaves, ordinal, rendered, target_is_button,
};
use super::page::{PENDING, Page};
use super::proposer::Scored;
use crate::llm::words::{Use, bare, count, gives, literal_done, terms, words};
use crate::types::{Action, Element, ElementState};

impl Page<'_> {
    /// The button that belongs to what was last given to this page, and whether nothing else was
    /// done since: the nearest after it; before it, if none follows.
    pub(super) fn form_button(&self) -> Option<(usize, bool)> {
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

    pub(super) fn button_after(&self, reference: &str) -> Option<usize> {
        let at = self
            .observation
            .elements
            .iter()
            .position(|e| e.r#ref == reference && e.interactive)?;
        self.button_near(at)
    }

    /// The nearest button after this element; before it, if none follows.
    pub(super) fn button_near(&self, at: usize) -> Option<usize> {
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

    pub(super) fn clicks(&self, pending: Option<f64>, forms: &[usize]) -> Vec<Scored> {
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
}
