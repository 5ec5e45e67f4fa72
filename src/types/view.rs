//! What a policy or critic is shown. The ground truth of a task is not reachable from here.

use serde::{Deserialize, Serialize};

use super::{Action, ActionSpec, Effect, Observation, Rejection, Seed};

/// One executed action on the way from the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathStep {
    /// What was done.
    pub action: Action,
    /// What it was done to, as rendered (`button "Add to cart"`), where it had a target.
    pub target: Option<String>,
    /// Where it led.
    pub url: String,
    /// Whether the state changed at all.
    pub changed: bool,
}

/// An action that was already tried or queued under the same state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sibling {
    /// The action.
    pub action: Action,
    /// What became of it.
    pub outcome: SiblingOutcome,
}

/// What became of a sibling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiblingOutcome {
    /// Not executed yet.
    Queued,
    /// Executed; where it led.
    Done {
        /// URL afterwards.
        url: String,
        /// What could be seen there that could not be seen before: lines of its text, cut.
        seen: String,
    },
    /// Refused by the environment.
    Rejected(Rejection),
    /// Stopped because it writes.
    Held(Vec<Effect>),
    /// The environment failed under it.
    Failed,
}

/// Which of two states, shown one after the other, is nearer the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// The one that was shown first.
    First,
    /// The one that was shown second.
    Second,
    /// Neither.
    Tie,
}

/// The whole input of one proposal or judgement.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The task, in the user's words.
    pub goal: &'a str,
    /// From the root to here, oldest first. Only this branch: never another's history.
    pub path: &'a [PathStep],
    /// The state itself.
    pub observation: &'a Observation,
    /// The observation one step earlier, if any.
    pub previous: Option<&'a Observation>,
    /// What can be done.
    pub actions: &'a [ActionSpec],
    /// What was already tried here.
    pub siblings: &'a [Sibling],
    /// The answer given by a terminal action on the way here, if any.
    pub answer: Option<&'a str>,
    /// Writes that the last action wants to send and that were stopped before they left: the
    /// question is whether to send them. Empty in every other state.
    pub waiting: &'a [Effect],
    /// For sampling.
    pub seed: Seed,
}
