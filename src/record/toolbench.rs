//! Imports the answer trees of `ToolBench`'s depth-first search as runs, and gives them back.
//!
//! The search is not taken on trust: our own [`Compat::Toolbench`] search is asked step by step and
//! answered from the file, so a tree that was not searched that way is refused. One reply of the
//! model (thought, action, action input: up to three nodes there) is one step here; its nodes are
//! kept as they are beside the step, and [`original`] rebuilds the file from the log and its blobs.

use std::collections::BTreeMap;
use std::num::NonZeroU8;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{
    Detail, EventKind, ReadError, Reader, RecordError, Recorder, Redactor, ReplayError,
    RunManifest, StepDetail, replay,
};
use crate::search::{
    Ask, Budget, Compat, DfsdtOptions, Outcome, Proposed, Request, Search, SearchConfig, Start,
    Stepped, StrategyKind, THINK,
};
use crate::types::{
    Action, ActionSpec, Candidate, Cost, Digest, EdgeId, NodeId, Observation, Omitted, Rejection,
    Snapshot, Step, UnitF32,
};

/// The format's name in the log.
const FORMAT: &str = "toolbench";

/// Why a file was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no answer tree.
    #[error("no answer tree: `{place}` {reason}")]
    Shape {
        /// Where, as a path of keys.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// It is one, but its search did something else than that algorithm does.
    #[error("not a tree of that search: {0}")]
    Unlike(String),
    /// The run could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why an original could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum OriginalError {
    /// The record could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its search could not be rebuilt.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The run was not imported from this format.
    #[error("the run was not imported from ToolBench")]
    NotImported,
}

/// Calls that were made more than once in one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Repeats {
    /// Calls of tools, `Finish` left out.
    pub calls: u32,
    /// Of these, calls of a tool with arguments with which it had been called before in the tree:
    /// what a memo of read-only calls answers.
    pub repeated: u32,
    /// Of these, those that had got the same reply the first time.
    pub same_reply: u32,
}

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The run's directory.
    pub dir: std::path::PathBuf,
    /// States, the root included.
    pub nodes: usize,
    /// Replies of the model.
    pub replies: u32,
    /// Whether it ended with an answer.
    pub answered: bool,
    /// Its repeated calls.
    pub repeats: Repeats,
}

/// One reply: the nodes it became there.
type Chain<'a> = Vec<&'a Value>;

/// Imports `document` as a new run under `runs`. `name` becomes the task's. The published trees are
/// older than the published code, so both ways of backing up from the depth limit are tried.
///
/// # Errors
/// [`ImportError`] naming the place. No run is left then.
pub fn import(runs: &Path, document: &Value, name: &str) -> Result<Imported, ImportError> {
    let mut config = config(document)?;
    match import_as(runs, document, name, config) {
        Err(ImportError::Unlike(first)) => {
            config.dfsdt.compat = Some(Compat::ToolbenchTrees);
            // What is said is about the published code.
            import_as(runs, document, name, config).map_err(|error| match error {
                ImportError::Unlike(_) => ImportError::Unlike(first),
                other => other,
            })
        }
        result => result,
    }
}

