//! Actions in words.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::text::{clip, printable};
use crate::record::{Detail, EventKind, ReadError, Reader};
use crate::search::{EdgeStatus, Request, Search};
use crate::types::{Action, EdgeId};

/// The most columns that one argument takes.
const ARGUMENT: usize = 48;

/// What the tree does not hold of its edges. Empty is fine: elements are then shown by reference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words(BTreeMap<EdgeId, EdgeWords>);

/// What is known of one executed edge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EdgeWords {
    /// What it was done to, as rendered (`button "Add to cart"`), where it had a target.
    pub target: Option<String>,
    /// Where it led.
    pub url: Option<String>,
    /// Why it was refused, held or failed.
    pub note: Option<String>,
}

impl Words {
    /// The words of a recorded run, for each of its rounds.
    ///
    /// # Errors
    /// [`ReadError`] if the log cannot be read.
    pub fn read(dir: &Path) -> Result<Vec<Self>, ReadError> {
        let (mut rounds, mut words, mut steps) = (Vec::new(), Self::default(), HashMap::new());
        for event in Reader::open(dir)? {
            match event?.kind {
                EventKind::Root { round: 1.., .. } => {
                    rounds.push(std::mem::take(&mut words));
                    steps.clear();
                }
                EventKind::Asked {
                    ticket,
                    request: Request::Step { edge },
                } => {
                    steps.insert(ticket, edge);
                }
                EventKind::Told {
                    ticket,
                    outcome,
                    detail,
                } => {
                    let Some(edge) = steps.remove(&ticket) else {
                        continue;
                    };
                    let (target, url) = match detail {
                        Detail::Step(step) => (step.target, step.url),
                        Detail::Propose { .. }
                        | Detail::Judge { .. }
                        | Detail::Compare { .. }
                        | Detail::Dropped => (None, None),
                    };
                    let note = outcome.note();
                    words.insert(edge, EdgeWords { target, url, note });
                }
                _ => {}
            }
        }
        rounds.push(words);
        Ok(rounds)
    }

    /// Keeps what is known of an edge.
    pub fn insert(&mut self, edge: EdgeId, words: EdgeWords) {
        self.0.insert(edge, words);
    }

    /// What is known of an edge.
    #[must_use]
    pub fn get(&self, edge: EdgeId) -> Option<&EdgeWords> {
        self.0.get(&edge)
    }

    pub(super) fn target(&self, edge: EdgeId) -> Option<&str> {
        self.get(edge)?.target.as_deref()
    }

    pub(super) fn url(&self, edge: EdgeId) -> Option<&str> {
        self.get(edge)?.url.as_deref()
    }

    pub(super) fn note(&self, edge: EdgeId) -> Option<&str> {
        self.get(edge)?.note.as_deref()
    }

    /// The action of the best path that is committed as the `step`th, from 1.
    pub(super) fn committed(&self, search: &Search, step: usize) -> Option<String> {
        let path = search.tree().path(search.best()?);
        let edge = *path.get(step.checked_sub(1)?)?;
        Some(self.phrase(search, edge))
    }

    /// An edge's action in words.
    pub(super) fn phrase(&self, search: &Search, edge: EdgeId) -> String {
        phrase(&search.tree().edge(edge).action(), self.target(edge))
    }
}

/// An action in words: `click button "Add to cart"`, `fill textbox "Name" "Ann"`, `back`.
/// Printable.
pub(super) fn phrase(action: &Action, target: Option<&str>) -> String {
    let mut out = printable(&action.name).into_owned();
    match (target, action.target()) {
        (Some(target), _) => {
            out.push(' ');
            out.push_str(&clip(target, ARGUMENT));
        }
        // A String takes everything.
        (None, Some(reference)) => _ = write!(out, " [{}]", clip(reference, ARGUMENT)),
        (None, None) => {}
    }
    let rest = || {
        let shown = |(key, _): &(&String, &Value)| *key != "ref" || action.target().is_none();
        action.arguments.iter().filter(shown)
    };
    let named = rest().count() > 1;
    for (key, value) in rest() {
        out.push(' ');
        if named {
            _ = write!(out, "{}: ", clip(key, ARGUMENT));
        }
        match value {
            Value::String(text) => _ = write!(out, "\"{}\"", clip(text, ARGUMENT)),
            other => out.push_str(&clip(&other.to_string(), ARGUMENT)),
        }
    }
    out
}

/// What became of an edge, as one word for machines.
pub(super) fn status_word(status: EdgeStatus) -> &'static str {
    match status {
        EdgeStatus::Queued => "queued",
        EdgeStatus::InFlight => "in_flight",
        EdgeStatus::Done(_) => "done",
        EdgeStatus::Loop(_) => "loop",
        EdgeStatus::Rejected => "rejected",
        EdgeStatus::Held(_) => "held",
        EdgeStatus::Failed => "failed",
        EdgeStatus::Lost => "lost",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn actions_read_like_sentences() {
        let words = |name: &str, arguments: Value, target: Option<&str>| {
            phrase(&Action::new(name, arguments), target)
        };
        assert_eq!(words("back", json!({}), None), "back");
        assert_eq!(words("click", json!({"ref": "12"}), None), "click [12]");
        assert_eq!(
            words("click", json!({"ref": "12"}), Some("button \"Add\"")),
            "click button \"Add\""
        );
        assert_eq!(
            words(
                "fill",
                json!({"ref": "3", "text": "Ann"}),
                Some("textbox \"Name\"")
            ),
            "fill textbox \"Name\" \"Ann\""
        );
        assert_eq!(
            words("drag", json!({"from": "1", "to": 2}), None),
            "drag from: \"1\" to: 2"
        );
        assert_eq!(words("odd", json!({"ref": 7}), None), "odd 7");
        let long = words("stop", json!({"answer": "x".repeat(400)}), None);
        assert_eq!(long.chars().count(), "stop \"\"".len() + ARGUMENT);
        assert_eq!(
            words(
                "cl\x1b[2Jick",
                json!({"ref": "1"}),
                Some("button \u{202e}\"x\"")
            ),
            "cl[2Jick button \"x\""
        );
    }
}
