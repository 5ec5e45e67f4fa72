//! `branchline replay`: the tree again, from the log alone.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::app::{print, say};
use super::{CliError, Exit};
use crate::report::{TreeStyle, Words, tree_with};

/// Options of `branchline replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// A run's directory, for example runs/20261123-101500-abcd.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What was rebuilt, as JSON.
    #[arg(long)]
    json: bool,
    /// Do not draw the tree.
    #[arg(short, long)]
    quiet: bool,
}

/// `branchline replay`.
pub(super) fn replay(args: &ReplayArgs) -> Result<Exit, CliError> {
    let run = match args.run.parent() {
        Some(parent) if args.run.is_file() => parent,
        _ => args.run.as_path(),
    };
    let replay = crate::record::replay(run)?;
    let searches = || replay.earlier.iter().chain(&replay.search);
    let nodes: usize = searches().map(|search| search.tree().len()).sum();
    let digest = replay.search.as_ref().map(|search| search.tree().digest());
    if args.json {
        let value = json!({
            "run": replay.id, "task": replay.manifest.task, "events": replay.events,
            "rounds": replay.rounds(), "nodes": nodes, "tree": digest, "ended": replay.ended, "complete": replay.complete,
            "torn": replay.torn, "missing_blobs": replay.missing,
        });
        print(&value.to_string());
        return Ok(Exit::Done);
    }
    if !args.quiet {
        let (rows, columns) = console::Term::stdout().size_checked().unwrap_or((0, 100));
        let max_lines = if rows == 0 {
            200
        } else {
            usize::from(rows) * 4
        };
        let colour = std::io::stdout().is_terminal();
        let style = TreeStyle {
            width: columns,
            max_lines,
            colour,
        };
        for (round, (search, words)) in searches().zip(Words::read(run)?).enumerate() {
            if replay.rounds() > 1 {
                print(&format!("round {}", round + 1));
            }
            print(&tree_with(search, &words, style));
        }
    }
    print(&format!(
        "{}: {} events, {nodes} states, tree {}",
        replay.manifest.task,
        replay.events,
        digest.map_or_else(|| "none".to_owned(), |d| d.short()),
    ));
    if let Some(torn) = &replay.torn {
        say(&format!("warning: the last line of the log is cut: {torn}"));
    }
    if !replay.missing.is_empty() {
        say(&format!(
            "warning: {} blobs are missing",
            replay.missing.len()
        ));
    }
    match replay.ended {
        Some(_) => print("the rebuilt tree is the recorded one"),
        None => print("the log ends before the search did; rebuilt up to there"),
    }
    Ok(Exit::Done)
}
