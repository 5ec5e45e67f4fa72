//! `branchline run`: search on a task or on every task of a suite.

use std::collections::BTreeMap;
use std::num::{NonZeroU8, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::app::{print, say};
use super::models::{ModelArgs, Parts};
use super::places::Places;
use super::run_tools::{self, Memos, ToolArgs};
use super::{CliError, Exit};
use crate::context::Cx;
use crate::env::World;
use crate::env::browser::{BrowserBinary, browser_version, find_browser};
use crate::eval::{Check, Outcome, Table};
use crate::llm::Price;
use crate::record::{Recorder, Redactor, RunManifest};
use crate::report::{About, Mode, Reporter, RunBudget, summary, summary_json};
use crate::runtime::{FailurePart, Job, RunLimits, RunReport};
use crate::search::{Budget, Compat, DfsdtOptions, Order, SearchConfig, StrategyKind};
use crate::task::{EnvKind, StartSite, Task, load};
use crate::types::{MicroUsd, Seed, UnitF32, Writes};

/// Options of `branchline run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A task file, a directory of them, demo, demo-api, demo/NAME,
    /// `miniwob/NAME?seed=N`, `bfcl/multi_turn_base/N`, or a suite `miniwob?tasks=a,b&seeds=0,1`,
    /// `bfcl/multi_turn_base?n=0..9`.
    #[arg(value_name = "TASK|SUITE")]
    pub task: String,
    #[command(flatten)]
    pub options: Options,
}

/// Everything that a run can be told beside its tasks.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub search: SearchArgs,
    #[command(flatten)]
    pub models: ModelArgs,
    #[command(flatten)]
    pub tools: ToolArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What the tasks of one call share.
struct Shared<'a> {
    options: &'a Options,
    parts: Parts,
    places: Places,
    memos: Memos,
}

/// Options of the search.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Search")]
pub(super) struct SearchArgs {
    /// How to search.
    #[arg(long, value_enum, default_value = "best-first")]
    pub strategy: Strategy,
    /// What pages are read with: a browser; html, which runs no scripts and restores a state in
    /// microseconds; or auto, which compares the start page in both [default: the task's, else
    /// browser].
    #[arg(long, value_enum, value_name = "KIND")]
    pub env: Option<Env>,
    /// Candidates per state; for best-of-n also the number of paths; for dfsdt the beam's width
    /// [default: 5; for dfsdt 2].
    #[arg(long, value_name = "1..255", value_parser = count)]
    pub branching: Option<NonZeroU8>,
    /// Most actions from the start [default: the task's, else 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub depth: Option<u16>,
    /// With dfsdt: carry out all candidates of a state, compare them in pairs, go into the best
    /// first.
    #[arg(long)]
    pub ranked: bool,
    /// With dfsdt: ask for as many replies as a published implementation would, its defects
    /// included. Sets --branching 2, --depth 12 (in its nodes) and 200 model calls, no step budget.
    #[arg(long, value_enum, value_name = "NAME")]
    pub compat: Option<CompatKind>,
    /// Most executed actions: the search budget [default: the task's, else 20].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub budget: Option<u32>,
    /// Most seconds of wall time for the search [default: the task's, else none].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub time: Option<u64>,
    /// Most tokens, prompts and replies together [default: the task's, else none].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_tokens: Option<u64>,
    /// Most US dollars, where the model has a known price.
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    pub max_usd: Option<f64>,
    /// A state valued at least this ends the search.
    #[arg(long, value_name = "0..1", default_value_t = 1.0)]
    pub threshold: f32,
    /// Seed of everything that is random.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Lanes: environments that work at the same time, and requests in flight.
    #[arg(long, value_name = "1..255", default_value = "1", value_parser = count)]
    pub workers: NonZeroU8,
    /// Whether outcomes land in the order they were asked (the same tree every time) or as they
    /// come (faster with several workers; replays from its log all the same).
    #[arg(long, value_enum, default_value = "ticket")]
    pub order: Landing,
    /// Search, and print what the commit would send, without sending it.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not load the start page of a site a second time to learn what it shows differently with
    /// every load (such places are left out when restored states are compared).
    #[arg(long)]
    pub no_double_load: bool,
}

