//! What a task demands of its final state.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One condition on the committed run. A task is solved when all of its checks pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// On the answer that the agent gave when it stopped.
    Answer(AnswerTest),
    /// On that answer, which is JSON.
    AnswerJson(JsonTest),
    /// On the URL of the active tab. Every part that is given must hold.
    Url {
        /// The whole path, compared by [`super::normalise::path`].
        path: Option<String>,
        /// A part of the URL, literal or percent-decoded; case counts.
        contains: Option<String>,
        /// Query parameters that must be there, decoded; others may be too.
        query: BTreeMap<String, String>,
    },
    /// On the visible text of the page.
    Page {
        /// The first element that matches this CSS selector; without it the whole page.
        selector: Option<String>,
        /// What the text must be.
        test: PageTest,
    },
    /// On the rows of one read-only SQL statement on the site's own database.
    Sql {
        /// The statement.
        statement: String,
        /// The rows, in order. Numbers compare as numbers, text exactly.
        equals: Vec<Vec<Cell>>,
    },
    /// On what one read-only call of a tool gives in the final state.
    Call {
        /// The tool's name.
        tool: String,
        /// Its arguments.
        arguments: Map<String, Value>,
        /// What the reply must be.
        test: CallTest,
    },
    /// On the calls that the committed run made.
    Trace(TraceTest),
    /// On the benchmark's own reward.
    Reward {
        /// The least that passes.
        at_least: f64,
    },
}

/// What an answer must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerTest {
    /// The same text, by [`super::normalise::text`].
    Exact(String),
    /// This text somewhere in the answer, both by [`super::normalise::text`].
    Contains(String),
    /// The same text as one of these.
    AnyOf(Vec<String>),
    /// The only number in the answer, read by [`super::normalise::number`].
    Number {
        /// The number.
        value: f64,
        /// How far off it may be, absolutely; 0 asks for equality.
        tolerance: f64,
    },
}

/// What the value at one place of a JSON document must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JsonTest {
    /// JSON Pointer (RFC 6901): `/order/total`; empty for the whole document.
    pub pointer: String,
    /// What is there.
    pub value: ValueTest,
}

/// What a JSON value must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueTest {
    /// This value: text exactly, numbers by value (1 is 1.0), lists in order, objects by their keys.
    Equals(Value),
    /// Text with this in it, both by [`super::normalise::text`]; a list with such an element.
    Contains(String),
    /// This number, as a number or as text with one number ([`super::normalise::number`]).
    Number {
        /// The number.
        value: f64,
        /// How far off it may be, absolutely; 0 asks for equality.
        tolerance: f64,
    },
}

/// What the reply to a call must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallTest {
    /// A reply that is no error, with this.
    Value(JsonTest),
    /// The provider refuses it: what it asks for is not there.
    Refused,
}

/// What the calls of a committed run must be. Calls are actions that do not end the episode; each
/// call of a batch counts; `more` and `search_tools`, which reach no provider, do not. Names are
/// patterns in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceTest {
    /// Each is called at least once.
    pub must: Vec<String>,
    /// None is called.
    pub must_not: Vec<String>,
    /// Called in this order; others may come between.
    pub order: Vec<String>,
    /// Most calls.
    pub at_most: Option<u32>,
}

/// What the text of a page must be; both sides by [`super::normalise::text`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageTest {
    /// This text is in it.
    Contains(String),
    /// It is this text.
    Equals(String),
    /// This text is not in it. Holds too where the selector matches nothing.
    Absent(String),
}

/// A value in a row of SQL. TOML has no null: write `ifnull(column, '')` in the statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Text, compared exactly.
    Text(String),
    /// An integer; equals a float of the same value.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A truth value; `SQLite` keeps these as 1 and 0, which are equal to it.
    Bool(bool),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Bool(truth) => write!(f, "{truth}"),
        }
    }
}

impl Check {
    /// The check in a few words, for tables and the record: `answer exact "42"`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Answer(AnswerTest::Exact(text)) => format!("answer exact {text:?}"),
            Self::Answer(AnswerTest::Contains(text)) => format!("answer contains {text:?}"),
            Self::Answer(AnswerTest::AnyOf(texts)) => format!("answer any of {texts:?}"),
            Self::Answer(AnswerTest::Number { value, tolerance }) if *tolerance > 0.0 => {
                format!("answer number {value} ± {tolerance}")
            }
            Self::Answer(AnswerTest::Number { value, .. }) => format!("answer number {value}"),
            Self::AnswerJson(test) => format!("answer {}", test.name()),
            Self::Call {
                tool,
                arguments,
                test,
            } => {
                let arguments = Value::Object(arguments.clone());
                match test {
                    CallTest::Value(test) => format!("call {tool} {arguments} {}", test.name()),
                    CallTest::Refused => format!("call {tool} {arguments} refused"),
                }
            }
            Self::Trace(test) => test.name(),
            Self::Url {
                path,
                contains,
                query,
            } => {
                let path = path.iter().map(|p| format!(" path {p:?}"));
                let contains = contains.iter().map(|c| format!(" contains {c:?}"));
                let query = query.iter().map(|(k, v)| format!(" query {k}={v:?}"));
                let parts: String = path.chain(contains).chain(query).collect();
                format!("url{parts}")
            }
            Self::Page { selector, test } => {
                let place = selector
                    .as_ref()
                    .map_or_else(String::new, |s| format!(" {s}"));
                match test {
                    PageTest::Contains(text) => format!("page{place} contains {text:?}"),
                    PageTest::Equals(text) => format!("page{place} equals {text:?}"),
                    PageTest::Absent(text) => format!("page{place} absent {text:?}"),
                }
            }
            Self::Sql { statement, .. } => {
                format!("sql {}", super::normalise::collapse(statement))
            }
            Self::Reward { at_least } => format!("reward at least {at_least}"),
        }
    }
}

impl JsonTest {
    fn name(&self) -> String {
        let place = &self.pointer;
        match &self.value {
            ValueTest::Equals(value) => format!("{place:?} equals {value}"),
            ValueTest::Contains(text) => format!("{place:?} contains {text:?}"),
            ValueTest::Number { value, tolerance } if *tolerance > 0.0 => {
                format!("{place:?} number {value} ± {tolerance}")
            }
            ValueTest::Number { value, .. } => format!("{place:?} number {value}"),
        }
    }
}

impl TraceTest {
    fn name(&self) -> String {
        let list = |word: &str, names: &[String]| match names {
            [] => String::new(),
            names => format!(" {word} {}", names.join(", ")),
        };
        let most = self.at_most.map(|most| format!(" at most {most} calls"));
        format!(
            "trace{}{}{}{}",
            list("must", &self.must),
            list("must not", &self.must_not),
            list("order", &self.order),
            most.unwrap_or_default()
        )
    }
}
