//! Steps, snapshots and restores: what passes between the runtime and an environment.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Digest, Effect, Notice, Rejection};

/// What became of an action. There is no fourth case: an environment's fault is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// Carried out; the environment came to rest (or said in a notice that it did not).
    Done {
        /// Requests it caused, reads left out.
        effects: Vec<Effect>,
        /// What happened beside it.
        notices: Vec<Notice>,
        /// The answer, if the action was the terminal one.
        answer: Option<String>,
    },
    /// Not carried out; nothing changed.
    Rejected(Rejection),
    /// It would have written; the write was stopped before it left.
    Held {
        /// The stopped writes.
        effects: Vec<Effect>,
    },
}

/// A point an environment can go back to. Cheap to clone; the log keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Digest of the state; a restore that does not reach it is an error.
    pub digest: Digest,
    /// The environment's own data.
    pub data: Value,
}

/// The way a restore took, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// The state was still live and unused.
    Live,
    /// The last document was loaded again in a fresh context from recorded responses, and the
    /// actions since were repeated without waiting between them. No request reached a server.
    Document,
    /// The same, waiting for rest after each action.
    DocumentSettled,
    /// The path was replayed from the root in a fresh context.
    Replay,
    /// Writes were taken back one by one, by calls that undo them.
    Undo,
    /// A value copy (in-memory environments).
    Copy,
}

/// A successful, verified restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The rung that reached the state.
    pub rung: Rung,
    /// Rungs that were tried first and did not verify.
    pub mismatches: u32,
    /// Actions executed on the way.
    pub actions: u32,
    /// Milliseconds, verification included.
    pub ms: u64,
}

/// A question an evaluator asks of the final state. Never available to policies or critics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "query")]
pub enum Query {
    /// URL of the active tab, by logical origin. Answer: string.
    Url,
    /// Visible text of the page, or of the first element that matches. Answer: string or null.
    PageText {
        /// CSS selector; the whole page without it.
        selector: Option<String>,
    },
    /// One read-only SQL query on the site's own database. Answer: array of rows (arrays).
    Sql {
        /// The statement.
        statement: String,
    },
    /// The benchmark's own reward for the episode (`MiniWoB` raw reward). Answer: number or null.
    Reward,
    /// What one read-only call of a tool gives now. Answer: object with `error` (whether the provider
    /// calls its reply an error), `status` (HTTP status or null) and `content` (the reply).
    Call {
        /// The tool's name.
        tool: String,
        /// Its arguments.
        arguments: Map<String, Value>,
    },
}
