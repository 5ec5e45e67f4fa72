//! Operations of a document become tools.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::body::pick;
use super::schema::{Converter, Side};
use super::{Document, Version};
use crate::env::tools::http::{BodyShape, Place, Plan, Slot, Style};
use crate::env::tools::{Access, Binding, Tool, names};

/// The methods, in the order in which a path's operations are listed.
const METHODS: [&str; 9] = [
    "get", "head", "options", "trace", "query", "post", "put", "patch", "delete",
];

/// Most schemas of a reply's description.
const REPLY_NODES: usize = 200;

/// What the registry says about a conversion.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name of the source.
    pub source: String,
    /// Put before every name.
    pub prefix: String,
    /// In place of the document's servers.
    pub base_url: Option<String>,
    /// Where the document came from, for servers that are relative to it.
    pub document_url: Option<String>,
    /// Values of server variables.
    pub variables: BTreeMap<String, String>,
    /// Parameters that the registry fills in itself (its auth and headers): no arguments.
    pub provided: Vec<(Place, String)>,
}

/// A converted document.
#[derive(Debug, Clone, Default)]
pub struct Converted {
    /// Its tools, by path and method.
    pub tools: Vec<Tool>,
    /// What is odd about the document as a whole.
    pub notes: Vec<String>,
}

/// Makes a tool of every operation.
#[must_use]
pub fn convert(document: &Document, options: &Options) -> Converted {
    let mut notes = BTreeSet::new();
    let mut drafts = Vec::new();
    let no_paths = Map::new();
    let paths = document.root.get("paths").and_then(Value::as_object);
    for (path, item) in paths.unwrap_or(&no_paths) {
        if path.starts_with("x-") {
            continue;
        }
        let Some(item) = document.follow(item).and_then(Value::as_object) else {
            notes.insert(format!("the path `{path}` is no object: left out"));
            continue;
        };
        for method in METHODS {
            match item.get(method) {
                None | Some(Value::Null) => {}
                Some(Value::Object(operation)) => {
                    let draft = Draft {
                        document,
                        options,
                        path,
                        method,
                        item,
                        operation,
                    };
                    drafts.push(draft.tool());
                }
                Some(_) => {
                    notes.insert(format!(
                        "`{} {path}` is no object: left out",
                        method.to_ascii_uppercase()
                    ));
                }
            }
        }
    }
    let wishes: Vec<(String, String)> = drafts.iter().map(|draft| draft.1.clone()).collect();
    let names = names::unique(&wishes);
    let mut tools = Vec::with_capacity(drafts.len());
    for ((mut tool, _), name) in drafts.into_iter().zip(names) {
        tool.name = name;
        tools.push(tool);
    }
    if tools.is_empty() {
        notes.insert("there is no operation in it".to_owned());
    }
    if document.root.get("webhooks").is_some() {
        notes.insert("webhooks are calls to us: no tools".to_owned());
    }
    Converted {
        tools,
        notes: notes.into_iter().collect(),
    }
}

/// One operation while it is converted.
pub(super) struct Draft<'d> {
    pub(super) document: &'d Document,
    options: &'d Options,
    path: &'d str,
    method: &'static str,
    item: &'d Map<String, Value>,
    pub(super) operation: &'d Map<String, Value>,
}

/// An argument before it has its name.
pub(super) struct Argument {
    pub(super) wire: String,
    pub(super) place: Option<Place>,
    pub(super) schema: Value,
    pub(super) required: bool,
}

