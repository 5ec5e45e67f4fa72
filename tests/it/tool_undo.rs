//! Undo rules on a server that nobody here wrote: Kinto, installed by `fixtures/apps/install`, under
//! the rules of `fixtures/apps/kinto/tools.toml`. Where it is not there the tests say so and pass.
//!
//! What the server holds is asked past the environment, by a client of the tests' own.

use std::num::NonZeroU8;
use std::path::Path;
use std::sync::Arc;

use branchline::context::Cx;
use branchline::env::server::ServerSite;
use branchline::env::tools::environment::{ToolRules, ToolSource, ToolWorld, ToolWorldConfig};
use branchline::env::tools::registry::{
    Glob, Memo, OnSite, Registry, SourceKind, UndoRule, read_specs,
};
use branchline::env::{Environment, RestoreError, Site, SiteInstance, World};
use branchline::eval::Outcome;
use branchline::search::{SearchConfig, StrategyKind};
use branchline::task::{self, StartSite};
use branchline::types::{Action, Rung, Seed, Snapshot, Step, View, Writes};
use serde_json::{Value, json};

use crate::runtime::{critic, policy, quiet, tool_job};
use crate::support::skipped;

/// A server, and a world of its tools that knows of no hooks.
struct Kinto {
    server: Box<dyn SiteInstance>,
    client: reqwest::Client,
    world: ToolWorld,
}

impl Kinto {
    /// With the registry's undo rules, as they are changed. `None` where it is not installed.
    async fn start(change: impl FnOnce(&mut Vec<UndoRule>)) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        if !root.join("target/apps/kinto/ready").exists() {
            skipped("target/apps/kinto is missing: run fixtures/apps/install");
            return None;
        }
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let task = task::load(&path("tasks/kinto/new-order.toml"))
            .unwrap()
            .remove(0);
        let StartSite::Server(spec) = task.start.site else {
            panic!("Kinto is a server");
        };
        let site = ServerSite::new(*spec, Writes::Checkpoint).unwrap();
        let cx = Cx::default();
        let server = site.lease(&cx).await.unwrap();
        let here = OnSite {
            logical: server.origin().to_owned(),
            real: server.origin().to_owned(),
        };
        let mut specs = read_specs(&path("fixtures/apps/kinto/tools.toml")).unwrap();
        let SourceKind::Openapi(api) = &mut specs[0].sources[0].kind else {
            panic!("Kinto has a document");
        };
        api.allow.private = true;
        let registry = Registry::load(&specs, Some(&here), &cx).await.unwrap();
        let loaded = &registry.sources()[0];
        assert_eq!(loaded.notes.len(), 1, "{:?}", loaded.notes);
        assert!(loaded.faults.is_empty(), "{:?}", loaded.faults);
        let mut undo = loaded.spec.undo.clone();
        change(&mut undo);
        let source = ToolSource {
            source: Arc::clone(&loaded.source),
            rules: ToolRules {
                undo,
                verify: loaded.spec.verify.clone(),
                memo: Memo::Tree,
                volatile: loaded.spec.volatile.iter().cloned().collect(),
            },
            memo: None,
        };
        let mut config = ToolWorldConfig::new("kinto", vec![source]);
        config.writes = Writes::Checkpoint;
        Some(Self {
            server,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            world: ToolWorld::new(config),
        })
    }

    async fn open(&self) -> Box<dyn Environment> {
        let mut env = self.world.open(Seed(1), &Cx::default()).await.unwrap();
        env.observe(&Cx::default()).await.unwrap();
        env
    }

    /// The records, without the times of their last changes.
    async fn records(&self) -> Value {
        let origin = self.server.origin();
        let url = format!("{origin}/v1/buckets/shop/collections/orders/records?_sort=id");
        let request = self.client.get(url).basic_auth("clerk", Some("s3cret99"));
        let mut all: Value = request.send().await.unwrap().json().await.unwrap();
        for record in all["data"].as_array_mut().unwrap() {
            record.as_object_mut().unwrap().remove("last_modified");
        }
        all["data"].take()
    }
}

/// A call on the collection of orders.
fn call(tool: &str, arguments: &Value) -> Action {
    let mut all = json!({"bucket_id": "shop", "collection_id": "orders"});
    let more = arguments.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    Action::new(tool, all)
}

/// Sends a call, and gives the point after it.
async fn step(env: &mut dyn Environment, action: &Action) -> Snapshot {
    let cx = Cx::default();
    let done = env.act(action, &cx).await.unwrap();
    assert!(matches!(done, Step::Done { .. }), "{action}: {done:?}");
    env.observe(&cx).await.unwrap();
    env.snapshot(&cx).await.unwrap()
}

async fn back(env: &mut dyn Environment, to: &Snapshot) -> Result<Rung, RestoreError> {
    let restored = env.restore(to, &Cx::default()).await?;
    let seen = env.observe(&Cx::default()).await.unwrap();
    assert_eq!(seen.digest, to.digest);
    Ok(restored.rung)
}

