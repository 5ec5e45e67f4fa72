//! What a server says, without the registry's secrets: replies, and texts about what went wrong.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::Reply;
use crate::types::REDACTED;

/// Shortest value that counts as a secret in replies: shorter ones occur by chance.
const SHORTEST: usize = 6;

/// The values that nothing shown may hold. Never prints them.
#[derive(Default)]
pub(super) struct Redaction {
    secrets: Mutex<Vec<String>>,
}

impl Redaction {
    pub(super) fn new(mut secrets: Vec<String>) -> Self {
        secrets.retain(|secret| secret.len() >= SHORTEST);
        // A redirect echoes a query as it stands in a URL.
        let encoded: Vec<String> = secrets.iter().map(|secret| in_url(secret)).collect();
        secrets.extend(encoded);
        // Whatever begins with another secret goes first.
        secrets.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self {
            secrets: Mutex::new(secrets),
        }
    }

    fn with<T>(&self, then: impl FnOnce(&mut Vec<String>) -> T) -> T {
        then(&mut self.secrets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One more of them, as it is.
    pub(super) fn add(&self, secret: &str) {
        self.with(|secrets| secrets.push(secret.to_owned()));
    }

    /// Takes them out of a reply, and says so.
    pub(super) fn reply(&self, reply: &mut Reply) {
        if self.with(|secrets| hide(&mut reply.content, secrets)) {
            reply
                .notes
                .push("the reply held a secret of the registry: it was taken out".to_owned());
        }
    }

    /// A text about what went wrong, without them.
    pub(super) fn text(&self, mut text: String) -> String {
        self.with(|secrets| {
            for secret in secrets {
                text = text.replace(secret.as_str(), REDACTED);
            }
        });
        text
    }
}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redaction")
    }
}

/// A text as it stands in a URL's query.
fn in_url(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Takes secrets out of every text. Whether there were any.
fn hide(value: &mut Value, secrets: &[String]) -> bool {
    match value {
        Value::String(text) => {
            let mut found = false;
            for secret in secrets {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), REDACTED);
                    found = true;
                }
            }
            found
        }
        // Every one is to be looked at: no short cut.
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |found, item| hide(item, secrets) | found),
        Value::Object(map) => map
            .values_mut()
            .fold(false, |found, item| hide(item, secrets) | found),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