impl<'d> Draft<'d> {
    /// The tool without its name, and the name it wishes with its identity.
    fn tool(&self) -> (Tool, (String, String)) {
        let mut converter = Converter::new(self.document, Side::Request);
        let method = self.method.to_ascii_uppercase();
        let declared = self.parameters(&mut converter);
        let mut arguments: Vec<Argument> = Vec::new();
        let mut slots: Vec<Slot> = Vec::new();
        let mut form: Vec<&'d Value> = Vec::new();
        let mut whole: Option<&'d Value> = None;
        for parameter in declared {
            match parameter.get("in").and_then(Value::as_str) {
                Some("formData") => form.push(parameter),
                Some("body") => whole = Some(parameter),
                _ => self.parameter(parameter, &mut converter, &mut arguments, &mut slots),
            }
        }
        self.undeclared(&mut converter, &mut arguments, &mut slots);
        let mut draft = if self.document.version == Version::V2 {
            self.body_of_2(&form, whole, &mut converter)
        } else {
            self.body_of_3(&mut converter)
        };
        let given = arguments.len();
        if let Some(draft) = &mut draft {
            arguments.append(&mut draft.arguments);
        }
        let named = name_arguments(&arguments);
        for (slot, name) in slots.iter_mut().zip(&named) {
            slot.argument.clone_from(name);
        }
        let body = draft.map(|mut draft| {
            let own = &named[given..];
            match &mut draft.body.shape {
                BodyShape::Whole(argument) => {
                    if let Some(name) = own.first() {
                        argument.clone_from(name);
                    }
                }
                BodyShape::Properties { fields, .. } => {
                    for (field, name) in fields.iter_mut().zip(own) {
                        field.argument.clone_from(name);
                    }
                }
            }
            draft.body
        });
        let parameters = object_schema(&arguments, &named);
        let text = |key: &str| {
            let text = self.operation.get(key).and_then(Value::as_str);
            text.map(str::trim).unwrap_or_default()
        };
        let plan = Plan {
            base: self.base(&mut converter),
            method: method.clone(),
            path: self.path.to_owned(),
            slots,
            body,
        };
        let identity = format!("{method} {}", self.path);
        let id = text("operationId");
        let wish = match names::snake(id) {
            named if named.is_empty() => names::snake(&format!("{} {}", self.method, self.path)),
            named => named,
        };
        let summary = [text("summary"), text("description")]
            .into_iter()
            .find(|text| !text.is_empty())
            .and_then(|text| text.lines().map(str::trim).find(|line| !line.is_empty()))
            .map_or_else(|| identity.clone(), |line| cut_line(line, 200));
        let tags = self.operation.get("tags").and_then(Value::as_array);
        let tags = tags.into_iter().flatten().filter_map(Value::as_str);
        let output = self.output();
        let access = match method.as_str() {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" => Access::Read,
            "PUT" | "DELETE" => Access::Idempotent,
            _ => Access::Write,
        };
        if self.operation.get("deprecated").and_then(Value::as_bool) == Some(true) {
            converter.note("the document calls it deprecated");
        }
        let tool = Tool {
            name: String::new(),
            source: self.options.source.clone(),
            original: if id.is_empty() {
                identity.clone()
            } else {
                id.to_owned()
            },
            summary,
            description: text("description").to_owned(),
            tags: tags.map(str::to_owned).collect(),
            parameters,
            output,
            access,
            independent: false,
            binding: Binding::Http(plan),
            notes: converter.into_notes(),
        };
        (tool, (format!("{}{wish}", self.options.prefix), identity))
    }

    /// The parameters of path and operation, the operation's in place of the path's.
    fn parameters(&self, converter: &mut Converter<'d>) -> Vec<&'d Value> {
        let mut found: Vec<&'d Value> = Vec::new();
        for list in [
            self.item.get("parameters"),
            self.operation.get("parameters"),
        ] {
            for raw in list.and_then(Value::as_array).into_iter().flatten() {
                let Some(parameter) = self.document.follow(raw).filter(|it| it.is_object()) else {
                    converter.note("a parameter leads nowhere: left out");
                    continue;
                };
                let key = |it: &'d Value| {
                    let text = |key: &str| it.get(key).and_then(Value::as_str);
                    (text("in"), text("name"))
                };
                match found.iter_mut().find(|other| key(other) == key(parameter)) {
                    Some(other) => *other = parameter,
                    None => found.push(parameter),
                }
            }
        }
        found
    }

