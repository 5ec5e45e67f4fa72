//! The factory: one Chromium, many lanes.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::environment::Browser;
use super::find::{BrowserBinary, find_browser};
use super::kept::{Habits, Lineage, RestoreLimits, Shelf};
use super::lane::{LaneSetup, SocketGuard};
use super::launch::{Chromium, LaunchError};
use super::netlog::Bodies;
use super::volatile::Learned;
use crate::context::Cx;
use crate::env::episode::Episode;
use crate::env::notes::SiteNotes;
use crate::env::{Environment, OpenError, Site, SiteError, World};
use crate::types::{EffectRules, Seed, SiteNote, Writes};

/// How the boxes a page opens are answered. Every box is reported in the next observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialogPolicy {
    /// Alerts, confirms and leave-page boxes are accepted, prompts get their default text.
    #[default]
    Accept,
    /// Everything is dismissed, except leave-page boxes.
    Dismiss,
}

impl DialogPolicy {
    /// Whether to accept a box of this kind, and with what text.
    pub(super) fn answer(self, kind: &str) -> (bool, Option<String>) {
        match self {
            Self::Accept => (true, None),
            Self::Dismiss => (kind == "beforeunload" || kind == "alert", None),
        }
    }
}

/// When a page counts as being at rest after an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rest {
    /// Nothing loads, and over two animation frames nothing changes and no timer is due.
    #[default]
    Quiet,
    /// Nothing loads, and no request began or was under way for this long: the rule of most browser
    /// automation (with 500 ms), to measure against.
    NetworkIdle(Duration),
}

/// What does not depend on the task.
#[derive(Debug, Clone)]
pub struct BrowserConfig {
    /// The browser; looked for if `None`.
    pub binary: Option<BrowserBinary>,
    /// Viewport in CSS pixels.
    pub viewport: (u32, u32),
    /// Most tokens (4 bytes each) of an observation's text.
    pub observation_tokens: u32,
    /// Whether every observation carries a screenshot.
    pub screenshots: bool,
    /// Upper bound of waiting for a page to come to rest.
    pub settle: Duration,
    /// How rest is recognised.
    pub rest: Rest,
    /// How boxes are answered.
    pub dialogs: DialogPolicy,
    /// Whether `Math.random`, `Date` and `crypto.randomUUID` are seeded.
    pub deterministic: bool,
    /// Whether the start page is loaded a second time, once per world, to learn what the site shows
    /// differently with every load; such places are left out of digests.
    pub double_load: bool,
    /// How much is kept of pages, to come back to them.
    pub restore: RestoreLimits,
}

impl Default for BrowserConfig {
    fn default() -> Self {
        Self {
            binary: None,
            viewport: (1280, 720),
            observation_tokens: 2000,
            screenshots: true,
            settle: Duration::from_secs(6),
            rest: Rest::default(),
            dialogs: DialogPolicy::default(),
            deterministic: true,
            double_load: false,
            restore: RestoreLimits::default(),
        }
    }
}

/// What every environment of a world shares.
pub(super) struct Shared {
    pub config: BrowserConfig,
    pub start_path: String,
    pub writes: Writes,
    pub rules: EffectRules,
    pub episode: Option<Episode>,
    /// What the guard's hook must be given; no page can know it.
    key: String,
    /// Name of the hook that the init script leaves in pages.
    pub token: String,
    logical: String,
    /// Wall clock of the world's creation, in milliseconds: where every lane's clock starts.
    clock: u64,
    states: AtomicU64,
    /// What two loads of the start page taught.
    pub learned: Arc<OnceLock<Learned>>,
    /// What is peculiar about the site.
    pub notes: Arc<SiteNotes>,
    /// Held by the lane that loads the start page twice: the others wait for what it learns.
    pub learning: Mutex<()>,
    /// What restoring needs beside the snapshots.
    pub shelf: Shelf,
    habits: std::sync::Mutex<Habits>,
    bodies: Arc<Bodies>,
    /// The writes to each server, by its real origin.
    lineages: std::sync::Mutex<HashMap<String, Lineage>>,
}

impl Shared {
    /// An id for one live state of one lane.
    pub(super) fn next_state(&self) -> u64 {
        self.states.fetch_add(1, Ordering::Relaxed)
    }

