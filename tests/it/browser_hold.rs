//! A task that needs a write, under the default regime: the search sends nothing, turns back from the
//! wrong write that it held, and the commit sends the right one, once.
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;

use branchline::context::Cx;
use branchline::critic::LexicalCritic;
use branchline::demo::DemoSite;
use branchline::env::browser::{BrowserConfig, BrowserWorld};
use branchline::eval::Outcome;
use branchline::policy::LexicalPolicy;
use branchline::record::{Recorder, Redactor, RunManifest, replay};
use branchline::runtime::{Job, RunLimits, RunReport, run};
use branchline::search::{Budget, SearchConfig, StrategyKind};
use branchline::types::Seed;

async fn searched(strategy: StrategyKind) -> (RunReport, tempfile::TempDir) {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/tasks/lantern-held.toml"
    );
    let task = branchline::task::load(file).unwrap().remove(0);
    let config = BrowserConfig {
        screenshots: false,
        ..BrowserConfig::default()
    };
    let path = &task.start.path;
    let world = BrowserWorld::new(config, Arc::new(DemoSite::new()), path, task.writes, None);
    let search = SearchConfig {
        strategy,
        branching: NonZeroU8::new(5).unwrap(),
        depth: 6,
        budget: Budget {
            steps: Some(30),
            ..Budget::default()
        },
        ..SearchConfig::default()
    };
    let runs = tempfile::tempdir().unwrap();
    let manifest = RunManifest {
        task: task.id.clone(),
        search,
        ..RunManifest::default()
    };
    let recorder = Recorder::create(runs.path(), &manifest, Redactor::default()).unwrap();
    let job = Job {
        goal: task.goal.clone(),
        search,
        policy: Arc::new(LexicalPolicy::default()),
        critic: Arc::new(LexicalCritic::default()),
        world: Arc::new(world),
        workers: NonZeroUsize::MIN,
        checks: task.checks.clone(),
        limits: RunLimits::default(),
        seed: Seed(0),
        retries: 2,
        dry_run: false,
    };
    let report = run(job, recorder, &mut |_, _| {}, &Cx::default()).await;
    (report.unwrap(), runs)
}

#[tokio::test]
async fn the_search_turns_back_from_a_held_write_and_the_commit_sends_one() {
    let (report, _runs) = searched(StrategyKind::BestFirst).await;
    assert_eq!(report.verdict.outcome, Outcome::Solved, "{report:?}");
    let figures = &report.steps;
    assert_eq!((figures.writes, figures.commit_writes), (0, 1));
    assert!(
        figures.held > 1,
        "only one write was held: nothing was turned down"
    );
    // What the commit exchanged is there for others to read.
    let har = std::fs::read_to_string(report.archive.as_ref().unwrap()).unwrap();
    let har: serde_json::Value = serde_json::from_str(&har).unwrap();
    let entries = har["log"]["entries"].as_array().unwrap();
    let posts = entries.iter().filter(|e| e["request"]["method"] == "POST");
    assert_eq!(
        (har["log"]["version"].as_str(), posts.count()),
        (Some("1.2"), 1)
    );
    let rebuilt = replay(&report.dir).unwrap();
    assert!(rebuilt.complete && rebuilt.missing.is_empty());
}

#[tokio::test]
async fn greedy_sends_the_first_write_it_meets_and_fails() {
    let (report, _runs) = searched(StrategyKind::Greedy).await;
    assert_eq!(report.verdict.outcome, Outcome::NotSolved, "{report:?}");
    assert_eq!(report.steps.writes, 0);
    assert!(report.steps.commit_writes >= 1);

    // The write was answered by a page, and the second round came back to it.
    assert_eq!((report.rounds, report.steps.misses.len()), (2, 0));
    assert!(report.steps.lost.is_empty());
}
