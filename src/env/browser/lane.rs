//! A lane: one browser context with its tabs, frames, requests and dialogs.
//!
//! One task per lane reads its events in order and is the only writer of [`LaneState`]; the
//! environment reads it and waits for changes. A context is never shared between lanes: cookies
//! ignore ports.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use chromiumoxide_cdp::cdp::browser_protocol::browser::{
    BrowserContextId, PermissionDescriptor, PermissionSetting, SetDownloadBehaviorBehavior,
    SetDownloadBehaviorParams, SetPermissionParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::dom_storage::EnableParams as StorageEnable;
use chromiumoxide_cdp::cdp::browser_protocol::emulation::{
    SetDeviceMetricsOverrideParams, SetFocusEmulationEnabledParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::fetch::{
    ContinueRequestParams, ContinueResponseParams, EnableParams as FetchEnable, FailRequestParams,
    FulfillRequestParams, GetResponseBodyParams, HeaderEntry, RequestPattern, RequestStage,
};
use chromiumoxide_cdp::cdp::browser_protocol::inspector::EnableParams as InspectorEnable;
use chromiumoxide_cdp::cdp::browser_protocol::log::EnableParams as LogEnable;
use chromiumoxide_cdp::cdp::browser_protocol::network::{
    Cookie, CookieParam, EnableParams as NetworkEnable, ErrorReason,
    GetResponseBodyParams as NetworkBodyParams, SetBypassServiceWorkerParams, TimeSinceEpoch,
};
use chromiumoxide_cdp::cdp::browser_protocol::page::{
    AddScriptToEvaluateOnNewDocumentParams, EnableParams as PageEnable,
    HandleJavaScriptDialogParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::storage::{
    ClearCookiesParams, GetCookiesParams, SetCookiesParams, TrackCacheStorageForOriginParams,
    TrackIndexedDbForOriginParams,
};
use chromiumoxide_cdp::cdp::browser_protocol::target::{
    CreateBrowserContextParams, CreateTargetParams, DisposeBrowserContextParams,
};
use chromiumoxide_cdp::cdp::js_protocol::runtime::{
    AddBindingParams, EnableParams as RuntimeEnable, EvaluateParams, ExecutionContextId,
    RunIfWaitingForDebuggerParams, TerminateExecutionParams,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::archive::Archive;
use super::connection::{CALL_LIMIT, CdpError, Connection, Event, auto_attach};
use super::gate::Pass;
use super::kept::RestoreLimits;
use super::ledger::{self, Fate, Ledger, RequestBody, Told};
use super::netlog::{Answer, Bodies, NetLog, Reply};
use super::rehome;
use super::stores::{Known, Place, Stores};
use super::volatile::{Learned, Mask};
use super::world::{DialogPolicy, Rest};
use crate::context::{Cx, Interrupted};
use crate::env::notes::SiteNotes;
use crate::env::page::shorten;
use crate::env::page::writes::{self, Permits};
use crate::types::{
    Effect, EffectKind, EffectRules, MissReason, Notice, NoticeKind, RequestClass, RequestUse,
    SiteNoteKind,
};

/// Name of the isolated world that holds the walk.
pub(super) const WORLD: &str = "branchline";
/// Notices of one kind of trouble that are kept per action; the rest is counted.
const MAX_NOTICES: usize = 20;
/// How long after its end a tab's last requests are waited for; they come within a few milliseconds.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// What follows from a response that is not kept.
const ONLY_REPLAY: &str = "pages that ask for it are only come back to by replay";
/// A page that opens more boxes than this within one action has its script stopped.
const DIALOG_STORM: u32 = 40;

/// What a lane does to every page before its first script runs.
#[derive(Debug, Clone)]
pub(super) struct LaneSetup {
    /// Main-world script: seeds, clocks, quiet detection.
    pub init: String,
    /// Isolated-world script: the walk.
    pub walk: String,
    /// Viewport in CSS pixels.
    pub viewport: (u32, u32),
    /// How rest is recognised.
    pub rest: Rest,
    /// Set where writes are stopped before they leave.
    pub hold: Option<SocketGuard>,
    /// What the task says of its requests.
    pub rules: EffectRules,
    /// Whether the exchanges are collected for an archive.
    pub archive: bool,
    /// How boxes are answered.
    pub dialogs: DialogPolicy,
    /// Real origin and its logical name, for notices and effects.
    pub origin: (String, String),
    /// What the site shows differently with every load, once that is known.
    pub learned: Arc<OnceLock<Learned>>,
    /// What is peculiar about it.
    pub notes: Arc<SiteNotes>,
    /// How much of the responses is kept.
    pub limits: RestoreLimits,
    /// Where their bodies are.
    pub bodies: Arc<Bodies>,
}

/// What holds the frames of sockets, in pages and workers.
#[derive(Debug, Clone)]
pub(super) struct SocketGuard {
    /// Main-world script of every page and worker.
    pub script: String,
    /// Name of the function by which it tells.
    pub binding: String,
    /// Expression of its hook.
    pub hook: String,
    /// What the hook must be given.
    pub key: String,
}

impl LaneSetup {
    /// What is left out of digests.
    pub(super) fn mask(&self) -> Arc<Mask> {
        let learned = self.learned.get();
        learned
            .map(|learned| Arc::clone(&learned.mask))
            .unwrap_or_default()
    }

    /// `url` with the site's own origin by its logical name.
    pub(super) fn logical(&self, url: &str) -> String {
        // `ws://host` is the socket of `http://host`, `wss://host` of `https://host`.
        match url.strip_prefix("ws") {
            Some(rest) if rest.starts_with("://") || rest.starts_with("s://") => {
                let page = rebase(&format!("http{rest}"), &self.origin.0, &self.origin.1);
                page.replacen("http", "ws", 1)
            }
            _ => rebase(url, &self.origin.0, &self.origin.1),
        }
    }

    /// Notes something about the site, met at a real URL; `what` says it with the logical URL, without
    /// query. Whether it is new.
    pub(super) fn note(
        &self,
        kind: SiteNoteKind,
        url: &str,
        what: impl FnOnce(&str) -> String,
    ) -> bool {
        let url = self.logical(url);
        let bare = &url[..url.find(['?', '#']).unwrap_or(url.len())];
        self.notes.add(kind, what(&shorten(bare, 200)))
    }

    /// A response without end is not kept.
    fn endless(&self, log: &mut NetLog, network: &str, url: &str) {
        log.not_kept(network, MissReason::Stream);
        self.note(SiteNoteKind::Stream, url, |url| {
            format!("the response of {url} has no end (events, or media): {ONLY_REPLAY}")
        });
    }

    /// A response that is too large is not kept.
    fn too_large(&self, log: &mut NetLog, network: &str, url: &str) {
        log.not_kept(network, MissReason::TooLarge);
        self.note(SiteNoteKind::TooLarge, url, |url| {
            let kib = self.limits.response >> 10;
            format!(
                "the response of {url} is larger than the {kib} KiB that are kept: {ONLY_REPLAY}"
            )
        });
    }

    /// Where a cookie of this domain belongs.
    fn cookie_origin(&self, domain: &str) -> String {
        let host = domain.trim_start_matches('.');
        let (real, logical) = &self.origin;
        if host == self::host(real) {
            logical.clone()
        } else {
            format!("http://{host}")
        }
    }

    /// What a request is, by its logical URL.
    fn class(&self, method: &str, url: &str, r#use: RequestUse) -> RequestClass {
        self.rules.class(method, url, &self.origin.1, r#use)
    }

    /// Text of a page, with the address of the site's server by the logical name.
    pub(super) fn shown(&self, text: String) -> String {
        let (real, logical) = &self.origin;
        if real == logical {
            return text;
        }
        rehome::shown(&text, real, logical).unwrap_or(text)
    }

    /// `url` with the logical origin replaced by the real one.
    pub(super) fn real(&self, url: &str) -> String {
        rebase(url, &self.origin.1, &self.origin.0)
    }
}

/// Host of an absolute URL, without port.
fn host(url: &str) -> &str {
    let origin = ledger::origin(url);
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    match host.rsplit_once(':') {
        // `[::1]`: the last colon is inside the address.
        Some((name, port)) if !port.ends_with(']') => name,
        Some(_) | None => host,
    }
}

/// Whether a host is this machine or one of its own network.
fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn rebase(url: &str, from: &str, to: &str) -> String {
    match url.strip_prefix(from) {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?', '#']) => format!("{to}{rest}"),
        _ => url.to_owned(),
    }
}

/// What kind of target a session belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetKind {
    Page,
    Frame,
    Worker,
}

/// A frame with its two script contexts (unique ids).
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    pub id: String,
    pub parent: Option<String>,
    pub url: String,
    pub main: Option<String>,
    pub walk: Option<String>,
}

/// One attached session.
#[derive(Debug)]
pub(super) struct Session {
    pub target: String,
    pub kind: TargetKind,
    pub opener: Option<String>,
    pub ready: bool,
    pub url: String,
    pub loading: bool,
    pub navigating: Option<Instant>,
    /// The latest document response: its loader and HTTP status.
    answered: Option<(String, i64)>,
    /// The latest document that could not be loaded: its loader and why.
    failed: Option<(String, String)>,
    /// In attach order, which is the order of `window.frames`.
    pub frames: Vec<Frame>,
    /// Origins whose stores it tells of.
    tracked: HashSet<String>,
}

impl Session {
    /// The main frame's id: for pages and out-of-process frames it is the target's.
    fn main_frame(&self) -> &str {
        &self.target
    }

    fn frame(&mut self, id: &str) -> &mut Frame {
        let at = self
            .frames
            .iter()
            .position(|f| f.id == id)
            .unwrap_or_else(|| {
                self.frames.push(Frame {
                    id: id.to_owned(),
                    ..Frame::default()
                });
                self.frames.len() - 1
            });
        &mut self.frames[at]
    }
}

#[derive(Debug)]
struct InFlight {
    loader: String,
    since: Instant,
    blocks_long: bool,
}

/// Everything known of a lane's pages.
#[derive(Debug, Default)]
pub(super) struct LaneState {
    pub sessions: HashMap<String, Session>,
    /// Page sessions in opening order.
    pub tabs: Vec<String>,
    pub active: Option<String>,
    requests: HashMap<(String, String), InFlight>,
    /// Counts requests that began or ended: between two of a chain none is in flight.
    pub activity: u64,
    pub notices: Vec<Notice>,
    dropped_notices: u32,
    pub ledger: Ledger,
    /// The exchanges, where they are collected.
    pub archive: Option<Archive>,
    /// Reads that were let pass and are not answered yet: method and URL by the browser's id.
    asked: HashMap<String, (String, String)>,
    /// When a tab last closed.
    closed: Option<Instant>,
    /// Frames of tabs that closed: what they sent last is still theirs.
    past: HashSet<String>,
    dialogs: u32,
    /// Why the lane cannot be used any more.
    pub dead: Option<String>,
    /// The data of a drag that the browser handed over (HTML5 drag and drop).
    pub drag: Option<Value>,
    /// Whether requests go to the network or are answered from a log.
    pub traffic: Traffic,
    /// Responses of this lane's documents.
    pub log: NetLog,
    /// The active tab's document.
    pub document: Option<Document>,
    /// Counts documents that arrived, those from the back/forward cache included.
    pub arrivals: u64,
    /// Responses without a length that were let through: their bodies are read at their end.
    unread: HashMap<String, BodyRecorder>,
    /// Bodies that are being read now.
    pub reading: u32,
    /// Set while the environment itself opens a tab, so that it is not reported.
    expect_tab: bool,
    /// What scripts have kept in databases and caches, as far as it was read.
    pub stores: Known,
}

/// The main frame's document of a tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub session: String,
    /// Real URL, without fragment.
    pub url: String,
    /// Its loader, which is also the id of its request.
    pub loader: String,
    /// HTTP status it came with, once that is known.
    pub status: Option<i64>,
    /// The browser's own page stands in its place: the URL that could not be loaded, and why.
    pub failed: Option<(String, String)>,
    /// Whether the browser had kept it and went back to it.
    pub from_cache: bool,
    /// The `WebSocket` that it opened, by URL.
    pub socket: Option<String>,
    /// The databases and caches it found.
    pub stores: Stores,
}

/// What becomes of requests.
#[derive(Debug, Default)]
pub(super) enum Traffic {
    /// They go to the network; what comes back is kept in the lane's log.
    #[default]
    Record,
    /// They are answered from a log; none goes to the network.
    Replay {
        log: NetLog,
        /// Where the restored document's requests begin.
        from: usize,
        /// Answers that were given already.
        used: Vec<bool>,
        /// The first request that the log could not answer, and why.
        missed: Option<(MissReason, String)>,
        /// The URL that is answered with an empty page: where stores are put in place.
        blank: Option<String>,
    },
}

impl Traffic {
    /// Answers from a log, for the document whose requests begin at `from`.
    pub(super) fn replay(log: NetLog, from: usize) -> Self {
        Self::Replay {
            log,
            from,
            used: Vec::new(),
            missed: None,
            blank: None,
        }
    }
}

/// The answer that is a page without content.
fn empty_page(request: String) -> FulfillRequestParams {
    FulfillRequestParams {
        response_headers: Some(vec![HeaderEntry::new("content-type", "text/html")]),
        ..FulfillRequestParams::new(request, 200)
    }
}

impl LaneState {
    /// The session of the active tab.
    pub(super) fn active(&self) -> Option<(&str, &Session)> {
        let id = self.active.as_deref()?;
        Some((id, self.sessions.get(id)?))
    }

    fn notice(&mut self, kind: NoticeKind, text: &str) {
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(Notice {
                kind,
                text: shorten(text, 300),
            });
        } else {
            self.dropped_notices += 1;
        }
    }

    /// Takes what happened since the last call.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        let mut notices = std::mem::take(&mut self.notices);
        let dropped = std::mem::take(&mut self.dropped_notices);
        if dropped > 0 {
            notices.push(Notice {
                kind: NoticeKind::Other,
                text: format!("… and {dropped} more"),
            });
        }
        notices
    }

    /// Forgets effects and the dialog count: an action begins, which may send these writes.
    pub(super) fn begin_action(&mut self, permits: Option<Permits>) {
        self.ledger.begin(permits);
        self.dialogs = 0;
        self.drag = None;
    }

    /// The script context of a tab's main frame that no page reaches, if the frame is of this origin.
    pub(super) fn place(&self, tab: &str, origin: &str) -> Option<Place> {
        let session = self.sessions.get(tab)?;
        let main = session.frames.iter().find(|f| f.id == session.target)?;
        let context = main
            .walk
            .clone()
            .filter(|_| ledger::origin(&main.url) == origin)?;
        Some(Place {
            session: tab.to_owned(),
            context: Some(context),
        })
    }

    /// Whether something is under way that a settled page would not have: the active page loads,
    /// is about to navigate, or waits for a request. Background polls (older than `long`) and
    /// streams do not count.
    pub(super) fn busy(&self, long: Duration) -> bool {
        let Some((id, session)) = self.active() else {
            return false;
        };
        if !session.ready || session.loading {
            return true;
        }
        if session
            .navigating
            .is_some_and(|since| since.elapsed() < Duration::from_secs(2))
        {
            return true;
        }
        self.requests.iter().any(|((owner, _), request)| {
            self.belongs(owner, id) && (request.blocks_long || request.since.elapsed() < long)
        })
    }

    fn belongs(&self, session: &str, page: &str) -> bool {
        // Workers and out-of-process frames have sessions of their own; there are few of either.
        session == page
            || self
                .sessions
                .get(session)
                .is_none_or(|s| s.kind != TargetKind::Page)
    }
}

