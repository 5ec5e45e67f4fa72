//! Several independent calls as one action: divide, then aggregate.
//!
//! With [`LlmPolicyConfig::parallel`](super::LlmPolicyConfig::parallel) every proposed step is a
//! *round*: one to [`MOST_CALLS`] calls, each with the calls that must be done before it. A round of
//! one call is that call; a larger one is the action [`Action::BATCH`], so that the trajectory
//! holds the whole graph and depth counts rounds. What may run at the same time is the
//! environment's decision, not the model's: only actions that it offers as
//! [`ActionSpec::together`] share a round.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::wire;
use crate::llm::prompt::line;
use crate::types::{Action, ActionSpec, Observation};

/// Most calls of one round.
pub(super) const MOST_CALLS: u8 = 8;

/// The field that holds the calls of a round.
const CALLS: &str = "calls";
/// The field that names a call. No argument is written under this name, nor under the next.
pub(super) const ID: &str = "call";
/// The field that names the calls before it.
pub(super) const AFTER: &str = "after_calls";

/// The schema of one round, from the variants of calls that must be one of their own, and of calls
/// that may stand together.
pub(super) fn schema(alone: Vec<Value>, together: Vec<Value>) -> Value {
    let mut rounds = Vec::new();
    for (variants, most) in [(alone, 1), (together, MOST_CALLS)] {
        if !variants.is_empty() {
            rounds.push(json!({
                "type": "array",
                "items": { "anyOf": named(variants) },
                "minItems": 1,
                "maxItems": most,
            }));
        }
    }
    let calls = match rounds.len() {
        1 => rounds.remove(0),
        _ => json!({ "anyOf": rounds }),
    };
    json!({
        "type": "object",
        "properties": { CALLS: calls },
        "required": [CALLS],
        "additionalProperties": false,
    })
}

/// The variants with a name for each call, and the names of those before it.
fn named(variants: Vec<Value>) -> Vec<Value> {
    variants
        .into_iter()
        .map(|mut variant| {
            variant["properties"][ID] = json!({ "type": "string" });
            variant["properties"][AFTER] =
                json!({ "type": "array", "items": { "type": "string" } });
            if let Some(required) = variant["required"].as_array_mut() {
                required.extend([json!(ID), json!(AFTER)]);
            }
            variant
        })
        .collect()
}

/// The action that a round comes to, or what is wrong with it. A bare action is a round of one.
pub(super) fn action(
    written: &Value,
    actions: &[ActionSpec],
    observation: &Observation,
) -> Result<Action, String> {
    let Some(calls) = written[CALLS].as_array() else {
        return wire::action(written, actions, observation);
    };
    if calls.len() > usize::from(MOST_CALLS) {
        return Err(format!(
            "a round of {} calls: at most {MOST_CALLS} are possible",
            calls.len()
        ));
    }
    let mut read = Vec::new();
    for (place, call) in calls.iter().enumerate() {
        let id = match &call[ID] {
            Value::String(id) if !id.trim().is_empty() => id.trim().to_owned(),
            Value::Number(id) => id.to_string(),
            _ => format!("call {}", place + 1),
        };
        let after: BTreeSet<String> = call[AFTER]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| match name {
                Value::String(name) => Some(name.trim().to_owned()),
                Value::Number(name) => Some(name.to_string()),
                _ => None,
            })
            .collect();
        read.push((id, after, wire::action(call, actions, observation)?));
    }
    match read.len() {
        0 => return Err("a round without a call".to_owned()),
        1 => return Ok(read.remove(0).2),
        _ => {}
    }
    for (.., call) in &read {
        let spec = actions.iter().find(|spec| spec.name == call.name);
        if let Some(spec) = spec.filter(|spec| !spec.together) {
            let name = &spec.name;
            return Err(if spec.terminal {
                format!("`{name}` ends the task and must stand alone")
            } else {
                format!(
                    "`{name}` must be a round of its own: together stand only calls that read or are known to be independent"
                )
            });
        }
    }
    // The model's own names for calls mean nothing: by place, equal rounds are equal actions.
    let mut places = BTreeMap::new();
    for (place, (id, ..)) in read.iter().enumerate() {
        if places.insert(id.clone(), place).is_some() {
            return Err(format!("two calls are named {:?}", line(id, 40)));
        }
    }
    let mut before: Vec<BTreeSet<usize>> = Vec::new();
    for (id, after, _) in &read {
        let mut own = BTreeSet::new();
        for name in after {
            let Some(place) = places.get(name) else {
                return Err(format!(
                    "{:?} comes after {:?}, which is no call of this round",
                    line(id, 40),
                    line(name, 40)
                ));
            };
            own.insert(*place);
        }
        before.push(own);
    }
    if let Some(place) = in_a_circle(&before) {
        return Err(format!("{:?} waits for itself", line(&read[place].0, 40)));
    }
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for (place, (_, _, call)) in read.iter().enumerate() {
        if !seen.insert(call.to_string()) {
            return Err(format!(
                "the same call twice: {}",
                line(&call.to_string(), 80)
            ));
        }
        let after: Vec<String> = before[place].iter().map(|place| name(*place)).collect();
        out.push(json!({
            "id": name(place),
            "tool": call.name,
            "arguments": call.arguments,
            "after": after,
        }));
    }
    Ok(Action {
        name: Action::BATCH.to_owned(),
        arguments: Map::from_iter([(CALLS.to_owned(), Value::Array(out))]),
    })
}

