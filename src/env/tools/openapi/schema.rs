//! One schema language for all: every dialect becomes JSON Schema 2020-12 without references.
//!
//! * `$ref` is put in place. A schema within itself is cut at the second level, and one that grows
//!   beyond [`MAX_NODES`] is cut at the depth at which it fits; what was cut accepts anything (of its
//!   type), and a note says so.
//! * `nullable` becomes a union with `null`; Boolean `exclusiveMinimum` and `exclusiveMaximum` become
//!   numbers; `example` becomes `examples`; `items` as a list becomes `prefixItems`.
//! * `allOf` of plain objects is merged. Other unions stay as they are.
//! * `discriminator` becomes a sentence in the description; `xml`, `externalDocs` and `x-…` go.
//! * `format` stays. A keyword whose value is none of those it may have goes, with a note.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Document, Version};

/// Most schemas within one schema.
pub const MAX_NODES: usize = 1_500;

/// How deep a schema is followed before it is too large.
const DEEPEST: usize = 24;

/// How often a schema may stand within itself.
const REPEATS: usize = 2;

/// Which way the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Arguments: without properties that are `readOnly`.
    Request,
    /// Replies: without properties that are `writeOnly`.
    Reply,
}

/// Converts schemas of one document.
#[derive(Debug)]
pub struct Converter<'d> {
    document: &'d Document,
    side: Side,
    most: usize,
    notes: BTreeSet<String>,
    stack: Vec<&'d str>,
    nodes: usize,
    depth_limit: usize,
    was_cut: bool,
}

impl<'d> Converter<'d> {
    /// A converter for one direction.
    #[must_use]
    pub fn new(document: &'d Document, side: Side) -> Self {
        Self {
            document,
            side,
            most: MAX_NODES,
            notes: BTreeSet::new(),
            stack: Vec::new(),
            nodes: 0,
            depth_limit: DEEPEST,
            was_cut: false,
        }
    }

    /// The same with another limit than [`MAX_NODES`].
    #[must_use]
    pub fn at_most(mut self, nodes: usize) -> Self {
        self.most = nodes;
        self
    }

    /// What had to be left out or changed so far, sorted.
    #[must_use]
    pub fn into_notes(self) -> Vec<String> {
        self.notes.into_iter().collect()
    }

