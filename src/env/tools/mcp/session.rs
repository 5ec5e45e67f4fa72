//! One lane's connection to a server.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, Implementation,
    PaginatedRequestParams,
};
use rmcp::service::{NotificationContext, Peer, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient, ServiceExt};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::client::Proved;
use super::convert;
use super::folder::Folder;
use super::process::{Process, Said};
use super::source::{McpConfig, McpServer, Shared};
use crate::context::{Cx, Interrupted};
use crate::env::tools::http::{Proof, client, is_private};
use crate::env::tools::redact::Redaction;
use crate::env::tools::{
    Access, Binding, CallError, Prepared, Reply, Session, SourceError, Tool, Validators, compile,
};
use crate::http::causes;
use crate::types::{Effect, EffectKind, Rejection};

/// A tool list has no more pages than this.
const MOST_PAGES: usize = 1000;

/// Hears what the server says by itself.
struct Ear {
    config: ClientConfig,
    /// The tool list is not what it was.
    stale: Arc<AtomicBool>,
}

impl ClientHandler for Ear {
    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.stale.store(true, Ordering::Release);
    }
}

/// A live connection.
struct Link {
    client: RunningService<RoleClient, Ear>,
    process: Option<Process>,
    /// Counts the connections of the session.
    generation: u32,
}

/// A session with an MCP server.
pub(super) struct McpSession {
    shared: Arc<Shared>,
    /// `None` once closed.
    link: Mutex<Option<Link>>,
    said: Option<Arc<Said>>,
    /// The process's own folder, where it has one.
    folder: Option<Arc<Folder>>,
    /// What it proves itself with, over HTTP.
    proof: Option<Arc<Proof>>,
    redaction: Arc<Redaction>,
    stale: Arc<AtomicBool>,
    /// A write was sent: the server may hold something for this session.
    wrote: AtomicBool,
    /// Found out to be dead.
    dead: AtomicBool,
    validators: Validators,
}

/// How one attempt of a call ended without a reply.
enum Trouble {
    Call(CallError),
    /// The server does not know the HTTP session any more.
    Expired,
}

impl McpSession {
    pub(super) async fn open(shared: &Arc<Shared>, cx: &Cx) -> Result<Self, SourceError> {
        let stale = Arc::new(AtomicBool::new(false));
        let proof = proof(&shared.config).map_err(|reason| shared.unusable(reason))?;
        let redaction = match &proof {
            Some(proof) => Arc::clone(proof.redaction()),
            None => Arc::new(Redaction::new(shared.config.secrets.clone())),
        };
        let link = connect(shared, proof.as_ref(), &redaction, &stale, 0, cx).await?;
        Ok(Self {
            shared: Arc::clone(shared),
            said: link.process.as_ref().map(|p| Arc::clone(p.said())),
            folder: link.process.as_ref().and_then(|p| p.folder().cloned()),
            link: Mutex::new(Some(link)),
            proof,
            redaction,
            stale,
            wrote: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            validators: Validators::default(),
        })
    }

    pub(super) fn is_live(&self) -> bool {
        !self.dead.load(Ordering::Acquire)
            && self
                .link
                .try_lock()
                .is_ok_and(|link| link.as_ref().is_some_and(|l| !l.client.is_closed()))
    }

