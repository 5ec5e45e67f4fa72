//! The ledger of effects: what an action caused, and what it may send.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use chromiumoxide_cdp::cdp::browser_protocol::network::Cookie;
use serde::Deserialize;
use serde_json::Value;

use crate::env::page::writes::{self, Permits};
use crate::types::{Digest, Effect, EffectKind, RequestClass};

/// Changes of the client's stores that are kept per action.
const MAX_CLIENT: usize = 50;

/// A request as the protocol describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestBody {
    pub url: String,
    pub method: String,
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    #[serde(default)]
    post_data: Option<String>,
    #[serde(default)]
    has_post_data: bool,
    #[serde(default)]
    post_data_entries: Vec<PostDataEntry>,
}

#[derive(Debug, Clone, Deserialize)]
struct PostDataEntry {
    #[serde(default)]
    bytes: Option<String>,
}

impl RequestBody {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        let found = all.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_str())
    }

    /// Its body as an effect shows it.
    pub(super) fn shown_body(&self) -> Option<String> {
        if !self.has_post_data && self.post_data.is_none() {
            return None;
        }
        // The entries hold the bytes; the text beside them has lost what is no text.
        let engine = base64::engine::general_purpose::STANDARD;
        let parts = self.post_data_entries.iter();
        let decoded: Option<Vec<Vec<u8>>> = parts
            .map(|part| engine.decode(part.bytes.as_ref()?).ok())
            .collect();
        let bytes = match decoded {
            Some(parts) if !parts.is_empty() => parts.concat(),
            Some(_) | None => match &self.post_data {
                Some(text) => text.clone().into_bytes(),
                None => return Some("[a body that the browser does not show]".to_owned()),
            },
        };
        Some(writes::body(&bytes, self.header("content-type")))
    }

    /// It as an effect; `url` is the logical one.
    pub(super) fn effect(&self, url: String) -> Effect {
        let headers = self.headers.iter();
        Effect {
            kind: EffectKind::Write,
            method: self.method.clone(),
            url,
            headers: writes::headers(
                headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())),
            ),
            body: self.shown_body(),
            held: false,
        }
    }
}

/// What the guard in a page tells of a socket.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    #[serde(default)]
    pub id: u64,
    #[serde(default)]
    kind: String,
    pub url: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
    #[serde(default)]
    size: u64,
    /// What the page may not have at all.
    #[serde(default)]
    pub refused: Option<String>,
}

impl Told {
    /// The frame as an effect; `url` is the logical one.
    pub(super) fn effect(&self, url: String) -> Effect {
        let engine = base64::engine::general_purpose::STANDARD;
        let bytes = match (&self.text, &self.base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(data)) => engine.decode(data).ok(),
            (None, None) => None,
        };
        let body = match bytes {
            Some(bytes) => writes::body(&bytes, None),
            None => format!("[{} bytes]", self.size),
        };
        socket_effect(&self.kind, url, body)
    }
}

fn socket_effect(method: &str, url: String, body: String) -> Effect {
    Effect {
        kind: EffectKind::Write,
        method: method.to_owned(),
        url,
        headers: Vec::new(),
        body: Some(body),
        held: false,
    }
}

/// What is to become of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Sent,
    /// It stays.
    Stopped,
}

/// What an action caused.
#[derive(Debug, Default)]
pub(super) struct Caused {
    /// All of it, reads summed up.
    pub effects: Vec<Effect>,
    /// Whether a write was stopped that somebody would miss.
    pub held: bool,
}

impl Caused {
    /// The writes of a held action, the stopped ones first.
    pub(super) fn writes(mut self) -> Vec<Effect> {
        self.effects.retain(|e| e.kind == EffectKind::Write);
        self.effects.sort_by_key(|e| !e.held);
        self.effects
    }

    /// Whether something may have changed a server.
    pub(super) fn wrote(&self) -> bool {
        let sent = |e: &Effect| e.kind == EffectKind::Write && !e.held;
        self.effects.iter().any(sent)
    }
}

