//! The SDK's HTTP client, with proof of who we are on every request that it sends.
//!
//! * A token that the server refuses (401) is fetched anew, and the message sent once more: it was not
//!   read, so nothing happened.
//! * No error holds a URL or a text with a secret in it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::common::client_side_sse::BoxedSseResponse;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use url::Url;

use crate::env::tools::http::Proof;

type Failure = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;

/// A client that proves itself.
#[derive(Clone)]
pub(super) struct Proved {
    pub(super) proof: Arc<Proof>,
    /// The longest that a token endpoint may take.
    pub(super) limit: Duration,
}

fn unproved(reason: String) -> Failure {
    StreamableHttpError::UnexpectedServerResponse(reason.into())
}

/// Whether the server wants another proof.
fn refused(failure: &Failure) -> bool {
    match failure {
        StreamableHttpError::AuthRequired(_) => true,
        StreamableHttpError::Client(error) => error.status() == Some(StatusCode::UNAUTHORIZED),
        StreamableHttpError::UnexpectedServerResponse(text) => text.starts_with("HTTP 401"),
        _ => false,
    }
}

impl Proved {
    /// Sends a request, once more if its token is refused.
    async fn send<T, Sending>(
        &self,
        uri: Arc<str>,
        headers: Headers,
        send: impl Fn(Arc<str>, Headers) -> Sending + Send,
    ) -> Result<T, Failure>
    where
        T: Send,
        Sending: Future<Output = Result<T, Failure>> + Send,
    {
        let (at, with) = self.proved(&uri, headers.clone()).await?;
        let mut answer = send(at, with).await;
        if answer.as_ref().is_err_and(refused) && self.proof.forget().await {
            let (at, with) = self.proved(&uri, headers).await?;
            answer = send(at, with).await;
        }
        answer.map_err(|failure| match failure {
            StreamableHttpError::Client(error) => StreamableHttpError::Client(error.without_url()),
            StreamableHttpError::UnexpectedServerResponse(text) => {
                unproved(self.proof.redaction().text(text.into_owned()))
            }
            other => other,
        })
    }

    /// The URL and the headers of a request, with the proof.
    async fn proved(
        &self,
        uri: &str,
        mut headers: Headers,
    ) -> Result<(Arc<str>, Headers), Failure> {
        let mut url = Url::parse(uri).map_err(|error| unproved(error.to_string()))?;
        let proving = tokio::time::timeout(self.limit, self.proof.prove(&mut url));
        let proved = proving.await.map_err(|_| {
            let limit = self.limit.as_secs_f64();
            unproved(format!("no token within {limit} s"))
        })?;
        if let Some((name, value)) = proved.map_err(|error| unproved(error.to_string()))? {
            let value = HeaderValue::from_str(&value);
            let mut value =
                value.map_err(|_| unproved(format!("the value of `{name}` cannot be sent")))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok((url.as_str().into(), headers))
    }
}

impl StreamableHttpClient for Proved {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(
            uri,
            message,
            session_id,
            auth_header,
            custom_headers,
            limits,
        )
        .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        self.send(uri, custom_headers, |at, with| {
            self.proof.client().post_message_with_response_limits(
                at,
                message.clone(),
                session_id.clone(),
                auth_header.clone(),
                with,
                limits,
            )
        })
        .await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<(), Failure> {
        self.send(uri, custom_headers, |at, with| {
            let (session, auth) = (session_id.clone(), auth_header.clone());
            self.proof.client().delete_session(at, session, auth, with)
        })
        .await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<BoxedSseResponse, Failure> {
        let most = StreamableHttpResponseLimits::default().max_sse_event_size;
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            most,
        )
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max_sse_event_size: usize,
    ) -> Result<BoxedSseResponse, Failure> {
        self.send(uri, custom_headers, |at, with| {
            self.proof.client().get_stream_with_max_sse_event_size(
                at,
                session_id.clone(),
                last_event_id.clone(),
                auth_header.clone(),
                with,
                max_sse_event_size,
            )
        })
        .await
    }
}
