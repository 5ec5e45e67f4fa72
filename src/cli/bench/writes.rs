//! `branchline bench writes`: what random searches leave on a server.
//!
//! Random policy and critic, every strategy in turn, a new seed each time, on one demo shop whose
//! database is a file that this bench reads by itself: what the environments believe is compared with
//! what the server got.
//!
//! * Under `hold` the search goes on to its commit. Of the writes that reached the server, those that
//!   the commit sent are its own; any other came from an abandoned branch.
//! * Under `checkpoint` nothing is committed: the whole database must hold afterwards what it held
//!   before, although writes were sent.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::environment;
use super::random::{RandomCritic, RandomPolicy};
use crate::cli::app::{print, say};
use crate::cli::run::{OutputArgs, browser};
use crate::cli::{CliError, Exit};
use crate::context::Cx;
use crate::demo::serve;
use crate::env::World;
use crate::env::browser::{BrowserConfig, BrowserWorld};
use crate::env::html::{HtmlConfig, HtmlWorld};
use crate::env::server::{Checkpoint, ServerSite, ServerSpec};
use crate::env::sql::rows;
use crate::record::{Recorder, Redactor, RunManifest};
use crate::runtime::{Job, RunLimits, StepFigures};
use crate::search::{Budget, SearchConfig, StrategyKind};
use crate::types::{Digest, Seed, Writes};

/// Where searches begin, in turn: each has other writes near by.
const STARTS: [&str; 5] = [
    "/product/monitor-stand",
    "/contact",
    "/login",
    "/cart",
    "/product/desk-organiser",
];
const STRATEGIES: [StrategyKind; 4] = [
    StrategyKind::BestFirst,
    StrategyKind::Greedy,
    StrategyKind::BestOfN,
    StrategyKind::Dfsdt,
];

#[derive(Debug, Args)]
pub(in crate::cli) struct WritesArgs {
    /// Searches under `hold`.
    #[arg(long, value_name = "N", default_value_t = 500)]
    runs: u32,
    /// Searches under `checkpoint`.
    #[arg(long, value_name = "N", default_value_t = 100)]
    checkpoint_runs: u32,
    /// About every so many-th search is in Chromium, the others read pages without a browser; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 10)]
    chromium_every: u32,
    /// Most actions of one search.
    #[arg(long, value_name = "N", default_value_t = 15)]
    steps: u32,
    /// The first seed; the others follow.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Both regimes. Not solved, where a server was left other than it should be.
pub(super) async fn writes(args: &WritesArgs, cx: &Cx) -> Result<Exit, CliError> {
    say("demo shop, random searches: best-first, greedy, best-of-n, dfsdt in turn");
    let bench = Bench::open(args).await?;
    let mut exit = Exit::Done;
    for (regime, runs) in [
        (Writes::Hold, args.runs),
        (Writes::Checkpoint, args.checkpoint_runs),
    ] {
        let mut tally = Tally::new(regime);
        for index in 0..runs {
            bench.search(regime, index, &mut tally, cx).await?;
        }
        if args.output.json {
            print(&tally.json().to_string());
        } else {
            tally.show();
        }
        if tally.stray > 0 || tally.changed > 0 {
            exit = Exit::NotSolved;
        }
    }
    Ok(exit)
}

/// The shop and how it is searched.
struct Bench<'a> {
    args: &'a WritesArgs,
    origin: String,
    database: PathBuf,
    /// Records and database; deleted at the end.
    dir: tempfile::TempDir,
    _stop: DropGuard,
}

impl<'a> Bench<'a> {
    async fn open(args: &'a WritesArgs) -> Result<Self, CliError> {
        let dir = tempfile::tempdir().map_err(environment)?;
        let database = dir.path().join("shop.db");
        let cancel = CancellationToken::new();
        let (told, bound) = oneshot::channel();
        let serving = {
            let (database, cancel) = (database.clone(), cancel.clone());
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            tokio::spawn(async move {
                // Nobody waits for it only if the bench is over.
                let ready = move |bound| {
                    told.send(bound).ok();
                };
                serve(any, Some(&database), ready, cancel).await
            })
        };
        let stop = cancel.drop_guard();
        let Ok(bound) = bound.await else {
            let ended = serving.await.map_err(environment)?;
            return Err(ended.map_or_else(environment, |()| environment("the shop stopped")));
        };
        Ok(Self {
            args,
            origin: format!("http://{bound}"),
            database,
            dir,
            _stop: stop,
        })
    }

