//! The environment: a lane at a state, with what is needed to come back to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use chromiumoxide_cdp::cdp::browser_protocol::page::{
    CaptureScreenshotFormat, CaptureScreenshotParams,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::act::Refusal;
use super::archive::Archive;
use super::connection::CdpError;
use super::history::Left;
use super::kept::{Entered, Lineage};
use super::lane::{Lane, LaneSetup};
use super::launch::Chromium;
use super::observe::{Found, FrameAddress, Page};
use super::settle::{SCRIPT_LIMIT, ScriptError};
use super::volatile::{self, Learned};
use super::world::Shared;
use crate::context::{Cx, Interrupted};
use crate::env::page::actions::{self, Verb};
use crate::env::page::writes::Permits;
use crate::env::{
    ActError, CloseError, Environment, ObserveError, OpenError, QueryError, RestoreError,
    SiteError, SiteInstance, SnapshotError,
};
use crate::types::{
    Action, ActionSpec, Digest, Effect, Notice, NoticeKind, Observation, Query, Rejection,
    Restored, Seed, SiteNoteKind, Snapshot, Step, Writes,
};

/// How long a page's own episode may take to become ready.
const EPISODE_LIMIT: Duration = Duration::from_secs(15);
/// JPEG quality of screenshots: small, still readable.
const JPEG_QUALITY: i64 = 60;

/// A tab (and its siblings) of one browser context, at one state.
pub struct Browser {
    pub(super) world: Arc<Shared>,
    pub(super) chromium: Arc<Chromium>,
    pub(super) instance: Box<dyn SiteInstance>,
    pub(super) seed: Seed,
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
    pub(super) next: u32,
    pub(super) path: Vec<Trodden>,
    pub(super) answer: Option<String>,
    pub(super) terminal: bool,
    pub(super) pending: Vec<Notice>,
    /// The open tabs by number.
    pub(super) tabs: BTreeMap<u32, OpenTab>,
    /// What was last observed, until the next action or restore: what a snapshot is of.
    pub(super) observed: Option<Observed>,
    /// A lane that is ready for the next restore.
    pub(super) warm: Option<JoinHandle<Result<Lane, CdpError>>>,
    /// Whether an action was carried out for good: what it sent stays.
    committed: bool,
    /// The id of the live state; `None` while it is unknown (an action is under way or was cut).
    pub(super) at: Option<u64>,
    /// The writes that the next action may send.
    permits: Option<Permits>,
    /// Whether a write was held since the last restore: scripts were told what is not true.
    pub(super) held: bool,
    /// States that were left for another document, in the order of the tab's history.
    pub(super) left: Vec<Left>,
    /// Whose writes move the server under this lane.
    pub(super) lineage: Lineage,
    /// How many of these the live state has seen.
    pub(super) writes: u64,
}

/// A tab, as its path made it.
#[derive(Debug, Default, Clone)]
pub(super) struct OpenTab {
    /// The document that it is in.
    pub(super) document: Entered,
    /// How many entries of the path's history the tab's own lacks: a restore began behind them.
    pub(super) lacking: i64,
}

/// An action that was carried out, with what replaying it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trodden {
    pub(super) action: Action,
    /// Role and name of its target: a replay that finds another element there stops.
    pub(super) target: Option<(String, String)>,
    /// Whether it sent a write.
    pub(super) wrote: bool,
    /// The tab that it was for: the active one, or the one that it switched to or closed; 0 for one
    /// that it opened itself.
    pub(super) tab: u32,
    /// How many tabs had been opened before it.
    pub(super) opened: u32,
    /// The first reference that was free before it.
    pub(super) first: u32,
    /// Whether it led to another document, or opened or closed a tab.
    pub(super) crossed: bool,
}

/// The data of a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) state: u64,
    pub(super) url: String,
    pub(super) next: u32,
    /// References of the interactive elements, in document order.
    pub(super) refs: Vec<u32>,
    /// The same of each tab that is not active.
    pub(super) others: Vec<Vec<u32>>,
    pub(super) path: Vec<Trodden>,
}

