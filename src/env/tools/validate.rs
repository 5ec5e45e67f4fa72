//! Arguments are checked before anything is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value};

use super::Tool;
use crate::located::nearest;
use crate::types::Rejection;

/// Longest quotation of a value in a rejection, in characters.
const QUOTE: usize = 80;

/// The compiled schemas of some tools: each is compiled when it is first used.
#[derive(Default)]
pub struct Validators {
    compiled: Mutex<BTreeMap<String, Arc<Validator>>>,
}

impl std::fmt::Debug for Validators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Validators")
    }
}

impl Validators {
    /// The canonical arguments of a call: without nulls where a parameter may be left out and does
    /// not take null (models in strict mode must write something).
    ///
    /// # Errors
    /// [`Rejection`] that names the place and what was expected there.
    pub fn check(
        &self,
        tool: &Tool,
        arguments: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Rejection> {
        let mut arguments = arguments.clone();
        strip_nulls(&tool.parameters, &mut arguments);
        let validator = self.validator(tool)?;
        let whole = Value::Object(arguments);
        let first = validator
            .iter_errors(&whole)
            .next()
            .map(|error| reject(&error, tool));
        if let Some(rejection) = first {
            return Err(rejection);
        }
        match whole {
            Value::Object(arguments) => Ok(arguments),
            _ => Ok(Map::new()),
        }
    }

    fn validator(&self, tool: &Tool) -> Result<Arc<Validator>, Rejection> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.get(&tool.name) {
            return Ok(Arc::clone(known));
        }
        let validator = compile(&tool.parameters).map_err(|reason| {
            Rejection::new(format!(
                "the schema of `{}` cannot be used: {reason}",
                tool.name
            ))
        })?;
        let validator = Arc::new(validator);
        compiled.insert(tool.name.clone(), Arc::clone(&validator));
        Ok(validator)
    }
}

/// Compiles a schema. Patterns that are no regular expressions here (they are JavaScript's) do not
/// count; nothing is fetched.
///
/// # Errors
/// What is wrong with it, in words.
pub fn compile(schema: &Value) -> Result<Validator, String> {
    let build = |schema: &Value| jsonschema::draft202012::options().build(schema);
    if let Ok(validator) = build(schema) {
        return Ok(validator);
    }
    let mut plain = schema.clone();
    drop_patterns(&mut plain);
    build(&plain).map_err(|error| shorten(&error.to_string(), 200))
}

fn drop_patterns(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A property may be called so; then it is a schema, not a text.
            if map.get("pattern").is_some_and(Value::is_string) {
                map.remove("pattern");
            }
            if let Some(Value::Object(_)) = map.get("patternProperties")
                && !map.get("type").is_some_and(Value::is_object)
            {
                map.remove("patternProperties");
            }
            map.values_mut().for_each(drop_patterns);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_patterns),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes away nulls that stand for "not given".
fn strip_nulls(schema: &Value, object: &mut Map<String, Value>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| {
        required.is_some_and(|names| names.iter().any(|known| known.as_str() == Some(name)))
    };
    object.retain(|name, value| {
        let Some(schema) = properties.get(name) else {
            return true;
        };
        !value.is_null() || is_required(name) || takes_null(schema)
    });
    for (name, value) in object.iter_mut() {
        if let Some(schema) = properties.get(name) {
            strip_within(schema, value);
        }
    }
}

fn strip_within(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => strip_nulls(schema, object),
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    strip_within(schema, item);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn takes_null(schema: &Value) -> bool {
    let Some(map) = schema.as_object() else {
        return schema.as_bool() != Some(false);
    };
    let kind = match map.get("type") {
        Some(Value::String(kind)) => kind == "null",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "null"),
        _ => true,
    };
    let listed = map
        .get("enum")
        .and_then(Value::as_array)
        .is_none_or(|words| words.contains(&Value::Null));
    let any = |key: &str| {
        let list = map.get(key).and_then(Value::as_array);
        list.is_none_or(|list| list.iter().any(takes_null))
    };
    let all = map
        .get("allOf")
        .and_then(Value::as_array)
        .is_none_or(|list| list.iter().all(takes_null));
    kind && listed && any("anyOf") && any("oneOf") && all && !map.contains_key("const")
}

/// Says where the fault is and what was expected.
fn reject(error: &ValidationError<'_>, tool: &Tool) -> Rejection {
    let at = error.instance_path().to_string();
    let place = if at.is_empty() {
        "the arguments".to_owned()
    } else {
        format!("`{at}`")
    };
    let mut near = Vec::new();
    let reason = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let kind = described(&tool.parameters, &format!("{at}/{name}"));
            format!("{place}: `{name}` is missing{kind}")
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = names_at(&tool.parameters, &at);
            let name = unexpected.first().map(String::as_str).unwrap_or_default();
            near = nearest(name, known.iter().copied());
            if near.is_empty() {
                near = known
                    .iter()
                    .take(8)
                    .map(|name| (*name).to_owned())
                    .collect();
            }
            format!("{place}: there is no parameter `{}`", shorten(name, QUOTE))
        }
        ValidationErrorKind::Type { kind } => {
            let wanted = match kind {
                TypeKind::Single(one) => one.to_string(),
                TypeKind::Multiple(set) => {
                    let kinds: Vec<String> = set.iter().map(|kind| kind.to_string()).collect();
                    kinds.join(" or ")
                }
            };
            format!(
                "{place}: expected {wanted}, got {}",
                quoted(error.instance())
            )
        }
        ValidationErrorKind::Enum { options } => {
            let words: Vec<String> = options
                .as_array()
                .into_iter()
                .flatten()
                .map(|word| {
                    word.as_str()
                        .map_or_else(|| word.to_string(), str::to_owned)
                })
                .collect();
            if let Some(text) = error.instance().as_str() {
                near = nearest(text, words.iter().map(String::as_str));
            }
            let shown: Vec<&str> = words.iter().take(12).map(String::as_str).collect();
            let more = if words.len() > shown.len() {
                ", …"
            } else {
                ""
            };
            format!(
                "{place}: expected one of {}{more}, got {}",
                shown.join(", "),
                quoted(error.instance())
            )
        }
        _ => format!("{place}: {}", shorten(&error.to_string(), 240)),
    };
    Rejection {
        reason,
        nearest: near,
    }
}

