//! The source of HTTP tools, and a lane's session with it.
//!
//! * Cookies belong to the session; they are its state ([`Session::save`]).
//! * Redirects are followed at most five times, and only to where the registry allows.
//! * 429 and 503 with `Retry-After` are asked again after that time, at most twice, if it is within
//!   the registry's bound and (for 503) the call may be repeated.
//! * Proxies of the environment are not used: addresses are checked where they are connected to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cookie_store::{CookieDomain, CookieStore, RawCookie};
use reqwest::header::{
    CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use url::Url;

use super::credentials::{Credentials, Proof, TokenError, scheme};
use super::guard::{PrivateAddress, PublicOnly, forbids, forbids_url};
use super::under_way::UnderWay;
use super::{Payload, Plan, Request, build, reply};
use crate::context::{Cx, Interrupted};
use crate::env::har::MAX_BODY;
use crate::env::tools::registry::{Allow, CallLimits, Rate};
use crate::env::tools::{
    Access, Binding, CallError, Prepared, Reply, Session, Source, SourceError, Tool, Validators,
};
use crate::http::{causes, retry_after};
use crate::types::{Effect, EffectKind, REDACTED, Rejection};

/// Most characters of a body in an effect.
const SHOWN_BODY: usize = 4_096;
/// Most redirects of one call.
const REDIRECTS: usize = 5;
/// Most times a call is sent because the server asked to come back.
const TRIES: usize = 3;
/// What a source of HTTP tools is made of.
pub struct HttpConfig {
    /// Name of the source.
    pub name: String,
    /// Its tools.
    pub tools: Vec<Tool>,
    /// How calls prove who they are.
    pub credentials: Option<Credentials>,
    /// Headers of every call, and whether the value is a secret.
    pub headers: Vec<(HeaderName, String, bool)>,
    /// What may be reached.
    pub allow: Allow,
    /// Bounds of one call.
    pub limits: CallLimits,
}

/// Tools behind HTTP.
pub struct HttpSource {
    tools: Vec<Arc<Tool>>,
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    client: Client,
    credentials: Option<Credentials>,
    headers: Vec<(HeaderName, String, bool)>,
    allow: Allow,
    limits: CallLimits,
    validators: Validators,
    /// When the last calls left, for the rate.
    sent: tokio::sync::Mutex<VecDeque<Instant>>,
}

impl Shared {
    /// A lane's own proof.
    fn proof(&self) -> Proof {
        let hidden = self.headers.iter().filter(|(_, _, hidden)| *hidden);
        Proof::new(
            self.credentials.clone(),
            hidden.map(|(_, value, _)| value.clone()).collect(),
            self.client.clone(),
            self.allow.private,
        )
    }
}

impl std::fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "HttpSource({}, {} tools)",
            self.shared.name,
            self.tools.len()
        )
    }
}

impl HttpSource {
    /// A source.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] if no client can be made.
    pub fn new(config: HttpConfig) -> Result<Self, SourceError> {
        let client = client(config.allow.private).map_err(|reason| SourceError::Unusable {
            source_name: config.name.clone(),
            reason,
        })?;
        Ok(Self {
            tools: config.tools.into_iter().map(Arc::new).collect(),
            shared: Arc::new(Shared {
                name: config.name,
                client,
                credentials: config.credentials,
                headers: config.headers,
                allow: config.allow,
                limits: config.limits,
                validators: Validators::default(),
                sent: tokio::sync::Mutex::default(),
            }),
        })
    }
}

/// A client that follows nothing by itself and connects to public addresses only, unless `private`.
pub(in crate::env::tools) fn client(private: bool) -> Result<Client, String> {
    // Another part of the program may have installed it already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .user_agent(concat!("branchline/", env!("CARGO_PKG_VERSION")));
    if !private {
        builder = builder.dns_resolver(Arc::new(PublicOnly));
    }
    builder
        .build()
        .map_err(|error| format!("has no HTTP client: {error}"))
}

#[async_trait]
impl Source for HttpSource {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn tools(&self) -> Vec<Arc<Tool>> {
        self.tools.clone()
    }

