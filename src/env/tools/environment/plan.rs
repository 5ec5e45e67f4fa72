//! What can be done, and what an action asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::state::End;
use crate::env::tools::{Binding, Tool};
use crate::located::nearest;
use crate::types::{Action, ActionSpec, Rejection};

/// Calls in one batch.
const MOST_CALLS: usize = 256;
/// Bytes of a description that an action shows.
const DESCRIPTION: usize = 600;

/// Tools that searches add to the actions of one state.
const MOST_FOUND: usize = 30;

const BATCH: &str = "batch";
const CALL: &str = "call";
const FINISH: &str = "finish";
const GIVE_UP: &str = "give_up";
const MORE: &str = "more";
const SEARCH: &str = "search_tools";

/// The actions of a world.
#[derive(Debug)]
pub(super) struct Menu {
    /// Every tool, offered or not, by its own name.
    pub(super) all: BTreeMap<String, Arc<Tool>>,
    /// What is offered from the start.
    pub(super) start: Offer,
    /// The tools of it.
    chosen: Vec<Arc<Tool>>,
    /// Actions that are no tools.
    own: Vec<ActionSpec>,
    searches: bool,
    partial: bool,
}

/// The actions of a state, and which tool each name stands for.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) specs: Vec<ActionSpec>,
    /// By the name of the action.
    tools: BTreeMap<String, Arc<Tool>>,
    /// Names of the tools that searches added, the latest last.
    pub(super) found: Vec<String>,
}

impl Offer {
    fn new(tools: &[Arc<Tool>], own: &[ActionSpec], found: Vec<String>) -> Self {
        let reserved = [BATCH, CALL, FINISH, GIVE_UP, MORE, SEARCH];
        let mut named = BTreeMap::new();
        let mut specs = Vec::new();
        for tool in tools {
            let mut name = tool.name.clone();
            // Our own words come first: a tool of that name is offered under another.
            while reserved.contains(&name.as_str()) || named.contains_key(&name) {
                name.truncate(59);
                name.push_str("_tool");
            }
            specs.push(ActionSpec {
                name: name.clone(),
                description: described(tool),
                parameters: tool.parameters.clone(),
                outside: true,
                terminal: false,
                together: tool.joins_batches(),
            });
            named.insert(name, Arc::clone(tool));
        }
        specs.extend_from_slice(own);
        Self {
            specs,
            tools: named,
            found,
        }
    }

    /// The name of the action that calls a tool, if there is one.
    pub(super) fn name_of(&self, tool: &Arc<Tool>) -> Option<&str> {
        let mut named = self.tools.iter();
        let (name, _) = named.find(|(_, known)| Arc::ptr_eq(known, tool))?;
        Some(name)
    }
}

/// What an action asks for.
#[derive(Debug)]
pub(super) enum Plan {
    Calls(Vec<Planned>),
    More {
        call: String,
        path: String,
        offset: usize,
    },
    Search {
        query: String,
    },
    End(End),
}

