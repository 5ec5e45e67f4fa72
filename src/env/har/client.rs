//! What a client of HTTP tells of its exchanges, and how many of them are kept.

use std::collections::VecDeque;
use std::time::Duration;

use har::v1_2::Log;
use jiff::Timestamp;
use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE};
use reqwest::{StatusCode, Version};

use super::archive::{HttpExchange, HttpPage, HttpReply, archive};
use crate::types::REDACTED;

/// The newest exchanges of a lane that are kept, and the most bytes of their bodies together.
const MAX_EXCHANGES: usize = 500;
const MAX_BYTES: usize = 16 << 20;
/// Of one body, so much goes into the archive, in bytes.
pub(in crate::env) const MAX_BODY: usize = 256 << 10;

impl HttpExchange {
    /// A request that is sent now, with these headers.
    pub(in crate::env) fn sent(
        method: &str,
        url: String,
        headers: &HeaderMap,
        body: Option<String>,
    ) -> Self {
        Self {
            #[expect(clippy::cast_precision_loss, reason = "a wall clock in milliseconds")]
            started: Timestamp::now().as_millisecond() as f64,
            method: method.to_owned(),
            url,
            headers: pairs(headers),
            body,
            ..Self::default()
        }
    }

    /// The head of its answer, which came `after` the request was sent.
    pub(in crate::env) fn answered(
        &mut self,
        status: StatusCode,
        version: Version,
        headers: &HeaderMap,
        after: Duration,
    ) {
        let mime = headers.get("content-type");
        self.protocol = format!("{version:?}").to_lowercase();
        self.reply = Some(HttpReply {
            status: i64::from(status.as_u16()),
            status_text: status.canonical_reason().unwrap_or_default().to_owned(),
            headers: pairs(headers),
            mime: mime
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .unwrap_or_default(),
            ..HttpReply::default()
        });
        self.timing.wait = milliseconds(after);
    }

    /// The body of its answer, which came `after` the head. If it is not `whole`, only its beginning
    /// was read.
    pub(in crate::env) fn read(&mut self, body: &[u8], whole: bool, after: Duration) {
        let whole = whole && body.len() <= MAX_BODY;
        let shown = &body[..body.len().min(MAX_BODY)];
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            // Cut within a character.
            Err(error) if !whole && error.error_len().is_none() => {
                std::str::from_utf8(&shown[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        if let Some(reply) = &mut self.reply {
            reply.body = text.map(|text| (text.to_owned(), false));
            reply.size = whole.then_some(body.len());
        }
        self.timing.receive = milliseconds(after);
        self.comment = (!whole).then(|| "of the body only the beginning is kept".to_owned());
    }

    fn kept_bytes(&self) -> usize {
        let reply = self.reply.as_ref().and_then(|reply| reply.body.as_ref());
        let sent = self.body.as_ref().map_or(0, String::len);
        sent + reply.map_or(0, |(text, _)| text.len())
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// All headers, without the values that a client marks as secret. Cookies keep theirs, of which the
/// archive needs the names.
fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        let named = name == COOKIE || name == SET_COOKIE;
        let value = if value.is_sensitive() && !named {
            REDACTED.to_owned()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        (name.as_str().to_owned(), value)
    };
    headers.iter().map(pair).collect()
}

/// The exchanges of one lane, the oldest forgotten where there are too many.
#[derive(Debug, Default)]
pub(in crate::env) struct Exchanges {
    kept: VecDeque<HttpExchange>,
    bytes: usize,
    forgotten: usize,
}

impl Exchanges {
    /// Keeps one more.
    pub(in crate::env) fn push(&mut self, exchange: HttpExchange) {
        self.bytes += exchange.kept_bytes();
        self.kept.push_back(exchange);
        while self.kept.len() > MAX_EXCHANGES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= oldest.kept_bytes();
            self.forgotten += 1;
        }
    }

    /// How many exchanges there were.
    #[cfg(feature = "html")]
    pub(in crate::env) fn count(&self) -> usize {
        self.kept.len() + self.forgotten
    }

    /// As an HTTP Archive 1.2, all on one page of that name.
    pub(in crate::env) fn log(&self, page: &str) -> Log {
        let on_page = |exchange: &HttpExchange| HttpExchange {
            page: Some(page.to_owned()),
            ..exchange.clone()
        };
        let exchanges: Vec<HttpExchange> = self.kept.iter().map(on_page).collect();
        let pages: Vec<HttpPage> = exchanges
            .first()
            .map(|first| HttpPage {
                id: page.to_owned(),
                title: first.url.clone(),
                started: first.started,
                ..HttpPage::default()
            })
            .into_iter()
            .collect();
        let mut log = archive(&pages, &exchanges);
        if self.forgotten > 0 {
            log.comment = Some(format!(
                "{} earlier exchanges of {page} were not kept",
                self.forgotten
            ));
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(body: &[u8]) -> HttpExchange {
        let mut headers = HeaderMap::new();
        headers.insert("x-key", "geheim".parse().unwrap());
        headers.get_mut("x-key").unwrap().set_sensitive(true);
        headers.insert(COOKIE, "sid=geheim".parse().unwrap());
        let mut exchange = HttpExchange::sent("GET", "http://a.test/".to_owned(), &headers, None);
        let head = (StatusCode::OK, Version::HTTP_11);
        exchange.answered(head.0, head.1, &HeaderMap::new(), Duration::from_millis(3));
        exchange.read(body, true, Duration::from_millis(2));
        exchange
    }

    #[test]
    fn what_is_marked_as_secret_stays_away_and_bodies_are_bounded() {
        // The last character does not fit whole.
        let text = format!("x{}", "é".repeat(MAX_BODY / 2));
        let mut all = Exchanges::default();
        all.push(exchange(text.as_bytes()));
        let log = all.log("lane");
        assert!(!format!("{log:?}").contains("geheim"), "{log:?}");
        let entry = &log.entries[0];
        assert_eq!(entry.request.cookies[0].name, "sid");
        assert_eq!((entry.timings.wait, entry.timings.receive), (3.0, 2.0));
        let content = &entry.response.content;
        assert_eq!(content.text.as_ref().unwrap().len(), MAX_BODY - 1);
        assert_eq!(content.size, -1);
        assert!(
            entry
                .comment
                .as_ref()
                .unwrap()
                .contains("only the beginning")
        );
    }

    #[test]
    fn the_oldest_are_forgotten_and_counted() {
        let mut all = Exchanges::default();
        for _ in 0..MAX_EXCHANGES + 2 {
            all.push(exchange(b"ok"));
        }
        let body = vec![b'x'; MAX_BODY];
        let log = all.log("lane");
        assert_eq!(log.entries.len(), MAX_EXCHANGES);
        assert_eq!(
            log.comment.as_deref(),
            Some("2 earlier exchanges of lane were not kept")
        );
        for _ in 0..=MAX_BYTES / MAX_BODY {
            all.push(exchange(&body));
        }
        assert_eq!(all.log("lane").entries.len(), MAX_BYTES / MAX_BODY);
    }
}
