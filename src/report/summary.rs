//! The end of a run, for people.

use std::path::Path;
use std::time::Duration;

use super::text::{Line, Tone, clip, clock, grouped, printable, span};
use super::words::phrase;
use crate::eval::{CheckOutcome, Outcome, Verdict};
use crate::runtime::{FailurePart, RunReport, StepFigures};
use crate::search::{Budget, StopReason};
use crate::types::{Cost, PathStep};

/// The columns before the facts.
const LABEL: usize = 12;

/// The most lines that one fact takes; answers and pages may be long.
const FACT_LINES: usize = 6;

/// What a report does not say of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// The task's id, where there is one.
    pub task: Option<&'a str>,
    /// The strategy's name.
    pub strategy: &'a str,
    /// What the search might have spent.
    pub budget: Budget,
    /// The time it might have taken.
    pub wall: Option<Duration>,
    /// Most columns of a line, longer ones are broken; none: lines are as long as they are. The record's directory and the command to
    /// replay it are never cut.
    pub width: Option<u16>,
    /// Whether to use colour (ANSI).
    pub colour: bool,
}

/// The end of a run: the verdict with every check, the path, the answer, what was spent, where the
/// record is and how to replay it. Several lines, each with its line break.
#[must_use]
pub fn summary(report: &RunReport, about: &About<'_>) -> String {
    let width = about.width.map_or(usize::MAX, usize::from);
    let mut lines = vec![headline(report, about)];
    lines.push(fact("goal", &report.goal));
    if let Some(failure) = &report.failure {
        let part = part_word(failure.part);
        lines.push(fact(
            "broke off",
            &format!("the {part} failed: {}", failure.reason),
        ));
    }
    if let Some(reason) = &report.uncommitted {
        lines.push(fact("uncommitted", reason));
    }
    lines.extend(checks(&report.verdict));
    let path = path_lines(&report.path);
    if path.is_empty() {
        lines.push(fact("path", "none"));
    } else {
        lines.push(fact("path", &plural(path.len() as u64, "action")));
        lines.extend(
            path.iter()
                .map(|line| Line::of(Tone::Plain, &format!("    {line}"))),
        );
    }
    if let Some(answer) = &report.answer {
        lines.push(fact("answer", &format!("\"{answer}\"")));
    }
    for (at, effect) in report.would_send.iter().enumerate() {
        let label = if at == 0 { "would send" } else { "" };
        lines.push(fact(label, &format!("{} {}", effect.method, effect.url)));
        for (name, value) in &effect.headers {
            lines.push(fact("", &format!("  {name}: {value}")));
        }
        if let Some(body) = &effect.body {
            lines.push(fact("", &format!("  {body}")));
        }
    }
    if !report.would_send.is_empty() {
        let more =
            "once that is sent, a run that is not at its end goes on from there and may send more";
        lines.push(fact("", more));
    }
    let best = report
        .best
        .map_or_else(|| "no state".to_owned(), |best| best.to_string());
    let rounds = match report.rounds {
        1 => String::new(),
        more => format!("; {more} rounds, each from where the last commit led"),
    };
    let ended = format!(
        "{}; ended: {}; best {best}{rounds}",
        about.strategy,
        reason_words(report.reason)
    );
    lines.push(fact("search", &ended));
    lines.push(fact("spent", &spent_words(report, about)));
    let steps = &report.steps;
    lines.push(fact(
        "actions",
        &format!(
            "{} in the search, {} in the commit",
            grouped(steps.actions.into()),
            grouped(steps.commit_actions.into())
        ),
    ));
    lines.push(fact(
        "writes",
        &format!(
            "{} sent in the search, {} in the commit, {} actions held",
            steps.writes, steps.commit_writes, steps.held
        ),
    ));
    if steps.calls + steps.recorded_calls > 0 {
        lines.push(fact(
            "calls",
            &format!(
                "{} sent in the search, {} answered from the record",
                grouped(steps.calls.into()),
                grouped(steps.recorded_calls.into())
            ),
        ));
    }
    lines.push(fact("restores", &restores(steps)));
    for (index, miss) in misses(steps).iter().enumerate() {
        lines.push(fact(if index == 0 { "missed" } else { "" }, miss));
    }
    for (index, learned) in steps.learned.iter().enumerate() {
        lines.push(fact(if index == 0 { "learned" } else { "" }, learned));
    }
    for (index, (node, reason)) in steps.lost.iter().enumerate() {
        let lost = format!("{node}, with all that was under it: {reason}");
        lines.push(fact(if index == 0 { "lost" } else { "" }, &lost));
    }
    for (index, note) in report.notes.iter().enumerate() {
        lines.push(fact(if index == 0 { "this site" } else { "" }, &note.text));
    }
    lines.push(fact("trouble", &trouble(steps)));
    lines.push(fact("model", &model_words(&report.cost)));
    let limit = about.wall.map_or_else(String::new, |wall| {
        format!(" (limit of the search {})", clock(wall))
    });
    lines.push(fact("time", &format!("{}{limit}", span(report.wall_ms))));
    let mut lines: Vec<Line> = lines
        .into_iter()
        .flat_map(|line| line.wrap(width, LABEL + 2, FACT_LINES))
        .collect();
    // To be copied: never cut.
    if let Some(archive) = &report.archive {
        lines.push(fact("archive", &archive.display().to_string()));
    }
    lines.push(fact("record", &report.dir.display().to_string()));
    lines.push(fact(
        "replay",
        &format!("branchline replay {}", shell_word(&report.dir)),
    ));
    lines
        .iter()
        .map(|line| line.render(about.colour) + "\n")
        .collect()
}

