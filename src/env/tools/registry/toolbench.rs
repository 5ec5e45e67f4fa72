//! Descriptions in `ToolBench`'s formats: tool files and query files.
//!
//! A tool file is an object with `tool_name` and `api_list`; a query file is a list of objects with
//! an `api_list` each. Both describe the same operations: one that occurs twice is one tool.
//! The published reader drops the parameters of an API that has only optional ones, and takes every
//! number for an integer; here both stay what they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::env::tools::{Access, Binding, Tool, names};

/// Reads tools from files, or directories of `*.json`.
///
/// # Errors
/// The file and what is wrong with it: "cannot read …".
pub(super) fn read(files: &[PathBuf], source: &str, prefix: &str) -> Result<Vec<Tool>, String> {
    let mut found: BTreeMap<(String, String, String), Tool> = BTreeMap::new();
    for file in files {
        for file in documents(file)? {
            let fail = |reason: String| format!("cannot read {}: {reason}", file.display());
            let bytes = std::fs::read(&file).map_err(|error| fail(error.to_string()))?;
            let root: Value = serde_json::from_slice(&bytes)
                .map_err(|error| fail(format!("no JSON: {error}")))?;
            let category = file.parent().and_then(Path::file_name);
            let category = category.map(|name| name.to_string_lossy().into_owned());
            collect(&root, source, &category.unwrap_or_default(), &mut found).map_err(fail)?;
        }
    }
    let wishes: Vec<(String, String)> = found
        .keys()
        .map(|(category, tool, api)| {
            let wish = format!("{prefix}{}_for_{}", names::snake(api), names::snake(tool));
            (wish, format!("{category}/{tool}/{api}"))
        })
        .collect();
    let names = names::unique(&wishes);
    let tools = found.into_values().zip(names).map(|(mut tool, name)| {
        tool.name = name;
        tool
    });
    Ok(tools.collect())
}

fn documents(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let fail = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut out = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?.path();
        if entry.is_dir() {
            out.extend(documents(&entry)?);
        } else if entry.extension().is_some_and(|end| end == "json") {
            out.push(entry);
        }
    }
    out.sort();
    Ok(out)
}

type Key = (String, String, String);

fn collect(
    root: &Value,
    source: &str,
    folder: &str,
    found: &mut BTreeMap<Key, Tool>,
) -> Result<(), String> {
    let shape = "expected a tool (`tool_name`, `api_list`) or a list of queries with `api_list`";
    let lists: Vec<&Value> = match root {
        Value::Array(queries) => queries.iter().collect(),
        Value::Object(_) => vec![root],
        _ => return Err(shape.to_owned()),
    };
    let mut any = false;
    for item in lists {
        let Some(apis) = item.get("api_list").and_then(Value::as_array) else {
            continue;
        };
        any = true;
        for api in apis {
            let text = |of: &Value, key: &str| {
                of.get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            };
            let first = |values: [String; 2]| values.into_iter().find(|text| !text.is_empty());
            let tool_name =
                first([text(api, "tool_name"), text(item, "tool_name")]).unwrap_or_default();
            let name = first([text(api, "api_name"), text(api, "name")]).unwrap_or_default();
            let category =
                first([text(api, "category_name"), folder.to_owned()]).unwrap_or_default();
            if name.is_empty() {
                return Err("an entry of `api_list` has no name".to_owned());
            }
            let key = (category.clone(), tool_name.clone(), name.clone());
            if found.contains_key(&key) {
                continue;
            }
            let description = first([text(api, "api_description"), text(api, "description")]);
            let description = description.unwrap_or_default();
            let (parameters, notes) = parameters(api);
            let method = text(api, "method").to_ascii_uppercase();
            let access = match method.as_str() {
                "GET" | "HEAD" | "" => Access::Read,
                "PUT" | "DELETE" => Access::Idempotent,
                _ => Access::Write,
            };
            let summary = description
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect();
            let tool = Tool {
                name: String::new(),
                source: source.to_owned(),
                original: format!("{tool_name}/{name}"),
                summary,
                description,
                tags: [category, tool_name]
                    .into_iter()
                    .filter(|tag| !tag.is_empty())
                    .collect(),
                parameters,
                output: None,
                access,
                independent: false,
                binding: Binding::Described,
                notes,
            };
            found.insert(key, tool);
        }
    }
    if any { Ok(()) } else { Err(shape.to_owned()) }
}

