//! From registry files to sources that can be called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderName};
use url::Url;

use async_trait::async_trait;

use super::{
    Allow, Auth, CallLimits, Location, McpSpec, McpTransport, Memo, OpenApiSpec, RegistrySpec,
    SecretError, Secrets, SourceKind, SourceSpec, Text, parse, rules, toolbench,
};
use crate::context::{Cx, Interrupted};
use crate::env::tools::http::{
    self, ClientCredentials, Credentials, FetchError, HttpConfig, HttpSource, Place,
};
use crate::env::tools::mcp::{McpConfig, McpServer, McpSource, OWN_FOLDER};
use crate::env::tools::openapi::{self, Document, DocumentError, MAX_DOCUMENT};
use crate::env::tools::{Access, Binding, Session, Source, SourceError, Tool};
use crate::located::{FormatError, nearest};

/// Longest name of a tool, in bytes.
const MAX_NAME: usize = 64;
/// No registry file is larger than this, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why there is no registry. Completes "failed to load the registry: …".
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Cancelled or out of time.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A file or directory could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A directory without registries.
    #[error("{0} holds no registry (*.toml)")]
    Empty(PathBuf),
    /// A file is no registry.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A reference has no value.
    #[error("the source `{source_name}` lacks a value: {error}")]
    Secret {
        /// Which source.
        source_name: String,
        /// What is missing.
        error: SecretError,
    },
    /// A document is not there.
    #[error("the document {location} of `{source_name}` {error}")]
    Fetch {
        /// Which source.
        source_name: String,
        /// Where it should be.
        location: String,
        /// Why it is not.
        error: FetchError,
    },
    /// A document is none.
    #[error("the document {location} of `{source_name}` {error}")]
    Document {
        /// Which source.
        source_name: String,
        /// Where it is.
        location: String,
        /// What is wrong with it.
        error: DocumentError,
    },
    /// A source has no tools.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Two tools have one name.
    #[error("`{first}` and `{second}` both offer a tool `{tool}`: give one of them a `prefix`")]
    Duplicate {
        /// The name.
        tool: String,
        /// A source.
        first: String,
        /// Another.
        second: String,
    },
}

/// All sources of some registry files, loaded.
pub struct Registry {
    sources: Vec<Loaded>,
    secrets: Vec<String>,
}

/// A loaded source.
pub struct Loaded {
    /// What the registry says about it.
    pub spec: SourceSpec,
    /// The source.
    pub source: Arc<dyn Source>,
    /// What is odd about it as a whole: notes of the document, left-out tools.
    pub notes: Vec<String>,
    /// What is wrong with its undo rules: such a one can never work.
    pub faults: Vec<String>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self
            .sources
            .iter()
            .map(|one| one.spec.name.as_str())
            .collect();
        write!(f, "Registry({names:?})")
    }
}

/// The registries that are part of the program, by name: for the demo shop's tasks and for BFCL's.
const BUILT_IN: [(&str, &str); 2] = [
    ("demo", include_str!("../../../../tools/demo.toml")),
    ("bfcl", include_str!("../../../../tools/bfcl.toml")),
];

/// The server that `site:` stands for in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnSite {
    /// The origin that tools and records name.
    pub logical: String,
    /// Where a document can be fetched now.
    pub real: String,
}

/// A registry that is part of the program, by its name and text.
fn built_in(path: &str) -> Option<&'static (&'static str, &'static str)> {
    let found = BUILT_IN.iter().find(|(name, _)| *name == path);
    found.filter(|_| !Path::new(path).exists())
}

/// Whether `path` means a registry that is part of the program.
#[must_use]
pub fn is_built_in(path: &Path) -> bool {
    path.to_str().is_some_and(|path| built_in(path).is_some())
}

/// Whether `path` means a registry: a file of one, or one that is part of the program.
#[must_use]
pub fn is_registry(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "toml") || is_built_in(path)
}

