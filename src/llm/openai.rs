//! The client for everything that speaks OpenAI's chat completions: OpenAI itself, gateways, vLLM,
//! llama.cpp, Ollama.
//!
//! Wire format: <https://platform.openai.com/docs/api-reference/chat>.
//!
//! * Retried, with exponential back-off and jitter: 408, 409, 429 (unless the quota is used up),
//!   5xx, and broken connections. `Retry-After` (seconds or HTTP date) is obeyed; if it asks for
//!   more than [`OpenAiConfig::max_wait_ms`], the call fails at once instead of waiting less.
//! * A request that had its time is **not** repeated: a slow model would only get slower.
//! * A provider that refuses a parameter (`n`, `seed`, `temperature`, `max_tokens`) is asked again
//!   without it, and remembered. One that gives fewer than `n` choices is asked again for the rest,
//!   with the next seed; every request counts in the cost. If such a repeat fails, the choices
//!   already paid for are returned.
//! * The key is in one header, marked sensitive. Should a server echo it, it is blanked before
//!   anything else sees the body.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    ChatError, ChatModel, ChatReply, ChatRequest, Choice, EmbeddingModel, Price, ResponseFormat,
    TokenProb, ToolCall, Usage,
};
use crate::context::Cx;
use crate::http::{causes, retry_after};
use crate::types::Cost;

/// Most bytes of a reply that are read.
const BODY_LIMIT: usize = 16 * 1024 * 1024;
/// Most characters of a reply that an error quotes.
const QUOTE_LIMIT: usize = 300;
/// Longest back-off without a `Retry-After`.
const BACKOFF_LIMIT: Duration = Duration::from_secs(30);

/// Where the model is and how to talk to it. Safe to print and to store: it names the variable that
/// holds the key, never the key.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpenAiConfig {
    /// `https://api.openai.com`, with or without `/v1`; or the full URL of `…/chat/completions`.
    pub base_url: String,
    /// The model's name at the provider.
    pub model: String,
    /// The environment variable that holds the key. Not needed for `localhost` and `127.0.0.1`.
    pub key_env: String,
    /// Extra headers. A value `env:NAME` is read from that environment variable.
    pub headers: BTreeMap<String, String>,
    /// Most milliseconds for one request, connecting included.
    pub timeout_ms: u64,
    /// Most milliseconds to connect.
    pub connect_timeout_ms: u64,
    /// Most times a request is sent, the first included.
    pub max_tries: u32,
    /// First back-off in milliseconds; it doubles.
    pub backoff_ms: u64,
    /// Longest `Retry-After` that is waited for, in milliseconds.
    pub max_wait_ms: u64,
    /// Price per million tokens, in place of the table's.
    pub price: Option<Price>,
}

impl Default for OpenAiConfig {
    fn default() -> Self {
        Self {
            base_url: "https://api.openai.com/v1".to_owned(),
            model: "gpt-4o-mini".to_owned(),
            key_env: "OPENAI_API_KEY".to_owned(),
            headers: BTreeMap::new(),
            timeout_ms: 180_000,
            connect_timeout_ms: 10_000,
            max_tries: 5,
            backoff_ms: 500,
            max_wait_ms: 60_000,
            price: None,
        }
    }
}

impl fmt::Debug for OpenAiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Header values and anything before an `@` in the URL may be secrets.
        let url = self.base_url.rsplit('@').next().unwrap_or_default();
        let url = url.split('?').next().unwrap_or_default();
        f.debug_struct("OpenAiConfig")
            .field("base_url", &url)
            .field("model", &self.model)
            .field("key_env", &self.key_env)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("timeout_ms", &self.timeout_ms)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("max_tries", &self.max_tries)
            .field("backoff_ms", &self.backoff_ms)
            .field("max_wait_ms", &self.max_wait_ms)
            .field("price", &self.price)
            .finish()
    }
}

