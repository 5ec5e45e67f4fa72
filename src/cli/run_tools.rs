//! The world of a task's tools: its registry, its server, and which of many tools are offered.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use clap::Args;
use serde_json::{Value, json};

use super::app::say;
use super::tools::line;
use super::tools_find::EmbedArgs;
use super::{CliError, Exit};
use crate::context::Cx;
use crate::demo::DemoSite;
use crate::env::server::{ServerSite, ServerSpec, Servers};
use crate::env::tools::environment::{
    MemoStore, ToolFinder, ToolFound, ToolRules, ToolSource, ToolWorld, ToolWorldConfig,
};
use crate::env::tools::registry::{
    Glob, Loaded, Location, Memo, OnSite, OpenApiSpec, Registry, RegistryError, RegistrySpec,
    SourceKind, read_specs,
};
use crate::env::tools::{Binding, Session, Tool, suspicions};
use crate::env::{Site, SiteInstance};
use crate::llm::ChatModel;
use crate::retrieval::{Entry, Finder, Hit, written};
use crate::task::{Task, ToolsSpec, data_dir};
use crate::types::Writes;

/// Suspicious texts of tools that a run warns of; `tools check` tells them all.
const WARNINGS: usize = 5;

/// The built-in registry that needs no `--site`, and the site that it is on.
const DEMO: &str = "demo";

/// Options for tasks of tools.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tools")]
pub(super) struct ToolArgs {
    /// For tasks of tools: offer only the N tools that fit the goal best; the others are found by
    /// the action `search_tools` [default: the task's `top_k`, else all].
    #[arg(long = "tools-top-k", id = "tools-top-k", value_name = "N")]
    pub top_k: Option<NonZeroUsize>,
    #[command(flatten)]
    pub embed: EmbedArgs,
}

/// A world with what its run should know.
pub(super) struct Tools {
    pub world: ToolWorld,
    /// Values that must never be written.
    pub secrets: Vec<String>,
    /// What was chosen, for the record.
    pub chosen: Value,
}

/// Answers that outlive a tree, for the sources that allow it.
#[derive(Default)]
pub(super) struct Memos {
    run: Arc<MemoStore>,
    disk: Option<Arc<MemoStore>>,
}

impl Memos {
    fn store(&mut self, memo: Memo) -> Result<Option<Arc<MemoStore>>, CliError> {
        match memo {
            Memo::Off | Memo::Tree => Ok(None),
            Memo::Run => Ok(Some(Arc::clone(&self.run))),
            Memo::Disk => {
                if self.disk.is_none() {
                    let data = data_dir().ok_or_else(|| {
                        CliError::new(Exit::Usage, "memo = \"disk\": no directory for data")
                            .hint("set BRANCHLINE_DATA to a directory")
                    })?;
                    let path = data.join("tool-replies.jsonl");
                    let store = MemoStore::on_disk(&path).map_err(|error| {
                        let what = format!("cannot keep replies in {}: {error}", path.display());
                        CliError::new(Exit::Environment, what)
                    })?;
                    self.disk = Some(Arc::new(store));
                }
                Ok(self.disk.clone())
            }
        }
    }
}

