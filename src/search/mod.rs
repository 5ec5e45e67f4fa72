//! The search: it decides what to try next and does nothing itself.
//!
//! Ask for a request, carry it out anywhere, tell the outcome. Pure: no clock, file, socket, async
//! or global. The same seed, config and outcomes give the same tree (`tests/it/architecture.rs`
//! and the property tests hold it to that).
//!
//! | Part | What it is |
//! |---|---|
//! | [`Search`] | the engine: tickets, landing order, when to stop |
//! | [`Tree`] | states and actions, compact; what strategies and everybody else read |
//! | [`Strategy`] | what to try next; its own data sits beside the tree |
//! | [`mod@bench`] | a workload for measuring the core alone |
//!
//! Not guaranteed: that two states with one digest are the same in what the digest leaves out.

pub mod bench;

mod actions;
mod best_first;
mod best_of_n;
mod engine;
mod greedy;
mod ledger;
mod protocol;
mod rng;
mod strategy;
mod table;
mod tree;
mod walk;

#[cfg(test)]
mod testing;

pub use best_first::BestFirst;
pub use best_of_n::BestOfN;
pub use engine::Search;
pub use greedy::Greedy;
pub use ledger::Room;
pub use protocol::{
    Ask, Budget, Order, Outcome, Proposed, Request, Scored, SearchConfig, Spent, Start, Stepped,
    StopReason, StrategyKind, TellError,
};
pub use rng::SearchRng;
pub use strategy::{News, Next, Strategy};
pub use tree::{EdgeStatus, EdgeView, NodeView, Tree};