/// What a provider has refused so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about a provider"
)]
struct Quirks {
    /// Knows no `n`.
    single: bool,
    /// Wants `max_completion_tokens`.
    completion_tokens: bool,
    /// Fixes the temperature itself.
    no_temperature: bool,
    /// Knows no `seed`.
    no_seed: bool,
}

/// A chat model behind an OpenAI-compatible endpoint.
pub struct OpenAi {
    config: OpenAiConfig,
    client: reqwest::Client,
    url: Url,
    /// `url` without its query, for messages.
    shown: String,
    secrets: Vec<String>,
    price: Option<Price>,
    quirks: Mutex<Quirks>,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("config", &self.config)
            .field("url", &self.shown)
            .finish_non_exhaustive()
    }
}

/// One HTTP exchange that reached an answer.
enum Answer {
    Reply(Part),
    Refused {
        status: u16,
        after: Option<Duration>,
        body: String,
    },
}

/// One HTTP exchange that did not.
enum Broken {
    Connection(String),
    Malformed(String),
}

/// The choices of one request.
struct Part {
    choices: Vec<Choice>,
    usage: Usage,
    model: String,
}

impl OpenAi {
    /// A client for this configuration; the key is read from the process's environment now.
    ///
    /// # Errors
    /// [`ChatError::Config`] names what is missing or malformed and where to put it.
    pub fn new(config: OpenAiConfig) -> Result<Self, ChatError> {
        Self::with_env(config, |name| std::env::var(name).ok())
    }

