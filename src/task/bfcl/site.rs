//! One server process; each lease is a session with it.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{home, is_fetched, python};
use crate::context::Cx;
use crate::env::server::{Launch, ServerSite, ServerSpec, Servers, client};
use crate::env::{Site, SiteError, SiteInstance, SiteState};
use crate::task::TaskError;
use crate::types::Writes;

/// The name of a session in observations, logs and digests.
pub const LOGICAL_ORIGIN: &str = "http://bfcl.local";

/// The server's program and what it reads, as they were when this program was built.
const PROGRAM: [(&str, &str); 2] = [
    (
        "server.py",
        include_str!("../../../fixtures/bfcl/server.py"),
    ),
    (
        "read_only.json",
        include_str!("../../../fixtures/bfcl/read_only.json"),
    ),
];

/// Seconds that starting may take: Python reads a large package.
const START: NonZeroU64 = NonZeroU64::new(120).expect("120 is not 0");
/// The longest that a hook may take. A score runs the whole right solution.
const HOOK: Duration = Duration::from_mins(1);

/// The server process, started by the first lease and ended with the last of its clones and leases.
#[derive(Debug, Clone, Default)]
pub struct BfclServer {
    started: Arc<OnceCell<Started>>,
    gold: bool,
}

#[derive(Debug)]
struct Started {
    site: ServerSite,
    client: reqwest::Client,
    /// What the server's own folder was filled from.
    _program: tempfile::TempDir,
}

impl BfclServer {
    /// A server that also tells the right solutions, at `/gold/TASK`: for tests.
    #[must_use]
    pub fn with_gold() -> Self {
        Self {
            gold: true,
            ..Self::default()
        }
    }

    async fn started(&self, python: &Path) -> Result<&Started, SiteError> {
        let start = || async {
            let io = |error: std::io::Error| SiteError::Start(error.to_string());
            let program = tempfile::tempdir().map_err(io)?;
            for (name, text) in PROGRAM {
                std::fs::write(program.path().join(name), text).map_err(io)?;
            }
            let python = std::path::absolute(python).map_err(io)?;
            let mut command = vec![
                python.display().to_string(),
                "server.py".to_owned(),
                "--port".to_owned(),
                "{port}".to_owned(),
            ];
            command.extend(self.gold.then(|| "--gold".to_owned()));
            let spec = ServerSpec {
                servers: Servers::Started(Launch {
                    command,
                    copy: PROGRAM.iter().map(|(name, _)| name.into()).collect(),
                    env: BTreeMap::new(),
                    ready: "/".to_owned(),
                    seconds: START,
                    most: NonZeroUsize::MIN,
                }),
                checkpoint: None,
                folder: program.path().to_owned(),
            };
            Ok::<_, SiteError>(Started {
                // Shared by all leases: the sessions keep them apart.
                site: ServerSite::new(spec, Writes::Allow)?,
                client: client()?,
                _program: program,
            })
        };
        self.started.get_or_try_init(start).await
    }
}

/// One task's backends.
#[derive(Debug)]
pub struct BfclSite {
    server: BfclServer,
    python: PathBuf,
    task: String,
}

impl BfclSite {
    /// The backends of `task` (`multi_turn_base_0`), by the package under this data directory.
    ///
    /// # Errors
    /// [`TaskError::NotThere`] unless it is there.
    pub fn new(data: &Path, task: &str, server: &BfclServer) -> Result<Self, TaskError> {
        if !is_fetched(data) {
            return Err(TaskError::NotThere {
                what: "the BFCL package",
                path: home(data),
                hint: "run `branchline fetch bfcl`",
            });
        }
        Ok(Self {
            server: server.clone(),
            python: python(data),
            task: task.to_owned(),
        })
    }
}

#[async_trait]
impl Site for BfclSite {
    fn logical_origin(&self) -> &str {
        LOGICAL_ORIGIN
    }

