//! From arguments to a request, by the plan.
//!
//! Path variables cannot leave their segment: an empty one, `.` and `..` are refused, everything
//! that is not unreserved is percent-encoded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use url::Url;

use super::{Body, BodyEncoding, BodyShape, Part, Place, Plan, Slot, Style};
use crate::types::Rejection;

/// RFC 3986: unreserved characters stay.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `allowReserved`: also those reserved characters that do not end a parameter.
const RESERVED: &AsciiSet = &COMPONENT
    .remove(b':')
    .remove(b'/')
    .remove(b'?')
    .remove(b'[')
    .remove(b']')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';');

/// Names: brackets and dollars are written as they are everywhere (`ids[]`, `$top`).
const NAME: &AsciiSet = &COMPONENT.remove(b'[').remove(b']').remove(b'$');

/// A request, complete but for what the session adds: auth, its headers, its cookies.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// Absolute.
    pub url: Url,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// `name=value` pairs.
    pub cookies: Vec<String>,
    /// The body.
    pub body: Payload,
}

/// A request's body.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// None.
    Empty,
    /// Text or bytes with their media type.
    Bytes {
        /// The media type.
        media: String,
        /// The body.
        bytes: Vec<u8>,
    },
    /// `multipart/form-data`.
    Multipart(Vec<FormPart>),
}

