//! Task files that ship, and evaluators against a strict environment.

use std::collections::VecDeque;
use std::path::Path;

use async_trait::async_trait;
use branchline::context::{Cx, Interrupted};
use branchline::env::{
    ActError, CloseError, Environment, ObserveError, QueryError, RestoreError, SnapshotError,
};
use branchline::eval::{
    AnswerTest, CallTest, Cell, Check, CheckOutcome, Evidence, JsonTest, Outcome, PageTest,
    TraceTest, ValueTest, Verdict, evaluate,
};
use branchline::task;
use branchline::types::{Action, ActionSpec, Observation, Query, Restored, Snapshot, Step};
use serde_json::{Map, Value, json};

/// Answers exactly the queries it was told to expect, in order, and nothing else.
struct Strict {
    script: VecDeque<(Query, Result<Value, QueryError>)>,
}

impl Strict {
    fn new(script: impl IntoIterator<Item = (Query, Result<Value, QueryError>)>) -> Self {
        Self {
            script: script.into_iter().collect(),
        }
    }
}

#[async_trait]
impl Environment for Strict {
    fn actions(&self) -> &[ActionSpec] {
        &[]
    }
    async fn observe(&mut self, _: &Cx) -> Result<Observation, ObserveError> {
        panic!("an evaluator observed");
    }
    async fn act(&mut self, _: &Action, _: &Cx) -> Result<Step, ActError> {
        panic!("an evaluator acted");
    }
    async fn snapshot(&mut self, _: &Cx) -> Result<Snapshot, SnapshotError> {
        panic!("an evaluator took a snapshot");
    }
    async fn restore(&mut self, _: &Snapshot, _: &Cx) -> Result<Restored, RestoreError> {
        panic!("an evaluator restored");
    }
    async fn query(&mut self, query: &Query, _: &Cx) -> Result<Value, QueryError> {
        let (expected, answer) = self.script.pop_front().expect("one query too many");
        assert_eq!(*query, expected);
        answer
    }
    fn is_at(&self, _: &Snapshot) -> bool {
        false
    }
    async fn close(self: Box<Self>, _: &Cx) -> Result<(), CloseError> {
        Ok(())
    }
}

/// The verdict on `checks`, with these queries and answers and no others.
async fn verdict(
    checks: &[Check],
    answer: Option<&str>,
    script: impl IntoIterator<Item = (Query, Result<Value, QueryError>)>,
) -> Verdict {
    let mut env = Strict::new(script);
    let evidence = Evidence {
        answer,
        actions: &[],
    };
    let verdict = evaluate(checks, evidence, &mut env, &Cx::default()).await;
    assert_eq!(env.script.len(), 0, "queries that were not asked");
    verdict
}

/// The outcome of one check that asks one query.
async fn asked(check: Check, query: Query, answer: Value) -> Outcome {
    verdict(&[check], None, [(query, Ok(answer))]).await.outcome
}

fn page(selector: Option<&str>) -> Query {
    Query::PageText {
        selector: selector.map(str::to_owned),
    }
}

fn url(path: Option<&str>, contains: Option<&str>, query: &[(&str, &str)]) -> Check {
    Check::Url {
        path: path.map(str::to_owned),
        contains: contains.map(str::to_owned),
        query: query
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
    }
}

#[test]
fn every_shipped_task_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tasks/demo");
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let tasks = task::load(path.to_str().unwrap()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(tasks.len(), 1);
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(tasks[0].id, format!("demo/{name}"));
        // What is built in is what is in the folder.
        assert_eq!(task::load(&format!("demo/{name}")).unwrap(), tasks);
        files += 1;
    }
    if files > 0 {
        let suites = ["demo", "demo-api"].map(|suite| task::load(suite).unwrap().len());
        assert_eq!(suites, [20, 10]);
        assert_eq!(files, 30);
    }
}

#[tokio::test]
async fn answers() {
    let exact = |text: &str| Check::Answer(AnswerTest::Exact(text.into()));
    let contains = |text: &str| Check::Answer(AnswerTest::Contains(text.into()));
    let any = |texts: &[&str]| {
        Check::Answer(AnswerTest::AnyOf(texts.iter().map(|&t| t.into()).collect()))
    };
    let number = |value, tolerance| Check::Answer(AnswerTest::Number { value, tolerance });
    let cases = [
        (exact("Blue Mug"), "  \"blue   mug\" ", Outcome::Solved),
        (exact("Blue Mug"), "the blue mug", Outcome::NotSolved),
        (contains("blue mug"), "It is the Blue Mug.", Outcome::Solved),
        (
            contains("blue mug"),
            "It is the red mug.",
            Outcome::NotSolved,
        ),
        (any(&["yes", "true"]), "True", Outcome::Solved),
        (any(&["yes", "true"]), "no", Outcome::NotSolved),
        (number(1234.5, 0.0), "$1,234.50", Outcome::Solved),
        (number(1234.5, 0.0), "1234.51", Outcome::NotSolved),
        (number(10.0, 0.5), "about 10.4 kg", Outcome::Solved),
        (number(5.0, 0.0), "5 or 6", Outcome::NotSolved),
        (number(5.0, 0.0), "five", Outcome::NotSolved),
    ];
    for (check, answer, want) in cases {
        let got = verdict(std::slice::from_ref(&check), Some(answer), []).await;
        assert_eq!(got.outcome, want, "{check:?} {answer}");
        let none = verdict(&[check], None, []).await;
        assert_eq!(none.outcome, Outcome::NotSolved);
    }
}