fn import_as(
    runs: &Path,
    document: &Value,
    name: &str,
    config: SearchConfig,
) -> Result<Imported, ImportError> {
    let root = at(document, &["tree", "tree"])?;
    let goal = text(document, &["answer_generation", "query"])?.to_owned();
    let manifest = RunManifest {
        task: name.to_owned(),
        search: config,
        policy: "imported".to_owned(),
        critic: "none".to_owned(),
        versions: BTreeMap::from([(
            "branchline".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        )]),
        ..RunManifest::default()
    };
    let none: [&str; 0] = [];
    let mut recorder = Recorder::create(runs, &manifest, Redactor::new(none))?;
    let (observation, snapshot) = seen(Digest::of(goal.as_bytes()), &goal, false);
    let start = Start {
        digest: observation.digest,
        terminal: false,
    };
    let event = EventKind::Root {
        round: 0,
        budget: None,
        start,
        goal,
        observation: recorder.json(&observation)?,
        screenshot: None,
        snapshot,
        actions: recorder.json(&specs(document))?,
    };
    recorder.append(&event)?;
    let mut shell = document.clone();
    shell["tree"]["tree"] = bare(root);
    let source = recorder.json(&shell)?;
    recorder.append(&EventKind::Imported {
        format: FORMAT.to_owned(),
        source,
    })?;
    let mut import = Import {
        most: config.budget.model_calls,
        depth: u64::from(config.depth),
        search: Search::new(config, start),
        at: vec![root],
        chains: Vec::new(),
        replies: 0,
        seen: BTreeMap::new(),
        repeats: Repeats::default(),
    };
    let followed = import.run(&mut recorder).and_then(|reason| {
        let there = count(root)?;
        if u64::from(import.replies) == there {
            return Ok(reason);
        }
        Err(ImportError::Unlike(format!(
            "the file holds {there} replies, the search ends after {}",
            import.replies
        )))
    });
    let reason = match followed {
        Ok(reason) => reason,
        Err(error) => {
            // Half a tree is no run. If it cannot be removed, its log says that it is incomplete.
            std::fs::remove_dir_all(recorder.dir()).ok();
            return Err(error);
        }
    };
    let search = &import.search;
    recorder.append(&EventKind::SearchEnded {
        reason,
        best: search.best(),
        tree: search.tree().digest(),
        spent: search.spent(),
    })?;
    recorder.append(&EventKind::RunEnded {
        outcome: "unscored".to_owned(),
        reason: Some("imported; nothing was committed".to_owned()),
        cost: search.spent().cost,
    })?;
    Ok(Imported {
        dir: recorder.dir().to_owned(),
        nodes: search.tree().len(),
        replies: import.replies,
        answered: reason == crate::search::StopReason::Solved,
        repeats: import.repeats,
    })
}

struct Import<'a> {
    most: Option<u32>,
    depth: u64,
    search: Search,
    /// By node id.
    at: Vec<&'a Value>,
    /// By edge id.
    chains: Vec<Chain<'a>>,
    replies: u32,
    /// Replies by call, the first of each.
    seen: BTreeMap<String, &'a Value>,
    repeats: Repeats,
}

impl<'a> Import<'a> {
    fn run(&mut self, recorder: &mut Recorder) -> Result<crate::search::StopReason, ImportError> {
        loop {
            let (ticket, request) = match self.search.ask() {
                Ask::Start { ticket, request } => (ticket, request),
                Ask::Stop { reason } => return Ok(reason),
                Ask::Wait => unreachable!("every request is answered at once"),
            };
            recorder.append(&EventKind::Asked { ticket, request })?;
            let (outcome, detail) = match request {
                Request::Propose { node, .. } => self.propose(node)?,
                Request::Step { edge } => self.step(edge, recorder)?,
                Request::Judge { .. } | Request::Compare { .. } => {
                    unreachable!("without ranking nothing is judged or compared")
                }
            };
            recorder.append(&EventKind::Told {
                ticket,
                outcome: outcome.clone(),
                detail,
            })?;
            self.search
                .tell(ticket, outcome)
                .expect("each ticket is told once, with an outcome of its kind");
            if let Request::Step { edge } = request
                && self.search.tree().edge(edge).child().is_some()
            {
                let chain = &self.chains[edge.0 as usize];
                self.at.push(chain[chain.len() - 1]);
            }
        }
    }

