//! Chat models: one trait, an OpenAI-compatible client, and two models for tests.
//!
//! Invariants: a key is read from the environment, sent in a header, and appears nowhere else; a
//! provider's failure is an error, never a reply.
//!
//! Also here, because policies and critics may import nothing else of ours: how page text is fenced
//! in a prompt (`prompt`), and how a goal is taken apart without a model (`words`).

mod cassette;
mod model;
mod openai;
mod price;
pub(crate) mod prompt;
pub(crate) mod replies;
mod scripted;
pub(crate) mod words;

pub use cassette::{Cassette, Mode};
pub use model::{
    ChatError, ChatModel, ChatReply, ChatRequest, Choice, EmbeddingModel, Message, ResponseFormat,
    Role, TokenProb, ToolCall, ToolSpec, Usage,
};
pub use openai::{OpenAi, OpenAiConfig};
pub use price::Price;
pub use scripted::Scripted;
