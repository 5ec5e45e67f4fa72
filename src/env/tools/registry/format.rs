//! Reads registry files and says precisely what is wrong with them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::spec::bad_template;
use super::{
    Allow, Auth, CallLimits, Glob, Location, McpSpec, McpTransport, Memo, OpenApiSpec, Override,
    Rate, ReadCall, RegistrySpec, SourceKind, SourceSpec, Text, UndoCheck, UndoProof, UndoRule,
};
use crate::env::tools::Access;
use crate::located::{self, Fault, FormatError, nearest, one_of};

/// Reads a registry. `file` is its name for errors; paths in it are relative to `dir`.
///
/// # Errors
/// [`FormatError`] with the first thing that is wrong.
pub fn parse(text: &str, file: &str, dir: &Path) -> Result<RegistrySpec, FormatError> {
    read(text, file, dir).map_err(|fault| fault.locate(text, file))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegistry {
    secrets: Option<Spanned<String>>,
    #[serde(default)]
    source: Vec<Spanned<RawSource>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Openapi,
    Mcp,
    Toolbench,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Openapi => "openapi",
            Self::Mcp => "mcp",
            Self::Toolbench => "toolbench",
        }
    }

    /// The keys it takes, beside those that every kind takes.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Openapi => &[
                "document",
                "base_url",
                "variables",
                "auth",
                "headers",
                "allow",
            ],
            Self::Mcp => &[
                "command", "args", "env", "copy", "url", "headers", "auth", "allow",
            ],
            Self::Toolbench => &["files"],
        }
    }
}

/// The keys of every kind in one struct: a tagged enum would lose the spans.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    name: Spanned<String>,
    kind: Spanned<Kind>,
    #[serde(default)]
    prefix: Option<Spanned<String>>,
    #[serde(default)]
    only: Vec<Spanned<String>>,
    #[serde(default)]
    except: Vec<Spanned<String>>,
    #[serde(default)]
    access: Vec<RawOverride>,
    #[serde(default)]
    independent: Vec<Spanned<String>>,
    #[serde(default)]
    undo: Vec<RawUndo>,
    #[serde(default)]
    verify: Vec<RawRead>,
    #[serde(default)]
    trust_annotations: bool,
    #[serde(default)]
    memo: Memo,
    #[serde(default)]
    volatile: Vec<Spanned<String>>,
    timeout_seconds: Option<Spanned<f64>>,
    max_wait_seconds: Option<Spanned<f64>>,
    response_bytes: Option<Spanned<usize>>,
    rate: Option<RawRate>,

    document: Option<Spanned<String>>,
    base_url: Option<Spanned<String>>,
    variables: Option<Spanned<BTreeMap<String, String>>>,
    auth: Option<Spanned<RawAuth>>,
    headers: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
    allow: Option<Spanned<RawAllow>>,
    command: Option<Spanned<String>>,
    args: Option<Spanned<Vec<String>>>,
    env: Option<Spanned<BTreeMap<String, String>>>,
    copy: Option<Spanned<Vec<String>>>,
    url: Option<Spanned<String>>,
    files: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table `{ tools, access }`")]