/// A call to be made.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) label: Option<String>,
    pub(super) tool: Arc<Tool>,
    pub(super) arguments: Map<String, Value>,
    /// Positions of the calls that come before it.
    pub(super) after: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    calls: Vec<BatchCall>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchCall {
    id: String,
    tool: String,
    #[serde(default)]
    arguments: Map<String, Value>,
    #[serde(default)]
    after: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    tool: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct More {
    id: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    offset: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finish {
    answer: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GiveUp {
    #[serde(default)]
    reason: String,
}

fn read<T: for<'de> Deserialize<'de>>(action: &Action) -> Result<T, Rejection> {
    serde_json::from_value(Value::Object(action.arguments.clone())).map_err(|error| {
        Rejection::new(format!(
            "the arguments of `{}` are not valid: {error}",
            action.name
        ))
    })
}

impl Menu {
    /// The menu of these tools; of the `offered` ones by name, where there is a choice.
    pub(super) fn new(tools: Vec<Arc<Tool>>, offered: Option<&[String]>, searches: bool) -> Self {
        let callable = |tool: &Arc<Tool>| tool.binding != Binding::Described;
        let all: BTreeMap<String, Arc<Tool>> = tools
            .iter()
            .filter(|tool| callable(tool))
            .map(|tool| (tool.name.clone(), Arc::clone(tool)))
            .collect();
        let is_offered = |tool: &Arc<Tool>| offered.is_none_or(|names| names.contains(&tool.name));
        let chosen: Vec<Arc<Tool>> = tools
            .into_iter()
            .filter(|tool| callable(tool) && is_offered(tool))
            .collect();
        let partial = chosen.len() < all.len();
        let mut own = Vec::new();
        if all.values().any(|tool| tool.joins_batches()) {
            own.push(batch());
        }
        own.push(more());
        if partial {
            own.push(call());
        }
        if searches {
            own.push(search());
        }
        own.extend([finish(), give_up()]);
        Self {
            start: Offer::new(&chosen, &own, Vec::new()),
            all,
            chosen,
            own,
            searches,
            partial,
        }
    }

    /// What is offered after a search in a state that offers `before`: what it found comes to the
    /// chosen tools; of more than [`MOST_FOUND`] the oldest leave again.
    pub(super) fn extended<'t>(
        &self,
        before: &Offer,
        found: impl IntoIterator<Item = &'t Arc<Tool>>,
    ) -> Offer {
        let mut names = before.found.clone();
        for tool in found {
            if !self.chosen.iter().any(|known| Arc::ptr_eq(known, tool)) {
                names.retain(|name| *name != tool.name);
                names.push(tool.name.clone());
            }
        }
        names.drain(..names.len().saturating_sub(MOST_FOUND));
        let added = names.iter().filter_map(|name| self.all.get(name));
        let tools: Vec<Arc<Tool>> = self.chosen.iter().chain(added).cloned().collect();
        Offer::new(&tools, &self.own, names)
    }

    /// What an action asks for in a state that offers this.
    pub(super) fn plan(&self, offer: &Offer, action: &Action) -> Result<Plan, Rejection> {
        if let Some(tool) = offer.tools.get(&action.name) {
            return Ok(Plan::Calls(vec![Planned {
                label: None,
                tool: Arc::clone(tool),
                arguments: action.arguments.clone(),
                after: Vec::new(),
            }]));
        }
        match action.name.as_str() {
            BATCH => self.batch(offer, read(action)?),
            CALL if self.partial => {
                let Call { tool, arguments } = read(action)?;
                Ok(Plan::Calls(vec![Planned {
                    label: None,
                    tool: self.tool(offer, &tool)?,
                    arguments,
                    after: Vec::new(),
                }]))
            }
            MORE => {
                let More { id, path, offset } = read(action)?;
                Ok(Plan::More {
                    call: id,
                    path,
                    offset,
                })
            }
            SEARCH if self.searches => {
                let Search { query } = read(action)?;
                if query.trim().is_empty() {
                    return Err(Rejection::new("`search_tools` needs words to search for"));
                }
                Ok(Plan::Search { query })
            }
            FINISH => {
                let Finish { answer } = read(action)?;
                Ok(Plan::End(End::Answered(match answer {
                    Value::String(text) => text,
                    other => other.to_string(),
                })))
            }
            GIVE_UP => {
                let GiveUp { reason } = read(action)?;
                Ok(Plan::End(End::GaveUp(reason)))
            }
            other => {
                let names: Vec<String> = offer.specs.iter().map(|spec| spec.name.clone()).collect();
                Err(Rejection {
                    reason: format!("unknown action `{other}`"),
                    nearest: nearest(other, names),
                })
            }
        }
    }

    /// A tool by the name of its action, or by its own.
    fn tool(&self, offer: &Offer, name: &str) -> Result<Arc<Tool>, Rejection> {
        let tool = offer.tools.get(name).or_else(|| self.all.get(name));
        tool.cloned().ok_or_else(|| Rejection {
            reason: format!("there is no tool `{name}`"),
            nearest: nearest(name, self.all.keys().cloned()),
        })
    }

    fn batch(&self, offer: &Offer, batch: Batch) -> Result<Plan, Rejection> {
        if batch.calls.is_empty() {
            return Err(Rejection::new("`batch` needs at least one call"));
        }
        if batch.calls.len() > MOST_CALLS {
            let many = batch.calls.len();
            return Err(Rejection::new(format!(
                "a batch holds at most {MOST_CALLS} calls, not {many}"
            )));
        }
        let mut places = BTreeMap::new();
        for (place, call) in batch.calls.iter().enumerate() {
            if call.id.is_empty() || places.insert(call.id.clone(), place).is_some() {
                return Err(Rejection::new(format!(
                    "the calls of a batch need ids of their own, and `{}` is none",
                    call.id
                )));
            }
        }
        let mut planned = Vec::new();
        for call in batch.calls {
            let tool = self.tool(offer, &call.tool).map_err(|mut rejection| {
                rejection.reason = format!("call `{}`: {}", call.id, rejection.reason);
                rejection
            })?;
            if !tool.joins_batches() {
                return Err(Rejection::new(format!(
                    "call `{}`: `{}` may change something, and a batch holds only calls that read or \
                     that the registry declares independent; make it an action of its own",
                    call.id, tool.name
                )));
            }
            let mut after = Vec::new();
            for id in &call.after {
                let Some(place) = places.get(id) else {
                    return Err(Rejection {
                        reason: format!(
                            "call `{}` comes after `{id}`, which the batch does not hold",
                            call.id
                        ),
                        nearest: nearest(id, places.keys().cloned()),
                    });
                };
                after.push(*place);
            }
            planned.push(Planned {
                label: Some(call.id),
                tool,
                arguments: call.arguments,
                after,
            });
        }
        rounds(&planned).map(|_| Plan::Calls(planned))
    }
}

/// The calls by rounds: each comes in the first round after everything that it comes after.
pub(super) fn rounds(planned: &[Planned]) -> Result<Vec<Vec<usize>>, Rejection> {
    let mut left: BTreeSet<usize> = (0..planned.len()).collect();
    let mut rounds = Vec::new();
    while !left.is_empty() {
        let ready: Vec<usize> = left
            .iter()
            .copied()
            .filter(|place| {
                planned[*place]
                    .after
                    .iter()
                    .all(|before| !left.contains(before))
            })
            .collect();
        if ready.is_empty() {
            let ids: Vec<&str> = left
                .iter()
                .filter_map(|place| planned[*place].label.as_deref())
                .collect();
            return Err(Rejection::new(format!(
                "the calls {} wait for each other",
                ids.join(", ")
            )));
        }
        for place in &ready {
            left.remove(place);
        }
        rounds.push(ready);
    }
    Ok(rounds)
}

/// What a tool does, for a model: data of its provider.
fn described(tool: &Tool) -> String {
    let (summary, description) = (tool.summary.trim(), tool.description.trim());
    let mut text = match (summary.is_empty(), description.is_empty()) {
        (true, true) => tool.original.clone(),
        (false, true) => summary.to_owned(),
        // Descriptions often begin with the summary.
        _ if description.starts_with(summary) => description.to_owned(),
        _ => format!("{}. {description}", summary.trim_end_matches('.')),
    };
    let mut end = text.len().min(DESCRIPTION);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

fn spec(name: &str, description: &str, properties: &Value, required: &[&str]) -> ActionSpec {
    ActionSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }),
        outside: false,
        terminal: name == FINISH || name == GIVE_UP,
        together: false,
    }
}

