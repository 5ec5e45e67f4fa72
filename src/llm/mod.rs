//! Chat models: one trait, an OpenAI-compatible client, and two models for tests.
//!
//! Invariants: a key is read from the environment, sent in a header, and appears nowhere else; a
//! provider's failure is an error, never a reply.

mod model;

pub use model::{
    ChatError, ChatModel, ChatReply, ChatRequest, Choice, Message, ResponseFormat, Role, TokenProb,
    ToolCall, ToolSpec, Usage,
};