/// A path as numbered lines: `1. click button "Mug"  → http://shop.test/mug`. Printable, not cut.
#[must_use]
pub fn path_lines(path: &[PathStep]) -> Vec<String> {
    let digits = path.len().to_string().len();
    let line = |(at, step): (usize, &PathStep)| {
        let what = phrase(&step.action, step.target.as_deref());
        let unchanged = if step.changed {
            ""
        } else {
            "  (nothing changed)"
        };
        format!(
            "{:>digits$}. {what}  → {}{unchanged}",
            at + 1,
            printable(&step.url)
        )
    };
    path.iter().enumerate().map(line).collect()
}

/// `solved`, `not solved`, `unscored`.
pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Solved => "solved",
        Outcome::NotSolved => "not solved",
        Outcome::Unscored => "unscored",
    }
}

/// Why a search ended, as a clause.
pub(super) fn reason_words(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Solved => "a state reached the threshold",
        StopReason::Exhausted => "nothing is left to try",
        StopReason::Steps => "the budget of actions is spent",
        StopReason::Nodes => "the budget of nodes is spent",
        StopReason::ModelCalls => "the budget of model calls is spent",
        StopReason::Tokens => "the budget of tokens is spent",
        StopReason::Money => "the budget of money is spent",
        StopReason::Time => "the time is spent",
        StopReason::Interrupted => "it was interrupted",
        StopReason::Failed => "it was broken off",
    }
}

pub(super) fn part_word(part: FailurePart) -> &'static str {
    match part {
        FailurePart::Provider => "provider",
        FailurePart::Environment => "environment",
    }
}

/// Money, or that nobody knows the price of the tokens.
pub(super) fn money(cost: &Cost) -> String {
    if unpriced(cost) {
        "unpriced".to_owned()
    } else {
        cost.money.to_string()
    }
}

/// Whether tokens were spent that the price table does not know.
pub(super) fn unpriced(cost: &Cost) -> bool {
    cost.money.0 == 0 && cost.tokens() > 0
}

/// `3/20`, or `3` without a limit.
pub(super) fn of_limit(count: u64, limit: Option<u64>) -> String {
    let count = grouped(count);
    limit.map_or_else(
        || count.clone(),
        |limit| format!("{count}/{}", grouped(limit)),
    )
}

pub(super) fn plural(count: u64, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {noun}{s}", grouped(count))
}

fn fact(label: &str, text: &str) -> Line {
    let mut line = Line::of(Tone::Dim, &format!("  {label:<LABEL$}"));
    line.push(Tone::Plain, text);
    line
}

