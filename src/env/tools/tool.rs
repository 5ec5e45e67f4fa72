//! What a tool is, whoever offers it; and the two traits behind which providers differ.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::http::Plan;
use crate::context::{Cx, Interrupted};
use crate::types::{Effect, Rejection};

/// One operation that can be called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Unique within a registry, stable between loads, at most 64 characters of `[A-Za-z0-9_-]`.
    pub name: String,
    /// Name of the registry's source it comes from.
    pub source: String,
    /// What the provider calls it: an operation id, `GET /pets/{id}`, an MCP tool's name.
    pub original: String,
    /// One line.
    pub summary: String,
    /// For the model; data from outside. May be empty.
    pub description: String,
    /// The provider's own groups: tags, category.
    pub tags: Vec<String>,
    /// JSON Schema (2020-12) of the arguments object: `type: object` at its root, never a union.
    pub parameters: Value,
    /// JSON Schema of a successful reply, where it is declared.
    pub output: Option<Value>,
    /// What a call does, after the registry's overrides.
    pub access: Access,
    /// Whether the registry declares that its order among other such calls, and among reads, does
    /// not matter: a batch may hold it though it writes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub independent: bool,
    /// How it is called.
    pub binding: Binding,
    /// What the conversion had to leave out or change, in words.
    pub notes: Vec<String>,
}

impl Tool {
    /// Whether its calls may be sent together with others, as one batch.
    #[must_use]
    pub fn joins_batches(&self) -> bool {
        self.access == Access::Read || self.independent
    }
}

/// What a call does to the provider's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Nothing: it may be repeated, answered from a memo, and sent in parallel.
    Read,
    /// It changes something; sending it twice is the same as sending it once.
    Idempotent,
    /// It changes something.
    Write,
}

/// How a tool is called: what its source needs to build a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Binding {
    /// An HTTP operation.
    Http(Plan),
    /// A tool of an MCP server.
    Mcp {
        /// Its name there.
        tool: String,
    },
    /// Known by its description only (a `ToolBench` query file): it can be found, not called.
    Described,
}

/// A validated call, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// What it would do, as an effect: method, URL, headers and body as they would be sent, secrets
    /// redacted. A held call shows this.
    pub effect: Effect,
    /// The canonical arguments, nulls of optional parameters stripped: with the tool's name, the key
    /// of a memo.
    pub arguments: Map<String, Value>,
}

/// What a provider answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether the provider calls it an error (HTTP 4xx and 5xx, MCP `isError`). An error of the
    /// provider is an observation, as a refusal of a shop is; only what did not answer is a fault.
    pub error: bool,
    /// HTTP status, where there is one.
    pub status: Option<u16>,
    /// The body: JSON as it is, text as a string.
    pub content: Value,
    /// Bytes received, before anything was cut.
    pub bytes: u64,
    /// What was cut or odd (wrong content type, too long), in words.
    pub notes: Vec<String>,
}

/// Why a source has no tools or no session.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Cancelled or out of time.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Its document or server is not there, or not what it should be.
    #[error("the source `{source_name}` {reason}")]
    Unusable {
        /// Which source.
        source_name: String,
        /// What is wrong and where: completes "the source `x` …".
        reason: String,
    },
}

/// Why a call gave no reply. A provider's error reply is none of these.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Cancelled or out of time.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The provider could not be reached, or broke off.
    #[error("`{tool}` got no answer: {reason}")]
    Unreachable {
        /// Which tool.
        tool: String,
        /// Why.
        reason: String,
    },
    /// The registry forbids it (host, method, redirect, private address).
    #[error("`{tool}` was refused by the registry: {reason}")]
    Forbidden {
        /// Which tool.
        tool: String,
        /// Which rule, and what would allow it.
        reason: String,
    },
    /// The session is gone (an MCP server died): a new one may serve.
    #[error("the session of `{tool}` ended: {reason}")]
    SessionLost {
        /// Which tool.
        tool: String,
        /// Why.
        reason: String,
    },
}

/// A provider of tools.
#[async_trait]
pub trait Source: Send + Sync {
    /// Its name in the registry.
    fn name(&self) -> &str;

    /// Its tools, in a stable order.
    fn tools(&self) -> Vec<Arc<Tool>>;

    /// A session for one lane: its own cookies, tokens, connection.
    async fn open(&self, cx: &Cx) -> Result<Box<dyn Session>, SourceError>;

    /// [`Source::open`] for a lane with a server of its own: what would go to the origin `logical`
    /// goes to `real` instead, and nothing shows it. A source that cannot do so refuses.
    async fn open_at(
        &self,
        logical: &str,
        real: &str,
        cx: &Cx,
    ) -> Result<Box<dyn Session>, SourceError> {
        if logical == real {
            return self.open(cx).await;
        }
        Err(SourceError::Unusable {
            source_name: self.name().to_owned(),
            reason: "cannot be moved to a lane's own server".to_owned(),
        })
    }
}

/// One lane's conversation with a provider. Calls may run at the same time.
#[async_trait]
pub trait Session: Send + Sync {
    /// Validates arguments and builds the request, sending nothing. The rejection names the path in
    /// the arguments and what was expected there.
    fn prepare(&self, tool: &Tool, arguments: &Map<String, Value>) -> Result<Prepared, Rejection>;

    /// Sends a prepared call.
    async fn call(&self, tool: &Tool, prepared: &Prepared, cx: &Cx) -> Result<Reply, CallError>;

    /// The session's own state (cookies, tokens) as a value, to be put back by
    /// [`Session::load`]; null where there is none.
    fn save(&self) -> Value {
        Value::Null
    }

    /// Puts a saved state back.
    fn load(&self, _state: &Value) {}

    /// From now on keeps what it exchanges over HTTP, the newest of it.
    fn keep_exchanges(&self) {}

    /// What was kept, as an HTTP Archive 1.2 with secrets redacted; `None` where nothing is.
    fn archive(&self) -> Option<har::v1_2::Log> {
        None
    }

    /// Ends it.
    async fn close(&self) {}
}
