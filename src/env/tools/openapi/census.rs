//! Counts what a document declares and what became of it, without using the conversion.
//!
//! The conversion walks from operations to parameters and follows references as it goes. The census
//! lists every parameter of the raw document first, by path, method, place and name, and then looks
//! each of them up in the finished tools.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::Converted;
use crate::env::tools::http::{BodyShape, Place, Plan};
use crate::env::tools::{Binding, Tool, compile, names};

/// What a document declares and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Census {
    /// Operations of the document.
    pub operations: usize,
    /// Tools made.
    pub tools: usize,
    /// Parameters and bodies of its operations that a request has a place for.
    pub parameters: usize,
    /// Parameters without a place: path variables that the path does not have, headers that are no
    /// parameters by the standard, parameters without a name.
    pub placeless: usize,
    /// Operations and parameters that no tool has: `GET /pets query limit`.
    pub lost: Vec<String>,
    /// Names of tools and arguments that some provider would refuse.
    pub invalid_names: Vec<String>,
    /// Names that occur twice.
    pub colliding_names: Vec<String>,
    /// Schemas that are no JSON Schema 2020-12, do not compile, or have no plain object at their root.
    pub invalid_schemas: Vec<String>,
    /// Tools with a note.
    pub noted: usize,
}

/// Compares a document with its conversion.
#[must_use]
pub fn census(root: &Value, converted: &Converted) -> Census {
    let mut census = Census {
        tools: converted.tools.len(),
        noted: converted
            .tools
            .iter()
            .filter(|tool| !tool.notes.is_empty())
            .count(),
        ..Census::default()
    };
    let mut plans: BTreeMap<(&str, &str), (&Tool, &Plan)> = BTreeMap::new();
    for tool in &converted.tools {
        if let Binding::Http(plan) = &tool.binding {
            plans.insert((&plan.path, &plan.method), (tool, plan));
        }
    }
    let mut operations = BTreeSet::new();
    for declared in declared(root) {
        let operation = (declared.path, declared.method.to_ascii_uppercase());
        if operations.insert(operation.clone())
            && !plans.contains_key(&(operation.0, operation.1.as_str()))
        {
            census.lost.push(format!("{} {}", operation.1, operation.0));
        }
        let Some((place, name)) = declared.parameter else {
            continue;
        };
        if placeless(root, declared.path, &place, &name) {
            census.placeless += 1;
            continue;
        }
        census.parameters += 1;
        let plan = plans.get(&(operation.0, operation.1.as_str()));
        if !plan.is_some_and(|(tool, plan)| has(tool, plan, &place, &name)) {
            census
                .lost
                .push(format!("{} {} {place} {name}", operation.1, operation.0));
        }
    }
    census.operations = operations.len();
    names_and_schemas(converted, &mut census);
    census
}

/// An operation, and one of its parameters if it has any.
struct Declared<'d> {
    path: &'d str,
    method: &'d str,
    parameter: Option<(String, String)>,
}

const METHODS: [&str; 9] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace", "query",
];

fn declared(root: &Value) -> Vec<Declared<'_>> {
    let mut out = Vec::new();
    let paths = root.get("paths").and_then(Value::as_object);
    for (path, item) in paths
        .into_iter()
        .flatten()
        .filter(|(path, _)| !path.starts_with("x-"))
    {
        let item = target(root, item);
        for (method, operation) in item.as_object().into_iter().flatten() {
            if !METHODS.contains(&method.as_str()) || !operation.is_object() {
                continue;
            }
            let mut parameters: BTreeSet<(String, String)> = BTreeSet::new();
            for holder in [item, operation] {
                let list = holder.get("parameters").and_then(Value::as_array);
                for parameter in list.into_iter().flatten() {
                    let parameter = target(root, parameter);
                    let text = |key| parameter.get(key).and_then(Value::as_str).unwrap_or("");
                    if parameter.is_object() {
                        parameters.insert((text("in").to_owned(), text("name").to_owned()));
                    }
                }
            }
            if let Some(body) = operation.get("requestBody") {
                let content = target(root, body).get("content").and_then(Value::as_object);
                if content.is_some_and(|content| !content.is_empty()) {
                    parameters.insert(("body".to_owned(), String::new()));
                }
            }
            out.push(Declared {
                path,
                method,
                parameter: None,
            });
            out.extend(parameters.into_iter().map(|parameter| Declared {
                path,
                method,
                parameter: Some(parameter),
            }));
        }
    }
    out
}

