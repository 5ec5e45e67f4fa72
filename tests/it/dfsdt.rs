//! `dfsdt` counts its replies as the published implementation does: through the real policy, with a
//! scripted model.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails the test it serves"
)]

use std::num::NonZeroU8;
use std::sync::Arc;

use branchline::context::Cx;
use branchline::llm::Scripted;
use branchline::policy::{LlmPolicy, LlmPolicyConfig, Policy};
use branchline::search::{
    Ask, Budget, Compared, Compat, DfsdtOptions, Outcome, Proposed, Request, Search, SearchConfig,
    Start, Stepped, StopReason, StrategyKind,
};
use branchline::types::{
    Action, ActionSpec, Cost, Digest, Observation, Omitted, Preference, Seed, View,
};
use serde_json::json;

fn compat(width: u8, ranked: bool) -> SearchConfig {
    SearchConfig {
        strategy: StrategyKind::Dfsdt,
        branching: NonZeroU8::new(width).unwrap(),
        depth: 12,
        budget: Budget {
            steps: None,
            model_calls: Some(200),
            ..Budget::default()
        },
        dfsdt: DfsdtOptions {
            ranked,
            compat: Some(Compat::Toolbench),
        },
        ..SearchConfig::default()
    }
}

fn observation() -> Observation {
    Observation {
        url: "tools".to_owned(),
        title: "tools".to_owned(),
        text: String::new(),
        tokens: 0,
        elements: Vec::new(),
        omitted: Omitted::default(),
        tabs: Vec::new(),
        notices: Vec::new(),
        digest: Digest::of("state"),
        terminal: false,
        screenshot: None,
    }
}

fn spec(name: &str, argument: &str, terminal: bool) -> ActionSpec {
    ActionSpec {
        name: name.to_owned(),
        description: "a tool".to_owned(),
        parameters: json!({
            "type": "object",
            "properties": { argument: { "type": "string" } },
            "required": [argument],
        }),
        outside: false,
        terminal,
        together: false,
    }
}

/// What a search asked of a model that says `reply(n)` to the nth request (from 1).
struct Asked {
    replies: usize,
    compared: usize,
    steps: u32,
    reason: StopReason,
}

async fn ask(
    config: SearchConfig,
    reply: impl Fn(usize) -> serde_json::Value + Send + 'static,
) -> Asked {
    let mut count = 0;
    let model = Arc::new(Scripted::new(move |request| {
        count += 1;
        let text = json!({ "actions": [reply(count)] }).to_string();
        Ok(Scripted::reply(request, [text]))
    }));
    let policy = LlmPolicy::new(
        model.clone(),
        LlmPolicyConfig {
            reasons: true,
            repeats: true,
            ..LlmPolicyConfig::default()
        },
    );
    let actions = [
        spec("find", "q", false),
        spec("give_up", "reason", true),
        spec("finish", "answer", true),
    ];
    let observation = observation();
    let start = Start {
        digest: Digest::of("start"),
        terminal: false,
    };
    let mut search = Search::new(config, start);
    let mut compared = 0;
    let reason = loop {
        let (ticket, request) = match search.ask() {
            Ask::Start { ticket, request } => (ticket, request),
            Ask::Stop { reason } => break reason,
            Ask::Wait => unreachable!("every request is answered at once"),
        };
        let cost = Cost::default();
        let outcome = match request {
            Request::Propose { width, .. } => {
                let view = View {
                    goal: "find it",
                    path: &[],
                    observation: &observation,
                    previous: None,
                    actions: &actions,
                    siblings: &[],
                    answer: None,
                    waiting: &[],
                    seed: Seed(0),
                };
                let proposal = policy.propose(&view, width, &Cx::default()).await.unwrap();
                let candidates = proposal.candidates;
                Outcome::Proposed(Proposed { candidates, cost })
            }
            Request::Step { edge } => {
                let name = search.tree().edge(edge).action().name;
                Outcome::Stepped(Stepped::State {
                    digest: Digest::of(edge.to_string()),
                    terminal: name == "finish" || name == Action::GIVE_UP,
                    cost,
                })
            }
            Request::Compare { .. } => {
                compared += 1;
                let preference = Some(Preference::Tie);
                Outcome::Compared(Compared { preference, cost })
            }
            Request::Judge { .. } => unreachable!("dfsdt judges nothing"),
        };
        search.tell(ticket, outcome).unwrap();
    };
    Asked {
        replies: model.requests().len(),
        compared,
        steps: search.spent().steps,
        reason,
    }
}

