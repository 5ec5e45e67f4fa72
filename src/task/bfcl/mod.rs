//! BFCL's multi-turn tasks (Patil et al. 2025; `bfcl-eval`, Apache-2.0): a user asks for several
//! things in turn, of up to four of eight simulated programs (a file system, a trading desk, …).
//!
//! The programs, their data and the checks are the package's own, in Python; `fixtures/bfcl/server.py`
//! serves them as REST. How a task is run, and why so:
//!
//! * One server process serves every lease: a session with it, at a path of its own, is one lane's
//!   site, with its own `OpenAPI` document of the task's operations. The session's hooks save it and
//!   put it back, so that writes are sent while searching.
//! * The goal is all of the user's requests in their order. The operation `end_turn` says that one
//!   is done. (The benchmark shows a request only when the one before it is done, to a model that
//!   cannot go back; here the agent knows what will be asked.)
//! * Every call is sent, reads too: the benchmark compares what was answered. The session keeps the
//!   answers, so that to a search every call writes: what another branch read is taken back with it.
//! * The check is the benchmark's own, of state and of answers, after each turn: reward 1 or 0.

mod catalogue;
#[cfg(feature = "sites")]
mod site;

pub use catalogue::{REQUIREMENTS, TASKS, VERSION, home, is_fetched, python, tasks};
#[cfg(feature = "sites")]
pub use site::{BfclServer, BfclSite, LOGICAL_ORIGIN};
