//! The command line: one file per command.
//!
//! Exit codes, the same for every command:
//!
//! | Code | Meaning |
//! |---|---|
//! | 0 | every task solved, or the command did its work |
//! | 1 | ran, and not every task was solved (or a replay differs) |
//! | 2 | wrong usage: arguments, task files, configuration |
//! | 3 | the environment failed: no browser, a site that is not there |
//! | 4 | the model provider failed |
//! | 5 | the record could not be written or read |
//! | 130 | interrupted; what was recorded is complete |

mod app;
mod bench;
mod demo;
mod doctor;
mod doctor_site;
mod error;
mod export;
pub mod fetch;
mod import;
pub mod install;
mod judge;
mod models;
mod places;
mod replay;
mod run;
mod run_tools;
mod tools;
mod tools_find;

pub use app::main;
pub use error::{CliError, Exit};
