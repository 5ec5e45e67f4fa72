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
    /// The browser went back to the page itself, which its back/forward cache had kept.
    History,
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
    /// The rungs before it, in the order in which they were tried or found impossible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misses: Vec<Miss>,
    /// What the environment learned from this restore about the order of rungs, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<String>,
    /// Actions executed on the way.
    pub actions: u32,
    /// Milliseconds, verification and missed rungs included.
    pub ms: u64,
}

impl Restored {
    /// A restore whose first rung succeeded.
    #[must_use]
    pub fn by(rung: Rung, actions: u32, ms: u64) -> Self {
        Self {
            rung,
            misses: Vec::new(),
            learned: None,
            actions,
            ms,
        }
    }
}

/// A rung that did not lead to the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// The rung.
    pub rung: Rung,
    /// Why.
    pub reason: MissReason,
    /// More about it, in words: the request, the action, the difference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Milliseconds it took; 0 if it was not tried at all.
    pub ms: u64,
}

impl std::fmt::Display for Miss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rung.word(), self.reason.phrase())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

/// Why a rung did not lead to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissReason {
    /// It ended in another state: the digests differ.
    OtherState,
    /// An action of the path could not be repeated.
    StepRefused,
    /// A repeated action wrote, which it had not done before.
    NewWrite,
    /// A request was made that has no recorded response.
    NotRecorded,
    /// A response was too large to be kept.
    TooLarge,
    /// A response had no end.
    Stream,
    /// The document talks to its server by `WebSocket`, which cannot be answered from a record.
    Socket,
    /// The lane's record of responses was full.
    RecordFull,
    /// What was kept of the state had to make room for other states.
    Evicted,
    /// A tab can talk to the one that opened it, whose document has gone on since.
    Opener,
    /// The page keeps something in `IndexedDB` or Cache Storage that cannot be put back.
    ClientStore,
    /// The page is no recorded document (`about:blank`, a page that the browser made).
    NoDocument,
    /// A server was written to since, and cannot be put back.
    ServerMoved,
    /// Putting the server back failed.
    ServerFailed,
    /// The browser had not kept the page.
    NotCached,
    /// The server did not answer, or not with a page.
    Unreachable,
    /// The path wrote to a server that cannot be put back, so it cannot be walked again.
    Unrepeatable,
    /// The environment failed under the attempt.
    Environment,
}

impl MissReason {
    /// Whether the rung was tried and led elsewhere: a mismatch, as opposed to a rung that could
    /// not be taken.
    #[must_use]
    pub fn is_mismatch(self) -> bool {
        match self {
            Self::OtherState | Self::StepRefused | Self::NewWrite | Self::NotRecorded => true,
            Self::TooLarge
            | Self::Stream
            | Self::Socket
            | Self::RecordFull
            | Self::Evicted
            | Self::Opener
            | Self::ClientStore
            | Self::NoDocument
            | Self::ServerMoved
            | Self::ServerFailed
            | Self::NotCached
            | Self::Unreachable
            | Self::Unrepeatable
            | Self::Environment => false,
        }
    }

    /// Whether trying again may help: the fault was the environment's, not the state's.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::ServerFailed | Self::Unreachable | Self::Environment
        )
    }

    /// The reason as a clause.
    #[must_use]
    pub fn phrase(self) -> &'static str {
        match self {
            Self::OtherState => "it ended in another state",
            Self::StepRefused => "an action could not be repeated",
            Self::NewWrite => "a repeated action wrote, which it had not before",
            Self::NotRecorded => "a request has no recorded response",
            Self::TooLarge => "a response was too large to keep",
            Self::Stream => "a response has no end",
            Self::Socket => "the page talks by WebSocket",
            Self::RecordFull => "the record of responses is full",
            Self::Evicted => "what was kept made room for other states",
            Self::Opener => "a tab can talk to the one that opened it",
            Self::ClientStore => "what the page stores cannot be put back",
            Self::NoDocument => "its document was not recorded",
            Self::ServerMoved => "the server was written to since",
            Self::ServerFailed => "the server could not be put back",
            Self::NotCached => "the browser had not kept the page",
            Self::Unreachable => "the server did not answer",
            Self::Unrepeatable => "the path wrote and cannot be walked again",
            Self::Environment => "the environment failed",
        }
    }
}

impl Rung {
    /// The rung in a word or two.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::History => "history",
            Self::Document => "document",
            Self::DocumentSettled => "document, settled",
            Self::Replay => "replay",
            Self::Undo => "undo",
            Self::Copy => "copy",
        }
    }
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