/// A cookie by name, domain and path.
type CookieKey = (String, String, String);

/// The effects since an action began, and its permits.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    effects: Vec<Effect>,
    held: bool,
    reads: BTreeMap<String, u64>,
    client: usize,
    permits: Option<Permits>,
    /// The lane's cookies when they were last looked at, values by digest.
    jar: Option<BTreeMap<CookieKey, Digest>>,
    /// URLs of open sockets, by session and request.
    sockets: HashMap<(String, String), String>,
    /// Frames that the guard sent and the protocol has not announced yet.
    announced: u64,
}

impl Ledger {
    /// An action begins. `permits` are the writes that it may send.
    pub(super) fn begin(&mut self, permits: Option<Permits>) {
        self.effects.clear();
        self.reads.clear();
        (self.held, self.client) = (false, 0);
        self.permits = permits;
    }

    /// Takes what was caused since, and what was permitted and not asked for.
    pub(super) fn take(&mut self) -> (Caused, Vec<Effect>) {
        let mut effects = std::mem::take(&mut self.effects);
        let reads = std::mem::take(&mut self.reads).into_iter();
        effects.extend(reads.map(|(origin, count)| Effect::reads(origin, count)));
        self.client = 0;
        let held = std::mem::take(&mut self.held);
        let permits = self.permits.take().unwrap_or_default();
        (Caused { effects, held }, permits.left().to_vec())
    }

    /// Notes a request and says what is to become of it. With `hold`, writes stay unless permitted.
    pub(super) fn request(
        &mut self,
        class: RequestClass,
        hold: bool,
        effect: impl FnOnce() -> Effect,
        url: &str,
    ) -> Fate {
        match class {
            RequestClass::Read => {
                *self.reads.entry(origin(url).to_owned()).or_default() += 1;
                Fate::Sent
            }
            RequestClass::Write => {
                let mut effect = effect();
                let permitted = self.permits.as_mut().is_some_and(|p| p.take(&effect));
                effect.held = hold && !permitted;
                self.held |= effect.held;
                let fate = if effect.held {
                    Fate::Stopped
                } else {
                    Fate::Sent
                };
                self.effects.push(effect);
                fate
            }
            RequestClass::Ignored => {
                let mut effect = effect();
                effect.held = true;
                self.effects.push(effect);
                Fate::Stopped
            }
        }
    }

    /// A write that the gate saw after its page had gone: stopped with `hold`, else sent. It may have
    /// been noted before.
    pub(super) fn gone(&mut self, class: RequestClass, hold: bool, effect: Effect) {
        let effect = Effect {
            held: hold,
            ..effect
        };
        if class != RequestClass::Read && !self.effects.contains(&effect) {
            self.held |= hold && class == RequestClass::Write;
            self.effects.push(effect);
        }
    }