fn batch() -> ActionSpec {
    let call = json!({
        "type": "object",
        "properties": {
            "id": { "type": "string", "description": "Your label for the call and its result." },
            "tool": { "type": "string", "description": "Name of a tool that only reads, or that is known to be independent." },
            "arguments": { "type": "object" },
            "after": {
                "type": "array",
                "items": { "type": "string" },
                "description": "Ids of calls that must be answered first.",
            },
        },
        "required": ["id", "tool", "arguments"],
        "additionalProperties": false,
    });
    let calls = json!({ "calls": { "type": "array", "items": call, "minItems": 1 } });
    spec(
        BATCH,
        "Make several calls that do not depend on each other, at the same time. Each result is labelled with the id of its call.",
        &calls,
        &["calls"],
    )
}

fn more() -> ActionSpec {
    spec(
        MORE,
        "Show a further part of a result that was cut.",
        &json!({
            "id": { "type": "string", "description": "The result: its id, for example c2." },
            "path": { "type": "string", "description": "JSON pointer of the place that was cut, for example /items." },
            "offset": { "type": "integer", "minimum": 0, "description": "Item, key or character to go on from." },
        }),
        &["id", "path", "offset"],
    )
}

fn call() -> ActionSpec {
    spec(
        CALL,
        "Call a tool by its name that is not in this list.",
        &json!({
            "tool": { "type": "string" },
            "arguments": { "type": "object" },
        }),
        &["tool", "arguments"],
    )
}

fn search() -> ActionSpec {
    spec(
        SEARCH,
        "Search all tools by words. What is found can be called by its name from then on.",
        &json!({ "query": { "type": "string" } }),
        &["query"],
    )
}

fn finish() -> ActionSpec {
    spec(
        FINISH,
        "End the task with the answer to the goal.",
        &json!({ "answer": { "type": "string" } }),
        &["answer"],
    )
}

