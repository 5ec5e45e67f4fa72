//! `branchline bench`: what this machine does, as medians and ratios within one run.

mod html;
mod tools;

use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::app::{print, say};
use super::run::{OutputArgs, browser};
use super::{CliError, Exit};
use crate::context::Cx;
use crate::critic::{LlmCritic, LlmCriticConfig};
use crate::demo::DemoSite;
use crate::env::browser::{BrowserConfig, BrowserWorld};
use crate::env::{Environment, FixedSite, World};
use crate::llm::{ChatRequest, Scripted};
use crate::policy::{LlmPolicy, LlmPolicyConfig};
use crate::record::{Recorder, Redactor, RunManifest};
use crate::runtime::{Job, RunLimits, RunReport};
use crate::search::{Budget, SearchConfig, bench as core};
use crate::types::{Action, Seed, Step, Writes};

/// Options of `branchline bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The search alone, no environment: ask/tell pairs a second, bytes a node.
    Core(CoreArgs),
    /// A whole round in the demo shop with a model that answers at once: seconds an expansion.
    Round(RoundArgs),
    /// Observing a page of 2,000 elements, with and without a screenshot.
    Observe(PageArgs),
    /// From a click to a settled page, on static pages.
    Settle(PageArgs),
    /// A call of a tool over the bare request, and a batch of calls at the same time.
    Tools(tools::ToolsArgs),
    /// Pages without a browser: snapshot and restore, page actions a second.
    Html(html::HtmlArgs),
}

