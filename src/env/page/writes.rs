//! Writes as a guard reports them, and the ones that a commit may send.

use serde_json::Value;

use crate::env::har::is_secret;
use crate::types::{Digest, Effect, EffectKind, REDACTED};

/// Bodies of at most this many bytes are reported whole.
const MAX_BODY: usize = 4096;
/// A value of a multipart form is reported up to here.
const MAX_VALUE: usize = 512;
/// Times in a body may differ by this many milliseconds: a commit comes later than the search.
const DAY: i64 = 86_400_000;

/// The headers that say something about a request: what the page or the caller set, not what every
/// browser sends. Secret ones keep their name only.
pub(in crate::env) fn headers<'a>(
    all: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<(String, String)> {
    const USUAL: [&str; 16] = [
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-length",
        "dnt",
        "host",
        "origin",
        "ping-from",
        "ping-to",
        "pragma",
        "priority",
        "purpose",
        "referer",
        "upgrade-insecure-requests",
        "user-agent",
    ];
    let said = all.into_iter().filter_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let usual = USUAL.contains(&name.as_str())
            || name.starts_with("sec-")
            || name == "accept" && (value == "*/*" || value.starts_with("text/html,"));
        if usual {
            return None;
        }
        let value = if is_secret(&name) {
            REDACTED.to_owned()
        } else if value.starts_with("multipart/") {
            // The boundary is another one every time.
            value.split(';').next().unwrap_or_default().to_owned()
        } else {
            value.to_owned()
        };
        Some((name, value))
    });
    let mut said: Vec<_> = said.collect();
    said.sort();
    said
}

/// A body as an effect shows it.
pub(in crate::env) fn body(bytes: &[u8], content_type: Option<&str>) -> String {
    let boundary = content_type
        .filter(|kind| kind.starts_with("multipart/"))
        .and_then(|kind| kind.split_once("boundary="))
        .map(|(_, boundary)| {
            boundary
                .split(';')
                .next()
                .unwrap_or_default()
                .trim_matches('"')
        });
    if let Some(form) = boundary.and_then(|boundary| multipart(bytes, boundary)) {
        return form;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(|c: char| c.is_control() && !"\t\r\n".contains(c)) => {
            cut(text, MAX_BODY)
        }
        Ok(_) | Err(_) => format!("[{}]", measure(bytes)),
    }
}

fn measure(bytes: &[u8]) -> String {
    format!(
        "{} bytes, blake3 {}",
        bytes.len(),
        Digest::of(bytes).short()
    )
}

/// `text` up to `max` bytes; of a longer one the beginning, and what identifies the rest.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!(
        "{} [{}]",
        super::shorten(text, max),
        measure(text.as_bytes())
    )
}

/// A multipart form, one field a line: `name=value`, or `name=[file "a.png", 12 bytes, …]`. `None`
/// if it is not well-formed.
fn multipart(bytes: &[u8], boundary: &str) -> Option<String> {
    let delimiter = format!("--{boundary}");
    let mut rest = after(bytes, delimiter.as_bytes())?;
    let mut lines = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let end = format!("\r\n{delimiter}");
        let at = find(part, end.as_bytes())?;
        rest = &part[at + end.len()..];
        let part = &part[..at];
        let head_end = find(part, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&part[..head_end]).ok()?;
        let value = &part[head_end + 4..];
        let attribute = |name: &str| {
            let (_, rest) = head.split_once(&format!(" {name}=\""))?;
            Some(rest.split_once('"')?.0)
        };
        let name = attribute("name")?;
        let shown = match attribute("filename") {
            Some(file) => format!("[file \"{file}\", {}]", measure(value)),
            None => match std::str::from_utf8(value) {
                Ok(text) => cut(text, MAX_VALUE).replace(['\r', '\n'], " "),
                Err(_) => format!("[{}]", measure(value)),
            },
        };
        lines.push(format!("{name}={shown}"));
    }
    Some(cut(&lines.join("\n"), MAX_BODY))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn after<'a>(bytes: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    find(bytes, what).map(|at| &bytes[at + what.len()..])
}

/// The writes that one action may send, each once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::env) struct Permits {
    left: Vec<Effect>,
}

impl Permits {
    /// Permits for the writes among `allowed`.
    pub(in crate::env) fn new(allowed: &[Effect]) -> Self {
        let writes = allowed.iter().filter(|e| e.kind == EffectKind::Write);
        Self {
            left: writes.cloned().collect(),
        }
    }

    /// Uses the permit of this request up, if there is one.
    pub(in crate::env) fn take(&mut self, request: &Effect) -> bool {
        let at = self.left.iter().position(|allowed| same(allowed, request));
        if let Some(at) = at {
            self.left.remove(at);
        }
        at.is_some()
    }

