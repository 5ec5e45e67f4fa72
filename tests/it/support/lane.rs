//! A server that can be stopped, and a lane of a browser on it, as the tests of restores drive it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use branchline::context::Cx;
use branchline::env::browser::{BrowserBinary, BrowserConfig, BrowserKind, BrowserWorld};
use branchline::env::{Environment, FixedSite, RestoreError, World};
use branchline::types::{
    Action, Miss, MissReason, Observation, Restored, Rung, Seed, Snapshot, Step, Writes,
};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The full browser, which alone keeps pages; without it the test says so and passes.
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
pub(crate) fn full_chromium() -> Option<BrowserBinary> {
    let names = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ];
    let path = names.map(PathBuf::from).into_iter().find(|p| p.exists());
    if path.is_none() {
        eprintln!("SKIP: no full Chromium is installed, so no back/forward cache");
    }
    path.map(|path| BrowserBinary {
        path,
        kind: BrowserKind::Chromium,
    })
}

pub(crate) fn config() -> BrowserConfig {
    BrowserConfig {
        screenshots: false,
        settle: Duration::from_secs(3),
        ..BrowserConfig::default()
    }
}

/// A server that can be stopped.
pub(crate) struct Served {
    pub(crate) origin: String,
    stop: Option<DropGuard>,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    pub(crate) async fn with(app: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let cancel = CancellationToken::new();
        let stopped = cancel.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, app) => served.unwrap(),
                () = stopped => {}
            }
        });
        Self {
            origin,
            stop: Some(cancel.drop_guard()),
            task,
        }
    }

    /// Stops it and waits until its port is closed.
    pub(crate) async fn down(&mut self) {
        drop(self.stop.take());
        (&mut self.task).await.unwrap();
    }
}

pub(crate) struct Lane {
    pub(crate) world: Arc<BrowserWorld>,
    pub(crate) env: Box<dyn Environment>,
    pub(crate) cx: Cx,
}

impl Lane {
    pub(crate) async fn open(site: &Served, config: BrowserConfig, writes: Writes) -> Self {
        let site = Arc::new(FixedSite::new(&site.origin));
        let world = BrowserWorld::new(config, site, "/", writes, None);
        let cx = Cx::default();
        let env = world.open(Seed(1), &cx).await.unwrap();
        Self {
            world: Arc::new(world),
            env,
            cx,
        }
    }

    pub(crate) async fn observe(&mut self) -> Observation {
        self.env.observe(&self.cx).await.unwrap()
    }

    pub(crate) async fn state(&mut self) -> (Snapshot, Observation) {
        let seen = self.observe().await;
        (self.env.snapshot(&self.cx).await.unwrap(), seen)
    }

    pub(crate) async fn act(&mut self, action: &Action) {
        let step = self.env.act(action, &self.cx).await.unwrap();
        assert!(matches!(step, Step::Done { .. }), "{action}: {step:?}");
    }

    pub(crate) async fn click(&mut self, name: &str) {
        let seen = self.observe().await;
        self.act(&click(&seen, name)).await;
    }

    /// Another environment of the same world.
    pub(crate) async fn another(&self) -> Box<dyn Environment> {
        self.world.open(Seed(1), &self.cx).await.unwrap()
    }

    pub(crate) async fn restore(&mut self, to: &Snapshot) -> Restored {
        self.env.restore(to, &self.cx).await.unwrap()
    }

    /// The reasons for which no rung led back.
    pub(crate) async fn lost(&mut self, to: &Snapshot) -> Vec<(Rung, MissReason)> {
        match self.env.restore(to, &self.cx).await {
            Err(RestoreError::Exhausted { misses }) => ways(&misses),
            other => panic!("expected no way back, got {other:?}"),
        }
    }
}

pub(crate) fn ways(misses: &[Miss]) -> Vec<(Rung, MissReason)> {
    misses.iter().map(|m| (m.rung, m.reason)).collect()
}

pub(crate) fn page(body: &'static str) -> axum::routing::MethodRouter {
    get(move || std::future::ready(Html(body)))
}

/// A click on what has this name.
pub(crate) fn click(seen: &Observation, name: &str) -> Action {
    let mut found = seen.elements.iter();
    let found = found.find(|e| e.interactive && e.name == name);
    let found = found.unwrap_or_else(|| panic!("no {name:?} in:\n{}", seen.text));
    Action::new("click", json!({ "ref": found.r#ref }))
}
