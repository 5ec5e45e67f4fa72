//! The HTTP Archive of a lane.

use std::collections::VecDeque;
use std::time::Duration;

use har::v1_2::{
    Cache, Content, Creator, Entries, Headers, Log, PageTimings, Pages, PostData, QueryString,
    Request as HarRequest, Response, Timings,
};
use jiff::Timestamp;
use reqwest::header::HeaderMap;

use super::fetch::Request;

/// The newest exchanges that are kept, and the most bytes of their bodies together.
const MAX_EXCHANGES: usize = 500;
const MAX_BYTES: usize = 16 << 20;
/// Of one body, so much goes into the archive.
const MAX_BODY: usize = 256 << 10;
const SECRET: &[&str] = &[
    "cookie",
    "set-cookie",
    "authorization",
    "proxy-authorization",
];

/// One exchange as it took place.
#[derive(Debug)]
pub(super) struct Exchange {
    pub at: Timestamp,
    /// Until the response's head was there.
    pub waited: Duration,
    pub took: Duration,
    pub version: String,
    pub request: Request,
    pub sent_headers: HeaderMap,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub cut: bool,
}

/// The exchanges since the lane was opened, the oldest forgotten where there are too many.
#[derive(Debug, Default)]
pub(super) struct Archive {
    kept: VecDeque<Exchange>,
    bytes: usize,
    forgotten: usize,
}

impl Archive {
    pub(super) fn push(&mut self, mut exchange: Exchange) {
        exchange.cut |= exchange.body.len() > MAX_BODY;
        exchange.body.truncate(MAX_BODY);
        self.bytes += exchange.body.len();
        self.kept.push_back(exchange);
        while self.kept.len() > MAX_EXCHANGES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= oldest.body.len();
            self.forgotten += 1;
        }
    }

    /// How many exchanges there were.
    pub(super) fn count(&self) -> usize {
        self.kept.len() + self.forgotten
    }

    /// As an HTTP Archive 1.2.
    pub(super) fn log(&self) -> Log {
        let creator = Creator {
            name: "branchline".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            comment: None,
        };
        let first = self.kept.front().map(|e| Pages {
            started_date_time: e.at.to_string(),
            id: "page".to_owned(),
            title: e.request.url.to_string(),
            page_timings: PageTimings::default(),
            comment: None,
        });
        Log {
            creator: creator.clone(),
            browser: Some(creator),
            pages: Some(first.into_iter().collect()),
            entries: self.kept.iter().map(entry).collect(),
            comment: (self.forgotten > 0)
                .then(|| format!("{} earlier exchanges were not kept", self.forgotten)),
        }
    }
}

fn headers(headers: &HeaderMap) -> Vec<Headers> {
    headers
        .iter()
        .map(|(name, value)| Headers {
            name: name.as_str().to_owned(),
            value: if SECRET.contains(&name.as_str()) {
                "[redacted]".to_owned()
            } else {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            },
            comment: None,
        })
        .collect()
}

fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn entry(exchange: &Exchange) -> Entries {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let request = &exchange.request;
    let mime = |headers: &HeaderMap| {
        headers
            .get("content-type")
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let query = request.url.query_pairs().map(|(name, value)| QueryString {
        name: name.into_owned(),
        value: value.into_owned(),
        comment: None,
    });
    let body_size = request
        .body
        .as_ref()
        .map_or(0, |body| size(body.bytes.len()));
    Entries {
        pageref: Some("page".to_owned()),
        started_date_time: exchange.at.to_string(),
        time: ms(exchange.took),
        request: HarRequest {
            method: request.method.clone(),
            url: request.url.to_string(),
            http_version: exchange.version.clone(),
            cookies: Vec::new(),
            headers: headers(&exchange.sent_headers),
            query_string: query.collect(),
            post_data: request.body.as_ref().map(|body| PostData {
                mime_type: body.kind.clone(),
                text: body.shown.clone(),
                params: None,
                comment: None,
            }),
            headers_size: -1,
            body_size,
            comment: None,
        },
        response: Response {
            status: i64::from(exchange.status),
            status_text: reqwest::StatusCode::from_u16(exchange.status)
                .ok()
                .and_then(|s| s.canonical_reason())
                .unwrap_or_default()
                .to_owned(),
            http_version: exchange.version.clone(),
            cookies: Vec::new(),
            headers: headers(&exchange.headers),
            content: Content {
                size: size(exchange.body.len()),
                mime_type: Some(mime(&exchange.headers).unwrap_or_default()),
                text: std::str::from_utf8(&exchange.body).ok().map(str::to_owned),
                comment: exchange.cut.then(|| "the rest is not kept".to_owned()),
                ..Content::default()
            },
            redirect_url: Some(
                exchange
                    .headers
                    .get("location")
                    .and_then(|v| v.to_str().ok())
                    .unwrap_or_default()
                    .to_owned(),
            ),
            headers_size: -1,
            body_size: size(exchange.body.len()),
            comment: None,
        },
        cache: Cache::default(),
        timings: Timings {
            send: 0.0,
            wait: ms(exchange.waited),
            receive: ms(exchange.took.saturating_sub(exchange.waited)),
            ..Timings::default()
        },
        ..Entries::default()
    }
}
