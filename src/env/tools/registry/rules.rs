//! Whether undo rules can work: what they fit, what they call, and what they call it with.
//!
//! A rule that can never work is a fault. Found out while searching it would be a write that stays.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{SourceSpec, UndoRule, spec};
use crate::env::tools::{Access, Tool};
use crate::located::nearest;

/// What is wrong with the rules of a source that has these tools, one line each.
pub(super) fn faults(spec: &SourceSpec, tools: &[Arc<Tool>]) -> Vec<String> {
    each(spec, |rule, out| broken(rule, tools, out))
}

/// What looks like a slip in the rules of a source, one line each.
pub(super) fn notes(spec: &SourceSpec) -> Vec<String> {
    each(spec, |rule, out| {
        let checked = rule.verify.iter().map(|check| &check.read.arguments);
        let arguments = checked.chain([&rule.arguments]).flatten();
        for text in arguments.filter_map(|(_, value)| value.as_str()) {
            if spec::unknown_template(text).is_some() {
                out.push(format!(
                    "{text:?} is sent as it is written: values are taken from `reply:`, `argument:`, `before:`"
                ));
            }
        }
    })
}

fn each(spec: &SourceSpec, look: impl Fn(&UndoRule, &mut Vec<String>)) -> Vec<String> {
    let mut all = Vec::new();
    for (place, rule) in spec.undo.iter().enumerate() {
        let mut found = Vec::new();
        look(rule, &mut found);
        let label = format!("`undo` rule {} (`{}`)", place + 1, rule.tool.as_str());
        all.extend(found.into_iter().map(|what| format!("{label}: {what}")));
    }
    all
}

fn broken(rule: &UndoRule, tools: &[Arc<Tool>], out: &mut Vec<String>) {
    let fits =
        |tool: &&Arc<Tool>| rule.tool.matches(&tool.name) || rule.tool.matches(&tool.original);
    let fitted: Vec<&Arc<Tool>> = tools.iter().filter(fits).collect();
    if fitted.is_empty() {
        let near = near(rule.tool.as_str(), tools.iter().map(|tool| &tool.name));
        out.push(format!("it fits no tool{near}"));
    } else if fitted.iter().all(|tool| tool.access == Access::Read) {
        out.push("it fits only tools that read, and there is nothing to undo".to_owned());
    }
    let reads = rule.verify.iter().map(|check| &check.read);
    let reads = reads.map(|read| ("verify", &read.call, &read.arguments));
    for (key, call, arguments) in reads.chain([("call", &rule.call, &rule.arguments)]) {
        match named(tools, call) {
            None => {
                let near = near(call, tools.iter().map(|tool| &tool.name));
                out.push(format!("`{key}`: there is no tool `{call}`{near}"));
            }
            Some(tool) => unsuited(key, tool, arguments, out),
        }
        for (name, text) in arguments {
            let at = text
                .as_str()
                .and_then(|text| text.strip_prefix("argument:/"));
            let Some(first) = at.and_then(|at| at.split('/').next()) else {
                continue;
            };
            let first = first.replace("~1", "/").replace("~0", "~");
            if !fitted.is_empty() && fitted.iter().all(|tool| lacks(tool, &first)) {
                let near = near(&first, fitted.iter().flat_map(|tool| parameters(tool)));
                out.push(format!(
                    "`{key}`: `{name}` is taken from the argument `{first}`, which no tool that the rule fits has{near}"
                ));
            }
        }
    }
}

/// The tool of that name, by either of its names.
fn named<'a>(tools: &'a [Arc<Tool>], name: &str) -> Option<&'a Arc<Tool>> {
    let by_name = tools.iter().find(|tool| tool.name == name);
    by_name.or_else(|| tools.iter().find(|tool| tool.original == name))
}

/// Arguments that a tool does not take, and those that it needs.
fn unsuited(key: &str, tool: &Tool, arguments: &Map<String, Value>, out: &mut Vec<String>) {
    for name in arguments.keys().filter(|name| lacks(tool, name)) {
        let near = near(name, parameters(tool));
        out.push(format!(
            "`{key}`: `{}` has no parameter `{name}`{near}",
            tool.name
        ));
    }
    let required = tool.parameters["required"].as_array();
    let required = required.into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|name| !arguments.contains_key(*name)) {
        out.push(format!("`{key}`: `{}` needs `{name}`", tool.name));
    }
}

fn parameters(tool: &Tool) -> impl Iterator<Item = &String> {
    let properties = tool.parameters["properties"].as_object();
    properties.into_iter().flat_map(Map::keys)
}

/// Whether no call of the tool may have that argument.
fn lacks(tool: &Tool, name: &str) -> bool {
    tool.parameters["additionalProperties"] == false && !parameters(tool).any(|known| known == name)
}

fn near<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let near = nearest(name, known);
    let near = near.first();
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}