fn headline(report: &RunReport, about: &About<'_>) -> Line {
    let outcome = report.verdict.outcome;
    let (mark, tone) = match outcome {
        Outcome::Solved => ("✓", Tone::Good),
        Outcome::NotSolved => ("✗", Tone::Bad),
        Outcome::Unscored => ("?", Tone::Warn),
    };
    let mut line = Line::of(tone, &format!("{mark} {}", outcome_word(outcome)));
    if report.interrupted {
        line.push(Tone::Warn, "  interrupted");
    }
    if let Some(task) = about.task {
        line.push(Tone::Strong, &format!("  {task}"));
    }
    line
}

fn checks(verdict: &Verdict) -> Vec<Line> {
    if verdict.checks.is_empty() {
        return vec![fact("checks", "none")];
    }
    let passed = |result: &CheckOutcome| matches!(result, CheckOutcome::Passed);
    let count = verdict.checks.iter().filter(|c| passed(&c.result)).count();
    let mut lines = vec![fact(
        "checks",
        &format!("{count} of {} passed", verdict.checks.len()),
    )];
    for check in &verdict.checks {
        let (mark, tone) = match check.result {
            CheckOutcome::Passed => ("✓", Tone::Good),
            CheckOutcome::Failed { .. } => ("✗", Tone::Bad),
            CheckOutcome::Unscored { .. } => ("?", Tone::Warn),
        };
        let mut line = Line::of(tone, &format!("    {mark} "));
        line.push(Tone::Plain, &check.name);
        lines.push(line);
        let mut more = |label: &str, text: &str| {
            let mut line = Line::of(Tone::Dim, &format!("        {label:<10}"));
            line.push(Tone::Plain, text);
            lines.push(line);
        };
        match &check.result {
            CheckOutcome::Passed => {}
            CheckOutcome::Failed { expected, got } => {
                more("expected", expected);
                more("got", got);
            }
            CheckOutcome::Unscored { reason } => more("unscored", reason),
        }
    }
    lines
}

fn spent_words(report: &RunReport, about: &About<'_>) -> String {
    let Budget {
        steps,
        nodes,
        model_calls,
        ..
    } = about.budget;
    let spent = &report.spent;
    format!(
        "steps {}, nodes {}, model orders {}",
        of_limit(spent.steps.into(), steps.map(u64::from)),
        of_limit(spent.nodes.into(), nodes.map(u64::from)),
        of_limit(spent.orders.into(), model_calls.map(u64::from)),
    )
}

fn restores(steps: &StepFigures) -> String {
    if steps.restores.is_empty() {
        return "none".to_owned();
    }
    let each = steps.restores.iter().map(|(rung, figures)| {
        let tenths = figures.ms.saturating_mul(10) / u64::from(figures.count.max(1));
        let mean = match tenths {
            0..100 => format!("{}.{} ms", tenths / 10, tenths % 10),
            _ => span(tenths / 10),
        };
        let count = grouped(figures.count.into());
        format!("{} {count} (mean {mean})", rung.word())
    });
    let each: Vec<String> = each.collect();
    each.join(", ")
}

/// The rungs that did not lead to a state, each with its reasons.
fn misses(steps: &StepFigures) -> Vec<String> {
    let each = steps.misses.iter().map(|((rung, reason), figures)| {
        let took = match figures.ms {
            0 => String::new(),
            ms => format!(", {} in all", span(ms)),
        };
        let count = grouped(figures.count.into());
        format!("{} {count}: {}{took}", rung.word(), reason.phrase())
    });
    each.collect()
}

fn trouble(steps: &StepFigures) -> String {
    let StepFigures {
        loops,
        rejected,
        failed,
        retried,
        ..
    } = steps;
    format!("{loops} to known states, {rejected} rejected, {failed} failed, {retried} retried")
}