    async fn open(&self, _cx: &Cx) -> Result<Box<dyn Session>, SourceError> {
        Ok(Box::new(HttpSession {
            shared: Arc::clone(&self.shared),
            moved: None,
            cookies: Mutex::default(),
            proof: self.shared.proof(),
        }))
    }

    async fn open_at(
        &self,
        logical: &str,
        real: &str,
        _cx: &Cx,
    ) -> Result<Box<dyn Session>, SourceError> {
        let parsed = |origin: &str| {
            Url::parse(origin).map_err(|error| SourceError::Unusable {
                source_name: self.shared.name.clone(),
                reason: format!("cannot be moved from {logical} to {real}: {error}"),
            })
        };
        Ok(Box::new(HttpSession {
            shared: Arc::clone(&self.shared),
            moved: Some((parsed(logical)?, parsed(real)?)),
            cookies: Mutex::default(),
            proof: self.shared.proof(),
        }))
    }
}

/// A lane's session.
struct HttpSession {
    shared: Arc<Shared>,
    /// The origin whose requests go to another one: a lane's own server.
    moved: Option<(Url, Url)>,
    cookies: Mutex<CookieStore>,
    proof: Proof,
}

/// A response of which the head is there, and the exchange so far, where exchanges are kept.
struct Arrived<'a> {
    response: Response,
    told: Option<UnderWay<'a>>,
}

#[async_trait]
impl Session for HttpSession {
    fn prepare(&self, tool: &Tool, arguments: &Map<String, Value>) -> Result<Prepared, Rejection> {
        let plan = plan(tool)?;
        let arguments = self.shared.validators.check(tool, arguments)?;
        let request = build(plan, &arguments)?;
        Ok(Prepared {
            effect: self.effect(tool, &request),
            arguments,
        })
    }

    async fn call(&self, tool: &Tool, prepared: &Prepared, cx: &Cx) -> Result<Reply, CallError> {
        let unbuilt = |rejection: Rejection| CallError::Forbidden {
            tool: tool.name.clone(),
            reason: rejection.reason,
        };
        let plan = plan(tool).map_err(unbuilt)?;
        let request = build(plan, &prepared.arguments).map_err(unbuilt)?;
        let allow = &self.shared.allow;
        if let Some(reason) = forbids(allow, &plan.base, &plan.method, &request.url) {
            return Err(forbidden(tool, reason));
        }
        let mut renewed = false;
        let mut tries = 0;
        loop {
            tries += 1;
            self.wait_for_turn(cx).await?;
            let limit = self.shared.limits.timeout;
            let work = self.exchange(tool, plan, &request, cx);
            let Arrived { response, mut told } = cx.bounded(limit, work).await??;
            let status = response.status();
            let may_repeat = tool.access != Access::Write;
            if status == StatusCode::UNAUTHORIZED && !renewed && self.proof.forget().await {
                // The token was withdrawn before its time; it was not read, so nothing happened.
                renewed = true;
                continue;
            }
            let busy = status == StatusCode::TOO_MANY_REQUESTS
                || (status == StatusCode::SERVICE_UNAVAILABLE && may_repeat);
            if busy && tries < TRIES {
                let wait = retry_after(response.headers(), SystemTime::now());
                if let Some(wait) = wait.filter(|wait| *wait <= self.shared.limits.max_wait) {
                    drop((response, told));
                    cx.pause(wait).await?;
                    continue;
                }
            }
            let most = self.shared.limits.response_bytes;
            let read = cx.bounded(limit, reply::read(response, most)).await?;
            let received = read.map_err(|error| self.unreachable(tool, &error, told.as_mut()))?;
            if let Some(told) = &mut told {
                told.read(&received);
            }
            let mut reply = received.understood();
            self.proof.redaction().reply(&mut reply);
            return Ok(reply);
        }
    }

