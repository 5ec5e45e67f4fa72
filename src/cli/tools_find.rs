//! `branchline tools search` and `branchline tools index`: finding tools, and how well and how fast.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::app::{print, say};
use super::models::EndpointArgs;
use super::run_tools::SiteArgs;
use super::tools::{collect, line};
use super::{CliError, Exit};
use crate::context::Cx;
use crate::env::tools::Tool;
use crate::env::tools::openapi::{Document, Options, convert};
use crate::env::tools::registry::is_registry;
use crate::llm::{ChatModel, OpenAi, OpenAiConfig};
use crate::retrieval::measure::{Labelled, Quality, QuerySet};
use crate::retrieval::{Entry, FindError, Finder, IndexError, Wording, written};
use crate::types::Cost;

/// Goals that a model words at the same time.
const AT_ONCE: usize = 4;
/// Goals between two signs of life.
const PROGRESS: usize = 10;

/// An embeddings endpoint, beside the words.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Vectors")]
pub(super) struct EmbedArgs {
    /// Name of an embedding model: rank by its vectors as well, fused with the words.
    #[arg(long = "embed-model", id = "embed-model", value_name = "NAME")]
    pub model: Option<String>,
    /// Its OpenAI-compatible endpoint, with or without /v1.
    #[arg(
        long = "embed-url",
        id = "embed-url",
        value_name = "URL",
        default_value = "https://api.openai.com/v1"
    )]
    pub url: String,
    /// The environment variable that holds its key.
    #[arg(
        long = "embed-key-env",
        id = "embed-key-env",
        value_name = "VAR",
        default_value = "OPENAI_API_KEY"
    )]
    pub key_env: String,
}

impl EmbedArgs {
    /// A finder over these entries, with vectors if a model is named.
    pub(super) async fn finder(&self, entries: &[Entry], cx: &Cx) -> Result<Finder, CliError> {
        let finder = Finder::lexical(entries)?;
        let Some(model) = &self.model else {
            return Ok(finder);
        };
        let model = OpenAi::new(OpenAiConfig {
            base_url: self.url.clone(),
            model: model.clone(),
            key_env: self.key_env.clone(),
            ..OpenAiConfig::default()
        })
        .map_err(|error| CliError::new(Exit::Usage, error))?;
        Ok(finder.with_vectors(entries, Arc::new(model), cx).await?)
    }
}

impl From<IndexError> for CliError {
    fn from(error: IndexError) -> Self {
        Self::new(Exit::Environment, error)
    }
}

impl From<FindError> for CliError {
    fn from(error: FindError) -> Self {
        let exit = match error {
            FindError::Index(_) => Exit::Environment,
            FindError::Embed(_) => Exit::Provider,
        };
        Self::new(exit, error)
    }
}

#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// Registry file, directory of registries, or `OpenAPI` document (file or URL).
    registry: String,
    /// What you want to do, in any words.
    query: String,
    /// Most tools.
    #[arg(short = 'k', long, value_name = "N", default_value_t = 10)]
    top_k: usize,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embed: EmbedArgs,
    #[command(flatten)]
    site: SiteArgs,
}

/// `branchline tools search`.
pub(super) async fn search(args: &SearchArgs, cx: &Cx) -> Result<Exit, CliError> {
    let tools = args.site.registry(&args.registry, cx).await?.tools();
    let entries: Vec<Entry> = tools.iter().map(|tool| Entry::of(tool)).collect();
    let finder = args.embed.finder(&entries, cx).await?;
    let hits = finder.find(&args.query, args.top_k, cx).await?;
    if hits.is_empty() && !args.json {
        say(&format!(
            "none of {} tools shares a word with it",
            tools.len()
        ));
    }
    for (rank, hit) in (1..).zip(&hits) {
        let tool = &tools[hit.tool];
        if args.json {
            let found = json!({ "rank": rank, "score": hit.score, "tool": tool.name, "source": tool.source });
            print(&found.to_string());
        } else {
            print(&format!(
                "{rank:3}  {:6.2}  {:40}  {}",
                hit.score,
                tool.name,
                line(&tool.summary, 80)
            ));
        }
    }
    Ok(if hits.is_empty() {
        Exit::NotSolved
    } else {
        Exit::Done
    })
}

