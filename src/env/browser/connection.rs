//! The command mux: one socket, many sessions, calls matched to replies, events routed to lanes.

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chromiumoxide_cdp::cdp::browser_protocol::fetch::{
    EnableParams as FetchEnable, RequestPattern, RequestStage,
};
use chromiumoxide_cdp::cdp::browser_protocol::target::SetAutoAttachParams;
use chromiumoxide_types::Command;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};

use super::gate::{AtGate, Gate, Pass, Verdict};
use super::transport::Transport;
use crate::context::{Cx, Interrupted};

/// The most one protocol call may take; pages get tighter limits where they matter.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(20);

/// A failed protocol call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CdpError {
    /// Cancelled or out of time.
    #[error("{method}: {why}")]
    Interrupted {
        /// The call.
        method: String,
        /// Why it ended.
        why: Interrupted,
    },
    /// The browser or the session is gone.
    #[error("{method}: {what} is gone")]
    Gone {
        /// The call.
        method: String,
        /// The browser or the page.
        what: &'static str,
    },
    /// The browser refused.
    #[error("{method}: {message}")]
    Refused {
        /// The call.
        method: String,
        /// The browser's words.
        message: String,
    },
    /// The reply is not what the protocol says.
    #[error("{method}: unexpected reply: {reason}")]
    Reply {
        /// The call.
        method: String,
        /// What was wrong.
        reason: String,
    },
}

impl CdpError {
    /// Whether the script's execution context ended under the call: a navigation, not a fault.
    #[must_use]
    pub fn is_context_gone(&self) -> bool {
        match self {
            Self::Refused { message, .. } => {
                message.contains("context was destroyed")
                    || message.contains("Cannot find context")
                    || message.contains("uniqueContextId not found")
                    || message.contains("navigated or closed")
                    || message.contains("Session with given id not found")
                    || message.contains("Inspected target")
                    || message.contains("Promise was collected")
                    || message.contains("No frame")
            }
            Self::Interrupted { .. } | Self::Gone { .. } | Self::Reply { .. } => false,
        }
    }
}

