//! What is known of a lane's pages: tabs, frames, requests under way, documents.
//!
//! The event task writes it, the environment reads it and takes reports out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::traffic::BodyRecorder;
use crate::env::browser::archive::Archive;
use crate::env::browser::kept::Kept;
use crate::env::browser::ledger::{self, Ledger};
use crate::env::browser::netlog::{Asker, NetLog};
use crate::env::browser::stores::{Known, Place, Stores};
use crate::env::page::shorten;
use crate::env::page::writes::Permits;
use crate::types::{MissReason, Notice, NoticeKind};

/// Notices of one kind of trouble that are kept per action; the rest is counted.
const MAX_NOTICES: usize = 20;

/// What kind of target a session belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::env::browser) enum TargetKind {
    Page,
    Frame,
    Worker,
}

/// A frame with its two script contexts (unique ids).
#[derive(Debug, Clone, Default)]
pub(in crate::env::browser) struct Frame {
    pub id: String,
    pub parent: Option<String>,
    pub url: String,
    pub main: Option<String>,
    pub walk: Option<String>,
}

/// One attached session.
#[derive(Debug)]
pub(in crate::env::browser) struct Session {
    pub target: String,
    pub kind: TargetKind,
    /// Number of the tab that it is, or belongs to: tabs are counted from 1 as they open. 0 for what
    /// belongs to none.
    pub tab: u32,
    pub opener: Option<String>,
    /// Whether its scripts can talk to the opener.
    pub reaches_opener: bool,
    pub ready: bool,
    pub url: String,
    pub loading: bool,
    pub navigating: Option<Instant>,
    /// A tab's document.
    pub document: Option<Document>,
    /// The latest document response: its loader and HTTP status.
    pub(super) answered: Option<(String, i64)>,
    /// The latest document that could not be loaded: its loader and why.
    pub(super) failed: Option<(String, String)>,
    /// In attach order, which is the order of `window.frames`.
    pub frames: Vec<Frame>,
    /// Origins whose stores it tells of.
    pub(super) tracked: HashSet<String>,
}

impl Session {
    /// The main frame's id: for pages and out-of-process frames it is the target's.
    pub(super) fn main_frame(&self) -> &str {
        &self.target
    }

