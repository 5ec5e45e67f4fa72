//! `branchline bench core`: the search alone.

use std::time::Instant;

use clap::Args;

use super::figures::line;
use crate::cli::app::print;
use crate::search::bench::measure;

#[derive(Debug, Args)]
pub(in crate::cli) struct CoreArgs {
    /// Nodes of the tree.
    #[arg(long, default_value_t = 100_000)]
    nodes: u32,
    /// Repetitions.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// Ask/tell pairs a second, bytes a node.
pub(super) fn search_core(args: &CoreArgs) {
    let mut rates = Vec::new();
    let mut bytes = 0;
    for _ in 0..args.runs.max(1) {
        let begun = Instant::now();
        let figures = measure(args.nodes);
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