    /// A write that left although nobody asked: it may have changed a server.
    pub(super) fn sent(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// A change of the client's own stores.
    pub(super) fn client(&mut self, store: &str, origin: &str, what: String) {
        let effect = Effect {
            kind: EffectKind::Client,
            method: store.to_owned(),
            url: origin.to_owned(),
            headers: Vec::new(),
            body: Some(what),
            held: false,
        };
        if self.client < MAX_CLIENT && !self.effects.contains(&effect) {
            self.client += 1;
            self.effects.push(effect);
        }
    }

    /// Whether the cookies of this lane were ever looked at.
    pub(super) fn knows_cookies(&self) -> bool {
        self.jar.is_some()
    }

    /// Compares the lane's cookies with those of the last time. The sessions that have another value
    /// now, each cookie with its origin.
    pub(super) fn cookies(
        &mut self,
        now: &[Cookie],
        logical: impl Fn(&str) -> String,
    ) -> Vec<(String, String)> {
        let jar: BTreeMap<CookieKey, Digest> = now
            .iter()
            .map(|c| {
                let key = (c.name.clone(), c.domain.clone(), c.path.clone());
                (key, Digest::of(&c.value))
            })
            .collect();
        let Some(before) = self.jar.replace(jar.clone()) else {
            return Vec::new();
        };
        let mut replaced = Vec::new();
        for (key, value) in &jar {
            let what = match before.get(key) {
                None => "set",
                Some(old) if old != value => {
                    if is_session(&key.0) {
                        replaced.push((key.0.clone(), logical(&key.1)));
                    }
                    "change"
                }
                Some(_) => continue,
            };
            self.client("COOKIE", &logical(&key.1), format!("{what} {}", key.0));
        }
        for key in before.keys().filter(|key| !jar.contains_key(*key)) {
            self.client("COOKIE", &logical(&key.1), format!("delete {}", key.0));
        }
        replaced
    }

    /// Names of cookies that the lane had and these `Set-Cookie` lines of `host` delete.
    pub(super) fn deleted(&self, lines: &str, host: &str) -> Vec<String> {
        let Some(jar) = &self.jar else {
            return Vec::new();
        };
        let had = |name: &str| {
            jar.keys().any(|(known, domain, _)| {
                let domain = domain.trim_start_matches('.');
                known == name && (host == domain || host.ends_with(&format!(".{domain}")))
            })
        };
        let lines = lines.lines().filter(|line| deletes(line));
        lines
            .filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned()))
            .filter(|name| had(name))
            .collect()
    }

    /// A socket was opened.
    pub(super) fn socket(&mut self, session: &str, request: &str, url: String) {
        self.sockets
            .insert((session.to_owned(), request.to_owned()), url);
    }

    /// It is closed.
    pub(super) fn socket_closed(&mut self, session: &str, request: &str) {
        self.sockets
            .remove(&(session.to_owned(), request.to_owned()));
    }

    /// A frame that the guard sends itself: it was noted when the page asked.
    pub(super) fn announce(&mut self) {
        self.announced += 1;
    }

    /// The protocol says that a frame left. `class` is asked for frames that nobody announced.
    pub(super) fn frame_sent(
        &mut self,
        session: &str,
        request: &str,
        payload: &str,
        class: impl FnOnce(&str) -> RequestClass,
    ) {
        if self.announced > 0 {
            self.announced -= 1;
            return;
        }
        let key = (session.to_owned(), request.to_owned());
        let url = self.sockets.get(&key).cloned().unwrap_or_default();
        match class(&url) {
            RequestClass::Read => *self.reads.entry(origin(&url).to_owned()).or_default() += 1,
            RequestClass::Write | RequestClass::Ignored => {
                let body = writes::body(payload.as_bytes(), None);
                self.sent(socket_effect("WS", url, body));
            }
        }
    }
}

/// Whether a `Set-Cookie` line deletes its cookie.
fn deletes(line: &str) -> bool {
    line.split(';').skip(1).any(|part| {
        let Some((key, value)) = part.split_once('=') else {
            return false;
        };
        let value = value.trim();
        if key.trim().eq_ignore_ascii_case("max-age") {
            return value.parse::<i64>().is_ok_and(|age| age <= 0);
        }
        // `Thu, 01 Jan 1970 00:00:00 GMT`, in any of its spellings: nobody means another past.
        key.trim().eq_ignore_ascii_case("expires")
            && (value.contains("1970") || value.contains("-70") || value.contains("1969"))
    })
}

