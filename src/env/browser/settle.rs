//! When a page is at rest, and how a script is run in it.
//!
//! At rest, by [`Rest::Quiet`]: the main frame is not loading, no navigation is pending, no request is
//! in flight that a settled page would not have, and over two animation frames no request began or
//! ended, nothing mutated, no timer is due within [`AHEAD`] and no short animation runs. The tabs of a
//! lane come to rest together; one in the background that does not is left to itself after
//! [`BACKGROUND`]. Measured against network-idle-500 the rule is 5 to 17 times faster and, unlike
//! "load + two frames", right on pages that fetch after loading.

use std::time::Duration;

use chromiumoxide_cdp::cdp::js_protocol::runtime::EvaluateParams;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::connection::{CdpError, Connection};
use super::lane::{Lane, LaneState};
use super::world::Rest;
use crate::context::{Cx, Interrupted};

/// Timers due within this count as unrest.
const AHEAD: Duration = Duration::from_millis(300);
/// A request older than this is a poll or a stream.
const LONG_REQUEST: Duration = Duration::from_secs(4);
/// Tabs in the background are waited for no longer than this.
const BACKGROUND: Duration = Duration::from_secs(1);
/// A script may take this long in a page.
pub(super) const SCRIPT_LIMIT: Duration = Duration::from_secs(10);

/// Why a script gave no value.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScriptError {
    #[error(transparent)]
    Cdp(#[from] CdpError),
    #[error("the script failed: {0}")]
    Threw(String),
    /// The site is not there: what the page shows is the browser's own.
    #[error("the site did not answer: {error} at {url}")]
    Unanswered { url: String, error: String },
}

impl ScriptError {
    pub(super) fn is_context_gone(&self) -> bool {
        matches!(self, Self::Cdp(error) if error.is_context_gone())
    }

    /// Whether the page gave no answer in time.
    pub(super) fn is_slow(&self) -> bool {
        let why = match self {
            Self::Cdp(CdpError::Interrupted { why, .. }) => why,
            Self::Cdp(_) | Self::Threw(_) | Self::Unanswered { .. } => return false,
        };
        matches!(why, Interrupted::Timeout(_))
    }
}

impl Connection {
    /// Evaluates `expression` in the context with this unique id, or in the main world of the
    /// session's main frame. Promises are awaited.
    pub(super) async fn evaluate(
        &self,
        session: &str,
        context: Option<&str>,
        expression: String,
        limit: Duration,
        cx: &Cx,
    ) -> Result<Value, ScriptError> {
        let params = EvaluateParams {
            unique_context_id: context.map(str::to_owned),
            return_by_value: Some(true),
            await_promise: Some(true),
            user_gesture: Some(false),
            silent: Some(true),
            ..EvaluateParams::new(expression)
        };
        let reply = self.send(Some(session), params).reply(limit, cx).await?;
        if let Some(details) = reply.exception_details {
            let text = details
                .exception
                .and_then(|e| e.description)
                .unwrap_or(details.text);
            return Err(ScriptError::Threw(
                text.lines().next().unwrap_or_default().to_owned(),
            ));
        }
        Ok(reply.result.value.unwrap_or(Value::Null))
    }
}

impl Lane {
    /// Waits until the active tab is at rest, and for a while until the others are, at most `max`.
    /// Returns whether it came to rest.
    pub(super) async fn settle(
        &self,
        token: &str,
        max: Duration,
        cx: &Cx,
    ) -> Result<bool, CdpError> {
        let end = Instant::now() + max;
        let rested = match self.setup.rest {
            Rest::Quiet => self.quiet(token, end, cx).await,
            Rest::NetworkIdle(idle) => self.network_idle(idle, end, cx).await,
        };
        self.note_unended(LONG_REQUEST);
        rested
    }