/// Where results go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Where records are kept.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Progress and report as JSON lines on stdout.
    #[arg(long)]
    pub json: bool,
    /// Only the report.
    #[arg(short, long)]
    pub quiet: bool,
    /// Keep no screenshots.
    #[arg(long)]
    pub no_screenshots: bool,
    /// The browser to use [default: looked for on PATH].
    #[arg(long, value_name = "FILE", env = "BRANCHLINE_BROWSER")]
    pub browser: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Strategy {
    /// One path, no way back (ReAct).
    Greedy,
    /// Independent greedy paths; the critic picks.
    BestOfN,
    /// Best-first tree search (Koh et al. 2024).
    BestFirst,
    /// Depth-first, one candidate at a time, told what became of its siblings (DFSDT, Qin et al. 2023).
    Dfsdt,
}

impl Strategy {
    fn name(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::BestOfN => "best-of-n",
            Self::BestFirst => "best-first",
            Self::Dfsdt => "dfsdt",
        }
    }
}

impl From<Strategy> for StrategyKind {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Greedy => Self::Greedy,
            Strategy::BestOfN => Self::BestOfN,
            Strategy::BestFirst => Self::BestFirst,
            Strategy::Dfsdt => Self::Dfsdt,
        }
    }
}

/// Published implementations that `dfsdt` can count like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CompatKind {
    /// The depth-first search of `ToolBench`, with its filter if --ranked is given.
    Toolbench,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Env {
    /// A real Chromium.
    Browser,
    /// The same pages without one.
    Html,
    /// Html where the start page loses nothing by it.
    Auto,
}

impl From<Env> for EnvKind {
    fn from(env: Env) -> Self {
        match env {
            Env::Browser => Self::Browser,
            Env::Html => Self::Html,
            Env::Auto => Self::Auto,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Landing {
    /// In the order they were asked.
    Ticket,
    /// As they come.
    Arrival,
}

const TWO: NonZeroU8 = NonZeroU8::new(2).unwrap();
const FIVE: NonZeroU8 = NonZeroU8::new(5).unwrap();

/// A number of things: at least one, at most 255.
pub(super) fn count(text: &str) -> Result<NonZeroU8, String> {
    text.parse()
        .map_err(|_| "a whole number from 1 to 255 is expected".to_owned())
}

/// One task's search configuration: the command line's, else the task's, else the defaults.
fn config(args: &SearchArgs, task: &Task) -> Result<(SearchConfig, RunLimits), CliError> {
    let usage = |what: String| CliError::new(Exit::Usage, what);
    let threshold =
        UnitF32::new(args.threshold).map_err(|error| usage(format!("--threshold: {error}")))?;
    let money = match args.max_usd {
        None => None,
        Some(usd) if usd.is_finite() && (0.0..1e9).contains(&usd) => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked"
            )]
            let micro = (usd * 1e6).round() as u64;
            Some(MicroUsd(micro))
        }
        Some(usd) => return Err(usage(format!("--max-usd: {usd} is no amount of money"))),
    };
    let dfsdt = args.strategy == Strategy::Dfsdt;
    for (given, option) in [
        (args.ranked, "--ranked"),
        (args.compat.is_some(), "--compat"),
    ] {
        if given && !dfsdt {
            let what = format!("{option} is an option of --strategy dfsdt");
            return Err(usage(what));
        }
    }
    let compat = args.compat.map(|CompatKind::Toolbench| Compat::Toolbench);
    // The reference's own limits; a task's are in other units.
    let depth = match (args.depth, compat) {
        (Some(depth), _) => Some(depth),
        (None, Some(Compat::Toolbench | Compat::ToolbenchTrees)) => Some(12),
        (None, None) => task
            .limits
            .depth
            .map(|depth| u16::try_from(depth.get()).unwrap_or(u16::MAX)),
    };
    let steps = match compat {
        Some(Compat::Toolbench | Compat::ToolbenchTrees) => args.budget,
        None => Some(
            args.budget
                .or(task.limits.steps.map(Into::into))
                .unwrap_or(20),
        ),
    };
    let branching = args.branching.unwrap_or(if dfsdt { TWO } else { FIVE });
    let search = SearchConfig {
        strategy: args.strategy.into(),
        branching,
        depth: depth.unwrap_or(8),
        budget: Budget {
            steps,
            nodes: task.limits.nodes.map(Into::into),
            model_calls: compat.map(|_| 200),
            tokens: args.max_tokens.or(task.limits.tokens.map(Into::into)),
            money,
        },
        threshold,
        in_flight: args.workers,
        order: match args.order {
            Landing::Ticket => Order::Ticket,
            Landing::Arrival => Order::Arrival,
        },
        seed: Seed(args.seed),
        dfsdt: DfsdtOptions {
            ranked: args.ranked,
            compat,
        },
    };
    let seconds = args.time.or(task.limits.seconds.map(Into::into));
    let limits = RunLimits {
        wall: seconds.map(Duration::from_secs),
        ..RunLimits::default()
    };
    Ok((search, limits))
}