/// Reads what `path` says: a registry file, a directory of them, or an OpenAPI document (a file or
/// URL), which is then the only source, under default terms. `demo` and `bfcl` are part of the
/// program, unless such a path exists.
///
/// # Errors
/// [`RegistryError`].
pub fn read_specs(path: &str) -> Result<Vec<RegistrySpec>, RegistryError> {
    if path.starts_with("http://") || path.starts_with("https://") {
        return Ok(vec![document_only(path, Location::Url(path.to_owned()))]);
    }
    let file = Path::new(path);
    if let Some((name, text)) = built_in(path) {
        return Ok(vec![parse(
            text,
            &format!("{name} (built in)"),
            Path::new(""),
        )?]);
    }
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| RegistryError::Read { path, source }
    };
    if file.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(file).map_err(fail(file))? {
            let entry = entry.map_err(fail(file))?.path();
            if entry.extension().is_some_and(|end| end == "toml") {
                files.push(entry);
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(RegistryError::Empty(file.to_owned()));
        }
        return files.iter().map(|file| read_spec(file)).collect();
    }
    if file.extension().is_some_and(|end| end == "toml") {
        return Ok(vec![read_spec(file)?]);
    }
    std::fs::metadata(file).map_err(fail(file))?;
    Ok(vec![document_only(path, Location::File(file.to_owned()))])
}

fn read_spec(file: &Path) -> Result<RegistrySpec, RegistryError> {
    let fail = |source| RegistryError::Read {
        path: file.to_owned(),
        source,
    };
    if std::fs::metadata(file).map_err(fail)?.len() > MAX_FILE {
        return Err(fail(std::io::Error::other("larger than 1 MiB")));
    }
    let text = std::fs::read_to_string(file).map_err(fail)?;
    let dir = file.parent().unwrap_or(Path::new("."));
    Ok(parse(&text, &file.display().to_string(), dir)?)
}

/// A registry of one document.
fn document_only(path: &str, document: Location) -> RegistrySpec {
    RegistrySpec {
        file: path.to_owned(),
        secrets: None,
        sources: vec![SourceSpec {
            name: "document".to_owned(),
            kind: SourceKind::Openapi(OpenApiSpec {
                document,
                base_url: None,
                variables: BTreeMap::new(),
                auth: None,
                headers: BTreeMap::new(),
                allow: Allow::default(),
            }),
            prefix: String::new(),
            only: Vec::new(),
            except: Vec::new(),
            overrides: Vec::new(),
            independent: Vec::new(),
            undo: Vec::new(),
            verify: Vec::new(),
            trust_annotations: false,
            memo: Memo::default(),
            volatile: Vec::new(),
            limits: CallLimits::default(),
        }],
    }
}

impl Registry {
    /// Reads registry files and loads all their sources.
    ///
    /// # Errors
    /// [`RegistryError`] for the first source that cannot be loaded.
    pub async fn open(path: &str, cx: &Cx) -> Result<Self, RegistryError> {
        Self::load(&read_specs(path)?, None, cx).await
    }

    /// Loads all sources of some registries; `site` is what `site:` means in them.
    ///
    /// # Errors
    /// [`RegistryError`] for the first source that cannot be loaded.
    pub async fn load(
        specs: &[RegistrySpec],
        site: Option<&OnSite>,
        cx: &Cx,
    ) -> Result<Self, RegistryError> {
        let mut registry = Self {
            sources: Vec::new(),
            secrets: Vec::new(),
        };
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for spec in specs {
            let mut values = Values {
                secrets: Secrets::open(spec.secrets.as_deref()).map_err(|error| {
                    RegistryError::Secret {
                        source_name: spec.file.clone(),
                        error,
                    }
                })?,
                used: Vec::new(),
                site: site.cloned(),
            };
            for source in &spec.sources {
                // Boxed: what connecting takes should not weigh on every caller's future.
                let loaded = Box::pin(load_source(source, &mut values, cx)).await?;
                for tool in loaded.source.tools() {
                    let name = &source.name;
                    if let Some(first) = owners.insert(tool.name.clone(), name.clone()) {
                        return Err(RegistryError::Duplicate {
                            tool: tool.name.clone(),
                            first,
                            second: name.clone(),
                        });
                    }
                }
                registry.sources.push(loaded);
            }
            registry.secrets.append(&mut values.used);
        }
        Ok(registry)
    }

    /// Its sources, in the order of the files.
    #[must_use]
    pub fn sources(&self) -> &[Loaded] {
        &self.sources
    }

    /// All tools, source by source.
    #[must_use]
    pub fn tools(&self) -> Vec<Arc<Tool>> {
        self.sources
            .iter()
            .flat_map(|one| one.source.tools())
            .collect()
    }

    /// The tool of that name, and its source.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(&Loaded, Arc<Tool>)> {
        self.sources.iter().find_map(|one| {
            let tools = one.source.tools();
            let tool = tools.into_iter().find(|tool| tool.name == name)?;
            Some((one, tool))
        })
    }

    /// Names that resemble `name`, nearest first.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Vec<String> {
        nearest(name, self.tools().iter().map(|tool| tool.name.clone()))
    }

    /// The values of all references that were resolved: they must not be written anywhere.
    #[must_use]
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }
}