    /// Every page of the tool list.
    pub(super) async fn list(&self, cx: &Cx) -> Result<Vec<rmcp::model::Tool>, SourceError> {
        let Some((peer, _)) = self.peer().await else {
            return Err(self.shared.unusable("was closed"));
        };
        let mut tools = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut page = PaginatedRequestParams::default();
            page.cursor.clone_from(&cursor);
            let listed = cx
                .bounded(self.shared.config.timeout, peer.list_tools(Some(page)))
                .await
                .map_err(|interrupted| self.no_start(interrupted, "list its tools"))?;
            let listed = match listed {
                Ok(listed) => listed,
                Err(error) => {
                    self.note_exit().await;
                    let error = causes(&error);
                    return Err(self.unusable(&format!("could not list its tools: {error}")));
                }
            };
            tools.extend(listed.tools);
            match listed.next_cursor {
                None => return Ok(tools),
                Some(next) if cursor.as_ref() == Some(&next) => {
                    return Err(self.unusable("gave the same page of tools again and again"));
                }
                Some(next) => cursor = Some(next),
            }
        }
        Err(self.unusable(&format!("lists its tools on more than {MOST_PAGES} pages")))
    }

    async fn peer(&self) -> Option<(Peer<RoleClient>, u32)> {
        let link = self.link.lock().await;
        link.as_ref()
            .map(|link| (link.client.peer().clone(), link.generation))
    }

    async fn note_exit(&self) {
        if let Some(process) = self
            .link
            .lock()
            .await
            .as_mut()
            .and_then(|l| l.process.as_mut())
        {
            process.note_exit().await;
        }
    }

    /// What the server left behind, as the end of a sentence.
    fn last_words(&self) -> String {
        let words = self.said.as_ref().map(|said| said.obituary());
        words
            .filter(|words| !words.is_empty())
            .map_or_else(String::new, |words| format!("; {words}"))
    }

    fn unusable(&self, reason: &str) -> SourceError {
        self.shared
            .unusable(format!("{reason}{}", self.last_words()))
    }

    fn no_start(&self, interrupted: Interrupted, what: &str) -> SourceError {
        match interrupted {
            Interrupted::Cancelled => interrupted.into(),
            Interrupted::Timeout(_) => self.unusable(&format!("did not {what} ({interrupted})")),
        }
    }

    async fn once(
        &self,
        peer: &Peer<RoleClient>,
        name: &str,
        tool: &Tool,
        prepared: &Prepared,
        cx: &Cx,
    ) -> Result<Reply, Trouble> {
        let mut arguments = prepared.arguments.clone();
        if let Some(folder) = &self.folder {
            for value in arguments.values_mut() {
                *value = folder.inward(value);
            }
        }
        let request = CallToolRequestParams::new(name.to_owned()).with_arguments(arguments);
        let limit = self.shared.config.timeout;
        let unreachable = |reason: String| {
            Trouble::Call(CallError::Unreachable {
                tool: tool.name.clone(),
                reason,
            })
        };
        let answered = match cx.bounded(limit, peer.call_tool_once(request)).await {
            Ok(answered) => answered,
            Err(Interrupted::Cancelled) => {
                return Err(Trouble::Call(Interrupted::Cancelled.into()));
            }
            Err(timeout @ Interrupted::Timeout(_)) => {
                return Err(unreachable(format!("{timeout}{}", self.last_words())));
            }
        };
        match answered {
            Ok(CallToolResponse::Complete(result)) => Ok(convert::reply(result)),
            Ok(CallToolResponse::InputRequired(_)) => Ok(refusal(
                "the server asks for input from a person, which a search cannot give",
            )),
            Ok(_) => Ok(refusal(
                "the server answered with a task instead of a result",
            )),
            Err(ServiceError::McpError(error)) => {
                let mut reply = refusal(&error.message);
                reply.notes.push(format!("JSON-RPC error {}", error.code.0));
                if let Some(data) = error.data {
                    reply.content = serde_json::json!({ "error": error.message, "data": data });
                }
                Ok(reply)
            }
            Err(error) => {
                let text = causes(&error);
                if text.contains("Session expired (HTTP 404)") {
                    return Err(Trouble::Expired);
                }
                if self.said.is_some() {
                    self.dead.store(true, Ordering::Release);
                    self.note_exit().await;
                    return Err(Trouble::Call(CallError::SessionLost {
                        tool: tool.name.clone(),
                        reason: format!("{text}{}", self.last_words()),
                    }));
                }
                Err(unreachable(text))
            }
        }
    }

    /// A reply as it may be shown: without secrets, and the process's own folder by the name that it
    /// has here.
    fn outward(&self, mut reply: Reply) -> Reply {
        self.redaction.reply(&mut reply);
        if let Some(folder) = &self.folder {
            reply.content = folder.outward(&reply.content);
        }
        reply
    }

    /// A new connection after the server forgot the session; nothing where another call made one.
    async fn renew(&self, forgotten: u32, cx: &Cx) -> Result<(), SourceError> {
        let mut link = self.link.lock().await;
        if link.as_ref().is_some_and(|l| l.generation != forgotten) {
            return Ok(());
        }
        if let Some(mut old) = link.take() {
            old.client.close().await.ok();
        }
        *link = Some(
            connect(
                &self.shared,
                self.proof.as_ref(),
                &self.redaction,
                &self.stale,
                forgotten + 1,
                cx,
            )
            .await?,
        );
        Ok(())
    }

    /// What changed, if the server said that its list did.
    async fn news(&self, cx: &Cx) -> Option<String> {
        if !self.stale.swap(false, Ordering::AcqRel) {
            return None;
        }
        match self.list(cx).await {
            Ok(listed) => self.shared.relist(&listed),
            Err(error) => Some(format!("the server changed its list of tools, but {error}")),
        }
    }
}

