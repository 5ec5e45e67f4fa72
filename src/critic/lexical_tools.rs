//! The lexical critic over conversations with tools.
//!
//! * `C` coverage: share of the goal's matter that successful calls say (`replies::covered`);
//! * `Q` literals: share of the goal's quoted and `key: value` parts that stand in arguments (as
//!   `C` if it gives none);
//! * `F` effect: 1 if the last call succeeded and is no mere reading, 0.5 if it read;
//! * `E` share of the calls that failed; `R` share of the calls that repeat one.
//!
//! * `W` wandering: mean share of the name's words that the goal does not say, of the calls that
//!   acted.
//!
//! Calls that wait to be sent count as if they had succeeded: what they would give is not known yet,
//! and the question is whether to send them.
//!
//! `base = 0.4 C + 0.25 Q + 0.15 F + 0.1 − 0.2 E − 0.2 R − 0.3 W`, within 0..=0.9.
//!
//! At an end: an answer counts `0.25 base + 0.7 A`, where `A` says how well the best value that reads
//! so answers the question, as far as the words tell; the end of anything else is 1 if `C` is nearly
//! 1, all literals are given and the last call acted and succeeded, else `0.6 base`; giving up is 0.

use crate::llm::replies::{Call, READING, answers, calls, covered, name_words, plain};
use crate::llm::words::{Goal, count, terms, words};
use crate::types::{Action, View};

/// The value, and its parts in words.
pub(super) fn value(view: &View<'_>) -> (f64, String) {
    let goal = Goal::of(view.goal);
    let mut calls = calls(view.observation);
    if let Some(last) = view.path.last().filter(|_| !view.waiting.is_empty()) {
        calls.extend(Call::unanswered(&last.action));
    }
    let coverage = covered(&goal, &calls);
    let given = |text: &str| {
        let same = |value: &serde_json::Value| words(&plain(value)) == words(text);
        calls
            .iter()
            .filter(|call| !call.failed)
            .any(|call| call.arguments.values().any(same))
    };
    let literals = match goal.literals.len() {
        0 => coverage,
        all => {
            let hits = goal.literals.iter().filter(|l| given(&l.text)).count();
            count(hits) / count(all)
        }
    };
    let last = calls.last();
    let effect = match last {
        Some(call) if !call.failed => {
            let reads = name_words(&call.tool)
                .iter()
                .any(|word| READING.contains(&word.as_str()));
            if reads { 0.5 } else { 1.0 }
        }
        Some(_) | None => 0.0,
    };
    let all = count(calls.len().max(1));
    let failed = count(calls.iter().filter(|call| call.failed).count()) / all;
    let again = calls.iter().enumerate().filter(|(at, call)| {
        let same = |other: &Call| other.tool == call.tool && other.arguments == call.arguments;
        calls[..*at].iter().any(same)
    });
    let again = count(again.count()) / all;
    let acted: Vec<Vec<String>> = calls
        .iter()
        .filter(|call| !call.failed)
        .map(|call| terms(&name_words(&call.tool).join(" ")))
        .filter(|name| !name.iter().any(|word| READING.contains(&word.as_str())))
        .collect();
    let unsaid = acted.iter().map(|name| {
        let unsaid = name.iter().filter(|word| !goal.terms.contains(word));
        count(unsaid.count()) / count(name.len().max(1))
    });
    let astray = unsaid.sum::<f64>() / count(acted.len().max(1));
    let base = 0.4 * coverage + 0.25 * literals + 0.15 * effect + 0.1
        - 0.2 * failed
        - 0.2 * again
        - 0.3 * astray;
    let base = if calls.is_empty() {
        0.05
    } else {
        base.clamp(0.0, 0.9)
    };
    let told = format!(
        "coverage {coverage:.2}, literals {literals:.2}, effect {effect:.1}, failed {failed:.2}, repeated {again:.2}, wandering {astray:.2}"
    );
    if let (Some(answer), Some(asked)) = (view.answer, goal.asked) {
        let near = calls
            .iter()
            .filter(|call| !call.failed)
            .flat_map(|call| call.facts.iter().map(move |fact| (call, fact)))
            .filter(|(_, fact)| plain(&fact.value) == answer)
            .map(|(call, fact)| answers(&goal, asked, call, fact) / 3.5)
            .fold(0.0, f64::max);
        return (
            0.25 * base + 0.7 * near.min(1.0),
            format!("{told}, answer {near:.2}"),
        );
    }
    let ended = view.path.last().map(|step| step.action.name.as_str());
    match ended {
        Some(Action::GIVE_UP) => (0.0, told),
        Some("finish") if view.observation.terminal => {
            let done = coverage >= 0.95 && literals >= 1.0 && effect >= 1.0 && astray < 0.1;
            (if done { 1.0 } else { 0.6 * base }, told)
        }
        _ => (base, told),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{Digest, Effect, EffectKind, Observation, Omitted, PathStep, Seed};

    /// The value of a state in which this action waits to be sent.
    fn waiting(action: Action) -> f64 {
        let observation = Observation {
            url: "tools://files/".to_owned(),
            title: "files".to_owned(),
            text: String::new(),
            tokens: 0,
            elements: Vec::new(),
            omitted: Omitted::default(),
            tabs: Vec::new(),
            notices: Vec::new(),
            digest: Digest::of("files"),
            terminal: false,
            screenshot: None,
        };
        let write = Effect {
            kind: EffectKind::Write,
            method: "CALL".to_owned(),
            url: "mcp://files".to_owned(),
            headers: Vec::new(),
            body: None,
            held: true,
        };
        let step = PathStep {
            action,
            target: None,
            url: observation.url.clone(),
            changed: true,
        };
        let view = View {
            goal: r#"Write a file with path "a.txt" and content "Closed on Monday"."#,
            path: &[step],
            observation: &observation,
            previous: None,
            actions: &[],
            siblings: &[],
            answer: None,
            waiting: &[write],
            seed: Seed(0),
        };
        value(&view).0
    }

    #[test]
    fn a_held_write_counts_by_what_it_would_send() {
        let right = json!({ "path": "a.txt", "content": "Closed on Monday" });
        let wrong = json!({ "path": "Closed on Monday", "content": "Closed on Monday" });
        let write = |arguments| waiting(Action::new("write_file", arguments));
        assert!(write(right.clone()) > write(wrong));
        assert!(write(right.clone()) > waiting(Action::new("move_file", right.clone())));
        let calls = json!([{ "id": "x", "tool": "write_file", "arguments": right, "after": [] }]);
        let batch = waiting(Action::new(Action::BATCH, json!({ "calls": calls })));
        assert!((batch - write(right)).abs() < f64::EPSILON, "{batch}");
    }
}
