//! Asks an environment what its checks need to know, and gives the verdict.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::check::{AnswerTest, CallTest, Cell, Check, PageTest};
use super::{normalise, values};
use crate::context::Cx;
use crate::env::Environment;
use crate::types::{Action, Query};

/// No question takes longer than this.
const QUERY_LIMIT: Duration = Duration::from_secs(30);

/// How much of a text a result quotes, in characters.
const QUOTE: usize = 200;

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every check passed.
    Solved,
    /// Every check could be asked, and at least one failed.
    NotSolved,
    /// At least one check could not be asked (or there was none): no evidence either way.
    Unscored,
}

/// The result of all checks of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The sum of `checks`.
    pub outcome: Outcome,
    /// One result per check, in the task's order.
    pub checks: Vec<CheckResult>,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// [`Check::name`].
    pub name: String,
    /// What came out.
    pub result: CheckOutcome,
}

/// What came out of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It holds.
    Passed,
    /// It does not hold.
    Failed {
        /// What was demanded, in words.
        expected: String,
        /// What there was instead; text from a page is data, cut to 200 characters.
        got: String,
    },
    /// It could not be asked.
    Unscored {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// The verdict on these results: unscored if any is or there is none, else solved if all
    /// passed.
    #[must_use]
    pub fn of(checks: Vec<CheckResult>) -> Self {
        let any = |wanted: fn(&CheckOutcome) -> bool| checks.iter().any(|c| wanted(&c.result));
        let outcome = if checks.is_empty() || any(|r| matches!(r, CheckOutcome::Unscored { .. })) {
            Outcome::Unscored
        } else if any(|r| matches!(r, CheckOutcome::Failed { .. })) {
            Outcome::NotSolved
        } else {
            Outcome::Solved
        };
        Self { outcome, checks }
    }
}

/// What a committed run leaves behind, beside the state of its environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// What the terminal action gave, if there was one.
    pub answer: Option<&'a str>,
    /// The actions that were executed, in order.
    pub actions: &'a [Action],
}

/// Runs every check against the final state of `env`, in order; a failed check does not spare the
/// rest, so that the verdict says all that is wrong.
///
/// Queries may disturb the state.
pub async fn evaluate(
    checks: &[Check],
    evidence: Evidence<'_>,
    env: &mut dyn Environment,
    cx: &Cx,
) -> Verdict {
    let mut results = Vec::with_capacity(checks.len());
    for check in checks {
        let result = one(check, evidence, env, cx)
            .await
            .unwrap_or_else(|reason| CheckOutcome::Unscored { reason });
        results.push(CheckResult {
            name: check.name(),
            result,
        });
    }
    Verdict::of(results)
}

/// One check; the error is why it is unscored.
async fn one(
    check: &Check,
    evidence: Evidence<'_>,
    env: &mut dyn Environment,
    cx: &Cx,
) -> Result<CheckOutcome, String> {
    match check {
        Check::AnswerJson(test) => Ok(values::answer(test, evidence.answer)),
        Check::Answer(test) => Ok(answer_test(test, evidence.answer)),
        Check::Call {
            tool,
            arguments,
            test,
        } => {
            let query = Query::Call {
                tool: tool.clone(),
                arguments: arguments.clone(),
            };
            call_test(test, &ask(env, query, cx).await?)
        }
        Check::Trace(test) => Ok(values::trace(
            test,
            &values::calls(evidence.actions, env.actions()),
        )),
        Check::Url {
            path,
            contains,
            query,
        } => match ask(env, Query::Url, cx).await? {
            Value::String(url) => Ok(url_test(&url, path.as_deref(), contains.as_deref(), query)),
            other => Err(wrong_type("the URL", "a string", &other)),
        },
        Check::Page { selector, test } => {
            let query = Query::PageText {
                selector: selector.clone(),
            };
            match ask(env, query, cx).await? {
                Value::String(text) => Ok(page_test(test, Some(&text))),
                Value::Null => Ok(page_test(test, None)),
                other => Err(wrong_type("the page's text", "a string or null", &other)),
            }
        }
        Check::Sql { statement, equals } => {
            let query = Query::Sql {
                statement: statement.clone(),
            };
            sql_test(equals, &ask(env, query, cx).await?)
        }
        Check::Reward { at_least } => match ask(env, Query::Reward, cx).await? {
            Value::Null => Ok(failed(
                format!("at least {at_least}"),
                "the episode has not ended".to_owned(),
            )),
            other => {
                let reward = other
                    .as_f64()
                    .ok_or_else(|| wrong_type("the reward", "a number or null", &other))?;
                Ok(verdict(reward >= *at_least, || {
                    (format!("at least {at_least}"), reward.to_string())
                }))
            }
        },
    }
}

async fn ask(env: &mut dyn Environment, query: Query, cx: &Cx) -> Result<Value, String> {
    let within = cx.within(QUERY_LIMIT);
    match cx.bounded(QUERY_LIMIT, env.query(&query, &within)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(interrupted) => Err(interrupted.to_string()),
    }
}

fn call_test(wanted: &CallTest, reply: &Value) -> Result<CheckOutcome, String> {
    let Some(error) = reply["error"].as_bool() else {
        return Err(wrong_type("the reply", "an object with `error`", reply));
    };
    let content = &reply["content"];
    let status = reply["status"].as_u64();
    // Trouble of the provider, or between us and it, says nothing about the state.
    if error && matches!(status, Some(401 | 403 | 407 | 408 | 429 | 500..)) {
        let status = status.unwrap_or_default();
        return Err(format!(
            "the call was answered with status {status}: {}",
            cut(&content.to_string())
        ));
    }
    Ok(match wanted {
        CallTest::Value(test) if error => failed(
            values::expected(&test.value),
            format!("an error: {}", cut(&content.to_string())),
        ),
        CallTest::Value(test) => values::json(test, content),
        CallTest::Refused => verdict(error, || ("an error".to_owned(), cut(&content.to_string()))),
    })
}

