//! `branchline bench`: what this machine does, as medians and ratios within one run.

mod figures;
mod html;
mod lanes;
mod pages;
mod random;
mod restore;
mod round;
mod search_core;
mod tools;
mod writes;

use clap::{Args, Subcommand};

use super::{CliError, Exit};
use crate::context::Cx;

/// Options of `branchline bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The search alone, no environment: ask/tell pairs a second, bytes a node.
    Core(search_core::CoreArgs),
    /// A whole round in the demo shop with a scripted model: seconds an expansion, and the wall time
    /// over the longest chain of orders that wait for each other.
    Round(round::RoundArgs),
    /// Coming back to a state after working elsewhere, against walking to it anew.
    Restore(restore::RestoreArgs),
    /// Memory of live lanes.
    Lanes(lanes::LanesArgs),
    /// What random searches leave on a server: writes of abandoned branches, changes of its database.
    Writes(writes::WritesArgs),
    /// Observing a page of 2,000 elements, with and without a screenshot.
    Observe(pages::PageArgs),
    /// From a click to a settled page, on static pages.
    Settle(pages::PageArgs),
    /// A call of a tool over the bare request, and a batch of calls at the same time.
    Tools(tools::ToolsArgs),
    /// Pages without a browser: snapshot and restore, page actions a second.
    Html(html::HtmlArgs),
}

/// `branchline bench`.
pub(super) async fn bench(args: BenchArgs, cx: &Cx) -> Result<Exit, CliError> {
    match args.what {
        What::Core(args) => search_core::search_core(&args),
        What::Round(args) => round::round(&args, cx).await?,
        What::Restore(args) => restore::restore(&args, cx).await?,
        What::Lanes(args) => lanes::lanes(&args, cx).await?,
        What::Writes(args) => return writes::writes(&args, cx).await,
        What::Observe(args) => pages::observe(&args, cx).await?,
        What::Settle(args) => pages::settle(&args, cx).await?,
        What::Tools(args) => return tools::tools(&args, cx).await,
        What::Html(args) => return html::html(&args, cx).await,
    }
    Ok(Exit::Done)
}

fn environment(error: impl std::fmt::Display) -> CliError {
    CliError::new(Exit::Environment, error)
}