    /// One search, and what it left.
    async fn search(
        &self,
        regime: Writes,
        index: u32,
        tally: &mut Tally,
        cx: &Cx,
    ) -> Result<(), CliError> {
        let chromium = self.in_chromium(index);
        let job = self.job(regime, index, chromium)?;
        let manifest = RunManifest {
            task: format!("bench/writes/{index}"),
            search: job.search,
            seed: job.seed,
            ..RunManifest::default()
        };
        let records = self.dir.path().join("runs");
        let recorder = Recorder::create(&records, &manifest, Redactor::new([""; 0]))?;
        let before = Left::read(&self.database).map_err(environment)?;
        let report = crate::runtime::run(job, recorder, &mut |_, _| {}, cx).await?;
        let after = Left::read(&self.database).map_err(environment)?;
        if report.interrupted {
            return Err(CliError::new(Exit::Interrupted, "interrupted"));
        }
        std::fs::remove_dir_all(&report.dir).map_err(environment)?;
        tally.add(&report.steps, before, after, chromium);
        tally
            .broken
            .extend(report.failure.map(|failure| failure.reason));
        Ok(())
    }

    fn seed(&self, index: u32) -> Seed {
        Seed(self.args.seed + u64::from(index))
    }

    /// Drawn, so that it does not fall together with the turns of starts and strategies.
    fn in_chromium(&self, index: u32) -> bool {
        let every = u64::from(self.args.chromium_every);
        every > 0 && self.seed(index).derive("chromium").0.is_multiple_of(every)
    }

    fn job(&self, regime: Writes, index: u32, chromium: bool) -> Result<Job, CliError> {
        let seed = self.seed(index);
        let turn = |of: usize| index as usize % of;
        // The one server is its lane's own where it is put back, and shared where nothing is sent.
        let workers = match regime {
            Writes::Checkpoint => 1,
            Writes::Hold | Writes::Session | Writes::Allow => 1 + turn(3),
        };
        let in_flight = u8::try_from(workers).ok().and_then(NonZeroU8::new);
        let search = SearchConfig {
            strategy: STRATEGIES[turn(STRATEGIES.len())],
            branching: const { NonZeroU8::new(3).unwrap() },
            depth: 6,
            budget: Budget {
                steps: Some(self.args.steps),
                ..Budget::default()
            },
            in_flight: in_flight.unwrap_or(NonZeroU8::MIN),
            seed,
            ..SearchConfig::default()
        };
        Ok(Job {
            goal: Some("Do anything.".to_owned()),
            search,
            policy: Arc::new(RandomPolicy),
            critic: Arc::new(RandomCritic),
            world: self.world(regime, STARTS[turn(STARTS.len())], chromium)?,
            workers: NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN),
            checks: Vec::new(),
            limits: RunLimits::default(),
            seed,
            retries: 1,
            dry_run: regime == Writes::Checkpoint,
        })
    }

    fn world(
        &self,
        regime: Writes,
        start: &str,
        chromium: bool,
    ) -> Result<Arc<dyn World>, CliError> {
        let mut spec = ServerSpec::at(&self.origin);
        if regime == Writes::Checkpoint {
            spec.checkpoint = Some(Checkpoint {
                sqlite: vec![self.database.display().to_string()],
                save: None,
                restore: None,
                headers: BTreeMap::new(),
                seconds: const { NonZeroU64::new(10).unwrap() },
                megabytes: const { NonZeroU32::new(512).unwrap() },
            });
        }
        let site = Arc::new(ServerSite::new(spec, regime).map_err(environment)?);
        if !chromium {
            let world = HtmlWorld::new(HtmlConfig::default(), site, start, regime);
            return Ok(Arc::new(world));
        }
        let config = BrowserConfig {
            binary: Some(browser(&self.args.output)?),
            screenshots: false,
            ..BrowserConfig::default()
        };
        let world = BrowserWorld::new(config, site, start, regime, None);
        Ok(Arc::new(world))
    }
}

/// What a server's database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    /// Requests that could write, since it was made.
    writes: u64,
    /// Of all rows of all tables.
    content: Digest,
}

impl Left {
    fn read(database: &Path) -> Result<Self, String> {
        let db = Connection::open(database).map_err(|error| error.to_string())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tables = "select name from sqlite_master where type = 'table' order by name";
        let mut all = Vec::new();
        for table in rows(&db, tables)?.as_array().into_iter().flatten() {
            let name = text(&table[0]);
            all.push(json!([
                name,
                rows(&db, &format!("select * from \"{name}\""))?
            ]));
        }
        let writes = rows(&db, "select count(*) from writes")?;
        Ok(Self {
            writes: writes[0][0].as_u64().unwrap_or_default(),
            content: Digest::of(Value::Array(all).to_string().as_bytes()),
        })
    }
}