/// A model that never ends the task.
fn call(thought: bool) -> impl Fn(usize) -> serde_json::Value + Send + 'static {
    move |n| {
        let why = if thought { "because" } else { "" };
        json!({ "action": "find", "q": n.to_string(), "why": why })
    }
}

#[tokio::test]
async fn a_model_that_never_ends_is_asked_exactly_as_often_as_there() {
    for (width, thought, replies, reason) in [
        (2, true, 30, StopReason::Exhausted),
        (2, false, 126, StopReason::Exhausted),
        (3, true, 120, StopReason::Exhausted),
        (3, false, 200, StopReason::ModelCalls),
    ] {
        let asked = ask(compat(width, false), call(thought)).await;
        let case = format!("width {width}, thoughts {thought}");
        assert_eq!((asked.replies, asked.reason), (replies, reason), "{case}");
        // The reply that reaches the limit is thrown away.
        let thrown = usize::from(reason == StopReason::ModelCalls);
        assert_eq!(asked.steps as usize, replies - thrown, "{case}");
        assert_eq!(asked.compared, 0, "{case}");
    }
}

#[tokio::test]
async fn repeats_are_siblings_of_their_own_there() {
    let same = |_| json!({ "action": "find", "q": "mug", "why": "because" });
    let asked = ask(compat(2, false), same).await;
    assert_eq!((asked.replies, asked.steps), (30, 30));
}

#[tokio::test]
async fn giving_up_at_once_is_one_call_there_and_the_width_of_calls_here() {
    let give_up = |_| json!({ "action": "give_up", "reason": "no", "why": "" });
    let there = ask(compat(2, false), give_up).await;
    assert_eq!((there.replies, there.reason), (1, StopReason::Exhausted));
    let mut ours = compat(2, false);
    ours.dfsdt.compat = None;
    let here = ask(ours, give_up).await;
    // The second is the same action again: it is not carried out.
    assert_eq!((here.replies, here.steps), (2, 1));
}

#[tokio::test]
async fn ranking_costs_every_pair_twice_at_every_state() {
    let asked = ask(compat(2, true), call(true)).await;
    // 15 states with two children each.
    assert_eq!((asked.replies, asked.compared), (30, 30));
}

// ---------------------------------------------------------------- import

/// A node of that format, with children.
fn there(
    kind: &str,
    description: &str,
    more: &serde_json::Value,
    below: &[serde_json::Value],
) -> serde_json::Value {
    let mut node = json!({
        "is_terminal": false, "pruned": false, "finished": true, "depth": 1, "node_type": kind,
        "description": description, "Elo": 1000.0, "child_count": below.len(), "expand_num": 0,
        "children": below,
    });
    for (key, value) in more.as_object().unwrap() {
        node[key] = value.clone();
    }
    node
}

fn call_there(
    tool: &str,
    input: &str,
    result: (&str, i64, u64),
    below: &[serde_json::Value],
) -> serde_json::Value {
    let (said, code, order) = result;
    let more = json!({ "observation": said, "observation_code": code, "expand_num": order, "io_state": {} });
    let input = there("Action Input", input, &more, below);
    there("Action", tool, &json!({}), &[input])
}

