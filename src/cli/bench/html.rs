//! `branchline bench html`: pages without a browser.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::environment;
use super::figures::{line, ms};
use crate::cli::app::{print, say};
use crate::cli::{CliError, Exit};
use crate::context::Cx;
use crate::demo::DemoSite;
use crate::env::html::{HtmlConfig, HtmlWorld};
use crate::env::{Environment, World};
use crate::types::{Action, Observation, Rung, Seed, Step, Writes};

#[derive(Debug, Args)]
pub(in crate::cli) struct HtmlArgs {
    /// Snapshots and restores.
    #[arg(long, default_value_t = 1000)]
    runs: usize,
    /// Page actions of one walk.
    #[arg(long, default_value_t = 1000)]
    actions: u32,
}

pub(super) async fn html(args: &HtmlArgs, cx: &Cx) -> Result<Exit, CliError> {
    say("demo shop, no browser");
    for (writes, what) in [
        (Writes::Hold, "snapshot + restore, hold"),
        (
            Writes::Checkpoint,
            "snapshot + restore, checkpoint, server unmoved",
        ),
    ] {
        copies(args, writes, what, cx).await?;
    }
    walk(args, cx).await?;
    Ok(Exit::Done)
}

async fn open(start: &str, writes: Writes, cx: &Cx) -> Result<Box<dyn Environment>, CliError> {
    let site = Arc::new(DemoSite::new());
    let world = HtmlWorld::new(HtmlConfig::default(), site, start, writes);
    world.open(Seed(0), cx).await.map_err(environment)
}

async fn see(env: &mut dyn Environment, cx: &Cx) -> Result<Observation, CliError> {
    env.observe(cx).await.map_err(environment)
}

async fn act(env: &mut dyn Environment, action: &Action, cx: &Cx) -> Result<(), CliError> {
    match env.act(action, cx).await.map_err(environment)? {
        Step::Done { .. } => Ok(()),
        other => Err(environment(format!("{action} was not done: {other:?}"))),
    }
}

/// A state is changed, saved, and left for another one that was saved before: each time anew.
async fn copies(args: &HtmlArgs, writes: Writes, what: &str, cx: &Cx) -> Result<(), CliError> {
    let mut env = open("/search?q=lamp", writes, cx).await?;
    see(&mut *env, cx).await?;
    let base = env.snapshot(cx).await.map_err(environment)?;
    let mut micros = Vec::with_capacity(args.runs);
    for run in 0..args.runs {
        let seen = see(&mut *env, cx).await?;
        let field = seen.elements.iter().find(|e| e.role == "searchbox");
        let field = field.ok_or_else(|| environment("the shop has no search field"))?;
        let text = format!("lamp {run}");
        let fill = Action::new("fill", json!({"ref": field.r#ref, "text": text}));
        act(&mut *env, &fill, cx).await?;
        see(&mut *env, cx).await?;
        let begun = Instant::now();
        env.snapshot(cx).await.map_err(environment)?;
        let restored = env.restore(&base, cx).await.map_err(environment)?;
        micros.push(begun.elapsed().as_secs_f64() * 1e6);
        if restored.rung != Rung::Copy {
            return Err(environment(format!("restored by {:?}", restored.rung)));
        }
    }
    line(what, "µs", micros);
    Ok(())
}

/// Clicks on one link after the other, looking at every page; goes back to the start where a page
/// has none.
async fn walk(args: &HtmlArgs, cx: &Cx) -> Result<(), CliError> {
    let mut env = open("/", Writes::Hold, cx).await?;
    let mut seen = see(&mut *env, cx).await?;
    let (mut millis, mut elements) = (Vec::new(), 0);
    let begun = Instant::now();
    for step in 0..args.actions as usize {
        let links: Vec<&str> = seen
            .elements
            .iter()
            .filter(|e| e.role == "link")
            .map(|e| e.r#ref.as_str())
            .collect();
        let action = match links.get((step * 7) % links.len().max(1)) {
            Some(link) => Action::new("click", json!({ "ref": link })),
            None => Action::new("goto", json!({"url": "/"})),
        };
        let at = Instant::now();
        act(&mut *env, &action, cx).await?;
        seen = see(&mut *env, cx).await?;
        millis.push(ms(at));
        elements += seen.elements.len();
    }
    let seconds = begun.elapsed().as_secs_f64();
    line("page action, observed", "ms", millis);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let mean = elements as f64 / f64::from(args.actions.max(1));
    print(&format!(
        "{:<44} {:.0} a second ({} actions, {mean:.0} elements a page, server in the same process)",
        "page actions",
        f64::from(args.actions) / seconds,
        args.actions,
    ));
    Ok(())
}
