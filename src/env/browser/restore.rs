//! The ladder: the ways back to a state, cheapest first, each proved by the digest.
//!
//! ```text
//! live ─► history ─► document ─► document, settled ─► replay ─► (what kept missing) ─► no way back
//! ```
//!
//! Invariants: a rung is taken only where it is sound (no server moved since, or it is put back
//! first); whatever a rung reaches counts only if its digest is the snapshot's; every rung that does
//! not lead there says why ([`Miss`]); in the rungs between live and replay no request reaches a
//! server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chromiumoxide_cdp::cdp::browser_protocol::page::NavigateToHistoryEntryParams;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::connection::CdpError;
use super::environment::{Browser, Observed, Saved, Trodden};
use super::kept::{Begin, Entered, Kept, KeptTab, Without};
use super::lane::{Lane, Traffic};
use super::ledger;
use super::netlog::NetLog;
use super::observe::{Found, Page};
use super::settle::{SCRIPT_LIMIT, ScriptError};
use super::stores::Stores;
use crate::context::{Cx, Interrupted};
use crate::env::page::actions::{self, Verb};
use crate::env::{OpenError, RestoreError, SiteError, SnapshotError};
use crate::types::{Miss, MissReason, Restored, Rung, Snapshot, Step, Writes};

/// How long the browser may take to go back to a page that it has kept.
const HISTORY_LIMIT: Duration = Duration::from_secs(3);
/// How long bodies of responses that have arrived may take to be read.
const BODY_LIMIT: Duration = Duration::from_secs(5);

/// What a lane holds at one moment of what a state is kept by. The tabs' storage is still to be read.
struct Now {
    log: NetLog,
    /// The tabs' sessions by number.
    sessions: BTreeMap<u32, String>,
    tabs: BTreeMap<u32, KeptTab>,
    active: u32,
    opened: u32,
}

/// How an attempt ended.
pub(super) enum End {
    /// There, after so many actions.
    Reached(u32),
    /// Somewhere else, or nowhere.
    Missed(MissReason, String),
}

pub(super) use End::{Missed, Reached};

impl Browser {
    /// Tries the rungs until one leads to the snapshot's state; with `entry`, in a tab whose history
    /// reaches down to that position.
    pub(super) async fn climb(
        &mut self,
        to: &Snapshot,
        entry: Option<i64>,
        cx: &Cx,
    ) -> Result<Restored, RestoreError> {
        let begun = Instant::now();
        let saved = Self::saved(to).map_err(RestoreError::Unrestorable)?;
        // Nobody has seen yet what will be there.
        self.observed = None;
        let mut misses = Vec::new();
        let mut learned = None;
        let kept = self.world.shelf.get(saved.state);
        let origin = origin_of(&saved.url);
        let mut rungs = Vec::new();
        if self.at == Some(saved.state) {
            rungs.push(Rung::Live);
        }
        rungs.extend(self.world.habits().order(&origin));
        if entry.is_some() {
            // The page itself is there, and its tab is what will not do.
            rungs.retain(|rung| !matches!(rung, Rung::Live | Rung::History));
        }
        for rung in rungs {
            let since = Instant::now();
            let kept = kept.as_ref().map(|kept| (&**kept, kept.begins(entry)));
            let ended = self.attempt(rung, to, &saved, kept, &misses, cx).await;
            let (reason, detail) = match ended {
                Ok(None) => continue,
                Ok(Some(Reached(actions))) => {
                    let news = self.world.habits().reached(&origin, rung);
                    self.at = Some(saved.state);
                    if rung != Rung::Live && rung != Rung::History {
                        self.left.clear();
                        self.warm_up(cx);
                    }
                    return Ok(Restored {
                        rung,
                        misses,
                        learned: news.or(learned),
                        actions,
                        ms: ms(begun),
                    });
                }
                Ok(Some(Missed(reason, detail))) => (reason, detail),
                Err(error @ (RestoreError::Interrupted(_) | RestoreError::Lost(_))) => {
                    return Err(error);
                }
                Err(error) => (MissReason::Environment, error.to_string()),
            };
            tracing::info!(?rung, ?reason, detail, "a restore took the next rung");
            if let Some(news) = self.world.habits().missed(&origin, rung, reason) {
                learned = Some(news);
            }
            misses.push(Miss {
                rung,
                reason,
                detail,
                ms: ms(since),
            });
            if reason == MissReason::ServerFailed {
                // Nothing is known of the server now: no other rung can do better.
                break;
            }
        }
        self.at = None;
        Err(RestoreError::Exhausted { misses })
    }

