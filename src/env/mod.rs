//! Environments: the real things a search acts in, and the worlds that open them.
//!
//! Contracts every implementation keeps (the conformance suite in `tests/it/conformance.rs`
//! checks them):
//!
//! * `act` never half-succeeds silently. A missing element is [`Step::Rejected`](crate::types::Step::Rejected) with the reason
//!   and nothing changed; a fault of the environment is an error, never an observation.
//! * `restore` reaches the snapshot's digest or fails; it never approximates.
//! * An `act` future that was dropped poisons the instance: restore it or discard it.
//! * Equal states have equal digests; two loads of one state too.
//!
//! Not guaranteed: that a snapshot can be restored in another world, or after the run.

#[cfg(any(feature = "sites", feature = "tools"))]
mod copies;
pub mod episode;
#[cfg(any(feature = "browser", feature = "html", feature = "tools"))]
mod har;
#[cfg(feature = "browser")]
mod notes;
#[cfg(any(feature = "browser", feature = "sites", feature = "tools"))]
mod process;
pub mod server;
mod site;
#[cfg(any(feature = "demo", feature = "sites"))]
pub(crate) mod sql;
mod world;

#[cfg(feature = "browser")]
pub mod browser;
#[cfg(feature = "html")]
pub mod html;
#[cfg(any(feature = "browser", feature = "html"))]
pub mod page;
pub mod sim;
#[cfg(feature = "tools")]
pub mod tools;

pub use site::{FixedSite, Site, SiteError, SiteInstance, SiteState};
pub use world::{
    ActError, CloseError, Environment, Fault, ObserveError, OpenError, QueryError, RestoreError,
    SnapshotError, World,
};
