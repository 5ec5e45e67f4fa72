//! Every request and response of a lane: classified, held or let pass, kept, and answered from a log.

use std::sync::Arc;

use base64::Engine as _;
use chromiumoxide_cdp::cdp::browser_protocol::fetch::{
    ContinueRequestParams, ContinueResponseParams, FailRequestParams, FulfillRequestParams,
    GetResponseBodyParams, HeaderEntry,
};
use chromiumoxide_cdp::cdp::browser_protocol::network::{
    ErrorReason, GetResponseBodyParams as NetworkBodyParams,
};
use tokio::time::Instant;

use super::events::{ExtraInfo, PausedEvent, RequestDone, RequestEvent};
use super::follow::Follower;
use super::setup::{LaneSetup, host};
use super::state::{InFlight, Session, Shared, TargetKind, Traffic, asker};
use crate::context::Cx;
use crate::env::browser::connection::CALL_LIMIT;
use crate::env::browser::gate::Pass;
use crate::env::browser::ledger::{self, Fate};
use crate::env::browser::netlog::{Answer, Reply};
use crate::env::browser::rehome;
use crate::env::page::writes;
use crate::types::{Effect, EffectKind, MissReason, NoticeKind, RequestClass, SiteNoteKind};

/// The answer that is a page without content.
fn empty_page(request: String) -> FulfillRequestParams {
    FulfillRequestParams {
        response_headers: Some(vec![HeaderEntry::new("content-type", "text/html")]),
        ..FulfillRequestParams::new(request, 200)
    }
}

impl Follower {
    pub(super) fn ended(&self, session: &str, request: String) {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        state.asked.remove(&request);
        let worker = state.sessions.get(session);
        let worker = worker.is_some_and(|s| s.kind == TargetKind::Worker);
        let before = state.requests.len();
        if worker {
            // A worker's script is asked for in the page's session and ends in the worker's.
            state.requests.retain(|(_, id), _| *id != request);
        } else {
            state.requests.remove(&(session.to_owned(), request));
        }
        if state.requests.len() < before {
            state.activity += 1;
        }
    }

