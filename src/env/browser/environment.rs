//! The environment: a lane at a state, with what is needed to come back to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use chromiumoxide_cdp::cdp::browser_protocol::network::Cookie;
use chromiumoxide_cdp::cdp::browser_protocol::page::{
    AddScriptToEvaluateOnNewDocumentParams, CaptureScreenshotFormat, CaptureScreenshotParams,
    RemoveScriptToEvaluateOnNewDocumentParams, ScriptIdentifier,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::act::Refusal;
use super::archive::Archive;
use super::connection::CdpError;
use super::lane::{Lane, LaneSetup, Traffic};
use super::launch::Chromium;
use super::netlog::NetLog;
use super::observe::{Found, FrameAddress, Page};
use super::settle::{SCRIPT_LIMIT, ScriptError};
use super::volatile::{self, Learned};
use super::world::Shared;
use crate::context::{Cx, Interrupted};
use crate::env::page::actions::{self, Verb};
use crate::env::page::writes::Permits;
use crate::env::{
    ActError, CloseError, Environment, ObserveError, OpenError, QueryError, RestoreError,
    SiteError, SiteInstance, SiteState, SnapshotError,
};
use crate::types::{
    Action, ActionSpec, Digest, Effect, Notice, NoticeKind, Observation, Query, Rejection,
    Restored, Rung, Seed, Snapshot, Step, Writes,
};

/// How long a page's own episode may take to become ready.
const EPISODE_LIMIT: Duration = Duration::from_secs(15);
/// JPEG quality of screenshots: small, still readable.
const JPEG_QUALITY: i64 = 60;

/// A tab (and its siblings) of one browser context, at one state.
pub struct Browser {
    world: Arc<Shared>,
    chromium: Arc<Chromium>,
    instance: Box<dyn SiteInstance>,
    seed: Seed,
    specs: Vec<ActionSpec>,
    goal: Option<String>,
    pub(super) lane: Lane,
    /// The last reading of the page.
    pub(super) items: Vec<Found>,
    pub(super) frames: Vec<FrameAddress>,
    /// Elements that can be acted upon, by reference.
    pub(super) table: HashMap<u32, Found>,
    /// Role and name of every reference ever given out in this lane.
    pub(super) seen: HashMap<u32, (String, String)>,
    next: u32,
    path: Vec<Trodden>,
    answer: Option<String>,
    terminal: bool,
    pending: Vec<Notice>,
    /// The document that the page is in.
    document: Entered,
    /// What was last observed, until the next action: what a snapshot is of.
    observed: Option<Observed>,
    /// A lane that is ready for the next restore.
    warm: Option<JoinHandle<Result<Lane, CdpError>>>,
    /// Whether an action was carried out for good: what it sent stays.
    committed: bool,
    /// The id of the live state; `None` while it is unknown (an action is under way or was cut).
    at: Option<u64>,
    /// The writes that the next action may send.
    permits: Option<Permits>,
    /// Whether a write was held since the last restore: scripts were told what is not true.
    held: bool,
}

/// An action that was carried out, with what replaying it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trodden {
    action: Action,
    /// Role and name of its target: a replay that finds another element there stops.
    target: Option<(String, String)>,
    /// Whether it sent a write.
    wrote: bool,
}

/// The data of a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Saved {
    state: u64,
    url: String,
    next: u32,
    /// References of the interactive elements, in document order.
    refs: Vec<u32>,
    path: Vec<Trodden>,
}

/// The document that a page is in.
#[derive(Debug, Clone, Default)]
struct Entered {
    loader: String,
    /// How many actions of the path came before it.
    before: usize,
    /// The first reference that was free when it was entered.
    first: u32,
    /// The storage it found, where a restore put it there.
    storage: Option<Value>,
}

/// A reading of the page, as a snapshot needs it.
#[derive(Debug, Clone)]
struct Observed {
    digest: Digest,
    url: String,
    next: u32,
    refs: Vec<u32>,
}

/// What restoring a state from its last document needs. Kept beside the state, not in the log: it
/// serves this run only.
pub(super) struct Kept {
    /// The lane's responses until here.
    log: NetLog,
    /// URL of the document, by logical origin.
    url: String,
    document: Entered,
    cookies: Vec<Cookie>,
    server: Server,
}

/// What is known of the server in a state.
enum Server {
    /// The site does not save its server.
    Unsaved,
    Saved(SiteState),
    /// It should have been saved and was not: the state cannot be restored.
    Failed(String),
}

/// How a restore from the last document ended.
enum FromDocument {
    /// There, after so many actions.
    Reached(u32),
    /// Somewhere else, or nowhere.
    Missed(String),
}

/// What every verb's error is made from.
enum Parts {
    Interrupted(Interrupted),
    Lost(String),
    Other(String),
}

impl From<ScriptError> for Parts {
    fn from(error: ScriptError) -> Self {
        match error {
            ScriptError::Cdp(CdpError::Interrupted { why, .. }) => Self::Interrupted(why),
            ScriptError::Cdp(CdpError::Gone { what, .. }) => Self::Lost(format!("{what} is gone")),
            other => Self::Other(other.to_string()),
        }
    }
}

