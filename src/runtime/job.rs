//! What a run is given, what it says while it goes on, and what it reports.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::critic::Critic;
use crate::env::World;
use crate::eval::{Check, Verdict};
use crate::policy::Policy;
use crate::record::RecordError;
use crate::search::{Request, SearchConfig, Spent, StopReason};
use crate::types::{
    Cost, Digest, Effect, Miss, MissReason, NodeId, PathStep, Rung, Seed, SiteNote, Ticket,
};

/// One run: a task, who acts on it, and how far.
#[derive(Clone)]
pub struct Job {
    /// The task's own goal. Without it the environment must state one.
    pub goal: Option<String>,
    /// How to search.
    pub search: SearchConfig,
    /// Who proposes.
    pub policy: Arc<dyn Policy>,
    /// Who values.
    pub critic: Arc<dyn Critic>,
    /// Where.
    pub world: Arc<dyn World>,
    /// Most environments open at a time (fewer where the world handles fewer). Model calls are
    /// bounded by [`SearchConfig::in_flight`] only.
    pub workers: NonZeroUsize,
    /// What the committed run must fulfil.
    pub checks: Vec<Check>,
    /// Limits on time.
    pub limits: RunLimits,
    /// Seed of the run; environments and samples derive theirs from it.
    pub seed: Seed,
    /// How often an order is tried again after a fault of the environment. Each attempt starts
    /// from the restored parent state; only where nothing undoes writes
    /// [`Writes::Allow`](crate::types::Writes)) may a write be sent twice.
    pub retries: u8,
    /// Search, and say what the commit would send, without committing anything.
    pub dry_run: bool,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("goal", &self.goal)
            .field("search", &self.search)
            .field("policy", &self.policy.name())
            .field("critic", &self.critic.name())
            .field("workers", &self.workers)
            .field("checks", &self.checks)
            .field("limits", &self.limits)
            .field("seed", &self.seed)
            .field("retries", &self.retries)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// Limits on time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunLimits {
    /// For the search as a whole; the commit comes after it.
    pub wall: Option<Duration>,
    /// For each external call.
    pub calls: Limits,
}

/// The longest that one external call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Opening an environment.
    pub open: Duration,
    /// Observing, and taking a snapshot.
    pub observe: Duration,
    /// One action, until the environment is at rest.
    pub act: Duration,
    /// One restore, replayed actions included.
    pub restore: Duration,
    /// One proposal, retries of the provider included.
    pub propose: Duration,
    /// One judgement, likewise.
    pub judge: Duration,
    /// Closing an environment.
    pub close: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            open: seconds(60),
            observe: seconds(20),
            act: seconds(30),
            restore: seconds(120),
            propose: seconds(300),
            judge: seconds(300),
            close: seconds(10),
        }
    }
}

/// What happens, for whoever watches. The callback also gets the search as it stands then.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// The start state was observed; the tree holds its root.
    Opened {
        /// The goal.
        goal: String,
        /// Where the record is.
        dir: PathBuf,
    },
    /// A commit sent what was held and was not the end: the search goes on from where it led, in a
    /// tree of its own.
    Round {
        /// Which, from 0; the first is never announced.
        round: u32,
    },
    /// An order was asked.
    Started {
        /// Its ticket.
        ticket: Ticket,
        /// What.
        request: Request,
    },
    /// An order was told. Under `order = "ticket"` it may land later than it was told: `nodes` are
    /// those that landed just now.
    Landed {
        /// Its ticket.
        ticket: Ticket,
        /// What it was.
        request: Request,
        /// States that are new in the tree.
        nodes: Vec<NodeId>,
        /// Of a step: what it was done to, as rendered (`button "Add to cart"`).
        target: Option<String>,
        /// Of a step that led to a state: its URL.
        url: Option<String>,
        /// Why it failed, or was refused or held.
        note: Option<String>,
        /// What was spent until now.
        spent: Spent,
    },
    /// Something people should know.
    Warning(String),
    /// The search is over.
    SearchEnded {
        /// Why.
        reason: StopReason,
        /// The state that will be committed.
        best: Option<NodeId>,
    },
    /// An action of the best path is about to be executed for good.
    Committing {
        /// Which, from 1.
        step: usize,
        /// Of how many.
        of: usize,
        /// The action, as it prints.
        action: String,
    },
    /// The verdict.
    Verdict(Verdict),
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    /// Where the record is.
    pub dir: PathBuf,
    /// The goal.
    pub goal: String,
    /// Why the search ended.
    pub reason: StopReason,
    /// The state that was committed.
    pub best: Option<NodeId>,
    /// On the committed run. `Unscored`, with the reason in every check, if there was none.
    pub verdict: Verdict,
    /// Why nothing was committed, or where the commit stopped.
    pub uncommitted: Option<String>,
    /// The best path as it was searched; with several rounds, what was committed before it and then
    /// the last round's.
    pub path: Vec<PathStep>,
    /// How often the search went on after a commit: 1 for a run of one search.
    pub rounds: u32,
    /// Of a dry run: what the commit would send, in order.
    pub would_send: Vec<Effect>,
    /// The HTTP archive of what the commit exchanged, where the environment keeps one.
    pub archive: Option<PathBuf>,
    /// The answer that was given in the commit.
    pub answer: Option<String>,
    /// What the search spent.
    pub spent: Spent,
    /// What the whole run cost, the commit included.
    pub cost: Cost,
    /// What was done in environments.
    pub steps: StepFigures,
    /// What the environments found out about the site: what was passed by, what stood in the way of
    /// restores.
    pub notes: Vec<SiteNote>,
    /// Wall time of the run, in milliseconds.
    pub wall_ms: u64,
    /// Digest of the last round's tree.
    pub tree_digest: Digest,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// What ended the search early, if a provider or the environment did.
    pub failure: Option<Failure>,
}