    /// Says something about the conversion.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.insert(text.into());
    }

    /// Converts one schema. The result stands alone.
    pub fn convert(&mut self, raw: &'d Value) -> Value {
        for depth in [DEEPEST, 12, 9, 7, 6, 5, 4, 3, 2, 1] {
            let notes = self.notes.clone();
            (self.nodes, self.depth_limit, self.was_cut) = (0, depth, false);
            let schema = self.schema(raw, 0);
            if self.nodes <= self.most || depth == 1 {
                if self.was_cut {
                    self.note(format!(
                        "a schema was cut at depth {depth}: what lies deeper accepts anything"
                    ));
                }
                return schema;
            }
            self.notes = notes;
        }
        json!({})
    }

    fn schema(&mut self, raw: &'d Value, depth: usize) -> Value {
        self.nodes += 1;
        if self.nodes > self.most {
            // Too large: this attempt is thrown away.
            return json!({});
        }
        let map = match raw {
            Value::Object(map) => map,
            Value::Bool(true) => return json!({}),
            Value::Bool(false) => return json!({ "not": {} }),
            _ => {
                self.note(
                    "something that is no schema stands in a schema's place: it accepts anything",
                );
                return json!({});
            }
        };
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            return self.reference(reference, map, depth);
        }
        if depth >= self.depth_limit && !is_leaf(map) {
            self.was_cut = true;
            return self.cut(map);
        }
        self.object(map, depth)
    }

    fn reference(
        &mut self,
        reference: &'d str,
        map: &'d Map<String, Value>,
        depth: usize,
    ) -> Value {
        let Some(target) = self.document.resolve(reference) else {
            if reference.starts_with('#') {
                self.note(format!("`{reference}` leads nowhere: it accepts anything"));
            } else {
                self.note(format!(
                    "`{reference}` is in another document, which is not read: it accepts anything"
                ));
            }
            return json!({});
        };
        let times = self.stack.iter().filter(|on| **on == reference).count();
        let mut schema = if times >= REPEATS {
            self.note(format!(
                "`{reference}` contains itself: cut at level {REPEATS}, where it accepts anything"
            ));
            match target {
                Value::Object(target) => self.cut(target),
                _ => json!({}),
            }
        } else {
            self.stack.push(reference);
            let schema = self.schema(target, depth);
            self.stack.pop();
            schema
        };
        // Beside a reference, 3.1 allows everything; older documents mean at least the words.
        let annotations = ["description", "default", "title", "deprecated", "nullable"];
        let beside = map.keys().any(|key| {
            key != "$ref" && !annotations.contains(&key.as_str()) && !key.starts_with("x-")
        });
        if beside && self.document.version == Version::V31 {
            let rest: Map<String, Value> = self.object_without_reference(map, depth);
            let rest = Value::Object(rest);
            schema = merge_all(vec![schema.clone(), rest.clone()])
                .unwrap_or_else(|| json!({ "allOf": [schema, rest] }));
        }
        if let Value::Object(out) = &mut schema {
            for key in ["description", "title"] {
                if let Some(Value::String(text)) = map.get(key) {
                    out.insert(key.to_owned(), Value::from(text.as_str()));
                }
            }
            if let Some(default) = map.get("default") {
                out.insert("default".to_owned(), default.clone());
            }
        }
        if self.is_nullable(map) {
            schema = or_null(schema);
        }
        schema
    }

    fn object_without_reference(
        &mut self,
        map: &'d Map<String, Value>,
        depth: usize,
    ) -> Map<String, Value> {
        match self.object(map, depth) {
            Value::Object(mut out) => {
                out.remove("$ref");
                out
            }
            _ => Map::new(),
        }
    }

    fn is_nullable(&self, map: &Map<String, Value>) -> bool {
        let says = |key: &str| map.get(key).and_then(Value::as_bool) == Some(true);
        match self.document.version {
            Version::V2 => says("x-nullable"),
            Version::V3 => says("nullable"),
            // Not in 3.1, but written all the same.
            Version::V31 => says("nullable") && !map.contains_key("anyOf"),
        }
    }

    /// What is left of a schema that is not followed: its type and its words.
    fn cut(&mut self, map: &Map<String, Value>) -> Value {
        let mut out = Map::new();
        if let Some(kind) = self.type_of(map) {
            out.insert("type".to_owned(), kind);
        }
        let words = map.get("description").and_then(Value::as_str);
        let words = words.map_or(String::new(), |words| format!("{} ", first_words(words)));
        let words = format!("{words}(Not shown further: any value of this kind.)");
        out.insert("description".to_owned(), Value::from(words));
        let schema = Value::Object(out);
        if self.is_nullable(map) {
            or_null(schema)
        } else {
            schema
        }
    }

    fn type_of(&mut self, map: &Map<String, Value>) -> Option<Value> {
        const TYPES: [&str; 7] = [
            "array", "boolean", "integer", "null", "number", "object", "string",
        ];
        let one = |text: &str| match text {
            known if TYPES.contains(&known) => Some(text.to_owned()),
            "file" => Some("string".to_owned()),
            _ => None,
        };
        match map.get("type") {
            Some(Value::String(text)) => {
                let lower = text.to_ascii_lowercase();
                let found = one(&lower).or_else(|| match lower.as_str() {
                    "int" | "int32" | "int64" | "long" => Some("integer".to_owned()),
                    "float" | "double" | "decimal" => Some("number".to_owned()),
                    "bool" => Some("boolean".to_owned()),
                    "uuid" | "date" | "datetime" | "date-time" | "text" | "enum" => {
                        Some("string".to_owned())
                    }
                    _ => None,
                });
                if found.as_deref() != Some(text.as_str()) && text != "file" {
                    self.note(match &found {
                        Some(meant) => {
                            format!("`{}` is no type: read as `{meant}`", first_words(text))
                        }
                        None => format!("`{}` is no type: anything is accepted", first_words(text)),
                    });
                }
                found.map(Value::from)
            }
            Some(Value::Array(list)) => {
                let mut kinds: Vec<String> = Vec::new();
                for kind in list.iter().filter_map(Value::as_str).filter_map(one) {
                    if !kinds.contains(&kind) {
                        kinds.push(kind);
                    }
                }
                match kinds.len() {
                    0 => None,
                    1 => kinds.pop().map(Value::from),
                    _ => Some(Value::from(kinds)),
                }
            }
            Some(_) => {
                self.note("a `type` is neither a word nor a list: anything is accepted");
                None
            }
            None if map.contains_key("properties") => Some(Value::from("object")),
            None if map.get("items").is_some_and(Value::is_object) => Some(Value::from("array")),
            None => None,
        }
    }

    fn object(&mut self, map: &'d Map<String, Value>, depth: usize) -> Value {
        let mut out = Map::new();
        if let Some(kind) = self.type_of(map) {
            out.insert("type".to_owned(), kind);
        }
        if map.get("type").and_then(Value::as_str) == Some("file") {
            out.insert("format".to_owned(), Value::from("binary"));
        }
        let next = depth + 1;
        for (key, value) in map {
            match key.as_str() {
                "type" | "$ref" | "nullable" | "discriminator" | "xml" | "externalDocs"
                | "$schema" | "$id" | "id" | "$anchor" | "$dynamicAnchor" | "$dynamicRef"
                | "$defs" | "definitions" | "$comment" | "$vocabulary" | "collectionFormat"
                | "readOnly" | "writeOnly" | "deprecated" | "allowEmptyValue" => {}
                key if key.starts_with("x-") => {}
                "properties" => self.properties(value, &mut out, next),
                "patternProperties" | "dependentSchemas" => {
                    if let Value::Object(map) = value {
                        let items = map
                            .iter()
                            .map(|(name, schema)| (name.clone(), self.schema(schema, next)));
                        let items: Map<String, Value> = items.collect();
                        out.insert(key.clone(), Value::Object(items));
                    }
                }
                "additionalProperties"
                | "propertyNames"
                | "contains"
                | "not"
                | "if"
                | "then"
                | "else"
                | "unevaluatedProperties"
                | "unevaluatedItems"
                | "additionalItems" => {
                    let schema = match value {
                        Value::Bool(_) => value.clone(),
                        Value::Object(_) => self.schema(value, next),
                        _ => continue,
                    };
                    out.insert(key.clone(), schema);
                }
                "items" => match value {
                    Value::Array(list) => {
                        let list: Vec<Value> =
                            list.iter().map(|item| self.schema(item, next)).collect();
                        if !list.is_empty() {
                            out.insert("prefixItems".to_owned(), Value::Array(list));
                        }
                    }
                    Value::Object(_) | Value::Bool(_) => {
                        let schema = self.schema(value, next);
                        out.insert("items".to_owned(), schema);
                    }
                    _ => self.note("`items` is no schema: items may be anything"),
                },
                "prefixItems" | "oneOf" | "anyOf" | "allOf" => {
                    if let Value::Array(list) = value
                        && !list.is_empty()
                    {
                        let list = list.iter().map(|item| self.schema(item, next)).collect();
                        out.insert(key.clone(), Value::Array(list));
                    }
                }
                "required" => self.required(value, map, &mut out),
                "enum" => self.words(value, map, &mut out),
                "const" | "default" => {
                    out.insert(key.clone(), value.clone());
                }
                "example" if !map.contains_key("examples") => {
                    out.insert("examples".to_owned(), Value::from(vec![value.clone()]));
                }
                "examples" if value.is_array() => {
                    out.insert(key.clone(), value.clone());
                }
                "title" | "description" | "format" | "pattern" | "contentEncoding"
                | "contentMediaType"
                    if value.is_string() =>
                {
                    out.entry(key.clone()).or_insert_with(|| value.clone());
                }
                "uniqueItems" if value.is_boolean() => {
                    out.insert(key.clone(), value.clone());
                }
                "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                    self.number(key, value, map, &mut out);
                }
                "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties"
                | "maxProperties" | "minContains" | "maxContains" => {
                    match value.as_u64().or_else(|| whole(value)) {
                        Some(count) => {
                            out.insert(key.clone(), Value::from(count));
                        }
                        None => self.note(format!("`{key}` is no count: left out")),
                    }
                }
                "dependentRequired" => {
                    let fine = |list: &Value| {
                        list.as_array()
                            .is_some_and(|list| list.iter().all(Value::is_string))
                    };
                    if value.as_object().is_some_and(|map| map.values().all(fine)) {
                        out.insert(key.clone(), value.clone());
                    }
                }
                // Unknown words mean nothing to a validator.
                _ => {}
            }
        }
        describe_discriminator(map, &mut out);
        if let Some(Value::Array(parts)) = out.get("allOf").cloned() {
            let mut rest = out.clone();
            rest.remove("allOf");
            let mut all = parts;
            all.push(Value::Object(rest));
            if let Some(Value::Object(merged)) = merge_all(all) {
                out = merged;
            }
        }
        let schema = Value::Object(out);
        if self.is_nullable(map) {
            or_null(schema)
        } else {
            schema
        }
    }

    fn properties(&mut self, value: &'d Value, out: &mut Map<String, Value>, depth: usize) {
        let Value::Object(map) = value else {
            self.note("`properties` is no object: left out");
            return;
        };
        let hidden = match self.side {
            Side::Request => "readOnly",
            Side::Reply => "writeOnly",
        };
        let mut properties = Map::new();
        for (name, schema) in map {
            let plain = self.document.follow(schema).unwrap_or(schema);
            let hides = |schema: &Value| schema.get(hidden).and_then(Value::as_bool) == Some(true);
            if hides(schema) || hides(plain) {
                continue;
            }
            properties.insert(name.clone(), self.schema(schema, depth));
        }
        out.insert("properties".to_owned(), Value::Object(properties));
    }

    fn required(&mut self, value: &Value, map: &Map<String, Value>, out: &mut Map<String, Value>) {
        let Some(list) = value.as_array() else {
            // `required: true` on a property is a habit of JSON Schema draft 3.
            if !value.is_boolean() {
                self.note("`required` is no list of names: left out");
            }
            return;
        };
        let mut names: Vec<&str> = Vec::new();
        for name in list.iter().filter_map(Value::as_str) {
            // Described, but not on this side.
            let has = |of: Option<&Value>| of.is_some_and(|of| of.get(name).is_some());
            let hidden = has(map.get("properties")) && !has(out.get("properties"));
            if !names.contains(&name) && !hidden {
                names.push(name);
            }
        }
        if !names.is_empty() {
            out.insert("required".to_owned(), Value::from(names));
        }
    }

    fn words(&mut self, value: &Value, map: &Map<String, Value>, out: &mut Map<String, Value>) {
        let Some(list) = value.as_array().filter(|list| !list.is_empty()) else {
            self.note("an `enum` lists nothing: left out");
            return;
        };
        let mut words: Vec<Value> = Vec::new();
        for word in list {
            // YAML reads unquoted words as truth values and numbers; the type says what was meant.
            let word = match (map.get("type").and_then(Value::as_str), word) {
                (Some("string"), Value::Bool(_) | Value::Number(_)) => {
                    Value::from(word.to_string())
                }
                _ => word.clone(),
            };
            if !words.contains(&word) {
                words.push(word);
            }
        }
        out.insert("enum".to_owned(), Value::Array(words));
    }

    fn number(
        &mut self,
        key: &str,
        value: &Value,
        map: &Map<String, Value>,
        out: &mut Map<String, Value>,
    ) {
        let exclusive = |bound: &str| map.get(bound).and_then(Value::as_bool) == Some(true);
        match (key, value) {
            ("multipleOf", Value::Number(number)) if !number.as_f64().is_some_and(|n| n > 0.0) => {
                self.note("`multipleOf` is not above 0: left out");
            }
            ("minimum", Value::Number(_)) if exclusive("exclusiveMinimum") => {
                out.insert("exclusiveMinimum".to_owned(), value.clone());
            }
            ("maximum", Value::Number(_)) if exclusive("exclusiveMaximum") => {
                out.insert("exclusiveMaximum".to_owned(), value.clone());
            }
            (_, Value::Number(_)) => {
                out.insert(key.to_owned(), value.clone());
            }
            ("exclusiveMinimum" | "exclusiveMaximum", Value::Bool(_)) => {}
            (_, Value::String(text)) if text.parse::<f64>().is_ok_and(f64::is_finite) => {
                let number = text
                    .parse::<f64>()
                    .ok()
                    .and_then(serde_json::Number::from_f64);
                out.extend(number.map(|number| (key.to_owned(), Value::Number(number))));
            }
            _ => self.note(format!("`{key}` is no number: left out")),
        }
    }
}

