//! From exchanges to the archive.

use har::v1_2::{
    Cache, Content, Cookies, Creator, Entries, Headers, Log, PageTimings, Pages, PostData,
    QueryString, Request, Response, Timings,
};

use crate::types::REDACTED;

/// A request and what came of it.
#[derive(Debug, Clone, Default)]
pub(in crate::env) struct HttpExchange {
    /// Id of the page it belongs to.
    pub(in crate::env) page: Option<String>,
    /// Wall clock of its beginning, in milliseconds since 1970.
    pub(in crate::env) started: f64,
    /// HTTP method.
    pub(in crate::env) method: String,
    /// Absolute URL.
    pub(in crate::env) url: String,
    /// `http/1.1`, `h2`, …; empty where unknown.
    pub(in crate::env) protocol: String,
    /// Headers as they were sent.
    pub(in crate::env) headers: Vec<(String, String)>,
    /// Body, as an effect shows it.
    pub(in crate::env) body: Option<String>,
    /// What came back; `None` if nothing did.
    pub(in crate::env) reply: Option<HttpReply>,
    /// Milliseconds of each part; negative where unknown.
    pub(in crate::env) timing: HttpTiming,
    /// Anything else that should be known of it.
    pub(in crate::env) comment: Option<String>,
}

/// A response.
#[derive(Debug, Clone, Default)]
pub(in crate::env) struct HttpReply {
    /// HTTP status.
    pub(in crate::env) status: i64,
    /// Its words.
    pub(in crate::env) status_text: String,
    /// Headers.
    pub(in crate::env) headers: Vec<(String, String)>,
    /// Media type.
    pub(in crate::env) mime: String,
    /// Body: text, or Base64 with `true`. `None` where it was not kept.
    pub(in crate::env) body: Option<(String, bool)>,
    /// Length of the decoded body.
    pub(in crate::env) size: Option<usize>,
    /// Bytes over the wire.
    pub(in crate::env) transferred: Option<i64>,
}

/// Milliseconds; negative where unknown.
#[derive(Debug, Clone, Copy)]
pub(in crate::env) struct HttpTiming {
    pub(in crate::env) dns: f64,
    pub(in crate::env) connect: f64,
    pub(in crate::env) ssl: f64,
    pub(in crate::env) send: f64,
    pub(in crate::env) wait: f64,
    pub(in crate::env) receive: f64,
}

impl Default for HttpTiming {
    fn default() -> Self {
        let unknown = -1.0;
        Self {
            dns: unknown,
            connect: unknown,
            ssl: unknown,
            send: 0.0,
            wait: 0.0,
            receive: 0.0,
        }
    }
}

/// A page that exchanges belong to.
#[derive(Debug, Clone, Default)]
pub(in crate::env) struct HttpPage {
    pub(in crate::env) id: String,
    pub(in crate::env) title: String,
    /// Wall clock of its beginning, in milliseconds since 1970.
    pub(in crate::env) started: f64,
    /// Milliseconds until its content was parsed.
    pub(in crate::env) content: Option<f64>,
    /// Milliseconds until it was loaded.
    pub(in crate::env) load: Option<f64>,
}

/// The archive of exchanges in their order.
pub(in crate::env) fn archive(pages: &[HttpPage], exchanges: &[HttpExchange]) -> Log {
    let creator = Creator {
        name: "branchline".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        comment: None,
    };
    let page = |page: &HttpPage| Pages {
        started_date_time: date(page.started),
        id: page.id.clone(),
        title: page.title.clone(),
        page_timings: PageTimings {
            on_content_load: Some(page.content.unwrap_or(-1.0)),
            on_load: Some(page.load.unwrap_or(-1.0)),
            comment: None,
        },
        comment: None,
    };
    Log {
        creator,
        pages: Some(pages.iter().map(page).collect()),
        entries: exchanges.iter().map(entry).collect(),
        ..Log::default()
    }
}

fn entry(exchange: &HttpExchange) -> Entries {
    let timing = exchange.timing;
    // Of a connection's time, `ssl` is a part of `connect`.
    let parts = [
        timing.dns,
        timing.connect,
        timing.send,
        timing.wait,
        timing.receive,
    ];
    Entries {
        pageref: exchange.page.clone(),
        started_date_time: date(exchange.started),
        time: parts.iter().filter(|ms| **ms > 0.0).sum(),
        request: request(exchange),
        response: response(exchange),
        cache: Cache::default(),
        timings: Timings {
            blocked: Some(-1.0),
            dns: Some(timing.dns),
            connect: Some(timing.connect),
            send: timing.send.max(0.0),
            wait: timing.wait.max(0.0),
            receive: timing.receive.max(0.0),
            ssl: Some(timing.ssl),
            comment: None,
        },
        comment: exchange.comment.clone(),
        ..Entries::default()
    }
}

