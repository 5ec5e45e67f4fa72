//! How calls prove who they are, whichever protocol carries them.
//!
//! * A token that was fetched with client credentials belongs to one lane. It is no state: another
//!   lane gets its own, and no log ever sees one.
//! * What a provider echoes of them is taken out of its replies, and of the HTTP archive. Of a token
//!   endpoint's reply the archive holds no body.

use std::sync::Arc;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderName};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::guard::forbids_url;
use super::reply;
use super::under_way::UnderWay;
use crate::env::har::{Exchanges, HttpExchange};
use crate::env::tools::redact::Redaction;
use crate::env::tools::registry::Allow;
use crate::http::causes;

/// Most bytes that are read of a token endpoint's reply.
const TOKEN_REPLY: usize = 1 << 20;
/// How long a token lives where its endpoint does not say, and at most, in seconds.
const LIFE: u64 = 3_600;
const LONGEST_LIFE: u64 = 86_400;
/// A token is not used in the last of its seconds.
const MARGIN: u64 = 30;

/// How calls prove who they are, with the values.
#[derive(Clone)]
pub enum Credentials {
    /// A header: `Authorization` or one of its own.
    Header(HeaderName, String),
    /// A query parameter.
    Query(String, String),
    /// OAuth 2.0 client credentials.
    Client(ClientCredentials),
}

/// A client of OAuth 2.0 that gets tokens for itself (RFC 6749, 4.4).
#[derive(Clone)]
pub struct ClientCredentials {
    /// The token endpoint.
    pub token_url: Url,
    /// The client.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Scopes; may be empty.
    pub scope: String,
}

impl Credentials {
    fn secret(&self) -> &str {
        match self {
            // The scheme (`Bearer`) is no secret.
            Self::Header(name, value) => &value[scheme(name, value).len()..],
            Self::Query(_, value) => value,
            Self::Client(client) => &client.secret,
        }
    }
}