#[derive(Debug, Args)]
pub(super) struct IndexArgs {
    /// Registries, OpenAPI documents, or directories of either, to be indexed.
    targets: Vec<PathBuf>,
    /// ToolBench query files with known answers: their operations are indexed together, and each file
    /// is ranked and scored; with --model also as the model words its goals.
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "targets")]
    queries: Vec<PathBuf>,
    /// Stop after so many operations.
    #[arg(long, value_name = "N")]
    most: Option<usize>,
    /// Repetitions of every query, for its time.
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    #[command(flatten)]
    embed: EmbedArgs,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    site: SiteArgs,
}

/// `branchline tools index`.
pub(super) async fn index(args: &IndexArgs, cx: &Cx) -> Result<Exit, CliError> {
    let texts = read(&args.queries)?;
    let set = QuerySet::read(&texts).map_err(|(at, error)| {
        let what = format!("{} is no query file: {error}", args.queries[at].display());
        CliError::new(Exit::Usage, what)
            .hint("a list of {\"query\", \"api_list\", \"relevant APIs\"}, as ToolBench has them")
    })?;
    let goals = set.files.iter().flat_map(|file| &file.goals);
    let mut queries: Vec<String> = goals.map(|(goal, _)| goal.clone()).collect();
    if args.targets.is_empty() {
        let finder = built(&set.entries, args, cx).await?;
        scored(&finder, &set, args, cx).await?;
        timed(&finder, &queries, args.runs, cx).await?;
        return Ok(Exit::Done);
    }
    let tools = load(args, cx).await?;
    let entries: Vec<Entry> = tools.iter().map(|tool| Entry::of(tool)).collect();
    drop(tools);
    let finder = built(&entries, args, cx).await?;
    if args.endpoint.named() {
        say("the model is not asked: without known answers, only times are measured");
    }
    // Real questions if there are some, else what the tools say of themselves.
    if queries.is_empty() {
        let step = (entries.len() / 500).max(1);
        let own = entries.iter().step_by(step);
        queries = own.map(|entry| first_line(&entry.text)).collect();
    }
    timed(&finder, &queries, args.runs, cx).await?;
    Ok(Exit::Done)
}

/// Ranks the goals of each file, as they stand and as a model words them if one is named, and prints
/// how well.
async fn scored(
    finder: &Finder,
    set: &QuerySet,
    args: &IndexArgs,
    cx: &Cx,
) -> Result<(), CliError> {
    let worded = if args.endpoint.named() {
        let model = args.endpoint.chat()?;
        Some((
            model.name().to_owned(),
            Worded::ask(set, &*model, cx).await?,
        ))
    } else {
        None
    };
    for (file, labelled) in args.queries.iter().zip(&set.files) {
        let plain = quality(finder, labelled, None, cx).await?;
        print(&format!("{}: {}", file.display(), told(&plain)));
        if let Some((name, worded)) = &worded {
            let quality = quality(finder, labelled, Some(worded), cx).await?;
            print(&format!(
                "{}, worded by {name}: {}",
                file.display(),
                told(&quality)
            ));
        }
        if labelled.unlisted > 0 {
            print(&format!(
                "{}: {} more goals are left out: no file lists their operations",
                file.display(),
                labelled.unlisted
            ));
        }
    }
    if let Some((name, worded)) = &worded {
        let recorded = args.endpoint.cassette.is_some();
        let recorded = if recorded {
            ", recorded ones included"
        } else {
            ""
        };
        print(&format!("{}{recorded}", worded.summary(name)));
    }
    Ok(())
}

