//! `branchline bench restore`: coming back to a state, against walking to it anew.
//!
//! Both ways alternate within one run, on the same machine, pages and actions:
//!
//! * **restore**: the lane is at another state, to which it went from the start and wrote on the way
//!   where the site can be written to. Timed is one [`Environment::restore`], which is done once
//!   the digest is the state's.
//! * **baseline**: what search agents and benchmark harnesses do. Timed is a fresh browser context on
//!   a freshly seeded site, the start page and every action of the path, each followed by waiting
//!   until the network was idle for 500 ms. It is driven by the same code as everything here, and
//!   proves nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::environment;
use super::figures::{Spread, ms};
use crate::cli::app::{print, say};
use crate::cli::run::{OutputArgs, browser};
use crate::cli::{CliError, Exit};
use crate::context::Cx;
use crate::demo::DemoSite;
use crate::env::browser::{BrowserBinary, BrowserConfig, BrowserWorld, Rest};
use crate::env::episode::Episode;
use crate::env::{Environment, RestoreError, Site, World};
use crate::task::miniwob::MiniwobSite;
use crate::task::{data_dir, load};
use crate::types::{Action, Digest, Observation, Rung, Seed, Snapshot, Step, Writes};

/// How long the network is idle before the baseline goes on.
const IDLE: Duration = Duration::from_millis(500);
/// The `MiniWoB` task: a page of checkboxes, all in one document.
const MINIWOB: &str = "miniwob/click-checkboxes-large?seed=1";

#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreArgs {
    /// Restores of each state, and walks of the baseline to it.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Where.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Place::Cart, Place::Spa, Place::Miniwob])]
    sites: Vec<Place>,
    /// Actions from the start to the state.
    #[arg(long, value_name = "1..10", value_delimiter = ',', default_values_t = [3, 5, 10], value_parser = clap::value_parser!(u8).range(1..=10))]
    depths: Vec<u8>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Place {
    /// The demo shop's pages: products, cart, quantities.
    Cart,
    /// The demo shop's configurator: state in a script, one document.
    Spa,
    /// A page of MiniWoB (`branchline fetch miniwob`).
    Miniwob,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cart => "cart",
            Self::Spa => "spa",
            Self::Miniwob => "miniwob",
        })
    }
}

impl Place {
    /// The ratio to reach at this depth, where one is set.
    fn goal(self, depth: u8) -> Option<f64> {
        let goals = match self {
            Self::Cart => [12.0, 18.0, 40.0],
            Self::Spa => [8.0, 15.0, 25.0],
            Self::Miniwob => [7.0, 11.0, 20.0],
        };
        let at = [3, 5, 10].iter().position(|of| *of == depth)?;
        Some(goals[at])
    }

    /// The most milliseconds that a restore should take.
    fn limit(self) -> f64 {
        match self {
            Self::Cart => 150.0,
            Self::Spa | Self::Miniwob => 250.0,
        }
    }
}

/// All sites and depths.
pub(super) async fn restore(args: &RestoreArgs, cx: &Cx) -> Result<(), CliError> {
    let binary = browser(&args.output)?;
    say(&format!(
        "restore: verified, after work elsewhere; baseline: fresh context, fresh site, replay, \
         network idle for 500 ms after each action; {} of each, alternating",
        args.runs
    ));
    for place in &args.sites {
        let Some(course) = Course::of(*place)? else {
            say("miniwob: skipped, its pages are not here (`branchline fetch miniwob`)");
            continue;
        };
        for depth in &args.depths {
            let row = course.measure(&binary, *depth, args.runs, cx).await?;
            if args.output.json {
                print(&row.json().to_string());
            } else {
                print(&row.to_string());
            }
        }
    }
    Ok(())
}

// --- where, and what is done there ------------------------------------------------------------

/// One action, by what its element is called.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// Clicks on an element of this role and name.
    Click(&'static str, &'static str),
    /// Clicks on the element of this role that comes so many after the first.
    ClickNth(&'static str, usize),
    /// Writes into a field of this name.
    Fill(&'static str, &'static str),
}

