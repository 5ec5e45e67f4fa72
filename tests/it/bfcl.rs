//! BFCL's right solutions through our environment, and going back in the middle of them. Needs
//! `branchline fetch bfcl`; a few tasks, or all with `BRANCHLINE_BFCL=all` (minutes: see docs/tools.md).

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a helper that panics fails the test it serves; a skip is to be seen"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use branchline::context::Cx;
use branchline::env::tools::Tool;
use branchline::env::tools::environment::{ToolRules, ToolSource, ToolWorld, ToolWorldConfig};
use branchline::env::tools::registry::{OnSite, Registry, read_specs};
use branchline::env::{Environment, Site, SiteError, SiteInstance, World};
use branchline::task::bfcl::{BfclServer, BfclSite, TASKS, is_fetched};
use branchline::task::data_dir;
use branchline::types::{Action, Query, Seed, Step, Writes};
use serde_json::{Value, json};

/// Right solutions that are not valid: the task, the call that is refused, and what it is refused for.
const INVALID: [(usize, &str, &str); 1] = [
    // Gives 'ticket_001' where the operation's own document declares an integer.
    (173, "close_ticket", "integer"),
];

fn fetched() -> Option<PathBuf> {
    let data = data_dir().filter(|data| is_fetched(data));
    if data.is_none() {
        eprintln!("SKIP: BFCL is not fetched (`branchline fetch bfcl`)");
    }
    data
}

fn numbers() -> Vec<usize> {
    match std::env::var("BRANCHLINE_BFCL").as_deref() {
        Ok("all") => (0..TASKS).collect(),
        // In 57 and 78 only reads are before the state that is gone back to.
        _ => vec![0, 51, 57, 78, 102, 153, 173],
    }
}

