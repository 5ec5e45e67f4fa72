//! What an operation sends: its body's media type, and the arguments that make it up.

use serde_json::{Value, json};

use super::operation::{Argument, Draft, collection, describe, style};
use super::schema::Converter;
use crate::env::tools::http::{Body, BodyEncoding, BodyShape, Field, Part, Place, Style};

impl<'d> Draft<'d> {
    /// The body by the parameters of 2.0: `formData` fields, or the whole one.
    pub(super) fn body_of_2(
        &self,
        form: &[&'d Value],
        whole: Option<&'d Value>,
        converter: &mut Converter<'d>,
    ) -> Option<BodyDraft> {
        let consumes = [
            self.operation.get("consumes"),
            self.document.root.get("consumes"),
        ];
        let consumes = consumes.into_iter().flatten().find_map(Value::as_array);
        let consumes = consumes.into_iter().flatten().filter_map(Value::as_str);
        let consumes: Vec<&str> = consumes.collect();
        if !form.is_empty() {
            let has_file = form
                .iter()
                .any(|field| field.get("type").and_then(Value::as_str) == Some("file"));
            let multipart = has_file
                || (consumes.iter().any(|media| media.starts_with("multipart/"))
                    && !consumes.iter().any(|media| media.ends_with("urlencoded")));
            return Some(form_of_2(form, multipart, converter));
        }
        let parameter = whole?;
        let required = parameter.get("required").and_then(Value::as_bool) == Some(true);
        let choice = pick(consumes.iter().copied());
        let (media, encoding) = choice.unwrap_or(("application/json", BodyEncoding::Json));
        let mut schema = match parameter.get("schema") {
            Some(schema) => converter.convert(schema),
            None => json!({}),
        };
        if encoding == BodyEncoding::Json {
            if let Some(words) = parameter.get("description").and_then(Value::as_str)
                && schema.get("description").is_none()
                && let Value::Object(map) = &mut schema
            {
                map.insert("description".to_owned(), Value::from(words));
            }
        } else {
            schema = plain_body(encoding, &schema, media);
        }
        Some(body(media, encoding, schema, required, Vec::new()))
    }

    /// The body by `requestBody` of 3.0 and 3.1: the media type that suits best.
    pub(super) fn body_of_3(&self, converter: &mut Converter<'d>) -> Option<BodyDraft> {
        let raw = self.operation.get("requestBody")?;
        let Some(request) = self.document.follow(raw).and_then(Value::as_object) else {
            converter.note("the request's body leads nowhere: left out");
            return None;
        };
        let content = request.get("content").and_then(Value::as_object)?;
        let Some((media, encoding)) = pick(content.keys().map(String::as_str)) else {
            converter.note("the request's body has no media type: left out");
            return None;
        };
        let entry = content.get(media);
        let required = request.get("required").and_then(Value::as_bool) == Some(true);
        if content.len() > 1 {
            converter.note(format!(
                "the body may be of {} media types: `{media}` is used",
                content.len()
            ));
        }
        let raw = entry.and_then(|entry| entry.get("schema"));
        let mut schema = raw.map_or_else(|| json!({}), |schema| converter.convert(schema));
        let mut form_parts = Vec::new();
        match encoding {
            BodyEncoding::Json => {}
            BodyEncoding::Text | BodyEncoding::Binary => {
                schema = plain_body(encoding, &schema, media);
            }
            BodyEncoding::Form | BodyEncoding::Multipart => {
                let encodings = entry.and_then(|entry| entry.get("encoding"));
                form_parts = parts(&mut schema, encodings);
            }
        }
        if let Some(words) = request.get("description").and_then(Value::as_str)
            && schema.get("description").is_none()
            && let Value::Object(map) = &mut schema
        {
            map.insert("description".to_owned(), Value::from(words));
        }
        let media = match media {
            "*/*" | "application/*" => "application/json",
            media => media,
        };
        Some(body(media, encoding, schema, required, form_parts))
    }
}

/// A body before its arguments have names.
pub(super) struct BodyDraft {
    pub(super) body: Body,
    pub(super) arguments: Vec<Argument>,
}

/// The form that the `formData` parameters of 2.0 describe.
fn form_of_2<'d>(form: &[&'d Value], multipart: bool, converter: &mut Converter<'d>) -> BodyDraft {
    let (mut arguments, mut fields, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    let mut any_required = false;
    for parameter in form {
        let text = |key: &str| parameter.get(key).and_then(Value::as_str);
        let Some(name) = text("name").filter(|name| !name.is_empty()) else {
            converter.note("a parameter has no name: left out");
            continue;
        };
        let mut schema = converter.convert(parameter);
        describe(&mut schema, parameter);
        let binary = text("type") == Some("file");
        if binary {
            encode_binary(&mut schema);
        }
        let (style, explode) = collection(text("collectionFormat"), Place::Query);
        let required = parameter.get("required").and_then(Value::as_bool) == Some(true);
        any_required |= required;
        parts.push(Part {
            name: name.to_owned(),
            media: None,
            binary,
            style: Some(style),
            explode,
        });
        fields.push(Field {
            argument: String::new(),
            name: name.to_owned(),
        });
        arguments.push(Argument {
            wire: name.to_owned(),
            place: None,
            schema,
            required,
        });
    }
    let (media, encoding) = if multipart {
        ("multipart/form-data", BodyEncoding::Multipart)
    } else {
        ("application/x-www-form-urlencoded", BodyEncoding::Form)
    };
    BodyDraft {
        body: Body {
            media: media.to_owned(),
            encoding,
            shape: BodyShape::Properties {
                fields,
                required: Vec::new(),
            },
            required: any_required,
            parts,
        },
        arguments,
    }
}

