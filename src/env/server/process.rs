//! A server that we start: in a folder of its own, on a free port, ended with all its children.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdin, Command};

use super::super::copies::fill;
use super::super::process::{GroupGuard, watch};
use super::hook::quoted;
use super::spec::{Launch, Names};
use crate::context::{Cx, Interrupted};

/// Between two looks whether a server is ready.
const LOOK: Duration = Duration::from_millis(20);
/// How long one look may take.
const ANSWER: Duration = Duration::from_secs(5);
/// What the server's own output is kept in, in its folder's parent.
const LOG: &str = "output.log";
/// The longest end of that output that an error quotes, in bytes.
const LAST_WORDS: u64 = 2048;

/// Why a server did not start.
#[derive(Debug)]
pub(super) enum StartError {
    Interrupted(Interrupted),
    Failed(String),
}

/// A running server. Dropping it ends the process group and removes its folders.
#[derive(Debug)]
pub(super) struct Process {
    group: Pid,
    child: Child,
    /// Its end makes the watching shell remove `home`.
    _watchdog: (Child, ChildStdin),
}

/// Where a started server lives.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Holds `folder` and the output.
    pub(super) home: PathBuf,
    pub(super) port: u16,
}

impl Place {
    /// A folder and a port that are free now.
    pub(super) fn new() -> Result<Self, String> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("there is no free port: {error}"))?
            .port();
        let home = tempfile::Builder::new()
            .prefix("branchline-server-")
            .tempdir()
            .map_err(|error| format!("there is no room for its folder: {error}"))?
            .keep();
        Ok(Self { home, port })
    }

    /// The server's own folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.home.join("server")
    }

    pub(super) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Process {
    /// Starts a server in an empty folder and waits until it is ready.
    pub(super) async fn start(
        launch: &Launch,
        place: &Place,
        names: &Names,
        from: &Path,
        client: &reqwest::Client,
        cx: &Cx,
    ) -> Result<Self, StartError> {
        let started = Self::spawn(launch, place, names, from).await;
        let mut process = match started {
            Ok(process) => process,
            Err(reason) => {
                std::fs::remove_dir_all(&place.home).ok();
                return Err(StartError::Failed(reason));
            }
        };
        let url = format!("{}{}", place.origin(), launch.ready);
        let limit = Duration::from_secs(launch.seconds.get());
        let within = cx.within(limit);
        loop {
            if let Ok(Some(status)) = process.child.try_wait() {
                let said = last_words(&place.home);
                return Err(StartError::Failed(format!(
                    "`{}` ended with {status} before it was ready; {said}",
                    launch.command[0]
                )));
            }
            let asked = within.bounded(ANSWER, client.get(&url).send()).await;
            let waited = match asked {
                Ok(Ok(answer)) if !answer.status().is_server_error() => return Ok(process),
                Ok(_) | Err(Interrupted::Timeout(_)) => within.pause(LOOK).await,
                Err(cancelled @ Interrupted::Cancelled) => Err(cancelled),
            };
            match waited {
                Ok(()) => {}
                Err(Interrupted::Cancelled) => {
                    return Err(StartError::Interrupted(Interrupted::Cancelled));
                }
                Err(Interrupted::Timeout(_)) => {
                    let seconds = limit.as_secs();
                    let said = last_words(&place.home);
                    return Err(StartError::Failed(format!(
                        "`{}` did not answer {} within {seconds} s; {said}",
                        launch.command[0], launch.ready
                    )));
                }
            }
        }
    }

    async fn spawn(
        launch: &Launch,
        place: &Place,
        names: &Names,
        from: &Path,
    ) -> Result<Self, String> {
        let folder = place.folder();
        let (sources, to) = (launch.copy.clone(), folder.clone());
        let base = from.to_owned();
        let copying = tokio::task::spawn_blocking(move || fill(&sources, &base, &to));
        copying.await.map_err(|died| died.to_string())??;
        let argv = launch.command.iter().map(|word| names.fill(word));
        let argv = argv.collect::<Result<Vec<_>, _>>()?;
        let env = launch
            .env
            .iter()
            .map(|(key, value)| Ok((key.clone(), names.fill(value)?)));
        let env = env.collect::<Result<BTreeMap<_, _>, String>>()?;
        let (program, arguments) = argv.split_first().ok_or("its command is empty")?;
        let no_log = |error: std::io::Error| format!("its output cannot be kept: {error}");
        let log = std::fs::File::create(place.home.join(LOG)).map_err(no_log)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(env)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(no_log)?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .map_err(|error| format!("`{program}` could not be run: {error}"))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = Pid::from_raw(id.ok_or_else(|| format!("`{program}` ended at once"))?);
        let guard = GroupGuard(group);
        let watchdog = watch(group, &place.home)
            .map_err(|error| format!("nothing would end it with us: {error}"))?;
        std::mem::forget(guard);
        Ok(Self {
            group,
            child,
            _watchdog: watchdog,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        killpg(self.group, Signal::SIGKILL).ok();
        // Dropping the watchdog's pipe makes it remove the folder.
    }
}

/// The end of a server's output, for errors.
fn last_words(home: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(home.join(LOG))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS)))?;
        let mut bytes = Vec::new();
        file.take(LAST_WORDS).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read().map(|bytes| quoted(&bytes)) {
        Ok(said) if !said.is_empty() => format!("its last words: {said}"),
        Ok(_) | Err(_) => "it said nothing".to_owned(),
    }
}
