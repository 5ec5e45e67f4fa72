//! All integration tests, in one binary.

#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails where it stands"
)]

mod architecture;
mod bfcl;
mod browser;
mod browser_apps;
mod browser_bench;
mod browser_digest;
mod browser_effects;
mod browser_hold;
mod browser_notes;
mod browser_posted;
mod browser_restore;
mod browser_sites;
mod browser_stores;
mod browser_tabs;
mod browser_walks;
mod cli;
mod conformance;
mod demo_api;
mod demo_shop;
mod dfsdt;
mod html;
mod html_browser;
mod judging;
mod mcp;
mod models;
mod policies;
mod record;
mod report;
mod runtime;
mod search_properties;
mod state_machine;
mod support;
mod tasks;
mod tool_apps;
mod tool_numbers;
mod tool_undo;
mod tool_world;
mod tools_http;