    /// What was allowed and not asked for.
    pub(in crate::env) fn left(&self) -> &[Effect] {
        &self.left
    }
}

/// Whether the redirection of a write (method and URL) repeats it at another URL of its server, as
/// 307 and 308 have it: it is the same write going on, and whoever let it leave let it go on. To another
/// server it is a write of its own.
pub(in crate::env) fn repeats(sent: (&str, &str), next: (&str, &str)) -> bool {
    let origin = |url: &str| url::Url::parse(url).map(|url| url.origin());
    let same = matches!((origin(sent.1), origin(next.1)), (Ok(a), Ok(b)) if a == b);
    sent.0 == next.0 && !matches!(sent.0, "GET" | "HEAD" | "OPTIONS") && same
}

/// Whether a request is the one that was allowed: the same method and URL, and a body with the same
/// fields. Only a value that cannot be the same twice may differ: an anti-forgery token, a nonce, a
/// key of idempotence (by the field's name), a time of the same day (by the value's form), and one
/// that the record redacted.
fn same(allowed: &Effect, request: &Effect) -> bool {
    allowed.method == request.method
        && allowed.url == request.url
        && match (&allowed.body, &request.body) {
            (None, None) => true,
            (Some(allowed), Some(request)) => same_body(allowed, request),
            (None, Some(_)) | (Some(_), None) => false,
        }
}

fn same_body(allowed: &str, request: &str) -> bool {
    if allowed == request {
        return true;
    }
    if let (Ok(allowed), Ok(request)) = (
        serde_json::from_str::<Value>(allowed),
        serde_json::from_str::<Value>(request),
    ) {
        return same_json("", &allowed, &request);
    }
    let separator = if allowed.contains('\n') { '\n' } else { '&' };
    let (mut ours, mut theirs) = (allowed.split(separator), request.split(separator));
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return true,
            (Some(ours), Some(theirs)) => {
                let fields = (ours.split_once('='), theirs.split_once('='));
                let (Some((name, old)), Some((other, new))) = fields else {
                    if ours == theirs {
                        continue;
                    }
                    return false;
                };
                if name != other || !same_value(name, old, new) {
                    return false;
                }
            }
            (Some(_), None) | (None, Some(_)) => return false,
        }
    }
}

fn same_json(name: &str, allowed: &Value, request: &Value) -> bool {
    match (allowed, request) {
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(key, value)| {
                    theirs
                        .get(key)
                        .is_some_and(|other| same_json(key, value, other))
                })
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(a, b)| same_json(name, a, b))
        }
        (Value::String(ours), Value::String(theirs)) => same_value(name, ours, theirs),
        (Value::Number(ours), Value::Number(theirs)) => {
            ours == theirs || same_value(name, &ours.to_string(), &theirs.to_string())
        }
        (ours, theirs) => ours == theirs,
    }
}

fn same_value(name: &str, allowed: &str, request: &str) -> bool {
    if allowed == request {
        return true;
    }
    // What the record took out of it is not known any more; the rest is.
    if let Some((before, after)) = allowed.split_once(REDACTED) {
        return request.starts_with(before)
            && (request.ends_with(after) || after.contains(REDACTED));
    }
    if allowed.is_empty() || request.is_empty() {
        return false;
    }
    let same_day = |(ours, theirs): (Option<i64>, Option<i64>)| matches!((ours, theirs), (Some(ours), Some(theirs)) if (ours - theirs).abs() < DAY);
    is_one_time(name) || same_day((time(allowed), time(request)))
}

/// Whether a field's name says that its value is used once.
fn is_one_time(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "csrf",
        "xsrf",
        "nonce",
        "verificationtoken",
        "authenticity_token",
        "viewstate",
        "eventvalidation",
        "idempotency",
        "timestamp",
    ];
    const WHOLE: [&str; 4] = ["token", "_token", "ts", "_ts"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || WHOLE.contains(&name.as_str())
}

