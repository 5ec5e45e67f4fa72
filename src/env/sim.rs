//! A strict world in memory, for tests of everything that drives environments.
//!
//! A [`SimWorld`] is a small site: pages with links and texts, counters that belong to the client,
//! keys that are written to a server, and an answer that ends the episode. It is strict where real
//! environments are lenient, so that wrong assumptions show:
//!
//! * a snapshot is of the state that was **observed** last; without an observation it is an error;
//! * an `act` that was cut off poisons the instance until it is restored;
//! * an instance that died answers every call with `Lost`;
//! * a snapshot of another world, and one more instance than [`World::concurrency`] says, are
//!   errors;
//! * states of instances that were opened with different seeds differ.
//!
//! Faults are scripted with [`SimWorld::fault`]; each happens once, at a named call.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    ActError, CloseError, Environment, ObserveError, OpenError, QueryError, RestoreError,
    SnapshotError, World,
};
use crate::context::{Cx, Interrupted};
use crate::types::{
    Action, ActionSpec, Digest, Effect, EffectKind, Element, Observation, Omitted, Query,
    Rejection, Restored, Rung, Seed, Snapshot, Step, Tab, Writes,
};

/// The calls at which a fault can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimCall {
    /// [`World::open`].
    Open,
    /// [`Environment::observe`].
    Observe,
    /// [`Environment::act`].
    Act,
    /// [`Environment::snapshot`].
    Snapshot,
    /// [`Environment::restore`].
    Restore,
    /// [`Environment::query`].
    Query,
    /// [`Environment::close`].
    Close,
}

/// When a fault happens: at the `nth` call (from 1, counted over the whole world).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimWhen {
    /// At which call.
    pub call: SimCall,
    /// Only calls whose action prints like this count (`goto(to: "cart")`); any call without it.
    pub action: Option<String>,
    /// The how manyeth of them, from 1.
    pub nth: u32,
}

impl SimWhen {
    /// The `nth` call of a kind.
    #[must_use]
    pub fn call(call: SimCall, nth: u32) -> Self {
        Self {
            call,
            action: None,
            nth,
        }
    }

    /// The `nth` execution of an action, by how it prints.
    #[must_use]
    pub fn act(action: &str, nth: u32) -> Self {
        Self {
            call: SimCall::Act,
            action: Some(action.to_owned()),
            nth,
        }
    }
}

/// What happens.
#[derive(Debug, Clone)]
pub enum SimFault {
    /// The call fails; the instance survives (`Other`, retryable). An `act` changes nothing.
    Error(String),
    /// The instance dies (`Lost`).
    Crash(String),
    /// The call says that it has arrived and then waits to be let go on.
    Gate(SimGate),
    /// An `act` is rejected.
    Reject(String),
    /// An `act` leads elsewhere than it should; a `restore` reaches another state (`Diverged`).
    Drift,
    /// On an act that writes: it writes to another address than usual.
    OtherWrite,
}

/// A place to stop a call at: it signals `entered` and waits for `release`.
#[derive(Debug, Clone, Default)]
pub struct SimGate {
    /// Notified once when the call has arrived.
    pub entered: Arc<Notify>,
    /// Lets the call go on.
    pub release: Arc<Notify>,
}

/// What a world has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SimStats {
    /// Instances opened.
    pub opened: u32,
    /// Instances closed in order.
    pub closed: u32,
    /// Instances that exist now.
    pub alive: u32,
    /// The most that existed at a time.
    pub most_alive: u32,
    /// Actions carried out.
    pub acts: u32,
    /// Restores by value copy.
    pub copies: u32,
    /// Restores that found the state live.
    pub lives: u32,
}

#[derive(Debug, Clone, Default)]
struct Page {
    text: String,
    links: Vec<String>,
    reward: Option<f64>,
}

#[derive(Debug)]
struct Shared {
    id: u64,
    pages: BTreeMap<String, Page>,
    start: String,
    goal: Option<String>,
    writes: Writes,
    concurrency: NonZeroUsize,
    state: Mutex<Common>,
}

#[derive(Debug, Default)]
struct Common {
    stats: SimStats,
    faults: Vec<(SimWhen, u32, SimFault)>,
    /// The one server of [`Writes::Allow`]: it remembers across instances and restores.
    server: BTreeMap<String, i64>,
}