    fn propose(&mut self, node: NodeId) -> Result<(Outcome, Detail), ImportError> {
        let children = chains(self.at[node.0 as usize])?;
        // The tree counts proposals in a byte; edges are one each.
        let nth = self.search.tree().edges(node).count();
        let last = self.most.is_some_and(|most| self.replies + 1 >= most);
        let mut candidates = Vec::new();
        match children.into_iter().nth(nth) {
            Some(chain) => {
                self.replies += 1;
                let thought = chain
                    .iter()
                    .find(|part| part["node_type"] == "Thought")
                    .filter(|_| chain.len() > 1)
                    .and_then(|part| part["description"].as_str());
                candidates.push(Candidate {
                    action: action(&chain),
                    prior: UnitF32::ONE,
                    thought: thought.map(str::to_owned),
                });
                self.chains.push(chain);
            }
            // The reply that reached the limit was thrown away there: the file does not hold it.
            None if last => {}
            None => {
                return Err(ImportError::Unlike(format!(
                    "the search asks for reply {} under {node}, and the file has none",
                    nth + 1
                )));
            }
        }
        let cost = Cost {
            model_calls: 1,
            ..Cost::default()
        };
        let detail = Detail::Propose {
            policy: "imported".to_owned(),
            discarded: Vec::new(),
            exchanges: Vec::new(),
        };
        Ok((Outcome::Proposed(Proposed { candidates, cost }), detail))
    }

    fn step(
        &mut self,
        edge: EdgeId,
        recorder: &mut Recorder,
    ) -> Result<(Outcome, Detail), ImportError> {
        let chain = self.chains[edge.0 as usize].clone();
        let last = chain[chain.len() - 1];
        let said = last["observation"].as_str().unwrap_or_default();
        let code = last["observation_code"].as_i64();
        self.count(&chain, last);
        let tree = self.search.tree();
        let parent = tree.node(tree.edge(edge).parent()).digest();
        let parts: Vec<Value> = chain.iter().map(|part| bare(part)).collect();
        let source = Some(recorder.json(&parts)?);
        let cost = Cost {
            env_actions: 1,
            ..Cost::default()
        };
        // What was cut there by a fault of the model, not by giving up or by the depth.
        let deep = last["depth"]
            .as_u64()
            .is_some_and(|depth| depth >= self.depth);
        if last["pruned"] == true && code != Some(4) && !deep {
            let rejection = Rejection::new(format!(
                "it was pruned there (code {})",
                last["observation_code"]
            ));
            let detail = StepDetail {
                step: Some(Step::Rejected(rejection.clone())),
                source,
                ..StepDetail::default()
            };
            let outcome = Outcome::Stepped(Stepped::Rejected { rejection, cost });
            return Ok((outcome, Detail::Step(Box::new(detail))));
        }
        let terminal = matches!(code, Some(3 | 4));
        let digest = Digest::of(format!("{parent}{edge}{}", json!(parts)));
        let (observation, snapshot) = seen(digest, said, terminal);
        let answer = tree.edge(edge).action().text("answer").map(str::to_owned);
        let detail = StepDetail {
            step: Some(Step::Done {
                effects: Vec::new(),
                notices: Vec::new(),
                answer: answer.filter(|_| terminal),
            }),
            url: Some(observation.url.clone()),
            observation: Some(recorder.json(&observation)?),
            snapshot: Some(snapshot),
            source,
            ..StepDetail::default()
        };
        let outcome = Outcome::Stepped(Stepped::State {
            digest,
            terminal,
            cost,
        });
        Ok((outcome, Detail::Step(Box::new(detail))))
    }

    fn count(&mut self, chain: &Chain<'a>, last: &'a Value) {
        let called = called(chain).filter(|(name, _)| *name != "Finish");
        let Some((name, arguments)) = called else {
            return;
        };
        self.repeats.calls += 1;
        let reply = &last["observation"];
        match self.seen.get(&format!("{name} {arguments}")) {
            Some(first) => {
                self.repeats.repeated += 1;
                self.repeats.same_reply += u32::from(*first == reply);
            }
            None => {
                self.seen.insert(format!("{name} {arguments}"), reply);
            }
        }
    }
}