/// An answer that is an error of the server's own making.
fn refusal(text: &str) -> Reply {
    Reply {
        error: true,
        status: None,
        content: Value::String(text.to_owned()),
        bytes: text.len() as u64,
        notes: Vec::new(),
    }
}

/// The first way in which a reply does not fit its declared schema.
fn misfit(tool: &Tool, content: &Value) -> Option<String> {
    let validator = compile(tool.output.as_ref()?).ok()?;
    let error = validator.iter_errors(content).next()?;
    let text: String = error.to_string().chars().take(200).collect();
    Some(format!("{text} (at `{}`)", error.instance_path()))
}

/// What a session with this server proves itself with; nothing where it is a process.
fn proof(config: &McpConfig) -> Result<Option<Arc<Proof>>, String> {
    let McpServer::Http {
        credentials,
        private,
        ..
    } = &config.server
    else {
        return Ok(None);
    };
    // It follows no redirect: that could carry the proof, and the search, to somebody else.
    let client = client(*private)?;
    let proof = Proof::new(
        credentials.clone(),
        config.secrets.clone(),
        client,
        *private,
    );
    Ok(Some(Arc::new(proof)))
}

async fn connect(
    shared: &Arc<Shared>,
    proof: Option<&Arc<Proof>>,
    redaction: &Arc<Redaction>,
    stale: &Arc<AtomicBool>,
    generation: u32,
    cx: &Cx,
) -> Result<Link, SourceError> {
    let config = &shared.config;
    let ear = Ear {
        config: ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("branchline", env!("CARGO_PKG_VERSION")),
        ),
        stale: Arc::clone(stale),
    };
    let failed = |error: &dyn std::error::Error, words: &str| {
        let error = causes(error);
        shared.unusable(format!("did not open a session: {error}{words}"))
    };
    match &config.server {
        McpServer::Process { .. } => {
            let spawned = Process::spawn(config, redaction).await;
            let (mut process, read, write) = spawned.map_err(|reason| shared.unusable(reason))?;
            let greeted = cx.bounded(config.timeout, ear.serve((read, write))).await;
            let words = |process: &Process| match process.said().obituary() {
                words if words.is_empty() => words,
                words => format!("; {words}"),
            };
            match greeted {
                Ok(Ok(client)) => Ok(Link {
                    client,
                    process: Some(process),
                    generation,
                }),
                Ok(Err(error)) => {
                    process.note_exit().await;
                    Err(failed(&error, &words(&process)))
                }
                Err(Interrupted::Cancelled) => Err(Interrupted::Cancelled.into()),
                Err(timeout @ Interrupted::Timeout(_)) => Err(failed(&timeout, &words(&process))),
            }
        }
        McpServer::Http {
            url,
            headers,
            private,
            credentials: _,
        } => {
            let proof = proof.expect("an HTTP server has one");
            let proved = Proved {
                proof: Arc::clone(proof),
                limit: config.timeout,
            };
            let transport =
                http(url, headers, *private, proved).map_err(|reason| shared.unusable(reason))?;
            match cx.bounded(config.timeout, ear.serve(transport)).await {
                Ok(Ok(client)) => Ok(Link {
                    client,
                    process: None,
                    generation,
                }),
                Ok(Err(error)) => Err(failed(&error, "")),
                Err(Interrupted::Cancelled) => Err(Interrupted::Cancelled.into()),
                Err(timeout @ Interrupted::Timeout(_)) => Err(failed(&timeout, "")),
            }
        }
    }
}