/// An event for a lane.
#[derive(Debug)]
pub(super) struct Event {
    pub session: Option<String>,
    pub method: String,
    pub params: Box<RawValue>,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<ErrorBody>,
    #[serde(default)]
    method: Option<String>,
    #[serde(rename = "sessionId", default)]
    session: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorBody {
    message: String,
    #[serde(default)]
    data: Option<String>,
}

#[derive(Serialize)]
struct Outgoing<'a, P> {
    id: u64,
    method: &'a str,
    #[serde(rename = "sessionId", skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    params: P,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attached {
    session_id: String,
    target_info: AttachedInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachedInfo {
    browser_context_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detached {
    session_id: String,
}

type Reply = Result<Box<RawValue>, CallFault>;

#[derive(Debug)]
enum CallFault {
    Gone(&'static str),
    Refused(String),
}

struct Pending {
    session: Option<String>,
    reply: oneshot::Sender<Reply>,
}

#[derive(Default)]
struct Routes {
    pending: HashMap<u64, Pending>,
    lanes: HashMap<String, mpsc::UnboundedSender<Event>>,
    sessions: HashMap<String, mpsc::UnboundedSender<Event>>,
    closed: bool,
}

struct Inner {
    out: mpsc::UnboundedSender<String>,
    routes: Mutex<Routes>,
    gate: Mutex<Gate>,
    next: AtomicU64,
    alive: watch::Receiver<bool>,
}

/// A connection to one browser; cheap to clone.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("alive", &self.is_alive())
            .finish()
    }
}

impl Connection {
    /// Takes over a transport: one task writes, one reads.
    #[must_use]
    pub fn start(transport: Box<dyn Transport>) -> Self {
        let (mut sender, mut receiver) = transport.split();
        let (out, mut queue) = mpsc::unbounded_channel::<String>();
        let (alive_tx, alive) = watch::channel(true);
        let inner = Arc::new(Inner {
            out,
            routes: Mutex::default(),
            gate: Mutex::default(),
            next: AtomicU64::new(1),
            alive,
        });
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                if let Err(error) = sender.send(message).await {
                    tracing::debug!(%error, "stopped writing to the browser");
                    return;
                }
            }
        });
        // A weak reference: the task must not keep the connection (and so itself) alive.
        let reader = Arc::downgrade(&inner);
        tokio::spawn(async move {
            while let Some(message) = receiver.next().await {
                let Some(inner) = reader.upgrade() else {
                    return;
                };
                match message {
                    Ok(text) => inner.receive(&text),
                    Err(error) => {
                        tracing::debug!(%error, "the browser's connection broke");
                        break;
                    }
                }
            }
            if let Some(inner) = reader.upgrade() {
                inner.close();
            }
            alive_tx.send(false).ok();
        });
        Self(inner)
    }

    /// Whether the browser still answers.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        *self.0.alive.borrow()
    }

    /// Sees every write of this browser that no lane has let pass, from now on, and with `hold` stops it.
    pub(super) async fn keep_gate(&self, hold: bool, cx: &Cx) -> Result<(), CdpError> {
        self.0.gate().hold(hold);
        let all = RequestPattern {
            url_pattern: Some("*".to_owned()),
            request_stage: Some(RequestStage::Request),
            ..RequestPattern::default()
        };
        let enable = FetchEnable {
            patterns: Some(vec![all]),
            ..FetchEnable::default()
        };
        self.call(None, enable, cx).await.map(drop)
    }

    /// Lets a request of a lane pass the gate.
    pub(super) fn pass(&self, pass: Pass) {
        if !matches!(pass.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
            self.0.gate().pass(pass);
        }
    }

    /// Events of this browser context go to `lane` from now on.
    pub(super) fn route(&self, context: &str, lane: mpsc::UnboundedSender<Event>) {
        self.0.routes().lanes.insert(context.to_owned(), lane);
    }

    /// Events of this browser context are dropped from now on.
    pub(super) fn unroute(&self, context: &str) {
        let mut routes = self.0.routes();
        if let Some(lane) = routes.lanes.remove(context) {
            routes
                .sessions
                .retain(|_, sender| !sender.same_channel(&lane));
        }
    }

    /// Sends a command at once and returns the wait for its reply, so that several can be in
    /// flight on one session in a known order.
    pub(super) fn send<C: Command>(&self, session: Option<&str>, command: C) -> PendingCall<C> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let method = command.identifier();
        let (reply, receiver) = oneshot::channel();
        let message = serde_json::to_string(&Outgoing {
            id,
            method: &method,
            session,
            params: command,
        });
        let mut routes = self.0.routes();
        let fault = match message {
            Err(error) => Some(CallFault::Refused(error.to_string())),
            Ok(_) if routes.closed => Some(CallFault::Gone("the browser")),
            Ok(message) => {
                let pending = Pending {
                    session: session.map(str::to_owned),
                    reply,
                };
                routes.pending.insert(id, pending);
                drop(routes);
                if self.0.out.send(message).is_err() {
                    self.0.routes().pending.remove(&id);
                }
                None
            }
        };
        PendingCall {
            method: method.into_owned(),
            receiver,
            fault,
            command: PhantomData,
        }
    }

    /// Sends a command and waits for its reply, at most [`CALL_LIMIT`].
    ///
    /// # Errors
    /// [`CdpError`].
    pub(super) async fn call<C: Command>(
        &self,
        session: Option<&str>,
        command: C,
        cx: &Cx,
    ) -> Result<C::Response, CdpError> {
        self.send(session, command).reply(CALL_LIMIT, cx).await
    }
}

/// A call that was sent.
pub(super) struct PendingCall<C> {
    method: String,
    receiver: oneshot::Receiver<Reply>,
    fault: Option<CallFault>,
    command: PhantomData<fn() -> C>,
}

impl<C: Command> PendingCall<C> {
    /// Waits for the reply, at most `limit`.
    pub(super) fn reply(
        self,
        limit: Duration,
        cx: &Cx,
    ) -> impl Future<Output = Result<C::Response, CdpError>> + Send + use<'_, C> {
        let Self {
            method,
            receiver,
            fault,
            ..
        } = self;
        async move {
            let raw = match fault {
                Some(fault) => Err(fault),
                None => match cx.bounded(limit, receiver).await {
                    Err(why) => return Err(CdpError::Interrupted { method, why }),
                    Ok(Err(_)) => Err(CallFault::Gone("the browser")),
                    Ok(Ok(reply)) => reply,
                },
            };
            match raw {
                Ok(raw) => serde_json::from_str(raw.get()).map_err(|e| CdpError::Reply {
                    method,
                    reason: e.to_string(),
                }),
                Err(CallFault::Gone(what)) => Err(CdpError::Gone { method, what }),
                Err(CallFault::Refused(message)) => Err(CdpError::Refused { method, message }),
            }
        }
    }
}

