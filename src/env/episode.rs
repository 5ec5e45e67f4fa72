//! Pages that run an episode of their own: a benchmark's start, goal, end and reward.

use serde::{Deserialize, Serialize};

/// The scripts of a page's own episode (`MiniWoB`). They come from our code, never from a page, and
/// run in the page's main world. An agent cannot run any: no action takes a script.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episode {
    /// Expression: true once the page can start an episode.
    pub ready: String,
    /// Statement(s) that start it.
    pub begin: String,
    /// Expression: the goal as a string once the episode runs, null before.
    pub goal: String,
    /// Expression: whether it is over.
    pub done: String,
    /// Expression: the raw reward once it is over, null before.
    pub reward: String,
    /// CSS selector of the benchmark's own furniture (timer, reward, start button), which no
    /// observation shows: the reward is ground truth.
    pub hide: String,
}
