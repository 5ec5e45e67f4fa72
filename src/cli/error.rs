//! Errors for people: what happened, what to do, which exit code.

use std::process::ExitCode;

use crate::record::{ReadError, RecordError, ReplayError};
use crate::runtime::RunError;
use crate::task::TaskError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0.
    Done,
    /// 1.
    NotSolved,
    /// 2.
    Usage,
    /// 3.
    Environment,
    /// 4.
    Provider,
    /// 5.
    Record,
    /// 130.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotSolved => 1,
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Provider => 4,
            Self::Record => 5,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error with its hints and exit code.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// What happened, with its causes.
    pub message: String,
    /// What the user can do.
    pub hints: Vec<String>,
}

impl CliError {
    /// An error without a hint.
    pub fn new(exit: Exit, message: impl std::fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            hints: Vec::new(),
        }
    }

    /// The same with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {}", self.message)?;
        for hint in &self.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl From<TaskError> for CliError {
    fn from(error: TaskError) -> Self {
        let hint = error.hint();
        let made = Self::new(Exit::Usage, error);
        match hint {
            Some(hint) => made.hint(hint),
            None => made,
        }
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Start { ref hint, .. } => {
                let hint = hint.clone();
                let made = Self::new(Exit::Environment, &error);
                match hint {
                    Some(hint) => made.hint(hint),
                    None => made.hint("is the site up, and its address right? `branchline doctor` checks the browser"),
                }
            }
            RunError::NoGoal => {
                Self::new(Exit::Usage, error).hint("put `goal = \"…\"` in the task")
            }
            RunError::Record(error) => error.into(),
            RunError::Interrupted => Self::new(Exit::Interrupted, error),
        }
    }
}

impl From<RecordError> for CliError {
    fn from(error: RecordError) -> Self {
        Self::new(Exit::Record, error)
            .hint("what was written before stays readable: `branchline replay DIR`")
            .hint("free some disk, or choose another place with --out")
    }
}

impl From<ReadError> for CliError {
    fn from(error: ReadError) -> Self {
        Self::new(Exit::Record, error)
    }
}

impl From<ReplayError> for CliError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Read(error) => error.into(),
            other => Self::new(Exit::NotSolved, format!("the replay differs: {other}"))
                .hint("the log was changed, or written by another version of the search"),
        }
    }
}
