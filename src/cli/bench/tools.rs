//! `branchline bench tools`: what a call costs beyond the request itself, and what a batch takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::figures::line;
use crate::cli::{CliError, Exit};
use crate::context::Cx;
use crate::env::tools::environment::{ToolRules, ToolSource, ToolWorld, ToolWorldConfig};
use crate::env::tools::http::{HttpConfig, HttpSource};
use crate::env::tools::openapi::{Document, Options, convert};
use crate::env::tools::registry::{Allow, CallLimits};
use crate::env::{Environment, World};
use crate::types::{Action, Seed, Step};

#[derive(Debug, Args)]
pub(super) struct ToolsArgs {
    /// Calls, one after the other, through the environment and bare.
    #[arg(long, default_value_t = 500)]
    calls: u32,
    /// Batches.
    #[arg(long, default_value_t = 10)]
    runs: u32,
    /// Calls in a batch.
    #[arg(long, value_name = "1..256", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=256))]
    parallel: u32,
    /// Milliseconds that each call of a batch takes on the server.
    #[arg(long, default_value_t = 50)]
    latency: u64,
}

fn failed(what: impl std::fmt::Display) -> CliError {
    CliError::new(Exit::Environment, what)
}

/// A server of two operations: one answers at once, one after the latency.
async fn serve(latency: Duration, stop: CancellationToken) -> Result<String, CliError> {
    let item = |Path(id): Path<u32>| async move { Json(item(id)) };
    let slow = move |Path(id): Path<u32>| async move {
        tokio::time::sleep(latency).await;
        Json(json!({ "id": id }))
    };
    let app = Router::new()
        .route("/items/{id}", get(item))
        .route("/slow/{id}", get(slow));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(failed)?;
    let base = format!("http://{}", listener.local_addr().map_err(failed)?);
    tokio::spawn(async move {
        let serving = axum::serve(listener, app);
        serving.with_graceful_shutdown(stop.cancelled_owned()).await
    });
    Ok(base)
}

fn item(id: u32) -> Value {
    json!({
        "id": id, "name": "Harbour lamp", "price": 49.5, "in_stock": true,
        "tags": ["lamp", "outdoor", "brass"],
    })
}

/// The world of that server's tools, from an `OpenAPI` document as anybody's would be.
fn world(base: &str) -> Result<ToolWorld, CliError> {
    let id =
        json!([{ "name": "id", "in": "path", "required": true, "schema": { "type": "integer" } }]);
    let operation =
        |name: &str| json!({ "get": { "operationId": name, "parameters": id, "responses": {} } });
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "bench", "version": "1" },
        "paths": { "/items/{id}": operation("get_item"), "/slow/{id}": operation("get_slow") },
    });
    let document = Document::parse(document.to_string().as_bytes()).map_err(failed)?;
    let options = Options {
        source: "bench".to_owned(),
        base_url: Some(base.to_owned()),
        ..Options::default()
    };
    let source = HttpSource::new(HttpConfig {
        name: "bench".to_owned(),
        tools: convert(&document, &options).tools,
        credentials: None,
        headers: Vec::new(),
        allow: Allow {
            private: true,
            ..Allow::default()
        },
        limits: CallLimits::default(),
    })
    .map_err(failed)?;
    let source = ToolSource {
        source: Arc::new(source),
        rules: ToolRules::default(),
        memo: None,
    };
    Ok(ToolWorld::new(ToolWorldConfig::new("bench", vec![source])))
}

async fn act(env: &mut dyn Environment, action: &Action, cx: &Cx) -> Result<f64, CliError> {
    let begun = Instant::now();
    let step = env.act(action, cx).await.map_err(failed)?;
    let took = begun.elapsed().as_secs_f64();
    match step {
        Step::Done { .. } => Ok(took),
        other => Err(failed(format!("{action}: {other:?}"))),
    }
}

/// Measures and prints.
pub(super) async fn tools(args: &ToolsArgs, cx: &Cx) -> Result<Exit, CliError> {
    let stop = CancellationToken::new();
    let stopped = stop.clone().drop_guard();
    let base = serve(Duration::from_millis(args.latency), stop).await?;
    let world = world(&base)?;
    let mut env = world.open(Seed(0), cx).await.map_err(failed)?;
    env.observe(cx).await.map_err(failed)?;
    let root = env.snapshot(cx).await.map_err(failed)?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .map_err(failed)?;

    let (mut requests, mut actions, mut overheads) = (Vec::new(), Vec::new(), Vec::new());
    // The first exchanges open connections and compile schemas.
    let warm = 20;
    for id in 0..args.calls.max(1) + warm {
        let begun = Instant::now();
        let response = client.get(format!("{base}/items/{id}")).send().await;
        let value: Value = response.map_err(failed)?.json().await.map_err(failed)?;
        let took = begun.elapsed().as_secs_f64();
        if value != item(id) {
            return Err(failed("the server answers something else"));
        }
        let through = act(&mut *env, &Action::new("get_item", json!({ "id": id })), cx).await?;
        env.restore(&root, cx).await.map_err(failed)?;
        if id >= warm {
            requests.push(took * 1e6);
            actions.push(through * 1e6);
            overheads.push((through - took) * 1e6);
        }
    }
    line("a bare request", "µs", requests);
    line("the same as an action", "µs", actions);
    line("overhead of a call", "µs", overheads);

    let mut batches = Vec::new();
    for run in 0..args.runs.max(1) {
        let calls: Vec<Value> = (0..args.parallel)
            .map(|n| json!({ "id": format!("k{n}"), "tool": "get_slow", "arguments": { "id": run * 1000 + n } }))
            .collect();
        let action = Action::new("batch", json!({ "calls": calls }));
        batches.push(act(&mut *env, &action, cx).await? * 1e3);
        env.restore(&root, cx).await.map_err(failed)?;
    }
    let what = format!("a batch of {} reads of {} ms", args.parallel, args.latency);
    line(&what, "ms", batches);
    env.close(cx).await.map_err(failed)?;
    drop(stopped);
    Ok(Exit::Done)
}
