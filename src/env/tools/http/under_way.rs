//! A request under way, for the HTTP archive.

use std::time::Duration;

use reqwest::Response;
use tokio::time::Instant;

use super::credentials::Proof;
use super::reply::Received;
use crate::env::har::HttpExchange;

/// An exchange as far as it came. It is noted when it ends, however it ends: a request that was cut
/// off had left all the same.
pub(super) struct UnderWay<'a> {
    proof: &'a Proof,
    exchange: HttpExchange,
    begun: Instant,
    /// Until the head of the answer was there.
    waited: Duration,
}

impl<'a> UnderWay<'a> {
    /// A request that leaves now.
    pub(super) fn new(proof: &'a Proof, exchange: HttpExchange) -> Self {
        Self {
            proof,
            exchange: HttpExchange {
                comment: Some("no answer came".to_owned()),
                ..exchange
            },
            begun: Instant::now(),
            waited: Duration::ZERO,
        }
    }

    /// The head of its answer came.
    pub(super) fn head(&mut self, response: &Response) {
        self.waited = self.begun.elapsed();
        let (status, version) = (response.status(), response.version());
        self.exchange
            .answered(status, version, response.headers(), self.waited);
        let body = response.content_length() != Some(0);
        self.exchange.comment = body.then(|| "the body is not kept".to_owned());
    }

    /// The body was read.
    pub(super) fn read(&mut self, received: &Received) {
        let after = self.begun.elapsed().saturating_sub(self.waited);
        self.exchange.read(&received.bytes, received.whole, after);
    }

    /// It ended without an answer, or within it.
    pub(super) fn failed(&mut self, why: String) {
        self.exchange.comment = Some(why);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.proof.note(std::mem::take(&mut self.exchange));
    }
}
