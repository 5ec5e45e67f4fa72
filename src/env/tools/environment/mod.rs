//! Calls as actions: a world of tools.
//!
//! ```text
//! action ─► plan ─► prepare (validate; nothing is sent) ─┬─ reads: memo, else sent, in parallel
//!                                                        └─ a write: held, or sent by the regime
//!                └─► turn of the conversation ─► observation, digest
//! ```
//!
//! What can be done: every tool by its own name, `batch` (independent reads as one action, a graph
//! of them where one comes `after` another), `more` (the rest of a reply that was cut), `call` and
//! `search_tools` (where only some of the tools are offered), `finish` and `give_up`.
//!
//! * **What an agent has seen is its state**: the set of calls with their replies since each
//!   write, the writes in their order, the end. A call that was made before and gives the same
//!   leads to the same state, so a search recognises it as a loop.
//! * **What a search for tools finds is offered from then on**, in this branch: the offer is part of
//!   the state, bounded, and comes and goes with restores.
//! * **A provider's error is an observation; a fault is none.** In a batch that got at least one
//!   answer, a call without one is labelled as unanswered, so that it hides no other; a batch
//!   without any is an error.
//! * **Writes** follow the task: `hold` stops each before it leaves and shows the exact request;
//!   `session` gives every branch sessions of its own and repeats the path in them, comparing every
//!   reply; `checkpoint` puts the server back, by its hooks or by the registry's undo rules, and
//!   reads back what the registry names to prove it; a write that nothing could take back is held.
//!   `allow` sends and undoes nothing.
//! * **A restore proves itself or is an error.** Where no write was sent it is a copy of values:
//!   reads change nothing.
//! * **Memo**: within one tree the same read is sent once. After a write it is not the same read.
//!   Errors that may pass and calls that changed the session are not kept.

mod act;
mod env;
mod memo;
mod plan;
mod render;
mod server;
mod state;
mod undo;
mod world;

pub use memo::MemoStore;
pub use world::{ToolFinder, ToolFound, ToolRules, ToolSource, ToolWorld, ToolWorldConfig};
