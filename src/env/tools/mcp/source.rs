//! The source: what is configured, what the server offers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::convert;
use super::session::McpSession;
use crate::context::Cx;
use crate::env::tools::http::Credentials;
use crate::env::tools::{Session, Source, SourceError, Tool};

/// How a server is reached and what is known about it. Values may be secrets: not shown by `Debug`.
#[derive(Clone)]
pub struct McpConfig {
    /// The source's name in the registry.
    pub name: String,
    /// Where it is.
    pub server: McpServer,
    /// Whether its annotations may be believed. They decide what may be repeated and run in
    /// parallel, so only for servers that somebody answers for.
    pub trusted: bool,
    /// The longest a handshake, a page of the tool list, or a call may take.
    pub timeout: Duration,
    /// Values that nothing the server says may show: the secrets among its arguments, variables and
    /// headers.
    pub secrets: Vec<String>,
}

impl std::fmt::Debug for McpConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpConfig")
            .field("name", &self.name)
            .field("trusted", &self.trusted)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Where a server is.
#[derive(Clone)]
pub enum McpServer {
    /// A program that speaks over its standard streams. Started once per session.
    Process {
        /// The program: looked for on `PATH`.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Its variables, beside the few that every program needs.
        env: BTreeMap<String, String>,
        /// Where it has a folder of its own: what is copied there before it starts. The folder is its
        /// working directory, `{dir}` in `args` and `env`, and goes when it ends. Without one it
        /// works in ours.
        folder: Option<Vec<PathBuf>>,
    },
    /// A server that speaks streamable HTTP.
    Http {
        /// Its endpoint, for example `http://127.0.0.1:3001/mcp`.
        url: String,
        /// Headers of every request.
        headers: BTreeMap<String, String>,
        /// How requests prove who sends them.
        credentials: Option<Credentials>,
        /// Whether loopback, private and link-local addresses may be reached.
        private: bool,
    },
}

/// What the sessions of one source share.
pub(super) struct Shared {
    pub(super) config: McpConfig,
    /// As listed last. A server may change it at any time.
    pub(super) tools: Mutex<Vec<Arc<Tool>>>,
}

impl Shared {
    pub(super) fn unusable(&self, reason: impl Into<String>) -> SourceError {
        SourceError::Unusable {
            source_name: self.config.name.clone(),
            reason: reason.into(),
        }
    }

    pub(super) fn tools(&self) -> Vec<Arc<Tool>> {
        self.tools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes a new list; what came and went, in words, if anything did.
    pub(super) fn relist(&self, listed: &[rmcp::model::Tool]) -> Option<String> {
        let now = convert::tools(&self.config, listed);
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        let names = |tools: &[Arc<Tool>]| -> Vec<String> {
            tools.iter().map(|tool| tool.name.clone()).collect()
        };
        let (before, after) = (names(&tools), names(&now));
        let changed = *tools != now;
        *tools = now;
        drop(tools);
        let missing = |from: &[String], other: &[String]| -> Vec<String> {
            from.iter()
                .filter(|n| !other.contains(n))
                .cloned()
                .collect()
        };
        let (came, went) = (missing(&after, &before), missing(&before, &after));
        changed.then(|| {
            let mut words = vec!["the server changed its list of tools".to_owned()];
            if !came.is_empty() {
                words.push(format!("new: {}", came.join(", ")));
            }
            if !went.is_empty() {
                words.push(format!("gone: {}", went.join(", ")));
            }
            words.join("; ")
        })
    }
}

/// A server's tools.
pub struct McpSource {
    shared: Arc<Shared>,
    /// The connection over which the tools were listed: the first lane's.
    spare: Mutex<Option<McpSession>>,
}

impl std::fmt::Debug for McpSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpSource")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl McpSource {
    /// Connects and lists the tools.
    ///
    /// # Errors
    /// [`SourceError`] if the server cannot be started or reached, does not speak the protocol, or
    /// offers no tools. The reason holds what a process said on its standard error.
    pub async fn connect(config: McpConfig, cx: &Cx) -> Result<Self, SourceError> {
        let shared = Arc::new(Shared {
            config,
            tools: Mutex::default(),
        });
        let session = McpSession::open(&shared, cx).await?;
        let listed = session.list(cx).await?;
        if listed.is_empty() {
            session.close().await;
            return Err(shared.unusable("offers no tools"));
        }
        shared.relist(&listed);
        Ok(Self {
            shared,
            spare: Mutex::new(Some(session)),
        })
    }
}

impl McpServer {
    /// The server with its endpoint at another origin. A process is one lane's own already.
    fn moved(&self, logical: &str, real: &str) -> Self {
        match self {
            Self::Http {
                url,
                headers,
                credentials,
                ..
            } => Self::Http {
                url: match url.strip_prefix(logical) {
                    Some(path) => format!("{real}{path}"),
                    None => url.clone(),
                },
                headers: headers.clone(),
                credentials: credentials.clone(),
                // Ours, and on this machine.
                private: true,
            },
            process @ Self::Process { .. } => process.clone(),
        }
    }
}

#[async_trait]
impl Source for McpSource {
    fn name(&self) -> &str {
        &self.shared.config.name
    }

    fn tools(&self) -> Vec<Arc<Tool>> {
        self.shared.tools()
    }

    async fn open(&self, cx: &Cx) -> Result<Box<dyn Session>, SourceError> {
        let spare = self
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Ok(Box::new(match spare {
            Some(session) if session.is_live() => session,
            _ => McpSession::open(&self.shared, cx).await?,
        }))
    }

    async fn open_at(
        &self,
        logical: &str,
        real: &str,
        cx: &Cx,
    ) -> Result<Box<dyn Session>, SourceError> {
        let config = &self.shared.config;
        if logical == real || matches!(config.server, McpServer::Process { .. }) {
            return self.open(cx).await;
        }
        let moved = Arc::new(Shared {
            config: McpConfig {
                server: config.server.moved(logical, real),
                ..config.clone()
            },
            tools: Mutex::new(self.shared.tools()),
        });
        Ok(Box::new(McpSession::open(&moved, cx).await?))
    }
}