impl Shared {
    fn common(&self) -> MutexGuard<'_, Common> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault due at this call, if any. Counts the call.
    fn due(&self, call: SimCall, action: Option<&Action>) -> Option<SimFault> {
        let mut common = self.common();
        let mut due = None;
        let printed = action.map(ToString::to_string);
        common.faults.retain_mut(|(when, seen, fault)| {
            let counts = when.call == call && (when.action.is_none() || when.action == printed);
            *seen += u32::from(counts);
            let now = counts && *seen == when.nth && due.is_none();
            if now {
                due = Some(fault.clone());
            }
            !now
        });
        due
    }
}

/// The world: a factory of in-memory environments. Clones share everything.
#[derive(Debug, Clone)]
pub struct SimWorld {
    shared: Arc<Shared>,
}

/// Builds a [`SimWorld`]: declare pages, then [`SimBuilder::build`].
#[derive(Debug, Clone)]
pub struct SimBuilder {
    pages: BTreeMap<String, Page>,
    start: String,
    goal: Option<String>,
    writes: Writes,
    concurrency: NonZeroUsize,
}

impl SimBuilder {
    /// Declares a page (again: replaces it). Links to pages that are not declared lead to empty
    /// ones.
    #[must_use]
    pub fn page(mut self, name: &str, text: &str, links: &[&str]) -> Self {
        let page = Page {
            text: text.to_owned(),
            links: links.iter().map(|&link| link.to_owned()).collect(),
            reward: None,
        };
        self.pages.insert(name.to_owned(), page);
        self
    }

    /// The benchmark's reward for an episode that ends on a declared page.
    #[must_use]
    pub fn reward(mut self, name: &str, reward: f64) -> Self {
        if let Some(page) = self.pages.get_mut(name) {
            page.reward = Some(reward);
        }
        self
    }

    /// The goal that the environment itself states.
    #[must_use]
    pub fn goal(mut self, goal: &str) -> Self {
        self.goal = Some(goal.to_owned());
        self
    }

    /// What writes may do. [`Writes::Hold`] holds them until a commit releases them; under [`Writes::Allow`] all instances share
    /// one server that nothing puts back; otherwise the server's state is the instance's own and
    /// is restored with it.
    #[must_use]
    pub fn writes(mut self, writes: Writes) -> Self {
        self.writes = writes;
        self
    }

    /// How many instances may exist at a time.
    #[must_use]
    pub fn concurrency(mut self, most: NonZeroUsize) -> Self {
        self.concurrency = most;
        self
    }

    /// The world.
    #[must_use]
    pub fn build(self) -> SimWorld {
        static WORLDS: AtomicU64 = AtomicU64::new(0);
        let Self {
            pages,
            start,
            goal,
            writes,
            concurrency,
        } = self;
        SimWorld {
            shared: Arc::new(Shared {
                id: WORLDS.fetch_add(1, Ordering::Relaxed),
                pages,
                start,
                goal,
                writes,
                concurrency,
                state: Mutex::default(),
            }),
        }
    }
}

impl SimWorld {
    /// A world whose instances start on the page `start`, holds writes and allows 64 instances.
    #[must_use]
    pub fn builder(start: &str) -> SimBuilder {
        const MANY: NonZeroUsize = NonZeroUsize::new(64).unwrap();
        SimBuilder {
            pages: BTreeMap::new(),
            start: start.to_owned(),
            goal: None,
            writes: Writes::Hold,
            concurrency: MANY,
        }
    }

    /// Scripts a fault. It happens once.
    pub fn fault(&self, when: SimWhen, fault: SimFault) {
        self.shared.common().faults.push((when, 0, fault));
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> SimStats {
        self.shared.common().stats
    }
}

#[async_trait]
impl World for SimWorld {
    fn concurrency(&self) -> NonZeroUsize {
        self.shared.concurrency
    }