/// The browser that the options name, or the best on `PATH`.
pub(super) fn browser(output: &OutputArgs) -> Result<BrowserBinary, CliError> {
    let found = match &output.browser {
        Some(path) => Some(BrowserBinary::at(path.clone())),
        None => find_browser(),
    };
    found.ok_or_else(|| {
        CliError::new(Exit::Environment, "no Chromium was found on this machine")
            .hint("`branchline doctor --install` installs one with apt (Debian, Ubuntu)")
            .hint("or name one: --browser FILE, or BRANCHLINE_BROWSER")
    })
}

/// `branchline run`.
pub(super) async fn run(args: RunArgs, cx: &Cx) -> Result<Exit, CliError> {
    let tasks = load(&args.task)?;
    suite(&tasks, &args.options, cx).await
}

/// Runs tasks one after the other and reports on each, then on all.
pub(super) async fn suite(tasks: &[Task], options: &Options, cx: &Cx) -> Result<Exit, CliError> {
    let Options {
        search,
        models,
        output,
        ..
    } = options;
    let places = Places::new(tasks, search, models, output)?;
    let parts = models.parts(search)?;
    if search.max_usd.is_some()
        && let Some(model) = parts
            .model
            .as_ref()
            .filter(|model| Price::of(model).is_none())
    {
        let what =
            format!("--max-usd: the price of {model} is not known, so nothing would stop it");
        return Err(CliError::new(Exit::Usage, what).hint("use --max-tokens or --time"));
    }
    for task in tasks {
        let server = match &task.start.site {
            StartSite::Server(spec) => Some(spec),
            StartSite::Demo | StartSite::Miniwob | StartSite::Bfcl(_) | StartSite::None => None,
        };
        // What can never be answered is said before a search is spent on it.
        let answerable = |check: &Check| match check {
            Check::Sql { .. } => {
                task.start.site == StartSite::Demo || server.is_some_and(|s| s.answers_sql())
            }
            Check::Reward { .. } => {
                task.episode.is_some() || matches!(task.start.site, StartSite::Bfcl(_))
            }
            Check::Call { .. } => task.tools.is_some(),
            Check::Answer(_)
            | Check::AnswerJson(_)
            | Check::Url { .. }
            | Check::Page { .. }
            | Check::Trace(_) => true,
        };
        if let Some(check) = task.checks.iter().find(|check| !answerable(check)) {
            let what = format!(
                "{}: its site cannot answer the check `{}`",
                task.id,
                check.name()
            );
            return Err(CliError::new(Exit::Usage, what)
                .hint("sql needs the demo shop, or `sqlite` in [checkpoint]; reward is for benchmark pages, call for tasks with [tools]: docs/tasks.md"));
        }
        // A site that cannot be put back: say so before anything is written.
        if task.writes == Writes::Checkpoint && server.is_some_and(|spec| !spec.resets()) {
            let what = format!(
                "{}: writes = \"checkpoint\" needs a server that can be put back; nothing says how",
                task.id
            );
            return Err(CliError::new(Exit::Usage, what)
                .hint("give the task or its site file a [checkpoint]: docs/tasks.md")
                .hint("or use \"hold\" (nothing is sent), or \"allow\" on a sandbox"));
        }
    }
    let mut shared = Shared {
        options,
        parts,
        places,
        memos: Memos::default(),
    };
    let mut table = Table::default();
    let mut worst = Exit::Done;
    let mut reports = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        let place = (index + 1, tasks.len());
        let (outcome, exit) = match one(task, place, &mut shared, cx).await {
            Ok(report) => {
                let exit = exit_of(&report);
                show(&report, task, search, output)?;
                let outcome = report.verdict.outcome;
                reports.push(report);
                (outcome, exit)
            }
            Err(error) => {
                // One broken task must not lose the rest of a suite: an error is no failure either.
                if tasks.len() == 1 || error.exit == Exit::Usage || error.exit == Exit::Record {
                    return Err(error);
                }
                say(&format!("{}: {error}", task.id));
                (Outcome::Unscored, error.exit)
            }
        };
        table.add(&task.id, outcome);
        worst = worst.max(exit);
        if worst == Exit::Interrupted {
            break;
        }
    }
    if tasks.len() > 1 {
        total(&table, &reports, output);
    }
    Ok(worst)
}

