//! The world: sources, terms, and what all of its environments share.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::env::ToolEnvironment;
use super::memo::MemoStore;
use super::plan::Menu;
use super::server::Server;
use super::state::{State, Volatile};
use crate::context::Cx;
use crate::env::notes::SiteNotes;
use crate::env::tools::registry::{Glob, Memo, ReadCall, UndoRule};
use crate::env::tools::{Reply, Source, Tool};
use crate::env::{Environment, OpenError, Site, World};
use crate::types::{Seed, SiteNote, SiteNoteKind, Writes};

/// Calls of one batch at a time, where nobody says otherwise.
const PARALLEL: NonZeroUsize = NonZeroUsize::new(128).unwrap();
/// Environments at a time, likewise.
const LANES: NonZeroUsize = NonZeroUsize::new(32).unwrap();

/// A source and the terms on which it is called.
#[derive(Clone)]
pub struct ToolSource {
    /// Where the tools are.
    pub source: Arc<dyn Source>,
    /// The registry's terms.
    pub rules: ToolRules,
    /// Answers from outside this world's tree, for the memo of a run or of a disk.
    pub memo: Option<Arc<MemoStore>>,
}

/// What a registry says about the calls of a source.
#[derive(Debug, Clone, Default)]
pub struct ToolRules {
    /// How writes are undone.
    pub undo: Vec<UndoRule>,
    /// Reads whose replies show the provider's state: a restore is verified by them.
    pub verify: Vec<ReadCall>,
    /// How far answers of read calls are reused.
    pub memo: Memo,
    /// Object keys in replies whose values change by themselves (clocks, request ids): shown, but
    /// no part of the digest.
    pub volatile: BTreeSet<String>,
}

/// What a world of tools is made of.
#[derive(Clone)]
pub struct ToolWorldConfig {
    /// Its name in observations: the registry's.
    pub name: String,
    /// Where tools come from.
    pub sources: Vec<ToolSource>,
    /// Tools that are left out of the choice of actions unless named here; all are offered without
    /// it. The others can be called by `call` and in a `batch`, and by name once a search found them.
    pub offered: Option<Vec<String>>,
    /// Only tools of these names exist, where any are given.
    pub only: Vec<Glob>,
    /// What writes may do while searching.
    pub writes: Writes,
    /// Tokens (4 bytes) of an observation's text.
    pub observation_tokens: u32,
    /// Calls of one batch that are under way at a time.
    pub parallel: NonZeroUsize,
    /// The server behind the sources, where it can be had for one lane or put back. Requests to
    /// its logical origin go to the leased instance.
    pub site: Option<Arc<dyn Site>>,
    /// Environments at a time.
    pub concurrency: NonZeroUsize,
    /// Searches the tools by words, for the action `search_tools`.
    pub finder: Option<Arc<dyn ToolFinder>>,
}

impl std::fmt::Debug for ToolWorldConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolWorldConfig")
            .field("name", &self.name)
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

impl ToolWorldConfig {
    /// A world of these sources that offers every tool and holds writes.
    #[must_use]
    pub fn new(name: &str, sources: Vec<ToolSource>) -> Self {
        Self {
            name: name.to_owned(),
            sources,
            offered: None,
            only: Vec::new(),
            writes: Writes::Hold,
            observation_tokens: 2_000,
            parallel: PARALLEL,
            site: None,
            concurrency: LANES,
            finder: None,
        }
    }
}

/// A tool that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolFound {
    /// Its name.
    pub name: String,
    /// Higher is better; only the order counts.
    pub score: f32,
}

/// Finds tools by words.
#[async_trait]
pub trait ToolFinder: Send + Sync {
    /// The at most `most` best tools for the query, best first.
    ///
    /// # Errors
    /// Why nothing could be searched, in words.
    async fn find(&self, query: &str, most: usize, cx: &Cx) -> Result<Vec<ToolFound>, String>;
}

/// What the environments of one world share.
pub(super) struct Shared {
    pub(super) id: u64,
    pub(super) config: ToolWorldConfig,
    pub(super) menu: Menu,
    pub(super) volatile: Volatile,
    /// Answers of this tree.
    pub(super) memo: Arc<MemoStore>,
    /// What searches for tools gave, by their words: the same again, whatever an endpoint gives.
    searches: Mutex<BTreeMap<String, Vec<ToolFound>>>,
    /// States that snapshots stand for, by number.
    states: Mutex<Vec<Arc<State>>>,
    /// What people should know: each once.
    notes: SiteNotes,
    /// The one server of all environments, where writes are undone by calls or stay.
    pub(super) server: Arc<tokio::sync::Mutex<Server>>,
}

impl Shared {
    pub(super) fn source(&self, name: &str) -> Option<&ToolSource> {
        self.config.sources.iter().find(|s| s.source.name() == name)
    }