struct RawOverride {
    tools: Spanned<String>,
    access: Access,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table `{ tool, call, arguments, verify }`"
)]
struct RawUndo {
    tool: Spanned<String>,
    call: Spanned<String>,
    #[serde(default)]
    arguments: Option<Spanned<toml::Table>>,
    verify: Option<RawUndoCheck>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table `{ call, arguments, expect }`"
)]
struct RawUndoCheck {
    call: Spanned<String>,
    #[serde(default)]
    arguments: Option<Spanned<toml::Table>>,
    expect: UndoProof,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table `{ call, arguments }`")]
struct RawRead {
    call: Spanned<String>,
    #[serde(default)]
    arguments: Option<Spanned<toml::Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table `{ calls, seconds }`")]
struct RawRate {
    calls: Spanned<u32>,
    seconds: Spanned<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAllow {
    #[serde(default)]
    hosts: Vec<Spanned<String>>,
    #[serde(default)]
    methods: Vec<Spanned<String>>,
    #[serde(default)]
    private: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum AuthKind {
    Bearer,
    Basic,
    Header,
    Query,
    Oauth2,
}

impl AuthKind {
    const fn keys(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Bearer => ("bearer", &["token"]),
            Self::Basic => ("basic", &["user", "password"]),
            Self::Header => ("header", &["name", "value"]),
            Self::Query => ("query", &["name", "value"]),
            Self::Oauth2 => (
                "oauth2",
                &["token_url", "client_id", "client_secret", "scope"],
            ),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    kind: Spanned<AuthKind>,
    token: Option<Spanned<String>>,
    user: Option<Spanned<String>>,
    password: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
    value: Option<Spanned<String>>,
    token_url: Option<Spanned<String>>,
    client_id: Option<Spanned<String>>,
    client_secret: Option<Spanned<String>>,
    scope: Option<Spanned<String>>,
}

fn read(text: &str, file: &str, dir: &Path) -> Result<RegistrySpec, Fault> {
    let raw: RawRegistry = toml::from_str(text)?;
    if raw.source.is_empty() {
        return Err(Fault::new(
            0..0,
            "a registry needs at least one [[source]] with `name` and `kind`",
        ));
    }
    let mut sources: Vec<SourceSpec> = Vec::new();
    for source in raw.source {
        let at = source.get_ref().name.span();
        let spec = read_source(source, dir)?;
        if sources.iter().any(|other| other.name == spec.name) {
            let name = &spec.name;
            return Err(Fault::new(
                at,
                format!("a second source is called `{name}`"),
            ));
        }
        sources.push(spec);
    }
    Ok(RegistrySpec {
        file: file.to_owned(),
        secrets: raw.secrets.map(|path| dir.join(path.get_ref())),
        sources,
    })
}

fn read_source(raw: Spanned<RawSource>, dir: &Path) -> Result<SourceSpec, Fault> {
    let raw = raw.into_inner();
    foreign_keys(&raw)?;
    let name = word("name", &raw.name, 32)?;
    let prefix = match &raw.prefix {
        None => String::new(),
        Some(prefix) => word("prefix", prefix, 24)?,
    };
    let mut limits = CallLimits::default();
    if let Some(seconds) = &raw.timeout_seconds {
        limits.timeout = time("timeout_seconds", seconds)?;
    }
    if let Some(seconds) = &raw.max_wait_seconds {
        limits.max_wait = time("max_wait_seconds", seconds)?;
    }
    if let Some(bytes) = &raw.response_bytes {
        if *bytes.get_ref() < 1024 {
            return Err(Fault::new(
                bytes.span(),
                "`response_bytes` is at least 1024: less leaves nothing to read",
            ));
        }
        limits.response_bytes = *bytes.get_ref();
    }
    if let Some(rate) = &raw.rate {
        if *rate.calls.get_ref() == 0 {
            return Err(Fault::new(rate.calls.span(), "`calls` is at least 1"));
        }
        limits.rate = Some(Rate {
            calls: *rate.calls.get_ref(),
            per: time("seconds", &rate.seconds)?,
        });
    }
    let globs =
        |list: &[Spanned<String>]| -> Result<Vec<Glob>, Fault> { list.iter().map(glob).collect() };
    let overrides = raw.access.iter().map(|rule| {
        Ok(Override {
            tools: glob(&rule.tools)?,
            access: rule.access,
        })
    });
    let verify = raw.verify.iter().map(|read| {
        Ok(ReadCall {
            call: filled("call", &read.call)?,
            arguments: arguments(read.arguments.as_ref())?,
        })
    });
    Ok(SourceSpec {
        name,
        prefix,
        only: globs(&raw.only)?,
        except: globs(&raw.except)?,
        overrides: overrides.collect::<Result<_, Fault>>()?,
        independent: globs(&raw.independent)?,
        undo: raw.undo.iter().map(undo).collect::<Result<_, _>>()?,
        verify: verify.collect::<Result<_, Fault>>()?,
        trust_annotations: raw.trust_annotations,
        memo: raw.memo,
        volatile: raw
            .volatile
            .iter()
            .map(|key| filled("volatile", key))
            .collect::<Result<_, _>>()?,
        limits,
        kind: kind(raw, dir)?,
    })
}

fn kind(raw: RawSource, dir: &Path) -> Result<SourceKind, Fault> {
    let at = raw.kind.span();
    let need = |what: &str| {
        let kind = raw.kind.get_ref().name();
        Fault::new(
            at.clone(),
            format!("a source of kind `{kind}` needs {what}"),
        )
    };
    Ok(match raw.kind.get_ref() {
        Kind::Openapi => {
            let document = raw
                .document
                .as_ref()
                .ok_or_else(|| need("`document`, a file or URL"))?;
            SourceKind::Openapi(OpenApiSpec {
                document: document_at(document, dir)?,
                base_url: raw.base_url.as_ref().map(base_url).transpose()?,
                variables: raw.variables.map(Spanned::into_inner).unwrap_or_default(),
                auth: raw.auth.map(auth).transpose()?,
                headers: headers(raw.headers)?,
                allow: raw.allow.map(allow).transpose()?.unwrap_or_default(),
            })
        }
        Kind::Mcp => {
            let transport = match (&raw.command, &raw.url) {
                (Some(command), None) => {
                    for (key, span) in [
                        ("headers", raw.headers.as_ref().map(Spanned::span)),
                        ("auth", raw.auth.as_ref().map(Spanned::span)),
                        ("allow", raw.allow.as_ref().map(Spanned::span)),
                    ] {
                        if let Some(span) = span {
                            return Err(Fault::new(
                                span,
                                format!(
                                    "`{key}` goes with `url`; a `command` takes `args`, `env` and `copy`"
                                ),
                            ));
                        }
                    }
                    McpTransport::Stdio {
                        command: in_folder(&filled("command", command)?, dir),
                        args: texts(raw.args, dir),
                        env: raw
                            .env
                            .map(Spanned::into_inner)
                            .unwrap_or_default()
                            .into_iter()
                            .map(|(name, value)| (name, process_text(&value, dir)))
                            .collect(),
                        copy: copies(raw.copy, dir)?,
                    }
                }
                (None, Some(endpoint)) => {
                    for (key, span) in [
                        ("args", raw.args.as_ref().map(Spanned::span)),
                        ("env", raw.env.as_ref().map(Spanned::span)),
                        ("copy", raw.copy.as_ref().map(Spanned::span)),
                    ] {
                        if let Some(span) = span {
                            return Err(Fault::new(
                                span,
                                format!(
                                    "`{key}` goes with `command`; a `url` takes `headers`, `auth` and `allow`"
                                ),
                            ));
                        }
                    }
                    McpTransport::Http {
                        url: url(endpoint)?,
                        headers: headers(raw.headers)?,
                        auth: raw.auth.map(auth).transpose()?,
                        allow: raw.allow.map(allow).transpose()?.unwrap_or_default(),
                    }
                }
                _ => return Err(need("exactly one of `command` and `url`")),
            };
            SourceKind::Mcp(McpSpec { transport })
        }
        Kind::Toolbench => {
            let files = raw
                .files
                .as_ref()
                .filter(|files| !files.get_ref().is_empty());
            let files = files.ok_or_else(|| need("`files`, tool or query files"))?;
            let files: Vec<PathBuf> = files.get_ref().iter().map(|file| dir.join(file)).collect();
            SourceKind::Toolbench { files }
        }
    })
}

/// Keys that are known, but not to this kind.
fn foreign_keys(raw: &RawSource) -> Result<(), Fault> {
    fn span<T>(value: Option<&Spanned<T>>) -> Option<Range<usize>> {
        value.map(Spanned::span)
    }
    let kind = *raw.kind.get_ref();
    let given = [
        ("document", span(raw.document.as_ref())),
        ("base_url", span(raw.base_url.as_ref())),
        ("variables", span(raw.variables.as_ref())),
        ("auth", span(raw.auth.as_ref())),
        ("headers", span(raw.headers.as_ref())),
        ("allow", span(raw.allow.as_ref())),
        ("command", span(raw.command.as_ref())),
        ("args", span(raw.args.as_ref())),
        ("env", span(raw.env.as_ref())),
        ("copy", span(raw.copy.as_ref())),
        ("url", span(raw.url.as_ref())),
        ("files", span(raw.files.as_ref())),
    ];
    for (key, span) in given {
        if let Some(span) = span
            && !kind.keys().contains(&key)
        {
            let (name, keys) = (kind.name(), one_of(kind.keys()));
            return Err(Fault::new(
                span,
                format!("a source of kind `{name}` has no key `{key}`, expected {keys}"),
            ));
        }
    }
    Ok(())
}

fn auth(raw: Spanned<RawAuth>) -> Result<Auth, Fault> {
    let raw = raw.into_inner();
    let at = raw.kind.span();
    let (kind, keys) = raw.kind.get_ref().keys();
    let given = [
        ("token", &raw.token),
        ("user", &raw.user),
        ("password", &raw.password),
        ("name", &raw.name),
        ("value", &raw.value),
        ("token_url", &raw.token_url),
        ("client_id", &raw.client_id),
        ("client_secret", &raw.client_secret),
        ("scope", &raw.scope),
    ];
    for (key, value) in given {
        if let Some(value) = value
            && !keys.contains(&key)
        {
            return Err(Fault::new(
                value.span(),
                format!(
                    "auth of kind `{kind}` has no key `{key}`, expected {}",
                    one_of(keys)
                ),
            ));
        }
    }
    let need = |key: &str, value: Option<&Spanned<String>>| {
        let value = value.ok_or_else(|| {
            Fault::new(at.clone(), format!("auth of kind `{kind}` needs `{key}`"))
        })?;
        filled(key, value)
    };
    let text = |key: &str, value: Option<&Spanned<String>>| {
        Ok::<_, Fault>(Text::parse(&need(key, value)?))
    };
    let secret = |key: &str, value: Option<&Spanned<String>>| {
        let text = text(key, value)?;
        if text.is_reference() {
            return Ok(text);
        }
        Err(Fault::new(
            value.map_or(at.clone(), Spanned::span),
            format!("`{key}` is a secret: write \"env:NAME\" or \"secret:NAME\", never the value"),
        )
        .unquoted())
    };
    let header_name = |value: Option<&Spanned<String>>| {
        let name = need("name", value)?;
        if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok() {
            return Ok(name);
        }
        let at = value.map_or(at.clone(), Spanned::span);
        Err(Fault::new(at, "expected the name of a header"))
    };
    Ok(match raw.kind.get_ref() {
        AuthKind::Bearer => Auth::Bearer {
            token: secret("token", raw.token.as_ref())?,
        },
        AuthKind::Basic => Auth::Basic {
            user: text("user", raw.user.as_ref())?,
            password: secret("password", raw.password.as_ref())?,
        },
        AuthKind::Header => Auth::Header {
            name: header_name(raw.name.as_ref())?,
            value: secret("value", raw.value.as_ref())?,
        },
        AuthKind::Query => Auth::Query {
            name: need("name", raw.name.as_ref())?,
            value: secret("value", raw.value.as_ref())?,
        },
        AuthKind::Oauth2 => Auth::Oauth2 {
            token_url: match &raw.token_url {
                Some(text) => url(text)?,
                None => need("token_url", None)?,
            },
            client_id: text("client_id", raw.client_id.as_ref())?,
            client_secret: secret("client_secret", raw.client_secret.as_ref())?,
            scope: raw.scope.map(Spanned::into_inner).unwrap_or_default(),
        },
    })
}

fn allow(raw: Spanned<RawAllow>) -> Result<Allow, Fault> {
    const METHODS: [&str; 8] = [
        "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE",
    ];
    let raw = raw.into_inner();
    let hosts = raw.hosts.iter().map(|host| {
        let text = filled("hosts", host)?.to_ascii_lowercase();
        let bare = text.strip_prefix("*.").unwrap_or(&text);
        if bare.contains(|c: char| c.is_whitespace() || "/?#@*".contains(c)) {
            return Err(Fault::new(
                host.span(),
                "expected a host such as \"api.example.com\", \"*.example.com\" or \"127.0.0.1\"",
            ));
        }
        Ok(text)
    });
    let methods = raw.methods.iter().map(|method| {
        let text = method.get_ref().to_ascii_uppercase();
        if METHODS.contains(&text.as_str()) {
            return Ok(text);
        }
        let mut fault = Fault::new(
            method.span(),
            format!(
                "`{}` is no method, expected {}",
                method.get_ref(),
                one_of(&METHODS)
            ),
        );
        fault.nearest = nearest(&text, METHODS).into_iter().next();
        Err(fault)
    });
    Ok(Allow {
        hosts: hosts.collect::<Result<_, _>>()?,
        methods: methods.collect::<Result<_, _>>()?,
        private: raw.private,
    })
}

fn undo(raw: &RawUndo) -> Result<UndoRule, Fault> {
    let verify = raw.verify.as_ref().map(|check| {
        Ok::<_, Fault>(UndoCheck {
            read: ReadCall {
                call: filled("call", &check.call)?,
                arguments: templates(check.arguments.as_ref())?,
            },
            expect: check.expect,
        })
    });
    let rule = UndoRule {
        tool: glob(&raw.tool)?,
        call: filled("call", &raw.call)?,
        arguments: templates(raw.arguments.as_ref())?,
        verify: verify.transpose()?,
    };
    let reads = rule.verify.as_ref().map(|check| check.expect);
    if rule.needs_before() && reads != Some(UndoProof::Same) {
        return Err(Fault::new(
            raw.arguments.as_ref().map_or(0..0, Spanned::span),
            "`before:` takes what `verify` gave before the write: give `verify` with `expect = \"same\"`",
        ));
    }
    if rule.checks_by_reply() && reads == Some(UndoProof::Same) {
        let check = raw
            .verify
            .as_ref()
            .and_then(|check| check.arguments.as_ref());
        return Err(Fault::new(
            check.map_or(0..0, Spanned::span),
            "`expect = \"same\"` reads before the write, too, when there is no reply: take what it \
             reads from `argument:`",
        ));
    }
    Ok(rule)
}

/// The arguments of a call of an undo rule.
fn templates(raw: Option<&Spanned<toml::Table>>) -> Result<Map<String, Value>, Fault> {
    let map = arguments(raw)?;
    let texts = map
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_str()?)));
    for (name, text) in texts {
        if let Some(why) = bad_template(text) {
            let span = raw.map_or(0..0, Spanned::span);
            return Err(Fault::new(span, format!("`{name} = {text:?}`: {why}")));
        }
    }
    Ok(map)
}

fn arguments(raw: Option<&Spanned<toml::Table>>) -> Result<Map<String, Value>, Fault> {
    let Some(raw) = raw else {
        return Ok(Map::new());
    };
    match serde_json::to_value(raw.get_ref()) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(Fault::new(
            raw.span(),
            "arguments are texts, finite numbers, truth values, lists and tables of them",
        )),
    }
}

fn headers(
    raw: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
) -> Result<BTreeMap<String, Text>, Fault> {
    let mut out = BTreeMap::new();
    for (name, value) in raw.map(Spanned::into_inner).unwrap_or_default() {
        let text = Text::parse(value.get_ref());
        let valid = match &text {
            Text::Plain(text) => reqwest::header::HeaderValue::from_str(text).is_ok(),
            Text::Env(_) | Text::Secret(_) => true,
        };
        if !valid || reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Fault::new(
                value.span(),
                format!("`{name}` is no valid header"),
            ));
        }
        out.insert(name.to_ascii_lowercase(), text);
    }
    Ok(out)
}