/// A part of a form.
#[derive(Debug, Clone, PartialEq)]
pub struct FormPart {
    /// Its name.
    pub name: String,
    /// Its media type, if it has one of its own.
    pub media: Option<String>,
    /// Whether it is sent as a file.
    pub file: bool,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Builds the request of a call with valid arguments.
///
/// # Errors
/// [`Rejection`] for values that have no place in a request (an empty path variable, a line break in
/// a header, no base64), and for a tool without an address.
pub fn build(plan: &Plan, arguments: &Map<String, Value>) -> Result<Request, Rejection> {
    if plan.base.is_empty() {
        return Err(Rejection::new(
            "the document names no server: the registry must give a `base_url`",
        ));
    }
    let value = |slot: &Slot| arguments.get(&slot.argument);
    let path = path(plan, &value)?;
    let mut query: Vec<String> = Vec::new();
    let (mut headers, mut cookies) = (Vec::new(), Vec::new());
    for slot in &plan.slots {
        let Some(value) = value(slot) else { continue };
        match slot.place {
            Place::Path => {}
            Place::Query => query.extend(pairs(slot, value)),
            Place::Header => {
                let text = plain(slot, value);
                if text.contains(|c: char| c.is_control()) || !text.is_ascii() {
                    return Err(Rejection::new(format!(
                        "`/{}`: a header takes printable ASCII only",
                        slot.argument
                    )));
                }
                headers.push((slot.name.to_ascii_lowercase(), text));
            }
            Place::Cookie => cookies.extend(pairs(slot, value)),
        }
    }
    let (path, fixed) = path.split_once('?').unwrap_or((&path, ""));
    let mut text = format!("{}{path}", plan.base);
    let mut parts: Vec<&str> = Vec::new();
    if !fixed.is_empty() {
        parts.push(fixed);
    }
    parts.extend(query.iter().map(String::as_str));
    if !parts.is_empty() {
        text.push('?');
        text.push_str(&parts.join("&"));
    }
    let url = Url::parse(&text)
        .map_err(|error| Rejection::new(format!("`{text}` is no URL: {error}; see `base_url`")))?;
    let body = match &plan.body {
        None => Payload::Empty,
        Some(body) => payload(body, arguments)?,
    };
    Ok(Request {
        method: plan.method.clone(),
        url,
        headers,
        cookies,
        body,
    })
}

fn path<'a>(
    plan: &'a Plan,
    value: &dyn Fn(&'a Slot) -> Option<&'a Value>,
) -> Result<String, Rejection> {
    // What follows `#` in a template only tells operations apart: it is never sent.
    let template = plan.path.split('#').next().unwrap_or_default();
    let mut out = String::new();
    if !template.starts_with('/') {
        out.push('/');
    }
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        out.push_str(before);
        let slot = plan
            .slots
            .iter()
            .find(|slot| slot.place == Place::Path && slot.name == name);
        let text = match slot.and_then(|slot| value(slot).map(|value| (slot, value))) {
            Some((slot, value)) => segment(slot, value)?,
            None => return Err(Rejection::new(format!("the path needs `{name}`"))),
        };
        out.push_str(&text);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// A path variable, spelt.
fn segment(slot: &Slot, value: &Value) -> Result<String, Rejection> {
    let encode = |text: &str| utf8_percent_encode(text, COMPONENT).to_string();
    let name = encode(&slot.name);
    let text = if slot.json {
        encode(&value.to_string())
    } else {
        let style = slot.style;
        match value {
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| encode(&word(item))).collect();
                match (style, slot.explode) {
                    (Style::Label, true) => format!(".{}", items.join(".")),
                    (Style::Label, false) => format!(".{}", items.join(",")),
                    (Style::Matrix, true) => {
                        format!(";{name}={}", items.join(&format!(";{name}=")))
                    }
                    (Style::Matrix, false) => format!(";{name}={}", items.join(",")),
                    _ => items.join(","),
                }
            }
            Value::Object(map) => {
                let members: Vec<(String, String)> = map
                    .iter()
                    .map(|(key, item)| (encode(key), encode(&word(item))))
                    .collect();
                let joined = |between: &str, after: &str| {
                    let members = members
                        .iter()
                        .map(|(key, item)| format!("{key}{between}{item}"));
                    members.collect::<Vec<_>>().join(after)
                };
                match (style, slot.explode) {
                    (Style::Label, true) => format!(".{}", joined("=", ".")),
                    (Style::Label, false) => format!(".{}", joined(",", ",")),
                    (Style::Matrix, true) => format!(";{}", joined("=", ";")),
                    (Style::Matrix, false) => format!(";{name}={}", joined(",", ",")),
                    (_, true) => joined("=", ","),
                    (_, false) => joined(",", ","),
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let text = encode(&word(value));
                match style {
                    _ if text.is_empty() => text,
                    Style::Label => format!(".{text}"),
                    Style::Matrix => format!(";{name}={text}"),
                    _ => text,
                }
            }
        }
    };
    // `.` and `..` mean other paths, percent-encoded or not.
    if matches!(text.as_str(), "" | "." | "..") {
        return Err(Rejection::new(format!(
            "`/{}`: a path variable cannot be {text:?}",
            slot.argument
        )));
    }
    Ok(text)
}

/// A scalar as it stands in a URL; anything deeper as JSON.
fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// `name=value` pairs of a query or cookie, spelt and encoded.
fn pairs(slot: &Slot, value: &Value) -> Vec<String> {
    let set = if slot.allow_reserved {
        RESERVED
    } else {
        COMPONENT
    };
    let encode = |text: &str| utf8_percent_encode(text, set).to_string();
    let name = encode_name(&slot.name);
    if slot.json {
        return vec![format!("{name}={}", encode(&value.to_string()))];
    }
    spelt(slot.style, slot.explode, &name, value, &encode)
}

fn encode_name(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

fn spelt(
    style: Style,
    explode: bool,
    name: &str,
    value: &Value,
    encode: &dyn Fn(&str) -> String,
) -> Vec<String> {
    let between = match style {
        Style::SpaceDelimited => "%20",
        Style::PipeDelimited => "%7C",
        Style::TabDelimited => "%09",
        _ => ",",
    };
    match value {
        Value::Array(items) if items.is_empty() => Vec::new(),
        Value::Array(items) if style == Style::DeepObject || explode => {
            let items = items
                .iter()
                .map(|item| format!("{name}={}", encode(&word(item))));
            items.collect()
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| encode(&word(item))).collect();
            vec![format!("{name}={}", items.join(between))]
        }
        Value::Object(map) if style == Style::DeepObject => {
            let mut out = Vec::new();
            deep(name, map, encode, &mut out);
            out
        }
        Value::Object(map) if explode => {
            let members = map.iter();
            members
                .map(|(key, item)| format!("{}={}", encode_name(key), encode(&word(item))))
                .collect()
        }
        Value::Object(map) => {
            let members = map
                .iter()
                .flat_map(|(key, item)| [encode(key), encode(&word(item))]);
            vec![format!(
                "{name}={}",
                members.collect::<Vec<_>>().join(between)
            )]
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            vec![format!("{name}={}", encode(&word(value)))]
        }
    }
}

/// `name[key]=value`, and `name[key][inner]=value`.
fn deep(
    name: &str,
    map: &Map<String, Value>,
    encode: &dyn Fn(&str) -> String,
    out: &mut Vec<String>,
) {
    for (key, item) in map {
        let name = format!("{name}[{}]", encode(key));
        match item {
            Value::Object(inner) => deep(&name, inner, encode, out),
            Value::Array(items) => {
                out.extend(
                    items
                        .iter()
                        .map(|item| format!("{name}={}", encode(&word(item)))),
                );
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                out.push(format!("{name}={}", encode(&word(item))));
            }
        }
    }
}

/// A header's value: style `simple`.
fn plain(slot: &Slot, value: &Value) -> String {
    if slot.json {
        return value.to_string();
    }
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(word).collect();
            items.join(",")
        }
        Value::Object(map) => {
            let between = if slot.explode { "=" } else { "," };
            let members = map
                .iter()
                .map(|(key, item)| format!("{key}{between}{}", word(item)));
            members.collect::<Vec<_>>().join(",")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => word(value),
    }
}

