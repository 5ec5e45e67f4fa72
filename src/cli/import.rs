//! `branchline import`: other programs' search trees become runs.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::app::print;
use super::{CliError, Exit};
use crate::record::toolbench::{ImportError, Repeats, import as import_toolbench};

/// Options of `branchline import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// What the files are.
    #[arg(value_enum)]
    format: Format,
    /// The files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where records are kept.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// One JSON line per file, and one for all.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Answer trees of `ToolBench`'s depth-first search (`G1_answer/….json`).
    Toolbench,
}

/// `branchline import`.
pub(super) fn import(args: &ImportArgs) -> Result<Exit, CliError> {
    let Format::Toolbench = args.format;
    let mut all = Repeats::default();
    for file in &args.files {
        let document = read(file)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("toolbench/{name}");
        let done = import_toolbench(&args.out, &document, &name).map_err(|error| {
            let what = format!("{}: {error}", file.display());
            let exit = match error {
                ImportError::Shape { .. } | ImportError::Unlike(_) => Exit::Usage,
                ImportError::Record(_) => Exit::Record,
            };
            CliError::new(exit, what)
        })?;
        let Repeats {
            calls,
            repeated,
            same_reply,
        } = done.repeats;
        all.calls += calls;
        all.repeated += repeated;
        all.same_reply += same_reply;
        if args.json {
            let line = json!({
                "file": file, "run": done.dir, "states": done.nodes, "replies": done.replies,
                "answered": done.answered, "repeats": done.repeats,
            });
            print(&line.to_string());
        } else {
            let end = if done.answered {
                "answered"
            } else {
                "no answer"
            };
            print(&format!(
                "{name}: {} states, {} replies, {end}, {repeated} of {calls} calls repeated  {}",
                done.nodes,
                done.replies,
                done.dir.display()
            ));
        }
    }
    if args.json {
        print(&json!({ "files": args.files.len(), "repeats": all }).to_string());
    } else if args.files.len() > 1 {
        print(&format!(
            "{} of {} calls repeat one of their tree, which a memo answers; {} of these had got the \
             same reply",
            all.repeated, all.calls, all.same_reply
        ));
    }
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<Value, CliError> {
    let usage = |what: String| CliError::new(Exit::Usage, format!("{}: {what}", file.display()));
    let text = std::fs::read(file).map_err(|error| usage(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| usage(format!("no JSON: {error}")))
}