fn parameters(api: &Value) -> (Value, Vec<String>) {
    let (mut properties, mut required, mut notes) = (Map::new(), Vec::new(), Vec::new());
    for (key, is_required) in [
        ("required_parameters", true),
        ("optional_parameters", false),
    ] {
        let list = api.get(key).and_then(Value::as_array);
        for parameter in list.into_iter().flatten() {
            let text = |key: &str| {
                parameter
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let wire = text("name").trim();
            if wire.is_empty() {
                notes.push("a parameter has no name: left out".to_owned());
                continue;
            }
            let name = names::argument(wire);
            if properties.contains_key(&name) {
                notes.push(format!("`{name}` is listed twice: the first counts"));
                continue;
            }
            let kind = match text("type").to_ascii_lowercase().as_str() {
                "number" | "float" | "double" => Some("number"),
                "integer" | "int" => Some("integer"),
                "boolean" | "bool" => Some("boolean"),
                "array" | "list" => Some("array"),
                "object" | "json" => Some("object"),
                "string" | "enum" | "date" | "time" | "date (yyyy-mm-dd)" | "geopoint" => {
                    Some("string")
                }
                _ => None,
            };
            let mut schema = Map::new();
            schema.extend(kind.map(|kind| ("type".to_owned(), Value::from(kind))));
            if !text("description").is_empty() {
                schema.insert("description".to_owned(), Value::from(text("description")));
            }
            match parameter.get("default") {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) if text.is_empty() => {}
                Some(default) => {
                    schema.insert("default".to_owned(), default.clone());
                }
            }
            if is_required {
                required.push(Value::from(name.as_str()));
            }
            if name != wire {
                notes.push(format!("`{wire}` is called `{name}`"));
            }
            properties.insert(name, Value::Object(schema));
        }
    }
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = Value::Array(required);
    }
    (schema, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_files_and_query_files_describe_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let weather = dir.path().join("Weather");
        std::fs::create_dir(&weather).unwrap();
        let api = |name_key: &str| {
            json!({
                name_key: "Current Weather", "description": "By city.\nMore.", "method": "GET",
                "required_parameters": [],
                "optional_parameters": [
                    { "name": "city", "type": "STRING", "description": "", "default": "Bonn" },
                    { "name": "days", "type": "NUMBER", "default": 1.5 },
                    { "name": "q[x]", "type": "WHATEVER" },
                ],
            })
        };
        let tool = json!({ "tool_name": "Open Weather", "api_list": [api("name")] });
        std::fs::write(weather.join("open_weather.json"), tool.to_string()).unwrap();
        let mut same = api("api_name");
        same["tool_name"] = Value::from("Open Weather");
        same["category_name"] = Value::from("Weather");
        let mut post = same.clone();
        post["api_name"] = Value::from("report");
        post["method"] = Value::from("POST");
        let queries = json!([{ "query": "?", "api_list": [same, post] }]);
        let file = dir.path().join("q.json");
        std::fs::write(&file, queries.to_string()).unwrap();
        let tools = read(&[weather, file], "bench", "").unwrap();
        insta::assert_json_snapshot!(tools);
    }

    #[test]
    fn other_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.json");
        let fail = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let error = read(std::slice::from_ref(&file), "bench", "").unwrap_err();
            error.split_once("x.json: ").unwrap().1.to_owned()
        };
        insta::assert_snapshot!(fail("[{}]"), @"expected a tool (`tool_name`, `api_list`) or a list of queries with `api_list`");
        insta::assert_snapshot!(fail("3"), @"expected a tool (`tool_name`, `api_list`) or a list of queries with `api_list`");
        insta::assert_snapshot!(fail("{\"api_list\": [{}]}"), @"an entry of `api_list` has no name");
        assert!(fail("{").starts_with("no JSON: "));
    }
}
