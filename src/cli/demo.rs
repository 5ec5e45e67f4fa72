//! `branchline demo`: a search to watch, and the shop by itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::app::{print, say};
use super::install::install_browser;
use super::run::{Env, Options, suite};
use super::{CliError, Exit};
use crate::context::Cx;
use crate::demo::{DemoError, serve};
use crate::env::browser::find_browser;
use crate::task::load;

/// The task that `branchline demo` shows: its first plausible way is a dead end.
const SHOWN: &str = "demo/voucher-and-fastest-shipping";
/// The one that `branchline demo --api` shows.
const SHOWN_API: &str = "demo/api-throw-in-moss";

/// Options of `branchline demo`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DemoArgs {
    #[command(subcommand)]
    command: Option<DemoCommand>,
    /// Which demo task (`branchline run demo` runs all of them).
    #[arg(value_name = "TASK", default_value = SHOWN)]
    task: String,
    /// Search with the shop's API instead of its pages: needs no browser.
    #[arg(long, conflicts_with = "task")]
    api: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum DemoCommand {
    /// Serve the shop, to look at it yourself.
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    addr: SocketAddr,
    /// Keep the shop's state in this SQLite file, a new one, instead of in memory: what a task's
    /// `[checkpoint] sqlite` can save and put back.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
}

/// `branchline demo`.
pub(super) async fn demo(args: DemoArgs, cx: &Cx) -> Result<Exit, CliError> {
    if let Some(DemoCommand::Serve(ServeArgs { addr, database })) = args.command {
        let ready = |bound| say(&format!("the shop is at http://{bound}/ (Ctrl-C stops it)"));
        let served = serve(addr, database.as_deref(), ready, cx.token().clone()).await;
        served.map_err(|error| {
            let taken = matches!(error, DemoError::PortTaken(_) | DemoError::Listen { .. });
            let failed = CliError::new(Exit::Environment, error);
            if taken {
                failed.hint("--addr 127.0.0.1:PORT")
            } else {
                failed
            }
        })?;
        return Ok(Exit::Done);
    }
    if args.api {
        let exit = suite(&load(SHOWN_API)?, &args.options, cx).await?;
        if !args.options.output.json && !args.options.output.quiet {
            print("\nNext: `branchline run demo-api --strategy dfsdt` for all tasks of the API.");
        }
        return Ok(exit);
    }
    let html = matches!(args.options.search.env, Some(Env::Html | Env::Auto));
    if !html && args.options.output.browser.is_none() && find_browser().is_none() {
        let installed = install_browser(&mut |line| say(line)).map_err(|error| {
            let hint = error.hint();
            CliError::new(
                Exit::Environment,
                format!("failed to install a browser: {error}"),
            )
            .hint(hint)
        })?;
        say(&format!("installed {}", installed.path.display()));
    }
    let name = if args.task.starts_with("demo/") || args.task == "demo" {
        args.task.clone()
    } else {
        format!("demo/{}", args.task)
    };
    let tasks = load(&name)?;
    let exit = suite(&tasks, &args.options, cx).await?;
    if !args.options.output.json && !args.options.output.quiet {
        print("\nNext: `branchline run demo --strategy greedy` to see what one way only achieves;");
        print("`branchline demo serve` to walk through the shop yourself.");
    }
    Ok(exit)
}