/// `a`, `b`, …: a round has at most [`MOST_CALLS`].
fn name(place: usize) -> String {
    let letter = u8::try_from(place).map_or(b'z', |place| b'a' + place.min(25));
    char::from(letter).to_string()
}

/// A call that can never run, if there is one.
fn in_a_circle(before: &[BTreeSet<usize>]) -> Option<usize> {
    let mut done = BTreeSet::new();
    loop {
        let ready = |place: &usize| !done.contains(place) && before[*place].is_subset(&done);
        match (0..before.len()).find(ready) {
            Some(place) => {
                done.insert(place);
            }
            None => return (0..before.len()).find(|place| !done.contains(place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, terminal: bool) -> ActionSpec {
        ActionSpec {
            name: name.to_owned(),
            description: String::new(),
            parameters: json!({
                "type": "object",
                "properties": { "q": { "type": "string" } },
                "required": ["q"],
            }),
            outside: false,
            terminal,
            together: name == "find",
        }
    }

    fn read(written: &Value) -> Result<Action, String> {
        let actions = [
            spec("find", false),
            spec("buy", false),
            spec("finish", true),
        ];
        let observation = Observation {
            url: String::new(),
            title: String::new(),
            text: String::new(),
            tokens: 0,
            elements: Vec::new(),
            omitted: crate::types::Omitted::default(),
            tabs: Vec::new(),
            notices: Vec::new(),
            digest: crate::types::Digest::of("x"),
            terminal: false,
            screenshot: None,
        };
        action(written, &actions, &observation)
    }

    fn call(id: &str, q: &str, after: &[&str]) -> Value {
        json!({ "call": id, "action": "find", "q": q, "after_calls": after })
    }

    #[test]
    fn a_round_becomes_a_batch_with_its_graph_and_one_call_stays_itself() {
        let round = json!({ "calls": [call("x", "mug", &[]), call("y", "pot", &["x"])] });
        let batch = read(&round).unwrap();
        let expected = json!({ "calls": [
            { "id": "a", "tool": "find", "arguments": { "q": "mug" }, "after": [] },
            { "id": "b", "tool": "find", "arguments": { "q": "pot" }, "after": ["a"] },
        ]});
        assert_eq!(batch, Action::new("batch", expected));
        let other_names = json!({ "calls": [call("1", "mug", &[]), call("2", "pot", &["1"])] });
        assert_eq!(read(&other_names).unwrap(), batch);
        let mug = Action::new("find", json!({ "q": "mug" }));
        assert_eq!(
            read(&json!({ "calls": [call("x", "mug", &[])] })),
            Ok(mug.clone())
        );
        assert_eq!(read(&json!({ "action": "find", "q": "mug" })), Ok(mug));
    }

    #[test]
    fn rounds_that_cannot_be_are_refused_with_the_reason() {
        let refused = |calls: Value| read(&json!({ "calls": calls })).unwrap_err();
        let end = json!({ "call": "e", "action": "finish", "q": "done", "after_calls": [] });
        assert_eq!(
            refused(json!([call("x", "mug", &[]), end])),
            "`finish` ends the task and must stand alone"
        );
        let buy = json!({ "call": "b", "action": "buy", "q": "mug", "after_calls": [] });
        assert_eq!(
            refused(json!([call("x", "mug", &[]), buy])),
            "`buy` must be a round of its own: together stand only calls that read or are known to be independent"
        );
        assert_eq!(
            refused(json!([call("x", "mug", &["y"]), call("y", "pot", &["x"])])),
            "\"x\" waits for itself"
        );
        assert_eq!(
            refused(json!([call("x", "mug", &[]), call("x", "pot", &[])])),
            "two calls are named \"x\""
        );
        assert_eq!(
            refused(json!([call("x", "mug", &["z"]), call("y", "pot", &[])])),
            "\"x\" comes after \"z\", which is no call of this round"
        );
        assert_eq!(
            refused(json!([call("x", "mug", &[]), call("y", "mug", &[])])),
            "the same call twice: find(q: \"mug\")"
        );
        assert_eq!(refused(json!([])), "a round without a call");
        let nine: Vec<Value> = (0..9)
            .map(|i| call(&i.to_string(), &i.to_string(), &[]))
            .collect();
        assert_eq!(
            refused(json!(nine)),
            "a round of 9 calls: at most 8 are possible"
        );
    }
}
