//! The strict variant of a schema, for providers that constrain what a model writes.
//!
//! Every property is required and nothing else is allowed; what was optional may be null instead,
//! and [`super::Validators`] takes such nulls away before a call.

use serde_json::{Map, Value};

use super::openapi::or_null;

/// Keywords that constrained decoders take.
const KNOWN: [&str; 17] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "description",
    "title",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "multipleOf",
    "minItems",
    "maxItems",
];

/// Most levels of objects.
const DEEPEST: usize = 10;

/// Why a schema has no strict variant: it accepts things that cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {reason}")]
pub struct NotStrict {
    /// JSON pointer within the arguments; `/` for the whole.
    pub path: String,
    /// Completes "`/a` …".
    pub reason: String,
}

/// The strict variant of an arguments schema. What it accepts, the schema accepts too, once nulls
/// are taken away; keywords that decoders do not take are left to the validation before the call.
///
/// # Errors
/// [`NotStrict`] for open objects and schemas that accept anything: there is no faithful variant.
pub fn strict(schema: &Value) -> Result<Value, NotStrict> {
    convert(schema, &mut String::new(), 0)
}

fn convert(schema: &Value, path: &mut String, depth: usize) -> Result<Value, NotStrict> {
    let fault = |path: &str, reason: &str| NotStrict {
        path: if path.is_empty() {
            "/".to_owned()
        } else {
            path.to_owned()
        },
        reason: reason.to_owned(),
    };
    let Some(map) = schema.as_object() else {
        return Err(fault(path, "accepts anything"));
    };
    if depth > DEEPEST {
        return Err(fault(path, "is nested too deeply"));
    }
    for union in ["allOf", "not", "if", "patternProperties", "prefixItems"] {
        if map.contains_key(union) {
            return Err(fault(path, &format!("uses `{union}`")));
        }
    }
    let mut out = Map::new();
    for (key, value) in map {
        if KNOWN.contains(&key.as_str()) {
            out.insert(key.clone(), value.clone());
        }
    }
    if let Some(Value::Array(list)) = map.get("oneOf").or_else(|| map.get("anyOf")) {
        let list: Result<Vec<Value>, NotStrict> =
            list.iter().map(|item| convert(item, path, depth)).collect();
        out.insert("anyOf".to_owned(), Value::Array(list?));
    } else if !["type", "enum", "const"]
        .iter()
        .any(|key| map.contains_key(*key))
    {
        return Err(fault(path, "accepts anything"));
    }
    let is = |kind: &str| match map.get("type") {
        Some(Value::String(own)) => own == kind,
        Some(Value::Array(kinds)) => kinds.iter().any(|own| own == kind),
        _ => false,
    };
    let length = path.len();
    if is("array") {
        let Some(items) = map.get("items") else {
            return Err(fault(path, "is a list of anything"));
        };
        path.push_str("/0");
        let items = convert(items, path, depth + 1)?;
        path.truncate(length);
        out.insert("items".to_owned(), items);
    }
    if is("object") {
        let open = !matches!(
            map.get("additionalProperties"),
            None | Some(Value::Bool(false))
        );
        let properties = map.get("properties").and_then(Value::as_object);
        let closed_and_empty = map.get("additionalProperties") == Some(&Value::Bool(false));
        if open || (properties.is_none_or(Map::is_empty) && !closed_and_empty) {
            return Err(fault(path, "is an object with any members"));
        }
        let required = map.get("required").and_then(Value::as_array);
        let needs = |name: &str| {
            required.is_some_and(|names| names.iter().any(|known| known.as_str() == Some(name)))
        };
        let mut all = Map::new();
        for (name, property) in properties.into_iter().flatten() {
            path.push('/');
            path.push_str(&name.replace('~', "~0").replace('/', "~1"));
            let made = convert(property, path, depth + 1)?;
            path.truncate(length);
            all.insert(name.clone(), if needs(name) { made } else { or_null(made) });
        }
        let names: Vec<Value> = all.keys().map(|name| Value::from(name.as_str())).collect();
        out.insert("properties".to_owned(), Value::Object(all));
        out.insert("required".to_owned(), Value::Array(names));
        out.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    Ok(Value::Object(out))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_required_and_the_optional_may_be_null() {
        let schema = json!({
            "type": "object",
            "properties": {
                "id": { "type": "integer" },
                "sort": { "type": "string", "enum": ["a", "b"] },
                "pet": { "type": "object", "properties": { "x": { "oneOf": [{ "type": "string" }, { "type": "integer" }] } } },
                "tags": { "type": "array", "items": { "type": "string", "minLength": 2 } },
            },
            "required": ["id"],
            "additionalProperties": false,
        });
        insta::assert_json_snapshot!(strict(&schema).unwrap());
    }

    #[test]
    fn open_things_have_no_strict_variant() {
        let of = |schema: Value| {
            let whole = json!({ "type": "object", "properties": { "a": schema } });
            strict(&whole).unwrap_err().to_string()
        };
        assert_eq!(of(json!({})), "`/a` accepts anything");
        assert_eq!(
            of(json!({ "type": "object" })),
            "`/a` is an object with any members"
        );
        assert_eq!(
            of(json!({ "type": "object", "additionalProperties": { "type": "string" } })),
            "`/a` is an object with any members"
        );
        assert_eq!(of(json!({ "type": "array" })), "`/a` is a list of anything");
        assert_eq!(
            of(json!({ "type": "array", "items": { "allOf": [] } })),
            "`/a/0` uses `allOf`"
        );
        assert!(
            strict(&json!({ "type": "object", "properties": {}, "additionalProperties": false }))
                .is_ok()
        );
    }
}
