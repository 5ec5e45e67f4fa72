//! The state of a conversation with tools: what was asked, answered, written; and its digest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::plan::Offer;
use super::undo::WayBack;
use crate::env::SiteState;
use crate::env::tools::{Reply, Tool};
use crate::types::{Action, Digest};

/// One point of a conversation. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) turns: Vec<Arc<Turn>>,
    /// What can be done, once a search for tools added to it.
    pub(super) offer: Option<Arc<Offer>>,
    /// The writes that were sent on the way here, in their order.
    pub(super) writes: Vec<Arc<Write>>,
    /// Cookies and tokens by source, where a session has any.
    pub(super) sessions: BTreeMap<String, Value>,
    pub(super) end: Option<End>,
    /// The server's state that goes with `writes`, where it can be saved.
    pub(super) checkpoint: Option<SiteState>,
    /// The real origin that `writes` were sent to, where a site gives each lane its own.
    pub(super) origin: Option<String>,
    /// What the registry's `verify` reads gave after `writes`.
    pub(super) proof: Option<Arc<Proof>>,
}

/// What one action came to.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) action: Action,
    pub(super) did: Did,
}

#[derive(Debug)]
pub(super) enum Did {
    /// Calls, in the order in which they were given.
    Called(Vec<Called>),
    /// A further part of a reply.
    Viewed {
        /// Digest line of the call whose reply it is.
        line: String,
        call: String,
        path: String,
        offset: usize,
        text: String,
    },
    /// Tools that a search found: names and summaries.
    Found(Vec<(String, String)>),
}

/// A call that was made.
#[derive(Debug, Clone)]
pub(super) struct Called {
    /// Unique in the conversation: `c1`, `c2`.
    pub(super) id: String,
    /// The id it has in its batch.
    pub(super) label: Option<String>,
    pub(super) tool: Arc<Tool>,
    pub(super) arguments: Map<String, Value>,
    pub(super) answer: Answer,
    /// Given from the record.
    pub(super) recorded: bool,
    /// Writes before it.
    pub(super) epoch: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Answer {
    Reply(Arc<Reply>),
    /// No answer came, or the registry forbids it: why.
    Silent(String),
    /// It was not made, because a call that it comes after failed: which.
    Skipped(String),
}

/// How a conversation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Answered(String),
    GaveUp(String),
}

/// A write that was sent.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) tool: Arc<Tool>,
    pub(super) arguments: Map<String, Value>,
    /// What it gave when it was first sent.
    pub(super) reply: Arc<Reply>,
    /// What may take it back, the first choice first.
    pub(super) ways: Vec<WayBack>,
}

/// What reads gave that stand for the server's state: one line a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proof(pub(super) Vec<String>);

/// Object keys whose values change by themselves, by source.
pub(super) type Volatile = BTreeMap<String, BTreeSet<String>>;

/// What is compared of a reply: volatile values masked.
pub(super) fn masked(reply: &Reply, volatile: Option<&BTreeSet<String>>) -> Value {
    let content = match volatile {
        Some(keys) if !keys.is_empty() => mask(&reply.content, keys),
        _ => reply.content.clone(),
    };
    json!([reply.error, reply.status, content])
}

fn mask(value: &Value, keys: &BTreeSet<String>) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| mask(item, keys)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let value = if keys.contains(key) {
                    Value::from("…")
                } else {
                    mask(value, keys)
                };
                (key.clone(), value)
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

impl Called {
    /// The call and its answer as the digest sees them.
    pub(super) fn line(&self, volatile: &Volatile) -> String {
        let answer = match &self.answer {
            Answer::Reply(reply) => masked(reply, volatile.get(&self.tool.source)),
            Answer::Silent(_) => json!("silent"),
            Answer::Skipped(_) => json!("skipped"),
        };
        json!([
            self.epoch,
            self.tool.source,
            self.tool.name,
            self.arguments,
            answer
        ])
        .to_string()
    }
}

impl State {
    /// Calls in order.
    pub(super) fn calls(&self) -> impl DoubleEndedIterator<Item = &Called> {
        self.turns.iter().flat_map(|turn| match &turn.did {
            Did::Called(calls) => calls.as_slice(),
            Did::Viewed { .. } | Did::Found(_) => &[],
        })
    }

    /// The actions that led here.
    pub(super) fn path(&self) -> Vec<&Action> {
        self.turns.iter().map(|turn| &turn.action).collect()
    }