    fn save(&self) -> Value {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut saved: Vec<Value> = cookies
            .iter_unexpired()
            .map(|cookie| {
                let host = match &cookie.domain {
                    CookieDomain::HostOnly(host) | CookieDomain::Suffix(host) => host.as_str(),
                    CookieDomain::NotPresent | CookieDomain::Empty => "",
                };
                let scheme = if cookie.secure() == Some(true) {
                    "https"
                } else {
                    "http"
                };
                let path: &str = cookie.path.as_ref();
                json!({
                    "url": format!("{scheme}://{host}{path}"),
                    "cookie": RawCookie::from(cookie.clone()).to_string(),
                })
            })
            .collect();
        saved.sort_by_key(Value::to_string);
        if saved.is_empty() {
            Value::Null
        } else {
            Value::Array(saved)
        }
    }

    fn load(&self, state: &Value) {
        let mut jar = CookieStore::default();
        for entry in state.as_array().into_iter().flatten() {
            let text = |key: &str| entry.get(key).and_then(Value::as_str);
            if let (Some(cookie), Some(url)) = (text("cookie"), text("url"))
                && let Ok(url) = Url::parse(url)
                // A cookie that expired since is none any more.
                && let Err(error) = jar.parse(cookie, &url)
            {
                tracing::debug!(%error, "a saved cookie was not taken back");
            }
        }
        *self.cookies.lock().unwrap_or_else(PoisonError::into_inner) = jar;
    }

    fn keep_exchanges(&self) {
        self.proof.keep_exchanges();
    }

    fn archive(&self) -> Option<har::v1_2::Log> {
        self.proof.archive(&self.shared.name)
    }
}

fn forbidden(tool: &Tool, reason: String) -> CallError {
    CallError::Forbidden {
        tool: tool.name.clone(),
        reason,
    }
}

/// How a tool is called, if it is one of ours.
fn plan(tool: &Tool) -> Result<&Plan, Rejection> {
    match &tool.binding {
        Binding::Http(plan) => Ok(plan),
        Binding::Mcp { .. } | Binding::Described => Err(Rejection::new(format!(
            "`{}` is no HTTP operation: it cannot be called here",
            tool.name
        ))),
    }
}

impl HttpSession {
    /// A URL without the secret of its query.
    fn shown(&self, url: &Url) -> String {
        let mut url = url.clone();
        if let Some(Credentials::Query(secret, _)) = self.proof.credentials() {
            let is_secret = |name: &str| name == secret.as_str();
            if url.query_pairs().any(|(name, _)| is_secret(&name)) {
                let pairs = url.query_pairs().into_owned();
                let others: Vec<_> = pairs.filter(|(name, _)| !is_secret(name)).collect();
                url.query_pairs_mut().clear().extend_pairs(others);
            }
            url.query_pairs_mut().append_pair(secret, REDACTED);
        }
        // Brackets of the mark are not worth encoding.
        url.as_str().replace("%5Bredacted%5D", REDACTED)
    }

    fn effect(&self, tool: &Tool, request: &Request) -> Effect {
        let mut headers = request.headers.clone();
        headers.extend(
            request
                .body
                .media()
                .map(|media| ("content-type".to_owned(), media.to_owned())),
        );
        for (name, value, hidden) in &self.shared.headers {
            let value = if *hidden { REDACTED } else { value };
            headers.push((name.as_str().to_owned(), value.to_owned()));
        }
        if !request.cookies.is_empty() {
            headers.push(("cookie".to_owned(), request.cookies.join("; ")));
        }
        match self.proof.credentials() {
            Some(Credentials::Header(name, value)) => {
                let shown = format!("{}{REDACTED}", scheme(name, value));
                headers.push((name.as_str().to_owned(), shown));
            }
            Some(Credentials::Client(_)) => {
                headers.push(("authorization".to_owned(), format!("Bearer {REDACTED}")));
            }
            Some(Credentials::Query(..)) | None => {}
        }
        Effect {
            kind: match tool.access {
                Access::Read => EffectKind::Read,
                Access::Idempotent | Access::Write => EffectKind::Write,
            },
            method: request.method.clone(),
            url: self.shown(&request.url),
            headers,
            body: request.body.shown(SHOWN_BODY),
            held: false,
        }
    }