#[derive(Debug, Args)]
struct CoreArgs {
    /// Nodes of the tree.
    #[arg(long, default_value_t = 100_000)]
    nodes: u32,
    /// Repetitions.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

#[derive(Debug, Args)]
struct RoundArgs {
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Lanes.
    #[arg(long, value_name = "1..255", default_value = "1", value_parser = super::run::count)]
    workers: NonZeroU8,
    /// Milliseconds the scripted model takes for a reply.
    #[arg(long, default_value_t = 0)]
    latency: u64,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct PageArgs {
    /// Repetitions.
    #[arg(long, default_value_t = 30)]
    runs: usize,
    #[command(flatten)]
    output: OutputArgs,
}

/// `branchline bench`.
pub(super) async fn bench(args: BenchArgs, cx: &Cx) -> Result<Exit, CliError> {
    match args.what {
        What::Core(args) => {
            search_core(&args);
            Ok(Exit::Done)
        }
        What::Round(args) => round(&args, cx).await,
        What::Observe(args) => observe(&args, cx).await,
        What::Settle(args) => settle(&args, cx).await,
        What::Tools(args) => tools::tools(&args, cx).await,
        What::Html(args) => html::html(&args, cx).await,
    }
}

/// Minimum, median and maximum of some figures.
fn spread(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    let at = |i: usize| figures.get(i).copied().unwrap_or(f64::NAN);
    (
        at(0),
        at(figures.len() / 2),
        at(figures.len().saturating_sub(1)),
    )
}

fn line(what: &str, unit: &str, figures: Vec<f64>) {
    let n = figures.len();
    let (low, median, high) = spread(figures);
    print(&format!(
        "{what:<44} median {median:.2} {unit}   (min {low:.2}, max {high:.2}, n {n})"
    ));
}

fn search_core(args: &CoreArgs) {
    let mut rates = Vec::new();
    let mut bytes = 0;
    for _ in 0..args.runs.max(1) {
        let begun = Instant::now();
        let figures = core::measure(args.nodes);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        rates.push(figures.pairs as f64 / begun.elapsed().as_secs_f64() / 1000.0);
        bytes = figures.bytes_per_node;
    }
    line(
        &format!("ask/tell, best-first, {} nodes", args.nodes),
        "k pairs/s",
        rates,
    );
    print(&format!(
        "{:<44} {bytes} bytes (edges, actions and frontier included)",
        "memory a node"
    ));
}

// --- a whole round ----------------------------------------------------------------------------

/// A model that answers at once: up to five links of the page, and verdicts that rise with depth,
/// so that the search goes down as a good critic would make it.
fn model(latency: Duration) -> Scripted {
    Scripted::new(|request| {
        let prompt = request.messages.last().map_or("", |m| m.content.as_str());
        let texts: Vec<String> = if wants_verdict(request) {
            let depth = (1..=9)
                .take_while(|i| prompt.contains(&format!("\n{i}. ")))
                .count();
            (0..request.n as usize)
                .map(|i| {
                    let on_track = if i < 4 * depth { "yes" } else { "no" };
                    json!({"on_track": on_track, "status": "failure", "why": "scripted"})
                        .to_string()
                })
                .collect()
        } else {
            vec![json!({"actions": links(prompt, 5)}).to_string()]
        };
        Ok(Scripted::reply(request, texts))
    })
    .with_latency(latency)
}

fn wants_verdict(request: &ChatRequest) -> bool {
    matches!(&request.format, crate::llm::ResponseFormat::JsonSchema { name, .. } if name == "judgement")
}

/// Clicks on links of the fenced page, spread over it; a different part for every page.
fn links(prompt: &str, count: usize) -> Vec<Value> {
    let refs: Vec<&str> = prompt
        .split('[')
        .skip(1)
        .filter_map(|part| part.split_once("] link \"").map(|(number, _)| number))
        .filter(|number| number.bytes().all(|b| b.is_ascii_digit()))
        .collect();
    let step = (refs.len() / count).max(1);
    let first = prompt.len() % step.max(1);
    refs.iter()
        .skip(first)
        .step_by(step)
        .take(count)
        .map(|number| json!({"action": "click", "ref": number}))
        .collect()
}

async fn one_round(args: &RoundArgs, cx: &Cx) -> Result<RunReport, CliError> {
    let config = BrowserConfig {
        binary: Some(browser(&args.output)?),
        screenshots: !args.output.no_screenshots,
        ..BrowserConfig::default()
    };
    let world = BrowserWorld::new(
        config,
        Arc::new(DemoSite::new()),
        "/",
        Writes::Checkpoint,
        None,
    );
    let model = Arc::new(model(Duration::from_millis(args.latency)));
    let critic = LlmCriticConfig {
        samples: 20,
        ..LlmCriticConfig::default()
    };
    let search = SearchConfig {
        branching: const { NonZeroU8::new(5).unwrap() },
        depth: 5,
        budget: Budget {
            steps: Some(20),
            ..Budget::default()
        },
        in_flight: args.workers,
        ..SearchConfig::default()
    };
    let manifest = RunManifest {
        task: "bench/round".to_owned(),
        search,
        ..RunManifest::default()
    };
    let recorder = Recorder::create(&args.output.out, &manifest, Redactor::new([""; 0]))?;
    let job = Job {
        goal: Some("Look around in the shop.".to_owned()),
        search,
        policy: Arc::new(LlmPolicy::new(model.clone(), LlmPolicyConfig::default())),
        critic: Arc::new(LlmCritic::new(model, critic)),
        world: Arc::new(world),
        workers: NonZeroUsize::from(args.workers),
        checks: Vec::new(),
        limits: RunLimits::default(),
        seed: Seed(0),
        retries: 0,
        dry_run: false,
    };
    Ok(crate::runtime::run(job, recorder, &mut |_, _| {}, cx).await?)
}

async fn round(args: &RoundArgs, cx: &Cx) -> Result<Exit, CliError> {
    say("demo shop, best-first, branching 5, depth 5, budget 20, scripted model; commit included");
    let mut seconds = Vec::new();
    for index in 0..args.runs.max(1) {
        let report = one_round(args, cx).await?;
        if let Some(failure) = &report.failure {
            return Err(CliError::new(Exit::Environment, &failure.reason));
        }
        let expansions = report.spent.steps.max(1);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a bench")]
        let each = report.wall_ms as f64 / 1000.0 / f64::from(expansions);
        seconds.push(each);
        let figures = &report.steps;
        let restores: Vec<String> = figures
            .restores
            .iter()
            .map(|(rung, f)| format!("{rung:?} {} in {} ms", f.count, f.ms))
            .collect();
        print(&format!(
            "round {}: {expansions} expansions, {:.2} s each; {:.2} actions executed per expansion; \
             {} rejected, {} failed, {} silent; restores: {}; commit: {} actions{}",
            index + 1,
            each,
            f64::from(figures.actions) / f64::from(expansions),
            figures.rejected,
            figures.failed,
            // An action either reaches a verified state, is rejected, held or failed: there is no
            // other way out of `act`, so what is left over is what went wrong unseen.
            silent(&report),
            restores.join(", "),
            figures.commit_actions,
            report
                .uncommitted
                .as_ref()
                .map_or_else(String::new, |why| format!(" ({why})")),
        ));
    }
    line("wall time an expansion", "s", seconds);
    Ok(Exit::Done)
}

/// Steps that are neither a state nor accounted for as refused, held or failed.
fn silent(report: &RunReport) -> u32 {
    let states = report.spent.nodes.saturating_sub(1);
    let figures = &report.steps;
    let known = states + figures.loops + figures.rejected + figures.held + figures.failed;
    report.spent.steps.saturating_sub(known)
}

// --- single pages -----------------------------------------------------------------------------

/// A server of two static pages and one of 2,000 elements.
struct Pages {
    origin: String,
    _stop: DropGuard,
}

impl Pages {
    async fn serve() -> Result<Self, CliError> {
        let failed = |e: std::io::Error| CliError::new(Exit::Environment, format!("no port: {e}"));
        let page = |title: &str, link: &str| {
            format!(
                "<!doctype html><title>{title}</title><h1>{title}</h1><p>A static page.</p>\
                 <button>Nothing happens</button> <a href={link}>Next page</a>"
            )
        };
        let row = |i: usize| {
            format!(
                "<tr><td>Item {i}</td><td><a href=/i/{i}>Details {i}</a></td><td><button>Add {i}</button></td><td><input aria-label='Quantity {i}' value=1></td></tr>"
            )
        };
        let rows: String = (0..500).map(row).collect();
        let large = format!("<!doctype html><title>Large</title><table>{rows}</table>");
        let (one, two) = (page("One", "/two"), page("Two", "/"));
        let app = Router::new()
            .route("/", get(move || std::future::ready(Html(one.clone()))))
            .route("/two", get(move || std::future::ready(Html(two.clone()))))
            .route(
                "/large",
                get(move || std::future::ready(Html(large.clone()))),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(failed)?;
        let origin = format!("http://{}", listener.local_addr().map_err(failed)?);
        let cancel = CancellationToken::new();
        let stopped = cancel.clone().cancelled_owned();
        tokio::spawn(async move {
            let server = axum::serve(listener, app).with_graceful_shutdown(stopped);
            if let Err(error) = server.await {
                tracing::warn!(%error, "the bench's pages stopped");
            }
        });
        Ok(Self {
            origin,
            _stop: cancel.drop_guard(),
        })
    }
}

async fn open(
    pages: &Pages,
    path: &str,
    screenshots: bool,
    output: &OutputArgs,
    cx: &Cx,
) -> Result<(BrowserWorld, Box<dyn Environment>), CliError> {
    let config = BrowserConfig {
        binary: Some(browser(output)?),
        screenshots,
        ..BrowserConfig::default()
    };
    let site = Arc::new(FixedSite::new(&pages.origin));
    let world = BrowserWorld::new(config, site, path, Writes::Session, None);
    let env = world.open(Seed(0), cx).await.map_err(environment)?;
    Ok((world, env))
}

fn environment(error: impl std::fmt::Display) -> CliError {
    CliError::new(Exit::Environment, error)
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

async fn observe(args: &PageArgs, cx: &Cx) -> Result<Exit, CliError> {
    let pages = Pages::serve().await?;
    for (screenshots, what) in [
        (false, "observe 2,000 elements"),
        (true, "observe 2,000 elements, with screenshot"),
    ] {
        let (_world, mut env) = open(&pages, "/large", screenshots, &args.output, cx).await?;
        let first = env.observe(cx).await.map_err(environment)?;
        let mut times = Vec::new();
        for _ in 0..args.runs {
            let begun = Instant::now();
            env.observe(cx).await.map_err(environment)?;
            times.push(ms(begun));
        }
        line(what, "ms", times);
        if !screenshots {
            print(&format!(
                "{:<44} {} elements, {} tokens of text, {} omitted",
                "",
                first.elements.len(),
                first.tokens,
                first.omitted.above + first.omitted.below + first.omitted.cut
            ));
        }
    }
    Ok(Exit::Done)
}

async fn settle(args: &PageArgs, cx: &Cx) -> Result<Exit, CliError> {
    let pages = Pages::serve().await?;
    for (role, what) in [
        ("button", "click to settled, nothing happens"),
        ("link", "click to settled, next page loads"),
    ] {
        let (_world, mut env) = open(&pages, "/", false, &args.output, cx).await?;
        let mut times = Vec::new();
        for _ in 0..args.runs {
            let seen = env.observe(cx).await.map_err(environment)?;
            let target = seen.elements.iter().find(|element| element.role == role);
            let Some(target) = target else {
                return Err(environment(format!(
                    "the page shows no {role}: {}",
                    seen.text
                )));
            };
            let click = Action::new("click", json!({"ref": target.r#ref}));
            let begun = Instant::now();
            let step = env.act(&click, cx).await.map_err(environment)?;
            times.push(ms(begun));
            if !matches!(step, Step::Done { .. }) {
                return Err(environment(format!(
                    "the click was not carried out: {step:?}"
                )));
            }
        }
        line(what, "ms", times);
    }
    Ok(Exit::Done)
}
