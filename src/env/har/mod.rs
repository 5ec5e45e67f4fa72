//! HTTP exchanges as an HTTP Archive 1.2, whoever made them: a browser, or a client of ours.
//!
//! Cookies, and headers that prove who one is, are redacted when exchanges become an archive. What
//! else is secret is known to whoever made the exchange, and is taken out before it gets here.

mod archive;
#[cfg(any(feature = "html", feature = "tools"))]
mod client;

#[cfg(feature = "browser")]
pub(in crate::env) use archive::archive;
pub(in crate::env) use archive::{HttpExchange, HttpPage, HttpReply, HttpTiming, is_secret};
#[cfg(any(feature = "html", feature = "tools"))]
pub(in crate::env) use client::{Exchanges, MAX_BODY};
