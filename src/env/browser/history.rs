//! The history of each tab: the entries that actions go back and forward to.
//!
//! A restore begins at the last document, and what came before it is no entry of the fresh tab. Two
//! things hang on those entries. A document that the browser went back or forward to has its fields and
//! scroll positions from when it was left: repeating it begins at the document that made the entry
//! ([`Entered::begin`]). And an agent may go back: then, and only then, the restored state is brought
//! back once more from a document far enough before it, every request answered from the log as ever.
//!
//! Invariant: an entry's position counts from the tab's first one, whatever the lane's own tab lacks.

use std::collections::BTreeSet;
use std::sync::Arc;

use chromiumoxide_cdp::cdp::browser_protocol::page::{
    GetNavigationHistoryParams, GetNavigationHistoryReturns, NavigateToHistoryEntryParams,
    NavigationEntry,
};

use super::act::{Refusal, reject};
use super::connection::CdpError;
use super::environment::Browser;
use super::kept::Entered;
use super::lane::Session;
use super::settle::ScriptError;
use crate::context::Cx;
use crate::env::page::actions::Verb;
use crate::env::{ActError, Environment, RestoreError, SnapshotError};

/// A state that was left by going to another document: the browser may have kept its page.
#[derive(Debug, Clone)]
pub(super) struct Left {
    pub(super) state: u64,
    pub(super) session: String,
    /// Its entry in the tab's history.
    pub(super) entry: i64,
}

impl Browser {
    /// The entry so many steps from the current one: none where a restore began with an empty page.
    fn entry<'h>(
        &self,
        history: &'h GetNavigationHistoryReturns,
        by: i64,
    ) -> Option<&'h NavigationEntry> {
        let at = usize::try_from(history.current_index + by).ok()?;
        let entry = history.entries.get(at)?;
        let empty = entry.url == "about:blank" || entry.url.ends_with(&self.world.token);
        (!empty).then_some(entry)
    }

    /// A tab's history.
    pub(super) async fn entries(
        &self,
        session: &str,
        cx: &Cx,
    ) -> Result<GetNavigationHistoryReturns, CdpError> {
        let params = GetNavigationHistoryParams::default();
        self.lane.connection.call(Some(session), params, cx).await
    }

    /// Goes back or forward.
    pub(super) async fn history(&self, by: i64, cx: &Cx) -> Result<(), Refusal> {
        let session = self.lane.session()?;
        let history = self.entries(&session, cx).await?;
        let Some(entry) = self.entry(&history, by) else {
            return reject(if by < 0 {
                "there is no earlier page"
            } else {
                "there is no later page"
            });
        };
        let to = NavigateToHistoryEntryParams::new(entry.id);
        self.lane.connection.call(Some(&session), to, cx).await?;
        Ok(())
    }

    /// Notes the documents that the tabs are in now, where they are others than before, and the state
    /// that was left for the active one. Whether there were any, or a tab has closed.
    pub(super) async fn enter_documents(
        &mut self,
        by: Option<&Verb>,
        left: Option<u64>,
        cx: &Cx,
    ) -> Result<bool, ScriptError> {
        let (open, others) = {
            let lane = self.lane.lock();
            let tabs = lane.tabs.iter();
            let tabs = tabs.filter_map(|id| Some((id, lane.sessions.get(id)?)));
            let open: BTreeSet<u32> = tabs.clone().map(|(_, session)| session.tab).collect();
            let other = |(id, session): (&String, &Session)| {
                let document = session.document.as_ref()?;
                let known = self.tabs.get(&session.tab);
                let same = known.is_some_and(|known| known.document.loader == document.loader);
                (!same).then(|| (id.clone(), session.tab, document.clone()))
            };
            (open, tabs.filter_map(other).collect::<Vec<_>>())
        };
        let closed = self.tabs.keys().any(|tab| !open.contains(tab));
        self.tabs.retain(|tab, _| open.contains(tab));
        let crossed = closed || !others.is_empty();
        for (session, number, document) in others {
            let history = self.entries(&session, cx).await?;
            let after = usize::try_from(history.current_index + 1).unwrap_or(0);
            let last = after >= history.entries.len();
            let active = self.lane.lock().tab() == Some(number);
            let tab = self.tabs.entry(number).or_default();
            let entered = Entered {
                url: self.lane.setup.logical(&document.url),
                loader: document.loader,
                before: self.path.len(),
                first: self.next,
                storage: None,
                stores: document.stores,
                entry: history.current_index + tab.lacking,
                traversed: !last || active && matches!(by, Some(Verb::Forward)),
                previous: None,
            };
            let previous = std::mem::replace(&mut tab.document, entered);
            tab.document.previous = Some(Arc::new(previous)).filter(|d| !d.loader.is_empty());
            if let Some(state) = left.filter(|_| active) {
                self.leave(state, &history)?;
            }
        }
        Ok(crossed)
    }

    /// Notes that the state that was live has been left by going to another document.
    fn leave(
        &mut self,
        state: u64,
        history: &GetNavigationHistoryReturns,
    ) -> Result<(), ScriptError> {
        if !self.chromium.keeps_pages() || self.lane.lock().tabs.len() != 1 {
            return Ok(());
        }
        let session = self.lane.session()?;
        let before = usize::try_from(history.current_index - 1).ok();
        if let Some(entry) = before.and_then(|at| history.entries.get(at)) {
            self.left.retain(|left| left.state != state);
            self.left.push(Left {
                state,
                session,
                entry: entry.id,
            });
        }
        Ok(())
    }

    /// Before an action that goes back: if the page is one that a restore brought and the tab lacks the
    /// entry before it, the state is restored once more together with that entry.
    pub(super) async fn regain(&mut self, verb: &Verb, cx: &Cx) -> Result<(), ActError> {
        let tab = self.lane.lock().tab();
        let Some(tab) = tab.and_then(|tab| self.tabs.get(&tab)) else {
            return Ok(());
        };
        if tab.lacking == 0 || !matches!(verb, Verb::Back) {
            return Ok(());
        }
        let history = self.entries(&self.lane.session()?, cx).await?;
        let wanted = history.current_index + tab.lacking - 1;
        if self.entry(&history, -1).is_some() || tab.document.begin(wanted).is_none() {
            return Ok(());
        }
        let here = self.snapshot(cx).await.map_err(|error| match error {
            SnapshotError::Interrupted(why) => ActError::Interrupted(why),
            SnapshotError::Lost(what) => ActError::Lost(what),
            error @ SnapshotError::Other(_) => ActError::Other(error.to_string()),
        })?;
        match self.climb(&here, Some(wanted), cx).await {
            Ok(_) => Ok(()),
            Err(RestoreError::Interrupted(why)) => Err(ActError::Interrupted(why)),
            Err(RestoreError::Lost(what)) => Err(ActError::Lost(what)),
            Err(error) => Err(ActError::Other(format!(
                "the page before this one could not be brought back: {error}"
            ))),
        }
    }
}