    /// The same with another environment, for tests and for keys kept elsewhere.
    ///
    /// # Errors
    /// As [`OpenAi::new`].
    pub fn with_env(
        config: OpenAiConfig,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ChatError> {
        let url = endpoint(&config.base_url)?;
        if config.model.trim().is_empty() {
            return Err(ChatError::Config(
                "no model is named: set `model`".to_owned(),
            ));
        }
        let local = is_local(&url);
        let mut secrets = Vec::new();
        let headers = headers(&config, local, &env, &mut secrets)?;
        if !local && url.scheme() == "http" && !secrets.is_empty() {
            tracing::warn!(
                host = url.host_str(),
                "the key is sent over unencrypted http"
            );
        }
        // The error only says that a provider was installed before: that one serves as well.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("branchline/", env!("CARGO_PKG_VERSION")));
        if local {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|e| ChatError::Config(format!("no HTTPS client: {}", causes(&e))))?;
        let mut shown = url.clone();
        shown.set_query(None);
        Ok(Self {
            price: config.price.or_else(|| Price::of(&config.model)),
            client,
            shown: shown.to_string(),
            url,
            secrets,
            config,
            quirks: Mutex::default(),
        })
    }

    /// Whether the price of this model is known; if not, its money is reported as 0.
    #[must_use]
    pub fn priced(&self) -> bool {
        self.price.is_some()
    }

    fn quirks(&self) -> Quirks {
        *self.quirks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from a refused parameter. `None`: the refusal is about something else.
    fn learn(&self, sent: Quirks, n: u32, status: u16, body: &str) -> Option<Quirks> {
        if !matches!(status, 400 | 422) {
            return None;
        }
        let names = |parameter: &str| {
            ['"', '\'', '`']
                .iter()
                .any(|q| body.contains(&format!("{q}{parameter}{q}")))
        };
        let mut next = sent;
        if body.contains("max_completion_tokens") {
            next.completion_tokens = true;
        } else if names("temperature") {
            next.no_temperature = true;
        } else if names("seed") {
            next.no_seed = true;
        } else if n > 1 && (names("n") || body.contains("n > 1") || body.contains("n must be")) {
            next.single = true;
        }
        if next == sent {
            return None;
        }
        let mut known = self.quirks.lock().unwrap_or_else(PoisonError::into_inner);
        known.single |= next.single;
        known.completion_tokens |= next.completion_tokens;
        known.no_temperature |= next.no_temperature;
        known.no_seed |= next.no_seed;
        Some(next)
    }

    fn body(&self, request: &ChatRequest, n: u32, round: u32, quirks: Quirks) -> Value {
        let mut body = json!({
            "model": self.config.model,
            "messages": request.messages,
        });
        let limit = if quirks.completion_tokens {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        body[limit] = json!(request.max_tokens);
        if !quirks.no_temperature {
            body["temperature"] = json!(tidy(request.temperature));
            if let Some(top_p) = request.top_p {
                body["top_p"] = json!(tidy(top_p));
            }
        }
        if n > 1 {
            body["n"] = json!(n);
        }
        if let (Some(seed), false) = (request.seed, quirks.no_seed) {
            // Providers differ in the width of a seed; 31 bits fit all.
            body["seed"] = json!(seed.wrapping_add(u64::from(round)) & 0x7fff_ffff);
        }
        if let Some(top) = request.top_logprobs {
            body["logprobs"] = json!(true);
            body["top_logprobs"] = json!(top);
        }
        if let ResponseFormat::JsonSchema { name, schema } = &request.format {
            body["response_format"] = json!({
                "type": "json_schema",
                "json_schema": { "name": name, "strict": true, "schema": schema },
            });
        }
        if !request.tools.is_empty() {
            body["tools"] = request
                .tools
                .iter()
                .map(|tool| json!({ "type": "function", "function": tool }))
                .collect();
        }
        body
    }

    /// One request with its retries.
    async fn round(
        &self,
        request: &ChatRequest,
        missing: u32,
        round: u32,
        calls: &mut u32,
        cx: &Cx,
    ) -> Result<Part, ChatError> {
        let limit = Duration::from_millis(self.config.timeout_ms);
        let mut tries = 0;
        let mut quirks = self.quirks();
        loop {
            let n = if quirks.single { 1 } else { missing };
            let body = self.body(request, n, round, quirks);
            tries += 1;
            *calls += 1;
            let wait = match cx.bounded(limit, self.send(&body)).await? {
                Ok(Answer::Reply(part)) => return Ok(part),
                Ok(Answer::Refused {
                    status,
                    after,
                    body,
                }) => {
                    if let Some(next) = self.learn(quirks, n, status, &body) {
                        tracing::debug!(status, ?next, "the provider refused a parameter");
                        quirks = next;
                        tries -= 1;
                        continue;
                    }
                    self.after_refusal(status, after, &body, tries)?
                }
                Err(broken) => self.after_break(broken, tries)?,
            };
            cx.pause(wait).await?;
        }
    }

    /// How long to wait after a refusal before the next try, if there is to be one.
    fn after_refusal(
        &self,
        status: u16,
        after: Option<Duration>,
        body: &str,
        tries: u32,
    ) -> Result<Duration, ChatError> {
        let again =
            matches!(status, 408 | 409 | 429 | 500..=599) && !body.contains("insufficient_quota");
        let wait = after.unwrap_or_else(|| self.backoff(tries));
        let patient = wait <= Duration::from_millis(self.config.max_wait_ms);
        if !again || !patient || tries >= self.config.max_tries.max(1) {
            let body = quote(body);
            return Err(ChatError::Status {
                status,
                tries,
                body,
            });
        }
        tracing::debug!(status, tries, wait_ms = wait.as_millis(), "model retry");
        Ok(wait)
    }

    /// The same after an exchange that broke off.
    fn after_break(&self, broken: Broken, tries: u32) -> Result<Duration, ChatError> {
        match broken {
            Broken::Malformed(what) => Err(ChatError::Malformed(what)),
            Broken::Connection(reason) if tries >= self.config.max_tries.max(1) => {
                let url = self.shown.clone();
                Err(ChatError::Unreachable { url, reason })
            }
            Broken::Connection(reason) => {
                tracing::debug!(reason, tries, "model retry");
                Ok(self.backoff(tries))
            }
        }
    }

    /// Doubling, capped, and spread over its upper half so that clients do not march in step.
    fn backoff(&self, tries: u32) -> Duration {
        let full = Duration::from_millis(self.config.backoff_ms)
            .saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1)))
            .min(BACKOFF_LIMIT);
        let dice = u32::try_from(RandomState::new().build_hasher().finish() % 1024).unwrap_or(0);
        full / 2 + full / 2 * dice / 1024
    }

