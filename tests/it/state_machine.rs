//! Snapshots and restores in any order, by several lanes, against a model of plain values.
//!
//! The model knows what a state is; the environment must show exactly that, whatever was done,
//! saved, restored, closed and opened before. `sim`, the environment without a browser and Chromium
//! are held to the same law.

mod chromium;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Form, State};
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use branchline::context::Cx;
use branchline::env::html::{HtmlConfig, HtmlWorld};
use branchline::env::sim::SimWorld;
use branchline::env::{Environment, Site, SiteError, SiteInstance, SiteState, World};
use branchline::types::{Action, Observation, Query, Seed, Snapshot, Step, Writes};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use serde_json::{Value, json};

use crate::support::serve::serve;

const SEED: Seed = Seed(3);

// ---------------------------------------------------------------- the law

/// What is done to a world with several lanes.
#[derive(Debug, Clone)]
enum Move<A> {
    Act(usize, A),
    Save(usize),
    Restore { lane: usize, save: usize },
    Reopen(usize),
}

/// What a model of a state is.
trait Model: Clone + std::fmt::Debug + PartialEq + Send + 'static {
    type Act: Clone + std::fmt::Debug + Send + 'static;
    fn start() -> Self;
    fn acts(&self) -> BoxedStrategy<Self::Act>;
    /// Whether it is possible here. What is not must be rejected.
    fn possible(&self, act: &Self::Act) -> bool;
    fn act(&mut self, act: &Self::Act);
}

/// The model of a world: the state of each lane, and the saved ones.
#[derive(Debug, Clone)]
struct Lanes<M> {
    lanes: Vec<M>,
    saves: Vec<M>,
}

const LANES: usize = 2;

struct Law<M>(std::marker::PhantomData<M>);

impl<M: Model> ReferenceStateMachine for Law<M> {
    type State = Lanes<M>;
    type Transition = Move<M::Act>;

    fn init_state() -> BoxedStrategy<Lanes<M>> {
        Just(Lanes {
            lanes: vec![M::start(); LANES],
            saves: Vec::new(),
        })
        .boxed()
    }

    fn transitions(state: &Lanes<M>) -> BoxedStrategy<Move<M::Act>> {
        let act = |lane: usize| {
            state.lanes[lane]
                .acts()
                .prop_map(move |a| Move::Act(lane, a))
        };
        let saves = state.saves.len();
        let restore =
            (0..LANES, 0..saves.max(1)).prop_map(|(lane, save)| Move::Restore { lane, save });
        prop_oneof![
            4 => act(0),
            4 => act(1),
            3 => (0..LANES).prop_map(Move::Save),
            4 => restore,
            1 => (0..LANES).prop_map(Move::Reopen),
        ]
        .boxed()
    }

    fn preconditions(state: &Lanes<M>, transition: &Move<M::Act>) -> bool {
        match transition {
            Move::Restore { save, .. } => *save < state.saves.len(),
            Move::Act(..) | Move::Save(_) | Move::Reopen(_) => true,
        }
    }

    fn apply(mut state: Lanes<M>, transition: &Move<M::Act>) -> Lanes<M> {
        match transition {
            Move::Act(lane, act) => {
                if state.lanes[*lane].possible(act) {
                    state.lanes[*lane].act(act);
                }
            }
            Move::Save(lane) => state.saves.push(state.lanes[*lane].clone()),
            Move::Restore { lane, save } => state.lanes[*lane] = state.saves[*save].clone(),
            Move::Reopen(lane) => state.lanes[*lane] = M::start(),
        }
        state
    }
}

/// Whether an action was carried out. One whose write was held was not, and is taken back: the page
/// was told otherwise.
async fn carried_out(env: &mut dyn Environment, action: &Action, cx: &Cx) -> bool {
    let before = env.snapshot(cx).await.unwrap();
    match env.act(action, cx).await.unwrap() {
        Step::Done { .. } => true,
        Step::Rejected(_) => false,
        Step::Held { effects } => {
            assert!(effects[0].held, "{effects:?}");
            env.restore(&before, cx).await.unwrap();
            false
        }
    }
}