/// `{folder}` is the registry's folder, whatever the working directory.
fn in_folder(text: &str, dir: &Path) -> String {
    text.replace("{folder}", &located::absolute(dir).display().to_string())
}

/// An argument or a variable of a process.
fn process_text(text: &str, dir: &Path) -> Text {
    match Text::parse(text) {
        Text::Plain(plain) => Text::Plain(in_folder(&plain, dir)),
        reference => reference,
    }
}

fn texts(raw: Option<Spanned<Vec<String>>>, dir: &Path) -> Vec<Text> {
    let list = raw.map(Spanned::into_inner).unwrap_or_default();
    list.iter().map(|text| process_text(text, dir)).collect()
}

/// What a process's own folder begins with. That it is there is checked when it is copied.
fn copies(raw: Option<Spanned<Vec<String>>>, dir: &Path) -> Result<Vec<PathBuf>, Fault> {
    let Some(raw) = raw else {
        return Ok(Vec::new());
    };
    let at = raw.span();
    let path = |text: String| {
        let path = dir.join(in_folder(&text, dir));
        if text.trim().is_empty() || path.file_name().is_none() {
            let message = format!("`copy` names files and folders, which `{text}` does not");
            return Err(Fault::new(at.clone(), message));
        }
        Ok(path)
    };
    raw.into_inner().into_iter().map(path).collect()
}