fn target<'d>(root: &'d Value, value: &'d Value) -> &'d Value {
    let reference = |value: &'d Value| value.get("$ref").and_then(Value::as_str);
    let mut found = value;
    let mut steps = 0;
    while let Some(text) = reference(found) {
        let pointer = percent_encoding::percent_decode_str(text.trim_start_matches('#'));
        let pointer = pointer.decode_utf8_lossy();
        found = match root.pointer(&pointer) {
            Some(next) if steps < 16 && text.starts_with('#') => next,
            _ => return &Value::Null,
        };
        steps += 1;
    }
    found
}

fn placeless(root: &Value, path: &str, place: &str, name: &str) -> bool {
    match place {
        "body" => false,
        _ if name.is_empty() => true,
        "path" => !path.contains(&format!("{{{name}}}")),
        "header" => {
            let reserved = ["accept", "content-type", "authorization"];
            root.get("swagger").is_none() && reserved.contains(&name.to_ascii_lowercase().as_str())
        }
        "query" | "cookie" | "formData" => false,
        _ => true,
    }
}

fn has(tool: &Tool, plan: &Plan, place: &str, name: &str) -> bool {
    let offers = |argument: &str| tool.parameters["properties"].get(argument).is_some();
    let slot = |wanted: Place| {
        let mut slots = plan.slots.iter();
        slots.any(|slot| slot.place == wanted && slot.name == name && offers(&slot.argument))
    };
    match place {
        "path" => slot(Place::Path),
        "query" => slot(Place::Query),
        "header" => slot(Place::Header),
        "cookie" => slot(Place::Cookie),
        _ => plan.body.as_ref().is_some_and(|body| match &body.shape {
            BodyShape::Whole(argument) => offers(argument),
            BodyShape::Properties { fields, .. } if place == "body" => {
                fields.iter().all(|field| offers(&field.argument))
            }
            BodyShape::Properties { fields, .. } => fields
                .iter()
                .any(|field| field.name == name && offers(&field.argument)),
        }),
    }
}

fn names_and_schemas(converted: &Converted, census: &mut Census) {
    let mut seen = BTreeSet::new();
    for tool in &converted.tools {
        let valid = !tool.name.is_empty()
            && tool.name.len() <= names::MAX_NAME
            && tool
                .name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if !valid {
            census.invalid_names.push(tool.name.clone());
        }
        if !seen.insert(&tool.name) {
            census.colliding_names.push(tool.name.clone());
        }
        let properties = tool.parameters.get("properties").and_then(Value::as_object);
        for argument in properties.into_iter().flatten().map(|(name, _)| name) {
            let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
            if argument.is_empty()
                || argument.len() > names::MAX_NAME
                || !argument.bytes().all(fine)
            {
                census
                    .invalid_names
                    .push(format!("{} {argument}", tool.name));
            }
        }
        if let Binding::Http(plan) = &tool.binding {
            // Two slots on one argument: one of the values would be lost.
            let mut arguments: Vec<&str> = plan
                .slots
                .iter()
                .map(|slot| slot.argument.as_str())
                .collect();
            match plan.body.as_ref().map(|body| &body.shape) {
                Some(BodyShape::Whole(argument)) => arguments.push(argument),
                Some(BodyShape::Properties { fields, .. }) => {
                    arguments.extend(fields.iter().map(|field| field.argument.as_str()));
                }
                None => {}
            }
            let count = arguments.len();
            arguments.sort_unstable();
            arguments.dedup();
            if arguments.len() < count {
                census
                    .colliding_names
                    .push(format!("{}: arguments", tool.name));
            }
        }
        let schema = &tool.parameters;
        let plain = schema["type"] == "object"
            && ["oneOf", "anyOf", "allOf", "not", "$ref"]
                .iter()
                .all(|key| schema.get(*key).is_none());
        let fault = if !plain {
            Some("is no plain object at its root".to_owned())
        } else if let Err(error) = jsonschema::draft202012::meta::validate(schema) {
            let place = error.instance_path().to_string();
            Some(format!("is no JSON Schema 2020-12 at {place}"))
        } else {
            compile(schema).err()
        };
        census
            .invalid_schemas
            .extend(fault.map(|fault| format!("{}: {fault}", tool.name)));
    }
}