    async fn open(&self, seed: Seed, cx: &Cx) -> Result<Box<dyn Environment>, OpenError> {
        if cx.is_cancelled() {
            return Err(Interrupted::Cancelled.into());
        }
        match self.shared.due(SimCall::Open, None) {
            None => {}
            Some(SimFault::Error(reason) | SimFault::Reject(reason)) => {
                return Err(OpenError::Other(reason));
            }
            Some(SimFault::Crash(reason)) => return Err(OpenError::Lost(reason)),
            Some(SimFault::Gate(gate)) => pass(&gate, cx).await?,
            Some(SimFault::Drift | SimFault::OtherWrite) => {
                return Err(OpenError::Start {
                    url: url(&self.shared.start),
                    reason: "it leads elsewhere".to_owned(),
                });
            }
        }
        let mut common = self.shared.common();
        if common.stats.alive as usize >= self.shared.concurrency.get() {
            return Err(OpenError::Other(format!(
                "{} instances are open already, which is all this world allows",
                common.stats.alive
            )));
        }
        common.stats.opened += 1;
        common.stats.alive += 1;
        common.stats.most_alive = common.stats.most_alive.max(common.stats.alive);
        drop(common);
        Ok(Box::new(SimEnv {
            state: State {
                seed,
                page: self.shared.start.clone(),
                counters: BTreeMap::new(),
                server: BTreeMap::new(),
                answer: None,
            },
            actions: specs(),
            observed: None,
            lost: None,
            cut_off: false,
            shared: Arc::clone(&self.shared),
        }))
    }
}

/// All that a snapshot copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    seed: Seed,
    page: String,
    counters: BTreeMap<String, i64>,
    server: BTreeMap<String, i64>,
    answer: Option<String>,
}

/// One instance of a [`SimWorld`].
#[derive(Debug)]
struct SimEnv {
    shared: Arc<Shared>,
    state: State,
    actions: Vec<ActionSpec>,
    /// The digest that was observed last, if nothing was done since.
    observed: Option<Digest>,
    lost: Option<String>,
    /// An act began and did not end.
    cut_off: bool,
}

impl Drop for SimEnv {
    fn drop(&mut self) {
        self.shared.common().stats.alive -= 1;
    }
}

impl SimEnv {
    fn server(&self) -> BTreeMap<String, i64> {
        if self.shared.writes == Writes::Allow {
            self.shared.common().server.clone()
        } else {
            self.state.server.clone()
        }
    }

    fn page(&self) -> Page {
        let page = self.shared.pages.get(&self.state.page);
        page.cloned().unwrap_or_default()
    }

    fn text(&self) -> String {
        let page = self.page();
        let mut lines = vec![format!("# {}", self.state.page)];
        lines.extend((!page.text.is_empty()).then_some(page.text));
        lines.extend(page.links.iter().map(|link| format!("link {link}")));
        lines.extend(
            self.state
                .counters
                .iter()
                .map(|(name, n)| format!("{name}: {n}")),
        );
        lines.extend(
            self.server()
                .iter()
                .map(|(key, n)| format!("server {key}: {n}")),
        );
        lines.extend(self.state.answer.iter().map(|a| format!("answered: {a}")));
        lines.push(format!("visitor {}", self.state.seed.0 % 1000));
        lines.join("\n")
    }

    fn digest(&self) -> Digest {
        Digest::of(format!("{}\n{}", self.text(), self.state.seed.0))
    }

    async fn carry_out(
        &mut self,
        action: &Action,
        may_leave: impl Fn(&Effect) -> bool,
        cx: &Cx,
    ) -> Result<Step, ActError> {
        let fault = self.begin(SimCall::Act, Some(action), cx).await?;
        if let Some(SimFault::Reject(reason)) = fault {
            return Ok(Step::Rejected(Rejection::new(reason)));
        }
        let elsewhere = matches!(fault, Some(SimFault::OtherWrite));
        let step = match self.apply(action, elsewhere, may_leave) {
            Ok(step) => step,
            Err(rejection) => Step::Rejected(rejection),
        };
        if matches!(step, Step::Done { .. }) {
            self.observed = None;
        }
        if let (Some(SimFault::Drift), Step::Done { .. }) = (fault, &step) {
            *self.state.counters.entry("drift".to_owned()).or_default() += 1;
        }
        Ok(step)
    }