/// A file relative to the registry, or a URL.
pub(super) fn location(text: &str, dir: &Path) -> Location {
    if text.starts_with("http://") || text.starts_with("https://") {
        Location::Url(text.to_owned())
    } else {
        Location::File(dir.join(text))
    }
}

/// Where a document is: [`location`], or a path of the task's site.
fn document_at(raw: &Spanned<String>, dir: &Path) -> Result<Location, Fault> {
    let text = filled("document", raw)?;
    match text.strip_prefix("site:") {
        None => Ok(location(&text, dir)),
        Some(path) if path.starts_with('/') => Ok(Location::Site(path.to_owned())),
        Some(_) => Err(Fault::new(
            raw.span(),
            "a path of the task's site starts with a slash: \"site:/openapi.json\"",
        )),
    }
}

/// An absolute URL, or `site:` with a path or nothing.
fn base_url(raw: &Spanned<String>) -> Result<String, Fault> {
    let text = raw.get_ref();
    match text.strip_prefix("site:") {
        None => url(raw),
        Some(path) if path.is_empty() || path.starts_with('/') => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        Some(_) => Err(Fault::new(
            raw.span(),
            "a path of the task's site starts with a slash: \"site:/api\"",
        )),
    }
}

fn url(raw: &Spanned<String>) -> Result<String, Fault> {
    let fault = |message: &str| Fault::new(raw.span(), message);
    let shape = "expected an absolute URL such as \"https://api.example.com/v1\"";
    let parsed = url::Url::parse(raw.get_ref()).map_err(|_| fault(shape))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(fault(shape));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(fault("a URL holds no user name or password: use `auth`"));
    }
    if parsed.fragment().is_some() || parsed.query().is_some() {
        return Err(fault("no query or fragment here"));
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

fn glob(text: &Spanned<String>) -> Result<Glob, Fault> {
    filled("pattern", text).map(|text| Glob::new(&text))
}

fn filled(key: &str, text: &Spanned<String>) -> Result<String, Fault> {
    if text.get_ref().trim().is_empty() {
        return Err(Fault::new(text.span(), format!("`{key}` is empty")));
    }
    Ok(text.get_ref().clone())
}

fn word(key: &str, text: &Spanned<String>, most: usize) -> Result<String, Fault> {
    let word = text.get_ref();
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if word.is_empty() || word.len() > most || !word.chars().all(fine) {
        return Err(Fault::new(
            text.span(),
            format!("`{key}` has 1 to {most} characters of a-z, 0-9 and _"),
        ));
    }
    Ok(word.clone())
}

fn time(key: &str, seconds: &Spanned<f64>) -> Result<Duration, Fault> {
    let value = *seconds.get_ref();
    if value.is_finite() && (0.001..=86_400.0).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(Fault::new(
        seconds.span(),
        format!("`{key}` is between 0.001 and 86400 seconds"),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bare_file_name_has_a_folder_too() {
        let here = std::env::current_dir().unwrap();
        let path = in_folder("{folder}/server.py", Path::new(""));
        assert_eq!(Path::new(&path), here.join("server.py"));
        assert_eq!(in_folder("{folder}/x", Path::new("/a")), "/a/x");
    }

    fn ok(text: &str) -> RegistrySpec {
        parse(text, "r.toml", Path::new("/dir")).unwrap()
    }

    fn fail(text: &str) -> String {
        parse(text, "r.toml", Path::new("/dir"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn reads_every_key() {
        let registry = ok(r#"
            secrets = "secrets.toml"
            [[source]]
            name = "pets"
            kind = "openapi"
            document = "pets.yaml"
            base_url = "http://127.0.0.1:8080/v1/"
            variables = { region = "eu" }
            prefix = "pet_"
            only = ["list_*"]
            except = ["* /admin/*"]
            headers = { X-Team = "env:TEAM", accept-language = "en" }
            auth = { kind = "oauth2", token_url = "https://id.example.com/token", client_id = "me", client_secret = "secret:pets", scope = "a b" }
            allow = { hosts = ["127.0.0.1", "*.Example.com"], methods = ["get"], private = true }
            access = [{ tools = "search_*", access = "read" }]
            independent = ["tag_*"]
            undo = [{ tool = "create_pet", call = "delete_pet", arguments = { id = "reply:/id" }, verify = { call = "get_pet", arguments = { id = "reply:/id" }, expect = "error" } }]
            verify = [{ call = "list_pets", arguments = { limit = 5 } }]
            trust_annotations = true
            memo = "run"
            volatile = ["last_modified"]
            timeout_seconds = 2.5
            max_wait_seconds = 1
            response_bytes = 4096
            rate = { calls = 3, seconds = 1 }
            [[source]]
            name = "files"
            kind = "mcp"
            command = "npx"
            args = ["-y", "env:PACKAGE", "{folder}/notes", "{dir}"]
            env = { TOKEN = "secret:t", LOG = "{folder}/log" }
            copy = ["desk", "{folder}/a.txt"]
            [[source]]
            name = "remote"
            kind = "mcp"
            url = "https://mcp.example.com/mcp"
            [[source]]
            name = "bench"
            kind = "toolbench"
            files = ["a.json"]
        "#);
        insta::assert_json_snapshot!(registry);
    }

    #[test]
    fn what_was_there_before_must_be_read() {
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"openapi\"\ndocument = \"a\"\nundo = [{ tool = \"put\", call = \"put\", arguments = { data = \"before:/data\" } }]\n"), @r#"
        r.toml:5:51: `before:` takes what `verify` gave before the write: give `verify` with `expect = "same"`
         5 | undo = [{ tool = "put", call = "put", arguments = { data = "before:/data" } }]
           |                                                   ^^^^^^^^^^^^^^^^^^^^^^^^^
        "#);
    }

    #[test]
    fn values_of_undo_rules_can_be_taken() {
        let rule = |more: &str| {
            fail(&format!(
                "[[source]]\nname = \"a\"\nkind = \"openapi\"\ndocument = \"a\"\nundo = [{{ tool = \"put\", call = \"put\", {more} }}]\n"
            ))
        };
        insta::assert_snapshot!(rule("arguments = { id = \"replay:/id\" }"), @r#"
        r.toml:5:51: `id = "replay:/id"`: nothing is taken from `replay:`; did you mean `reply:/id`?
         5 | undo = [{ tool = "put", call = "put", arguments = { id = "replay:/id" } }]
           |                                                   ^^^^^^^^^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(rule("arguments = { id = \"reply:id\" }"), @r#"
        r.toml:5:51: `id = "reply:id"`: after `reply:` comes a JSON pointer: `reply:/id`?
         5 | undo = [{ tool = "put", call = "put", arguments = { id = "reply:id" } }]
           |                                                   ^^^^^^^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(rule("verify = { call = \"get\", arguments = { id = \"reply:/id\" }, expect = \"same\" }"), @r#"
        r.toml:5:76: `expect = "same"` reads before the write, too, when there is no reply: take what it reads from `argument:`
         5 | undo = [{ tool = "put", call = "put", verify = { call = "get", arguments = { id = "reply:/id" }, expect = "same" } }]
           |                                                                            ^^^^^^^^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"openapi\"\ndocument = \"a\"\nverify = [\"list\"]\n"), @r#"
        r.toml:5:11: invalid type: string "list", expected a table `{ call, arguments }`
         5 | verify = ["list"]
           |           ^^^^^^
        "#);
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"openapi\"\ndocument = \"a\"\nverify = { call = \"list\" }\n"), @r#"
        r.toml:5:10: invalid type: a table, expected a list: `[ ... ]`
         5 | verify = { call = "list" }
           |          ^^^^^^^^^^^^^^^^^
        "#);
        // What is no such value is sent as it is.
        ok(
            "[[source]]\nname = \"a\"\nkind = \"openapi\"\ndocument = \"a\"\nundo = [{ tool = \"put\", call = \"put\", arguments = { a = \"reply\", b = \"https://x/y\", c = \"urn:/x\", d = \"12:30\" } }]\n",
        );
    }

    #[test]
    fn faults_name_the_place() {
        insta::assert_snapshot!(fail(""), @"r.toml:1:1: a registry needs at least one [[source]] with `name` and `kind`");
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"openapy\"\n"), @r#"
        r.toml:3:8: unknown value `openapy`, expected one of `openapi`, `mcp`, `toolbench`; did you mean `openapi`?
         3 | kind = "openapy"
           |        ^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"openapi\"\n"), @r#"
        r.toml:3:8: a source of kind `openapi` needs `document`, a file or URL
         3 | kind = "openapi"
           |        ^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail("[[source]]\nname = \"A b\"\nkind = \"openapi\"\n"), @r#"
        r.toml:2:8: `name` has 1 to 32 characters of a-z, 0-9 and _
         2 | name = "A b"
           |        ^^^^^
        "#);
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"mcp\"\ndocument = \"x\"\n"), @r#"
        r.toml:4:12: a source of kind `mcp` has no key `document`, expected one of `command`, `args`, `env`, `copy`, `url`, `headers`, `auth`, `allow`
         4 | document = "x"
           |            ^^^
        "#);
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"mcp\"\n"), @r#"
        r.toml:3:8: a source of kind `mcp` needs exactly one of `command` and `url`
         3 | kind = "mcp"
           |        ^^^^^
        "#);
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"mcp\"\ncommand = \"x\"\nheaders = { a = \"b\" }\n"), @r#"
        r.toml:5:11: `headers` goes with `url`; a `command` takes `args`, `env` and `copy`
         5 | headers = { a = "b" }
           |           ^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"mcp\"\nurl = \"http://x\"\ncopy = [\"b\"]\n"), @r#"
        r.toml:5:8: `copy` goes with `command`; a `url` takes `headers`, `auth` and `allow`
         5 | copy = ["b"]
           |        ^^^^^
        "#);
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"mcp\"\ncommand = \"x\"\ncopy = [\"desk\", \"..\"]\n"), @r#"
        r.toml:5:8: `copy` names files and folders, which `..` does not
         5 | copy = ["desk", ".."]
           |        ^^^^^^^^^^^^^^
        "#);
        let openapi = "[[source]]\nname = \"a\"\nkind = \"openapi\"\ndocument = \"x\"\n";
        insta::assert_snapshot!(fail(&format!("{openapi}auth = {{ kind = \"bearer\", token = \"abc123\" }}\n")), @r#"r.toml:5:35: `token` is a secret: write "env:NAME" or "secret:NAME", never the value"#);
        insta::assert_snapshot!(fail(&format!("{openapi}auth = {{ kind = \"basic\", token = \"env:A\" }}\n")), @r#"
        r.toml:5:34: auth of kind `basic` has no key `token`, expected one of `user`, `password`
         5 | auth = { kind = "basic", token = "env:A" }
           |                                  ^^^^^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}auth = {{ kind = \"header\", name = \"a b\", value = \"env:A\" }}\n")), @r#"
        r.toml:5:34: expected the name of a header
         5 | auth = { kind = "header", name = "a b", value = "env:A" }
           |                                  ^^^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}base_url = \"127.0.0.1:80\"\n")), @r#"
        r.toml:5:12: expected an absolute URL such as "https://api.example.com/v1"
         5 | base_url = "127.0.0.1:80"
           |            ^^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}base_url = \"https://me:pw@h/\"\n")), @r#"
        r.toml:5:12: a URL holds no user name or password: use `auth`
         5 | base_url = "https://me:pw@h/"
           |            ^^^^^^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}allow = {{ methods = [\"GTE\"] }}\n")), @r#"
        r.toml:5:22: `GTE` is no method, expected one of `GET`, `HEAD`, `OPTIONS`, `POST`, `PUT`, `PATCH`, `DELETE`, `TRACE`
         5 | allow = { methods = ["GTE"] }
           |                      ^^^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}allow = {{ hosts = [\"https://x\"] }}\n")), @r#"
        r.toml:5:20: expected a host such as "api.example.com", "*.example.com" or "127.0.0.1"
         5 | allow = { hosts = ["https://x"] }
           |                    ^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}rate = {{ calls = 0, seconds = 1 }}\n")), @r#"
        r.toml:5:18: `calls` is at least 1
         5 | rate = { calls = 0, seconds = 1 }
           |                  ^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}timeout_seconds = -1\n")), @r#"
        r.toml:5:19: `timeout_seconds` is between 0.001 and 86400 seconds
         5 | timeout_seconds = -1
           |                   ^^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}response_bytes = 1\n")), @r#"
        r.toml:5:18: `response_bytes` is at least 1024: less leaves nothing to read
         5 | response_bytes = 1
           |                  ^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}tmeout_seconds = 1\n")), @"
        r.toml:5:1: unknown key `tmeout_seconds`, expected one of `name`, `kind`, `prefix`, `only`, `except`, `access`, `independent`, `undo`, `verify`, `trust_annotations`, `memo`, `volatile`, `timeout_seconds`, `max_wait_seconds`, `response_bytes`, `rate`, `document`, `base_url`, `variables`, `auth`, `headers`, `allow`, `command`, `args`, `env`, `copy`, `url`, `files`; did you mean `timeout_seconds`?
         5 | tmeout_seconds = 1
           | ^^^^^^^^^^^^^^
        ");
        insta::assert_snapshot!(fail(&format!("{openapi}{openapi}")), @r#"
        r.toml:6:8: a second source is called `a`
         6 | name = "a"
           |        ^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}headers = {{ a = \"x\\ny\" }}\n")), @r#"
        r.toml:5:17: `a` is no valid header
         5 | headers = { a = "x\ny" }
           |                 ^^^^^^
        "#);
        insta::assert_snapshot!(fail(&format!("{openapi}only = [\"\"]\n")), @r#"
        r.toml:5:9: `pattern` is empty
         5 | only = [""]
           |         ^^
        "#);
    }

    #[test]
    fn the_site_of_the_task() {
        let registry = ok(
            "[[source]]\nname = \"a\"\nkind = \"openapi\"\ndocument = \"site:/o.json\"\n\
             base_url = \"site:/api/\"\n",
        );
        let SourceKind::Openapi(spec) = &registry.sources[0].kind else {
            panic!("an openapi source");
        };
        assert_eq!(spec.document, Location::Site("/o.json".to_owned()));
        assert_eq!(spec.base_url.as_deref(), Some("site:/api"));
        insta::assert_snapshot!(fail("[[source]]\nname = \"a\"\nkind = \"openapi\"\ndocument = \"site:o\"\n"), @r#"
        r.toml:4:12: a path of the task's site starts with a slash: "site:/openapi.json"
         4 | document = "site:o"
           |            ^^^^^^^^
        "#);
    }

    #[test]
    fn arguments_are_json() {
        let registry = ok(
            "[[source]]\nname = \"a\"\nkind = \"openapi\"\ndocument = \"https://x/y\"\n\
             verify = [{ call = \"c\", arguments = { a = [1, 2.5, true], b = { c = \"d\" } } }]\n",
        );
        let source = &registry.sources[0];
        assert_eq!(
            Value::Object(source.verify[0].arguments.clone()),
            json!({ "a": [1, 2.5, true], "b": { "c": "d" } })
        );
        let SourceKind::Openapi(spec) = &source.kind else {
            panic!("an openapi source");
        };
        assert_eq!(spec.document, Location::Url("https://x/y".to_owned()));
    }
}
