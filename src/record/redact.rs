//! Keeps known secrets off the disk.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::types::{Digest, REDACTED};

/// Shortest value that counts as a secret: shorter ones occur by chance, and replacing them would
/// destroy the record.
const SHORTEST: usize = 6;

/// Replaces known secret values (API keys, passwords from the environment) wherever they occur in
/// what is written: in strings and object keys, also percent-encoded or JSON-escaped inside them.
///
/// Not guaranteed: a secret that was split, hashed or encoded otherwise, or one inside an image.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Spellings, longest first, so that a secret inside another does not leave a rest.
    spellings: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    /// Never prints the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} spellings)", self.spellings.len())
    }
}

impl Redactor {
    /// A redactor of `secrets`. Values of fewer than 6 bytes are ignored: they occur by chance.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut spellings: Vec<String> = Vec::new();
        for secret in secrets {
            let secret = secret.as_ref();
            if secret.len() < SHORTEST {
                continue;
            }
            let once = escaped(secret);
            spellings.extend([
                secret.to_owned(),
                escaped(&once),
                once,
                percent(secret, "%20"),
                percent(secret, "+"),
            ]);
        }
        spellings.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        spellings.dedup();
        Self { spellings }
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spellings.is_empty()
    }

    /// `text` without secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = Cow::Borrowed(text);
        for secret in &self.spellings {
            if out.contains(secret.as_str()) {
                out = Cow::Owned(out.replace(secret.as_str(), REDACTED));
            }
        }
        out
    }

    /// `value` with every string and object key without secrets. Digests stay as they are.
    pub fn value(&self, value: &mut Value) {
        if self.is_empty() {
            return;
        }
        match value {
            Value::String(text) => {
                if text.parse::<Digest>().is_err()
                    && let Cow::Owned(clean) = self.text(text)
                {
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => {
                if map
                    .keys()
                    .any(|key| matches!(self.text(key), Cow::Owned(_)))
                {
                    *map = std::mem::take(map)
                        .into_iter()
                        .map(|(key, item)| (self.text(&key).into_owned(), item))
                        .collect();
                }
                map.values_mut().for_each(|item| self.value(item));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `value` as it will be read back from the record: without secrets.
    #[must_use]
    pub fn clean<T: Serialize + DeserializeOwned>(&self, value: T) -> T {
        if self.is_empty() {
            return value;
        }
        let clean = serde_json::to_string(&value)
            .and_then(|text| serde_json::from_str(&text))
            .and_then(|mut json: Value| {
                self.value(&mut json);
                // By way of text again, so that numbers come back as a reader will see them.
                serde_json::from_str(&json.to_string())
            });
        // A secret that is a keyword of the format: the record would not be readable either way.
        clean.unwrap_or(value)
    }

    /// `bytes` without secrets, where they are text; anything else as it is.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.is_empty() {
            return Cow::Borrowed(bytes);
        }
        match std::str::from_utf8(bytes).map(|text| self.text(text)) {
            Ok(Cow::Owned(clean)) => Cow::Owned(clean.into_bytes()),
            Ok(Cow::Borrowed(_)) | Err(_) => Cow::Borrowed(bytes),
        }
    }
}

/// `text` as it stands between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// `text` percent-encoded as in a form body or a query.
fn percent(text: &str, space: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'*' => {
                out.push(char::from(byte));
            }
            b' ' => out.push_str(space),
            _ => write!(out, "%{byte:02X}").expect("writing to a string succeeds"),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_spelling_is_replaced() {
        let redactor = Redactor::new(["p\"ss wörd!", "short"]);
        let inner = json!({ "key": "p\"ss wörd!" }).to_string();
        let mut value = json!({
            "plain": "it is p\"ss wörd!, really",
            "json": inner,
            "form": "user=a&password=p%22ss+w%C3%B6rd%21",
            "url": "/login?p=p%22ss%20w%C3%B6rd%21",
            "p\"ss wörd!": [1, "short"],
        });
        redactor.value(&mut value);
        assert_eq!(
            value,
            json!({
                "plain": "it is [redacted], really",
                "json": "{\"key\":\"[redacted]\"}",
                "form": "user=a&password=[redacted]",
                "url": "/login?p=[redacted]",
                "[redacted]": [1, "short"],
            })
        );
    }

    #[test]
    fn digests_and_binaries_stay() {
        let digest = Digest::of("x").to_string();
        let redactor = Redactor::new([&digest[3..11]]);
        let mut value = Value::from(digest.clone());
        redactor.value(&mut value);
        assert_eq!(value, Value::from(digest.clone()));
        let mut bytes = vec![0xff, 0xd8];
        bytes.extend(digest.bytes());
        assert_eq!(redactor.bytes(&bytes), bytes.as_slice());
        assert!(!format!("{redactor:?}").contains(&digest[3..11]));
    }

    #[test]
    fn a_secret_within_another_leaves_no_rest() {
        let redactor = Redactor::new(["secret-1", "secret-1-long"]);
        assert_eq!(
            redactor.text("secret-1-long secret-1"),
            "[redacted] [redacted]"
        );
    }
}
