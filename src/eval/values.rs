//! JSON values and traces of calls.

use std::collections::BTreeSet;

use serde_json::{Number, Value};

use super::check::{JsonTest, TraceTest, ValueTest};
use super::evaluate::{CheckOutcome, cut, failed, quote, verdict};
use super::normalise;
use crate::types::{Action, ActionSpec};

/// Actions of a conversation with tools that reach no provider.
const OWN: [&str; 2] = ["more", "search_tools"];

/// What is demanded, in words.
pub(super) fn expected(test: &ValueTest) -> String {
    match test {
        ValueTest::Equals(value) => cut(&value.to_string()),
        ValueTest::Contains(part) => format!("something with {}", quote(part)),
        ValueTest::Number { value, tolerance } if *tolerance > 0.0 => {
            format!("{value} ± {tolerance}")
        }
        ValueTest::Number { value, .. } => value.to_string(),
    }
}

/// A test on an answer that is JSON.
pub(super) fn answer(test: &JsonTest, answer: Option<&str>) -> CheckOutcome {
    let Some(given) = answer else {
        return failed(expected(&test.value), "no answer".to_owned());
    };
    match serde_json::from_str(given) {
        Ok(document) => json(test, &document),
        Err(_) => failed(
            format!("JSON with {} at {:?}", expected(&test.value), test.pointer),
            format!("{} (no JSON)", quote(given)),
        ),
    }
}

/// A test on a document.
pub(super) fn json(test: &JsonTest, document: &Value) -> CheckOutcome {
    let JsonTest { pointer, value } = test;
    let Some(there) = document.pointer(pointer) else {
        return failed(
            expected(value),
            format!("nothing at {pointer:?} of {}", cut(&document.to_string())),
        );
    };
    let mut note = String::new();
    let holds = match value {
        ValueTest::Equals(want) => equal(want, there),
        ValueTest::Contains(part) => holds_text(there, &normalise::text(part)),
        ValueTest::Number { value, tolerance } => match number(there) {
            Ok(number) => normalise::close(number, *value, *tolerance),
            Err(why) => {
                note = format!(" ({why})");
                false
            }
        },
    };
    verdict(holds, || {
        (
            expected(value),
            format!("{}{note}", cut(&there.to_string())),
        )
    })
}

fn number(value: &Value) -> Result<f64, normalise::NoNumber> {
    match value {
        Value::String(text) => normalise::number(text),
        other => other.as_f64().ok_or(normalise::NoNumber::None),
    }
}

