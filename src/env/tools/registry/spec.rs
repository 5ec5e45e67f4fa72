//! What a registry says, parsed: plain data without any secret in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Glob, Text};
use crate::env::tools::Access;

/// A registry file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegistrySpec {
    /// The file, as the user named it.
    pub file: String,
    /// TOML file of `NAME = "value"` that `secret:NAME` refers to.
    pub secrets: Option<PathBuf>,
    /// Its sources, in order.
    pub sources: Vec<SourceSpec>,
}

/// One provider of tools.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceSpec {
    /// Unique within the registry: `[a-z0-9_]`, at most 32 characters.
    pub name: String,
    /// Where its tools come from.
    pub kind: SourceKind,
    /// Put before every tool's name.
    pub prefix: String,
    /// Tools that are offered, by name or by the provider's name; all where empty.
    pub only: Vec<Glob>,
    /// Tools that are not.
    pub except: Vec<Glob>,
    /// What calls do, where the registry knows better; the last that matches counts.
    pub overrides: Vec<Override>,
    /// Tools whose calls may run together with others though they write.
    pub independent: Vec<Glob>,
    /// How writes are undone.
    pub undo: Vec<UndoRule>,
    /// Read calls whose replies show the provider's state: a restore is verified by them.
    pub verify: Vec<ReadCall>,
    /// Whether the provider's own word on what its tools do is taken (MCP annotations).
    pub trust_annotations: bool,
    /// How far answers of read calls are reused.
    pub memo: Memo,
    /// Object keys in replies whose values change by themselves: shown, never compared.
    pub volatile: Vec<String>,
    /// Bounds of one call.
    pub limits: CallLimits,
}

/// The kinds of sources.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceKind {
    /// Operations of an OpenAPI document.
    Openapi(OpenApiSpec),
    /// Tools of an MCP server.
    Mcp(McpSpec),
    /// Descriptions of ToolBench: tools to be found, not called.
    Toolbench {
        /// Tool files, query files, or directories of them.
        files: Vec<PathBuf>,
    },
}

/// An HTTP API with its document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpenApiSpec {
    /// Where the document is.
    pub document: Location,
    /// In place of the document's servers: absolute, without query, no trailing slash; or `site:`
    /// with a path, of the server that a task gives each lane.
    pub base_url: Option<String>,
    /// Values of the variables in the document's server URLs.
    pub variables: BTreeMap<String, String>,
    /// How calls prove who they are.
    pub auth: Option<Auth>,
    /// Headers of every call.
    pub headers: BTreeMap<String, Text>,
    /// What may be called.
    pub allow: Allow,
}

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// A file.
    File(PathBuf),
    /// `http` or `https`.
    Url(String),
    /// A path, with its slash, of the server that a task gives each lane.
    Site(String),
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
            Self::Site(path) => write!(f, "site:{path}"),
        }
    }
}

/// An MCP server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct McpSpec {
    /// How it is reached.
    pub transport: McpTransport,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum McpTransport {
    /// A process of ours, over its standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<Text>,
        /// Its environment, beside `PATH` and `HOME`.
        env: BTreeMap<String, Text>,
        /// Files and folders that are copied into the process's own folder before it starts. It
        /// has one where this is not empty, or where `{dir}` stands in its arguments or environment.
        copy: Vec<PathBuf>,
    },
    /// Streamable HTTP.
    Http {
        /// The endpoint.
        url: String,
        /// Headers of every request.
        headers: BTreeMap<String, Text>,
        /// How requests prove who they are.
        auth: Option<Auth>,
        /// What may be reached.
        allow: Allow,
    },
}

/// How calls prove who they are. Values are references, resolved when the registry is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Auth {
    /// `Authorization: Bearer …`.
    Bearer {
        /// The token.
        token: Text,
    },
    /// `Authorization: Basic …`.
    Basic {
        /// May be written out.
        user: Text,
        /// The password.
        password: Text,
    },
    /// A header of its own.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: Text,
    },
    /// A query parameter. It appears in the server's logs; prefer anything else.
    Query {
        /// Its name.
        name: String,
        /// Its value.
        value: Text,
    },
    /// OAuth 2.0 client credentials (RFC 6749, 4.4): the token is fetched by each session and
    /// renewed when it expires or is refused.
    Oauth2 {
        /// The token endpoint.
        token_url: String,
        /// May be written out.
        client_id: Text,
        /// The client's secret.
        client_secret: Text,
        /// Scopes, separated by spaces; may be empty.
        scope: String,
    },
}