/// The property that tells variants apart, in the description.
fn describe_discriminator(map: &Map<String, Value>, out: &mut Map<String, Value>) {
    let name = match map.get("discriminator") {
        Some(Value::String(name)) => name.as_str(),
        Some(Value::Object(object)) => match object.get("propertyName") {
            Some(Value::String(name)) => name.as_str(),
            _ => return,
        },
        _ => return,
    };
    let words = match out.get("description").and_then(Value::as_str) {
        Some(words) => format!("{words}\nThe property `{name}` tells the variants apart."),
        None => format!("The property `{name}` tells the variants apart."),
    };
    out.insert("description".to_owned(), Value::from(words));
}

fn is_leaf(map: &Map<String, Value>) -> bool {
    let inner = [
        "properties",
        "items",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "additionalProperties",
        "patternProperties",
        "prefixItems",
    ];
    !inner.iter().any(|key| map.contains_key(*key))
}

/// 2.0 is a whole number too.
fn whole(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    let fits = number >= 0.0 && number.fract() == 0.0 && number < 9.0e15;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, and below 2^53"
    )]
    fits.then_some(number as u64)
}

/// The first line, at most 120 characters.
fn first_words(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(120)
        .collect()
}

/// The schema, or null.
#[must_use]
pub fn or_null(schema: Value) -> Value {
    let Value::Object(mut map) = schema else {
        return schema;
    };
    match map.get("type") {
        Some(Value::String(kind)) if kind != "null" => {
            let kinds = vec![kind.clone(), "null".to_owned()];
            map.insert("type".to_owned(), Value::from(kinds));
        }
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.clone();
            if !kinds.contains(&Value::from("null")) {
                kinds.push(Value::from("null"));
            }
            map.insert("type".to_owned(), Value::Array(kinds));
        }
        Some(_) => {}
        None if map.contains_key("enum") => {}
        None => {
            let union = ["allOf", "anyOf", "oneOf", "not", "const", "if"];
            if !union.iter().any(|key| map.contains_key(*key)) {
                return Value::Object(map);
            }
            let description = map.remove("description");
            let mut out = Map::new();
            let null = json!({ "type": "null" });
            match map.remove("anyOf") {
                Some(Value::Array(mut list)) if map.is_empty() => {
                    if !list.contains(&null) {
                        list.push(null);
                    }
                    out.insert("anyOf".to_owned(), Value::Array(list));
                }
                any => {
                    if let Some(any) = any {
                        map.insert("anyOf".to_owned(), any);
                    }
                    out.insert(
                        "anyOf".to_owned(),
                        Value::Array(vec![Value::Object(map), null]),
                    );
                }
            }
            out.extend(description.map(|text| ("description".to_owned(), text)));
            return Value::Object(out);
        }
    }
    if let Some(Value::Array(words)) = map.get_mut("enum")
        && !words.contains(&Value::Null)
    {
        words.push(Value::Null);
    }
    if let Some(constant) = map.remove("const") {
        map.insert("enum".to_owned(), json!([constant, null]));
    }
    let unions: Vec<Value> = ["allOf", "anyOf", "oneOf"]
        .iter()
        .filter_map(|key| map.remove(*key).map(|list| json!({ *key: list })))
        .collect();
    if unions.is_empty() {
        return Value::Object(map);
    }
    // A union beside a type would still refuse null.
    let description = map.remove("description");
    let mut plain = map;
    if let Some(Value::Array(kinds)) = plain.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            plain.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = plain.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    for union in unions {
        if let Value::Object(union) = union {
            plain.extend(union);
        }
    }
    let mut out = Map::new();
    out.insert(
        "anyOf".to_owned(),
        json!([Value::Object(plain), { "type": "null" }]),
    );
    out.extend(description.map(|text| ("description".to_owned(), text)));
    Value::Object(out)
}