fn holds_text(value: &Value, part: &str) -> bool {
    match value {
        Value::String(text) => normalise::text(text).contains(part),
        Value::Array(items) => items.iter().any(|item| holds_text(item, part)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Equality in which a number is its value.
fn equal(want: &Value, got: &Value) -> bool {
    match (want, got) {
        (Value::Number(want), Value::Number(got)) => {
            // Integers are compared as such: floats tell large ones not apart.
            let whole = |number: &Number| number.is_i64() || number.is_u64();
            if whole(want) && whole(got) {
                return want == got;
            }
            matches!((want.as_f64(), got.as_f64()),
                (Some(want), Some(got)) if normalise::close(got, want, 0.0))
        }
        (Value::Array(want), Value::Array(got)) => {
            want.len() == got.len() && want.iter().zip(got).all(|(want, got)| equal(want, got))
        }
        (Value::Object(want), Value::Object(got)) => {
            want.len() == got.len()
                && want
                    .iter()
                    .all(|(key, want)| got.get(key).is_some_and(|got| equal(want, got)))
        }
        (want, got) => want == got,
    }
}

/// The names of the calls among `actions`, each of a batch by itself.
pub(super) fn calls(actions: &[Action], specs: &[ActionSpec]) -> Vec<String> {
    let ends: BTreeSet<&str> = specs
        .iter()
        .filter(|spec| spec.terminal)
        .map(|spec| spec.name.as_str())
        .collect();
    let mut out = Vec::new();
    for action in actions {
        let name = action.name.as_str();
        if ends.contains(name) || OWN.contains(&name) {
            continue;
        }
        let inner = match name {
            Action::BATCH => action.arguments.get("calls").and_then(Value::as_array),
            _ => None,
        };
        match inner {
            Some(inner) => out.extend(
                inner
                    .iter()
                    .filter_map(|call| call["tool"].as_str().map(str::to_owned)),
            ),
            // A tool that was found by a search is called by this action.
            None if name == "call" => {
                out.push(action.text("tool").unwrap_or(name).to_owned());
            }
            None => out.push(name.to_owned()),
        }
    }
    out
}

/// A test on the names of calls.
pub(super) fn trace(test: &TraceTest, calls: &[String]) -> CheckOutcome {
    let mut missing = Vec::new();
    for pattern in &test.must {
        if !calls.iter().any(|call| fits(pattern, call)) {
            missing.push(format!("a call of `{pattern}`"));
        }
    }
    for pattern in &test.must_not {
        if calls.iter().any(|call| fits(pattern, call)) {
            missing.push(format!("no call of `{pattern}`"));
        }
    }
    let mut rest = calls.iter();
    for (place, pattern) in test.order.iter().enumerate() {
        if !rest.any(|call| fits(pattern, call)) {
            let before = match place.checked_sub(1) {
                Some(before) => format!(" after `{}`", test.order[before]),
                None => String::new(),
            };
            missing.push(format!("a call of `{pattern}`{before}"));
            break;
        }
    }
    if let Some(most) = test.at_most
        && calls.len() > usize::try_from(most).unwrap_or(usize::MAX)
    {
        missing.push(format!("at most {most} calls"));
    }
    verdict(missing.is_empty(), || {
        let made = match calls {
            [] => "no call".to_owned(),
            calls => cut(&calls.join(", ")),
        };
        (
            missing.join(", "),
            format!("{made} ({} calls)", calls.len()),
        )
    })
}

/// Whether the whole of `name` fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((first, rest)) => name.strip_prefix(first).is_some_and(|name| {
            name.char_indices()
                .map(|(at, _)| at)
                .chain([name.len()])
                .any(|at| fits(rest, &name[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_compare_by_value_and_the_rest_exactly() {
        assert!(equal(&json!({"a": [1, "x"]}), &json!({"a": [1.0, "x"]})));
        assert!(equal(&json!(0.3), &json!(0.1 + 0.2)));
        for (want, got) in [
            (json!(1), json!("1")),
            (json!("x"), json!("X")),
            (json!([1, 2]), json!([2, 1])),
            (json!({"a": 1}), json!({"a": 1, "b": 2})),
            (
                json!(9_007_199_254_740_992_i64),
                json!(9_007_199_254_740_993_i64),
            ),
            (json!(1_700_000_000_000_i64), json!(1_700_000_000_001_i64)),
        ] {
            assert!(!equal(&want, &got), "{want} {got}");
        }
    }

    #[test]
    fn a_star_is_any_characters() {
        for (pattern, name, want) in [
            ("get_*", "get_order", true),
            ("get_*", "list_get_order", false),
            ("*_order", "get_order", true),
            ("*", "", true),
            ("a*b*c", "abxbc", true),
            ("a*b*c", "acb", false),
            ("get_order", "get_orders", false),
            ("*é*", "café au lait", true),
        ] {
            assert_eq!(fits(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn calls_are_counted_one_by_one() {
        let specs = [ActionSpec {
            name: "finish".to_owned(),
            description: String::new(),
            parameters: json!({}),
            outside: false,
            terminal: true,
            together: false,
        }];
        let actions = [
            Action::new("a", json!({})),
            Action::new(
                "batch",
                json!({"calls": [{"id": "1", "tool": "b"}, {"id": "2", "tool": "c"}]}),
            ),
            Action::new("more", json!({"id": "1"})),
            Action::new("search_tools", json!({"query": "x"})),
            Action::new("call", json!({"tool": "d", "arguments": {}})),
            Action::new("finish", json!({"answer": "x"})),
        ];
        assert_eq!(calls(&actions, &specs), ["a", "b", "c", "d"]);
    }
}
