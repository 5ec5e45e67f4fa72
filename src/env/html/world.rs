//! The factory, and what every lane of a world shares.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::environment::TextBrowser;
use super::load::Library;
use super::state::State;
use crate::context::Cx;
use crate::env::{Environment, OpenError, Site, SiteState, World};
use crate::types::{EffectRules, Seed, Writes};

/// What does not depend on the task.
#[derive(Debug, Clone)]
pub struct HtmlConfig {
    /// Most tokens (4 bytes each) of an observation's text.
    pub observation_tokens: u32,
    /// Upper bound of one request and its response, redirects aside.
    pub timeout: Duration,
    /// Most bytes that are read of a response; the rest is left out, and said.
    pub largest_body: usize,
    /// Most bytes, roughly, of documents that states are kept in. Beyond it the oldest states are
    /// dropped: they are restored by walking their path again.
    pub kept_bytes: usize,
}

impl Default for HtmlConfig {
    fn default() -> Self {
        Self {
            observation_tokens: 2000,
            timeout: Duration::from_secs(30),
            largest_body: 8 << 20,
            kept_bytes: 1 << 30,
        }
    }
}

/// A state that can be copied back.
#[derive(Debug)]
pub(super) struct Kept {
    pub state: Arc<State>,
    /// The server's saved state, with its id.
    pub server: Option<(u64, SiteState)>,
    /// The session it belongs to, and the writes it had sent.
    pub session: (u64, u64),
    /// Writes the world had sent.
    pub world_writes: u64,
    weight: usize,
}

/// The states of a world, oldest dropped first.
#[derive(Debug, Default)]
struct Shelf {
    states: BTreeMap<u64, Arc<Kept>>,
    weight: usize,
}

/// What every lane of a world shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: HtmlConfig,
    pub start: String,
    pub writes: Writes,
    pub rules: EffectRules,
    pub logical: String,
    pub library: Library,
    ids: AtomicU64,
    sent: AtomicU64,
    shelf: Mutex<Shelf>,
    said_full: AtomicBool,
}

impl Shared {
    /// A number that nothing else in this world has.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn wrote(&self, writes: usize) {
        self.sent.fetch_add(writes as u64, Ordering::SeqCst);
    }

    /// How many writes the world has sent.
    pub(super) fn writes_sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Keeps a state, unless it is kept already.
    pub(super) fn keep(&self, id: u64, mut new: Kept) {
        let mut all = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if all.states.contains_key(&id) {
            return;
        }
        // A document that other states hold too is counted again: better too early than too late.
        new.weight = new.state.weight();
        all.weight += new.weight;
        all.states.insert(id, Arc::new(new));
        while all.weight > self.config.kept_bytes && all.states.len() > 1 {
            let Some((_, oldest)) = all.states.pop_first() else {
                break;
            };
            all.weight -= oldest.weight;
            if !self.said_full.swap(true, Ordering::Relaxed) {
                tracing::info!(
                    bytes = self.config.kept_bytes,
                    "the oldest states are no longer kept; they are restored by replay"
                );
            }
        }
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Kept>> {
        let all = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        all.states.get(&id).cloned()
    }
}

impl Kept {
    pub(super) fn new(
        state: Arc<State>,
        server: Option<(u64, SiteState)>,
        session: (u64, u64),
        world_writes: u64,
    ) -> Self {
        Self {
            state,
            server,
            session,
            world_writes,
            weight: 0,
        }
    }
}

/// Opens environments without a browser at a path of a site.
pub struct HtmlWorld {
    shared: Arc<Shared>,
    site: Arc<dyn Site>,
}

impl HtmlWorld {
    /// A world whose environments start at `start` (a path, or a full URL) of `site`.
    #[must_use]
    pub fn new(config: HtmlConfig, site: Arc<dyn Site>, start: &str, writes: Writes) -> Self {
        Self {
            shared: Arc::new(Shared {
                config,
                start: start.to_owned(),
                writes,
                rules: EffectRules::default(),
                logical: site.logical_origin().to_owned(),
                library: Library::default(),
                ids: AtomicU64::new(1),
                sent: AtomicU64::new(0),
                shelf: Mutex::default(),
                said_full: AtomicBool::new(false),
            }),
            site,
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
}

#[async_trait]
impl World for HtmlWorld {
    fn concurrency(&self) -> NonZeroUsize {
        // Lanes wait for servers and models; each costs a page's memory.
        const MANY: NonZeroUsize = NonZeroUsize::new(64).unwrap();
        self.site.capacity().map_or(MANY, |most| most.min(MANY))
    }

    async fn open(&self, _seed: Seed, cx: &Cx) -> Result<Box<dyn Environment>, OpenError> {
        let instance = self
            .site
            .lease(cx)
            .await
            .map_err(|error| OpenError::Other(error.to_string()))?;
        let lane = TextBrowser::open(Arc::clone(&self.shared), instance, cx).await?;
        Ok(Box::new(lane))
    }
}
