//! Servers of real applications: leased one by one, saved and put back, started where asked.
//!
//! What a task or site file says is a [`ServerSpec`]; [`ServerSite`] is the site made from it.
//!
//! Invariants: a server that is not ours is in the state in which it was found once every lease is
//! closed, but for what a commit sent; a save or restore that fails is an error and never half a
//! state that goes on; blobs and started servers do not outlive the site.
//!
//! Not guaranteed: that several `SQLite` files were copied at one instant while the server writes
//! by itself, or that what a hook leaves out comes back.

mod spec;

#[cfg(feature = "sites")]
mod hook;
#[cfg(feature = "sites")]
mod one;
#[cfg(feature = "sites")]
mod process;
#[cfg(feature = "sites")]
mod saved;
#[cfg(feature = "sites")]
mod site;
#[cfg(feature = "sites")]
mod sqlite;

pub use spec::{Checkpoint, Hook, Launch, ServerSpec, Servers};

#[cfg(feature = "sites")]
pub use site::ServerSite;
#[cfg(feature = "sites")]
pub(crate) use site::client;