/// ` (integer)`, where the schema says so.
fn described(schema: &Value, at: &str) -> String {
    let kind = schema_at(schema, at).and_then(|schema| schema.get("type"));
    match kind {
        Some(Value::String(kind)) => format!(" ({kind})"),
        _ => String::new(),
    }
}

fn names_at<'a>(schema: &'a Value, at: &str) -> Vec<&'a str> {
    let properties = schema_at(schema, at).and_then(|schema| schema.get("properties"));
    let properties = properties.and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect()
}

/// The schema of what lies at a pointer in the instance, as far as it is plain.
fn schema_at<'a>(schema: &'a Value, at: &str) -> Option<&'a Value> {
    let mut found = schema;
    for part in at.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        found = match found.get("properties").and_then(|all| all.get(&name)) {
            Some(schema) => schema,
            None => found.get("items")?,
        };
    }
    Some(found)
}

fn quoted(value: &Value) -> String {
    let kind = match value {
        Value::Null => return "null".to_owned(),
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("{kind} {}", shorten(&value.to_string(), QUOTE))
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::env::tools::{Access, Binding};

    fn tool(parameters: Value) -> Tool {
        Tool {
            name: "t".to_owned(),
            source: "s".to_owned(),
            original: "t".to_owned(),
            summary: String::new(),
            description: String::new(),
            tags: vec![],
            parameters,
            output: None,
            access: Access::Read,
            independent: false,
            binding: Binding::Described,
            notes: vec![],
        }
    }

    fn check(schema: &Value, arguments: &Value) -> Result<Value, String> {
        let tool = tool(schema.clone());
        Validators::default()
            .check(&tool, arguments.as_object().unwrap())
            .map(Value::Object)
            .map_err(|rejection| rejection.to_string())
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "limit": { "type": "integer", "minimum": 1 },
                "status": { "type": "string", "enum": ["open", "closed"] },
                "note": { "type": ["string", "null"] },
                "pet": {
                    "type": "object",
                    "properties": { "age": { "type": "integer" }, "name": { "type": "string" } },
                    "required": ["name"],
                },
            },
            "required": ["limit"],
            "additionalProperties": false,
        })
    }

    #[test]
    fn rejections_name_place_and_expectation() {
        let fail = |arguments: Value| check(&schema(), &arguments).unwrap_err();
        insta::assert_snapshot!(fail(json!({})), @"the arguments: `limit` is missing (integer)");
        insta::assert_snapshot!(fail(json!({ "limit": "5" })), @r#"`/limit`: expected integer, got string "5""#);
        insta::assert_snapshot!(fail(json!({ "limit": 0 })), @"`/limit`: 0 is less than the minimum of 1");
        insta::assert_snapshot!(fail(json!({ "limit": 1, "status": "opne" })), @r#"`/status`: expected one of open, closed, got string "opne"; nearest: open"#);
        insta::assert_snapshot!(fail(json!({ "limit": 1, "statsu": "open" })), @"the arguments: there is no parameter `statsu`; nearest: status");
        insta::assert_snapshot!(fail(json!({ "limit": 1, "pet": { "name": "x", "age": [] } })), @"`/pet/age`: expected integer, got array []");
        insta::assert_snapshot!(fail(json!({ "limit": 1, "pet": {} })), @"`/pet`: `name` is missing (string)");
        insta::assert_snapshot!(fail(json!({ "limit": null })), @"`/limit`: expected integer, got null");
    }

    #[test]
    fn nulls_that_mean_nothing_go() {
        assert_eq!(
            check(
                &schema(),
                &json!({ "limit": 1, "status": null, "note": null, "pet": { "name": "x", "age": null } })
            ),
            Ok(json!({ "limit": 1, "note": null, "pet": { "name": "x" } }))
        );
    }

    #[test]
    fn a_pattern_of_another_language_does_not_count() {
        let schema = json!({
            "type": "object",
            "properties": { "a": { "type": "string", "pattern": "(?<" }, "pattern": { "type": "string" } },
            "additionalProperties": false,
        });
        assert_eq!(
            check(&schema, &json!({ "a": "x", "pattern": "y" })),
            Ok(json!({ "a": "x", "pattern": "y" }))
        );
        assert!(check(&schema, &json!({ "a": 1 })).is_err());
    }
}
