//! Side reports that travel with outcomes.

use serde::{Deserialize, Serialize};

use super::Cost;

/// Something that happened beside the action and that people and models should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What kind of thing.
    pub kind: NoticeKind,
    /// One line; text from the page inside it is data.
    pub text: String,
}

/// The kinds of [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// An alert, confirm, prompt or beforeunload box, and how it was answered.
    Dialog,
    /// A tab opened or closed by itself.
    Tab,
    /// A download that was refused.
    Download,
    /// The page did not come to rest within the bound.
    Unsettled,
    /// A renderer or browser crash that was survived.
    Crash,
    /// A request that failed or was refused.
    Network,
    /// What `find` found.
    Find,
    /// A call of a tool that was sent and answered.
    Call,
    /// A call of a tool that was answered from the record.
    Recorded,
    /// Anything else.
    Other,
}

/// One exchange with a model, kept whole in the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The canonical request, as JSON (never holds a key).
    pub request: serde_json::Value,
    /// The reply as JSON, or the error as text.
    pub reply: serde_json::Value,
    /// What it cost.
    pub cost: Cost,
}