/// Loads the tools of a task. `site` is its server, if it has one.
pub(super) async fn world(
    task: &Task,
    spec: &ToolsSpec,
    site: Option<Arc<dyn Site>>,
    args: &ToolArgs,
    model: Option<&dyn ChatModel>,
    memos: &mut Memos,
    cx: &Cx,
) -> Result<Tools, CliError> {
    let registry = load(&spec.registry, site.as_deref(), cx).await?;
    let mut sources = Vec::new();
    for Loaded {
        spec: from,
        source,
        faults,
        ..
    } in registry.sources()
    {
        if let Some(fault) = faults.first() {
            let what = format!("{}: {}: {fault}", spec.registry, from.name);
            return Err(
                CliError::new(Exit::Usage, what).hint("`branchline tools check` names all of them")
            );
        }
        sources.push(ToolSource {
            source: Arc::clone(source),
            rules: ToolRules {
                undo: from.undo.clone(),
                verify: from.verify.clone(),
                memo: from.memo,
                volatile: from.volatile.iter().cloned().collect(),
            },
            memo: memos.store(from.memo)?,
        });
    }
    let only: Vec<Glob> = spec.only.iter().map(|name| Glob::new(name)).collect();
    let mut tools = registry.tools();
    tools.retain(|tool| {
        tool.binding != Binding::Described
            && (only.is_empty() || only.iter().any(|glob| glob.matches(&tool.name)))
    });
    if tools.is_empty() {
        let what = format!(
            "{}: {} has no tool that can be called",
            task.id, spec.registry
        );
        return Err(CliError::new(Exit::Usage, what)
            .hint(format!("`branchline tools list {}`", spec.registry)));
    }
    for found in tools
        .iter()
        .flat_map(|tool| suspicions(tool))
        .take(WARNINGS)
    {
        say(&format!(
            "{}: warning: {}",
            task.id,
            line(&found.to_string(), 300)
        ));
    }
    let mut config = ToolWorldConfig::new(world_name(&spec.registry), sources);
    config.only = only;
    config.writes = task.writes;
    config.site = site;
    let mut chosen = json!({ "registry": spec.registry, "tools": tools.len() });
    let top_k = args.top_k.or(spec.top_k);
    if let Some(most) = top_k.filter(|most| most.get() < tools.len()) {
        let entries: Vec<Entry> = tools.iter().map(|tool| Entry::of(tool)).collect();
        let finder = args.embed.finder(&entries, cx).await?;
        let goal = task.goal.as_deref().unwrap_or_default();
        let mut wording = None;
        if let Some(model) = model {
            let (worded, exchange) = written(goal, model, cx)
                .await
                .map_err(|error| CliError::new(Exit::Provider, error))?;
            wording = worded;
            chosen["exchange"] = json!(exchange);
        }
        let query = finder.query(goal, wording.as_ref())?;
        let hits = finder.find(&query, most.get(), cx).await?;
        say(&format!(
            "{}: {} of {} tools are offered: {}",
            task.id,
            hits.len(),
            tools.len(),
            names(&tools, &hits)
        ));
        let ranks = (1..).zip(&hits).map(
            |(rank, hit)| json!({ "rank": rank, "tool": tools[hit.tool].name, "score": hit.score }),
        );
        chosen["query"] = json!(query);
        chosen["offered"] = ranks.collect();
        config.offered = Some(
            hits.iter()
                .map(|hit| tools[hit.tool].name.clone())
                .collect(),
        );
        config.finder = Some(Arc::new(Search { tools, finder }));
    }
    Ok(Tools {
        world: ToolWorld::new(config),
        secrets: registry.secrets().to_vec(),
        chosen,
    })
}

/// Loads a registry; where it speaks of its site, from a lease of its own, which ends here.
pub(super) async fn load(
    registry: &str,
    site: Option<&dyn Site>,
    cx: &Cx,
) -> Result<Registry, CliError> {
    let specs = read_specs(registry)?;
    let (Some(site), true) = (site, specs.iter().any(on_site)) else {
        return Ok(Registry::load(&specs, None, cx).await?);
    };
    let failed = |error| CliError::new(Exit::Environment, error);
    let lease = site.lease(cx).await.map_err(failed)?;
    let at = OnSite {
        logical: site.logical_origin().to_owned(),
        real: lease.origin().to_owned(),
    };
    let loaded = Registry::load(&specs, Some(&at), cx).await;
    lease.close(false, cx).await.map_err(failed)?;
    Ok(loaded?)
}

/// A registry's name in observations: its file's, without folder and ending, so that a state is the
/// same wherever the files lie.
fn world_name(registry: &str) -> &str {
    let file = registry.rsplit('/').find(|part| !part.is_empty());
    let file = file.unwrap_or(registry);
    file.split_once('.').map_or(file, |(stem, _)| stem)
}

