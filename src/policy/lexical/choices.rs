//! What is chosen: options of lists, boxes.

use std::collections::BTreeMap;

use serde_json::json;

use super::element::{is_box, is_value, ordinal};
use super::page::Page;
use super::proposer::Scored;
use crate::llm::words::{Use, bare, count, padded, terms, words};
use crate::types::{Action, ElementState};

impl Page<'_> {
    pub(super) fn selects(&self) -> Vec<Scored> {
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
    pub(super) fn chosen(&self, name: &str, label: &[String]) -> f64 {
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

    pub(super) fn checks(&self) -> Vec<Scored> {
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
}
