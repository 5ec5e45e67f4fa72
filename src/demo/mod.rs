//! The embedded shop: a small web shop with its own database, to search in.
//!
//! "Hearth & Harbour" sells things for the home. It is server-rendered and works without
//! JavaScript, except for `/configurator`, a single-page app that keeps its state in memory.
//!
//! Invariants:
//!
//! * Deterministic: the shop has its own calendar, ids count up, session and CSRF tokens derive
//!   from a counter in the database. Same requests, same pages.
//! * All state, sessions included, is in one in-memory `SQLite` database per instance;
//!   [`crate::env::SiteInstance::reset`] puts all of it back.
//! * Every request whose method can write (all but GET, HEAD and OPTIONS) is counted in the
//!   table `writes`, refused ones too.
//! * Every form carries the session's CSRF token; no request, however broken, gets anything but
//!   a page.
//!
//! `/api` offers the same shop to programs: REST, described by OpenAPI 3.1 (`/api/openapi.json`).
//!
//! There are dead ends on purpose: a deal that is sold out, a promotion that leads in circles, a
//! category whose lantern is the wrong one, a search whose synonyms put the wrong product first,
//! a checkout that refuses some combinations, a configurator whose first choice limits the next.

mod api;
mod html;
mod layout;
mod order;
mod pages;
mod picture;
mod seed;
mod shop;
mod site;
mod store;
mod visit;

pub use site::{DemoError, DemoSite, serve};