/// What a source may reach.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Allow {
    /// Hosts, with `*.` for subdomains; where empty, the host of the tool's own base URL.
    pub hosts: Vec<String>,
    /// Methods, upper case; all where empty.
    pub methods: Vec<String>,
    /// Whether loopback, private and link-local addresses may be reached.
    pub private: bool,
}

/// What a call of some tools does, in the registry's word.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Override {
    /// Which tools.
    pub tools: Glob,
    /// What they do.
    pub access: Access,
}

/// How far answers of read calls are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memo {
    /// Never.
    Off,
    /// Within one tree.
    #[default]
    Tree,
    /// Within one run of the program, across trees.
    Run,
    /// Kept on disk, across runs.
    Disk,
}

/// A call that takes another one back.
///
/// Values of `arguments` are taken as they are, except strings that begin with `reply:`, `argument:`
/// or `before:`: the rest is a JSON pointer into the undone call's reply, its arguments, or what
/// `verify` gave before it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UndoRule {
    /// Which writes it undoes.
    pub tool: Glob,
    /// The tool that is called.
    pub call: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// A read that shows whether it worked.
    pub verify: Option<UndoCheck>,
}

/// A read after an undo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UndoCheck {
    /// The call; templates as in the rule.
    pub read: ReadCall,
    /// What proves the undo.
    pub expect: UndoProof,
}

/// What proves an undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoProof {
    /// The read fails: what was made is gone.
    Error,
    /// The read gives what it gave before the write.
    Same,
}

/// A read call with its arguments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadCall {
    /// The tool.
    pub call: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
}

/// Bounds of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CallLimits {
    /// Longest wait for a whole reply.
    pub timeout: Duration,
    /// At most so many calls in such a time.
    pub rate: Option<Rate>,
    /// Longest `Retry-After` that is waited for.
    pub max_wait: Duration,
    /// Most bytes of a reply that are kept; the rest is not read.
    pub response_bytes: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            rate: None,
            max_wait: Duration::from_secs(30),
            response_bytes: 1 << 20,
        }
    }
}

/// A rate of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// Calls, at least 1.
    pub calls: u32,
    /// In this time.
    pub per: Duration,
}

/// What the values of a rule are taken from.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    /// The write's arguments.
    pub arguments: &'a Map<String, Value>,
    /// What it gave; `None` before it is sent.
    pub reply: Option<&'a Value>,
    /// What the rule's check gave before the write, if that is known and was no error.
    pub before: Option<&'a Value>,
}

/// What begins a value that is taken from the reply.
const REPLY: &str = "reply:";
/// What begins a value that is taken from the arguments.
const ARGUMENT: &str = "argument:";
/// What begins a value that is taken from the state before the write.
const BEFORE: &str = "before:";

/// What is wrong with a value of an undo rule, whatever the tools are: it could never be taken.
pub(super) fn bad_template(text: &str) -> Option<String> {
    let known = [REPLY, ARGUMENT, BEFORE];
    if let Some(from) = known.into_iter().find(|from| text.starts_with(from)) {
        let at = &text[from.len()..];
        let pointer = at.is_empty() || at.starts_with('/');
        return (!pointer).then(|| format!("after `{from}` comes a JSON pointer: `{from}/{at}`?"));
    }
    let (word, at) = unknown_template(text)?;
    let near = crate::located::nearest(&format!("{word}:"), known);
    near.first()
        .map(|near| format!("nothing is taken from `{word}:`; did you mean `{near}{at}`?"))
}

/// The parts of a text that looks like a template of a kind that there is not.
pub(super) fn unknown_template(text: &str) -> Option<(&str, &str)> {
    let (word, at) = text.split_once(':')?;
    let is_word = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    let pointer = at.starts_with('/') && !at.starts_with("//");
    let known = [REPLY, ARGUMENT, BEFORE]
        .iter()
        .any(|from| text.starts_with(from));
    (is_word && pointer && !known).then_some((word, at))
}

