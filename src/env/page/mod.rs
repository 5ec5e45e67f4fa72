//! What every environment of pages shares, with a browser or without: the actions, and how a page
//! reads as text.

pub(in crate::env) mod actions;
mod clock;
pub(in crate::env) mod keys;
mod nonce;
mod render;
pub(in crate::env) mod writes;

pub use actions::action_specs;
pub(in crate::env) use clock::mask_clocks;
#[cfg(feature = "browser")]
pub(in crate::env) use nonce::{MASKED, mask_url_but};
pub(in crate::env) use nonce::{is_token, mask_url};
pub use render::render;
pub(in crate::env) use render::{Place, Row, line, render_rows, shorten};
