//! What the index knows of a tool.

use serde_json::Value;

use crate::env::tools::{Binding, Tool};

/// Most bytes of a description that are indexed: what a tool does stands at its beginning.
const MOST_TEXT: usize = 4096;

/// A tool as a document to be found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Provider and, where there are some, its first tag.
    pub group: String,
    /// The names: the provider's, the operation's, the words of its path.
    pub name: String,
    /// Summary, description, tags and parameters.
    pub text: String,
}

impl Entry {
    /// The document of a tool.
    #[must_use]
    pub fn of(tool: &Tool) -> Self {
        let path = match &tool.binding {
            Binding::Http(plan) => plan.path.as_str(),
            Binding::Mcp { .. } | Binding::Described => "",
        };
        let tag = tool.tags.first().map_or("", String::as_str);
        let mut text = format!(
            "{}\n{}\n{}",
            tool.summary,
            clipped(&tool.description),
            tool.tags.join(" ")
        );
        if let Some(properties) = tool.parameters["properties"].as_object() {
            for name in properties.keys() {
                text.push(' ');
                text.push_str(name);
            }
        }
        Self {
            group: format!("{} {tag}", tool.source).trim_end().to_owned(),
            name: format!("{} {} {path}", tool.source, tool.original),
            text,
        }
    }

    /// The document of an operation of a `ToolBench` query file: an element of its `api_list`.
    #[must_use]
    pub fn of_toolbench(api: &Value) -> Self {
        let word = |key: &str| api[key].as_str().unwrap_or_default();
        let mut text = format!(
            "{}\n{}",
            clipped(word("api_description")),
            word("category_name")
        );
        for parameters in ["required_parameters", "optional_parameters"] {
            for parameter in api[parameters].as_array().into_iter().flatten() {
                text.push(' ');
                text.push_str(parameter["name"].as_str().unwrap_or_default());
            }
        }
        Self {
            group: word("tool_name").to_owned(),
            name: format!("{} {}", word("tool_name"), word("api_name")),
            text,
        }
    }
}

fn clipped(text: &str) -> &str {
    let mut end = text.len().min(MOST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
