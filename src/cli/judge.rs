//! `branchline judge`: a model's verdicts on finished runs.

use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::app::{print, say};
use super::models::EndpointArgs;
use super::run::count;
use super::{CliError, Exit};
use crate::context::Cx;
use crate::eval::Interval;
use crate::judge::{
    Panel, PanelConfig, PanelError, PassCounts, Rates, Rule, SolveRate, Subject, SubjectError,
    Tally, VoteFile, VotesError, WinCounts,
};
use crate::record::Redactor;
use crate::types::Seed;

/// Ask a model how finished runs did: pass rate, win rate, solvable pass rate
///
/// Every run is judged by its record alone: its goal, its calls and its answer. The model votes
/// several times on each question; a strict majority decides, and what has none is reported as a
/// tie, as unsure or as missing. Every vote is kept in a file, from which the rates can be computed
/// again without a model, and from which a stopped sitting goes on.
///
/// Examples:
///   branchline judge runs --model NAME --base-url URL          every run under runs/
///   branchline judge runs/dfsdt --against runs/greedy ...      and which of the two does better
///   branchline import toolbench FILES --out published          others' trees are runs too
///   branchline judge published --compat toolbench ...          the published rule, coins and all
///   branchline judge --from runs/verdicts.jsonl                the rates again, no model
///
/// Definitions and differences to `ToolEval`: docs/judging.md.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct JudgeArgs {
    /// Runs: their directories, or directories of runs.
    #[arg(
        value_name = "RUN",
        required_unless_present = "from",
        conflicts_with = "from"
    )]
    runs: Vec<PathBuf>,
    /// Runs of the same tasks to hold them against, for a win rate; repeat for more.
    #[arg(long, value_name = "RUN", conflicts_with = "from")]
    against: Vec<PathBuf>,
    /// Ballots of each question; an odd number leaves fewer ties.
    #[arg(long, value_name = "1..255", default_value = "3", value_parser = count)]
    votes: NonZeroU8,
    /// The rule: as published, which tosses coins where votes are unsure; they are seeded and
    /// counted.
    #[arg(long, value_enum, value_name = "NAME")]
    compat: Option<CompatKind>,
    /// The file of votes [default: verdicts.jsonl in the run's directory; for several runs, in the
    /// directory that holds the first].
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    verdicts: Option<PathBuf>,
    /// Compute the rates of this file of votes; asks no model.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Sampling temperature of the ballots.
    #[arg(long, value_name = "0..2", default_value_t = 0.7)]
    temperature: f32,
    /// Seed of the ballots and coins.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Requests in flight.
    #[arg(long, value_name = "1..255", default_value = "1", value_parser = count)]
    workers: NonZeroU8,
    /// The rates as one JSON object.
    #[arg(long)]
    json: bool,
    /// Only the rates.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    endpoint: EndpointArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompatKind {
    /// `ToolEval`'s pass and win rate, `StableToolBench`'s solvable pass rate.
    Toolbench,
}

impl From<VotesError> for CliError {
    fn from(error: VotesError) -> Self {
        Self::new(Exit::Record, error)
    }
}

impl From<PanelError> for CliError {
    fn from(error: PanelError) -> Self {
        match error {
            PanelError::Interrupted => Self::new(Exit::Interrupted, error),
            PanelError::Provider(_) => Self::new(Exit::Provider, error)
                .hint("`branchline doctor --model NAME --base-url URL` tries the endpoint"),
            PanelError::Votes(error) => error.into(),
        }
    }
}

impl From<SubjectError> for CliError {
    fn from(error: SubjectError) -> Self {
        match error {
            SubjectError::Read(error) => error.into(),
            SubjectError::Replay(error) => error.into(),
            SubjectError::Empty(_) => Self::new(Exit::Usage, error),
        }
    }
}

/// `branchline judge`.
pub(super) async fn judge(args: JudgeArgs, cx: &Cx) -> Result<Exit, CliError> {
    let rule = match args.compat {
        Some(CompatKind::Toolbench) => Rule::Toolbench,
        None => Rule::Majority,
    };
    if let Some(path) = &args.from {
        let tally = Tally::of(&VoteFile::read(path)?)?;
        show(&Rates::of(&tally, rule), &args);
        return Ok(Exit::Done);
    }
    if !(0.0..=2.0).contains(&args.temperature) {
        let what = format!("--temperature {} is not from 0 to 2", args.temperature);
        return Err(CliError::new(Exit::Usage, what));
    }
    let mut known = BTreeSet::new();
    let dirs = expand(&args.runs, &mut known)?;
    let runs = read(&dirs)?;
    let against = read(&expand(&args.against, &mut known)?)?;
    let config = PanelConfig {
        votes: u32::from(args.votes.get()),
        temperature: args.temperature,
        seed: Seed(args.seed),
        rule,
        workers: usize::from(args.workers.get()),
    };
    let panel = Panel::new(args.endpoint.chat()?, config, runs, against);
    let path = args.verdicts.clone().unwrap_or_else(|| place(&dirs));
    let mut file = VoteFile::open(&path, Redactor::new(args.endpoint.secrets()))?;
    let loud = !args.quiet && !args.json;
    let mut watch = |progress: crate::judge::Progress<'_>| {
        if loud {
            let vote = progress.vote;
            let said = match (&vote.fault, vote.ruling) {
                (Some(fault), _) => format!("no vote: {fault}"),
                (None, Some(ruling)) => vote.question.word(ruling).to_owned(),
                (None, None) => "unreadable".to_owned(),
            };
            let question = word(vote.question);
            say(&format!(
                "{} {} {question}: {said}",
                progress.asked, vote.run
            ));
        }
    };
    let sat = panel.sit(&mut file, &mut watch, cx).await;
    show(&Rates::of(&Tally::of(&file)?, rule), &args);
    if loud {
        say(&format!("votes: {}", path.display()));
    }
    sat?;
    Ok(Exit::Done)
}

