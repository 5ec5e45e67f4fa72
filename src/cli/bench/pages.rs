//! `branchline bench observe` and `bench settle`: single pages in the browser.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use clap::Args;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::environment;
use super::figures::{line, ms};
use crate::cli::app::print;
use crate::cli::run::{OutputArgs, browser};
use crate::cli::{CliError, Exit};
use crate::context::Cx;
use crate::env::browser::{BrowserConfig, BrowserWorld};
use crate::env::{Environment, FixedSite, World};
use crate::types::{Action, Seed, Step, Writes};

#[derive(Debug, Args)]
pub(in crate::cli) struct PageArgs {
    /// Repetitions.
    #[arg(long, default_value_t = 30)]
    runs: usize,
    #[command(flatten)]
    output: OutputArgs,
}

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

/// Observing a large page.
pub(super) async fn observe(args: &PageArgs, cx: &Cx) -> Result<(), CliError> {
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
    Ok(())
}

/// Clicks on static pages.
pub(super) async fn settle(args: &PageArgs, cx: &Cx) -> Result<(), CliError> {
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
    Ok(())
}
