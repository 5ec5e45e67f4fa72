//! The search: it decides what to try next and does nothing itself.
//!
//! Ask for a request, carry it out anywhere, tell the outcome. Pure: no clock, file, socket, async
//! or global. The same seed, config and outcomes give the same tree (`tests/it/architecture.rs`
//! and the property tests hold it to that).

mod protocol;

pub use protocol::{
    Ask, Budget, Outcome, Proposed, Request, Scored, SearchConfig, Spent, Start, Stepped,
    StopReason, StrategyKind, TellError,
};
