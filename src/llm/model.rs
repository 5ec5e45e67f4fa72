//! The trait, the request and the reply.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::{Cx, Interrupted};
use crate::types::Cost;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions.
    System,
    /// The user's turn: goal and fenced observation.
    User,
    /// The model's own earlier turn.
    Assistant,
}

/// One message of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

/// How the reply is constrained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ResponseFormat {
    /// Free text.
    Text,
    /// JSON by a schema (`json_schema`, strict).
    JsonSchema {
        /// Name of the schema, `[a-z_]+`.
        name: String,
        /// The schema.
        schema: Value,
    },
}

/// A tool offered to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Name.
    pub name: String,
    /// Description.
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: Value,
}

/// One canonical request: what cassettes are keyed by and what the record keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// The prompt; what never changes comes first.
    pub messages: Vec<Message>,
    /// Tools, in a stable order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// Constraint on the reply.
    pub format: ResponseFormat,
    /// How many independent replies.
    pub n: u32,
    /// Sampling temperature.
    pub temperature: f32,
    /// Nucleus, where set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Sampling seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Most tokens of one reply.
    pub max_tokens: u32,
    /// How many alternatives with log-probabilities to return per token; none if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u8>,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id.
    pub id: String,
    /// Tool name.
    pub name: String,
    /// Arguments as the model wrote them (a JSON string, possibly malformed).
    pub arguments: String,
}

/// One token with its alternatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenProb {
    /// The token that was chosen.
    pub token: String,
    /// Its natural-log probability.
    pub logprob: f32,
    /// The most likely tokens at this place, the chosen one usually among them.
    pub top: Vec<(String, f32)>,
}

/// One of the `n` replies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Text (empty if there was none).
    pub text: String,
    /// Tool calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Whether it was cut by `max_tokens`.
    pub truncated: bool,
    /// Log-probabilities, if asked for and given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenProb>>,
}

/// Tokens used by one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub input_tokens: u64,
    /// Prompt tokens from the provider's prefix cache.
    pub cached_tokens: u64,
    /// Completion tokens of all `n`.
    pub output_tokens: u64,
}

/// The reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatReply {
    /// At least one.
    pub choices: Vec<Choice>,
    /// The provider's count.
    pub usage: Usage,
    /// Requests sent (retries, and repeats where the provider ignores `n`), tokens, money, time.
    pub cost: Cost,
    /// The model that answered, as the provider names it.
    pub model: String,
    /// Whether a price was known, so that `cost.money` means something. `false`: money is 0.
    #[serde(default)]
    pub priced: bool,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// Cancelled or out of time.
    #[error("the model {0}")]
    Interrupted(#[from] Interrupted),
    /// No key, no URL, no such model: what is missing and where to put it.
    #[error("{0}")]
    Config(String),
    /// The endpoint could not be reached.
    #[error("cannot reach the model at {url}: {reason}")]
    Unreachable {
        /// Where (without credentials).
        url: String,
        /// Why.
        reason: String,
    },
    /// The endpoint refused, after the retries that its status allows.
    #[error("the model endpoint answered {status} after {tries} tries: {body}")]
    Status {
        /// HTTP status.
        status: u16,
        /// How often it was tried.
        tries: u32,
        /// The first part of the body.
        body: String,
    },
    /// The endpoint answered something that is no chat completion.
    #[error("the model endpoint answered no chat completion: {0}")]
    Malformed(String),
    /// A cassette without this request, or a script that is at its end.
    #[error("no recorded reply: {0}")]
    NotRecorded(String),
}

/// A model that turns texts into vectors.
#[async_trait]
pub trait EmbeddingModel: Send + Sync {
    /// The name.
    fn name(&self) -> &str;

    /// One vector for each text, in their order, all equally long.
    async fn embed(&self, texts: &[String], cx: &Cx) -> Result<Vec<Vec<f32>>, ChatError>;
}

/// A chat model.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// The name for the record and the price table.
    fn name(&self) -> &str;

    /// Sends one request and waits for all its choices.
    async fn chat(&self, request: &ChatRequest, cx: &Cx) -> Result<ChatReply, ChatError>;
}
