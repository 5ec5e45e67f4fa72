//! The exchanges of a lane, collected for an HTTP Archive.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value;

use super::lane::LaneSetup;
use super::ledger::RequestBody;
use crate::env::har::{self, HttpExchange, HttpPage, HttpReply, HttpTiming};

/// A body longer than this is not kept.
const MAX_BODY: usize = 1 << 20;
/// All bodies of one archive together.
const MAX_TOTAL: usize = 64 << 20;

/// `Network.requestWillBeSent`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    request_id: String,
    #[serde(default)]
    loader_id: String,
    request: RequestBody,
    #[serde(default)]
    timestamp: f64,
    #[serde(default)]
    wall_time: f64,
    #[serde(default)]
    redirect_response: Option<Response>,
}

/// `Network.responseReceived`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answered {
    request_id: String,
    #[serde(default)]
    timestamp: f64,
    response: Response,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status: i64,
    #[serde(default)]
    status_text: String,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    #[serde(default)]
    mime_type: String,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    encoded_data_length: f64,
    #[serde(default)]
    timing: Option<Timing>,
    #[serde(default)]
    from_disk_cache: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Timing {
    request_time: f64,
    dns_start: f64,
    dns_end: f64,
    connect_start: f64,
    connect_end: f64,
    ssl_start: f64,
    ssl_end: f64,
    send_start: f64,
    send_end: f64,
    receive_headers_end: f64,
}

impl Default for Timing {
    fn default() -> Self {
        let none = -1.0;
        Self {
            request_time: 0.0,
            dns_start: none,
            dns_end: none,
            connect_start: none,
            connect_end: none,
            ssl_start: none,
            ssl_end: none,
            send_start: none,
            send_end: none,
            receive_headers_end: none,
        }
    }
}

/// `Network.loadingFinished` and `loadingFailed`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ended {
    request_id: String,
    #[serde(default)]
    timestamp: f64,
    #[serde(default)]
    encoded_data_length: f64,
    #[serde(default)]
    error_text: Option<String>,
}

struct Open {
    /// Monotonic seconds of the request, and of the response's headers.
    asked: f64,
    headed: f64,
}

/// The exchanges of a lane in the order in which they were asked for.
#[derive(Default)]
pub(super) struct Archive {
    pages: Vec<HttpPage>,
    /// Monotonic seconds of each page's beginning.
    begun: Vec<f64>,
    exchanges: Vec<HttpExchange>,
    times: Vec<Open>,
    /// The latest exchange of a request: a redirect goes on under the same id.
    latest: HashMap<String, usize>,
    bytes: usize,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Archive({} exchanges)", self.exchanges.len())
    }
}