/// What broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which part.
    pub part: FailurePart,
    /// Why, in words.
    pub reason: String,
}

/// The parts that can break a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePart {
    /// The policy's or the critic's model provider.
    Provider,
    /// The environment.
    Environment,
}

/// What was done in environments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepFigures {
    /// Actions executed for the search, replayed ones and failed attempts included.
    pub actions: u32,
    /// Restores by the rung that reached the state.
    pub restores: BTreeMap<Rung, RestoreFigures>,
    /// Rungs that did not lead to a state, by the reason: how often, and how long that took.
    pub misses: BTreeMap<(Rung, MissReason), RestoreFigures>,
    /// States that no rung reached again, and why. Nothing more is tried under them.
    pub lost: BTreeMap<NodeId, String>,
    /// What environments learned about the order of rungs, in words.
    pub learned: Vec<String>,
    /// Orders whose action led to a state that was known already.
    pub loops: u32,
    /// Orders whose action was refused.
    pub rejected: u32,
    /// Orders whose action was held because it writes.
    pub held: u32,
    /// Orders that failed after every retry.
    pub failed: u32,
    /// Attempts that failed and were tried again.
    pub retried: u32,
    /// Actions executed in the commit.
    pub commit_actions: u32,
    /// Writes that were sent while searching, replayed paths left out.
    pub writes: u32,
    /// Writes that the commit sent.
    pub commit_writes: u32,
    /// Calls of tools that were sent while searching, by actions that led to a state.
    pub calls: u32,
    /// Calls of tools that were answered from the record instead.
    pub recorded_calls: u32,
}

impl StepFigures {
    /// Counts the rungs that were missed.
    pub(super) fn count_misses(&mut self, misses: &[Miss]) {
        for miss in misses {
            let figures = self.misses.entry((miss.rung, miss.reason)).or_default();
            figures.count += 1;
            figures.ms += miss.ms;
        }
    }

    /// Rungs that were tried and led to another state.
    #[must_use]
    pub fn mismatches(&self) -> u32 {
        let of = |((_, reason), figures): (&(Rung, MissReason), &RestoreFigures)| {
            if reason.is_mismatch() {
                figures.count
            } else {
                0
            }
        };
        self.misses.iter().map(of).sum()
    }
}

/// Restores (or misses) by one rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreFigures {
    /// How many.
    pub count: u32,
    /// Milliseconds in all.
    pub ms: u64,
}

/// Why a run has no report. The record, as far as it could be written, is kept.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No environment, or no start state. The hint is the environment's own.
    #[error("the environment did not start: {reason}")]
    Start {
        /// Why.
        reason: String,
        /// What the user can do, where the environment knows.
        hint: Option<String>,
    },
    /// Nobody said what to do.
    #[error("there is no goal: neither the task nor its environment states one")]
    NoGoal,
    /// The record could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Stopped before there was a tree.
    #[error("interrupted before the start state was observed")]
    Interrupted,
}