macro_rules! from_parts {
    ($($error:ident),*) => {$(
        impl From<Parts> for $error {
            fn from(parts: Parts) -> Self {
                match parts {
                    Parts::Interrupted(why) => Self::Interrupted(why),
                    Parts::Lost(what) => Self::Lost(what),
                    Parts::Other(what) => Self::Other(what),
                }
            }
        }
        impl From<ScriptError> for $error {
            fn from(error: ScriptError) -> Self {
                Parts::from(error).into()
            }
        }
        impl From<CdpError> for $error {
            fn from(error: CdpError) -> Self {
                Parts::from(ScriptError::from(error)).into()
            }
        }
    )*};
}
from_parts!(
    OpenError,
    ObserveError,
    ActError,
    SnapshotError,
    RestoreError,
    QueryError
);

impl Browser {
    /// Opens a lane at the world's start.
    pub(super) async fn open(
        world: Arc<Shared>,
        chromium: Arc<Chromium>,
        instance: Box<dyn SiteInstance>,
        seed: Seed,
        archive: bool,
        cx: &Cx,
    ) -> Result<Self, OpenError> {
        let setup = LaneSetup {
            archive,
            ..world.lane_setup(instance.origin(), seed)
        };
        let setup = Arc::new(setup);
        let lane = Lane::create(chromium.connection(), setup, cx).await?;
        let mut browser = Self {
            world,
            chromium,
            instance,
            seed,
            specs: actions::action_specs(),
            goal: None,
            lane,
            items: Vec::new(),
            frames: Vec::new(),
            table: HashMap::new(),
            seen: HashMap::new(),
            next: 1,
            path: Vec::new(),
            answer: None,
            terminal: false,
            pending: Vec::new(),
            document: Entered::default(),
            observed: None,
            warm: None,
            committed: false,
            at: None,
            permits: None,
            held: false,
        };
        browser.start(cx).await?;
        browser.note_strays("while the start page loaded");
        browser.learn(cx).await?;
        Ok(browser)
    }