fn request(exchange: &HttpExchange) -> Request {
    let query = exchange
        .url
        .split_once('#')
        .map_or(exchange.url.as_str(), |(url, _)| url)
        .split_once('?')
        .map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query_string = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        QueryString {
            name: name.to_owned(),
            value: value.to_owned(),
            comment: None,
        }
    });
    let kind = find(&exchange.headers, "content-type");
    let post_data = exchange.body.as_ref().map(|body| PostData {
        mime_type: kind.unwrap_or_default().to_owned(),
        text: Some(body.clone()),
        params: None,
        comment: None,
    });
    Request {
        method: exchange.method.clone(),
        url: exchange.url.clone(),
        http_version: exchange.protocol.clone(),
        cookies: find(&exchange.headers, "cookie")
            .map(|line| line.split("; ").map(cookie).collect())
            .unwrap_or_default(),
        headers: headers(&exchange.headers),
        query_string: query_string.collect(),
        body_size: match &exchange.body {
            None => 0,
            Some(_) => -1,
        },
        post_data,
        headers_size: -1,
        comment: None,
    }
}

fn response(exchange: &HttpExchange) -> Response {
    let none = HttpReply::default();
    let reply = exchange.reply.as_ref().unwrap_or(&none);
    let set = reply
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let (text, encoding) = match &reply.body {
        Some((text, true)) => (Some(text.clone()), Some("base64".to_owned())),
        Some((text, false)) => (Some(text.clone()), None),
        None => (None, None),
    };
    let size = reply.size.and_then(|size| i64::try_from(size).ok());
    Response {
        status: reply.status,
        status_text: reply.status_text.clone(),
        http_version: exchange.protocol.clone(),
        // The protocol puts several into one header, a line each.
        cookies: set.flat_map(|(_, line)| line.lines()).map(cookie).collect(),
        headers: headers(&reply.headers),
        content: Content {
            size: size.unwrap_or(-1),
            mime_type: Some(reply.mime.clone()),
            text,
            encoding,
            ..Content::default()
        },
        redirect_url: Some(
            find(&reply.headers, "location")
                .unwrap_or_default()
                .to_owned(),
        ),
        headers_size: -1,
        body_size: reply.transferred.unwrap_or(-1),
        comment: None,
    }
}

/// Whether a header's value proves who one is.
pub(in crate::env) fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "auth", "cookie", "token", "secret", "api-key", "apikey", "session", "password", "csrf",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || name.contains("xsrf")
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = headers.iter().filter(|h| h.0.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.as_str())
}

fn headers(all: &[(String, String)]) -> Vec<Headers> {
    let shown = |(name, value): &(String, String)| Headers {
        name: name.clone(),
        value: if is_secret(name) {
            REDACTED.to_owned()
        } else {
            value.clone()
        },
        comment: None,
    };
    all.iter().map(shown).collect()
}

/// A cookie by its name.
fn cookie(line: &str) -> Cookies {
    let pair = line.split(';').next().unwrap_or_default();
    Cookies {
        name: pair.split('=').next().unwrap_or_default().trim().to_owned(),
        value: REDACTED.to_owned(),
        ..Cookies::default()
    }
}

/// Milliseconds since 1970 in ISO 8601.
fn date(ms: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a wall clock in milliseconds fits; a fraction of one does not matter"
    )]
    let time = jiff::Timestamp::from_millisecond(ms as i64).unwrap_or_default();
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_becomes_an_entry_without_secrets() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let exchange = HttpExchange {
            page: Some("p1".to_owned()),
            started: 1_795_000_000_250.0,
            method: "POST".to_owned(),
            url: "http://shop.demo/buy?now=1#x".to_owned(),
            protocol: "http/1.1".to_owned(),
            headers: vec![
                pair("Cookie", "sid=geheim; theme=dark"),
                pair("Content-Type", "application/x-www-form-urlencoded"),
            ],
            body: Some("qty=1".to_owned()),
            reply: Some(HttpReply {
                status: 302,
                status_text: "Found".to_owned(),
                headers: vec![
                    pair("Location", "/thanks"),
                    pair("Set-Cookie", "sid=neu; Path=/\nflash=ok"),
                ],
                ..HttpReply::default()
            }),
            timing: HttpTiming {
                wait: 12.0,
                receive: 1.5,
                ..HttpTiming::default()
            },
            comment: None,
        };
        let page = HttpPage {
            id: "p1".to_owned(),
            title: "http://shop.demo/cart".to_owned(),
            started: 1_795_000_000_000.0,
            ..HttpPage::default()
        };
        let log = archive(&[page], &[exchange]);
        let text = serde_json::to_string_pretty(&har::Har {
            log: har::Spec::V1_2(log.clone()),
        })
        .unwrap();
        assert!(!text.contains("geheim") && !text.contains("neu"), "{text}");
        let read = har::from_slice(text.as_bytes()).unwrap();
        assert_eq!(read.log, har::Spec::V1_2(log.clone()));
        let entry = &log.entries[0];
        assert_eq!(entry.started_date_time, "2026-11-18T11:06:40.250Z");
        assert!((entry.time - 13.5).abs() < 1e-9);
        assert_eq!(entry.response.redirect_url.as_deref(), Some("/thanks"));
        let names = |cookies: &[Cookies]| -> Vec<String> {
            cookies.iter().map(|c| c.name.clone()).collect()
        };
        assert_eq!(names(&entry.request.cookies), ["sid", "theme"]);
        assert_eq!(names(&entry.response.cookies), ["sid", "flash"]);
    }
}
