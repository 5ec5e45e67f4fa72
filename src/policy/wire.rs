//! Between an environment's action specs and what a model writes: the schema that constrains it, and
//! the way back to an [`Action`].
//!
//! The schema has one flat variant per kind of action, with every field required, so that strict
//! modes accept it and a grammar can be made of it. References are enumerated: a constrained model
//! cannot name an element that is not there, nor fill a link.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::batch;
use crate::llm::prompt::line;
use crate::types::{Action, ActionSpec, Element, ElementState, Observation, REFERENCE_PATTERN};

/// The field that names the action.
const ACTION: &str = "action";
/// The field for the reason.
pub(super) const WHY: &str = "why";
/// Longer lists of references become free strings: grammars grow with them.
const MOST_REFS: usize = 200;

/// One argument as it is offered to the model.
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) schema: Value,
    /// What it is, in the words of whoever offers it; may be empty.
    pub(super) description: String,
    pub(super) required: bool,
    reference: bool,
}

/// The arguments of an action that the model may write. Optional ones are left out where the action
/// works on an element: they cost tokens and small models misuse them.
pub(super) fn offered(spec: &ActionSpec) -> Vec<Argument> {
    let arguments = arguments(spec);
    let has_reference = arguments.iter().any(|a| a.reference);
    arguments
        .into_iter()
        .filter(|a| a.required || !has_reference)
        .collect()
}

fn arguments(spec: &ActionSpec) -> Vec<Argument> {
    let required: BTreeSet<&str> = spec.parameters["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    spec.parameters["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| Argument {
            name: name.clone(),
            schema: plain(schema, &spec.parameters),
            description: schema["description"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            required: required.contains(name.as_str()),
            reference: is_reference(name, schema),
        })
        .collect()
}

fn is_reference(name: &str, schema: &Value) -> bool {
    matches!(name, "ref" | "from" | "to") && schema["pattern"] == REFERENCE_PATTERN
}

/// A property's schema without what grammars stumble over: references resolved, one type, its
/// choices; nothing else.
fn plain(schema: &Value, root: &Value) -> Value {
    if let Some(pointer) = schema["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
        // Resolved once: a circular schema ends as "anything".
        return root
            .pointer(pointer)
            .filter(|target| target.get("$ref").is_none())
            .map_or_else(|| json!({}), |target| plain(target, &Value::Null));
    }
    for any in ["anyOf", "oneOf"] {
        if let Some(variants) = schema[any].as_array() {
            let choices: Vec<Value> = variants
                .iter()
                .filter_map(|v| v.get("const").cloned())
                .collect();
            if !choices.is_empty() {
                return json!({ "type": "string", "enum": choices });
            }
            return variants
                .iter()
                .find(|v| v["type"] != "null")
                .map_or_else(|| json!({}), |v| plain(v, root));
        }
    }
    let mut out = Map::new();
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|k| *k != "null").cloned(),
        Value::Null => None,
        kind => Some(kind.clone()),
    };
    if let Some(kind) = kind {
        out.insert("type".to_owned(), kind);
    }
    for keep in ["enum", "items", "properties"] {
        if let Some(value) = schema.get(keep) {
            out.insert(keep.to_owned(), bare(keep, value));
        }
    }
    Value::Object(out)
}

/// A part of a schema without words: what others wrote enters a prompt in its fence only.
fn bare(key: &str, part: &Value) -> Value {
    match part {
        // The keys are names of arguments, whatever they are.
        Value::Object(map) if key == "properties" => {
            let named = map
                .iter()
                .map(|(name, part)| (name.clone(), bare("", part)));
            Value::Object(named.collect())
        }
        Value::Object(map) => {
            let said = [
                "description",
                "title",
                "examples",
                "example",
                "default",
                "$comment",
            ];
            let kept = map.iter().filter(|(key, _)| !said.contains(&key.as_str()));
            Value::Object(
                kept.map(|(key, part)| (key.clone(), bare(key, part)))
                    .collect(),
            )
        }
        Value::Array(parts) if !matches!(key, "enum" | "required") => {
            parts.iter().map(|part| bare(key, part)).collect()
        }
        other => other.clone(),
    }
}

/// The name of an argument in the model's object.
pub(super) fn key(argument: &str) -> String {
    if [ACTION, WHY, batch::ID, batch::AFTER].contains(&argument) {
        format!("{argument}_")
    } else {
        argument.to_owned()
    }
}

