//! `branchline export`: imported runs as the files that they came from.

use std::path::PathBuf;

use clap::Args;

use super::app::print;
use super::import::Format;
use super::{CliError, Exit};
use crate::record::toolbench::{OriginalError, original};

/// Options of `branchline export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// What the file is to be.
    #[arg(value_enum)]
    format: Format,
    /// The directory of a run that was imported from this format.
    #[arg(value_name = "RUN")]
    run: PathBuf,
}

/// `branchline export`.
pub(super) fn export(args: &ExportArgs) -> Result<Exit, CliError> {
    let Format::Toolbench = args.format;
    let document = original(&args.run).map_err(|error| match error {
        OriginalError::Read(error) => error.into(),
        OriginalError::Replay(error) => error.into(),
        OriginalError::NotImported => {
            CliError::new(Exit::Usage, format!("{}: {error}", args.run.display()))
                .hint("only what `branchline import` made can be exported")
        }
    })?;
    print(&document.to_string());
    Ok(Exit::Done)
}
