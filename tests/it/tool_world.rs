//! Worlds of tools: calls as actions, batches, the memo, and the ways back after writes.

use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use branchline::context::Cx;
use branchline::env::tools::environment::{
    MemoStore, ToolFinder, ToolFound, ToolRules, ToolSource, ToolWorld, ToolWorldConfig,
};
use branchline::env::tools::mcp::{McpConfig, McpSource};
use branchline::env::tools::registry::{Glob, Memo, ReadCall, UndoCheck, UndoProof, UndoRule};
use branchline::env::{ActError, Environment, Fault, RestoreError, World};
use branchline::eval::{
    AnswerTest, CallTest, Check, CheckOutcome, JsonTest, Outcome, TraceTest, ValueTest,
};
use branchline::judge::Subject;
use branchline::llm::Scripted;
use branchline::policy::{LlmPolicy, LlmPolicyConfig};
use branchline::record::replay;
use branchline::record::toolbench::{Repeats, import, original};
use branchline::runtime::Job;
use branchline::search::{Budget, SearchConfig, StrategyKind, Tree};
use branchline::types::{
    Action, NoticeKind, Observation, Query, Rung, Seed, SiteNoteKind, Snapshot, Step, View, Writes,
};
use serde_json::{Map, Value, json};

use crate::conformance::{Script, conforms};
use crate::runtime::{critic, policy, quiet, tool_job};
use crate::support::tools::Store;

const SEED: Seed = Seed(3);

fn config(store: &Store) -> ToolWorldConfig {
    let source = ToolSource {
        source: Arc::new(store.clone()),
        rules: ToolRules::default(),
        memo: None,
    };
    ToolWorldConfig::new("store", vec![source])
}

fn with_rules(store: &Store, writes: Writes, change: impl FnOnce(&mut ToolRules)) -> ToolWorld {
    let mut config = config(store);
    config.writes = writes;
    change(&mut config.sources[0].rules);
    ToolWorld::new(config)
}

async fn open(world: &ToolWorld) -> Box<dyn Environment> {
    world.open(SEED, &Cx::default()).await.unwrap()
}

async fn look(env: &mut dyn Environment) -> Observation {
    env.observe(&Cx::default()).await.unwrap()
}

async fn act(env: &mut dyn Environment, name: &str, arguments: Value) -> Step {
    env.act(&Action::new(name, arguments), &Cx::default())
        .await
        .unwrap()
}

/// Acts, observes and takes a snapshot.
async fn step(env: &mut dyn Environment, name: &str, arguments: Value) -> (Observation, Snapshot) {
    let done = act(env, name, arguments).await;
    assert!(matches!(done, Step::Done { .. }), "{name}: {done:?}");
    let seen = look(env).await;
    (seen, env.snapshot(&Cx::default()).await.unwrap())
}

async fn start(env: &mut dyn Environment) -> Snapshot {
    look(env).await;
    env.snapshot(&Cx::default()).await.unwrap()
}

async fn back(env: &mut dyn Environment, to: &Snapshot) -> Result<Rung, RestoreError> {
    let restored = env.restore(to, &Cx::default()).await?;
    assert_eq!(look(env).await.digest, to.digest);
    Ok(restored.rung)
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn read_call(name: &str) -> ReadCall {
    ReadCall {
        call: name.to_owned(),
        arguments: Map::new(),
    }
}

/// A created item is deleted again; a renamed one gets its name back from nowhere, so has no rule.
fn undo_create() -> UndoRule {
    UndoRule {
        tool: Glob::new("create_*"),
        call: "delete_item".to_owned(),
        arguments: object(&json!({"id": "reply:/id"})),
        verify: Some(UndoCheck {
            read: ReadCall {
                call: "get_item".to_owned(),
                arguments: object(&json!({"id": "reply:/id"})),
            },
            expect: UndoProof::Error,
        }),
    }
}

// ---------------------------------------------------------------- contracts

fn script(refused: Action) -> Script {
    Script {
        first: Action::new("list_items", json!({})),
        second: Action::new("get_item", json!({"id": 1})),
        refused,
        last: Action::new("finish", json!({"answer": "42"})),
    }
}

#[tokio::test]
async fn a_world_of_reads_conforms() {
    let store = Store::new(false);
    store.set(1, "lamp");
    let refused = Action::new("get_item", json!({"id": "one"}));
    conforms(&ToolWorld::new(config(&store)), &script(refused)).await;
}

#[tokio::test]
async fn writing_worlds_conform() {
    let write = |refused: Action| Script {
        first: Action::new("create_item", json!({"name": "mug"})),
        second: Action::new("create_item", json!({"name": "jug"})),
        ..script(refused)
    };
    let refused = Action::new("create_item", json!({}));
    let store = Store::new(true);
    conforms(
        &with_rules(&store, Writes::Session, |_| {}),
        &write(refused),
    )
    .await;
    assert_eq!(
        store.items().names.len(),
        0,
        "each session had its own items"
    );
}

#[tokio::test]
async fn credentials_that_are_not_taken_are_said_once() {
    let world = ToolWorld::new(config(&Store::new(false)));
    let mut env = world.open(Seed(1), &Cx::default()).await.unwrap();
    assert!(world.notes().is_empty());
    for _ in 0..2 {
        step(&mut *env, "get_item", json!({"id": 401})).await;
    }
    let notes = world.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0].kind, SiteNoteKind::Unauthorised);
    assert!(notes[0].text.starts_with("the source `store` answered 401"));
}

#[tokio::test]
async fn an_mcp_server_conforms_and_a_session_isolates_branches() {
    let server = McpConfig {
        name: "test".to_owned(),
        server: crate::support::mcp::command("", None),
        trusted: true,
        timeout: Duration::from_secs(20),
        secrets: Vec::new(),
    };
    let source = McpSource::connect(server, &Cx::default()).await.unwrap();
    let source = ToolSource {
        source: Arc::new(source),
        rules: ToolRules::default(),
        memo: None,
    };
    let mut config = ToolWorldConfig::new("mcp", vec![source]);
    config.writes = Writes::Session;
    let script = Script {
        first: Action::new("note", json!({"text": "one"})),
        second: Action::new("notes", json!({})),
        refused: Action::new("add", json!({"a": "x", "b": 1})),
        last: Action::new("finish", json!({"answer": "42"})),
    };
    conforms(&ToolWorld::new(config.clone()), &script).await;

    let world = ToolWorld::new(config);
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    let (_, noted) = step(&mut *env, "note", json!({"text": "left"})).await;
    let (seen, _) = step(&mut *env, "notes", json!({})).await;
    assert!(seen.text.contains("left"), "{}", seen.text);
    assert_eq!(back(&mut *env, &root).await.unwrap(), Rung::Replay);
    let (seen, _) = step(&mut *env, "notes", json!({})).await;
    assert!(!seen.text.contains("left"), "{}", seen.text);
    back(&mut *env, &noted).await.unwrap();
    let (seen, _) = step(&mut *env, "notes", json!({})).await;
    assert!(seen.text.contains("left"), "{}", seen.text);
    env.close(&Cx::default()).await.unwrap();
}

