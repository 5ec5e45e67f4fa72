//! What machines get: one JSON object a line while a run goes on, and one at its end.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::summary::{part_word, unpriced};
use super::text::unprintable;
use super::words::{EdgeWords, status_word};
use crate::eval::{CheckOutcome, Outcome, Verdict};
use crate::runtime::{Progress, RunReport};
use crate::search::{EdgeStatus, Request, Search, Spent};
use crate::types::{Cost, Rung, Ticket};

/// A run's report for machines. Every key is always there; what there is none of is `null` or
/// empty. `schema` counts up when a key goes or changes its meaning; new keys may come any time.
///
/// | Key | What it is |
/// |---|---|
/// | `event`, `schema` | `"report"`, 1 |
/// | `dir`, `goal`, `answer` | strings; where the record is, what was asked, what was answered |
/// | `outcome` | `solved`, `not_solved`, `unscored` |
/// | `checks` | each `name`, `result` (`passed`, `failed`, `unscored`), `expected`, `got`, `reason` |
/// | `stopped` | why the search ended, see [`StopReason`](crate::search::StopReason) |
/// | `interrupted`, `uncommitted` | whether the user stopped it; why there was no (whole) commit |
/// | `failure` | what ended the search early: `part` (`provider`, `environment`), `reason` |
/// | `best` | number of the state that was to be committed |
/// | `path` | each `action` (`name`, `arguments`), `target`, `url`, `changed` |
/// | `rounds` | searches: one more than commits that were not the end |
/// | `would_send` | of a dry run: each `method`, `url`, `headers`, `body` of what the commit would send |
/// | `archive` | path of the HTTP archive (HAR 1.2) of the commit |
/// | `spent` | by the search: `steps`, `nodes`, `orders` |
/// | `cost` | of the whole run: `model_calls`, `input_tokens`, `cached_tokens`, `output_tokens`, `money_micro_usd`, `priced` (false: tokens were spent whose price is not known), `env_actions` |
/// | `steps` | `actions`, `commit_actions`, `writes` and `commit_writes` (sent), `calls` and `recorded_calls` (of tools: sent, answered from the record), `loops`, `rejected`, `held`, `failed`, `retried`, `mismatches` (rungs tried that led to another state), `restores` (by `live`, `history`, `document`, `document_settled`, `replay`, `undo`, `copy`: `count`, `ms` in all), `misses` (by rung and [reason](crate::types::MissReason): `count`, `ms` in all), `lost` (states that no rung reached again: `node`, `reason`), `learned` (what was learned about the order of rungs) |
/// | `notes` | what the site is like that a search passes by or that stands in the way of restores: each [`kind`](crate::types::SiteNoteKind), `text` |
/// | `wall_ms` | wall time of the run, milliseconds |
/// | `tree_digest` | digest of the tree |
#[must_use]
pub fn summary_json(report: &RunReport) -> Value {
    let path: Vec<Value> = report
        .path
        .iter()
        .map(|step| {
            json!({
                "action": step.action,
                "target": step.target,
                "url": step.url,
                "changed": step.changed,
            })
        })
        .collect();
    let restores: Map<String, Value> = report
        .steps
        .restores
        .iter()
        .map(|(rung, figures)| {
            let figures = json!({ "count": figures.count, "ms": figures.ms });
            (rung_key(*rung), figures)
        })
        .collect();
    let mut misses = Map::new();
    for ((rung, reason), figures) in &report.steps.misses {
        let of_rung = misses.entry(rung_key(*rung)).or_insert_with(|| json!({}));
        let reason = json!(reason);
        let key = reason.as_str().unwrap_or_default();
        of_rung[key] = json!({ "count": figures.count, "ms": figures.ms });
    }
    let lost: Vec<Value> = report
        .steps
        .lost
        .iter()
        .map(|(node, reason)| json!({ "node": node, "reason": reason }))
        .collect();
    json!({
        "event": "report",
        "schema": 1,
        "dir": report.dir.display().to_string(),
        "goal": report.goal,
        "outcome": outcome_key(report.verdict.outcome),
        "checks": checks(&report.verdict),
        "stopped": report.reason,
        "interrupted": report.interrupted,
        "uncommitted": report.uncommitted,
        "failure": report.failure.as_ref().map(|failure| json!({
            "part": part_word(failure.part),
            "reason": failure.reason,
        })),
        "best": report.best,
        "path": path,
        "rounds": report.rounds,
        "would_send": report.would_send,
        "archive": report.archive.as_ref().map(|path| path.display().to_string()),
        "answer": report.answer,
        "spent": spent(&report.spent),
        "cost": cost(&report.cost),
        "steps": {
            "actions": report.steps.actions,
            "commit_actions": report.steps.commit_actions,
            "writes": report.steps.writes,
            "commit_writes": report.steps.commit_writes,
            "calls": report.steps.calls,
            "recorded_calls": report.steps.recorded_calls,
            "loops": report.steps.loops,
            "rejected": report.steps.rejected,
            "held": report.steps.held,
            "failed": report.steps.failed,
            "retried": report.steps.retried,
            "mismatches": report.steps.mismatches(),
            "restores": restores,
            "misses": misses,
            "lost": lost,
            "learned": report.steps.learned,
        },
        "notes": report.notes,
        "wall_ms": report.wall_ms,
        "tree_digest": report.tree_digest,
    })
}

