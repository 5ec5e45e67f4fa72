//! Random walks on real pages: a snapshot at every step, then restores in random order while other
//! branches go on changing page and server in between. Every restore must find the state that was
//! recorded: digest, elements, tabs, and the server's own rows.
//!
//! `BRANCHLINE_WALKS=N` takes N times as many walks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use branchline::context::Cx;
use branchline::demo::DemoSite;
use branchline::env::browser::{BrowserConfig, BrowserWorld};
use branchline::env::{Environment, Site, World};
use branchline::task::data_dir;
use branchline::task::miniwob::{MiniwobSite, is_fetched, tasks};
use branchline::types::{
    Action, Element, ElementState, MissReason, Observation, Query, Restored, Rung, Seed, Snapshot,
    Step, Writes,
};
use serde_json::{Value, json};

/// Tables of the shop that visitors change.
const TABLES: [&str; 10] = [
    "sessions",
    "users",
    "reviews",
    "cart_lines",
    "wishlist",
    "drafts",
    "orders",
    "order_lines",
    "messages",
    "writes",
];

/// Choices of one walk: the same for the same seed.
struct Dice {
    seed: Seed,
    thrown: u32,
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self {
            seed: Seed(seed),
            thrown: 0,
        }
    }

    /// A number below `below`.
    fn throw(&mut self, below: usize) -> usize {
        self.thrown += 1;
        let drawn = self.seed.derive(&self.thrown.to_string()).0 % below as u64;
        usize::try_from(drawn).unwrap()
    }

    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.throw(among.len())]
    }
}

/// What can be tried here: first a kind of element is chosen, so that a page of many links does not
/// crowd out its few buttons and fields, then one of that kind.
fn choose(seen: &Observation, dice: &mut Dice) -> Action {
    let mut kinds: BTreeMap<&str, Vec<&Element>> = BTreeMap::new();
    for element in &seen.elements {
        let blocked = [ElementState::Disabled, ElementState::Readonly];
        if element.interactive && !element.states.iter().any(|state| blocked.contains(state)) {
            kinds.entry(&element.role).or_default().push(element);
        }
    }
    let roles: Vec<&str> = kinds.keys().copied().collect();
    let other = dice.throw(10);
    if roles.is_empty() || other == 0 {
        let direction = *dice.pick(&["down", "up"]);
        return Action::new("scroll", json!({ "direction": direction }));
    }
    if other == 1 {
        return Action::new("back", json!({}));
    }
    let role = *dice.pick(&roles);
    let element = *dice.pick(&kinds[role]);
    let on = |name: &str, more: Value| {
        let mut arguments = more;
        arguments["ref"] = json!(element.r#ref);
        Action::new(name, arguments)
    };
    match role {
        "textbox" | "searchbox" => {
            let text = *dice.pick(&[
                "lamp",
                "Ada Lovelace",
                "ada@example.org",
                "12345",
                "ünïcode",
            ]);
            on("fill", json!({"text": text, "submit": dice.throw(3) == 0}))
        }
        "spinbutton" => on("fill", json!({"text": dice.pick(&["1", "2", "3"])})),
        "combobox" | "listbox" if !element.options.is_empty() => {
            on("select", json!({"option": dice.pick(&element.options)}))
        }
        "checkbox" => {
            let now = element.states.contains(&ElementState::Checked);
            on("check", json!({"on": !now}))
        }
        "radio" => on("check", json!({})),
        _ => on("click", json!({})),
    }
}

/// Something to do with tabs.
fn choose_tab(seen: &Observation, dice: &mut Dice) -> Action {
    let open = seen.tabs.len();
    let index = json!({ "index": 1 + dice.throw(open) });
    match dice.throw(4) {
        0 => Action::new("tab_close", index),
        1 | 2 if open < 4 => {
            let url = *dice.pick(&["/", "/cart", "/product/brass-desk-lamp", "/configurator"]);
            Action::new("tab_open", json!({ "url": url }))
        }
        _ => Action::new("tab_switch", index),
    }
}

/// One state of a walk, as it was recorded.
struct Recorded {
    snapshot: Snapshot,
    seen: Observation,
    server: Value,
}

/// How the restores of some walks went.
#[derive(Default)]
struct Tally {
    rungs: BTreeMap<Rung, (u32, u64)>,
    misses: BTreeMap<(Rung, MissReason), u32>,
    walked: u32,
}

impl Tally {
    fn restored(&mut self, restored: &Restored) {
        let rung = self.rungs.entry(restored.rung).or_default();
        *rung = (rung.0 + 1, rung.1 + restored.ms);
        for miss in &restored.misses {
            *self.misses.entry((miss.rung, miss.reason)).or_default() += 1;
        }
    }

    #[expect(clippy::print_stderr, reason = "the figures, for those who look")]
    fn show(&self, what: &str) {
        let rungs = self.rungs.iter().map(|(rung, (count, ms))| {
            format!("{rung:?} {count} ({} ms each)", ms / u64::from(*count))
        });
        let rungs = rungs.collect::<Vec<_>>().join(", ");
        let misses = self.misses.iter();
        let misses = misses.map(|((rung, reason), count)| format!("{rung:?}/{reason:?} {count}"));
        let misses = misses.collect::<Vec<_>>().join(", ");
        let walked = self.walked;
        eprintln!("{what}: {walked} actions; restores: {rungs}; missed: {misses}");
    }
}

struct Walker<'a> {
    env: Box<dyn Environment>,
    dice: Dice,
    cx: &'a Cx,
    sql: bool,
    /// Whether tabs are opened and closed.
    tabs: bool,
    path: Vec<String>,
    /// A branch between two restores takes fewer actions than this.
    stray: usize,
}