/// The directories of runs that `paths` name or hold, each once.
fn expand(paths: &[PathBuf], known: &mut BTreeSet<PathBuf>) -> Result<Vec<PathBuf>, CliError> {
    let is_run = |path: &Path| path.join("events.jsonl").is_file();
    let mut found = Vec::new();
    for path in paths {
        let mut here = Vec::new();
        if is_run(path) {
            here.push(path.clone());
        } else {
            let entries = std::fs::read_dir(path).map_err(|error| {
                CliError::new(Exit::Usage, format!("{}: {error}", path.display()))
                    .hint("name a run's directory, or one that holds runs")
            })?;
            here.extend(entries.flatten().map(|entry| entry.path()));
            here.retain(|path| is_run(path));
            here.sort();
        }
        if here.is_empty() {
            let what = format!("{} holds no run", path.display());
            return Err(CliError::new(Exit::Usage, what)
                .hint("a run is a directory with an events.jsonl: `branchline run … --out DIR`"));
        }
        for run in here {
            let same = std::fs::canonicalize(&run).unwrap_or_else(|_| run.clone());
            if !known.insert(same) {
                let what = format!("{} is named twice", run.display());
                return Err(CliError::new(Exit::Usage, what));
            }
            found.push(run);
        }
    }
    Ok(found)
}

fn read(dirs: &[PathBuf]) -> Result<Vec<Subject>, CliError> {
    dirs.iter().map(|dir| Ok(Subject::read(dir)?)).collect()
}

/// Where votes on these runs are kept.
fn place(dirs: &[PathBuf]) -> PathBuf {
    let folder = match dirs {
        [only] => only.as_path(),
        [first, ..] => first.parent().unwrap_or(first),
        [] => Path::new("."),
    };
    folder.join("verdicts.jsonl")
}

/// A value of an enum as the file of votes spells it.
fn word(value: impl serde::Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}

fn show(rates: &Rates, args: &JudgeArgs) {
    if args.json {
        print(&json!(rates).to_string());
        return;
    }
    if !args.quiet {
        for run in &rates.runs {
            let fault = run.fault.as_ref();
            let why = fault.map_or_else(String::new, |why| format!(" ({why})"));
            print(&format!(
                "{:<8} {}  {}{why}",
                word(run.decision),
                run.task,
                run.run
            ));
        }
        for pair in &rates.pairs {
            let (run, against) = (&pair.pair.run, &pair.pair.against);
            print(&format!("{:<8} {run} against {against}", word(pair.result)));
        }
    }
    print(&summary(rates));
}

/// The rates for people.
fn summary(rates: &Rates) -> String {
    let mut lines = Vec::new();
    let mut side = |name: &str, pass: &PassCounts, solve: &SolveRate| {
        lines.push(format!("pass rate{name}  {}", pass_line(pass)));
        lines.push(format!("SoPR{name}       {}", solve_line(solve)));
    };
    side("", &rates.pass, &rates.solve);
    if let (Some(pass), Some(solve)) = (&rates.against_pass, &rates.against_solve) {
        side(" (against)", pass, solve);
    }
    if let Some(win) = &rates.win {
        lines.push(format!("win rate   {}", win_line(win)));
    }
    if rates.alone > 0 {
        lines.push(format!("{} runs have no partner", rates.alone));
    }
    let rule = match rates.rule {
        Rule::Majority => format!("majority of {}", rates.votes),
        Rule::Toolbench => format!(
            "as published, {} ballots, {} coins tossed",
            rates.votes, rates.coins
        ),
    };
    lines.push(format!(
        "{rule}; judge {}; {} votes ({} unreadable, {} missing by a fault), {} tokens, {}",
        rates.model,
        rates.replies,
        rates.unreadable,
        rates.faults,
        rates.cost.tokens(),
        rates.cost.money,
    ));
    lines.join("\n")
}

/// A rate with its interval, and the counts that it is made of.
fn rate_line(
    (rate, interval): (Option<f64>, Option<Interval>),
    n: u32,
    counts: &[(u32, &str)],
) -> String {
    let rate = match (rate, interval) {
        (Some(rate), Some(Interval { low, high })) => format!(
            "{:.1}% (95%: {:.1}-{:.1}%)",
            rate * 100.0,
            low * 100.0,
            high * 100.0
        ),
        _ => "none decided".to_owned(),
    };
    let counts: Vec<String> = counts
        .iter()
        .map(|(count, of)| format!("{count} {of}"))
        .collect();
    format!("{rate}  n {n}: {}", counts.join(", "))
}

fn pass_line(counts: &PassCounts) -> String {
    let parts = [
        (counts.pass, "pass"),
        (counts.fail, "fail"),
        (counts.unsure, "unsure"),
        (counts.tie, "tie"),
        (counts.missing, "missing"),
    ];
    rate_line((counts.rate, counts.interval), counts.n, &parts)
}

fn win_line(counts: &WinCounts) -> String {
    let parts = [
        (counts.win, "win"),
        (counts.loss, "loss"),
        (counts.tie, "tie"),
        (counts.missing, "missing"),
    ];
    rate_line((counts.rate, counts.interval), counts.n, &parts)
}

fn solve_line(solve: &SolveRate) -> String {
    match (solve.mean, solve.deviation) {
        (Some(mean), Some(deviation)) => format!(
            "{:.1}% ± {:.1} over the ballots  n {}, {} missing",
            mean * 100.0,
            deviation * 100.0,
            solve.n,
            solve.missing
        ),
        _ => format!("none decided, {} missing", solve.missing),
    }
}