    /// Loads the start page once more, in a context of its own, and compares: once per world, before
    /// the first digest is taken. A site that cannot be compared is no reason not to search it.
    async fn learn(&mut self, cx: &Cx) -> Result<(), OpenError> {
        let world = Arc::clone(&self.world);
        if !world.config.double_load || world.learned.get().is_some() {
            return Ok(());
        }
        let _turn = world.learning.lock().await;
        if world.learned.get().is_some() {
            return Ok(());
        }
        let first = self.lane.read_placed(self.next, cx).await?;
        self.next = first.next;
        let second = self.fresh_lane(cx).await?;
        let own = std::mem::replace(&mut self.lane, second);
        let document = self.document.clone();
        let pending = std::mem::take(&mut self.pending);
        let loaded = match self.start(cx).await {
            Ok(()) => self.lane.read_placed(1, cx).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        (self.lane, self.document, self.pending) = (own, document, pending);
        let learned = match loaded {
            Ok(second) => volatile::learn(&first, &second),
            Err(error @ (OpenError::Interrupted(_) | OpenError::Lost(_))) => return Err(error),
            Err(error) => Learned {
                failed: Some(error.to_string()),
                ..Learned::default()
            },
        };
        tracing::info!(
            differences = learned.differences.len(),
            too_many = learned.too_many,
            "compared two loads of the start page"
        );
        if let Some(text) = learned.warning() {
            self.pending.push(Notice {
                kind: NoticeKind::Other,
                text,
            });
        }
        // Nobody else sets it: the turn is ours.
        drop(world.learned.set(learned));
        Ok(())
    }

    /// Loads the start page and, where the page has one, begins its episode.
    async fn start(&mut self, cx: &Cx) -> Result<(), OpenError> {
        let path = self.world.start_path.as_str();
        let setup = Arc::clone(&self.lane.setup);
        let url = if path.starts_with("http://") || path.starts_with("https://") {
            setup.real(path)
        } else {
            format!("{}{path}", setup.origin.0)
        };
        let failed = |reason: String| OpenError::Start {
            url: setup.logical(&url),
            reason,
        };
        match self.navigate(&url, cx).await {
            Ok(()) => {}
            Err(Refusal::Rejected(rejection)) => return Err(failed(rejection.reason)),
            Err(Refusal::Script(ScriptError::Cdp(CdpError::Interrupted {
                why: Interrupted::Timeout(limit),
                ..
            }))) => {
                let (url, seconds) = (setup.logical(&url), limit.as_secs());
                return Err(OpenError::Slow { url, seconds });
            }
            Err(Refusal::Script(error)) => return Err(error.into()),
        }
        self.settle(cx).await?;
        let document = self.lane.lock().document.clone();
        let Some(document) = document.filter(|d| d.url != "about:blank") else {
            let reason = "it gave no document (a download, or an empty answer)";
            return Err(failed(reason.to_owned()));
        };
        if let Some(status) = document.status.filter(|status| *status >= 400) {
            return Err(failed(format!("the server answered {status}")));
        }
        self.enter_document();
        self.begin_episode(cx).await
    }

    /// Begins the page's own episode, where it has one.
    async fn begin_episode(&mut self, cx: &Cx) -> Result<(), OpenError> {
        let world = Arc::clone(&self.world);
        let Some(episode) = &world.episode else {
            return Ok(());
        };
        let failed = |reason: String| OpenError::Start {
            url: world.start_path.clone(),
            reason,
        };
        if self.poll(&episode.ready, cx).await? == Value::Null {
            return Err(failed("its episode did not become ready".to_owned()));
        }
        let session = self.lane.session()?;
        let begin = episode.begin.clone();
        self.lane
            .evaluate(&session, None, begin, SCRIPT_LIMIT, cx)
            .await?;
        match self.poll(&episode.goal, cx).await? {
            Value::String(goal) => self.goal = Some(goal),
            _ => return Err(failed("its episode states no goal".to_owned())),
        }
        self.settle(cx).await?;
        Ok(())
    }

    /// Waits in the page until an expression is true; null if it never is.
    async fn poll(&self, expression: &str, cx: &Cx) -> Result<Value, ScriptError> {
        let session = self.lane.session()?;
        let limit = EPISODE_LIMIT.as_millis();
        let script = format!(
            "(async () => {{
                const end = performance.now() + {limit};
                for (;;) {{
                    try {{ const v = ({expression}); if (v) return v; }} catch (e) {{}}
                    if (performance.now() > end) return null;
                    await new Promise((done) => setTimeout(done, 10));
                }}
            }})()"
        );
        self.lane
            .evaluate(&session, None, script, EPISODE_LIMIT * 2, cx)
            .await
    }

    /// Notes the document that the page is in now, if it is another one than before.
    fn enter_document(&mut self) {
        let loader = self.lane.lock().document.as_ref().map(|d| d.loader.clone());
        if let Some(loader) = loader.filter(|loader| *loader != self.document.loader) {
            let (before, first) = (self.path.len(), self.next);
            self.document = Entered {
                loader,
                before,
                first,
                storage: None,
            };
        }
    }

    /// Settles; a page that does not come to rest is reported, not waited for.
    async fn settle(&mut self, cx: &Cx) -> Result<(), ScriptError> {
        let max = self.world.config.settle;
        if !self.lane.settle(&self.world.token, max, cx).await? {
            self.pending.push(Notice {
                kind: NoticeKind::Unsettled,
                text: format!("the page did not come to rest within {} s", max.as_secs()),
            });
        }
        Ok(())
    }

    /// Reads the page and takes its references over.
    pub(super) async fn read(&mut self, cx: &Cx) -> Result<Page, ScriptError> {
        let page = loop {
            match self.lane.read(self.next, cx).await {
                // The page navigated under the walk (a late redirect): wait for rest, read again.
                Err(error) if error.is_context_gone() => self.settle(cx).await?,
                other => break other?,
            }
        };
        self.take(&page);
        Ok(page)
    }

    fn take(&mut self, page: &Page) {
        self.next = page.next;
        self.items.clone_from(&page.found);
        self.frames.clone_from(&page.frames);
        self.table = page
            .found
            .iter()
            .filter(|found| found.number > 0)
            .map(|found| (found.number, found.clone()))
            .collect();
        for (number, found) in &self.table {
            let entry = || (found.element.role.clone(), found.element.name.clone());
            self.seen.entry(*number).or_insert_with(entry);
        }
    }

    async fn screenshot(&self, cx: &Cx) -> Result<Option<Vec<u8>>, ScriptError> {
        if !self.world.config.screenshots {
            return Ok(None);
        }
        let session = self.lane.session()?;
        let params = CaptureScreenshotParams {
            format: Some(CaptureScreenshotFormat::Jpeg),
            quality: Some(JPEG_QUALITY),
            optimize_for_speed: Some(true),
            ..CaptureScreenshotParams::default()
        };
        let call = self.lane.connection.send(Some(&session), params);
        match call.reply(SCRIPT_LIMIT, cx).await {
            Ok(reply) => {
                let data: &str = reply.data.as_ref();
                Ok(base64::engine::general_purpose::STANDARD.decode(data).ok())
            }
            // A picture is a comfort: a page that gives none is still a state.
            Err(CdpError::Refused { .. } | CdpError::Reply { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the page's own episode is over.
    async fn episode_over(&self, cx: &Cx) -> Result<bool, ScriptError> {
        let Some(episode) = &self.world.episode else {
            return Ok(false);
        };
        let session = self.lane.session()?;
        let expression = format!("!!({})", episode.done);
        let value = self
            .lane
            .evaluate(&session, None, expression, SCRIPT_LIMIT, cx)
            .await?;
        Ok(value == Value::Bool(true))
    }

    /// One action: carried out, settled, kept on the path. `Err` is the environment's fault.
    async fn step(
        &mut self,
        verb: &Verb,
        action: &Action,
        settle: bool,
        cx: &Cx,
    ) -> Result<Step, ScriptError> {
        let before = self.at.take();
        self.observed = None;
        let permits = self.permits.take();
        self.lane.lock().begin_action(permits);
        if settle && !self.lane.lock().ledger.knows_cookies() {
            self.lane.note_cookies(cx).await?;
        }
        let target = verb
            .target()
            .and_then(|r| self.table.get(&r.0))
            .map(|found| (found.element.role.clone(), found.element.name.clone()));
        let done = match self.perform(verb, cx).await {
            Ok(done) => done,
            Err(Refusal::Rejected(rejection)) => {
                let navigates = matches!(
                    verb,
                    Verb::Goto(_) | Verb::TabOpen(_) | Verb::Back | Verb::Forward
                );
                // A navigation that failed may have left an error page: the state is not known.
                self.at = before.filter(|_| !navigates);
                return Ok(Step::Rejected(rejection));
            }
            Err(Refusal::Script(error)) => return Err(error),
        };
        if settle && !done.terminal {
            self.settle(cx).await?;
        }
        self.lane.alive()?;
        self.keep_a_tab(cx).await?;
        self.pending.extend(done.notices.clone());
        if settle {
            self.lane.hear_last_words(cx).await?;
            self.lane.note_cookies(cx).await?;
        }
        let (caused, unasked) = self.lane.lock().ledger.take();
        let wrote = caused.wrote();
        if wrote {
            self.world.sent_write();
        }
        if caused.held {
            self.held = true;
            let effects = caused.writes();
            return Ok(Step::Held { effects });
        }
        let effects = caused.effects;
        for effect in unasked {
            self.pending.push(Notice {
                kind: NoticeKind::Network,
                text: format!(
                    "{} {} was expected, and not sent",
                    effect.method, effect.url
                ),
            });
        }
        self.terminal |= done.terminal;
        if done.answer.is_some() {
            self.answer.clone_from(&done.answer);
        }
        self.path.push(Trodden {
            action: action.clone(),
            target,
            wrote,
        });
        self.enter_document();
        let mut notices = done.notices;
        notices.extend(self.lane.lock().notices.clone());
        Ok(Step::Done {
            effects,
            notices,
            answer: done.answer,
        })
    }

    /// Says which writes were caused by nobody's action, and that they count.
    fn note_strays(&mut self, when: &str) {
        let (caused, _) = self.lane.lock().ledger.take();
        if caused.wrote() {
            self.world.sent_write();
            if let Some(last) = self.path.last_mut() {
                last.wrote = true;
            }
        }
        for effect in caused.writes() {
            let became = if effect.held { "held" } else { "sent" };
            let (method, url) = (&effect.method, &effect.url);
            self.pending.push(Notice {
                kind: NoticeKind::Network,
                text: format!("{method} {url} was {became} {when}"),
            });
        }
    }

    /// A page may close itself; an environment without a page would be a dead end for no reason.
    async fn keep_a_tab(&mut self, cx: &Cx) -> Result<(), ScriptError> {
        let empty = {
            let state = self.lane.lock();
            state.dead.is_none() && state.tabs.is_empty()
        };
        if empty {
            self.lane.open_tab("about:blank", cx).await?;
            self.pending.push(Notice {
                kind: NoticeKind::Tab,
                text: "the page closed itself; a blank tab is open now".to_owned(),
            });
        }
        Ok(())
    }

    fn saved(snapshot: &Snapshot) -> Result<Saved, String> {
        serde_json::from_value(snapshot.data.clone())
            .map_err(|error| format!("the snapshot is of another kind of environment ({error})"))
    }

    /// Rung 1: the state is live. Reading it again is the proof.
    async fn restore_live(&mut self, to: &Snapshot, cx: &Cx) -> Result<bool, ScriptError> {
        let page = self.read(cx).await?;
        Ok(page.digest(self.answer.as_deref()) == to.digest)
    }

    fn reading(&self, page: &Page) -> Observed {
        let numbers = page.found.iter().map(|found| found.number);
        Observed {
            digest: page.digest(self.answer.as_deref()),
            url: page.url.clone(),
            next: page.next,
            refs: numbers.filter(|number| *number > 0).collect(),
        }
    }

    /// Keeps what a restore from this document needs. Nothing is kept of a state with several tabs,
    /// or whose document is not in the log: such a state is restored by replay.
    async fn keep(&mut self, state: u64, cx: &Cx) -> Result<(), SnapshotError> {
        if self.world.kept(state).is_some() {
            return Ok(());
        }
        let (log, document) = {
            let lane = self.lane.lock();
            let document = lane.document.clone().filter(|_| lane.tabs.len() == 1);
            let Some(document) = document else {
                return Ok(());
            };
            if lane.log.position(&document.loader).is_none() {
                return Ok(());
            }
            (lane.log.clone(), document)
        };
        let mut entered = self.document.clone();
        if entered.storage.is_none() {
            let script = format!("(window['{}'] || {{}}).storage || null", self.world.token);
            let found = self
                .lane
                .evaluate(&document.session, None, script, SCRIPT_LIMIT, cx);
            entered.storage = Some(found.await?);
        }
        let server = self.save_server(cx).await?;
        let kept = Kept {
            log,
            url: self.lane.setup.logical(&document.url),
            document: entered,
            cookies: self.lane.cookies(cx).await?,
            server,
        };
        self.world.keep(state, kept);
        Ok(())
    }

    /// Saves the server's state. A failure is kept with the state, not made the snapshot's: what was
    /// reached is there all the same, it only cannot be come back to.
    async fn save_server(&self, cx: &Cx) -> Result<Server, SnapshotError> {
        match self.instance.save(cx).await {
            Ok(Some(state)) => Ok(Server::Saved(state)),
            Ok(None) => Ok(Server::Unsaved),
            Err(SiteError::Interrupted(why)) => Err(why.into()),
            Err(error) => {
                tracing::warn!(%error, "a state cannot be come back to");
                Ok(Server::Failed(error.to_string()))
            }
        }
    }

    /// Puts the server into the state that was saved. Where that fails nothing is known of it: no
    /// other rung can do better.
    async fn load_server(&self, server: &SiteState, cx: &Cx) -> Result<(), RestoreError> {
        match self.instance.load(server, cx).await {
            Ok(()) => Ok(()),
            Err(SiteError::Interrupted(why)) => Err(why.into()),
            Err(error) => Err(RestoreError::Unrestorable(error.to_string())),
        }
    }

    /// A fresh lane: the warm one, if it is ready.
    async fn fresh_lane(&mut self, cx: &Cx) -> Result<Lane, CdpError> {
        self.held = false;
        if let Some(warm) = self.warm.take()
            && let Ok(Ok(lane)) = warm.await
            && lane.alive().is_ok()
        {
            return Ok(lane);
        }
        let setup = Arc::new(self.world.lane_setup(self.instance.origin(), self.seed));
        Lane::create(self.chromium.connection(), setup, cx).await
    }

    /// Prepares the lane of the next restore while others work.
    fn warm_up(&mut self, cx: &Cx) {
        let setup = Arc::new(self.world.lane_setup(self.instance.origin(), self.seed));
        let connection = self.chromium.connection().clone();
        // Its own context: this call's deadline is not the lane's.
        let cx = Cx::new(cx.token().clone());
        self.warm = Some(tokio::spawn(async move {
            Lane::create(&connection, setup, &cx).await
        }));
    }

    /// Whether no server has moved since the state, or it can be put back.
    fn server_can_follow(&self, kept: &Kept) -> bool {
        matches!(kept.server, Server::Saved(_))
            || self.world.writes == Writes::Hold
            || !self.world.has_written()
    }

    /// The document rungs: loads the state's document again in a fresh context, every request
    /// answered from the log, and repeats the actions since, with or without waiting between them.
    async fn restore_document(
        &mut self,
        to: &Snapshot,
        saved: &Saved,
        kept: &Kept,
        settle_each: bool,
        cx: &Cx,
    ) -> Result<FromDocument, RestoreError> {
        self.at = None;
        let Some(from) = kept.log.position(&kept.document.loader) else {
            return Ok(FromDocument::Missed(
                "its document is not in the log".to_owned(),
            ));
        };
        if let Server::Saved(server) = &kept.server {
            self.load_server(server, cx).await?;
        }
        self.lane = self.fresh_lane(cx).await?;
        self.lane.set_cookies(&kept.cookies, cx).await?;
        self.lane.lock().traffic = Traffic::Replay {
            log: kept.log.clone(),
            from,
            used: Vec::new(),
            missed: None,
        };
        self.path = saved.path[..kept.document.before.min(saved.path.len())].to_vec();
        self.document = kept.document.clone();
        self.next = kept.document.first;
        (self.answer, self.terminal) = (None, false);
        self.pending.clear();

        let seeded = self.seed_storage(kept, cx).await?;
        match self.navigate(&self.lane.setup.real(&kept.url), cx).await {
            Ok(()) => {}
            Err(Refusal::Rejected(rejection)) => return Ok(FromDocument::Missed(rejection.reason)),
            Err(Refusal::Script(error)) => return Err(error.into()),
        }
        self.settle(cx).await?;
        if let Some(script) = seeded {
            let session = self.lane.session()?;
            let remove = RemoveScriptToEvaluateOnNewDocumentParams::new(script);
            self.lane
                .connection
                .call(Some(&session), remove, cx)
                .await?;
        }
        if kept.document.before == 0
            && let Err(error) = self.begin_episode(cx).await
        {
            return Ok(FromDocument::Missed(error.to_string()));
        }
        let mut page = self.read(cx).await?;
        let steps = &saved.path[self.path.len()..];
        for step in steps {
            if !settle_each && self.rebased(step).is_err() {
                // What an earlier action brings about is not there yet.
                self.settle(cx).await?;
                self.read(cx).await?;
            }
            if let Err(reason) = self.repeat(step, settle_each, cx).await? {
                return Ok(FromDocument::Missed(reason));
            }
            page = self.read(cx).await?;
        }
        if !steps.is_empty() && !settle_each {
            self.settle(cx).await?;
            page = self.read(cx).await?;
        }
        let missed = match &self.lane.lock().traffic {
            Traffic::Replay { missed, .. } => missed.clone(),
            Traffic::Record => None,
        };
        if let Some(request) = missed {
            return Ok(FromDocument::Missed(format!(
                "no recorded response to {request}"
            )));
        }
        if page.digest(self.answer.as_deref()) != to.digest {
            return Ok(FromDocument::Missed("it shows another state".to_owned()));
        }
        self.go_live(saved, kept, cx).await?;
        Ok(FromDocument::Reached(
            u32::try_from(steps.len()).unwrap_or(u32::MAX),
        ))
    }

    /// Puts the document's storage in place before its first script.
    async fn seed_storage(
        &self,
        kept: &Kept,
        cx: &Cx,
    ) -> Result<Option<ScriptIdentifier>, CdpError> {
        let Some(storage) = kept.document.storage.as_ref().filter(|s| s.is_object()) else {
            return Ok(None);
        };
        let empty = |part: &str| {
            storage[part]
                .as_object()
                .is_none_or(serde_json::Map::is_empty)
        };
        if empty("local") && empty("session") {
            return Ok(None);
        }
        let source = format!(
            "if (window === top) {{ const kept = {storage}; try {{
                for (const k in kept.local) localStorage.setItem(k, kept.local[k]);
                for (const k in kept.session) sessionStorage.setItem(k, kept.session[k]);
            }} catch {{}} }}"
        );
        let session = self.lane.session()?;
        let params = AddScriptToEvaluateOnNewDocumentParams::new(source);
        let added = self
            .lane
            .connection
            .call(Some(&session), params, cx)
            .await?;
        Ok(Some(added.identifier))
    }

    /// The restored page goes on with the real network, as the state it stands for.
    async fn go_live(&mut self, saved: &Saved, kept: &Kept, cx: &Cx) -> Result<(), ScriptError> {
        self.lane.set_cookies(&kept.cookies, cx).await?;
        {
            let mut lane = self.lane.lock();
            lane.traffic = Traffic::Record;
            lane.log = kept.log.clone();
            // The log knows the document by the loader it had when it was recorded.
            if let Some(document) = &mut lane.document {
                document.loader.clone_from(&kept.document.loader);
            }
        }
        self.document = kept.document.clone();
        self.path.clone_from(&saved.path);
        self.rebind(saved, cx).await
    }

    /// Last rung: a fresh context, the server put back, the path walked again.
    async fn replay(&mut self, to: &Snapshot, saved: &Saved, cx: &Cx) -> Result<u32, RestoreError> {
        self.at = None;
        if saved.path.iter().any(|step| step.wrote)
            && !self.instance.resets()
            && self.world.writes != Writes::Session
        {
            return Err(RestoreError::Unrestorable(
                "its path wrote to a server that cannot be put back (set `writes = \"session\"` \
                 if the server keeps this state per session)"
                    .to_owned(),
            ));
        }
        if self.instance.resets() {
            self.instance.reset(cx).await.map_err(|error| match error {
                SiteError::Interrupted(why) => RestoreError::Interrupted(why),
                error => RestoreError::Unrestorable(error.to_string()),
            })?;
        }
        self.lane = self.fresh_lane(cx).await?;
        self.path.clear();
        self.document = Entered::default();
        self.next = 1;
        (self.answer, self.terminal) = (None, false);
        self.pending.clear();
        self.start(cx).await.map_err(|error| match error {
            OpenError::Interrupted(why) => RestoreError::Interrupted(why),
            OpenError::Lost(what) => RestoreError::Lost(what),
            other => RestoreError::Other(other.to_string()),
        })?;
        let mut page = self.read(cx).await?;
        for (index, step) in saved.path.iter().enumerate() {
            let diverged = |got, detail: String| RestoreError::Diverged {
                want: to.digest,
                got,
                detail: format!("replaying step {} `{}`: {detail}", index + 1, step.action),
            };
            let here = page.digest(None);
            if let Err(detail) = self.repeat(step, true, cx).await? {
                return Err(diverged(here, detail));
            }
            page = self.read(cx).await?;
        }
        let got = page.digest(self.answer.as_deref());
        if got != to.digest {
            let detail = format!("after the replay the page is at {}", page.url);
            return Err(RestoreError::Diverged {
                want: to.digest,
                got,
                detail,
            });
        }
        self.rebind(saved, cx).await?;
        Ok(u32::try_from(saved.path.len()).unwrap_or(u32::MAX))
    }

    /// Carries a step of a path out once more; the inner error says why it is not the same step.
    async fn repeat(
        &mut self,
        step: &Trodden,
        settle: bool,
        cx: &Cx,
    ) -> Result<Result<(), String>, ScriptError> {
        let action = match self.rebased(step) {
            Ok(action) => action,
            Err(reason) => return Ok(Err(reason)),
        };
        let verb = match actions::parse(&action) {
            Ok(verb) => verb,
            Err(rejection) => return Ok(Err(rejection.to_string())),
        };
        Ok(match self.step(&verb, &action, settle, cx).await? {
            Step::Done { .. } => Ok(()),
            Step::Rejected(rejection) => Err(rejection.to_string()),
            Step::Held { .. } => Err("it wrote, which it did not before".to_owned()),
        })
    }

    /// The action of a replayed step, on the reference its target has now.
    fn rebased(&self, step: &Trodden) -> Result<Action, String> {
        let Some((role, name)) = &step.target else {
            return Ok(step.action.clone());
        };
        let is = |found: &Found| found.element.role == *role && found.element.name == *name;
        let old = step.action.target().and_then(|r| r.parse::<u32>().ok());
        if old
            .and_then(|number| self.table.get(&number))
            .is_some_and(is)
        {
            return Ok(step.action.clone());
        }
        let mut same = self.table.values().filter(|found| is(found));
        match (same.next(), same.next()) {
            (Some(found), None) => {
                let mut action = step.action.clone();
                action
                    .arguments
                    .insert("ref".to_owned(), Value::String(found.number.to_string()));
                Ok(action)
            }
            (Some(_), Some(_)) => Err(format!("there are several {role} \"{name}\" now")),
            (None, _) => Err(format!("there is no {role} \"{name}\" now")),
        }
    }

    /// Equal digests mean equal items in equal order: they take the references they had.
    async fn rebind(&mut self, saved: &Saved, cx: &Cx) -> Result<(), ScriptError> {
        let live = self.items.iter_mut().filter(|found| found.number > 0);
        let mut pairs: Vec<Vec<(u32, u32)>> = vec![Vec::new(); self.frames.len()];
        for (found, number) in live.zip(&saved.refs) {
            pairs[found.address].push((found.number, *number));
            found.number = *number;
            found.element.r#ref = number.to_string();
        }
        for (address, pairs) in self.frames.iter().zip(pairs) {
            if pairs.iter().any(|(from, to)| from != to) {
                let list = serde_json::to_string(&pairs).expect("numbers are JSON");
                self.lane
                    .in_frame(address, &format!("rebind({list})"), cx)
                    .await?;
            }
        }
        self.next = saved.next.max(self.next);
        self.table = self
            .items
            .iter()
            .filter(|found| found.number > 0)
            .map(|found| (found.number, found.clone()))
            .collect();
        Ok(())
    }
}

