//! Which tools, of thousands, a goal needs.
//!
//! ```text
//! tools ─► Entry ─► Index (BM25, by tantivy) ──┐
//!              └──► Vectors (any embeddings endpoint) ─┴─ reciprocal-rank fusion ─► Hit
//! goal ─► query: the goal, in English if a model says it, and the model's own queries
//! ```
//!
//! A query is ranked whole and by its sentences, since goals ask for several things at once; a model's
//! queries are further sentences. The group a tool belongs to (its provider and tag) counts a little,
//! since what is near a good tool is often needed with it. The weights are in [`Weights`], with what
//! they were set on.
//!
//! Invariants: the same tools in the same order give the same index and the same ranking; ties go to
//! the tool that comes first. Nothing is written to disk.

mod dense;
mod entry;
mod finder;
mod lexical;
pub mod measure;
mod queries;
mod text;

pub use dense::Vectors;
pub use entry::Entry;
pub use finder::{FindError, Finder, fuse};
pub use lexical::{Hit, Index, IndexError, Weights};
pub use queries::{Wording, written};