    /// What was learned about the ways back.
    pub(super) fn habits(&self) -> MutexGuard<'_, Habits> {
        self.habits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose writes move the server at this origin under a lane: everybody's, unless each session
    /// has a state of its own.
    pub(super) fn lineage(&self, origin: &str) -> Lineage {
        if self.writes == Writes::Session {
            return Lineage::default();
        }
        let mut all = self.lineages.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(origin.to_owned()).or_default().clone()
    }

    /// The same after a reset, or in a fresh session: nothing was written yet.
    pub(super) fn new_lineage(&self, origin: &str) -> Lineage {
        let fresh = Lineage::default();
        if self.writes != Writes::Session {
            let mut all = self.lineages.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(origin.to_owned(), fresh.clone());
        }
        fresh
    }

    /// What a new lane does to its pages.
    pub(super) fn lane_setup(&self, origin: &str, seed: Seed) -> LaneSetup {
        let (seeds, shift) = if self.config.deterministic {
            let word = |part: &str| seed.derive(part).0 & 0x7fff_ffff;
            let seeds = format!("[{}, {}, {}]", word("a"), word("b"), word("c"));
            (seeds, now().saturating_sub(self.clock))
        } else {
            ("null".to_owned(), 0)
        };
        let hide = self
            .episode
            .as_ref()
            .map(|e| e.hide.as_str())
            .filter(|hide| !hide.is_empty());
        let hide = serde_json::to_string(&hide).expect("a string is always JSON");
        let fill = |source: &str| {
            source
                .replace("__TOKEN__", &self.token)
                .replace("__KEY__", &self.key)
                .replace("__SEED__", &seeds)
                .replace("__SHIFT__", &shift.to_string())
                .replace("__HIDE__", &hide)
        };
        LaneSetup {
            init: fill(include_str!("js/init.js")),
            walk: fill(include_str!("js/walk.js")),
            viewport: self.config.viewport,
            rest: self.config.rest,
            hold: (self.writes == Writes::Hold).then(|| SocketGuard {
                script: fill(include_str!("js/guard.js")),
                binding: format!("{}b", self.token),
                hook: format!("globalThis['{}g']", self.token),
                key: self.key.clone(),
            }),
            rules: self.rules.clone(),
            archive: false,
            dialogs: self.config.dialogs,
            origin: (origin.to_owned(), self.logical.clone()),
            learned: Arc::clone(&self.learned),
            notes: Arc::clone(&self.notes),
            limits: self.config.restore,
            bodies: Arc::clone(&self.bodies),
        }
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Opens browser environments at a path of a site.
pub struct BrowserWorld {
    shared: Arc<Shared>,
    site: Arc<dyn Site>,
    chromium: Mutex<Option<Arc<Chromium>>>,
}

impl BrowserWorld {
    /// A world whose environments start at `start_path` (or a full URL) of `site`.
    #[must_use]
    pub fn new(
        config: BrowserConfig,
        site: Arc<dyn Site>,
        start_path: &str,
        writes: Writes,
        episode: Option<Episode>,
    ) -> Self {
        let clock = now();
        let bodies = Arc::new(Bodies::default());
        let shared = Shared {
            start_path: start_path.to_owned(),
            writes,
            rules: EffectRules::default(),
            episode,
            key: format!(
                "{:016x}",
                std::hash::RandomState::new().build_hasher().finish()
            ),
            token: format!("__bl{:016x}", Seed(clock).derive("token").0),
            logical: site.logical_origin().to_owned(),
            clock,
            states: AtomicU64::new(1),
            learned: Arc::default(),
            notes: Arc::default(),
            learning: Mutex::default(),
            shelf: Shelf::new(Arc::clone(&bodies), config.restore.kept),
            habits: std::sync::Mutex::default(),
            bodies,
            lineages: std::sync::Mutex::default(),
            config,
        };
        Self {
            shared: Arc::new(shared),
            site,
            chromium: Mutex::new(None),
        }
    }

    /// The same world, with what the task says of its requests.
    ///
    /// # Panics
    /// If an environment of this world is open.
    #[must_use]
    pub fn with_effects(mut self, rules: EffectRules) -> Self {
        let shared = Arc::get_mut(&mut self.shared);
        shared
            .expect("rules come before the first environment")
            .rules = rules;
        self
    }

    /// The running browser, started if there is none (or it died).
    async fn chromium(&self, cx: &Cx) -> Result<Arc<Chromium>, OpenError> {
        let mut slot = self.chromium.lock().await;
        if let Some(chromium) = slot.as_ref().filter(|c| c.connection().is_alive()) {
            return Ok(Arc::clone(chromium));
        }
        let found = match &self.shared.config.binary {
            Some(binary) => Some(binary.clone()),
            None => find_browser(),
        };
        let binary = found.ok_or_else(|| OpenError::Missing {
            what: "no Chromium was found on this machine".to_owned(),
            hint: "run `branchline doctor --install`, or set BRANCHLINE_BROWSER to a Chromium, \
                   Chrome or chrome-headless-shell binary"
                .to_owned(),
        })?;
        let chromium = Chromium::launch(&binary, cx)
            .await
            .map_err(|error| match error {
                LaunchError::Interrupted(why) => OpenError::Interrupted(why),
                LaunchError::Spawn { .. } => OpenError::Missing {
                    what: error.to_string(),
                    hint: "run `branchline doctor` to see which browsers are usable".to_owned(),
                },
                LaunchError::Ended { .. }
                | LaunchError::Transport(_)
                | LaunchError::Protocol(_)
                | LaunchError::Profile(_) => {
                    OpenError::Other(format!("failed to start the browser: {error}"))
                }
            })?;
        let hold = self.shared.writes == Writes::Hold;
        let kept = chromium.connection().keep_gate(hold, cx).await;
        kept.map_err(|error| OpenError::Other(error.to_string()))?;
        let chromium = Arc::new(chromium);
        *slot = Some(Arc::clone(&chromium));
        Ok(chromium)
    }

    /// Takes a dead browser out of the slot.
    async fn forget(&self, dead: &Arc<Chromium>) {
        let mut slot = self.chromium.lock().await;
        if slot.as_ref().is_some_and(|c| Arc::ptr_eq(c, dead)) {
            *slot = None;
        }
    }

    /// The id of the browser's first process, if it runs.
    pub async fn process_id(&self) -> Option<i32> {
        self.chromium.lock().await.as_ref().map(|c| c.process_id())
    }
}

#[async_trait]
impl World for BrowserWorld {
    fn concurrency(&self) -> NonZeroUsize {
        // Lanes mostly wait, for models and servers; a page at rest costs no processor.
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let lanes = cores.saturating_mul(const { NonZeroUsize::new(4).unwrap() });
        self.site.capacity().map_or(lanes, |most| lanes.min(most))
    }

    async fn open(&self, seed: Seed, cx: &Cx) -> Result<Box<dyn Environment>, OpenError> {
        Ok(Box::new(self.open_lane(seed, false, cx).await?))
    }

    async fn open_for_commit(
        &self,
        seed: Seed,
        cx: &Cx,
    ) -> Result<Box<dyn Environment>, OpenError> {
        Ok(Box::new(self.open_lane(seed, true, cx).await?))
    }

    fn notes(&self) -> Vec<SiteNote> {
        self.shared.notes.all()
    }
}

impl BrowserWorld {
    /// A lane at the start, by its own type.
    pub(super) async fn open_lane(
        &self,
        seed: Seed,
        archive: bool,
        cx: &Cx,
    ) -> Result<Browser, OpenError> {
        let mut tried = None;
        loop {
            let chromium = self.chromium(cx).await?;
            let instance = self.site.lease(cx).await.map_err(|error| match error {
                SiteError::Interrupted(why) => OpenError::Interrupted(why),
                error => OpenError::Other(error.to_string()),
            })?;
            let shared = Arc::clone(&self.shared);
            match Browser::open(shared, Arc::clone(&chromium), instance, seed, archive, cx).await {
                Ok(browser) => return Ok(browser),
                // The shared browser had died unnoticed: start another, once.
                Err(OpenError::Lost(_)) if tried.is_none() => {
                    self.forget(&chromium).await;
                    tried = Some(chromium);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