    fn parameter(
        &self,
        parameter: &'d Value,
        converter: &mut Converter<'d>,
        arguments: &mut Vec<Argument>,
        slots: &mut Vec<Slot>,
    ) {
        let text = |key: &str| parameter.get(key).and_then(Value::as_str);
        let Some(name) = text("name").filter(|name| !name.is_empty()) else {
            converter.note("a parameter has no name: left out");
            return;
        };
        let place = match text("in") {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            Some("cookie") => Place::Cookie,
            other => {
                let other = other.unwrap_or("nothing");
                converter.note(format!(
                    "`{name}` is in `{other}`, which is no place: left out"
                ));
                return;
            }
        };
        let ignored = self.document.version != Version::V2 && place == Place::Header;
        if ignored && is_reserved_header(name) {
            converter.note(format!(
                "the header `{name}` is no parameter by the standard: it comes from the registry or the body"
            ));
            return;
        }
        if place == Place::Path && !variables(self.path).contains(&name) {
            converter.note(format!("`{name}` does not occur in the path: left out"));
            return;
        }
        let is_provided = |(at, own): &(Place, String)| {
            *at == place
                && if place == Place::Header {
                    own.eq_ignore_ascii_case(name)
                } else {
                    own == name
                }
        };
        if self.options.provided.iter().any(is_provided) {
            converter.note(format!("`{name}` is filled in by the registry"));
            return;
        }
        let content = parameter.get("content").and_then(Value::as_object);
        let media = content.and_then(|content| content.values().next());
        let mut schema = if self.document.version == Version::V2 {
            converter.convert(parameter)
        } else {
            match parameter
                .get("schema")
                .or_else(|| media.and_then(|media| media.get("schema")))
            {
                Some(schema) => converter.convert(schema),
                None => json!({}),
            }
        };
        describe(&mut schema, parameter);
        let json = parameter.get("schema").is_none() && media.is_some();
        let (style, explode) = if self.document.version == Version::V2 {
            collection(text("collectionFormat"), place)
        } else {
            let default = match place {
                Place::Query | Place::Cookie => Style::Form,
                Place::Path | Place::Header => Style::Simple,
            };
            let style = style(text("style")).unwrap_or(default);
            let explode = parameter.get("explode").and_then(Value::as_bool);
            (style, explode.unwrap_or(style == Style::Form))
        };
        let flag = |key: &str| parameter.get(key).and_then(Value::as_bool) == Some(true);
        slots.push(Slot {
            argument: String::new(),
            name: name.to_owned(),
            place,
            style,
            explode,
            allow_reserved: flag("allowReserved"),
            json,
        });
        arguments.push(Argument {
            wire: name.to_owned(),
            place: Some(place),
            schema,
            required: flag("required") || place == Place::Path,
        });
    }

    /// Variables of the path that no parameter declares.
    fn undeclared(
        &self,
        converter: &mut Converter<'d>,
        arguments: &mut Vec<Argument>,
        slots: &mut Vec<Slot>,
    ) {
        for name in variables(self.path) {
            let known = |slot: &Slot| slot.place == Place::Path && slot.name == name;
            if slots.iter().any(known) {
                continue;
            }
            converter.note(format!(
                "`{{{name}}}` of the path is not declared: taken as text"
            ));
            slots.push(Slot {
                argument: String::new(),
                name: name.to_owned(),
                place: Place::Path,
                style: Style::Simple,
                explode: false,
                allow_reserved: false,
                json: false,
            });
            arguments.push(Argument {
                wire: name.to_owned(),
                place: Some(Place::Path),
                schema: json!({ "type": "string" }),
                required: true,
            });
        }
    }

    /// The first good reply's schema, shortened.
    fn output(&self) -> Option<Value> {
        let responses = self.operation.get("responses").and_then(Value::as_object)?;
        let good = ["200", "201", "202", "203", "2XX", "2xx", "default"];
        let response = good.iter().find_map(|status| responses.get(*status))?;
        let response = self.document.follow(response)?;
        let schema = if self.document.version == Version::V2 {
            response.get("schema")?
        } else {
            let content = response.get("content").and_then(Value::as_object)?;
            let (media, _) = pick(content.keys().map(String::as_str))?;
            content.get(media)?.get("schema")?
        };
        let mut converter = Converter::new(self.document, Side::Reply).at_most(REPLY_NODES);
        Some(converter.convert(schema))
    }