/// Resolves references and remembers their values.
struct Values {
    secrets: Secrets,
    used: Vec<String>,
    site: Option<OnSite>,
}

impl Values {
    /// The site, which the source speaks of.
    fn site(&self, source: &SourceSpec) -> Result<&OnSite, RegistryError> {
        self.site.as_ref().ok_or_else(|| {
            unusable(
                source,
                "is on a task's site (`site:`), and here is none: run a task that has one, or name it: \
                 `--site demo` for the demo shop, `--site http://HOST:PORT` for a server that runs"
                    .to_owned(),
            )
        })
    }

    fn get(&mut self, text: &Text, source: &SourceSpec) -> Result<String, RegistryError> {
        let value = self
            .secrets
            .resolve(text)
            .map_err(|error| RegistryError::Secret {
                source_name: source.name.clone(),
                error,
            })?;
        if text.is_reference() {
            self.used.push(value.clone());
        }
        Ok(value)
    }
}

async fn load_source(
    spec: &SourceSpec,
    values: &mut Values,
    cx: &Cx,
) -> Result<Loaded, RegistryError> {
    match &spec.kind {
        SourceKind::Openapi(api) => load_openapi(spec, api, values, cx).await,
        SourceKind::Toolbench { files } => {
            let tools = toolbench::read(files, &spec.name, &spec.prefix);
            let mut tools = tools.map_err(|reason| unusable(spec, reason))?;
            let notes = choose(spec, &[], &mut tools);
            let source = http_source(spec, tools, None, Vec::new(), Allow::default())?;
            Ok(loaded(spec, Arc::new(source), notes))
        }
        SourceKind::Mcp(mcp) => load_mcp(spec, mcp, values, cx).await,
    }
}

async fn load_mcp(
    spec: &SourceSpec,
    mcp: &McpSpec,
    values: &mut Values,
    cx: &Cx,
) -> Result<Loaded, RegistryError> {
    let server = match &mcp.transport {
        McpTransport::Stdio {
            command,
            args,
            env,
            copy,
        } => {
            let named =
                |text: &Text| matches!(text, Text::Plain(text) if text.contains(OWN_FOLDER));
            let owns = !copy.is_empty() || args.iter().chain(env.values()).any(named);
            let args = args.iter().map(|text| values.get(text, spec));
            let args = args.collect::<Result<_, _>>()?;
            let env = env
                .iter()
                .map(|(name, text)| Ok((name.clone(), values.get(text, spec)?)));
            McpServer::Process {
                command: command.clone(),
                args,
                env: env.collect::<Result<_, RegistryError>>()?,
                folder: owns.then(|| copy.clone()),
            }
        }
        McpTransport::Http {
            url,
            headers,
            auth,
            allow,
        } => {
            let headers = headers
                .iter()
                .map(|(name, text)| Ok((name.clone(), values.get(text, spec)?)));
            let headers = headers.collect::<Result<_, RegistryError>>()?;
            let proof = auth.as_ref().map(|auth| credentials(auth, spec, values));
            McpServer::Http {
                url: url.clone(),
                headers,
                credentials: proof.transpose()?,
                private: allow.private,
            }
        }
    };
    let config = McpConfig {
        name: spec.name.clone(),
        server,
        trusted: spec.trust_annotations,
        timeout: spec.limits.timeout,
        secrets: values.used.clone(),
    };
    let source = Chosen {
        spec: spec.clone(),
        inner: McpSource::connect(config, cx).await?,
    };
    let notes = source.choice().1;
    Ok(loaded(spec, Arc::new(source), notes))
}

/// The tools of a server that may change its list at any time, on the registry's terms.
struct Chosen {
    spec: SourceSpec,
    inner: McpSource,
}

impl Chosen {
    fn choice(&self) -> (Vec<Tool>, Vec<String>) {
        let all = self.inner.tools();
        let mut tools: Vec<Tool> = all.iter().map(|tool| (**tool).clone()).collect();
        let mut notes = choose(&self.spec, &[], &mut tools);
        if !self.spec.prefix.is_empty() {
            for tool in &mut tools {
                let name = format!("{}{}", self.spec.prefix, tool.name);
                if name.len() <= MAX_NAME {
                    tool.name = name;
                } else {
                    notes.push(format!("`{}` is too long for the prefix", tool.name));
                }
            }
        }
        (tools, notes)
    }
}