/// A time as scripts write it, in milliseconds: `Date.now()` of our years, or `toISOString()`, also
/// percent-encoded.
fn time(value: &str) -> Option<i64> {
    if value.len() == 13 {
        let ms = value.parse().ok()?;
        return (1_500_000_000_000..2_000_000_000_000)
            .contains(&ms)
            .then_some(ms);
    }
    let value = value.replace("%3A", ":").replace("%3a", ":");
    if value.len() != 24 || !value.ends_with('Z') {
        return None;
    }
    let time: jiff::Timestamp = value.parse().ok()?;
    Some(time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(url: &str, body: &str) -> Effect {
        Effect {
            kind: EffectKind::Write,
            method: "POST".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Some(body.to_owned()),
            held: true,
        }
    }

    #[test]
    fn headers_of_the_page_stay_and_secrets_go() {
        let all = [
            ("User-Agent", "x"),
            ("Accept", "*/*"),
            ("sec-ch-ua", "y"),
            ("X-Shop", "1"),
            ("Authorization", "Bearer abc"),
            ("X-CSRFToken", "t"),
            ("Content-Type", "multipart/form-data; boundary=x1"),
        ];
        let got = headers(all);
        let got: Vec<(&str, &str)> = got.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            got,
            [
                ("authorization", REDACTED),
                ("content-type", "multipart/form-data"),
                ("x-csrftoken", REDACTED),
                ("x-shop", "1"),
            ]
        );
    }

    #[test]
    fn bodies() {
        assert_eq!(body(b"qty=1", None), "qty=1");
        let long = body("x".repeat(5000).as_bytes(), None);
        assert!(long.starts_with("xxxx") && long.len() < 4200, "{long}");
        assert!(long.contains("… [5000 bytes, blake3 "), "{long}");
        let binary = body(&[0, 1, 255], Some("application/octet-stream"));
        assert!(binary.starts_with("[3 bytes, blake3 "), "{binary}");
        let form = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B\r\n\
            Content-Disposition: form-data; name=\"f\"; filename=\"n.txt\"\r\nContent-Type: text/plain\r\n\r\nxyz\r\n--B--\r\n";
        let shown = body(form.as_bytes(), Some("multipart/form-data; boundary=B"));
        let digest = Digest::of("xyz").short();
        assert_eq!(
            shown,
            format!("a=1\nf=[file \"n.txt\", 3 bytes, blake3 {digest}]")
        );
        let broken = body(b"--B\r\nno end", Some("multipart/form-data; boundary=B"));
        assert_eq!(broken, "--B\r\nno end");
    }

    #[test]
    fn a_permit_is_for_one_request() {
        let mut permits = Permits::new(&[write("/buy", "qty=1")]);
        assert!(!permits.take(&write("/sell", "qty=1")));
        assert!(!permits.take(&write("/buy", "qty=2")));
        assert_eq!(permits.left().len(), 1);
        assert!(permits.take(&write("/buy", "qty=1")));
        assert!(!permits.take(&write("/buy", "qty=1")), "each once");
        let read = Effect {
            kind: EffectKind::Client,
            ..write("/buy", "qty=1")
        };
        assert_eq!(Permits::new(&[read]).left(), []);
    }

    #[test]
    fn a_redirection_goes_on_where_it_repeats_a_write_on_its_server() {
        let sent = ("POST", "http://a.test/x");
        assert!(repeats(sent, ("POST", "http://a.test/y?z")));
        assert!(!repeats(sent, ("GET", "http://a.test/y")));
        assert!(!repeats(sent, ("PUT", "http://a.test/y")));
        for other in [
            "https://a.test/y",
            "http://a.test:81/y",
            "http://b.test/y",
            "/y",
        ] {
            assert!(!repeats(sent, ("POST", other)), "{other}");
        }
        let read = ("GET", "http://a.test/x");
        assert!(!repeats(read, read));
    }

    #[test]
    fn only_what_must_differ_may_differ() {
        for (ours, theirs, same) in [
            ("a=1&csrf=x", "a=1&csrf=y", true),
            ("a=1&csrf=x", "a=2&csrf=x", false),
            ("a=1&csrf=x", "a=1", false),
            ("a=1&csrf=x", "a=1&csrf=", false),
            ("a=1&csrf=x", "csrf=y&a=1", false),
            ("a=1", "a=1&b=2", false),
            (
                "__RequestVerificationToken=u",
                "__RequestVerificationToken=v",
                true,
            ),
            ("at=1795000000000", "at=1795000360000", true),
            ("at=1795000000000", "at=1795990000000", false),
            ("ean=4006381333931", "ean=4006381333948", false),
            (
                "at=2026-11-24T10%3A00%3A00.000Z",
                "at=2026-11-24T11%3A00%3A00.000Z",
                true,
            ),
            ("day=2026-11-24", "day=2026-11-25", false),
            ("user=a&pass=[redacted]", "user=a&pass=geheim", true),
            ("user=a&pass=[redacted]", "user=b&pass=geheim", false),
            (r#"{"qty":1,"nonce":"a"}"#, r#"{"qty":1,"nonce":"b"}"#, true),
            (
                r#"{"qty":1,"nonce":"a"}"#,
                r#"{"qty":2,"nonce":"b"}"#,
                false,
            ),
            (r#"{"at":1795000000000}"#, r#"{"at":1795000000500}"#, true),
            (r#"{"qty":1}"#, r#"{"qty":1,"x":0}"#, false),
            ("a=1\ncsrf=x", "a=1\ncsrf=z", true),
            ("hello", "hallo", false),
        ] {
            assert_eq!(same_body(ours, theirs), same, "{ours} / {theirs}");
        }
    }
}