/// A reading of the page, as a snapshot needs it.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    digest: Digest,
    pub(super) url: String,
    next: u32,
    refs: Vec<u32>,
    others: Vec<Vec<u32>>,
    /// The reference that has the keyboard.
    pub(super) focus: Option<u32>,
    pub(super) scroll: [i64; 2],
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
            error @ ScriptError::Unanswered { .. } => Self::Lost(error.to_string()),
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
        let lineage = world.lineage(instance.origin());
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
            tabs: BTreeMap::new(),
            observed: None,
            warm: None,
            committed: false,
            at: None,
            permits: None,
            held: false,
            left: Vec::new(),
            lineage,
            writes: 0,
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
        let tabs = self.tabs.clone();
        let pending = std::mem::take(&mut self.pending);
        let loaded = match self.start(cx).await {
            Ok(()) => self.lane.read_placed(1, cx).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        (self.lane, self.tabs, self.pending) = (own, tabs, pending);
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
                text: text.clone(),
            });
            world.notes.add(SiteNoteKind::Differs, text);
        }
        // Nobody else sets it: the turn is ours.
        drop(world.learned.set(learned));
        Ok(())
    }

    /// Loads the start page and, where the page has one, begins its episode.
    pub(super) async fn start(&mut self, cx: &Cx) -> Result<(), OpenError> {
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
            Err(Refusal::Script(ScriptError::Unanswered { error, .. })) => {
                return Err(failed(format!("it did not answer: {error}")));
            }
            Err(Refusal::Script(error)) => return Err(error.into()),
        }
        self.settle(cx).await?;
        let document = self.lane.lock().document().cloned();
        let Some(document) = document.filter(|d| d.url != "about:blank") else {
            let reason = "it gave no document (a download, or an empty answer)";
            return Err(failed(reason.to_owned()));
        };
        if let Some(status) = document.status.filter(|status| *status >= 400) {
            return Err(failed(format!("the server answered {status}")));
        }
        self.enter_documents(None, None, cx).await?;
        self.begin_episode(cx).await
    }

    /// Begins the page's own episode, where it has one.
    pub(super) async fn begin_episode(&mut self, cx: &Cx) -> Result<(), OpenError> {
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
            .connection
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
            .connection
            .evaluate(&session, None, script, EPISODE_LIMIT * 2, cx)
            .await
    }

    /// Settles; a page that does not come to rest is reported, not waited for.
    pub(super) async fn settle(&mut self, cx: &Cx) -> Result<(), ScriptError> {
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
            .connection
            .evaluate(&session, None, expression, SCRIPT_LIMIT, cx)
            .await?;
        Ok(value == Value::Bool(true))
    }

    /// One action: carried out, settled, kept on the path. `Err` is the environment's fault.
    pub(super) async fn step(
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
        if settle {
            // The action may lead to a document that finds it.
            self.stores(cx).await?;
        }
        let target = verb
            .target()
            .and_then(|r| self.table.get(&r.0))
            .map(|found| (found.element.role.clone(), found.element.name.clone()));
        let (tab, opened) = (self.tab_of(verb), self.lane.lock().opened);
        let first = self.next;
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
            let replaced = self.lane.note_cookies(cx).await?;
            self.note_replaced(&replaced);
        }
        let (caused, unasked) = self.lane.lock().ledger.take();
        let wrote = caused.wrote();
        if wrote {
            self.lineage.wrote();
        }
        self.writes = self.lineage.writes();
        if caused.held {
            self.held = true;
            let effects = caused.writes();
            return Ok(Step::Held { effects });
        }
        let failed = self.lane.lock().document().and_then(|d| d.failed.clone());
        if let Some((url, error)) = failed {
            // The browser's page about it is no state of the site.
            return match self.not_loaded(&url, error) {
                Refusal::Rejected(rejection) => Ok(Step::Rejected(rejection)),
                Refusal::Script(error) => Err(error),
            };
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
            tab,
            opened,
            first,
            crossed: false,
        });
        let entered = self.enter_documents(Some(verb), before, cx).await?;
        if let Some(step) = self.path.last_mut() {
            step.crossed = entered || self.lane.lock().opened != opened;
        }
        let mut notices = done.notices;
        notices.extend(self.lane.lock().notices.clone());
        Ok(Step::Done {
            effects,
            notices,
            answer: done.answer,
        })
    }

    /// The server put other sessions in place of those it was asked in. Where a session holds the
    /// state, what was kept of this one is not to be relied upon any more. A site that does so with
    /// every answer is believed the second time.
    fn note_replaced(&mut self, replaced: &[(String, String)]) {
        if self.world.writes != Writes::Session {
            return;
        }
        for (name, origin) in replaced {
            let kind = SiteNoteKind::SessionReplaced;
            let new = self.lane.setup.note(kind, origin, |origin| {
                format!(
                    "{origin} replaced the session of the cookie {name}: at a login, or because it no longer knew it \
                     (restarted, expired)"
                )
            });
            if new {
                self.lineage.wrote();
            }
        }
    }

    /// Says which writes were caused by nobody's action, and that they count.
    fn note_strays(&mut self, when: &str) {
        let (caused, _) = self.lane.lock().ledger.take();
        if caused.wrote() {
            self.lineage.wrote();
            self.writes = self.lineage.writes();
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

    fn reading(&self, page: &Page) -> Observed {
        Observed {
            digest: page.digest(self.answer.as_deref()),
            url: page.url.clone(),
            next: page.next,
            refs: page.refs(),
            others: page.others.iter().map(Page::refs).collect(),
            focus: page.focus(),
            scroll: page.scrolled(),
        }
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
            return Ok(Step::Rejected(Rejection::new("the episode is over")));
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
        self.regain(&verb, cx).await?;
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
        self.keep(state, &seen, cx).await?;
        let saved = Saved {
            state,
            url: seen.url,
            next: seen.next,
            refs: seen.refs,
            others: seen.others,
            path: self.path.clone(),
        };
        let data =
            serde_json::to_value(saved).map_err(|error| SnapshotError::Other(error.to_string()))?;
        Ok(Snapshot {
            digest: seen.digest,
            data,
        })
    }

    async fn restore(&mut self, to: &Snapshot, cx: &Cx) -> Result<Restored, RestoreError> {
        self.climb(to, None, cx).await
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
                    .connection
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
