//! The record of a run: an append-only log of events and content-addressed blobs beside it.
//!
//! ```text
//! runs/<id>/
//!   run.toml       what was run: effective configuration, versions, seeds, task (for people)
//!   events.jsonl   one event a line: {"v":1,"seq":0,"ms":0,"kind":"run_started",…}
//!   blobs/ab/<64 hexadecimal digits>   observations, screenshots, prompts and replies
//! ```
//!
//! Invariants:
//! * The log alone rebuilds the search: [`replay`] needs no model, no browser and no blob.
//! * A line is written with one call and flushed before anything that depends on it happens. A
//!   write that fails is fatal to the run; what was written before it stays readable.
//! * A blob is in place before the event that names it.
//! * No secret that the [`Redactor`] was given reaches the disk.
//!
//! Writing is synchronous: lines and blobs are small, and the driver must not run ahead of them.

mod event;
mod reader;
mod redact;
mod replay;
pub mod toolbench;
mod writer;

pub use crate::types::REDACTED;
pub use event::{Detail, Event, EventKind, LOG_VERSION, RunManifest, StepDetail};
pub use reader::{ReadError, Reader};
pub use redact::Redactor;
pub use replay::{Replay, ReplayError, replay};
pub use writer::{RecordError, Recorder};