    async fn send(&self, body: &Value) -> Result<Answer, Broken> {
        let (status, after, text) = self.post(self.url.clone(), body).await?;
        if !status.is_success() {
            let status = status.as_u16();
            return Ok(Answer::Refused {
                status,
                after,
                body: text,
            });
        }
        match read(&text).map_err(Broken::Malformed)? {
            Read::Part(part) => Ok(Answer::Reply(part)),
            Read::Error(status) => Ok(Answer::Refused {
                status,
                after,
                body: text,
            }),
        }
    }

    /// One exchange: the status, how long to wait if the server says, the body without secrets.
    async fn post(
        &self,
        url: Url,
        body: &Value,
    ) -> Result<(StatusCode, Option<Duration>, String), Broken> {
        let broken =
            |e: reqwest::Error| Broken::Connection(quote(&self.blank(&causes(&e.without_url()))));
        let mut response = self
            .client
            .post(url)
            .json(body)
            .send()
            .await
            .map_err(broken)?;
        let status = response.status();
        let after = retry_after(response.headers(), SystemTime::now());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if bytes.len() + chunk.len() > BODY_LIMIT {
                return Err(Broken::Malformed(format!(
                    "the reply is longer than {} MiB",
                    BODY_LIMIT >> 20
                )));
            }
            bytes.extend_from_slice(&chunk);
        }
        let text = self.blank(&String::from_utf8_lossy(&bytes));
        Ok((status, after, text))
    }

    /// `text` without any of the secrets.
    fn blank(&self, text: &str) -> String {
        self.secrets
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

/// The body of a reply with vectors.
#[derive(Deserialize)]
struct Embeddings {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    index: usize,
    embedding: Vec<f32>,
}

#[async_trait]
impl EmbeddingModel for OpenAi {
    fn name(&self) -> &str {
        &self.config.model
    }

    /// Wire format: <https://platform.openai.com/docs/api-reference/embeddings>.
    async fn embed(&self, texts: &[String], cx: &Cx) -> Result<Vec<Vec<f32>>, ChatError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let mut url = self.url.clone();
        let path = url.path().replace("chat/completions", "embeddings");
        url.set_path(&path);
        let body = json!({ "model": self.config.model, "input": texts });
        let limit = Duration::from_millis(self.config.timeout_ms);
        let mut tries = 0;
        let text = loop {
            tries += 1;
            let wait = match cx.bounded(limit, self.post(url.clone(), &body)).await? {
                Ok((status, _, text)) if status.is_success() => break text,
                Ok((status, after, text)) => {
                    self.after_refusal(status.as_u16(), after, &text, tries)?
                }
                Err(broken) => self.after_break(broken, tries)?,
            };
            cx.pause(wait).await?;
        };
        let reply: Embeddings = serde_json::from_str(&text)
            .map_err(|error| ChatError::Malformed(format!("no embeddings: {error}")))?;
        let mut vectors = vec![Vec::new(); texts.len()];
        for Embedding { index, embedding } in reply.data {
            if let Some(vector) = vectors.get_mut(index) {
                *vector = embedding;
            }
        }
        if vectors.iter().any(Vec::is_empty) {
            let what = format!("vectors for only some of {} texts", texts.len());
            return Err(ChatError::Malformed(what));
        }
        Ok(vectors)
    }
}

#[async_trait]
impl ChatModel for OpenAi {
    fn name(&self) -> &str {
        &self.config.model
    }

