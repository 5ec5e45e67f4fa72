//! What is logged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::search::{Budget, Outcome, Request, SearchConfig, Spent, Start, StopReason};
use crate::types::{
    Action, Cost, Digest, EdgeId, Miss, NodeId, Restored, Seed, Snapshot, Step, Ticket,
};

/// Version of the log's format. A reader refuses a later one.
pub const LOG_VERSION: u32 = 2;

/// What was run. Kept in `run.toml` for people and in the first event for [`super::replay`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunManifest {
    /// Name of the task.
    pub task: String,
    /// The search's configuration: with the outcomes it determines the tree.
    pub search: SearchConfig,
    /// Name of the policy.
    pub policy: String,
    /// Name of the critic.
    pub critic: String,
    /// Most environments open at a time.
    pub workers: u32,
    /// Seed of the run: environments' and samples' seeds derive from it.
    pub seed: Seed,
    /// Versions by part (`branchline`, `browser`, `model`, …).
    pub versions: BTreeMap<String, String>,
    /// The caller's whole effective configuration.
    pub config: Map<String, Value>,
}

impl Default for RunManifest {
    fn default() -> Self {
        Self {
            task: String::new(),
            search: SearchConfig::default(),
            policy: String::new(),
            critic: String::new(),
            workers: 1,
            seed: Seed(0),
            versions: BTreeMap::new(),
            config: Map::new(),
        }
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Position in the log, from 0, without gaps.
    pub seq: u64,
    /// Milliseconds since the recorder was created.
    pub ms: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened. Unknown fields are ignored on reading; an unknown kind is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// The first event of every log.
    RunStarted {
        /// The run's id: its directory's name.
        id: String,
        /// What is being run.
        manifest: RunManifest,
    },
    /// The start state of a round was observed; its search begins, with tickets, nodes and edges
    /// counted anew. The first round begins at the task's start, a later one where a commit led.
    Root {
        /// Which round, from 0.
        #[serde(default)]
        round: u32,
        /// What this round may spend; the manifest's whole budget if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget: Option<Budget>,
        /// What the search is given.
        start: Start,
        /// The goal, the task's own or the environment's.
        goal: String,
        /// Blob: the observation as JSON.
        observation: Digest,
        /// Blob: JPEG.
        screenshot: Option<Digest>,
        /// The point to come back to.
        snapshot: Snapshot,
        /// Blob: the action specs as a JSON array.
        actions: Digest,
    },
    /// The run was not searched here but imported.
    Imported {
        /// The original's format.
        format: String,
        /// Blob: the original, without what the steps keep of it ([`StepDetail::source`]), as JSON.
        source: Digest,
    },
    /// The search asked for something.
    Asked {
        /// Under which ticket.
        ticket: Ticket,
        /// What.
        request: Request,
    },
    /// The search was told what became of it. The order of these events is the order of arrival.
    Told {
        /// The ticket.
        ticket: Ticket,
        /// What the search was told.
        outcome: Outcome,
        /// What the search need not know.
        detail: Detail,
    },
    /// The runtime stopped the search.
    Stopping {
        /// Why.
        reason: StopReason,
        /// More about it, in words.
        #[serde(default)]
        note: String,
    },
    /// The search is over; nothing is outstanding.
    SearchEnded {
        /// Why.
        reason: StopReason,
        /// The state to commit, if there is one.
        best: Option<NodeId>,
        /// Digest of the whole tree.
        tree: Digest,
        /// What was spent.
        spent: Spent,
    },
    /// A fresh environment is at the start state; the path will be executed there once.
    CommitStarted {
        /// The path, root first.
        path: Vec<EdgeId>,
    },
    /// One action of the path was executed and led where it had led before.
    CommitStep {
        /// Position on the path, from 0.
        index: u32,
        /// What was done.
        action: Action,
        /// What became of it.
        step: Step,
        /// The digest it led to.
        digest: Digest,
        /// The digest it had led to during the search; `None` for a write that was held then, and sent
        /// now for the first time.
        expected: Option<Digest>,
        /// Blob: the observation as JSON.
        observation: Digest,
        /// Blob: JPEG.
        screenshot: Option<Digest>,
    },
    /// The commit did not follow the path and stopped.
    CommitDiverged {
        /// Position on the path, from 0; `None`: the start state itself was another one.
        index: Option<u32>,
        /// What should have been done there.
        action: Option<Action>,
        /// The digest that was expected, where the search had seen one.
        expected: Option<Digest>,
        /// The digest that was reached, if the action was carried out at all.
        got: Option<Digest>,
        /// What happened, in words.
        reason: String,
    },
    /// The verdict on the committed run.
    Verdict {
        /// The serialised [`crate::eval::Verdict`] (the record does not depend on evaluators).
        verdict: Value,
        /// The answer that was judged.
        #[serde(default)]
        answer: Option<String>,
    },
    /// Something people should know that changes nothing.
    Warning {
        /// One line.
        text: String,
    },
    /// The last event of every complete log.
    RunEnded {
        /// How: `solved`, `not_solved`, `unscored`, `interrupted` or `failed`.
        outcome: String,
        /// Why, where it did not end in a verdict.
        #[serde(default)]
        reason: Option<String>,
        /// What the whole run cost.
        cost: Cost,
    },
}

impl EventKind {
    /// Every kind this version knows, as written.
    pub const KINDS: [&'static str; 13] = [
        "run_started",
        "root",
        "imported",
        "asked",
        "told",
        "stopping",
        "search_ended",
        "commit_started",
        "commit_step",
        "commit_diverged",
        "verdict",
        "warning",
        "run_ended",
    ];