/// Runs one task.
async fn one(
    task: &Task,
    (index, of): (usize, usize),
    shared: &mut Shared<'_>,
    cx: &Cx,
) -> Result<RunReport, CliError> {
    let Options {
        search: args,
        models,
        output,
        tools,
    } = shared.options;
    let (search, limits) = config(args, task)?;
    let chosen = shared.places.choose(task, cx).await?;
    if let Some(why) = &chosen.why {
        if output.json {
            let line =
                json!({"event": "env", "task": task.id, "env": chosen.kind.name(), "why": why});
            print(&line.to_string());
        } else if !output.quiet {
            say(&format!("{}: env {} ({why})", task.id, chosen.kind.name()));
        }
    }
    let mut secrets = shared.parts.secrets.clone();
    let mut offered = None;
    let world: Arc<dyn World> = match &task.tools {
        None => shared.places.world(task, chosen.kind)?,
        Some(spec) => {
            let server = match task.start.site {
                StartSite::None => None,
                _ => Some(shared.places.site(task)?),
            };
            let model = shared.parts.chat.as_deref();
            let memos = &mut shared.memos;
            let made = run_tools::world(task, spec, server, tools, model, memos, cx).await?;
            secrets.extend(made.secrets);
            offered = Some(made.chosen);
            Arc::new(made.world)
        }
    };
    let (parts, places) = (&shared.parts, &shared.places);
    let mut versions = BTreeMap::from([(
        "branchline".to_owned(),
        env!("CARGO_PKG_VERSION").to_owned(),
    )]);
    if chosen.kind == EnvKind::Browser
        && let Some(browser) = &places.browser
        && let Ok(version) = browser_version(&browser.path)
    {
        versions.insert("browser".to_owned(), version);
    }
    if let Some(model) = &parts.model {
        versions.insert("model".to_owned(), model.clone());
    }
    let mut effective = json!({
        "task": task,
        "model": models.endpoint.config()?,
        "wall_seconds": limits.wall.map(|wall| wall.as_secs()),
        "screenshots": !output.no_screenshots,
        "env": chosen.kind.name(),
        "env_why": chosen.why,
    });
    if let Some(offered) = offered {
        effective["tools"] = offered;
    }
    let manifest = RunManifest {
        task: task.id.clone(),
        search,
        policy: parts.policy.name().to_owned(),
        critic: parts.critic.name().to_owned(),
        workers: u32::from(args.workers.get()),
        seed: Seed(args.seed),
        versions,
        config: effective.as_object().cloned().unwrap_or_default(),
    };
    if let StartSite::Server(spec) = &task.start.site {
        let values = spec.variables().into_iter();
        secrets.extend(values.filter_map(|name| std::env::var(name).ok()));
    }
    let recorder = Recorder::create(&output.out, &manifest, Redactor::new(&secrets))?;
    let mut reporter = reporter(output, limits.wall);
    reporter.task(&task.id, index, of);
    let job = Job {
        goal: task.goal.clone(),
        search,
        policy: Arc::clone(&parts.policy),
        critic: Arc::clone(&parts.critic),
        world,
        workers: NonZeroUsize::from(args.workers),
        checks: task.checks.clone(),
        limits,
        seed: Seed(args.seed),
        retries: 2,
        dry_run: args.dry_run,
    };
    let mut watch = |progress: &_, search: &_| reporter.update(progress, search);
    let result = crate::runtime::run(job, recorder, &mut watch, cx).await;
    reporter.finish();
    Ok(result?)
}