fn give_up() -> ActionSpec {
    spec(
        GIVE_UP,
        "End the task without an answer, because it cannot be reached from here.",
        &json!({ "reason": { "type": "string" } }),
        &["reason"],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::tools::Access;

    fn tool(name: &str, access: Access) -> Arc<Tool> {
        Arc::new(Tool {
            name: name.to_owned(),
            source: "s".to_owned(),
            original: name.to_owned(),
            summary: format!("Does {name}"),
            description: String::new(),
            tags: Vec::new(),
            parameters: json!({"type": "object", "properties": {}}),
            output: None,
            access,
            independent: false,
            binding: Binding::Mcp {
                tool: name.to_owned(),
            },
            notes: Vec::new(),
        })
    }

    fn menu() -> Menu {
        let tools = vec![
            tool("get", Access::Read),
            tool("put", Access::Write),
            tool("finish", Access::Read),
        ];
        Menu::new(tools, None, false)
    }

    fn planned(menu: &Menu, action: &Action) -> Result<Plan, Rejection> {
        menu.plan(&menu.start, action)
    }

    fn offered(offer: &Offer) -> Vec<&str> {
        offer.specs.iter().map(|spec| spec.name.as_str()).collect()
    }

    fn refusal(action: &Action) -> String {
        planned(&menu(), action).unwrap_err().to_string()
    }

    #[test]
    fn our_own_words_come_first() {
        let menu = menu();
        assert_eq!(
            offered(&menu.start),
            [
                "get",
                "put",
                "finish_tool",
                "batch",
                "more",
                "finish",
                "give_up"
            ]
        );
        let Plan::End(End::Answered(answer)) =
            planned(&menu, &Action::new("finish", json!({"answer": 42}))).unwrap()
        else {
            panic!("our own");
        };
        assert_eq!(answer, "42");
        let Plan::Calls(calls) = planned(&menu, &Action::new("finish_tool", json!({}))).unwrap()
        else {
            panic!("the tool");
        };
        assert_eq!(calls[0].tool.name, "finish");
    }

    #[test]
    fn batches_are_checked_whole() {
        let batch = |calls: Value| Action::new("batch", json!({ "calls": calls }));
        for (calls, words) in [
            (json!([]), "at least one call"),
            (
                json!([{"id": "a", "tool": "get"}, {"id": "a", "tool": "get"}]),
                "ids of their own",
            ),
            (
                json!([{"id": "a", "tool": "gett"}]),
                "call `a`: there is no tool `gett`; nearest: get",
            ),
            (
                json!([{"id": "a", "tool": "put"}]),
                "`put` may change something",
            ),
            (
                json!([{"id": "a", "tool": "get", "after": ["b"]}]),
                "comes after `b`",
            ),
            (
                json!([{"id": "a", "tool": "get", "after": ["b"]}, {"id": "b", "tool": "get", "after": ["a"]}]),
                "the calls a, b wait for each other",
            ),
            (
                json!([{"id": "a", "tool": "get", "args": {}}]),
                "unknown field `args`",
            ),
        ] {
            let text = refusal(&batch(calls));
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_graph_of_calls_goes_by_rounds() {
        let calls = json!([
            {"id": "d", "tool": "get", "after": ["b", "c"]},
            {"id": "b", "tool": "get", "after": ["a"]},
            {"id": "c", "tool": "get"},
            {"id": "a", "tool": "get"},
        ]);
        let Plan::Calls(planned) =
            planned(&menu(), &Action::new("batch", json!({ "calls": calls }))).unwrap()
        else {
            panic!("calls");
        };
        assert_eq!(rounds(&planned).unwrap(), [vec![2, 3], vec![1], vec![0]]);
    }

    #[test]
    fn what_is_not_offered_can_still_be_called() {
        let tools = vec![tool("get", Access::Read), tool("other", Access::Read)];
        let menu = Menu::new(tools, Some(&["get".to_owned()]), true);
        assert_eq!(
            offered(&menu.start),
            [
                "get",
                "batch",
                "more",
                "call",
                "search_tools",
                "finish",
                "give_up"
            ]
        );
        let call = Action::new("call", json!({"tool": "other", "arguments": {}}));
        assert!(matches!(planned(&menu, &call).unwrap(), Plan::Calls(_)));
        assert!(
            planned(&menu, &Action::new("other", json!({}))).is_err(),
            "not an action"
        );
    }

    #[test]
    fn what_searches_find_is_offered_up_to_a_bound_the_latest_kept() {
        let names: Vec<String> = (0..50).map(|n| format!("t{n}")).collect();
        let tools: Vec<Arc<Tool>> = names.iter().map(|n| tool(n, Access::Read)).collect();
        let menu = Menu::new(tools.clone(), Some(&names[..1]), true);
        let first = menu.extended(&menu.start, &tools[..3]);
        assert_eq!(first.found, ["t1", "t2"], "t0 is offered anyway");
        assert_eq!(offered(&first)[..4], ["t0", "t1", "t2", "batch"]);
        let action = Action::new("t2", json!({}));
        assert!(planned(&menu, &action).is_err(), "not before the search");
        assert!(matches!(menu.plan(&first, &action), Ok(Plan::Calls(_))));
        let second = menu.extended(&first, tools[5..34].iter().chain([&tools[1]]));
        assert_eq!(second.found.len(), MOST_FOUND);
        assert_eq!(second.found[0], "t5", "t2 was the oldest");
        assert_eq!(second.found[MOST_FOUND - 1], "t1", "found again");
        assert_eq!(second.name_of(&tools[5]), Some("t5"));
        assert_eq!(second.name_of(&tools[2]), None);
    }
}
