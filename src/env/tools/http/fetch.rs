//! Gets a document, within the same bounds as a call.

use std::time::Duration;

use reqwest::header::LOCATION;
use url::Url;

use super::guard::forbids_url;
use super::session::client;
use crate::context::{Cx, Interrupted};
use crate::env::tools::registry::Allow;
use crate::http::causes;

/// Why a document could not be had. Completes "the document …".
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Cancelled or out of time.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Everything else: a lowercase sentence fragment.
    #[error("{0}")]
    Failed(String),
}

/// Reads what is at a URL: at most `most` bytes, at most three redirects, none to another host.
///
/// # Errors
/// [`FetchError`].
pub async fn fetch(
    url: &Url,
    private: bool,
    most: usize,
    limit: Duration,
    cx: &Cx,
) -> Result<Vec<u8>, FetchError> {
    let failed = |reason: String| FetchError::Failed(reason);
    let allow = Allow {
        hosts: Vec::new(),
        methods: Vec::new(),
        private,
    };
    let client = client(private).map_err(failed)?;
    let mut at = url.clone();
    for _ in 0..=3 {
        if let Some(reason) = forbids_url(&allow, url.as_str(), &at) {
            return Err(failed(format!("cannot be fetched from {at}: {reason}")));
        }
        let sent = cx.bounded(limit, client.get(at.clone()).send()).await?;
        let mut response = sent.map_err(|error| {
            failed(format!(
                "cannot be fetched: {}",
                causes(&error.without_url())
            ))
        })?;
        let status = response.status();
        if status.is_redirection() {
            let to = response
                .headers()
                .get(LOCATION)
                .and_then(|to| to.to_str().ok());
            let Some(next) = to.and_then(|to| at.join(to).ok()) else {
                return Err(failed(format!("cannot be fetched: {status} leads nowhere")));
            };
            at = next;
            continue;
        }
        if !status.is_success() {
            return Err(failed(format!("cannot be fetched: {at} answers {status}")));
        }
        let read = async {
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if bytes.len() + chunk.len() > most {
                    return Ok(None);
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok::<_, reqwest::Error>(Some(bytes))
        };
        let read = cx.bounded(limit, read).await?;
        let bytes =
            read.map_err(|error| failed(format!("broke off: {}", causes(&error.without_url()))))?;
        return bytes.ok_or_else(|| failed(format!("is larger than {most} bytes")));
    }
    Err(failed("is behind more than 3 redirects".to_owned()))
}