impl Walker<'_> {
    async fn server(&mut self) -> Value {
        let mut rows = json!({});
        if self.sql {
            for table in TABLES {
                let statement = format!("select * from {table} order by 1, 2");
                let query = Query::Sql { statement };
                rows[table] = self.env.query(&query, self.cx).await.unwrap();
            }
        }
        rows
    }

    /// Observes and records; `None` where the episode is over.
    async fn record(&mut self) -> Option<Recorded> {
        let seen = self.env.observe(self.cx).await.unwrap();
        if seen.terminal {
            return None;
        }
        Some(Recorded {
            snapshot: self.env.snapshot(self.cx).await.unwrap(),
            server: self.server().await,
            seen,
        })
    }

    /// Takes one action that is not refused; false if there is none to be found.
    async fn step(&mut self, seen: &Observation) -> bool {
        for _ in 0..8 {
            let action = if self.tabs && self.dice.throw(3) == 0 {
                choose_tab(seen, &mut self.dice)
            } else {
                choose(seen, &mut self.dice)
            };
            match self.env.act(&action, self.cx).await.unwrap() {
                Step::Done { .. } => {
                    self.path.push(action.to_string());
                    return true;
                }
                Step::Rejected(_) => {}
                Step::Held { .. } => panic!("nothing is held in these walks"),
            }
        }
        false
    }

    async fn walk(&mut self, steps: usize, tally: &mut Tally) -> Vec<Recorded> {
        let mut states = Vec::new();
        states.extend(self.record().await);
        let mut ended = 0;
        while states.len() <= steps && ended < 2 {
            let here: &Recorded = states.last().unwrap();
            if !self.step(&here.seen.clone()).await {
                break;
            }
            tally.walked += 1;
            if let Some(state) = self.record().await {
                states.push(state);
                continue;
            }
            // A wrong click ended the episode: back, and another way.
            ended += 1;
            self.path.pop();
            let back = self.env.restore(&here.snapshot, self.cx).await;
            tally.restored(&back.unwrap_or_else(|error| panic!("{:#?}: {error}", self.path)));
            let again = self.env.observe(self.cx).await.unwrap();
            assert_eq!(again.elements, here.seen.elements, "{:#?}", self.path);
        }
        states
    }

    /// Restores the states in random order; between two restores another branch goes on from where
    /// the first one led.
    async fn take_back(&mut self, states: &[Recorded], tally: &mut Tally) {
        let mut left: Vec<usize> = (0..states.len()).collect();
        while !left.is_empty() {
            let index = left.swap_remove(self.dice.throw(left.len()));
            let state = &states[index];
            let whence = format!("state {index} of {:#?}", self.path);
            let restored = self.env.restore(&state.snapshot, self.cx).await;
            let restored = restored.unwrap_or_else(|error| panic!("{whence}: {error}"));
            let again = self.env.observe(self.cx).await.unwrap();
            assert_eq!(
                again.elements, state.seen.elements,
                "{whence}: {restored:?}"
            );
            assert_eq!(again.digest, state.seen.digest, "{whence}: {restored:?}");
            assert_eq!(
                (&again.url, &again.title, &again.tabs),
                (&state.seen.url, &state.seen.title, &state.seen.tabs)
            );
            assert_eq!(self.server().await, state.server, "{whence}: {restored:?}");
            tally.restored(&restored);
            let branched = self.path.len();
            let mut seen = again;
            for _ in 0..self.dice.throw(self.stray) {
                if seen.terminal || !self.step(&seen).await {
                    break;
                }
                seen = self.env.observe(self.cx).await.unwrap();
            }
            self.path.truncate(branched);
        }
    }
}