    /// The blobs the event names, in order.
    #[must_use]
    pub fn blobs(&self) -> Vec<Digest> {
        match self {
            Self::Root {
                observation,
                screenshot,
                actions,
                ..
            } => [Some(*observation), *screenshot, Some(*actions)]
                .into_iter()
                .flatten()
                .collect(),
            Self::Imported { source, .. } => vec![*source],
            Self::Told { detail, .. } => detail.blobs(),
            Self::CommitStep {
                observation,
                screenshot,
                ..
            } => std::iter::once(*observation).chain(*screenshot).collect(),
            Self::RunStarted { .. }
            | Self::Asked { .. }
            | Self::Stopping { .. }
            | Self::SearchEnded { .. }
            | Self::CommitStarted { .. }
            | Self::CommitDiverged { .. }
            | Self::Verdict { .. }
            | Self::Warning { .. }
            | Self::RunEnded { .. } => Vec::new(),
        }
    }
}

/// What stood behind an outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Detail {
    /// A proposal.
    Propose {
        /// The policy's name.
        policy: String,
        /// Replies that were no valid action, each with the reason.
        discarded: Vec<String>,
        /// Blobs: prompt and reply of each model call, as JSON.
        exchanges: Vec<Digest>,
    },
    /// An executed action.
    Step(Box<StepDetail>),
    /// A judgement.
    Judge {
        /// The critic's name.
        critic: String,
        /// Standard deviation over samples.
        spread: Option<f32>,
        /// Samples that counted.
        samples: u32,
        /// Samples that could not be read.
        unreadable: u32,
        /// Why, in the critic's words.
        rationale: String,
        /// Blobs: prompt and reply of each model call, as JSON.
        exchanges: Vec<Digest>,
    },
    /// A comparison.
    Compare {
        /// The critic's name.
        critic: String,
        /// Why, in the critic's words.
        rationale: String,
        /// Blobs: prompt and reply of each model call, as JSON.
        exchanges: Vec<Digest>,
    },
    /// Nothing: the order was dropped.
    Dropped,
}

/// What stood behind a step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StepDetail {
    /// What became of it; `None` if it was never carried out.
    pub step: Option<Step>,
    /// What it was done to, as rendered.
    pub target: Option<String>,
    /// Where it led.
    pub url: Option<String>,
    /// How the parent state was reached.
    pub restored: Option<Restored>,
    /// The ways that were tried where none led back to the parent state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<Miss>,
    /// Blob: the observation as JSON.
    pub observation: Option<Digest>,
    /// Blob: JPEG.
    pub screenshot: Option<Digest>,
    /// The point to come back to.
    pub snapshot: Option<Snapshot>,
    /// Blob: the action specs there as a JSON array, where they are others than before the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<Digest>,
    /// Attempts that failed before, each with the reason.
    pub faults: Vec<String>,
    /// Blob: the part of the original that it was imported from, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Digest>,
}

impl Detail {
    fn blobs(&self) -> Vec<Digest> {
        match self {
            Self::Propose { exchanges, .. }
            | Self::Judge { exchanges, .. }
            | Self::Compare { exchanges, .. } => exchanges.clone(),
            Self::Step(step) => [step.observation, step.screenshot, step.actions, step.source]
                .into_iter()
                .flatten()
                .collect(),
            Self::Dropped => Vec::new(),
        }
    }
}