    async fn lease(&self, cx: &Cx) -> Result<Box<dyn SiteInstance>, SiteError> {
        let started = self.server.started(&self.python).await?;
        let process = started.site.lease(cx).await?;
        let mut session = Session {
            client: started.client.clone(),
            origin: process.origin().to_owned(),
            start: Value::Null,
            _process: process,
        };
        let task = json!({ "task": self.task });
        let opened = session
            .ask("start", Method::Post, "/sessions", &task, cx)
            .await?;
        let base = opened["base"].as_str().ok_or_else(|| {
            SiteError::Start(format!("the server opened no session but said {opened}"))
        })?;
        session.origin.push_str(base);
        session.start = session.snapshot(cx).await?;
        Ok(Box::new(session))
    }
}

/// A session: its origin goes on with its path.
struct Session {
    client: reqwest::Client,
    origin: String,
    /// The snapshot of the state it began in.
    start: Value,
    _process: Box<dyn SiteInstance>,
}

/// A saved state: the server's name for it.
struct Saved(Value);

enum Method {
    Get,
    Post,
    Delete,
}

impl Session {
    async fn ask(
        &self,
        verb: &'static str,
        method: Method,
        path: &str,
        body: &Value,
        cx: &Cx,
    ) -> Result<Value, SiteError> {
        let failed = |reason: String| SiteError::Failed { verb, reason };
        let url = format!("{}{path}", self.origin);
        let request = match method {
            Method::Get => self.client.get(url),
            Method::Post => self.client.post(url).body(body.to_string()),
            Method::Delete => self.client.delete(url),
        };
        let asked = async {
            let answer = request.send().await?;
            let fine = answer.status().is_success();
            Ok::<_, reqwest::Error>((fine, answer.bytes().await?))
        };
        let (fine, bytes) = cx
            .bounded(HOOK, asked)
            .await?
            .map_err(|error| failed(error.to_string()))?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| failed(format!("its answer is no JSON: {error}")))?;
        if fine {
            Ok(value)
        } else {
            let reason = value["error"].as_str().unwrap_or("refused");
            Err(failed(reason.to_owned()))
        }
    }

    async fn snapshot(&self, cx: &Cx) -> Result<Value, SiteError> {
        let (verb, nothing) = ("save its state", json!({}));
        let saved = self
            .ask(verb, Method::Post, "/_snapshot", &nothing, cx)
            .await?;
        Ok(saved["snapshot"].clone())
    }

    async fn put_back(&self, snapshot: &Value, cx: &Cx) -> Result<(), SiteError> {
        let (verb, body) = ("put its state back", json!({ "snapshot": snapshot }));
        self.ask(verb, Method::Post, "/_restore", &body, cx)
            .await
            .map(drop)
    }
}

#[async_trait]
impl SiteInstance for Session {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn resets(&self) -> bool {
        true
    }

    async fn reset(&self, cx: &Cx) -> Result<(), SiteError> {
        self.put_back(&self.start, cx).await
    }

    async fn save(&self, cx: &Cx) -> Result<Option<SiteState>, SiteError> {
        let saved = Saved(self.snapshot(cx).await?);
        Ok(Some(SiteState(Arc::new(saved))))
    }

    async fn load(&self, state: &SiteState, cx: &Cx) -> Result<(), SiteError> {
        let saved = state.0.downcast_ref::<Saved>();
        let saved = saved.ok_or_else(|| SiteError::Failed {
            verb: "put its state back",
            reason: "the state is another site's".to_owned(),
        })?;
        self.put_back(&saved.0, cx).await
    }

    async fn reward(&self, cx: &Cx) -> Result<Option<f64>, SiteError> {
        let score = self
            .ask("score", Method::Get, "/_score", &Value::Null, cx)
            .await?;
        if let Some(reason) = score["reason"].as_str().filter(|reason| !reason.is_empty()) {
            tracing::info!(reason, turn = %score["turn"], "the benchmark's own verdict");
        }
        Ok(Some(f64::from(u8::from(score["valid"] == json!(true)))))
    }

    async fn sql(&self, _statement: &str, _cx: &Cx) -> Result<Value, SiteError> {
        Err(SiteError::Unsupported("answer SQL"))
    }

    async fn close(self: Box<Self>, _keep: bool, cx: &Cx) -> Result<(), SiteError> {
        self.ask("end a session", Method::Delete, "", &Value::Null, cx)
            .await
            .map(drop)
    }
}
