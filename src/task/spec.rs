//! A task, parsed: everything a run needs to know.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

use serde::{Deserialize, Serialize};

use crate::env::episode::Episode;
use crate::env::server::ServerSpec;
use crate::eval::Check;
use crate::types::{EffectRules, Writes};

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
    /// Which requests write, where the method does not tell.
    #[serde(default)]
    pub effects: EffectRules,
    /// Where it starts.
    pub start: StartSpec,
    /// Budgets that the task asks for; the command line goes before them.
    pub limits: Limits,
    /// What must hold in the end: never empty.
    pub checks: Vec<Check>,
    /// How to start and read an episode, for pages that are one.
    pub episode: Option<Episode>,
    /// What it is done with, where that is tools: always there with [`EnvKind::Tools`].
    pub tools: Option<ToolsSpec>,
}

/// The tools of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolsSpec {
    /// A registry file, a directory of them, or an `OpenAPI` document (file or URL); `demo` and
    /// `bfcl` are part of the program.
    pub registry: String,
    /// Names of the tools that may be used, `*` for any characters; all of them where empty.
    pub only: Vec<String>,
    /// The most tools that are offered: those that fit the goal best; all where nothing is said.
    #[serde(default)]
    pub top_k: Option<NonZeroUsize>,
}

/// The kinds of environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvKind {
    /// A real browser.
    #[default]
    Browser,
    /// The same pages without a browser: no scripts run.
    Html,
    /// Without a browser where the start page loses nothing by it, else with one.
    Auto,
    /// Calls of the tools of a registry.
    Tools,
}

impl EnvKind {
    /// As task files and the command line name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Html => "html",
            Self::Auto => "auto",
            Self::Tools => "tools",
        }
    }
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
    /// A session with BFCL's backends, for the task of this name.
    Bfcl(String),
    /// Servers that run, or are started for the run.
    Server(Box<ServerSpec>),
    /// None of the task's own: its tools say where they are.
    None,
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