fn reporter(output: &OutputArgs, wall: Option<Duration>) -> Reporter {
    let stderr = console::Term::stderr();
    let mode = Mode::choose(output.json, output.quiet, stderr.is_term());
    let out: Box<dyn std::io::Write + Send> = match mode {
        Mode::Json => Box::new(std::io::stdout()),
        Mode::Live | Mode::Plain | Mode::Quiet => Box::new(std::io::stderr()),
    };
    let colour = console::colors_enabled_stderr();
    Reporter::new(mode, out, stderr.size_checked(), colour, RunBudget { wall })
}

fn show(
    report: &RunReport,
    task: &Task,
    args: &SearchArgs,
    output: &OutputArgs,
) -> Result<(), CliError> {
    if output.json {
        let mut value = summary_json(report);
        value["task"] = json!(task.id);
        print(&value.to_string());
        return Ok(());
    }
    let (search, limits) = config(args, task)?;
    let stdout = console::Term::stdout();
    let about = About {
        task: Some(&task.id),
        strategy: args.strategy.name(),
        budget: search.budget,
        wall: limits.wall,
        width: stdout.size_checked().map(|(_, columns)| columns),
        colour: console::colors_enabled() && stdout.is_term(),
    };
    print(&summary(report, &about));
    Ok(())
}

fn total(table: &Table, reports: &[RunReport], output: &OutputArgs) {
    let total = table.total();
    let steps: u32 = reports.iter().map(|r| r.spent.steps).sum();
    let wall: u64 = reports.iter().map(|r| r.wall_ms).sum();
    if output.json {
        let line = json!({"event": "suite", "table": table, "total": total, "steps": steps, "wall_ms": wall});
        print(&line.to_string());
        return;
    }
    print(&table.to_string());
    let interval = total.interval().map_or_else(String::new, |i| {
        format!(" (95%: {:.0}-{:.0}%)", i.low * 100.0, i.high * 100.0)
    });
    print(&format!(
        "{} of {} solved{interval}, {} unscored; {steps} actions searched, {:.1} s",
        total.solved,
        table.rows.len(),
        total.unscored,
        std::time::Duration::from_millis(wall).as_secs_f64(),
    ));
}

/// The exit code a report stands for.
fn exit_of(report: &RunReport) -> Exit {
    if report.interrupted {
        return Exit::Interrupted;
    }
    match (&report.failure, report.verdict.outcome) {
        (Some(failure), _) => match failure.part {
            FailurePart::Provider => Exit::Provider,
            FailurePart::Environment => Exit::Environment,
        },
        (None, Outcome::Solved) => Exit::Done,
        (None, Outcome::NotSolved | Outcome::Unscored) => Exit::NotSolved,
    }
}