/// How each property of a form is written.
fn parts(schema: &mut Value, encodings: Option<&Value>) -> Vec<Part> {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    let mut parts = Vec::new();
    for (name, property) in properties.into_iter().flatten() {
        let own = encodings
            .and_then(|all| all.get(name))
            .and_then(Value::as_object);
        let text = |key: &str| own.and_then(|own| own.get(key)).and_then(Value::as_str);
        let chosen = style(text("style"));
        let explode = own
            .and_then(|own| own.get("explode"))
            .and_then(Value::as_bool);
        let binary = is_binary(property);
        if binary {
            encode_binary(property);
        }
        parts.push(Part {
            name: name.clone(),
            media: text("contentType").map(str::to_owned),
            binary,
            style: chosen,
            explode: explode.unwrap_or(chosen == Some(Style::Form)),
        });
    }
    parts
}

fn body(
    media: &str,
    encoding: BodyEncoding,
    schema: Value,
    required: bool,
    parts: Vec<Part>,
) -> BodyDraft {
    let made = |shape, arguments| BodyDraft {
        body: Body {
            media: media.to_owned(),
            encoding,
            shape,
            required,
            parts,
        },
        arguments,
    };
    if !is_plain_object(&schema) {
        let argument = Argument {
            wire: "body".to_owned(),
            place: None,
            required: required && !may_be_empty(encoding, &schema),
            schema,
        };
        return made(BodyShape::Whole(String::new()), vec![argument]);
    }
    let names = |key: &str| -> Vec<String> {
        let list = schema.get(key).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let needed = names("required");
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut fields = Vec::new();
    let mut arguments = Vec::new();
    for (name, property) in properties.into_iter().flatten() {
        fields.push(Field {
            argument: String::new(),
            name: name.clone(),
        });
        arguments.push(Argument {
            wire: name.clone(),
            place: None,
            schema: property.clone(),
            required: required && needed.contains(name),
        });
    }
    let shape = BodyShape::Properties {
        fields,
        required: if required { Vec::new() } else { needed },
    };
    made(shape, arguments)
}

/// Whether the body is an object that nothing has to be in: where it is not given, `{}` is sent.
fn may_be_empty(encoding: BodyEncoding, schema: &Value) -> bool {
    let asks = [
        "required",
        "minProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "enum",
        "const",
        "dependentRequired",
    ];
    encoding == BodyEncoding::Json
        && schema["type"] == "object"
        && asks.iter().all(|key| schema.get(key).is_none())
}

/// An object whose properties say everything about it.
fn is_plain_object(schema: &Value) -> bool {
    let Some(map) = schema.as_object() else {
        return false;
    };
    let has_properties = map
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|properties| !properties.is_empty());
    let closed = matches!(
        map.get("additionalProperties"),
        None | Some(Value::Bool(false))
    );
    let known = [
        "type",
        "properties",
        "required",
        "description",
        "title",
        "examples",
        "default",
        "additionalProperties",
    ];
    map.get("type").and_then(Value::as_str) == Some("object")
        && has_properties
        && closed
        && map.keys().all(|key| known.contains(&key.as_str()))
}

/// The media type to use among several: JSON, then forms, then text, then anything.
pub(super) fn pick<'a>(media: impl Iterator<Item = &'a str>) -> Option<(&'a str, BodyEncoding)> {
    let rank = |media: &str| {
        let bare = media
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match bare.as_str() {
            "application/json" => (0, BodyEncoding::Json),
            json if json.ends_with("+json") || json.ends_with("/json") => (1, BodyEncoding::Json),
            "*/*" | "application/*" => (2, BodyEncoding::Json),
            "application/x-www-form-urlencoded" => (3, BodyEncoding::Form),
            form if form.starts_with("multipart/") => (4, BodyEncoding::Multipart),
            "text/plain" => (5, BodyEncoding::Text),
            text if text.starts_with("text/") || text.ends_with("xml") => (6, BodyEncoding::Text),
            yaml if yaml.ends_with("yaml") || yaml.ends_with("graphql") => (6, BodyEncoding::Text),
            json if json.contains("json") => (7, BodyEncoding::Json),
            _ => (8, BodyEncoding::Binary),
        }
    };
    media
        .map(|media| (rank(media), media))
        .min_by_key(|((rank, _), _)| *rank)
        .map(|((_, encoding), media)| (media, encoding))
}

/// The schema of a body that is text or bytes.
fn plain_body(encoding: BodyEncoding, schema: &Value, media: &str) -> Value {
    let words = schema.get("description").and_then(Value::as_str);
    let mut out = json!({ "type": "string" });
    let words = match encoding {
        BodyEncoding::Binary => {
            out["contentEncoding"] = Value::from("base64");
            words.map_or_else(
                || format!("The body ({media}), in base64."),
                |w| format!("{w} (in base64)"),
            )
        }
        _ => words.map_or_else(|| format!("The body as text ({media})."), str::to_owned),
    };
    out["description"] = Value::from(words);
    out
}

fn is_binary(schema: &Value) -> bool {
    let text =
        |schema: &Value, key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
    let one = |schema: &Value| text(schema, "format").as_deref() == Some("binary");
    one(schema) || schema.get("items").is_some_and(one)
}

/// A file is given in base64.
fn encode_binary(schema: &mut Value) {
    let at = if schema.get("items").is_some() {
        &mut schema["items"]
    } else {
        schema
    };
    if let Value::Object(map) = at {
        map.insert("contentEncoding".to_owned(), Value::from("base64"));
        let words = map
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or("A file");
        let words = format!("{} (in base64)", words.trim_end_matches('.'));
        map.insert("description".to_owned(), Value::from(words));
    }
}
