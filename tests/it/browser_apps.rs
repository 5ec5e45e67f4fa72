//! Real applications: Fossil and Spirit, installed by `fixtures/apps/install`. Where they are not
//! there the tests say so and pass.

#![expect(
    clippy::print_stderr,
    reason = "what was skipped, and figures, for whoever reads the output"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use branchline::context::Cx;
use branchline::env::World;
use branchline::env::browser::{BrowserConfig, BrowserWorld};
use branchline::env::server::ServerSite;
use branchline::task::{StartSite, parse};
use branchline::types::{Rung, Writes};

use crate::support::wander::{Walk, Walked, walk};

/// The world of an application, if it is installed.
fn world(app: &str, needs: &str, start: &str) -> Option<BrowserWorld> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file: PathBuf = root.join("target/apps").join(needs);
    if !file.exists() {
        eprintln!(
            "SKIPPED {app}: {} is missing; run fixtures/apps/install",
            file.display()
        );
        return None;
    }
    let text = format!(
        "goal = \"g\"\nwrites = \"checkpoint\"\n[start]\nsite = \"{app}.toml\"\npath = \"{start}\"\n\
         [[check]]\nkind = \"url\"\npath = \"/\"\n"
    );
    let task = root.join("fixtures/apps/task.toml");
    let task = parse(&text, task.to_str().unwrap(), app).unwrap();
    let StartSite::Server(spec) = task.start.site else {
        panic!("{app} is a server");
    };
    let config = BrowserConfig {
        screenshots: false,
        settle: Duration::from_secs(5),
        ..BrowserConfig::default()
    };
    let site = ServerSite::new(*spec, Writes::Checkpoint).unwrap();
    Some(BrowserWorld::new(
        config,
        Arc::new(site),
        start,
        Writes::Checkpoint,
        None,
    ))
}

/// How many walks: `BRANCHLINE_WALKS`, else one.
fn walks() -> u64 {
    std::env::var("BRANCHLINE_WALKS").map_or(1, |n| n.parse().unwrap())
}

fn tell(app: &str, walks: &[Walked]) {
    let restores: Vec<(Rung, u64)> = walks.iter().flat_map(|w| w.restores.clone()).collect();
    let writes: usize = walks.iter().map(|w| w.writes).sum();
    let lost: Vec<&String> = walks.iter().flat_map(|w| &w.lost).collect();
    let total = restores.len() + lost.len();
    eprintln!(
        "{app}: {} walks, {writes} writes, {total} restores",
        walks.len()
    );
    for rung in [
        Rung::Live,
        Rung::Document,
        Rung::DocumentSettled,
        Rung::Replay,
    ] {
        let mut ms: Vec<u64> = restores
            .iter()
            .filter(|r| r.0 == rung)
            .map(|r| r.1)
            .collect();
        ms.sort_unstable();
        if let Some(median) = ms.get(ms.len() / 2) {
            eprintln!("  {rung:?}: {}, median {median} ms", ms.len());
        }
    }
    for lost in &lost {
        eprintln!("  lost: {lost}");
    }
    assert!(writes > 0, "a walk that writes nothing shows nothing");
    assert!(lost.is_empty(), "every state is reached again: {lost:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_walks_on_fossil_come_back_to_every_state() {
    let mut all = Vec::new();
    for seed in 0..walks() {
        let Some(world) = world(
            "fossil",
            "fossil/demo.fossil",
            "/login?g=/wikiedit%3Fname%3DGarden",
        ) else {
            return;
        };
        let one = Walk {
            world: &world,
            first: &[
                ("User ID:", "fill", "admin"),
                ("Password:", "fill", "secret123"),
                ("Login", "click", ""),
            ],
            shunned: &[
                "logout",
                "shutdown",
                "fossil-scm",
                "download",
                "tarball",
                "zip",
                "sql",
            ],
            ignored: &[],
            steps: 10,
        };
        all.push(walk(&one, seed).await);
    }
    tell("fossil", &all);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_walks_on_spirit_come_back_to_every_state() {
    let mut all = Vec::new();
    for seed in 0..walks() {
        let Some(world) = world(
            "spirit",
            "spirit/ready",
            "/user/login/?next=/topic/publish/",
        ) else {
            return;
        };
        let one = Walk {
            world: &world,
            first: &[
                ("Username:", "fill", "admin"),
                ("Password:", "fill", "secret123"),
                ("Login", "click", ""),
            ],
            shunned: &["log out", "logout", "spirit", "github"],
            ignored: &[],
            steps: 10,
        };
        all.push(walk(&one, seed).await);
    }
    tell("spirit", &all);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_app_servers_end_with_the_run() {
    let Some(world) = world("fossil", "fossil/demo.fossil", "/wiki") else {
        return;
    };
    let cx = Cx::default();
    let one = world.open(branchline::types::Seed(1), &cx).await.unwrap();
    let running = fossils();
    assert!(!running.is_empty());
    one.close(&cx).await.unwrap();
    drop(world);
    // The process group is killed on the spot; its entry goes once it is reaped.
    for _ in 0..200 {
        let left = fossils();
        if running.iter().all(|folder| !left.contains(folder)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a server is left: {running:?}");
}

/// The folders of this process's Fossil servers.
fn fossils() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let parent = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let ours = parent
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1).map(str::to_owned))
            .is_some_and(|id| id == std::process::id().to_string());
        if ours && line.starts_with(b"fossil\0") {
            found.push(entry.path());
        }
    }
    found
}
