//! Requests: cookies, redirects, bounds, and the gate that writes pass or do not.
//!
//! Every URL is by the site's logical origin; the real one appears only where a request leaves, so
//! that a state means the same on every instance of a site.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cookie_store::CookieStore;
use reqwest::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION, ORIGIN,
    REFERER, SET_COOKIE, USER_AGENT,
};
use url::Url;

use crate::context::{Cx, Interrupted};
use crate::env::har::{Exchanges, HttpExchange};
use crate::env::page::writes::{self, Permits};
use crate::types::{Effect, EffectKind, EffectRules, RequestClass, RequestUse};

/// More redirects than this are a loop, as browsers see it.
const MAX_REDIRECTS: usize = 20;
const AGENT: &str = concat!(
    "Mozilla/5.0 (compatible; Branchline/",
    env!("CARGO_PKG_VERSION"),
    "; no scripts)"
);

/// The body of a request.
#[derive(Debug, Clone)]
pub(super) struct Body {
    /// Its content type.
    pub kind: String,
    pub bytes: Vec<u8>,
}

/// A request, by logical origin.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub method: String,
    pub url: Url,
    pub body: Option<Body>,
    pub referrer: Option<Url>,
}

impl Request {
    pub(super) fn get(url: Url) -> Self {
        Self {
            method: "GET".to_owned(),
            url,
            body: None,
            referrer: None,
        }
    }

    fn is_unsafe(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS")
    }

    /// Its body as an effect shows it.
    pub(super) fn shown_body(&self) -> Option<String> {
        let body = self.body.as_ref()?;
        Some(writes::body(&body.bytes, Some(&body.kind)))
    }

    fn effect(&self, headers: &HeaderMap) -> Effect {
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
        Effect {
            kind: EffectKind::Write,
            method: self.method.clone(),
            url: self.url.to_string(),
            headers: writes::headers(pairs),
            body: self.shown_body(),
            held: false,
        }
    }
}

/// What may be written.
#[derive(Debug)]
pub(super) enum Gate {
    /// Everything.
    Open,
    /// Nothing.
    Shut,
    /// These, each once.
    Only(Permits),
}

impl Gate {
    fn passes(&mut self, effect: &Effect) -> bool {
        match self {
            Self::Open => true,
            Self::Shut => false,
            Self::Only(permits) => permits.take(effect),
        }
    }
}

/// What an action caused so far, and what it may send.
#[derive(Debug)]
pub(super) struct Ledger {
    pub gate: Gate,
    /// Writes in their order; those that matter to nobody are among them, not sent.
    pub writes: Vec<Effect>,
    /// Requests that only read, by origin.
    reads: BTreeMap<String, u64>,
}

impl Ledger {
    pub(super) fn new(gate: Gate) -> Self {
        Self {
            gate,
            writes: Vec::new(),
            reads: BTreeMap::new(),
        }
    }

    /// How many writes were sent.
    pub(super) fn sent(&self) -> usize {
        self.writes.iter().filter(|effect| !effect.held).count()
    }

    /// What was allowed and not asked for.
    pub(super) fn unasked(&self) -> &[Effect] {
        match &self.gate {
            Gate::Only(permits) => permits.left(),
            Gate::Open | Gate::Shut => &[],
        }
    }

    /// Everything, reads summed up by origin.
    pub(super) fn effects(self) -> Vec<Effect> {
        let reads = self.reads.into_iter();
        let reads = reads.map(|(origin, count)| Effect::reads(origin, count));
        let mut effects = self.writes;
        effects.extend(reads);
        effects
    }
}

/// A response, redirects followed.
#[derive(Debug)]
pub(super) struct Reply {
    /// Where it came from in the end, by logical origin.
    pub url: Url,
    /// Whether asking for it again changes nothing.
    pub by_get: bool,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The body was larger than what is read.
    pub cut: bool,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A write was stopped before it left; the ledger knows it.
    #[error("a write was held")]
    Held,
    #[error("{url} could not be loaded: {reason}")]
    Failed {
        url: String,
        reason: String,
        /// It may have reached the server all the same, and it writes.
        uncertain: bool,
        /// It went to the task's own site.
        own: bool,
    },
}

/// The way to the network, shared by all lanes of a world.
#[derive(Debug, Clone)]
pub(super) struct Network {
    client: reqwest::Client,
    real: String,
    logical: String,
    /// For one whole exchange, redirects aside.
    limit: Duration,
    /// Most bytes that are read of a body.
    most: usize,
}

/// Everything a request may need and change besides the network.
pub(super) struct Dealings<'a> {
    pub cookies: &'a mut Arc<CookieStore>,
    pub ledger: &'a mut Ledger,
    pub rules: &'a EffectRules,
    pub archive: &'a mut Exchanges,
}

