//! A server as a child process: what it says beside the protocol, and its end.
//!
//! Only lines that can be messages reach the SDK. The rest (banners, logs, stack traces on
//! standard output) is counted and kept for the error message. The process leads a group of its
//! own: what it started ends with it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::folder::Folder;
use super::{McpConfig, McpServer};
use crate::env::copies::fill;
use crate::env::process::watch;
use crate::env::tools::redact::Redaction;

/// The process's own folder, in the folder that is removed with it.
const FILES: &str = "files";
/// Variables that a server needs to run at all. Nothing else is inherited.
const INHERITED: &[&str] = &[
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
];
/// Bytes of standard error that are kept: the last ones.
const TAIL: usize = 4096;
/// Bytes of stray standard output that are kept: the first ones.
const HEAD: usize = 512;
/// The longest message. The SDK would drop a longer one silently and the call would hang.
const LONGEST: usize = 16 << 20;
/// How long a server may take to end by itself, and then after `SIGTERM`.
const GRACE: Duration = Duration::from_secs(2);

/// What a server said beside the protocol.
#[derive(Debug)]
pub(super) struct Said {
    inner: Mutex<Words>,
    redaction: Arc<Redaction>,
}

#[derive(Debug, Default)]
struct Words {
    stderr: Vec<u8>,
    stray: Vec<u8>,
    stray_lines: u64,
    /// Why we stopped listening.
    fatal: Option<String>,
    exit: Option<String>,
}

impl Said {
    fn with<T>(&self, change: impl FnOnce(&mut Words) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known about why the server does not answer, in words; empty if nothing.
    pub(super) fn obituary(&self) -> String {
        let words = self.with(|words| {
            let mut parts = Vec::new();
            parts.extend(words.fatal.clone());
            parts.extend(words.exit.clone());
            if words.stray_lines > 0 {
                parts.push(format!(
                    "{} line(s) on its standard output were no messages, the first: {}",
                    words.stray_lines,
                    shown(&words.stray, 200)
                ));
            }
            if !words.stderr.is_empty() {
                let from = words.stderr.len().saturating_sub(600);
                parts.push(format!(
                    "its standard error ends with: {}",
                    shown(&words.stderr[from..], 600)
                ));
            }
            parts.join("; ")
        });
        self.redaction.text(words)
    }
}

/// Bytes from outside as one printable line.
fn shown(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    words.join(" ").chars().take(most).map(clean).collect()
}

/// A running server.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
    said: Arc<Said>,
    folder: Option<Arc<Folder>>,
    /// Its end makes the watching shell remove the folder.
    _watchdog: Option<(Child, ChildStdin)>,
}