#[tokio::test]
async fn urls() {
    let at = "http://shop.demo/caf%C3%A9/menu/?q=red+mug&page=2#top";
    let cases = [
        (url(Some("/café/menu"), None, &[]), true),
        (url(Some("/caf%C3%A9/menu/"), None, &[]), true),
        (url(Some("/café"), None, &[]), false),
        (url(Some("/Café/menu"), None, &[]), false),
        (url(None, Some("shop.demo/café"), &[]), true),
        (url(None, Some("caf%C3%A9"), &[]), true),
        (url(None, Some("#top"), &[]), true),
        (url(None, Some("bottom"), &[]), false),
        (url(None, None, &[("q", "red mug")]), true),
        (url(None, None, &[("q", "red mug"), ("page", "3")]), false),
        (url(Some("/café/menu"), Some("nowhere"), &[]), false),
    ];
    for (check, holds) in cases {
        let want = if holds {
            Outcome::Solved
        } else {
            Outcome::NotSolved
        };
        let got = asked(check.clone(), Query::Url, json!(at)).await;
        assert_eq!(got, want, "{check:?}");
    }
}

#[tokio::test]
async fn pages() {
    let check = |test| Check::Page {
        selector: Some("h1".into()),
        test,
    };
    let contains = || check(PageTest::Contains("thank you".into()));
    let equals = || check(PageTest::Equals("Thank you!".into()));
    let absent = || check(PageTest::Absent("thank you".into()));
    let text = || json!("  Thank\n you! ");
    let cases = [
        (contains(), text(), Outcome::Solved),
        (equals(), text(), Outcome::Solved),
        (absent(), text(), Outcome::NotSolved),
        (contains(), json!(""), Outcome::NotSolved),
        (absent(), json!("sorry"), Outcome::Solved),
        (contains(), Value::Null, Outcome::NotSolved),
        (equals(), Value::Null, Outcome::NotSolved),
        (absent(), Value::Null, Outcome::Solved),
        (contains(), json!(3), Outcome::Unscored),
    ];
    for (check, answer, want) in cases {
        let got = asked(check.clone(), page(Some("h1")), answer.clone()).await;
        assert_eq!(got, want, "{check:?} {answer}");
    }
}

#[tokio::test]
async fn rows_of_sql() {
    let check = || Check::Sql {
        statement: "select".into(),
        equals: vec![vec![
            Cell::Text("mug".into()),
            Cell::Integer(2),
            Cell::Float(12.5),
            Cell::Bool(true),
        ]],
    };
    let query = || Query::Sql {
        statement: "select".into(),
    };
    let cases = [
        (json!([["mug", 2, 12.5, 1]]), Outcome::Solved),
        (json!([["mug", 2.0, 12.5, true]]), Outcome::Solved),
        (json!([["Mug", 2, 12.5, 1]]), Outcome::NotSolved),
        (json!([["mug", "2", 12.5, 1]]), Outcome::NotSolved),
        (
            json!([["mug", 2, 12.5, 1], ["cup", 1, 1, 1]]),
            Outcome::NotSolved,
        ),
        (json!([["mug", 2, 12.5]]), Outcome::NotSolved),
        (json!([]), Outcome::NotSolved),
        (json!([[null, 2, 12.5, 1]]), Outcome::NotSolved),
        (json!({"rows": []}), Outcome::Unscored),
        (json!(["mug"]), Outcome::Unscored),
    ];
    for (rows, want) in cases {
        assert_eq!(asked(check(), query(), rows.clone()).await, want, "{rows}");
    }
}

#[tokio::test]
async fn rewards() {
    let check = || Check::Reward { at_least: 1.0 };
    for (reward, want) in [
        (json!(1), Outcome::Solved),
        (json!(1.0), Outcome::Solved),
        (json!(0.99), Outcome::NotSolved),
        (json!(-1), Outcome::NotSolved),
        (Value::Null, Outcome::NotSolved),
        (json!("1"), Outcome::Unscored),
    ] {
        assert_eq!(
            asked(check(), Query::Reward, reward.clone()).await,
            want,
            "{reward}"
        );
    }
}