/// One object schema that says what all of `parts` say together, where that can be said without a
/// union: their properties and requirements. `None` where parts disagree or are no plain objects.
#[must_use]
pub fn merge_all(parts: Vec<Value>) -> Option<Value> {
    let mut out = Map::new();
    let mut properties = Map::new();
    let mut required: Vec<Value> = Vec::new();
    let mut closed = false;
    let count = parts
        .iter()
        .filter(|part| part.as_object().is_some_and(|p| !p.is_empty()))
        .count();
    for part in parts {
        let Value::Object(mut part) = part else {
            return None;
        };
        if let Some(Value::Object(own)) = part.remove("properties") {
            for (name, schema) in own {
                match properties.get(&name) {
                    None => {
                        properties.insert(name, schema);
                    }
                    Some(known) => {
                        let both = narrower(known, &schema)?;
                        properties.insert(name, both);
                    }
                }
            }
        }
        if let Some(Value::Array(own)) = part.remove("required") {
            for name in own {
                if !required.contains(&name) {
                    required.push(name);
                }
            }
        }
        if part.get("additionalProperties") == Some(&Value::Bool(false)) {
            // Closed against what the other parts add: nothing would be accepted.
            closed = true;
        }
        for (key, value) in part {
            match out.get(&key) {
                None => {
                    out.insert(key, value);
                }
                Some(known) if *known == value => {}
                // The last word is the nearest: parts come before what stands beside them.
                Some(_)
                    if ["description", "title", "examples", "default"].contains(&key.as_str()) =>
                {
                    out.insert(key, value);
                }
                Some(_) => return None,
            }
        }
    }
    if closed && count > 1 {
        return None;
    }
    if !properties.is_empty() {
        out.insert("properties".to_owned(), Value::Object(properties));
        if !out.contains_key("type") {
            out.insert("type".to_owned(), Value::from("object"));
        }
    }
    if !required.is_empty() {
        out.insert("required".to_owned(), Value::Array(required));
    }
    Some(Value::Object(out))
}

