//! The document rung: each open tab's last document is loaded again in a fresh context, every request
//! answered from the log, and the actions since are repeated.
//!
//! Several tabs are walked together, in the order of the path: a tab's document is loaded where the
//! path entered it, and an action is repeated in the tab that it was for, if that is there. It is not
//! where its document is loaded only later, or where it was closed since; a tab that a repeated action
//! opens (and closes) again is there. So whatever two open tabs do to each other happens in its order.
//!
//! Databases and caches that several tabs use are not kept: a page's open connection stands in the way
//! of putting them back under it.
//!
//! Invariants: no request reaches a server; a tab that can talk to its opener is only ever opened by
//! the action that opened it, so that it can still; tabs have the numbers, and what they show has the
//! references, of the state.

use chromiumoxide_cdp::cdp::browser_protocol::page::{
    AddScriptToEvaluateOnNewDocumentParams, RemoveScriptToEvaluateOnNewDocumentParams,
    ScriptIdentifier,
};
use serde_json::Value;

use super::act::Refusal;
use super::connection::CdpError;
use super::environment::{Browser, OpenTab, Saved};
use super::kept::{Begin, Entered, Kept};
use super::lane::Traffic;
use super::ledger;
use super::observe::Page;
use super::restore::{End, Missed, Reached};
use super::settle::{SCRIPT_LIMIT, ScriptError};
use super::stores::{Place, Stores};
use crate::context::Cx;
use crate::env::RestoreError;
use crate::types::{MissReason, Snapshot, Writes};

/// How far the repetition of a path is.
struct Progress {
    /// Whether what was done has come to rest.
    rested: bool,
    /// What the tabs show, if it was read since.
    page: Option<Page>,
}

/// A script that makes the page's storage hold this and nothing else. What is right already is not
/// touched: other tabs hear of every change.
fn storage_script(stored: &Value) -> String {
    format!(
        "{{ const put = (s, want) => {{ try {{
                for (const k of Object.keys(s())) if (!(k in want)) s().removeItem(k);
                for (const k in want) if (s().getItem(k) !== want[k]) s().setItem(k, want[k]);
            }} catch {{}} }};
            const now = {stored};
            put(() => localStorage, now.local || {{}}); put(() => sessionStorage, now.session || {{}}); }}"
    )
}

