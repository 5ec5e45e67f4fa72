//! A conversation with tools, taken apart without a model: what was asked, and every value that
//! was answered, with the names it stands under and the record it belongs to.

use serde_json::{Map, Value};

use super::words::{Asked, Goal, alike, count, terms, words};
use crate::types::{Action, ElementState, Observation};

/// Values of one reply that are looked at.
const MOST_FACTS: usize = 2_000;

/// Words for reading: they say little about which thing is read.
pub(crate) const READING: &[&str] = &[
    "get", "list", "read", "show", "find", "search", "look", "fetch", "query", "view", "retrieve",
];

/// One call with its reply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// The tool.
    pub(crate) tool: String,
    /// Its arguments, as far as they are shown.
    pub(crate) arguments: Map<String, Value>,
    /// Whether the provider refused it, or nothing was answered.
    pub(crate) failed: bool,
    /// Everything in the reply.
    pub(crate) facts: Vec<Fact>,
    /// Terms of the whole reply.
    pub(crate) terms: Vec<String>,
}

impl Call {
    /// The calls of an action that no reply is there to yet.
    pub(crate) fn unanswered(action: &Action) -> Vec<Self> {
        let call = |tool: &str, arguments: &Map<String, Value>| Self {
            tool: tool.to_owned(),
            arguments: arguments.clone(),
            failed: false,
            facts: Vec::new(),
            terms: Vec::new(),
        };
        if action.name != Action::BATCH {
            return vec![call(&action.name, &action.arguments)];
        }
        let calls = action.arguments.get("calls").and_then(Value::as_array);
        let of = |one: &Value| Some(call(one["tool"].as_str()?, one["arguments"].as_object()?));
        calls.into_iter().flatten().filter_map(of).collect()
    }
}

/// A value of a reply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fact {
    /// Words of the field's name; of the list's for a value of a list.
    pub(crate) key: Vec<String>,
    /// Words of what the record is in: `variants` for a variant's id.
    pub(crate) holder: Vec<String>,
    /// A text, number or truth value.
    pub(crate) value: Value,
    /// Its record within the reply: the innermost object.
    pub(crate) record: usize,
    /// Terms of the record's own values.
    pub(crate) terms: Vec<String>,
    /// The record's own fields: words of the name, and the value.
    pub(crate) fields: Vec<(Vec<String>, Value)>,
}

/// The calls of a conversation, oldest first.
pub(crate) fn calls(page: &Observation) -> Vec<Call> {
    page.elements
        .iter()
        .filter(|element| element.role == "result")
        .map(|element| {
            let (tool, arguments) = element.name.split_once(' ').unwrap_or((&element.name, ""));
            let text = element.value.as_deref().unwrap_or_default();
            let reply = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
            let mut walk = Walk::default();
            walk.value(&reply, &[], &[]);
            Call {
                tool: tool.to_owned(),
                arguments: serde_json::from_str(arguments).unwrap_or_default(),
                failed: element.states.contains(&ElementState::Invalid),
                facts: walk.facts,
                terms: terms(text),
            }
        })
        .collect()
}

/// A value as a person would write it.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Words of a name in snake, kebab or camel case.
pub(crate) fn name_words(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut before = ' ';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.push(if c == '_' || c == '-' { ' ' } else { c });
        before = c;
    }
    words(&spaced)
}

/// How much a value answers a question: the share of the question's words that its names, its
/// record and its call say, and whether it is of the kind that is asked for.
pub(crate) fn answers(goal: &Goal, asked: Asked, call: &Call, fact: &Fact) -> f64 {
    let number = fact.value.is_number();
    let kind = match asked {
        Asked::Money | Asked::Number => number,
        Asked::Date | Asked::Code => fact.value.is_string(),
        Asked::Words => number || fact.value.is_string(),
    };
    if !kind {
        return 0.0;
    }
    // What is asked stands before what it is asked of.
    let asked_for = |words: &[String]| {
        let place = |word: &String| goal.question.iter().position(|term| term == word);
        let weights = words
            .iter()
            .filter_map(place)
            .map(|at| 1.0 / (1.0 + 0.15 * count(at)));
        weights.sum::<f64>() / count(words.len().max(1))
    };
    let arguments: Vec<String> = call.arguments.values().map(plain).collect();
    let arguments = terms(&arguments.join(" ").replace('-', " "));
    let tool = name_words(&call.tool);
    let own = |term: &String| {
        fact.terms.contains(term) || fact.key.contains(term) || fact.holder.contains(term)
    };
    let about = goal.question.iter().map(|term| match own(term) {
        true => 1.0,
        false if arguments.contains(term) || tool.contains(term) => 0.6,
        false => 0.0,
    });
    let about = about.sum::<f64>() / count(goal.question.len().max(1));
    let about = if goal.question.iter().any(own) {
        about
    } else {
        0.3 * about
    };
    // What the question says itself is no answer to it.
    let echo = goal.says(&words(&plain(&fact.value)));
    1.5 * asked_for(&fact.key) + 2.0 * about - if echo { 1.5 } else { 0.0 }
}

