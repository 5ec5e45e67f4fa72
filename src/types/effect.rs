//! What an action did, or would do, outside the page.

use serde::{Deserialize, Serialize};

/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// The class of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// It changes nothing (GET, HEAD, OPTIONS, or what a task declares). The reads of a step are one
    /// effect per origin, whose body says how many.
    Read,
    /// It changes the client only: cookies, storage.
    Client,
    /// It may change a server.
    Write,
}

/// Something an action caused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Its class.
    pub kind: EffectKind,
    /// HTTP method, upper case; `WS` for a `WebSocket` frame, `RTC` for one of a data channel. Of a
    /// client's own store its name: `COOKIE`, `LOCAL`, `SESSION`, `INDEXEDDB`, `CACHE`.
    pub method: String,
    /// Absolute URL, with the site's own origin written as its logical name. Of a store the origin.
    pub url: String,
    /// Request headers that the page or the caller set; the values of secret ones are `[redacted]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Request body, where it is text and at most 4 KiB; a longer or binary one, and a file of a
    /// multipart form, by its length and digest. Of a store what changed there, without the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether it was stopped before it left.
    pub held: bool,
}

impl Effect {
    /// Requests to one origin that only read, summed up.
    #[must_use]
    pub fn reads(origin: impl Into<String>, count: u64) -> Self {
        Self {
            kind: EffectKind::Read,
            method: "GET".to_owned(),
            url: origin.into(),
            headers: Vec::new(),
            body: Some(match count {
                1 => "1 request".to_owned(),
                _ => format!("{count} requests"),
            }),
            held: false,
        }
    }
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