fn pairs(headers: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

impl Archive {
    /// A request leaves.
    pub(super) fn asked(&mut self, event: &Asked, setup: &LaneSetup) {
        if event.request.url.starts_with("data:") || event.request.url.starts_with("blob:") {
            return;
        }
        if let Some(response) = &event.redirect_response {
            self.reply(&event.request_id, response, event.timestamp);
        }
        let exchange = HttpExchange {
            page: Some(event.loader_id.clone()).filter(|id| !id.is_empty()),
            started: event.wall_time * 1000.0,
            method: event.request.method.clone(),
            url: setup.logical(&event.request.url),
            headers: pairs(&event.request.headers),
            body: event.request.shown_body(),
            ..HttpExchange::default()
        };
        self.latest
            .insert(event.request_id.clone(), self.exchanges.len());
        self.exchanges.push(exchange);
        self.times.push(Open {
            asked: event.timestamp,
            headed: event.timestamp,
        });
    }

    /// A main frame has a new document; its loader is the id of its request.
    pub(super) fn page(&mut self, loader: &str, url: &str) {
        let Some(&at) = self.latest.get(loader) else {
            return;
        };
        // A redirected document began with its first request.
        let own = |e: &HttpExchange| e.page.as_deref() == Some(loader);
        let first = self.exchanges.iter().position(own).unwrap_or(at);
        self.begun.push(self.times[first].asked);
        self.pages.push(HttpPage {
            id: loader.to_owned(),
            title: url.to_owned(),
            started: self.exchanges[first].started,
            ..HttpPage::default()
        });
    }

    /// The latest page's content was parsed, or it was loaded.
    pub(super) fn milestone(&mut self, timestamp: f64, loaded: bool) {
        let (Some(page), Some(begun)) = (self.pages.last_mut(), self.begun.last()) else {
            return;
        };
        let ms = Some(((timestamp - begun) * 1000.0).max(0.0));
        if loaded {
            page.load = ms;
        } else {
            page.content = ms;
        }
    }

    /// A response's headers are there.
    pub(super) fn answered(&mut self, event: &Answered) {
        self.reply(&event.request_id, &event.response, event.timestamp);
    }

    fn reply(&mut self, id: &str, response: &Response, timestamp: f64) {
        let Some(&at) = self.latest.get(id) else {
            return;
        };
        let exchange = &mut self.exchanges[at];
        exchange.protocol.clone_from(&response.protocol);
        if response.from_disk_cache {
            exchange.comment = Some("answered by the browser's cache".to_owned());
        }
        let body = exchange.reply.take();
        exchange.reply = Some(HttpReply {
            status: response.status,
            status_text: response.status_text.clone(),
            headers: pairs(&response.headers),
            mime: response.mime_type.clone(),
            transferred: whole(response.encoded_data_length),
            // The body may have come first: it is taken where the response passes.
            ..body.unwrap_or_default()
        });
        let times = &mut self.times[at];
        let waited = (timestamp - times.asked) * 1000.0;
        times.headed = timestamp;
        exchange.timing = match &response.timing {
            None => HttpTiming {
                wait: waited,
                ..HttpTiming::default()
            },
            Some(timing) => {
                let part = |start: f64, end: f64| if start < 0.0 { -1.0 } else { end - start };
                times.headed = timing.request_time + timing.receive_headers_end / 1000.0;
                HttpTiming {
                    dns: part(timing.dns_start, timing.dns_end),
                    connect: part(timing.connect_start, timing.connect_end),
                    ssl: part(timing.ssl_start, timing.ssl_end),
                    send: part(timing.send_start, timing.send_end),
                    wait: part(timing.send_end, timing.receive_headers_end),
                    receive: 0.0,
                }
            }
        };
    }

    /// A response's body, Base64.
    pub(super) fn body(&mut self, id: &str, url: &str, base64: &str) {
        let Some(&at) = self.latest.get(id) else {
            return;
        };
        let engine = base64::engine::general_purpose::STANDARD;
        let exchange = &mut self.exchanges[at];
        if exchange.url != url {
            return;
        }
        let Ok(bytes) = engine.decode(base64) else {
            return;
        };
        let reply = exchange.reply.get_or_insert_default();
        reply.size = Some(bytes.len());
        if bytes.len() > MAX_BODY || self.bytes + bytes.len() > MAX_TOTAL {
            exchange.comment = Some("the body was too long to keep".to_owned());
            return;
        }
        self.bytes += bytes.len();
        reply.body = Some(match String::from_utf8(bytes) {
            Ok(text) => (text, false),
            Err(_) => (base64.to_owned(), true),
        });
    }

    /// A request was stopped before it left: its response is ours.
    pub(super) fn held(&mut self, id: &str) {
        if let Some(&at) = self.latest.get(id) {
            self.exchanges[at].comment = Some("held: it was not sent".to_owned());
        }
    }

    /// An exchange ended.
    pub(super) fn ended(&mut self, event: &Ended) {
        let Some(&at) = self.latest.get(&event.request_id) else {
            return;
        };
        let exchange = &mut self.exchanges[at];
        let received = (event.timestamp - self.times[at].headed) * 1000.0;
        exchange.timing.receive = received.max(0.0);
        if let Some(error) = &event.error_text {
            exchange.comment.get_or_insert_with(|| error.clone());
        }
        if let Some(reply) = &mut exchange.reply
            && event.encoded_data_length > 0.0
        {
            reply.transferred = whole(event.encoded_data_length);
        }
    }

    /// The archive so far.
    pub(super) fn log(&self) -> ::har::v1_2::Log {
        // Only pages that are there can be referred to.
        let mut exchanges = self.exchanges.clone();
        for exchange in &mut exchanges {
            let known = |id: &String| self.pages.iter().any(|page| page.id == *id);
            exchange.page = exchange.page.take().filter(known);
        }
        har::archive(&self.pages, &exchanges)
    }
}

fn whole(bytes: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a length that came over the wire fits"
    )]
    (bytes >= 0.0).then_some(bytes as i64)
}