/// Rebuilds the file that a run was imported from.
///
/// # Errors
/// [`OriginalError`] if the run is no import, or its record is damaged.
pub fn original(dir: &Path) -> Result<Value, OriginalError> {
    let replayed = replay(dir)?;
    let search = replayed.search.ok_or(OriginalError::NotImported)?;
    let mut reader = Reader::open(dir)?;
    let (mut shell, mut steps) = (None, BTreeMap::new());
    let (mut sources, mut edges) = (BTreeMap::new(), BTreeMap::new());
    while let Some(event) = reader.next().transpose()? {
        match event.kind {
            EventKind::Imported { format, source } if format == FORMAT => shell = Some(source),
            EventKind::Asked {
                ticket,
                request: Request::Step { edge },
            } => {
                steps.insert(ticket, edge);
            }
            EventKind::Told {
                ticket,
                detail: Detail::Step(detail),
                ..
            } => {
                if let (Some(edge), Some(source)) = (steps.remove(&ticket), detail.source) {
                    sources.insert(edge, source);
                }
            }
            _ => {}
        }
    }
    for (edge, source) in sources {
        edges.insert(edge, reader.json::<Vec<Value>>(source)?);
    }
    let mut document: Value = reader.json(shell.ok_or(OriginalError::NotImported)?)?;
    // Children have larger ids than their parents: from the back, every subtree is whole.
    let tree = search.tree();
    let mut below: BTreeMap<NodeId, Vec<Value>> = BTreeMap::new();
    let nodes: Vec<NodeId> = tree.nodes().collect();
    for node in nodes.into_iter().rev() {
        let mut children = Vec::new();
        for edge in tree.edges(node) {
            let grown = tree
                .edge(edge)
                .child()
                .and_then(|child| below.remove(&child));
            let mut inner = grown.unwrap_or_default();
            for mut part in edges.remove(&edge).unwrap_or_default().into_iter().rev() {
                if part.get("children").is_some() {
                    part["children"] = Value::Array(std::mem::take(&mut inner));
                }
                inner = vec![part];
            }
            children.append(&mut inner);
        }
        below.insert(node, children);
    }
    if let Some(children) = below.remove(&NodeId::ROOT) {
        document["tree"]["tree"]["children"] = Value::Array(children);
    }
    Ok(document)
}

/// A node without what is below it.
fn bare(node: &Value) -> Value {
    let mut node = node.clone();
    if let Some(children) = node.get_mut("children") {
        *children = json!([]);
    }
    node
}

/// The replies under a node that was searched from: each up to the next such node.
fn chains(node: &Value) -> Result<Vec<Chain<'_>>, ImportError> {
    let mut out = Vec::new();
    for first in children(node)? {
        let mut chain = vec![first];
        let mut last = first;
        while last["expand_num"].as_u64().unwrap_or(0) == 0 {
            match children(last)?.as_slice() {
                [] => break,
                [only] => {
                    chain.push(only);
                    last = only;
                }
                several => {
                    return Err(ImportError::Unlike(format!(
                        "a node that was not searched from has {} children",
                        several.len()
                    )));
                }
            }
        }
        out.push(chain);
    }
    Ok(out)
}

fn children(node: &Value) -> Result<&Vec<Value>, ImportError> {
    node["children"]
        .as_array()
        .ok_or_else(|| ImportError::Shape {
            place: "tree.tree…children".to_owned(),
            reason: "is missing or no list".to_owned(),
        })
}

/// Replies in the file.
fn count(root: &Value) -> Result<u64, ImportError> {
    let (mut replies, mut open) = (0, vec![root]);
    while let Some(node) = open.pop() {
        for chain in chains(node)? {
            replies += 1;
            open.push(chain[chain.len() - 1]);
        }
    }
    Ok(replies)
}

/// Name and arguments of the call in a reply, if there is one.
fn called<'a>(chain: &Chain<'a>) -> Option<(&'a str, Value)> {
    let part = |kind: &str| chain.iter().find(|part| part["node_type"] == kind);
    let name = part("Action")?["description"].as_str()?;
    let input = part("Action Input").and_then(|part| part["description"].as_str());
    let input = input.unwrap_or_default();
    let arguments = serde_json::from_str::<Map<String, Value>>(input)
        .map_or_else(|_| json!({ "input": input }), Value::Object);
    Some((name, arguments))
}

