//! The network log of a lane: every response of its documents, to be answered again in a restore.
//!
//! A slot is reserved when a request leaves and filled when its response is there, so that the
//! order is that of the requests. Slots are shared, not copied: keeping a log with every state costs
//! a pointer a response.

use std::sync::Arc;

use chromiumoxide_cdp::cdp::browser_protocol::fetch::HeaderEntry;

/// A response larger than this is not kept: a restore that needs it takes the next rung.
pub(super) const MAX_ANSWER: usize = 8 << 20;
/// The bodies of one lane's log together.
const MAX_TOTAL: usize = 128 << 20;

/// A recorded response.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: i64,
    pub headers: Vec<HeaderEntry>,
    /// Base64, as the protocol carries it both ways.
    pub body: String,
}

#[derive(Debug, Clone)]
struct Slot {
    /// The browser's id of the request; a document's is the id of its loader.
    network: String,
    method: String,
    url: String,
    answer: Option<Arc<Answer>>,
}

/// Responses in the order in which they were asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct NetLog {
    slots: Vec<Arc<Slot>>,
    bytes: usize,
}

impl NetLog {
    /// A request leaves.
    pub(super) fn asked(&mut self, network: &str, method: &str, url: &str) {
        self.slots.push(Arc::new(Slot {
            network: network.to_owned(),
            method: method.to_owned(),
            url: url.to_owned(),
            answer: None,
        }));
    }

    /// Its response is there.
    pub(super) fn answered(&mut self, network: &str, url: &str, answer: Answer) {
        if self.bytes + answer.body.len() > MAX_TOTAL {
            return;
        }
        let waiting = |slot: &&mut Arc<Slot>| {
            slot.network == network && slot.url == url && slot.answer.is_none()
        };
        if let Some(slot) = self.slots.iter_mut().rev().find(waiting) {
            self.bytes += answer.body.len();
            Arc::make_mut(slot).answer = Some(Arc::new(answer));
        }
    }

    /// Where the requests of the document with this loader begin.
    pub(super) fn position(&self, loader: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.network == loader)
    }

    /// The response to a repeated request, in a document whose requests begin at `from`. What the
    /// document asked for itself comes first, each response once; what it had from the browser's
    /// cache was asked for earlier; a write is only ever answered by its own response.
    pub(super) fn answer(
        &self,
        from: usize,
        used: &mut Vec<bool>,
        method: &str,
        url: &str,
    ) -> Option<Arc<Answer>> {
        used.resize(self.slots.len(), false);
        let fits = |slot: &Slot| slot.method == method && slot.url == url && slot.answer.is_some();
        let own = (from..self.slots.len()).find(|&i| fits(&self.slots[i]) && !used[i]);
        let at = match own {
            Some(at) => at,
            None if method == "GET" => {
                let earlier = (0..from).rev().find(|&i| fits(&self.slots[i]));
                earlier.or_else(|| {
                    (from..self.slots.len())
                        .rev()
                        .find(|&i| fits(&self.slots[i]))
                })?
            }
            None => return None,
        };
        used[at] = true;
        self.slots[at].answer.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(&str, &str, &str)]) -> NetLog {
        let mut log = NetLog::default();
        for (network, method, url) in entries {
            log.asked(network, method, url);
            let body = format!("{network}-body");
            log.answered(
                network,
                url,
                Answer {
                    status: 200,
                    headers: Vec::new(),
                    body,
                },
            );
        }
        log
    }

    fn body(
        log: &NetLog,
        from: usize,
        used: &mut Vec<bool>,
        method: &str,
        url: &str,
    ) -> Option<String> {
        log.answer(from, used, method, url)
            .map(|answer| answer.body.clone())
    }

    #[test]
    fn a_document_gets_its_own_responses_in_order_and_the_cache_earlier_ones() {
        let log = log(&[
            ("d1", "GET", "/cart"),
            ("css", "GET", "/app.css"),
            ("p", "POST", "/add"),
            ("d2", "GET", "/cart"),
            ("x1", "GET", "/api"),
            ("x2", "GET", "/api"),
        ]);
        let from = log.position("d2").unwrap();
        let mut used = Vec::new();
        let mut ask = |method, url| body(&log, from, &mut used, method, url);
        assert_eq!(ask("GET", "/cart").as_deref(), Some("d2-body"));
        assert_eq!(ask("GET", "/api").as_deref(), Some("x1-body"));
        assert_eq!(ask("GET", "/api").as_deref(), Some("x2-body"));
        assert_eq!(
            ask("GET", "/api").as_deref(),
            Some("x2-body"),
            "a repeat gets the last one"
        );
        assert_eq!(ask("GET", "/app.css").as_deref(), Some("css-body"));
        assert_eq!(
            ask("POST", "/add"),
            None,
            "a write before the document is not its own"
        );
        assert_eq!(ask("GET", "/other"), None);
    }

    #[test]
    fn what_was_never_answered_is_not_there() {
        let mut log = NetLog::default();
        log.asked("a", "GET", "/stream");
        assert!(log.answer(0, &mut Vec::new(), "GET", "/stream").is_none());
    }
}
