//! What people look at: the live tree, plain lines, the end of a run; and the same for machines.
//!
//! | Part | What it is |
//! |---|---|
//! | [`Reporter`] | follows a run: in place in a terminal, in lines elsewhere, in JSON for machines |
//! | [`tree()`], [`tree_with`] | the tree as text |
//! | [`summary()`], [`path_lines`] | the end of a run for people |
//! | [`summary_json`] | the end of a run for machines |
//! | [`Words`] | what the tree does not hold: elements in words, URLs, refusals |
//!
//! Invariants:
//! * Text of pages, tools and models is data: what could steer a terminal (control characters,
//!   escapes, marks that reorder or hide text) never reaches it. [`printable`] is that rule.
//! * No line is wider than it was asked to be, by display width.
//! * Nothing is printed but through the reporter's own writer. A writer that fails (a closed pipe)
//!   does not stop a run: what could not be shown is in the record.

mod json;
mod live;
mod reporter;
mod summary;
mod text;
mod throttle;
mod tree;
mod words;

#[cfg(test)]
mod testing;

pub use json::summary_json;
pub use reporter::{Mode, Reporter, RunBudget};
pub use summary::{About, path_lines, summary};
pub use text::printable;
pub use tree::{TreeStyle, tree, tree_with};
pub use words::{EdgeWords, Words};