/// How well the goals of a file are answered.
async fn quality(
    finder: &Finder,
    labelled: &Labelled,
    worded: Option<&Worded>,
    cx: &Cx,
) -> Result<Quality, CliError> {
    let mut quality = Quality::default();
    for (goal, right) in &labelled.goals {
        let wording = worded.and_then(|worded| worded.of(goal));
        let query = finder.query(goal, wording)?;
        let hits = finder.find(&query, 10, cx).await?;
        let ranking: Vec<usize> = hits.iter().map(|hit| hit.tool).collect();
        quality.add(&ranking, right);
    }
    Ok(quality)
}

fn told(quality: &Quality) -> String {
    format!(
        "{} goals, NDCG@1 {:.3}, NDCG@5 {:.3}, recall@10 {:.3}",
        quality.queries, quality.ndcg1, quality.ndcg5, quality.recall10
    )
}

/// Goals in a model's words.
#[derive(Default)]
struct Worded {
    goals: BTreeMap<String, Option<Wording>>,
    cost: Cost,
}

impl Worded {
    /// Asks for every goal once. What the model cannot be asked ends it: no goal is scored without.
    async fn ask(set: &QuerySet, model: &dyn ChatModel, cx: &Cx) -> Result<Self, CliError> {
        let goals = set.files.iter().flat_map(|file| &file.goals);
        let goals: BTreeSet<&String> = goals.map(|(goal, _)| goal).collect();
        let mut replies = stream::iter(&goals)
            .map(|goal| async move { (goal, written(goal, model, cx).await) })
            .buffered(AT_ONCE);
        let mut out = Self::default();
        while let Some((goal, reply)) = replies.next().await {
            let (wording, exchange) = reply.map_err(|error| {
                let done = out.goals.len();
                let what = format!("{done} of {} goals are worded: {error}", goals.len());
                CliError::new(Exit::Provider, what)
                    .hint("with --cassette FILE --record-cassette, the next time goes on from here")
            })?;
            out.cost += exchange.cost;
            out.goals.insert((*goal).clone(), wording);
            if out.goals.len() % PROGRESS == 0 {
                say(&format!(
                    "{} of {} goals are worded",
                    out.goals.len(),
                    goals.len()
                ));
            }
        }
        Ok(out)
    }

    /// What the model made of a goal, unless its reply was of no use.
    fn of(&self, goal: &str) -> Option<&Wording> {
        self.goals.get(goal)?.as_ref()
    }

