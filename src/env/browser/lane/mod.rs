//! A lane: one browser context with its tabs, frames, requests and dialogs.
//!
//! One task per lane (`follow`, with `traffic` for its requests) reads its events in order and is the
//! only writer of [`LaneState`]; the environment reads it and waits for changes. A context is never
//! shared between lanes: cookies ignore ports.

mod context;
mod events;
mod follow;
mod setup;
mod state;
mod traffic;

pub(super) use context::Lane;
pub(super) use follow::WORLD;
pub(super) use setup::{LaneSetup, SocketGuard};
pub(super) use state::{LaneState, Session, TargetKind, Traffic};
