//! Real pages in a headless Chromium, driven over the DevTools protocol.
//!
//! ```text
//! World ─ one Chromium process ─ Connection (socket, command mux) ─┬─ Lane (its own
//!   └ open() ► Browser environment ─ walk, act, settle, restore ───┘   cookies, tabs, frames)
//! ```
//!
//! Invariants: every call is bounded; a navigation is our own `Page.navigate` and our own wait; an
//! element is acted upon only after its reference was resolved in the page, its role and name still
//! match what was observed, and a hit test at the click point finds it. The Chromium process group
//! ends on every way out, panics and `kill -9` included (`launch`).
//!
//! Protocol types come from `chromiumoxide_cdp`. Only the events in `lane` are decoded, and
//! leniently: an unknown or renamed field never breaks a session.

mod act;
mod archive;
mod connection;
mod digest;
mod documents;
mod environment;
mod find;
mod gate;
mod history;
mod inspect;
mod kept;
mod keys;
mod lane;
mod launch;
mod ledger;
mod netlog;
mod observe;
mod rehome;
mod restore;
mod settle;
mod stores;
mod transport;
mod volatile;
mod world;

pub use connection::{CdpError, Connection};
pub use environment::Browser;
pub use find::{BrowserBinary, BrowserKind, VersionError, browser_version, find_browser};
pub use inspect::{Covered, SiteReport, TakenBack, inspect};
pub use kept::RestoreLimits;
pub use launch::{Chromium, LaunchError};
pub use transport::{Transport, TransportError, WebSocket};
pub use volatile::Difference;
pub use world::{BrowserConfig, BrowserWorld, DialogPolicy, Rest};