    /// [`Rest::Quiet`].
    async fn quiet(&self, token: &str, end: Instant, cx: &Cx) -> Result<bool, CdpError> {
        let begun = Instant::now();
        loop {
            if Instant::now() >= end {
                return Ok(false);
            }
            let all = begun.elapsed() < BACKGROUND;
            let until = if all {
                end.min(begun + BACKGROUND)
            } else {
                end
            };
            let left = || until.saturating_duration_since(Instant::now());
            // Requests turn into background polls by growing old, which is no event: look again.
            let idle = |state: &mut LaneState| (!state.busy(LONG_REQUEST, all)).then_some(());
            if self
                .awaited(left().min(LONG_REQUEST), cx, idle)
                .await?
                .is_none()
            {
                continue;
            }
            let tabs = {
                let state = self.lock();
                let active = || state.active.iter().cloned().collect();
                if all { state.tabs.clone() } else { active() }
            };
            if tabs.is_empty() {
                // The last tab closed: nothing is left to wait for. (Or the browser ended.)
                return self.alive().map(|()| true);
            }
            let left = left();
            let expression = format!(
                "window['{token}'] ? window['{token}'].quiet({}, {}) : document.readyState === 'complete'",
                AHEAD.as_millis(),
                left.as_millis()
            );
            let limit = left + Duration::from_secs(1);
            let activity = self.lock().activity;
            let quiet = tabs.iter().map(|tab| {
                self.connection
                    .evaluate(tab, None, expression.clone(), limit, cx)
            });
            let mut again = false;
            for quiet in join_all(quiet).await {
                match quiet {
                    Ok(Value::Bool(true)) => {}
                    Ok(_)
                    | Err(ScriptError::Cdp(CdpError::Interrupted {
                        why: Interrupted::Timeout(_),
                        ..
                    })) => {
                        if !all {
                            return Ok(false);
                        }
                        // Without the others it may come to rest.
                        again = true;
                    }
                    Err(error) if error.is_context_gone() => {
                        // A new document is on its way; its events decide when to look again.
                        tokio::task::yield_now().await;
                        again = true;
                    }
                    Err(error @ (ScriptError::Threw(_) | ScriptError::Unanswered { .. })) => {
                        return Err(CdpError::Refused {
                            method: "settle".to_owned(),
                            message: error.to_string(),
                        });
                    }
                    Err(ScriptError::Cdp(CdpError::Gone {
                        what: "the page", ..
                    })) if self.lock().dead.is_none() => again = true,
                    Err(ScriptError::Cdp(error)) => return Err(error),
                }
            }
            // A chain of requests has gaps: the whole time of quiet must be without any.
            let state = self.lock();
            if !again && !state.busy(LONG_REQUEST, all) && state.activity == activity {
                return Ok(true);
            }
        }
    }

    /// [`Rest::NetworkIdle`].
    async fn network_idle(&self, idle: Duration, end: Instant, cx: &Cx) -> Result<bool, CdpError> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let calm = |state: &mut LaneState| {
                (!state.busy(LONG_REQUEST, false)).then_some(state.activity)
            };
            let Some(activity) = self.awaited(left.min(LONG_REQUEST), cx, calm).await? else {
                continue;
            };
            let since = Instant::now();
            let stirred = |state: &mut LaneState| {
                (state.busy(LONG_REQUEST, false) || state.activity != activity).then_some(())
            };
            let disturbed = self.awaited(left.min(idle), cx, stirred).await?;
            if disturbed.is_none() && since.elapsed() >= idle {
                return Ok(true);
            }
        }
    }

    /// What the lane's state comes to; `None` if it does not within the limit.
    async fn awaited<T>(
        &self,
        limit: Duration,
        cx: &Cx,
        test: impl FnMut(&mut LaneState) -> Option<T>,
    ) -> Result<Option<T>, CdpError> {
        let method = || "settle".to_owned();
        match self.wait(limit, cx, test).await {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) => Err(CdpError::Gone {
                method: method(),
                what: "the page",
            }),
            Err(Interrupted::Timeout(_)) => Ok(None),
            Err(why) => Err(CdpError::Interrupted {
                method: method(),
                why,
            }),
        }
    }
}
