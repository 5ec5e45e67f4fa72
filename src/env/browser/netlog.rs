//! The network log of a lane: every response of its documents, to be answered again in a restore.
//!
//! A slot is reserved when a request leaves and filled when it is known what became of it, so that
//! the order is that of the requests. Slots are shared, not copied: keeping a log with every state
//! costs a pointer a response. Bodies are content-addressed: a world holds each of them once, for as
//! long as a log names it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use chromiumoxide_cdp::cdp::browser_protocol::fetch::HeaderEntry;

use crate::types::{Digest, MissReason};

/// A body, in Base64, as the protocol carries it both ways.
#[derive(Debug)]
pub(super) struct Body {
    text: Box<str>,
    /// Bytes of all bodies of the world.
    held: Arc<AtomicUsize>,
}

impl Body {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.held.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

/// The bodies of a world, each once.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    by_digest: Mutex<Index>,
    held: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Index {
    entries: HashMap<Digest, Weak<Body>>,
    /// At this many entries the ones without a body are swept out.
    sweep: usize,
}

impl Bodies {
    /// The body with this content.
    pub(super) fn intern(&self, text: String) -> Arc<Body> {
        let digest = Digest::of(&text);
        let mut guard = self
            .by_digest
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let index = &mut *guard;
        if let Some(known) = index.entries.get(&digest).and_then(Weak::upgrade) {
            return known;
        }
        if index.entries.len() >= index.sweep {
            index.entries.retain(|_, body| body.strong_count() > 0);
            index.sweep = 2 * index.entries.len() + 64;
        }
        self.held.fetch_add(text.len(), Ordering::Relaxed);
        let body = Arc::new(Body {
            text: text.into_boxed_str(),
            held: Arc::clone(&self.held),
        });
        index.entries.insert(digest, Arc::downgrade(&body));
        body
    }

    /// Bytes held, each body counted once.
    pub(super) fn bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// A recorded response.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: i64,
    pub headers: Vec<HeaderEntry>,
    pub body: Arc<Body>,
}

/// What became of a request.
#[derive(Debug, Clone)]
enum Fate {
    /// Its response is not there, or not whole.
    Waiting,
    /// It was answered.
    Answered(Arc<Answer>),
    /// It failed, or the page gave it up.
    Failed,
    /// It was answered, but that was not kept.
    NotKept(MissReason),
}

#[derive(Debug, Clone)]
struct Slot {
    /// The browser's id of the request; a document's is the id of its loader.
    network: String,
    /// Number of the tab that asked; 0 for what belongs to none.
    tab: u32,
    method: String,
    url: String,
    fate: Fate,
}

/// The document of a tab that is brought back: who asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asker {
    /// The tab's number.
    pub tab: u32,
    /// Where in the log the document's requests begin.
    pub from: usize,
}

/// What to do with a repeated request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Answer it like this.
    Answer(Arc<Answer>),
    /// Let it fail, as it did.
    Fail,
}

/// Responses in the order in which they were asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct NetLog {
    slots: Vec<Arc<Slot>>,
    bytes: usize,
}

impl NetLog {
    /// A request leaves. One that failed and leaves again under its id is the same: the browser itself
    /// tries it again, and the page sees the outcome alone.
    pub(super) fn asked(&mut self, tab: u32, network: &str, method: &str, url: &str) {
        let retried = |slot: &&mut Arc<Slot>| {
            slot.network == network
                && slot.method == method
                && slot.url == url
                && matches!(slot.fate, Fate::Failed)
        };
        if let Some(slot) = self.slots.iter_mut().rev().find(retried) {
            Arc::make_mut(slot).fate = Fate::Waiting;
            return;
        }
        self.slots.push(Arc::new(Slot {
            network: network.to_owned(),
            tab,
            method: method.to_owned(),
            url: url.to_owned(),
            fate: Fate::Waiting,
        }));
    }