fn model_words(cost: &Cost) -> String {
    if cost.model_calls == 0 && cost.tokens() == 0 {
        return "no calls".to_owned();
    }
    let cached = if cost.cached_tokens > 0 {
        format!(" ({} cached)", grouped(cost.cached_tokens))
    } else {
        String::new()
    };
    format!(
        "{}; {} in{cached}, {} out; {}",
        plural(cost.model_calls.into(), "call"),
        plural(cost.input_tokens, "token"),
        grouped(cost.output_tokens),
        money(cost),
    )
}

/// A path as a word of a POSIX shell.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Why an order came to nothing, in at most 200 columns.
pub(super) fn note_words(note: &str) -> String {
    clip(note, 200)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::eval::CheckResult;
    use crate::report::summary_json;
    use crate::report::testing::HOSTILE;
    use crate::runtime::{Failure, RestoreFigures};
    use crate::search::Spent;
    use crate::types::{
        Action, Digest, MicroUsd, MissReason, NodeId, Rung, SiteNote, SiteNoteKind,
    };

    fn step(action: Action, target: Option<&str>, url: &str, changed: bool) -> PathStep {
        PathStep {
            action,
            target: target.map(str::to_owned),
            url: url.to_owned(),
            changed,
        }
    }

    fn report() -> RunReport {
        let check = |name: &str, result| CheckResult {
            name: name.to_owned(),
            result,
        };
        let cost = Cost {
            model_calls: 41,
            input_tokens: 51_234,
            cached_tokens: 12_000,
            output_tokens: 1_900,
            money: MicroUsd(12_345),
            env_actions: 34,
            wall_ms: 72_345,
        };
        let spent = Spent {
            steps: 20,
            nodes: 14,
            orders: 34,
            cost,
        };
        RunReport {
            dir: PathBuf::from("runs/my mug"),
            goal: "put the red mug in the cart and say its price".to_owned(),
            reason: StopReason::Steps,
            best: Some(NodeId(7)),
            verdict: Verdict::of(vec![
                check("answer number 4", CheckOutcome::Passed),
                check(
                    "url path \"/cart\"",
                    CheckOutcome::Failed {
                        expected: "/cart".to_owned(),
                        got: "/mug".to_owned(),
                    },
                ),
                check(
                    "sql select count(*) from carts",
                    CheckOutcome::Unscored {
                        reason: "the site has no database".to_owned(),
                    },
                ),
            ]),
            uncommitted: None,
            rounds: 1,
            would_send: Vec::new(),
            archive: None,
            path: vec![
                step(
                    Action::new("click", json!({"ref": "12"})),
                    Some("link \"Mug\""),
                    "http://shop.test/mug",
                    true,
                ),
                step(
                    Action::new("stop", json!({"answer": "4"})),
                    None,
                    "http://shop.test/mug",
                    false,
                ),
            ],
            answer: Some("4".to_owned()),
            spent,
            cost,
            steps: StepFigures {
                actions: 31,
                loops: 0,
                writes: 2,
                commit_writes: 1,
                calls: 5,
                recorded_calls: 3,
                restores: [
                    (Rung::Live, RestoreFigures { count: 10, ms: 9 }),
                    (
                        Rung::Replay,
                        RestoreFigures {
                            count: 7,
                            ms: 9_100,
                        },
                    ),
                ]
                .into(),
                misses: [
                    (
                        (Rung::Document, MissReason::OtherState),
                        RestoreFigures { count: 1, ms: 90 },
                    ),
                    (
                        (Rung::Document, MissReason::Opener),
                        RestoreFigures { count: 6, ms: 0 },
                    ),
                ]
                .into(),
                lost: [(NodeId(3), "no way leads back".to_owned())].into(),
                learned: vec!["shop.test: document is tried after replay now".to_owned()],
                rejected: 2,
                held: 1,
                failed: 0,
                retried: 1,
                commit_actions: 3,
            },
            notes: vec![SiteNote {
                kind: SiteNoteKind::ServiceWorker,
                text: "the service worker http://shop.test/sw.js is bypassed".to_owned(),
            }],
            wall_ms: 72_345,
            tree_digest: Digest::of("tree"),
            interrupted: false,
            failure: None,
        }
    }

    fn about() -> About<'static> {
        About {
            task: Some("shop/mug"),
            strategy: "best-first",
            budget: Budget::default(),
            wall: Some(Duration::from_mins(5)),
            width: Some(90),
            colour: false,
        }
    }

    #[test]
    fn a_summary_says_what_was_done() {
        insta::assert_snapshot!(summary(&report(), &about()), @r#"
        ? unscored  shop/mug
          goal        put the red mug in the cart and say its price
          checks      1 of 3 passed
            ✓ answer number 4
            ✗ url path "/cart"
                expected  /cart
                got       /mug
            ? sql select count(*) from carts
                unscored  the site has no database
          path        2 actions
            1. click link "Mug"  → http://shop.test/mug
            2. stop "4"  → http://shop.test/mug  (nothing changed)
          answer      "4"
          search      best-first; ended: the budget of actions is spent; best n7
          spent       steps 20/20, nodes 14, model orders 34
          actions     31 in the search, 3 in the commit
          writes      2 sent in the search, 1 in the commit, 1 actions held
          calls       5 sent in the search, 3 answered from the record
          restores    live 10 (mean 0.9 ms), replay 7 (mean 1.3 s)
          missed      document 1: it ended in another state, 90 ms in all
                      document 6: a tab can talk to the one that opened it
          learned     shop.test: document is tried after replay now
          lost        n3, with all that was under it: no way leads back
          this site   the service worker http://shop.test/sw.js is bypassed
          trouble     0 to known states, 2 rejected, 0 failed, 1 retried
          model       41 calls; 51,234 tokens in (12,000 cached), 1,900 out; $0.0123
          time        1:12 (limit of the search 5:00)
          record      runs/my mug
          replay      branchline replay 'runs/my mug'
        "#);
    }

    /// A run that a provider broke off before anything happened.
    fn broken() -> RunReport {
        RunReport {
            dir: PathBuf::from("runs/2"),
            reason: StopReason::Failed,
            best: None,
            verdict: Verdict::of(Vec::new()),
            uncommitted: Some("no such model".to_owned()),
            path: Vec::new(),
            answer: None,
            spent: Spent::default(),
            cost: Cost {
                model_calls: 1,
                input_tokens: 10,
                ..Cost::default()
            },
            steps: StepFigures::default(),
            notes: Vec::new(),
            interrupted: true,
            failure: Some(Failure {
                part: FailurePart::Provider,
                reason: "no such model".to_owned(),
            }),
            ..report()
        }
    }

    #[test]
    fn a_summary_says_what_was_not() {
        let about = About {
            task: None,
            budget: Budget {
                steps: None,
                ..Budget::default()
            },
            wall: None,
            ..about()
        };
        insta::assert_snapshot!(summary(&broken(), &about), @r#"
        ? unscored  interrupted
          goal        put the red mug in the cart and say its price
          broke off   the provider failed: no such model
          uncommitted no such model
          checks      none
          path        none
          search      best-first; ended: it was broken off; best no state
          spent       steps 0, nodes 0, model orders 0
          actions     0 in the search, 0 in the commit
          writes      0 sent in the search, 0 in the commit, 0 actions held
          restores    none
          trouble     0 to known states, 0 rejected, 0 failed, 0 retried
          model       1 call; 10 tokens in, 0 out; unpriced
          time        1:12
          record      runs/2
          replay      branchline replay runs/2
        "#);
        let free = RunReport {
            cost: Cost::default(),
            ..broken()
        };
        assert!(summary(&free, &about).contains("no calls"));
    }

    #[test]
    fn hostile_text_neither_escapes_nor_breaks_lines() {
        let text = || HOSTILE.to_owned();
        let mut hostile = report();
        hostile.goal = text();
        hostile.answer = Some(text());
        hostile.uncommitted = Some(text());
        hostile.dir = PathBuf::from(HOSTILE);
        hostile.notes[0].text = text();
        for check in &mut hostile.verdict.checks {
            check.name = text();
        }
        hostile.verdict.checks[1].result = CheckOutcome::Failed {
            expected: text(),
            got: text(),
        };
        hostile.path = vec![step(
            Action::new(HOSTILE, json!({"ref": HOSTILE, HOSTILE: HOSTILE})),
            Some(HOSTILE),
            HOSTILE,
            true,
        )];
        let about = About {
            width: None,
            ..about()
        };
        let printed = summary(&hostile, &about);
        assert!(!printed.contains(|c: char| c != '\n' && crate::report::text::unprintable(c)));
        let mut tame = report();
        tame.path.truncate(1);
        tame.uncommitted = Some(String::new());
        let expected = summary(&tame, &about).lines().count();
        assert_eq!(printed.lines().count(), expected);
    }

    #[test]
    fn machines_get_stable_keys() {
        insta::assert_json_snapshot!(summary_json(&report()), @r#"
        {
          "answer": "4",
          "archive": null,
          "best": 7,
          "checks": [
            {
              "expected": null,
              "got": null,
              "name": "answer number 4",
              "reason": null,
              "result": "passed"
            },
            {
              "expected": "/cart",
              "got": "/mug",
              "name": "url path \"/cart\"",
              "reason": null,
              "result": "failed"
            },
            {
              "expected": null,
              "got": null,
              "name": "sql select count(*) from carts",
              "reason": "the site has no database",
              "result": "unscored"
            }
          ],
          "cost": {
            "cached_tokens": 12000,
            "env_actions": 34,
            "input_tokens": 51234,
            "model_calls": 41,
            "money_micro_usd": 12345,
            "output_tokens": 1900,
            "priced": true
          },
          "dir": "runs/my mug",
          "event": "report",
          "failure": null,
          "goal": "put the red mug in the cart and say its price",
          "interrupted": false,
          "notes": [
            {
              "kind": "service_worker",
              "text": "the service worker http://shop.test/sw.js is bypassed"
            }
          ],
          "outcome": "unscored",
          "path": [
            {
              "action": {
                "arguments": {
                  "ref": "12"
                },
                "name": "click"
              },
              "changed": true,
              "target": "link \"Mug\"",
              "url": "http://shop.test/mug"
            },
            {
              "action": {
                "arguments": {
                  "answer": "4"
                },
                "name": "stop"
              },
              "changed": false,
              "target": null,
              "url": "http://shop.test/mug"
            }
          ],
          "rounds": 1,
          "schema": 1,
          "spent": {
            "nodes": 14,
            "orders": 34,
            "steps": 20
          },
          "steps": {
            "actions": 31,
            "calls": 5,
            "commit_actions": 3,
            "commit_writes": 1,
            "failed": 0,
            "held": 1,
            "learned": [
              "shop.test: document is tried after replay now"
            ],
            "loops": 0,
            "lost": [
              {
                "node": 3,
                "reason": "no way leads back"
              }
            ],
            "mismatches": 1,
            "misses": {
              "document": {
                "opener": {
                  "count": 6,
                  "ms": 0
                },
                "other_state": {
                  "count": 1,
                  "ms": 90
                }
              }
            },
            "recorded_calls": 3,
            "rejected": 2,
            "restores": {
              "live": {
                "count": 10,
                "ms": 9
              },
              "replay": {
                "count": 7,
                "ms": 9100
              }
            },
            "retried": 1,
            "writes": 2
          },
          "stopped": "steps",
          "tree_digest": "6baa6c9f461fe834a9da0ebb62e0f6fb8c11988a58cbc51b8da8040aea19bc3a",
          "uncommitted": null,
          "wall_ms": 72345,
          "would_send": []
        }
        "#);
        let broken = summary_json(&broken());
        assert_eq!(
            broken["failure"],
            json!({"part": "provider", "reason": "no such model"})
        );
        assert_eq!(broken["cost"]["priced"], json!(false));
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&broken), keys(&summary_json(&report())));
    }

    #[test]
    fn the_replay_command_is_one_word() {
        let word = |path: &str| shell_word(Path::new(path));
        assert_eq!(word("runs/2026-1_a"), "runs/2026-1_a");
        assert_eq!(word("my runs/$x"), "'my runs/$x'");
        assert_eq!(word("it's"), "'it'\\''s'");
    }
}
