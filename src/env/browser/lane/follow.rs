//! The event task of a lane: the only writer of its state.

use std::collections::HashSet;
use std::sync::Arc;

use chromiumoxide_cdp::cdp::browser_protocol::dom_storage::EnableParams as StorageEnable;
use chromiumoxide_cdp::cdp::browser_protocol::emulation::{
    SetDeviceMetricsOverrideParams, SetFocusEmulationEnabledParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::fetch::{
    EnableParams as FetchEnable, RequestPattern, RequestStage,
};
use chromiumoxide_cdp::cdp::browser_protocol::inspector::EnableParams as InspectorEnable;
use chromiumoxide_cdp::cdp::browser_protocol::log::EnableParams as LogEnable;
use chromiumoxide_cdp::cdp::browser_protocol::network::{
    EnableParams as NetworkEnable, SetBypassServiceWorkerParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::page::{
    AddScriptToEvaluateOnNewDocumentParams, EnableParams as PageEnable,
    HandleJavaScriptDialogParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::storage::{
    TrackCacheStorageForOriginParams, TrackIndexedDbForOriginParams,
};
use chromiumoxide_cdp::cdp::js_protocol::runtime::{
    AddBindingParams, EnableParams as RuntimeEnable, EvaluateParams, ExecutionContextId,
    RunIfWaitingForDebuggerParams, TerminateExecutionParams,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::events::{
    AttachedEvent, BindingEvent, ContextCreated, ContextDestroyed, ContextInfo, DatabaseEvent,
    DialogEvent, DownloadEvent, DragEvent, FrameEvent, LogEvent, MilestoneEvent, NavigatedEvent,
    NavigatedFrame, RequestDone, ResponseEvent, SessionEvent, SocketEvent, SocketFrame,
    StoredEvent,
};
use super::setup::LaneSetup;
use super::state::{Document, Frame, Session, Shared, TargetKind, Traffic};
use crate::context::Cx;
use crate::env::browser::connection::{CALL_LIMIT, Connection, Event, auto_attach};
use crate::env::browser::ledger::{self, Fate, Told};
use crate::env::page::shorten;
use crate::types::{Notice, NoticeKind, RequestClass, RequestUse, SiteNoteKind};

/// Name of the isolated world that holds the walk.
pub(in crate::env::browser) const WORLD: &str = "branchline";

/// A page that opens more boxes than this within one action has its script stopped.
const DIALOG_STORM: u32 = 40;

/// The lane's event task.
pub(super) async fn follow(
    connection: Connection,
    setup: Arc<LaneSetup>,
    shared: Arc<Shared>,
    mut events: mpsc::UnboundedReceiver<Event>,
) {
    let follower = Follower {
        connection,
        setup,
        shared,
    };
    while let Some(event) = events.recv().await {
        if let Err(error) = follower.event(&event) {
            tracing::debug!(method = event.method, %error, "event not understood");
        }
        follower.shared.bump();
    }
    let mut state = follower.shared.lock();
    state
        .dead
        .get_or_insert_with(|| "the browser ended".to_owned());
    drop(state);
    follower.shared.bump();
}

pub(super) struct Follower {
    pub(super) connection: Connection,
    pub(super) setup: Arc<LaneSetup>,
    pub(super) shared: Arc<Shared>,
}

impl Follower {
    fn event(&self, event: &Event) -> Result<(), serde_json::Error> {
        let text = event.params.get();
        let session = event.session.as_deref();
        let method = event.method.as_str();
        self.collect(method, text)?;
        match method {
            "Target.attachedToTarget" => self.attached(session, serde_json::from_str(text)?),
            "Target.detachedFromTarget" => self.detached(&serde_json::from_str(text)?),
            "Page.frameAttached" => self.with(session, |s| {
                let event: FrameEvent = serde_json::from_str(text)?;
                s.frame(&event.frame_id).parent = event.parent_frame_id;
                Ok(())
            })?,
            "Page.frameDetached" => self.with(session, |s| {
                let event: FrameEvent = serde_json::from_str(text)?;
                if event.reason.as_deref() == Some("swap") {
                    // Its document moved to another process; the frame itself stays.
                    let frame = s.frame(&event.frame_id);
                    (frame.main, frame.walk) = (None, None);
                } else {
                    s.frames.retain(|f| f.id != event.frame_id);
                }
                Ok(())
            })?,
            "Page.frameNavigated" => {
                let event: NavigatedEvent = serde_json::from_str(text)?;
                let from_cache = event.r#type == "BackForwardCacheRestore";
                self.navigated(session, event.frame, from_cache);
            }
            "Page.navigatedWithinDocument" => self.with(session, |s| {
                let event: FrameEvent = serde_json::from_str(text)?;
                s.navigating = None;
                if let Some(url) = event.url {
                    if event.frame_id == s.main_frame() {
                        s.url.clone_from(&url);
                    }
                    s.frame(&event.frame_id).url = url;
                }
                Ok(())
            })?,
            "Page.frameRequestedNavigation" => self.with(session, |s| {
                let event: FrameEvent = serde_json::from_str(text)?;
                if event
                    .disposition
                    .as_deref()
                    .is_none_or(|d| d == "currentTab")
                {
                    s.navigating = Some(Instant::now());
                }
                Ok(())
            })?,
            "Page.frameStartedLoading" => self.with(session, |s| {
                let event: FrameEvent = serde_json::from_str(text)?;
                if event.frame_id == s.main_frame() {
                    s.loading = true;
                    s.navigating = None;
                }
                Ok(())
            })?,
            "Page.frameStoppedLoading" => self.with(session, |s| {
                let event: FrameEvent = serde_json::from_str(text)?;
                if event.frame_id == s.main_frame() {
                    s.loading = false;
                }
                s.navigating = None;
                Ok(())
            })?,
            "Runtime.executionContextCreated" => {
                let created: ContextCreated = serde_json::from_str(text)?;
                self.context_created(session, created.context);
            }
            "Runtime.executionContextDestroyed" => self.with(session, |s| {
                let gone: ContextDestroyed = serde_json::from_str(text)?;
                let id = Some(gone.execution_context_unique_id);
                for frame in &mut s.frames {
                    if frame.main == id {
                        frame.main = None;
                    }
                    if frame.walk == id {
                        frame.walk = None;
                    }
                }
                Ok(())
            })?,
            "Runtime.executionContextsCleared" => self.with(session, |s| {
                for frame in &mut s.frames {
                    (frame.main, frame.walk) = (None, None);
                }
                Ok(())
            })?,
            "Network.requestWillBeSent" => self.request(session, serde_json::from_str(text)?),
            "Network.responseReceivedExtraInfo" => self.watch_cookies(&serde_json::from_str(text)?),
            "Network.responseReceived" => {
                let event: ResponseEvent = serde_json::from_str(text)?;
                if event.r#type == "Document" && event.request_id == event.loader_id {
                    self.with(session, |s| {
                        s.answered = Some((event.loader_id, event.response.status));
                        Ok(())
                    })?;
                }
            }
            "Network.loadingFinished" | "Network.loadingFailed" => {
                let done: RequestDone = serde_json::from_str(text)?;
                if let Some(session) = session {
                    let failed = method == "Network.loadingFailed";
                    if failed && done.r#type == "Document" {
                        self.with(Some(session), |s| {
                            s.failed = Some((done.request_id.clone(), done.error_text.clone()));
                            Ok(())
                        })?;
                    }
                    self.read_late(session, &done, failed);
                    self.ended(session, done.request_id);
                }
            }
            "Network.webSocketCreated" => {
                let socket: SocketEvent = serde_json::from_str(text)?;
                let url = self.setup.logical(&socket.url);
                self.setup.note(SiteNoteKind::Socket, &socket.url, |url| {
                    let held = match self.setup.hold {
                        Some(_) => "; what they send by it is held",
                        None => "",
                    };
                    format!("pages talk by WebSocket ({url}): they are only come back to by replay{held}")
                });
                let mut state = self.shared.lock();
                let tab = state.tab_of(session);
                // A worker that tabs share may have opened it for any of them.
                let of_tab = |s: &&mut Session| tab == 0 || s.tab == tab;
                for page in state.sessions.values_mut().filter(of_tab) {
                    if let Some(document) = &mut page.document {
                        document.socket.get_or_insert_with(|| socket.url.clone());
                    }
                }
                let session = session.unwrap_or_default();
                state.ledger.socket(session, &socket.request_id, url);
            }
            "Network.webSocketClosed" => {
                let socket: SocketEvent = serde_json::from_str(text)?;
                let mut state = self.shared.lock();
                let session = session.unwrap_or_default();
                state.ledger.socket_closed(session, &socket.request_id);
            }
            "Network.webSocketFrameSent" => {
                let frame: SocketFrame = serde_json::from_str(text)?;
                let class = |url: &str| self.setup.class("WS", url, RequestUse::Main);
                self.shared.lock().ledger.frame_sent(
                    session.unwrap_or_default(),
                    &frame.request_id,
                    &frame.response.payload_data,
                    class,
                );
            }
            "Runtime.bindingCalled" => self.told(session, &serde_json::from_str(text)?),
            "Fetch.requestPaused" if session.is_none() => {
                self.left_behind(&serde_json::from_str(text)?);
            }
            "Fetch.requestPaused" => self.paused(session, serde_json::from_str(text)?),
            "DOMStorage.domStorageItemAdded" => self.stored("set", &serde_json::from_str(text)?),
            "DOMStorage.domStorageItemUpdated" => {
                self.stored("change", &serde_json::from_str(text)?);
            }
            "DOMStorage.domStorageItemRemoved" => {
                self.stored("remove", &serde_json::from_str(text)?);
            }
            "DOMStorage.domStorageItemsCleared" => {
                self.stored("clear", &serde_json::from_str(text)?);
            }
            "Storage.indexedDBContentUpdated" => {
                let event: DatabaseEvent = serde_json::from_str(text)?;
                let what = format!("{}/{}", event.database_name, event.object_store_name);
                self.touched(&event.origin);
                self.client("INDEXEDDB", &event.origin, what);
            }
            "Storage.cacheStorageContentUpdated" => {
                let event: DatabaseEvent = serde_json::from_str(text)?;
                self.touched(&event.origin);
                self.client("CACHE", &event.origin, event.cache_name);
            }
            "Storage.indexedDBListUpdated" | "Storage.cacheStorageListUpdated" => {
                let event: DatabaseEvent = serde_json::from_str(text)?;
                self.touched(&event.origin);
            }
            "Page.domContentEventFired" | "Page.loadEventFired" => {
                let event: MilestoneEvent = serde_json::from_str(text)?;
                let loaded = method == "Page.loadEventFired";
                if let Some(archive) = &mut self.shared.lock().archive {
                    archive.milestone(event.timestamp, loaded);
                }
            }
            "Log.entryAdded" => self.logged(&serde_json::from_str(text)?),
            "Page.javascriptDialogOpening" => self.dialog(session, &serde_json::from_str(text)?),
            "Browser.downloadWillBegin" => self.download(&serde_json::from_str(text)?),
            "Input.dragIntercepted" => {
                let drag: DragEvent = serde_json::from_str(text)?;
                self.shared.lock().drag = Some(drag.data);
            }
            "Inspector.targetCrashed" => {
                let mut state = self.shared.lock();
                let page = session.and_then(|s| state.sessions.get(s));
                if page.is_some_and(|s| s.kind == TargetKind::Worker) {
                    return Ok(());
                }
                state
                    .dead
                    .get_or_insert_with(|| "the page's renderer crashed".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// Keeps an exchange's event for the archive, where one is asked for.
    fn collect(&self, method: &str, text: &str) -> Result<(), serde_json::Error> {
        let mut state = self.shared.lock();
        let Some(archive) = &mut state.archive else {
            return Ok(());
        };
        match method {
            "Network.requestWillBeSent" => archive.asked(&serde_json::from_str(text)?, &self.setup),
            "Network.responseReceived" => archive.answered(&serde_json::from_str(text)?),
            "Network.loadingFinished" | "Network.loadingFailed" => {
                archive.ended(&serde_json::from_str(text)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn stored(&self, verb: &str, event: &StoredEvent) {
        let id = &event.storage_id;
        let store = if id.is_local_storage {
            "LOCAL"
        } else {
            "SESSION"
        };
        let origin = if id.security_origin.is_empty() {
            &id.storage_key
        } else {
            &id.security_origin
        };
        let what = format!("{verb} {}", shorten(&event.key, 100));
        self.client(store, origin, what.trim_end().to_owned());
    }

    fn touched(&self, origin: &str) {
        self.shared.lock().stores.changed(origin);
    }

    fn client(&self, store: &str, origin: &str, what: String) {
        let origin = self.setup.logical(origin.trim_end_matches('/'));
        let mut state = self.shared.lock();
        // What a restore puts back is nobody's effect.
        if matches!(state.traffic, Traffic::Record) {
            state.ledger.client(store, &origin, what);
        }
    }

    /// The guard in a page or worker tells of a frame that it holds, or of what it refused.
    fn told(&self, session: Option<&str>, event: &BindingEvent) {
        let Some(guard) = self.setup.hold.as_ref() else {
            return;
        };
        if guard.binding != event.name {
            return;
        }
        let Ok(told) = serde_json::from_str::<Told>(&event.payload) else {
            return;
        };
        let url = self.setup.logical(&told.url);
        let mut guarded = self.shared.lock();
        let state = &mut *guarded;
        if let Some(what) = told.refused {
            let text = format!("{what} to {url} was refused: what it sends cannot be held");
            state.notice(NoticeKind::Network, &text);
            self.setup.note(SiteNoteKind::Refused, &told.url, |_| text);
            return;
        }
        let class = self.setup.class("WS", &url, RequestUse::Main);
        if class != RequestClass::Read && !matches!(state.traffic, Traffic::Record) {
            return;
        }
        let fate = state
            .ledger
            .request(class, true, || told.effect(url.clone()), &url);
        if fate == Fate::Stopped {
            return;
        }
        state.ledger.announce();
        drop(guarded);
        let call = format!("{}.release('{}', {})", guard.hook, guard.key, told.id);
        let release = EvaluateParams {
            context_id: Some(ExecutionContextId::new(event.execution_context_id)),
            silent: Some(true),
            ..EvaluateParams::new(call)
        };
        drop(self.connection.send(session, release));
    }

    fn with(
        &self,
        session: Option<&str>,
        change: impl FnOnce(&mut Session) -> Result<(), serde_json::Error>,
    ) -> Result<(), serde_json::Error> {
        let mut state = self.shared.lock();
        match session.and_then(|id| state.sessions.get_mut(id)) {
            Some(session) => change(session),
            None => Ok(()),
        }
    }

    fn attached(&self, parent: Option<&str>, event: AttachedEvent) {
        let event_type = event.target_info.r#type.clone();
        let info_url = event.target_info.url.clone();
        let kind = match event_type.as_str() {
            "page" => TargetKind::Page,
            "iframe" => TargetKind::Frame,
            _ => TargetKind::Worker,
        };
        let id = event.session_id;
        let info = event.target_info;
        let mut state = self.shared.lock();
        // A page is attached both from the browser and from its opener: the first one counts.
        let known = state.sessions.values().any(|s| s.target == info.target_id);
        if known {
            drop(state);
            drop(
                self.connection
                    .send(Some(&id), RunIfWaitingForDebuggerParams::default()),
            );
            return;
        }
        let tab = if kind == TargetKind::Page {
            state.opened += 1;
            state.opened
        } else {
            state.tab_of(parent)
        };
        let mut frames = Vec::new();
        if kind != TargetKind::Worker {
            let parent = parent.and_then(|p| state.sessions.get(p)).and_then(|s| {
                s.frames
                    .iter()
                    .find(|f| f.id == info.target_id)
                    .and_then(|f| f.parent.clone())
            });
            frames.push(Frame {
                id: info.target_id.clone(),
                parent,
                ..Frame::default()
            });
        }
        state.sessions.insert(
            id.clone(),
            Session {
                target: info.target_id,
                kind,
                tab,
                opener: info.opener_id,
                reaches_opener: info.can_access_opener,
                ready: false,
                url: info.url.clone(),
                loading: false,
                navigating: None,
                document: None,
                answered: None,
                failed: None,
                frames,
                tracked: HashSet::new(),
            },
        );
        if event_type == "service_worker" {
            self.setup
                .note(SiteNoteKind::ServiceWorker, &info_url, |url| {
                    format!("the service worker {url} is bypassed: requests go to the server")
                });
        }
        if kind == TargetKind::Page {
            state.add_tab(&id, tab);
            if !state.expect_tab {
                let text = format!("a new tab opened: {}", self.setup.logical(&info.url));
                state.notice(NoticeKind::Tab, &text);
                state.active = Some(id.clone());
            }
        }
        drop(state);
        self.set_up(id, kind);
    }

    /// Sends everything a new target needs before it may run, in one go.
    fn set_up(&self, id: String, kind: TargetKind) {
        let session = Some(id.as_str());
        let c = &self.connection;
        let setup = &self.setup;
        drop(c.send(session, NetworkEnable::default()));
        drop(c.send(session, auto_attach()));
        if let Some(guard) = &setup.hold {
            drop(c.send(session, RuntimeEnable::default()));
            drop(c.send(session, AddBindingParams::new(guard.binding.clone())));
            if kind == TargetKind::Worker {
                // It waits with its globals in place.
                drop(c.send(session, EvaluateParams::new(guard.script.clone())));
            } else {
                let script = AddScriptToEvaluateOnNewDocumentParams {
                    run_immediately: Some(true),
                    ..AddScriptToEvaluateOnNewDocumentParams::new(guard.script.clone())
                };
                drop(c.send(session, script));
            }
        }
        if kind != TargetKind::Worker {
            drop(c.send(session, PageEnable::default()));
            drop(c.send(session, RuntimeEnable::default()));
            drop(c.send(session, StorageEnable::default()));
            drop(c.send(session, InspectorEnable::default()));
            drop(c.send(session, LogEnable::default()));
            drop(c.send(session, SetBypassServiceWorkerParams::new(true)));
            drop(c.send(
                session,
                AddScriptToEvaluateOnNewDocumentParams {
                    run_immediately: Some(true),
                    ..AddScriptToEvaluateOnNewDocumentParams::new(setup.init.clone())
                },
            ));
            drop(c.send(
                session,
                AddScriptToEvaluateOnNewDocumentParams {
                    world_name: Some(WORLD.to_owned()),
                    run_immediately: Some(true),
                    ..AddScriptToEvaluateOnNewDocumentParams::new(setup.walk.clone())
                },
            ));
            if kind == TargetKind::Page {
                let (width, height) = setup.viewport;
                drop(c.send(session, SetFocusEmulationEnabledParams::new(true)));
                drop(c.send(
                    session,
                    SetDeviceMetricsOverrideParams::new(
                        i64::from(width),
                        i64::from(height),
                        1.0,
                        false,
                    ),
                ));
            }
        }
        // The requests of a page's own workers pass through the page's session, and theirs refuses this;
        // shared and service workers have their own.
        let stage = |stage| RequestPattern {
            url_pattern: Some("*".to_owned()),
            request_stage: Some(stage),
            ..Default::default()
        };
        let patterns = vec![stage(RequestStage::Request), stage(RequestStage::Response)];
        let enable = FetchEnable {
            patterns: Some(patterns),
            ..FetchEnable::default()
        };
        drop(c.send(session, enable));
        // Replies of one session come in order: when this one is there, all is done.
        let last = c.send(session, RunIfWaitingForDebuggerParams::default());
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            // The lane ends with its browser, which fails this call; no cancellation is needed.
            let done = last.reply(CALL_LIMIT, &Cx::default()).await;
            if let Err(error) = done {
                tracing::debug!(%error, "a target was gone before it was set up");
            }
            if let Some(session) = shared.lock().sessions.get_mut(&id) {
                session.ready = true;
            }
            shared.bump();
        });
    }

    fn detached(&self, event: &SessionEvent) {
        let mut state = self.shared.lock();
        let id = event.session_id.as_str();
        let Some(session) = state.sessions.remove(id) else {
            return;
        };
        state.past.insert(session.target.clone());
        state
            .past
            .extend(session.frames.iter().map(|f| f.id.clone()));
        state.requests.retain(|(owner, _), _| owner != id);
        if session.kind != TargetKind::Page {
            return;
        }
        state.closed = Some(Instant::now());
        state.tabs.retain(|tab| tab != id);
        if state.active.as_deref() == Some(id) {
            let opener = session.opener.and_then(|target| {
                state
                    .tabs
                    .iter()
                    .find(|t| state.sessions[t.as_str()].target == target)
                    .cloned()
            });
            state.active = opener.or_else(|| state.tabs.last().cloned());
            let text = format!("the tab {} closed", self.setup.logical(&session.url));
            state.notice(NoticeKind::Tab, &text);
        }
    }

    fn navigated(&self, session: Option<&str>, frame: NavigatedFrame, from_cache: bool) {
        let Some(id) = session else { return };
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let Some(session) = state.sessions.get_mut(id) else {
            return;
        };
        session.navigating = None;
        let url = format!("{}{}", frame.url, frame.url_fragment.unwrap_or_default());
        if frame.id == session.main_frame() {
            session.url.clone_from(&url);
            session.frames.retain(|f| f.id == frame.id);
            state
                .requests
                .retain(|(owner, _), r| owner != id || r.loader == frame.loader_id);
        }
        let main = frame.id == session.main_frame() && session.kind == TargetKind::Page;
        if main {
            state.arrivals += 1;
            session.document = Some(Document {
                url: session.url.clone(),
                loader: frame.loader_id.clone(),
                status: session
                    .answered
                    .take()
                    .filter(|a| a.0 == frame.loader_id)
                    .map(|a| a.1),
                failed: frame.unreachable_url.map(|url| {
                    let why = session.failed.take().filter(|f| f.0 == frame.loader_id);
                    (
                        url,
                        why.map_or_else(|| "no reason given".to_owned(), |f| f.1),
                    )
                }),
                from_cache,
                socket: None,
                stores: state.stores.found(ledger::origin(&url)),
            });
        }
        let known = session.frame(&frame.id);
        known.url.clone_from(&url);
        if frame.parent_id.is_some() {
            known.parent = frame.parent_id;
        }
        if main && let Some(archive) = &mut state.archive {
            archive.page(&frame.loader_id, &self.setup.logical(&url));
        }
    }

    /// Hears of what scripts of a document's origin keep from now on: it has not arrived yet.
    pub(in crate::env::browser) fn track(&self, session: Option<&str>, url: &str) {
        let mut state = self.shared.lock();
        let Some((id, known)) = session.and_then(|id| Some((id, state.sessions.get_mut(id)?)))
        else {
            return;
        };
        let origin = ledger::origin(url);
        if origin.starts_with("http") && known.tracked.insert(origin.to_owned()) {
            let databases = TrackIndexedDbForOriginParams::new(origin);
            drop(self.connection.send(Some(id), databases));
            let caches = TrackCacheStorageForOriginParams::new(origin);
            drop(self.connection.send(Some(id), caches));
        }
    }

    fn context_created(&self, session: Option<&str>, context: ContextInfo) {
        let Some(aux) = context.aux_data else { return };
        let Some(frame) = aux.frame_id else { return };
        let mut state = self.shared.lock();
        let Some(session) = session.and_then(|id| state.sessions.get_mut(id)) else {
            return;
        };
        if aux.is_default {
            session.frame(&frame).main = Some(context.unique_id);
        } else if context.name == WORLD {
            session.frame(&frame).walk = Some(context.unique_id);
        }
    }

    fn dialog(&self, session: Option<&str>, event: &DialogEvent) {
        let (accept, prompt) = self.setup.dialogs.answer(&event.r#type);
        let prompt = prompt.or_else(|| event.default_prompt.clone());
        drop(self.connection.send(
            session,
            HandleJavaScriptDialogParams {
                accept,
                prompt_text: prompt.filter(|_| accept),
            },
        ));
        let mut state = self.shared.lock();
        state.dialogs += 1;
        if state.dialogs == DIALOG_STORM {
            let text = format!("{DIALOG_STORM} boxes in one action: the page's script was stopped");
            state.notices.push(Notice {
                kind: NoticeKind::Dialog,
                text,
            });
        }
        if state.dialogs >= DIALOG_STORM {
            drop(state);
            drop(
                self.connection
                    .send(session, TerminateExecutionParams::default()),
            );
            return;
        }
        let answer = if accept { "accepted" } else { "dismissed" };
        let text = format!(
            "{} \"{}\" was {answer}",
            event.r#type,
            shorten(&event.message, 200)
        );
        state.notice(NoticeKind::Dialog, &text);
    }

    /// What the browser says to the developers of the page. A tab that a page may not open (from a
    /// sandboxed frame) is said nowhere else.
    fn logged(&self, event: &LogEvent) {
        let blocked = event.entry.text.strip_prefix("Blocked opening '");
        let Some((url, _)) = blocked.and_then(|rest| rest.split_once("' in a new window")) else {
            return;
        };
        if event.entry.source != "security" {
            return;
        }
        let say = |url: &str| format!("the browser did not let the page open a tab: {url}");
        self.setup.note(SiteNoteKind::PopupBlocked, url, say);
        let text = say(&self.setup.logical(url));
        self.shared.lock().notice(NoticeKind::Tab, &text);
    }

    fn download(&self, event: &DownloadEvent) {
        let mut state = self.shared.lock();
        let ours = state
            .sessions
            .values_mut()
            .find(|s| s.frames.iter().any(|f| f.id == event.frame_id));
        let Some(session) = ours else { return };
        session.navigating = None;
        let url = self.setup.logical(&event.url);
        let text = format!(
            "the download {} ({url}) was refused",
            event.suggested_filename
        );
        state.notice(NoticeKind::Download, &text);
    }
}