/// The share of the goal's matter that successful calls say: their tools' names, their arguments,
/// and the records that arguments were taken from.
pub(crate) fn covered(goal: &Goal, calls: &[Call]) -> f64 {
    let mut said: Vec<String> = Vec::new();
    for (at, call) in calls.iter().enumerate().filter(|(_, call)| !call.failed) {
        let reading = name_words(&call.tool)
            .iter()
            .any(|word| READING.contains(&word.as_str()));
        said.extend(
            call.arguments
                .values()
                .flat_map(|v| words(&plain(v).replace('-', " "))),
        );
        said.extend(call.arguments.keys().flat_map(|name| name_words(name)));
        if reading {
            continue;
        }
        said.extend(name_words(&call.tool));
        for value in call.arguments.values() {
            for fact in calls[..at].iter().flat_map(|call| &call.facts) {
                if fact.value == *value {
                    said.extend(fact.terms.iter().cloned());
                }
            }
        }
    }
    let wanted: Vec<&String> = goal
        .content
        .iter()
        .filter(|term| term.parse::<f64>().is_err())
        .collect();
    let hits = wanted
        .iter()
        .filter(|term| said.iter().any(|word| word == **term || alike(word, term)));
    count(hits.count()) / count(wanted.len().max(1))
}

#[derive(Default)]
struct Walk {
    facts: Vec<Fact>,
    records: usize,
}

impl Walk {
    fn value(&mut self, value: &Value, key: &[String], holder: &[String]) {
        match value {
            Value::Object(fields) => self.record(fields, key),
            Value::Array(items) => {
                for item in items {
                    self.value(item, key, holder);
                }
            }
            Value::Null => {}
            // A value by itself: the whole reply, or one of a list.
            scalar => {
                let text = plain(scalar);
                let record = self.records;
                self.records += 1;
                self.push(Fact {
                    key: key.to_vec(),
                    holder: holder.to_vec(),
                    value: scalar.clone(),
                    record,
                    terms: terms(&text.replace('-', " ")),
                    fields: vec![(key.to_vec(), scalar.clone())],
                });
            }
        }
    }

    fn record(&mut self, object: &Map<String, Value>, holder: &[String]) {
        let record = self.records;
        self.records += 1;
        let fields: Vec<(Vec<String>, Value)> = object
            .iter()
            .filter(|(_, value)| value.is_string() || value.is_number() || value.is_boolean())
            .map(|(name, value)| (name_words(name), value.clone()))
            .collect();
        let texts: Vec<String> = fields.iter().map(|(_, value)| plain(value)).collect();
        let all = terms(&texts.join(" . ").replace('-', " "));
        for (key, value) in &fields {
            self.push(Fact {
                key: key.clone(),
                holder: holder.to_vec(),
                value: value.clone(),
                record,
                terms: all.clone(),
                fields: fields.clone(),
            });
        }
        for (name, value) in object {
            if value.is_object() || value.is_array() {
                self.value(value, &name_words(name), holder);
            }
        }
    }

    fn push(&mut self, fact: Fact) {
        if self.facts.len() < MOST_FACTS {
            self.facts.push(fact);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_know_their_names_and_records() {
        let mut walk = Walk::default();
        walk.value(
            &json!({"name": "Mug", "variants": [{"id": 57, "label": "Oat"}, {"id": 58, "label": "Sea"}], "tags": ["a-b"]}),
            &[],
            &[],
        );
        let told: Vec<String> = walk
            .facts
            .iter()
            .map(|f| {
                let (key, holder) = (f.key.join(" "), f.holder.join(" "));
                format!(
                    "{}|{holder}|{key} = {} {:?}",
                    f.record,
                    plain(&f.value),
                    f.terms
                )
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        0||name = Mug ["mug"]
        1||tag = a-b ["b"]
        2|variant|id = 57 ["57", "oat"]
        2|variant|label = Oat ["57", "oat"]
        3|variant|id = 58 ["58", "sea"]
        3|variant|label = Sea ["58", "sea"]
        "#);
    }

    #[test]
    fn names_of_all_cases() {
        assert_eq!(name_words("addToCart"), ["add", "to", "cart"]);
        assert_eq!(name_words("list_reviews"), ["list", "review"]);
    }
}