#[async_trait]
impl Source for Chosen {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn tools(&self) -> Vec<Arc<Tool>> {
        self.choice().0.into_iter().map(Arc::new).collect()
    }

    async fn open(&self, cx: &Cx) -> Result<Box<dyn Session>, SourceError> {
        self.inner.open(cx).await
    }

    async fn open_at(
        &self,
        logical: &str,
        real: &str,
        cx: &Cx,
    ) -> Result<Box<dyn Session>, SourceError> {
        self.inner.open_at(logical, real, cx).await
    }
}

fn unusable(spec: &SourceSpec, reason: String) -> RegistryError {
    RegistryError::Source(SourceError::Unusable {
        source_name: spec.name.clone(),
        reason,
    })
}

fn loaded(spec: &SourceSpec, source: Arc<dyn Source>, mut notes: Vec<String>) -> Loaded {
    notes.extend(rules::notes(spec));
    Loaded {
        faults: rules::faults(spec, &source.tools()),
        spec: spec.clone(),
        source,
        notes,
    }
}

fn http_source(
    spec: &SourceSpec,
    tools: Vec<Tool>,
    credentials: Option<Credentials>,
    headers: Vec<(HeaderName, String, bool)>,
    allow: Allow,
) -> Result<HttpSource, RegistryError> {
    Ok(HttpSource::new(HttpConfig {
        name: spec.name.clone(),
        tools,
        credentials,
        headers,
        allow,
        limits: spec.limits,
    })?)
}

async fn load_openapi(
    spec: &SourceSpec,
    api: &OpenApiSpec,
    values: &mut Values,
    cx: &Cx,
) -> Result<Loaded, RegistryError> {
    let location = api.document.to_string();
    let fetch = |error| RegistryError::Fetch {
        source_name: spec.name.clone(),
        location: location.clone(),
        error,
    };
    let (bytes, document_url) = match &api.document {
        Location::File(path) => {
            let read = |path: &Path| {
                let size = std::fs::metadata(path)?.len();
                if size > MAX_DOCUMENT as u64 {
                    return Err(std::io::Error::other("larger than 64 MiB"));
                }
                std::fs::read(path)
            };
            let bytes = read(path).map_err(|source| RegistryError::Read {
                path: path.clone(),
                source,
            })?;
            (bytes, None)
        }
        Location::Url(text) => {
            let url = Url::parse(text)
                .map_err(|error| fetch(FetchError::Failed(format!("has no valid URL: {error}"))))?;
            let limit = spec.limits.timeout;
            let got = http::fetch(&url, api.allow.private, MAX_DOCUMENT, limit, cx).await;
            (got.map_err(fetch)?, Some(text.clone()))
        }
        Location::Site(path) => {
            let site = values.site(spec)?;
            let url = Url::parse(&format!("{}{path}", site.real))
                .map_err(|error| fetch(FetchError::Failed(format!("has no valid URL: {error}"))))?;
            // The lane's own server: ours, on this machine.
            let got = http::fetch(&url, true, MAX_DOCUMENT, spec.limits.timeout, cx).await;
            (got.map_err(fetch)?, Some(format!("{}{path}", site.logical)))
        }
    };
    let document = Document::parse(&bytes).map_err(|error| RegistryError::Document {
        source_name: spec.name.clone(),
        location: location.clone(),
        error,
    })?;
    let mut headers = Vec::new();
    for (name, text) in &api.headers {
        let value = values.get(text, spec)?;
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| unusable(spec, format!("has a header `{name}` that is none")))?;
        headers.push((name, value, text.is_reference()));
    }
    let credentials = match &api.auth {
        Some(auth) => Some(credentials(auth, spec, values)?),
        None => None,
    };
    let mut provided: Vec<(Place, String)> = headers
        .iter()
        .map(|(name, _, _)| (Place::Header, name.as_str().to_owned()))
        .collect();
    match &credentials {
        Some(Credentials::Header(name, _)) => {
            provided.push((Place::Header, name.as_str().to_owned()));
        }
        Some(Credentials::Query(name, _)) => provided.push((Place::Query, name.clone())),
        Some(Credentials::Client(_)) => {
            provided.push((Place::Header, AUTHORIZATION.as_str().to_owned()));
        }
        None => {}
    }
    let options = openapi::Options {
        source: spec.name.clone(),
        prefix: spec.prefix.clone(),
        base_url: match api.base_url.as_deref() {
            None => None,
            Some(text) => Some(match text.strip_prefix("site:") {
                None => text.to_owned(),
                Some(path) => format!("{}{path}", values.site(spec)?.logical),
            }),
        },
        document_url,
        variables: api.variables.clone(),
        provided,
    };
    let mut converted = openapi::convert(&document, &options);
    drop(document);
    let mut notes = converted.notes;
    notes.extend(choose(spec, &api.allow.methods, &mut converted.tools));
    let source = http_source(
        spec,
        converted.tools,
        credentials,
        headers,
        api.allow.clone(),
    )?;
    Ok(loaded(spec, Arc::new(source), notes))
}