    /// One rung; `None` if it is none for this state or browser.
    async fn attempt(
        &mut self,
        rung: Rung,
        to: &Snapshot,
        saved: &Saved,
        kept: Result<(&Kept, Vec<Begin<'_>>), &Without>,
        misses: &[Miss],
        cx: &Cx,
    ) -> Result<Option<End>, RestoreError> {
        let settled = rung == Rung::DocumentSettled;
        match rung {
            Rung::Live => return self.restore_live(to, saved, cx).await.map(Some),
            Rung::Replay => return self.replay(to, saved, cx).await.map(Some),
            Rung::Copy | Rung::Undo => return Ok(None),
            Rung::History if !self.has_left(saved.state) => return Ok(None),
            Rung::History | Rung::Document | Rung::DocumentSettled => {}
        }
        let (kept, begins) = match kept {
            Ok((kept, begins)) if self.server_follows(kept) => (kept, begins),
            // The settled variant has nothing to add to that.
            _ if settled => return Ok(None),
            Ok(_) => return Ok(Some(Missed(MissReason::ServerMoved, String::new()))),
            Err((reason, detail)) => return Ok(Some(Missed(*reason, detail.clone()))),
        };
        if settled {
            let tried = |miss: &Miss| miss.rung == Rung::Document && !miss.reason.is_mismatch();
            let loaded = begins.iter().all(|(_, d)| d.before == saved.path.len());
            if loaded || misses.iter().any(tried) {
                return Ok(None);
            }
        }
        self.at = None;
        if let Some(server) = &kept.server {
            match self.instance.load(server, cx).await {
                Ok(()) => {}
                Err(SiteError::Interrupted(why)) => return Err(why.into()),
                Err(error) => return Ok(Some(Missed(MissReason::ServerFailed, error.to_string()))),
            }
        }
        let end = if rung == Rung::History {
            self.restore_history(to, saved, kept, cx).await?
        } else {
            self.restore_documents(to, saved, kept, &begins, settled, cx)
                .await?
        };
        Ok(Some(end))
    }

    pub(super) fn saved(snapshot: &Snapshot) -> Result<Saved, String> {
        serde_json::from_value(snapshot.data.clone())
            .map_err(|error| format!("the snapshot is of another kind of environment ({error})"))
    }

    // --- live ---------------------------------------------------------------------------------

    /// The state is live. Reading it again is the proof.
    async fn restore_live(
        &mut self,
        to: &Snapshot,
        saved: &Saved,
        cx: &Cx,
    ) -> Result<End, RestoreError> {
        // Another lane of the same session may have written.
        if self.world.writes == Writes::Session && self.lineage.writes() != self.writes {
            return Ok(Missed(MissReason::ServerMoved, String::new()));
        }
        let page = self.read(cx).await?;
        Ok(self.verdict(&page, to, saved, 0))
    }

    pub(super) fn verdict(&self, page: &Page, to: &Snapshot, saved: &Saved, actions: usize) -> End {
        if page.digest(self.answer.as_deref()) == to.digest {
            return Reached(u32::try_from(actions).unwrap_or(u32::MAX));
        }
        let count = page.refs().len();
        let (tabs, before) = (page.others.len(), saved.others.len());
        let detail = if tabs != before {
            format!("{} tabs instead of {}", tabs + 1, before + 1)
        } else if page.url != saved.url {
            format!("{} instead of {}", page.url, saved.url)
        } else if count != saved.refs.len() {
            let before = saved.refs.len();
            format!("{count} controls instead of {before} at {}", page.url)
        } else {
            format!("other content at {}", page.url)
        };
        Missed(MissReason::OtherState, detail)
    }

    // --- what is kept -------------------------------------------------------------------------

    /// Keeps what restoring the live state needs, or why nothing is kept of it.
    pub(super) async fn keep(
        &mut self,
        state: u64,
        seen: &Observed,
        cx: &Cx,
    ) -> Result<(), SnapshotError> {
        if self.world.shelf.knows(state) {
            return Ok(());
        }
        // A page may have gone on by itself since the last action.
        self.enter_documents(None, None, cx).await?;
        let kept = self.kept(seen, cx).await?;
        if let Ok(kept) = &kept {
            for (number, tab) in &mut self.tabs {
                if let Some(kept) = kept.tabs.get(number) {
                    tab.document.storage.clone_from(&kept.document.storage);
                }
            }
        }
        self.world.shelf.put(state, kept);
        Ok(())
    }

    async fn kept(&self, seen: &Observed, cx: &Cx) -> Result<Result<Kept, Without>, SnapshotError> {
        let read = |state: &mut super::lane::LaneState| (state.reading == 0).then_some(());
        match self.lane.wait(BODY_LIMIT, cx, read).await {
            // One that does not come is found missing when it is asked for.
            Ok(_) | Err(Interrupted::Timeout(_)) => {}
            Err(why) => return Err(why.into()),
        }
        let mut now = match self.now() {
            Ok(now) => now,
            Err(without) => return Ok(Err(without)),
        };
        let script = format!(
            "(() => {{ const of = (s) => {{ try {{ return Object.fromEntries(Object.entries(s())); }} catch {{ return {{}}; }} }};
                return {{ found: (window['{}'] || {{}}).storage || null,
                    now: {{ local: of(() => localStorage), session: of(() => sessionStorage) }} }}; }})()",
            self.world.token
        );
        for (number, tab) in &mut now.tabs {
            let script = script.clone();
            let session = &now.sessions[number];
            let mut stored = self
                .lane
                .connection
                .evaluate(session, None, script, SCRIPT_LIMIT, cx)
                .await?;
            if tab.document.storage.is_none() {
                tab.document.storage = Some(stored["found"].take());
            }
            tab.stored = stored["now"].take();
        }
        let databases = self.stores(cx).await?;
        let found = now.tabs.values().map(|tab| &tab.document.stores);
        for found in found.chain([&databases]) {
            if let Stores::Refused(what) = found {
                return Ok(Err((MissReason::ClientStore, what.clone())));
            }
        }
        // A failure is the kept state's, not the snapshot's: what was reached is there all the same,
        // it only cannot be come back to.
        let server = match self.instance.save(cx).await {
            Ok(server) => server,
            Err(SiteError::Interrupted(why)) => return Err(why.into()),
            Err(error) => {
                let detail = format!("it was not saved: {error}");
                return Ok(Err((MissReason::ServerFailed, detail)));
            }
        };
        Ok(Ok(Kept {
            log: now.log,
            tabs: now.tabs,
            active: now.active,
            opened: now.opened,
            cookies: self.lane.cookies(cx).await?,
            server,
            lineage: self.lineage.clone(),
            writes: self.lineage.writes(),
            origin: self.instance.origin().to_owned(),
            stores: databases,
            focus: seen.focus,
            scroll: seen.scroll,
        }))
    }

    /// What the lane holds now of what a state is kept by, or why it cannot be kept.
    fn now(&self) -> Result<Now, Without> {
        let lane = self.lane.lock();
        let logical = |url: &str| self.lane.setup.logical(url);
        let mut now = Now {
            log: lane.log.clone(),
            sessions: BTreeMap::new(),
            tabs: BTreeMap::new(),
            active: lane.tab().unwrap_or(0),
            opened: lane.opened,
        };
        let open = lane.tabs.iter();
        for (id, session) in open.filter_map(|id| Some((id, lane.sessions.get(id)?))) {
            let entered = self.tabs.get(&session.tab).map(|tab| &tab.document);
            let recorded = |entered: &&Entered| {
                let document = session.document.as_ref();
                document.is_some_and(|document| document.loader == entered.loader)
                    && lane.log.position(&entered.loader).is_some()
            };
            let Some(entered) = entered.filter(recorded) else {
                return Err((MissReason::NoDocument, logical(&session.url)));
            };
            let socket = session.document.as_ref().and_then(|d| d.socket.as_ref());
            if let Some(url) = socket {
                return Err((MissReason::Socket, logical(url)));
            }
            let tab = KeptTab {
                document: entered.clone(),
                stored: Value::Null,
                reaches_opener: session.reaches_opener,
            };
            now.sessions.insert(session.tab, id.clone());
            now.tabs.insert(session.tab, tab);
        }
        if now.tabs.len() > 1
            && let Some(origin) = lane.stores.any()
        {
            let what = format!("{} keeps something that several tabs use", logical(origin));
            return Err((MissReason::ClientStore, what));
        }
        if !now.tabs.contains_key(&now.active) {
            return Err((MissReason::NoDocument, "no tab is active".to_owned()));
        }
        Ok(now)
    }

    /// What the active document's origin keeps now. What another origin keeps is out of reach.
    pub(super) async fn stores(&self, cx: &Cx) -> Result<Stores, ScriptError> {
        let (origin, place) = {
            let lane = self.lane.lock();
            let Some((tab, document)) = lane.active().zip(lane.document()) else {
                return Ok(Stores::Empty);
            };
            let origin = ledger::origin(&document.url).to_owned();
            if let Some(other) = lane.stores.other_than(&origin) {
                let other = self.lane.setup.logical(other);
                let what =
                    format!("{other} keeps something, which no page of another site can read");
                return Ok(Stores::Refused(what));
            }
            let place = lane.place(tab.0, &origin);
            let Some(place) = place.filter(|_| lane.stores.is_stale(&origin)) else {
                return Ok(lane.stores.last(&origin));
            };
            (origin, place)
        };
        let most = self.lane.setup.limits.stores;
        match place.stores(&self.lane.connection, most, cx).await {
            Ok(stores) => {
                self.lane.lock().stores.read(&origin, stores.clone());
                Ok(stores)
            }
            // The page went on meanwhile, or keeps its databases to itself.
            Err(error) if error.is_context_gone() || error.is_slow() => {
                self.lane.lock().stores.changed(&origin);
                Ok(Stores::Refused(format!("it could not be read: {error}")))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the restored document's origin keep what the state's kept: what was written since its
    /// document was entered may have been written with other times and keys.
    pub(super) async fn put_stores_right(
        &self,
        kept: &Kept,
        cx: &Cx,
    ) -> Result<Option<End>, ScriptError> {
        let url = self.lane.setup.real(&kept.tab().document.url);
        let place = {
            let lane = self.lane.lock();
            if kept.stores == Stores::Empty && lane.stores.any().is_none() {
                return Ok(None);
            }
            let tab = lane.active.as_deref();
            tab.and_then(|tab| lane.place(tab, ledger::origin(&url)))
        };
        let missed = |reason| Some(Missed(MissReason::ClientStore, reason));
        let Some(place) = place else {
            return Ok(missed("the page went on".to_owned()));
        };
        let most = self.lane.setup.limits.stores;
        let put = place.put(&self.lane.connection, &kept.stores, most, cx);
        Ok(put.await?.err().and_then(missed))
    }

    /// Whether no server has moved since the state was kept, or it can be put back.
    fn server_follows(&self, kept: &Kept) -> bool {
        let unmoved = kept.lineage.writes() == kept.writes;
        match self.world.writes {
            _ if kept.server.is_some() => true,
            // The session comes with the cookies, but only to the server that knows it.
            Writes::Session => {
                unmoved && (kept.writes == 0 || kept.origin == self.instance.origin())
            }
            // Where writes are held none moves a server, but one that a commit released does.
            Writes::Hold | Writes::Checkpoint | Writes::Allow => {
                let here = kept.lineage.is(&self.lineage) && unmoved;
                here || (kept.writes == 0 && self.lineage.writes() == 0)
            }
        }
    }

    /// A fresh lane: the warm one, if it is ready.
    pub(super) async fn fresh_lane(&mut self, cx: &Cx) -> Result<Lane, CdpError> {
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
        if self.warm.is_some() {
            return;
        }
        let setup = Arc::new(self.world.lane_setup(self.instance.origin(), self.seed));
        let connection = self.chromium.connection().clone();
        // Its own context: this call's deadline is not the lane's.
        let cx = Cx::new(cx.token().clone());
        self.warm = Some(tokio::spawn(async move {
            Lane::create(&connection, setup, &cx).await
        }));
    }

    /// Whether the lane's only tab left this state for another document.
    fn has_left(&self, state: u64) -> bool {
        let lane = self.lane.lock();
        let mut left = self.left.iter().filter(|left| left.state == state);
        left.any(|left| *lane.tabs == [left.session.clone()])
    }

    // --- history ------------------------------------------------------------------------------

    /// Goes back to the page itself, if the browser has kept it. What does not belong to the page
    /// (cookies, storage, focus, scroll position) is put right.
    async fn restore_history(
        &mut self,
        to: &Snapshot,
        saved: &Saved,
        kept: &Kept,
        cx: &Cx,
    ) -> Result<End, RestoreError> {
        let at = self.left.iter().position(|left| left.state == saved.state);
        let Some(left) = at.map(|at| self.left[at].clone()) else {
            return Ok(Missed(MissReason::NotCached, String::new()));
        };
        // What this lane's history holds beyond is given up by going back.
        self.left.truncate(at.unwrap_or(0));
        self.lane.set_cookies(&kept.cookies, cx).await?;
        let Some(from) = kept.log.position(&kept.tab().document.loader) else {
            return Ok(Missed(MissReason::NoDocument, String::new()));
        };
        let arrivals = {
            let mut lane = self.lane.lock();
            // If the browser loads the page anew, no server hears of it.
            lane.traffic = Traffic::replay(kept.log.clone());
            lane.traffic.begin(kept.active, from);
            lane.arrivals
        };
        let params = NavigateToHistoryEntryParams::new(left.entry);
        let call = self.lane.connection.call(Some(&left.session), params, cx);
        if let Err(CdpError::Refused { message, .. }) = call.await {
            return Ok(Missed(MissReason::NotCached, message));
        }
        let arrived = self.lane.wait(HISTORY_LIMIT, cx, |lane| {
            let document = lane.document()?;
            (lane.arrivals != arrivals).then_some(document.from_cache)
        });
        match arrived.await {
            Ok(Some(true)) => {}
            Ok(Some(false)) => return Ok(Missed(MissReason::NotCached, String::new())),
            Ok(None) => return Err(RestoreError::Lost("the browser ended".to_owned())),
            Err(Interrupted::Timeout(_)) => {
                return Ok(Missed(
                    MissReason::NotCached,
                    "it did not answer".to_owned(),
                ));
            }
            Err(why) => return Err(why.into()),
        }
        (self.answer, self.terminal) = (None, false);
        self.pending.clear();
        self.settle(cx).await?;
        self.put_storage_right(kept, cx).await?;
        if let Some(main) = self.lane.main_frame() {
            let [x, y] = kept.scroll;
            let call = format!("goBackTo({}, {x}, {y})", kept.focus.unwrap_or(0));
            self.lane.in_frame(&main, &call, cx).await?;
        }
        let page = self.read(cx).await?;
        let end = self.verdict(&page, to, saved, 0);
        if matches!(end, Reached(_)) {
            if let Some(missed) = self.put_stores_right(kept, cx).await? {
                return Ok(missed);
            }
            self.go_live(&page, saved, kept, cx).await?;
            // The lane goes on: what its cookies were later is no change that an action made.
            self.lane.note_cookies(cx).await?;
            self.held = false;
        }
        Ok(end)
    }

    // --- replay -------------------------------------------------------------------------------

    /// A fresh context, the server put back, the path walked again.
    async fn replay(&mut self, to: &Snapshot, saved: &Saved, cx: &Cx) -> Result<End, RestoreError> {
        self.at = None;
        if let Some(step) = saved.path.iter().find(|step| step.wrote) {
            let advice = match self.world.writes {
                // What a commit released is done: it is never sent again.
                Writes::Hold => Some("a commit sent its write, and that once"),
                Writes::Checkpoint | Writes::Allow if !self.instance.resets() => {
                    Some("set `writes = \"session\"` if the server keeps this state per session")
                }
                Writes::Session | Writes::Checkpoint | Writes::Allow => None,
            };
            if let Some(advice) = advice {
                let detail = format!("`{}`; {advice}", step.action);
                return Ok(Missed(MissReason::Unrepeatable, detail));
            }
        }
        if self.instance.resets() {
            match self.instance.reset(cx).await {
                Ok(()) => {}
                Err(SiteError::Interrupted(why)) => return Err(why.into()),
                Err(error) => return Ok(Missed(MissReason::ServerFailed, error.to_string())),
            }
        }
        if self.instance.resets() || self.world.writes == Writes::Session {
            self.lineage = self.world.new_lineage(self.instance.origin());
        }
        self.lane = self.fresh_lane(cx).await?;
        self.path.clear();
        self.tabs.clear();
        self.next = 1;
        (self.answer, self.terminal) = (None, false);
        self.pending.clear();
        match self.start(cx).await {
            Ok(()) => {}
            Err(OpenError::Interrupted(why)) => return Err(RestoreError::Interrupted(why)),
            Err(OpenError::Lost(what)) => return Err(RestoreError::Lost(what)),
            Err(error @ (OpenError::Start { .. } | OpenError::Slow { .. })) => {
                return Ok(Missed(MissReason::Unreachable, error.to_string()));
            }
            Err(error @ (OpenError::Missing { .. } | OpenError::Other(_))) => {
                return Ok(Missed(MissReason::Environment, error.to_string()));
            }
        }
        let mut page = self.read(cx).await?;
        for (index, step) in saved.path.iter().enumerate() {
            if let Err((reason, detail)) = self.repeat(step, true, cx).await? {
                let detail = format!("step {}, `{}`: {detail}", index + 1, step.action);
                return Ok(Missed(reason, detail));
            }
            page = self.read(cx).await?;
        }
        let end = self.verdict(&page, to, saved, saved.path.len());
        if matches!(end, Reached(_)) {
            self.rebind(&page, saved, cx).await?;
        }
        Ok(end)
    }

    /// Carries a step of a path out once more; the inner error says why it is not the same step.
    pub(super) async fn repeat(
        &mut self,
        step: &Trodden,
        settle: bool,
        cx: &Cx,
    ) -> Result<Result<(), Without>, ScriptError> {
        let refused = |detail: String| Ok(Err((MissReason::StepRefused, detail)));
        let action = match self.rebased(step) {
            Ok(action) => action,
            Err(reason) => return refused(reason),
        };
        let mut verb = match actions::parse(&action) {
            Ok(verb) => verb,
            Err(rejection) => return refused(rejection.to_string()),
        };
        self.point(&mut verb, step);
        self.next = self.next.max(step.first);
        match self.step(&verb, &action, settle, cx).await? {
            Step::Done { .. } => Ok(Ok(())),
            Step::Rejected(rejection) => refused(rejection.to_string()),
            Step::Held { effects } => {
                let held = effects.iter().find(|effect| effect.held);
                let detail = held.map(|effect| format!("{} {}", effect.method, effect.url));
                Ok(Err((MissReason::NewWrite, detail.unwrap_or_default())))
            }
        }
    }

    /// Makes a verb that names a tab by its index name it by the one that it has now.
    fn point(&self, verb: &mut Verb, step: &Trodden) {
        let lane = self.lane.lock();
        let session = lane.session_of(step.tab);
        let at = lane.tabs.iter().position(|id| Some(&**id) == session);
        let now = at.and_then(|at| u32::try_from(at + 1).ok());
        let named = match verb {
            Verb::TabSwitch(to) => Some(&mut to.index),
            Verb::TabClose(close) => close.index.as_mut(),
            _ => None,
        };
        if let Some((index, now)) = named.zip(now) {
            *index = now;
        }
    }

    /// The action of a replayed step, on the reference its target has now.
    pub(super) fn rebased(&self, step: &Trodden) -> Result<crate::types::Action, String> {
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
    pub(super) async fn rebind(
        &mut self,
        page: &Page,
        saved: &Saved,
        cx: &Cx,
    ) -> Result<(), ScriptError> {
        self.rename(page, &saved.refs, cx).await?;
        for (other, refs) in page.others.iter().zip(&saved.others) {
            self.rename(other, refs, cx).await?;
        }
        let live = self.items.iter_mut().filter(|found| found.number > 0);
        for (found, number) in live.zip(&saved.refs) {
            found.number = *number;
            found.element.r#ref = number.to_string();
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

    /// Gives what a tab shows other references.
    async fn rename(&self, page: &Page, refs: &[u32], cx: &Cx) -> Result<(), ScriptError> {
        let mut pairs: Vec<Vec<(u32, u32)>> = vec![Vec::new(); page.frames.len()];
        let live = page.found.iter().filter(|found| found.number > 0);
        for (found, number) in live.zip(refs) {
            pairs[found.address].push((found.number, *number));
        }
        for (address, pairs) in page.frames.iter().zip(pairs) {
            if pairs.iter().any(|(from, to)| from != to) {
                let call = format!("rebind({})", json!(pairs));
                self.lane.in_frame(address, &call, cx).await?;
            }
        }
        Ok(())
    }
}

fn ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Scheme, host and port of a URL; the URL itself where it has none.
fn origin_of(url: &str) -> String {
    match url::Url::parse(url).map(|url| url.origin()) {
        Ok(origin) if origin.is_tuple() => origin.ascii_serialization(),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_is_kept_by_origin() {
        assert_eq!(origin_of("http://shop.demo/cart?x=1"), "http://shop.demo");
        assert_eq!(origin_of("http://a:81/x"), "http://a:81");
        assert_eq!(origin_of("about:blank"), "about:blank");
    }
}