fn on_site(spec: &RegistrySpec) -> bool {
    spec.sources.iter().any(|source| is_on_site(&source.kind))
}

/// Whether a source speaks of its task's site.
fn is_on_site(kind: &SourceKind) -> bool {
    match kind {
        SourceKind::Openapi(OpenApiSpec {
            document, base_url, ..
        }) => {
            matches!(document, Location::Site(_))
                || base_url
                    .as_ref()
                    .is_some_and(|url| url.starts_with("site:"))
        }
        SourceKind::Mcp(_) | SourceKind::Toolbench { .. } => false,
    }
}

/// The site of a registry that is looked at without a task.
#[derive(Debug, Clone, Args)]
pub(super) struct SiteArgs {
    /// What `site:` in the registry means: `demo` (the built-in shop, started for this command) or the
    /// origin of a server that runs. The registry `demo` needs none.
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
}

impl SiteArgs {
    fn site(&self, registry: &str) -> Result<Option<Arc<dyn Site>>, CliError> {
        let own = (registry == DEMO).then_some(DEMO);
        Ok(match self.site.as_deref().or(own) {
            None => None,
            Some(DEMO) => Some(Arc::new(DemoSite::new())),
            Some(origin) => {
                let origin = origin.trim_end_matches('/');
                let parsed = url::Url::parse(origin).ok();
                if parsed.is_none_or(|url| url.origin().ascii_serialization() != origin) {
                    let what =
                        format!("--site {origin}: neither `demo` nor the origin of a server");
                    return Err(CliError::new(Exit::Usage, what)
                        .hint("an origin is like http://127.0.0.1:8080"));
                }
                let spec = ServerSpec {
                    servers: Servers::Running(vec![origin.to_owned()]),
                    checkpoint: None,
                    folder: PathBuf::new(),
                };
                let site = ServerSite::new(spec, Writes::Allow);
                Some(Arc::new(
                    site.map_err(|error| CliError::new(Exit::Environment, error))?,
                ))
            }
        })
    }

    /// The registry, loaded from its site where it speaks of one.
    pub(super) async fn registry(&self, registry: &str, cx: &Cx) -> Result<Registry, CliError> {
        load(registry, self.site(registry)?.as_deref(), cx).await
    }

    /// A session with one of its sources, and the lease of the site to be closed after it.
    pub(super) async fn session(
        &self,
        registry: &str,
        from: &Loaded,
        cx: &Cx,
    ) -> Result<(Box<dyn Session>, Option<Box<dyn SiteInstance>>), CliError> {
        let site = self.site(registry)?.filter(|_| is_on_site(&from.spec.kind));
        let Some(site) = site else {
            let session = from.source.open(cx).await.map_err(RegistryError::from)?;
            return Ok((session, None));
        };
        let lease = site.lease(cx).await;
        let lease = lease.map_err(|error| CliError::new(Exit::Environment, error))?;
        let (logical, real) = (site.logical_origin(), lease.origin());
        let session = from.source.open_at(logical, real, cx).await;
        Ok((session.map_err(RegistryError::from)?, Some(lease)))
    }
}

fn names(tools: &[Arc<Tool>], hits: &[Hit]) -> String {
    let names: Vec<&str> = hits
        .iter()
        .map(|hit| tools[hit.tool].name.as_str())
        .collect();
    names.join(", ")
}

/// The index, as the action `search_tools` asks it.
struct Search {
    tools: Vec<Arc<Tool>>,
    finder: Finder,
}

#[async_trait]
impl ToolFinder for Search {
    async fn find(&self, query: &str, most: usize, cx: &Cx) -> Result<Vec<ToolFound>, String> {
        let hits = self.finder.find(query, most, cx).await;
        let hits = hits.map_err(|error| error.to_string())?;
        let found = hits.iter().map(|hit| ToolFound {
            name: self.tools[hit.tool].name.clone(),
            score: hit.score,
        });
        Ok(found.collect())
    }
}