/// `Basic …`.
#[must_use]
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// `Bearer ` of an `Authorization` header; empty for others.
pub(super) fn scheme<'a>(name: &HeaderName, value: &'a str) -> &'a str {
    match value.split_once(' ') {
        Some((scheme, _)) if *name == AUTHORIZATION => &value[..=scheme.len()],
        _ => "",
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(in crate::env::tools) enum TokenError {
    /// The registry forbids the endpoint's address: which rule.
    #[error("{0}")]
    Forbidden(String),
    /// Everything else.
    #[error("no token from {url}: {reason}")]
    Failed { url: Url, reason: String },
}

struct Token {
    value: String,
    expires: Instant,
}

/// What one lane proves itself with.
pub(in crate::env::tools) struct Proof {
    credentials: Option<Credentials>,
    client: Client,
    /// Whether a token endpoint may have a private address.
    private: bool,
    /// All values that no reply may show; with them every token that was fetched.
    secrets: Arc<Redaction>,
    token: Mutex<Option<Token>>,
    /// What the lane exchanged, once that is kept.
    kept: std::sync::Mutex<Option<Exchanges>>,
}

impl Proof {
    /// Without a token yet. `hidden` are further values that no reply may show.
    pub(in crate::env::tools) fn new(
        credentials: Option<Credentials>,
        hidden: Vec<String>,
        client: Client,
        private: bool,
    ) -> Self {
        let mut secrets = hidden;
        secrets.extend(credentials.iter().map(|own| own.secret().to_owned()));
        Self {
            credentials,
            client,
            private,
            secrets: Arc::new(Redaction::new(secrets)),
            token: Mutex::default(),
            kept: std::sync::Mutex::default(),
        }
    }

    pub(in crate::env::tools) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(in crate::env::tools) fn client(&self) -> &Client {
        &self.client
    }

    /// Adds what a request needs to its URL, and gives the header that it needs.
    pub(in crate::env::tools) async fn prove(
        &self,
        url: &mut Url,
    ) -> Result<Option<(HeaderName, String)>, TokenError> {
        Ok(match &self.credentials {
            None => None,
            Some(Credentials::Header(name, value)) => Some((name.clone(), value.clone())),
            Some(Credentials::Query(name, value)) => {
                // A redirect may carry it along already.
                if url.query_pairs().all(|(known, _)| known != name.as_str()) {
                    url.query_pairs_mut().append_pair(name, value);
                }
                None
            }
            Some(Credentials::Client(client)) => {
                let token = self.token(client).await?;
                Some((AUTHORIZATION, format!("Bearer {token}")))
            }
        })
    }

    /// The lane's token: kept until half a minute before it expires.
    async fn token(&self, of: &ClientCredentials) -> Result<String, TokenError> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| token.expires > Instant::now()) {
            return Ok(token.value.clone());
        }
        let token = self.fetch(of).await?;
        let value = token.value.clone();
        *kept = Some(token);
        Ok(value)
    }

    /// Forgets a token that was refused. Whether there was one.
    pub(in crate::env::tools) async fn forget(&self) -> bool {
        self.token.lock().await.take().is_some()
    }

    /// What nothing shown may hold.
    pub(in crate::env::tools) fn redaction(&self) -> &Arc<Redaction> {
        &self.secrets
    }

    /// From now on keeps what the lane exchanges.
    pub(in crate::env::tools) fn keep_exchanges(&self) {
        self.kept().get_or_insert_default();
    }

    /// A request that is about to be sent, to be noted whatever comes of it; `None` where exchanges
    /// are not kept. `shown` is its URL and body as the archive has them.
    pub(super) fn sending(
        &self,
        request: &reqwest::Request,
        shown: impl FnOnce() -> (String, Option<String>),
    ) -> Option<UnderWay<'_>> {
        let keeps = self.kept().is_some();
        keeps.then(|| {
            let (url, body) = shown();
            let method = request.method().as_str();
            UnderWay::new(
                self,
                HttpExchange::sent(method, url, request.headers(), body),
            )
        })
    }

    /// Keeps an exchange, without what the server echoed of secrets.
    pub(super) fn note(&self, mut exchange: HttpExchange) {
        let clean = |text: &mut String| *text = self.secrets.text(std::mem::take(text));
        exchange.comment.iter_mut().for_each(clean);
        if let Some(reply) = &mut exchange.reply {
            reply.headers.iter_mut().for_each(|(_, value)| clean(value));
            reply.body.iter_mut().for_each(|(text, _)| clean(text));
        }
        if let Some(kept) = &mut *self.kept() {
            kept.push(exchange);
        }
    }

    /// What was kept, as an HTTP Archive 1.2 whose page is the source.
    pub(in crate::env::tools) fn archive(&self, source: &str) -> Option<har::v1_2::Log> {
        self.kept().as_ref().map(|kept| kept.log(source))
    }

    fn kept(&self) -> MutexGuard<'_, Option<Exchanges>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, of: &ClientCredentials) -> Result<Token, TokenError> {
        // The endpoint is named by the registry itself: only its address is in question.
        let allow = Allow {
            private: self.private,
            ..Allow::default()
        };
        if let Some(reason) = forbids_url(&allow, of.token_url.as_str(), &of.token_url) {
            return Err(TokenError::Forbidden(reason));
        }
        let fail = |reason: String| TokenError::Failed {
            url: of.token_url.clone(),
            reason: self.secrets.text(reason),
        };
        let mut form = vec![("grant_type", "client_credentials")];
        if !of.scope.is_empty() {
            form.push(("scope", of.scope.as_str()));
        }
        let unsent = |error: reqwest::Error| fail(causes(&error.without_url()));
        let request = self
            .client
            .post(of.token_url.clone())
            .header(AUTHORIZATION, basic(&of.id, &of.secret))
            .form(&form)
            .build()
            .map_err(unsent)?;
        let mut told = self.sending(&request, || {
            let body = request.body().and_then(reqwest::Body::as_bytes);
            let body = body.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            (of.token_url.to_string(), body)
        });
        let response = self.client.execute(request).await.map_err(unsent)?;
        if let Some(told) = &mut told {
            told.head(&response);
        }
        let status = response.status();
        let received = reply::read(response, TOKEN_REPLY).await.map_err(unsent)?;
        let reply = received.understood();
        let text = |key: &str| reply.content.get(key).and_then(Value::as_str);
        let Some(value) = text("access_token").filter(|_| status.is_success()) else {
            let why = text("error").unwrap_or("no access_token");
            return Err(fail(format!("{status}, {why}")));
        };
        self.secrets.add(value);
        let seconds = reply.content.get("expires_in").and_then(Value::as_u64);
        let seconds = seconds.unwrap_or(LIFE).min(LONGEST_LIFE);
        Ok(Token {
            value: value.to_owned(),
            expires: Instant::now() + Duration::from_secs(seconds.saturating_sub(MARGIN)),
        })
    }
}