/// The arguments of an action on the element of this name, if the page has it.
fn on(seen: &Observation, name: &str) -> Option<Value> {
    let mut elements = seen.elements.iter();
    let element = elements.find(|e| e.interactive && e.name == name)?;
    Some(json!({"ref": element.r#ref}))
}

/// A world under test, and how it shows what the model says.
trait Subject: Sized {
    type Model: Model;
    /// Whether a state shows all there is to it: equal digests mean equal states then.
    const ALL_IS_SEEN: bool;
    fn world() -> Self;
    fn as_world(&self) -> &dyn World;
    /// The action on the page as it is, or `None` if the page offers none like it.
    fn action(seen: &Observation, act: &<Self::Model as Model>::Act) -> Option<Action>;
    /// Compares; `server` is what the lane's server says of itself.
    fn check(model: &Self::Model, seen: &Observation, server: &Value);
}

struct Run<S: Subject> {
    runtime: tokio::runtime::Runtime,
    subject: S,
    lanes: Vec<Option<Box<dyn Environment>>>,
    seen: Vec<Observation>,
    saves: Vec<(Snapshot, Observation)>,
}

impl<S: Subject> Run<S> {
    fn with<T>(
        &mut self,
        lane: usize,
        work: impl AsyncFnOnce(&mut dyn Environment, &Cx) -> T,
    ) -> T {
        let env = self.lanes[lane].as_mut().unwrap();
        self.runtime.block_on(work(&mut **env, &Cx::default()))
    }

    fn look(&mut self, lane: usize) {
        self.seen[lane] = self.with(lane, async |env, cx| env.observe(cx).await.unwrap());
    }
}

impl<S: Subject> StateMachineTest for Run<S> {
    type SystemUnderTest = Self;
    type Reference = Law<S::Model>;

    fn init_test(reference: &Lanes<S::Model>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let subject = {
            let _inside = runtime.enter();
            S::world()
        };
        let (lanes, seen) = runtime.block_on(async {
            let cx = Cx::default();
            let (mut lanes, mut seen) = (Vec::new(), Vec::new());
            for _ in &reference.lanes {
                let mut env = subject.as_world().open(SEED, &cx).await.unwrap();
                seen.push(env.observe(&cx).await.unwrap());
                lanes.push(Some(env));
            }
            (lanes, seen)
        });
        Self {
            runtime,
            subject,
            lanes,
            seen,
            saves: Vec::new(),
        }
    }

    fn apply(
        mut run: Self,
        reference: &Lanes<S::Model>,
        transition: Move<<S::Model as Model>::Act>,
    ) -> Self {
        match transition {
            Move::Act(lane, act) => {
                let before = run.seen[lane].clone();
                let moved = S::action(&before, &act).is_some_and(|action| {
                    run.with(lane, async |env, cx| carried_out(env, &action, cx).await)
                });
                run.look(lane);
                if !moved {
                    assert_eq!(
                        run.seen[lane].digest, before.digest,
                        "{act:?} did not happen"
                    );
                }
            }
            Move::Save(lane) => {
                let saved = run.with(lane, async |env, cx| env.snapshot(cx).await.unwrap());
                assert_eq!(saved.digest, run.seen[lane].digest);
                let seen = run.seen[lane].clone();
                run.saves.push((saved, seen));
            }
            Move::Restore { lane, save } => {
                let (to, then) = run.saves[save].clone();
                run.with(lane, async |env, cx| {
                    env.restore(&to, cx).await.unwrap();
                    assert!(env.is_at(&to));
                });
                run.look(lane);
                assert_eq!(run.seen[lane].digest, then.digest);
                assert_eq!(run.seen[lane].elements, then.elements, "references too");
                assert_eq!(run.seen[lane].tabs, then.tabs);
            }
            Move::Reopen(lane) => {
                let old = run.lanes[lane].take().unwrap();
                let new = run.runtime.block_on(async {
                    let cx = Cx::default();
                    old.close(&cx).await.unwrap();
                    run.subject.as_world().open(SEED, &cx).await.unwrap()
                });
                run.lanes[lane] = Some(new);
                run.look(lane);
            }
        }
        for (lane, model) in reference.lanes.iter().enumerate() {
            let server = run.with(lane, async |env, cx| {
                let statement = "all".to_owned();
                env.query(&Query::Sql { statement }, cx).await.unwrap()
            });
            S::check(model, &run.seen[lane], &server);
        }
        if S::ALL_IS_SEEN {
            assert_eq!(
                reference.lanes[0] == reference.lanes[1],
                run.seen[0].digest == run.seen[1].digest,
                "{:?}",
                reference.lanes
            );
        }
        run
    }
}

// ---------------------------------------------------------------- sim

#[derive(Debug, Clone, PartialEq)]
struct SimModel {
    page: &'static str,
    counters: BTreeMap<&'static str, i64>,
    server: BTreeMap<&'static str, i64>,
}

#[derive(Debug, Clone)]
enum SimAct {
    Goto(&'static str),
    Add(&'static str),
    Write(&'static str),
}

const SIM_PAGES: [(&str, &[&str]); 3] = [
    ("home", &["shop"]),
    ("shop", &["home", "cart"]),
    ("cart", &["shop"]),
];

impl Model for SimModel {
    type Act = SimAct;

    fn start() -> Self {
        Self {
            page: "home",
            counters: BTreeMap::new(),
            server: BTreeMap::new(),
        }
    }

    fn acts(&self) -> BoxedStrategy<SimAct> {
        prop_oneof![
            prop::sample::select(vec!["home", "shop", "cart"]).prop_map(SimAct::Goto),
            prop::sample::select(vec!["a", "b"]).prop_map(SimAct::Add),
            prop::sample::select(vec!["x", "y"]).prop_map(SimAct::Write),
        ]
        .boxed()
    }

    fn possible(&self, act: &SimAct) -> bool {
        match act {
            SimAct::Goto(to) => SIM_PAGES
                .iter()
                .any(|(page, links)| *page == self.page && links.contains(to)),
            SimAct::Add(_) | SimAct::Write(_) => true,
        }
    }

    fn act(&mut self, act: &SimAct) {
        match act {
            SimAct::Goto(to) => self.page = to,
            SimAct::Add(name) => *self.counters.entry(name).or_default() += 1,
            SimAct::Write(key) => *self.server.entry(key).or_default() += 1,
        }
    }
}

struct Sim(SimWorld);

impl Subject for Sim {
    type Model = SimModel;
    const ALL_IS_SEEN: bool = true;

    fn world() -> Self {
        let mut builder = SimWorld::builder("home").writes(Writes::Checkpoint);
        for (name, links) in SIM_PAGES {
            builder = builder.page(name, "", links);
        }
        Self(builder.build())
    }

    fn as_world(&self) -> &dyn World {
        &self.0
    }

    fn action(_: &Observation, act: &SimAct) -> Option<Action> {
        Some(match act {
            SimAct::Goto(to) => Action::new("goto", json!({ "to": to })),
            SimAct::Add(counter) => Action::new("add", json!({ "counter": counter })),
            SimAct::Write(key) => Action::new("write", json!({ "key": key })),
        })
    }

    fn check(model: &SimModel, seen: &Observation, server: &Value) {
        assert_eq!(seen.title, model.page);
        for (name, n) in &model.counters {
            assert!(
                seen.text.contains(&format!("\n{name}: {n}")),
                "{}",
                seen.text
            );
        }
        let rows: Vec<Value> = model.server.iter().map(|(k, n)| json!([k, n])).collect();
        assert_eq!(*server, json!(rows));
    }
}

type SimRun = Run<Sim>;

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sim_states_come_back(sequential 1..40 => SimRun);
}

// ---------------------------------------------------------------- html

/// A notebook: what is in its fields belongs to the page, what was sent to the server and to the
/// visitor's cookie.
#[derive(Debug, Clone, PartialEq)]
struct NoteModel {
    /// Pages of the tab's history with what stands in the field, and where in it we are.
    history: Vec<(NotePage, String, bool)>,
    at: usize,
    notes: Vec<String>,
    visits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotePage {
    Home,
    List,
    Sent,
}

#[derive(Debug, Clone)]
enum NoteAct {
    Type(&'static str),
    Tick,
    Send,
    List,
    Back,
    Forward,
}

impl Model for NoteModel {
    type Act = NoteAct;

    fn start() -> Self {
        Self {
            history: vec![(NotePage::Home, String::new(), false)],
            at: 0,
            notes: Vec::new(),
            visits: 1,
        }
    }

    fn acts(&self) -> BoxedStrategy<NoteAct> {
        prop_oneof![
            2 => prop::sample::select(vec!["milk", "tea", ""]).prop_map(NoteAct::Type),
            1 => Just(NoteAct::Tick),
            2 => Just(NoteAct::Send),
            2 => Just(NoteAct::List),
            2 => Just(NoteAct::Back),
            1 => Just(NoteAct::Forward),
        ]
        .boxed()
    }

    fn possible(&self, act: &NoteAct) -> bool {
        let home = self.history[self.at].0 == NotePage::Home;
        match act {
            NoteAct::Type(_) | NoteAct::Tick | NoteAct::Send | NoteAct::List => home,
            NoteAct::Back => self.at > 0,
            NoteAct::Forward => self.at + 1 < self.history.len(),
        }
    }

    fn act(&mut self, act: &NoteAct) {
        match act {
            NoteAct::Type(text) => (*text).clone_into(&mut self.history[self.at].1),
            NoteAct::Tick => self.history[self.at].2 ^= true,
            NoteAct::Send => {
                let (_, text, loud) = self.history[self.at].clone();
                self.notes.push(if loud { text + "!" } else { text });
                self.enter(NotePage::Sent);
            }
            NoteAct::List => self.enter(NotePage::List),
            NoteAct::Back => self.at -= 1,
            NoteAct::Forward => self.at += 1,
        }
    }
}

impl NoteModel {
    fn enter(&mut self, page: NotePage) {
        self.visits += 1;
        self.history.truncate(self.at + 1);
        // A page shows what was so when it was loaded.
        let shown = counted(self.notes.len(), self.visits);
        self.history.push((page, shown, false));
        self.at += 1;
    }
}

/// What a page of the notebook says of it.
fn counted(notes: usize, visits: u32) -> String {
    format!("{notes} notes, {visits} visits")
}

/// A form, and nothing that needs a script.
const PLAIN: &str = "<title>Home</title><form method=post action=/send><input name=text aria-label=Text>\
    <label><input type=checkbox name=loud>Loud</label><button>Send</button></form><a href=/list>List</a>";

/// The notebook's server: its notes can be saved and put back.
#[derive(Clone)]
struct Notebook {
    home: &'static str,
    notes: Arc<Mutex<Vec<String>>>,
}

struct NotebookInstance {
    origin: String,
    server: Notebook,
    _stop: tokio_util::sync::DropGuard,
}

#[derive(serde::Deserialize)]
struct Note {
    text: String,
    loud: Option<String>,
}

/// Counts the visitor's visits in a cookie.
fn visit(headers: &HeaderMap) -> (u32, [(&'static str, String); 1]) {
    let cookie = headers.get("cookie").and_then(|c| c.to_str().ok());
    let before = cookie.and_then(|c| c.strip_prefix("visits=")?.parse::<u32>().ok());
    let now = before.unwrap_or(0) + 1;
    (now, [("set-cookie", format!("visits={now}; Path=/"))])
}

impl Notebook {
    /// An empty one, with this start page.
    fn with_home(home: &'static str) -> Self {
        let notes = Arc::default();
        Self { home, notes }
    }

    fn page(&self, title: &str, headers: &HeaderMap) -> Response {
        let notes = self.notes.lock().unwrap();
        let (visits, cookie) = visit(headers);
        let text = format!(
            "<title>{title}</title><p>{}</p><p>{}</p><a href=/>Home</a>",
            counted(notes.len(), visits),
            notes.join(", ")
        );
        (cookie, Html(text)).into_response()
    }
}

async fn serve_notebook(server: Notebook) -> (String, tokio_util::sync::DropGuard) {
    let app = Router::new()
        .route(
            "/",
            get(
                |State(server): State<Notebook>, headers: HeaderMap| async move {
                    (visit(&headers).1, Html(server.home))
                },
            ),
        )
        .route(
            "/list",
            get(
                |State(server): State<Notebook>, headers: HeaderMap| async move {
                    server.page("List", &headers)
                },
            ),
        )
        .route(
            "/sent",
            get(
                |State(server): State<Notebook>, headers: HeaderMap| async move {
                    server.page("Sent", &headers)
                },
            ),
        )
        .route(
            "/send",
            post(
                |State(server): State<Notebook>, Form(note): Form<Note>| async move {
                    let mark = if note.loud.is_some() { "!" } else { "" };
                    server.notes.lock().unwrap().push(note.text + mark);
                    Redirect::to("/sent")
                },
            ),
        )
        .with_state(server);
    serve(app).await
}

#[async_trait::async_trait]
impl Site for Notebook {
    fn logical_origin(&self) -> &'static str {
        "http://notes.test"
    }

    async fn lease(&self, _: &Cx) -> Result<Box<dyn SiteInstance>, SiteError> {
        let server = Self::with_home(self.home);
        let (origin, stop) = serve_notebook(server.clone()).await;
        Ok(Box::new(NotebookInstance {
            origin,
            server,
            _stop: stop,
        }))
    }
}

#[async_trait::async_trait]
impl SiteInstance for NotebookInstance {
    fn origin(&self) -> &str {
        &self.origin
    }
    fn resets(&self) -> bool {
        true
    }
    async fn reset(&self, _: &Cx) -> Result<(), SiteError> {
        self.server.notes.lock().unwrap().clear();
        Ok(())
    }
    async fn save(&self, _: &Cx) -> Result<Option<SiteState>, SiteError> {
        let notes = self.server.notes.lock().unwrap().clone();
        Ok(Some(SiteState(Arc::new(notes))))
    }
    async fn load(&self, state: &SiteState, _: &Cx) -> Result<(), SiteError> {
        let notes = state.0.downcast_ref::<Vec<String>>().unwrap();
        self.server.notes.lock().unwrap().clone_from(notes);
        Ok(())
    }
    async fn sql(&self, _: &str, _: &Cx) -> Result<Value, SiteError> {
        Ok(json!(*self.server.notes.lock().unwrap()))
    }
}

/// The notebook with `KEPT` bytes of states kept: with none, every restore walks the path again.
struct Notes<const KEPT: usize>(HtmlWorld);

impl<const KEPT: usize> Subject for Notes<KEPT> {
    type Model = NoteModel;
    const ALL_IS_SEEN: bool = false;

    fn world() -> Self {
        let config = HtmlConfig {
            kept_bytes: KEPT,
            ..HtmlConfig::default()
        };
        let site = Arc::new(Notebook::with_home(PLAIN));
        Self(HtmlWorld::new(config, site, "/", Writes::Checkpoint))
    }

    fn as_world(&self) -> &dyn World {
        &self.0
    }

    fn action(seen: &Observation, act: &NoteAct) -> Option<Action> {
        Some(match act {
            NoteAct::Type(text) => {
                let mut arguments = on(seen, "Text")?;
                arguments["text"] = json!(text);
                Action::new("fill", arguments)
            }
            NoteAct::Tick => Action::new("click", on(seen, "Loud")?),
            NoteAct::Send => Action::new("click", on(seen, "Send")?),
            NoteAct::List => Action::new("click", on(seen, "List")?),
            NoteAct::Back => Action::new("back", json!({})),
            NoteAct::Forward => Action::new("forward", json!({})),
        })
    }

    fn check(model: &NoteModel, seen: &Observation, server: &Value) {
        assert_eq!(*server, json!(model.notes));
        let (page, text, ticked) = &model.history[model.at];
        assert_eq!(seen.title, format!("{page:?}"));
        match page {
            NotePage::Home => {
                let field = seen.elements.iter().find(|e| e.name == "Text").unwrap();
                assert_eq!(field.value.as_ref(), Some(text));
                assert_eq!(seen.text.contains("checked"), *ticked);
            }
            NotePage::List | NotePage::Sent => {
                assert!(seen.text.contains(text), "{text} in {}", seen.text);
            }
        }
    }
}

type NotesRun = Run<Notes<{ 1 << 30 }>>;
type ForgetfulRun = Run<Notes<0>>;

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn html_states_come_back(sequential 1..40 => NotesRun);

    #[test]
    fn html_states_come_back_by_replay(sequential 1..25 => ForgetfulRun);
}