impl Move {
    fn on(self, seen: &Observation) -> Result<Action, CliError> {
        let (role, name, skipped) = match self {
            Self::Click(role, name) => (Some(role), Some(name), 0),
            Self::ClickNth(role, nth) => (Some(role), None, nth),
            Self::Fill(name, _) => (None, Some(name), 0),
        };
        let mut fitting = seen.elements.iter().filter(|e| {
            e.interactive
                && role.is_none_or(|role| e.role == role)
                && name.is_none_or(|n| e.name == n)
        });
        let found = fitting.nth(skipped);
        let found = found.ok_or_else(|| environment(format!("no {self:?} in:\n{}", seen.text)))?;
        Ok(match self {
            Self::Click(..) | Self::ClickNth(..) => {
                Action::new("click", json!({"ref": found.r#ref}))
            }
            Self::Fill(_, text) => Action::new("fill", json!({"ref": found.r#ref, "text": text})),
        })
    }
}

/// A site, a path of ten actions, and a way to another state.
struct Course {
    place: Place,
    site: Arc<dyn Site>,
    start: String,
    writes: Writes,
    episode: Option<Episode>,
    path: Vec<Move>,
    away: Vec<Move>,
}

impl Course {
    /// `None` if its pages are not on this machine.
    fn of(place: Place) -> Result<Option<Self>, CliError> {
        let shop = |start: &str, path: &[Move], away: &[Move]| Self {
            place,
            site: Arc::new(DemoSite::new()),
            start: start.to_owned(),
            writes: Writes::Checkpoint,
            episode: None,
            path: path.to_vec(),
            away: away.to_vec(),
        };
        Ok(match place {
            Place::Cart => Some(shop("/category/desk", CART, CART_AWAY)),
            Place::Spa => Some(shop("/configurator", SPA, SPA_AWAY)),
            Place::Miniwob => miniwob()?,
        })
    }

    fn world(&self, binary: &BrowserBinary, rest: Rest) -> BrowserWorld {
        let config = BrowserConfig {
            binary: Some(binary.clone()),
            screenshots: false,
            rest,
            ..BrowserConfig::default()
        };
        let site = Arc::clone(&self.site);
        BrowserWorld::new(config, site, &self.start, self.writes, self.episode.clone())
    }

    async fn measure(
        &self,
        binary: &BrowserBinary,
        depth: u8,
        runs: u32,
        cx: &Cx,
    ) -> Result<Row, CliError> {
        let path = &self.path[..usize::from(depth)];
        let world = self.world(binary, Rest::Quiet);
        let patient = self.world(binary, Rest::NetworkIdle(IDLE));
        let mut env = world.open(Seed(0), cx).await.map_err(environment)?;
        let start = mark(&mut *env, cx).await?;
        walk(&mut *env, path, cx).await?;
        let state = mark(&mut *env, cx).await?;
        let mut row = Row::new(self.place, depth);
        for _ in 0..runs {
            env.restore(&start, cx).await.map_err(environment)?;
            walk(&mut *env, &self.away, cx).await?;
            let begun = Instant::now();
            match env.restore(&state, cx).await {
                Ok(restored) => {
                    row.restores.push(ms(begun));
                    *row.rungs.entry(restored.rung).or_default() += 1;
                    let seen = env.observe(cx).await.map_err(environment)?;
                    row.equal += u32::from(seen.digest == state.digest);
                }
                Err(RestoreError::Interrupted(why)) => return Err(environment(why)),
                Err(error) => row.lost.push(error.to_string()),
            }
            let begun = Instant::now();
            let digest = self.anew(&patient, path, cx).await?;
            row.baseline.push(ms(begun));
            row.baseline_equal += u32::from(digest == state.digest);
        }
        env.close(cx).await.map_err(environment)?;
        Ok(row)
    }

    /// The baseline: walks the path in a fresh context on a fresh site.
    async fn anew(&self, world: &BrowserWorld, path: &[Move], cx: &Cx) -> Result<Digest, CliError> {
        let mut env = world.open(Seed(0), cx).await.map_err(environment)?;
        walk(&mut *env, path, cx).await?;
        let seen = env.observe(cx).await.map_err(environment)?;
        env.close(cx).await.map_err(environment)?;
        Ok(seen.digest)
    }
}

/// Two products and their quantities: half of the actions are writes.
const CART: &[Move] = &[
    Move::Click("link", "Monitor stand"),
    Move::Click("button", "Add to cart"),
    Move::Fill("Quantity of Monitor stand", "2"),
    Move::Click("button", "Update"),
    Move::Click("link", "Desk & Office"),
    Move::Click("link", "Desk organiser"),
    Move::Click("button", "Add to cart"),
    Move::Fill("Quantity of Desk organiser", "3"),
    Move::ClickNth("button", 3),
    Move::Fill("Quantity of Monitor stand", "1"),
];
const CART_AWAY: &[Move] = &[
    Move::Click("link", "Desk organiser"),
    Move::Click("button", "Add to cart"),
];

/// A lamp, with changes of mind.
const SPA: &[Move] = &[
    Move::Click("button", "Brass base +€49.00"),
    Move::Click("button", "Linen shade +€28.00"),
    Move::Click("button", "Back"),
    Move::Click("button", "Glass globe +€45.00"),
    Move::Click("button", "Warm white light +€9.00"),
    Move::Click("button", "Back"),
    Move::Click("button", "Dimmable light +€24.00"),
    Move::Click("button", "Black cable +€7.00"),
    Move::Click("button", "Back"),
    Move::Click("button", "Red textile cable +€12.00"),
];
const SPA_AWAY: &[Move] = &[
    Move::Click("button", "Oak base +€29.00"),
    Move::Click("button", "Paper shade +€15.00"),
];

fn miniwob() -> Result<Option<Course>, CliError> {
    let site = data_dir().map(|data| MiniwobSite::new(&data));
    let Some(Ok(site)) = site else {
        return Ok(None);
    };
    let task = load(MINIWOB)?
        .pop()
        .ok_or_else(|| CliError::new(Exit::Environment, format!("there is no {MINIWOB}")))?;
    Ok(Some(Course {
        place: Place::Miniwob,
        site: Arc::new(site),
        start: task.start.path,
        writes: task.writes,
        episode: task.episode,
        // Eight boxes: the first two are ticked and unticked again.
        path: (0..10)
            .map(|at| Move::ClickNth("checkbox", at % 8))
            .collect(),
        away: vec![Move::Click("button", "Submit")],
    }))
}

async fn walk(env: &mut dyn Environment, path: &[Move], cx: &Cx) -> Result<(), CliError> {
    for step in path {
        let seen = env.observe(cx).await.map_err(environment)?;
        let action = step.on(&seen)?;
        match env.act(&action, cx).await.map_err(environment)? {
            Step::Done { .. } => {}
            other => return Err(environment(format!("{action} was not done: {other:?}"))),
        }
    }
    Ok(())
}

async fn mark(env: &mut dyn Environment, cx: &Cx) -> Result<Snapshot, CliError> {
    env.observe(cx).await.map_err(environment)?;
    env.snapshot(cx).await.map_err(environment)
}

// --- what came of it --------------------------------------------------------------------------

/// One state.
struct Row {
    place: Place,
    depth: u8,
    /// Milliseconds of the restores that ended in the state.
    restores: Vec<f64>,
    rungs: BTreeMap<Rung, u32>,
    /// Restores after which the page had the state's digest when it was read once more.
    equal: u32,
    /// Why others did not end there.
    lost: Vec<String>,
    /// Milliseconds of the walks.
    baseline: Vec<f64>,
    /// Walks that ended in the state.
    baseline_equal: u32,
}

impl Row {
    fn new(place: Place, depth: u8) -> Self {
        Self {
            place,
            depth,
            restores: Vec::new(),
            rungs: BTreeMap::new(),
            equal: 0,
            lost: Vec::new(),
            baseline: Vec::new(),
            baseline_equal: 0,
        }
    }

    fn ratio(&self) -> f64 {
        let median = |figures: &[f64]| Spread::of(figures.to_vec()).median();
        median(&self.baseline) / median(&self.restores)
    }

    fn json(&self) -> Value {
        json!({
            "site": self.place.to_string(),
            "depth": self.depth,
            "restore_ms": Spread::of(self.restores.clone()).json(),
            "baseline_ms": Spread::of(self.baseline.clone()).json(),
            "ratio": self.ratio(),
            "ratio_goal": self.place.goal(self.depth),
            "restore_ms_goal": self.place.limit(),
            "equal": self.equal,
            "rungs": self.rungs,
            "lost": self.lost,
            "baseline_equal": self.baseline_equal,
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restores = Spread::of(self.restores.clone());
        let baseline = Spread::of(self.baseline.clone());
        let rungs: Vec<String> = self
            .rungs
            .iter()
            .map(|(rung, count)| format!("{count} {rung:?}"))
            .collect();
        let of = self.baseline.len();
        write!(
            f,
            "{:<8} depth {:>2}: restore {:>4.0} ms ({:.0} to {:.0}), baseline {:>5.0} ms: {:.1}x",
            self.place,
            self.depth,
            restores.median(),
            restores.low(),
            restores.high(),
            baseline.median(),
            self.ratio(),
        )?;
        if let Some(goal) = self.place.goal(self.depth) {
            let limit = self.place.limit();
            write!(f, " (goal {goal:.0}x and {limit:.0} ms)")?;
        }
        write!(
            f,
            "; equal {} of {of}, by {}; baseline equal {} of {of}",
            self.equal,
            rungs.join(", "),
            self.baseline_equal,
        )?;
        for reason in &self.lost {
            write!(f, "\n         lost: {reason}")?;
        }
        Ok(())
    }
}