    fn summary(&self, model: &str) -> String {
        let bad = self
            .goals
            .values()
            .filter(|wording| wording.is_none())
            .count();
        format!(
            "{model}: {} goals, {bad} replies of no use (their goals are ranked as they stand), {} calls, {} tokens, {}",
            self.goals.len(),
            self.cost.model_calls,
            self.cost.tokens(),
            self.cost.money
        )
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn read(files: &[PathBuf]) -> Result<Vec<String>, CliError> {
    let text = |file: &PathBuf| {
        std::fs::read_to_string(file).map_err(|error| {
            CliError::new(
                Exit::Usage,
                format!("cannot read {}: {error}", file.display()),
            )
        })
    };
    files.iter().map(text).collect()
}

/// The tools of everything that loads; what does not is said.
async fn load(args: &IndexArgs, cx: &Cx) -> Result<Vec<Arc<Tool>>, CliError> {
    let mut files = Vec::new();
    for target in &args.targets {
        collect(target, &mut files).map_err(|error| {
            let what = format!("cannot read {}: {error}", target.display());
            CliError::new(Exit::Usage, what)
        })?;
    }
    let begun = Instant::now();
    let (mut tools, mut loaded): (Vec<Arc<Tool>>, usize) = (Vec::new(), 0);
    for file in &files {
        if args.most.is_some_and(|most| tools.len() >= most) {
            break;
        }
        let name = file.display().to_string();
        if is_registry(file) {
            tools.extend(args.site.registry(&name, cx).await?.tools());
            loaded += 1;
            continue;
        }
        let parsed = std::fs::read(file)
            .map_err(|error| error.to_string())
            .and_then(|bytes| Document::parse(&bytes).map_err(|error| error.to_string()));
        match parsed {
            Ok(document) => {
                let options = Options {
                    source: document.title().to_owned(),
                    ..Options::default()
                };
                tools.extend(convert(&document, &options).tools.into_iter().map(Arc::new));
                loaded += 1;
            }
            Err(error) => say(&format!("{name}: left out: {error}")),
        }
    }
    if let Some(most) = args.most {
        tools.truncate(most);
    }
    print(&format!(
        "{} operations of {loaded} documents and registries, read in {:.1} s",
        tools.len(),
        begun.elapsed().as_secs_f64()
    ));
    Ok(tools)
}

/// Builds, and says what it took.
async fn built(entries: &[Entry], args: &IndexArgs, cx: &Cx) -> Result<Finder, CliError> {
    let before = resident();
    let begun = Instant::now();
    let finder = args.embed.finder(entries, cx).await?;
    let took = begun.elapsed();
    let memory = match (before, resident()) {
        (Some(before), Some(after)) => {
            format!(", {} MB more memory", after.saturating_sub(before) / 1024)
        }
        _ => String::new(),
    };
    print(&format!(
        "index of {} operations: built in {:.2} s{memory}",
        finder.len(),
        took.as_secs_f64()
    ));
    Ok(finder)
}

/// Resident memory of this process in KiB, where the system says.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Asks every query `runs` times and prints how long one took.
async fn timed(finder: &Finder, queries: &[String], runs: usize, cx: &Cx) -> Result<(), CliError> {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..runs.max(1) {
        for query in queries {
            if cx.is_cancelled() {
                return Ok(());
            }
            let begun = Instant::now();
            finder.find(query, 10, cx).await?;
            times.push(begun.elapsed());
        }
    }
    times.sort();
    let at = |permille: usize| {
        let place = (times.len() * permille / 1000).min(times.len().saturating_sub(1));
        times.get(place).map_or(0.0, |t| t.as_secs_f64() * 1000.0)
    };
    print(&format!(
        "query: p50 {:.2} ms, p99 {:.2} ms, slowest {:.2} ms (n {})",
        at(500),
        at(990),
        at(1000),
        times.len()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::llm::Scripted;

    fn set() -> QuerySet {
        let file = r#"[
            {"query": "a: zeig das Wetter", "relevant APIs": [["T", "forecast"]],
             "api_list": [{"tool_name": "T", "api_name": "forecast", "api_description": "Get the weather"}]},
            {"query": "b: send mail", "relevant APIs": [["T", "send"]],
             "api_list": [{"tool_name": "T", "api_name": "send", "api_description": "Send mail"}]}
        ]"#;
        // Twice the same goals: they are worded once.
        QuerySet::read(&[file.to_owned(), file.to_owned()]).unwrap()
    }

    #[tokio::test]
    async fn a_useless_reply_is_counted_and_its_goal_ranked_as_it_stands() {
        let cx = Cx::new(CancellationToken::new());
        let model = Scripted::texts([r#"{"english": "show the weather", "queries": []}"#, "no"]);
        let worded = Worded::ask(&set(), &model, &cx).await.unwrap();
        let summary = worded.summary("m");
        assert!(
            summary.starts_with(
                "m: 2 goals, 1 replies of no use (their goals are ranked as they stand), 2 calls, "
            ),
            "{summary}"
        );
        let finder = Finder::lexical(&set().entries).unwrap();
        let file = &set().files[0];
        let plain = quality(&finder, file, None, &cx).await.unwrap();
        let better = quality(&finder, file, Some(&worded), &cx).await.unwrap();
        assert!((plain.ndcg1 - 0.5).abs() < 1e-9, "{plain:?}");
        assert!((better.ndcg1 - 1.0).abs() < 1e-9, "{better:?}");
    }

    #[tokio::test]
    async fn a_provider_that_fails_ends_the_measurement() {
        let cx = Cx::new(CancellationToken::new());
        let model = Scripted::texts([r#"{"english": "show the weather", "queries": []}"#]);
        let failed = Worded::ask(&set(), &model, &cx).await.err().unwrap();
        let text = failed.to_string();
        assert!(text.contains("1 of 2 goals are worded"), "{text}");
    }
}