    fn apply(
        &mut self,
        action: &Action,
        elsewhere: bool,
        may_leave: impl Fn(&Effect) -> bool,
    ) -> Result<Step, Rejection> {
        let reject = |reason: String, nearest: Vec<String>| Err(Rejection { reason, nearest });
        if self.state.answer.is_some() {
            return reject("the episode is over".to_owned(), Vec::new());
        }
        let need = |key: &str| {
            action
                .text(key)
                .map(str::to_owned)
                .ok_or_else(|| Rejection::new(format!("`{}` needs the text `{key}`", action.name)))
        };
        let mut effects = Vec::new();
        match action.name.as_str() {
            "goto" => {
                let to = need("to")?;
                let links = self.page().links;
                if !links.contains(&to) {
                    return reject(
                        format!("page `{}` has no link `{to}`", self.state.page),
                        links,
                    );
                }
                self.state.page = to;
            }
            "add" => *self.state.counters.entry(need("counter")?).or_default() += 1,
            "write" => {
                let key = need("key")?;
                let mut write = Effect {
                    kind: EffectKind::Write,
                    method: "POST".to_owned(),
                    url: format!("{}/{key}", url(&self.state.page)),
                    headers: Vec::new(),
                    body: None,
                    held: false,
                };
                if elsewhere {
                    write.url.push_str("-elsewhere");
                }
                write.held = !may_leave(&write);
                let held = write.held;
                effects.push(write);
                if held {
                    return Ok(Step::Held { effects });
                }
                match self.shared.writes {
                    Writes::Allow => *self.shared.common().server.entry(key).or_default() += 1,
                    Writes::Hold | Writes::Session | Writes::Checkpoint => {
                        *self.state.server.entry(key).or_default() += 1;
                    }
                }
            }
            "stop" => {
                self.state.answer = Some(action.text("answer").unwrap_or_default().to_owned());
            }
            other => {
                return reject(
                    format!("unknown action `{other}`"),
                    self.actions.iter().map(|spec| spec.name.clone()).collect(),
                );
            }
        }
        self.shared.common().stats.acts += 1;
        Ok(Step::Done {
            effects,
            notices: Vec::new(),
            answer: self.state.answer.clone(),
        })
    }
}

/// How a call ends before it does anything.
enum Trouble {
    Interrupted(Interrupted),
    Lost(String),
    Other(String),
}

macro_rules! troubles {
    ($($error:ident),*) => {$(
        impl From<Trouble> for $error {
            fn from(trouble: Trouble) -> Self {
                match trouble {
                    Trouble::Interrupted(why) => Self::Interrupted(why),
                    Trouble::Lost(how) => Self::Lost(how),
                    Trouble::Other(reason) => Self::Other(reason),
                }
            }
        }
    )*};
}

troubles!(
    ObserveError,
    ActError,
    SnapshotError,
    RestoreError,
    QueryError
);

impl SimEnv {
    /// What every call begins with: the faults that end it, and the one that it must see to
    /// itself (`Drift`, `OtherWrite` or `Reject`).
    async fn begin(
        &mut self,
        call: SimCall,
        action: Option<&Action>,
        cx: &Cx,
    ) -> Result<Option<SimFault>, Trouble> {
        if cx.is_cancelled() {
            return Err(Trouble::Interrupted(Interrupted::Cancelled));
        }
        if let Some(how) = &self.lost {
            return Err(Trouble::Lost(how.clone()));
        }
        if self.cut_off && call != SimCall::Restore {
            return Err(Trouble::Other(
                "an action was cut off: restore a snapshot first".to_owned(),
            ));
        }
        match self.shared.due(call, action) {
            Some(SimFault::Error(reason)) => Err(Trouble::Other(reason)),
            Some(SimFault::Crash(reason)) => {
                self.lost = Some(reason.clone());
                Err(Trouble::Lost(reason))
            }
            Some(SimFault::Gate(gate)) => {
                // If this future is dropped at the gate, the mark stays.
                self.cut_off |= call == SimCall::Act;
                pass(&gate, cx).await.map_err(Trouble::Interrupted)?;
                self.cut_off &= call != SimCall::Act;
                Ok(None)
            }
            fault @ (Some(SimFault::Reject(_) | SimFault::Drift | SimFault::OtherWrite) | None) => {
                Ok(fault)
            }
        }
    }
}

#[async_trait]
impl Environment for SimEnv {
    fn actions(&self) -> &[ActionSpec] {
        &self.actions
    }

    fn goal(&self) -> Option<&str> {
        self.shared.goal.as_deref()
    }

    async fn observe(&mut self, cx: &Cx) -> Result<Observation, ObserveError> {
        self.begin(SimCall::Observe, None, cx).await?;
        let text = self.text();
        let digest = self.digest();
        self.observed = Some(digest);
        let url = url(&self.state.page);
        let elements = self
            .page()
            .links
            .into_iter()
            .enumerate()
            .map(|(i, link)| Element {
                r#ref: (i + 1).to_string(),
                role: "link".to_owned(),
                name: link,
                value: None,
                states: Vec::new(),
                options: Vec::new(),
                interactive: true,
                visible: true,
                level: 0,
            })
            .collect();
        Ok(Observation {
            url: url.clone(),
            title: self.state.page.clone(),
            tokens: u32::try_from(text.len() / 4).unwrap_or(u32::MAX),
            text,
            elements,
            omitted: Omitted::default(),
            tabs: vec![Tab {
                title: self.state.page.clone(),
                url,
                active: true,
            }],
            notices: Vec::new(),
            digest,
            terminal: self.state.answer.is_some(),
            screenshot: None,
        })
    }