impl Process {
    /// Starts the server. The streams are the SDK's: messages from the server, messages to it.
    pub(super) async fn spawn(
        config: &McpConfig,
        redaction: &Arc<Redaction>,
    ) -> Result<(Self, DuplexStream, ChildStdin), String> {
        let McpServer::Process {
            command,
            args,
            env,
            folder: copies,
        } = &config.server
        else {
            unreachable!("only processes are spawned");
        };
        let home = match copies {
            None => None,
            Some(copies) => Some(home(copies.clone()).await?),
        };
        let own = home.as_ref().map(|home| home.path().join(FILES));
        let folder = own
            .as_ref()
            .map(|own| Arc::new(Folder::new(own.display().to_string(), &config.name)));
        let filled = |text: &String| match &folder {
            Some(folder) => folder.fill(text),
            None => text.clone(),
        };
        let mut spawned = Command::new(command);
        spawned
            .args(args.iter().map(filled))
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .envs(env.iter().map(|(name, value)| (name, filled(value))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(own) = &own {
            spawned.current_dir(own);
        }
        let mut child = spawned
            .spawn()
            .map_err(|error| format!("could not be started (`{command}`): {error}"))?;
        let said = Arc::new(Said {
            inner: Mutex::default(),
            redaction: Arc::clone(redaction),
        });
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("has no standard streams".to_owned());
        };
        let (messages, ours) = tokio::io::duplex(64 << 10);
        tokio::spawn(pump(stdout, ours, Arc::clone(&said)));
        tokio::spawn(listen(stderr, Arc::clone(&said)));
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let mut watchdog = None;
        if let (Some(home), Some(group)) = (home, group) {
            let watching = watch(group, home.path())
                .map_err(|error| format!("would leave its folder behind: {error}"))?;
            // The shell removes it: also where nobody else is left to.
            let _kept = home.keep();
            watchdog = Some(watching);
        }
        let process = Self {
            child,
            group,
            said,
            folder,
            _watchdog: watchdog,
        };
        Ok((process, messages, stdin))
    }

    pub(super) fn said(&self) -> &Arc<Said> {
        &self.said
    }

    /// Its own folder, where it has one.
    pub(super) fn folder(&self) -> Option<&Arc<Folder>> {
        self.folder.as_ref()
    }

    /// Notes how the process ended, waiting a moment for it: its streams close first.
    pub(super) async fn note_exit(&mut self) {
        let exit = tokio::time::timeout(Duration::from_millis(500), self.child.wait()).await;
        if let Ok(Ok(status)) = exit {
            let how = format!("the server ended ({status})");
            self.said.with(|words| words.exit = Some(how));
        }
    }

    /// Ends it: its input is closed already, so it may go by itself; else it is made to.
    pub(super) async fn end(&mut self) {
        if tokio::time::timeout(GRACE, self.child.wait())
            .await
            .is_err()
        {
            self.signal(Signal::SIGTERM);
            if tokio::time::timeout(GRACE, self.child.wait())
                .await
                .is_err()
            {
                tracing::warn!("an MCP server ignored SIGTERM and was killed");
            }
        }
        self.signal(Signal::SIGKILL);
        self.group = None;
        self.child.kill().await.ok();
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Gone already is as good.
            killpg(group, signal).ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// A folder that holds a process's own, filled.
async fn home(copies: Vec<PathBuf>) -> Result<TempDir, String> {
    let filling = tokio::task::spawn_blocking(move || {
        let home = tempfile::Builder::new()
            .prefix("branchline-mcp-")
            .tempdir()
            .map_err(|error| format!("there is no room for its folder: {error}"))?;
        fill(&copies, Path::new(""), &home.path().join(FILES))?;
        Ok(home)
    });
    filling.await.map_err(|died| died.to_string())?
}

/// Passes messages on, keeps the rest. Ends with the server's output, or when nobody listens.
async fn pump(mut from: ChildStdout, mut to: DuplexStream, said: Arc<Said>) {
    enum Line {
        Start,
        Message(usize),
        Stray,
    }
    let mut buffer = vec![0; 64 << 10];
    let mut line = Line::Start;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (part, next) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
            if matches!(line, Line::Start) {
                match part.iter().find(|byte| !byte.is_ascii_whitespace()) {
                    Some(b'{' | b'[') => line = Line::Message(0),
                    Some(_) => {
                        line = Line::Stray;
                        said.with(|words| words.stray_lines += 1);
                    }
                    None => {}
                }
            }
            match &mut line {
                Line::Start => {}
                Line::Message(length) => {
                    *length += part.len();
                    if *length > LONGEST {
                        let why = format!("it sent a message longer than {} MiB", LONGEST >> 20);
                        said.with(|words| words.fatal = Some(why));
                        return;
                    }
                    if to.write_all(part).await.is_err() {
                        return;
                    }
                }
                Line::Stray => said.with(|words| {
                    let room = HEAD.saturating_sub(words.stray.len());
                    words.stray.extend(part.iter().take(room));
                }),
            }
            if end.is_some() {
                line = Line::Start;
            }
            rest = next;
        }
    }
}

/// Keeps the end of standard error.
async fn listen(mut from: ChildStderr, said: Arc<Said>) {
    let mut buffer = vec![0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        said.with(|words| {
            words.stderr.extend_from_slice(&buffer[..read]);
            let surplus = words.stderr.len().saturating_sub(TAIL);
            words.stderr.drain(..surplus);
        });
    }
}
