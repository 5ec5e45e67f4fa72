//! What an action did, or would do, outside the page.

use serde::{Deserialize, Serialize};

/// The class of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// It changes nothing (GET, HEAD, OPTIONS).
    Read,
    /// It changes the client only: cookies, storage.
    Client,
    /// It may change a server.
    Write,
}

/// One request an action caused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Its class.
    pub kind: EffectKind,
    /// HTTP method, upper case; `WS` for a `WebSocket` frame.
    pub method: String,
    /// Absolute URL, with the site's own origin written as its logical name.
    pub url: String,
    /// Request headers that the page or the caller set; the values of secret ones are `[redacted]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Request body, where it is text and at most 4 KiB; secrets redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether it was stopped before it left.
    pub held: bool,
}

/// What writes may do while searching. See the table in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writes {
    /// A write is stopped before it leaves; the edge becomes `Held`; only commit releases it.
    #[default]
    Hold,
    /// Server state belongs to the browser session: a fresh session isolates branches.
    Session,
    /// The server can be put back to a saved state: writes are sent, branches undone.
    Checkpoint,
    /// A sandbox: send everything, undo nothing.
    Allow,
}