    async fn act(&mut self, action: &Action, cx: &Cx) -> Result<Step, ActError> {
        let held = self.shared.writes == Writes::Hold;
        self.carry_out(action, |_| !held, cx).await
    }

    async fn release(
        &mut self,
        action: &Action,
        allowed: &[Effect],
        cx: &Cx,
    ) -> Result<Step, ActError> {
        let known = |write: &Effect| {
            allowed
                .iter()
                .any(|one| one.method == write.method && one.url == write.url)
        };
        self.carry_out(action, known, cx).await
    }

    async fn snapshot(&mut self, cx: &Cx) -> Result<Snapshot, SnapshotError> {
        self.begin(SimCall::Snapshot, None, cx).await?;
        let Some(digest) = self.observed else {
            return Err(SnapshotError::Other(
                "nothing was observed since the last action".to_owned(),
            ));
        };
        Ok(Snapshot {
            digest,
            data: json!({ "world": self.shared.id, "state": self.state }),
        })
    }

    async fn restore(&mut self, to: &Snapshot, cx: &Cx) -> Result<Restored, RestoreError> {
        let fault = self.begin(SimCall::Restore, None, cx).await?;
        if to.data["world"] != json!(self.shared.id) {
            return Err(RestoreError::Unrestorable(
                "the snapshot is of another world".to_owned(),
            ));
        }
        let state: State = serde_json::from_value(to.data["state"].clone())
            .map_err(|e| RestoreError::Unrestorable(format!("the snapshot is damaged: {e}")))?;
        let rung = if self.is_at(to) {
            Rung::Live
        } else {
            Rung::Copy
        };
        self.state = state;
        if matches!(fault, Some(SimFault::Drift)) {
            *self.state.counters.entry("drift".to_owned()).or_default() += 1;
        }
        self.cut_off = false;
        let got = self.digest();
        self.observed = (got == to.digest).then_some(got);
        if self.observed.is_none() {
            return Err(RestoreError::Diverged {
                want: to.digest,
                got,
                detail: "the server or the page moved".to_owned(),
            });
        }
        let mut common = self.shared.common();
        match rung {
            Rung::Live => common.stats.lives += 1,
            Rung::Copy
            | Rung::Undo
            | Rung::History
            | Rung::Document
            | Rung::DocumentSettled
            | Rung::Replay => {
                common.stats.copies += 1;
            }
        }
        Ok(Restored::by(rung, 0, 0))
    }

    async fn query(&mut self, query: &Query, cx: &Cx) -> Result<Value, QueryError> {
        self.begin(SimCall::Query, None, cx).await?;
        match query {
            Query::Url => Ok(url(&self.state.page).into()),
            Query::PageText { selector: None } => Ok(self.text().into()),
            Query::PageText { selector: Some(_) } => {
                Err(QueryError::Unsupported("page_text by selector".to_owned()))
            }
            Query::Sql { .. } => Ok(self
                .server()
                .into_iter()
                .map(|(key, n)| json!([key, n]))
                .collect()),
            Query::Reward => Ok(self
                .state
                .answer
                .is_some()
                .then(|| self.page().reward.unwrap_or(0.0))
                .into()),
            Query::Call { .. } => Err(QueryError::Unsupported("call".to_owned())),
        }
    }

    fn is_at(&self, snapshot: &Snapshot) -> bool {
        self.lost.is_none()
            && !self.cut_off
            && self.observed == Some(snapshot.digest)
            && self.digest() == snapshot.digest
            && snapshot.data["world"] == json!(self.shared.id)
    }

    async fn close(self: Box<Self>, cx: &Cx) -> Result<(), CloseError> {
        match self.shared.due(SimCall::Close, None) {
            Some(SimFault::Gate(gate)) => pass(&gate, cx).await?,
            Some(SimFault::Error(reason) | SimFault::Reject(reason)) => {
                return Err(CloseError::Other(reason));
            }
            Some(SimFault::Crash(reason)) => return Err(CloseError::Lost(reason)),
            Some(SimFault::Drift | SimFault::OtherWrite) | None => {}
        }
        self.shared.common().stats.closed += 1;
        Ok(())
    }
}

/// Waits at a gate for as long as the context allows.
async fn pass(gate: &SimGate, cx: &Cx) -> Result<(), Interrupted> {
    const LONG: Duration = Duration::from_hours(1);
    gate.entered.notify_one();
    cx.bounded(LONG, gate.release.notified()).await
}

