//! `branchline bench round`: whole searches in the demo shop with a scripted model.
//!
//! Beside the time an expansion takes it prints how near a search comes to its own **critical path**:
//! the longest chain of orders of which each waited for the one before, in the tree that came out.
//! A chain is proposal, action, judgement of the state it led to, proposal there, and so on, each as
//! long as it took (the restore that an action needs is part of it). No number of workers makes a
//! search shorter than that.

use std::collections::HashMap;
use std::num::{NonZeroU8, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::environment;
use super::figures::line;
use crate::cli::app::{print, say};
use crate::cli::run::{OutputArgs, browser, count};
use crate::cli::{CliError, Exit};
use crate::context::Cx;
use crate::critic::{LlmCritic, LlmCriticConfig};
use crate::demo::DemoSite;
use crate::env::browser::{BrowserConfig, BrowserWorld};
use crate::llm::{ChatRequest, ResponseFormat, Scripted};
use crate::policy::{LlmPolicy, LlmPolicyConfig};
use crate::record::{EventKind, ReadError, Reader, Recorder, Redactor, RunManifest, replay};
use crate::runtime::{Job, RunLimits, RunReport};
use crate::search::{Budget, Request, SearchConfig, Tree};
use crate::types::{EdgeId, NodeId, Seed, Ticket, Writes};

#[derive(Debug, Args)]
pub(in crate::cli) struct RoundArgs {
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Lanes. With more than one, every round is also run with one, for comparison.
    #[arg(long, value_name = "1..255", default_value = "1", value_parser = count)]
    workers: NonZeroU8,
    /// Milliseconds the scripted model takes for a reply.
    #[arg(long, default_value_t = 0)]
    latency: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Whole searches.
pub(super) async fn round(args: &RoundArgs, cx: &Cx) -> Result<(), CliError> {
    say(&format!(
        "demo shop, best-first, branching 5, depth 5, budget 20, scripted model ({} ms a reply); \
         commit included in the time an expansion takes, not in the critical path",
        args.latency
    ));
    let mut compared = vec![NonZeroU8::MIN, args.workers];
    compared.dedup();
    let mut rounds: Vec<Vec<Round>> = compared.iter().map(|_| Vec::new()).collect();
    for index in 0..args.runs.max(1) {
        for (workers, done) in compared.iter().zip(&mut rounds) {
            let round = Round::run(args, *workers, cx).await?;
            show(&round, index + 1, args.output.json);
            done.push(round);
        }
    }
    if args.output.json {
        return Ok(());
    }
    for (workers, done) in compared.iter().zip(&rounds) {
        let with = format!(
            "{workers} worker{}",
            if workers.get() == 1 { "" } else { "s" }
        );
        let seconds = done.iter().map(Round::seconds_each).collect();
        line(&format!("wall time an expansion, {with}"), "s", seconds);
        let ratios = done.iter().map(Round::over_critical).collect();
        line(
            &format!("search over its critical path, {with}"),
            "x",
            ratios,
        );
    }
    Ok(())
}

/// A finished round.
struct Round {
    workers: NonZeroU8,
    report: RunReport,
    chain: Chain,
}

/// Times of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chain {
    /// From the start state to the end of the search, in milliseconds.
    wall: u64,
    /// Of the longest chain, in milliseconds.
    critical: u64,
}

impl Round {
    async fn run(args: &RoundArgs, workers: NonZeroU8, cx: &Cx) -> Result<Self, CliError> {
        let report = search(args, workers, cx).await?;
        if let Some(failure) = &report.failure {
            return Err(environment(&failure.reason));
        }
        let chain = chain(&report.dir)?;
        Ok(Self {
            workers,
            report,
            chain,
        })
    }

    fn expansions(&self) -> u32 {
        self.report.spent.steps.max(1)
    }

    fn actions_each(&self) -> f64 {
        f64::from(self.report.steps.actions) / f64::from(self.expansions())
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a bench")]
    fn seconds_each(&self) -> f64 {
        self.report.wall_ms as f64 / 1000.0 / f64::from(self.expansions())
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a bench")]
    fn over_critical(&self) -> f64 {
        self.chain.wall as f64 / self.chain.critical as f64
    }

    /// Steps that are neither a state nor accounted for as refused, held or failed: an action has no
    /// other way to end, so what is left over went wrong unseen.
    fn silent(&self) -> u32 {
        let report = &self.report;
        let states = report.spent.nodes.saturating_sub(1);
        let figures = &report.steps;
        let known = states + figures.loops + figures.rejected + figures.held + figures.failed;
        report.spent.steps.saturating_sub(known)
    }

    fn json(&self, index: usize) -> Value {
        json!({
            "round": index,
            "workers": self.workers,
            "expansions": self.report.spent.steps,
            "seconds_per_expansion": self.seconds_each(),
            "actions_per_expansion": self.actions_each(),
            "silent": self.silent(),
            "search_ms": self.chain.wall,
            "critical_path_ms": self.chain.critical,
            "over_critical_path": self.over_critical(),
        })
    }
}

fn show(round: &Round, index: usize, as_json: bool) {
    if as_json {
        print(&round.json(index).to_string());
        return;
    }
    let figures = &round.report.steps;
    let restores: Vec<String> = figures
        .restores
        .iter()
        .map(|(rung, f)| format!("{rung:?} {} in {} ms", f.count, f.ms))
        .collect();
    let why = round.report.uncommitted.as_ref();
    print(&format!(
        "round {index}, {} at a time: {} expansions, {:.2} s each; {:.2} actions executed per \
         expansion; {} rejected, {} failed, {} silent; restores: {}; commit: {} actions{}",
        round.workers,
        round.expansions(),
        round.seconds_each(),
        round.actions_each(),
        figures.rejected,
        figures.failed,
        round.silent(),
        restores.join(", "),
        figures.commit_actions,
        why.map_or_else(String::new, |why| format!(" ({why})")),
    ));
    print(&format!(
        "         search {:.2} s, its critical path {:.2} s: {:.2}x",
        Duration::from_millis(round.chain.wall).as_secs_f64(),
        Duration::from_millis(round.chain.critical).as_secs_f64(),
        round.over_critical(),
    ));
}

// --- one round --------------------------------------------------------------------------------

async fn search(args: &RoundArgs, workers: NonZeroU8, cx: &Cx) -> Result<RunReport, CliError> {
    let config = BrowserConfig {
        binary: Some(browser(&args.output)?),
        screenshots: !args.output.no_screenshots,
        ..BrowserConfig::default()
    };
    let site = Arc::new(DemoSite::new());
    let world = BrowserWorld::new(config, site, "/", Writes::Checkpoint, None);
    let model = Arc::new(model(Duration::from_millis(args.latency)));
    let critic = LlmCriticConfig {
        samples: 20,
        ..LlmCriticConfig::default()
    };
    let search = SearchConfig {
        branching: const { NonZeroU8::new(5).unwrap() },
        depth: 5,
        budget: Budget {
            steps: Some(20),
            ..Budget::default()
        },
        in_flight: workers,
        ..SearchConfig::default()
    };
    let manifest = RunManifest {
        task: "bench/round".to_owned(),
        search,
        ..RunManifest::default()
    };
    let recorder = Recorder::create(&args.output.out, &manifest, Redactor::new([""; 0]))?;
    let job = Job {
        goal: Some("Look around in the shop.".to_owned()),
        search,
        policy: Arc::new(LlmPolicy::new(model.clone(), LlmPolicyConfig::default())),
        critic: Arc::new(LlmCritic::new(model, critic)),
        world: Arc::new(world),
        workers: NonZeroUsize::from(workers),
        checks: Vec::new(),
        limits: RunLimits::default(),
        seed: Seed(0),
        retries: 0,
        dry_run: false,
    };
    Ok(crate::runtime::run(job, recorder, &mut |_, _| {}, cx).await?)
}

/// A model that proposes up to five links of the page, and judges better the deeper it is, so that
/// the search goes down as a good critic would make it.
fn model(latency: Duration) -> Scripted {
    Scripted::new(|request| {
        let prompt = request.messages.last().map_or("", |m| m.content.as_str());
        let texts: Vec<String> = if wants_verdict(request) {
            let depth = (1..=9)
                .take_while(|i| prompt.contains(&format!("\n{i}. ")))
                .count();
            (0..request.n as usize)
                .map(|i| {
                    let on_track = if i < 4 * depth { "yes" } else { "no" };
                    json!({"on_track": on_track, "status": "failure", "why": "scripted"})
                        .to_string()
                })
                .collect()
        } else {
            vec![json!({"actions": links(prompt, 5)}).to_string()]
        };
        Ok(Scripted::reply(request, texts))
    })
    .with_latency(latency)
}

fn wants_verdict(request: &ChatRequest) -> bool {
    matches!(&request.format, ResponseFormat::JsonSchema { name, .. } if name == "judgement")
}

/// Clicks on links of the fenced page, spread over it; a different part for every page.
fn links(prompt: &str, count: usize) -> Vec<Value> {
    let refs: Vec<&str> = prompt
        .split('[')
        .skip(1)
        .filter_map(|part| part.split_once("] link \"").map(|(number, _)| number))
        .filter(|number| number.bytes().all(|b| b.is_ascii_digit()))
        .collect();
    let step = (refs.len() / count).max(1);
    let first = prompt.len() % step.max(1);
    refs.iter()
        .skip(first)
        .step_by(step)
        .take(count)
        .map(|number| json!({"action": "click", "ref": number}))
        .collect()
}

// --- its critical path ------------------------------------------------------------------------

/// How long every order of a search took, in milliseconds.
#[derive(Debug, Default)]
struct Took {
    propose: HashMap<NodeId, u64>,
    judge: HashMap<NodeId, u64>,
    step: HashMap<EdgeId, u64>,
}

impl Took {
    fn note(&mut self, request: Request, ms: u64) {
        match request {
            Request::Propose { node, .. } => *self.propose.entry(node).or_default() += ms,
            Request::Judge { node } => *self.judge.entry(node).or_default() += ms,
            Request::Step { edge } => *self.step.entry(edge).or_default() += ms,
            Request::Compare { .. } => {}
        }
    }

    /// The longest chain from the root.
    fn longest(&self, tree: &Tree) -> u64 {
        let of = |part: &HashMap<NodeId, u64>, node| part.get(&node).copied().unwrap_or(0);
        // By node: when its actions were there. Parents have smaller ids.
        let mut offered: Vec<u64> = Vec::with_capacity(tree.len());
        let mut longest = 0;
        for node in tree.nodes() {
            let reached = tree.node(node).parent().map_or(0, |edge| {
                let parent = tree.edge(edge).parent();
                offered[parent.0 as usize] + self.step.get(&edge).copied().unwrap_or(0)
            });
            let here = reached + of(&self.judge, node) + of(&self.propose, node);
            offered.push(here);
            // Those that led nowhere took their time, too.
            let steps = tree.edges(node).filter_map(|edge| self.step.get(&edge));
            longest = longest.max(here + steps.max().copied().unwrap_or(0));
        }
        longest
    }
}

/// The times of a run's only round, from its record.
fn chain(dir: &Path) -> Result<Chain, CliError> {
    let unreadable = |error: ReadError| CliError::new(Exit::Record, error);
    let rebuilt = replay(dir).map_err(|error| CliError::new(Exit::Record, error))?;
    let search = rebuilt
        .search
        .ok_or_else(|| CliError::new(Exit::Record, "the record holds no search"))?;
    let (mut begun, mut ended) = (0, 0);
    let mut asked: HashMap<Ticket, Request> = HashMap::new();
    let mut took = Took::default();
    for event in Reader::open(dir).map_err(unreadable)? {
        let event = event.map_err(unreadable)?;
        match event.kind {
            EventKind::Root { .. } => begun = event.ms,
            EventKind::SearchEnded { .. } => ended = event.ms,
            EventKind::Asked { ticket, request } => {
                asked.insert(ticket, request);
            }
            EventKind::Told {
                ticket, outcome, ..
            } => {
                if let Some(request) = asked.remove(&ticket) {
                    took.note(request, outcome.cost().wall_ms);
                }
            }
            _ => {}
        }
    }
    Ok(Chain {
        wall: ended.saturating_sub(begun),
        critical: took.longest(search.tree()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Ask, Outcome, Proposed, Scored, Search, Start, Stepped};
    use crate::types::{Action, Candidate, Cost, Digest, UnitF32};

    /// A root with two actions: the first leads on, the second fails.
    #[test]
    fn the_longest_chain_follows_the_tree() {
        let start = Start {
            digest: Digest::of(b"root"),
            terminal: false,
        };
        let config = SearchConfig {
            depth: 1,
            ..SearchConfig::default()
        };
        let mut search = Search::new(config, start);
        let mut took = Took::default();
        while let Ask::Start { ticket, request } = search.ask() {
            let cost = Cost::default();
            let outcome = match request {
                Request::Propose { .. } => {
                    let candidate = |name: &str| Candidate {
                        action: Action::new(name, json!({})),
                        prior: UnitF32::HALF,
                        thought: None,
                    };
                    Outcome::Proposed(Proposed {
                        candidates: vec![candidate("on"), candidate("off")],
                        cost,
                    })
                }
                Request::Step { edge } if search.tree().edge(edge).action().name == "on" => {
                    Outcome::Stepped(Stepped::State {
                        digest: Digest::of(b"there"),
                        terminal: false,
                        cost,
                    })
                }
                Request::Step { .. } => Outcome::Failed {
                    reason: "no".to_owned(),
                    cost,
                },
                Request::Judge { .. } | Request::Compare { .. } => {
                    Outcome::Scored(Scored { value: None, cost })
                }
            };
            took.note(
                request,
                match request {
                    Request::Propose { .. } => 100,
                    Request::Step { edge } => 10 * (1 + u64::from(edge.0)),
                    Request::Judge { .. } | Request::Compare { .. } => 5,
                },
            );
            search.tell(ticket, outcome).unwrap();
        }
        // The failed action took 20 ms, the other 10 and its judgement 5.
        assert_eq!(took.longest(search.tree()), 120);
        took.step.insert(EdgeId(0), 30);
        assert_eq!(took.longest(search.tree()), 135);
    }
}
