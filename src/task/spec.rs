//! A task, parsed: everything a run needs to know.

use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Serialize};

use crate::eval::Check;
use crate::types::Writes;

/// One task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name in tables and records: `demo/cheapest-mug`, `miniwob/click-test?seed=0`.
    pub id: String,
    /// What to achieve, in the user's words; `None` where the environment states it itself.
    pub goal: Option<String>,
    /// The kind of environment.
    pub env: EnvKind,
    /// What writes may do while searching.
    pub writes: Writes,
    /// Where it starts.
    pub start: StartSpec,
    /// Budgets that the task asks for; the command line goes before them.
    pub limits: Limits,
    /// What must hold in the end: never empty.
    pub checks: Vec<Check>,
    /// How to start and read an episode, for pages that are one.
    pub episode: Option<Episode>,
}

/// The kinds of environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvKind {
    /// A real browser.
    #[default]
    Browser,
}

/// Where a task starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartSpec {
    /// On which site.
    pub site: StartSite,
    /// Path and query of the first page, starting with a slash.
    pub path: String,
}

/// The sites a task can start on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartSite {
    /// The embedded shop.
    Demo,
    /// The fetched `MiniWoB` pages.
    Miniwob,
    /// Somebody's server: an `http` or `https` origin, no trailing slash.
    Origin(String),
}

/// Budgets of one search; an absent one is left to the command line and its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Executed actions.
    pub steps: Option<NonZeroU32>,
    /// Actions from the start to a state.
    pub depth: Option<NonZeroU32>,
    /// States.
    pub nodes: Option<NonZeroU32>,
    /// Prompt and completion tokens together.
    pub tokens: Option<NonZeroU64>,
    /// Wall time in seconds.
    pub seconds: Option<NonZeroU64>,
}

/// How the browser environment starts and reads an episode: JavaScript expressions for the main
/// world of the top page (`Runtime.evaluate`, result by value). None of them throws on a page that
/// is no episode, except `begin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// The seed that `begin` uses.
    pub seed: u64,
    /// True once the page has loaded and waits to be started. Poll it.
    pub ready: String,
    /// Starts the episode; true. Evaluate once after every load of the page, never twice.
    pub begin: String,
    /// The goal as a string, or null until the page is ready to be used. Poll it after `begin`:
    /// until then the state is not the start state.
    pub goal: String,
    /// Whether the episode that `begin` started is over.
    pub done: String,
    /// Its reward as a number once it is over, else null.
    pub reward: String,
}