#[tokio::test]
async fn every_write_on_kinto_is_taken_back_and_made_again() {
    let Some(kinto) = Kinto::start(|_| ()).await else {
        return;
    };
    let mut env = kinto.open().await;
    let start = env.snapshot(&Cx::default()).await.unwrap();
    let mut points = vec![(start, kinto.records().await)];
    let writes = [
        call(
            "create_record",
            &json!({"data": {"id": "order-4", "customer": "alan"}}),
        ),
        // The id is taken: Kinto gives what is there, and an undo must not remove it.
        call(
            "create_record",
            &json!({"data": {"id": "order-1", "customer": "eve"}}),
        ),
        call(
            "patch_record",
            &json!({"id": "order-2", "data": {"paid": true, "note": "by card"}}),
        ),
        call(
            "update_record",
            &json!({"id": "order-1", "data": {"customer": "eve"}}),
        ),
        // Nothing is there yet: an update creates it.
        call(
            "update_record",
            &json!({"id": "order-9", "data": {"customer": "new"}}),
        ),
        call("delete_record", &json!({"id": "order-3"})),
        call("delete_record", &json!({"id": "order-9"})),
    ];
    for write in &writes {
        let point = step(&mut *env, write).await;
        points.push((point, kinto.records().await));
    }
    let ids = |records: &Value| {
        let records = records.as_array().unwrap().iter();
        records
            .map(|r| r["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(ids(&points[0].1), "order-1 order-2 order-3");
    assert_eq!(points[1].1, points[2].1, "it was there");
    assert_eq!(ids(&points[5].1), "order-1 order-2 order-3 order-4 order-9");
    assert_eq!(ids(&points[7].1), "order-1 order-2 order-4");
    // Back step by step, forward at once, and to and fro.
    for to in [6, 5, 4, 3, 2, 1, 0, 7, 3, 5, 0] {
        let (point, records) = &points[to];
        assert_eq!(back(&mut *env, point).await.unwrap(), Rung::Undo, "{to}");
        assert_eq!(kinto.records().await, *records, "{to}");
    }
    // What a search leaves behind is undone for the next instance.
    step(&mut *env, &writes[5]).await;
    drop(env);
    is_held(&kinto).await;
    assert_eq!(kinto.records().await, points[0].1);
    is_not_made_twice(&kinto).await;
    kinto.server.close(false, &Cx::default()).await.unwrap();
}

/// A record whose id the server gives is taken back; made twice it would be another one.
async fn is_not_made_twice(kinto: &Kinto) {
    let mut env = kinto.open().await;
    let start = env.snapshot(&Cx::default()).await.unwrap();
    let before = kinto.records().await;
    let create = call("create_record", &json!({"data": {"customer": "alan"}}));
    let made = step(&mut *env, &create).await;
    assert_eq!(back(&mut *env, &start).await.unwrap(), Rung::Undo);
    assert_eq!(kinto.records().await, before);
    // Another id would be another state.
    let error = back(&mut *env, &made).await.unwrap_err().to_string();
    assert!(
        error.contains("answered differently when repeated"),
        "{error}"
    );
}

/// A write that no rule fits is not sent.
async fn is_held(kinto: &Kinto) {
    let mut env = kinto.open().await;
    let before = kinto.records().await;
    // There is nothing that could be put back.
    let gone = call("delete_record", &json!({"id": "order-8"}));
    let held = env.act(&gone, &Cx::default()).await.unwrap();
    assert!(matches!(held, Step::Held { .. }), "{held:?}");
    assert_eq!(kinto.records().await, before);
}

/// Patches take nothing away, so that one is no undo of another that adds a field.
fn wrong(rules: &mut Vec<UndoRule>) {
    rules.retain(|rule| rule.tool == Glob::new("*_record"));
    "patch_record".clone_into(&mut rules[0].call);
}

fn note() -> Action {
    call(
        "patch_record",
        &json!({"id": "order-2", "data": {"note": "x"}}),
    )
}

#[tokio::test]
async fn an_undo_that_leaves_something_behind_is_no_way_back() {
    let Some(kinto) = Kinto::start(wrong).await else {
        return;
    };
    let mut env = kinto.open().await;
    let start = env.snapshot(&Cx::default()).await.unwrap();
    step(&mut *env, &note()).await;
    let error = back(&mut *env, &start).await.unwrap_err();
    let RestoreError::Unrestorable(reason) = &error else {
        panic!("{error:?}");
    };
    assert!(
        reason.starts_with(
            "undoing `patch_record` by `patch_record` did not take it back: `get_record` gives "
        ),
        "{reason}"
    );
}

#[tokio::test]
async fn a_search_that_cannot_go_back_loses_its_states_and_commits_nothing() {
    let Some(kinto) = Kinto::start(wrong).await else {
        return;
    };
    let propose = |view: &View<'_>| match view.path.len() {
        0 => vec![note(), Action::new("finish", json!({"answer": "done"}))],
        _ => vec![Action::new("give_up", json!({"reason": "wrong"}))],
    };
    let job = tool_job(
        "leave the rug alone",
        kinto.world,
        SearchConfig {
            strategy: StrategyKind::BestFirst,
            branching: NonZeroU8::new(2).unwrap(),
            depth: 3,
            ..SearchConfig::default()
        },
        policy(propose),
        // The start looks better than what the patch led to: back there.
        critic(|view| Some(if view.path.is_empty() { 0.5 } else { 0.2 })),
    );
    let report = quiet(job).await.report;
    let lost: Vec<&String> = report.steps.lost.values().collect();
    assert!(
        lost.iter()
            .any(|reason| reason.contains("did not take it back")),
        "{report:?}"
    );
    assert_eq!(report.verdict.outcome, Outcome::Unscored, "{report:?}");
}