    async fn chat(&self, request: &ChatRequest, cx: &Cx) -> Result<ChatReply, ChatError> {
        let started = Instant::now();
        let want = usize::try_from(request.n.max(1)).unwrap_or(usize::MAX);
        let mut calls = 0;
        let mut usage = Usage::default();
        let mut choices = Vec::new();
        let mut model = self.config.model.clone();
        let mut round = 0;
        while choices.len() < want {
            let missing = u32::try_from(want - choices.len()).unwrap_or(u32::MAX);
            match self.round(request, missing, round, &mut calls, cx).await {
                Ok(part) => {
                    usage.input_tokens += part.usage.input_tokens;
                    usage.cached_tokens += part.usage.cached_tokens;
                    usage.output_tokens += part.usage.output_tokens;
                    if !part.model.is_empty() {
                        model = part.model;
                    }
                    choices.extend(part.choices);
                }
                Err(e) if choices.is_empty() || matches!(e, ChatError::Interrupted(_)) => {
                    return Err(e);
                }
                Err(e) => {
                    tracing::warn!(have = choices.len(), want, error = %e, "fewer replies than asked");
                    break;
                }
            }
            round += 1;
        }
        choices.truncate(want);
        Ok(ChatReply {
            choices,
            usage,
            cost: Cost {
                model_calls: calls,
                input_tokens: usage.input_tokens,
                cached_tokens: usage.cached_tokens,
                output_tokens: usage.output_tokens,
                money: self.price.map(|p| p.money(usage)).unwrap_or_default(),
                env_actions: 0,
                wall_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
            model,
            priced: self.priced(),
        })
    }
}

/// The URL requests go to.
fn endpoint(base: &str) -> Result<Url, ChatError> {
    let hint = "set `base_url` to something like https://api.openai.com/v1";
    let bad = |why: &str| ChatError::Config(format!("the model's base URL {why}: {hint}"));
    let mut url = Url::parse(base.trim()).map_err(|e| bad(&format!("is malformed ({e})")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad("is no http or https address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(
            "must not hold credentials (use `key_env` or `headers`)",
        ));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let versioned = path.split('/').any(|part| {
        part.strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    let path = if path.ends_with("/chat/completions") {
        path
    } else if versioned {
        format!("{path}/chat/completions")
    } else {
        format!("{path}/v1/chat/completions")
    };
    url.set_path(&path);
    Ok(url)
}

fn is_local(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.ends_with(".localhost")
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    })
}

fn headers(
    config: &OpenAiConfig,
    local: bool,
    env: &impl Fn(&str) -> Option<String>,
    secrets: &mut Vec<String>,
) -> Result<HeaderMap, ChatError> {
    let mut map = HeaderMap::new();
    let mut secret = |name: &str, shown: String, value: &str| {
        let mut header = HeaderValue::from_str(shown.trim()).map_err(|_| {
            ChatError::Config(format!("{name} holds characters that no header may hold"))
        })?;
        header.set_sensitive(true);
        // Blanking a very short value would only mangle replies.
        if value.len() >= 6 {
            secrets.push(value.to_owned());
        }
        Ok::<_, ChatError>(header)
    };
    for (name, value) in &config.headers {
        let key: HeaderName = name
            .parse()
            .map_err(|_| ChatError::Config(format!("`{name}` is no header name")))?;
        let private = ["auth", "key", "token", "secret", "cookie"];
        let (value, hidden) = match value.strip_prefix("env:") {
            Some(variable) => {
                let value = env(variable).ok_or_else(|| {
                    ChatError::Config(format!(
                        "the header `{name}` wants the environment variable {variable}: set it"
                    ))
                })?;
                (value, true)
            }
            None => (
                value.clone(),
                private.iter().any(|p| key.as_str().contains(p)),
            ),
        };
        let hide = if hidden { value.clone() } else { String::new() };
        map.insert(key, secret(&format!("the header `{name}`"), value, &hide)?);
    }
    let own = ["authorization", "api-key", "x-api-key"];
    if own.iter().any(|name| map.contains_key(*name)) {
        return Ok(map);
    }
    let key = env(&config.key_env)
        .map(|k| k.trim().to_owned())
        .filter(|k| !k.is_empty());
    match key {
        Some(key) => {
            let header = secret(
                &format!("the environment variable {}", config.key_env),
                format!("Bearer {key}"),
                &key,
            )?;
            map.insert(AUTHORIZATION, header);
        }
        None if local => {}
        None => {
            return Err(ChatError::Config(format!(
                "no key for the model at {}: set the environment variable {}, or name another with `key_env`",
                Url::parse(&config.base_url)
                    .ok()
                    .and_then(|u| u.host_str().map(str::to_owned))
                    .unwrap_or_default(),
                config.key_env
            )));
        }
    }
    Ok(map)
}

/// The first part of a body, on one line.
fn quote(body: &str) -> String {
    let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "(empty)".to_owned();
    }
    let mut short: String = line.chars().take(QUOTE_LIMIT).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

/// A number as it was written: 0.7, not 0.699999988.
fn tidy(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(0.0)
}

enum Read {
    Part(Part),
    /// An error inside a 200 (some gateways do that), with its own status.
    Error(u16),
}

#[derive(Deserialize)]
struct WireReply {
    #[serde(default)]
    choices: Vec<WireChoice>,
    usage: Option<WireUsage>,
    #[serde(default)]
    model: Option<String>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct WireChoice {
    #[serde(default)]
    message: WireMessage,
    finish_reason: Option<String>,
    logprobs: Option<WireLogprobs>,
}

#[derive(Deserialize, Default)]
struct WireMessage {
    content: Option<Value>,
    tool_calls: Option<Vec<WireCall>>,
}

#[derive(Deserialize)]
struct WireCall {
    #[serde(default)]
    id: Option<String>,
    function: WireFunction,
}

#[derive(Deserialize)]
struct WireFunction {
    name: String,
    #[serde(default)]
    arguments: Value,
}

#[derive(Deserialize)]
struct WireLogprobs {
    content: Option<Vec<WireToken>>,
}

#[derive(Deserialize)]
struct WireToken {
    token: String,
    logprob: Option<f32>,
    #[serde(default)]
    top_logprobs: Vec<WireTop>,
}

#[derive(Deserialize)]
struct WireTop {
    token: String,
    logprob: Option<f32>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<WireDetails>,
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct WireDetails {
    cached_tokens: Option<u64>,
}

fn read(text: &str) -> Result<Read, String> {
    if text.trim().is_empty() {
        return Err("the body is empty".to_owned());
    }
    let wire: WireReply =
        serde_json::from_str(text).map_err(|e| format!("{e} in `{}`", quote(text)))?;
    if let Some(error) = wire.error.filter(|e| !e.is_null()) {
        let status = error["code"]
            .as_u64()
            .and_then(|code| u16::try_from(code).ok())
            .filter(|code| StatusCode::from_u16(*code).is_ok_and(|s| !s.is_success()));
        return match status {
            Some(status) => Ok(Read::Error(status)),
            None => Err(format!("an error: {}", quote(&error.to_string()))),
        };
    }
    if wire.choices.is_empty() {
        return Err(format!("no choices in `{}`", quote(text)));
    }
    let usage = wire.usage.map_or_else(Usage::default, |u| Usage {
        input_tokens: u.prompt_tokens,
        cached_tokens: u
            .prompt_tokens_details
            .and_then(|d| d.cached_tokens)
            .or(u.prompt_cache_hit_tokens)
            .unwrap_or(0)
            .min(u.prompt_tokens),
        output_tokens: u.completion_tokens,
    });
    Ok(Read::Part(Part {
        choices: wire.choices.into_iter().map(choice).collect(),
        usage,
        model: wire.model.unwrap_or_default(),
    }))
}

fn choice(wire: WireChoice) -> Choice {
    let text = match wire.message.content {
        Some(Value::String(text)) => text,
        // Some providers send a list of parts.
        Some(Value::Array(parts)) => parts.iter().filter_map(|p| p["text"].as_str()).collect(),
        _ => String::new(),
    };
    let tool_calls = wire
        .message
        .tool_calls
        .unwrap_or_default()
        .into_iter()
        .map(|call| ToolCall {
            id: call.id.unwrap_or_default(),
            name: call.function.name,
            arguments: match call.function.arguments {
                Value::String(text) => text,
                other => other.to_string(),
            },
        })
        .collect();
    let logprobs = wire.logprobs.and_then(|l| l.content).map(|tokens| {
        tokens
            .into_iter()
            .map(|token| TokenProb {
                logprob: token.logprob.unwrap_or(f32::MIN),
                token: token.token,
                top: token
                    .top_logprobs
                    .into_iter()
                    .filter_map(|top| top.logprob.map(|p| (top.token, p)))
                    .collect(),
            })
            .collect()
    });
    Choice {
        text,
        tool_calls,
        truncated: wire.finish_reason.as_deref() == Some("length"),
        logprobs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let of = |base: &str| {
            endpoint(base)
                .map(|u| u.to_string())
                .map_err(|e| e.to_string())
        };
        for (base, want) in [
            (
                "http://127.0.0.1:8098",
                "http://127.0.0.1:8098/v1/chat/completions",
            ),
            (
                "http://127.0.0.1:8098/v1/",
                "http://127.0.0.1:8098/v1/chat/completions",
            ),
            (
                "https://x.ai/api/v1",
                "https://x.ai/api/v1/chat/completions",
            ),
            (
                "https://g.com/v1beta/openai",
                "https://g.com/v1beta/openai/chat/completions",
            ),
            (
                "https://a.com/d/gpt/chat/completions?api-version=1",
                "https://a.com/d/gpt/chat/completions?api-version=1",
            ),
        ] {
            assert_eq!(of(base).as_deref(), Ok(want));
        }
        assert!(of("api.openai.com").unwrap_err().contains("malformed"));
        let error = of("https://me:hunter2@x.ai").unwrap_err();
        assert!(
            error.contains("credentials") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_key_is_needed_only_away_from_home() {
        let config = |url: &str| OpenAiConfig {
            base_url: url.to_owned(),
            ..OpenAiConfig::default()
        };
        for url in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
            OpenAi::with_env(config(url), |_| None).unwrap();
        }
        let error = OpenAi::with_env(config("https://api.openai.com"), |_| None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no key for the model at api.openai.com: set the environment variable OPENAI_API_KEY, or name another with `key_env`"
        );
    }

    #[test]
    fn backoff_doubles_within_its_bounds() {
        let client = OpenAi::with_env(
            OpenAiConfig {
                base_url: "http://localhost:1".to_owned(),
                backoff_ms: 100,
                ..OpenAiConfig::default()
            },
            |_| None,
        )
        .unwrap();
        for (tries, full) in [(1, 100), (2, 200), (4, 800), (60, 30_000)] {
            let wait = client.backoff(tries);
            let full = Duration::from_millis(full);
            assert!(wait >= full / 2 && wait <= full, "{tries}: {wait:?}");
        }
    }

    #[test]
    fn odd_but_valid_replies_are_read() {
        let Ok(Read::Part(part)) = read(
            r#"{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],
            "tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"x":1}}}]},
            "finish_reason":"length","logprobs":{"content":[{"token":"a","logprob":-0.5,
            "top_logprobs":[{"token":"a","logprob":-0.5},{"token":"b","logprob":null}]}]}}],
            "usage":{"prompt_tokens":10,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":8}}}"#,
        ) else {
            panic!("not read")
        };
        assert_eq!(
            part.choices,
            vec![Choice {
                text: "ab".to_owned(),
                tool_calls: vec![ToolCall {
                    id: "1".to_owned(),
                    name: "f".to_owned(),
                    arguments: "{\"x\":1}".to_owned(),
                }],
                truncated: true,
                logprobs: Some(vec![TokenProb {
                    token: "a".to_owned(),
                    logprob: -0.5,
                    top: vec![("a".to_owned(), -0.5)],
                }]),
            }]
        );
        assert_eq!(
            part.usage,
            Usage {
                input_tokens: 10,
                cached_tokens: 8,
                output_tokens: 2,
            }
        );
    }
}
