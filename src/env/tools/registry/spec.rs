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
/// Values of `arguments` are taken as they are, except strings that begin with `reply:` or
/// `argument:`: the rest is a JSON pointer into the undone call's reply or arguments.
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

impl UndoRule {
    /// The arguments of the undoing call, after a write with `arguments` that gave `reply`.
    ///
    /// # Errors
    /// What the template asks for and neither has: a lowercase sentence fragment.
    pub fn fill(
        &self,
        arguments: &Map<String, Value>,
        reply: &Value,
    ) -> Result<Map<String, Value>, String> {
        fill(&self.arguments, arguments, reply)
    }
}

impl ReadCall {
    /// The arguments of the read, after a write with `arguments` that gave `reply`.
    ///
    /// # Errors
    /// What the template asks for and neither has: a lowercase sentence fragment.
    pub fn fill(
        &self,
        arguments: &Map<String, Value>,
        reply: &Value,
    ) -> Result<Map<String, Value>, String> {
        fill(&self.arguments, arguments, reply)
    }
}

fn fill(
    template: &Map<String, Value>,
    arguments: &Map<String, Value>,
    reply: &Value,
) -> Result<Map<String, Value>, String> {
    let whole = Value::Object(arguments.clone());
    let mut out = Map::new();
    for (name, value) in template {
        let text = value.as_str();
        let found = if let Some(at) = text.and_then(|text| text.strip_prefix("reply:")) {
            let found = reply.pointer(at);
            found.ok_or_else(|| format!("the reply has nothing at `{at}` (for `{name}`)"))?
        } else if let Some(at) = text.and_then(|text| text.strip_prefix("argument:")) {
            let found = whole.pointer(at);
            found.ok_or_else(|| format!("the arguments have nothing at `{at}` (for `{name}`)"))?
        } else {
            value
        };
        out.insert(name.clone(), found.clone());
    }
    Ok(out)
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
        let rule = UndoRule {
            tool: Glob::new("create_*"),
            call: "delete".to_owned(),
            arguments: object(
                &json!({ "id": "reply:/data/0/id", "in": "argument:/shop", "hard": true }),
            ),
            verify: None,
        };
        let arguments = object(&json!({ "shop": "north" }));
        assert_eq!(
            rule.fill(&arguments, &json!({ "data": [{ "id": 7 }] })),
            Ok(object(&json!({ "id": 7, "in": "north", "hard": true })))
        );
        assert_eq!(
            rule.fill(&arguments, &json!({})),
            Err("the reply has nothing at `/data/0/id` (for `id`)".to_owned())
        );
    }
}