    /// Its response is there. `most` is how many bytes of bodies the log may hold.
    pub(super) fn answered(&mut self, network: &str, url: &str, answer: Answer, most: usize) {
        let size = answer.body.as_str().len();
        if self.bytes + size > most {
            return self.settle(network, Some(url), &Fate::NotKept(MissReason::RecordFull));
        }
        self.bytes += size;
        self.settle(network, Some(url), &Fate::Answered(Arc::new(answer)));
    }

    /// Its response is there, and is not kept.
    pub(super) fn not_kept(&mut self, network: &str, reason: MissReason) {
        self.settle(network, None, &Fate::NotKept(reason));
    }

    /// It failed.
    pub(super) fn failed(&mut self, network: &str) {
        self.settle(network, None, &Fate::Failed);
    }

    /// The latest request with this id (each hop of a redirection has the same) gets its fate.
    fn settle(&mut self, network: &str, url: Option<&str>, fate: &Fate) {
        let waiting = |slot: &&mut Arc<Slot>| {
            slot.network == network
                && url.is_none_or(|url| slot.url == url)
                && matches!(slot.fate, Fate::Waiting)
        };
        if let Some(slot) = self.slots.iter_mut().rev().find(waiting) {
            Arc::make_mut(slot).fate = fate.clone();
        }
    }

    /// Method and URL of the latest request with this id.
    pub(super) fn latest(&self, network: &str) -> Option<(&str, &str)> {
        let mut latest = self.slots.iter().rev();
        let slot = latest.find(|slot| slot.network == network)?;
        Some((&slot.method, &slot.url))
    }

    /// Whether the response of a request with this id is not there, or not whole.
    pub(super) fn is_waiting(&self, network: &str) -> bool {
        let mut latest = self.slots.iter().rev();
        let slot = latest.find(|slot| slot.network == network);
        slot.is_some_and(|slot| matches!(slot.fate, Fate::Waiting))
    }