struct Shared {
    state: Mutex<LaneState>,
    version: watch::Sender<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bump(&self) {
        self.version.send_modify(|v| *v += 1);
    }
}

/// A browser context with its event task. Dropping it disposes of the context.
pub(super) struct Lane {
    pub connection: Connection,
    pub setup: Arc<LaneSetup>,
    context: String,
    shared: Arc<Shared>,
}

impl Lane {
    /// Creates a context and opens its first, blank tab.
    pub(super) async fn create(
        connection: &Connection,
        setup: Arc<LaneSetup>,
        cx: &Cx,
    ) -> Result<Self, CdpError> {
        let created = connection
            .call(
                None,
                CreateBrowserContextParams {
                    dispose_on_detach: Some(true),
                    ..CreateBrowserContextParams::default()
                },
                cx,
            )
            .await?;
        let context = created.browser_context_id.inner().clone();
        let (sender, events) = mpsc::unbounded_channel();
        let (version, _) = watch::channel(0);
        let state = LaneState {
            archive: setup.archive.then(Archive::default),
            ..LaneState::default()
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            version,
        });
        connection.route(&context, sender);
        tokio::spawn(follow(
            connection.clone(),
            Arc::clone(&setup),
            Arc::clone(&shared),
            events,
        ));
        let lane = Self {
            connection: connection.clone(),
            setup,
            context,
            shared,
        };
        let downloads = connection.send(
            None,
            SetDownloadBehaviorParams {
                behavior: SetDownloadBehaviorBehavior::Deny,
                browser_context_id: Some(BrowserContextId::new(lane.context.clone())),
                download_path: None,
                events_enabled: Some(true),
            },
        );
        lane.grant_own_network();
        lane.open_tab("about:blank", cx).await?;
        downloads.reply(CALL_LIMIT, cx).await?;
        Ok(lane)
    }

    /// A document that a restore answers from the log comes from no address, and the browser then takes
    /// a site on this machine or its network for a stranger to it: its sockets would be refused. Older
    /// browsers do not know the permission, nor do they ask for it.
    fn grant_own_network(&self) {
        let origin = &self.setup.origin.0;
        if is_local(host(origin)) {
            for own in ["loopback-network", "local-network"] {
                let grant = SetPermissionParams {
                    origin: Some(origin.clone()),
                    browser_context_id: Some(BrowserContextId::new(self.context.clone())),
                    ..SetPermissionParams::new(
                        PermissionDescriptor::new(own),
                        PermissionSetting::Granted,
                    )
                };
                drop(self.connection.send(None, grant));
            }
        }
    }

    /// Opens a tab, makes it the active one and waits until it is set up.
    pub(super) async fn open_tab(&self, url: &str, cx: &Cx) -> Result<String, CdpError> {
        self.lock().expect_tab = true;
        let params = CreateTargetParams {
            browser_context_id: Some(BrowserContextId::new(self.context.clone())),
            ..CreateTargetParams::new(url)
        };
        let target = self
            .connection
            .call(None, params, cx)
            .await?
            .target_id
            .inner()
            .clone();
        let ready = self.wait(CALL_LIMIT, cx, |state| {
            let found = state.sessions.iter().find(|(_, s)| s.target == target)?;
            found.1.ready.then(|| found.0.clone())
        });
        let session = ready.await.map_err(|why| CdpError::Interrupted {
            method: "Target.createTarget".to_owned(),
            why,
        })?;
        let mut state = self.lock();
        state.expect_tab = false;
        let session = session.ok_or_else(|| CdpError::Gone {
            method: "Target.createTarget".to_owned(),
            what: "the browser",
        })?;
        state.active = Some(session.clone());
        Ok(session)
    }

    /// The state, for reading and for taking reports out.
    pub(super) fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.shared.lock()
    }

    /// Waits until `test` gives something; `None` if the lane died first.
    pub(super) async fn wait<T>(
        &self,
        limit: Duration,
        cx: &Cx,
        mut test: impl FnMut(&mut LaneState) -> Option<T>,
    ) -> Result<Option<T>, Interrupted> {
        let mut version = self.shared.version.subscribe();
        cx.bounded(limit, async {
            loop {
                version.mark_unchanged();
                {
                    let mut state = self.lock();
                    if let Some(found) = test(&mut state) {
                        return Some(found);
                    }
                    if state.dead.is_some() {
                        return None;
                    }
                }
                if version.changed().await.is_err() {
                    return None;
                }
            }
        })
        .await
    }

    /// The lane's cookies.
    pub(super) async fn cookies(&self, cx: &Cx) -> Result<Vec<Cookie>, CdpError> {
        let params = GetCookiesParams {
            browser_context_id: Some(BrowserContextId::new(self.context.clone())),
        };
        Ok(self.connection.call(None, params, cx).await?.cookies)
    }

    /// Notes what changed in the lane's cookies since the last time; the sessions that have another
    /// value now, each cookie with its origin.
    pub(super) async fn note_cookies(&self, cx: &Cx) -> Result<Vec<(String, String)>, CdpError> {
        let now = self.cookies(cx).await?;
        let logical = |domain: &str| self.setup.cookie_origin(domain);
        Ok(self.lock().ledger.cookies(&now, logical))
    }

    /// Where writes are held and a tab has just closed: waits for what it sent last, which the gate
    /// tells of a moment later and no event announces.
    pub(super) async fn hear_last_words(&self, cx: &Cx) -> Result<(), CdpError> {
        let closed = self.lock().closed.take();
        let Some(closed) = closed.filter(|_| self.setup.hold.is_some()) else {
            return Ok(());
        };
        let left = LAST_WORDS.saturating_sub(closed.elapsed());
        match self.wait(left, cx, |_| None::<()>).await {
            Ok(_) | Err(Interrupted::Timeout(_)) => Ok(()),
            Err(why) => Err(CdpError::Interrupted {
                method: "the end of a tab".to_owned(),
                why,
            }),
        }
    }

    /// Replaces all of the lane's cookies.
    pub(super) async fn set_cookies(&self, cookies: &[Cookie], cx: &Cx) -> Result<(), CdpError> {
        let context = || Some(BrowserContextId::new(self.context.clone()));
        let clear = self.connection.send(
            None,
            ClearCookiesParams {
                browser_context_id: context(),
            },
        );
        let params = SetCookiesParams {
            cookies: cookies.iter().map(cookie_param).collect(),
            browser_context_id: context(),
        };
        // The protocol refuses an empty list.
        let set = (!cookies.is_empty()).then(|| self.connection.send(None, params));
        clear.reply(CALL_LIMIT, cx).await?;
        match set {
            Some(set) => set.reply(CALL_LIMIT, cx).await.map(drop),
            None => Ok(()),
        }
    }

    /// An error if the lane's browser or renderer is gone.
    pub(super) fn alive(&self) -> Result<(), CdpError> {
        match self.lock().dead {
            Some(_) => Err(CdpError::Gone {
                method: "the lane".to_owned(),
                what: "the browser",
            }),
            None => Ok(()),
        }
    }

    /// The session of the active tab.
    pub(super) fn session(&self) -> Result<String, CdpError> {
        let state = self.lock();
        let gone = || CdpError::Gone {
            method: "the active tab".to_owned(),
            what: "the page",
        };
        if state.dead.is_some() {
            return Err(gone());
        }
        state.active().map(|(id, _)| id.to_owned()).ok_or_else(gone)
    }
}

