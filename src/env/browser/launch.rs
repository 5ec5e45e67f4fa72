//! One Chromium process and its end.
//!
//! The browser runs in a process group of its own, which is watched: no path out of this program,
//! `kill -9` included, leaves a browser or its profile directory behind.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::connection::{CdpError, Connection, auto_attach};
use super::find::{BrowserBinary, BrowserKind};
use super::transport::{TransportError, WebSocket};
use crate::context::{Cx, Interrupted};
use crate::env::process::{GroupGuard, watch};

/// How long a browser may take to open its debugging port.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Flags every browser gets: nothing in the background, nothing throttled, no questions.
const FLAGS: &[&str] = &[
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-hang-monitor",
    "--disable-ipc-flooding-protection",
    "--disable-popup-blocking",
    "--disable-prompt-on-repost",
    "--disable-search-engine-choice-screen",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--lang=en-US",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--use-mock-keychain",
    "--window-size=1280,720",
];

/// Features that no lane needs.
const OFF: &str = "Translate,MediaRouter,OptimizationHints,AutofillServerCommunication,HttpsUpgrades,PaintHolding";

/// Features of the browser's own window, which the full browser opens even without a screen: each
/// context would get renderers for them.
const WINDOW_OFF: &str = "WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,InitialWebUI,\
     WebUIReloadButton,OmniboxPopupWebUI,AiModeOmniboxEntryPoint,PreloadTopChromeWebUI,\
     SpareRendererForSitePerProcess";

/// Why a browser did not start. Completes "failed to start the browser: …".
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The program could not be run.
    #[error("{path} could not be run: {reason}")]
    Spawn {
        /// The program.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It ended before it opened its debugging port.
    #[error("{path} ended before it was ready; its last words: {stderr}")]
    Ended {
        /// The program.
        path: PathBuf,
        /// The end of its standard error.
        stderr: String,
    },
    /// Too slow, or cancelled.
    #[error("the browser did not become ready: {0}")]
    Interrupted(#[from] Interrupted),
    /// Its port did not answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// It does not speak the protocol.
    #[error(transparent)]
    Protocol(#[from] CdpError),
    /// No directory for its profile.
    #[error("no profile directory: {0}")]
    Profile(std::io::Error),
}

/// A running browser. Dropping it ends the whole process group.
#[derive(Debug)]
pub struct Chromium {
    group: Pid,
    connection: Connection,
    profile: PathBuf,
    child: Child,
    watchdog: Option<(Child, ChildStdin)>,
    kind: BrowserKind,
}

impl Chromium {
    /// Starts `binary` with a fresh profile and connects to it.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing is left running then.
    pub async fn launch(binary: &BrowserBinary, cx: &Cx) -> Result<Self, LaunchError> {
        let profile = tempfile::Builder::new()
            .prefix("branchline-profile-")
            .tempdir()
            .map_err(LaunchError::Profile)?
            .keep();
        let result = Self::start(binary, &profile, cx).await;
        if result.is_err() {
            std::fs::remove_dir_all(&profile).ok();
        }
        result
    }

    async fn start(binary: &BrowserBinary, profile: &Path, cx: &Cx) -> Result<Self, LaunchError> {
        let spawn_error = |e: std::io::Error| LaunchError::Spawn {
            path: binary.path.clone(),
            reason: e.to_string(),
        };
        let mut command = Command::new(&binary.path);
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()));
        match binary.kind {
            BrowserKind::Chromium => {
                command.arg("--headless");
                command.arg(format!("--disable-features={OFF},{WINDOW_OFF}"));
            }
            BrowserKind::HeadlessShell => {
                command.arg(format!("--disable-features={OFF}"));
            }
        }
        if nix::unistd::geteuid().is_root() {
            command.arg("--no-sandbox");
        }
        command.arg("about:blank");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(spawn_error)?;
        let id = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| LaunchError::Ended {
                path: binary.path.clone(),
                stderr: String::new(),
            })?;
        let group = Pid::from_raw(id);
        let guard = GroupGuard(group);
        let watchdog = watch(group, profile).map_err(spawn_error)?;

        let stderr = child.stderr.take().expect("stderr was piped above");
        let mut lines = BufReader::new(stderr).lines();
        let mut last = Vec::new();
        let wait = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(url) = line.strip_prefix("DevTools listening on ") {
                    return Some(url.trim().to_owned());
                }
                last.push(line);
            }
            None
        };
        let Some(url) = cx.bounded(START_LIMIT, wait).await? else {
            let stderr = last
                .iter()
                .rev()
                .take(4)
                .rev()
                .cloned()
                .collect::<Vec<_>>()
                .join(" | ");
            return Err(LaunchError::Ended {
                path: binary.path.clone(),
                stderr,
            });
        };
        // The pipe must keep being read, or a chatty browser blocks on it.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::trace!(target: "branchline::chromium", "{line}");
            }
        });
        let socket = WebSocket::connect(&url).await?;
        let connection = Connection::start(Box::new(socket));
        connection.call(None, auto_attach(), cx).await?;
        std::mem::forget(guard);
        Ok(Self {
            group,
            connection,
            profile: profile.to_owned(),
            child,
            watchdog: Some(watchdog),
            kind: binary.kind,
        })
    }

    /// The connection to it.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The id of its process group, which is the browser process's id.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.group.as_raw()
    }

    /// Whether it has a back/forward cache: the headless shell has none.
    pub(super) fn keeps_pages(&self) -> bool {
        self.kind == BrowserKind::Chromium
    }

    /// Ends the process group and waits until the browser is gone and its profile removed.
    pub async fn close(mut self) {
        killpg(self.group, Signal::SIGKILL).ok();
        self.child.wait().await.ok();
        if let Some((mut watchdog, pipe)) = self.watchdog.take() {
            drop(pipe);
            watchdog.wait().await.ok();
        }
        std::fs::remove_dir_all(&self.profile).ok();
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        killpg(self.group, Signal::SIGKILL).ok();
        // Dropping the watchdog's pipe makes it remove the profile.
    }
}