fn credentials(
    auth: &Auth,
    spec: &SourceSpec,
    values: &mut Values,
) -> Result<Credentials, RegistryError> {
    Ok(match auth {
        Auth::Bearer { token } => {
            let token = values.get(token, spec)?;
            Credentials::Header(AUTHORIZATION, format!("Bearer {token}"))
        }
        Auth::Basic { user, password } => {
            let user = values.get(user, spec)?;
            let password = values.get(password, spec)?;
            let header = http::basic(&user, &password);
            // The encoded form must not be written either.
            values.used.extend(
                header
                    .split_once(' ')
                    .map(|(_, encoded)| encoded.to_owned()),
            );
            Credentials::Header(AUTHORIZATION, header)
        }
        Auth::Header { name, value } => {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| unusable(spec, format!("has a header `{name}` that is none")))?;
            Credentials::Header(name, values.get(value, spec)?)
        }
        Auth::Query { name, value } => Credentials::Query(name.clone(), values.get(value, spec)?),
        Auth::Oauth2 {
            token_url,
            client_id,
            client_secret,
            scope,
        } => Credentials::Client(ClientCredentials {
            token_url: Url::parse(token_url)
                .map_err(|error| unusable(spec, format!("has a bad `token_url`: {error}")))?,
            id: values.get(client_id, spec)?,
            secret: values.get(client_secret, spec)?,
            scope: scope.clone(),
        }),
    })
}

/// Applies `only`, `except`, `access`, `independent` and the allowed methods; says what was left
/// out and which patterns fit nothing.
fn choose(spec: &SourceSpec, methods: &[String], tools: &mut Vec<Tool>) -> Vec<String> {
    let mut notes = Vec::new();
    for (key, globs) in [("only", &spec.only), ("except", &spec.except)] {
        for glob in globs {
            if !tools.iter().any(|tool| fits(tool, glob)) {
                notes.push(format!("`{key}`: `{}` fits no tool", glob.as_str()));
            }
        }
    }
    let before = tools.len();
    tools.retain(|tool| {
        (spec.only.is_empty() || spec.only.iter().any(|glob| fits(tool, glob)))
            && !spec.except.iter().any(|glob| fits(tool, glob))
    });
    let chosen = tools.len();
    tools.retain(|tool| match &tool.binding {
        Binding::Http(plan) => methods.is_empty() || methods.contains(&plan.method),
        Binding::Mcp { .. } | Binding::Described => true,
    });
    if tools.len() < before {
        notes.push(format!(
            "{} of {before} tools are offered: {} left out by `only` and `except`, {} by `allow.methods`",
            tools.len(),
            before - chosen,
            chosen - tools.len()
        ));
    }
    for rule in &spec.overrides {
        let mut any = false;
        for tool in tools.iter_mut().filter(|tool| fits(tool, &rule.tools)) {
            tool.access = rule.access;
            any = true;
        }
        if !any {
            notes.push(format!("`access`: `{}` fits no tool", rule.tools.as_str()));
        }
    }
    for glob in &spec.independent {
        let mut any = false;
        for tool in tools.iter_mut().filter(|tool| fits(tool, glob)) {
            tool.independent = true;
            any = true;
        }
        if !any {
            notes.push(format!("`independent`: `{}` fits no tool", glob.as_str()));
        }
    }
    for read in &spec.verify {
        match tools.iter().find(|tool| tool.name == read.call) {
            None => notes.push(format!(
                "`verify`: there is no tool `{}` to call",
                read.call
            )),
            Some(tool) if tool.access != Access::Read => {
                notes.push(format!("`verify`: `{}` is no read", read.call));
            }
            Some(_) => {}
        }
    }
    notes
}

/// By name, by the provider's name, or by `METHOD /path`.
fn fits(tool: &Tool, glob: &super::Glob) -> bool {
    let by_path = match &tool.binding {
        Binding::Http(plan) => glob.matches(&format!("{} {}", plan.method, plan.path)),
        Binding::Mcp { .. } | Binding::Described => false,
    };
    by_path || glob.matches(&tool.name) || glob.matches(&tool.original)
}