/// A thought and a call, given up below, then the same call again with an answer below.
pub(crate) fn answer_tree() -> serde_json::Value {
    let give_up = call_there(
        "Finish",
        "{\"return_type\":\"give_up_and_restart\"}",
        ("", 4, 2),
        &[],
    );
    let finish = call_there(
        "Finish",
        "{\"return_type\":\"give_answer\",\"final_answer\":\"42\"}",
        ("ok", 3, 5),
        &[],
    );
    let thought_only = there(
        "Thought",
        "I know it now",
        &json!({ "expand_num": 4 }),
        &[finish],
    );
    let first = call_there(
        "find",
        "{\"q\": \"mug\", \"n\": 1}",
        ("two mugs", 0, 1),
        &[give_up],
    );
    let thought = there("Thought", "first find it", &json!({}), &[first]);
    let again = call_there(
        "find",
        "{\"n\":1,\"q\":\"mug\"}",
        ("two mugs", 0, 3),
        &[thought_only],
    );
    let root = there(
        "Action Input",
        "",
        &json!({ "depth": 0 }),
        &[thought, again],
    );
    json!({
        "win": true,
        "tree": { "size": 9, "max_length": 6, "tree": root },
        "forward_args": {
            "single_chain_max_step": 12, "tree_beam_size": 2, "max_query_count": 200,
            "answer": 1, "with_filter": false,
        },
        "compare_candidates": [[{ "node_type": "Action" }]],
        "answer_generation": {
            "query": "How many mugs?", "query_count": 5, "finish_type": "give_answer",
            "function": [{ "name": "find", "description": "finds", "parameters": { "type": "object" } }],
            "train_messages": [[{ "role": "system", "content": "é \"x\"" }]],
        },
    })
}

#[test]
fn an_imported_tree_replays_and_gives_the_file_back() {
    use branchline::record::toolbench::{Repeats, import, original};
    let runs = tempfile::tempdir().unwrap();
    let tree = answer_tree();
    let done = import(runs.path(), &tree, "toolbench/one").unwrap();
    assert_eq!((done.replies, done.nodes, done.answered), (5, 6, true));
    let repeats = Repeats {
        calls: 2,
        repeated: 1,
        same_reply: 1,
    };
    assert_eq!(done.repeats, repeats);
    let replayed = branchline::record::replay(&done.dir).unwrap();
    assert_eq!(replayed.ended, Some(StopReason::Solved));
    assert!(replayed.complete && replayed.missing.is_empty());
    let search = replayed.search.unwrap();
    let best = search.best().unwrap();
    let last = *search.tree().path(best).last().unwrap();
    let finish = Action::new("finish", json!({ "answer": "42" }));
    assert_eq!(search.tree().edge(last).action(), finish);
    assert_eq!(original(&done.dir).unwrap(), tree);
}

#[test]
fn what_is_no_such_tree_is_refused_with_the_place() {
    use branchline::record::toolbench::import;
    let runs = tempfile::tempdir().unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut tree = answer_tree();
        change(&mut tree);
        import(runs.path(), &tree, "x").unwrap_err().to_string()
    };
    assert_eq!(
        refused(&|tree| *tree = json!({ "win": true })),
        "no answer tree: `forward_args.tree_beam_size` is missing"
    );
    assert_eq!(
        refused(&|tree| tree["forward_args"]["tree_beam_size"] = json!(900)),
        "no answer tree: `forward_args.tree_beam_size` is 900, not from 1 to 255"
    );
    // Another beam: the search would have asked for a third reply.
    assert_eq!(
        refused(&|tree| tree["forward_args"]["tree_beam_size"] = json!(1)),
        "not a tree of that search: the file holds 5 replies, the search ends after 2"
    );
    assert_eq!(
        refused(&|tree| tree["tree"]["tree"]["children"][1]["children"][0]["children"] = json!([])),
        "not a tree of that search: the search asks for reply 1 under n3, and the file has none"
    );
}