#[async_trait]
impl Environment for Browser {
    fn actions(&self) -> &[ActionSpec] {
        &self.specs
    }

    fn goal(&self) -> Option<&str> {
        self.goal.as_deref()
    }

    async fn observe(&mut self, cx: &Cx) -> Result<Observation, ObserveError> {
        let page = self.read(cx).await?;
        self.terminal |= self.episode_over(cx).await?;
        let mut notices = std::mem::take(&mut self.pending);
        notices.extend(self.lane.lock().take_notices());
        self.observed = Some(self.reading(&page));
        let budget = self.world.config.observation_tokens;
        let mut observation =
            page.observation(notices, self.answer.as_deref(), self.terminal, budget);
        observation.screenshot = self.screenshot(cx).await?;
        Ok(observation)
    }

    async fn act(&mut self, action: &Action, cx: &Cx) -> Result<Step, ActError> {
        if self.terminal {
            return Ok(Step::Rejected(Rejection {
                reason: "the episode is over".to_owned(),
                nearest: Vec::new(),
            }));
        }
        let verb = match actions::parse(action) {
            Ok(verb) => verb,
            Err(rejection) => return Ok(Step::Rejected(rejection)),
        };
        if self.held {
            let what = "a write was held: the page was told that it was sent, and must be restored";
            return Err(ActError::Other(what.to_owned()));
        }
        self.note_strays("between two actions");
        if self.items.is_empty() && verb.target().is_some() {
            self.read(cx).await?;
        }
        match self.step(&verb, action, true, cx).await {
            Ok(step) => Ok(step),
            Err(error) => {
                let dead = self.lane.lock().dead.clone();
                Err(dead.map_or_else(|| error.into(), ActError::Lost))
            }
        }
    }