    /// The base URL: the registry's, or the nearest server's.
    fn base(&self, converter: &mut Converter<'d>) -> String {
        if let Some(base) = &self.options.base_url {
            return base.clone();
        }
        let base = if self.document.version == Version::V2 {
            self.base_of_2()
        } else {
            let lists = [
                self.operation.get("servers"),
                self.item.get("servers"),
                self.document.root.get("servers"),
            ];
            let list = lists.into_iter().flatten().filter_map(Value::as_array);
            let server = list.into_iter().find_map(|list| list.first());
            match server {
                Some(server) => self.server(server),
                None => self.relative("/"),
            }
        };
        base.unwrap_or_else(|| {
            converter.note("the document names no absolute server: set `base_url`");
            String::new()
        })
    }

    fn base_of_2(&self) -> Option<String> {
        let root = &self.document.root;
        let text = |key: &str| root.get(key).and_then(Value::as_str);
        let path = text("basePath").unwrap_or("/");
        let Some(host) = text("host").filter(|host| !host.is_empty()) else {
            return self.relative(path);
        };
        let lists = [self.operation.get("schemes"), root.get("schemes")];
        let schemes = lists.into_iter().flatten().find_map(Value::as_array);
        let schemes: Vec<&str> = schemes
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let scheme = if schemes.contains(&"https") || schemes.is_empty() {
            "https"
        } else {
            "http"
        };
        absolute(&format!(
            "{scheme}://{host}/{}",
            path.trim_start_matches('/')
        ))
    }

    fn server(&self, server: &Value) -> Option<String> {
        let mut url = server.get("url").and_then(Value::as_str)?.to_owned();
        let variables = server.get("variables").and_then(Value::as_object);
        for (name, variable) in variables.into_iter().flatten() {
            let value = match (self.options.variables.get(name), variable.get("default")) {
                (Some(value), _) => value.clone(),
                (None, Some(Value::String(text))) => text.clone(),
                (None, Some(Value::Number(number))) => number.to_string(),
                _ => continue,
            };
            url = url.replace(&format!("{{{name}}}"), &value);
        }
        for (name, value) in &self.options.variables {
            url = url.replace(&format!("{{{name}}}"), value);
        }
        if let Some(rest) = url.strip_prefix("//") {
            return absolute(&format!("https://{rest}"));
        }
        if url.contains("://") {
            absolute(&url)
        } else {
            self.relative(&url)
        }
    }

    /// Relative to where the document came from.
    fn relative(&self, path: &str) -> Option<String> {
        let from = url::Url::parse(self.options.document_url.as_deref()?).ok()?;
        absolute(from.join(path).ok()?.as_str())
    }
}