/// A rung as a key.
fn rung_key(rung: Rung) -> String {
    rung.word().replace(", ", "_")
}

/// An event as it is printed; landed orders are [`landed`]'s.
pub(super) fn event(progress: &Progress) -> Option<Value> {
    Some(match progress {
        Progress::Opened { goal, dir } => {
            json!({ "event": "opened", "goal": goal, "dir": dir.display().to_string() })
        }
        Progress::Round { round } => json!({ "event": "round", "round": round }),
        Progress::Started { ticket, request } => {
            with_request(json!({ "event": "started", "ticket": ticket }), *request)
        }
        Progress::Landed { .. } => return None,
        Progress::Warning(text) => json!({ "event": "warning", "text": text }),
        Progress::SearchEnded { reason, best } => {
            json!({ "event": "search_ended", "stopped": reason, "best": best })
        }
        Progress::Committing { step, of, action } => {
            json!({ "event": "committing", "step": step, "of": of, "action": action })
        }
        Progress::Verdict(verdict) => json!({
            "event": "verdict",
            "outcome": outcome_key(verdict.outcome),
            "checks": checks(verdict),
        }),
    })
}

/// An order that landed in the tree.
pub(super) fn landed(
    ticket: Ticket,
    request: Request,
    words: &EdgeWords,
    search: &Search,
) -> Value {
    let tree = search.tree();
    let mut event = with_request(json!({ "event": "landed", "ticket": ticket }), request);
    match request {
        Request::Propose { node, .. } => event["edges"] = json!(tree.edges(node).count()),
        Request::Judge { node } => event["value"] = json!(tree.node(node).value()),
        Request::Compare { .. } => {}
        Request::Step { edge } => {
            let edge = tree.edge(edge);
            event["parent"] = json!(edge.parent());
            event["action"] = json!(edge.action());
            event["target"] = json!(words.target);
            event["url"] = json!(words.url);
            event["status"] = json!(status_word(edge.status()));
            event["node"] = match edge.status() {
                EdgeStatus::Done(node) | EdgeStatus::Loop(node) | EdgeStatus::Held(node) => {
                    json!(node)
                }
                EdgeStatus::Queued
                | EdgeStatus::InFlight
                | EdgeStatus::Rejected
                | EdgeStatus::Failed
                | EdgeStatus::Lost => Value::Null,
            };
            event["terminal"] = json!(edge.child().is_some_and(|n| tree.node(n).terminal()));
        }
    }
    event["note"] = json!(words.note);
    event["spent"] = spent(&search.spent());
    event["cost"] = cost(&search.spent().cost);
    event
}

/// One line of valid JSON in which nothing could steer a terminal: such characters are escaped.
pub(super) fn line(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if unprintable(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A String takes everything.
                _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn with_request(mut event: Value, request: Request) -> Value {
    match request {
        Request::Propose { node, .. } => {
            event["request"] = json!("propose");
            event["node"] = json!(node);
        }
        Request::Step { edge } => {
            event["request"] = json!("step");
            event["edge"] = json!(edge);
        }
        Request::Judge { node } => {
            event["request"] = json!("judge");
            event["node"] = json!(node);
        }
        Request::Compare { first, second } => {
            event["request"] = json!("compare");
            event["first"] = json!(first);
            event["second"] = json!(second);
        }
    }
    event
}

fn outcome_key(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Solved => "solved",
        Outcome::NotSolved => "not_solved",
        Outcome::Unscored => "unscored",
    }
}

fn checks(verdict: &Verdict) -> Vec<Value> {
    let check = |check: &crate::eval::CheckResult| {
        let (result, expected, got, reason) = match &check.result {
            CheckOutcome::Passed => ("passed", None, None, None),
            CheckOutcome::Failed { expected, got } => ("failed", Some(expected), Some(got), None),
            CheckOutcome::Unscored { reason } => ("unscored", None, None, Some(reason)),
        };
        json!({
            "name": check.name,
            "result": result,
            "expected": expected,
            "got": got,
            "reason": reason,
        })
    };
    verdict.checks.iter().map(check).collect()
}

fn spent(spent: &Spent) -> Value {
    json!({ "steps": spent.steps, "nodes": spent.nodes, "orders": spent.orders })
}

fn cost(cost: &Cost) -> Value {
    json!({
        "model_calls": cost.model_calls,
        "input_tokens": cost.input_tokens,
        "cached_tokens": cost.cached_tokens,
        "output_tokens": cost.output_tokens,
        "money_micro_usd": cost.money,
        "priced": !unpriced(cost),
        "env_actions": cost.env_actions,
    })
}
