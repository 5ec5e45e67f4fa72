//! A conversation as text, within a budget.

use std::fmt::Write as _;

use serde_json::Value;

use super::state::{Answer, Called, Did, End, State, Turn};
use crate::env::tools::cut::{self, Cut};
use crate::types::{Element, ElementState, Omitted};

/// What an observation shows.
pub(super) struct Rendered {
    pub(super) text: String,
    pub(super) elements: Vec<Element>,
    pub(super) omitted: Omitted,
}

/// The last turn in full, the ones before it a line a call, as far as `budget` bytes go: the
/// oldest are left out first.
pub(super) fn render(name: &str, tools: usize, state: &State, budget: usize) -> Rendered {
    let mut last = String::new();
    match state.turns.last() {
        None => last.push_str("No call was made yet.\n"),
        Some(turn) => latest(turn, budget * 7 / 10, &mut last),
    }
    match &state.end {
        None => {}
        Some(End::Answered(answer)) => {
            let _written = writeln!(last, "Finished with the answer: {answer}");
        }
        Some(End::GaveUp(reason)) => {
            let _written = writeln!(last, "Given up: {reason}");
        }
    }
    let head = format!("Tools: {name} ({tools})\n");
    let room = budget.saturating_sub(head.len() + last.len());
    let earlier = &state.turns[..state.turns.len().saturating_sub(1)];
    let (summary, dropped) = summarise(earlier, room);
    Rendered {
        text: format!("{head}{summary}{last}"),
        elements: state.calls().map(element).collect(),
        omitted: Omitted {
            above: u32::try_from(dropped).unwrap_or(u32::MAX),
            below: 0,
            cut: 0,
        },
    }
}

/// Earlier turns, newest kept; and how many were left out.
fn summarise(turns: &[std::sync::Arc<Turn>], room: usize) -> (String, usize) {
    if turns.is_empty() {
        return (String::new(), 0);
    }
    let title = "Earlier:\n";
    let mut kept: Vec<String> = Vec::new();
    let mut length = title.len() + 40;
    for turn in turns.iter().rev() {
        let text = match &turn.did {
            Did::Called(calls) => calls.iter().map(short).collect::<String>(),
            Did::Viewed {
                call, path, offset, ..
            } => format!("[{call}] more of `{path}` from {offset}\n"),
            Did::Found(found) => {
                let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
                format!("found tools: {}\n", line(&names.join(", "), 160))
            }
        };
        length += text.len();
        if length > room {
            break;
        }
        kept.push(text);
    }
    let dropped = turns.len() - kept.len();
    let mut out = title.to_owned();
    if dropped > 0 {
        let _written = writeln!(out, "({dropped} earlier actions not shown)");
    }
    kept.iter().rev().for_each(|text| out.push_str(text));
    (out, dropped)
}

fn latest(turn: &Turn, budget: usize, out: &mut String) {
    match &turn.did {
        Did::Called(calls) => {
            let each = budget / calls.len().max(1);
            for call in calls {
                full(call, each, out);
            }
        }
        Did::Viewed { text, .. } => out.push_str(text),
        Did::Found(found) => {
            out.push_str("Tools found:\n");
            for (name, summary) in found {
                let _written = writeln!(out, "- {name}: {}", line(summary, 160));
            }
        }
    }
}

/// `[c3]`, or `[c3 = a]` for a call of a batch.
fn label(call: &Called) -> String {
    match &call.label {
        None => format!("[{}]", call.id),
        Some(label) => format!("[{} = {}]", call.id, line(label, 40)),
    }
}

fn asked(call: &Called, most: usize) -> String {
    let arguments = Value::Object(call.arguments.clone()).to_string();
    format!("{} {}", call.tool.name, line(&arguments, most))
}

/// How a call went, in a word or two.
fn how(call: &Called) -> String {
    match &call.answer {
        Answer::Reply(reply) => {
            let mut words = String::from(if reply.error { "error" } else { "ok" });
            if let Some(status) = reply.status {
                let _written = write!(words, " {status}");
            }
            if call.recorded {
                words.push_str(", from the record");
            }
            words
        }
        Answer::Silent(_) => "no answer".to_owned(),
        Answer::Skipped(_) => "not made".to_owned(),
    }
}

fn short(call: &Called) -> String {
    let gave = match &call.answer {
        Answer::Reply(reply) => excerpt(&reply.content, 120),
        Answer::Silent(why) | Answer::Skipped(why) => why.clone(),
    };
    format!(
        "{} {} -> {}: {}\n",
        label(call),
        asked(call, 120),
        how(call),
        line(&gave, 160)
    )
}

fn full(call: &Called, budget: usize, out: &mut String) {
    let _written = writeln!(out, "{} {} -> {}", label(call), asked(call, 400), how(call));
    match &call.answer {
        Answer::Reply(reply) => {
            let Cut { value, omitted } = cut::cut(&reply.content, budget.saturating_sub(200));
            let _written = writeln!(out, "{}", written(&value));
            for note in &reply.notes {
                let _written = writeln!(out, "Note: {}", line(note, 200));
            }
            cuts(&call.id, &omitted, out);
        }
        Answer::Silent(why) => {
            let _written = writeln!(out, "Nothing was answered: {}", line(why, 300));
        }
        Answer::Skipped(why) => {
            let _written = writeln!(out, "{}", line(why, 300));
        }
    }
}

/// Where a reply was cut, and how to read on.
pub(super) fn cuts(id: &str, omitted: &[cut::Omission], out: &mut String) {
    const MOST: usize = 3;
    for cut in omitted.iter().take(MOST) {
        let _written = writeln!(
            out,
            "Cut: {cut}; the rest: more(id: \"{id}\", path: {:?}, offset: {})",
            cut.path, cut.shown
        );
    }
    if omitted.len() > MOST {
        let _written = writeln!(out, "Cut in {} more places", omitted.len() - MOST);
    }
}

/// JSON, or the text itself where the value is one.
pub(super) fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn excerpt(value: &Value, budget: usize) -> String {
    written(&cut::cut(value, budget).value)
}

/// A result, for policies that go by elements: the whole reply as its value, up to 16 KiB.
fn element(call: &Called) -> Element {
    let (value, failed) = match &call.answer {
        Answer::Reply(reply) => (excerpt(&reply.content, 16 << 10), reply.error),
        Answer::Silent(why) | Answer::Skipped(why) => (why.clone(), true),
    };
    Element {
        r#ref: call.id.clone(),
        role: "result".to_owned(),
        name: asked(call, 400),
        value: Some(value),
        states: if failed {
            vec![ElementState::Invalid]
        } else {
            Vec::new()
        },
        options: Vec::new(),
        interactive: false,
        visible: true,
        level: 0,
    }
}

fn line(text: &str, most: usize) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = joined.chars().take(most).collect();
    if short.len() < joined.len() {
        short.push('…');
    }
    short
}