fn url(page: &str) -> String {
    format!("sim://site/{page}")
}

fn specs() -> Vec<ActionSpec> {
    let spec = |name: &str, description: &str, argument: &str, required: bool| {
        let required: Vec<&str> = required.then_some(argument).into_iter().collect();
        ActionSpec {
            name: name.to_owned(),
            description: description.to_owned(),
            parameters: json!({
                "type": "object",
                "properties": { argument: { "type": "string" } },
                "required": required,
                "additionalProperties": false,
            }),
            outside: false,
            terminal: name == "stop",
            together: false,
        }
    };
    vec![
        spec("goto", "Follow a link of the page.", "to", true),
        spec(
            "add",
            "Add one to a counter of the client.",
            "counter",
            true,
        ),
        spec("write", "Add one to a key on the server.", "key", true),
        spec("stop", "End the episode with an answer.", "answer", false),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Fault;

    async fn opened(world: &SimWorld) -> Box<dyn Environment> {
        world.open(Seed(1), &Cx::default()).await.unwrap()
    }

    #[tokio::test]
    async fn misuse_is_an_error() {
        let cx = Cx::default();
        let world = SimWorld::builder("home").build();
        let mut env = opened(&world).await;
        assert!(env.snapshot(&cx).await.is_err(), "nothing was observed");
        env.observe(&cx).await.unwrap();
        let snapshot = env.snapshot(&cx).await.unwrap();
        let mut stranger = opened(&SimWorld::builder("home").build()).await;
        let foreign = stranger.restore(&snapshot, &cx).await;
        assert!(matches!(foreign, Err(RestoreError::Unrestorable(_))));

        let add = Action::new("add", json!({ "counter": "n" }));
        env.act(&add, &cx).await.unwrap();
        assert!(env.snapshot(&cx).await.is_err(), "observed before the act");

        let crash = SimFault::Crash("bang".to_owned());
        world.fault(SimWhen::call(SimCall::Act, 1), crash);
        let died = env.act(&add, &cx).await.unwrap_err();
        assert_eq!(died.fault(), Fault::InstanceLost);
        let after = env.restore(&snapshot, &cx).await;
        assert!(matches!(after, Err(RestoreError::Lost(_))));
        assert!(!env.is_at(&snapshot));
    }

    #[tokio::test]
    async fn a_cut_off_act_poisons_until_a_restore() {
        let cx = Cx::default();
        let world = SimWorld::builder("home").build();
        let mut env = opened(&world).await;
        let before = env.observe(&cx).await.unwrap();
        let snapshot = env.snapshot(&cx).await.unwrap();
        let gate = SimFault::Gate(SimGate::default());
        world.fault(SimWhen::call(SimCall::Act, 1), gate);
        let add = Action::new("add", json!({ "counter": "n" }));
        let limit = Duration::from_millis(1);
        assert!(cx.bounded(limit, env.act(&add, &cx)).await.is_err());
        assert!(env.observe(&cx).await.is_err());
        assert!(!env.is_at(&snapshot));
        let restored = env.restore(&snapshot, &cx).await.unwrap();
        assert_eq!(restored.rung, Rung::Copy);
        assert_eq!(env.observe(&cx).await.unwrap(), before);
    }

    #[tokio::test]
    async fn writes_follow_the_policy() {
        let cx = Cx::default();
        let write = Action::new("write", json!({ "key": "k" }));
        let after = |writes: Writes| {
            let (cx, write) = (cx.clone(), write.clone());
            async move {
                let world = SimWorld::builder("home").writes(writes).build();
                let mut env = opened(&world).await;
                env.observe(&cx).await.unwrap();
                let snapshot = env.snapshot(&cx).await.unwrap();
                let step = env.act(&write, &cx).await.unwrap();
                let held = matches!(step, Step::Held { .. });
                let back = env.restore(&snapshot, &cx).await.is_ok();
                let rows = opened(&world)
                    .await
                    .query(
                        &Query::Sql {
                            statement: String::new(),
                        },
                        &cx,
                    )
                    .await
                    .unwrap();
                (held, back, rows)
            }
        };
        assert_eq!(after(Writes::Hold).await, (true, true, json!([])));
        assert_eq!(after(Writes::Session).await, (false, true, json!([])));
        assert_eq!(after(Writes::Checkpoint).await, (false, true, json!([])));
        assert_eq!(
            after(Writes::Allow).await,
            (false, false, json!([["k", 1]]))
        );
    }
}
