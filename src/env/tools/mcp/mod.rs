//! Servers of the Model Context Protocol as sources of tools, through the official SDK.
//!
//! ```text
//! McpConfig ─► McpSource ─ connect, list (all pages) ─► tools, converted
//!                  └─ open ─► McpSession: one connection (a process, or an HTTP session) per lane
//! ```
//!
//! * **Annotations are hints.** They count only where the configuration says that the server is
//!   trusted; otherwise every tool is a write. In a trusted server a tool without annotations is a
//!   write too, as the protocol says.
//! * **What the server answers is a reply**, errors included (`isError`, JSON-RPC errors). What it
//!   does not answer is a [`CallError`](super::CallError). Text that says "error" in a successful
//!   result stays what it is.
//! * **A session does not change under its user.** When an HTTP server has forgotten the session
//!   (404), a new one is opened and the call repeated once, unless a write was sent in it: then the
//!   session is lost, because nothing says that the writes live on.
//! * A server process gets the variables it needs to run and those the configuration names, never
//!   the whole environment: that holds keys.
//! * **An HTTP server is proved to** like any other provider: by header, query parameter or a token of
//!   the lane's own, which is fetched again when it is refused.
//! * **A process may have a folder of its own**, with copies of what the registry names: what it
//!   writes there is the session's, and ends with it. The folder is called `/NAME`, after the source,
//!   in calls, replies and records, so that the sessions of all branches look alike.
//! * Descriptions are data. One that speaks to the model is kept and reported in [`Tool::notes`](super::Tool::notes).

mod client;
mod convert;
mod folder;
mod process;
mod session;
mod source;

pub use folder::OWN_FOLDER;
pub use source::{McpConfig, McpServer, McpSource};