fn absolute(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let fine = matches!(url.scheme(), "http" | "https")
        && url
            .host_str()
            .is_some_and(|host| !host.is_empty() && !host.contains(['{', '}']))
        && url.username().is_empty();
    let mut url = url;
    url.set_query(None);
    url.set_fragment(None);
    fine.then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// Gives every argument a name of its own. Where names are equal, the place is added to all but the
/// first in the order path, query, header, cookie, body.
fn name_arguments(arguments: &[Argument]) -> Vec<String> {
    let mut order: Vec<usize> = (0..arguments.len()).collect();
    order.sort_by_key(|at| arguments[*at].place.map_or(9, |place| place as u8));
    let mut names = vec![String::new(); arguments.len()];
    let mut taken = BTreeSet::new();
    for at in order {
        let argument = &arguments[at];
        let wish = names::argument(&argument.wire);
        let place = match argument.place {
            Some(Place::Path) => "path",
            Some(Place::Query) => "query",
            Some(Place::Header) => "header",
            Some(Place::Cookie) => "cookie",
            None => "body",
        };
        let mut name = wish.clone();
        let mut round = 1;
        while !taken.insert(name.clone()) {
            let end = if round == 1 {
                format!("__{place}")
            } else {
                format!("__{place}{round}")
            };
            let room = names::MAX_NAME - end.len();
            name = format!("{}{end}", names::fit(&wish, &argument.wire, room));
            round += 1;
        }
        names[at] = name;
    }
    names
}

fn object_schema(arguments: &[Argument], names: &[String]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (argument, name) in arguments.iter().zip(names) {
        properties.insert(name.clone(), argument.schema.clone());
        if argument.required {
            required.push(Value::from(name.as_str()));
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
    schema
}

/// The words beside a parameter's schema.
pub(super) fn describe(schema: &mut Value, parameter: &Value) {
    let Value::Object(map) = schema else {
        return;
    };
    if let Some(words) = parameter.get("description").and_then(Value::as_str)
        && !words.is_empty()
    {
        map.insert("description".to_owned(), Value::from(words));
    }
    if map.contains_key("examples") {
        return;
    }
    let example = parameter.get("example").cloned().or_else(|| {
        let named = parameter.get("examples")?.as_object()?;
        named
            .values()
            .find_map(|example| example.get("value").cloned())
    });
    if let Some(example) = example {
        map.insert("examples".to_owned(), Value::from(vec![example]));
    }
}

pub(super) fn style(text: Option<&str>) -> Option<Style> {
    Some(match text? {
        "simple" => Style::Simple,
        "label" => Style::Label,
        "matrix" => Style::Matrix,
        "form" => Style::Form,
        "spaceDelimited" => Style::SpaceDelimited,
        "pipeDelimited" => Style::PipeDelimited,
        "deepObject" => Style::DeepObject,
        _ => return None,
    })
}

pub(super) fn collection(format: Option<&str>, place: Place) -> (Style, bool) {
    match (format, place) {
        (Some("ssv"), _) => (Style::SpaceDelimited, false),
        (Some("tsv"), _) => (Style::TabDelimited, false),
        (Some("pipes"), _) => (Style::PipeDelimited, false),
        (Some("multi"), Place::Query | Place::Cookie) => (Style::Form, true),
        (_, Place::Query | Place::Cookie) => (Style::Form, false),
        (_, Place::Path | Place::Header) => (Style::Simple, false),
    }
}

/// Names between braces, in order, each once.
pub(super) fn variables(path: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        if !name.is_empty() && !found.contains(&name) {
            found.push(name);
        }
        rest = after;
    }
    found
}

/// By the standard, these are no parameters even if a document lists them.
pub(super) fn is_reserved_header(name: &str) -> bool {
    ["accept", "content-type", "authorization"]
        .iter()
        .any(|header| name.eq_ignore_ascii_case(header))
}

fn cut_line(line: &str, most: usize) -> String {
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let cut: String = line.chars().take(most - 1).collect();
    let end = cut.rfind(' ').unwrap_or(cut.len());
    format!("{}…", &cut[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::tools::http::Field;
    use crate::env::tools::http::build;
    use crate::env::tools::openapi::census;

    fn converted(text: &str) -> Converted {
        let document = Document::parse(text.as_bytes()).unwrap();
        let converted = convert(&document, &Options::default());
        let census = census(&document.root, &converted);
        let faults = [
            &census.lost,
            &census.invalid_names,
            &census.colliding_names,
            &census.invalid_schemas,
        ];
        assert!(faults.iter().all(|list| list.is_empty()), "{census:?}");
        converted
    }

    fn plan(tool: &Tool) -> &Plan {
        match &tool.binding {
            Binding::Http(plan) => plan,
            Binding::Mcp { .. } | Binding::Described => panic!("an HTTP tool"),
        }
    }

    #[test]
    fn a_document_of_3_becomes_tools() {
        let converted = converted(include_str!("../../../../fixtures/tools/pets-3.0.yaml"));
        insta::assert_json_snapshot!(converted.tools);
    }

    #[test]
    fn a_document_of_2_becomes_tools() {
        let converted = converted(include_str!("../../../../fixtures/tools/pets-2.0.json"));
        insta::assert_json_snapshot!(converted.tools);
    }

    #[test]
    fn names_that_clash_are_told_apart_and_mapped_back() {
        let converted = converted(
            r"
openapi: 3.0.0
paths:
  /a/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
    put:
      parameters:
        - {name: id, in: query, schema: {type: string}}
        - {name: id, in: header, schema: {type: string}}
        - {name: id, in: cookie, schema: {type: string}}
        - {name: 'filter[x]', in: query, schema: {type: string}}
        - {name: filter_x, in: query, schema: {type: string}}
      requestBody:
        required: true
        content:
          application/json:
            schema: {type: object, required: [id], properties: {id: {type: string}}}
      responses: {}
",
        );
        let tool = &converted.tools[0];
        assert_eq!(tool.name, "put_a_id");
        let properties: Vec<&String> = tool.parameters["properties"]
            .as_object()
            .unwrap()
            .keys()
            .collect();
        assert_eq!(
            properties,
            [
                "filter_x",
                "filter_x__query",
                "id",
                "id__body",
                "id__cookie",
                "id__header",
                "id__query"
            ]
        );
        assert_eq!(tool.parameters["required"], json!(["id", "id__body"]));
        assert_eq!(
            tool.parameters["properties"]["id"],
            json!({ "type": "integer" })
        );
        let Some(BodyShape::Properties { fields, .. }) =
            plan(tool).body.as_ref().map(|body| &body.shape)
        else {
            panic!("the body's properties are arguments");
        };
        assert_eq!(
            fields[0],
            Field {
                argument: "id__body".to_owned(),
                name: "id".to_owned()
            }
        );
    }

    #[test]
    fn operations_that_wish_one_name_are_told_apart() {
        let converted = converted(
            r"
openapi: 3.0.0
paths:
  /a: {get: {operationId: list, responses: {}}}
  /b: {get: {operationId: List, responses: {}}}
  /c: {get: {operationId: '', responses: {}}}
",
        );
        let names: Vec<&str> = converted
            .tools
            .iter()
            .map(|tool| tool.name.as_str())
            .collect();
        assert!(
            names[0].starts_with("list_") && names[1].starts_with("list_") && names[0] != names[1]
        );
        assert_eq!(names[2], "get_c");
    }

    #[test]
    fn bodies_that_are_no_plain_object_are_one_argument() {
        let body = |schema: &str| {
            let text = format!(
                "openapi: 3.0.0\npaths:\n  /a:\n    post:\n      requestBody:\n        content:\n          application/json:\n            schema: {schema}\n      responses: {{}}\n"
            );
            converted(&text).tools.remove(0).parameters["properties"].clone()
        };
        assert_eq!(
            body("{oneOf: [{type: object, properties: {a: {type: string}}}, {type: string}]}"),
            json!({ "body": { "oneOf": [{ "type": "object", "properties": { "a": { "type": "string" } } }, { "type": "string" }] } })
        );
        assert_eq!(
            body("{type: object, additionalProperties: {type: integer}}"),
            json!({ "body": { "type": "object", "additionalProperties": { "type": "integer" } } })
        );
        assert_eq!(
            body("{type: array, items: {type: integer}}"),
            json!({ "body": { "type": "array", "items": { "type": "integer" } } })
        );
        assert_eq!(
            body(
                "{allOf: [{type: object, properties: {a: {type: string}}}, {type: object, properties: {b: {type: string}}}]}"
            ),
            json!({ "a": { "type": "string" }, "b": { "type": "string" } })
        );
    }

    #[test]
    fn a_body_that_may_be_empty_need_not_be_given() {
        let given = |schema: &str| {
            let text = format!(
                "openapi: 3.0.0\nservers: [{{url: 'https://a.example'}}]\npaths:\n  /a:\n    post:\n      requestBody:\n        required: true\n        content:\n          application/json:\n            schema: {schema}\n      responses: {{}}\n"
            );
            let tool = converted(&text).tools.remove(0);
            let needed = tool.parameters["required"].clone();
            let request = build(plan(&tool), &Map::new());
            (needed, request.unwrap().body)
        };
        let (needed, sent) = given("{type: object, properties: {}}");
        assert_eq!(needed, Value::Null);
        assert_eq!(sent.shown(10).as_deref(), Some("{}"));
        // One that asks for something, and one that is no object, are still to be given.
        for schema in [
            "{type: object, minProperties: 1}",
            "{type: array, items: {type: integer}}",
        ] {
            assert_eq!(given(schema).0, json!(["body"]), "{schema}");
        }
    }

    #[test]
    fn the_base_is_the_nearest_server() {
        let base = |head: &str, options: &Options| {
            let text = format!("{head}\npaths:\n  /a:\n    get: {{responses: {{}}}}\n");
            let document = Document::parse(text.as_bytes()).unwrap();
            let converted = convert(&document, options);
            plan(&converted.tools[0]).base.clone()
        };
        let none = Options::default();
        let v3 = |servers: &str| format!("openapi: 3.0.0\nservers: {servers}");
        assert_eq!(
            base(&v3("[{url: 'https://a.example/v1/'}]"), &none),
            "https://a.example/v1"
        );
        assert_eq!(
            base(
                &v3(
                    "[{url: 'https://{r}.example:{p}', variables: {r: {default: eu}, p: {default: 8443}}}]"
                ),
                &none
            ),
            "https://eu.example:8443"
        );
        let us = Options {
            variables: BTreeMap::from([("r".to_owned(), "us".to_owned())]),
            ..Options::default()
        };
        assert_eq!(
            base(
                &v3("[{url: 'https://{r}.example', variables: {r: {default: eu}}}]"),
                &us
            ),
            "https://us.example"
        );
        assert_eq!(base(&v3("[{url: /v2}]"), &none), "");
        let from = Options {
            document_url: Some("https://docs.example/api/openapi.json".to_owned()),
            ..Options::default()
        };
        assert_eq!(base(&v3("[{url: /v2}]"), &from), "https://docs.example/v2");
        assert_eq!(base("openapi: 3.0.0", &from), "https://docs.example");
        assert_eq!(
            base(
                "swagger: '2.0'\nhost: h.example\nbasePath: /v1\nschemes: [http, https]",
                &none
            ),
            "https://h.example/v1"
        );
        assert_eq!(
            base("swagger: '2.0'\nhost: h.example\nschemes: [http]", &none),
            "http://h.example"
        );
        let given = Options {
            base_url: Some("http://127.0.0.1:1".to_owned()),
            ..Options::default()
        };
        assert_eq!(
            base(&v3("[{url: 'https://a.example'}]"), &given),
            "http://127.0.0.1:1"
        );
        assert_eq!(base(&v3("[{url: 'ftp://a.example'}, {url: x}]"), &none), "");
    }

    #[test]
    fn what_the_registry_fills_in_is_no_argument() {
        let text = r"
swagger: '2.0'
paths:
  /a:
    get:
      parameters:
        - {name: api_key, in: query, type: string, required: true}
        - {name: X-Team, in: header, type: string}
        - {name: q, in: query, type: string}
      responses: {}
";
        let document = Document::parse(text.as_bytes()).unwrap();
        let options = Options {
            provided: vec![
                (Place::Query, "api_key".to_owned()),
                (Place::Header, "x-team".to_owned()),
            ],
            ..Options::default()
        };
        let tool = convert(&document, &options).tools.remove(0);
        assert_eq!(
            tool.parameters["properties"],
            json!({ "q": { "type": "string" } })
        );
        assert_eq!(
            tool.notes,
            [
                "`X-Team` is filled in by the registry",
                "`api_key` is filled in by the registry",
                "the document names no absolute server: set `base_url`"
            ]
        );
    }

    #[test]
    fn odd_documents_are_no_harm() {
        for text in [
            r##"{"openapi":"3.0.0","paths":{"/a":3,"/b":{"get":3},"/c":{"get":{"parameters":3}},"/d":{"$ref":"#/no"}}}"##,
            r##"{"openapi":"3.0.0","paths":{"/a/{x":{"get":{"parameters":[{"name":"x","in":"path"},{"in":"query"},{"name":"q","in":"space"},7,{"$ref":"#/no"}]}}}}"##,
            r##"{"openapi":"3.0.0","paths":{"/a":{"post":{"requestBody":{"$ref":"#/no"}}},"/b":{"post":{"requestBody":{"content":{}}}}}}"##,
            r#"{"swagger":"2.0","paths":{"/a":{"post":{"parameters":[{"in":"body","name":"b"},{"in":"formData","name":"f","type":"file"}]}}}}"#,
        ] {
            let document = Document::parse(text.as_bytes()).unwrap();
            let converted = convert(&document, &Options::default());
            for tool in &converted.tools {
                assert!(jsonschema::draft202012::meta::is_valid(&tool.parameters));
            }
        }
    }
}