async fn get(url: &str) -> Value {
    let answer = reqwest::get(url).await.unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

/// The site, and where its leases are: for the state behind them.
struct Watched {
    site: BfclSite,
    origins: Mutex<Vec<String>>,
}

#[async_trait]
impl Site for Watched {
    fn logical_origin(&self) -> &str {
        self.site.logical_origin()
    }

    async fn lease(&self, cx: &Cx) -> Result<Box<dyn SiteInstance>, SiteError> {
        let lease = self.site.lease(cx).await?;
        self.origins.lock().unwrap().push(lease.origin().to_owned());
        Ok(lease)
    }
}

impl Watched {
    /// The digest of everything in the newest session.
    async fn state(&self) -> Value {
        let origin = self.origins.lock().unwrap().last().unwrap().clone();
        get(&format!("{origin}/_state")).await
    }
}

/// The world of one task, and its right solution: turns of calls.
async fn task(
    data: &Path,
    server: &BfclServer,
    number: usize,
) -> (ToolWorld, Arc<Watched>, Vec<Vec<Action>>) {
    let cx = Cx::default();
    let name = format!("multi_turn_base_{number}");
    let site = Arc::new(Watched {
        site: BfclSite::new(data, &name, server).unwrap(),
        origins: Mutex::default(),
    });
    let lease = site.lease(&cx).await.unwrap();
    let at = OnSite {
        logical: site.logical_origin().to_owned(),
        real: lease.origin().to_owned(),
    };
    let registry = Registry::load(&read_specs("bfcl").unwrap(), Some(&at), &cx)
        .await
        .unwrap();
    let tools = registry.tools();
    let root = lease.origin().split("/s/").next().unwrap();
    let gold = get(&format!("{root}/gold/{name}")).await;
    lease.close(false, &cx).await.unwrap();
    let sources = registry.sources().iter().map(|one| ToolSource {
        source: Arc::clone(&one.source),
        rules: ToolRules {
            memo: one.spec.memo,
            ..ToolRules::default()
        },
        memo: None,
    });
    let mut config = ToolWorldConfig::new("bfcl", sources.collect());
    config.writes = Writes::Checkpoint;
    config.site = Some(Arc::clone(&site) as Arc<dyn Site>);
    let turns = gold["turns"].as_array().unwrap();
    let turns = turns.iter().map(|turn| {
        let calls = turn.as_array().unwrap().iter();
        let action = |call: &Value| {
            // The registry offers them in snake case.
            let of = |tool: &&Arc<Tool>| call["tool"] == tool.original;
            let name = &tools.iter().find(of).unwrap().name;
            Action::new(name, call["arguments"].clone())
        };
        calls.map(action).collect()
    });
    (ToolWorld::new(config), site, turns.collect())
}

/// Carries out one call; why it was not, if so.
async fn act(env: &mut dyn Environment, action: &Action) -> Result<(), String> {
    let cx = Cx::default();
    match env.act(action, &cx).await {
        Ok(Step::Done { .. }) => Ok(()),
        Ok(other) => Err(format!("{action}: {other:?}")),
        Err(error) => Err(format!("{action}: {error}")),
    }
}

fn whole(turns: &[Vec<Action>]) -> Vec<Action> {
    let mut all = Vec::new();
    for turn in turns {
        all.extend(turn.iter().cloned());
        all.push(Action::new("end_turn", json!({})));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn right_solutions_are_right() {
    let Some(data) = fetched() else { return };
    let (cx, server) = (Cx::default(), BfclServer::with_gold());
    let mut wrong = BTreeMap::new();
    for number in numbers() {
        let (world, _, turns) = task(&data, &server, number).await;
        let mut env = world.open(Seed(0), &cx).await.unwrap();
        let mut refused = Vec::new();
        for action in whole(&turns) {
            if let Err(why) = act(env.as_mut(), &action).await {
                refused.push(why);
            }
        }
        let reward = env.query(&Query::Reward, &cx).await.unwrap();
        if reward != json!(1.0) {
            wrong.insert(number, refused);
        }
        env.close(&cx).await.unwrap();
    }
    let of = numbers().len();
    let valid = of - wrong.len();
    eprintln!("{valid} of {of} right solutions are valid; not: {wrong:#?}");
    let known = INVALID.iter().filter(|(n, ..)| numbers().contains(n));
    for (number, call, declared) in known {
        let refused = wrong.remove(number).unwrap_or_default();
        let named = |why: &String| why.contains(call) && why.contains(declared);
        assert!(refused.iter().any(named), "{number}: {refused:?}");
    }
    assert_eq!(wrong, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_leaves_nothing() {
    let Some(data) = fetched() else { return };
    let (cx, server) = (Cx::default(), BfclServer::with_gold());
    let mut differ = Vec::new();
    for number in numbers() {
        let (world, site, turns) = task(&data, &server, number).await;
        let all = whole(&turns);
        let (first, rest) = all.split_at(all.len() / 2);
        // Straight on, and with calls of another part of the solution in between.
        let mut ends = Vec::new();
        for junk in [false, true] {
            let mut env = world.open(Seed(0), &cx).await.unwrap();
            for action in first {
                act(env.as_mut(), action).await.ok();
            }
            env.observe(&cx).await.unwrap();
            let here = env.snapshot(&cx).await.unwrap();
            if junk {
                let other = all.iter().rev().cycle().take(5);
                for action in other {
                    act(env.as_mut(), action).await.ok();
                }
                let back = env.restore(&here, &cx).await.unwrap();
                assert_eq!(back.misses, []);
            }
            for action in rest {
                act(env.as_mut(), action).await.ok();
            }
            let seen = env.observe(&cx).await.unwrap().digest;
            let reward = env.query(&Query::Reward, &cx).await.unwrap();
            ends.push((seen, reward, site.state().await));
            env.close(&cx).await.unwrap();
        }
        if ends[0] != ends[1] {
            differ.push(number);
        }
    }
    let of = numbers().len();
    eprintln!(
        "{} of {of} final states are the same; not: {differ:?}",
        of - differ.len()
    );
    assert_eq!(differ, Vec::<usize>::new());
}