/// Whether an action of this name makes sense on this element. Names that are not a browser's
/// accept every element.
fn fits(action: &str, element: &Element) -> bool {
    let role = element.role.as_str();
    match action {
        "fill" => {
            element.options.is_empty()
                && !element.states.contains(&ElementState::Readonly)
                && !matches!(
                    role,
                    "button"
                        | "link"
                        | "checkbox"
                        | "radio"
                        | "switch"
                        | "tab"
                        | "menuitem"
                        | "option"
                        | "img"
                        | "heading"
                        | "cell"
                        | "row"
                        | "text"
                        | "listitem"
                        | "treeitem"
                        | "menuitemcheckbox"
                        | "menuitemradio"
                        | "progressbar"
                )
        }
        "select" => !element.options.is_empty(),
        "check" => matches!(
            role,
            "checkbox" | "radio" | "switch" | "menuitemcheckbox" | "menuitemradio"
        ),
        _ => true,
    }
}

/// Whether an element can be acted upon now.
pub(crate) fn usable(element: &Element) -> bool {
    element.interactive && !element.states.contains(&ElementState::Disabled)
}

/// The schemas of single actions. `tried` are not offered again where one reference is all that
/// tells them apart.
pub(super) fn variants(
    actions: &[ActionSpec],
    observation: &Observation,
    shown: &str,
    tried: &[&Action],
    why: bool,
) -> Vec<Value> {
    let elements: Vec<&Element> = observation
        .elements
        .iter()
        .filter(|e| usable(e) && shown.contains(&format!("[{}]", e.r#ref)))
        .collect();
    // Actions with the same fields share a variant: the grammar stays small.
    let mut variants: BTreeMap<String, (Vec<&str>, Map<String, Value>)> = BTreeMap::new();
    for spec in actions {
        for fields in fields(spec, &elements, tried) {
            let same = Value::Object(fields.clone()).to_string();
            variants
                .entry(same)
                .or_insert_with(|| (Vec::new(), fields))
                .0
                .push(&spec.name);
        }
    }
    variants
        .into_values()
        .map(|(names, mut fields)| {
            fields.insert(
                ACTION.to_owned(),
                json!({ "type": "string", "enum": names }),
            );
            if why {
                fields.insert(WHY.to_owned(), json!({ "type": "string" }));
            }
            let required: Vec<&String> = fields.keys().collect();
            json!({
                "type": "object",
                "required": required,
                "properties": fields,
                "additionalProperties": false,
            })
        })
        .collect()
}

/// The schema of a reply: one to `most` of these.
pub(super) fn schema(items: &Value, most: u8) -> Value {
    json!({
        "type": "object",
        "properties": {
            "actions": {
                "type": "array",
                "items": items,
                "minItems": 1,
                "maxItems": most,
            },
        },
        "required": ["actions"],
        "additionalProperties": false,
    })
}

/// The field sets of one action: none if no element fits, several where the choices depend on the
/// element.
fn fields(spec: &ActionSpec, elements: &[&Element], tried: &[&Action]) -> Vec<Map<String, Value>> {
    let offered = offered(spec);
    let fitting: Vec<&&Element> = elements.iter().filter(|e| fits(&spec.name, e)).collect();
    if spec.name == "select" && offered.iter().any(|a| a.name == "option") {
        return fitting
            .iter()
            .map(|e| {
                let mut fields = Map::new();
                fields.insert(
                    "option".to_owned(),
                    json!({ "type": "string", "enum": e.options }),
                );
                fields.insert(
                    "ref".to_owned(),
                    json!({ "type": "string", "enum": [e.r#ref] }),
                );
                fields
            })
            .collect();
    }
    let alone = offered.len() == 1;
    let mut out = Map::new();
    for argument in &offered {
        let schema = if argument.reference {
            let refs: Vec<&str> = fitting
                .iter()
                .map(|e| e.r#ref.as_str())
                .filter(|r| {
                    !(alone
                        && tried.iter().any(|a| {
                            a.name == spec.name
                                && a.arguments.len() == 1
                                && a.text(&argument.name) == Some(r)
                        }))
                })
                .collect();
            if refs.is_empty() {
                return Vec::new();
            }
            if refs.len() > MOST_REFS {
                json!({ "type": "string" })
            } else {
                json!({ "type": "string", "enum": refs })
            }
        } else if argument.required {
            argument.schema.clone()
        } else {
            nullable(&argument.schema)
        };
        out.insert(key(&argument.name), schema);
    }
    if out.is_empty()
        && tried
            .iter()
            .any(|a| a.name == spec.name && a.arguments.is_empty())
    {
        return Vec::new();
    }
    vec![out]
}

fn nullable(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

/// An action from what the model wrote, or what is wrong with it.
pub(super) fn action(
    written: &Value,
    actions: &[ActionSpec],
    observation: &Observation,
) -> Result<Action, String> {
    let Some(object) = written.as_object() else {
        return Err(format!("not an action: {}", line(&written.to_string(), 80)));
    };
    let Some(name) = object.get(ACTION).and_then(Value::as_str).map(str::trim) else {
        return Err(format!(
            "no action is named in {}",
            line(&written.to_string(), 80)
        ));
    };
    let Some(spec) = actions.iter().find(|s| s.name == name) else {
        return Err(format!("no such action: `{}`", line(name, 64)));
    };
    let mut out = Map::new();
    for argument in arguments(spec) {
        let value = object.get(&key(&argument.name)).filter(|v| !v.is_null());
        let Some(value) = value else {
            if argument.required {
                return Err(format!("{name}: `{}` is missing", argument.name));
            }
            continue;
        };
        let value = coerce(value, &argument.schema)
            .map_err(|why| format!("{name}: `{}` {why}", argument.name))?;
        let value = if argument.reference {
            match reference(&value, observation) {
                Ok(found) => Value::String(found),
                // An optional reference that is empty is none.
                Err(_) if !argument.required && value == "" => continue,
                Err(why) => return Err(format!("{name}: {why}")),
            }
        } else {
            value
        };
        out.insert(argument.name, value);
    }
    let mut action = Action {
        name: name.to_owned(),
        arguments: out,
    };
    let element = action
        .target()
        .and_then(|r| observation.element(r))
        .cloned();
    if let Some(element) = element {
        if !fits(name, &element) {
            return Err(format!(
                "{name}: [{}] is a {} that does not take it",
                element.r#ref,
                line(&element.role, 40)
            ));
        }
        if let (true, Some(option)) = (name == "select", action.text("option")) {
            let label = element
                .options
                .iter()
                .find(|o| same(o, option))
                .ok_or_else(|| {
                    format!(
                        "select: [{}] has no option {:?}",
                        element.r#ref,
                        line(option, 60)
                    )
                })?;
            action.arguments.insert("option".to_owned(), json!(label));
        }
    }
    Ok(action)
}

fn reference(value: &Value, observation: &Observation) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text.trim().trim_matches(['[', ']']).to_owned(),
        other => other.to_string(),
    };
    let element = observation
        .element(&text)
        .ok_or_else(|| format!("there is no element [{}]", line(&text, 20)))?;
    if element.states.contains(&ElementState::Disabled) {
        return Err(format!("[{text}] is disabled"));
    }
    if !element.interactive {
        return Err(format!("[{text}] is not interactive"));
    }
    Ok(text)
}

/// The value in the type its schema wants, where that loses nothing.
fn coerce(value: &Value, schema: &Value) -> Result<Value, String> {
    let kind = schema["type"].as_str().unwrap_or_default();
    let shown = || line(&value.to_string(), 40);
    let value = match (kind, value) {
        ("string", Value::Number(n)) => json!(n.to_string()),
        ("string", Value::Bool(b)) => json!(b.to_string()),
        ("integer" | "number" | "boolean", Value::String(text)) => {
            serde_json::from_str(text.trim())
                .map_err(|_| format!("must be {kind}, not {}", shown()))?
        }
        _ => value.clone(),
    };
    let fine = match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    if !fine {
        return Err(format!("must be {kind}, not {}", shown()));
    }
    let Some(choices) = schema["enum"].as_array() else {
        return Ok(value);
    };
    choices
        .iter()
        .find(|c| {
            **c == value || matches!((c.as_str(), value.as_str()), (Some(a), Some(b)) if same(a, b))
        })
        .cloned()
        .ok_or_else(|| {
            format!(
                "must be one of {}, not {}",
                line(&schema["enum"].to_string(), 80),
                shown()
            )
        })
}

fn same(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

/// What an action means, for telling apart: texts trimmed and single-spaced, labels of options in
/// lower case, arguments at their defaults left out, an empty optional text too, and links that
/// lead to the same place (the environment gives a link's target as its `value`) made one.
pub(crate) fn meaning(
    action: &Action,
    actions: &[ActionSpec],
    observation: &Observation,
) -> Action {
    let spec = actions.iter().find(|s| s.name == action.name);
    let known = spec.map(arguments).unwrap_or_default();
    let mut out = Map::new();
    for (name, value) in &action.arguments {
        let argument = known.iter().find(|a| a.name == *name);
        let value = match value {
            Value::String(text) if argument.is_some_and(|a| a.reference) => {
                json!(identity(text.trim(), observation))
            }
            Value::String(text) => {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                json!(if name == "option" {
                    text.to_lowercase()
                } else {
                    text
                })
            }
            other => other.clone(),
        };
        let optional = argument.is_some_and(|a| !a.required);
        let default = spec
            .and_then(|s| s.parameters["properties"][name].get("default"))
            .is_some_and(|d| *d == value);
        let blank = value.is_null() || value == "" || value == false;
        if !(optional && (default || blank)) {
            out.insert(name.clone(), value);
        }
    }
    Action {
        name: action.name.clone(),
        arguments: out,
    }
}

fn identity(reference: &str, observation: &Observation) -> String {
    match observation.element(reference) {
        Some(e) if e.role == "link" && e.value.as_deref().is_some_and(|v| !v.is_empty()) => {
            format!("link {:?} {:?}", e.name.trim(), e.value)
        }
        _ => reference.to_owned(),
    }
}