fn payload(body: &Body, arguments: &Map<String, Value>) -> Result<Payload, Rejection> {
    let value = match &body.shape {
        BodyShape::Whole(argument) => match arguments.get(argument) {
            Some(value) => value.clone(),
            // Only an object that may be empty is needed and yet no required argument.
            None if body.required => Value::Object(Map::new()),
            None => return Ok(Payload::Empty),
        },
        BodyShape::Properties { fields, required } => {
            let mut map = Map::new();
            for field in fields {
                if let Some(value) = arguments.get(&field.argument) {
                    map.insert(field.name.clone(), value.clone());
                }
            }
            if map.is_empty() && !body.required {
                return Ok(Payload::Empty);
            }
            if let Some(missing) = required.iter().find(|name| !map.contains_key(*name)) {
                let field = fields.iter().find(|field| field.name == *missing);
                let name = field.map_or(missing.as_str(), |field| field.argument.as_str());
                return Err(Rejection::new(format!(
                    "the arguments: `{name}` is missing: a body that is given needs it"
                )));
            }
            Value::Object(map)
        }
    };
    let bytes = |bytes| Payload::Bytes {
        media: body.media.clone(),
        bytes,
    };
    Ok(match body.encoding {
        BodyEncoding::Json => bytes(value.to_string().into_bytes()),
        BodyEncoding::Text => bytes(word(&value).into_bytes()),
        BodyEncoding::Binary => bytes(decode(&word(&value), "body")?),
        BodyEncoding::Form => bytes(form(body, &value)?.into_bytes()),
        BodyEncoding::Multipart => Payload::Multipart(multipart(body, &value)?),
    })
}

fn object(value: &Value) -> Result<&Map<String, Value>, Rejection> {
    value
        .as_object()
        .ok_or_else(|| Rejection::new("`/body`: a form is an object of its fields"))
}

fn form(body: &Body, value: &Value) -> Result<String, Rejection> {
    let encode = |text: &str| utf8_percent_encode(text, COMPONENT).to_string();
    let mut out = Vec::new();
    for (name, value) in object(value)? {
        let part = body.parts.iter().find(|part| part.name == *name);
        let name = encode_name(name);
        match (
            part.and_then(|part| part.style.map(|style| (style, part.explode))),
            value,
        ) {
            (Some((style, explode)), _) => out.extend(spelt(style, explode, &name, value, &encode)),
            // Without a style, objects are JSON and lists repeat their name.
            (None, Value::Object(_)) => out.push(format!("{name}={}", encode(&value.to_string()))),
            (None, _) => out.extend(spelt(Style::Form, true, &name, value, &encode)),
        }
    }
    Ok(out.join("&"))
}

fn multipart(body: &Body, value: &Value) -> Result<Vec<FormPart>, Rejection> {
    let mut out = Vec::new();
    for (name, value) in object(value)? {
        let part = body.parts.iter().find(|part| part.name == *name);
        let delimited = part
            .and_then(|part| part.style)
            .filter(|_| !part.is_none_or(|part| part.explode));
        match value {
            Value::Array(items) if delimited.is_none() => {
                for item in items {
                    out.push(form_part(name, part, item)?);
                }
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(word).collect();
                let between = match delimited {
                    Some(Style::SpaceDelimited) => " ",
                    Some(Style::PipeDelimited) => "|",
                    Some(Style::TabDelimited) => "\t",
                    _ => ",",
                };
                out.push(form_part(name, part, &Value::from(items.join(between)))?);
            }
            _ => out.push(form_part(name, part, value)?),
        }
    }
    Ok(out)
}

fn form_part(name: &str, part: Option<&Part>, value: &Value) -> Result<FormPart, Rejection> {
    let media = part.and_then(|part| part.media.as_deref());
    // Several may be allowed: the first that is no pattern.
    let media = media
        .and_then(|all| all.split(',').map(str::trim).find(|one| !one.contains('*')))
        .map(str::to_owned);
    let file = part.is_some_and(|part| part.binary);
    let (media, bytes) = match value {
        _ if file => (media, decode(&word(value), name)?),
        Value::Object(_) | Value::Array(_) => (
            media.or_else(|| Some("application/json".to_owned())),
            value.to_string().into_bytes(),
        ),
        _ => (media, word(value).into_bytes()),
    };
    Ok(FormPart {
        name: name.to_owned(),
        media,
        file,
        bytes,
    })
}

fn decode(text: &str, name: &str) -> Result<Vec<u8>, Rejection> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    STANDARD
        .decode(compact)
        .map_err(|error| Rejection::new(format!("`/{name}`: a file is given in base64: {error}")))
}

impl Payload {
    /// As text for people: at most `most` characters; files by their size.
    #[must_use]
    pub fn shown(&self, most: usize) -> Option<String> {
        let text = match self {
            Self::Empty => return None,
            Self::Bytes { bytes, media } => match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => format!("[{} bytes of {media}]", bytes.len()),
            },
            Self::Multipart(parts) => {
                let parts = parts.iter().map(|part| {
                    let content = match std::str::from_utf8(&part.bytes) {
                        Ok(text) if !part.file => text.to_owned(),
                        _ => format!("[file of {} bytes]", part.bytes.len()),
                    };
                    format!("{}: {content}", part.name)
                });
                parts.collect::<Vec<_>>().join("\n")
            }
        };
        Some(match text.char_indices().nth(most) {
            None => text,
            Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        })
    }

    /// Its media type, where it is fixed before it is sent.
    #[must_use]
    pub fn media(&self) -> Option<&str> {
        match self {
            Self::Empty => None,
            Self::Bytes { media, .. } => Some(media),
            Self::Multipart(_) => Some("multipart/form-data"),
        }
    }
}