impl Inner {
    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, text: &str) {
        let message: Incoming<'_> = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, "unreadable message from the browser");
                return;
            }
        };
        if let Some(id) = message.id {
            let Some(pending) = self.routes().pending.remove(&id) else {
                return;
            };
            let reply = match (message.error, message.result) {
                (Some(error), _) => Err(CallFault::Refused(match error.data {
                    Some(data) => format!("{} ({data})", error.message),
                    None => error.message,
                })),
                (None, Some(result)) => Ok(result.to_owned()),
                (None, None) => Err(CallFault::Refused("an empty reply".to_owned())),
            };
            pending.reply.send(reply).ok();
            return;
        }
        let (Some(method), Some(params)) = (message.method, message.params) else {
            return;
        };
        self.event(Event {
            session: message.session,
            method,
            params: params.to_owned(),
        });
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request at the gate; returns whether the lanes are to be told of it.
    fn at_gate(&self, event: &Event) -> bool {
        let request: AtGate = match serde_json::from_str(event.params.get()) {
            Ok(request) => request,
            Err(error) => {
                // Unanswered it stays where it is.
                tracing::warn!(%error, "a request at the gate was not understood");
                return false;
            }
        };
        let verdict = self.gate().judge(&request);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let request = request.request_id;
        let answer = match verdict {
            Verdict::Known | Verdict::Unseen => serde_json::json!({
                "id": id, "method": "Fetch.continueRequest", "params": { "requestId": request },
            }),
            Verdict::Stopped => serde_json::json!({
                "id": id, "method": "Fetch.fulfillRequest",
                "params": { "requestId": request, "responseCode": 204 },
            }),
        };
        self.out.send(answer.to_string()).ok();
        verdict != Verdict::Known
    }

    fn event(&self, event: Event) {
        let gate = event.session.is_none() && event.method == "Fetch.requestPaused";
        if gate && !self.at_gate(&event) {
            return;
        }
        let mut routes = self.routes();
        let parent = event
            .session
            .as_ref()
            .and_then(|s| routes.sessions.get(s))
            .cloned();
        let lane = match event.method.as_str() {
            "Target.attachedToTarget" => {
                let Ok(attached) = serde_json::from_str::<Attached>(event.params.get()) else {
                    return;
                };
                let lane = parent.or_else(|| {
                    let context = attached.target_info.browser_context_id.as_ref()?;
                    routes.lanes.get(context).cloned()
                });
                let Some(to) = &lane else {
                    drop(routes);
                    self.release(&attached.session_id);
                    return;
                };
                routes.sessions.insert(attached.session_id, to.clone());
                lane
            }
            "Target.detachedFromTarget" => {
                let Ok(detached) = serde_json::from_str::<Detached>(event.params.get()) else {
                    return;
                };
                let dead: Vec<u64> = routes
                    .pending
                    .iter()
                    .filter(|(_, p)| p.session.as_ref() == Some(&detached.session_id))
                    .map(|(id, _)| *id)
                    .collect();
                for id in dead {
                    if let Some(pending) = routes.pending.remove(&id) {
                        pending.reply.send(Err(CallFault::Gone("the page"))).ok();
                    }
                }
                routes.sessions.remove(&detached.session_id)
            }
            _ => parent,
        };
        if let Some(lane) = lane {
            lane.send(event).ok();
        } else if event.session.is_none() {
            // Browser-wide events (downloads, crashes): every lane looks whether it is meant.
            for lane in routes.lanes.values() {
                let copy = Event {
                    session: None,
                    method: event.method.clone(),
                    params: event.params.clone(),
                };
                lane.send(copy).ok();
            }
        }
    }

    /// Lets a target that belongs to no lane run; it would otherwise wait for us for ever.
    fn release(&self, session: &str) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let message = serde_json::json!({
            "id": id, "method": "Runtime.runIfWaitingForDebugger", "sessionId": session, "params": {},
        });
        self.out.send(message.to_string()).ok();
    }

    fn close(&self) {
        let mut routes = self.routes();
        routes.closed = true;
        for (_, pending) in routes.pending.drain() {
            pending.reply.send(Err(CallFault::Gone("the browser"))).ok();
        }
        // Dropping the senders ends the lanes' event tasks, which mark their lanes dead.
        routes.lanes.clear();
        routes.sessions.clear();
    }
}

/// Attach to every target as it is created, before its first script and request.
pub(super) fn auto_attach() -> SetAutoAttachParams {
    SetAutoAttachParams {
        auto_attach: true,
        wait_for_debugger_on_start: true,
        flatten: Some(true),
        filter: None,
    }
}
