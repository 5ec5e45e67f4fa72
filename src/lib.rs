//! Branchline: tree search for agents that act in real environments and can take it back.
//!
//! The map (folders show the architecture; `tests/it/architecture.rs` enforces who may use whom):
//!
//! | Module | What it is |
//! |---|---|
//! | [`types`] | plain data: actions, observations, digests, effects, costs, ids |
//! | [`context`] | what every external call is given: cancellation, deadline |
//! | [`located`] | faults in files that people write, with line and column |
//! | `http` | what every client of HTTP makes of an answer |
//! | [`search`] | **pure**: tree, budgets, strategies; decides by ask and tell, does nothing itself |
//! | [`mod@env`] | environments and worlds: act, observe, snapshot, restore |
//! | [`llm`] | chat models: OpenAI-compatible, scripted, cassette |
//! | [`policy`] | who proposes actions |
//! | [`critic`] | who values states |
//! | `retrieval` | which of thousands of tools a goal needs |
//! | [`record`] | the event log and its blobs; replay |
//! | [`runtime`] | the driver, its workers, the pool, the commit |
//! | [`task`] | task files and suites |
//! | [`eval`] | verdicts on a committed run |
//! | [`judge`] | a model's verdicts on finished runs, and their rates |
//! | [`report`] | what people look at: the live tree, tables |
//! | [`demo`] | the embedded shop |
//! | [`cli`] | one file per command |

pub mod context;
pub mod critic;
pub mod env;
pub mod eval;
mod http;
pub mod judge;
pub mod llm;
pub mod located;
pub mod policy;
pub mod record;
#[cfg(feature = "tools")]
pub mod retrieval;
pub mod runtime;
pub mod search;
pub mod task;
pub mod types;

#[cfg(all(feature = "browser", feature = "demo"))]
pub mod cli;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(all(feature = "browser", feature = "demo"))]
pub mod report;