fn http(
    url: &str,
    headers: &BTreeMap<String, String>,
    private: bool,
    client: Proved,
) -> Result<StreamableHttpClientTransport<Proved>, String> {
    let parsed = url::Url::parse(url).map_err(|error| format!("has no valid URL: {error}"))?;
    let address = match parsed.host() {
        Some(url::Host::Ipv4(address)) => Some(address.into()),
        Some(url::Host::Ipv6(address)) => Some(address.into()),
        Some(url::Host::Domain(_)) | None => None,
    };
    if !private && address.is_some_and(is_private) {
        return Err(format!(
            "is at a private address, {}; `allow = {{ private = true }}` would allow it",
            parsed.host_str().unwrap_or_default()
        ));
    }
    let mut named = HashMap::new();
    for (name, value) in headers {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("has a header with the invalid name `{name}`"))?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| format!("has a header `{name}` whose value cannot be sent"))?;
        value.set_sensitive(true);
        named.insert(key, value);
    }
    let config = StreamableHttpClientTransportConfig::with_uri(url.to_owned())
        .custom_headers(named)
        .max_concurrent_requests(128)
        // A new session is opened here, where it is known what was written in the old one.
        .reinit_on_expired_session(false);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

#[async_trait]
impl Session for McpSession {
    fn prepare(&self, tool: &Tool, arguments: &Map<String, Value>) -> Result<Prepared, Rejection> {
        let arguments = self.validators.check(tool, arguments)?;
        Ok(Prepared {
            effect: Effect {
                kind: match tool.access {
                    Access::Read => EffectKind::Read,
                    Access::Idempotent | Access::Write => EffectKind::Write,
                },
                method: "CALL".to_owned(),
                url: format!("mcp://{}/{}", tool.source, tool.original),
                headers: Vec::new(),
                body: Some(Value::Object(arguments.clone()).to_string()),
                held: false,
            },
            arguments,
        })
    }

    async fn call(&self, tool: &Tool, prepared: &Prepared, cx: &Cx) -> Result<Reply, CallError> {
        let lost = |reason: &str| CallError::SessionLost {
            tool: tool.name.clone(),
            reason: reason.to_owned(),
        };
        let Binding::Mcp { tool: name } = &tool.binding else {
            return Err(CallError::Forbidden {
                tool: tool.name.clone(),
                reason: "it is no tool of an MCP server".to_owned(),
            });
        };
        if self.dead.load(Ordering::Acquire) {
            return Err(lost(&format!("the server is gone{}", self.last_words())));
        }
        let Some((peer, generation)) = self.peer().await else {
            return Err(lost("it was closed"));
        };
        let wrote_before = self.wrote.load(Ordering::Acquire);
        if tool.access != Access::Read {
            self.wrote.store(true, Ordering::Release);
        }
        let mut notes = Vec::new();
        let mut answered = self.once(&peer, name, tool, prepared, cx).await;
        if matches!(answered, Err(Trouble::Expired)) {
            if wrote_before {
                self.dead.store(true, Ordering::Release);
                return Err(lost(
                    "the server forgot it (HTTP 404), and with it what was written in it",
                ));
            }
            if let Err(error) = self.renew(generation, cx).await {
                self.dead.store(true, Ordering::Release);
                return Err(lost(&format!(
                    "the server forgot it (HTTP 404) and {error}"
                )));
            }
            notes.push("the server had forgotten the session; a new one was opened".to_owned());
            let Some((peer, _)) = self.peer().await else {
                return Err(lost("it was closed"));
            };
            answered = self.once(&peer, name, tool, prepared, cx).await;
        }
        let mut reply = match answered {
            Ok(reply) => self.outward(reply),
            Err(Trouble::Call(error)) => return Err(error),
            Err(Trouble::Expired) => {
                return Err(lost("the server forgot it (HTTP 404) twice in a row"));
            }
        };
        if !reply.error
            && let Some(fault) = misfit(tool, &reply.content)
        {
            notes.push(format!(
                "it does not fit the declared output schema: {fault}"
            ));
        }
        notes.extend(self.news(cx).await);
        reply.notes.append(&mut notes);
        Ok(reply)
    }

    async fn close(&self) {
        let link = self.link.lock().await.take();
        if let Some(mut link) = link {
            link.client.close().await.ok();
            if let Some(process) = &mut link.process {
                process.end().await;
            }
        }
    }
}