    async fn release(
        &mut self,
        action: &Action,
        allowed: &[Effect],
        cx: &Cx,
    ) -> Result<Step, ActError> {
        self.committed = true;
        self.permits = Some(Permits::new(allowed));
        let step = self.act(action, cx).await;
        self.permits = None;
        step
    }

    fn archive(&self) -> Option<har::v1_2::Log> {
        let lane = self.lane.lock();
        lane.archive.as_ref().map(Archive::log)
    }

    async fn snapshot(&mut self, cx: &Cx) -> Result<Snapshot, SnapshotError> {
        // Of the state that was observed: a page that goes on changing by itself is found out when
        // it is to be restored.
        let seen = if let Some(seen) = self.observed.clone() {
            seen
        } else {
            let page = self.read(cx).await?;
            self.reading(&page)
        };
        let state = *self.at.get_or_insert_with(|| self.world.next_state());
        let saved = Saved {
            state,
            url: seen.url,
            next: seen.next,
            refs: seen.refs,
            path: self.path.clone(),
        };
        self.keep(state, cx).await?;
        let data =
            serde_json::to_value(saved).map_err(|error| SnapshotError::Other(error.to_string()))?;
        Ok(Snapshot {
            digest: seen.digest,
            data,
        })
    }

    async fn restore(&mut self, to: &Snapshot, cx: &Cx) -> Result<Restored, RestoreError> {
        let begun = Instant::now();
        let saved = Self::saved(to).map_err(RestoreError::Unrestorable)?;
        let ms = |begun: Instant| u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut mismatches = 0;
        if self.at == Some(saved.state) {
            if self.restore_live(to, cx).await? {
                return Ok(Restored {
                    rung: Rung::Live,
                    mismatches,
                    actions: 0,
                    ms: ms(begun),
                });
            }
            mismatches += 1;
        }
        let kept = self.world.kept(saved.state);
        if let Some(Server::Failed(reason)) = kept.as_ref().map(|kept| &kept.server) {
            return Err(RestoreError::Unrestorable(format!(
                "its server was not saved: {reason}"
            )));
        }
        let kept = kept.filter(|kept| self.server_can_follow(kept));
        let rungs = [(Rung::Document, false), (Rung::DocumentSettled, true)];
        for (rung, settle_each) in rungs {
            let Some(kept) = &kept else { break };
            if settle_each && kept.document.before == saved.path.len() {
                break;
            }
            let reason = match self
                .restore_document(to, &saved, kept, settle_each, cx)
                .await
            {
                Ok(FromDocument::Reached(actions)) => {
                    self.at = Some(saved.state);
                    self.warm_up(cx);
                    return Ok(Restored {
                        rung,
                        mismatches,
                        actions,
                        ms: ms(begun),
                    });
                }
                Ok(FromDocument::Missed(reason)) => reason,
                Err(
                    error @ (RestoreError::Interrupted(_)
                    | RestoreError::Lost(_)
                    | RestoreError::Unrestorable(_)),
                ) => return Err(error),
                Err(error) => error.to_string(),
            };
            tracing::info!(?rung, reason, "a restore took the next rung");
            mismatches += 1;
        }
        let actions = self.replay(to, &saved, cx).await?;
        self.at = Some(saved.state);
        self.warm_up(cx);
        Ok(Restored {
            rung: Rung::Replay,
            mismatches,
            actions,
            ms: ms(begun),
        })
    }

