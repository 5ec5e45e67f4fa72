//! OpenAPI documents (2.0, 3.0, 3.1) become tools.
//!
//! Invariants:
//!
//! * Every parameter of an operation is an argument of its tool, or a note says why not. Names that
//!   clash or that providers of models do not take are changed; the plan maps them back.
//! * A tool's schema is JSON Schema 2020-12 without references, an object at its root and no union
//!   there: every provider takes it.
//! * The same document gives the same tools in the same order, whatever else is loaded.
//! * No document makes it panic or run without end: schemas are cut, references followed 16 times.

mod body;
mod census;
mod document;
mod operation;
mod schema;

pub use census::{Census, census};
pub use document::{Document, DocumentError, MAX_DOCUMENT, Version};
pub use operation::{Converted, Options, convert};
pub use schema::{Converter, MAX_NODES, Side, merge_all, or_null};