impl UndoRule {
    /// The arguments of the undoing call.
    ///
    /// # Errors
    /// What the rule asks for and is not there: a lowercase sentence fragment.
    pub fn fill(&self, from: Template<'_>) -> Result<Map<String, Value>, String> {
        fill(&self.arguments, from)
    }

    /// Whether it takes a value from the state before the write.
    #[must_use]
    pub fn needs_before(&self) -> bool {
        self.before().next().is_some()
    }

    /// Whether its check takes a value from the write's reply.
    #[must_use]
    pub fn checks_by_reply(&self) -> bool {
        let read = self.verify.iter().flat_map(|check| &check.read.arguments);
        let mut texts = read.filter_map(|(_, value)| value.as_str());
        texts.any(|text| text.starts_with(REPLY))
    }

    /// Whether all that it takes from the state before the write is there.
    #[must_use]
    pub fn finds_before(&self, from: Template<'_>) -> bool {
        self.before()
            .all(|(name, value)| taken(name, value, from).is_ok())
    }

    fn before(&self) -> impl Iterator<Item = (&String, &Value)> {
        let all = self.arguments.iter();
        all.filter(|(_, value)| value.as_str().is_some_and(|text| text.starts_with(BEFORE)))
    }
}

impl ReadCall {
    /// The arguments of the read.
    ///
    /// # Errors
    /// What the rule asks for and is not there: a lowercase sentence fragment.
    pub fn fill(&self, from: Template<'_>) -> Result<Map<String, Value>, String> {
        fill(&self.arguments, from)
    }
}

fn fill(template: &Map<String, Value>, from: Template<'_>) -> Result<Map<String, Value>, String> {
    let filled = template
        .iter()
        .map(|(name, value)| Ok((name.clone(), taken(name, value, from)?)));
    filled.collect()
}

/// The value of one argument.
fn taken(name: &str, value: &Value, from: Template<'_>) -> Result<Value, String> {
    let text = value.as_str().unwrap_or_default();
    let whole = || Value::Object(from.arguments.clone());
    let (within, what, at) = if let Some(at) = text.strip_prefix(REPLY) {
        (from.reply.cloned(), "the reply has", at)
    } else if let Some(at) = text.strip_prefix(ARGUMENT) {
        (Some(whole()), "the arguments have", at)
    } else if let Some(at) = text.strip_prefix(BEFORE) {
        (from.before.cloned(), "the state before had", at)
    } else {
        return Ok(value.clone());
    };
    let found = within.and_then(|within| within.pointer(at).cloned());
    found.ok_or_else(|| format!("{what} nothing at `{at}` (for `{name}`)"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn an_undo_takes_from_reply_and_arguments() {
        let mut rule = UndoRule {
            tool: Glob::new("create_*"),
            call: "delete".to_owned(),
            arguments: object(
                &json!({ "id": "reply:/data/0/id", "in": "argument:/shop", "hard": true }),
            ),
            verify: None,
        };
        let arguments = object(&json!({ "shop": "north" }));
        let (reply, empty) = (json!({ "data": [{ "id": 7 }] }), json!({}));
        let mut from = Template {
            arguments: &arguments,
            reply: Some(&reply),
            before: None,
        };
        assert_eq!(
            rule.fill(from),
            Ok(object(&json!({ "id": 7, "in": "north", "hard": true })))
        );
        from.reply = Some(&empty);
        assert_eq!(
            rule.fill(from),
            Err("the reply has nothing at `/data/0/id` (for `id`)".to_owned())
        );
        assert!(!rule.needs_before());
        rule.arguments = object(&json!({ "data": "before:/data" }));
        assert!(rule.needs_before());
        assert!(!rule.finds_before(from));
        assert_eq!(
            rule.fill(from),
            Err("the state before had nothing at `/data` (for `data`)".to_owned())
        );
        from.before = Some(&reply);
        assert!(rule.finds_before(from));
        assert_eq!(
            rule.fill(from),
            Ok(object(&json!({ "data": [{ "id": 7 }] })))
        );
    }
}