#[tokio::test]
async fn a_question_that_cannot_be_asked_is_no_failure() {
    let checks = [
        Check::Answer(AnswerTest::Exact("yes".into())),
        url(Some("/done"), None, &[]),
        Check::Reward { at_least: 1.0 },
    ];
    let script = [
        (Query::Url, Err(QueryError::Lost("renderer crashed".into()))),
        (Query::Reward, Err(QueryError::Unsupported("reward".into()))),
    ];
    let verdict = verdict(&checks, Some("no"), script).await;
    insta::assert_json_snapshot!(verdict, @r#"
        {
          "outcome": "unscored",
          "checks": [
            {
              "name": "answer exact \"yes\"",
              "result": {
                "failed": {
                  "expected": "\"yes\"",
                  "got": "\"no\""
                }
              }
            },
            {
              "name": "url path \"/done\"",
              "result": {
                "unscored": {
                  "reason": "the environment died: renderer crashed"
                }
              }
            },
            {
              "name": "reward at least 1",
              "result": {
                "unscored": {
                  "reason": "this environment cannot answer `reward`"
                }
              }
            }
          ]
        }
    "#);
}

#[tokio::test]
async fn cancelled_or_without_checks_is_unscored() {
    let script = [(Query::Url, Err(Interrupted::Cancelled.into()))];
    let got = verdict(&[url(Some("/"), None, &[])], None, script).await;
    assert_eq!(
        got.checks[0].result,
        CheckOutcome::Unscored {
            reason: "the run was cancelled".into()
        }
    );
    assert_eq!(
        verdict(&[], Some("yes"), []).await.outcome,
        Outcome::Unscored
    );
}

#[tokio::test]
async fn a_verdict_says_what_was_wrong() {
    let checks = [
        Check::Answer(AnswerTest::Number {
            value: 5.0,
            tolerance: 0.0,
        }),
        url(Some("/cart"), None, &[("q", "mug")]),
        Check::Page {
            selector: None,
            test: PageTest::Contains("Thanks".into()),
        },
        Check::Sql {
            statement: "select name,\n count from orders".into(),
            equals: vec![vec![Cell::Text("mug".into()), Cell::Integer(2)]],
        },
        Check::Reward { at_least: 1.0 },
    ];
    let sql = Query::Sql {
        statement: "select name,\n count from orders".into(),
    };
    let script = [
        (Query::Url, Ok(json!("http://shop.demo/search"))),
        (page(None), Ok(json!("Your cart\n is empty"))),
        (sql, Ok(json!([["cup", 1]]))),
        (Query::Reward, Ok(Value::Null)),
    ];
    let verdict = verdict(&checks, Some("5 or 6"), script).await;
    insta::assert_json_snapshot!(verdict, @r#"
        {
          "outcome": "not_solved",
          "checks": [
            {
              "name": "answer number 5",
              "result": {
                "failed": {
                  "expected": "5",
                  "got": "\"5 or 6\" (more than one number)"
                }
              }
            },
            {
              "name": "url path \"/cart\" query q=\"mug\"",
              "result": {
                "failed": {
                  "expected": "path \"/cart\", query q=\"mug\"",
                  "got": "\"http://shop.demo/search\""
                }
              }
            },
            {
              "name": "page contains \"Thanks\"",
              "result": {
                "failed": {
                  "expected": "something with \"Thanks\"",
                  "got": "\"Your cart is empty\""
                }
              }
            },
            {
              "name": "sql select name, count from orders",
              "result": {
                "failed": {
                  "expected": "[[\"mug\",2]]",
                  "got": "[[\"cup\",1]]"
                }
              }
            },
            {
              "name": "reward at least 1",
              "result": {
                "failed": {
                  "expected": "at least 1",
                  "got": "the episode has not ended"
                }
              }
            }
          ]
        }
    "#);
}

#[tokio::test]
async fn values_at_a_place_of_json() {
    let at = |pointer: &str, value: ValueTest| JsonTest {
        pointer: pointer.to_owned(),
        value,
    };
    let number = |value: f64, tolerance: f64| ValueTest::Number { value, tolerance };
    let order = json!({"order": {"total": 40.0, "price": "$12.50", "tags": ["Gift", "Red mug"]}});
    for (test, want) in [
        (
            at("/order/total", ValueTest::Equals(json!(40))),
            Outcome::Solved,
        ),
        (
            at("/order/total", ValueTest::Equals(json!("40"))),
            Outcome::NotSolved,
        ),
        (at("/order/total", number(39.5, 0.5)), Outcome::Solved),
        (at("/order/total", number(39.0, 0.5)), Outcome::NotSolved),
        (at("/order/price", number(12.5, 0.0)), Outcome::Solved),
        (at("/order/tags", number(1.0, 0.0)), Outcome::NotSolved),
        (
            at("/order/tags", ValueTest::Contains("red".into())),
            Outcome::Solved,
        ),
        (
            at("/order/tags/0", ValueTest::Contains("red".into())),
            Outcome::NotSolved,
        ),
        (
            at("/order/nothing", ValueTest::Equals(Value::Null)),
            Outcome::NotSolved,
        ),
        (at("", ValueTest::Equals(order.clone())), Outcome::Solved),
    ] {
        let call = Check::Call {
            tool: "get".into(),
            arguments: Map::new(),
            test: CallTest::Value(test.clone()),
        };
        let query = Query::Call {
            tool: "get".into(),
            arguments: Map::new(),
        };
        let reply = json!({"error": false, "status": 200, "content": order});
        assert_eq!(asked(call, query, reply).await, want, "{test:?}");
        let answer = Check::AnswerJson(test.clone());
        let text = order.to_string();
        let got = verdict(std::slice::from_ref(&answer), Some(&text), []).await;
        assert_eq!(got.outcome, want, "{test:?}");
        for other in [Some("forty"), None] {
            let got = verdict(std::slice::from_ref(&answer), other, []).await;
            assert_eq!(got.outcome, Outcome::NotSolved, "{other:?}");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_refused_or_fails() {
    let reply = |error: bool, status: Option<u16>| json!({"error": error, "status": status, "content": "gone"});
    let query = || Query::Call {
        tool: "get".into(),
        arguments: Map::new(),
    };
    let check = |test: CallTest| Check::Call {
        tool: "get".into(),
        arguments: Map::new(),
        test,
    };
    let value = || {
        CallTest::Value(JsonTest {
            pointer: String::new(),
            value: ValueTest::Equals(json!("gone")),
        })
    };
    for (test, reply, want) in [
        (CallTest::Refused, reply(true, Some(404)), Outcome::Solved),
        (CallTest::Refused, reply(true, None), Outcome::Solved),
        (
            CallTest::Refused,
            reply(false, Some(200)),
            Outcome::NotSolved,
        ),
        (value(), reply(true, Some(404)), Outcome::NotSolved),
        // The provider's own trouble is no evidence.
        (CallTest::Refused, reply(true, Some(503)), Outcome::Unscored),
        (value(), reply(true, Some(401)), Outcome::Unscored),
        (value(), json!("gone"), Outcome::Unscored),
    ] {
        let got = asked(check(test.clone()), query(), reply.clone()).await;
        assert_eq!(got, want, "{test:?} {reply}");
    }
    let lost = Err(QueryError::Lost("no connection".into()));
    let got = verdict(&[check(value())], None, [(query(), lost)]).await;
    assert_eq!(got.outcome, Outcome::Unscored);
}

#[tokio::test]
async fn traces() {
    let actions = [
        Action::new("list", json!({})),
        Action::new(
            "batch",
            json!({"calls": [{"id": "1", "tool": "get_a"}, {"id": "2", "tool": "get_b"}]}),
        ),
        Action::new("buy", json!({})),
    ];
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let none = TraceTest::default;
    for (test, holds) in [
        (
            TraceTest {
                must: names(&["get_*", "buy"]),
                ..none()
            },
            true,
        ),
        (
            TraceTest {
                must: names(&["sell"]),
                ..none()
            },
            false,
        ),
        (
            TraceTest {
                must_not: names(&["sell"]),
                ..none()
            },
            true,
        ),
        (
            TraceTest {
                must_not: names(&["get_b"]),
                ..none()
            },
            false,
        ),
        (
            TraceTest {
                order: names(&["list", "get_b", "buy"]),
                ..none()
            },
            true,
        ),
        (
            TraceTest {
                order: names(&["buy", "list"]),
                ..none()
            },
            false,
        ),
        // One call cannot stand at two places.
        (
            TraceTest {
                order: names(&["buy", "buy"]),
                ..none()
            },
            false,
        ),
        (
            TraceTest {
                at_most: Some(4),
                ..none()
            },
            true,
        ),
        (
            TraceTest {
                at_most: Some(3),
                ..none()
            },
            false,
        ),
    ] {
        let evidence = Evidence {
            answer: None,
            actions: &actions,
        };
        let mut env = Strict::new([]);
        let check = Check::Trace(test.clone());
        let got = evaluate(&[check], evidence, &mut env, &Cx::default()).await;
        assert_eq!(got.outcome == Outcome::Solved, holds, "{got:?}");
    }
}