/// Whether a cookie of this name usually is a session.
pub(super) fn is_session(name: &str) -> bool {
    const PARTS: [&str; 7] = ["sess", "sid", "auth", "token", "login", "user", "remember"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

/// Scheme, host and port of a URL.
pub(super) fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']);
    end.map_or(url, |at| &url[..host + at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect() -> Effect {
        socket_effect("POST", "http://a/b".to_owned(), "x".to_owned())
    }

    #[test]
    fn writes_are_held_unless_permitted_and_reads_are_counted() {
        let mut ledger = Ledger::default();
        let write = RequestClass::Write;
        ledger.begin(Some(Permits::new(&[effect()])));
        assert_eq!(
            ledger.request(write, true, effect, "http://a/b"),
            Fate::Sent
        );
        assert_eq!(
            ledger.request(write, true, effect, "http://a/b"),
            Fate::Stopped
        );
        for _ in 0..2 {
            let fate = ledger.request(RequestClass::Read, true, effect, "http://a/c?d");
            assert_eq!(fate, Fate::Sent);
        }
        let (caused, unasked) = ledger.take();
        assert!(caused.held && caused.wrote() && unasked.is_empty());
        let shown: Vec<_> = caused
            .effects
            .iter()
            .map(|e| (e.kind, e.url.as_str(), e.body.as_deref(), e.held))
            .collect();
        assert_eq!(
            shown,
            [
                (EffectKind::Write, "http://a/b", Some("x"), false),
                (EffectKind::Write, "http://a/b", Some("x"), true),
                (EffectKind::Read, "http://a", Some("2 requests"), false),
            ]
        );
        let writes = caused.writes();
        assert_eq!(
            (writes.len(), writes[0].held),
            (2, true),
            "the held one first"
        );
    }

    #[test]
    fn what_nobody_misses_holds_nothing() {
        let mut ledger = Ledger::default();
        ledger.begin(Some(Permits::new(&[effect()])));
        let fate = ledger.request(RequestClass::Ignored, true, effect, "http://a/b");
        let (caused, unasked) = ledger.take();
        assert_eq!(fate, Fate::Stopped);
        assert!(!caused.held && !caused.wrote() && caused.effects[0].held);
        assert_eq!(unasked, [effect()], "a permit that nobody used");
    }

    #[test]
    fn cookies_by_difference() {
        let cookie = |name: &str, value: &str| -> Cookie {
            serde_json::from_value(serde_json::json!({
                "name": name, "value": value, "domain": "a", "path": "/", "expires": -1.0,
                "size": 3, "httpOnly": false, "secure": false, "session": true,
                "priority": "Medium", "sourceScheme": "NonSecure", "sourcePort": 80,
            }))
            .unwrap()
        };
        let mut ledger = Ledger::default();
        let logical = |domain: &str| format!("http://{domain}");
        let replaced = ledger.cookies(&[cookie("sid", "1"), cookie("theme", "dark")], logical);
        assert!(replaced.is_empty());
        assert_eq!(
            ledger.take().0.effects,
            [],
            "the first look compares nothing"
        );
        let replaced = ledger.cookies(&[cookie("sid", "2"), cookie("cart", "x")], logical);
        assert_eq!(replaced, [("sid".to_owned(), "http://a".to_owned())]);
        let bodies: Vec<_> = ledger
            .take()
            .0
            .effects
            .into_iter()
            .filter_map(|e| e.body)
            .collect();
        assert_eq!(bodies, ["set cart", "change sid", "delete theme"]);
        let deleted = |lines: &str| ledger.deleted(lines, "a");
        assert_eq!(deleted("sid=; Max-Age=0; Path=/"), ["sid"]);
        assert_eq!(
            deleted("x=1\nsid=; expires=Thu, 01 Jan 1970 00:00:00 GMT"),
            ["sid"]
        );
        assert!(deleted("sid=3; Max-Age=60").is_empty());
        assert!(deleted("other=; Max-Age=0").is_empty(), "it was not there");
    }

    #[test]
    fn bodies_come_from_the_bytes() {
        let request: RequestBody = serde_json::from_str(
            r#"{"url":"/","method":"POST","hasPostData":true,"postData":"\u0001\u0002",
                "postDataEntries":[{"bytes":"AQL/"}],"headers":{"X-A":"1"}}"#,
        )
        .unwrap();
        assert!(request.shown_body().unwrap().starts_with("[3 bytes"));
        let unknown: RequestBody = serde_json::from_str(
            r#"{"url":"/","method":"POST","hasPostData":true,"postDataEntries":[{}]}"#,
        )
        .unwrap();
        assert_eq!(
            unknown.shown_body().as_deref(),
            Some("[a body that the browser does not show]")
        );
    }
}