    async fn query(&mut self, query: &Query, cx: &Cx) -> Result<Value, QueryError> {
        match query {
            Query::Url => {
                let page = self.read(cx).await?;
                Ok(Value::String(page.url))
            }
            Query::PageText { selector } => {
                let Some(main) = self.lane.main_frame() else {
                    return Ok(Value::Null);
                };
                let selector = serde_json::to_string(selector).expect("a string is JSON");
                let text = self
                    .lane
                    .in_frame(&main, &format!("text({selector})"), cx)
                    .await?;
                Ok(text.unwrap_or(Value::Null))
            }
            Query::Sql { statement } => self
                .instance
                .sql(statement, cx)
                .await
                .map_err(|error| QueryError::Other(error.to_string())),
            Query::Call { .. } => Err(QueryError::Unsupported("call".to_owned())),
            Query::Reward => {
                let Some(episode) = &self.world.episode else {
                    return Err(QueryError::Unsupported("reward".to_owned()));
                };
                let session = self.lane.session()?;
                let expression = episode.reward.clone();
                Ok(self
                    .lane
                    .evaluate(&session, None, expression, SCRIPT_LIMIT, cx)
                    .await?)
            }
        }
    }

    fn is_at(&self, snapshot: &Snapshot) -> bool {
        self.at.is_some() && self.at == snapshot.data["state"].as_u64()
    }

    async fn close(self: Box<Self>, cx: &Cx) -> Result<(), CloseError> {
        let Self {
            lane,
            warm,
            instance,
            committed,
            ..
        } = *self;
        // Dropping a lane disposes of its context; the browser serves the other lanes. No page is
        // left that could still send something when the server is put back.
        drop(lane);
        drop(warm);
        match instance.close(committed, cx).await {
            Ok(()) => Ok(()),
            Err(SiteError::Interrupted(why)) => Err(why.into()),
            Err(error) => Err(CloseError::Other(error.to_string())),
        }
    }
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser")
            .field("path", &self.path.len())
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