fn rebase(url: &Url, from: &str, to: &str) -> Url {
    let text = url.as_str();
    match text.strip_prefix(from) {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?', '#']) => {
            Url::parse(&format!("{to}{rest}")).unwrap_or_else(|_| url.clone())
        }
        _ => url.clone(),
    }
}

impl Network {
    /// # Errors
    /// Says why there is no HTTP client.
    pub(super) fn new(
        real: &str,
        logical: &str,
        limit: Duration,
        most: usize,
    ) -> Result<Self, String> {
        // The error only says that a provider was installed before: that one serves as well.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(limit);
        if real.contains("//127.") || real.contains("//localhost") || real.contains("//[::1]") {
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build().map_err(|e| causes(&e))?,
            real: real.to_owned(),
            logical: logical.to_owned(),
            limit,
            most,
        })
    }

    pub(super) fn logical(&self, url: &Url) -> Url {
        rebase(url, &self.real, &self.logical)
    }

    fn to_real(&self, url: &Url) -> Url {
        rebase(url, &self.logical, &self.real)
    }

    fn is_own(&self, url: &Url) -> bool {
        let text = url.as_str();
        text.strip_prefix(self.logical.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
    }

    /// Sends a request and follows its redirects.
    pub(super) async fn fetch(
        &self,
        mut request: Request,
        with: &mut Dealings<'_>,
        cx: &Cx,
    ) -> Result<Reply, FetchError> {
        let first = request.url.clone();
        let mut goes_on = false;
        for _ in 0..=MAX_REDIRECTS {
            let reply = self.once(&request, goes_on, with, cx).await?;
            let to = matches!(reply.status, 301 | 302 | 303 | 307 | 308)
                .then(|| reply.header(LOCATION.as_str()))
                .flatten();
            let Some(to) = to else {
                return Ok(reply);
            };
            let failed = |reason: String| FetchError::Failed {
                url: reply.url.to_string(),
                reason,
                uncertain: false,
                own: self.is_own(&reply.url),
            };
            let Ok(mut next) = request.url.join(to.trim()) else {
                return Err(failed(format!("it redirects to `{to}`, which is no URL")));
            };
            if !matches!(next.scheme(), "http" | "https") {
                return Err(failed(format!("it redirects to a {}: URL", next.scheme())));
            }
            next = self.logical(&next);
            if next.fragment().is_none() {
                next.set_fragment(request.url.fragment());
            }
            let wrote = self.class(&request, with.rules) == RequestClass::Write;
            let sent = (request.method.clone(), request.url.clone());
            let becomes_get = match reply.status {
                303 => request.method != "HEAD",
                301 | 302 => request.method == "POST",
                _ => false,
            };
            if becomes_get {
                "GET".clone_into(&mut request.method);
                request.body = None;
            }
            request.url = next;
            let next = (request.method.as_str(), request.url.as_str());
            goes_on = wrote && writes::repeats((&sent.0, sent.1.as_str()), next);
        }
        Err(FetchError::Failed {
            url: first.to_string(),
            reason: format!("it redirects more than {MAX_REDIRECTS} times"),
            uncertain: false,
            own: self.is_own(&first),
        })
    }

    fn class(&self, request: &Request, rules: &EffectRules) -> RequestClass {
        let (method, url) = (&request.method, request.url.as_str());
        rules.class(method, url, &self.logical, RequestUse::Main)
    }

    /// One exchange. A write that `goes_on` passes: it is the redirection of one that passed.
    async fn once(
        &self,
        request: &Request,
        goes_on: bool,
        with: &mut Dealings<'_>,
        cx: &Cx,
    ) -> Result<Reply, FetchError> {
        let cookie = with
            .cookies
            .get_request_values(&request.url)
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ");
        let headers = self.headers(request, &cookie);
        let class = self.class(request, with.rules);
        let writes = class == RequestClass::Write;
        match class {
            RequestClass::Read => {
                let origin = request.url.origin().ascii_serialization();
                *with.ledger.reads.entry(origin).or_default() += 1;
            }
            RequestClass::Write => {
                let mut effect = request.effect(&headers);
                effect.held = !with.ledger.gate.passes(&effect) && !goes_on;
                let held = effect.held;
                with.ledger.writes.push(effect);
                if held {
                    return Err(FetchError::Held);
                }
            }
            RequestClass::Ignored => {
                let mut effect = request.effect(&headers);
                effect.held = true;
                with.ledger.writes.push(effect);
                // Nobody misses it: as if the server had had nothing to say.
                return Ok(Reply {
                    url: request.url.clone(),
                    by_get: false,
                    status: 204,
                    headers: HeaderMap::new(),
                    body: Vec::new(),
                    cut: false,
                });
            }
        }
        let failed = |reason: String| FetchError::Failed {
            url: request.url.to_string(),
            reason,
            uncertain: writes,
            own: self.is_own(&request.url),
        };
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|e| failed(e.to_string()))?;
        let mut outgoing = self
            .client
            .request(method, self.to_real(&request.url))
            .headers(headers.clone());
        if let Some(body) = &request.body {
            outgoing = outgoing.body(body.bytes.clone());
        }
        let begun = Instant::now();
        let mut told = HttpExchange::sent(
            &request.method,
            request.url.to_string(),
            &headers,
            request.shown_body(),
        );
        let exchange = async {
            let mut response = outgoing.send().await.map_err(|e| causes(&e))?;
            let waited = begun.elapsed();
            let (status, version) = (response.status(), response.version());
            let headers = std::mem::take(response.headers_mut());
            let (mut body, mut cut) = (Vec::new(), false);
            while let Some(chunk) = response.chunk().await.map_err(|e| causes(&e))? {
                let room = self.most - body.len();
                if chunk.len() > room {
                    body.extend_from_slice(&chunk[..room]);
                    cut = true;
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            let reply = Reply {
                url: request.url.clone(),
                by_get: !request.is_unsafe() && !writes,
                status: status.as_u16(),
                headers,
                body,
                cut,
            };
            Ok::<_, String>((reply, waited, (status, version)))
        };
        let (reply, waited, (status, version)) = match cx.bounded(self.limit, exchange).await {
            Ok(Ok(done)) => done,
            Ok(Err(reason)) => return Err(failed(reason)),
            Err(Interrupted::Timeout(limit)) => {
                return Err(failed(format!(
                    "no answer within {} s",
                    limit.as_secs_f64()
                )));
            }
            Err(why @ Interrupted::Cancelled) => return Err(why.into()),
        };
        self.keep_cookies(&reply, with.cookies);
        told.answered(status, version, &reply.headers, waited);
        let after = begun.elapsed().saturating_sub(waited);
        told.read(&reply.body, !reply.cut, after);
        with.archive.push(told);
        Ok(reply)
    }

    fn headers(&self, request: &Request, cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name, value: &str| {
            // A value that no header can hold is left out, as browsers do.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(USER_AGENT, AGENT);
        set(
            ACCEPT,
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        );
        set(ACCEPT_LANGUAGE, "en-US,en;q=0.9");
        if !cookie.is_empty() {
            set(COOKIE, cookie);
        }
        if let Some(body) = &request.body {
            set(CONTENT_TYPE, &body.kind);
        }
        if let Some(from) = &request.referrer {
            let mut shown = self.to_real(from);
            let to = self.to_real(&request.url);
            shown.set_fragment(None);
            let origin = shown.origin().ascii_serialization();
            let downgrade = shown.scheme() == "https" && to.scheme() == "http";
            // The default policy of browsers: strict-origin-when-cross-origin.
            if !downgrade && shown.scheme().starts_with("http") {
                if shown.origin() == to.origin() {
                    set(REFERER, shown.as_str());
                } else {
                    set(REFERER, &format!("{origin}/"));
                }
            }
            if request.is_unsafe() {
                set(ORIGIN, if downgrade { "null" } else { &origin });
            }
        }
        headers
    }

    fn keep_cookies(&self, reply: &Reply, cookies: &mut Arc<CookieStore>) {
        let real_host = Url::parse(&self.real)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned));
        for value in reply.headers.get_all(SET_COOKIE) {
            let text = String::from_utf8_lossy(value.as_bytes());
            // A server that names itself means the site, whatever we call it.
            let mine = |part: &&str| {
                let domain = part
                    .trim()
                    .split_once('=')
                    .filter(|(name, _)| name.trim().eq_ignore_ascii_case("domain"));
                domain.map(|(_, host)| host.trim().trim_start_matches('.').to_owned()) != real_host
                    || real_host.is_none()
            };
            let line: Vec<&str> = text.split(';').filter(mine).collect();
            if let Err(error) = Arc::make_mut(cookies).parse(&line.join(";"), &reply.url) {
                tracing::debug!(%error, "a cookie was not taken");
            }
        }
    }
}

/// An error with its causes, without the URL that says where we really went.
fn causes(error: &reqwest::Error) -> String {
    use std::error::Error as _;
    let mut words = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push(cause.to_string());
        source = cause.source();
    }
    words.pop().unwrap_or_else(|| {
        if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            "the connection failed".to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_origin_is_renamed() {
        let url = |text: &str| Url::parse(text).unwrap();
        let to = |text: &str| rebase(&url(text), "http://a.test", "http://127.0.0.1:1").to_string();
        assert_eq!(to("http://a.test/x?y#z"), "http://127.0.0.1:1/x?y#z");
        assert_eq!(to("http://a.test.evil/x"), "http://a.test.evil/x");
    }
}
