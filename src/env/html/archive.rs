//! The HTTP Archive of a lane.

use std::collections::VecDeque;
use std::time::Duration;

use ::har::v1_2::Log;
use jiff::Timestamp;
use reqwest::header::HeaderMap;

use super::fetch::Request;
use crate::env::page::har::{self, HttpExchange, HttpPage, HttpReply, HttpTiming};

/// The newest exchanges that are kept, and the most bytes of their bodies together.
const MAX_EXCHANGES: usize = 500;
const MAX_BYTES: usize = 16 << 20;
/// Of one body, so much goes into the archive.
const MAX_BODY: usize = 256 << 10;

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

    /// As an HTTP Archive 1.2, secrets redacted.
    pub(super) fn log(&self) -> Log {
        const PAGE: &str = "lane";
        let exchanges: Vec<HttpExchange> = self
            .kept
            .iter()
            .map(|exchange| HttpExchange {
                page: Some(PAGE.to_owned()),
                ..exchange.told()
            })
            .collect();
        let pages: Vec<HttpPage> = exchanges
            .first()
            .map(|first| HttpPage {
                id: PAGE.to_owned(),
                title: first.url.clone(),
                started: first.started,
                ..HttpPage::default()
            })
            .into_iter()
            .collect();
        let mut log = har::archive(&pages, &exchanges);
        if self.forgotten > 0 {
            log.comment = Some(format!(
                "{} earlier exchanges were not kept",
                self.forgotten
            ));
        }
        log
    }
}

impl Exchange {
    fn told(&self) -> HttpExchange {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let pairs = |headers: &HeaderMap| -> Vec<(String, String)> {
            let all = headers.iter();
            all.map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect()
        };
        let mime = self.headers.get("content-type");
        let body = std::str::from_utf8(&self.body).ok();
        HttpExchange {
            page: None,
            #[expect(clippy::cast_precision_loss, reason = "a wall clock in milliseconds")]
            started: self.at.as_millisecond() as f64,
            method: self.request.method.clone(),
            url: self.request.url.to_string(),
            protocol: self.version.clone(),
            headers: pairs(&self.sent_headers),
            body: self.request.shown_body(),
            reply: Some(HttpReply {
                status: i64::from(self.status),
                status_text: reqwest::StatusCode::from_u16(self.status)
                    .ok()
                    .and_then(|status| status.canonical_reason())
                    .unwrap_or_default()
                    .to_owned(),
                headers: pairs(&self.headers),
                mime: mime
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                    .unwrap_or_default(),
                body: body.map(|text| (text.to_owned(), false)),
                size: (!self.cut).then_some(self.body.len()),
                transferred: None,
            }),
            timing: HttpTiming {
                wait: ms(self.waited),
                receive: ms(self.took.saturating_sub(self.waited)),
                ..HttpTiming::default()
            },
            comment: self
                .cut
                .then(|| "of the body only the beginning is kept".to_owned()),
        }
    }
}
