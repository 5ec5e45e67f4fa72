//! Pages that run an episode of their own: a benchmark's start, goal, end and reward.

use serde::{Deserialize, Serialize};

/// How a browser environment starts and reads a page's own episode (`MiniWoB`): JavaScript for the
/// main world of the top page, result by value. It comes from our code, never from a page, and an
/// agent cannot run any: no action takes a script. None of the expressions throws on a page that is
/// no episode, except `begin`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episode {
    /// The seed that `begin` uses.
    pub seed: u64,
    /// True once the page has loaded and waits to be started. Polled.
    pub ready: String,
    /// Starts the episode. Evaluated once after every load of the start page.
    pub begin: String,
    /// The goal as a string, or null until the page is ready to be used. Polled after `begin`:
    /// until then the state is not the start state.
    pub goal: String,
    /// Whether the episode that `begin` started is over.
    pub done: String,
    /// Its raw reward as a number once it is over, else null.
    pub reward: String,
    /// CSS selector of the benchmark's own furniture, which no observation shows: the reward is
    /// ground truth.
    pub hide: String,
}