    /// Where the requests of the document with this loader begin.
    pub(super) fn position(&self, loader: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.network == loader)
    }

    /// Where the requests of a tab begin: those of its first document.
    pub(super) fn first(&self, tab: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.tab == tab)
    }

    /// Bytes that keeping this log costs, bodies left out.
    pub(super) fn overhead(&self) -> usize {
        self.slots.len() * size_of::<Arc<Slot>>()
    }

    /// The reply to a repeated request of a document. What the document asked for itself comes first,
    /// each response once; what it had from the browser's cache was asked for earlier, or by another
    /// tab; a write is only ever answered by its own response.
    pub(super) fn reply(
        &self,
        asker: Asker,
        used: &mut Vec<bool>,
        method: &str,
        url: &str,
    ) -> Result<Reply, MissReason> {
        let Asker { tab, from } = asker;
        used.resize(self.slots.len(), false);
        let fits = |slot: &Slot| slot.method == method && slot.url == url;
        let known = |i: &usize| {
            let slot = &self.slots[*i];
            fits(slot) && matches!(slot.fate, Fate::Answered(_) | Fate::Failed)
        };
        // The document is asked for by its address alone, also where it came by a POST, of which
        // redirections may have made several requests with one id: the last one brought it.
        let first = self.slots.get(from);
        let document = |slot: &Slot| {
            slot.url == url && first.is_some_and(|first| first.network == slot.network)
        };
        let answered = |i: &usize| matches!(self.slots[*i].fate, Fate::Answered(_));
        let brought = |i: &usize| document(&self.slots[*i]) && answered(i);
        let brought = (from..self.slots.len()).rev().find(brought);
        let brought = brought.filter(|&i| !used[i]);
        let own = |i: &usize| known(i) && self.slots[*i].tab == tab;
        let unused = |i: &usize| own(i) && !used[*i];
        let next = brought.or_else(|| (from..self.slots.len()).find(unused));
        // A page that is left gives up what it waits for: only its own requests fail again.
        let earlier = || {
            let before = (0..from).rev().find(|i| known(i) && answered(i));
            let again = || (from..self.slots.len()).rev().find(own);
            let other = || (from..self.slots.len()).rev().find(known);
            before.or_else(again).or_else(other)
        };
        let at = next.or_else(|| if method == "GET" { earlier() } else { None });
        if let Some(at) = at {
            used[at] = true;
            return Ok(match &self.slots[at].fate {
                Fate::Answered(answer) => Reply::Answer(Arc::clone(answer)),
                Fate::Failed | Fate::Waiting | Fate::NotKept(_) => Reply::Fail,
            });
        }
        let unkept = self.slots[from.min(self.slots.len())..].iter().rev();
        let reason = unkept
            .filter(|slot| fits(slot) || document(slot))
            .find_map(|slot| match slot.fate {
                Fate::NotKept(reason) => Some(reason),
                Fate::Waiting => Some(MissReason::Stream),
                Fate::Answered(_) | Fate::Failed => None,
            });
        Err(reason.unwrap_or(MissReason::NotRecorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    fn answer(bodies: &Bodies, body: &str) -> Answer {
        Answer {
            status: 200,
            headers: Vec::new(),
            body: bodies.intern(body.to_owned()),
        }
    }

    fn log(entries: &[(&str, &str, &str)]) -> NetLog {
        let bodies = Bodies::default();
        let mut log = NetLog::default();
        for (network, method, url) in entries {
            log.asked(1, network, method, url);
            log.answered(
                network,
                url,
                answer(&bodies, &format!("{network}-body")),
                ROOM,
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
    ) -> Result<String, MissReason> {
        of_tab(log, Asker { tab: 1, from }, used, method, url)
    }

    fn of_tab(
        log: &NetLog,
        asker: Asker,
        used: &mut Vec<bool>,
        method: &str,
        url: &str,
    ) -> Result<String, MissReason> {
        log.reply(asker, used, method, url)
            .map(|reply| match reply {
                Reply::Answer(answer) => answer.body.as_str().to_owned(),
                Reply::Fail => "failed".to_owned(),
            })
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
        assert_eq!(ask("GET", "/cart").unwrap(), "d2-body");
        assert_eq!(ask("GET", "/api").unwrap(), "x1-body");
        assert_eq!(ask("GET", "/api").unwrap(), "x2-body");
        let repeated = ask("GET", "/api").unwrap();
        assert_eq!(repeated, "x2-body", "a repeat gets the last one");
        assert_eq!(ask("GET", "/app.css").unwrap(), "css-body");
        let earlier = ask("POST", "/add");
        let why = "a write before the document is not its own";
        assert_eq!(earlier, Err(MissReason::NotRecorded), "{why}");
        assert_eq!(ask("GET", "/other"), Err(MissReason::NotRecorded));
        // A document that came by POST, without a redirection.
        let from = log.position("p").unwrap();
        let mut used = Vec::new();
        let mut ask = |method, url| body(&log, from, &mut used, method, url);
        assert_eq!(ask("GET", "/add").unwrap(), "p-body");
        assert_eq!(ask("GET", "/add"), Err(MissReason::NotRecorded));
    }

    #[test]
    fn a_document_is_what_the_last_of_its_redirections_brought() {
        let bodies = Bodies::default();
        let mut log = log(&[("d1", "GET", "/order"), ("p", "POST", "/order")]);
        // A 308 to itself with a mark, and from there to another address.
        for (url, body) in [("/order?2", "two"), ("/thanks", "three")] {
            log.asked(1, "p", "POST", url);
            log.answered("p", url, answer(&bodies, body), ROOM);
        }
        assert_eq!(log.latest("p"), Some(("POST", "/thanks")));
        assert_eq!(log.latest("q"), None);
        let from = log.position("p").unwrap();
        let mut used = Vec::new();
        let mut ask = |method, url| body(&log, from, &mut used, method, url);
        assert_eq!(ask("GET", "/thanks").unwrap(), "three");
        assert_eq!(ask("GET", "/thanks"), Err(MissReason::NotRecorded), "once");
    }

    #[test]
    fn every_tab_gets_its_own_responses_and_those_of_others_where_it_has_none() {
        let bodies = Bodies::default();
        let mut log = NetLog::default();
        for (tab, network, url) in [
            (1, "d1", "/list"),
            (2, "d2", "/list"),
            (1, "x1", "/api"),
            (2, "x2", "/api"),
            (1, "css", "/app.css"),
        ] {
            log.asked(tab, network, "GET", url);
            log.answered(network, url, answer(&bodies, network), ROOM);
        }
        assert_eq!((log.first(2), log.first(3)), (Some(1), None));
        let mut used = Vec::new();
        let mut ask = |tab, url| {
            let from = log.first(tab).unwrap();
            of_tab(&log, Asker { tab, from }, &mut used, "GET", url).unwrap()
        };
        // Whichever is brought back first.
        assert_eq!(
            (ask(2, "/list"), ask(2, "/api")),
            ("d2".into(), "x2".into())
        );
        assert_eq!(
            (ask(1, "/list"), ask(1, "/api")),
            ("d1".into(), "x1".into())
        );
        assert_eq!((ask(2, "/api"), ask(1, "/api")), ("x2".into(), "x1".into()));
        assert_eq!(ask(2, "/app.css"), "css", "from the browser's cache");
    }

    #[test]
    fn what_was_not_kept_says_why_and_what_failed_fails_again() {
        let bodies = Bodies::default();
        let mut log = NetLog::default();
        for (network, url) in [
            ("a", "/stream"),
            ("b", "/big"),
            ("c", "/down"),
            ("d", "/full"),
        ] {
            log.asked(1, network, "GET", url);
        }
        log.not_kept("b", MissReason::TooLarge);
        log.failed("c");
        log.answered("d", "/full", answer(&bodies, "12345"), 4);
        let ask = |url| body(&log, 0, &mut Vec::new(), "GET", url);
        assert_eq!(ask("/stream"), Err(MissReason::Stream));
        assert_eq!(ask("/big"), Err(MissReason::TooLarge));
        assert_eq!(ask("/down").unwrap(), "failed");
        assert_eq!(ask("/full"), Err(MissReason::RecordFull));
    }

    #[test]
    fn a_retry_of_the_browser_itself_is_the_same_request() {
        let bodies = Bodies::default();
        let mut log = log(&[("d", "GET", "/")]);
        log.asked(1, "font", "GET", "/font");
        log.failed("font");
        log.asked(1, "font", "GET", "/font");
        log.answered("font", "/font", answer(&bodies, "font-body"), ROOM);
        let mut used = Vec::new();
        let mut ask = |url| body(&log, 0, &mut used, "GET", url).unwrap();
        assert_eq!(ask("/font"), "font-body", "the page never saw it fail");
    }

    #[test]
    fn what_an_earlier_page_gave_up_does_not_fail_in_a_later_one() {
        let bodies = Bodies::default();
        let mut log = log(&[("d1", "GET", "/"), ("font", "GET", "/font")]);
        log.asked(1, "again", "GET", "/font");
        log.failed("again");
        log.asked(1, "d2", "GET", "/next");
        log.answered("d2", "/next", answer(&bodies, "next"), ROOM);
        let ask = |document, url| {
            let from = log.position(document).unwrap();
            body(&log, from, &mut Vec::new(), "GET", url).unwrap()
        };
        assert_eq!(ask("d2", "/font"), "font-body");
        assert_eq!(ask("again", "/font"), "failed", "it is that page's own");
    }

    #[test]
    fn equal_bodies_are_held_once_and_only_while_a_log_names_them() {
        let bodies = Bodies::default();
        let one = bodies.intern("same".to_owned());
        let two = bodies.intern("same".to_owned());
        let other = bodies.intern("other".to_owned());
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(bodies.bytes(), 9);
        drop((one, other));
        assert_eq!(bodies.bytes(), 4);
        drop(two);
        assert_eq!(bodies.bytes(), 0);
        bodies.intern("same".to_owned());
        assert_eq!(bodies.bytes(), 0);
    }
}