fn action(chain: &Chain<'_>) -> Action {
    let last = chain[chain.len() - 1];
    match (called(chain), last["observation_code"].as_i64()) {
        (Some((_, arguments)), Some(3)) => {
            Action::new("finish", json!({ "answer": arguments["final_answer"] }))
        }
        (Some((_, arguments)), Some(4)) => Action::new(Action::GIVE_UP, arguments),
        (Some((name, arguments)), _) => Action::new(name, arguments),
        (None, _) => Action::new(THINK, json!({ "thought": last["description"] })),
    }
}

fn seen(digest: Digest, said: &str, terminal: bool) -> (Observation, Snapshot) {
    let observation = Observation {
        url: FORMAT.to_owned(),
        title: "ToolBench".to_owned(),
        text: said.to_owned(),
        tokens: u32::try_from(said.len() / 4).unwrap_or(u32::MAX),
        elements: Vec::new(),
        omitted: Omitted::default(),
        tabs: Vec::new(),
        notices: Vec::new(),
        digest,
        terminal,
        screenshot: None,
    };
    let data = Value::Null;
    (observation, Snapshot { digest, data })
}

fn specs(document: &Value) -> Vec<ActionSpec> {
    let functions = document["answer_generation"]["function"].as_array();
    let spec = |function: &Value| ActionSpec {
        name: function["name"].as_str().unwrap_or_default().to_owned(),
        description: function["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        parameters: function["parameters"].clone(),
        outside: true,
        terminal: function["name"] == "Finish",
        together: false,
    };
    functions.into_iter().flatten().map(spec).collect()
}

fn config(document: &Value) -> Result<SearchConfig, ImportError> {
    let number = |key: &str| -> Result<u64, ImportError> {
        let value = at(document, &["forward_args", key])?;
        value.as_u64().ok_or_else(|| ImportError::Shape {
            place: format!("forward_args.{key}"),
            reason: "is no whole number".to_owned(),
        })
    };
    let width = number("tree_beam_size")?;
    let branching = u8::try_from(width).ok().and_then(NonZeroU8::new);
    if number("answer")? != 1 || at(document, &["forward_args", "with_filter"])? == true {
        return Err(ImportError::Unlike(
            "only searches for one answer without a filter can be followed: the file does not hold \
             the rankings of the others"
                .to_owned(),
        ));
    }
    Ok(SearchConfig {
        strategy: StrategyKind::Dfsdt,
        branching: branching.ok_or_else(|| ImportError::Shape {
            place: "forward_args.tree_beam_size".to_owned(),
            reason: format!("is {width}, not from 1 to 255"),
        })?,
        depth: u16::try_from(number("single_chain_max_step")?).unwrap_or(u16::MAX),
        budget: Budget {
            steps: None,
            model_calls: Some(u32::try_from(number("max_query_count")?).unwrap_or(u32::MAX)),
            ..Budget::default()
        },
        dfsdt: DfsdtOptions {
            ranked: false,
            compat: Some(Compat::Toolbench),
        },
        ..SearchConfig::default()
    })
}

fn at<'a>(document: &'a Value, path: &[&str]) -> Result<&'a Value, ImportError> {
    let mut value = document;
    for key in path {
        value = value.get(key).ok_or_else(|| ImportError::Shape {
            place: path.join("."),
            reason: "is missing".to_owned(),
        })?;
    }
    Ok(value)
}

fn text<'a>(document: &'a Value, path: &[&str]) -> Result<&'a str, ImportError> {
    at(document, path)?
        .as_str()
        .ok_or_else(|| ImportError::Shape {
            place: path.join("."),
            reason: "is no text".to_owned(),
        })
}
