//! From a response to a reply: read within a bound, understood by what it is.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::env::tools::{Reply, cut};

/// Longest web page that is kept, in characters: an error page says what it says early.
const PAGE: usize = 4_000;

/// A response as far as it was read.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    /// Whether there was no more.
    pub(super) whole: bool,
    status: StatusCode,
    headers: HeaderMap,
    length: Option<u64>,
}

/// Reads at most `most` bytes of a response; the connection is dropped after that.
pub(super) async fn read(mut response: Response, most: usize) -> Result<Received, reqwest::Error> {
    let mut received = Received {
        status: response.status(),
        length: response.content_length(),
        headers: response.headers().clone(),
        bytes: Vec::new(),
        whole: true,
    };
    let bytes = &mut received.bytes;
    while let Some(chunk) = response.chunk().await? {
        let room = most - bytes.len();
        if chunk.len() > room {
            bytes.extend_from_slice(&chunk[..room]);
            received.whole = false;
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(received)
}

impl Received {
    /// What it is.
    pub(super) fn understood(&self) -> Reply {
        let status = self.status.as_u16();
        understand(status, &self.headers, &self.bytes, self.whole, self.length)
    }
}

/// What the bytes are.
fn understand(
    status: u16,
    headers: &HeaderMap,
    bytes: &[u8],
    whole: bool,
    length: Option<u64>,
) -> Reply {
    let mut notes = Vec::new();
    if !whole {
        let of = length.map_or_else(|| "more".to_owned(), |length| length.to_string());
        notes.push(format!(
            "only the first {} of {of} bytes were read",
            bytes.len()
        ));
    }
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let media = declared.split(';').next().unwrap_or_default().trim();
    let content = if bytes.is_empty() {
        Value::Null
    } else {
        content(media, &declared, bytes, whole, &mut notes)
    };
    Reply {
        error: status >= 400,
        status: Some(status),
        content,
        bytes: bytes.len() as u64,
        notes,
    }
}

fn content(
    media: &str,
    declared: &str,
    bytes: &[u8],
    whole: bool,
    notes: &mut Vec<String>,
) -> Value {
    let Some(text) = text(declared, bytes, whole) else {
        let media = if media.is_empty() {
            "unknown type"
        } else {
            media
        };
        notes.push(format!("the reply is {media}, not text: it is not shown"));
        return Value::from(format!("[{} bytes of {media}]", bytes.len()));
    };
    let start = text.trim_start();
    let says_json = media.ends_with("/json") || media.ends_with("+json");
    let looks_json = start.starts_with(['{', '[']);
    if says_json || (looks_json && !media.ends_with("html")) {
        match serde_json::from_str(&text) {
            Ok(value) => return value,
            Err(error) if whole => {
                if says_json {
                    notes.push(format!("the reply says it is JSON and is not: {error}"));
                }
            }
            Err(_) => {
                if let Some(value) = cut::repair(&text) {
                    notes.push("what was read is shown as far as it was complete".to_owned());
                    return value;
                }
            }
        }
    }
    let head = start.get(..14).unwrap_or(start).to_ascii_lowercase();
    let is_page =
        media.ends_with("html") || head.starts_with("<!doctype html") || head.starts_with("<html");
    if is_page {
        notes.push("the reply is a web page, not data".to_owned());
        if let Some((end, _)) = text.char_indices().nth(PAGE) {
            notes.push(format!("only its first {PAGE} characters are kept"));
            return Value::from(&text[..end]);
        }
    }
    Value::from(text)
}

/// The bytes as text, if they are.
fn text(declared: &str, bytes: &[u8], whole: bool) -> Option<String> {
    let latin = declared.contains("iso-8859-1") || declared.contains("windows-1252");
    if latin {
        return Some(bytes.iter().map(|byte| char::from(*byte)).collect());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Some(text.to_owned()),
        // Broken off within a character.
        Err(error) if !whole && error.error_len().is_none() => {
            let text = std::str::from_utf8(&bytes[..error.valid_up_to()]);
            text.ok()
                .filter(|text| !text.contains('\0'))
                .map(str::to_owned)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(media: &str, bytes: &[u8], whole: bool) -> (Value, Vec<String>) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, media.parse().unwrap());
        let reply = understand(200, &headers, bytes, whole, None);
        (reply.content, reply.notes)
    }

    #[test]
    fn a_reply_is_what_it_is() {
        assert_eq!(
            reply("application/json", b"{\"a\":1}", true),
            (json!({ "a": 1 }), vec![])
        );
        assert_eq!(
            reply("application/problem+json; charset=utf-8", b"[1]", true),
            (json!([1]), vec![])
        );
        assert_eq!(
            reply("text/plain", b" {\"a\":1}", true).0,
            json!({ "a": 1 })
        );
        assert_eq!(
            reply("text/plain", b"hello", true),
            (json!("hello"), vec![])
        );
        assert_eq!(
            reply("text/plain; charset=iso-8859-1", b"caf\xe9", true).0,
            json!("café")
        );
        assert_eq!(reply("application/json", b"", true).0, Value::Null);
        let (content, notes) = reply("image/png", b"\x89PNG\0", true);
        assert_eq!(content, json!("[5 bytes of image/png]"));
        assert_eq!(notes, ["the reply is image/png, not text: it is not shown"]);
        let (content, notes) = reply("application/json", b"<html>504</html>", true);
        assert_eq!(content, json!("<html>504</html>"));
        insta::assert_snapshot!(notes.join("\n"), @r#"
        the reply says it is JSON and is not: expected value at line 1 column 1
        the reply is a web page, not data
        "#);
        let (content, notes) = reply("application/json", b"{\"a\":[1,2,{\"b\":\"\xc3", false);
        assert_eq!(content, json!({ "a": [1, 2, {}] }));
        insta::assert_snapshot!(notes.join("\n"), @r#"
        only the first 17 of more bytes were read
        what was read is shown as far as it was complete
        "#);
    }
}
