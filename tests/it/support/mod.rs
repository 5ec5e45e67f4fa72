//! What the tests share: small servers, and walks on them.

pub(crate) mod board;
pub(crate) mod lane;
pub(crate) mod mcp;
pub(crate) mod serve;
pub(crate) mod site;
pub(crate) mod steps;
pub(crate) mod tools;
pub(crate) mod wander;

/// Says, visibly, that a test did nothing and why.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}