// ---------------------------------------------------------------- batches

#[tokio::test]
async fn a_batch_runs_together_and_one_failure_hides_no_other() {
    let store = Store::new(false);
    store.set(1, "lamp");
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    start(&mut *env).await;
    let calls = json!({"calls": [
        {"id": "a", "tool": "get_item", "arguments": {"id": 1}},
        {"id": "b", "tool": "unreachable", "arguments": {}},
        {"id": "c", "tool": "get_item", "arguments": {"id": 9}},
        {"id": "d", "tool": "forbidden", "arguments": {}},
        {"id": "e", "tool": "get_item", "arguments": {"id": 1}, "after": ["a"]},
        {"id": "f", "tool": "list_items", "arguments": {}, "after": ["c"]},
    ]});
    let (seen, _) = step(&mut *env, "batch", calls).await;
    insta::assert_snapshot!(seen.text, @r#"
    Tools: store (15)
    [c1 = a] get_item {"id":1} -> ok 200
    {"id":1,"name":"lamp"}
    [c2 = b] unreachable {} -> no answer
    Nothing was answered: `unreachable` got no answer: connection refused
    [c3 = c] get_item {"id":9} -> error 404
    {"error":"no item 9"}
    [c4 = d] forbidden {} -> no answer
    Nothing was answered: `forbidden` was refused by the registry: another host
    [c5 = e] get_item {"id":1} -> ok 200, from the record
    {"id":1,"name":"lamp"}
    [c6 = f] list_items {} -> not made
    `c` failed, after which it comes
    "#);
    let refs: Vec<&str> = seen.elements.iter().map(|e| e.r#ref.as_str()).collect();
    assert_eq!(refs, ["c1", "c2", "c3", "c4", "c5", "c6"]);
    env.close(&Cx::default()).await.unwrap();
}

#[tokio::test]
async fn independent_calls_are_under_way_at_the_same_time() {
    // Reads; and writes that are declared independent, where writes may leave.
    for (tool, writes) in [
        ("wait", Writes::Hold),
        ("wait_write", Writes::Allow),
        ("wait_write", Writes::Session),
    ] {
        all_at_once(tool, writes).await;
    }
}

async fn all_at_once(tool: &str, writes: Writes) {
    let store = Store::new(false);
    let mut config = config(&store);
    config.writes = writes;
    let world = ToolWorld::new(config);
    let mut env = open(&world).await;
    start(&mut *env).await;
    let calls: Vec<Value> = (0..100)
        .map(|n| json!({"id": format!("k{n}"), "tool": tool, "arguments": {"id": n}}))
        .collect();
    let action = Action::new("batch", json!({ "calls": calls }));
    let cx = Cx::default();
    let acting = env.act(&action, &cx);
    let letting = async {
        // Every call arrives before any is answered.
        while store.log().len() < 100 {
            tokio::task::yield_now().await;
        }
        store.open_gate(100);
    };
    let (step, ()) = tokio::join!(acting, letting);
    assert!(matches!(step.unwrap(), Step::Done { .. }));
    assert_eq!(store.most_at_a_time(), 100);
    env.close(&cx).await.unwrap();
}

/// Two renames, which the registry declares independent, and a read.
fn renames() -> Action {
    let calls = json!({"calls": [
        {"id": "a", "tool": "rename_item", "arguments": {"id": 1, "name": "cup"}},
        {"id": "b", "tool": "rename_item", "arguments": {"id": 2, "name": "bowl"}},
        {"id": "c", "tool": "list_items", "arguments": {}, "after": ["a", "b"]},
    ]});
    Action::new("batch", calls)
}

fn furnished() -> Store {
    let store = Store::new(false);
    store.set(1, "mug");
    store.set(2, "jug");
    store
}

#[tokio::test]
async fn a_batch_with_independent_writes_is_held_and_released_whole() {
    let store = furnished();
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    start(&mut *env).await;
    let cx = Cx::default();
    let Step::Held { effects } = env.act(&renames(), &cx).await.unwrap() else {
        panic!("held");
    };
    assert_eq!(effects.len(), 2);
    assert!(effects.iter().all(|effect| effect.held));
    let part = env.release(&renames(), &effects[..1], &cx).await.unwrap();
    assert!(matches!(part, Step::Held { .. }), "all or none: {part:?}");
    assert!(store.log().is_empty());
    let Step::Done { effects, .. } = env.release(&renames(), &effects, &cx).await.unwrap() else {
        panic!("released");
    };
    assert_eq!(effects.len(), 2);
    assert!(effects.iter().all(|effect| !effect.held));
    let seen = look(&mut *env).await.text;
    assert!(seen.contains("[c3 = c] list_items"), "{seen}");
    assert!(seen.contains("cup") && seen.contains("bowl"), "{seen}");
    // What nobody declared stays an action of its own.
    let calls = json!({"calls": [{"id": "a", "tool": "create_item", "arguments": {"name": "x"}}]});
    let Step::Rejected(why) = act(&mut *env, "batch", calls).await else {
        panic!("rejected");
    };
    assert!(
        why.reason.contains("the registry declares independent"),
        "{}",
        why.reason
    );
}

#[tokio::test]
async fn independent_writes_are_put_back_together() {
    let store = furnished();
    let mut config = config(&store);
    config.writes = Writes::Checkpoint;
    config.site = Some(Arc::new(store.clone()));
    let world = ToolWorld::new(config);
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    let before = store.items();
    let Action { name, arguments } = renames();
    let (_, named) = step(&mut *env, &name, Value::Object(arguments)).await;
    let after = store.items();
    assert_eq!(after.names.values().collect::<Vec<_>>(), ["cup", "bowl"]);
    back(&mut *env, &root).await.unwrap();
    assert_eq!(store.items(), before);
    back(&mut *env, &named).await.unwrap();
    assert_eq!(store.items(), after);
}

/// Does what breaks off in a world with an undo rule for everything: nothing leads back.
async fn cut_off(store: &Store, action: &Action) {
    let rule = UndoRule {
        tool: Glob::new("*"),
        ..undo_create()
    };
    let world = with_rules(store, Writes::Checkpoint, |rules| rules.undo = vec![rule]);
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    let cx = Cx::default();
    let error = env.act(action, &cx).await.unwrap_err();
    assert!(
        error.to_string().contains("the connection broke"),
        "{error}"
    );
    let error = env.restore(&root, &cx).await.unwrap_err();
    let RestoreError::Unrestorable(reason) = &error else {
        panic!("{error:?}");
    };
    assert!(
        reason.contains("not known what the server was told"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_batch_of_which_a_write_was_cut_off_is_never_guessed_about() {
    let calls = json!({"calls": [
        {"id": "a", "tool": "rename_item", "arguments": {"id": 1, "name": "cup"}},
        {"id": "b", "tool": "cut_write", "arguments": {}},
    ]});
    cut_off(&furnished(), &Action::new("batch", calls)).await;
}

#[tokio::test]
async fn a_fault_alone_is_an_error_and_never_an_observation() {
    let store = Store::new(false);
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    let cx = Cx::default();
    let unreachable = Action::new("unreachable", json!({}));
    let error = env.act(&unreachable, &cx).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Retryable);
    assert!(error.to_string().contains("connection refused"), "{error}");
    assert_eq!(
        look(&mut *env).await.digest,
        root.digest,
        "nothing was seen"
    );
    // What the registry forbids is refused, not failed.
    assert!(matches!(
        act(&mut *env, "forbidden", json!({})).await,
        Step::Rejected(_)
    ));
    let alone = json!({"calls": [{"id": "a", "tool": "unreachable", "arguments": {}}]});
    assert!(env.act(&Action::new("batch", alone), &cx).await.is_err());
    let error = env
        .act(&Action::new("lost", json!({})), &cx)
        .await
        .unwrap_err();
    assert!(matches!(error, ActError::Lost(_)));
    assert_eq!(error.fault(), Fault::InstanceLost);
    assert!(matches!(
        env.restore(&root, &cx).await,
        Err(RestoreError::Lost(_))
    ));
}

// ---------------------------------------------------------------- memo

fn kinds(step: &Step) -> Vec<NoticeKind> {
    match step {
        Step::Done { notices, .. } => notices.iter().map(|notice| notice.kind).collect(),
        _ => panic!("{step:?}"),
    }
}

#[tokio::test]
async fn the_same_read_is_sent_once_in_a_tree() {
    let store = Store::new(false);
    store.set(1, "lamp");
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    let get = || ("get_item", json!({"id": 1}));
    let (name, arguments) = get();
    assert_eq!(
        kinds(&act(&mut *env, name, arguments).await),
        [NoticeKind::Call]
    );
    let first = look(&mut *env).await;
    // Again on the same branch: nothing new is known, so it is the same state.
    let (name, arguments) = get();
    assert_eq!(
        kinds(&act(&mut *env, name, arguments).await),
        [NoticeKind::Recorded]
    );
    let again = look(&mut *env).await;
    assert_eq!(again.digest, first.digest);
    assert!(again.text.contains("from the record"), "{}", again.text);
    // On another branch, and in another lane.
    back(&mut *env, &root).await.unwrap();
    let mut other = open(&world).await;
    start(&mut *other).await;
    for env in [&mut env, &mut other] {
        let (name, arguments) = get();
        assert_eq!(
            kinds(&act(&mut **env, name, arguments).await),
            [NoticeKind::Recorded]
        );
    }
    // A refusal that lasts is kept too.
    for kind in [NoticeKind::Call, NoticeKind::Recorded] {
        assert_eq!(
            kinds(&act(&mut *env, "get_item", json!({"id": 7})).await),
            [kind]
        );
    }
    assert_eq!(
        store.log(),
        [r#"get_item {"id":1}"#, r#"get_item {"id":7}"#]
    );
    // Another tree asks again; a commit too.
    let mut fresh = open(&ToolWorld::new(config(&store))).await;
    start(&mut *fresh).await;
    let (name, arguments) = get();
    assert_eq!(
        kinds(&act(&mut *fresh, name, arguments).await),
        [NoticeKind::Call]
    );
    let (name, arguments) = get();
    let step = fresh
        .release(&Action::new(name, arguments), &[], &Cx::default())
        .await
        .unwrap();
    assert_eq!(kinds(&step), [NoticeKind::Call]);
}

/// The answer trees of ToolBench in a directory that is named, else the small one of the tests.
fn answer_trees() -> Vec<Value> {
    let Some(dir) = std::env::var_os("BRANCHLINE_TOOLBENCH") else {
        return vec![crate::dfsdt::answer_tree()];
    };
    let files = std::fs::read_dir(dir).unwrap();
    files
        .map(|file| serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap())
        .collect()
}

/// Makes every call of a tree where it was made there, in that order: how many were sent, and how
/// many answered from the record.
async fn called_again(tree: &Tree) -> (usize, usize) {
    let edges = tree.nodes().filter_map(|node| tree.node(node).parent());
    let is_call = |action: &Action| {
        let other = ["finish", "Finish", "think", Action::GIVE_UP];
        !other.contains(&action.name.as_str())
    };
    let mut names: Vec<String> = edges
        .map(|edge| tree.edge(edge).action())
        .filter(is_call)
        .map(|action| action.name)
        .collect();
    names.sort();
    names.dedup();
    let store = Store::with_reads(false, names);
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    let mut reached = vec![start(&mut *env).await];
    let mut recorded = 0;
    for node in tree.nodes().skip(1) {
        let edge = tree.edge(tree.node(node).parent().unwrap());
        let above = reached[edge.parent().0 as usize].clone();
        let action = edge.action();
        if !is_call(&action) {
            reached.push(above);
            continue;
        }
        back(&mut *env, &above).await.unwrap();
        let done = act(&mut *env, &action.name, action.arguments.into()).await;
        recorded += usize::from(kinds(&done) == [NoticeKind::Recorded]);
        reached.push(start(&mut *env).await);
    }
    (store.log().len(), recorded)
}

/// `BRANCHLINE_TOOLBENCH=DIR` tries it on the published ones.
#[tokio::test]
async fn a_repeated_call_of_an_imported_tree_is_never_sent() {
    for document in answer_trees() {
        let runs = tempfile::tempdir().unwrap();
        let done = import(runs.path(), &document, "tree").unwrap();
        let search = replay(&done.dir).unwrap().search.unwrap();
        let (sent, recorded) = called_again(search.tree()).await;
        let Repeats {
            calls, repeated, ..
        } = done.repeats;
        assert_eq!(
            (sent + recorded, recorded),
            (calls as usize, repeated as usize)
        );
        assert_eq!(original(&done.dir).unwrap(), document);
    }
}

#[tokio::test]
async fn across_trees_only_where_the_registry_allows() {
    let store = Store::new(false);
    store.set(1, "lamp");
    let memo = Arc::new(MemoStore::default());
    let run = |scope: Memo| {
        let mut config = config(&store);
        config.sources[0].rules.memo = scope;
        config.sources[0].memo = Some(Arc::clone(&memo));
        async move {
            let mut env = open(&ToolWorld::new(config)).await;
            start(&mut *env).await;
            kinds(&act(&mut *env, "get_item", json!({"id": 1})).await)
        }
    };
    assert_eq!(run(Memo::Tree).await, [NoticeKind::Call]);
    assert_eq!(run(Memo::Run).await, [NoticeKind::Call]);
    assert_eq!(run(Memo::Run).await, [NoticeKind::Recorded]);
    assert_eq!(run(Memo::Off).await, [NoticeKind::Call]);
}

#[tokio::test]
async fn two_lanes_that_ask_together_send_one_call() {
    let store = Store::new(false);
    let world = ToolWorld::new(config(&store));
    let (mut one, mut two) = (open(&world).await, open(&world).await);
    start(&mut *one).await;
    start(&mut *two).await;
    let ask = Action::new("slow", json!({"id": 1}));
    let cx = Cx::default();
    let (a, b) = tokio::join!(one.act(&ask, &cx), two.act(&ask, &cx));
    let mut kinds = [kinds(&a.unwrap()), kinds(&b.unwrap())].concat();
    kinds.sort_by_key(|kind| *kind == NoticeKind::Recorded);
    assert_eq!(kinds, [NoticeKind::Call, NoticeKind::Recorded]);
    assert_eq!(store.log().len(), 1);
}

#[tokio::test]
async fn a_read_after_a_write_is_not_the_same_read() {
    let store = Store::new(true);
    let world = with_rules(&store, Writes::Session, |_| {});
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    step(&mut *env, "list_items", json!({})).await;
    step(&mut *env, "create_item", json!({"name": "mug"})).await;
    assert_eq!(
        kinds(&act(&mut *env, "list_items", json!({})).await),
        [NoticeKind::Call]
    );
    let seen = look(&mut *env).await;
    assert!(seen.text.contains("mug"), "{}", seen.text);
    // The same write on another branch: what was read after it is known.
    back(&mut *env, &root).await.unwrap();
    step(&mut *env, "create_item", json!({"name": "mug"})).await;
    assert_eq!(
        kinds(&act(&mut *env, "list_items", json!({})).await),
        [NoticeKind::Recorded]
    );
    // Another write: it is not.
    back(&mut *env, &root).await.unwrap();
    step(&mut *env, "create_item", json!({"name": "jug"})).await;
    assert_eq!(
        kinds(&act(&mut *env, "list_items", json!({})).await),
        [NoticeKind::Call]
    );
}

#[tokio::test]
async fn a_call_that_sets_a_cookie_is_not_answered_from_the_record() {
    let store = Store::new(false);
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    step(&mut *env, "cookie", json!({})).await;
    back(&mut *env, &root).await.unwrap();
    assert_eq!(
        kinds(&act(&mut *env, "cookie", json!({})).await),
        [NoticeKind::Call]
    );
}

#[tokio::test]
async fn what_changes_by_itself_is_shown_but_not_compared() {
    let store = Store::new(false);
    let seen = |volatile: bool| {
        let world = with_rules(&store, Writes::Hold, |rules| {
            rules.memo = Memo::Off;
            if volatile {
                rules.volatile.insert("time".to_owned());
            }
        });
        async move {
            let mut env = open(&world).await;
            start(&mut *env).await;
            step(&mut *env, "clock", json!({})).await.0
        }
    };
    let (a, b) = (seen(true).await, seen(true).await);
    assert_eq!(a.digest, b.digest);
    assert_ne!(a.text, b.text);
    assert_ne!(seen(false).await.digest, seen(false).await.digest);
}

// ---------------------------------------------------------------- writes

#[tokio::test]
async fn hold_shows_the_exact_request_and_sends_nothing_until_it_is_released() {
    let store = Store::new(false);
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    start(&mut *env).await;
    let Step::Held { effects } = act(&mut *env, "create_item", json!({"name": "mug"})).await else {
        panic!("held");
    };
    assert!(effects[0].held);
    assert_eq!(effects[0].url, "http://store.test/create_item");
    assert_eq!(effects[0].body.as_deref(), Some(r#"{"name":"mug"}"#));
    assert!(store.log().is_empty());

    let cx = Cx::default();
    let other = Action::new("create_item", json!({"name": "other"}));
    let step = env.release(&other, &effects, &cx).await.unwrap();
    assert!(
        matches!(step, Step::Held { .. }),
        "another write than was allowed"
    );
    assert!(store.log().is_empty());
    let mug = Action::new("create_item", json!({"name": "mug"}));
    let step = env.release(&mug, &effects, &cx).await.unwrap();
    let Step::Done { effects, .. } = step else {
        panic!("{step:?}");
    };
    assert!(!effects[0].held);
    assert_eq!(store.items().names.len(), 1);
}

#[tokio::test]
async fn hooks_put_the_server_back_and_forward() {
    let store = Store::new(false);
    let mut config = config(&store);
    config.writes = Writes::Checkpoint;
    config.site = Some(Arc::new(store.clone()));
    config.sources[0].rules.verify = vec![read_call("list_items")];
    let world = ToolWorld::new(config);
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    let empty = store.items();
    let (_, mug) = step(&mut *env, "create_item", json!({"name": "mug"})).await;
    let one = store.items();
    let (_, named) = step(&mut *env, "rename_item", json!({"id": 1, "name": "cup"})).await;
    let two = store.items();
    for (to, items) in [
        (&root, &empty),
        (&named, &two),
        (&mug, &one),
        (&named, &two),
        (&root, &empty),
    ] {
        assert_eq!(back(&mut *env, to).await.unwrap(), Rung::Copy);
        assert_eq!(&store.items(), items);
    }
    env.close(&Cx::default()).await.unwrap();
}

#[tokio::test]
async fn undo_rules_take_writes_back_and_prove_it() {
    let store = Store::new(false);
    let world = with_rules(&store, Writes::Checkpoint, |rules| {
        rules.undo = vec![undo_create()];
        rules.verify = vec![read_call("list_items")];
    });
    assert_eq!(world.concurrency().get(), 1, "there is one server");
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    let (_, mug) = step(&mut *env, "create_item", json!({"name": "mug"})).await;
    step(&mut *env, "create_item", json!({"name": "jug"})).await;
    assert_eq!(store.items().names.len(), 2);
    assert_eq!(back(&mut *env, &mug).await.unwrap(), Rung::Undo);
    assert_eq!(store.items().names.values().collect::<Vec<_>>(), ["mug"]);
    assert_eq!(back(&mut *env, &root).await.unwrap(), Rung::Undo);
    assert!(store.items().names.is_empty());
    // What somebody else wrote meanwhile is found by reading back.
    step(&mut *env, "create_item", json!({"name": "cup"})).await;
    store.set(50, "from elsewhere");
    let error = env.restore(&root, &Cx::default()).await.unwrap_err();
    let RestoreError::Diverged { detail, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        detail,
        "`list_items` of `store` reads differently than before"
    );
    store.remove(50);
    back(&mut *env, &root).await.unwrap();
    // A write that nothing could take back is not sent.
    assert!(matches!(
        act(&mut *env, "rename_item", json!({"id": 1, "name": "x"})).await,
        Step::Held { .. }
    ));
    // The id is not given again: the same write does not lead to the same state, and it is said.
    let error = env.restore(&mug, &Cx::default()).await.unwrap_err();
    let RestoreError::Diverged { detail, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(
        detail.contains("answered differently when repeated"),
        "{detail}"
    );
}

#[tokio::test]
async fn what_the_search_wrote_is_undone_at_the_end() {
    let store = Store::new(false);
    let world = with_rules(&store, Writes::Checkpoint, |rules| {
        rules.undo = vec![undo_create()];
    });
    let mut env = open(&world).await;
    start(&mut *env).await;
    step(&mut *env, "create_item", json!({"name": "mug"})).await;
    // A fresh instance starts where the first one did.
    let mut commit = open(&world).await;
    assert!(store.items().names.is_empty());
    start(&mut *commit).await;
    step(&mut *commit, "create_item", json!({"name": "mug"})).await;
    commit.close(&Cx::default()).await.unwrap();
    env.close(&Cx::default()).await.unwrap();
    assert!(store.items().names.is_empty());
}

#[tokio::test]
async fn an_undo_that_does_not_undo_is_an_error() {
    let store = Store::new(false);
    // The rule is wrong: it deletes another item.
    store.set(40, "innocent");
    let mut rule = undo_create();
    rule.arguments = object(&json!({"id": 40}));
    let world = with_rules(&store, Writes::Checkpoint, |rules| rules.undo = vec![rule]);
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    step(&mut *env, "create_item", json!({"name": "mug"})).await;
    let error = env.restore(&root, &Cx::default()).await.unwrap_err();
    let RestoreError::Unrestorable(reason) = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("did not take it back"), "{reason}");
}

#[tokio::test]
async fn a_write_that_was_cut_off_is_never_guessed_about() {
    let cut = Action::new("cut_write", json!({}));
    cut_off(&Store::new(false), &cut).await;

    // With hooks it is put back all the same.
    let store = Store::new(false);
    let mut config = config(&store);
    config.writes = Writes::Checkpoint;
    config.site = Some(Arc::new(store.clone()));
    let world = ToolWorld::new(config);
    let mut env = open(&world).await;
    let before = store.items();
    let root = start(&mut *env).await;
    env.act(&cut, &Cx::default()).await.unwrap_err();
    assert_ne!(store.items(), before);
    back(&mut *env, &root).await.unwrap();
    assert_eq!(store.items(), before);
}

#[tokio::test]
async fn a_session_whose_path_answers_differently_is_not_restored() {
    let store = Store::new(true);
    store.set(1, "lamp");
    let world = with_rules(&store, Writes::Session, |_| {});
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    step(&mut *env, "get_item", json!({"id": 1})).await;
    let (_, made) = step(&mut *env, "create_item", json!({"name": "mug"})).await;
    back(&mut *env, &root).await.unwrap();
    // The world outside goes on.
    store.set(1, "broken lamp");
    let error = env.restore(&made, &Cx::default()).await.unwrap_err();
    let RestoreError::Diverged { detail, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(
        detail.contains("`get_item` (c1) was answered differently"),
        "{detail}"
    );
}

#[tokio::test]
async fn allow_sends_and_undoes_nothing() {
    let store = Store::new(false);
    let world = with_rules(&store, Writes::Allow, |_| {});
    let mut env = open(&world).await;
    let root = start(&mut *env).await;
    step(&mut *env, "list_items", json!({})).await;
    step(&mut *env, "create_item", json!({"name": "mug"})).await;
    back(&mut *env, &root).await.unwrap();
    assert_eq!(store.items().names.len(), 1);
    // The record of before the write is not given for what is now.
    assert_eq!(
        kinds(&act(&mut *env, "list_items", json!({})).await),
        [NoticeKind::Call]
    );
}

// ---------------------------------------------------------------- what is seen

#[tokio::test]
async fn a_long_reply_is_cut_and_read_on() {
    let store = Store::new(false);
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    start(&mut *env).await;
    let (seen, _) = step(&mut *env, "big", json!({})).await;
    assert!(seen.text.len() <= 8_000, "{}", seen.text.len());
    assert_eq!(u64::from(seen.tokens), seen.text.len().div_ceil(4) as u64);
    let cut = seen
        .text
        .lines()
        .find(|line| line.starts_with("Cut:"))
        .unwrap();
    assert!(
        cut.starts_with("Cut: /rows: ") && cut.contains(" of 1000 items shown"),
        "{cut}"
    );
    let (more, _) = step(
        &mut *env,
        "more",
        json!({"id": "c1", "path": "/rows", "offset": 990}),
    )
    .await;
    assert!(more.text.contains(r#""row":999"#), "{}", more.text);
    assert_ne!(more.digest, seen.digest);
    assert_eq!(store.log().len(), 1, "nothing is asked again");
    let refused = act(
        &mut *env,
        "more",
        json!({"id": "c1", "path": "/rows", "offset": 1000}),
    )
    .await;
    assert!(matches!(refused, Step::Rejected(_)));
    let refused = act(
        &mut *env,
        "more",
        json!({"id": "c9", "path": "", "offset": 0}),
    )
    .await;
    let Step::Rejected(rejection) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        rejection.to_string(),
        "there is no result `c9`; nearest: c1"
    );
}

#[tokio::test]
async fn earlier_calls_are_told_in_a_line() {
    let store = Store::new(false);
    store.set(1, "lamp");
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    let empty = look(&mut *env).await;
    step(&mut *env, "list_items", json!({})).await;
    let (seen, _) = step(&mut *env, "get_item", json!({"id": 1})).await;
    insta::assert_snapshot!(format!("{}---\n{}", empty.text, seen.text), @r#"
    Tools: store (15)
    No call was made yet.
    ---
    Tools: store (15)
    Earlier:
    [c1] list_items {} -> ok 200: {"1":"lamp"}
    [c2] get_item {"id":1} -> ok 200
    {"id":1,"name":"lamp"}
    "#);
    assert_eq!(
        env.query(&Query::Url, &Cx::default()).await.unwrap(),
        json!("tools://store/get_item")
    );
    act(&mut *env, "give_up", json!({"reason": "no such lamp"})).await;
    let over = look(&mut *env).await;
    assert!(over.terminal);
    assert!(matches!(
        act(&mut *env, "list_items", json!({})).await,
        Step::Rejected(_)
    ));
}

#[tokio::test]
async fn the_budget_of_an_observation_holds_for_long_paths() {
    let store = Store::new(false);
    let mut config = config(&store);
    config.observation_tokens = 300;
    let world = ToolWorld::new(config);
    let mut env = open(&world).await;
    for id in 0..40 {
        let (seen, _) = step(&mut *env, "get_item", json!({"id": id})).await;
        assert!(seen.text.len() <= 1_300, "{}", seen.text.len());
    }
    let seen = look(&mut *env).await;
    assert!(
        seen.text.contains("earlier actions not shown"),
        "{}",
        seen.text
    );
    assert!(seen.omitted.above > 0);
}

// ---------------------------------------------------------------- finding tools

struct Finder;

#[async_trait]
impl ToolFinder for Finder {
    async fn find(&self, query: &str, most: usize, _cx: &Cx) -> Result<Vec<ToolFound>, String> {
        if query == "down" {
            return Err("the index is not there".to_owned());
        }
        let names = ["clock", "no_such_tool", "big"];
        Ok(names
            .iter()
            .take(most)
            .map(|name| ToolFound {
                name: (*name).to_owned(),
                score: 1.0,
            })
            .collect())
    }
}

#[tokio::test]
async fn tools_that_are_not_offered_can_be_found_and_called() {
    let store = Store::new(false);
    let mut config = config(&store);
    config.offered = Some(vec!["list_items".to_owned()]);
    config.finder = Some(Arc::new(Finder));
    let world = ToolWorld::new(config);
    let mut env = open(&world).await;
    start(&mut *env).await;
    let names: Vec<&str> = env
        .actions()
        .iter()
        .map(|spec| spec.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "list_items",
            "batch",
            "more",
            "call",
            "search_tools",
            "finish",
            "give_up"
        ]
    );
    let (seen, _) = step(&mut *env, "search_tools", json!({"query": "time"})).await;
    assert!(
        seen.text.contains("- clock(): The operation clock"),
        "{}",
        seen.text
    );
    assert!(!seen.text.contains("no_such_tool"), "{}", seen.text);
    let (seen, _) = step(&mut *env, "call", json!({"tool": "clock", "arguments": {}})).await;
    assert!(seen.text.contains("UTC"), "{}", seen.text);
    let down = Action::new("search_tools", json!({"query": "down"}));
    let error = env.act(&down, &Cx::default()).await.unwrap_err();
    assert!(
        error.to_string().contains("the index is not there"),
        "{error}"
    );
}

fn few_offered(store: &Store) -> ToolWorld {
    let mut config = config(store);
    config.offered = Some(vec!["list_items".to_owned()]);
    config.finder = Some(Arc::new(Finder));
    config.sources[0].rules.volatile.insert("time".to_owned());
    ToolWorld::new(config)
}

fn offers(env: &dyn Environment, name: &str) -> bool {
    env.actions().iter().any(|spec| spec.name == name)
}

#[tokio::test]
async fn what_a_search_finds_is_offered_in_its_branch_only() {
    let store = Store::new(false);
    let world = few_offered(&store);
    let mut env = open(&world).await;
    let before = start(&mut *env).await;
    let by_name = Action::new("big", json!({}));
    let early = env.act(&by_name, &Cx::default()).await.unwrap();
    assert!(matches!(early, Step::Rejected(_)), "{early:?}");

    let query = json!({"query": "time"});
    let done = act(&mut *env, "search_tools", query.clone()).await;
    let Step::Done { notices, .. } = &done else {
        panic!("{done:?}");
    };
    assert_eq!(notices[0].kind, NoticeKind::Find);
    assert_eq!(
        notices[0].text,
        "search_tools \"time\": 1 clock (1.00), 2 big (1.00); 2 found tools are offered"
    );
    look(&mut *env).await;
    let after = env.snapshot(&Cx::default()).await.unwrap();
    assert!(offers(&*env, "clock") && offers(&*env, "big"));
    let (seen, called) = step(&mut *env, "big", json!({})).await;
    assert!(seen.text.contains("[c1] big {} -> ok 200"), "{}", seen.text);

    assert_eq!(back(&mut *env, &before).await.unwrap(), Rung::Copy);
    assert!(!offers(&*env, "big"), "it was not found yet");
    let early = env.act(&by_name, &Cx::default()).await.unwrap();
    assert!(matches!(early, Step::Rejected(_)), "{early:?}");

    assert_eq!(back(&mut *env, &after).await.unwrap(), Rung::Copy);
    assert!(offers(&*env, "big"));
    // However it is called, it is the same call: answered from the record.
    let call = json!({"tool": "big", "arguments": {}});
    let again = act(&mut *env, "call", call).await;
    assert_eq!(kinds(&again), [NoticeKind::Recorded]);
    look(&mut *env).await;
    assert!(env.snapshot(&Cx::default()).await.unwrap().digest == called.digest);

    // Another world reaches the state by its path, and offers the same.
    let other = few_offered(&store);
    let mut env = open(&other).await;
    start(&mut *env).await;
    assert_eq!(back(&mut *env, &after).await.unwrap(), Rung::Replay);
    assert!(offers(&*env, "big"));
}

#[tokio::test]
async fn a_model_searches_and_calls_what_it_found_by_its_name() {
    let store = Store::new(false);
    let world = few_offered(&store);
    let model = Scripted::new(move |request| {
        let (system, seen) = (&request.messages[0].content, &request.messages[1].content);
        let offered = system.contains("clock(): The operation clock");
        let reply = match (offered, seen.contains("UTC")) {
            (false, _) => json!({"action": "search_tools", "query": "time"}),
            (true, false) => json!({"action": "clock"}),
            (true, true) => json!({"action": "finish", "answer": "UTC"}),
        };
        Ok(Scripted::reply(request, [reply.to_string()]))
    });
    let checks = vec![
        Check::Answer(AnswerTest::Exact("UTC".to_owned())),
        Check::Trace(TraceTest {
            must: vec!["clock".to_owned()],
            at_most: Some(1),
            ..TraceTest::default()
        }),
    ];
    let done = quiet(rounds_job("Which zone?", model, world, checks)).await;
    assert_eq!(
        done.report.verdict.outcome,
        Outcome::Solved,
        "{:?}",
        done.report
    );
    let names = done
        .report
        .path
        .iter()
        .map(|step| step.action.name.as_str());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["search_tools", "clock", "finish"]
    );
    // What was offered on the way is in the record, for a judge to see.
    let subject = Subject::read(&done.report.dir).unwrap();
    let known = |name: &str| subject.tools.iter().any(|(tool, _)| tool == name);
    assert!(known("list_items") && known("clock"), "{:?}", subject.tools);
}

#[tokio::test]
async fn a_state_of_another_run_is_reached_by_its_path() {
    let store = Store::new(false);
    store.set(1, "lamp");
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    step(&mut *env, "list_items", json!({})).await;
    let (_, there) = step(&mut *env, "get_item", json!({"id": 1})).await;
    let mut later = open(&ToolWorld::new(config(&store))).await;
    assert_eq!(back(&mut *later, &there).await.unwrap(), Rung::Replay);
    store.set(1, "shade");
    let mut changed = open(&ToolWorld::new(config(&store))).await;
    let error = changed.restore(&there, &Cx::default()).await.unwrap_err();
    assert!(matches!(error, RestoreError::Diverged { .. }), "{error:?}");
}

// ---------------------------------------------------------------- a whole run

#[tokio::test]
async fn a_search_over_tools_releases_its_write_once_and_counts_its_calls() {
    let store = Store::new(false);
    store.set(1, "lamp");
    let world = ToolWorld::new(config(&store));
    let propose = |view: &View<'_>| {
        let written = view.observation.text.contains("create_item");
        if written {
            return vec![Action::new("finish", json!({"answer": "done"}))];
        }
        let get = |id: i64| Action::new("get_item", json!({ "id": id }));
        vec![
            get(1),
            Action::new("list_items", json!({})),
            Action::new("create_item", json!({"name": "mug"})),
        ]
    };
    let value = |view: &View<'_>| {
        let value = match (view.answer, view.waiting.is_empty(), view.path.len()) {
            (Some(_), _, _) => 1.0,
            // The write is worth it once the items were looked at.
            (None, false, 2..) => 0.9,
            (None, false, _) => 0.1,
            (None, true, _) => 0.5,
        };
        Some(value)
    };
    let job = Job {
        workers: NonZeroUsize::new(2).unwrap(),
        retries: 2,
        ..tool_job(
            "make a mug",
            world,
            SearchConfig {
                strategy: StrategyKind::BestFirst,
                branching: NonZeroU8::new(3).unwrap(),
                depth: 4,
                budget: Budget {
                    steps: Some(14),
                    ..Budget::default()
                },
                ..SearchConfig::default()
            },
            policy(propose),
            critic(value),
        )
    };
    let report = quiet(job).await.report;
    assert_eq!(report.verdict.outcome, Outcome::Solved, "{report:?}");
    let creates = store
        .log()
        .iter()
        .filter(|call| call.starts_with("create_item"))
        .count();
    assert_eq!(
        (creates, store.items().names.len()),
        (1, 2),
        "sent once, by the commit"
    );
    assert_eq!((report.steps.writes, report.steps.commit_writes), (0, 1));
    // Two reads are all that the search asked; what else it wanted to know it knew.
    assert_eq!(report.steps.calls, 2, "{:?}", report.steps);
    assert!(report.steps.recorded_calls >= 2, "{:?}", report.steps);
}

#[tokio::test]
async fn a_commit_that_breaks_off_says_what_it_may_have_sent() {
    let store = Store::new(false);
    let job = tool_job(
        "cut",
        ToolWorld::new(config(&store)),
        SearchConfig {
            strategy: StrategyKind::Greedy,
            branching: NonZeroU8::MIN,
            depth: 2,
            ..SearchConfig::default()
        },
        policy(|_| vec![Action::new("cut_write", json!({}))]),
        critic(|view| Some(if view.waiting.is_empty() { 0.1 } else { 0.9 })),
    );
    let report = quiet(job).await.report;
    assert_eq!(store.log(), ["cut_write {}"], "sent once, by the commit");
    let reason = report.uncommitted.clone().unwrap_or_default();
    let said = "POST http://store.test/cut_write may have been carried out";
    assert!(reason.contains(said), "{report:?}");
}

#[tokio::test]
async fn an_evaluator_may_call_what_reads_and_nothing_else() {
    let store = Store::new(false);
    store.set(1, "lamp");
    let world = ToolWorld::new(config(&store));
    let mut env = open(&world).await;
    let cx = Cx::default();
    let call = |tool: &str, arguments: Value| Query::Call {
        tool: tool.to_owned(),
        arguments: object(&arguments),
    };
    step(&mut *env, "get_item", json!({"id": 1})).await;
    // Not from the record: the server is asked what there is now.
    store.set(1, "mug");
    let got = env.query(&call("get_item", json!({"id": 1})), &cx).await;
    let got = got.unwrap();
    assert_eq!(got["error"], json!(false));
    assert!(got["content"].to_string().contains("mug"), "{got}");
    let missing = env.query(&call("get_item", json!({"id": 9})), &cx).await;
    assert_eq!(missing.unwrap()["error"], json!(true));
    let sent = store.log().len();
    for (query, why) in [
        (call("create_item", json!({"name": "x"})), "may not write"),
        (call("get_itm", json!({})), "did you mean `get_item`?"),
        (call("get_item", json!({"id": "one"})), "was not answered"),
    ] {
        let error = env.query(&query, &cx).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(store.log().len(), sent, "nothing of these was sent");
    let error = env.query(&call("unreachable", json!({})), &cx).await;
    assert!(error.unwrap_err().to_string().contains("`unreachable`"));
    env.close(&cx).await.unwrap();
}

#[tokio::test]
async fn a_round_may_hold_writes_that_are_declared_independent_and_no_others() {
    let store = furnished();
    let world = with_rules(&store, Writes::Session, |_| {});
    let call = |name: &str, more: Value| {
        let mut call = json!({"call": name, "after_calls": []});
        call.as_object_mut().unwrap().extend(object(&more));
        call
    };
    let rename = |name: &str, id: u32, to: &str| {
        call(name, json!({"action": "rename_item", "id": id, "name": to}))
    };
    let undeclared = json!({"actions": [{"calls": [
        rename("x", 1, "cup"),
        call("y", json!({"action": "create_item", "name": "tray"})),
    ]}]});
    let declared = json!({"actions": [{"calls": [rename("x", 1, "cup"), rename("y", 2, "bowl")]}]});
    let end =
        json!({"actions": [{"calls": [call("x", json!({"action": "finish", "answer": "done"}))]}]});
    let model = Scripted::new(move |request| {
        let corrected = request.messages.len() > 2;
        let seen = &request.messages[1].content;
        let reply = match (seen.contains("bowl"), corrected) {
            (true, _) => &end,
            (false, false) => &undeclared,
            (false, true) => {
                let why = &request.messages.last().unwrap().content;
                assert!(
                    why.contains("`create_item` must be a round of its own"),
                    "{why}"
                );
                &declared
            }
        };
        Ok(Scripted::reply(request, [reply.to_string()]))
    });
    let report = quiet(rounds_job("Rename both", model, world, Vec::new()))
        .await
        .report;
    let names: Vec<&str> = report
        .path
        .iter()
        .map(|step| step.action.name.as_str())
        .collect();
    assert_eq!(names, ["batch", "finish"], "{report:?}");
    assert_eq!(report.steps.commit_writes, 2, "{report:?}");
    let kept = store.items();
    assert_eq!(kept.names.values().collect::<Vec<_>>(), ["cup", "bowl"]);
}

/// A greedy search whose proposals are rounds of calls.
fn rounds_job(goal: &str, model: Scripted, world: ToolWorld, checks: Vec<Check>) -> Job {
    let parallel = LlmPolicyConfig {
        parallel: true,
        ..LlmPolicyConfig::default()
    };
    let search = SearchConfig {
        strategy: StrategyKind::Greedy,
        branching: NonZeroU8::MIN,
        depth: 3,
        ..SearchConfig::default()
    };
    let policy = Arc::new(LlmPolicy::new(Arc::new(model), parallel));
    let critic = critic(|view| Some(if view.answer.is_some() { 1.0 } else { 0.5 }));
    Job {
        checks,
        retries: 2,
        ..tool_job(goal, world, search, policy, critic)
    }
}

#[tokio::test]
async fn a_round_of_reads_is_one_action_and_its_graph_is_recorded() {
    let store = Store::new(false);
    store.set(1, "lamp");
    store.set(2, "mug");
    let world = ToolWorld::new(config(&store));
    // The arguments are called as a round's own fields might be: `id`.
    let round = json!({"actions": [{"calls": [
        {"call": "x", "after_calls": [], "action": "get_item", "id": 1},
        {"call": "y", "after_calls": [], "action": "get_item", "id": 2},
        {"call": "z", "after_calls": ["x"], "action": "list_items"},
    ]}]});
    let end = json!({"actions": [{"calls": [
        {"call": "x", "after_calls": [], "action": "finish", "answer": "lamp and mug"},
    ]}]});
    let model = Scripted::new(move |request| {
        let seen = &request.messages[1].content;
        let done = seen.contains("lamp") && seen.contains("mug");
        let reply = if done { &end } else { &round };
        Ok(Scripted::reply(request, [reply.to_string()]))
    });
    let calls = |at_most: u32| {
        Check::Trace(TraceTest {
            must: vec!["get_*".to_owned()],
            must_not: vec!["create_*".to_owned()],
            at_most: Some(at_most),
            ..TraceTest::default()
        })
    };
    let state = Check::Call {
        tool: "get_item".to_owned(),
        arguments: object(&json!({"id": 2})),
        test: CallTest::Value(JsonTest {
            pointer: String::new(),
            value: ValueTest::Equals(json!({"id": 2, "name": "mug"})),
        }),
    };
    let checks = vec![calls(3), calls(2), state];
    let job = rounds_job("Which two things are there?", model, world, checks);
    let report = quiet(job).await.report;
    let names: Vec<&str> = report
        .path
        .iter()
        .map(|step| step.action.name.as_str())
        .collect();
    assert_eq!(names, ["batch", "finish"], "{report:?}");
    let graph: Vec<(&Value, &Value)> = report.path[0].action.arguments["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| (&call["tool"], &call["after"]))
        .collect();
    let (get, list) = (json!("get_item"), json!("list_items"));
    assert_eq!(
        graph,
        [
            (&get, &json!([])),
            (&get, &json!([])),
            (&list, &json!(["a"]))
        ]
    );
    let results: Vec<bool> = report
        .verdict
        .checks
        .iter()
        .map(|check| check.result == CheckOutcome::Passed)
        .collect();
    assert_eq!(results, [true, false, true], "{:?}", report.verdict);
}