/// How many times the bounded number of walks to take.
fn times() -> u64 {
    let wanted = std::env::var("BRANCHLINE_WALKS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(1)
}

fn config() -> BrowserConfig {
    BrowserConfig {
        screenshots: false,
        settle: Duration::from_secs(3),
        ..BrowserConfig::default()
    }
}

fn world(site: Arc<dyn Site>, start: &str) -> BrowserWorld {
    BrowserWorld::new(config(), site, start, Writes::Checkpoint, None)
}

async fn shop(start: &str, seeds: std::ops::Range<u64>, tabs: bool) {
    let cx = Cx::default();
    let world = world(Arc::new(DemoSite::new()), start);
    let mut tally = Tally::default();
    for seed in seeds {
        let mut walker = Walker {
            env: world.open(Seed(seed), &cx).await.unwrap(),
            dice: Dice::new(seed),
            cx: &cx,
            sql: true,
            tabs,
            path: vec![format!("seed {seed}")],
            stray: 3,
        };
        let states = walker.walk(10, &mut tally).await;
        assert!(states.len() > 5, "{:?}", walker.path);
        walker.take_back(&states, &mut tally).await;
        walker.env.close(&cx).await.unwrap();
    }
    let what = if tabs { ", several tabs" } else { "" };
    tally.show(&format!("shop {start}{what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_walks_the_shop_and_takes_it_back() {
    shop("/", 0..2 * times(), false).await;
    shop("/product/brass-desk-lamp", 100..100 + times(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_walks_the_shops_single_page_app_and_takes_it_back() {
    shop("/configurator", 200..200 + 2 * times(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_walks_the_shop_in_several_tabs_and_takes_it_back() {
    shop("/", 300..300 + 2 * times(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_walks_miniwob_and_takes_it_back() {
    let Some(data) = data_dir().filter(|data| is_fetched(data)) else {
        skip("MiniWoB walks: not fetched (`branchline fetch miniwob`)");
        return;
    };
    let cx = Cx::default();
    let all = tasks("miniwob", &data).unwrap();
    // Every sixth page of the alphabet, so that all kinds are there.
    let wanted = all.into_iter().step_by(6).take(20);
    let mut tally = Tally::default();
    let mut deep = 0;
    let site: Arc<dyn Site> = Arc::new(MiniwobSite::new(&data).unwrap());
    for (seed, task) in wanted.enumerate() {
        for seed in (0..times()).map(|n| n * 1000 + seed as u64) {
            let start = &task.start.path;
            let world = BrowserWorld::new(
                config(),
                Arc::clone(&site),
                start,
                Writes::Session,
                task.episode.clone(),
            );
            let mut walker = Walker {
                env: world.open(Seed(seed), &cx).await.unwrap(),
                dice: Dice::new(seed),
                cx: &cx,
                sql: false,
                tabs: false,
                path: vec![format!("{}, seed {seed}", task.id)],
                stray: 2,
            };
            let states = walker.walk(2, &mut tally).await;
            deep += usize::from(states.len() > 1);
            walker.take_back(&states, &mut tally).await;
            walker.env.close(&cx).await.unwrap();
        }
    }
    tally.show("MiniWoB");
    assert!(
        deep >= 12,
        "most pages were walked beyond their first state: {deep}"
    );
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn skip(what: &str) {
    eprintln!("SKIP {what}");
}
