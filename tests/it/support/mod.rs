//! What the tests share: a small server of hand-written pages.

pub(crate) mod mcp;
pub(crate) mod site;
pub(crate) mod tools;

/// Says, visibly, that a test did nothing and why.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}