fn wrong_type(what: &str, wanted: &str, got: &Value) -> String {
    let got = cut(&got.to_string());
    format!("the environment answered {got} where {what} should be {wanted}")
}

pub(super) fn verdict(holds: bool, else_: impl FnOnce() -> (String, String)) -> CheckOutcome {
    if holds {
        CheckOutcome::Passed
    } else {
        let (expected, got) = else_();
        failed(expected, got)
    }
}

pub(super) fn failed(expected: String, got: String) -> CheckOutcome {
    CheckOutcome::Failed { expected, got }
}

/// Text in quotes, cut to [`QUOTE`] characters.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTE) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn answer_test(wanted: &AnswerTest, answer: Option<&str>) -> CheckOutcome {
    let expected = match wanted {
        AnswerTest::Exact(text) => quote(text),
        AnswerTest::Contains(text) => format!("something with {}", quote(text)),
        AnswerTest::AnyOf(texts) => format!("one of {}", quote(&texts.join(" | "))),
        AnswerTest::Number { value, tolerance } if *tolerance > 0.0 => {
            format!("{value} ± {tolerance}")
        }
        AnswerTest::Number { value, .. } => value.to_string(),
    };
    let Some(answer) = answer else {
        return failed(expected, "no answer".to_owned());
    };
    let said = normalise::text(answer);
    let mut note = String::new();
    let holds = match wanted {
        AnswerTest::Exact(text) => said == normalise::text(text),
        AnswerTest::Contains(text) => said.contains(&normalise::text(text)),
        AnswerTest::AnyOf(texts) => texts.iter().any(|text| said == normalise::text(text)),
        AnswerTest::Number { value, tolerance } => match normalise::number(&said) {
            Ok(number) => normalise::close(number, *value, *tolerance),
            Err(why) => {
                note = format!(" ({why})");
                false
            }
        },
    };
    verdict(holds, || (expected, format!("{}{note}", quote(answer))))
}

fn url_test(
    url: &str,
    path: Option<&str>,
    contains: Option<&str>,
    query: &std::collections::BTreeMap<String, String>,
) -> CheckOutcome {
    let mut missing = Vec::new();
    if let Some(path) = path {
        let path = normalise::path(path);
        if normalise::path(url) != path {
            missing.push(format!("path {}", quote(&path)));
        }
    }
    if let Some(part) = contains
        && !url.contains(part)
        && !normalise::decode(url, true).contains(part)
    {
        missing.push(format!("something with {}", quote(part)));
    }
    let got = normalise::query(url);
    for (key, value) in query {
        if !got.iter().any(|(k, v)| k == key && v == value) {
            missing.push(format!("query {key}={}", quote(value)));
        }
    }
    verdict(missing.is_empty(), || (missing.join(", "), quote(url)))
}

fn page_test(wanted: &PageTest, page: Option<&str>) -> CheckOutcome {
    let shown = page.map(normalise::text);
    let (holds, expected) = match wanted {
        PageTest::Contains(want) => (
            shown
                .as_ref()
                .is_some_and(|s| s.contains(&normalise::text(want))),
            format!("something with {}", quote(want)),
        ),
        PageTest::Equals(want) => (
            shown.as_ref().is_some_and(|s| *s == normalise::text(want)),
            quote(want),
        ),
        PageTest::Absent(want) => (
            !shown
                .as_ref()
                .is_some_and(|s| s.contains(&normalise::text(want))),
            format!("nothing with {}", quote(want)),
        ),
    };
    verdict(holds, || {
        let got = page.map_or_else(
            || "no element matches the selector".to_owned(),
            |t| quote(&normalise::collapse(t)),
        );
        (expected, got)
    })
}

fn sql_test(want: &[Vec<Cell>], got: &Value) -> Result<CheckOutcome, String> {
    let wrong = || wrong_type("the rows", "an array of arrays", got);
    let rows: Vec<&Vec<Value>> = got
        .as_array()
        .and_then(|rows| rows.iter().map(Value::as_array).collect())
        .ok_or_else(wrong)?;
    let holds = rows.len() == want.len()
        && rows.iter().zip(want).all(|(row, want)| {
            row.len() == want.len() && row.iter().zip(want).all(|(v, w)| cell_equals(w, v))
        });
    Ok(verdict(holds, || {
        let rows: Vec<String> = want
            .iter()
            .map(|row| {
                let cells: Vec<String> = row.iter().map(Cell::to_string).collect();
                format!("[{}]", cells.join(","))
            })
            .collect();
        let got = got.to_string();
        (format!("[{}]", rows.join(",")), cut(&got))
    }))
}

pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn cell_equals(want: &Cell, got: &Value) -> bool {
    match want {
        Cell::Text(text) => got.as_str() == Some(text),
        Cell::Integer(number) => match got.as_i64() {
            Some(got) => got == *number,
            #[expect(
                clippy::cast_precision_loss,
                reason = "a float beyond 2^53 is inexact itself"
            )]
            None => got
                .as_f64()
                .is_some_and(|got| normalise::close(got, *number as f64, 0.0)),
        },
        Cell::Float(number) => got
            .as_f64()
            .is_some_and(|got| normalise::close(got, *number, 0.0)),
        Cell::Bool(truth) => {
            got.as_bool() == Some(*truth) || got.as_i64() == Some(i64::from(*truth))
        }
    }
}