    /// The undo rules of a tool, in the registry's order.
    pub(super) fn undo_rules(&self, tool: &Tool) -> impl Iterator<Item = &UndoRule> {
        let rules = self.source(&tool.source).map(|source| &source.rules.undo);
        rules
            .into_iter()
            .flatten()
            .filter(|rule| rule.tool.matches(&tool.name) || rule.tool.matches(&tool.original))
    }

    /// A tool of a source, by either of its names. Tools that are not in the choice count too.
    pub(super) fn tool_of(&self, source: &str, name: &str) -> Option<Arc<Tool>> {
        let tools = self.source(source)?.source.tools();
        tools
            .iter()
            .find(|tool| tool.name == name)
            .or_else(|| tools.iter().find(|tool| tool.original == name))
            .cloned()
    }

    /// What a search gave before.
    pub(super) fn searched(&self, query: &str) -> Option<Vec<ToolFound>> {
        let searches = self.searches.lock();
        let searches = searches.unwrap_or_else(PoisonError::into_inner);
        searches.get(query).cloned()
    }

    /// Keeps what a search gave, and gives what was kept first.
    pub(super) fn keep_search(&self, query: &str, found: Vec<ToolFound>) -> Vec<ToolFound> {
        let searches = self.searches.lock();
        let mut searches = searches.unwrap_or_else(PoisonError::into_inner);
        searches.entry(query.to_owned()).or_insert(found).clone()
    }

    pub(super) fn keep(&self, state: State) -> u64 {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.push(Arc::new(state));
        states.len() as u64 - 1
    }

    pub(super) fn kept(&self, number: u64) -> Option<Arc<State>> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.get(usize::try_from(number).ok()?).cloned()
    }

    /// Notes something for people, unless it is known.
    pub(super) fn note(&self, kind: SiteNoteKind, text: String) {
        self.notes.add(kind, text);
    }

    /// Notes that a source does not take what it is given for who we are: each call would be answered
    /// like this one.
    pub(super) fn note_reply(&self, tool: &Tool, reply: &Reply) {
        if reply.status == Some(401) {
            let text = format!(
                "the source `{}` answered 401: are the credentials that its registry names right?",
                tool.source
            );
            self.note(SiteNoteKind::Unauthorised, text);
        }
    }

    /// Whether the server is put back by calls of the registry's undo rules.
    pub(super) fn undoes(&self) -> bool {
        self.config.writes == Writes::Checkpoint && self.config.site.is_none()
    }
}

/// A world of tools.
pub struct ToolWorld {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for ToolWorld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolWorld")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl ToolWorld {
    /// A world of the tools that its sources offer now.
    #[must_use]
    pub fn new(config: ToolWorldConfig) -> Self {
        static WORLDS: AtomicU64 = AtomicU64::new(0);
        let wanted = |tool: &Arc<Tool>| {
            config.only.is_empty() || config.only.iter().any(|glob| glob.matches(&tool.name))
        };
        let tools: Vec<Arc<Tool>> = config
            .sources
            .iter()
            .flat_map(|source| source.source.tools())
            .filter(wanted)
            .collect();
        let menu = Menu::new(tools, config.offered.as_deref(), config.finder.is_some());
        let volatile: Volatile = config
            .sources
            .iter()
            .map(|s| (s.source.name().to_owned(), s.rules.volatile.clone()))
            .collect::<BTreeMap<_, _>>();
        Self {
            shared: Arc::new(Shared {
                id: WORLDS.fetch_add(1, Ordering::Relaxed),
                menu,
                volatile,
                memo: Arc::default(),
                searches: Mutex::default(),
                states: Mutex::default(),
                notes: SiteNotes::default(),
                server: Arc::default(),
                config,
            }),
        }
    }

    /// Names of all tools that can be called, sorted.
    #[must_use]
    pub fn tools(&self) -> Vec<String> {
        self.shared.menu.all.keys().cloned().collect()
    }
}

#[async_trait]
impl World for ToolWorld {
    fn concurrency(&self) -> NonZeroUsize {
        if self.shared.undoes() {
            // One server, put back by calls: one branch at a time.
            return NonZeroUsize::MIN;
        }
        let most = self.shared.config.concurrency;
        let site = self.shared.config.site.as_ref();
        site.and_then(|site| site.capacity())
            .map_or(most, |capacity| most.min(capacity))
    }

    async fn open(&self, _seed: Seed, cx: &Cx) -> Result<Box<dyn Environment>, OpenError> {
        Ok(Box::new(
            ToolEnvironment::open(&self.shared, false, cx).await?,
        ))
    }

    async fn open_for_commit(
        &self,
        _seed: Seed,
        cx: &Cx,
    ) -> Result<Box<dyn Environment>, OpenError> {
        Ok(Box::new(
            ToolEnvironment::open(&self.shared, true, cx).await?,
        ))
    }

    fn notes(&self) -> Vec<SiteNote> {
        self.shared.notes.all()
    }
}
