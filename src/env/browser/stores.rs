//! What a page's scripts keep in `IndexedDB` and Cache Storage, read as a whole and put back.
//!
//! An origin that keeps nothing costs nothing: it is read only once an event has told of a change.
//! Values that JSON can stand for are kept, and dates, binary data, maps, sets and big numbers; an
//! origin that holds anything else (a `Blob`, a key of the browser's own) or too much is refused as a
//! whole, and the reason names the store. Entries come back with the schemas and key generators of
//! their stores, and are read again to prove it.
//!
//! What a document found is what its origin kept when the last page was left. No script runs in a page
//! that is being left, so this is read before every action; what that action itself writes before
//! it leaves is not known, and the document is then not restored from the record.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::Connection;
use super::settle::{SCRIPT_LIMIT, ScriptError};
use crate::context::Cx;

const SCRIPT: &str = include_str!("js/stores.js");

/// What an origin keeps, as far as it can be put back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Stores {
    /// Nothing.
    #[default]
    Empty,
    /// All of it, as the script writes it.
    Kept(Arc<str>),
    /// Something that cannot be put back: what, and why.
    Refused(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Read {
    Kept(String),
    Refused(String),
}

impl From<Read> for Stores {
    fn from(read: Read) -> Self {
        match read {
            Read::Kept(text) if text.is_empty() => Self::Empty,
            Read::Kept(text) => Self::Kept(text.into()),
            Read::Refused(reason) => Self::Refused(reason),
        }
    }
}

impl Stores {
    /// Bytes it costs.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Kept(text) => text.len(),
            Self::Refused(reason) => reason.len(),
        }
    }
}

/// What a lane's origins keep, by real origin, as far as it was told of and read.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, Origin>);

#[derive(Debug, Default)]
struct Origin {
    read: Stores,
    /// Whether it changed since.
    stale: bool,
}

impl Known {
    /// A script of this origin changed something.
    pub(super) fn changed(&mut self, origin: &str) {
        let origin = origin.trim_end_matches('/').to_owned();
        self.0.entry(origin).or_default().stale = true;
    }

    /// This was read. Reading may tell of changes, too (a key that is asked for and given back): what
    /// came before the reading's end is no news.
    pub(super) fn read(&mut self, origin: &str, stores: Stores) {
        if let Some(known) = self.0.get_mut(origin) {
            *known = Origin {
                read: stores,
                stale: false,
            };
        }
    }

    /// Whether something is to be read there.
    pub(super) fn is_stale(&self, origin: &str) -> bool {
        self.0.get(origin).is_some_and(|known| known.stale)
    }

    /// What was read last.
    pub(super) fn last(&self, origin: &str) -> Stores {
        self.0
            .get(origin)
            .map(|known| known.read.clone())
            .unwrap_or_default()
    }

    /// What a document of this origin finds that arrives now.
    pub(super) fn found(&self, origin: &str) -> Stores {
        if self.is_stale(origin) {
            return Stores::Refused("it was written to while the page before was left".to_owned());
        }
        self.last(origin)
    }

    /// Another origin that keeps something.
    pub(super) fn other_than(&self, origin: &str) -> Option<&str> {
        let mut others = self.0.keys().filter(|other| *other != origin);
        others.next().map(String::as_str)
    }

    /// An origin that keeps something.
    pub(super) fn any(&self) -> Option<&str> {
        self.0.keys().next().map(String::as_str)
    }
}

/// A script context of a page: its session, and the context's unique id (the main world without).
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) session: String,
    pub(super) context: Option<String>,
}

impl Place {
    async fn call(
        &self,
        connection: &Connection,
        call: &str,
        cx: &Cx,
    ) -> Result<Value, ScriptError> {
        let script = format!("{}.{call}", SCRIPT.trim_end());
        let context = self.context.as_deref();
        connection
            .evaluate(&self.session, context, script, SCRIPT_LIMIT, cx)
            .await
    }

    /// What the page's origin keeps, at most so many bytes of it.
    pub(super) async fn stores(
        &self,
        connection: &Connection,
        most: usize,
        cx: &Cx,
    ) -> Result<Stores, ScriptError> {
        let call = format!("read({most})");
        let value = self.call(connection, &call, cx).await?;
        serde_json::from_value::<Read>(value)
            .map(Stores::from)
            .map_err(|error| ScriptError::Threw(format!("unreadable stores: {error}")))
    }

    /// Makes the page's origin keep this and nothing else; the inner error says why that is not so.
    pub(super) async fn put(
        &self,
        connection: &Connection,
        stores: &Stores,
        most: usize,
        cx: &Cx,
    ) -> Result<Result<(), String>, ScriptError> {
        let text = match stores {
            Stores::Empty => "",
            Stores::Kept(text) => text,
            Stores::Refused(reason) => return Ok(Err(reason.clone())),
        };
        let call = format!("put({}, {most})", json!(text));
        match self.call(connection, &call, cx).await? {
            Value::String(reason) => Ok(Err(reason)),
            _ => Ok(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_finds_what_was_read_unless_it_changed_since() {
        let mut known = Known::default();
        assert_eq!(known.found("http://a"), Stores::Empty);
        known.read("http://a", Stores::Kept("of nobody".into()));
        assert_eq!(known.last("http://a"), Stores::Empty, "it kept nothing");
        known.changed("http://a/");
        assert!(matches!(known.found("http://a"), Stores::Refused(_)));
        let kept = Stores::Kept("all".into());
        known.read("http://a", kept.clone());
        assert_eq!(known.found("http://a"), kept);
        known.changed("http://a");
        assert!(known.is_stale("http://a"));
        assert_eq!(known.other_than("http://a"), None);
        assert_eq!(known.other_than("http://b"), Some("http://a"));
    }
}