/// What the searches of one regime came to.
#[derive(Debug)]
struct Tally {
    regime: Writes,
    html: u32,
    chromium: u32,
    actions: u32,
    held: u32,
    /// Writes that were sent while searching, as the environments tell.
    sent: u32,
    /// Writes that commits sent.
    committed: u64,
    /// Writes that the server has beyond those: under `hold` from abandoned branches.
    stray: u64,
    /// Searches after which the database was another where it should not be.
    changed: u32,
    /// Searches that broke off, with the reason.
    broken: Vec<String>,
}

impl Tally {
    fn new(regime: Writes) -> Self {
        Self {
            regime,
            html: 0,
            chromium: 0,
            actions: 0,
            held: 0,
            sent: 0,
            committed: 0,
            stray: 0,
            changed: 0,
            broken: Vec::new(),
        }
    }

    fn add(&mut self, steps: &StepFigures, before: Left, after: Left, chromium: bool) {
        *(if chromium {
            &mut self.chromium
        } else {
            &mut self.html
        }) += 1;
        self.actions += steps.actions;
        self.held += steps.held;
        self.sent += steps.writes;
        let committed = u64::from(steps.commit_writes);
        self.committed += committed;
        // What the server got beyond what it should have, or lacks of it: neither may be.
        self.stray += after.writes.abs_diff(before.writes + committed);
        let undone = self.regime == Writes::Checkpoint;
        self.changed += u32::from(undone && before.content != after.content);
    }

    fn searches(&self) -> u32 {
        self.html + self.chromium
    }

    fn json(&self) -> Value {
        json!({
            "writes": self.regime,
            "searches": self.searches(),
            "in_chromium": self.chromium,
            "actions": self.actions,
            "held": self.held,
            "sent_while_searching": self.sent,
            "committed": self.committed,
            "stray": self.stray,
            "database_changed": self.changed,
            "broken": self.broken,
        })
    }

    fn show(&self) {
        let (searches, chromium, actions) = (self.searches(), self.chromium, self.actions);
        let (held, sent, committed) = (self.held, self.sent, self.committed);
        print(&match self.regime {
            Writes::Hold => format!(
                "hold: {searches} searches ({chromium} in Chromium), {actions} actions, {held} held; \
                 {committed} writes sent by commits; {} reached the server from abandoned branches",
                self.stray
            ),
            Writes::Session | Writes::Checkpoint | Writes::Allow => format!(
                "checkpoint: {searches} searches ({chromium} in Chromium), {actions} actions, {sent} \
                 writes sent; the database was another after {} of them",
                self.changed
            ),
        });
        for reason in &self.broken {
            print(&format!("  broken off: {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_nobody_committed_is_seen() {
        let left = |writes, content: &[u8]| Left {
            writes,
            content: Digest::of(content),
        };
        let steps = |commit_writes| StepFigures {
            commit_writes,
            ..StepFigures::default()
        };
        let mut hold = Tally::new(Writes::Hold);
        hold.add(&steps(2), left(5, b"a"), left(7, b"b"), false);
        assert_eq!((hold.committed, hold.stray, hold.changed), (2, 0, 0));
        hold.add(&steps(0), left(7, b"b"), left(8, b"c"), true);
        hold.add(&steps(1), left(8, b"c"), left(8, b"c"), true);
        assert_eq!((hold.searches(), hold.stray), (3, 2));

        let mut checkpoint = Tally::new(Writes::Checkpoint);
        checkpoint.add(&steps(0), left(5, b"a"), left(5, b"a"), false);
        assert_eq!(checkpoint.changed, 0);
        checkpoint.add(&steps(0), left(5, b"a"), left(5, b"b"), false);
        assert_eq!(checkpoint.changed, 1);
    }

    #[test]
    fn every_row_counts_for_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.db");
        let db = Connection::open(&file).unwrap();
        db.execute_batch("create table writes (path); create table cart (line);")
            .unwrap();
        let before = Left::read(&file).unwrap();
        db.execute_batch("insert into cart values (1)").unwrap();
        let after = Left::read(&file).unwrap();
        assert_eq!((before.writes, after.writes), (0, 0));
        assert_ne!(before.content, after.content);
        db.execute_batch("delete from cart; insert into writes values ('/x')")
            .unwrap();
        assert_eq!(Left::read(&file).unwrap().writes, 1);
    }
}
