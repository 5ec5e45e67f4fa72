//! Tools as an environment: registries of operations (OpenAPI, MCP, ToolBench), and calls as
//! actions.
//!
//! ```text
//! tools/*.toml ─► Registry ─► Source ─┬─ tools(): converted operations, one schema for all
//!                                     └─ open(): Session (a lane's cookies, tokens, connection)
//!                                                  prepare (validate, build) ► call
//! ```

pub mod cut;
pub mod environment;
pub mod http;
pub mod mcp;
pub mod names;
pub mod openapi;
mod redact;
pub mod registry;
mod strict;
mod suspect;
mod tool;
mod validate;

pub use strict::{NotStrict, strict};
pub use suspect::{Suspicion, suspicions};
pub use tool::{Access, Binding, CallError, Prepared, Reply, Session, Source, SourceError, Tool};
pub use validate::{Validators, compile};