impl Browser {
    /// Begins again at these documents, and repeats the actions since: with waiting after each, or only
    /// where one led to another document or tab, and at the end.
    pub(super) async fn restore_documents(
        &mut self,
        to: &Snapshot,
        saved: &Saved,
        kept: &Kept,
        begins: &[Begin<'_>],
        settle_each: bool,
        cx: &Cx,
    ) -> Result<End, RestoreError> {
        self.lane = self.fresh_lane(cx).await?;
        self.lane.set_cookies(&kept.cookies, cx).await?;
        self.lane.lock().traffic = Traffic::replay(kept.log.clone());
        self.tabs.clear();
        self.path.clear();
        self.next = 1;
        (self.answer, self.terminal) = (None, false);
        self.pending.clear();

        let mut begins = begins.iter().peekable();
        let mut repeated = 0;
        let mut progress = Progress {
            rested: true,
            page: None,
        };
        for index in 0..=saved.path.len() {
            while let Some((tab, begin)) = begins.next_if(|(_, begin)| begin.before <= index) {
                // A repeated action may have opened it.
                if self.tabs.contains_key(tab) {
                    continue;
                }
                if !self.tabs.is_empty() {
                    self.rest(&mut progress, cx).await?;
                    self.look(&mut progress, cx).await?;
                }
                if let Some(missed) = self.bring(*tab, begin, kept, cx).await? {
                    return Ok(missed);
                }
                progress.page = None;
            }
            let Some(step) = saved.path.get(index) else {
                break;
            };
            if !self.tabs.contains_key(&step.tab) {
                self.path.push(step.clone());
                continue;
            }
            self.turn_to(step.tab, &mut progress, cx).await?;
            self.look(&mut progress, cx).await?;
            if !settle_each && self.rebased(step).is_err() {
                // What an earlier action brings about is not there yet.
                self.rest(&mut progress, cx).await?;
                self.look(&mut progress, cx).await?;
            }
            let settle = settle_each || step.crossed;
            self.lane.lock().opened = step.opened;
            if let Err((reason, detail)) = self.repeat(step, settle, cx).await? {
                return Ok(self.missed_request().unwrap_or(Missed(reason, detail)));
            }
            progress = Progress {
                rested: settle,
                page: None,
            };
            repeated += 1;
        }
        self.turn_to(kept.active, &mut progress, cx).await?;
        self.rest(&mut progress, cx).await?;
        self.put_storage_right(kept, cx).await?;
        if kept.tabs.len() > 1 {
            // One of them may have heard of it.
            progress.rested = false;
            self.rest(&mut progress, cx).await?;
        }
        let page = match progress.page {
            Some(page) => page,
            None => self.read(cx).await?,
        };
        self.arrived(&page, to, saved, kept, repeated, cx).await
    }

    /// Waits until what was done has come to rest.
    async fn rest(&mut self, progress: &mut Progress, cx: &Cx) -> Result<(), ScriptError> {
        if !progress.rested {
            self.settle(cx).await?;
            *progress = Progress {
                rested: true,
                page: None,
            };
        }
        Ok(())
    }

    /// Reads what the tabs show, if that is not known.
    async fn look(&mut self, progress: &mut Progress, cx: &Cx) -> Result<(), ScriptError> {
        if progress.page.is_none() {
            progress.page = Some(self.read(cx).await?);
        }
        Ok(())
    }

    /// Makes a tab the active one, what was done in another being at rest. One that has closed by itself
    /// stays away, which the digest shows.
    async fn turn_to(
        &mut self,
        tab: u32,
        progress: &mut Progress,
        cx: &Cx,
    ) -> Result<(), ScriptError> {
        let session = {
            let lane = self.lane.lock();
            let other = lane.tab() != Some(tab);
            lane.session_of(tab).filter(|_| other).map(str::to_owned)
        };
        if let Some(session) = session {
            self.rest(progress, cx).await?;
            self.lane.activate(&session, cx).await?;
            progress.page = None;
        }
        Ok(())
    }

    /// Loads the document at which a tab begins again: the first tab in the one that a lane comes with,
    /// others in one of their own.
    async fn bring(
        &mut self,
        tab: u32,
        begin: &Entered,
        kept: &Kept,
        cx: &Cx,
    ) -> Result<Option<End>, RestoreError> {
        let Some(from) = kept.log.position(&begin.loader) else {
            return Ok(Some(Missed(MissReason::NoDocument, begin.url.clone())));
        };
        if kept.tabs.get(&tab).is_some_and(|tab| tab.reaches_opener) {
            return Ok(Some(Missed(MissReason::Opener, begin.url.clone())));
        }
        let first = self.tabs.is_empty();
        if first {
            self.lane.lock().renumber(tab);
        } else {
            self.lane.lock().opened = tab - 1;
            self.lane.open_tab("about:blank", cx).await?;
        }
        self.lane.lock().traffic.begin(tab, from);
        self.next = self.next.max(begin.first);
        if let Some(missed) = self.seed_stores(begin, cx).await? {
            return Ok(Some(missed));
        }
        let session = self.lane.session()?;
        let seeded = self.seed_storage(&session, begin, first, cx).await?;
        match self.navigate(&self.lane.setup.real(&begin.url), cx).await {
            Ok(()) => {}
            Err(Refusal::Rejected(rejection)) => {
                let missed = self.missed_request();
                let unreachable = Missed(MissReason::Unreachable, rejection.reason);
                return Ok(Some(missed.unwrap_or(unreachable)));
            }
            Err(Refusal::Script(error)) => return Err(error.into()),
        }
        self.settle(cx).await?;
        let connection = &self.lane.connection;
        if let Some(script) = seeded {
            let remove = RemoveScriptToEvaluateOnNewDocumentParams::new(script);
            connection.call(Some(&session), remove, cx).await?;
        }
        let mut document = begin.clone();
        if let Some(here) = self.lane.lock().document() {
            document.loader.clone_from(&here.loader);
        }
        let lacking = begin.entry - self.entries(&session, cx).await?.current_index;
        self.tabs.insert(tab, OpenTab { document, lacking });
        if begin.before == 0
            && let Err(error) = self.begin_episode(cx).await
        {
            return Ok(Some(Missed(MissReason::StepRefused, error.to_string())));
        }
        Ok(None)
    }

    /// The first request of a restore that the log could not answer.
    fn missed_request(&self) -> Option<End> {
        match &self.lane.lock().traffic {
            Traffic::Replay { missed, .. } => {
                let (reason, request) = missed.clone()?;
                Some(Missed(reason, request))
            }
            Traffic::Record => None,
        }
    }

    /// Puts in place what the document found in databases and caches: on an empty page of its origin,
    /// to which no action goes back.
    async fn seed_stores(&self, begin: &Entered, cx: &Cx) -> Result<Option<End>, RestoreError> {
        let stores = &begin.stores;
        if *stores == Stores::Empty {
            return Ok(None);
        }
        let url = self.lane.setup.real(&begin.url);
        let url = format!("{}/{}", ledger::origin(&url), self.world.token);
        if let Traffic::Replay { blank, .. } = &mut self.lane.lock().traffic {
            *blank = Some(url.clone());
        }
        match self.navigate(&url, cx).await {
            Ok(()) => {}
            Err(Refusal::Rejected(rejection)) => {
                return Ok(Some(Missed(MissReason::ClientStore, rejection.reason)));
            }
            Err(Refusal::Script(error)) => return Err(error.into()),
        }
        let arrived = self.lane.wait(SCRIPT_LIMIT, cx, |lane| {
            let there = lane.document()?.url == url;
            lane.active.clone().filter(|_| there)
        });
        let session = match arrived.await {
            Ok(Some(session)) => session,
            Ok(None) => return Err(RestoreError::Lost("the browser ended".to_owned())),
            Err(why) => return Err(why.into()),
        };
        let place = Place {
            session,
            context: None,
        };
        let connection = &self.lane.connection;
        let most = self.lane.setup.limits.stores;
        let put = place.put(connection, stores, most, cx).await?;
        Ok(put
            .err()
            .map(|reason| Missed(MissReason::ClientStore, reason)))
    }

    /// Puts the document's storage in place before its first script. In the lane's first tab nothing is
    /// stored yet.
    async fn seed_storage(
        &self,
        session: &str,
        document: &Entered,
        first: bool,
        cx: &Cx,
    ) -> Result<Option<ScriptIdentifier>, CdpError> {
        let Some(storage) = document.storage.as_ref().filter(|s| s.is_object()) else {
            return Ok(None);
        };
        let empty = |part: &str| {
            storage[part]
                .as_object()
                .is_none_or(serde_json::Map::is_empty)
        };
        if first && empty("local") && empty("session") {
            return Ok(None);
        }
        let source = format!("if (window === top) {}", storage_script(storage));
        let params = AddScriptToEvaluateOnNewDocumentParams::new(source);
        let added = self.lane.connection.call(Some(session), params, cx).await?;
        Ok(Some(added.identifier))
    }

    /// Makes the pages' storage hold what the state's held: tabs that are gone may have written, too.
    pub(super) async fn put_storage_right(&self, kept: &Kept, cx: &Cx) -> Result<(), ScriptError> {
        for (number, tab) in &kept.tabs {
            let session = self.lane.lock().session_of(*number).map(str::to_owned);
            if let Some(session) = session {
                let script = storage_script(&tab.stored);
                self.lane
                    .connection
                    .evaluate(&session, None, script, SCRIPT_LIMIT, cx)
                    .await?;
            }
        }
        Ok(())
    }

    /// The proof, and what follows from it.
    async fn arrived(
        &mut self,
        page: &Page,
        to: &Snapshot,
        saved: &Saved,
        kept: &Kept,
        repeated: usize,
        cx: &Cx,
    ) -> Result<End, RestoreError> {
        if let Some(missed) = self.missed_request() {
            return Ok(missed);
        }
        let end = self.verdict(page, to, saved, repeated);
        if matches!(end, Reached(_)) {
            if !self.tabs.keys().eq(kept.tabs.keys()) {
                return Ok(Missed(MissReason::OtherState, "other tabs".to_owned()));
            }
            if let Some(missed) = self.put_stores_right(kept, cx).await? {
                return Ok(missed);
            }
            self.go_live(page, saved, kept, cx).await?;
        }
        Ok(end)
    }

    /// The restored pages go on with the real network, as the state they stand for.
    pub(super) async fn go_live(
        &mut self,
        page: &Page,
        saved: &Saved,
        kept: &Kept,
        cx: &Cx,
    ) -> Result<(), ScriptError> {
        self.lane.set_cookies(&kept.cookies, cx).await?;
        self.lane.lock().go_live(kept);
        for (number, tab) in &mut self.tabs {
            if let Some(kept) = kept.tabs.get(number) {
                tab.document.clone_from(&kept.document);
            }
        }
        self.path.clone_from(&saved.path);
        if self.world.writes == Writes::Session {
            self.lineage = kept.lineage.clone();
        }
        self.writes = kept.writes;
        self.rebind(page, saved, cx).await
    }
}