    pub(super) fn frame(&mut self, id: &str) -> &mut Frame {
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
pub(super) struct InFlight {
    pub(super) url: String,
    pub(super) loader: String,
    pub(super) since: Instant,
    pub(super) blocks_long: bool,
}

/// Everything known of a lane's pages.
#[derive(Debug, Default)]
pub(in crate::env::browser) struct LaneState {
    pub sessions: HashMap<String, Session>,
    /// Page sessions in opening order, which is that of their numbers.
    pub tabs: Vec<String>,
    /// How many tabs were ever opened: the number of the latest one.
    pub opened: u32,
    pub active: Option<String>,
    pub(super) requests: HashMap<(String, String), InFlight>,
    /// Counts requests that began or ended: between two of a chain none is in flight.
    pub activity: u64,
    pub notices: Vec<Notice>,
    pub(super) dropped_notices: u32,
    pub ledger: Ledger,
    /// The exchanges, where they are collected.
    pub archive: Option<Archive>,
    /// Reads that were let pass and are not answered yet: method and URL by the browser's id.
    pub(super) asked: HashMap<String, (String, String)>,
    /// When a tab last closed.
    pub(super) closed: Option<Instant>,
    /// Frames of tabs that closed: what they sent last is still theirs.
    pub(super) past: HashSet<String>,
    pub(super) dialogs: u32,
    /// Why the lane cannot be used any more.
    pub dead: Option<String>,
    /// The data of a drag that the browser handed over (HTML5 drag and drop).
    pub drag: Option<Value>,
    /// Whether requests go to the network or are answered from a log.
    pub traffic: Traffic,
    /// Responses of this lane's documents.
    pub log: NetLog,
    /// Counts documents that arrived, those from the back/forward cache included.
    pub arrivals: u64,
    /// Responses without a length that were let through: their bodies are read at their end.
    pub(super) unread: HashMap<String, BodyRecorder>,
    /// Bodies that are being read now.
    pub reading: u32,
    /// Set while the environment itself opens a tab, so that it is not reported.
    pub(super) expect_tab: bool,
    /// What scripts have kept in databases and caches, as far as it was read.
    pub stores: Known,
}

/// The main frame's document of a tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::env::browser) struct Document {
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
pub(in crate::env::browser) enum Traffic {
    /// They go to the network; what comes back is kept in the lane's log.
    #[default]
    Record,
    /// They are answered from a log; none goes to the network.
    Replay {
        log: NetLog,
        /// Where the requests of each tab's restored document begin.
        from: BTreeMap<u32, usize>,
        /// Answers that were given already.
        used: Vec<bool>,
        /// The first request that the log could not answer, and why.
        missed: Option<(MissReason, String)>,
        /// The URL that is answered with an empty page: where stores are put in place.
        blank: Option<String>,
    },
}

impl Traffic {
    /// Answers from a log.
    pub(in crate::env::browser) fn replay(log: NetLog) -> Self {
        Self::Replay {
            log,
            from: BTreeMap::new(),
            used: Vec::new(),
            missed: None,
            blank: None,
        }
    }

    /// A tab's document comes now whose requests begin here.
    pub(in crate::env::browser) fn begin(&mut self, tab: u32, at: usize) {
        if let Self::Replay { from, .. } = self {
            from.insert(tab, at);
        }
    }
}

/// Who asks in a tab: of one that a repeated action opened, its first document.
pub(super) fn asker(tab: u32, from: &BTreeMap<u32, usize>, log: &NetLog) -> Asker {
    let begun = from.get(&tab).copied();
    let from = begun.or_else(|| log.first(tab)).unwrap_or(0);
    Asker { tab, from }
}

impl LaneState {
    /// The session of the active tab.
    pub(in crate::env::browser) fn active(&self) -> Option<(&str, &Session)> {
        let id = self.active.as_deref()?;
        Some((id, self.sessions.get(id)?))
    }

    /// The active tab's document.
    pub(in crate::env::browser) fn document(&self) -> Option<&Document> {
        self.active()?.1.document.as_ref()
    }

    /// The active tab's number.
    pub(in crate::env::browser) fn tab(&self) -> Option<u32> {
        Some(self.active()?.1.tab)
    }

    /// The session of the tab with this number, if it is open.
    pub(in crate::env::browser) fn session_of(&self, tab: u32) -> Option<&str> {
        let mut open = self.tabs.iter();
        let found = open.find(|id| self.sessions.get(*id).is_some_and(|s| s.tab == tab));
        found.map(String::as_str)
    }

    /// The number of the tab that a session is, or belongs to.
    pub(super) fn tab_of(&self, session: Option<&str>) -> u32 {
        let known = session.and_then(|id| self.sessions.get(id));
        known.map_or(0, |session| session.tab)
    }

    /// Gives the lane's only tab another number.
    pub(in crate::env::browser) fn renumber(&mut self, tab: u32) {
        self.opened = tab;
        if let Some(id) = &self.active
            && let Some(session) = self.sessions.get_mut(id)
        {
            session.tab = tab;
        }
    }

    /// The tabs go on with the real network, as those of a kept state. The log knows their documents by
    /// the loaders that they had when they were recorded.
    pub(in crate::env::browser) fn go_live(&mut self, kept: &Kept) {
        self.traffic = Traffic::Record;
        self.log = kept.log.clone();
        self.opened = kept.opened;
        for id in &self.tabs {
            if let Some(session) = self.sessions.get_mut(id)
                && let Some(document) = &mut session.document
                && let Some(kept) = kept.tabs.get(&session.tab)
            {
                document.loader.clone_from(&kept.document.loader);
            }
        }
    }

    /// Puts a tab in its place among the open ones.
    pub(super) fn add_tab(&mut self, id: &str, tab: u32) {
        let number = |id: &String| self.sessions.get(id).map_or(0, |session| session.tab);
        let at = self.tabs.partition_point(|other| number(other) < tab);
        self.tabs.insert(at, id.to_owned());
    }

    pub(super) fn notice(&mut self, kind: NoticeKind, text: &str) {
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
    pub(in crate::env::browser) fn take_notices(&mut self) -> Vec<Notice> {
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
    pub(in crate::env::browser) fn begin_action(&mut self, permits: Option<Permits>) {
        self.ledger.begin(permits);
        self.dialogs = 0;
        self.drag = None;
    }

    /// The script context of a tab's main frame that no page reaches, if the frame is of this origin.
    pub(in crate::env::browser) fn place(&self, tab: &str, origin: &str) -> Option<Place> {
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

    /// Whether something is under way that settled pages would not have: the active tab (or any, with
    /// `all`) loads, is about to navigate, or waits for a request. Polls (older than `long`) and
    /// streams do not count.
    pub(in crate::env::browser) fn busy(&self, long: Duration, all: bool) -> bool {
        let active = self.tab();
        let counts = |tab: u32| all || tab == 0 || Some(tab) == active;
        let soon = |since: Instant| since.elapsed() < Duration::from_secs(2);
        let moving = |s: &Session| !s.ready || s.loading || s.navigating.is_some_and(soon);
        let tabs = self.tabs.iter().filter_map(|id| self.sessions.get(id));
        let mut tabs = tabs.filter(|session| counts(session.tab));
        let mut requests = self.requests.iter().filter(|((owner, _), request)| {
            counts(self.tab_of(Some(owner)))
                && (request.blocks_long || request.since.elapsed() < long)
        });
        tabs.any(moving) || requests.next().is_some()
    }

    /// URLs of the requests that are older than `long` and have not ended, nor are known to have no
    /// end.
    pub(super) fn unended(&self, long: Duration) -> impl Iterator<Item = &str> {
        let old = self.requests.iter().filter(move |((_, id), request)| {
            request.since.elapsed() >= long && self.log.is_waiting(id)
        });
        old.map(|(_, request)| request.url.as_str())
    }
}

pub(super) struct Shared {
    pub(super) state: Mutex<LaneState>,
    pub(super) version: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bump(&self) {
        self.version.send_modify(|v| *v += 1);
    }
}
