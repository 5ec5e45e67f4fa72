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
//! Without any environment: states are numbers, the two actions add 1 and 3, the goal is 4.
//!
//! ```
//! use branchline::search::{
//!     Ask, Outcome, Proposed, Request, Scored, Search, SearchConfig, Start, Stepped, StopReason,
//! };
//! use branchline::types::{Action, Candidate, Cost, Digest, NodeId, UnitF32};
//! use serde_json::json;
//!
//! let digest = |state: u8| Digest::of([state]);
//! let mut search =
//!     Search::new(SearchConfig::default(), Start { digest: digest(0), terminal: false });
//! // What a state is: the sum of the actions on the way to it.
//! let state = |search: &Search, node: NodeId| -> u8 {
//!     let path = search.tree().path(node);
//!     path.iter()
//!         .map(|edge| search.tree().edge(*edge).action().arguments["by"].as_u64().unwrap() as u8)
//!         .sum()
//! };
//! let cost = Cost::default();
//! let reason = loop {
//!     let (ticket, request) = match search.ask() {
//!         Ask::Start { ticket, request } => (ticket, request),
//!         Ask::Stop { reason } => break reason,
//!         Ask::Wait => unreachable!("every order is told at once"),
//!     };
//!     let outcome = match request {
//!         Request::Propose { .. } => {
//!             let candidates = [1, 3].map(|by| Candidate {
//!                 action: Action::new("add", json!({ "by": by })),
//!                 prior: UnitF32::HALF,
//!                 thought: None,
//!             });
//!             Outcome::Proposed(Proposed { candidates: candidates.to_vec(), cost })
//!         }
//!         Request::Step { edge } => {
//!             let edge = search.tree().edge(edge);
//!             let by = edge.action().arguments["by"].as_u64().unwrap() as u8;
//!             let digest = digest(state(&search, edge.parent()) + by);
//!             Outcome::Stepped(Stepped::State { digest, terminal: false, cost })
//!         }
//!         Request::Judge { node } => {
//!             let far = f32::from(state(&search, node).abs_diff(4));
//!             let value = Some(UnitF32::saturating(1.0 - far / 4.0));
//!             Outcome::Scored(Scored { value, cost })
//!         }
//!         Request::Compare { .. } => unreachable!("best-first compares nothing"),
//!     };
//!     search.tell(ticket, outcome).unwrap();
//! };
//! assert_eq!(reason, StopReason::Solved);
//! assert_eq!(state(&search, search.best().unwrap()), 4);
//! ```
//!
//! Not guaranteed: that two states with one digest are the same in what the digest leaves out.

pub mod bench;

mod actions;
mod best_first;
mod best_of_n;
mod dfsdt;
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
pub use dfsdt::Dfsdt;
pub(crate) use dfsdt::THINK;
pub use engine::Search;
pub use greedy::Greedy;
pub use ledger::Room;
pub use protocol::{
    Ask, Budget, Compared, Compat, DfsdtOptions, Order, Outcome, Proposed, Request, Scored,
    SearchConfig, Spent, Start, Stepped, StopReason, StrategyKind, TellError,
};
pub use rng::SearchRng;
pub use strategy::{News, Next, Strategy};
pub use tree::{EdgeStatus, EdgeView, NodeView, Tree};