    /// Why no answer came; the exchange is told.
    fn unreachable(
        &self,
        tool: &Tool,
        error: &reqwest::Error,
        told: Option<&mut UnderWay<'_>>,
    ) -> CallError {
        let reason = self.proof.redaction().text(causes(error));
        if let Some(told) = told {
            told.failed(reason.clone());
        }
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            if let Some(private) = error.downcast_ref::<PrivateAddress>() {
                return forbidden(tool, private.to_string());
            }
            cause = error.source();
        }
        CallError::Unreachable {
            tool: tool.name.clone(),
            reason,
        }
    }

    /// Where a request really goes.
    fn real(&self, mut url: Url) -> Result<Url, ()> {
        let Some((from, to)) = &self.moved else {
            return Ok(url);
        };
        if url.origin() == from.origin() {
            url.set_scheme(to.scheme())?;
            url.set_host(to.host_str()).map_err(drop)?;
            url.set_port(to.port())?;
            // A lane's server may be a part of one that others use too.
            let below = to.path().trim_end_matches('/');
            if !below.is_empty() {
                url.set_path(&format!("{below}{}", url.path()));
            }
        }
        Ok(url)
    }

    /// Waits until the rate allows another call.
    async fn wait_for_turn(&self, cx: &Cx) -> Result<(), Interrupted> {
        let Some(Rate { calls, per }) = self.shared.limits.rate else {
            return Ok(());
        };
        loop {
            let wait = {
                let mut sent = self.shared.sent.lock().await;
                let now = Instant::now();
                while sent
                    .front()
                    .is_some_and(|at| now.duration_since(*at) >= per)
                {
                    sent.pop_front();
                }
                match sent.front() {
                    Some(first) if sent.len() >= calls as usize => {
                        per.saturating_sub(now.duration_since(*first))
                    }
                    _ => {
                        sent.push_back(now);
                        return Ok(());
                    }
                }
            };
            cx.pause(wait).await?;
        }
    }

    /// Sends a request and follows redirects; the response's body is not read yet.
    async fn exchange(
        &self,
        tool: &Tool,
        plan: &Plan,
        request: &Request,
        cx: &Cx,
    ) -> Result<Arrived<'_>, CallError> {
        let (mut method, mut url) = (request.method.clone(), request.url.clone());
        let mut payload = Some(&request.body);
        for _ in 0..=REDIRECTS {
            let arrived = self.send(tool, &method, &url, request, payload, cx).await?;
            let response = &arrived.response;
            self.keep_cookies(&url, response.headers());
            let Some(next) = redirect(response, &url) else {
                return Ok(arrived);
            };
            let reason = forbids_url(&self.shared.allow, &plan.base, &next)
                .map(|reason| format!("it redirects to {next}: {reason}"))
                .or_else(|| {
                    let falls = url.scheme() == "https" && next.scheme() == "http";
                    falls.then(|| format!("it redirects from https to {next}"))
                });
            if let Some(reason) = reason {
                return Err(forbidden(tool, self.proof.redaction().text(reason)));
            }
            match response.status() {
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {}
                _ if matches!(method.as_str(), "GET" | "HEAD") => {}
                _ => (method, payload) = ("GET".to_owned(), None),
            }
            url = next;
        }
        Err(CallError::Unreachable {
            tool: tool.name.clone(),
            reason: format!("more than {REDIRECTS} redirects"),
        })
    }

    async fn send(
        &self,
        tool: &Tool,
        method: &str,
        url: &Url,
        request: &Request,
        payload: Option<&Payload>,
        cx: &Cx,
    ) -> Result<Arrived<'_>, CallError> {
        let broken = |what: &str| CallError::Unreachable {
            tool: tool.name.clone(),
            reason: format!("{what} cannot be sent"),
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| broken("the method"))?;
        let shown = || self.shown(url);
        let mut url = url.clone();
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: &str, hidden: bool| {
            let mut value = HeaderValue::from_str(value).map_err(|_| broken(name.as_str()))?;
            value.set_sensitive(hidden);
            headers.insert(name, value);
            Ok::<(), CallError>(())
        };
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| broken(name))?;
            put(name, value, false)?;
        }
        for (name, value, hidden) in &self.shared.headers {
            put(name.clone(), value, *hidden)?;
        }
        if let Some((name, value)) = self.prove(tool, &mut url, cx).await? {
            put(name, &value, true)?;
        }
        let cookies = self.cookie_header(&url, &request.cookies);
        if !cookies.is_empty() {
            put(COOKIE, &cookies, true)?;
        }
        // Last of all: cookies and rules go by the origin that everybody knows.
        let url = self.real(url).map_err(|()| broken("the URL"))?;
        let builder = self.shared.client.request(method, url);
        let builder = loaded(builder, payload, &mut headers).map_err(broken)?;
        let outgoing = builder.headers(headers).build();
        let outgoing = outgoing.map_err(|_| broken("the request"))?;
        let body = || payload.and_then(|payload| payload.shown(MAX_BODY));
        let mut told = self.proof.sending(&outgoing, || (shown(), body()));
        let sent = self.shared.client.execute(outgoing).await;
        let response =
            sent.map_err(|error| self.unreachable(tool, &error.without_url(), told.as_mut()))?;
        if let Some(told) = &mut told {
            told.head(&response);
        }
        Ok(Arrived { response, told })
    }

    fn cookie_header(&self, url: &Url, own: &[String]) -> String {
        let jar = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = jar
            .get_request_values(url)
            .map(|(name, value)| format!("{name}={value}"));
        let mut all: Vec<String> = own.to_vec();
        all.extend(kept.filter(|cookie| {
            let name = cookie.split('=').next().unwrap_or_default();
            !own.iter()
                .any(|other| other.split('=').next() == Some(name))
        }));
        all.join("; ")
    }

    fn keep_cookies(&self, url: &Url, headers: &HeaderMap) {
        let found = headers.get_all(SET_COOKIE).iter();
        let found: Vec<RawCookie<'static>> = found
            .filter_map(|value| value.to_str().ok())
            .filter_map(|text| RawCookie::parse(text.to_owned()).ok())
            .collect();
        if !found.is_empty() {
            let mut jar = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
            jar.store_response_cookies(found.into_iter(), url);
        }
    }

    /// Proves who sends a request: by its URL, or by the header that is given back.
    async fn prove(
        &self,
        tool: &Tool,
        url: &mut Url,
        cx: &Cx,
    ) -> Result<Option<(HeaderName, String)>, CallError> {
        let limit = self.shared.limits.timeout;
        let proved = cx.bounded(limit, self.proof.prove(url)).await?;
        proved.map_err(|error| match error {
            TokenError::Forbidden(reason) => forbidden(tool, reason),
            TokenError::Failed { .. } => CallError::Unreachable {
                tool: tool.name.clone(),
                reason: error.to_string(),
            },
        })
    }
}