fn cookie_param(cookie: &Cookie) -> CookieParam {
    CookieParam {
        domain: Some(cookie.domain.clone()),
        path: Some(cookie.path.clone()),
        secure: Some(cookie.secure),
        http_only: Some(cookie.http_only),
        same_site: cookie.same_site.clone(),
        expires: (!cookie.session).then(|| TimeSinceEpoch::new(cookie.expires)),
        ..CookieParam::new(cookie.name.clone(), cookie.value.clone())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.connection.unroute(&self.context);
        // Nobody waits for the reply: the browser disposes in its own time.
        drop(self.connection.send(
            None,
            DisposeBrowserContextParams::new(BrowserContextId::new(self.context.clone())),
        ));
    }
}

/// The lane's event task.
async fn follow(
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

struct Follower {
    connection: Connection,
    setup: Arc<LaneSetup>,
    shared: Arc<Shared>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachedEvent {
    session_id: String,
    target_info: TargetInfo,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetInfo {
    target_id: String,
    r#type: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    opener_id: Option<String>,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionEvent {
    session_id: String,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FrameEvent {
    frame_id: String,
    #[serde(default)]
    parent_frame_id: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    disposition: Option<String>,
}
#[derive(Deserialize)]
struct NavigatedEvent {
    frame: NavigatedFrame,
    #[serde(default)]
    r#type: String,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NavigatedFrame {
    id: String,
    #[serde(default)]
    parent_id: Option<String>,
    #[serde(default)]
    loader_id: String,
    url: String,
    #[serde(default)]
    url_fragment: Option<String>,
    #[serde(default)]
    unreachable_url: Option<String>,
}
#[derive(Deserialize)]
struct ContextCreated {
    context: ContextInfo,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContextInfo {
    unique_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    aux_data: Option<ContextAux>,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContextAux {
    #[serde(default)]
    frame_id: Option<String>,
    #[serde(default)]
    is_default: bool,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContextDestroyed {
    #[serde(default)]
    execution_context_unique_id: String,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestEvent {
    request_id: String,
    #[serde(default)]
    loader_id: String,
    request: RequestBody,
    #[serde(default)]
    r#type: String,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PausedEvent {
    request_id: String,
    request: RequestBody,
    #[serde(default)]
    network_id: String,
    #[serde(default)]
    frame_id: String,
    #[serde(default)]
    resource_type: String,
    #[serde(default)]
    response_status_code: Option<i64>,
    #[serde(default)]
    response_error_reason: Option<String>,
    /// The request whose redirection this one follows.
    #[serde(default)]
    redirected_request_id: Option<String>,
    #[serde(default)]
    response_headers: Vec<HeaderEntry>,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseEvent {
    request_id: String,
    #[serde(default)]
    loader_id: String,
    #[serde(default)]
    r#type: String,
    response: ResponseInfo,
}
/// What the network says of a response beside it: its headers as they came.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtraInfo {
    request_id: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}
#[derive(Deserialize)]
struct ResponseInfo {
    status: i64,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestDone {
    request_id: String,
    #[serde(default)]
    encoded_data_length: f64,
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    error_text: String,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SocketFrame {
    request_id: String,
    response: SocketPayload,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SocketEvent {
    request_id: String,
    #[serde(default)]
    url: String,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingEvent {
    name: String,
    payload: String,
    execution_context_id: i64,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredEvent {
    storage_id: StorageId,
    #[serde(default)]
    key: String,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StorageId {
    #[serde(default)]
    security_origin: String,
    #[serde(default)]
    storage_key: String,
    is_local_storage: bool,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct DatabaseEvent {
    origin: String,
    database_name: String,
    object_store_name: String,
    cache_name: String,
}
#[derive(Deserialize)]
struct MilestoneEvent {
    timestamp: f64,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SocketPayload {
    #[serde(default)]
    payload_data: String,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DialogEvent {
    message: String,
    r#type: String,
    #[serde(default)]
    default_prompt: Option<String>,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DownloadEvent {
    frame_id: String,
    url: String,
    #[serde(default)]
    suggested_filename: String,
}
#[derive(Deserialize)]
struct LogEvent {
    entry: LogEntry,
}
#[derive(Deserialize)]
struct LogEntry {
    #[serde(default)]
    source: String,
    #[serde(default)]
    text: String,
}
#[derive(Deserialize)]
struct DragEvent {
    data: Value,
}

impl PausedEvent {
    fn r#use(&self) -> RequestUse {
        match self.resource_type.as_str() {
            "Document" | "XHR" | "Fetch" | "Ping" | "Other" | "EventSource" | "" => {
                RequestUse::Main
            }
            _ => RequestUse::Part,
        }
    }
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
                if let Some(document) = &mut state.document {
                    document.socket.get_or_insert(socket.url);
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

    fn ended(&self, session: &str, request: String) {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        state.asked.remove(&request);
        let worker = state.sessions.get(session);
        let worker = worker.is_some_and(|s| s.kind == TargetKind::Worker);
        let before = state.requests.len();
        if worker {
            // A worker's script is asked for in the page's session and ends in the worker's.
            state.requests.retain(|(_, id), _| *id != request);
        } else {
            state.requests.remove(&(session.to_owned(), request));
        }
        if state.requests.len() < before {
            state.activity += 1;
        }
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

    /// A write that a tab or frame of this lane sent while it closed: the gate stopped it.
    fn left_behind(&self, event: &PausedEvent) {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let frame = &event.frame_id;
        let live = |s: &Session| s.target == *frame || s.frames.iter().any(|f| f.id == *frame);
        let ours = state.past.contains(frame) || state.sessions.values().any(live);
        if !ours || !matches!(state.traffic, Traffic::Record) {
            return;
        }
        let url = self.setup.logical(&event.request.url);
        let class = self.setup.class(&event.request.method, &url, event.r#use());
        state.ledger.gone(class, event.request.effect(url));
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
                opener: info.opener_id,
                ready: false,
                url: info.url.clone(),
                loading: false,
                navigating: None,
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
            state.tabs.push(id.clone());
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
        if main && state.active.as_deref() == Some(id) {
            state.arrivals += 1;
            state.document = Some(Document {
                session: id.to_owned(),
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
    fn track(&self, session: Option<&str>, url: &str) {
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

    fn request(&self, session: Option<&str>, event: RequestEvent) {
        let Some(session) = session else { return };
        let url = &event.request.url;
        let quiet = matches!(
            event.r#type.as_str(),
            "WebSocket" | "EventSource" | "Ping" | "Prefetch" | "CSPViolationReport" | "Media"
        );
        let local = url.starts_with("data:") || url.starts_with("blob:");
        let mut state = self.shared.lock();
        if !quiet && !local {
            state.activity += 1;
            let blocks_long = matches!(event.r#type.as_str(), "Document" | "Script" | "Stylesheet");
            state.requests.insert(
                (session.to_owned(), event.request_id),
                InFlight {
                    loader: event.loader_id,
                    since: Instant::now(),
                    blocks_long,
                },
            );
        }
    }

    /// Every request passes here, before it leaves and when its response is there.
    fn paused(&self, session: Option<&str>, event: PausedEvent) {
        let id = event.request_id.clone();
        if event.response_status_code.is_some() || event.response_error_reason.is_some() {
            self.response(session, event);
            return;
        }
        if event.resource_type == "Document" {
            self.track(session, &event.request.url);
        }
        let url = self.setup.logical(&event.request.url);
        let method = event.request.method.as_str();
        let class = self.setup.class(method, &url, event.r#use());
        let hold = self.setup.hold.is_some();
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        if let Traffic::Replay {
            log,
            from,
            used,
            missed,
            blank,
        } = &mut state.traffic
        {
            if blank.as_ref() == Some(&event.request.url) {
                drop(guard);
                drop(self.connection.send(session, empty_page(id)));
                return;
            }
            let reply = log.reply(*from, used, method, &url);
            let stopped = class == RequestClass::Ignored || hold && class == RequestClass::Write;
            if reply.is_err() && stopped {
                // It was stopped then, too.
                drop(guard);
                drop(
                    self.connection
                        .send(session, FulfillRequestParams::new(id, 204)),
                );
                return;
            }
            if let Err(reason) = &reply {
                missed.get_or_insert((*reason, format!("{method} {url}")));
            }
            drop(guard);
            self.replayed(session, id, reply.ok());
            return;
        }
        let before = event.redirected_request_id.as_ref();
        let before = before.and_then(|_| state.log.latest(&event.network_id));
        let goes_on = before.is_some_and(|(sent, from)| {
            self.setup.class(sent, from, event.r#use()) == RequestClass::Write
                && writes::repeats((sent, from), (method, &url))
        });
        let effect = || event.request.effect(url.clone());
        let fate = state.ledger.request(class, hold && !goes_on, effect, &url);
        if fate == Fate::Stopped {
            // What may change a server does not leave. A 204 keeps the page in place, also for a
            // form's navigation (a refused document would replace it by an error page).
            if let Some(archive) = &mut state.archive {
                archive.held(&event.network_id);
            }
            drop(guard);
            let empty = FulfillRequestParams::new(id, 204);
            drop(self.connection.send(session, empty));
            return;
        }
        state.log.asked(&event.network_id, method, &url);
        if class == RequestClass::Read {
            let asked = (method.to_owned(), event.request.url.clone());
            state.asked.insert(event.network_id.clone(), asked);
        }
        drop(guard);
        if hold {
            self.connection.pass(Pass {
                network: event.network_id,
                method: event.request.method,
                url: event.request.url,
            });
        }
        let go_on = ContinueRequestParams::new(id);
        drop(self.connection.send(session, go_on));
    }

    /// Answers a repeated request. One that the log does not hold is broken off: the restore then
    /// takes another way.
    fn replayed(&self, session: Option<&str>, id: String, reply: Option<Reply>) {
        let answer = match reply {
            Some(Reply::Answer(answer)) => answer,
            Some(Reply::Fail) | None => {
                let aborted = FailRequestParams::new(id, ErrorReason::Aborted);
                drop(self.connection.send(session, aborted));
                return;
            }
        };
        let kept = answer.body.as_str().to_owned();
        let body = rehome::answer(kept, &answer.headers, &self.setup.origin.0);
        let answer = FulfillRequestParams {
            response_headers: Some(answer.headers.clone()),
            body: Some(body.into()),
            ..FulfillRequestParams::new(id, answer.status)
        };
        drop(self.connection.send(session, answer));
    }

    /// Keeps a response and lets it through. What has no length passes at once, so that a page that
    /// is sent in parts (or without end) is shown in parts; its body is read at its end.
    fn response(&self, session: Option<&str>, event: PausedEvent) {
        let id = event.request_id.clone();
        let network = event.network_id.clone();
        let Some(status) = event.response_status_code.filter(|status| *status > 0) else {
            // A request that failed has no response to go on with.
            self.shared.lock().log.failed(&network);
            drop(
                self.connection
                    .send(session, ContinueRequestParams::new(id)),
            );
            return;
        };
        let header = |name: &str| {
            let found = event
                .response_headers
                .iter()
                .find(|h| h.name.eq_ignore_ascii_case(name));
            found.map(|h| h.value.as_str())
        };
        let let_through = || {
            drop(
                self.connection
                    .send(session, ContinueResponseParams::new(id.clone())),
            );
        };
        let length = header("content-length").and_then(|v| v.parse::<usize>().ok());
        let stream = matches!(event.resource_type.as_str(), "EventSource" | "Media")
            || header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        if stream {
            let mut state = self.shared.lock();
            self.setup
                .endless(&mut state.log, &network, &event.request.url);
            return let_through();
        }
        if length.is_some_and(|length| length > self.setup.limits.response) {
            let mut state = self.shared.lock();
            self.setup
                .too_large(&mut state.log, &network, &event.request.url);
            return let_through();
        }
        let redirect = (300..400).contains(&status) && header("location").is_some();
        // A download is refused, so its body is nothing to come back to.
        let download =
            header("content-disposition").is_some_and(|how| how.starts_with("attachment"));
        let bodyless = redirect
            || download
            || matches!(status, 204 | 304)
            || length == Some(0)
            || event.request.method == "HEAD";
        let url = self.setup.logical(&event.request.url);
        let headers = self.kept_headers(event.response_headers);
        let recorder = BodyRecorder {
            setup: Arc::clone(&self.setup),
            shared: Arc::clone(&self.shared),
            network,
            url,
            status,
            headers,
        };
        if bodyless {
            recorder.keep(String::new());
            return let_through();
        }
        let mut state = self.shared.lock();
        if length.is_none() {
            state.unread.insert(recorder.network.clone(), recorder);
            drop(state);
            return let_through();
        }
        state.reading += 1;
        drop(state);
        let call = self
            .connection
            .send(session, GetResponseBodyParams::new(id.clone()));
        let (connection, session) = (self.connection.clone(), session.map(str::to_owned));
        tokio::spawn(async move {
            let reply = call.reply(CALL_LIMIT, &Cx::default()).await;
            recorder.read(reply.ok().map(|r| (r.body, r.base64_encoded)));
            drop(connection.send(session.as_deref(), ContinueResponseParams::new(id)));
        });
    }

    /// Headers as a restore answers them: the body is kept decoded, cookies are restored on their
    /// own, and a redirection goes by path where it can (another lane's server has another port).
    fn kept_headers(&self, mut headers: Vec<HeaderEntry>) -> Vec<HeaderEntry> {
        const DROPPED: [&str; 4] = [
            "content-encoding",
            "content-length",
            "transfer-encoding",
            "set-cookie",
        ];
        headers.retain(|h| !DROPPED.contains(&h.name.to_ascii_lowercase().as_str()));
        for header in &mut headers {
            if header.name.eq_ignore_ascii_case("location") {
                let logical = self.setup.logical(&header.value);
                let path = logical.strip_prefix(&self.setup.origin.1);
                if let Some(path) = path.filter(|path| path.starts_with('/')) {
                    // What begins with two slashes would be a host.
                    let dot = if path.starts_with("//") { "/." } else { "" };
                    header.value = format!("{dot}{path}");
                }
            }
        }
        headers
    }

    /// A request has ended: reads its body, if it was let through unread.
    fn read_late(&self, session: &str, done: &RequestDone, failed: bool) {
        let mut state = self.shared.lock();
        let recorder = state.unread.remove(&done.request_id);
        if failed {
            state.log.failed(&done.request_id);
            return;
        }
        let Some(recorder) = recorder else { return };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let most = self.setup.limits.response as f64;
        if done.encoded_data_length > most {
            self.setup
                .too_large(&mut state.log, &done.request_id, &recorder.url);
            return;
        }
        state.reading += 1;
        drop(state);
        let params = NetworkBodyParams::new(done.request_id.clone());
        let call = self.connection.send(Some(session), params);
        tokio::spawn(async move {
            let reply = call.reply(CALL_LIMIT, &Cx::default()).await;
            recorder.read(reply.ok().map(|r| (r.body, r.base64_encoded)));
        });
    }

    /// A read that deletes a cookie which was there may have ended the session: it is said, and where
    /// the cookie looks like a session's own, the read counts as a write that was sent.
    fn watch_cookies(&self, event: &ExtraInfo) {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let Some((method, real)) = state.asked.remove(&event.request_id) else {
            return;
        };
        let set = event.headers.iter();
        let set = set.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let url = self.setup.logical(&real);
        let names: Vec<String> = set
            .flat_map(|(_, lines)| state.ledger.deleted(lines, host(&real)))
            .collect();
        for name in names {
            let session = ledger::is_session(&name);
            let more = if session {
                ": it may have ended the session"
            } else {
                ""
            };
            let text = format!("{method} {url} deleted the cookie {name}{more}");
            state.notice(NoticeKind::Network, &text);
            if session {
                let note = |url: &str| format!("{method} {url} deleted the cookie {name}{more}");
                self.setup.note(SiteNoteKind::SessionEnded, &real, note);
                state.ledger.sent(Effect {
                    kind: EffectKind::Write,
                    method: method.clone(),
                    url: url.clone(),
                    headers: Vec::new(),
                    body: None,
                    held: false,
                });
            }
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

/// A response that is to be kept, but for its body.
struct BodyRecorder {
    setup: Arc<LaneSetup>,
    shared: Arc<Shared>,
    network: String,
    url: String,
    status: i64,
    headers: Vec<HeaderEntry>,
}

impl BodyRecorder {
    /// Takes the body that was read, and whether it is in Base64.
    fn read(self, body: Option<(String, bool)>) {
        let shared = Arc::clone(&self.shared);
        let network = self.network.clone();
        let most = self.setup.limits.response;
        match body {
            Some((body, base64)) if body.len() <= if base64 { most / 3 * 4 + 4 } else { most } => {
                let body = if base64 {
                    body
                } else {
                    base64::engine::general_purpose::STANDARD.encode(body)
                };
                if let Some(archive) = &mut shared.lock().archive {
                    archive.body(&network, &self.url, &body);
                }
                self.keep(body);
            }
            Some(_) => {
                let mut state = shared.lock();
                self.setup.too_large(&mut state.log, &network, &self.url);
            }
            // The page went on before it could be read.
            None => shared
                .lock()
                .log
                .not_kept(&network, MissReason::NotRecorded),
        }
        shared.lock().reading -= 1;
        shared.bump();
    }

    fn keep(self, body: String) {
        let body = rehome::keep(body, &self.headers, &self.setup.origin.0);
        let answer = Answer {
            status: self.status,
            headers: self.headers,
            body: self.setup.bodies.intern(body),
        };
        let most = self.setup.limits.record;
        let mut state = self.shared.lock();
        state.log.answered(&self.network, &self.url, answer, most);
    }
}

impl std::fmt::Debug for BodyRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyRecorder")
            .field("url", &self.url)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(host("http://127.0.0.1:80/x"), "127.0.0.1");
        assert_eq!(host("https://[::1]:80"), "[::1]");
        assert_eq!(host("https://[::1]"), "[::1]");
        for local in [
            "127.0.0.1",
            "localhost",
            "10.0.0.3",
            "192.168.1.1",
            "[::1]",
            "[fd00::1]",
        ] {
            assert!(is_local(local), "{local}");
        }
        for other in [
            "shop.example",
            "8.8.8.8",
            "[2001:db8::1]",
            "localhost.example",
        ] {
            assert!(!is_local(other), "{other}");
        }
    }

    #[test]
    fn only_the_whole_origin_is_renamed() {
        let (real, logical) = ("http://127.0.0.1:80", "http://shop.demo");
        assert_eq!(
            rebase("http://127.0.0.1:80/cart", real, logical),
            "http://shop.demo/cart"
        );
        assert_eq!(
            rebase("http://127.0.0.1:8080/x", real, logical),
            "http://127.0.0.1:8080/x"
        );
        assert_eq!(
            rebase("http://127.0.0.1:80", real, logical),
            "http://shop.demo"
        );
    }
}
