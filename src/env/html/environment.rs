//! The environment: a lane at a state.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use cookie_store::CookieStore;
use scraper::Selector;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::act::Refusal;
use super::document::ROOT;
use super::fetch::{Gate, Ledger, Network};
use super::state::{Reading, State, Trodden};
use super::world::{Kept, Shared};
use crate::context::{Cx, Interrupted};
use crate::env::har::Exchanges;
use crate::env::page::actions::{self, Performed, Verb};
use crate::env::page::writes::Permits;
use crate::env::{
    ActError, CloseError, Environment, ObserveError, OpenError, QueryError, RestoreError,
    SiteInstance, SnapshotError,
};
use crate::types::{
    Action, ActionSpec, Digest, Effect, EffectKind, Miss, MissReason, Notice, NoticeKind,
    Observation, Query, Rejection, Restored, Rung, Snapshot, Step, Writes,
};

/// A lane over HTTP: tabs, cookies, history, without a browser.
pub struct TextBrowser {
    world: Arc<Shared>,
    instance: Box<dyn SiteInstance>,
    network: Network,
    archive: Exchanges,
    specs: Vec<ActionSpec>,
    state: Arc<State>,
    /// Role and name of every reference ever given out in this lane.
    seen: HashMap<u32, (String, String)>,
    pending: Vec<Notice>,
    /// This lane, among the world's.
    id: u64,
    /// The session that the cookies are of.
    session: u64,
    /// The sessions that this lane began, with the writes each has sent.
    sessions: BTreeMap<u64, u64>,
    /// The saved state that the server is in, if no request went out since.
    server: Option<(u64, crate::env::SiteState)>,
    /// Whether it carried actions out for good: the server keeps what they wrote.
    committed: bool,
    /// The id of the live state; `None` while it is unknown (an action is under way or was cut).
    at: Option<u64>,
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

macro_rules! refusals {
    ($($error:ident),*) => {$(
        impl From<Refusal> for $error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::Interrupted(why) => Self::Interrupted(why),
                    Refusal::Lost(what) => Self::Lost(what),
                    Refusal::Fault(what) => Self::Other(what),
                    Refusal::Rejected(rejection) => Self::Other(rejection.to_string()),
                    Refusal::Held => Self::Other("a write was held".to_owned()),
                }
            }
        }
    )*};
}
refusals!(ActError, RestoreError, OpenError);

impl TextBrowser {
    /// Opens a lane at the world's start.
    pub(super) async fn open(
        world: Arc<Shared>,
        instance: Box<dyn SiteInstance>,
        cx: &Cx,
    ) -> Result<Self, OpenError> {
        if cx.is_cancelled() {
            return Err(Interrupted::Cancelled.into());
        }
        let config = &world.config;
        let network = Network::new(
            instance.origin(),
            &world.logical,
            config.timeout,
            config.largest_body,
        )
        .map_err(OpenError::Other)?;
        let id = world.next_id();
        let mut lane = Self {
            world,
            instance,
            network,
            archive: Exchanges::default(),
            specs: actions::action_specs(),
            state: Arc::new(State::new()),
            seen: HashMap::new(),
            pending: Vec::new(),
            id,
            session: id,
            sessions: BTreeMap::new(),
            server: None,
            committed: false,
            at: None,
        };
        lane.start(cx).await?;
        Ok(lane)
    }