/// A request with its body. What cannot be sent, if that is so.
fn loaded(
    builder: RequestBuilder,
    payload: Option<&Payload>,
    headers: &mut HeaderMap,
) -> Result<RequestBuilder, &'static str> {
    Ok(match payload {
        None | Some(Payload::Empty) => builder,
        Some(Payload::Bytes { media, bytes }) => {
            if !headers.contains_key(CONTENT_TYPE) {
                let media = HeaderValue::from_str(media).map_err(|_| "the media type")?;
                headers.insert(CONTENT_TYPE, media);
            }
            builder.body(bytes.clone())
        }
        Some(Payload::Multipart(parts)) => {
            let mut form = reqwest::multipart::Form::new();
            for part in parts {
                let mut made = reqwest::multipart::Part::bytes(part.bytes.clone());
                if part.file {
                    made = made.file_name(part.name.clone());
                }
                if let Some(media) = &part.media {
                    let typed = made.mime_str(media);
                    made = typed.map_err(|_| "a part's media type")?;
                }
                form = form.part(part.name.clone(), made);
            }
            builder.multipart(form)
        }
    })
}

/// Where a response sends us, if it does.
fn redirect(response: &Response, from: &Url) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let to = response.headers().get(LOCATION)?.to_str().ok()?;
    from.join(to).ok()
}