    /// Equal for states in which an agent knows the same and the server was told the same.
    pub(super) fn digest(&self, world: &str, volatile: &Volatile) -> Digest {
        let mut known = BTreeSet::new();
        for turn in &self.turns {
            match &turn.did {
                Did::Called(calls) => known.extend(calls.iter().map(|call| call.line(volatile))),
                Did::Viewed {
                    line, path, offset, ..
                } => {
                    known.insert(json!(["viewed", line, path, offset]).to_string());
                }
                Did::Found(found) => {
                    let names: Vec<&String> = found.iter().map(|(name, _)| name).collect();
                    known.insert(json!(["found", names]).to_string());
                }
            }
        }
        let end = match &self.end {
            None => Value::Null,
            Some(End::Answered(answer)) => json!(["answered", answer]),
            Some(End::GaveUp(reason)) => json!(["gave up", reason]),
        };
        let mut whole = vec![json!(world), json!(known), json!(self.epoch(volatile)), end];
        // Which tools a bound left out depends on the order of the searches.
        whole.extend(self.offer.as_ref().map(|offer| json!(offer.found)));
        let whole = Value::Array(whole);
        Digest::of(whole.to_string())
    }

    /// The writes as one digest; none of none.
    pub(super) fn epoch(&self, volatile: &Volatile) -> Option<Digest> {
        let lines: Vec<Value> = self
            .writes
            .iter()
            .map(|write| {
                let reply = masked(&write.reply, volatile.get(&write.tool.source));
                json!([write.tool.source, write.tool.name, write.arguments, reply])
            })
            .collect();
        (!lines.is_empty()).then(|| Digest::of(Value::Array(lines).to_string()))
    }

    /// In words, the first call that went differently.
    pub(super) fn difference(&self, other: &Self, volatile: &Volatile) -> String {
        for (then, now) in self.calls().zip(other.calls()) {
            if then.line(volatile) == now.line(volatile) {
                continue;
            }
            let what = format!(
                "`{}` ({}) was answered differently than before",
                then.tool.name, then.id
            );
            return match (&then.answer, &now.answer) {
                (Answer::Reply(before), Answer::Reply(after)) => {
                    let source = &then.tool.source;
                    format!("{what}: {}", differs(source, before, after, volatile))
                }
                _ => what,
            };
        }
        "the conversations differ".to_owned()
    }
}

/// In words, where the second of two replies to the same call differs from the first, and what to do
/// about a value that changes by itself.
pub(super) fn differs(source: &str, then: &Reply, now: &Reply, volatile: &Volatile) -> String {
    let keys = volatile.get(source);
    if (then.error, then.status) != (now.error, now.status) {
        let how = |reply: &Reply| match (reply.status, reply.error) {
            (Some(status), _) => status.to_string(),
            (None, true) => "an error".to_owned(),
            (None, false) => "no error".to_owned(),
        };
        return format!("{}, not {}", how(now), how(then));
    }
    let [then, now] = [then, now].map(|reply| masked(reply, keys)[2].take());
    let Some((at, was, is)) = first_difference(String::new(), &then, &now) else {
        return "the replies are equal".to_owned();
    };
    let short = |value: Option<&Value>| {
        let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        text.chars().take(60).collect::<String>()
    };
    let (place, was, is) = (
        if at.is_empty() { "it" } else { &at },
        short(was),
        short(is),
    );
    let mut text = format!("{place} is {is}, was {was}");
    let key = at.rsplit('/').find(|part| part.parse::<usize>().is_err());
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        text.push_str(&format!(
            " (if the server gives it anew each time, add {key:?} to `volatile` of the source `{source}`)"
        ));
    }
    text
}

/// The first place, as a JSON pointer, at which two values differ, and what is there.
fn first_difference<'a>(
    at: String,
    a: &'a Value,
    b: &'a Value,
) -> Option<(String, Option<&'a Value>, Option<&'a Value>)> {
    if a == b {
        return None;
    }
    let deeper = |part: String, a: Option<&'a Value>, b: Option<&'a Value>| {
        let at = format!("{at}/{part}");
        match (a, b) {
            (Some(a), Some(b)) => first_difference(at, a, b),
            _ => Some((at, a, b)),
        }
    };
    let found = match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            names.into_iter().find_map(|name| {
                let part = name.replace('~', "~0").replace('/', "~1");
                deeper(part, x.get(name), y.get(name))
            })
        }
        (Value::Array(x), Value::Array(y)) => {
            (0..x.len().max(y.len())).find_map(|n| deeper(n.to_string(), x.get(n), y.get(n)))
        }
        _ => None,
    };
    found.or(Some((at, Some(a), Some(b))))
}