    /// Begins a session at the start page.
    async fn start(&mut self, cx: &Cx) -> Result<(), OpenError> {
        let start = self.world.start.clone();
        let address = if start.starts_with("http://") || start.starts_with("https://") {
            start.clone()
        } else {
            format!("{}{start}", self.world.logical)
        };
        let failed = |reason: String| OpenError::Start {
            url: start.clone(),
            reason,
        };
        let url = Url::parse(&address).map_err(|error| failed(error.to_string()))?;
        let url = self.network.logical(&url);
        let mut state = State::new();
        let mut notices = Vec::new();
        match self.enter_first(&mut state, url, &mut notices, cx).await {
            Ok(()) => {}
            Err(Refusal::Interrupted(why)) => return Err(why.into()),
            Err(Refusal::Rejected(rejection)) => return Err(failed(rejection.reason)),
            Err(Refusal::Fault(reason)) => return Err(failed(reason)),
            Err(other) => return Err(other.into()),
        }
        self.state = Arc::new(state);
        self.pending = notices;
        self.server = None;
        self.session = self.world.next_id();
        self.sessions.insert(self.session, 0);
        Ok(())
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn logical_origin(&self) -> &str {
        &self.world.logical
    }

    /// What loading needs of the lane.
    pub(super) fn parts(&mut self) -> (&Network, &Shared, &mut Exchanges) {
        (&self.network, &self.world, &mut self.archive)
    }

    /// Role and name that a reference once had.
    pub(super) fn known(&self, number: u32) -> Option<&(String, String)> {
        self.seen.get(&number)
    }

    /// Reads the page and remembers its references.
    fn read(&mut self) -> Arc<Reading> {
        let known = self.state.page().reading().cloned();
        let reading = known.unwrap_or_else(|| Arc::make_mut(&mut self.state).read());
        for found in reading.found.iter().filter(|f| f.number > 0) {
            let entry = || (found.element.role.clone(), found.element.name.clone());
            self.seen.entry(found.number).or_insert_with(entry);
        }
        reading
    }

    fn target_of(&mut self, verb: &Verb) -> Option<(String, String)> {
        let number = verb.target()?.0;
        let reading = self.read();
        let found = reading.found.iter().find(|f| f.number == number)?;
        Some((found.element.role.clone(), found.element.name.clone()))
    }

    /// One action on a copy of the state, which takes the state's place if it is done.
    async fn step(&mut self, action: &Action, gate: Gate, cx: &Cx) -> Result<Step, Refusal> {
        if cx.is_cancelled() {
            return Err(Refusal::Interrupted(Interrupted::Cancelled));
        }
        let verb = match actions::parse(action) {
            Ok(verb) => verb,
            Err(rejection) => return Ok(Step::Rejected(rejection)),
        };
        let target = self.target_of(&verb);
        let before = self.at.take();
        let mut next = State::clone(&self.state);
        // Reading a page may move its server too; only a saved state brings it back.
        let server = self.server.take();
        let exchanges = self.archive.count();
        let mut ledger = Ledger::new(gate);
        let result = self.perform(&mut next, &verb, &mut ledger, cx).await;
        if ledger.sent() > 0 {
            self.sent(ledger.sent());
        }
        if self.archive.count() == exchanges {
            self.server = server;
        }
        match result {
            Ok(done) => Ok(self.arrive(next, action, target, done, ledger)),
            Err(Refusal::Rejected(rejection)) => {
                // Nothing changed here; a server that was written to on the way has.
                self.at = before.filter(|_| ledger.sent() == 0);
                Ok(Step::Rejected(rejection))
            }
            Err(Refusal::Held) => {
                self.at = before.filter(|_| ledger.sent() == 0);
                let mut effects = ledger.writes;
                // The stopped ones first.
                effects.sort_by_key(|effect| !effect.held);
                Ok(Step::Held { effects })
            }
            Err(other) => Err(other),
        }
    }

    fn sent(&mut self, writes: usize) {
        self.world.wrote(writes);
        *self.sessions.entry(self.session).or_default() += writes as u64;
    }

    fn arrive(
        &mut self,
        mut next: State,
        action: &Action,
        target: Option<(String, String)>,
        done: Performed,
        ledger: Ledger,
    ) -> Step {
        let Performed {
            notices,
            answer,
            terminal,
        } = done;
        let wrote = ledger.sent() > 0;
        let unasked: Vec<Notice> = ledger
            .unasked()
            .iter()
            .map(|effect| Notice {
                kind: NoticeKind::Network,
                text: format!(
                    "{} {} was expected, and not sent",
                    effect.method, effect.url
                ),
            })
            .collect();
        let mut effects = ledger.effects();
        effects.extend(cookie_changes(
            &self.state.cookies,
            &next.cookies,
            &self.world.logical,
        ));
        next.terminal |= terminal;
        if answer.is_some() {
            next.answer.clone_from(&answer);
        }
        Arc::make_mut(&mut next.path).push(Trodden {
            action: action.clone(),
            target,
            wrote,
        });
        self.state = Arc::new(next);
        self.pending.clone_from(&notices);
        self.pending.extend(unasked);
        Step::Done {
            effects,
            notices,
            answer,
        }
    }

    fn gate(&self) -> Gate {
        match self.world.writes {
            Writes::Hold => Gate::Shut,
            Writes::Session | Writes::Checkpoint | Writes::Allow => Gate::Open,
        }
    }

    /// Whether copying a kept state back is sound: the server is, or can be put, where it was.
    fn can_copy(&self, kept: &Kept) -> bool {
        match self.world.writes {
            Writes::Checkpoint if kept.server.is_some() => true,
            // A session is one lane's: with another lane's cookies the two would share a state.
            Writes::Session => self.sessions.get(&kept.session.0) == Some(&kept.session.1),
            Writes::Hold | Writes::Allow | Writes::Checkpoint => {
                kept.world_writes == self.world.writes_sent()
            }
        }
    }

    async fn copy(&mut self, kept: &Kept, cx: &Cx) -> Result<(), RestoreError> {
        if let Some((id, server)) = &kept.server
            && self.server.as_ref().map(|(now, _)| *now) != Some(*id)
        {
            self.at = None;
            self.server = None;
            let loaded = self.instance.load(server, cx).await;
            loaded.map_err(|error| RestoreError::Other(error.to_string()))?;
            self.server.clone_from(&kept.server);
        }
        if self.world.writes == Writes::Session {
            self.session = kept.session.0;
        }
        self.state = Arc::clone(&kept.state);
        self.pending.clear();
        self.read();
        Ok(())
    }

    /// The path once more, in a fresh session.
    async fn replay(&mut self, to: &Snapshot, saved: &Saved, cx: &Cx) -> Result<u32, RestoreError> {
        self.at = None;
        let wrote = saved.path.iter().any(|step| step.wrote);
        if wrote && !self.instance.resets() && self.world.writes != Writes::Session {
            return Err(RestoreError::Unrestorable(
                "its path wrote to a server that cannot be put back (set `writes = \"session\"` \
                 if the server keeps this state per session)"
                    .to_owned(),
            ));
        }
        if self.instance.resets() {
            let reset = self.instance.reset(cx).await;
            reset.map_err(|error| RestoreError::Other(error.to_string()))?;
        }
        self.start(cx).await.map_err(|error| match error {
            OpenError::Interrupted(why) => RestoreError::Interrupted(why),
            OpenError::Lost(what) => RestoreError::Lost(what),
            other => RestoreError::Other(other.to_string()),
        })?;
        for (index, step) in saved.path.iter().enumerate() {
            let mut got = self.digest();
            let diverged = |got: Digest, detail: String| RestoreError::Diverged {
                want: to.digest,
                got,
                detail: format!("replaying step {} `{}`: {detail}", index + 1, step.action),
            };
            let action = self.rebased(step).map_err(|detail| diverged(got, detail))?;
            let gate = self.gate();
            match self.step(&action, gate, cx).await? {
                Step::Done { .. } => {}
                Step::Rejected(rejection) => return Err(diverged(got, rejection.to_string())),
                Step::Held { .. } => {
                    got = self.digest();
                    return Err(diverged(
                        got,
                        "it wrote, which it did not before".to_owned(),
                    ));
                }
            }
        }
        let got = self.digest();
        if got != to.digest {
            return Err(RestoreError::Diverged {
                want: to.digest,
                got,
                detail: format!(
                    "after the replay the page is at {}",
                    self.state.page().url()
                ),
            });
        }
        let state = Arc::make_mut(&mut self.state);
        state.rebind(&saved.refs);
        state.next = state.next.max(saved.next);
        state.path = Arc::new(saved.path.clone());
        self.pending.clear();
        self.read();
        Ok(u32::try_from(saved.path.len()).unwrap_or(u32::MAX))
    }

    fn digest(&mut self) -> Digest {
        self.read();
        Arc::make_mut(&mut self.state).digest()
    }

    /// The action of a replayed step, on the reference its target has now.
    fn rebased(&mut self, step: &Trodden) -> Result<Action, String> {
        let Some((role, name)) = &step.target else {
            return Ok(step.action.clone());
        };
        let reading = self.read();
        let mut same = reading
            .found
            .iter()
            .filter(|f| f.number > 0 && f.element.role == *role && f.element.name == *name);
        let old = step.action.target().and_then(|r| r.parse::<u32>().ok());
        if old.is_some_and(|old| same.clone().any(|found| found.number == old)) {
            return Ok(step.action.clone());
        }
        match (same.next(), same.next()) {
            (Some(found), None) => {
                let mut action = step.action.clone();
                let number = Value::String(found.number.to_string());
                action.arguments.insert("ref".to_owned(), number);
                Ok(action)
            }
            (Some(_), Some(_)) => Err(format!("there are several {role} \"{name}\" now")),
            (None, _) => Err(format!("there is no {role} \"{name}\" now")),
        }
    }

    /// The server's present state, saved anew only if a request went out since.
    async fn save_server(
        &mut self,
        cx: &Cx,
    ) -> Result<Option<(u64, crate::env::SiteState)>, SnapshotError> {
        if self.world.writes != Writes::Checkpoint {
            return Ok(None);
        }
        if self.server.is_none() {
            let saved = self.instance.save(cx).await;
            let saved = saved.map_err(|error| SnapshotError::Other(error.to_string()))?;
            self.server = saved.map(|state| (self.world.next_id(), state));
        }
        Ok(self.server.clone())
    }
}

/// Values of cookies by domain, path and name.
type Jar = BTreeMap<(String, String, String), String>;

/// What an action did to the cookies, as effects on the client; values stay unsaid.
fn cookie_changes(
    before: &Arc<CookieStore>,
    after: &Arc<CookieStore>,
    logical: &str,
) -> Vec<Effect> {
    if Arc::ptr_eq(before, after) {
        return Vec::new();
    }
    let jar = |store: &CookieStore| -> Jar {
        let all = store.iter_unexpired();
        all.map(|cookie| {
            let domain = String::from(&cookie.domain);
            let path = String::from(&cookie.path);
            (
                (domain, path, cookie.name().to_owned()),
                cookie.value().to_owned(),
            )
        })
        .collect()
    };
    let (before, after) = (jar(before), jar(after));
    let own = logical.split_once("://").map_or(logical, |(_, host)| host);
    let own = own.split(':').next().unwrap_or(own);
    let effect = |(domain, _, name): &(String, String, String), what: &str| Effect {
        kind: EffectKind::Client,
        method: "COOKIE".to_owned(),
        url: if domain == own {
            logical.to_owned()
        } else {
            format!("http://{domain}")
        },
        headers: Vec::new(),
        body: Some(format!("{what} {name}")),
        held: false,
    };
    let mut effects = Vec::new();
    for (key, value) in &after {
        match before.get(key) {
            None => effects.push(effect(key, "set")),
            Some(old) if old != value => effects.push(effect(key, "change")),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    effects.extend(gone.map(|key| effect(key, "delete")));
    effects
}

#[async_trait]
impl Environment for TextBrowser {
    fn actions(&self) -> &[ActionSpec] {
        &self.specs
    }

    async fn observe(&mut self, cx: &Cx) -> Result<Observation, ObserveError> {
        if cx.is_cancelled() {
            return Err(Interrupted::Cancelled.into());
        }
        self.read();
        let notices = std::mem::take(&mut self.pending);
        let budget = self.world.config.observation_tokens;
        Ok(Arc::make_mut(&mut self.state).observation(notices, budget))
    }

    async fn act(&mut self, action: &Action, cx: &Cx) -> Result<Step, ActError> {
        if self.state.terminal {
            return Ok(Step::Rejected(Rejection::new("the episode is over")));
        }
        let gate = self.gate();
        Ok(self.step(action, gate, cx).await?)
    }

    async fn release(
        &mut self,
        action: &Action,
        allowed: &[Effect],
        cx: &Cx,
    ) -> Result<Step, ActError> {
        self.committed = true;
        Ok(self
            .step(action, Gate::Only(Permits::new(allowed)), cx)
            .await?)
    }

    fn archive(&self) -> Option<har::v1_2::Log> {
        Some(self.archive.log("lane"))
    }

    async fn snapshot(&mut self, cx: &Cx) -> Result<Snapshot, SnapshotError> {
        if cx.is_cancelled() {
            return Err(Interrupted::Cancelled.into());
        }
        let digest = self.digest();
        let server = self.save_server(cx).await?;
        let id = *self.at.get_or_insert_with(|| self.world.next_id());
        let kept = Kept::new(
            Arc::clone(&self.state),
            server,
            (
                self.session,
                self.sessions.get(&self.session).copied().unwrap_or(0),
            ),
            self.world.writes_sent(),
        );
        self.world.keep(id, kept);
        let reading = self.read();
        let numbers = reading.found.iter().map(|found| found.number);
        let saved = Saved {
            state: id,
            url: self.state.page().url().to_string(),
            next: self.state.next,
            refs: numbers.filter(|number| *number > 0).collect(),
            path: Vec::clone(&self.state.path),
        };
        let data =
            serde_json::to_value(saved).map_err(|error| SnapshotError::Other(error.to_string()))?;
        Ok(Snapshot { digest, data })
    }

    async fn restore(&mut self, to: &Snapshot, cx: &Cx) -> Result<Restored, RestoreError> {
        if cx.is_cancelled() {
            return Err(Interrupted::Cancelled.into());
        }
        let begun = Instant::now();
        let id = to.data["state"].as_u64().ok_or_else(|| {
            let what = "the snapshot is of another kind of environment";
            RestoreError::Unrestorable(what.to_owned())
        })?;
        let ms = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let reached = |rung, misses, actions| Restored {
            misses,
            ..Restored::by(rung, actions, ms())
        };
        let elsewhere = |rung| Miss {
            rung,
            reason: MissReason::OtherState,
            detail: String::new(),
            ms: ms(),
        };
        let mut misses = Vec::new();
        if self.at == Some(id) {
            if self.digest() == to.digest {
                return Ok(reached(Rung::Live, misses, 0));
            }
            misses.push(elsewhere(Rung::Live));
        }
        let kept = self.world.find(id);
        if let Some(kept) = kept.filter(|kept| self.can_copy(kept)) {
            self.copy(&kept, cx).await?;
            if self.digest() == to.digest {
                self.at = Some(id);
                return Ok(reached(Rung::Copy, misses, 0));
            }
            misses.push(elsewhere(Rung::Copy));
        }
        let saved: Saved = serde_json::from_value(to.data.clone()).map_err(|error| {
            RestoreError::Unrestorable(format!(
                "the snapshot is of another kind of environment ({error})"
            ))
        })?;
        let actions = self.replay(to, &saved, cx).await?;
        self.at = Some(id);
        Ok(reached(Rung::Replay, misses, actions))
    }

    async fn query(&mut self, query: &Query, cx: &Cx) -> Result<Value, QueryError> {
        let page = Arc::clone(self.state.page());
        match query {
            Query::Url => Ok(Value::String(page.url().to_string())),
            Query::PageText { selector } => {
                let doc = &page.top.doc;
                let found = match selector {
                    None => (0..doc.len()).find(|id| doc.tag(*id) == "body"),
                    Some(text) => {
                        let selector = Selector::parse(text).map_err(|error| {
                            QueryError::Other(format!("`{text}` is no CSS selector: {error}"))
                        })?;
                        doc.select(&selector)
                    }
                };
                let id = match (found, selector) {
                    (Some(id), _) => id,
                    (None, None) => ROOT,
                    (None, Some(_)) => return Ok(Value::Null),
                };
                Ok(Value::String(page.top.look().inner_text(id)))
            }
            Query::Sql { statement } => self
                .instance
                .sql(statement, cx)
                .await
                .map_err(|error| QueryError::Other(error.to_string())),
            Query::Reward => Err(QueryError::Unsupported("reward".to_owned())),
            Query::Call { .. } => Err(QueryError::Unsupported("call".to_owned())),
        }
    }

    fn is_at(&self, snapshot: &Snapshot) -> bool {
        self.at.is_some() && self.at == snapshot.data["state"].as_u64()
    }

    async fn close(self: Box<Self>, cx: &Cx) -> Result<(), CloseError> {
        let Self {
            instance,
            committed,
            ..
        } = *self;
        let closed = instance.close(committed, cx).await;
        closed.map_err(|error| CloseError::Other(error.to_string()))
    }
}

impl std::fmt::Debug for TextBrowser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextBrowser")
            .field("id", &self.id)
            .field("url", &self.state.page().url().as_str())
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