    /// A write that a tab or frame of this lane sent while it closed: only the gate has seen it.
    pub(super) fn left_behind(&self, event: &PausedEvent) {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let frame = &event.frame_id;
        let live = |s: &Session| s.target == *frame || s.frames.iter().any(|f| f.id == *frame);
        let ours = state.past.contains(frame) || state.sessions.values().any(live);
        if !ours || !matches!(state.traffic, Traffic::Record) {
            return;
        }
        let url = self.setup.logical(&event.request.url);
        let class = self.setup.class(&event.request.method, &url, event.r#use());
        let hold = self.setup.hold.is_some();
        state.ledger.gone(class, hold, event.request.effect(url));
    }

    pub(super) fn request(&self, session: Option<&str>, event: RequestEvent) {
        let Some(session) = session else { return };
        let url = &event.request.url;
        let quiet = matches!(
            event.r#type.as_str(),
            "WebSocket" | "EventSource" | "Ping" | "Prefetch" | "CSPViolationReport" | "Media"
        );
        let local = url.starts_with("data:") || url.starts_with("blob:");
        let mut state = self.shared.lock();
        if !quiet && !local {
            state.activity += 1;
            let blocks_long = matches!(event.r#type.as_str(), "Document" | "Script" | "Stylesheet");
            state.requests.insert(
                (session.to_owned(), event.request_id),
                InFlight {
                    url: event.request.url,
                    loader: event.loader_id,
                    since: Instant::now(),
                    blocks_long,
                },
            );
        }
    }

    /// Every request passes here, before it leaves and when its response is there.
    pub(super) fn paused(&self, session: Option<&str>, event: PausedEvent) {
        let id = event.request_id.clone();
        if event.response_status_code.is_some() || event.response_error_reason.is_some() {
            self.response(session, event);
            return;
        }
        if event.resource_type == "Document" {
            self.track(session, &event.request.url);
        }
        let url = self.setup.logical(&event.request.url);
        let method = event.request.method.as_str();
        let class = self.setup.class(method, &url, event.r#use());
        let hold = self.setup.hold.is_some();
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let tab = state.tab_of(session);
        if let Traffic::Replay {
            log,
            from,
            used,
            missed,
            blank,
        } = &mut state.traffic
        {
            if blank.as_ref() == Some(&event.request.url) {
                drop(guard);
                drop(self.connection.send(session, empty_page(id)));
                return;
            }
            let reply = log.reply(asker(tab, from, log), used, method, &url);
            let stopped = class == RequestClass::Ignored || hold && class == RequestClass::Write;
            if reply.is_err() && stopped {
                // It was stopped then, too.
                drop(guard);
                drop(
                    self.connection
                        .send(session, FulfillRequestParams::new(id, 204)),
                );
                return;
            }
            if let Err(reason) = &reply {
                missed.get_or_insert((*reason, format!("{method} {url}")));
            }
            drop(guard);
            self.replayed(session, id, reply.ok());
            return;
        }
        let before = event.redirected_request_id.as_ref();
        let before = before.and_then(|_| state.log.latest(&event.network_id));
        let goes_on = before.is_some_and(|(sent, from)| {
            self.setup.class(sent, from, event.r#use()) == RequestClass::Write
                && writes::repeats((sent, from), (method, &url))
        });
        let effect = || event.request.effect(url.clone());
        let fate = state.ledger.request(class, hold && !goes_on, effect, &url);
        if fate == Fate::Stopped {
            // What may change a server does not leave. A 204 keeps the page in place, also for a
            // form's navigation (a refused document would replace it by an error page).
            if let Some(archive) = &mut state.archive {
                archive.held(&event.network_id);
            }
            drop(guard);
            let empty = FulfillRequestParams::new(id, 204);
            drop(self.connection.send(session, empty));
            return;
        }
        state.log.asked(tab, &event.network_id, method, &url);
        if class == RequestClass::Read {
            let asked = (method.to_owned(), event.request.url.clone());
            state.asked.insert(event.network_id.clone(), asked);
        }
        drop(guard);
        self.connection.pass(Pass {
            network: event.network_id,
            method: event.request.method,
            url: event.request.url,
        });
        let go_on = ContinueRequestParams::new(id);
        drop(self.connection.send(session, go_on));
    }

    /// Answers a repeated request. One that the log does not hold is broken off: the restore then
    /// takes another way.
    fn replayed(&self, session: Option<&str>, id: String, reply: Option<Reply>) {
        let answer = match reply {
            Some(Reply::Answer(answer)) => answer,
            Some(Reply::Fail) | None => {
                let aborted = FailRequestParams::new(id, ErrorReason::Aborted);
                drop(self.connection.send(session, aborted));
                return;
            }
        };
        let kept = answer.body.as_str().to_owned();
        let body = rehome::answer(kept, &answer.headers, &self.setup.origin.0);
        let answer = FulfillRequestParams {
            response_headers: Some(answer.headers.clone()),
            body: Some(body.into()),
            ..FulfillRequestParams::new(id, answer.status)
        };
        drop(self.connection.send(session, answer));
    }

    /// Keeps a response and lets it through. What has no length passes at once, so that a page that
    /// is sent in parts (or without end) is shown in parts; its body is read at its end.
    fn response(&self, session: Option<&str>, event: PausedEvent) {
        let id = event.request_id.clone();
        let network = event.network_id.clone();
        let Some(status) = event.response_status_code.filter(|status| *status > 0) else {
            // A request that failed has no response to go on with.
            self.shared.lock().log.failed(&network);
            drop(
                self.connection
                    .send(session, ContinueRequestParams::new(id)),
            );
            return;
        };
        let header = |name: &str| {
            let found = event
                .response_headers
                .iter()
                .find(|h| h.name.eq_ignore_ascii_case(name));
            found.map(|h| h.value.as_str())
        };
        let let_through = || {
            drop(
                self.connection
                    .send(session, ContinueResponseParams::new(id.clone())),
            );
        };
        let length = header("content-length").and_then(|v| v.parse::<usize>().ok());
        let stream = matches!(event.resource_type.as_str(), "EventSource" | "Media")
            || header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        if stream {
            let mut state = self.shared.lock();
            self.setup
                .endless(&mut state.log, &network, &event.request.url);
            return let_through();
        }
        if length.is_some_and(|length| length > self.setup.limits.response) {
            let mut state = self.shared.lock();
            self.setup
                .too_large(&mut state.log, &network, &event.request.url);
            return let_through();
        }
        let redirect = (300..400).contains(&status) && header("location").is_some();
        // A download is refused, so its body is nothing to come back to.
        let download =
            header("content-disposition").is_some_and(|how| how.starts_with("attachment"));
        let bodyless = redirect
            || download
            || matches!(status, 204 | 304)
            || length == Some(0)
            || event.request.method == "HEAD";
        let url = self.setup.logical(&event.request.url);
        let headers = self.kept_headers(event.response_headers);
        let recorder = BodyRecorder {
            setup: Arc::clone(&self.setup),
            shared: Arc::clone(&self.shared),
            network,
            url,
            status,
            headers,
        };
        if bodyless {
            recorder.keep(String::new());
            return let_through();
        }
        let mut state = self.shared.lock();
        if length.is_none() {
            state.unread.insert(recorder.network.clone(), recorder);
            drop(state);
            return let_through();
        }
        state.reading += 1;
        drop(state);
        let call = self
            .connection
            .send(session, GetResponseBodyParams::new(id.clone()));
        let (connection, session) = (self.connection.clone(), session.map(str::to_owned));
        tokio::spawn(async move {
            let reply = call.reply(CALL_LIMIT, &Cx::default()).await;
            recorder.read(reply.ok().map(|r| (r.body, r.base64_encoded)));
            drop(connection.send(session.as_deref(), ContinueResponseParams::new(id)));
        });
    }

    /// Headers as a restore answers them: the body is kept decoded, cookies are restored on their
    /// own, and a redirection goes by path where it can (another lane's server has another port).
    fn kept_headers(&self, mut headers: Vec<HeaderEntry>) -> Vec<HeaderEntry> {
        const DROPPED: [&str; 4] = [
            "content-encoding",
            "content-length",
            "transfer-encoding",
            "set-cookie",
        ];
        headers.retain(|h| !DROPPED.contains(&h.name.to_ascii_lowercase().as_str()));
        for header in &mut headers {
            if header.name.eq_ignore_ascii_case("location") {
                let logical = self.setup.logical(&header.value);
                let path = logical.strip_prefix(&self.setup.origin.1);
                if let Some(path) = path.filter(|path| path.starts_with('/')) {
                    // What begins with two slashes would be a host.
                    let dot = if path.starts_with("//") { "/." } else { "" };
                    header.value = format!("{dot}{path}");
                }
            }
        }
        headers
    }

    /// A request has ended: reads its body, if it was let through unread.
    pub(super) fn read_late(&self, session: &str, done: &RequestDone, failed: bool) {
        let mut state = self.shared.lock();
        let recorder = state.unread.remove(&done.request_id);
        if failed {
            state.log.failed(&done.request_id);
            return;
        }
        let Some(recorder) = recorder else { return };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let most = self.setup.limits.response as f64;
        if done.encoded_data_length > most {
            self.setup
                .too_large(&mut state.log, &done.request_id, &recorder.url);
            return;
        }
        state.reading += 1;
        drop(state);
        let params = NetworkBodyParams::new(done.request_id.clone());
        let call = self.connection.send(Some(session), params);
        tokio::spawn(async move {
            let reply = call.reply(CALL_LIMIT, &Cx::default()).await;
            recorder.read(reply.ok().map(|r| (r.body, r.base64_encoded)));
        });
    }

    /// A read that deletes a cookie which was there may have ended the session: it is said, and where
    /// the cookie looks like a session's own, the read counts as a write that was sent.
    pub(super) fn watch_cookies(&self, event: &ExtraInfo) {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let Some((method, real)) = state.asked.remove(&event.request_id) else {
            return;
        };
        let set = event.headers.iter();
        let set = set.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let url = self.setup.logical(&real);
        let names: Vec<String> = set
            .flat_map(|(_, lines)| state.ledger.deleted(lines, host(&real)))
            .collect();
        for name in names {
            let session = ledger::is_session(&name);
            let more = if session {
                ": it may have ended the session"
            } else {
                ""
            };
            let text = format!("{method} {url} deleted the cookie {name}{more}");
            state.notice(NoticeKind::Network, &text);
            if session {
                let note = |url: &str| format!("{method} {url} deleted the cookie {name}{more}");
                self.setup.note(SiteNoteKind::SessionEnded, &real, note);
                state.ledger.sent(Effect {
                    kind: EffectKind::Write,
                    method: method.clone(),
                    url: url.clone(),
                    headers: Vec::new(),
                    body: None,
                    held: false,
                });
            }
        }
    }
}

/// A response that is to be kept, but for its body.
pub(super) struct BodyRecorder {
    setup: Arc<LaneSetup>,
    shared: Arc<Shared>,
    network: String,
    url: String,
    status: i64,
    headers: Vec<HeaderEntry>,
}

impl BodyRecorder {
    /// Takes the body that was read, and whether it is in Base64.
    fn read(self, body: Option<(String, bool)>) {
        let shared = Arc::clone(&self.shared);
        let network = self.network.clone();
        let most = self.setup.limits.response;
        match body {
            Some((body, base64)) if body.len() <= if base64 { most / 3 * 4 + 4 } else { most } => {
                let body = if base64 {
                    body
                } else {
                    base64::engine::general_purpose::STANDARD.encode(body)
                };
                if let Some(archive) = &mut shared.lock().archive {
                    archive.body(&network, &self.url, &body);
                }
                self.keep(body);
            }
            Some(_) => {
                let mut state = shared.lock();
                self.setup.too_large(&mut state.log, &network, &self.url);
            }
            // The page went on before it could be read.
            None => shared
                .lock()
                .log
                .not_kept(&network, MissReason::NotRecorded),
        }
        shared.lock().reading -= 1;
        shared.bump();
    }

    fn keep(self, body: String) {
        let body = rehome::keep(body, &self.headers, &self.setup.origin.0);
        let answer = Answer {
            status: self.status,
            headers: self.headers,
            body: self.setup.bodies.intern(body),
        };
        let most = self.setup.limits.record;
        let mut state = self.shared.lock();
        state.log.answered(&self.network, &self.url, answer, most);
    }
}

impl std::fmt::Debug for BodyRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyRecorder")
            .field("url", &self.url)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