/// Of two schemas of one property, the one that says more; `None` if neither contains the other.
fn narrower(one: &Value, other: &Value) -> Option<Value> {
    let (Value::Object(a), Value::Object(b)) = (one, other) else {
        return None;
    };
    let words = ["description", "title", "examples", "default"];
    let says = |map: &Map<String, Value>, key: &str, value: &Value| map.get(key) == Some(value);
    let within = |small: &Map<String, Value>, large: &Map<String, Value>| {
        small
            .iter()
            .filter(|(key, _)| !words.contains(&key.as_str()))
            .all(|(key, value)| says(large, key, value))
    };
    let (mut more, less) = if within(a, b) {
        (b.clone(), a)
    } else if within(b, a) {
        (a.clone(), b)
    } else {
        return None;
    };
    for key in words {
        if let (None, Some(value)) = (more.get(key), less.get(key)) {
            more.insert(key.to_owned(), value.clone());
        }
    }
    Some(Value::Object(more))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conversion of `schema` in a document of `version` with `defs` under `/defs`.
    fn converted(version: &str, schema: &Value, defs: &Value) -> (Value, Vec<String>) {
        let key = if version == "2.0" {
            "swagger"
        } else {
            "openapi"
        };
        let root = json!({ key: version, "paths": {}, "defs": defs, "it": schema });
        let document = Document::parse(root.to_string().as_bytes()).unwrap();
        let mut converter = Converter::new(&document, Side::Request);
        let made = converter.convert(&document.root["it"]);
        assert!(jsonschema::draft202012::meta::is_valid(&made), "{made}");
        (made, converter.into_notes())
    }

    fn v3(schema: &Value) -> Value {
        converted("3.0.3", schema, &json!({})).0
    }

    fn v31(schema: &Value) -> Value {
        converted("3.1.0", schema, &json!({})).0
    }

    #[test]
    fn nullable_in_every_dialect() {
        for (schema, want) in [
            (
                json!({ "type": "string", "nullable": true }),
                json!({ "type": ["string", "null"] }),
            ),
            (
                json!({ "type": "string", "nullable": true, "enum": ["a"] }),
                json!({ "type": ["string", "null"], "enum": ["a", null] }),
            ),
            (
                json!({ "nullable": true, "oneOf": [{ "type": "string" }, { "type": "integer" }] }),
                json!({ "anyOf": [{ "oneOf": [{ "type": "string" }, { "type": "integer" }] }, { "type": "null" }] }),
            ),
            (
                json!({ "nullable": true, "anyOf": [{ "type": "string" }] }),
                json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
            ),
            (
                json!({ "type": "object", "nullable": true, "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] }),
                json!({ "anyOf": [{ "type": "object", "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] }, { "type": "null" }] }),
            ),
        ] {
            assert_eq!(v3(&schema), want, "{schema}");
        }
        let (made, _) = converted(
            "2.0",
            &json!({ "type": "string", "x-nullable": true }),
            &json!({}),
        );
        assert_eq!(made, json!({ "type": ["string", "null"] }));
        assert_eq!(
            v31(&json!({ "type": ["string", "null"] })),
            json!({ "type": ["string", "null"] })
        );
        // What accepts anything accepts null.
        assert_eq!(v3(&json!({ "nullable": true })), json!({}));
    }

    #[test]
    fn a_nullable_reference_may_be_null() {
        let defs =
            json!({ "pet": { "type": "object", "properties": { "name": { "type": "string" } } } });
        let (made, _) = converted(
            "3.0.0",
            &json!({ "allOf": [{ "$ref": "#/defs/pet" }], "nullable": true }),
            &defs,
        );
        assert_eq!(
            made,
            json!({ "type": ["object", "null"], "properties": { "name": { "type": "string" } } })
        );
    }

    #[test]
    fn bounds_examples_and_lists_become_those_of_2020() {
        assert_eq!(
            v3(
                &json!({ "type": "integer", "minimum": 0, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false })
            ),
            json!({ "type": "integer", "exclusiveMinimum": 0, "maximum": 9 })
        );
        assert_eq!(
            v31(&json!({ "type": "integer", "exclusiveMinimum": 3 })),
            json!({ "type": "integer", "exclusiveMinimum": 3 })
        );
        assert_eq!(
            v3(
                &json!({ "type": "string", "example": "x", "format": "uuid", "x-go": 1, "xml": {}, "externalDocs": {} })
            ),
            json!({ "type": "string", "examples": ["x"], "format": "uuid" })
        );
        assert_eq!(
            v31(&json!({ "type": "array", "items": [{ "type": "string" }] })),
            json!({ "type": "array", "prefixItems": [{ "type": "string" }] })
        );
        assert_eq!(v31(&json!(true)), json!({}));
        assert_eq!(v31(&json!(false)), json!({ "not": {} }));
        assert_eq!(
            v31(&json!({ "const": 3, "examples": [3] })),
            json!({ "const": 3, "examples": [3] })
        );
        assert_eq!(
            v3(&json!({ "properties": { "a": { "type": "file" } } })),
            json!({ "type": "object", "properties": { "a": { "type": "string", "format": "binary" } } })
        );
    }

    #[test]
    fn parts_of_all_of_are_merged_where_they_agree() {
        let a = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] });
        let b = json!({ "properties": { "b": { "type": "integer" } }, "required": ["b"] });
        assert_eq!(
            v3(&json!({ "allOf": [a, b], "description": "both" })),
            json!({
                "type": "object",
                "description": "both",
                "properties": { "a": { "type": "string" }, "b": { "type": "integer" } },
                "required": ["a", "b"],
            })
        );
        // Closed against each other: nothing would fit, and that is not ours to change.
        let closed =
            json!({ "type": "object", "properties": { "b": {} }, "additionalProperties": false });
        assert!(v3(&json!({ "allOf": [a, closed] })).get("allOf").is_some());
        let other = json!({ "properties": { "a": { "type": "integer" } } });
        assert!(v3(&json!({ "allOf": [a, other] })).get("allOf").is_some());
        let more = json!({ "properties": { "a": { "type": "string", "maxLength": 3 } } });
        assert_eq!(
            v3(&json!({ "allOf": [a, more] }))["properties"]["a"],
            json!({ "type": "string", "maxLength": 3 })
        );
    }

    #[test]
    fn discriminators_become_words() {
        let made = v3(
            &json!({ "oneOf": [{ "type": "object" }], "discriminator": { "propertyName": "kind" } }),
        );
        assert_eq!(
            made["description"],
            "The property `kind` tells the variants apart."
        );
        assert!(made.get("discriminator").is_none());
    }

    #[test]
    fn what_goes_one_way_only_is_left_out_on_the_other() {
        let schema = json!({
            "type": "object",
            "properties": {
                "id": { "type": "integer", "readOnly": true },
                "password": { "type": "string", "writeOnly": true },
                "name": { "type": "string" },
            },
            "required": ["id", "name", "password"],
        });
        let root = json!({ "openapi": "3.0.0", "paths": {}, "it": schema });
        let document = Document::parse(root.to_string().as_bytes()).unwrap();
        let of = |side| Converter::new(&document, side).convert(&document.root["it"]);
        let names = |made: &Value| {
            made["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&of(Side::Request)), ["name", "password"]);
        assert_eq!(of(Side::Request)["required"], json!(["name", "password"]));
        assert_eq!(names(&of(Side::Reply)), ["id", "name"]);
    }

    #[test]
    fn cycles_are_cut_with_a_note() {
        let defs = json!({ "node": { "type": "object", "properties": { "next": { "$ref": "#/defs/node" }, "v": { "type": "integer" } } } });
        let (made, notes) = converted("3.0.0", &json!({ "$ref": "#/defs/node" }), &defs);
        let second = &made["properties"]["next"];
        assert_eq!(second["properties"]["v"], json!({ "type": "integer" }));
        assert_eq!(
            second["properties"]["next"],
            json!({ "type": "object", "description": "(Not shown further: any value of this kind.)" })
        );
        insta::assert_snapshot!(notes.join("\n"), @"`#/defs/node` contains itself: cut at level 2, where it accepts anything");
        // A reference to itself alone ends too.
        let (made, notes) = converted(
            "3.0.0",
            &json!({ "$ref": "#/defs/a" }),
            &json!({ "a": { "$ref": "#/defs/a" } }),
        );
        assert_eq!(made["type"], Value::Null);
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn what_grows_without_bound_is_cut_at_the_depth_that_fits() {
        // 30 objects, each of which has all others as properties: 30^n at depth n.
        let names: Vec<String> = (0..30).map(|n| format!("d{n}")).collect();
        let properties: Map<String, Value> = names
            .iter()
            .map(|name| (name.clone(), json!({ "$ref": format!("#/defs/{name}") })))
            .collect();
        let defs: Map<String, Value> = names
            .iter()
            .map(|name| {
                (
                    name.clone(),
                    json!({ "type": "object", "properties": properties }),
                )
            })
            .collect();
        let (made, notes) = converted("3.0.0", &json!({ "$ref": "#/defs/d0" }), &json!(defs));
        assert_eq!(made["properties"].as_object().unwrap().len(), 30);
        assert!(crate::env::tools::cut::size(&made) < 300_000);
        insta::assert_snapshot!(notes.join("\n"), @"a schema was cut at depth 1: what lies deeper accepts anything");
    }

    #[test]
    fn nonsense_is_left_out_with_a_note() {
        let (made, notes) = converted(
            "3.0.0",
            &json!({
                "type": "strng",
                "minLength": -1,
                "maxLength": "x",
                "minimum": "3",
                "maximum": {},
                "multipleOf": 0,
                "enum": [],
                "required": "yes",
                "items": 3,
                "allOf": [],
                "properties": { "a": { "type": "int" }, "b": 3, "c": { "$ref": "#/nowhere" }, "d": { "$ref": "other.yaml#/x" } },
            }),
            &json!({}),
        );
        assert_eq!(
            made,
            json!({ "minimum": 3.0, "properties": { "a": { "type": "integer" }, "b": {}, "c": {}, "d": {} } })
        );
        insta::assert_snapshot!(notes.join("\n"), @r#"
        `#/nowhere` leads nowhere: it accepts anything
        `int` is no type: read as `integer`
        `items` is no schema: items may be anything
        `maxLength` is no count: left out
        `maximum` is no number: left out
        `minLength` is no count: left out
        `multipleOf` is not above 0: left out
        `other.yaml#/x` is in another document, which is not read: it accepts anything
        `required` is no list of names: left out
        `strng` is no type: anything is accepted
        an `enum` lists nothing: left out
        something that is no schema stands in a schema's place: it accepts anything
        "#);
    }

    #[test]
    fn words_beside_a_reference_count() {
        let defs = json!({ "pet": { "type": "string", "description": "old" } });
        let schema = json!({ "$ref": "#/defs/pet", "description": "new", "default": "x" });
        let (made, _) = converted("3.0.0", &schema, &defs);
        assert_eq!(
            made,
            json!({ "type": "string", "description": "new", "default": "x" })
        );
        let (made, _) = converted(
            "3.1.0",
            &json!({ "$ref": "#/defs/pet", "maxLength": 3 }),
            &defs,
        );
        assert_eq!(
            made,
            json!({ "type": "string", "description": "old", "maxLength": 3 })
        );
    }

    #[test]
    fn enums_keep_their_type() {
        assert_eq!(
            v3(&json!({ "type": "string", "enum": [true, "maybe", 3, "maybe"] })),
            json!({ "type": "string", "enum": ["true", "maybe", "3"] })
        );
    }
}
